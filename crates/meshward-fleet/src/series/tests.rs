use super::*;

fn at(second: u64) -> Instant {
    Instant::from_micros(second * 1_000_000)
}

fn told(node: u32, metric: Metric, value: f64, second: u64) -> Reading {
    Reading::new(NodeId(node), metric, value, at(second), Source::Telemetry)
}

#[test]
fn six_hours_fit_and_no_more() {
    let mut store = Store::default();
    let node = NodeId(2);
    for turn in 0..2_000_u64 {
        store.handle(at(turn * 30), &[told(2, Metric::FreeHeap, 100_000.0 + turn as f64, turn * 30)]);
    }
    assert_eq!(store.recent(node, Metric::FreeHeap).count(), RECENT_MAX);
    let buckets: Vec<Bucket> = store.buckets(node, Metric::FreeHeap).collect();
    assert_eq!(buckets.len(), BUCKETS_MAX);
    assert!(buckets.iter().rev().skip(1).all(|bucket| bucket.count() == 12));
    let first = buckets.first().unwrap();
    assert_eq!((first.high() - first.low(), first.mean() - first.low()), (11.0, 5.5));
    let points = store.points(node, Metric::FreeHeap);
    assert!(points.is_sorted_by(|a, b| a.at < b.at) && points.len() > BUCKETS_MAX + 20, "{}", points.len());
    assert_eq!(store.last(node, Metric::FreeHeap).unwrap().value, 101_999.0);
    let per_track = store.bytes();
    assert!(per_track < 2_600, "{per_track} bytes");
}

#[test]
fn counters_become_rates_and_counts_of_a_day() {
    let mut store = Store::default();
    let node = NodeId(2);
    // Second, uptime, messages: a rise, a wrap of 32 bits, a restart, a rise.
    let rows = [
        (30, 1_000.0, 4_294_967_200.0, None),
        (60, 1_030.0, 4_294_967_290.0, Some(3.0)),
        (90, 1_060.0, 24.0, Some(1.0)),
        (120, 10.0, 20.0, None),
        (150, 40.0, 50.0, Some(1.0)),
    ];
    for (second, uptime, messages, rate) in rows {
        // The counter first: the store looks at the uptime before it, whatever the order.
        let readings =
            [told(2, Metric::MessagesRx, messages, second), told(2, Metric::Uptime, uptime, second)];
        let samples = store.handle(at(second), &readings);
        let sample = samples.iter().find(|sample| sample.metric == Metric::MessagesRx).unwrap();
        assert_eq!(sample.value, rate, "at {second}");
    }
    assert_eq!(store.day(node, Metric::MessagesRx, at(150)), Some(90.0 + 30.0 + 20.0 + 30.0));
    assert_eq!(store.day(node, Metric::MessagesRx, at(150 + 86_400)), Some(0.0));
    assert_eq!(store.restarts(node, at(0)), 1);
    assert_eq!(store.restarted(node), Some(at(110)));
    let rises = 90.0 + 30.0 + 20.0 + 30.0;
    assert_eq!(store.total(node, Metric::MessagesRx), Some(4_294_967_200.0 + rises), "it never falls");
    assert_eq!((store.total(node, Metric::Uptime), store.total(node, Metric::FreeHeap)), (None, None));
    // 16 bits, as `pktsDrop` has.
    for (second, dropped) in [(30, 65_000.0), (60, 65_500.0), (90, 10.0)] {
        let uptime = 1_000.0 + second as f64;
        store.handle(
            at(second),
            &[told(3, Metric::Uptime, uptime, second), told(3, Metric::MessagesDropped, dropped, second)],
        );
    }
    assert_eq!(store.total(NodeId(3), Metric::MessagesDropped), Some(65_546.0));
}

#[test]
fn what_makes_no_sense_is_kept_apart() {
    let mut store = Store::default();
    for value in [f64::NAN, -1.0, 1e12, f64::INFINITY] {
        assert_eq!(store.handle(at(5), &[told(2, Metric::FreeHeap, value, 5)]), []);
    }
    assert_eq!(store.last(NodeId(2), Metric::FreeHeap), None);
    assert_eq!(store.odd(NodeId(2)).count(), 4);
    assert_eq!(store.dropped(), Dropped { unsound: 4, ..Dropped::default() });
    for _ in 0..100 {
        store.handle(at(5), &[told(2, Metric::Rssi, 40.0, 5)]);
    }
    assert_eq!(store.odd(NodeId(2)).count(), ODD_MAX);
}

#[test]
fn time_never_goes_back() {
    let mut store = Store::default();
    store.handle(at(100), &[told(2, Metric::Cpu, 10.0, 100)]);
    store.handle(at(110), &[told(2, Metric::Cpu, 20.0, 50)]);
    assert_eq!(store.last(NodeId(2), Metric::Cpu).unwrap().value, 10.0, "an old package is no news");
    // From the future: it counts as now, and does not shut out what follows.
    store.handle(at(120), &[told(2, Metric::Cpu, 30.0, 999_999)]);
    store.handle(at(130), &[told(2, Metric::Cpu, 40.0, 130)]);
    assert_eq!(store.last(NodeId(2), Metric::Cpu).unwrap().value, 40.0);
    assert_eq!(store.dropped().late, 1);
}

#[test]
fn the_longest_silent_makes_room() {
    let mut store = Store::default();
    for id in 0..NODES_MAX as u32 + 5 {
        store.handle(at(u64::from(id)), &[told(id, Metric::Links, 1.0, u64::from(id))]);
    }
    assert_eq!(store.nodes().count(), NODES_MAX);
    assert!(!store.knows(NodeId(4)) && store.knows(NodeId(5)));
    assert_eq!(store.dropped().nodes, 5);
}
