//! A node that takes images by the stock protocol, as a sketch with `initOTAReceive("sensor", progress)` does.
//!
//!     cargo run --package meshward-core --example receive
//!
//! The one who sends is a gateway beside it; a C++ node with `initOTASend` and `offerOTA` would do.
#![allow(clippy::print_stdout, reason = "an example shows something")]

mod table;

use meshward_core::flash::Layout;
use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Firmware, NodeConfig};
use meshward_core::ota::{
    ImagePlan, ReceiverConfig, ReceiverEvent, ReceiverState, Scheme, StartError, Tempo,
};
use meshward_core::wire::NodeId;
use table::Table;

const GATEWAY: NodeId = NodeId(1);
const SENSOR: NodeId = NodeId(2);

fn main() -> Result<(), StartError> {
    let (old, new) = (vec![1; 20_000], vec![2; 50_000]);
    let mut table = Table::default();
    let gateway = table.add(NodeConfig::new(MeshConfig::gateway(GATEWAY, 1)), &[], &[]);
    let receiver = ReceiverConfig {
        id: SENSOR,
        role: b"sensor".to_vec(),
        hardware: b"ESP32".to_vec(),
        root: false,
        layout: Layout::FOUR_MEGABYTES,
        running: None,
    };
    let firmware = Some(Firmware::Stock(receiver));
    let sensor = table.add(NodeConfig::new(MeshConfig::node(SENSOR, 2)).with_firmware(firmware), &old, &[]);
    table.join(sensor, gateway);
    table.settle();

    let plan = ImagePlan {
        scheme: Scheme::Unicast,
        image: new.clone(),
        role: b"sensor".to_vec(),
        hardware: b"ESP32".to_vec(),
        targets: vec![SENSOR],
        part_size: 1_024,
        concurrency: 1,
        hold: false,
        tempo: Tempo::default(),
    };
    table.hosts[gateway].node.start_rollout(table.now, plan)?;
    table.drain(gateway);

    let mut shown = None;
    while table.hosts[sensor].image() != new {
        for (at, event) in table.step() {
            let Event::Update(event) = event else { continue };
            match event {
                ReceiverEvent::Started(md5) => println!("node {at} takes the image {md5}"),
                ReceiverEvent::Failed(error) => println!("node {at} keeps its image: {error}"),
                ReceiverEvent::Installed(record) => println!("the image is in slot {:?}", record.slot),
                ReceiverEvent::Restart => println!("it restarts"),
            }
        }
        // What the C++ library calls its callback for: a part, and how many there are.
        if let ReceiverState::Receiving { done, parts } = table.hosts[sensor].node.update_state()
            && shown.replace(done) != Some(done)
            && done % 10 == 0
        {
            println!("part {done} of {parts}");
        }
    }
    println!("it runs the new image");
    Ok(())
}
