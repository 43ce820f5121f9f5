//! What a gateway's fleet makes of a mesh of the virtual world, and of its own restart.
//!
//! A broker or a database that is lost has no input here: a fleet hears of its node and of the time, and of nothing
//! else.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::alert;
use meshward_fleet::cause;
use meshward_fleet::fleet::Event;
use meshward_fleet::liveness::{Change, State};
use meshward_fleet::topology::What;
use meshward_sim::script::Step;
use meshward_sim::status::{Case, GATEWAY, Nodes, Row, row, run_one};
use meshward_sim::topology::Topology;
use meshward_sim::world::{Seat, World};

use crate::tools::seconds;

/// What a fleet has said, sorted.
#[derive(Default)]
struct Said {
    changes: Vec<Change>,
    /// Alerts that were raised and nobody suppressed, by rule.
    alerts: Vec<String>,
    opened: Vec<(NodeId, u32)>,
    rebooted: BTreeSet<NodeId>,
}

impl Said {
    fn lost(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.to.is_lost())
    }
}

/// Lets time pass, and takes what the fleet says meanwhile.
fn run(world: &mut World, span: Duration) -> Said {
    let mut said = Said::default();
    let until = world.now() + span;
    while world.now() < until {
        world.run_for(seconds(10));
        let _seen = world.records().count();
        hear(world, &mut said);
    }
    said
}

fn hear(world: &mut World, said: &mut Said) {
    for (_, event) in world.fleet_events(GATEWAY) {
        match event {
            Event::Liveness(change) => said.changes.push(change),
            Event::Alert(transition) if transition.to == Some(alert::State::ActiveUnack) => {
                let (fleet, _) = world.fleet(GATEWAY).unwrap();
                let mut alerts = fleet.alerts().alerts();
                let alert = alerts.find(|alert| alert.fingerprint == transition.fingerprint);
                if alert.is_none_or(|alert| alert.suppressed_by.is_none()) {
                    said.alerts.push(transition.rule);
                }
            }
            Event::Incident(cause::Event::Opened { incident, missing, .. }) => {
                let (fleet, _) = world.fleet(GATEWAY).unwrap();
                let cause = fleet.incidents().get(incident).map(|incident| incident.cause);
                said.opened.push((cause.unwrap(), missing));
            }
            Event::Topology(event) if event.what == What::Rebooted => {
                said.rebooted.insert(event.node);
            }
            _ => {}
        }
    }
}

fn state(world: &World, seat: Seat) -> Option<State> {
    let (fleet, _) = world.fleet(GATEWAY).unwrap();
    fleet.liveness().get(world.id(seat)).map(|status| status.state)
}

fn all_online(world: &World) -> bool {
    world.seats().skip(1).all(|seat| state(world, seat) == Some(State::Online))
}

/// The nodes behind a seat, itself included.
fn branch(world: &World, top: Seat) -> usize {
    let behind = |mut seat: Seat| {
        while seat != top {
            let Some(parent) = world.spec(seat).parent else { return false };
            seat = parent;
        }
        true
    };
    world.seats().filter(|seat| behind(*seat)).count()
}

fn quick(n: usize) -> Case {
    Case { watch: seconds(1_200), deaths: 3, leaves: 2, ..Case::of(n, true) }
}

#[test]
fn a_small_row_is_as_wanted() {
    let case = quick(10);
    let runs: Vec<_> = (0..2).map(|seed| run_one(&case, seed)).collect();
    let row: Row = row(&case, &runs);
    assert!(row.is_kept() && row.deaths == 6 && row.leaves == 4, "{row:?}");
    assert!(row.share_percent > 0.05 && row.age_p50_s > 1.0, "it measures something: {row:?}");
    assert!(runs.iter().all(|run| run.reporting == 10));
    let apart = (row.metered_percent - row.share_percent).abs();
    assert!(apart < 0.15 * row.share_percent, "the gateway's meter is not far off: {row:?}");
    // The twin: nodes that report seldom are not fresh, and their deaths are seen late.
    let seldom = Case { period: seconds(600), ..case };
    let row = meshward_sim::status::row(&seldom, &[run_one(&seldom, 0)]);
    assert!(row.age_p95_s > 120.0 && row.death_p95_s > 30.0 && !row.is_kept(), "{row:?}");
}

/// A large mesh of which half is deeper than six, from its gateway's start until the mesh clock has begun anew.
fn large(aggregate: bool) -> meshward_sim::status::Run {
    let run = run_one(&Case { deaths: 0, leaves: 0, ..Case::of(100, aggregate) }, 1);
    assert!(run.tree.mean_depth() > 5.9, "{:?}", run.tree);
    assert_eq!((run.reporting, run.false_losses, run.false_alerts), (100, 0, 0));
    assert!(run.worst <= 2.0 && run.metered_worst <= 2.0, "{} {}", run.worst, run.metered_worst);
    let apart = (run.metered - run.share).abs();
    assert!(apart < 0.1 * run.share, "the meter has {} % of {} %", run.metered, run.share);
    run
}

#[test]
fn reports_of_a_large_and_deep_mesh_are_packed() {
    let packed = large(true);
    // A message a node and round, 115 on all links, takes 1.1 %.
    assert!(packed.share < 1.25, "{}", packed.share);
    // The twin: what each sends by itself crosses six links, and at the same period would take more than the budget.
    let single = large(false);
    assert!(single.share * single.period > 3.0 * packed.share * packed.period, "{}", single.share);
}

#[test]
fn the_budget_holds_where_messages_get_lost_and_nodes_die() {
    // Nothing is packed, so all of the budget is wanted; probes, keyframes and policies want more of it than there is.
    for (n, seed) in [(50, 4), (100, 1)] {
        let case = Case { loss: 5, deaths: 4, leaves: 1, watch: seconds(1_200), ..Case::of(n, false) };
        let run = run_one(&case, seed);
        assert!(run.worst <= 2.0 && run.worst > 1.6, "{n}: {} %", run.worst);
        let apart = run.metered / run.share;
        assert!((0.97..1.15).contains(&apart), "{n}: the meter has {} % of {} %", run.metered, run.share);
    }
}

#[test]
fn a_lost_branch_is_one_incident_and_one_alert() {
    // A tree, and a node of it with 13 behind it.
    let (mut world, top) = (0..200)
        .find_map(|seed| {
            let world = Case::of(40, true).watched(seed);
            let top = world.seats().skip(1).find(|seat| branch(&world, *seat) == 14)?;
            Some((world, top))
        })
        .unwrap();
    let quiet = run(&mut world, seconds(1_200));
    assert!(all_online(&world) && quiet.alerts.is_empty() && quiet.opened.is_empty(), "{:?}", quiet.alerts);
    world.perform(Step::PowerCut(top, seconds(900)));
    let said = run(&mut world, seconds(600));
    assert_eq!(said.lost().map(|change| change.node).collect::<BTreeSet<_>>().len(), 14);
    let causes: BTreeSet<NodeId> = said.opened.iter().map(|(cause, _)| *cause).collect();
    assert_eq!((causes, said.opened.len()), (BTreeSet::from([world.id(top)]), 1), "{:?}", said.opened);
    let (fleet, _) = world.fleet(GATEWAY).unwrap();
    assert_eq!(fleet.incidents().open().map(|incident| incident.missing.len()).collect::<Vec<_>>(), [14]);
    assert_eq!(said.alerts, ["branch_lost"]);
    let back = run(&mut world, seconds(1_200));
    assert!(all_online(&world), "all are back");
    assert_eq!(world.fleet(GATEWAY).unwrap().0.incidents().open().count(), 0);
    assert_eq!(back.alerts, [""; 0]);
}

#[test]
fn a_node_that_is_lost_alone_is_an_alert_of_its_own() {
    let mut world = Case::of(12, true).watched(1);
    run(&mut world, seconds(1_200));
    let leaf = world.seats().skip(1).find(|seat| branch(&world, *seat) == 1).unwrap();
    world.perform(Step::PowerCut(leaf, seconds(900)));
    assert_eq!(run(&mut world, seconds(300)).alerts, ["node_offline"]);
}

#[test]
fn loss_is_learnt_from_reports_that_nobody_packs() {
    let learnt = |aggregate: bool, cuts: usize| {
        let mut world = Case::of(25, aggregate).watched(6_003);
        run(&mut world, seconds(1_200));
        let relays =
            world.seats().skip(1).filter(|seat| world.seats().any(|of| world.spec(of).parent == Some(*seat)));
        for relay in relays.take(cuts).collect::<Vec<_>>() {
            world.perform(Step::PowerCut(relay, seconds(240)));
            run(&mut world, seconds(500));
        }
        world.fleet(GATEWAY).unwrap().0.liveness().loss()
    };
    // Before anything is learnt it is 0.05; less than 0.02 is never believed.
    assert!(learnt(false, 0) < 0.021, "nothing gets lost here, and all of it is forwarded");
    let packed = learnt(true, 8);
    assert!(packed <= 0.05, "{packed}: what dies with a relay that packs was not lost on its way");
}

#[test]
fn a_gateway_that_restarts_raises_no_alert() {
    let case = Case::of(25, true);
    let mut world = case.watched(3);
    run(&mut world, seconds(1_200));
    assert!(all_online(&world));
    // The service alone; then the whole gateway, so that the mesh is made anew.
    for whole in [false, true] {
        let step = if whole { Step::Crash(GATEWAY) } else { Step::Watch(GATEWAY, Arc::new(case.settings())) };
        world.perform(step);
        world.run_for(seconds(4));
        assert!(world.fleet(GATEWAY).unwrap().0.liveness().is_learning());
        let said = run(&mut world, seconds(1_800));
        assert!(said.changes.iter().any(|change| change.from == State::Learning));
        assert!(said.lost().next().is_none(), "{:?}", said.lost().collect::<Vec<_>>());
        assert_eq!((said.alerts, said.opened), (vec![], vec![]));
        assert!(all_online(&world));
        let (fleet, _) = world.fleet(GATEWAY).unwrap();
        assert_eq!(fleet.reporting().count(), 25, "they report to it again");
    }
}

#[test]
fn a_restart_is_told_from_a_loss() {
    let mut world = Case::of(12, true).watched(4);
    run(&mut world, seconds(1_200));
    let leaf = world.seats().skip(1).find(|seat| branch(&world, *seat) == 1).unwrap();
    let other = world.seats().skip(1).find(|seat| *seat != leaf && branch(&world, *seat) == 1).unwrap();
    world.perform(Step::Crash(leaf));
    world.perform(Step::Leave(other));
    let said = run(&mut world, seconds(600));
    assert_eq!(said.rebooted, BTreeSet::from([world.id(leaf)]));
    assert_eq!((state(&world, leaf), state(&world, other)), (Some(State::Online), Some(State::Offline)));
}

/// What nodes report whose relays pack nothing any more takes more than the whole budget.
#[test]
fn relays_that_restart_together_are_told_to_pack_again() {
    let mut world = Case { period: seconds(30), ..Case::of(100, true) }.watched(5);
    run(&mut world, seconds(1_800));
    let relays: Vec<Seat> = world.seats().skip(1).filter(|seat| branch(&world, *seat) > 1).collect();
    relays.into_iter().for_each(|relay| world.perform(Step::Crash(relay)));
    run(&mut world, seconds(1_200));
    let (fleet, _) = world.fleet(GATEWAY).unwrap();
    assert_eq!(fleet.reporting().count(), 100);
    let share = fleet.shares(world.now()).status();
    assert!(share < fleet.budget().0, "{share} % and nobody is told to take less");
}

#[test]
fn a_day_of_a_healthy_mesh_at_five_percent_loss_is_quiet() {
    let mut world = Case { loss: 5, ..Case::of(25, true) }.watched(5);
    let said = run(&mut world, seconds(86_400));
    assert!(said.lost().next().is_none(), "{:?}", said.lost().collect::<Vec<_>>());
    assert_eq!((said.alerts, said.opened), (vec![], vec![]));
    assert!(world.fleet(GATEWAY).unwrap().0.reporting().count() == 25);
}

/// How long the silent death of a leaf takes to be seen, in a mesh of these nodes; the round trips that were measured
/// before.
fn death_among(nodes: Nodes) -> (f64, usize) {
    let case = Case { nodes, topology: Topology::Random(4), ..Case::of(12, true) };
    let mut world = case.watched(6);
    let quiet = run(&mut world, seconds(1_500));
    assert!(all_online(&world) && quiet.lost().next().is_none());
    let (fleet, _) = world.fleet(GATEWAY).unwrap();
    assert_eq!(fleet.topology().places().count(), 12);
    let metric = meshward_core::telemetry::Metric::RoundTrip;
    let measured =
        world.seats().filter(|seat| fleet.series().last(world.id(*seat), metric).is_some()).count();
    let reporting: BTreeSet<NodeId> = fleet.reporting().collect();
    let ours = world.seats().skip(1).filter(|seat| nodes.is_ours(seat.0)).map(|seat| world.id(seat));
    assert_eq!(reporting, ours.collect(), "who reports is who can");
    let leaf = world
        .seats()
        .skip(1)
        .find(|seat| branch(&world, *seat) == 1 && (nodes == Nodes::Meshward || !nodes.is_ours(seat.0)))
        .unwrap();
    let (at, id): (Instant, NodeId) = (world.now(), world.id(leaf));
    world.perform(Step::PowerCut(leaf, seconds(600)));
    while world.now().since(at) < seconds(300) {
        world.run_for(seconds(1));
        let mut said = Said::default();
        hear(&mut world, &mut said);
        if said.lost().any(|change| change.node == id) {
            return (world.now().since(at).as_secs_f64(), measured);
        }
    }
    (f64::INFINITY, measured)
}

fn leaves() -> usize {
    let world = Case::of(12, true).grown(6);
    world.seats().filter(|seat| branch(&world, *seat) == 1).count()
}

#[test]
fn stock_nodes_are_watched_by_what_they_give() {
    let (death, measured) = death_among(Nodes::Stock);
    assert!(death <= 75.0, "by its neighbour's time-out: {death}");
    // Whoever answers proves those above it, which are not asked.
    assert_eq!(measured, leaves(), "round trips by probes");
    let (death, measured) = death_among(Nodes::Mixed);
    assert!(death <= 75.0 && measured > 0, "{death} {measured}");
}
