//! The turbo pass against unmodified C++ nodes, on one channel. What counts is what the chips hold.

use std::sync::Arc;

use meshward_core::ota::{ImagePlan, Scheme, TargetState};
use meshward_core::time::Duration;
use meshward_sim::bench::latency;
use meshward_sim::image::{Behaviour, Image};
use meshward_sim::script::Step;
use meshward_sim::topology::Topology;
use meshward_sim::world::{Act, Program, Rule, Seat, World, WorldConfig};

use crate::tools::{mixed, plan_for_all, seconds, settle};

const STOCK: Program = Program::Stock(Duration::ZERO);
/// A part of 1 024 bytes on the wire.
const PART_BYTES: u64 = 1_590;

/// What a roll-out took.
#[derive(Debug, Clone, Copy)]
struct Took {
    span: Duration,
    firmware_bytes: u64,
    /// Hosts whose boot loader starts the new image.
    updated: usize,
}

/// A mesh of stock nodes behind one sender of ours, quiet for three minutes.
fn mesh(seed: u64, nodes: usize, image: usize) -> (World, Arc<Image>) {
    let old = Image::synthetic("old", image, 1, Behaviour::Healthy);
    let new = Image::synthetic("new", image, 2, Behaviour::Healthy);
    let program = |index| if index == 0 { Program::Meshward } else { STOCK };
    let config = WorldConfig { seed, ..WorldConfig::default() };
    let mut world = mixed(config, Topology::Random(4), nodes, &old, program);
    settle(&mut world, seconds(1_200));
    world.run_for(seconds(180));
    world.add_image(&new);
    (world, new)
}

fn deploy(world: &mut World, image: &Arc<Image>, scheme: Scheme, limit: Duration) -> Took {
    let plan = ImagePlan { scheme, ..(*plan_for_all(world, image)).clone() };
    let start = (world.now(), world.totals());
    world.perform(Step::Rollout(Seat(0), Arc::new(plan)));
    let active = |world: &World| {
        let node = world.machine(Seat(0)).and_then(|machine| machine.node());
        node.is_some_and(|node| node.distributors().is_active())
    };
    while active(world) {
        assert!(world.now().since(start.0) <= limit, "no end: {:?}", world.rollout_report(Seat(0)));
        world.run_for(Duration::from_millis(500));
    }
    let has = |world: &World, seat: Seat| world.running(seat).is_some_and(|record| record.md5 == image.md5);
    for target in world.rollout_report(Seat(0)) {
        let seat = world.seat_of(target.node).unwrap();
        // A stock node that was not seen restarting may run the image and be reported as declined; the other
        // way round would be a lie.
        assert!(target.state != TargetState::Updated || has(world, seat), "{target:?}");
    }
    Took {
        span: world.now().since(start.0),
        firmware_bytes: world.totals().since(&start.1).firmware_bytes,
        updated: world.seats().skip(1).filter(|seat| has(world, *seat)).count(),
    }
}

#[test]
fn without_loss_every_part_crosses_every_link_once() {
    let (mut world, new) = mesh(1, 30, 100_000);
    let turbo = deploy(&mut world, &new, Scheme::Turbo, seconds(3_000));
    let (mut world, new) = mesh(1, 30, 100_000);
    let unicast = deploy(&mut world, &new, Scheme::Unicast, seconds(3_000));
    assert_eq!((turbo.updated, unicast.updated), (29, 29));
    let bound = 100_000_u64.div_ceil(1_024) * 29 * PART_BYTES;
    // Last parts go singly: at most the depth of the tree instead of one link each.
    assert!(turbo.firmware_bytes < bound * 106 / 100, "{turbo:?}, bound {bound}");
    assert!(turbo.span.saturating_mul(2) < unicast.span, "{turbo:?}, {unicast:?}");
}

#[test]
fn with_loss_at_relays_everybody_is_updated() {
    for (seed, ppm) in [(1, 1_000), (2, 10_000), (3, 50_000)] {
        let (mut world, new) = mesh(seed, 30, 60_000);
        world.perform(Step::Fault(Rule::everywhere(Act::Lose, ppm)));
        let turbo = deploy(&mut world, &new, Scheme::Turbo, seconds(20_000));
        assert_eq!(turbo.updated, 29, "{ppm} ppm: {turbo:?}");
    }
}

#[test]
fn a_hundred_stock_nodes_are_updated_in_one_pass() {
    let (mut world, new) = mesh(11, 101, 528_944);
    let turbo = deploy(&mut world, &new, Scheme::Turbo, seconds(20_000));
    assert_eq!(turbo.updated, 100, "{turbo:?}");
    let bound = 528_944_u64.div_ceil(1_024) * 100 * PART_BYTES;
    assert!(turbo.firmware_bytes < bound * 106 / 100, "{turbo:?}, bound {bound}");
}

/// A chip that has booted the new image, and how often hosts have gone down since the start.
fn runs(world: &World, seat: Seat, image: &Image) -> bool {
    world.running(seat).is_some_and(|record| record.md5 == image.md5)
}

#[test]
fn one_pass_serves_a_canary_then_a_wave_then_the_rest() {
    let (mut world, new) = mesh(5, 20, 60_000);
    let plan = ImagePlan { hold: true, ..(*plan_for_all(&world, &new)).clone() };
    world.perform(Step::Rollout(Seat(0), Arc::new(plan)));
    world.run_for(seconds(240));
    let state = |world: &World, seat: usize| {
        let id = world.id(Seat(seat));
        world.rollout_report(Seat(0)).into_iter().find(|target| target.node == id).map(|target| target.state)
    };
    for seat in 1..20 {
        assert_eq!(state(&world, seat), Some(TargetState::Ready), "node {seat} waits for its last part");
        assert!(!runs(&world, Seat(seat), &new), "node {seat} was not to restart");
    }
    let parts = world.totals().firmware_bytes;
    // The canary waits longer than a C++ node asks for a part: 300 s; the rest even longer.
    for wave in [&[7][..], &[3, 9, 12, 18], &[1, 2, 4, 5, 6, 8, 10, 11, 13, 14, 15, 16, 17, 19]] {
        world.run_for(seconds(330));
        let before: Vec<usize> = (1..20).filter(|seat| runs(&world, Seat(*seat), &new)).collect();
        world.perform(Step::Activate(Seat(0), wave.iter().map(|seat| Seat(*seat)).collect()));
        world.run_for(seconds(60));
        let after: Vec<usize> = (1..20).filter(|seat| runs(&world, Seat(*seat), &new)).collect();
        let mut want: Vec<usize> = before.into_iter().chain(wave.iter().copied()).collect();
        want.sort_unstable();
        assert_eq!(after, want, "exactly the wave has been activated");
    }
    let singly = world.totals().firmware_bytes - parts;
    let part = 1_590 * 19 * 6;
    assert!(singly < 3 * part, "one pass, and last parts: {singly} bytes");
    assert!((1..20).all(|seat| state(&world, seat) == Some(TargetState::Updated)));
}

#[test]
fn a_node_that_asks_for_its_last_part_gets_it_when_it_is_activated() {
    let (mut world, new) = mesh(5, 10, 20_000);
    let plan = ImagePlan { hold: true, scheme: Scheme::Unicast, ..(*plan_for_all(&world, &new)).clone() };
    world.perform(Step::Rollout(Seat(0), Arc::new(plan)));
    let all = |world: &World, state: TargetState| {
        world.rollout_report(Seat(0)).iter().all(|target| target.state == state)
    };
    while !all(&world, TargetState::Ready) {
        assert!(world.now() < meshward_core::time::Instant::ORIGIN + seconds(3_000), "all wait");
        world.run_for(seconds(1));
    }
    world.perform(Step::Activate(Seat(0), (1..10).map(Seat).collect()));
    world.run_for(seconds(60));
    assert!((1..10).all(|seat| runs(&world, Seat(seat), &new)));
    assert!(all(&world, TargetState::Updated), "{:?}", world.rollout_report(Seat(0)));
}

/// A seed in which one relay stood in line for as long as four parts took on the ways of other leaves: with a
/// window of all that a relay has room for it held 24.4 KB.
#[test]
fn a_relay_on_a_slow_way_holds_no_more_than_it_has_room_for() {
    let mut cases = latency::standard().into_iter();
    let lossy = |case: &latency::Case| !case.lines && case.update.channel.free_sync && case.update.loss == 1;
    let case = cases.find(lossy).unwrap();
    let row = latency::row(&case, &[latency::run_one(&case, 3)]);
    let held = row.relay_firmware_bytes_max;
    assert!((8 * 1024..=20 * 1024).contains(&held), "{held} bytes of firmware in one relay");
    assert_eq!(row.completed, row.of);
}
