//! Updates through the world: flash, boot loader, restarts, power cuts.

use meshward_core::ota::TargetState;
use meshward_core::time::Duration;
use meshward_sim::image::{Behaviour, Image};
use meshward_sim::script::Step;
use meshward_sim::stock::StockOffer;
use meshward_sim::topology::Topology;
use meshward_sim::world::{Program, Seat, World, WorldConfig};

use crate::tools::{ROLE, build, count, mixed, roll_out, seconds, settle};

fn updated(world: &World, image: &Image) -> usize {
    world.seats().filter(|seat| world.running(*seat).is_some_and(|record| record.md5 == image.md5)).count()
}

#[test]
fn a_mesh_of_our_own_nodes_is_updated() {
    let old = Image::synthetic("old", 20_000, 1, Behaviour::Healthy);
    let new = Image::synthetic("new", 30_001, 2, Behaviour::Healthy);
    let mut world = build(WorldConfig::default(), Topology::Random(3), 12, &old);
    settle(&mut world, seconds(30));
    let took = roll_out(&mut world, &new, seconds(600));
    assert_eq!((count(&world, TargetState::Updated), updated(&world, &new)), (11, 11));
    assert!(took > seconds(4) && took < seconds(90), "{took:?}");
    let (chip, _) = world.chip(Seat(3)).unwrap();
    assert_eq!((chip.wear_max(), chip.programmed()), (1, 48 + 48 + 30_004), "{took:?}");
    let again = roll_out(&mut world, &new, seconds(60));
    assert_eq!(count(&world, TargetState::Declined), 11, "{again:?}");
}

#[test]
fn a_mesh_of_stock_nodes_is_updated_by_either_sender() {
    let old = Image::synthetic("old", 20_000, 1, Behaviour::Healthy);
    let new = Image::synthetic("new", 30_001, 2, Behaviour::Healthy);
    let stock = Program::Stock(Duration::ZERO);
    let ours = |index| if index == 0 { Program::Meshward } else { stock };
    let mut world = mixed(WorldConfig::default(), Topology::Random(3), 12, &old, ours);
    settle(&mut world, seconds(30));
    roll_out(&mut world, &new, seconds(600));
    assert_eq!((count(&world, TargetState::Updated), updated(&world, &new)), (11, 11));

    let mut world = mixed(WorldConfig::default(), Topology::Random(3), 12, &old, |_| stock);
    settle(&mut world, seconds(30));
    world.add_image(&new);
    let offer = StockOffer {
        image: new.bytes.clone(),
        part_size: 1024,
        role: ROLE.into(),
        hardware: b"ESP32".to_vec(),
        forced: false,
        broadcasted: false,
        compressed: false,
    };
    world.perform(Step::Offer(Seat(0), Box::new(offer)));
    world.run_for(seconds(300));
    assert_eq!(updated(&world, &new), 11);
}

#[test]
fn a_power_cut_at_any_time_leaves_a_node_that_boots() {
    let old = Image::synthetic("old", 9_000, 1, Behaviour::Healthy);
    let new = Image::synthetic("new", 9_001, 2, Behaviour::Healthy);
    for moment in 0..40 {
        let mut world =
            build(WorldConfig { seed: moment, ..WorldConfig::default() }, Topology::Chain, 2, &old);
        settle(&mut world, seconds(30));
        world.plan(world.now() + Duration::from_millis(moment * 97), Step::PowerCut(Seat(1), seconds(3)));
        roll_out(&mut world, &new, seconds(900));
        assert_eq!((count(&world, TargetState::Updated), updated(&world, &new)), (1, 1), "cut {moment}");
    }
}
