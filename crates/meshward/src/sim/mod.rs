//! `meshward sim …`: runs of the simulator, and figures from it.
//!
//! Exit codes of `swarm` and `replay`: 0 pass, 2 the program crashed, 3 something happened that must not,
//! 4 something did not happen in time; of `grid` 0, 3 and 4, of `powercut` 0 and 3. The worst of several runs counts, in this order.

mod grid;
mod latency;
mod speed;
mod status;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use meshward_sim::bench::{self, Case, Row, Scheme};
use meshward_sim::capture;
use meshward_sim::plant::Plant;
use meshward_sim::powercut::{self, Report as Cuts, Subject};
use meshward_sim::swarm::{self, Options, Report, Verdict};
use meshward_sim::topology::Topology;
use meshward_sim::world::Channel;

/// Commands of the simulator.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Run many seeds, each with its own mesh, faults and update, and judge all of them.
    Swarm(SwarmArgs),
    /// Run one seed again, and tell what happened.
    Replay(ReplayArgs),
    /// Measure updates in the model: time, channel, bytes, by mesh, scheme and loss.
    Bench(BenchArgs),
    /// Measure the simulator itself: how many times faster than real time it is, and its memory.
    Speed(speed::Args),
    /// Measure what an update does to an application's messages, and to the memory of relays.
    Latency(latency::Args),
    /// Cut the power of a node at every flash command of an update, twice, and turn bits over.
    Powercut(PowercutArgs),
    /// Let everything fail in every phase of a signed update, and look what becomes of each node.
    Grid(grid::Args),
    /// Measure how fresh what a gateway knows is, how soon it sees a node gone, and what that costs.
    Status(status::Args),
}

/// Options of `meshward sim swarm`.
#[derive(clap::Args)]
pub(crate) struct SwarmArgs {
    /// How many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Run with this bug on purpose, to see it found.
    #[arg(long, value_name = "BUG", value_parser = plant)]
    plant: Option<Plant>,
    /// Print every run, not only those that fail.
    #[arg(long)]
    verbose: bool,
}

/// Options of `meshward sim replay`.
#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// The seed.
    seed: u64,
    /// Print every frame.
    #[arg(long)]
    trace: bool,
    /// Write every frame to this file, in the format of testdata/wire.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Run with this bug on purpose.
    #[arg(long, value_name = "BUG", value_parser = plant)]
    plant: Option<Plant>,
}

/// Options of `meshward sim bench`. Without --n, --topology, --loss, --scheme and --image it measures the rows
/// of docs/benchmarks.md, which takes minutes.
#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// Nodes to be updated; several with commas.
    #[arg(long, value_delimiter = ',', value_name = "NODES")]
    n: Vec<usize>,
    /// star, chain, or random-N with at most N children a node.
    #[arg(long, value_delimiter = ',', value_parser = topology)]
    topology: Vec<Topology>,
    /// Forwarded frames that die at a relay, in per cent.
    #[arg(long, value_delimiter = ',', value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=90))]
    loss: Vec<u32>,
    /// stock-unicast, stock-broadcast, meshward-unicast, meshward-turbo; to nodes that take signed updates
    /// meshward-full, meshward-lzma, meshward-feature, meshward-patch.
    #[arg(long, value_delimiter = ',', value_parser = scheme)]
    scheme: Vec<Scheme>,
    /// Bytes of the image. 528944 and 569296 are real releases for signed updates, all others are made up.
    #[arg(long, value_delimiter = ',', value_name = "BYTES")]
    image: Vec<usize>,
    /// Node and time syncs take no channel time: for meshes so large that they alone would fill it.
    #[arg(long)]
    free_sync: bool,
    /// With the rows that take hours: 200 and 500 nodes, more losses.
    #[arg(long)]
    all: bool,
    /// Seeds a row.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Print an object a row instead of the page's section.
    #[arg(long)]
    json: bool,
}

/// Options of `meshward sim powercut`. It fails unless every run ends as it must.
#[derive(clap::Args)]
pub(crate) struct PowercutArgs {
    /// Every pair of cuts instead of a sample, every cut of the real image, and more bits: an hour.
    #[arg(long)]
    all: bool,
    /// Bytes of the image, and no real one beside it.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(4_096..=1_048_576))]
    image: Option<u64>,
    /// Print one object instead of a table.
    #[arg(long)]
    json: bool,
}

fn topology(name: &str) -> Result<Topology, String> {
    Topology::parse(name).ok_or_else(|| "take star, chain or random-N, such as random-4".to_owned())
}

fn scheme(name: &str) -> Result<Scheme, String> {
    let known = || Scheme::ALL.map(Scheme::name).join(", ");
    Scheme::parse(name).ok_or_else(|| format!("there are {}", known()))
}

fn plant(name: &str) -> Result<Plant, String> {
    let known = || Plant::ALL.map(Plant::name).join(", ");
    Plant::parse(name).ok_or_else(|| format!("there is no such bug; there are {}", known()))
}

/// Runs a command of the simulator.
pub(crate) fn run(command: Command) -> ExitCode {
    let outcome = match command {
        Command::Swarm(args) => Ok(swarm(&args)),
        Command::Replay(args) => replay(&args),
        Command::Bench(args) => bench(&args),
        Command::Speed(args) => speed::run(&args),
        Command::Latency(args) => latency::run(&args),
        Command::Powercut(args) => powercut(&args),
        Command::Grid(args) => grid::run(&args),
        Command::Status(args) => status::run(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn swarm(args: &SwarmArgs) -> ExitCode {
    let options = Options { plant: args.plant, capture: false };
    let started = std::time::Instant::now();
    let reports = in_parallel(args.seeds, |index| swarm::run(args.start.wrapping_add(index), options));
    let took = started.elapsed().as_secs_f64();
    for report in reports.iter().filter(|report| args.verbose || report.verdict != Verdict::Pass) {
        tell(report, options);
    }
    let count = |code| reports.iter().filter(|report| report.verdict.exit_code() == code).count();
    let lasted: f64 = reports.iter().map(|report| report.lasted.as_secs_f64()).sum();
    let frames: u64 = reports.iter().map(|report| report.frames).sum();
    println!(
        "seeds {} to {}: {} passed, {} crashed, {} wrong, {} stuck; {:.1} h of mesh time and {frames} frames in {took:.1} s",
        args.start,
        args.start.wrapping_add(args.seeds - 1),
        count(0),
        count(2),
        count(3),
        count(4),
        lasted / 3_600.0,
    );
    let worst = [2, 3, 4].into_iter().find(|code| count(*code) > 0);
    ExitCode::from(worst.unwrap_or(0))
}

fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let options = Options { plant: args.plant, capture: args.trace || args.capture.is_some() };
    let report = swarm::run(args.seed, options);
    if args.trace {
        print!("{}", capture::ladder(&report.lines));
    }
    if let Some(path) = &args.capture {
        write(path, &capture::to_ndjson(&report.lines))?;
    }
    tell(&report, options);
    Ok(ExitCode::from(report.verdict.exit_code()))
}

impl BenchArgs {
    fn cases(&self) -> Vec<Case> {
        let nothing = self.n.is_empty()
            && self.topology.is_empty()
            && self.loss.is_empty()
            && self.scheme.is_empty()
            && self.image.is_empty();
        if nothing {
            return bench::standard_cases(self.all);
        }
        fn or<T: Copy>(given: &[T], otherwise: &[T]) -> Vec<T> {
            if given.is_empty() { otherwise.to_vec() } else { given.to_vec() }
        }
        let channel = Channel { free_sync: self.free_sync, ..Channel::default() };
        let mut cases = Vec::new();
        for n in or(&self.n, &[50]) {
            for topology in or(&self.topology, &[Topology::Random(4)]) {
                for image in or(&self.image, &[64 * 1024]) {
                    for loss in or(&self.loss, &[0]) {
                        for scheme in or(&self.scheme, &Scheme::ALL) {
                            cases.push(Case { n, topology, image, scheme, loss, channel, airtime: 100 });
                        }
                    }
                }
            }
        }
        cases
    }
}

fn bench(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!args.n.contains(&0) && !args.image.contains(&0), "there is nothing to update");
    let cases = args.cases();
    let per_case = args.seeds;
    let runs = in_parallel(cases.len() as u64 * per_case, |index| {
        bench::run_one(&cases[(index / per_case) as usize], index % per_case)
    });
    let rows: Vec<Row> =
        cases.iter().zip(runs.chunks(per_case as usize)).map(|(case, runs)| bench::row(case, runs)).collect();
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        println!("{}\n{}", bench::MODEL, bench::markdown(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn powercut(args: &PowercutArgs) -> anyhow::Result<ExitCode> {
    let mut jobs = powercut::jobs(args.image.map_or(powercut::IMAGE, |image| image as usize), args.all);
    if args.image.is_some() {
        jobs.retain(|(_, subject, _)| *subject != Subject::Real);
    }
    let reports = in_parallel(jobs.len() as u64, |index| powercut::run(jobs[index as usize]));
    let total = reports.iter().fold(Cuts::default(), |total, report| total.and(report));
    if args.json {
        println!("{}", serde_json::to_string(&total)?);
    } else {
        let kinds = jobs.iter().map(|(kind, ..)| *kind);
        println!("{}", powercut::markdown(kinds.zip(&reports)));
        total.failures.iter().for_each(|failure| println!("{failure}"));
    }
    let sound = reports.iter().all(Cuts::is_sound);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn tell(report: &Report, options: Options) {
    println!("seed {}: {}", report.seed, report.verdict);
    println!("  {}", report.knobs);
    for finding in &report.findings {
        println!("  {finding}");
    }
    println!(
        "  trace {:016x}, {:.0} s of mesh time, {} frames",
        report.trace_hash,
        report.lasted.as_secs_f64(),
        report.frames
    );
    if report.verdict != Verdict::Pass {
        println!("  to repeat: {}", report.command(options));
    }
}

/// Runs `work` for 0 to `count` − 1 on all cores; the results are in order. Each run is single-threaded.
fn in_parallel<R: Send>(count: u64, work: impl Fn(u64) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicU64::new(0);
    let done: Mutex<Vec<(u64, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let result = work(index);
                    // A poisoned lock still holds what was done before.
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
