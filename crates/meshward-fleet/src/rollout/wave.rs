//! A wave begins, and its nodes start the image, a batch after the other.

use std::collections::BTreeSet;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::choose::too_weak;
use super::gate::{self, Finding, Tally, Verdict, View};
use super::order::batches;
use super::{
    ENGINE, Effect, Evidence, Family, OnFailure, Outcome, Phase, Rollout, Seen, Shape, Watch, wave_name,
};
use crate::deployment::Phase as Staged;

/// So long a batch may take; the deployment's own waits end before.
pub const BATCH_MAX: Duration = Duration::from_secs(25 * 60);

impl Rollout {
    /// The wave's nodes are about to start the image: who can, in which order, and what they are held against.
    pub(super) fn begin_wave(&mut self, seen: &Seen, evidence: &dyn Evidence) {
        let now = seen.moment.now;
        self.put_off(seen);
        let ids: Vec<NodeId> = self.of_wave(self.wave).map(|(id, _)| id).collect();
        let is_stock =
            |id: NodeId| self.nodes.get(&id).is_some_and(|member| member.family == Some(Family::Stock));
        let batches = batches(&ids, &seen.shape, self.plan.restart.away_percent_most, is_stock);
        let behind: BTreeSet<NodeId> =
            ids.iter().flat_map(|id| seen.shape.below(*id)).filter(|id| !ids.contains(id)).collect();
        let others = self.nodes.iter().filter(|(_, member)| {
            member.told.is_none() && member.wave != Some(self.wave) && member.outcome == Outcome::Waiting
        });
        let others: Vec<NodeId> = others.map(|(id, _)| *id).collect();
        let from = self.staged.unwrap_or(Instant::ORIGIN);
        self.watch =
            Watch::begin(&ids, others.iter().copied(), &self.measures(), from, &seen.shape, evidence);
        let words = format!(
            "{} begins: {} nodes in {} batches, {} others to compare with",
            wave_name(self.wave),
            ids.len(),
            batches.len(),
            others.len()
        );
        self.decide(seen.moment, ENGINE, "begin", words, Vec::new());
        if let Some(wave) = self.waves.get_mut(self.wave) {
            (wave.batches, wave.behind, wave.began) = (batches, behind, Some(now));
        }
        self.cut_off.clear();
        (self.batch, self.settled, self.look) = (0, None, 0);
        self.decided = vec![None; self.plan.gates.len()];
        self.go(now, Phase::Activating);
    }

    /// Who is away or weak when its wave begins is put off to the last one, and then left out.
    fn put_off(&mut self, seen: &Seen) {
        let last = self.waves.len().saturating_sub(1);
        let (wave, plan) = (self.wave, &self.plan);
        for (id, member) in self.nodes.iter_mut().filter(|(_, member)| member.wave == Some(wave)) {
            let weak = seen.facts.get(id).and_then(|facts| too_weak(plan, facts));
            let away = (!seen.shape.knows(*id)).then(|| "was not in the mesh".to_owned());
            let gone = seen.nodes.get(id).filter(|node| node.state.is_final());
            if let Some(node) = gone {
                member.outcome = Outcome::Failed(format!("was {} before its turn", node.state.name()));
                member.wave = None;
            } else if let Some(why) = away.or(weak) {
                if wave < last {
                    (member.wave, member.why) = (Some(last), format!("was put off: it {why}"));
                } else {
                    member.outcome = Outcome::LeftOut(format!("{why} when its turn came"));
                    member.wave = None;
                }
            }
        }
    }

    /// Lets the batch start the image, and waits until it has shown what came of it.
    pub(super) fn look_at_batch(&mut self, seen: &Seen) -> bool {
        let now = seen.moment.now;
        let all = self.waves.get(self.wave).and_then(|wave| wave.batches.get(self.batch));
        let Some(batch) = all.cloned() else {
            return self.begin_soak(seen);
        };
        if !self.is_begun(&batch) && self.waits_for_others(seen) {
            self.since = now;
            return self.judge_plainly(seen);
        }
        for id in &batch {
            if let Some(member) = self.nodes.get_mut(id).filter(|member| member.told.is_none()) {
                (member.told, member.tries, member.outcome) = (Some(now), 1, Outcome::Starting);
            }
        }
        let wait =
            |id: &&NodeId| seen.nodes.get(id).is_some_and(|one| !one.released && !one.state.is_final());
        let untold: Vec<NodeId> = batch.iter().filter(wait).copied().collect();
        if !untold.is_empty() {
            self.want(Effect::Activate(untold));
        }
        if self.judge_plainly(seen) {
            return true;
        }
        // After a restart of the gateway the image comes once more, and may wait for its turn: that is not the nodes'
        // time.
        if !matches!(seen.phase, Staged::Held | Staged::Activating | Staged::Finished) {
            self.since = now;
        }
        let late = now.since(self.since) >= BATCH_MAX;
        let open = |id: &&NodeId| self.nodes.get(id).is_some_and(|member| !member.outcome.is_settled());
        if batch.iter().any(|id| open(&id)) {
            if !late {
                self.settled = None;
                return false;
            }
            for id in &batch {
                let slow = self.nodes.get_mut(id).filter(|member| !member.outcome.is_settled());
                slow.into_iter().for_each(|member| {
                    member.outcome = Outcome::Failed("has not shown what came of it".to_owned());
                });
            }
        }
        let settled = *self.settled.get_or_insert(now);
        if self.tries_again(seen, &batch, settled) || !self.is_whole(now, settled) {
            return false;
        }
        (self.batch, self.settled) = (self.batch + 1, None);
        self.since = now;
        true
    }

    fn is_begun(&self, batch: &[NodeId]) -> bool {
        batch.iter().any(|id| self.nodes.get(id).is_some_and(|member| member.told.is_some()))
    }

    /// Whether a batch is under way.
    pub(super) fn is_starting(&self) -> bool {
        let batch = self.waves.get(self.wave).and_then(|wave| wave.batches.get(self.batch));
        self.phase == Phase::Activating && batch.is_some_and(|batch| self.is_begun(batch))
    }

    /// Whether others have to be waited for, before more nodes are told to start the image.
    pub(super) fn waits_for_others(&mut self, seen: &Seen) -> bool {
        self.waits_for.clone_from(&seen.elsewhere);
        self.waits_for.is_some()
    }

    /// Whether nodes restart by it now, or are away since they did, with all behind them: for as long as the plan waits
    /// for such. While they do, no other roll-out of the mesh lets nodes start an image.
    pub fn restarts(&self, now: Instant, shape: &Shape) -> bool {
        let goes_back = self.phase == Phase::RollingBack && self.settled.is_none();
        let is_away =
            |(id, since): (&NodeId, Instant)| !shape.knows(*id) && now.since(since) < self.away_most();
        let told = self.nodes.iter().filter(|(_, member)| member.told.is_some());
        let mut away = told.filter_map(|(id, member)| Some((id, member.away?)));
        let mut cut_off = self.cut_off.iter().map(|(id, since)| (id, *since));
        (self.paused.is_none() && (self.is_starting() || goes_back))
            || away.any(is_away)
            || cut_off.any(is_away)
    }

    /// Whether somebody of the batch is let start it once more, or soon will be.
    fn tries_again(&mut self, seen: &Seen, batch: &[NodeId], settled: Instant) -> bool {
        let now = seen.moment.now;
        let most = self.plan.retry.attempts;
        let may = |id: &NodeId| {
            let member = self.nodes.get(id)?;
            let node = seen.nodes.get(id).filter(|node| node.retriable)?;
            let fits = matches!(member.outcome, Outcome::Failed(_)) && member.tries < most;
            (fits && member.away.is_none() && node.released).then_some(*id)
        };
        let again: Vec<NodeId> = batch.iter().filter_map(may).collect();
        if again.is_empty() {
            return false;
        }
        if now.since(settled) < Duration::from_secs(self.plan.retry.pause_s.into()) {
            return true;
        }
        for id in &again {
            let member = self.nodes.get_mut(id);
            member.into_iter().for_each(|one| (one.tries, one.outcome) = (one.tries + 1, Outcome::Starting));
        }
        let names: Vec<String> = again.iter().map(ToString::to_string).collect();
        self.decide(seen.moment, ENGINE, "retry", format!("{} once more", names.join(", ")), Vec::new());
        self.want(Effect::Retry(again));
        (self.settled, self.since) = (None, now);
        true
    }

    /// Whether all who hung behind the batch are back, or were waited for as long as the plan says.
    fn is_whole(&self, now: Instant, settled: Instant) -> bool {
        self.cut_off.is_empty() || now.since(settled) >= self.away_most()
    }

    pub(super) fn away_most(&self) -> Duration {
        Duration::from_secs(self.plan.restart.away_s_most.into())
    }

    /// How the wave's nodes stand. Who is away for too long has failed, and so has the relay that does not come back
    /// for each that it takes along.
    pub(super) fn tally(&self, now: Instant) -> (Tally, u64) {
        let (mut tally, mut absent) = (Tally::default(), 0);
        for (_, member) in self.of_wave(self.wave).filter(|(_, member)| member.told.is_some()) {
            let gone = member.away.is_some_and(|since| now.since(since) >= self.away_most());
            tally.nodes += 1;
            match &member.outcome {
                Outcome::Declined(_) => tally.nodes -= 1,
                Outcome::Fault(_) => (tally.failed, tally.faults) = (tally.failed + 1, tally.faults + 1),
                Outcome::Trial | Outcome::Updated if gone => tally.failed += 1,
                Outcome::Trial | Outcome::Updated => {
                    tally.updated += 1;
                    tally.on_trial += u64::from(member.outcome == Outcome::Trial);
                    absent += u64::from(member.away.is_some());
                }
                Outcome::Starting => {}
                _ => tally.failed += 1,
            }
        }
        let lost =
            self.cut_off.values().filter(|since| now.since(**since) >= self.away_most()).count() as u64;
        (tally.nodes, tally.failed) = (tally.nodes + lost, tally.failed + lost);
        (tally, absent)
    }

    /// Looks at the gates without chance; whether one is broken, and the roll-out is somewhere else now.
    pub(super) fn judge_plainly(&mut self, seen: &Seen) -> bool {
        let (tally, _) = self.tally(seen.moment.now);
        let view = View { tally, watch: &self.watch, gone: (0, 0), limit: None, over: false };
        let found: Vec<Finding> =
            self.plain_gates().iter().map(|(_, plain)| gate::judge(plain, view)).collect();
        let broken: Vec<Finding> =
            found.into_iter().filter(|finding| finding.verdict == Verdict::Broken).collect();
        !broken.is_empty() && self.broken(seen, broken)
    }

    /// A gate is broken: as the plan says.
    pub(super) fn broken(&mut self, seen: &Seen, findings: Vec<Finding>) -> bool {
        let words: Vec<String> = findings.iter().map(|one| format!("{}: {}", one.gate, one.words)).collect();
        let words = format!("{} is stopped by {}", wave_name(self.wave), words.join("; "));
        if let Some(wave) = self.waves.get_mut(self.wave) {
            wave.findings.retain(|old| !findings.iter().any(|new| new.gate == old.gate));
            wave.findings.extend(findings.iter().cloned());
        }
        self.decide(seen.moment, ENGINE, "broken", words.clone(), findings);
        match self.plan.on_failure {
            OnFailure::Rollback => self.go_back(seen.moment, ENGINE, words),
            OnFailure::Halt => drop(self.end(seen, Phase::Halted, words)),
            OnFailure::Pause => drop(self.ask(seen, words)),
        }
        true
    }
}
