//! Makes a world and its script from the knobs.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshward_core::ota::{ImagePlan, Tempo};
use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::Knobs;
use crate::check::{Panel, Promise};
use crate::image::{Behaviour, Image};
use crate::plant::Plant;
use crate::script::{Silence, Step};
use crate::world::{Act, HostSpec, Program, Rule, Seat, World, WorldConfig};

/// The image's role, and the other one.
const ROLE: &str = "sensor";
const OTHER_ROLE: &str = "display";
/// Frames are delayed by at most this.
const DELAY: Duration = Duration::from_millis(50);
/// Nothing happens before the nodes have had time to start.
const CALM: u64 = 8_000_000;

/// The world of some knobs, all hosts with power.
pub(super) fn build(knobs: &Knobs, plant: Option<Plant>, rng: &mut Rng) -> World {
    let config = WorldConfig { seed: rng.next_u64(), medium: knobs.medium, segment: knobs.segment, plant };
    let parents = knobs.topology.parents(knobs.nodes, rng);
    let factory = Image::synthetic("factory", 1 + rng.below(20_000) as usize, 1, Behaviour::Healthy);
    let mut world = World::new(config);
    let mut ids = BTreeSet::new();
    for (index, parent) in parents.iter().enumerate() {
        let id = loop {
            let id = 1 + rng.below(u64::from(u32::MAX)) as u32;
            if ids.insert(id) {
                break id;
            }
        };
        let mut spec = HostSpec::node(id, parent.map(Seat));
        spec.root = index == 0;
        // An ESP needs this long from a reset to its access point.
        spec.boot_time = Duration::from_millis(1_500 + rng.below(3_000));
        // The first host is the gateway's node.
        if index > 0 {
            if rng.below(100) < knobs.stock_percent {
                spec.program = Program::Stock(Duration::ZERO);
            }
            let role = if rng.below(100) < knobs.strangers_percent { OTHER_ROLE } else { ROLE };
            spec = spec.with_firmware(role, &factory);
        }
        let seat = world.add_host(spec);
        world.plan(Instant::from_micros(rng.below(2_000_000)), Step::Join(seat));
    }
    world
}

/// Plans everything that happens while faults are on; what the roll-out promises goes to the panel.
pub(super) fn plan(knobs: &Knobs, world: &mut World, panel: &mut Panel, rng: &mut Rng) {
    plan_rules(knobs, world);
    plan_traffic(knobs, world, rng);
    plan_rollout(knobs, world, panel, rng);
    plan_disturbances(knobs, world, rng);
}

fn plan_rules(knobs: &Knobs, world: &mut World) {
    let rules = [
        (Act::Lose, knobs.loss_ppm),
        (Act::Duplicate, knobs.duplicate_ppm),
        (Act::Delay(DELAY), knobs.delay_ppm),
        (Act::FailFlash, knobs.flash_fail_ppm),
    ];
    for (act, ppm) in rules.into_iter().filter(|(_, ppm)| *ppm > 0) {
        world.plan(Instant::ORIGIN, Step::Fault(Rule::everywhere(act, ppm)));
    }
}

fn plan_traffic(knobs: &Knobs, world: &mut World, rng: &mut Rng) {
    if knobs.message_every == Duration::ZERO {
        return;
    }
    let mut at = Instant::ORIGIN + Duration::from_micros(CALM);
    let mut count = 0;
    while at.since(Instant::ORIGIN) < knobs.safety {
        let [from, to] = two_of(knobs.nodes, rng);
        let to = (rng.below(10) > 0).then_some(to);
        let mut text = format!("m:{count}:").into_bytes();
        text.resize(text.len() + rng.below(120) as usize, b'x');
        world.plan(at, Step::Send(from, to, text));
        count += 1;
        at = at + Duration::from_micros(1 + rng.below(2 * knobs.message_every.as_micros()));
    }
}

fn two_of(nodes: usize, rng: &mut Rng) -> [Seat; 2] {
    let first = rng.below(nodes as u64) as usize;
    let second = (first + 1 + rng.below(nodes as u64 - 1) as usize) % nodes;
    [Seat(first), Seat(second)]
}

fn plan_rollout(knobs: &Knobs, world: &mut World, panel: &mut Panel, rng: &mut Rng) {
    if knobs.image_bytes == 0 {
        return;
    }
    let image = Image::synthetic("new", knobs.image_bytes, rng.next_u64(), knobs.behaviour);
    world.add_image(&image);
    let targets: BTreeSet<NodeId> = world.seats().skip(1).map(|seat| world.id(seat)).collect();
    let plan = ImagePlan {
        scheme: knobs.scheme,
        image: image.bytes.to_vec(),
        role: ROLE.into(),
        hardware: "ESP32".into(),
        targets: targets.iter().copied().collect(),
        part_size: knobs.part_size,
        concurrency: knobs.concurrency,
        hold: false,
        tempo: Tempo::default(),
    };
    panel.images.offered(image.md5, ROLE);
    panel.accounts.promised(Promise {
        source: Seat(0),
        md5: image.md5,
        role: ROLE.to_owned(),
        targets,
        had_it: BTreeSet::new(),
    });
    let span = knobs.safety.as_micros() * 3 / 4;
    let at = Instant::from_micros(CALM + 20_000_000 + rng.below(span));
    world.plan(at.min(Instant::ORIGIN + knobs.safety), Step::Rollout(Seat(0), Arc::new(plan)));
}

fn plan_disturbances(knobs: &Knobs, world: &mut World, rng: &mut Rng) {
    let d = knobs.disturbances;
    let mut kinds = Vec::new();
    let counts = [
        d.cuts,
        d.half_opens,
        d.power_cuts,
        d.crashes,
        d.leaves,
        d.partitions,
        d.reparents,
        d.root_changes,
        d.bit_flips,
    ];
    for (kind, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            kinds.push((CALM + rng.below(knobs.safety.as_micros() - CALM), kind));
        }
    }
    // In order of time: a new parent depends on the parents before it.
    kinds.sort_unstable();
    let mut parents: Vec<Option<Seat>> = world.seats().map(|seat| world.spec(seat).parent).collect();
    let mut root = Seat(0);
    for (micros, kind) in kinds {
        let at = Instant::from_micros(micros);
        let child = Seat(1 + rng.below(knobs.nodes as u64 - 1) as usize);
        let Some(parent) = parents[child.0] else { continue };
        let until = at + Duration::from_micros(rng.below(90_000_000));
        match kind {
            0 => world.plan(at, Step::Cut(child, parent)),
            1 => {
                let silence = if rng.below(2) == 0 { Silence::Both } else { Silence::OneWay };
                let ends = if rng.below(2) == 0 { [child, parent] } else { [parent, child] };
                world.plan(at, Step::HalfOpen(ends[0], ends[1], silence));
            }
            2 => world.plan(at, Step::PowerCut(child, Duration::from_micros(rng.below(20_000_000)))),
            3 => world.plan(at, Step::Crash(child)),
            4 => {
                world.plan(at, Step::Leave(child));
                world.plan(until, Step::Join(child));
            }
            5 => {
                let some = world.seats().filter(|seat| *seat == child || rng.below(3) == 0).collect();
                world.plan(at, Step::Partition(some));
                world.plan(until, Step::Rejoin);
            }
            6 => {
                let new = Seat(rng.below(knobs.nodes as u64) as usize);
                if !is_below(&parents, new, child) && has_room(&parents, new) {
                    parents[child.0] = Some(new);
                    world.plan(at, Step::Reparent(child, new));
                }
            }
            // The first host holds the roll-out in RAM: it must not restart.
            7 if root != Seat(0) => {
                world.plan(at, Step::ChangeRoot(root, child));
                root = child;
            }
            7 => {
                root = child;
                world.plan(at, Step::ChangeRoot(child, child));
            }
            _ => {
                let offset = rng.below(knobs.image_bytes.max(1) as u64) as u32;
                world.plan(at, Step::FlipBit(child, offset, rng.below(8) as u8));
            }
        }
    }
}

/// Whether `seat` is `above`, or hangs below it.
fn is_below(parents: &[Option<Seat>], seat: Seat, above: Seat) -> bool {
    let mut at = Some(seat);
    while let Some(here) = at {
        if here == above {
            return true;
        }
        at = parents[here.0];
    }
    false
}

/// Whether a host may have one link more: half-dead ones count too.
fn has_room(parents: &[Option<Seat>], seat: Seat) -> bool {
    parents.iter().filter(|parent| **parent == Some(seat)).count() < 6
}
