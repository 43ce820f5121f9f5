//! A roll-out in waves on the whole network: frames, flash, boot loaders, a fleet that watches, and an image that
//! is good or bad.
//!
//! A [`Case`] is a mesh, what the image does to its nodes, and the plan; [`run`] is one seed of it, from the
//! staging until the roll-out is over and the mesh has settled. What became of each node is read off its chip, and
//! not off what anybody says. The world judges nothing: that is for tests.

mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use beside::{BesideRun, Side, SideRun, run_beside};
use meshward_core::mesh::Limits;
use meshward_core::ota::{Md5Sum, Tempo};
use meshward_core::rng::Rng;
use meshward_core::telemetry;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{OrderCounter, Plan, SignedManifest};
use meshward_fleet::fleet::Settings;
use meshward_fleet::forecast::Scheme;
use meshward_fleet::memory::Stamp;
use meshward_fleet::payload::Options;
use meshward_fleet::rollout::{Decision, Facts, Phase, Rollout, RolloutMemory, RolloutPlan, RolloutReport};

use crate::image::Behaviour;
use crate::script::{Step, roomy};
use crate::signed::{HARDWARE, ROLE, Release, Signers};
use crate::topology::Topology;
use crate::world::{Channel, Happening, HostSpec, Program, Record, Seat, World};

/// Where the gateway is.
pub const GATEWAY: Seat = Seat(0);
/// Bytes of the image.
const IMAGE: usize = 24 * 1024;
/// Until all nodes have been told how often to report, within the budget, and have done so for a while.
const WARM_UP: Duration = Duration::from_secs(1_800);
/// The roll-out looks this often: as it wants to where round trips are measured.
const LOOK: Duration = Duration::from_secs(2);
/// What the fleet knows of nodes for good is read this often.
const FACTS: Duration = Duration::from_secs(60);
/// So long a roll-out may take.
const LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// After its end: who is away comes back within a trial's limit.
const AFTER: Duration = Duration::from_secs(20 * 60);
/// Civil time when the world begins: a Sunday afternoon.
const CIVIL: Stamp = Stamp(1_795_971_600_000);

/// A roll-out.
#[derive(Clone, Debug)]
pub struct Case {
    /// Nodes below the gateway.
    pub n: usize,
    /// What the image does to its nodes.
    pub behaviour: Behaviour,
    /// Which of them are nodes of the C++ library, by their place.
    pub stock: fn(usize) -> bool,
    /// The plan.
    pub plan: RolloutPlan,
    /// The controller is killed at every so many looks, and another takes up what was written.
    pub killed_every: Option<u32>,
}

/// What became of one.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it ended.
    pub phase: Phase,
    /// Its report.
    pub report: RolloutReport,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// Nodes that were told to start the image.
    pub told: BTreeSet<u32>,
    /// Nodes whose chips boot the image, for good or on trial, when all has settled.
    pub on_new: BTreeSet<u32>,
    /// How often one of them started it, at most: who went back has no business to start it again.
    pub starts_most: usize,
    /// Nodes that are in the gateway's tree then.
    pub there: usize,
    /// From the first node's start until a gate was broken.
    pub detected: Option<Duration>,
    /// The gates that were broken, and in which wave.
    pub broken: Option<(usize, Vec<String>)>,
    /// The most nodes that were out of the tree at once after the staging.
    pub away_most: usize,
    /// The longest time without a break in which more were than the plan allows.
    pub beyond: Duration,
    /// The most nodes that one takes away by itself when it restarts.
    pub branch_most: usize,
    /// How long the whole took, from the staging's beginning.
    pub took: Duration,
}

/// The mesh of a case, settled, with a gateway that watches it.
fn mesh(case: &Case, seed: u64, release: &Release) -> World {
    let mut rng = Rng::new(seed);
    let parents = Topology::Random(4).parents(case.n + 1, &mut rng);
    let setup = Arc::new(release.setup());
    let spec = |(place, parent): (usize, &Option<usize>)| {
        let mut spec = HostSpec::node(1_001 + place as u32, parent.map(Seat));
        spec.limits = roomy(case.n + 1);
        if place == 0 {
            spec.limits = Limits { links: spec.limits.links, ..Limits::GATEWAY };
            spec.root = true;
            spec
        } else if (case.stock)(place) {
            spec.program = Program::Stock(Duration::ZERO);
            spec.with_firmware(ROLE, &release.base)
        } else {
            spec.with_signed_firmware(&setup, &release.base).with_telemetry(telemetry::Config::default())
        }
    };
    let specs: Vec<HostSpec> = parents.iter().enumerate().map(spec).collect();
    let channel = Channel { free_sync: true, ..Channel::default() };
    let mut world = crate::bench::grown(&specs, channel, rng.next_u64());
    world.add_image(&release.image);
    world.perform(Step::Watch(GATEWAY, Arc::new(Settings::default())));
    world.run_for(WARM_UP);
    world
}

/// What is staged.
fn staged(world: &World, release: &Release) -> Plan {
    Plan {
        image: Arc::from(&release.image.bytes[..]),
        manifest: SignedManifest::read(release.manifest.clone(), release.sha256).ok(),
        bases: vec![Arc::from(&release.base.bytes[..])],
        operator: Arc::new(Signers::default().operator),
        counter: OrderCounter::default(),
        targets: Some(world.seats().skip(1).map(|seat| world.id(seat)).collect()),
        scheme: Scheme::Auto,
        packing: Options::default(),
        role: ROLE.to_owned(),
        hardware: HARDWARE.to_owned(),
        part_size: 1_024,
        concurrency: 12,
        hold: true,
        tempo: Tempo::default(),
        broadcast: true,
        confirmed: true,
        forecast_only: false,
        takes_turns: false,
        named: false,
    }
}

/// Who is away, and whether that is more than may be.
struct Away {
    allowed: usize,
    most: usize,
    /// Since when more are than are allowed, and for how long at the longest.
    more: Option<Instant>,
    beyond: Duration,
}

impl Away {
    const fn allowing(allowed: usize) -> Self {
        Self { allowed, most: 0, more: None, beyond: Duration::ZERO }
    }

    fn look(&mut self, world: &World, n: usize) {
        let now = world.now();
        let there = world.machine(GATEWAY).map_or(0, |machine| machine.mesh().tree().len());
        let away = (n + 1).saturating_sub(there);
        self.most = self.most.max(away);
        self.more = (away > self.allowed).then(|| self.more.unwrap_or(now));
        self.beyond = self.beyond.max(self.more.map_or(Duration::ZERO, |since| now.since(since) + LOOK));
    }
}

/// Somebody who looks after a roll-out, the one of this number.
struct Keeper {
    rollout: Rollout,
    number: usize,
    facts: BTreeMap<NodeId, Facts>,
    read: Instant,
    looks: u32,
    decisions: Vec<Decision>,
    /// How often each node has started the image.
    starts: BTreeMap<Seat, usize>,
    /// When the first node was told, and when a gate was broken.
    began: Option<Instant>,
    broke: Option<Instant>,
    killed_every: Option<u32>,
}

impl Keeper {
    fn new(rollout: Rollout, number: usize, now: Instant, killed_every: Option<u32>) -> Self {
        Self {
            rollout,
            number,
            facts: BTreeMap::new(),
            read: now,
            looks: 0,
            decisions: Vec::new(),
            starts: BTreeMap::new(),
            began: None,
            broke: None,
            killed_every,
        }
    }

    /// `elsewhere` is another roll-out that restarts nodes.
    fn look(&mut self, world: &mut World, elsewhere: Option<String>) {
        let now = world.now();
        if self.looks == 0 || now.since(self.read) >= FACTS {
            (self.facts, self.read) = (world.facts(GATEWAY), now);
        }
        self.looks += 1;
        let moment = world.moment(GATEWAY, CIVIL);
        if self.killed_every.is_some_and(|every| self.looks.is_multiple_of(every)) {
            self.kill(world);
        }
        let decisions = &mut self.decisions;
        let of = (GATEWAY, self.number);
        world.steer(of, moment, &mut self.rollout, (&self.facts, elsewhere), |rollout| {
            decisions.extend(core::iter::from_fn(|| rollout.poll_decision()));
        });
        if self.rollout.phase() == Phase::Activating {
            self.began.get_or_insert(now);
        }
        if self.decisions.iter().any(|one| one.what == "broken") {
            self.broke.get_or_insert(now);
        }
    }

    /// Counts who starts the image.
    fn watch(&mut self, world: &mut World, image: Md5Sum) {
        let starts =
            |record: &Record| matches!(record.what, Happening::Booted(Some(boot)) if boot.md5 == image);
        for record in world.records().filter(starts) {
            *self.starts.entry(record.seat).or_default() += 1;
        }
    }

    /// The controller is gone; what was written is taken up again.
    fn kill(&mut self, world: &World) {
        let moment = world.moment(GATEWAY, CIVIL);
        let written = serde_json::to_vec(&self.rollout.memory(moment)).unwrap_or_default();
        let memory: Option<RolloutMemory> = serde_json::from_slice(&written).ok();
        if let Some(rollout) = memory.and_then(|memory| Rollout::restore(moment, memory).ok()) {
            self.rollout = rollout;
        }
    }
}

/// One seed of a case. A plan that is refused panics, as does a roll-out that takes longer than a day.
///
/// # Panics
/// See above: what a case says is the tests' own.
pub fn run(case: &Case, seed: u64) -> Run {
    let release = Release::made(IMAGE, 10, case.behaviour);
    let mut world = mesh(case, seed, &release);
    let start = world.now();
    let plan = staged(&world, &release);
    world.perform(Step::Deploy(GATEWAY, Arc::new(plan)));
    let rollout = Rollout::start(world.moment(GATEWAY, CIVIL), case.plan.clone(), "sim");
    let rollout = rollout.unwrap_or_else(|mistakes| panic!("a case's plan: {}", mistakes[0]));
    let mut keeper = Keeper::new(rollout, 0, start, case.killed_every);
    let mut away = Away::allowing(case.n * case.plan.restart.away_percent_most as usize / 100);
    while !keeper.rollout.phase().is_over() && keeper.rollout.phase() != Phase::Approval {
        world.run_for(LOOK);
        keeper.watch(&mut world, release.image.md5);
        keeper.look(&mut world, None);
        if keeper.began.is_some() {
            away.look(&world, case.n);
        }
        let last = keeper.decisions.last().map(|one| one.words.clone());
        assert!(world.now().since(start) <= LIMIT, "{:?}: {last:?}", keeper.rollout.phase());
    }
    let took = world.now().since(start);
    world.run_for(AFTER);
    keeper.watch(&mut world, release.image.md5);
    keeper.look(&mut world, None);
    away.look(&world, case.n);
    finish(&world, &release, keeper, (away, took))
}

/// The most nodes that one takes away by itself.
fn branch_most(world: &World) -> usize {
    let above = |seat: Seat| core::iter::successors(Some(seat), |seat| world.spec(*seat).parent);
    let behind = |top: &Seat| world.seats().filter(|seat| above(*seat).any(|one| one == *top)).count();
    world.seats().skip(1).map(|seat| behind(&seat)).max().unwrap_or(0)
}

fn finish(world: &World, release: &Release, keeper: Keeper, (away, took): (Away, Duration)) -> Run {
    let runs = |seat: &Seat| world.running(*seat).is_some_and(|record| record.md5 == release.image.md5);
    let report = keeper.rollout.report();
    let broken = keeper.decisions.iter().find(|one| one.what == "broken");
    Run {
        phase: keeper.rollout.phase(),
        told: report.nodes.iter().filter(|node| node.tries > 0).map(|node| node.node).collect(),
        on_new: world.seats().skip(1).filter(runs).map(|seat| world.id(seat).0).collect(),
        starts_most: keeper.starts.values().copied().max().unwrap_or(0),
        there: world.machine(GATEWAY).map_or(0, |machine| machine.mesh().tree().len()),
        detected: keeper.began.zip(keeper.broke).map(|(began, broke)| broke.since(began)),
        broken: broken.map(|one| (one.wave, one.findings.iter().map(|found| found.gate.clone()).collect())),
        away_most: away.most,
        beyond: away.beyond,
        branch_most: branch_most(world),
        decisions: keeper.decisions,
        report,
        took,
    }
}
