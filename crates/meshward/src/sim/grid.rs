//! `meshward sim grid`: every failure in every phase of a signed update.

use std::process::ExitCode;

use meshward_sim::grid::{self, Outcome, Verdict};

use super::in_parallel;

/// Options of `meshward sim grid`. It fails unless every node runs the new image in the end, or is named with the
/// truth.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seeds a cell: they differ in how the image is packed and in what relays lose as well.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// Print an object a run instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cells = grid::cells(args.seeds);
    let outcomes: Vec<Outcome> = in_parallel(cells.len() as u64, |index| grid::run(&cells[index as usize]));
    if args.json {
        for outcome in &outcomes {
            println!("{}", serde_json::to_string(outcome)?);
        }
    } else {
        print!("{}", grid::markdown(&outcomes));
    }
    let any = |is: fn(&Verdict) -> bool| outcomes.iter().any(|outcome| is(&outcome.verdict));
    let worst =
        [(3, any(|verdict| matches!(verdict, Verdict::Wrong(_)))), (4, any(|v| *v != Verdict::Green))];
    let code = worst.into_iter().find(|(_, is)| *is).map_or(0, |(code, _)| code);
    Ok(ExitCode::from(code))
}
