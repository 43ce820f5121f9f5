//! What a gateway needs for the state of 1 000 nodes that report each 30 s: memory per node, processor time per
//! second of operation.
//!
//!     cargo run --package meshward-fleet --example load
//!
//! Seven hours in virtual time: longer than anything is remembered, so that memory is at its most. Every report has
//! twelve metrics. Store, detector, alerts and, each minute, the scores of all nodes and of the mesh.
#![allow(clippy::print_stdout, reason = "an example shows something")]

use std::time::Instant as Clock;

use meshward_core::rng::Rng;
use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::alert::{Config, Engine, RuleError, default_rules};
use meshward_fleet::anomaly::Detector;
use meshward_fleet::health::Health;
use meshward_fleet::reading::{Reading, Source};
use meshward_fleet::series::Store;
use meshward_fleet::signal::View;

const NODES: u32 = 1_000;
const PERIOD_S: u64 = 30;
const HOURS: u64 = 7;

/// What a node tells, with some noise.
fn report(node: u32, second: u64, at: Instant, rng: &mut Rng) -> Vec<Reading> {
    let mut noise = |most: u64| rng.below(most) as f64;
    let up = (second + 100_000) as f64;
    let values = [
        (Metric::Uptime, up),
        (Metric::FreeHeap, 150_000.0 + noise(9_000)),
        (Metric::MinHeap, 120_000.0),
        (Metric::Fragmentation, 10.0 + noise(5)),
        (Metric::Cpu, 20.0 + noise(10)),
        (Metric::Rssi, -60.0 - noise(9)),
        (Metric::MessagesRx, up * 2.0),
        (Metric::MessagesTx, up),
        (Metric::MessagesDropped, 3.0),
        (Metric::BytesRx, up * 300.0),
        (Metric::BytesTx, up * 150.0),
        (Metric::RoundTrip, 40.0 + noise(30)),
    ];
    let reading = |(metric, value)| Reading::new(NodeId(node), metric, value, at, Source::Telemetry);
    values.map(reading).to_vec()
}

/// Bytes of memory that the process has in RAM, where the system says so.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * 4_096)
}

fn main() -> Result<(), RuleError> {
    let (mut store, mut detector, mut health) = (Store::default(), Detector::default(), Health::default());
    let mut engine = Engine::new(Instant::ORIGIN, Config::new("load"), default_rules())?;
    let (mut rng, before) = (Rng::new(1), resident());
    let (mut telling, mut scoring) = (0.0, 0.0);
    for second in 1..=HOURS * 3_600 {
        let now = Instant::ORIGIN + Duration::from_secs(second);
        let due = (0..NODES).filter(|node| u64::from(*node) % PERIOD_S == second % PERIOD_S);
        let reports: Vec<(NodeId, Vec<Reading>)> =
            due.map(|node| (NodeId(node), report(node, second, now, &mut rng))).collect();
        let began = Clock::now();
        for (node, readings) in reports {
            let samples = store.handle(now, &readings);
            detector.handle(now, &store, &samples);
            engine.handle_node(now, View { store: &store, detector: &detector }, node);
        }
        while let Some(event) = detector.poll_event() {
            let condition = event.finding.condition(event.began);
            health.handle_condition(&condition);
            engine.handle_condition(now, &condition);
        }
        engine.handle_timeout(now);
        while engine.poll_notification().is_some() || engine.poll_transition().is_some() {}
        telling += began.elapsed().as_secs_f64();
        if second % 60 == 0 {
            let began = Clock::now();
            health.mesh(now, View { store: &store, detector: &detector });
            scoring += began.elapsed().as_secs_f64();
        }
    }
    let seconds = (HOURS * 3_600) as f64;
    let kilobytes = |bytes: usize| bytes as f64 / 1_024.0 / f64::from(NODES);
    println!("{NODES} nodes, a report of 12 metrics each {PERIOD_S} s, {HOURS} h:");
    println!("  series   {:.1} KB per node", kilobytes(store.bytes()));
    println!("  anomaly  {:.1} KB per node", kilobytes(detector.bytes()));
    if let Some((before, after)) = before.zip(resident()) {
        println!("  process  {:.1} KB per node", kilobytes(after.saturating_sub(before) as usize));
    }
    println!("  readings, anomalies, alerts: {:.2} ms of processor per second", telling * 1e3 / seconds);
    println!("  scores of all, each minute:  {:.2} ms of processor per second", scoring * 1e3 / seconds);
    Ok(())
}
