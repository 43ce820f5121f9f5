//! Several roll-outs in waves at once, each for a role of its own, in one mesh with one channel.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshward_core::ota::Tempo;
use meshward_core::rng::Rng;
use meshward_core::telemetry;
use meshward_core::time::Duration;
use meshward_fleet::deployment::{OrderCounter, Plan, SignedManifest};
use meshward_fleet::fleet::Settings;
use meshward_fleet::forecast::Scheme;
use meshward_fleet::payload::Options;
use meshward_fleet::rollout::{Decision, Phase, Rollout, RolloutPlan, RolloutReport, Shape};

use super::{AFTER, Away, CIVIL, GATEWAY, Keeper, LIMIT, LOOK, WARM_UP, branch_most};
use crate::image::Behaviour;
use crate::script::{Step, roomy};
use crate::signed::{HARDWARE, Release, Signers};
use crate::topology::Topology;
use crate::world::{Channel, HostSpec, Seat, World};
use meshward_core::mesh::Limits;

/// Bytes of an image.
const IMAGE: usize = 24 * 1024;

/// One of the roll-outs: for every so many of the nodes.
#[derive(Clone, Debug)]
pub struct Side {
    /// The nodes' role.
    pub role: &'static str,
    /// What the image does to them.
    pub behaviour: Behaviour,
    /// The plan.
    pub plan: RolloutPlan,
}

/// What became of one.
#[derive(Clone, Debug)]
pub struct SideRun {
    /// Where it ended.
    pub phase: Phase,
    /// Its report.
    pub report: RolloutReport,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// Nodes of its role.
    pub meant: BTreeSet<u32>,
    /// Nodes that were told to start the image.
    pub told: BTreeSet<u32>,
    /// Nodes, of whatever role, whose chips boot its image when all has settled.
    pub on_new: BTreeSet<u32>,
    /// How often each of its looks had to wait for another.
    pub waited: u32,
}

/// What became of all.
#[derive(Clone, Debug)]
pub struct BesideRun {
    /// Each of them.
    pub sides: Vec<SideRun>,
    /// Looks at which more than one was sending.
    pub both_sent: u32,
    /// The most nodes that were out of the tree at once, the longest time beyond the bound, and the most that one takes
    /// away by itself.
    pub away_most: usize,
    /// See there.
    pub beyond: Duration,
    /// See there.
    pub branch_most: usize,
    /// Nodes that are in the gateway's tree at the end.
    pub there: usize,
    /// The counter of the last order.
    pub last_counter: u64,
    /// How long it took.
    pub took: Duration,
}

/// The mesh, settled: places take the roles in turn.
fn mesh(n: usize, sides: &[Side], releases: &[Release], seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let parents = Topology::Random(4).parents(n + 1, &mut rng);
    let spec = |(place, parent): (usize, &Option<usize>)| {
        let mut spec = HostSpec::node(1_001 + place as u32, parent.map(Seat));
        spec.limits = roomy(n + 1);
        if place == 0 {
            spec.limits = Limits { links: spec.limits.links, ..Limits::GATEWAY };
            spec.root = true;
            return spec;
        }
        let side = place % sides.len();
        let mut spec = spec.with_firmware(sides[side].role, &releases[side].base);
        let setup = Arc::new(releases[side].setup());
        spec.firmware.iter_mut().for_each(|firmware| firmware.signed = Some(Arc::clone(&setup)));
        spec.with_telemetry(telemetry::Config::default())
    };
    let specs: Vec<HostSpec> = parents.iter().enumerate().map(spec).collect();
    let channel = Channel { free_sync: true, ..Channel::default() };
    let mut world = crate::bench::grown(&specs, channel, rng.next_u64());
    releases.iter().for_each(|release| world.add_image(&release.image));
    world.perform(Step::Watch(GATEWAY, Arc::new(Settings::default())));
    world.run_for(WARM_UP);
    world
}

/// For everybody of the role, whoever that is.
fn staged(side: &Side, release: &Release, counter: &OrderCounter) -> Plan {
    Plan {
        image: Arc::from(&release.image.bytes[..]),
        manifest: SignedManifest::read(release.manifest.clone(), release.sha256).ok(),
        bases: vec![Arc::from(&release.base.bytes[..])],
        operator: Arc::new(Signers::default().operator),
        counter: counter.clone(),
        targets: None,
        scheme: Scheme::Auto,
        packing: Options::default(),
        role: side.role.to_owned(),
        hardware: HARDWARE.to_owned(),
        part_size: 1_024,
        concurrency: 12,
        hold: true,
        tempo: Tempo::default(),
        broadcast: true,
        confirmed: true,
        forecast_only: false,
        takes_turns: true,
        named: false,
    }
}

/// Another that restarts nodes just now, as a gateway sees it.
fn elsewhere(world: &World, keepers: &[Keeper], own: usize) -> Option<String> {
    let now = world.moment(GATEWAY, CIVIL).now;
    let shape = world.machine(GATEWAY).map(|machine| Shape::of(&machine.mesh().tree())).unwrap_or_default();
    let restarts = |(number, keeper): (usize, &Keeper)| {
        (number != own && keeper.rollout.restarts(now, &shape)).then(|| format!("roll-out {number}"))
    };
    keepers.iter().enumerate().find_map(restarts)
}

/// One seed of these, all of them started at once, until the last is over.
///
/// # Panics
/// When a plan is refused, or they take longer than a day: what they say is the tests' own.
pub fn run_beside(n: usize, sides: &[Side], seed: u64) -> BesideRun {
    let release = |(at, side): (usize, &Side)| Release::for_role(side.role, IMAGE, at as u64, side.behaviour);
    let releases: Vec<Release> = sides.iter().enumerate().map(release).collect();
    let mut world = mesh(n, sides, &releases, seed);
    let (start, counter) = (world.now(), OrderCounter::default());
    let mut keepers: Vec<Keeper> = Vec::new();
    for (number, (side, release)) in sides.iter().zip(&releases).enumerate() {
        world.perform(Step::Deploy(GATEWAY, Arc::new(staged(side, release, &counter))));
        let rollout = Rollout::start(world.moment(GATEWAY, CIVIL), side.plan.clone(), "sim");
        let rollout = rollout.unwrap_or_else(|mistakes| panic!("a side's plan: {}", mistakes[0]));
        keepers.push(Keeper::new(rollout, number, start, None));
    }
    let percent = sides.iter().map(|side| side.plan.restart.away_percent_most).min().unwrap_or(0);
    let (mut away, mut both_sent) = (Away::allowing(n * percent as usize / 100), 0);
    let mut waited = vec![0; sides.len()];
    let open = |keeper: &Keeper| {
        let phase = keeper.rollout.phase();
        !phase.is_over() && phase != Phase::Approval
    };
    while keepers.iter().any(open) {
        world.run_for(LOOK);
        let _seen = world.records().count();
        for (number, waited) in waited.iter_mut().enumerate() {
            let elsewhere = elsewhere(&world, &keepers, number);
            *waited += u32::from(elsewhere.is_some());
            keepers[number].look(&mut world, elsewhere);
        }
        both_sent += u32::from(sending(&world, sides.len()) > 1);
        if keepers.iter().any(|keeper| keeper.began.is_some()) {
            away.look(&world, n);
        }
        let phases: Vec<Phase> = keepers.iter().map(|keeper| keeper.rollout.phase()).collect();
        assert!(world.now().since(start) <= LIMIT, "{phases:?}");
    }
    let took = world.now().since(start);
    world.run_for(AFTER);
    keepers.iter_mut().for_each(|keeper| keeper.look(&mut world, None));
    let ended = keepers.into_iter().zip(releases).zip(waited).enumerate();
    BesideRun {
        sides: ended.map(|(at, (of, waited))| finish(&world, at, sides.len(), of, waited)).collect(),
        both_sent,
        away_most: away.most,
        beyond: away.beyond,
        branch_most: branch_most(&world),
        there: world.machine(GATEWAY).map_or(0, |machine| machine.mesh().tree().len()),
        last_counter: counter.last(),
        took,
    }
}

/// How many have the channel.
fn sending(world: &World, of: usize) -> usize {
    use meshward_fleet::deployment::Phase::{Delivering, Sending};
    let phase = |number| world.deployment(GATEWAY, number).map(|(deployment, _)| deployment.phase());
    (0..of).filter(|number| matches!(phase(*number), Some(Delivering | Sending))).count()
}

fn finish(world: &World, at: usize, of: usize, (keeper, release): (Keeper, Release), waited: u32) -> SideRun {
    let runs = |seat: &Seat| world.running(*seat).is_some_and(|record| record.md5 == release.image.md5);
    let report = keeper.rollout.report();
    let ids = |seats: &mut dyn Iterator<Item = Seat>| seats.map(|seat| world.id(seat).0).collect();
    SideRun {
        phase: keeper.rollout.phase(),
        meant: ids(&mut world.seats().skip(1).filter(|seat| seat.0 % of == at)),
        told: report.nodes.iter().filter(|node| node.tries > 0).map(|node| node.node).collect(),
        on_new: ids(&mut world.seats().skip(1).filter(runs)),
        decisions: keeper.decisions,
        report,
        waited,
    }
}
