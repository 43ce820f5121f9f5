//! Nodes that take only what an author and an operator have signed, and a gateway that brings it, compressed.
//!
//!     cargo run --package meshward-core --example signed
//!
//! The C++ library has nothing like it. Nodes pass the update on to each other, and start it when they are told.
#![allow(clippy::print_stdout, reason = "an example shows something")]

mod release;
mod table;

use std::collections::BTreeMap;
use std::error::Error;

use meshward_core::flash::{Books, Layout, Slot};
use meshward_core::hash::Md5Sum;
use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Firmware, NodeConfig};
use meshward_core::ota::exchange::{ExchangeEvent, Phase, Stage, UpdatePlan};
use meshward_core::ota::receiver::{Config, Receiver};
use meshward_core::ota::trial::{ResetReason, TrialRules};
use meshward_core::ota::trust::GroupKeys;
use meshward_core::ota::{BootRecord, Tempo};
use meshward_core::rng::Rng;
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use table::Table;

/// A node as its firmware sets it up. What the boot loader chose is filled in at each start.
fn sensor(id: u32, image: &[u8]) -> NodeConfig {
    let running = BootRecord { sequence: 1, slot: Slot::A, size: image.len() as u32, md5: Md5Sum::of(image) };
    let receiver = Config {
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
        rules: TrialRules { soak: Duration::from_secs(10), ..TrialRules::default() },
        supply_least: None,
    };
    let mesh = MeshConfig::node(NodeId(id), id.into());
    NodeConfig::new(mesh).with_firmware(Firmware::Signed(Box::new(receiver)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let old = vec![1; 20_000];
    // As much order as there is in a program: it packs to about half.
    let mut rng = Rng::new(1);
    let new: Vec<u8> = (0..50_000).map(|_| rng.below(16) as u8).collect();
    let mut table = Table::default();
    let mesh = MeshConfig::gateway(NodeId(1), 1);
    let gateway = table.add(NodeConfig::new(mesh), &[], &[]);
    let factory = Receiver::provision(&Books::FOUR_MEGABYTES, &release::keys());
    for id in [2, 3] {
        let at = table.add(sensor(id, &old), &old, &factory);
        table.join(at, at - 1);
    }
    table.settle();

    let plan = UpdatePlan {
        offerings: vec![release::offering(&new, 2)?],
        targets: vec![NodeId(2), NodeId(3)],
        tempo: Tempo::default(),
        broadcast: true,
    };
    println!("{} bytes in {}", new.len(), plan.offerings[0].payload.len());
    table.hosts[gateway].node.start_update(table.now, plan)?;
    table.drain(gateway);

    let mut told = BTreeMap::new();
    while told.values().filter(|stage| **stage == Stage::Confirmed).count() < 2 {
        for (at, event) in table.step() {
            match event {
                Event::Exchange(ExchangeEvent::Phase(phase)) => {
                    println!("the roll-out: {phase:?}");
                    if phase == Phase::Delivered {
                        let order = release::activate(&new, 1);
                        table.hosts[gateway].node.order(table.now, &order, None);
                        table.drain(gateway);
                    }
                }
                // What the gateway hears of the nodes.
                Event::Exchange(ExchangeEvent::Member(id)) => {
                    let members = table.hosts[gateway].node.exchange().members();
                    let Some(line) = members.get(&id).and_then(|member| member.line) else { continue };
                    if told.insert(id, line.stage) != Some(line.stage) {
                        println!("node {}: {}, {} chunks", id.0, line.stage.name(), line.done);
                    }
                }
                // What a node says to its own shell.
                Event::Exchange(ExchangeEvent::Receiver(event)) => println!("    at place {at}: {event:?}"),
                _ => {}
            }
        }
    }
    let runs = table.hosts.iter().filter(|host| host.image() == new).count();
    println!("{runs} nodes run the image");
    Ok(())
}
