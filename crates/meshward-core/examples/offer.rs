//! A node that brings an image to C++ nodes, as a sketch with `initOTASend` and `offerOTA` does.
//!
//!     cargo run --package meshward-core --example offer
//!
//! Two sensors, one behind the other, and a lamp that does not want the image. They take images by the stock
//! protocol, as C++ nodes do, which could stand in their places.
#![allow(clippy::print_stdout, reason = "an example shows something")]

mod table;

use meshward_core::flash::Layout;
use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Firmware, NodeConfig};
use meshward_core::ota::{DistributorEvent, ImagePlan, ReceiverConfig, Scheme, StartError, Tempo};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use table::Table;

fn main() -> Result<(), StartError> {
    let (old, new) = (vec![1; 20_000], vec![2; 50_000]);
    let mut table = Table::default();
    let mesh = MeshConfig::gateway(NodeId(1), 1);
    let gateway = table.add(NodeConfig::new(mesh), &[], &[]);
    for (id, role) in [(2, "sensor"), (3, "sensor"), (4, "lamp")] {
        let receiver = ReceiverConfig {
            id: NodeId(id),
            role: role.as_bytes().to_vec(),
            hardware: b"ESP32".to_vec(),
            root: false,
            layout: Layout::FOUR_MEGABYTES,
            running: None,
        };
        let mesh = MeshConfig::node(NodeId(id), id.into());
        let at = table.add(NodeConfig::new(mesh).with_firmware(Firmware::Stock(receiver)), &old, &[]);
        table.join(at, at - 1);
    }
    table.settle();

    let plan = ImagePlan {
        // One broadcast for all; `Scheme::Unicast` lets each node ask for each part, as the library does.
        scheme: Scheme::Turbo,
        image: new.clone(),
        role: b"sensor".to_vec(),
        hardware: b"ESP32".to_vec(),
        targets: vec![NodeId(2), NodeId(3), NodeId(4)],
        part_size: 1_024,
        concurrency: 4,
        hold: false,
        tempo: Tempo::default(),
    };
    table.hosts[gateway].node.start_rollout(table.now, plan)?;
    table.drain(gateway);

    loop {
        for (_, event) in table.step() {
            match event {
                Event::Rollout(DistributorEvent::Target(target)) => {
                    println!(
                        "node {}: {:?}, {} of {}",
                        target.node.0, target.state, target.done, target.parts
                    );
                }
                Event::Rollout(DistributorEvent::ForeignSender(node)) => {
                    println!("node {} sends firmware too: waiting until it has ended", node.0);
                }
                Event::Rollout(DistributorEvent::Finished) => {
                    let runs = table.hosts[1..].iter().filter(|host| host.image() == new).count();
                    let seconds = table.now.since(Instant::ORIGIN).as_micros() / 1_000_000;
                    println!("after {seconds} s {runs} nodes run the image");
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}
