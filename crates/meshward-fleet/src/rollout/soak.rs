//! A wave is watched: gates look, and look again, until each has said its word.

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::gate::{self, Finding, Verdict, View};
use super::{ENGINE, Effect, Evidence, Gate, Measure, Phase, Rollout, Seen, stats, wave_name};

/// What nodes tell is taken in so often: sooner than the fleet forgets single values.
const GATHER: Duration = Duration::from_secs(240);

/// Most nodes to which round trips are measured: half of them of the wave, half of the next one, which are those to
/// compare with.
pub const PROBED_MAX: usize = 40;
/// Between two probes. They go one by one: many at once would wait for one another, and the fleet would take that
/// for what a hop costs. With four or five hops of 3 ms to a node this takes 1.5 % of a channel.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(2);
/// Who looks seldom sends so many at once.
const PROBES_AT_ONCE: u64 = 15;

impl Rollout {
    /// Whether round trips are measured: while values count. The fleet probes too seldom for a gate.
    pub(super) fn is_measuring(&self, seen: &Seen) -> bool {
        let counts = match self.phase {
            Phase::Soaking => true,
            Phase::Waiting => self.is_calm(seen),
            _ => false,
        };
        counts && self.measures().contains(&Measure::RoundTrip)
    }

    /// Wants the next round trips measured.
    pub(super) fn measure(&mut self, seen: &Seen) {
        let now = seen.moment.now;
        let due = now.since(self.probed).as_micros() / PROBE_EVERY.as_micros();
        if due == 0 || !self.is_measuring(seen) {
            return;
        }
        self.probed = now;
        let sample = |wave: usize| {
            let ids: Vec<NodeId> = self.of_wave(wave).map(|(id, _)| id).collect();
            let step = ids.len().div_ceil(PROBED_MAX / 2).max(1);
            ids.into_iter().step_by(step).collect::<Vec<NodeId>>()
        };
        let mut ids = [sample(self.wave), sample(self.wave + 1)].concat();
        if ids.is_empty() {
            return;
        }
        // In turn, from where it was left.
        let turn = self.turn % ids.len();
        ids.rotate_left(turn);
        ids.truncate(due.min(PROBES_AT_ONCE) as usize);
        self.turn = turn + ids.len();
        ids.retain(|id| seen.shape.knows(*id));
        if !ids.is_empty() {
            self.want(Effect::Probe(ids));
        }
    }

    /// All of the wave have shown what came of it.
    pub(super) fn begin_soak(&mut self, seen: &Seen) -> bool {
        let now = seen.moment.now;
        self.watch.start(now);
        self.go(now, Phase::Soaking);
        if self.of_wave(self.wave).any(|(_, member)| member.outcome.runs()) {
            return true;
        }
        let (tally, _) = self.tally(now);
        if tally.nodes == 0 {
            return self.promote(seen, "nobody of it has any use for the image");
        }
        // Nobody is there to be watched, and no gate is broken by so few.
        self.ask(seen, format!("{}: nobody of it runs the image", wave_name(self.wave)))
    }

    /// When the next look is.
    fn next_look(&self) -> Instant {
        let soak = u64::from(self.plan.soak_s(self.wave)) * 1_000_000;
        let looks = u64::from(self.plan.soak.looks.max(1));
        self.since + Duration::from_micros(soak * u64::from(self.look.min(u32::MAX - 1) + 1) / looks)
    }

    pub(super) fn look_at_soak(&mut self, seen: &Seen, evidence: &dyn Evidence) -> bool {
        let now = seen.moment.now;
        let measures = self.measures();
        if now >= self.next_look() || now.since(self.watch.gathered) >= GATHER {
            self.watch.gather(now, &measures, evidence);
        }
        if self.judge_plainly(seen) {
            return true;
        }
        if now < self.next_look() {
            return false;
        }
        let looks = self.plan.soak.looks.max(1);
        let last = self.look + 1 >= looks;
        let found = self.look_through(seen, last);
        if let Some(wave) = self.waves.get_mut(self.wave) {
            wave.findings.clone_from(&found);
        }
        let broken: Vec<Finding> =
            found.iter().filter(|one| one.verdict == Verdict::Broken).cloned().collect();
        if !broken.is_empty() {
            return self.broken(seen, broken);
        }
        let name = wave_name(self.wave);
        let words = format!("look {} of {looks} at {name}: nothing is broken", (self.look + 1).min(looks));
        self.decide(seen.moment, ENGINE, "gates", words, found);
        if !last {
            self.look += 1;
            return false;
        }
        if self.decided.iter().all(Option::is_some) {
            return self.promote(seen, "every gate holds");
        }
        let soak = Duration::from_secs(self.plan.soak_s(self.wave).into());
        let patience = Duration::from_secs(self.plan.soak.patience_s.into());
        if now >= self.since + soak + patience {
            let open = self.plan.gates.iter().zip(&self.decided).filter(|(_, found)| found.is_none());
            let open: Vec<String> = open.map(|(gate, _)| gate.name()).collect();
            return self.ask(seen, format!("{name}: {} cannot decide", open.join(", ")));
        }
        // Later looks go on at the same pace, and find what chance the last one has not spent.
        self.look = self.look.saturating_add(1);
        false
    }

    /// What every gate finds. Who has said its last word is not asked again: a look that counts is spent once.
    fn look_through(&mut self, seen: &Seen, last: bool) -> Vec<Finding> {
        let now = seen.moment.now;
        let (tally, absent) = self.tally(now);
        let looks = self.plan.soak.looks.max(1);
        let waves = self.waves.len().max(1) as f64;
        let counted = self.plan.gates.iter().filter(|gate| gate.is_statistical()).count().max(1) as f64;
        let alpha = (1.0 - self.plan.confidence) / (waves * counted);
        let limit = stats::spend(alpha, self.look.min(looks - 1), looks);
        let gone = self.watch.others(|id| seen.shape.knows(id));
        let plain = View { tally, watch: &self.watch, gone, limit: Some(limit), over: last };
        let mut with_absent = plain;
        with_absent.tally.failed += absent;
        let mut found = Vec::new();
        for (at, one) in self.plan.gates.iter().enumerate() {
            let known = self.decided.get(at).and_then(Option::as_ref);
            let finding = match known {
                Some(known) if one.is_statistical() => known.clone(),
                _ if matches!(one, Gate::Failures {}) => gate::judge(one, with_absent),
                _ => gate::judge(one, plain),
            };
            if last && let Some(decided) = self.decided.get_mut(at) {
                *decided = (finding.verdict != Verdict::Undecided).then(|| finding.clone());
            }
            found.push(finding);
        }
        found
    }

    /// The wave is good.
    pub(super) fn promote(&mut self, seen: &Seen, why: &str) -> bool {
        let words = format!("{} is good: {why}", wave_name(self.wave));
        self.decide(seen.moment, ENGINE, "promote", words, Vec::new());
        self.wave += 1;
        self.go(seen.moment.now, Phase::Waiting);
        true
    }
}
