//! Runs a seed: safety, healing, liveness.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use meshward_core::ota::{TargetReport, TargetState};
use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};

use super::{Knobs, Options, Report, Verdict, story};
use crate::capture::Recorder;
use crate::check::Panel;
use crate::plant::Plant;
use crate::script::{Step, rollout_done};
use crate::world::{Channel, Machine, Seat, World};

/// The panel looks this often.
const LOOK: Duration = Duration::from_secs(1);
/// A mesh that is left alone settles within this: a dead link is found in 70 s, the way back may meet its
/// old end for as long again, and redials are up to 45 s apart.
const SETTLES_WITHIN: Duration = Duration::from_secs(3 * 70);
/// A message in a settled mesh arrives within this.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// Messages to everybody and between chosen pairs, in the end.
const PAIRS: usize = 60;

/// Runs a seed to its verdict. Never panics: that would be a verdict.
pub fn run(seed: u64, options: Options) -> Report {
    let mut rng = Rng::new(seed);
    let knobs = Knobs::draw(&mut rng);
    let mut world = story::build(&knobs, options.plant, &mut rng);
    if options.capture {
        world.record_to(Recorder::new());
    }
    let mut course =
        Course { panel: Panel::new(knobs.charges()), knobs: knobs.clone(), plant: options.plant };
    story::plan(&knobs, &mut world, &mut course.panel, &mut rng);
    let outcome = catch_unwind(AssertUnwindSafe(|| course.go(&mut world, &mut rng)));
    let verdict = match outcome {
        Err(panic) => Verdict::Crash(words_of(panic.as_ref())),
        Ok(_) if !course.panel.findings().is_empty() => Verdict::Wrong,
        Ok(Err(stuck)) => Verdict::Stuck(stuck),
        Ok(Ok(())) => Verdict::Pass,
    };
    Report {
        seed,
        knobs,
        verdict,
        findings: course.panel.findings().to_vec(),
        trace_hash: world.trace_hash(),
        lasted: world.now().since(Instant::ORIGIN),
        frames: world.totals().frames,
        lines: world.take_recorder().map(|mut recorder| recorder.take_lines()).unwrap_or_default(),
    }
}

fn words_of(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

struct Course {
    knobs: Knobs,
    panel: Panel,
    plant: Option<Plant>,
}

impl Course {
    /// The whole run; what did not happen in time, if something did not.
    fn go(&mut self, world: &mut World, rng: &mut Rng) -> Result<(), String> {
        let heal_at = Instant::ORIGIN + self.knobs.safety;
        while world.now() < heal_at {
            self.second(world)?;
        }
        world.perform(Step::Heal);
        self.panel.trees.healed(world.now());
        self.flood(world);
        let bound = self.rollout_bound(world);
        let ended = |world: &World| world.machine(Seat(0)).and_then(Machine::node).is_none_or(rollout_done);
        self.wait(world, bound, "the roll-out has not ended", ended)?;
        self.wait(world, SETTLES_WITHIN, "the mesh has not settled", World::is_settled)?;
        self.talk(world, rng)?;
        let sent = world.now();
        while self.panel.messages.outstanding() > 0 && world.now().since(sent) < ARRIVES_WITHIN {
            self.second(world)?;
        }
        self.panel.end(world);
        Ok(())
    }

    fn second(&mut self, world: &mut World) -> Result<(), String> {
        let before = world.now();
        world.run_for(LOOK);
        world.measure_queues();
        self.panel.see(world);
        self.panel.look(world);
        let spins =
            || format!("time does not go on in the second after {:.0} s", before.as_micros() as f64 / 1e6);
        if world.is_spinning() { Err(spins()) } else { Ok(()) }
    }

    fn wait(
        &mut self,
        world: &mut World,
        bound: Duration,
        otherwise: &str,
        done: impl Fn(&World) -> bool,
    ) -> Result<(), String> {
        let start = world.now();
        while !done(world) {
            if world.now().since(start) > bound {
                return Err(format!("{otherwise} within {:.0} s{}", bound.as_secs_f64(), unfinished(world)));
            }
            self.second(world)?;
        }
        Ok(())
    }

    /// By when a roll-out has ended after all has healed. Each target that is lost costs its time-outs: five
    /// stalls of 45 s, or three minutes of absence. A parent waits for what is below it, and nobody starts
    /// while others have the places.
    fn rollout_bound(&self, world: &World) -> Duration {
        let parents: Vec<Option<usize>> =
            world.seats().map(|seat| world.spec(seat).parent.map(|parent| parent.0)).collect();
        let depth = parents.len().min(1 + topology_depth(&parents)) as u64;
        let rounds = self.knobs.nodes.div_ceil(self.knobs.concurrency) as u64;
        let parts = (self.knobs.image_bytes as u64).div_ceil(u64::from(self.knobs.part_size));
        let part = Channel::default().time(2_200).saturating_mul(2 * depth * parts * self.knobs.nodes as u64);
        Duration::from_secs(600 + depth * 250 + rounds * 300) + part.saturating_mul(4)
    }

    /// Sends between chosen pairs, and to everybody, and demands that all of it arrives.
    fn talk(&mut self, world: &mut World, rng: &mut Rng) -> Result<(), String> {
        let parts = world.parts(&world.real_edges());
        let able: Vec<Seat> = world.seats().filter(|seat| world.machine(*seat).is_some()).collect();
        let mut at = world.now();
        for index in 0..PAIRS.max(able.len()) {
            let from = able[index % able.len()];
            let mates: BTreeSet<Seat> = able
                .iter()
                .copied()
                .filter(|mate| *mate != from && parts[&world.id(*mate)] == parts[&world.id(from)])
                .collect();
            let Some(to) = mates.iter().nth(rng.below(mates.len() as u64) as usize).copied() else {
                continue;
            };
            let text = format!("m:end:{index}").into_bytes();
            let (to, must) = if index % 20 == 7 { (None, mates) } else { (Some(to), BTreeSet::from([to])) };
            self.panel.messages.demand(&text, must);
            world.plan(at, Step::Send(from, to, text));
            at = at + Duration::from_millis(200);
        }
        while world.now() < at {
            self.second(world)?;
        }
        Ok(())
    }

    /// For a planted bug: more than any queue may hold.
    fn flood(&self, world: &mut World) {
        if self.plant == Some(Plant::Unbounded) {
            for index in 0..400 {
                let mut text = format!("flood {index}").into_bytes();
                text.resize(1_000, b'x');
                world.perform(Step::Send(Seat(0), None, text));
            }
            world.measure_queues();
        }
    }
}

/// Who is where in a roll-out that has not ended; nothing when it has.
fn unfinished(world: &World) -> String {
    let report = world.rollout_report(Seat(0));
    let open = report.iter().filter(|target| {
        !matches!(target.state, TargetState::Updated | TargetState::Declined | TargetState::Failed(_))
    });
    let line = |target: &TargetReport| {
        format!("; node {} {:?} {} of {}", target.node, target.state, target.done, target.parts)
    };
    open.map(line).collect()
}

/// The greatest depth; parents may have changed, so they need not come first any more.
fn topology_depth(parents: &[Option<usize>]) -> usize {
    let depth = |mut seat: usize| {
        let mut depth = 0;
        while let Some(parent) = parents[seat].filter(|_| depth < parents.len()) {
            seat = parent;
            depth += 1;
        }
        depth
    };
    (0..parents.len()).map(depth).max().unwrap_or(0)
}
