//! Meshward updates through whole nodes on quiet wires: what the simulator tries at random, in small.

use meshward_core::codec::{Codec, Sizes};
use meshward_core::flash::{Books, Layout, Slot};
use meshward_core::hash::{BLOCK, BlockHash, Md5Sum, Sha256Sum};
use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Firmware, NodeConfig};
use meshward_core::ota::exchange::{ExchangeEvent, Offering, Phase, PlanError, Stage, UpdatePlan};
use meshward_core::ota::receiver::{self, Receiver};
use meshward_core::ota::trial::{ResetReason, TrialRules};
use meshward_core::ota::trust::{Descriptor, Domain, GroupKeys, Manifest, Order, Verb};
use meshward_core::ota::{BootRecord, Tempo, write_record};
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;

use crate::net::{Net, plain};
use crate::trust::{sign, store};

const AUTHOR: u8 = 1;
const OPERATOR: u8 = 2;
const DELAY: Duration = Duration::from_millis(2);
const MINUTE: Duration = Duration::from_secs(60);

fn image(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at / 300) as u8 ^ seed).collect()
}

fn old() -> Vec<u8> {
    image(1, 9_000)
}

fn new() -> Vec<u8> {
    image(2, 20_000)
}

fn manifest(image: &[u8]) -> Manifest {
    Manifest {
        sha256: Sha256Sum::of(image),
        md5: Md5Sum::of(image),
        size: image.len() as u32,
        hardware: "ESP32".to_owned(),
        role: "sensor".to_owned(),
        version: "2".to_owned(),
        sequence: 2,
        protocol: (1, 1),
        not_after: None,
    }
}

fn offering(image: &[u8]) -> Offering {
    let table: Vec<u8> = image.chunks(BLOCK).flat_map(|block| BlockHash::of(block).0).collect();
    let descriptor = Descriptor {
        image: Sha256Sum::of(image),
        base: None,
        codec: Codec::None,
        sizes: Sizes { packed: image.len() as u32, plain: image.len() as u32 },
        sha256: Sha256Sum::of(image),
        chunk_size: 1_024,
        table: Sha256Sum::of(&table),
        seal: None,
    };
    Offering {
        manifest: sign(AUTHOR, Domain::Manifest, &manifest(image).encode()),
        descriptor: sign(OPERATOR, Domain::Descriptor, &descriptor.encode()),
        table,
        payload: image.to_vec(),
    }
}

fn plan(targets: &[u32]) -> UpdatePlan {
    let targets = targets.iter().copied().map(NodeId).collect();
    UpdatePlan { offerings: vec![offering(&new())], targets, tempo: Tempo::default(), broadcast: true }
}

fn activate(counter: u64) -> Vec<u8> {
    let verb = Verb::Activate(Sha256Sum::of(&new()));
    let order = Order { counter, verb, issued_at: None, not_after: None, nodes: None };
    sign(OPERATOR, Domain::Order, &order.encode())
}

fn signed(id: u32) -> NodeConfig {
    let image = old();
    let running =
        BootRecord { sequence: 2, slot: Slot::A, size: image.len() as u32, md5: Md5Sum::of(&image) };
    let config = receiver::Config {
        id: NodeId(id),
        hardware: "ESP32".to_owned(),
        role: "sensor".to_owned(),
        protocol: (1, 1),
        chip: None,
        layout: Layout::FOUR_MEGABYTES,
        books: Books::FOUR_MEGABYTES,
        running,
        committed: running,
        previous: None,
        reset: ResetReason::Software,
        group_keys: GroupKeys::default(),
        rollback: true,
        rules: TrialRules { soak: Duration::from_secs(10), limit: Duration::from_secs(900) },
        supply_least: None,
    };
    let mesh = MeshConfig::node(NodeId(id), u64::from(id));
    NodeConfig::new(mesh).with_firmware(Firmware::Signed(Box::new(config)))
}

/// Adds a node from the factory, with the power on.
fn add(net: &mut Net, id: u32) -> usize {
    let index = net.add(signed(id));
    let image = old();
    let layout = Layout::FOUR_MEGABYTES;
    let slot = layout.slot(Slot::A).start as usize;
    net.hosts[index].chip[slot..slot + image.len()].copy_from_slice(&image);
    let (size, md5) = (image.len() as u32, Md5Sum::of(&image));
    let records = [1, 2].map(|sequence| BootRecord { sequence, slot: Slot::A, size, md5 });
    let writes = records.iter().flat_map(|record| write_record(&layout, record)).collect::<Vec<_>>();
    net.write(index, writes);
    net.write(index, Receiver::provision(&Books::FOUR_MEGABYTES, &store()));
    start(net, index);
    index
}

fn start(net: &mut Net, index: usize) {
    net.reboot(index);
    net.with(index, |node, now| node.handle_self_test(now, true));
}

/// A gateway, then nodes 2 to `last`, each behind the one before.
fn chain(last: u32) -> Net {
    let mut net = Net::default();
    net.add(plain(1));
    for id in 2..=last {
        let index = add(&mut net, id);
        net.dial(index, index - 1, DELAY);
    }
    assert!(
        net.run(MINUTE, |net| net.hosts.iter().all(|host| host.node.mesh().tree().len() == last as usize))
    );
    net
}

fn stage(net: &Net, of: u32) -> Option<Stage> {
    let members = net.hosts[0].node.exchange().members();
    members.get(&NodeId(of)).and_then(|member| member.line).map(|line| line.stage)
}

fn all_are(net: &Net, stages: &[Stage]) -> bool {
    (1..net.hosts.len())
        .all(|index| stage(net, index as u32 + 1).is_some_and(|stage| stages.contains(&stage)))
}

fn phase(net: &Net) -> Option<Phase> {
    net.hosts[0].node.exchange().phase()
}

/// Lets nodes restart that want to, and dial their parents again.
fn restart_all(net: &mut Net) {
    for index in 1..net.hosts.len() {
        if net.reboot_if_wanted(index) {
            net.with(index, |node, now| node.handle_self_test(now, true));
        }
    }
    for index in 1..net.hosts.len() {
        if !net.is_joined(index, index - 1) {
            net.dial(index, index - 1, DELAY);
        }
    }
}

fn finish(net: &mut Net) {
    let deadline = net.now + Duration::from_secs(300);
    while net.now < deadline && !all_are(net, &[Stage::Confirmed]) {
        net.run(Duration::from_secs(3), |_| false);
        restart_all(net);
    }
    assert!(all_are(net, &[Stage::Confirmed]), "{:?}", net.hosts[0].node.exchange().members());
    assert!((1..net.hosts.len()).all(|index| net.image(index) == Some(&new()[..])));
}

#[test]
fn without_broadcasts_each_node_gets_chunks_of_its_own() {
    for (broadcast, above) in [(true, None), (false, None), (true, Some(0)), (false, Some(0))] {
        // A chain, or all at the gateway, which then has to do with several who lack the same.
        let mut net = Net::default();
        net.add(plain(1));
        for id in 2..=5 {
            let index = add(&mut net, id);
            net.dial(index, above.unwrap_or(index - 1), DELAY);
        }
        assert!(net.run(MINUTE, |net| net.hosts.iter().all(|host| host.node.mesh().tree().len() == 5)));
        let plan = UpdatePlan { broadcast, ..plan(&[2, 3, 4, 5]) };
        net.with(0, |node, now| node.start_update(now, plan).unwrap());
        assert!(net.run(MINUTE, |net| all_are(net, &[Stage::Ready])), "{:?}", phase(&net));
        let passing =
            |event: &Event| matches!(event, Event::Exchange(ExchangeEvent::Phase(Phase::Passing { .. })));
        assert_eq!(net.hosts[0].events.iter().any(passing), broadcast, "star: {}", above.is_some());
    }
}

#[test]
fn at_a_fixed_rate_chunks_go_as_often_as_it_says() {
    // 20 chunks of the image, and that of its block table.
    for (rate, least, most) in [(2, 9_000, 13_000), (50, 0, 2_000)] {
        let mut net = chain(3);
        let tempo = Tempo { chunks_per_second: core::num::NonZeroU16::new(rate), ..Tempo::default() };
        net.with(0, |node, now| node.start_update(now, UpdatePlan { tempo, ..plan(&[2, 3]) }).unwrap());
        assert!(net.run(MINUTE, |net| matches!(phase(net), Some(Phase::Passing { .. }))));
        let began = net.now;
        assert!(net.run(MINUTE, |net| matches!(phase(net), Some(Phase::Repairing | Phase::Delivered))));
        let took = net.now.since(began).as_micros() / 1_000;
        assert!((least..most).contains(&took), "{rate} a second took {took} ms");
        assert!(net.run(MINUTE, |net| all_are(net, &[Stage::Ready])));
    }
}

#[test]
fn a_survey_tells_what_every_node_is() {
    let mut net = chain(5);
    net.with(0, |node, now| node.survey(now));
    let known =
        |net: &Net| net.hosts[0].node.exchange().members().values().filter(|m| m.about.is_some()).count();
    assert!(net.run(MINUTE, |net| known(net) == 4));
    let exchange = net.hosts[0].node.exchange();
    let about = exchange.members()[&NodeId(4)].about.clone().unwrap();
    assert_eq!(about.running, Some(Sha256Sum::of(&old()).into()));
    assert_eq!((about.role.as_str(), about.hardware.as_str(), about.updates), ("sensor", "ESP32", true));
}

#[test]
fn who_is_asked_alone_answers_though_it_has_answered_all() {
    let mut net = chain(4);
    let heard = |net: &Net, node: u32| {
        let told =
            |event: &&Event| matches!(event, Event::Exchange(ExchangeEvent::Member(id)) if id.0 == node);
        net.hosts[0].events.iter().filter(told).count()
    };
    net.with(0, |node, now| node.survey(now));
    net.run(Duration::from_secs(2), |_| false);
    let before = [3, 4].map(|node| heard(&net, node));
    assert!(before.iter().all(|count| *count > 0));
    net.with(0, |node, now| node.survey(now));
    net.run(Duration::from_secs(2), |_| false);
    assert_eq!([3, 4].map(|node| heard(&net, node)), before, "the same question is answered once");
    net.with(0, |node, now| node.survey_one(now, NodeId(4)));
    net.run(Duration::from_secs(2), |_| false);
    assert!(heard(&net, 4) > before[1]);
    assert_eq!(heard(&net, 3), before[0], "others are not asked");
}

#[test]
fn an_update_goes_out_once_and_all_restart_into_it() {
    let mut net = chain(5);
    net.with(0, |node, now| node.start_update(now, plan(&[2, 3, 4, 5]))).unwrap();
    assert!(net.run(MINUTE, |net| phase(net) == Some(Phase::Delivered)), "{:?}", phase(&net));
    assert!(all_are(&net, &[Stage::Ready]));
    assert_eq!(net.with(0, |node, now| node.start_update(now, plan(&[]))), Err(PlanError::NoTargets));
    net.with(0, |node, now| node.order(now, &activate(1), None));
    finish(&mut net);
    let events = &net.hosts[0].events;
    let passing =
        |event: &&Event| matches!(event, Event::Exchange(ExchangeEvent::Phase(Phase::Passing { .. })));
    assert_eq!(events.iter().filter(passing).count(), 1);
}

#[test]
fn a_late_comer_is_served_by_its_parent_without_the_gateway() {
    let mut net = chain(3);
    net.with(0, |node, now| node.start_update(now, plan(&[2, 3]))).unwrap();
    assert!(net.run(MINUTE, |net| phase(net) == Some(Phase::Delivered)));
    net.with(0, |node, now| node.stop_update(now));
    let late = add(&mut net, 4);
    net.dial(late, 2, DELAY);
    let ready = |net: &Net| {
        let receiver = net.hosts[late].node.exchange().receiver();
        receiver.is_some_and(|receiver| receiver.state() == receiver::State::Ready)
    };
    assert!(
        net.run(MINUTE.saturating_mul(3), ready),
        "{:?}",
        net.hosts[late].node.exchange().receiver().map(Receiver::state)
    );
}

#[test]
fn nobody_takes_what_nobody_signed() {
    let mut net = chain(3);
    let mut forged = plan(&[2, 3]);
    forged.offerings[0].descriptor = sign(AUTHOR, Domain::Descriptor, b"nonsense");
    let refused = net.with(0, |node, now| node.start_update(now, forged));
    assert_eq!(refused, Err(PlanError::Payload(0)));
    let mut forged = plan(&[2, 3]);
    forged.offerings[0].manifest[20] ^= 1;
    net.with(0, |node, now| node.start_update(now, forged)).unwrap();
    assert!(net.run(MINUTE, |net| phase(net) == Some(Phase::Delivered)));
    assert!(all_are(&net, &[Stage::Refused]));
}
