use super::*;
use crate::anomaly::Detector;
use crate::condition::kind;
use crate::reading::{Reading, Source};
use crate::series::Store;

fn at(second: u64) -> Instant {
    Instant::from_micros(second * 1_000_000)
}

#[derive(Default)]
struct Bench {
    store: Store,
    detector: Detector,
    health: Health,
}

impl Bench {
    fn tell(&mut self, second: u64, node: u32, values: &[(Metric, f64)]) {
        let reading = |(metric, value): &(Metric, f64)| {
            Reading::new(NodeId(node), *metric, *value, at(second), Source::Telemetry)
        };
        let readings: Vec<Reading> = values.iter().map(reading).collect();
        let samples = self.store.handle(at(second), &readings);
        self.detector.handle(at(second), &self.store, &samples);
    }

    fn node(&mut self, second: u64, node: u32) -> Score {
        let view = View { store: &self.store, detector: &self.detector };
        self.health.node(at(second), view, NodeId(node))
    }

    fn mesh(&mut self, second: u64) -> MeshScore {
        let view = View { store: &self.store, detector: &self.detector };
        self.health.mesh(at(second), view)
    }
}

/// What one value costs.
#[track_caller]
fn check(metric: Metric, value: f64, rule: &str, points: u8) {
    let mut bench = Bench::default();
    bench.tell(10, 2, &[(metric, value)]);
    let score = bench.node(15, 2);
    let lost: Vec<(&str, u8)> =
        score.deductions.iter().map(|deduction| (deduction.rule.as_str(), deduction.points)).collect();
    let expected = if points == 0 { vec![] } else { vec![(rule, points)] };
    assert_eq!(lost, expected, "{metric:?} {value}");
    assert_eq!(score.points, Some(100 - points));
}

#[test]
fn values_cost_in_proportion_beyond_their_tolerance() {
    check(Metric::Rssi, -60.0, "weak_link", 0);
    check(Metric::Rssi, -70.0, "weak_link", 0);
    check(Metric::Rssi, -80.0, "weak_link", 13);
    check(Metric::Rssi, -90.0, "weak_link", 25);
    check(Metric::Rssi, -100.0, "weak_link", 25);
    check(Metric::FreeHeap, 31_000.0, "low_memory", 0);
    check(Metric::FreeHeap, 19_000.0, "low_memory", 15);
    check(Metric::Battery, 5.0, "battery", 20);
    check(Metric::ChipTemperature, 82.5, "hot", 8);
}

#[test]
fn a_lost_point_says_why_and_what_to_do() {
    let mut bench = Bench::default();
    bench.tell(10, 2, &[(Metric::Uptime, 500.0), (Metric::LinksLost, 4.0)]);
    let told =
        [(Metric::Uptime, 530.0), (Metric::LinksLost, 13.0), (Metric::Rssi, -84.0), (Metric::Parent, 12.0)];
    bench.tell(40, 2, &told);
    let score = bench.node(50, 2);
    let first = score.deductions.first().unwrap();
    assert_eq!(
        first.to_string(),
        "−18 rssi_dbm −84 dBm and links_lost_per_day 9 (10 s ago): move it nearer to node 12"
    );
    assert_eq!(score.deductions.get(1).unwrap().rule, "reconnects");
    assert_eq!((score.points, score.level), (Some(77), Level::Warning));
}

#[test]
fn old_values_cost_nothing_and_are_named() {
    let mut bench = Bench::default();
    bench.tell(10, 2, &[(Metric::Rssi, -90.0)]);
    bench.tell(2_000, 2, &[(Metric::Links, 2.0), (Metric::Cpu, 10.0)]);
    let score = bench.node(2_010, 2);
    assert_eq!((score.points, score.level), (Some(100), Level::Ok));
    let stale: Vec<(&str, u8, Duration)> =
        score.stale.iter().map(|stale| (stale.rule.as_str(), stale.points, stale.age)).collect();
    assert_eq!(stale, [("weak_link", 25, Duration::from_secs(2_000))]);
    // When all is old, there is no score: not a good one.
    let score = bench.node(9_000, 2);
    assert_eq!((score.points, score.level), (None, Level::Unknown));
    assert_eq!(bench.node(9_000, 77).points, None, "a stranger");
}

#[test]
fn states_cost_while_they_hold() {
    let mut bench = Bench::default();
    bench.tell(10, 2, &[(Metric::Rssi, -50.0)]);
    let node = Subject::Node(NodeId(2));
    bench.health.handle_condition(&Condition::found(kind::OFFLINE, node, at(20), "nothing for 71 s"));
    bench.health.handle_condition(&Condition::found(kind::LEAK, node, at(20), ""));
    let score = bench.node(80, 2);
    assert_eq!((score.points, score.level), (Some(0), Level::Critical));
    let first = score.deductions.first().unwrap();
    assert_eq!(first.evidence, "nothing for 71 s");
    assert_eq!(first.age, Duration::from_secs(60));
    bench.health.handle_condition(&Condition::ended(kind::OFFLINE, node, at(90)));
    let score = bench.node(100, 2);
    assert_eq!((score.points, score.trend), (Some(85), Trend::Up));
}

#[test]
fn a_mesh_loses_twice_what_its_nodes_do() {
    let mut bench = Bench::default();
    for node in 0..20 {
        bench.tell(10, 100 + node, &[(Metric::Rssi, -50.0)]);
    }
    assert_eq!(bench.mesh(20).points, 100);
    for node in [103, 104] {
        let subject = Subject::Node(NodeId(node));
        bench.health.handle_condition(&Condition::found(kind::OFFLINE, subject, at(20), "gone"));
        // More than all cannot be lost.
        bench.health.handle_condition(&Condition::found(kind::REBOOT_LOOP, subject, at(20), "again"));
    }
    let score = bench.mesh(30);
    assert_eq!((score.points, score.nodes), (80, 20));
    let first = score.deductions.first().unwrap();
    assert_eq!((first.rule.as_str(), first.nodes, first.worst), ("offline", 2, Some(NodeId(103))));
    assert_eq!(score.levels, BTreeMap::from([(Level::Ok, 18), (Level::Critical, 2)]));
    bench.health.handle_condition(&Condition::found(kind::PARTITION, Subject::Mesh, at(20), "two parts"));
    assert_eq!(bench.mesh(40).points, 55);
}

#[test]
fn own_usual_values_count() {
    let mut bench = Bench::default();
    // 200 ms is much for this node, and nothing for that one.
    for turn in 0..60 {
        bench.tell(turn * 30, 2, &[(Metric::RoundTrip, 30.0 + (turn % 3) as f64)]);
        bench.tell(turn * 30, 3, &[(Metric::RoundTrip, 190.0 + (turn % 3) as f64)]);
    }
    for turn in 60..64 {
        bench.tell(turn * 30, 2, &[(Metric::RoundTrip, 200.0)]);
        bench.tell(turn * 30, 3, &[(Metric::RoundTrip, 200.0)]);
    }
    assert_eq!(bench.node(1_900, 2).deductions.first().unwrap().rule, "slower");
    assert_eq!(bench.node(1_900, 3).points, Some(100));
}

#[test]
fn bad_tables_are_refused() {
    let rule = Table::default().rules()[15].clone();
    let ramp = |from, to| Cause::Signal { signal: Signal::Level(Metric::Cpu), from, to };
    for (rules, expected) in [
        (vec![rule.clone(); RULES], RuleError::TooMany(RULES)),
        (vec![rule.clone(), rule.clone()], RuleError::Name(rule.name.clone())),
        (vec![Rule { points: 0, ..rule.clone() }], RuleError::Points(rule.name.clone(), 0)),
        (vec![Rule { cause: ramp(5.0, 5.0), ..rule.clone() }], RuleError::Ramp(rule.name.clone())),
        (vec![Rule { cause: ramp(f64::NAN, 5.0), ..rule.clone() }], RuleError::Ramp(rule.name.clone())),
    ] {
        assert_eq!(Table::new(rules), Err(expected));
    }
    assert_eq!(Table::new(Table::default().rules().to_vec()), Ok(Table::default()));
}

const RULES: usize = RULES_MAX + 1;

#[test]
fn the_page_has_the_table() {
    let page = include_str!("../../../../docs/health.md");
    assert!(
        page.contains(&markdown(&Table::default())),
        "docs/health.md lacks:\n{}",
        markdown(&Table::default())
    );
}
