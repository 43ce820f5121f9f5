//! `meshward sim speed`: how many times faster than real time the simulator is, and what memory it takes.
//!
//! Courses run one after the other, on this thread. What counts is the time that the thread had a processor,
//! so that other programs on the machine do not; the time on the wall stands beside it in the JSON.

use std::process::ExitCode;
use std::time::Instant;

use meshward_sim::bench::speed::{self, Course, Timed};

/// Options of `meshward sim speed`. Without --n and --load it runs the rows of docs/benchmarks.md.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the rows with so many nodes.
    #[arg(long, value_name = "NODES")]
    n: Option<usize>,
    /// Only the rows of this kind.
    #[arg(long, value_parser = ["idle", "update"])]
    load: Option<String>,
    /// Runs a row, each with a seed of its own.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Print an object a row instead of the page's section.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut courses = speed::standard();
    courses.retain(|course| args.n.is_none_or(|n| n == course.n));
    courses.retain(|course| args.load.as_ref().is_none_or(|load| load == course.load.name()));
    anyhow::ensure!(!courses.is_empty(), "there is no such row; there are 100 and 500 nodes, idle 100");
    let mut rows = Vec::new();
    for course in courses {
        let laps: Vec<Timed> = (0..args.seeds).map(|seed| timed(&course, seed)).collect();
        rows.push(course.row(&laps, memory_peak()));
    }
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        println!("{}", speed::markdown(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn timed(course: &Course, seed: u64) -> Timed {
    let ready = course.ready(seed);
    let (started, before) = (Instant::now(), processor_seconds());
    let lap = ready.run();
    let elapsed_seconds = started.elapsed().as_secs_f64();
    let used = before.zip(processor_seconds()).map(|(before, after)| after - before);
    Timed { lap, processor_seconds: used.unwrap_or(elapsed_seconds), elapsed_seconds }
}

/// The time that this thread has had a processor, where the system tells (Linux).
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: u64 = stat.split(' ').next()?.parse().ok()?;
    Some(nanoseconds as f64 / 1e9)
}

/// The most bytes that this process has held in memory so far, where the system tells (Linux).
fn memory_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}
