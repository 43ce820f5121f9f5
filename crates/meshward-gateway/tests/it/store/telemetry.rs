//! What nodes measured: how it is asked for, rolled up, and forgotten.

use meshward_gateway::store::{Aggregate, HistoryQuery, Point, Resolution, Retention, Sample, Store};

use super::kit::{Kit, at, on_both};

pub(crate) fn query(node: u32, metrics: &[&str], from: i64, to: i64, step_s: u32) -> HistoryQuery {
    let metrics = metrics.iter().map(|&name| name.to_owned()).collect();
    HistoryQuery { node, metrics, from: at(from), to: at(to), step_s }
}

/// Beginning at a full hour, which `at(0)` is not.
const HOUR: i64 = 3600;
const START: i64 = HOUR - 1_790_000_000 % HOUR;

/// Every 30 seconds a counter and a temperature, of two nodes.
async fn fill(store: &Store, from: i64, to: i64) {
    let uptime = store.metric("uptime_s").await.unwrap();
    let warm = store.metric("temperature_c").await.unwrap();
    let mut samples = Vec::new();
    for second in (from..to).step_by(30) {
        for node in [7, 8] {
            let at = at(second);
            samples.push(Sample { node, metric: uptime, at, value: (second - START) as f64 });
            samples.push(Sample { node, metric: warm, at, value: warmth(second) });
        }
    }
    for piece in samples.chunks(1000) {
        store.add_samples(piece).await.unwrap();
    }
}

fn warmth(second: i64) -> f64 {
    (200 + second / 30 % 17) as f64 / 10.0
}

async fn points(store: &Store, of: &str, from: i64, to: i64, step: u32) -> (Resolution, Vec<Point>) {
    let history = store.history(&query(7, &[of], from, to, step)).await.unwrap();
    (history.resolution, history.series[of].clone())
}

/// What the points of a step must be, from the samples themselves.
fn expected(from: i64, to: i64, step: i64) -> Vec<Point> {
    (from..to)
        .step_by(step as usize)
        .map(|begin| {
            let values: Vec<f64> = (begin..begin + step).step_by(30).map(warmth).collect();
            Point {
                at: at(begin),
                min: values.iter().copied().fold(f64::MAX, f64::min),
                max: values.iter().copied().fold(f64::MIN, f64::max),
                avg: values.iter().sum::<f64>() / values.len() as f64,
                last: *values.last().unwrap(),
                count: values.len() as u64,
            }
        })
        .collect()
}

fn same(found: &[Point], wanted: &[Point]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found.avg - wanted.avg).abs() < 1e-9, "{found:?} {wanted:?}");
        assert_eq!(Point { avg: 0.0, ..*found }, Point { avg: 0.0, ..*wanted });
    }
}

#[test]
fn a_history_is_the_same_before_and_after_it_was_moved_into_blocks() {
    on_both(async |kit| {
        let store = &kit.store;
        fill(store, START, START + 5 * HOUR).await;
        for moved in [false, true] {
            if moved {
                store.compact().await.unwrap();
                assert_eq!(kit.count("SELECT COUNT(*) FROM telemetry_log").await, 0);
            }
            let (resolution, raw) = points(store, "temperature_c", START, START + HOUR, 0).await;
            assert_eq!((resolution, raw.len()), (Resolution::Raw, 120));
            assert!(raw.iter().enumerate().all(|(index, point)| {
                point.at == at(START + index as i64 * 30) && point.last == warmth(START + index as i64 * 30)
            }));
            for (step, resolution) in [
                (30, Resolution::Raw),
                (60, Resolution::Minute),
                (300, Resolution::Minute),
                (3600, Resolution::Hour),
            ] {
                let (found, series) = points(store, "temperature_c", START, START + 5 * HOUR, step).await;
                assert_eq!(found, resolution, "{step}");
                same(&series, &expected(START, START + 5 * HOUR, i64::from(step)));
            }
            let (_, counter) = points(store, "uptime_s", START, START + 2 * HOUR, 3600).await;
            let lasts: Vec<f64> = counter.iter().map(|point| point.value(Aggregate::Last)).collect();
            assert_eq!(lasts, [3570.0, 7170.0]);
            assert_eq!(counter[0].value(Aggregate::Min), 0.0);
        }
        let history =
            store.history(&query(9, &["uptime_s", "never_heard"], START, START + HOUR, 0)).await.unwrap();
        assert!(history.series.len() == 2 && history.series.values().all(Vec::is_empty));
    });
}

#[test]
fn late_and_repeated_samples_are_reckoned_once() {
    on_both(async |kit| {
        let store = &kit.store;
        fill(store, START + HOUR, START + 2 * HOUR).await;
        store.compact().await.unwrap();
        fill(store, START, START + 2 * HOUR).await;
        for _ in 0..2 {
            let (_, minutes) = points(store, "temperature_c", START, START + 2 * HOUR, 60).await;
            same(&minutes, &expected(START, START + 2 * HOUR, 60));
            let (_, hours) = points(store, "temperature_c", START, START + 2 * HOUR, 3600).await;
            same(&hours, &expected(START, START + 2 * HOUR, 3600));
            store.compact().await.unwrap();
        }
    });
}

#[test]
fn what_was_written_before_a_crash_is_there_after_it() {
    on_both(async |kit| {
        fill(&kit.store, START, START + HOUR).await;
        // Not closed, not moved: another program finds what was committed.
        let store = kit.again().await;
        let (_, raw) = points(&store, "temperature_c", START, START + HOUR, 0).await;
        assert_eq!(raw.len(), 120);
        fill(&store, START + HOUR, START + 2 * HOUR).await;
        store.compact().await.unwrap();
        let (_, hours) = points(&store, "temperature_c", START, START + 2 * HOUR, 3600).await;
        same(&hours, &expected(START, START + 2 * HOUR, 3600));
    });
}

#[test]
fn raw_values_go_first_and_then_minutes() {
    on_both(async |kit: Kit| {
        let store = &kit.store;
        // Blocks of raw values are of one hour, of minutes of four; the days begin at midnight.
        let midnight = 86_400 - 1_790_000_000 % 86_400;
        fill(store, midnight, midnight + 4 * HOUR).await;
        store.compact().await.unwrap();
        let day = 24 * HOUR;
        let shown = async |step: u32| {
            let (resolution, points) =
                points(store, "temperature_c", midnight, midnight + 4 * HOUR, step).await;
            (resolution, points.len())
        };
        let retention = Retention::default();
        store.maintain(&retention, at(midnight + 2 * day)).await.unwrap();
        assert_eq!(shown(30).await, (Resolution::Raw, 480));
        store.maintain(&retention, at(midnight + 2 * day + 4 * HOUR)).await.unwrap();
        assert_eq!(shown(30).await, (Resolution::Minute, 240));
        // What comes so late would spoil the minutes that are reckoned already.
        fill(store, midnight, midnight + 60).await;
        store.compact().await.unwrap();
        assert_eq!(store.late_samples(), 8);
        assert_eq!(shown(60).await, (Resolution::Minute, 240));
        store.maintain(&retention, at(midnight + 90 * day + 4 * HOUR)).await.unwrap();
        assert_eq!(shown(30).await, (Resolution::Hour, 4));
        let gone = store.maintain(&retention, at(midnight + 5 * 365 * day + 10 * day)).await.unwrap();
        assert!(gone >= 2, "{gone}");
        assert_eq!(shown(30).await, (Resolution::Hour, 0));
    });
}

#[test]
fn what_is_no_number_is_not_kept() {
    on_both(async |kit| {
        let metric = kit.store.metric("rssi_dbm").await.unwrap();
        let sample = |second, value| Sample { node: 7, metric, at: at(second), value };
        let samples = [sample(0, f64::NAN), sample(1, -70.25), sample(2, f64::INFINITY), sample(3, -0.0)];
        kit.store.add_samples(&samples).await.unwrap();
        let (_, found) = points(&kit.store, "rssi_dbm", 0, 9, 0).await;
        assert_eq!(found.iter().map(|point| point.last).collect::<Vec<_>>(), [-70.25, 0.0]);
    });
}

#[test]
fn a_forgotten_node_has_measured_nothing() {
    on_both(async |kit| {
        fill(&kit.store, START, START + HOUR).await;
        kit.store.forget_node(7).await.unwrap();
        assert!(points(&kit.store, "uptime_s", START, START + HOUR, 60).await.1.is_empty());
        kit.store.compact().await.unwrap();
        assert!(points(&kit.store, "uptime_s", START, START + HOUR, 60).await.1.is_empty());
        assert!(kit.count("SELECT COUNT(*) FROM telemetry_blocks").await > 0);
    });
}

#[test]
fn a_block_that_cannot_be_read_is_named() {
    on_both(async |kit| {
        fill(&kit.store, START, START + HOUR).await;
        kit.store.compact().await.unwrap();
        let cut_off = if kit.is_sqlite() { "x'0502'" } else { "'\\x0502'::bytea" };
        kit.meddle(&format!("UPDATE telemetry_blocks SET data = {cut_off}")).await;
        let error = kit.store.history(&query(7, &["uptime_s"], START, START + HOUR, 60)).await.unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    });
}
