//! For authors of firmware: what `initOTAReceive`, `initOTASend` and `offerOTA` of the C++ library become here, and
//! what `sendBroadcast` of a status package becomes.
//!
//! | C++ | here |
//! | --- | --- |
//! | `initOTAReceive(role)` | [`Firmware::Stock`](crate::node::Firmware::Stock) with a [`ReceiverConfig`](crate::ota::ReceiverConfig), in the node's configuration |
//! | its `progress_cb(part, parts)` | [`Node::update_state`](crate::node::Node::update_state), after each input; [`Event::Update`](crate::node::Event::Update) for what happens once |
//! | `initOTASend(callback, partSize)` | [`ImagePlan`](crate::ota::ImagePlan): the whole image, and its `part_size` |
//! | `offerOTA(role, hardware, md5, parts, …)` | [`Node::start_rollout`](crate::node::Node::start_rollout) with that plan, for the nodes in `targets`; MD5 and number of parts are computed |
//! | `broadcasted` | [`Scheme::Turbo`](crate::ota::Scheme::Turbo), and no root is needed; without it, [`Scheme::Unicast`](crate::ota::Scheme::Unicast) |
//! | the task that `offerOTA` returns | [`Event::Rollout`](crate::node::Event::Rollout), [`Node::rollout_report`](crate::node::Node::rollout_report), [`Node::abort_rollout`](crate::node::Node::abort_rollout) |
//! | `compressed` | nothing towards C++ nodes, see [below](#what-has-no-counterpart); signed updates are packed with a [`Codec`](crate::codec::Codec) |
//! | `forced` | nothing, see [below](#what-has-no-counterpart) |
//! | `sendBroadcast` of an `EnhancedStatusPackage`, in a task | [`Policy::enhanced_s`](crate::telemetry::Policy::enhanced_s): for one node, never for all, see [below](#enhancedstatus) |
//! | a command package and its answer | [`telemetry::Event::Command`](crate::telemetry::Event::Command), [`Node::answer_command`](crate::node::Node::answer_command) |
//!
//! The examples run. They put a few nodes on a table: `table` is a shell in some 200 lines,
//! `examples/table/mod.rs`, with wires, flash chips and boot loaders. `examples/` has a program for each:
//!
//! ```text
//! cargo run --package meshward-core --example receive
//! cargo run --package meshward-core --example offer
//! cargo run --package meshward-core --example signed
//! ```
//!
//! # `initOTAReceive`
//!
//! ```cpp
//! mesh.initOTAReceive("sensor", [](int part, int parts) { Serial.printf("%d of %d\n", part, parts); });
//! ```
//!
//! The hardware, which the library knows from the compiler, is told. Flash is the shell's: the receiver says what
//! is to be written, and the boot loader starts what the newest boot record names.
//!
//! ```
//! # mod table { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/table/mod.rs")); }
//! # use meshward_core::ota::{ImagePlan, Scheme, Tempo};
//! # use table::Table;
//! use meshward_core::flash::Layout;
//! use meshward_core::mesh::MeshConfig;
//! use meshward_core::node::{Event, Firmware, NodeConfig};
//! use meshward_core::ota::{ReceiverConfig, ReceiverEvent, ReceiverState};
//! use meshward_core::wire::NodeId;
//!
//! let receiver = ReceiverConfig {
//!     id: NodeId(2),
//!     role: b"sensor".to_vec(),
//!     hardware: b"ESP32".to_vec(),
//!     root: false,
//!     layout: Layout::FOUR_MEGABYTES,
//!     running: None, // the table's boot loader fills it in
//! };
//! let sensor = NodeConfig::new(MeshConfig::node(NodeId(2), 7)).with_firmware(Firmware::Stock(receiver));
//! # let (old, new) = (vec![1; 3_000], vec![2; 5_000]);
//! # let mut table = Table::default();
//! # let gateway = NodeConfig::new(MeshConfig::gateway(NodeId(1), 1));
//! # let gateway = table.add(gateway, &[], &[]);
//! let sensor = table.add(sensor, &old, &[]);
//! # table.join(sensor, gateway);
//! # table.settle();
//! # let plan = ImagePlan {
//! #     scheme: Scheme::Unicast,
//! #     image: new.clone(),
//! #     role: b"sensor".to_vec(),
//! #     hardware: b"ESP32".to_vec(),
//! #     targets: vec![NodeId(2)],
//! #     part_size: 1_024,
//! #     concurrency: 1,
//! #     hold: false,
//! #     tempo: Tempo::default(),
//! # };
//! # table.hosts[gateway].node.start_rollout(table.now, plan)?;
//! # table.drain(gateway);
//! let mut progress = Vec::new();
//! while table.hosts[sensor].image() != new {
//!     for (_, event) in table.step() {
//!         match event {
//!             Event::Update(ReceiverEvent::Started(md5)) => println!("takes the image {md5}"),
//!             Event::Update(ReceiverEvent::Failed(error)) => println!("keeps its image: {error}"),
//!             Event::Update(ReceiverEvent::Installed(record)) => println!("goes to slot {:?}", record.slot),
//!             // The table restarts the node. On a chip this is `esp_restart()`.
//!             Event::Update(ReceiverEvent::Restart) => {}
//!             _ => {}
//!         }
//!     }
//!     if let ReceiverState::Receiving { done, parts } = table.hosts[sensor].node.update_state() {
//!         progress.push((done, parts));
//!     }
//! }
//! progress.dedup();
//! assert_eq!(progress, [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]);
//! # Ok::<(), meshward_core::ota::StartError>(())
//! ```
//!
//! # `initOTASend` and `offerOTA`
//!
//! ```cpp
//! mesh.initOTASend(
//!     [](painlessmesh::plugin::ota::DataRequest request, char* buffer) {
//!       firmware.seek(1024 * request.partNo);
//!       return firmware.readBytes(buffer, 1024);
//!     },
//!     1024);
//! mesh.offerOTA("sensor", "ESP32", md5, parts, /*forced*/ false, /*broadcasted*/ true);
//! ```
//!
//! The library offers to every node of a role for an hour, and never learns what becomes of it. A roll-out is for
//! named nodes, each of which ends as updated, declined or failed. The node that brings the image needs to be no
//! root, and has the image in memory: it is a gateway, not a sketch that reads a card.
//!
//! ```
//! # mod table { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/table/mod.rs")); }
//! # use meshward_core::flash::Layout;
//! # use meshward_core::mesh::MeshConfig;
//! # use meshward_core::node::{Firmware, NodeConfig};
//! # use meshward_core::ota::ReceiverConfig;
//! # use table::Table;
//! use meshward_core::node::Event;
//! use meshward_core::ota::{DistributorEvent, ImagePlan, Scheme, TargetState, Tempo};
//! use meshward_core::wire::NodeId;
//!
//! # let (old, new) = (vec![1; 3_000], vec![2; 5_000]);
//! # let mut table = Table::default();
//! # let gateway = NodeConfig::new(MeshConfig::gateway(NodeId(1), 1));
//! # let gateway = table.add(gateway, &[], &[]);
//! # for (id, role) in [(2, "sensor"), (3, "sensor"), (4, "lamp")] {
//! #     let firmware = Some(Firmware::Stock(ReceiverConfig {
//! #         id: NodeId(id),
//! #         role: role.as_bytes().to_vec(),
//! #         hardware: b"ESP32".to_vec(),
//! #         root: false,
//! #         layout: Layout::FOUR_MEGABYTES,
//! #         running: None,
//! #     }));
//! #     let mesh = MeshConfig::node(NodeId(id), id.into());
//! #     let at = table.add(NodeConfig::new(mesh).with_firmware(firmware), &old, &[]);
//! #     table.join(at, at - 1);
//! # }
//! # table.settle();
//! let plan = ImagePlan {
//!     scheme: Scheme::Turbo,                              // broadcasted
//!     image: new.clone(),                                 // what the callback would read
//!     role: b"sensor".to_vec(),
//!     hardware: b"ESP32".to_vec(),
//!     targets: vec![NodeId(2), NodeId(3), NodeId(4)],     // 2 and 3 are sensors, 4 is a lamp
//!     part_size: 1_024,                                   // 256 to 1 400 bytes
//!     concurrency: 4,
//!     hold: false,                                        // each restarts as soon as it has everything
//!     tempo: Tempo::default(),                            // as fast as the mesh takes it
//! };
//! table.hosts[gateway].node.start_rollout(table.now, plan)?;
//! # table.drain(gateway);
//! 'rollout: loop {
//!     for (_, event) in table.step() {
//!         match event {
//!             Event::Rollout(DistributorEvent::Target(target)) => {
//!                 println!("{}: {:?}, {} of {}", target.node.0, target.state, target.done, target.parts);
//!             }
//!             Event::Rollout(DistributorEvent::ForeignSender(node)) => {
//!                 println!("{} offers firmware for this role too: waiting until it has ended", node.0);
//!             }
//!             Event::Rollout(DistributorEvent::Finished) => break 'rollout,
//!             _ => {}
//!         }
//!     }
//! }
//! let report = table.hosts[gateway].node.rollout_report();
//! let states: Vec<TargetState> = report.iter().map(|target| target.state).collect();
//! assert_eq!(states, [TargetState::Updated, TargetState::Updated, TargetState::Declined]);
//! # assert_eq!(table.hosts.iter().filter(|host| host.image() == new).count(), 2);
//! # Ok::<(), meshward_core::ota::StartError>(())
//! ```
//!
//! # Signed and compressed
//!
//! The library has nothing like it. Nodes with [`Firmware::Signed`](crate::node::Firmware::Signed) take only what
//! an author and an operator have signed, compressed or as a patch of what they run, get from each other what was
//! lost, and start the image when an order says so. They take nothing by the stock protocol. Whoever offers has a
//! descriptor signed that names codec and chunk size, and puts image and signatures into an
//! [`Offering`](crate::ota::exchange::Offering): `examples/release/mod.rs` shows it with LZMA; a gateway has
//! `meshward-fleet` for that, and you have `meshward firmware`.
//!
//! ```
//! # mod table { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/table/mod.rs")); }
//! # mod release { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/release/mod.rs")); }
//! # use meshward_core::hash::Md5Sum;
//! # use meshward_core::rng::Rng;
//! # use table::Table;
//! use meshward_core::flash::{Books, Layout, Slot};
//! use meshward_core::mesh::MeshConfig;
//! use meshward_core::node::{Event, Firmware, NodeConfig};
//! use meshward_core::ota::{BootRecord, Tempo};
//! use meshward_core::ota::exchange::{ExchangeEvent, Phase, Stage, UpdatePlan};
//! use meshward_core::ota::receiver::{self, Receiver};
//! use meshward_core::ota::trial::{ResetReason, TrialRules};
//! use meshward_core::ota::trust::GroupKeys;
//! use meshward_core::wire::NodeId;
//!
//! # let old = vec![1; 3_000];
//! # let mut rng = Rng::new(1);
//! # let new: Vec<u8> = (0..20_000).map(|_| rng.below(16) as u8).collect();
//! # let factory_image =
//! #     BootRecord { sequence: 1, slot: Slot::A, size: old.len() as u32, md5: Md5Sum::of(&old) };
//! let sensor = |id| {
//!     let receiver = receiver::Config {
//!         id: NodeId(id),
//!         hardware: "ESP32".to_owned(),
//!         role: "sensor".to_owned(),
//!         protocol: (1, 1),
//!         chip: None,                 // the chip id in image headers: 5 on an ESP32-C3
//!         layout: Layout::FOUR_MEGABYTES,
//!         books: Books::FOUR_MEGABYTES,
//!         // These are of the boot loader; the table's fills them in.
//!         running: factory_image,
//!         committed: factory_image,
//!         previous: None,
//!         reset: ResetReason::PowerOn,
//!         rollback: true,
//!         group_keys: GroupKeys::default(),
//!         rules: TrialRules::default(),
//!         supply_least: None,
//!     };
//!     let mesh = MeshConfig::node(NodeId(id), id.into());
//!     NodeConfig::new(mesh).with_firmware(Firmware::Signed(Box::new(receiver)))
//! };
//! // The keys that a node believes come from the factory, not from its firmware.
//! let factory = Receiver::provision(&Books::FOUR_MEGABYTES, &release::keys());
//! # let mut table = Table::default();
//! # let gateway = NodeConfig::new(MeshConfig::gateway(NodeId(1), 1));
//! # let gateway = table.add(gateway, &[], &[]);
//! # for id in [2, 3] {
//! #     let at = table.add(sensor(id), &old, &factory);
//! #     table.join(at, at - 1);
//! # }
//! # table.settle();
//! let offering = release::offering(&new, 2)?; // LZMA, in chunks of 1 024 bytes, for role "sensor"
//! assert!(offering.payload.len() < new.len() * 6 / 10);
//! let plan =
//!     UpdatePlan { offerings: vec![offering], targets: vec![NodeId(2), NodeId(3)], tempo: Tempo::default(), broadcast: true };
//! table.hosts[gateway].node.start_update(table.now, plan)?;
//! # table.drain(gateway);
//! let confirmed = |table: &Table| {
//!     let members = table.hosts[gateway].node.exchange().members().values();
//!     members.filter(|member| member.line.is_some_and(|line| line.stage == Stage::Confirmed)).count()
//! };
//! while confirmed(&table) < 2 {
//!     for (at, event) in table.step() {
//!         match event {
//!             // Where the roll-out is: Offering, Passing, Repairing, Delivered.
//!             Event::Exchange(ExchangeEvent::Phase(Phase::Delivered)) => {
//!                 // Everybody has it. Nobody starts it without an order; this one is for all.
//!                 let order = release::activate(&new, 1);
//!                 table.hosts[gateway].node.order(table.now, &order, None);
//!                 # table.drain(gateway);
//!             }
//!             // Progress: the gateway has heard how far a node is.
//!             Event::Exchange(ExchangeEvent::Member(node)) => {
//!                 let members = table.hosts[gateway].node.exchange().members();
//!                 if let Some(line) = members[&node].line {
//!                     println!("{}: {}, {} chunks", node.0, line.stage.name(), line.done);
//!                 }
//!             }
//!             // What a node's own shell is told: Wanted, Ready, Restart, Confirmed, …
//!             Event::Exchange(ExchangeEvent::Receiver(event)) => println!("at place {at}: {event:?}"),
//!             _ => {}
//!         }
//!     }
//! }
//! # assert_eq!(table.hosts.iter().filter(|host| host.image() == new).count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A new image is on trial first: the shell must say that it works
//! ([`Node::handle_self_test`](crate::node::Node::handle_self_test)), and it must find its mesh again, or the boot
//! loader goes back to the old one.
//!
//! # EnhancedStatus
//!
//! ```cpp
//! EnhancedStatusPackage status;
//! status.freeMemory = ESP.getFreeHeap() / 1024;
//! mesh.sendBroadcast(status.toJSON());    // each minute
//! ```
//!
//! That costs a mesh of 50 nodes a sixth of its capacity. A node of ours sends the same package to whoever collects
//! it, at an interval and, when something critical happens, at once. The application says what only it can know;
//! uptime, links and counters are the node's own.
//!
//! ```
//! # mod table { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/table/mod.rs")); }
//! # use table::Table;
//! use meshward_core::mesh::MeshConfig;
//! use meshward_core::node::{Event, NodeConfig};
//! use meshward_core::telemetry::{Config, Identity, Metric, Policy};
//! use meshward_core::time::Duration;
//! use meshward_core::wire::{NodeId, fields, kind};
//!
//! let gateway = NodeId(1);
//! let sensor = NodeConfig::new(MeshConfig::node(NodeId(2), 7)).with_telemetry(Config {
//!     collector: Some(gateway),
//!     policy: Policy { enhanced_s: 30, ..Policy::default() },
//!     identity: Identity { version: "2.4.1".to_owned(), ..Identity::default() },
//!     ..Config::default()
//! });
//! # let mut table = Table::default();
//! # let gateway = table.add(NodeConfig::new(MeshConfig::gateway(gateway, 1)), &[], &[]);
//! # let sensor = table.add(sensor, &[], &[]);
//! # table.join(sensor, gateway);
//! # table.settle();
//! // In the application's loop, as often as it likes: only what has changed much is told.
//! let now = table.now;
//! assert!(table.hosts[sensor].node.set_metric(now, Metric::FreeHeap, 182_344));
//! assert!(table.hosts[sensor].node.set_metric(now, Metric::Rssi, -67));
//! # table.drain(sensor);
//! let mut heard = Vec::new();
//! while table.now < now + Duration::from_secs(70) {
//!     for (at, event) in table.step() {
//!         if let Event::Package { envelope, bytes } = event
//!             && at == gateway
//!             && envelope.kind == kind::ENHANCED_STATUS
//!         {
//!             heard.push(bytes);
//!         }
//!     }
//! }
//! assert_eq!(heard.len(), 2);
//! let field = |name| fields(&heard[0]).find(|(key, _)| key.is(name)).map(|(_, value)| value.as_u32());
//! assert_eq!((field("mem"), field("wifi"), field("conns")), (Some(178), Some(66), Some(1)));
//!
//! // Something critical: everybody who should know does within a second.
//! let now = table.now;
//! table.hosts[sensor].node.set_last_error("the pump is dry");
//! table.hosts[sensor].node.set_metric(now, Metric::Alerts, 1);
//! # table.drain(sensor);
//! # let mut at_once = false;
//! # while table.now < now + Duration::from_secs(1) {
//! #     at_once |= table.step().iter().any(|(_, event)| {
//! #         matches!(event, Event::Package { envelope, .. } if envelope.kind == kind::ENHANCED_STATUS)
//! #     });
//! # }
//! # assert!(at_once);
//! ```
//!
//! # The status service and telemetry
//!
//! A node with [`telemetry`](crate::node::NodeConfig::telemetry) answers queries (type 210) by itself, and tells what
//! changes in packets of 10 to 57 bytes (types 212 and 213) where an EnhancedStatus takes 293. Without a collector in
//! its configuration it is silent until a gateway sends it a policy (type 214). A gateway's end is a
//! [`Collector`](crate::telemetry::Collector).
//!
//! ```
//! # mod table { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/table/mod.rs")); }
//! # use table::Table;
//! use meshward_core::mesh::{MeshConfig, Priority};
//! use meshward_core::node::{Event, NodeConfig};
//! use meshward_core::telemetry::{
//!     Body, Collector, CollectorEvent, Config, Event as Told, Metric, Policy, Query, query_mask,
//! };
//! use meshward_core::time::Duration;
//! use meshward_core::wire::{NodeId, To};
//!
//! let sensor = NodeConfig::new(MeshConfig::node(NodeId(2), 7)).with_telemetry(Config::default());
//! # let mut table = Table::default();
//! # let gateway = table.add(NodeConfig::new(MeshConfig::gateway(NodeId(1), 1)), &[], &[]);
//! # let sensor = table.add(sensor, &[], &[]);
//! # table.join(sensor, gateway);
//! # table.settle();
//! let mut collector = Collector::new(NodeId(1));
//! collector.set_policy(table.now, NodeId(2), Policy { number: 1, ..Policy::default() });
//! let query = Query { q: 7, mask: query_mask(&[Metric::Battery]), window_ms: 500 };
//! let query = Body::Query(query).frame(NodeId(1), To::One(NodeId(2)));
//! table.hosts[gateway].node.send_package(NodeId(2), &query, Priority::Normal)?;
//!
//! // On the sensor:
//! let start = table.now;
//! table.hosts[sensor].node.set_metric(start, Metric::Battery, 88);
//! # table.drain(sensor);
//! let (mut answer, mut keyframe) = (None, None);
//! while table.now < start + Duration::from_secs(5) {
//!     for (at, event) in table.step() {
//!         match event {
//!             Event::Package { envelope, bytes } if at == gateway => {
//!                 collector.handle_package(table.now, envelope.kind, &bytes);
//!             }
//!             // A command that only the application can obey.
//!             Event::Telemetry(Told::Command(command)) => {
//!                 table.hosts[at].node.answer_command(table.now, &command, "the lamp is on");
//!             }
//!             _ => {}
//!         }
//!     }
//!     while let Some((node, frame)) = collector.poll_transmit() {
//!         table.hosts[gateway].node.send_package(node, &frame, Priority::Normal)?;
//!     }
//!     while let Some(event) = collector.poll_event() {
//!         match event {
//!             CollectorEvent::Answer { q: 7, values, .. } => answer = values,
//!             CollectorEvent::Report { report, .. } if report.keyframe => keyframe = Some(report),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(answer, Some(vec![(Metric::Battery, 88)]));
//! let keyframe = keyframe.expect("a policy makes a node tell");
//! assert!(keyframe.values.contains(&(Metric::Battery, 88)));
//! assert!(keyframe.values.contains(&(Metric::Links, 1)));
//! # Ok::<(), meshward_core::mesh::SendError>(())
//! ```
//!
//! # What has no counterpart
//!
//! - **`forced`**, which makes nodes take the image that they run already. As every node that has just restarted
//!   takes the next Announce for a new one, the library's sender has them restart once a minute, for an hour. A
//!   roll-out sends it never. A node with `Firmware::Stock` obeys one that comes from elsewhere. A signed image
//!   is taken only when its sequence is above that of the running one, without exception: to bring the same
//!   bytes again, have them signed with the next sequence.
//! - **`compressed`**, towards C++ nodes: the library never unpacks. It writes what arrives and compares its MD5,
//!   so a compressed image would be installed as it is. A roll-out to stock nodes never sets it.
//! - **The callback of `initOTASend`**: a roll-out holds the image, because it sends parts again and out of turn.
//! - **`setRoot`**, which the library's broadcasts need: [`Scheme::Turbo`](crate::ota::Scheme::Turbo) asks nobody
//!   to ask for others.
//! - **Offering to whoever comes**: a roll-out is for `targets`; a node that is to have the image and is away is
//!   waited for, and named as failed in the end. Signed updates reach late comers from their neighbours.
