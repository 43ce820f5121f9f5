//! Small worlds, and what the tests ask of them.

use std::sync::Arc;

use meshward_core::ota::{ImagePlan, Scheme, TargetState, Tempo};
use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_sim::image::Image;
use meshward_sim::script::{Step, roomy};
use meshward_sim::topology::Topology;
use meshward_sim::world::{Happening, HostSpec, Program, Record, Seat, World, WorldConfig};

/// The role that all hosts but the first have.
pub(crate) const ROLE: &str = "sensor";

pub(crate) fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A world whose hosts have the ids 1001, 1002, … and all have power.
pub(crate) fn build(config: WorldConfig, topology: Topology, nodes: usize, image: &Arc<Image>) -> World {
    mixed(config, topology, nodes, image, |_| Program::Meshward)
}

/// As [`build`], with a program for each host.
pub(crate) fn mixed(
    config: WorldConfig,
    topology: Topology,
    nodes: usize,
    image: &Arc<Image>,
    program: impl Fn(usize) -> Program,
) -> World {
    let parents = topology.parents(nodes, &mut Rng::new(config.seed ^ 77));
    let mut world = World::new(config);
    for (index, parent) in parents.iter().enumerate() {
        let mut spec = HostSpec::node(1001 + index as u32, parent.map(Seat));
        spec.program = program(index);
        spec.limits = roomy(nodes);
        if index > 0 {
            spec = spec.with_firmware(ROLE, image);
        }
        let seat = world.add_host(spec);
        world.perform(Step::Join(seat));
    }
    world
}

/// A plan that brings `image` to every host but the first.
pub(crate) fn plan_for_all(world: &World, image: &Arc<Image>) -> Arc<ImagePlan> {
    let targets = world.seats().skip(1).map(|seat| world.id(seat)).collect();
    Arc::new(ImagePlan {
        scheme: Scheme::Unicast,
        image: image.bytes.to_vec(),
        role: ROLE.into(),
        hardware: "ESP32".into(),
        targets,
        part_size: 1024,
        concurrency: 12,
        hold: false,
        tempo: Tempo::default(),
    })
}

/// Whether every host sees the real tree, and that is the one that is wanted.
pub(crate) fn settled(world: &World) -> bool {
    let wanted = world.wanted_edges();
    world.real_edges() == wanted && world.seats().all(|seat| world.edges_seen_by(seat) == wanted)
}

/// Runs until the world is settled; how long that took. Looks every 100 ms.
pub(crate) fn settle(world: &mut World, within: Duration) -> Duration {
    let start = world.now();
    while !settled(world) {
        assert!(world.now().since(start) <= within, "not settled in {} s", within.as_secs_f64());
        world.run_for(Duration::from_millis(100));
    }
    world.now().since(start)
}

/// The messages that applications got, as (host, sender, text).
pub(crate) fn messages(records: &[Record]) -> Vec<(Seat, NodeId, String)> {
    let text = |record: &Record| match &record.what {
        Happening::Message { from, text, .. } => {
            Some((record.seat, *from, String::from_utf8_lossy(text).into_owned()))
        }
        _ => None,
    };
    records.iter().filter_map(text).collect()
}

/// How many targets of the first host's roll-out are in this state.
pub(crate) fn count(world: &World, state: TargetState) -> usize {
    world.rollout_report(Seat(0)).iter().filter(|target| target.state == state).count()
}

/// Runs until the first host's roll-out is done; how long that took.
pub(crate) fn roll_out(world: &mut World, image: &Arc<Image>, within: Duration) -> Duration {
    world.add_image(image);
    world.perform(Step::Rollout(Seat(0), plan_for_all(world, image)));
    let start = world.now();
    while world.machine(Seat(0)).and_then(|m| m.node()).is_some_and(|node| node.distributors().is_active()) {
        assert!(
            world.now().since(start) <= within,
            "no end of the roll-out: {:?}",
            world.rollout_report(Seat(0))
        );
        world.run_for(Duration::from_millis(100));
    }
    world.now().since(start)
}
