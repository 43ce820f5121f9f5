//! Roll-outs in waves, in a mesh that is made up.

mod beside;
mod model;

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use meshward_fleet::rollout::{
    Clock, Gate, Measure, Mistake, OnFailure, Phase, Power, Promotion, RolloutPlan, Selector, Size,
    VerbError, Verdict, Wave, Window, resolve,
};

use model::{Image, World};

const DAY: Duration = Duration::from_secs(86_400);

fn seeds(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

fn stopped_by(world: &World) -> Vec<String> {
    let broken = world.decisions.iter().find(|one| one.what == "broken");
    let findings = broken.map(|one| one.findings.clone()).unwrap_or_default();
    findings.into_iter().map(|one| one.gate).collect()
}

#[test]
fn a_good_image_reaches_everybody_in_waves_and_the_report_names_them() {
    let mut world = World::new(1, 100, Image::Healthy).quiet();
    let mut rollout = world.start(RolloutPlan::default());
    world.run(&mut rollout, DAY);
    assert_eq!(rollout.phase(), Phase::Finished, "{}", rollout.why());
    assert_eq!(world.running(true).len(), 100);
    let report = rollout.report();
    let sizes: Vec<usize> = report.waves.iter().map(|wave| wave.nodes).collect();
    assert_eq!((sizes, report.count("updated")), (vec![3, 10, 40, 47], 100));
    assert!(report.nodes.iter().all(|node| !node.why.is_empty()));
    assert!(report.waves.iter().all(|wave| wave.findings.iter().all(|one| one.verdict == Verdict::Holds)));
    let page = report.markdown();
    assert!(page.contains("## wave 3: 47 of 47 run the image") && page.lines().count() > 130, "{page}");
    // The canary and a wave stand for what they are, and relays come last.
    let canary = &report.nodes.iter().find(|node| node.wave == Some(0)).unwrap().why;
    assert!(canary.contains("stands for") && canary.contains("a leaf"), "{canary}");
}

#[test]
fn a_bad_image_stops_where_it_can_first_be_seen_and_everybody_goes_back() {
    // What it does, the gate that sees it, and the most nodes that it may reach.
    for (image, gate, most) in [
        (Image::GoesBack(99), "faults", 3),
        (Image::GoesBack(96), "faults", 3),
        (Image::CannotJoin, "success", 3),
        (Image::Loops(300), "restarts", 3),
        (Image::Times(Measure::FreeHeap, 0.85), "free_heap_bytes", 3),
        (Image::Times(Measure::MessagesSent, 5.0), "messages_tx", 3),
        (Image::Times(Measure::RoundTrip, 4.0), "round_trip_ms", 3),
        (Image::Times(Measure::RoundTrip, 1.3), "round_trip_ms", 13),
    ] {
        let mut world = World::new(3, 100, image).quiet();
        let mut rollout = world.start(RolloutPlan::default());
        world.run(&mut rollout, DAY);
        assert_eq!(rollout.phase(), Phase::RolledBack, "{image:?}: {}", rollout.why());
        assert!(stopped_by(&world).contains(&gate.to_owned()), "{image:?}: {:?}", stopped_by(&world));
        assert_eq!(world.running(true), [0_u32; 0], "{image:?}");
        assert!(world.told().len() <= most, "{image:?} reached {:?}", world.told());
        let report = rollout.report();
        assert_eq!(report.count("left_out"), 100 - world.told().len(), "{image:?}");
        assert!(report.nodes.iter().all(|node| node.reason.is_some() || node.outcome == "reverted"));
    }
}

#[test]
fn stock_nodes_stay_and_are_named() {
    let mut world = World::new(3, 40, Image::Times(Measure::FreeHeap, 0.5)).quiet().stock(2..=41);
    let mut rollout = world.start(RolloutPlan::default());
    world.run(&mut rollout, DAY);
    assert_eq!(rollout.phase(), Phase::RolledBack);
    let report = rollout.report();
    assert_eq!((report.count("kept"), report.count("left_out")), (3, 37));
    assert!(rollout.why().contains("3 nodes may still run the image"), "{}", rollout.why());
}

#[test]
fn what_a_broken_gate_does_is_the_plans_choice() {
    let plan = |on_failure| RolloutPlan { on_failure, ..RolloutPlan::default() };
    let start = |on_failure| {
        let mut world = World::new(3, 40, Image::GoesBack(99)).quiet();
        let mut rollout = world.start(plan(on_failure));
        world.run(&mut rollout, DAY);
        (world, rollout)
    };
    let (_, rollout) = start(OnFailure::Halt);
    assert_eq!(rollout.phase(), Phase::Halted);
    let (mut world, mut rollout) = start(OnFailure::Pause);
    assert_eq!(rollout.phase(), Phase::Approval);
    assert!(rollout.why().contains("faults"), "{}", rollout.why());
    // Somebody knows better.
    world.image = Image::Healthy;
    rollout.approve(world.moment(), "ada").unwrap();
    assert_eq!(rollout.approve(world.moment(), "ada"), Err(VerbError::NothingWaits(Phase::Waiting)));
    world.run(&mut rollout, DAY);
    assert_eq!(rollout.phase(), Phase::Finished, "{}", rollout.why());
    // Or nobody does.
    let (mut world, mut rollout) = start(OnFailure::Pause);
    for _ in 0..(8 * 2_880) {
        world.tick();
    }
    world.look(&mut rollout);
    assert_eq!(rollout.phase(), Phase::Halted);
    assert!(rollout.why().contains("nobody has decided"));
}

#[test]
fn people_promote_pause_abort_and_roll_back() {
    let plan = RolloutPlan { promotion: Promotion::Manual, ..RolloutPlan::default() };
    let mut world = World::new(3, 40, Image::Healthy).quiet();
    let mut rollout = world.start(plan);
    assert_eq!(rollout.roll_back(world.moment(), "ada"), Err(VerbError::NothingToRevert));
    world.run(&mut rollout, DAY);
    assert_eq!((rollout.phase(), world.told().len()), (Phase::Approval, 3));
    rollout.approve(world.moment(), "ada").unwrap();
    world.look(&mut rollout);
    rollout.pause(world.moment(), "ada").unwrap();
    assert_eq!(rollout.pause(world.moment(), "ada"), Err(VerbError::Paused));
    for _ in 0..500 {
        world.tick();
        world.look(&mut rollout);
    }
    assert_eq!((rollout.phase(), world.told().len()), (Phase::Activating, 7), "nothing goes on");
    rollout.resume(world.moment(), "ada").unwrap();
    assert_eq!(rollout.resume(world.moment(), "ada"), Err(VerbError::NotPaused));
    world.run(&mut rollout, DAY);
    assert_eq!((rollout.phase(), world.told().len()), (Phase::Approval, 7));
    rollout.roll_back(world.moment(), "ada").unwrap();
    assert_eq!(rollout.abort(world.moment(), "ada"), Err(VerbError::GoesBack));
    assert_eq!(rollout.pause(world.moment(), "ada"), Err(VerbError::GoesBack));
    world.run(&mut rollout, DAY);
    assert_eq!((rollout.phase(), world.running(true).len()), (Phase::RolledBack, 0));
    assert_eq!(rollout.abort(world.moment(), "ada"), Err(VerbError::Over(Phase::RolledBack)));

    let mut rollout = World::new(3, 40, Image::Healthy).start(RolloutPlan::default());
    rollout.abort(world.moment(), "ada").unwrap();
    assert_eq!(rollout.phase(), Phase::Aborted);
}

#[test]
fn who_goes_in_any_state_is_resolved_by_the_rules() {
    // Before its turn: put off, and left out when it is not there in the end.
    let mut world = World::new(3, 40, Image::Healthy).quiet();
    let mut rollout = world.start(RolloutPlan::default());
    world.look(&mut rollout);
    let first = rollout.report().nodes.iter().find(|node| node.wave == Some(0)).unwrap().node;
    world.take_away(first, DAY);
    world.run(&mut rollout, DAY);
    assert_eq!(rollout.phase(), Phase::Finished, "{}", rollout.why());
    let line = rollout.report().nodes.into_iter().find(|node| node.node == first).unwrap();
    assert_eq!(line.reason.unwrap(), "was not in the mesh when its turn came");
    // One of the canary while it is watched: one is not enough, two are.
    for (count, phase) in [(1, Phase::Finished), (2, Phase::RolledBack)] {
        let mut world = World::new(3, 40, Image::Healthy).quiet();
        let mut rollout = world.start(RolloutPlan::default());
        while rollout.phase() != Phase::Soaking {
            world.look(&mut rollout);
            world.tick();
        }
        let canary: Vec<u32> =
            rollout.report().nodes.iter().filter(|node| node.wave == Some(0)).map(|node| node.node).collect();
        for id in canary.iter().take(count) {
            world.take_away(*id, Duration::from_secs(1_000));
        }
        world.run(&mut rollout, DAY);
        assert_eq!(rollout.phase(), phase, "{count}: {}", rollout.why());
        assert_eq!(world.running(true).is_empty(), count == 2);
    }
    // In a rollback: waited for, and then named.
    let mut world = World::new(3, 40, Image::Healthy).quiet();
    let mut rollout = world.start(RolloutPlan::default());
    while rollout.phase() != Phase::Soaking {
        world.look(&mut rollout);
        world.tick();
    }
    let one = *world.told().iter().next().unwrap();
    world.take_away(one, DAY);
    rollout.roll_back(world.moment(), "ada").unwrap();
    world.run(&mut rollout, DAY);
    let line = rollout.report().nodes.into_iter().find(|node| node.node == one).unwrap();
    assert_eq!((line.outcome.as_str(), rollout.phase()), ("kept", Phase::RolledBack));
}

#[test]
fn a_node_that_does_not_obey_is_told_again_and_then_named() {
    for (times, outcome) in [(2, "updated"), (9, "failed")] {
        let mut world = World::new(3, 40, Image::Healthy).quiet();
        (2..42).for_each(|id| world.obeys_at(id, if id == 7 { times } else { 1 }));
        let mut rollout = world.start(RolloutPlan::default());
        world.run(&mut rollout, DAY);
        let line = rollout.report().nodes.into_iter().find(|node| node.node == 7).unwrap();
        assert_eq!((line.outcome.as_str(), line.tries), (outcome, 2), "{}", rollout.why());
    }
}

#[test]
fn a_controller_that_is_killed_at_any_point_ends_the_same() {
    for image in
        [Image::Healthy, Image::Times(Measure::FreeHeap, 0.85), Image::CannotJoin, Image::GoesBack(99)]
    {
        let mut world = World::new(5, 60, image);
        let mut rollout = world.start(RolloutPlan::default());
        // The world at every look, with what was written down before its effects were carried out.
        let mut points = Vec::new();
        while !rollout.phase().is_over() {
            points.push((world.clone(), world.killed(&rollout)));
            world.look(&mut rollout);
            world.tick();
        }
        let outcome = |world: &World, rollout: &meshward_fleet::rollout::Rollout| {
            let nodes: Vec<(u32, String)> =
                rollout.report().nodes.into_iter().map(|node| (node.node, node.outcome)).collect();
            (rollout.phase(), nodes, world.running(true), world.told())
        };
        world.look(&mut rollout);
        let expected = outcome(&world, &rollout);
        let kills = seeds("MESHWARD_KILLS", 200).min(points.len() as u64);
        for kill in 0..kills {
            let at = (kill * points.len() as u64 / kills) as usize;
            let (mut world, mut rollout) = (points[at].0.clone(), points[at].1.clone());
            // Killed after it decided, before it did anything; and then again before the next look.
            rollout.handle(&world.seen(), &world);
            let mut rollout = world.killed(&rollout);
            while !rollout.phase().is_over() {
                world.look(&mut rollout);
                world.tick();
            }
            world.look(&mut rollout);
            assert_eq!(
                outcome(&world, &rollout),
                expected,
                "{image:?} killed at look {at} of {}",
                points.len()
            );
        }
        println!("{image:?}: {kills} kills of {} looks, {:?}", points.len(), expected.0);
    }
}

#[test]
fn no_more_are_away_than_the_plan_allows() {
    for seed in 0..10 {
        let mut world = World::new(seed, 80, Image::Healthy).quiet();
        let mut rollout = world.start(RolloutPlan::default());
        world.run(&mut rollout, DAY);
        let alone = (2..82).map(|id| world.shape.below_count(NodeId(id)) + 1).max().unwrap();
        assert!(world.away_most <= 20.max(alone), "{seed}: {} away, {alone} behind one", world.away_most);
        assert_eq!(world.running(true).len(), 80);
    }
    // The twin: without the bound a wave restarts in one go.
    let mut world = World::new(0, 80, Image::Healthy).quiet();
    let mut plan = RolloutPlan::default();
    plan.restart.away_percent_most = 100;
    let mut rollout = world.start(plan);
    world.run(&mut rollout, DAY);
    assert!(world.away_most > 30, "{}", world.away_most);
}

/// A plan is refused in this mesh: the first mistake's field, and what is said of it.
fn refused(world: &World, plan: &RolloutPlan, taken: &BTreeMap<NodeId, String>, field: &str, words: &str) {
    let mistakes: Vec<Mistake> = resolve(plan, &world.facts, &world.shape, taken).unwrap_err();
    let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(mistakes[0].field, field, "{text:?}");
    assert!(text[0].contains(words), "{text:?}");
}

#[test]
fn plans_that_make_no_sense_are_refused_by_field() {
    let world = World::new(3, 20, Image::Healthy);
    let none = BTreeMap::new();
    let check = |plan: RolloutPlan, taken: &BTreeMap<NodeId, String>, field: &str, words: &str| {
        refused(&world, &plan, taken, field, words);
    };
    let plan = RolloutPlan::default;
    let wave = |size, nodes: &[u32]| Wave {
        select: Selector { nodes: nodes.to_vec(), ..Selector::default() },
        ..Wave::of(size)
    };
    let value = |nodes_least, samples_least, worse_most| Gate::Value {
        measure: Measure::FreeHeap,
        worse_most,
        nodes_least,
        samples_least,
    };
    check(
        RolloutPlan { waves: vec![wave(Size::Rest, &[2, 3]), wave(Size::Rest, &[3, 4])], ..plan() },
        &none,
        "waves[1].select",
        "node 3, and should be nodes that waves[0].select does not choose too",
    );
    check(
        RolloutPlan { waves: vec![Wave::of(Size::Count(0))], ..plan() },
        &none,
        "waves[0].size",
        "at least one",
    );
    check(
        RolloutPlan { waves: vec![Wave::of(Size::Rest), Wave::of(Size::Count(1))], ..plan() },
        &none,
        "waves[1].size",
        "waves[0] takes all the rest",
    );
    check(
        RolloutPlan { gates: vec![value(30, 8, 5.0)], ..plan() },
        &none,
        "gates[0].nodes_least",
        "never decide",
    );
    check(
        RolloutPlan { gates: vec![value(2, 500, 5.0)], ..plan() },
        &none,
        "gates[0].samples_least",
        "from 2 to 120",
    );
    check(
        RolloutPlan { gates: vec![value(2, 8, 0.0)], ..plan() },
        &none,
        "gates[0].worse_most",
        "more than 0",
    );
    check(
        RolloutPlan { gates: vec![Gate::Failures {}; 2], ..plan() },
        &none,
        "gates[1].kind",
        "gates[0] is one already",
    );
    check(RolloutPlan { confidence: 1.0, ..plan() }, &none, "confidence", "0.9999");
}

#[test]
fn plans_that_do_not_fit_the_mesh_are_refused_and_the_default_fits_every_mesh() {
    let world = World::new(3, 20, Image::Healthy);
    let (none, plan) = (BTreeMap::new(), RolloutPlan::default);
    let check = |plan: RolloutPlan, taken: &BTreeMap<NodeId, String>, field: &str, words: &str| {
        refused(&world, &plan, taken, field, words);
    };
    let select = |nodes: &[u32]| Selector { nodes: nodes.to_vec(), ..Selector::default() };
    check(
        RolloutPlan { select: select(&[99]), ..plan() },
        &none,
        "select.nodes",
        "99, and should be a node that is known",
    );
    let mut named = plan();
    named.canary.nodes = vec![5];
    named.select.except = vec![5];
    check(named, &none, "canary.nodes", "select means too");
    let taken = BTreeMap::from([(NodeId(4), "winter".to_owned())]);
    check(plan(), &taken, "select", "4 is in \"winter\"");
    let nobody = Selector { roles: vec!["door".to_owned()], ..Selector::default() };
    check(RolloutPlan { select: nobody, ..plan() }, &none, "select", "nobody");
    // Two plans at the same time, each for its own.
    let mut other = plan();
    other.select.except = vec![4];
    assert!(resolve(&other, &world.facts, &world.shape, &taken).is_ok());
    // The twin: the default plan fits every mesh.
    for nodes in [1, 2, 3, 5, 10, 200] {
        let world = World::new(3, nodes, Image::Healthy);
        let roster = resolve(&plan(), &world.facts, &world.shape, &none).unwrap();
        let placed: usize = roster.waves.iter().map(Vec::len).sum();
        assert_eq!(placed, nodes);
        assert!(nodes < 2 || roster.waves[0].len() < nodes);
    }
}

#[test]
fn the_canary_stands_for_all_and_spares_those_on_whom_others_depend() {
    // A gateway, a relay with all behind it, six leaves of two boards, and one more next to the gateway.
    let mut world = World::with_parents(1, &[0, 1, 1, 1, 1, 1, 1, 0], Image::Healthy);
    for id in [3, 4] {
        world.facts.get_mut(&NodeId(id)).unwrap().hardware = Some("ESP8266".to_owned());
    }
    for (id, health) in [(5, 40), (6, 98), (7, 97), (8, 97)] {
        world.facts.get_mut(&NodeId(id)).unwrap().health = Some(health);
    }
    let roster = resolve(&RolloutPlan::default(), &world.facts, &world.shape, &BTreeMap::new()).unwrap();
    let chosen: BTreeSet<u32> = roster.waves[0].iter().map(|one| one.node.0).collect();
    assert_eq!(chosen, BTreeSet::from([3, 6, 9]), "one of each board and depth, the best, not the relay");
    assert!(roster.waves[0][0].why.contains("stands for 4"), "{:?}", roster.waves[0]);
    assert_eq!(roster.waves.last().unwrap().last().unwrap().node, NodeId(2), "the relay comes last");
    // Batteries that are too weak are left out, and say why.
    world.facts.get_mut(&NodeId(6)).unwrap().battery_percent = Some(11.0);
    let power = Power { battery_percent_least: Some(30), supply_mv_least: None };
    let plan = RolloutPlan { power, ..RolloutPlan::default() };
    let roster = resolve(&plan, &world.facts, &world.shape, &BTreeMap::new()).unwrap();
    assert_eq!(roster.left_out[0].why, "has 11 % of battery, and the plan wants 30 at least");
}

/// Runs that did not finish, of so many seeds; how many nodes they had reached on the average, and by which gate, in
/// which wave, they were stopped. Who has to be asked has been stopped too.
fn stopped(image: Image, nodes: usize, count: u64) -> (u64, f64, BTreeMap<String, u64>) {
    let (mut stops, mut reached, mut by) = (0, 0, BTreeMap::new());
    for seed in 0..count {
        let mut world = World::new(1_000 + seed, nodes, image);
        let mut rollout = world.start(RolloutPlan::default());
        world.run(&mut rollout, DAY);
        if rollout.phase() == Phase::Finished {
            continue;
        }
        (stops, reached) = (stops + 1, reached + world.told().len());
        let broken =
            world.decisions.iter().find(|one| matches!(one.what.as_str(), "broken" | "ask")).unwrap();
        let mut gates = stopped_by(&world);
        if gates.is_empty() {
            gates.push("somebody was asked".to_owned());
        }
        let wave = broken.wave;
        // Of what should not be stopped the seed is of interest.
        let seed = if image == Image::Healthy { format!(", seed {}", 1_000 + seed) } else { String::new() };
        let name = |gate: String| format!("{gate} in wave {wave}{seed}");
        gates.into_iter().for_each(|gate| *by.entry(name(gate)).or_default() += 1);
    }
    (stops, reached as f64 / stops.max(1) as f64, by)
}

#[test]
fn healthy_images_are_not_stopped_by_chance() {
    let count = seeds("MESHWARD_SEEDS", 20);
    let (stops, _, by) = stopped(Image::Healthy, 100, count);
    println!("healthy: {stops} of {count} stopped, seeds 1000 to {}: {by:?}", 999 + count);
    // One in a hundred, and what chance makes of so few.
    assert!(stops as f64 <= 0.01 * count as f64 + 1.0, "{stops} of {count}: {by:?}");
}

#[test]
fn what_is_worse_is_found() {
    let count = seeds("MESHWARD_SEEDS", 20).min(200);
    for (image, gate) in [
        (Image::Times(Measure::FreeHeap, 0.85), "free_heap_bytes"),
        (Image::Times(Measure::RoundTrip, 1.3), "round_trip_ms"),
    ] {
        let (stops, reached, by) = stopped(image, 100, count);
        println!("{image:?}: {stops} of {count} stopped, {reached:.1} nodes reached, {by:?}");
        let found: u64 = by.iter().filter(|(by, _)| by.starts_with(gate)).map(|(_, count)| count).sum();
        assert!(found as f64 >= 0.9 * count as f64, "{image:?}: {found} of {count}");
    }
}

#[test]
fn a_fault_that_shows_while_a_wave_waits_stops_it() {
    let plan = RolloutPlan { promotion: Promotion::AfterCanary, ..RolloutPlan::default() };
    let mut world = World::new(3, 40, Image::Healthy).quiet();
    let mut rollout = world.start(plan);
    world.run(&mut rollout, DAY);
    assert_eq!(rollout.phase(), Phase::Approval);
    rollout.approve(world.moment(), "ada").unwrap();
    world.run(&mut rollout, DAY);
    assert_eq!(rollout.phase(), Phase::Finished, "{}", rollout.why());
    // The same, and the canary goes back between its soak and the next wave's window.
    let windows = vec![Window { days: Vec::new(), from: Clock(18 * 60), until: Clock(18 * 60 + 30) }];
    let plan = RolloutPlan { windows, ..RolloutPlan::default() };
    let mut world = World::new(3, 40, Image::Healthy).quiet();
    let mut rollout = world.start(plan);
    while rollout.phase() != Phase::Waiting || rollout.wave() == 0 {
        world.look(&mut rollout);
        world.tick();
    }
    world.image = Image::GoesBack(99);
    world.run(&mut rollout, DAY);
    assert_eq!((rollout.phase(), world.told().len()), (Phase::RolledBack, 3), "{}", rollout.why());
}
