//! The world itself: joining, losing, cutting, and coming back.

use meshward_core::mesh::CloseReason;
use meshward_core::time::Duration;
use meshward_sim::image::{Behaviour, Image};
use meshward_sim::script::{Silence, Step};
use meshward_sim::topology::Topology;
use meshward_sim::world::{Act, Down, Happening, Medium, Program, Record, Rule, Seat, World, WorldConfig};

use crate::tools::{at, build, messages, mixed, seconds, settle, settled};

fn world(topology: Topology, nodes: usize) -> World {
    let image = Image::synthetic("factory", 20_000, 1, Behaviour::Healthy);
    build(WorldConfig::default(), topology, nodes, &image)
}

#[test]
fn nodes_of_every_shape_and_kind_find_together() {
    let image = Image::synthetic("factory", 20_000, 1, Behaviour::Healthy);
    let kinds: [fn(usize) -> Program; 3] = [
        |_| Program::Meshward,
        |_| Program::Stock(Duration::ZERO),
        |index| if index % 2 == 0 { Program::Meshward } else { Program::Stock(Duration::ZERO) },
    ];
    for topology in [Topology::Star, Topology::Chain, Topology::Random(4)] {
        for kind in kinds {
            for segment in [None, Some(536)] {
                let config = WorldConfig { segment, ..WorldConfig::default() };
                let mut world = mixed(config, topology, 20, &image, kind);
                let took = settle(&mut world, seconds(30));
                assert!(took < seconds(20), "{topology:?}: {took:?}");
                assert!(settled(&world));
            }
        }
    }
}

#[test]
fn lines_of_their_own_are_faster_than_one_channel() {
    let image = Image::synthetic("factory", 20_000, 1, Behaviour::Healthy);
    let own = Medium::Independent { latency: Duration::from_micros(300), byte_nanos: 1_000 };
    let time = |medium| {
        let config = WorldConfig { medium, ..WorldConfig::default() };
        settle(&mut build(config, Topology::Chain, 30, &image), seconds(60))
    };
    assert!(time(own) < time(WorldConfig::default().medium));
}

#[test]
fn equal_seeds_run_alike_and_others_do_not() {
    let run = |seed| {
        let image = Image::synthetic("factory", 20_000, 1, Behaviour::Healthy);
        let config = WorldConfig { seed, ..WorldConfig::default() };
        let mut world = build(config, Topology::Random(4), 25, &image);
        world.perform(Step::Fault(Rule::everywhere(Act::Delay(Duration::from_millis(5)), 100_000)));
        world.run_until(at(200));
        (world.trace_hash(), world.steps())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn a_message_crosses_the_mesh_once() {
    let mut world = world(Topology::Chain, 6);
    settle(&mut world, seconds(30));
    let sent = world.now();
    world.perform(Step::Send(Seat(0), Some(Seat(5)), b"to one".to_vec()));
    world.perform(Step::Send(Seat(3), None, b"to all".to_vec()));
    world.run_for(seconds(2));
    let records: Vec<Record> = world.records().collect();
    let mut got = messages(&records);
    got.retain(|(_, _, text)| text == "to one");
    assert_eq!(got, [(Seat(5), world.id(Seat(0)), "to one".to_owned())]);
    let all = messages(&records).into_iter().filter(|(_, _, text)| text == "to all").map(|(seat, ..)| seat.0);
    let mut all: Vec<usize> = all.collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 4, 5]);
    let first = records.iter().find(|r| matches!(r.what, Happening::Message { .. })).unwrap();
    assert!(first.at.since(sent) >= Duration::from_micros(2_500), "even a short frame takes channel time");
}

#[test]
fn only_what_relays_forward_is_lost() {
    let mut world = world(Topology::Chain, 4);
    settle(&mut world, seconds(30));
    world.perform(Step::Fault(Rule::everywhere(Act::Lose, 200_000)));
    let _joining = world.records().count();
    for index in 0..500_u32 {
        let text = format!("m{index}").into_bytes();
        world.plan(
            world.now() + Duration::from_millis(u64::from(index) * 50),
            Step::Send(Seat(0), Some(Seat(3)), text.clone()),
        );
        world.plan(
            world.now() + Duration::from_millis(u64::from(index) * 50),
            Step::Send(Seat(0), Some(Seat(1)), text),
        );
    }
    world.run_for(seconds(100));
    let records: Vec<Record> = world.records().collect();
    let got = |seat| messages(&records).iter().filter(|(at, ..)| *at == seat).count();
    assert_eq!(got(Seat(1)), 500, "a neighbour loses nothing");
    // Two relays: 0.8² = 64 %.
    assert!((270..370).contains(&got(Seat(3))), "{}", got(Seat(3)));
    assert!(settled(&world), "node syncs are not lost");
}

#[test]
fn a_silent_link_is_found_dead_and_dialled_again() {
    for silence in [Silence::Both, Silence::OneWay] {
        let mut world = world(Topology::Chain, 4);
        settle(&mut world, seconds(30));
        world.perform(Step::HalfOpen(Seat(2), Seat(1), silence));
        let _before = world.records().count();
        world.run_for(seconds(1));
        assert_ne!(world.real_edges(), world.wanted_edges());
        let took = settle(&mut world, seconds(200));
        assert!(took > seconds(9), "nobody is told: {took:?}");
        let records: Vec<Record> = world.records().collect();
        let reasons = |reason| {
            records.iter().filter(|r| matches!(r.what, Happening::LinkDown(_, x) if x == reason)).count()
        };
        assert!(reasons(CloseReason::NoSyncReply) >= 1);
    }
}

#[test]
fn cuts_partitions_and_a_new_parent_heal() {
    let mut world = world(Topology::Random(3), 15);
    settle(&mut world, seconds(30));
    let parent = world.spec(Seat(5)).parent.unwrap();
    world.perform(Step::Cut(Seat(5), parent));
    assert!(!settled(&world));
    settle(&mut world, seconds(5));

    world.perform(Step::Partition((8..15).map(Seat).collect()));
    world.run_for(seconds(200));
    assert_ne!(world.real_edges(), world.wanted_edges());
    world.perform(Step::Rejoin);
    settle(&mut world, seconds(200));

    world.perform(Step::Reparent(Seat(14), Seat(0)));
    settle(&mut world, seconds(10));
    assert!(world.real_edges().contains(&(world.id(Seat(0)), world.id(Seat(14)))));
}

#[test]
fn a_host_that_leaves_comes_back_with_nothing_in_ram() {
    let mut world = world(Topology::Chain, 3);
    settle(&mut world, seconds(30));
    world.perform(Step::Leave(Seat(2)));
    world.run_for(seconds(5));
    assert_eq!(world.real_edges().len(), 1);
    assert_eq!(world.edges_seen_by(Seat(0)).len(), 1, "a closed link is told at once");
    world.perform(Step::Join(Seat(2)));
    settle(&mut world, seconds(60));
    assert_eq!(world.boots(Seat(2)), 2);

    world.perform(Step::PowerCut(Seat(2), seconds(1)));
    world.run_for(seconds(4));
    assert_eq!(world.edges_seen_by(Seat(0)).len(), 2, "nobody has noticed yet");
    settle(&mut world, seconds(200));
}

#[test]
fn a_new_root_is_known_everywhere() {
    let mut world = world(Topology::Random(3), 8);
    world.perform(Step::ChangeRoot(Seat(1), Seat(0)));
    settle(&mut world, seconds(60));
    world.perform(Step::ChangeRoot(Seat(0), Seat(4)));
    settle(&mut world, seconds(60));
    for seat in world.seats() {
        let tree = world.machine(seat).unwrap().mesh().tree();
        let roots: Vec<_> = tree.nodes().iter().filter(|node| node.root).map(|node| node.id).collect();
        assert_eq!(roots, [world.id(Seat(4))], "as {seat:?} sees it");
    }
}

#[test]
fn images_behave_as_their_table_says() {
    let rows = [
        (Behaviour::CrashesAtBoot, 0..1_usize, 40..200_u32),
        (Behaviour::CannotJoin, 0..1, 1..2),
        (Behaviour::Leaks(seconds(20)), 4..5, 5..7),
        (Behaviour::Slow(Duration::from_millis(30)), 4..5, 1..2),
        (Behaviour::Chatty(seconds(1)), 4..5, 1..2),
    ];
    for (behaviour, edges, boots) in rows {
        let image = Image::synthetic("odd", 9_000, 1, behaviour);
        let mut world = build(WorldConfig::default(), Topology::Star, 5, &image);
        world.run_until(at(119));
        assert!(edges.contains(&world.real_edges().len()), "{behaviour:?}: {:?}", world.real_edges());
        assert!(boots.contains(&world.boots(Seat(3))), "{behaviour:?}: {} boots", world.boots(Seat(3)));
        let records: Vec<Record> = world.records().collect();
        let chatter = messages(&records).len();
        assert_eq!(chatter > 300, matches!(behaviour, Behaviour::Chatty(_)), "{behaviour:?}: {chatter}");
        let crashes = records.iter().filter(|r| r.what == Happening::Down(Down::Crash)).count();
        assert_eq!(crashes > 0, matches!(behaviour, Behaviour::Leaks(_)), "{behaviour:?}: {crashes}");
    }
}
