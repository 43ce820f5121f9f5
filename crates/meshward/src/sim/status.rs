//! `meshward sim status`: how well a gateway knows its mesh, and what that costs.

use std::process::ExitCode;

use meshward_core::time::Duration;
use meshward_sim::status::{self, Case, Nodes, Row};

use super::in_parallel;

/// Options of `meshward sim status`. As they are, they make the rows of docs/benchmarks.md.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Nodes below the gateway; several with commas.
    #[arg(long, value_delimiter = ',', value_name = "NODES", default_values_t = [25, 50, 100])]
    n: Vec<usize>,
    /// What the nodes are: meshward, stock or mixed; several with commas.
    #[arg(long, value_delimiter = ',', value_parser = nodes, default_value = "meshward")]
    nodes: Vec<Nodes>,
    /// Forwarded frames that die at a relay, in per cent; several with commas.
    #[arg(long, value_delimiter = ',', value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=90), default_values_t = [0, 5])]
    loss: Vec<u32>,
    /// How often nodes report where the budget allows, in seconds; by N when not given.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=3_600))]
    period: Option<u64>,
    /// Silent deaths a seed.
    #[arg(long, default_value_t = 25)]
    deaths: usize,
    /// Clean leaves a seed.
    #[arg(long, default_value_t = 10)]
    leaves: usize,
    /// Seeds a row.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed. What was tuned was tuned on those from 0.
    #[arg(long, default_value_t = 1_000, value_name = "SEED", value_parser = clap::value_parser!(u64).range(0..=4_000_000_000))]
    start: u64,
    /// Print an object a row instead of the page's section.
    #[arg(long)]
    json: bool,
}

fn nodes(name: &str) -> Result<Nodes, String> {
    Nodes::parse(name).ok_or_else(|| "take meshward, stock or mixed".to_owned())
}

impl Args {
    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for nodes in &self.nodes {
            for loss in &self.loss {
                for n in &self.n {
                    // Without nodes of ours there is nothing to pack.
                    for aggregate in [false, true].into_iter().take(1 + usize::from(*nodes != Nodes::Stock)) {
                        let case = Case::of(*n, aggregate);
                        cases.push(Case {
                            nodes: *nodes,
                            loss: *loss,
                            period: self.period.map_or(case.period, Duration::from_secs),
                            deaths: self.deaths,
                            leaves: self.leaves,
                            ..case
                        });
                    }
                }
            }
        }
        cases
    }
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!args.n.contains(&0), "there is nothing to watch");
    let cases = args.cases();
    let per_case = args.seeds;
    let runs = in_parallel(cases.len() as u64 * per_case, |index| {
        status::run_one(&cases[(index / per_case) as usize], args.start + index % per_case)
    });
    let rows: Vec<Row> = cases
        .iter()
        .zip(runs.chunks(per_case as usize))
        .map(|(case, runs)| status::row(case, runs))
        .collect();
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        println!("{}\n{}", status::MODEL, status::markdown(&rows));
    }
    Ok(ExitCode::SUCCESS)
}
