use super::*;
use crate::reading::{Reading, Source};

/// A node that is told of in virtual time: one value each half a minute.
#[derive(Default)]
struct Bench {
    store: Store,
    detector: Detector,
    turn: u64,
}

impl Bench {
    fn now(&self) -> Instant {
        Instant::from_micros(self.turn * 30_000_000)
    }

    fn tell(&mut self, values: &[(Metric, f64)]) {
        self.turn += 1;
        let now = self.now();
        let readings: Vec<Reading> = values
            .iter()
            .map(|(metric, value)| Reading::new(NodeId(2), *metric, *value, now, Source::Telemetry))
            .collect();
        let samples = self.store.handle(now, &readings);
        self.detector.handle(now, &self.store, &samples);
    }

    fn events(&mut self) -> Vec<(bool, Kind)> {
        std::iter::from_fn(|| self.detector.poll_event())
            .map(|event| (event.began, event.finding.kind))
            .collect()
    }
}

/// Values around 100 that repeat without a pattern in time.
fn wobble(turn: u64) -> f64 {
    [0.0, 2.0, -1.0, 1.0, -2.0, 0.5, -0.5][(turn * 5 % 7) as usize]
}

#[test]
fn a_limit_takes_three_values_and_ends_elsewhere() {
    let mut bench = Bench::default();
    for (value, expected) in [
        (9_000.0, vec![]),
        (9_000.0, vec![]),
        (30_000.0, vec![]),
        (9_900.0, vec![]),
        (9_900.0, vec![]),
        (9_900.0, vec![(true, Kind::Limit)]),
        (11_000.0, vec![]),
        (9_000.0, vec![]),
        (12_500.0, vec![(false, Kind::Limit)]),
    ] {
        bench.tell(&[(Metric::FreeHeap, value)]);
        assert_eq!(bench.events(), expected, "{value}");
    }
}

#[test]
fn unusual_is_said_after_a_warm_up_and_not_of_one_value() {
    let mut bench = Bench::default();
    for turn in 0..29 {
        bench.tell(&[(Metric::Rssi, -60.0 + wobble(turn))]);
    }
    assert_eq!(bench.detector.usual(NodeId(2), Metric::Rssi), None);
    for turn in 0..100 {
        // One value of ten is wild.
        let wild = if turn % 10 == 0 { -30.0 } else { 0.0 };
        bench.tell(&[(Metric::Rssi, -60.0 + wobble(turn) + wild)]);
    }
    assert_eq!(bench.events(), []);
    let (mean, scale) = bench.detector.usual(NodeId(2), Metric::Rssi).unwrap();
    assert!((mean + 60.0).abs() < 2.0 && (1.0..3.0).contains(&scale), "{mean} ± {scale}");
    for turn in 0..5 {
        bench.tell(&[(Metric::Rssi, -80.0 + wobble(turn))]);
    }
    assert_eq!(bench.events(), [(true, Kind::Unusual)]);
    let said = bench.detector.of(NodeId(2)).next().unwrap().to_string();
    assert!(said.starts_with("rssi_dbm is −") && said.contains("usually −"), "{said}");
    for turn in 0..5 {
        bench.tell(&[(Metric::Rssi, -60.0 + wobble(turn))]);
    }
    assert_eq!(bench.events(), [(false, Kind::Unusual)]);
}

#[test]
fn a_leak_is_found_with_the_time_that_is_left() {
    let mut bench = Bench::default();
    // 100 000 B, and 6 000 less each hour.
    for turn in 0..480 {
        bench.tell(&[(Metric::FreeHeap, 100_000.0 - 50.0 * turn as f64 + 300.0 * wobble(turn))]);
    }
    assert_eq!(bench.events(), [(true, Kind::Leak)]);
    let finding = bench.detector.findings().next().unwrap().clone();
    let forecast = finding.forecast.unwrap();
    assert!((forecast.per_hour + 6_000.0).abs() < 100.0, "{forecast:?}");
    let hours = forecast.left.as_secs_f64() / 3_600.0;
    assert!((hours - 11.0).abs() < 0.5, "{hours}: 76 000 B less 10 000 are left");
    assert!(forecast.earliest <= forecast.left && forecast.latest.unwrap() >= forecast.left);
    assert!(finding.to_string().contains("free_heap_bytes falls by −"), "{finding}");
    assert_eq!(finding.condition(true).kind, "leak");
    // It stops.
    for turn in 0..720 {
        bench.tell(&[(Metric::FreeHeap, 76_000.0 + 300.0 * wobble(turn))]);
    }
    assert_eq!(bench.events(), [(false, Kind::Leak)]);
}

#[test]
fn a_step_is_found_and_becomes_usual() {
    let mut bench = Bench::default();
    let tell = |bench: &mut Bench, level: f64, turns: u64| {
        for turn in 0..turns {
            bench.tell(&[(Metric::RoundTrip, level * (1.0 + wobble(turn) / 20.0))]);
        }
    };
    tell(&mut bench, 40.0, 500);
    assert_eq!(bench.events(), []);
    tell(&mut bench, 90.0, 80);
    let events = bench.events();
    assert!(events.contains(&(true, Kind::Step)), "{events:?}");
    tell(&mut bench, 90.0, 1_500);
    assert!(bench.events().contains(&(false, Kind::Step)));
    assert_eq!(bench.detector.findings().filter(|finding| finding.kind == Kind::Step).count(), 0);
}

#[test]
fn restarts_one_after_the_other_are_a_loop() {
    let mut bench = Bench::default();
    // Once is none.
    bench.tell(&[(Metric::Uptime, 10_000.0)]);
    bench.tell(&[(Metric::Uptime, 5.0)]);
    for turn in 1..20 {
        bench.tell(&[(Metric::Uptime, f64::from(turn * 30))]);
    }
    assert_eq!(bench.events(), []);
    for _ in 0..3 {
        bench.tell(&[(Metric::Uptime, 7.0)]);
    }
    assert_eq!(bench.events(), [(true, Kind::RebootLoop)]);
    for turn in 1..200 {
        bench.tell(&[(Metric::Uptime, f64::from(turn * 30))]);
    }
    assert_eq!(bench.events(), [(false, Kind::RebootLoop)]);
}

#[test]
fn nonsense_finds_nothing() {
    let mut bench = Bench::default();
    for turn in 0..2_000 {
        let wild = [f64::NAN, f64::INFINITY, -5.0, 1e300][turn % 4];
        bench.tell(&[(Metric::FreeHeap, wild), (Metric::RoundTrip, wild), (Metric::Uptime, wild)]);
    }
    // Still, and zero.
    for _ in 0..2_000 {
        bench.tell(&[(Metric::FreeHeap, 90_000.0), (Metric::RoundTrip, 0.0), (Metric::Rssi, -60.0)]);
    }
    assert_eq!(bench.events(), []);
    bench.detector.forget(NodeId(2));
    assert_eq!(bench.detector.bytes(), 0);
}
