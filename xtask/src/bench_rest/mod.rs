//! `cargo xtask bench-rest`: how long a gateway of a large mesh takes to answer, and how much memory it needs.
//!
//! The gateway of a [`Scene`] is asked over one kept connection, less often than it allows anybody to ask. The load
//! client is a few lines of HTTP/1.1 (`http`), so that what is measured is the gateway and not a tool.

mod http;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::command::Failure;
use crate::scene::Scene;
use http::Connection;

/// Between the beginnings of two requests: half of what a gateway lets one asker ask.
const PACE: Duration = Duration::from_millis(10);
/// Requests before those that count.
const WARM_UP: usize = 20;
/// Longest wait until the gateway knows the whole mesh.
const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks at that: each asks for all nodes, and what is measured afterwards is not what this has left.
const LOOK: Duration = Duration::from_secs(5);
/// How many looks go by until the next word about it.
const SAY_EACH: u32 = 12;
/// Most memory that is wanted, in MiB, at [`NODES_WANTED`] nodes.
const MEMORY_WANTED_MIB: f64 = 60.0;
/// How many nodes what is wanted is wanted of.
const NODES_WANTED: usize = 500;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    nodes: usize,
    requests: usize,
    /// How long the mesh tells about itself before it is measured.
    settle: Duration,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { nodes: NODES_WANTED, requests: 500, settle: Duration::from_secs(60) }
    }
}

impl Wanted {
    fn read(arguments: &[String]) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let range = match name.as_str() {
                "--nodes" => 1..=500,
                "--requests" => 1..=100_000,
                "--settle" => 0..=3_600,
                _ => {
                    let right = "take --nodes, --requests and --settle SECONDS";
                    return Err(Failure::Usage(format!("bench-rest knows no \"{name}\": {right}")));
                }
            };
            let number = rest.next().and_then(|text| text.parse::<usize>().ok());
            let number = number.filter(|number| range.contains(number)).ok_or_else(|| {
                let (least, most) = (range.start(), range.end());
                Failure::Usage(format!("{name} takes a number from {least} to {most}"))
            })?;
            match name.as_str() {
                "--nodes" => wanted.nodes = number,
                "--requests" => wanted.requests = number,
                _ => wanted.settle = Duration::from_secs(number as u64),
            }
        }
        Ok(wanted)
    }
}

/// Measures and prints the table.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    println!("{}", table(Wanted::read(arguments)?)?);
    Ok(())
}

/// Something that is asked for again and again.
struct Target {
    name: String,
    path: String,
    wanted_ms: f64,
}

/// How long answers took, in order, and how long they were.
struct Measured {
    sorted: Vec<Duration>,
    bytes: usize,
}

/// Starts everything and measures it.
pub(crate) fn table(wanted: Wanted) -> Result<String, Failure> {
    let mut scene = Scene::start(wanted.nodes)?;
    let mut connection = Connection::open(scene.address(), scene.token()?)?;
    let node = whole(&mut scene, &mut connection, wanted.nodes)?;
    println!("xtask: the gateway knows the mesh; it is left alone for {} s", wanted.settle.as_secs());
    // What is measured is a gateway that has been told by its nodes, not one that is told right now.
    std::thread::sleep(wanted.settle);
    // The gateway lets go of who has said nothing for so long.
    let mut connection = Connection::open(scene.address(), scene.token()?)?;
    let target = |name: &str, path: String, wanted_ms| Target { name: name.to_owned(), path, wanted_ms };
    let targets = [
        target("one node, `/api/v1/nodes/{id}`", format!("/api/v1/nodes/{node}"), 5.0),
        target("a list, `/api/v1/nodes?limit=500`", "/api/v1/nodes?limit=500".to_owned(), 20.0),
        target("`/metrics`", "/metrics".to_owned(), 50.0),
    ];
    let mut text = format!("{} nodes, {} requests each.\n\n", wanted.nodes, wanted.requests);
    text.push_str("| asked for | bytes | 50 of 100 | 95 of 100 | 99 of 100 | wanted, 95 of 100 |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
    for target in &targets {
        let measured = measure(&mut connection, &target.path, wanted.requests)?;
        text.push_str(&row(target, &measured));
    }
    let (now, most) = scene.memory_mib()?;
    let _ = writeln!(
        text,
        "\nResident memory of the gateway's process: {now:.0} MiB, at most {most:.0} MiB; wanted < \
         {MEMORY_WANTED_MIB:.0} MiB with {NODES_WANTED} nodes."
    );
    Ok(text)
}

/// Waits until the gateway has been told something by all nodes; one of them.
fn whole(scene: &mut Scene, connection: &mut Connection, nodes: usize) -> Result<u64, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = 0_u32;
    loop {
        let answer = connection.get("/api/v1/nodes?limit=1000&fields=metrics")?;
        let page: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let telling =
            |item: &&serde_json::Value| item["metrics"].as_array().is_some_and(|told| !told.is_empty());
        let told = items.iter().filter(telling).count();
        if told >= nodes
            && let Some(id) = items.iter().find(telling).and_then(|item| item["id"].as_u64())
        {
            return Ok(id);
        }
        scene.live()?;
        if Instant::now() >= deadline {
            let seen = items.len();
            return Err(Failure::Missing(format!(
                "after {} s the gateway sees {seen} nodes, {told} of which have told something: {nodes} should",
                PATIENCE.as_secs()
            )));
        }
        if looks.is_multiple_of(SAY_EACH) {
            println!("xtask: {told} of {nodes} nodes have told the gateway something");
        }
        looks += 1;
        std::thread::sleep(LOOK);
    }
}

fn measure(connection: &mut Connection, path: &str, requests: usize) -> Result<Measured, Failure> {
    println!("xtask: asking for {path} {requests} times");
    let (mut took, mut bytes) = (Vec::with_capacity(requests), 0);
    for turn in 0..WARM_UP + requests {
        let started = Instant::now();
        let answer = connection.get(path)?;
        let elapsed = started.elapsed();
        if turn >= WARM_UP {
            took.push(elapsed);
            bytes = answer.len();
        }
        std::thread::sleep(PACE.saturating_sub(elapsed));
    }
    took.sort_unstable();
    Ok(Measured { sorted: took, bytes })
}

/// So many of a hundred took no longer than this.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn row(target: &Target, measured: &Measured) -> String {
    let ms = |percent| percentile(&measured.sorted, percent).as_secs_f64() * 1e3;
    let Target { name, wanted_ms, .. } = target;
    let (bytes, p50, p95, p99) = (measured.bytes, ms(50), ms(95), ms(99));
    format!("| {name} | {bytes} | {p50:.2} ms | {p95:.2} ms | {p99:.2} ms | < {wanted_ms:.0} ms |\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let read = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            Wanted::read(&arguments).map_err(|failure| failure.to_string())
        };
        let fewer = Wanted { nodes: 20, requests: 7, settle: Duration::ZERO };
        assert_eq!(read(&["--nodes", "20", "--requests", "7", "--settle", "0"]), Ok(fewer));
        assert_eq!(read(&[]), Ok(Wanted::default()));
        for (arguments, part) in [
            (&["--node"][..], "bench-rest knows no \"--node\""),
            (&["--nodes"], "--nodes takes a number from 1 to 500"),
            (&["--nodes", "501"], "--nodes takes a number from 1 to 500"),
            (&["--settle", "-1"], "--settle takes a number from 0 to 3600"),
        ] {
            assert!(read(arguments).unwrap_err().starts_with(part), "{arguments:?}");
        }
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        for (percent, ms) in [(50, 100), (95, 190), (99, 198), (100, 200), (0, 1)] {
            assert_eq!(percentile(&sorted, percent), Duration::from_millis(ms), "{percent}");
        }
        let one = [Duration::from_millis(3)];
        assert_eq!((percentile(&one, 50), percentile(&one, 99)), (one[0], one[0]));
        let target = Target { name: "x".to_owned(), path: String::new(), wanted_ms: 5.0 };
        let measured = Measured { sorted, bytes: 12 };
        assert_eq!(row(&target, &measured), "| x | 12 | 100.00 ms | 190.00 ms | 198.00 ms | < 5 ms |\n");
    }
}
