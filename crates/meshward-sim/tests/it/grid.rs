//! The grid of failures and phases, in short: `meshward sim grid` has more seeds.

use meshward_sim::grid::{self, Cell, Failure, Outcome, Phase, Verdict};
use meshward_sim::image::Behaviour;
use meshward_sim::plant::Plant;

#[test]
fn every_failure_in_every_phase_ends_well() {
    let outcomes: Vec<Outcome> = grid::cells(1).iter().map(grid::run).collect();
    let green = outcomes.iter().all(|outcome| outcome.verdict == Verdict::Green);
    assert!(green, "{}", grid::markdown(&outcomes));
    assert!(outcomes.iter().all(|outcome| outcome.updated == outcome.targets), "power is nobody's fault");
}

#[test]
fn a_bad_image_is_taken_back_and_everybody_is_named() {
    for behaviour in [Behaviour::CrashesAtBoot, Behaviour::FailsSelfTest] {
        for failure in [Failure::CutTarget, Failure::KillTarget, Failure::RestartGateway] {
            let cell = Cell { behaviour, ..Cell::new(Phase::Transfer, failure) };
            let outcome = grid::run(&cell);
            assert_eq!(outcome.verdict, Verdict::Green, "{behaviour:?}");
            assert_eq!((outcome.updated, outcome.named), (0, 6), "{behaviour:?}");
        }
    }
}

#[test]
fn the_grid_sees_what_it_looks_for() {
    let run = |plant| grid::run(&Cell { plant, ..Cell::new(Phase::Activate, Failure::KillTarget) }).verdict;
    assert_eq!(run(None), Verdict::Green);
    assert!(matches!(run(Some(Plant::BothRecordsErased)), Verdict::Wrong(_)));
    assert!(matches!(run(Some(Plant::DeadLink)), Verdict::Stuck(_)));
}
