//! One look at what is: what became of nodes, and the step from phase to phase.

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::gate::{Tally, View, judge};
use super::soak::PROBE_EVERY;
use super::window::opens_in;
use super::{
    ENGINE, Effect, Evidence, Facts, Family, Finding, Gate, Member, NodeSeen, Outcome, Phase, Promotion,
    Rollout, Seen, Verdict, WaveState, wave_name,
};
use crate::deployment::{self, Standing, State, Why};
use crate::memory::Moment;

/// Between two looks while nodes start or go back.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Between two looks while values come.
pub(super) const WATCH: Duration = Duration::from_secs(30);
/// So long the image may take to everybody; the deployment's own waits end before.
pub const STAGING_MAX: Duration = Duration::from_secs(7 * 86_400);
/// So long it may be paused; then it is halted.
pub const PAUSED_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Reasons of a node that are the image's own.
const FAULTS: std::ops::RangeInclusive<u8> = 96..=99;
/// The node went back because it was ordered.
const ORDERED: u8 = 101;

impl Rollout {
    /// Looks at what is, and decides. Then take [effects](Self::poll_effect) and decisions.
    pub fn handle(&mut self, seen: &Seen, evidence: &dyn Evidence) {
        let now = seen.moment.now;
        self.take_states(seen);
        self.waits_for = None;
        if let Some(paused) = self.paused {
            if now.since(paused) >= PAUSED_MAX && !self.phase.is_over() {
                self.resume_clock(now);
                self.end(seen, Phase::Halted, "nobody has let it go on for a week".to_owned());
            } else if !seen.paused && seen.phase != deployment::Phase::Finished {
                self.want(Effect::Pause);
            }
            self.due = Some(paused + PAUSED_MAX).filter(|_| self.paused.is_some());
            return;
        }
        // Who was told and has not obeyed is told again then: that is as good as a batch that begins.
        if seen.paused && !self.phase.is_over() && !(self.is_starting() && self.waits_for_others(seen)) {
            self.want(Effect::Resume);
        }
        while self.advance(seen, evidence) {}
        self.measure(seen);
        self.due = match self.phase {
            _ if self.phase.is_over() => None,
            _ if self.waits_for.is_some() => Some(now + LOOK),
            Phase::Activating | Phase::RollingBack => Some(now + LOOK),
            Phase::Staging => Some(now + WATCH),
            Phase::Approval => Some(self.approval_ends()),
            Phase::Waiting | Phase::Soaking if self.is_measuring(seen) => Some(now + PROBE_EVERY),
            Phase::Waiting if self.is_calm(seen) => Some(now + WATCH.min(self.waits(seen.moment).0)),
            Phase::Soaking => Some(now + WATCH),
            _ => Some(now + self.waits(seen.moment).0.min(Duration::from_secs(3_600))),
        };
    }

    /// One step; whether another may follow at once.
    fn advance(&mut self, seen: &Seen, evidence: &dyn Evidence) -> bool {
        let now = seen.moment.now;
        match self.phase {
            Phase::Staging => self.look_at_staging(seen),
            Phase::Waiting => self.look_at_wait(seen, evidence),
            Phase::Activating => self.look_at_batch(seen),
            Phase::Soaking => self.look_at_soak(seen, evidence),
            Phase::Approval if now >= self.approval_ends() => {
                let words = format!("nobody has decided for {} s: {}", self.plan.approval_s, self.why);
                self.end(seen, Phase::Halted, words)
            }
            Phase::Approval => false,
            Phase::RollingBack => self.look_at_rollback(seen),
            Phase::Finished | Phase::RolledBack | Phase::Halted | Phase::Aborted => {
                if seen.phase != deployment::Phase::Finished {
                    self.want(Effect::Stop);
                }
                false
            }
        }
    }

    pub(super) fn approval_ends(&self) -> Instant {
        self.since + Duration::from_secs(self.plan.approval_s.into())
    }

    /// It is over; nothing is sent any more.
    pub(super) fn end(&mut self, seen: &Seen, phase: Phase, why: String) -> bool {
        self.go(seen.moment.now, phase);
        self.why.clone_from(&why);
        self.decide(seen.moment, ENGINE, phase.name(), why, Vec::new());
        true
    }

    /// The image is with whoever it came to: who is in which wave.
    fn look_at_staging(&mut self, seen: &Seen) -> bool {
        let now = seen.moment.now;
        let over = matches!(seen.phase, deployment::Phase::Finished);
        if !over && !matches!(seen.phase, deployment::Phase::Held | deployment::Phase::Activating) {
            if now.since(self.since) < STAGING_MAX {
                return false;
            }
            return self.end(seen, Phase::Halted, "the image was not with everybody after a week".to_owned());
        }
        let mut ready: BTreeMap<NodeId, Facts> = BTreeMap::new();
        for (id, node) in &seen.nodes {
            let outcome = match &node.state {
                State::Failed(why) => Outcome::Failed(why.to_string()),
                State::Declined(why) => Outcome::Declined(declined(why.as_ref())),
                State::Updated => Outcome::Updated,
                _ => {
                    let facts = seen.facts.get(id).cloned().unwrap_or_default();
                    ready.insert(*id, Facts { family: node.family, ..facts });
                    Outcome::Waiting
                }
            };
            self.nodes.insert(*id, member(node.family, outcome));
        }
        if ready.is_empty() {
            let all = self.nodes.values().all(|one| !matches!(one.outcome, Outcome::Failed(_)));
            let (phase, words) = if all {
                (Phase::Finished, "nobody has any use for the image")
            } else {
                (Phase::Halted, "the image has come to nobody")
            };
            return self.end(seen, phase, words.to_owned());
        }
        self.staged = Some(now);
        self.place(seen, &ready)
    }

    /// Puts those who have the image into waves.
    fn place(&mut self, seen: &Seen, ready: &BTreeMap<NodeId, Facts>) -> bool {
        let roster = super::choose::place(&self.plan, ready, &seen.shape);
        let roster = match roster {
            Ok(roster) => roster,
            Err(mistakes) => {
                let words: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                return self.end(seen, Phase::Halted, words.join("; "));
            }
        };
        for (wave, nodes) in roster.waves.iter().enumerate() {
            for chosen in nodes {
                if let Some(member) = self.nodes.get_mut(&chosen.node) {
                    member.wave = Some(wave);
                    member.why.clone_from(&chosen.why);
                }
            }
        }
        for chosen in &roster.left_out {
            if let Some(member) = self.nodes.get_mut(&chosen.node) {
                member.outcome = Outcome::LeftOut(chosen.why.clone());
            }
        }
        for (_, member) in self.nodes.iter_mut() {
            if member.wave.is_none() && member.outcome == Outcome::Waiting {
                member.outcome = Outcome::LeftOut("is not meant by the plan".to_owned());
            }
        }
        self.waves = vec![WaveState::default(); roster.waves.len()];
        let canary: Vec<String> = self.of_wave(0).map(|(id, one)| format!("{id} {}", one.why)).collect();
        let words = format!("{} waves; the canary: {}", roster.waves.len(), canary.join(", "));
        self.decide(seen.moment, ENGINE, "place", words, Vec::new());
        self.go(seen.moment.now, Phase::Waiting);
        true
    }

    /// How long the next wave waits for what passes by itself, and for what.
    pub(super) fn waits(&self, moment: Moment) -> (Duration, &'static str) {
        let now = moment.now;
        let window = opens_in(&self.plan.windows, moment.civil);
        let calm = self.staged.filter(|_| self.wave == 0).map_or(Duration::ZERO, |staged| {
            (staged + Duration::from_secs(self.plan.soak.baseline_s.into())).since(now)
        });
        if calm > window { (calm, "values to compare with") } else { (window, "its window") }
    }

    /// Whether a wave waits so shortly that what is measured now will be what its nodes are held against.
    pub(super) fn is_calm(&self, seen: &Seen) -> bool {
        self.waits(seen.moment).0 <= Duration::from_secs(self.plan.soak.baseline_s.max(60).into())
    }

    fn look_at_wait(&mut self, seen: &Seen, evidence: &dyn Evidence) -> bool {
        if self.wave >= self.waves.len() {
            return self.end(seen, Phase::Finished, "every wave has been".to_owned());
        }
        let asks = match self.plan.promotion {
            Promotion::Automatic => false,
            Promotion::AfterCanary => self.wave == 1,
            Promotion::Manual => self.wave >= 1,
        };
        if asks && self.approved != Some(self.wave) {
            let words = format!("{} waits for somebody's approval", wave_name(self.wave));
            return self.ask(seen, words);
        }
        if let Some(found) = self.late_faults().filter(|_| self.approved != Some(self.wave)) {
            return self.broken(seen, vec![found]);
        }
        if self.waits(seen.moment).0 > Duration::ZERO {
            return false;
        }
        // Who is away because of them would be put off.
        if self.waits_for_others(seen) {
            return false;
        }
        self.begin_wave(seen, evidence);
        true
    }

    /// Nodes of waves that were good, and have gone back since.
    fn late_faults(&self) -> Option<Finding> {
        // What was broken once was let go on by somebody, who has seen it.
        let was_good = |wave: &WaveState| !wave.findings.iter().any(|one| one.verdict == Verdict::Broken);
        let told = || {
            self.nodes.values().filter(|member| {
                let wave = member.wave.and_then(|wave| self.waves.get(wave));
                member.told.is_some() && wave.is_some_and(was_good)
            })
        };
        let faults = told().filter(|member| matches!(member.outcome, Outcome::Fault(_))).count() as u64;
        let tally = Tally { nodes: told().count() as u64, failed: faults, faults, ..Tally::default() };
        let view = View { tally, watch: &self.watch, gone: (0, 0), limit: None, over: false };
        let gates = self.plan.gates.iter().filter(|gate| matches!(gate, Gate::Faults { .. }));
        gates.map(|gate| judge(gate, view)).find(|found| found.verdict == Verdict::Broken)
    }

    /// Somebody has to decide.
    pub(super) fn ask(&mut self, seen: &Seen, words: String) -> bool {
        self.why.clone_from(&words);
        self.decide(seen.moment, ENGINE, "ask", words, Vec::new());
        self.go(seen.moment.now, Phase::Approval);
        false
    }

    /// What became of nodes, by what the deployment and they themselves say.
    fn take_states(&mut self, seen: &Seen) {
        let now = seen.moment.now;
        for (id, member) in &mut self.nodes {
            member.away = if seen.shape.knows(*id) { None } else { member.away.or(Some(now)) };
            let Some(node) = seen.nodes.get(id) else { continue };
            member.family = node.family.or(member.family);
            if member.told.is_some() && !matches!(member.outcome, Outcome::Reverted | Outcome::LeftOut(_)) {
                member.outcome = outcome(node, &member.outcome);
            }
        }
        for id in self.waves.get(self.wave).map(|wave| wave.behind.clone()).unwrap_or_default() {
            if seen.shape.knows(id) {
                self.cut_off.remove(&id);
            } else {
                self.cut_off.entry(id).or_insert(now);
            }
        }
    }

    /// The gates by which nobody is judged by chance, as they stand.
    pub(super) fn plain_gates(&self) -> Vec<(usize, Gate)> {
        let gates = self.plan.gates.iter().enumerate().filter(|(_, gate)| !gate.is_statistical());
        gates.map(|(at, gate)| (at, *gate)).collect()
    }
}

pub(super) fn member(family: Option<Family>, outcome: Outcome) -> Member {
    Member { wave: None, why: String::new(), family, outcome, told: None, tries: 0, away: None }
}

fn declined(why: Option<&Why>) -> String {
    why.map_or_else(|| "has no use for the image".to_owned(), ToString::to_string)
}

/// What became of a node that was told to start the image.
fn outcome(node: &NodeSeen, before: &Outcome) -> Outcome {
    let went_back = |code: u8| {
        let words = Why::Reverted(code).to_string();
        match code {
            0 => None,
            ORDERED => Some(Outcome::Reverted),
            code if FAULTS.contains(&code) => Some(Outcome::Fault(words)),
            _ => Some(Outcome::Failed(words)),
        }
    };
    if let Outcome::Kept(_) = before {
        // It may still come back.
        let back = matches!(node.standing, Standing::Old | Standing::WentBack(_));
        return if back { Outcome::Reverted } else { before.clone() };
    }
    match (&node.state, node.standing) {
        (_, Standing::WentBack(code)) => went_back(code).unwrap_or(Outcome::Starting),
        (_, Standing::Trial) => Outcome::Trial,
        (_, Standing::Confirmed) => Outcome::Updated,
        (State::Updated, Standing::Old) => Outcome::Failed("runs the image before again".to_owned()),
        (State::Updated, Standing::Unknown) => Outcome::Updated,
        (State::Failed(Why::Reverted(code)), _) => went_back(*code).unwrap_or(Outcome::Starting),
        // What a rollback ends is not the node's failure.
        (State::Failed(Why::Aborted), _) if before.is_settled() => before.clone(),
        (State::Failed(why), _) => Outcome::Failed(why.to_string()),
        // Of a deployment that has begun anew: who runs the image has no use for it.
        (State::Declined(_), _) if before.runs() => before.clone(),
        (State::Declined(why), _) => Outcome::Declined(declined(why.as_ref())),
        (_, Standing::Unknown) if before.is_settled() => before.clone(),
        _ => Outcome::Starting,
    }
}
