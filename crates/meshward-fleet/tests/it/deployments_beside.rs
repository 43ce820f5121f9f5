//! Several deployments beside one node, for nodes of several roles: they take turns, and touch nobody else's.

use std::collections::BTreeSet;

use meshward_core::hash::Sha256Sum;
use meshward_core::time::Duration;
use meshward_fleet::deployment::{Deployment, OrderCounter, Phase, Plan, Revert, State, Why};

use crate::deployments::{HOUR, image, keys, plan_for};
use crate::net::{Kind, Net};

/// Nodes of both families and roles, mixed up: sensors at 1, 3 and 5, valves at 2, 4 and 6.
const MIXED: [(Kind, usize); 6] = [
    (Kind::Signed, 0),
    (Kind::Signed, 1),
    (Kind::Signed, 2),
    (Kind::Signed, 2),
    (Kind::Stock, 3),
    (Kind::Stock, 1),
];
const SENSORS: [usize; 3] = [1, 3, 5];
const VALVES: [usize; 3] = [2, 4, 6];

fn mesh(old: &[u8]) -> Net {
    let mut net = Net::new();
    for (place, (kind, parent)) in MIXED.iter().enumerate() {
        let place = place + 1;
        assert_eq!(net.add(*kind, *parent, old, &keys()), place);
        net.assign(place, if VALVES.contains(&place) { "valve" } else { "sensor" });
    }
    net.form();
    net
}

/// For everybody who is there, and is of the role.
fn shared(role: &str, image: &[u8], counter: &OrderCounter) -> Plan {
    Plan { takes_turns: true, hold: true, counter: counter.clone(), ..plan_for(role, image, 1) }
}

/// For these: nobody can see a stock node's role, so somebody has to say who they are.
fn named(places: &[usize], plan: Plan) -> Plan {
    Plan { targets: Some(ids(places)), named: true, ..plan }
}

/// Starts one for the sensors, and beside it one for everybody else.
fn start(net: &mut Net, new_sensor: &[u8], new_valve: &[u8], counter: &OrderCounter) {
    let sensors = named(&SENSORS, shared("sensor", new_sensor, counter));
    start_these(net, sensors, shared("valve", new_valve, counter));
}

fn start_these(net: &mut Net, sensors: Plan, valves: Plan) {
    let now = net.now;
    net.deployment = Some(Deployment::start(now, net.gateway(), sensors).unwrap());
    let valves = Deployment::start(now, net.gateway(), valves).unwrap();
    net.beside.push(valves);
}

fn phases(net: &Net) -> (Phase, Phase) {
    (net.deployment.as_ref().unwrap().phase(), net.beside[0].phase())
}

const fn sends(phase: Phase) -> bool {
    matches!(phase, Phase::Packing | Phase::Delivering | Phase::Sending)
}

/// Until both are held, with one of them sending at a time. The phases that they were in together.
fn stage(net: &mut Net) -> Vec<(Phase, Phase)> {
    let mut seen: Vec<(Phase, Phase)> = Vec::new();
    let over = net.run(HOUR, |net| {
        let now = phases(net);
        assert!(!(sends(now.0) && sends(now.1)), "both send: {now:?} after {seen:?}");
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        now == (Phase::Held, Phase::Held)
    });
    assert!(over, "they come to be held: {seen:?}");
    seen
}

fn ids(places: &[usize]) -> Vec<meshward_core::wire::NodeId> {
    places.iter().map(|place| meshward_core::wire::NodeId(*place as u32 + 1)).collect()
}

#[test]
fn two_roles_take_turns_and_each_starts_its_own_image() {
    let (old, new_sensor, new_valve) = (image(1), image(2), image(3));
    let (mut net, counter) = (mesh(&old), OrderCounter::default());
    start(&mut net, &new_sensor, &new_valve, &counter);
    let seen = stage(&mut net);
    use Phase::{Delivering, Held, Queued, Sending};
    for both in [(Delivering, Queued), (Sending, Queued), (Held, Delivering), (Held, Sending)] {
        assert!(seen.contains(&both), "{both:?} of {seen:?}");
    }
    // Everybody who is meant has it, stock nodes too; who is not says why.
    for place in SENSORS {
        assert_eq!(net.state(place), State::Ready, "sensor {place}");
        assert_eq!(net.state_beside(0, place), State::Declined(Some(Why::Elsewhere(1))), "sensor {place}");
    }
    for place in VALVES {
        assert_eq!(net.state_beside(0, place), State::Ready, "valve {place}");
    }
    // The valves start it; the sensors wait as they did.
    let restarted = |net: &Net| net.beside[0].restarted();
    assert_eq!(restarted(&net), BTreeSet::new(), "nobody restarts who waits");
    net.with_beside(0, |now, deployment, node| deployment.activate(now, node, &ids(&VALVES[..1])));
    assert_eq!(restarted(&net), BTreeSet::from_iter(ids(&VALVES[..1])));
    net.with_beside(0, |now, deployment, node| deployment.activate(now, node, &ids(&VALVES)));
    assert_eq!(restarted(&net), BTreeSet::from_iter(ids(&VALVES)));
    assert!(net.run(HOUR, |net| net.beside[0].is_finished()), "{:?}", phases(&net));
    assert_eq!(restarted(&net), BTreeSet::new(), "all have shown what came of it");
    for place in VALVES {
        assert_eq!(net.state_beside(0, place), State::Updated, "valve {place}");
    }
    for place in SENSORS {
        assert_eq!((net.state(place), net.image(place)), (State::Ready, old.clone()), "sensor {place}");
    }
    assert_eq!(phases(&net).0, Held);
    // And then these, with an order above the other's.
    net.with(|now, deployment, node| deployment.activate(now, node, &ids(&SENSORS)));
    assert!(net.run(HOUR, |net| net.deployment.as_ref().unwrap().is_finished()), "{:?}", phases(&net));
    net.run(Duration::from_secs(120), |_| false);
    for (places, new) in [(SENSORS, &new_sensor), (VALVES, &new_valve)] {
        for place in places {
            assert_eq!(Sha256Sum::of(&net.image(place)), Sha256Sum::of(new), "node {place}");
        }
    }
    assert_eq!(counter.last(), 3, "each order has a counter of its own");
}

#[test]
fn who_is_paused_or_aborted_lets_the_other_send_and_stops_nothing_of_it() {
    let (old, new_sensor, new_valve) = (image(1), image(2), image(3));
    let (mut net, counter) = (mesh(&old), OrderCounter::default());
    start(&mut net, &new_sensor, &new_valve, &counter);
    assert!(net.run(HOUR, |net| phases(net) == (Phase::Delivering, Phase::Queued)));
    net.with(|now, deployment, node| deployment.pause(now, node));
    assert!(net.run(HOUR, |net| phases(net).1 == Phase::Delivering), "{:?}", phases(&net));
    // Back while the other sends: it waits for its turn, and loses nothing.
    net.with(|now, deployment, node| deployment.resume(now, node));
    assert_eq!(phases(&net), (Phase::Queued, Phase::Delivering));
    let seen = stage(&mut net);
    assert!(seen.contains(&(Phase::Delivering, Phase::Held)), "{seen:?}");
    for place in SENSORS {
        assert_eq!(net.state(place), State::Ready, "sensor {place}");
    }
    // One ends: what the other has brought is there, and stock nodes can still be given their last part.
    net.with(|now, deployment, node| deployment.abort(now, node));
    for place in VALVES {
        assert_eq!(net.state_beside(0, place), State::Ready, "valve {place}");
    }
    net.with_beside(0, |now, deployment, node| deployment.activate(now, node, &ids(&VALVES)));
    assert!(net.run(HOUR, |net| net.beside[0].is_finished()));
    for place in VALVES {
        assert_eq!(net.state_beside(0, place), State::Updated, "valve {place}");
    }
}

#[test]
fn a_rollback_and_a_quarantine_are_for_its_own_image_only() {
    let (old, new_sensor, new_valve) = (image(1), image(2), image(3));
    let (mut net, counter) = (mesh(&old), OrderCounter::default());
    start(&mut net, &new_sensor, &new_valve, &counter);
    stage(&mut net);
    let signed = ids(&[1, 3]);
    net.with(|now, deployment, node| deployment.activate(now, node, &signed));
    assert!(net.run(HOUR, |net| [1, 3].iter().all(|place| net.state(*place) == State::Updated)));
    net.with(|now, deployment, node| {
        deployment.abort(now, node);
        deployment.revert(now, node, &signed);
    });
    let back = |net: &mut Net| {
        let deployment = net.deployment.as_ref().unwrap();
        signed.iter().all(|id| deployment.reverting(*id) == Some(&Revert::Done))
    };
    assert!(net.run(HOUR, back));
    net.with(|now, deployment, node| deployment.quarantine(now, node));
    let quarantined = |net: &mut Net| {
        let deployment = net.deployment.take().unwrap();
        let done = deployment.is_quarantined(net.gateway());
        net.deployment = Some(deployment);
        done
    };
    assert!(net.run(HOUR, quarantined));
    for place in VALVES {
        assert_eq!(net.state_beside(0, place), State::Ready, "valve {place} still has what it was brought");
    }
    net.with_beside(0, |now, deployment, node| deployment.activate(now, node, &ids(&VALVES)));
    assert!(net.run(HOUR, |net| net.beside[0].is_finished()));
    net.run(Duration::from_secs(120), |_| false);
    for place in VALVES {
        assert_eq!(Sha256Sum::of(&net.image(place)), Sha256Sum::of(&new_valve), "valve {place}");
    }
    for place in [1, 3] {
        assert_eq!(Sha256Sum::of(&net.image(place)), Sha256Sum::of(&old), "sensor {place}");
    }
}

#[test]
fn who_was_away_for_its_transfer_is_given_up_and_the_next_one_is_not_held_up() {
    let (old, new_sensor, new_valve) = (image(1), image(2), image(3));
    let (mut net, counter) = (mesh(&old), OrderCounter::default());
    start(&mut net, &new_sensor, &new_valve, &counter);
    // Place 3 is a leaf but for a stock sensor.
    assert!(net.run(HOUR, |net| phases(net).0 == Phase::Delivering));
    net.kill(5);
    net.kill(3);
    let seen = stage(&mut net);
    assert!(seen.contains(&(Phase::Held, Phase::Delivering)), "{seen:?}");
    assert!(matches!(net.state(3), State::Failed(_)), "{:?}", net.state(3));
    // It is back when the source is the other's: it stays given up, and nothing of its image is sent any more.
    net.restart(3);
    net.run(Duration::from_secs(600), |_| false);
    assert!(matches!(net.state(3), State::Failed(_)), "{:?}", net.state(3));
    assert_eq!(net.state(1), State::Ready);
    for place in [2, 4] {
        assert_eq!(net.state_beside(0, place), State::Ready, "valve {place}");
    }
}

#[test]
fn nodes_that_somebody_chose_are_nobody_elses() {
    let (old, new_sensor, new_valve) = (image(1), image(2), image(3));
    let (mut net, counter) = (mesh(&old), OrderCounter::default());
    let valves = named(&VALVES, shared("valve", &new_valve, &counter));
    start_these(&mut net, shared("sensor", &new_sensor, &counter), valves);
    stage(&mut net);
    for place in VALVES {
        assert_eq!(net.state(place), State::Declined(Some(Why::Elsewhere(2))), "valve {place}");
        assert_eq!(net.state_beside(0, place), State::Ready, "valve {place}");
    }
}

#[test]
fn nobody_starts_while_others_restart() {
    let (old, new_sensor, new_valve) = (image(1), image(2), image(3));
    let (mut net, counter) = (mesh(&old), OrderCounter::default());
    start(&mut net, &new_sensor, &new_valve, &counter);
    stage(&mut net);
    net.with_beside(0, |now, deployment, node| {
        deployment.hold_back(true);
        deployment.activate(now, node, &ids(&VALVES));
    });
    net.run(Duration::from_secs(2 * 3_600), |_| false);
    for place in VALVES {
        assert_eq!(net.state_beside(0, place), State::Ready, "valve {place} waits, however long");
    }
    assert!(!net.beside[0].is_restarting() && counter.last() == 0);
    net.with_beside(0, |_, deployment, _| deployment.hold_back(false));
    assert!(net.run(HOUR, |net| net.beside[0].is_restarting()));
    assert!(net.run(HOUR, |net| net.beside[0].is_finished()));
    for place in VALVES {
        assert_eq!(net.state_beside(0, place), State::Updated, "valve {place}");
    }
}
