//! Whatever comes in, few messages go out.

use super::tests::{Bench, at, sizes, state, weak};
use super::*;
use crate::condition::kind;
use meshward_core::telemetry::Metric;

#[test]
fn a_hundred_nodes_at_once_are_one_or_two_messages() {
    for severity in [Severity::Warning, Severity::Critical] {
        let mut bench = Bench::new(vec![state(kind::OFFLINE, severity)]);
        let mut sent = Vec::new();
        for node in 0..100 {
            bench.found(kind::OFFLINE, node);
            sent.extend(bench.pass(0));
        }
        sent.extend(bench.pass(3_600));
        assert!(sent.len() <= 2, "{severity:?}: {} messages", sent.len());
        let told: usize = sent.iter().map(|one| one.firing.len() + one.more).sum();
        assert_eq!(told, 100);
        assert!(sent.iter().all(|one| one.firing.len() <= SNAPSHOTS_MAX));
    }
}

#[test]
fn a_hundred_nodes_of_one_name_are_a_hundred_alerts() {
    let mut bench = Bench::new(vec![weak(0, 0)]);
    for node in 0..100 {
        bench.tell(node, Metric::Rssi, -95.0);
    }
    let names: std::collections::BTreeSet<Fingerprint> =
        bench.engine.alerts().map(|alert| alert.fingerprint).collect();
    assert_eq!(names.len(), 100, "a node is its id, whatever it is called");
    assert_eq!(bench.pass(60).len(), 1);
}

#[test]
fn what_flaps_is_said_once() {
    let mut bench = Bench::new(vec![state(kind::OFFLINE, Severity::Critical)]);
    let mut sent = Vec::new();
    for _ in 0..500 {
        bench.found(kind::OFFLINE, 2);
        sent.extend(bench.pass(30));
        bench.ended(kind::OFFLINE, 2);
        sent.extend(bench.pass(30));
    }
    assert!(sent.len() <= 8, "{} messages in eight hours", sent.len());
    assert_eq!(sent.iter().filter(|one| one.firing.iter().any(|alert| alert.flapping)).count(), 1);
    assert!(bench.first().flapping);
    assert_eq!(bench.first().suppressed_by, Some(Suppression::Flapping));
    // It is still at last, and gone: that is said.
    bench.found(kind::OFFLINE, 2);
    let sent = bench.pass(3_600);
    assert_eq!(sizes(&sent), [(1, 0)]);
    assert!(!bench.first().flapping);
}

#[test]
fn values_that_swing_between_the_thresholds_raise_nothing() {
    let mut bench = Bench::new(vec![weak(60, 60)]);
    for turn in 0..2_000 {
        bench.tell(2, Metric::Rssi, if turn % 2 == 0 { -95.0 } else { -60.0 });
        assert_eq!(bench.pass(30), []);
    }
}

#[test]
fn nonsense_raises_nothing() {
    let mut bench = Bench::new(default_rules());
    for turn in 0..500 {
        let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300][turn % 5];
        for metric in Metric::ALL {
            bench.tell(2, *metric, wild);
        }
        assert_eq!(bench.pass(30), []);
    }
    assert_eq!(bench.states(), []);
}

#[test]
fn a_clock_that_jumps_raises_nothing_and_stops_nothing() {
    let mut bench = Bench::new(vec![state(kind::LEAK, Severity::Warning), weak(60, 0)]);
    let subject = Subject::Node(NodeId(2));
    // Found in the future, found long ago: neither lasts longer than it has been known.
    let far = Condition::found(kind::LEAK, subject, at(999_999_999), "");
    bench.engine.handle_condition(at(bench.now), &far);
    assert_eq!(sizes(&bench.pass(60)), [(1, 0)]);
    bench.engine.handle_condition(at(bench.now), &Condition::ended(kind::LEAK, subject, at(0)));
    assert_eq!(sizes(&bench.pass(600)), [(0, 1)]);
    // The engine is called with an instant before the last: nothing moves back.
    bench.engine.handle_timeout(at(5));
    bench.engine.handle_condition(at(5), &Condition::found(kind::LEAK, subject, at(5), ""));
    assert_eq!(bench.pass(600).len(), 1);
}

#[test]
fn a_mesh_that_goes_mad_gets_a_summary() {
    let rules: Vec<Rule> = (0..100)
        .map(|number| Rule { name: format!("rule_{number}"), ..state(kind::OFFLINE, Severity::Critical) })
        .collect();
    let mut bench = Bench::new(rules);
    let mut sent = Vec::new();
    for node in 0..40 {
        bench.found(kind::OFFLINE, node);
        sent.extend(bench.pass(1));
    }
    let summaries = sent.iter().filter(|one| one.notice == Notice::Summary).count();
    assert!(summaries > 0 && sent.len() <= TOKENS_MAX as usize + 2, "{} messages", sent.len());
    assert!(bench.engine.dropped().summarised > 0);
    // In the long run one in half a minute is the most.
    for node in 40..700 {
        bench.found(kind::OFFLINE, node % 45);
        bench.ended(kind::OFFLINE, (node + 7) % 45);
        sent.extend(bench.pass(1));
    }
    assert!(sent.len() <= TOKENS_MAX as usize + 700 / 30 + 2, "{} messages", sent.len());
}

#[test]
fn memory_is_bounded() {
    let mut bench = Bench::new(vec![state(kind::OFFLINE, Severity::Info)]);
    for node in 0..ALERTS_MAX as u32 + 100 {
        bench.found(kind::OFFLINE, node);
    }
    assert_eq!(bench.engine.alerts().count(), ALERTS_MAX);
    assert_eq!(bench.engine.dropped().alerts, 100);
    // A cleared one makes room, once that was said.
    bench.pass(60);
    bench.ended(kind::OFFLINE, 0);
    bench.pass(600);
    bench.found(kind::OFFLINE, 9_999);
    assert_eq!(bench.engine.dropped().alerts, 100);
    for turn in 0..30_000_u32 {
        bench.found(kind::OFFLINE, 1 + turn % 2);
        bench.ended(kind::OFFLINE, 1 + turn % 2);
    }
    assert!(bench.engine.history().count() <= HISTORY_MAX);
    let mut waiting = 0;
    while bench.engine.poll_transition().is_some() {
        waiting += 1;
    }
    assert!(waiting <= TRANSITIONS_MAX && bench.engine.dropped().transitions > 0);
    for subject in 0..CAUSES_MAX as u32 + 3 {
        bench.engine.handle_cause(at(bench.now), Subject::Link(NodeId(1), NodeId(subject)), Some(1));
    }
    assert_eq!(bench.engine.dropped().causes, 3);
}
