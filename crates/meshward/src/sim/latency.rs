//! `meshward sim latency`: what an update does to an application's messages, and to the memory of relays.

use std::process::ExitCode;

use meshward_sim::bench::latency::{self, Row};

use super::in_parallel;

/// Options of `meshward sim latency`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seeds a row.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Print an object a row instead of the page's section.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cases = latency::standard();
    let per_case = args.seeds;
    let runs = in_parallel(cases.len() as u64 * per_case, |index| {
        latency::run_one(&cases[(index / per_case) as usize], index % per_case)
    });
    let rows: Vec<Row> = cases
        .iter()
        .zip(runs.chunks(per_case as usize))
        .map(|(case, runs)| latency::row(case, runs))
        .collect();
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        println!("{}", latency::markdown(&rows));
    }
    Ok(ExitCode::SUCCESS)
}
