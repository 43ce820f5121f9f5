//! What the store takes and how fast it is: samples per second of processor time, the 24 h graph of a node, and the
//! size of 50 nodes in 30 days, on SQLite and on PostgreSQL. Prints the section "store" of `docs/benchmarks.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../../tests/it/store/server.rs"]
mod server;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use meshward_gateway::store::{HistoryQuery, MetricId, Retention, Sample, Store, StoreUrl};
use server::Server;

/// A report: what a node measures, with how its values go.
const METRICS: [(&str, Shape); 12] = [
    ("uptime_s", Shape::Rises(1.0)),
    ("free_heap_bytes", Shape::Noise(180_000.0, 4000.0, 1.0)),
    ("min_heap_bytes", Shape::Noise(120_000.0, 1.0, 1.0)),
    ("cpu_percent", Shape::Noise(20.0, 30.0, 1.0)),
    ("rssi_dbm", Shape::Noise(-75.0, 9.0, 1.0)),
    ("links", Shape::Noise(2.0, 1.0, 1.0)),
    ("messages_rx", Shape::Rises(1.7)),
    ("messages_tx", Shape::Rises(0.9)),
    ("bytes_rx", Shape::Rises(310.0)),
    ("round_trip_ms", Shape::Noise(300.0, 400.0, 0.1)),
    ("loss_percent", Shape::Noise(0.0, 30.0, 0.1)),
    ("temperature_c", Shape::Noise(215.0, 20.0, 0.1)),
];

/// How the values of a metric go.
#[derive(Clone, Copy)]
enum Shape {
    /// So much in a second, more or less.
    Rises(f64),
    /// From a value on so many steps upwards, of a size.
    Noise(f64, f64, f64),
}

const REPORT_EVERY: i64 = 30;
const DAY: i64 = 86_400;
/// A midnight.
const BEGIN: i64 = 1_790_035_200;
/// Samples that one transaction takes, as the recorder's do.
const BATCH: usize = 10_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let days: i64 = std::env::var("STORE_BENCH_DAYS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let (sqlite, postgres) = runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let url: StoreUrl = folder.path().join("bench.db").to_str().unwrap().parse().unwrap();
        let sqlite = measure(&url, days, None).await;
        let server = Server::get();
        let url: StoreUrl = server.database().await.parse().unwrap();
        (sqlite, measure(&url, days, Some(server)).await)
    });
    println!("| what | SQLite | PostgreSQL | wanted |");
    println!("| --- | ---: | ---: | --- |");
    let row = |what: &str, figure: fn(&Figures) -> String, wanted: &str| {
        println!("| {what} | {} | {} | {wanted} |", figure(&sqlite), figure(&postgres));
    };
    row("samples per second of this program's processor time", |f| rate(f.rate_own), "≥ 50 000");
    row("the same with the server's processor time", |f| rate(f.rate_all), "≥ 50 000");
    row("samples per second of the clock", |f| rate(f.rate_clock), "–");
    row("24 h graph of one metric of a node, median", |f| milliseconds(f.one.0), "< 10 ms");
    row("the same, 95 of 100", |f| milliseconds(f.one.1), "< 10 ms");
    row("24 h graph of all 12 metrics of a node, median", |f| milliseconds(f.all.0), "–");
    row("the same, 95 of 100", |f| milliseconds(f.all.1), "–");
    let what = format!("50 nodes × {days} days");
    row(&what, |f| format!("{:.0} MB", f.bytes as f64 / 1e6), "30 days ≤ 200 MB");
}

struct Figures {
    rate_own: f64,
    rate_all: f64,
    rate_clock: f64,
    one: (Duration, Duration),
    all: (Duration, Duration),
    bytes: u64,
}

fn rate(samples: f64) -> String {
    format!("{:.0} 000", samples / 1000.0)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

async fn measure(url: &StoreUrl, days: i64, server: Option<&Server>) -> Figures {
    let store = Store::open(url).await.unwrap();
    let mut metrics = Vec::new();
    for (name, shape) in METRICS {
        metrics.push((store.metric(name).await.unwrap(), shape));
    }
    let server_time = || server.map_or(Duration::ZERO, |server| server.processor_time());
    let (mut own, mut all, mut clock, mut count) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0_usize);
    let mut random = 1_u64;
    for hour in 0..days * 24 {
        let samples = samples(&metrics, BEGIN + hour * 3600, &mut random);
        count += samples.len();
        let before = (processor_time("/proc/self/stat"), server_time(), Instant::now());
        for batch in samples.chunks(BATCH) {
            store.add_samples(batch).await.unwrap();
        }
        store.maintain(&Retention::default(), at(BEGIN + hour * 3600 + 3600)).await.unwrap();
        let used = processor_time("/proc/self/stat") - before.0;
        own += used;
        all += used + server_time() - before.1;
        clock += before.2.elapsed();
        // What a server does by itself every minute, and has no time for in days of seconds.
        if let (StoreUrl::Postgres(options), Some(server), 0) = (url, server, hour % 6) {
            let vacuum = "VACUUM telemetry_blocks; VACUUM telemetry_log";
            for statement in vacuum.split("; ") {
                server.execute(options.get_database().unwrap(), statement).await;
            }
        }
    }
    let end = BEGIN + days * DAY;
    let one = graph(&store, end, &["free_heap_bytes"]).await;
    let all_metrics = graph(&store, end, &METRICS.map(|(name, _)| name)).await;
    let bytes = match (url, server) {
        (StoreUrl::Sqlite(path), _) => {
            store.close().await;
            std::fs::metadata(path).unwrap().len()
        }
        (StoreUrl::Postgres(options), Some(server)) => server.size(options.get_database().unwrap()).await,
        (StoreUrl::Postgres(_), None) => 0,
    };
    let per_second = |time: Duration| count as f64 / time.as_secs_f64();
    Figures {
        rate_own: per_second(own),
        rate_all: per_second(all),
        rate_clock: per_second(clock),
        one,
        all: all_metrics,
        bytes,
    }
}

/// What 50 nodes report in an hour, in the order of time; each node has a pace of its own by some milliseconds.
fn samples(metrics: &[(MetricId, Shape)], begin: i64, random: &mut u64) -> Vec<Sample> {
    let mut found = Vec::new();
    let mut draw = || {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) as f64 / (1_u64 << 31) as f64
    };
    for second in (begin..begin + 3600).step_by(REPORT_EVERY as usize) {
        for node in 1..=50_u32 {
            let jitter = SignedDuration::from_millis((draw() * 400.0) as i64 + i64::from(node) * 500);
            let at = at(second).checked_add(jitter).unwrap();
            for &(metric, shape) in metrics {
                let value = match shape {
                    Shape::Rises(pace) => ((second - BEGIN) as f64 * pace + draw() * pace * 20.0).floor(),
                    Shape::Noise(base, steps, size) if size < 1.0 => (base + (draw() * steps).floor()) / 10.0,
                    Shape::Noise(base, steps, _) => base + (draw() * steps).floor(),
                };
                found.push(Sample { node, metric, at, value });
            }
        }
    }
    found
}

/// The median and the 95th of 100 of the time that the graph of a day takes, a node after the other.
async fn graph(store: &Store, end: i64, metrics: &[&str]) -> (Duration, Duration) {
    let mut times = Vec::new();
    for round in 0..400_u32 {
        let query = HistoryQuery {
            node: round % 50 + 1,
            metrics: metrics.iter().map(|&name| name.to_owned()).collect(),
            from: at(end - DAY),
            to: at(end),
            step_s: 60,
        };
        let begin = Instant::now();
        let history = store.history(&query).await.unwrap();
        times.push(begin.elapsed());
        assert!(history.series.values().all(|points| points.len() > 1400), "{}", history.series.len());
    }
    times.sort();
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// What a process has used of processors, its threads included: fields 14 and 15, in hundredths of a second.
fn processor_time(stat: &str) -> Duration {
    let text = std::fs::read_to_string(stat).unwrap_or_default();
    let fields = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

impl Server {
    /// Of the server and of all processes that belong to it now.
    fn processor_time(&self) -> Duration {
        let own = self.process.to_string();
        let mut all = processor_time(&format!("/proc/{own}/stat"));
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let stat = entry.path().join("stat");
            let text = std::fs::read_to_string(&stat).unwrap_or_default();
            let parent = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if parent == Some(own.as_str()) {
                all += processor_time(&stat.to_string_lossy());
            }
        }
        all
    }

    /// What a database takes on the disk.
    async fn size(&self, database: &str) -> u64 {
        let mut connection = self.connect(database).await;
        let sql = "SELECT pg_database_size(current_database())";
        let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        bytes as u64
    }
}
