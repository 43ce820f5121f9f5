//! The grid of failures and phases, in short: `meshward sim grid` has more seeds.

use meshward_sim::grid::{self, Outcome, Verdict};

#[test]
fn every_failure_in_every_phase_ends_well() {
    let outcomes: Vec<Outcome> = grid::cells(1).iter().map(grid::run).collect();
    let green = outcomes.iter().all(|outcome| outcome.verdict == Verdict::Green);
    assert!(green, "{}", grid::markdown(&outcomes));
}
