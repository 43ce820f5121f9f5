//! What a gateway needs for a mesh of 1 000 nodes that report each 30 s: memory per node, processor time per second
//! of operation.
//!
//!     cargo run --package meshward-fleet --example load
//!
//! Seven hours in virtual time: longer than anything is remembered, so that memory is at its most. The nodes hang in a
//! tree with four children each and send EnhancedStatus (604) and Metrics (204), sixteen and eighteen numbers, as
//! JSON, which costs more than telemetry. Probes are answered. The scores of all are asked for each minute.
#![allow(clippy::print_stdout, reason = "an example shows something")]

use std::error::Error;
use std::time::Instant as Clock;

use meshward_core::mesh::{LinkRole, MeshConfig, MeshEvent};
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::status::{EnhancedStatus, Metrics, Package};
use meshward_core::wire::{NodeId, NodeSync, To, Tree, peek};
use meshward_fleet::Fleet;
use meshward_fleet::fleet::{Settings, Transmit};

const NODES: u32 = 1_000;
const PERIOD_S: u64 = 30;
const HOURS: u64 = 7;
const GATEWAY: NodeId = NodeId(1);

/// The branch of the node with this number: those with the four numbers after four times its own are below it.
fn branch(number: u32) -> Tree {
    let mut tree = Tree::leaf(NodeId(number + 1));
    let children = (4 * number - 2..=4 * number + 1).filter(|child| *child <= NODES);
    children.for_each(|child| tree.graft(&branch(child)));
    tree
}

/// A gateway's node with one neighbour, behind which all the others are.
fn gateway(now: Instant) -> Result<Node, Box<dyn Error>> {
    let mut node = Node::new(NodeConfig::new(MeshConfig::gateway(GATEWAY, 1)));
    let link = node.handle_link_up(now, LinkRole::Listener).ok_or("there is no room for a link")?;
    while node.poll_event().is_some() {}
    let sync = NodeSync { reply: false, dest: GATEWAY, from: NodeId(2), tree: branch(1) };
    let mut frame = sync.encode();
    frame.push(0);
    node.handle_data(now, link, &frame);
    Ok(node)
}

/// What a node tells, with some noise.
fn packages(second: u64, rng: &mut Rng) -> [Package; 2] {
    let mut noise = |most: u64| rng.below(most) as u32;
    let up = second as u32 + 100_000;
    let status = EnhancedStatus {
        uptime_s: up.into(),
        memory_kb: (150 + noise(9) as u16).into(),
        firmware: "1.4.2".into(),
        nodes: (NODES as u16).into(),
        connections: 4.into(),
        messages_rx: (up * 2).into(),
        messages_tx: up.into(),
        messages_dropped: 3.into(),
        latency_ms: (40 + noise(30) as u16).into(),
        ..EnhancedStatus::default()
    };
    let metrics = Metrics {
        cpu: (20 + noise(10) as u8).into(),
        heap: (150_000 + noise(9_000)).into(),
        heap_min: 120_000.into(),
        bytes_rx: (up * 300).into(),
        bytes_tx: (up * 150).into(),
        rssi: (-60 - noise(9) as i8).into(),
        ..Metrics::default()
    };
    [status.into(), metrics.into()]
}

/// Bytes of memory that the process has in RAM, where the system says so.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * 4_096)
}

/// Answers probes, and takes what nobody else does; how many alerts there were.
fn drain(fleet: &mut Fleet, node: &Node, now: Instant) -> usize {
    while let Some(transmit) = fleet.poll_transmit() {
        if let Transmit::Probe(from) = transmit {
            let event = Event::Mesh(MeshEvent::Delay { from, round_trip: Duration::from_millis(60) });
            fleet.handle_event(now, node.mesh(), &event);
        }
    }
    let events = std::iter::from_fn(|| fleet.poll_event());
    events.filter(|event| matches!(event, meshward_fleet::fleet::Event::Alert(_))).count()
}

fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::default();
    let mut node = gateway(Instant::ORIGIN)?;
    let mut fleet = Fleet::new(Instant::ORIGIN, GATEWAY, 1, settings)?;
    while let Some(event) = node.poll_event() {
        fleet.handle_event(Instant::ORIGIN, node.mesh(), &event);
    }
    let known = fleet.topology().places().count();
    let (mut rng, before) = (Rng::new(1), resident());
    let (mut telling, mut scoring, mut alerts) = (0.0, 0.0, 0);
    for second in 1..=HOURS * 3_600 {
        let now = Instant::ORIGIN + Duration::from_secs(second);
        let due = (1..=NODES).filter(|number| u64::from(*number) % PERIOD_S == second % PERIOD_S);
        let mut events = Vec::new();
        for number in due {
            for package in packages(second, &mut rng) {
                let bytes = package.encode(NodeId(number + 1), To::One(GATEWAY));
                let envelope = peek(&bytes).ok_or("a package without an envelope")?;
                events.push(Event::Package { envelope, bytes });
            }
        }
        let began = Clock::now();
        events.iter().for_each(|event| fleet.handle_event(now, node.mesh(), event));
        while fleet.poll_timeout().is_some_and(|due| due <= now) {
            fleet.handle_timeout(now);
            alerts += drain(&mut fleet, &node, now);
        }
        alerts += drain(&mut fleet, &node, now);
        telling += began.elapsed().as_secs_f64();
        if second % 60 == 0 {
            let began = Clock::now();
            fleet.mesh_score(now);
            scoring += began.elapsed().as_secs_f64();
        }
    }
    let seconds = (HOURS * 3_600) as f64;
    let kilobytes = |bytes: usize| bytes as f64 / 1_024.0 / f64::from(NODES);
    println!("{known} nodes, 604 and 204 each {PERIOD_S} s, {HOURS} h, {alerts} transitions of alerts:");
    println!(
        "  series and anomalies {:.1} KB per node",
        kilobytes(fleet.series().bytes() + fleet.anomalies().bytes())
    );
    if let Some((before, after)) = before.zip(resident()) {
        println!(
            "  process              {:.1} KB per node",
            kilobytes(after.saturating_sub(before) as usize)
        );
    }
    println!("  everything           {:.2} ms of processor per second", telling * 1e3 / seconds);
    println!("  scores, each minute  {:.2} ms of processor per second", scoring * 1e3 / seconds);
    Ok(())
}
