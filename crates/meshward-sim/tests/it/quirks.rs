//! Everything odd that unmodified C++ nodes, and what surrounds them, do to a roll-out: each ends with every node
//! updated, or named with a reason. What counts is what the chips hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshward_core::ota::{FailReason, ImagePlan, Scheme, TargetState};
use meshward_core::time::{Duration, Instant};
use meshward_sim::capture::{Recorder, to_ndjson};
use meshward_sim::image::{Behaviour, Image};
use meshward_sim::script::Step;
use meshward_sim::stock::StockOffer;
use meshward_sim::topology::Topology;
use meshward_sim::world::{Act, Down, Happening, Program, Rule, Seat, World, WorldConfig};

use crate::tools::{ROLE, mixed, plan_for_all, seconds, settle};

const IMAGE: usize = 40_000;

fn image(version: u8) -> Arc<Image> {
    Image::synthetic(
        ["old", "new", "newer"][usize::from(version)],
        IMAGE,
        u64::from(version),
        Behaviour::Healthy,
    )
}

/// C++ nodes behind a sender of ours, settled; whoever is `root` is the root from the start.
fn mesh(topology: Topology, nodes: usize, root: Option<usize>) -> World {
    let stock = |index| if index == 0 { Program::Meshward } else { Program::Stock(Duration::ZERO) };
    let config = WorldConfig { seed: 4, ..WorldConfig::default() };
    let mut world = mixed(config, topology, nodes, &image(0), stock);
    settle(&mut world, seconds(600));
    if let Some(root) = root {
        world.perform(Step::ChangeRoot(Seat(0), Seat(root)));
        settle(&mut world, seconds(600));
    }
    world.add_image(&image(1));
    world.add_image(&image(2));
    world
}

fn start(world: &mut World, image: &Arc<Image>, scheme: Scheme) {
    let plan = ImagePlan { scheme, ..(*plan_for_all(world, image)).clone() };
    world.perform(Step::Rollout(Seat(0), Arc::new(plan)));
}

fn is_active(world: &World) -> bool {
    let node = world.machine(Seat(0)).and_then(|machine| machine.node());
    node.is_some_and(|node| node.distributors().is_active())
}

/// Runs to the end of the roll-out; how long that took from now.
fn finish(world: &mut World, within: Duration) -> Duration {
    let start = world.now();
    while is_active(world) {
        assert!(world.now().since(start) <= within, "no end: {:?}", world.rollout_report(Seat(0)));
        world.run_for(Duration::from_millis(100));
    }
    world.now().since(start)
}

/// Runs until some target has this many parts.
fn until_parts(world: &mut World, parts: u32) {
    let deadline = world.now() + seconds(600);
    while !world.rollout_report(Seat(0)).iter().any(|target| target.done >= parts) {
        assert!(world.now() < deadline, "{:?}", world.rollout_report(Seat(0)));
        world.run_for(Duration::from_millis(100));
    }
}

fn runs(world: &World, seat: Seat, image: &Image) -> bool {
    world.running(seat).is_some_and(|record| record.md5 == image.md5)
}

/// All hosts but the sender run it, and the report says so.
fn all_run(world: &World, image: &Image) {
    for target in world.rollout_report(Seat(0)) {
        assert_eq!(target.state, TargetState::Updated, "{target:?}");
        assert!(runs(world, world.seat_of(target.node).unwrap(), image), "{target:?}");
    }
}

/// Ends the roll-out where it is; the nodes keep their part counters.
fn abandon(world: &mut World) {
    world.perform(Step::Abort(Seat(0)));
    assert!(!is_active(world));
}

#[test]
fn counters_left_over_from_another_image_are_rescued() {
    for scheme in [Scheme::Turbo, Scheme::Unicast] {
        let mut world = mesh(Topology::Random(3), 9, None);
        start(&mut world, &image(1), scheme);
        until_parts(&mut world, 15);
        abandon(&mut world);
        start(&mut world, &image(2), scheme);
        finish(&mut world, seconds(1_500));
        all_run(&world, &image(2));
    }
}

#[test]
fn nodes_that_have_given_up_start_again() {
    for next in [1, 2] {
        let mut world = mesh(Topology::Random(3), 9, None);
        start(&mut world, &image(1), Scheme::Unicast);
        until_parts(&mut world, 10);
        abandon(&mut world);
        // Ten requests, 30 s apart; the counter stays.
        world.run_for(seconds(400));
        start(&mut world, &image(next), Scheme::Turbo);
        finish(&mut world, seconds(1_500));
        all_run(&world, &image(next));
    }
}

#[test]
fn whoever_joins_late_is_served_too() {
    let mut world = mesh(Topology::Random(3), 12, None);
    let late = [Seat(9), Seat(10), Seat(11)];
    late.iter().for_each(|seat| world.perform(Step::Leave(*seat)));
    world.run_for(seconds(20));
    start(&mut world, &image(1), Scheme::Turbo);
    until_parts(&mut world, 20);
    late.iter().for_each(|seat| world.perform(Step::Join(*seat)));
    finish(&mut world, seconds(900));
    all_run(&world, &image(1));
}

#[test]
fn nothing_is_ever_forced() {
    let mut world = mesh(Topology::Random(3), 8, None);
    world.record_to(Recorder::new());
    world.perform(Step::Fault(Rule::everywhere(Act::Lose, 30_000)));
    start(&mut world, &image(1), Scheme::Turbo);
    finish(&mut world, seconds(3_000));
    all_run(&world, &image(1));
    let frames = to_ndjson(world.take_recorder().unwrap().lines());
    assert!(frames.contains("broadcasted"), "the fields of an offer are there");
    assert!(!frames.contains("\\\"forced\\\":true") && !frames.contains("\"forced\":true"));
}

fn offer(image: &Image) -> Box<StockOffer> {
    Box::new(StockOffer {
        image: Arc::clone(&image.bytes),
        part_size: 1_024,
        role: ROLE.into(),
        hardware: b"ESP32".to_vec(),
        forced: false,
        broadcasted: false,
        compressed: false,
    })
}

#[test]
fn a_second_sender_stops_this_one_until_it_is_silent() {
    let mut world = mesh(Topology::Random(3), 8, None);
    start(&mut world, &image(2), Scheme::Turbo);
    until_parts(&mut world, 5);
    let foreign = world.id(Seat(3));
    world.perform(Step::Offer(Seat(3), offer(&image(1))));
    world.run_for(seconds(60));
    let sender = |world: &World| {
        let node = world.machine(Seat(0)).and_then(|m| m.node()).unwrap();
        node.distributors().iter().find_map(|(_, one)| one.foreign_sender())
    };
    assert_eq!(sender(&world), Some(foreign), "it is named");
    let firmware = |world: &World| world.totals().firmware_bytes;
    let (before, parts) = (firmware(&world), world.rollout_report(Seat(0)));
    world.perform(Step::Crash(Seat(3)));
    world.run_for(seconds(60));
    assert!(is_active(&world) && firmware(&world) >= before && parts.len() == 7);
    finish(&mut world, seconds(1_500));
    all_run(&world, &image(2));
}

#[test]
fn an_old_sketch_that_announces_for_an_hour_is_waited_out() {
    let mut world = mesh(Topology::Random(3), 6, None);
    start(&mut world, &image(2), Scheme::Turbo);
    world.perform(Step::Offer(Seat(2), offer(&image(1))));
    world.run_for(seconds(3_500));
    assert!(is_active(&world), "two senders at once would ruin every update");
    assert!(!world.seats().skip(1).any(|seat| runs(&world, seat, &image(2))));
    finish(&mut world, seconds(1_500));
    all_run(&world, &image(2));
}

/// A leaf that is its parent's only child, and that parent, which is not the sender.
fn lonely_leaf(world: &World) -> (Seat, Seat) {
    let mut children: BTreeMap<Seat, Vec<Seat>> = BTreeMap::new();
    for seat in world.seats() {
        children.entry(seat).or_default();
        if let Some(parent) = world.spec(seat).parent {
            children.entry(parent).or_default().push(seat);
        }
    }
    let only = |parent: &Seat| children[parent].len() == 1 && children[&children[parent][0]].is_empty();
    let parent = *children.keys().find(|seat| seat.0 > 0 && only(seat)).expect("a chain's end");
    (children[&parent][0], parent)
}

#[test]
fn a_leaf_that_stops_answering_is_named_and_holds_up_nobody_for_ever() {
    let mut world = mesh(Topology::Random(2), 12, None);
    let (leaf, parent) = lonely_leaf(&world);
    start(&mut world, &image(1), Scheme::Turbo);
    until_parts(&mut world, 10);
    // Its parent has no memory left to forward anything; the tree shows it as before.
    let deaf = Rule { act: Act::Lose, ppm: 1_000_000, at: Some(parent) };
    world.perform(Step::Fault(deaf));
    let took = finish(&mut world, seconds(3_600));
    for target in world.rollout_report(Seat(0)) {
        if target.node == world.id(leaf) {
            assert!(matches!(target.state, TargetState::Failed(_)), "{target:?} after {took:?}");
        } else {
            assert_eq!(target.state, TargetState::Updated, "{target:?} after {took:?}");
        }
    }
    world.perform(Step::Heal);
    start(&mut world, &image(1), Scheme::Turbo);
    finish(&mut world, seconds(900));
    assert!(runs(&world, leaf, &image(1)));
}

#[test]
fn a_relay_that_dies_in_mid_pass_costs_its_branch_time_or_a_name() {
    for returns in [true, false] {
        let mut world = mesh(Topology::Chain, 7, None);
        start(&mut world, &image(1), Scheme::Turbo);
        until_parts(&mut world, 12);
        world.perform(Step::Leave(Seat(3)));
        if returns {
            world.run_for(seconds(40));
            world.perform(Step::Join(Seat(3)));
        }
        finish(&mut world, seconds(1_500));
        if returns {
            all_run(&world, &image(1));
            continue;
        }
        for target in world.rollout_report(Seat(0)) {
            let behind = world.seat_of(target.node).unwrap().0 >= 3;
            let want = if behind { TargetState::Failed(FailReason::Absent) } else { TargetState::Updated };
            assert_eq!(target.state, want, "{target:?}");
        }
    }
}

#[test]
fn the_root_may_be_the_sender_a_receiver_or_nobody() {
    for root in [None, Some(0), Some(1), Some(6)] {
        for scheme in [Scheme::Turbo, Scheme::Unicast] {
            let mut world = mesh(Topology::Random(3), 10, root);
            start(&mut world, &image(1), scheme);
            finish(&mut world, seconds(900));
            all_run(&world, &image(1));
        }
    }
}

#[test]
fn parts_of_every_size_make_the_same_image() {
    for part_size in [256, 257, 1_000, 1_399, 1_400] {
        let mut world = mesh(Topology::Random(3), 7, None);
        let plan = plan_for_all(&world, &image(1));
        let plan = ImagePlan { scheme: Scheme::Turbo, part_size, ..(*plan).clone() };
        world.perform(Step::Rollout(Seat(0), Arc::new(plan)));
        finish(&mut world, seconds(900));
        all_run(&world, &image(1));
    }
}

#[test]
fn nobody_behind_a_restarting_relay_waits_out_a_retry() {
    let mut world = mesh(Topology::Chain, 12, None);
    start(&mut world, &image(1), Scheme::Turbo);
    let (mut first, mut last, mut order) = (None, Instant::ORIGIN, Vec::new());
    while is_active(&world) {
        world.run_for(Duration::from_millis(100));
        for record in world.records() {
            if record.what == Happening::Down(Down::Restart) {
                first.get_or_insert(record.at);
                last = record.at;
                order.push(record.seat);
            }
        }
    }
    all_run(&world, &image(1));
    let took = last.since(first.unwrap());
    assert!(took < seconds(10), "all restarts within {took:?}; the library's retry is 30 s");
    assert_eq!(order.len(), 11, "everybody once: {order:?}");
    assert!(order.first() > order.last(), "the leaf before the relay next to the sender: {order:?}");
}
