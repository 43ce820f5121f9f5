//! One seed of a case: a quiet hour, deaths without a word, departures; and what the fleet said of each.

use std::collections::BTreeSet;

use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::alert;
use meshward_fleet::fleet::Event;
use meshward_fleet::forecast::Channel;
use meshward_fleet::liveness::State;

use super::bound::Tree;
use super::{Case, GATEWAY};
use crate::script::Step;
use crate::topology;
use crate::world::{Ledger, Seat, World};

/// Until nodes have their policy and the budget's window is full.
const WARM_UP: Duration = Duration::from_secs(1_800);
/// Ages are looked at this often.
const LOOK: Duration = Duration::from_secs(5);
/// The budget counts within this time.
const WINDOW: Duration = Duration::from_secs(600);
/// A node that died has power again after so long; if nobody has said a word by then, nobody did.
const DARK: Duration = Duration::from_secs(240);
/// The resolution of detection times.
const STEP: Duration = Duration::from_millis(100);
/// After a node is back the mesh has so long to be as it was.
const RECOVERY: Duration = Duration::from_secs(600);

/// See the module's page. Times are in seconds, shares in percent of the channel's time.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// How deep nodes are, and what a round of their reports takes.
    pub tree: Tree,
    /// Ages of each node's newest value, sampled over nodes and time.
    pub ages: Vec<f64>,
    /// How long each silent death took to be seen; `None` where it was not.
    pub deaths: Vec<Option<f64>>,
    /// How long each clean leave took to be seen.
    pub leaves: Vec<Option<f64>>,
    /// What status took in the quiet hour, by the frames on all links.
    pub share: f64,
    /// The same as the fleet's meter had it.
    pub metered: f64,
    /// The most that status took within ten minutes, the fleet's start and the deaths included.
    pub worst: f64,
    /// The most that the fleet's meter showed.
    pub metered_worst: f64,
    /// How often nodes reported at the end of the quiet hour.
    pub period: f64,
    /// Nodes that reported then.
    pub reporting: usize,
    /// Nodes that were called lost and were not, nor anybody above them.
    pub false_losses: usize,
    /// Alerts that were raised in the quiet hour.
    pub false_alerts: usize,
    /// Times when the mesh did not find together again.
    pub stuck: usize,
}

/// Runs one seed of a case.
pub fn run_one(case: &Case, seed: u64) -> Run {
    let mut world = case.watched(seed);
    let parents: Vec<Option<usize>> =
        world.seats().map(|seat| world.spec(seat).parent.map(|parent| parent.0)).collect();
    let mut watch = Watch {
        run: Run { tree: Tree { depths: below(&parents), round_s: 0.0 }, ..Run::default() },
        began: world.now(),
        rng: Rng::new(seed ^ 0x5EED),
        metered: Vec::new(),
        gone: BTreeSet::new(),
        quiet: true,
        case,
    };
    watch.pass(&mut world, WARM_UP);
    watch.quiet_hour(&mut world);
    watch.quiet = false;
    for _ in 0..case.deaths {
        watch.death(&mut world);
    }
    for _ in 0..case.leaves {
        watch.leave(&mut world);
    }
    let (now, ledger) = (world.now(), world.ledger());
    watch.run.worst = ledger.map_or(0.0, |ledger| ledger.worst(&Ledger::STATUS, WINDOW, watch.began, now));
    watch.run.metered_worst = watch.metered.iter().copied().fold(0.0, f64::max);
    watch.run
}

struct Watch<'c> {
    case: &'c Case,
    run: Run,
    began: Instant,
    rng: Rng,
    /// What the fleet's meter showed, each time when its window was full.
    metered: Vec<f64>,
    /// Nodes that really are not there, with those behind them.
    gone: BTreeSet<NodeId>,
    quiet: bool,
}

impl Watch<'_> {
    /// Lets time pass; when a node of `gone` was called lost for the first time.
    fn step(&mut self, world: &mut World, span: Duration, victim: Option<NodeId>) -> Option<Instant> {
        world.run_for(span);
        let _seen = world.records().count();
        let mut found = None;
        for (at, event) in world.fleet_events(GATEWAY) {
            match event {
                Event::Liveness(change) if change.to.is_lost() => {
                    if Some(change.node) == victim {
                        found = found.or(Some(at));
                    }
                    let behind =
                        matches!(change.to, State::Unreachable { through } if self.gone.contains(&through));
                    if !behind && !self.gone.contains(&change.node) {
                        self.run.false_losses += 1;
                    }
                }
                Event::Alert(transition) if self.quiet => {
                    self.run.false_alerts += usize::from(transition.to == Some(alert::State::ActiveUnack));
                }
                _ => {}
            }
        }
        found
    }

    /// Lets time pass and looks at the meter meanwhile.
    fn pass(&mut self, world: &mut World, span: Duration) {
        let until = world.now() + span;
        while world.now() < until {
            self.step(world, LOOK, None);
            self.look_at_meter(world);
        }
    }

    fn look_at_meter(&mut self, world: &World) {
        if world.now().since(self.began) >= WINDOW
            && let Some((fleet, now)) = world.fleet(GATEWAY)
        {
            self.metered.push(fleet.shares(now).status());
        }
    }

    fn quiet_hour(&mut self, world: &mut World) {
        let (from, metered) = (world.now(), self.metered.len());
        while world.now().since(from) < self.case.watch {
            self.step(world, LOOK, None);
            self.look_at_meter(world);
            let Some((fleet, now)) = world.fleet(GATEWAY) else { return };
            let heard = |seat: Seat| fleet.series().heard(world.id(seat));
            let age = |seat| heard(seat).map_or(f64::INFINITY, |at| now.since(at).as_secs_f64());
            self.run.ages.extend(world.seats().skip(1).map(age));
        }
        let shown = self.metered.get(metered..).unwrap_or_default();
        self.run.metered = shown.iter().sum::<f64>() / shown.len().max(1) as f64;
        let ledger = world.ledger();
        self.run.share = ledger.map_or(0.0, |ledger| ledger.percent(&Ledger::STATUS, from, world.now()));
        if let Some((fleet, _)) = world.fleet(GATEWAY) {
            self.run.period = fleet.budget().1.value.as_secs_f64();
            self.run.reporting = fleet.reporting().count();
            let round = fleet.round(|_| true);
            self.run.tree.round_s = round.nanos(&Channel::default()) as f64 / 1e9;
        }
    }

    /// A node of the world, and a moment that has nothing to do with anybody's period.
    fn draw(&mut self, world: &mut World) -> Seat {
        let wait = Duration::from_millis(20_000 + self.rng.below(60_000));
        self.pass(world, wait);
        Seat(1 + self.rng.below(self.case.n as u64) as usize)
    }

    /// One node loses its power; neighbours hear nothing of it.
    fn death(&mut self, world: &mut World) {
        let victim = self.draw(world);
        let (id, at) = (world.id(victim), world.now());
        self.gone = branch(world, victim);
        world.perform(Step::PowerCut(victim, DARK));
        let seen = self.await_loss(world, id, DARK);
        self.run.deaths.push(seen.map(|seen| seen.since(at).as_secs_f64()));
        let rest = DARK.as_micros().saturating_sub(world.now().since(at).as_micros());
        self.pass(world, Duration::from_micros(rest));
        self.recover(world);
    }

    /// One node closes its links and goes.
    fn leave(&mut self, world: &mut World) {
        let victim = self.draw(world);
        let (id, at) = (world.id(victim), world.now());
        self.gone = branch(world, victim);
        world.perform(Step::Leave(victim));
        let seen = self.await_loss(world, id, Duration::from_secs(120));
        self.run.leaves.push(seen.map(|seen| seen.since(at).as_secs_f64()));
        self.pass(world, Duration::from_secs(30));
        world.perform(Step::Join(victim));
        self.recover(world);
    }

    fn await_loss(&mut self, world: &mut World, id: NodeId, most: Duration) -> Option<Instant> {
        let until = world.now() + most;
        while world.now() < until {
            if let Some(seen) = self.step(world, STEP, Some(id)) {
                return Some(seen);
            }
            if world.now().as_micros() % LOOK.as_micros() < STEP.as_micros() {
                self.look_at_meter(world);
            }
        }
        None
    }

    /// Until the mesh is whole and the fleet says so.
    fn recover(&mut self, world: &mut World) {
        let until = world.now() + RECOVERY;
        while !(world.is_settled() && all_online(world)) {
            if world.now() >= until {
                self.run.stuck += 1;
                break;
            }
            self.pass(world, LOOK);
        }
        self.gone.clear();
    }
}

/// How deep all nodes but the gateway are.
fn below(parents: &[Option<usize>]) -> Vec<u32> {
    topology::depths(parents).into_iter().skip(1).collect()
}

/// A node and all behind it.
pub(super) fn branch(world: &World, top: Seat) -> BTreeSet<NodeId> {
    let behind = |mut seat: Seat| {
        while seat != top {
            let Some(parent) = world.spec(seat).parent else { return false };
            seat = parent;
        }
        true
    };
    world.seats().filter(|seat| behind(*seat)).map(|seat| world.id(seat)).collect()
}

fn all_online(world: &World) -> bool {
    world.fleet(GATEWAY).is_some_and(|(fleet, _)| {
        let online = |seat| {
            let status = fleet.liveness().get(world.id(seat));
            status.is_some_and(|status| matches!(status.state, State::Online | State::Suspect))
        };
        world.seats().skip(1).all(online)
    })
}
