//! Good and bad images, rolled out in waves on the whole network.

use meshward_core::time::Duration;
use meshward_fleet::rollout::{Gate, Phase, RolloutPlan, Soak};
use meshward_sim::image::Behaviour;
use meshward_sim::rollout::{BesideRun, Case, Run, Side, run, run_beside};

use crate::tools::seconds;

/// The default plan, with shorter soaks: what can be seen is seen within them.
fn plan() -> RolloutPlan {
    let soak = Soak { soak_s: 900, looks: 3, baseline_s: 300, patience_s: 600 };
    RolloutPlan { soak, ..RolloutPlan::default() }
}

fn case(n: usize, behaviour: Behaviour) -> Case {
    Case { n, behaviour, stock: |_| false, plan: plan(), killed_every: None }
}

fn line(name: &str, run: &Run) -> String {
    let (wave, gates) = run.broken.clone().unwrap_or_default();
    format!(
        "{name}: {:?}, stopped in wave {wave} by {gates:?} after {:?}; {} nodes hit, {} run it, {} there, {} away at most ({:?} beyond the bound), {:?} in all",
        run.phase,
        run.detected,
        run.told.len(),
        run.on_new.len(),
        run.there,
        run.away_most,
        run.beyond,
        run.took
    )
}

/// The seeds of a test: one, or `MESHWARD_SEEDS` from `MESHWARD_START` on.
fn seeds() -> core::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(1);
    let start: u64 = number("MESHWARD_START");
    start..start + number("MESHWARD_SEEDS")
}

#[test]
fn bad_images_are_caught_in_the_canary_and_taken_back() {
    let (second, n) = (seconds(1), 100);
    // Three are in the canary, and ten in the wave behind it. Three alone do not always show what a value has become.
    for (name, behaviour, hit_most) in [
        ("crashes at boot", Behaviour::CrashesAtBoot, 3),
        ("fails its self-test", Behaviour::FailsSelfTest, 3),
        ("cannot join", Behaviour::CannotJoin, 3),
        ("leaks", Behaviour::Leaks(second.saturating_mul(1_800)), 13),
        ("slow", Behaviour::Slow(Duration::from_millis(60)), 13),
        ("chatty", Behaviour::Chatty(second.saturating_mul(5)), 13),
    ] {
        for seed in seeds() {
            let run = run(&case(n, behaviour), seed);
            let line = line(&format!("{name}, seed {seed}"), &run);
            println!("{line}");
            assert_eq!(run.phase, Phase::RolledBack, "{line}: {:?}", run.decisions.last());
            assert!(run.told.len() <= hit_most, "{line}: {:?}", run.told);
            assert_eq!(run.starts_most, 1, "{line}: who went back started it again");
            assert!(run.on_new.is_empty(), "{line}: {:?}", run.on_new);
            assert_eq!(run.there, n + 1, "{line}");
            assert!(run.report.nodes.iter().all(|node| node.outcome != "kept"), "{line}");
        }
    }
}

#[test]
fn a_good_image_comes_to_all_and_the_mesh_is_never_split_beyond_the_bound() {
    for seed in seeds() {
        let run = run(&case(100, Behaviour::Healthy), seed);
        let line = line(&format!("healthy, seed {seed}"), &run);
        println!("{line}");
        let last: Vec<_> = run.decisions.iter().rev().take(2).collect();
        assert_eq!(run.phase, Phase::Finished, "{line}: {last:#?}");
        assert_eq!((run.on_new.len(), run.report.count("updated")), (100, 100), "{line}");
        assert_eq!(run.starts_most, 1, "{line}");
        // One relay may take more away than the plan allows, and then it restarts alone: for as long as a boot takes.
        assert!(run.away_most <= run.branch_most.max(25), "{line}: {} behind one", run.branch_most);
        assert!(run.beyond <= seconds(60), "{line}: beyond the bound for {:?}", run.beyond);
    }
}

#[test]
fn stock_nodes_come_in_waves_by_their_last_part_and_stay() {
    let stock = |place: usize| place % 3 == 1;
    let case = Case { stock, ..case(30, Behaviour::Healthy) };
    let good = run(&case, 1);
    println!("{}", line("mixed, healthy", &good));
    assert_eq!((good.phase, good.on_new.len()), (Phase::Finished, 30), "{:?}", good.decisions.last());
    // None of the canary has a way back.
    let bad = run(&Case { stock: |_| true, behaviour: Behaviour::CannotJoin, ..case }, 1);
    println!("{}", line("stock, cannot join", &bad));
    assert_eq!((bad.phase, bad.told.len(), bad.on_new.len()), (Phase::RolledBack, 3, 3));
    assert_eq!(bad.report.count("left_out"), 27);
}

/// What holds of two roll-outs at once, whatever becomes of them. Both in a line.
fn kept_apart(run: &BesideRun, n: usize) -> String {
    let line = format!(
        "{} away at most ({:?} beyond the bound, {} behind one), {:?} in all, {} orders; waited {:?}",
        run.away_most,
        run.beyond,
        run.branch_most,
        run.took,
        run.last_counter,
        run.sides.iter().map(|side| side.waited).collect::<Vec<_>>()
    );
    assert_eq!((run.both_sent, run.there), (0, n + 1), "{line}");
    assert!(run.away_most <= run.branch_most.max(n / 4), "{line}");
    assert!(run.beyond <= seconds(60), "{line}");
    for side in &run.sides {
        assert!(side.told.is_subset(&side.meant), "only its own are told: {:?}", side.told);
        assert!(side.on_new.is_subset(&side.meant), "only its own run its image: {:?}", side.on_new);
    }
    line
}

#[test]
fn a_bad_image_of_one_role_goes_back_while_the_good_one_of_another_comes_to_all() {
    let side = |role, behaviour| Side { role, behaviour, plan: plan() };
    let sides = [side("pump", Behaviour::FailsSelfTest), side("valve", Behaviour::Healthy)];
    for seed in seeds() {
        let run = run_beside(60, &sides, seed);
        println!("{}", kept_apart(&run, 60));
        let [bad, good] = &run.sides[..] else { panic!("two") };
        assert_eq!(
            (bad.phase, good.phase),
            (Phase::RolledBack, Phase::Finished),
            "{:?}",
            good.decisions.last()
        );
        assert!(bad.on_new.is_empty() && bad.told.len() <= 3, "{:?}", bad.told);
        assert_eq!((&good.on_new, good.report.count("updated")), (&good.meant, good.meant.len()));
    }
}

#[test]
fn two_good_images_restart_no_more_of_the_mesh_at_once_than_one() {
    // Who is away is what counts here: values take long to be enough.
    let soak = Soak { soak_s: 120, looks: 1, baseline_s: 30, patience_s: 0 };
    let gates = vec![Gate::Failures {}, Gate::Restarts {}];
    let plan = RolloutPlan { soak, gates, ..RolloutPlan::default() };
    let side = |role| Side { role, behaviour: Behaviour::Healthy, plan: plan.clone() };
    for seed in seeds() {
        let run = run_beside(40, &[side("pump"), side("valve")], seed);
        println!("{}", kept_apart(&run, 40));
        for side in &run.sides {
            assert_eq!(
                (side.phase, &side.on_new),
                (Phase::Finished, &side.meant),
                "{:?}",
                side.decisions.last()
            );
        }
        assert!(run.sides.iter().any(|side| side.waited > 0), "they did meet");
    }
}

#[test]
fn a_controller_that_is_killed_again_and_again_ends_the_same() {
    for behaviour in [Behaviour::Healthy, Behaviour::FailsSelfTest] {
        let whole = run(&case(20, behaviour), 2);
        let killed = run(&Case { killed_every: Some(1), ..case(20, behaviour) }, 2);
        assert_eq!((killed.phase, &killed.told, &killed.on_new), (whole.phase, &whole.told, &whole.on_new));
        let outcomes = |run: &Run| -> Vec<(u32, String)> {
            run.report.nodes.iter().map(|node| (node.node, node.outcome.clone())).collect()
        };
        assert_eq!(outcomes(&killed), outcomes(&whole));
    }
}
