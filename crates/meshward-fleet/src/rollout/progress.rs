//! Where a roll-out and each of its waves are now, when that ends, and how long is left: for screens.

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::order::batches;
use super::report::{BATCH_S, NodeReport, takes};
use super::{Family, Finding, Phase, Rollout, Shape, Verb, Verdict, WaveState};
use crate::memory::Moment;

/// Where a wave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaveStage {
    /// Its turn has not come.
    Pending,
    /// Its nodes start the image.
    Activating,
    /// It is watched.
    Soaking,
    /// Somebody has to decide about it.
    Approval,
    /// It is over, and the next may begin.
    Passed,
    /// A gate has broken, and it stands there.
    Broken,
    /// Its nodes go back.
    RollingBack,
    /// They are back, or named.
    RolledBack,
    /// The roll-out ended in it.
    Stopped,
    /// It never began, and never will.
    Skipped,
}

impl WaveStage {
    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Activating => "activating",
            Self::Soaking => "soaking",
            Self::Approval => "approval",
            Self::Passed => "passed",
            Self::Broken => "broken",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }
}

/// A wave.
#[derive(Clone, Debug, PartialEq)]
pub struct WaveProgress {
    /// Where it is.
    pub stage: WaveStage,
    /// When it began.
    pub began: Option<Instant>,
    /// Its nodes.
    pub nodes: Vec<NodeReport>,
    /// Who starts the image together.
    pub batches: Vec<Vec<u32>>,
    /// What gates found last.
    pub findings: Vec<Finding>,
}

/// A roll-out.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// Whether it is paused.
    pub paused: bool,
    /// Why it waits for somebody, goes back or has ended.
    pub why: String,
    /// The wave that is under way or next.
    pub wave: usize,
    /// When the phase, or the batch, began.
    pub since: Instant,
    /// When it ends by itself, where that is known.
    pub until: Option<Instant>,
    /// How long until the last wave is over, if all gates hold, from the staging on.
    pub left: Option<Duration>,
    /// What people may do now.
    pub verbs: Vec<Verb>,
    /// Its waves, the canary first; none while the image is brought to everybody.
    pub waves: Vec<WaveProgress>,
    /// Nodes that are in no wave.
    pub others: Vec<NodeReport>,
}

impl Rollout {
    /// Where it is now, in a mesh of this shape.
    pub fn progress(&self, moment: Moment, shape: &Shape) -> Progress {
        let nodes = self.report().nodes;
        let of = |wave: Option<usize>| nodes.iter().filter(|node| node.wave == wave).cloned().collect();
        let wave = |(at, wave): (usize, &WaveState)| WaveProgress {
            stage: self.stage(at, wave),
            began: wave.began,
            nodes: of(Some(at)),
            batches: wave.batches.iter().map(|ids| ids.iter().map(|id| id.0).collect()).collect(),
            findings: wave.findings.clone(),
        };
        Progress {
            phase: self.phase,
            paused: self.paused.is_some(),
            why: self.why_now(),
            wave: self.wave,
            since: self.since,
            until: self.until(moment),
            left: self.left(moment, shape),
            verbs: self.verbs(moment),
            waves: self.waves.iter().enumerate().map(wave).collect(),
            others: of(None),
        }
    }

    /// Why it waits, for somebody or for another roll-out, goes back or has ended.
    fn why_now(&self) -> String {
        let other = self.waits_for.as_ref().map(|other| format!("waits for {other}, which restarts nodes"));
        other.unwrap_or_else(|| self.why.clone())
    }

    fn stage(&self, at: usize, wave: &WaveState) -> WaveStage {
        let goes_back = matches!(self.phase, Phase::RollingBack | Phase::RolledBack);
        let broken = wave.findings.iter().any(|one| one.verdict == Verdict::Broken);
        if wave.began.is_none() {
            let never = goes_back || self.phase.is_over();
            return if never { WaveStage::Skipped } else { WaveStage::Pending };
        }
        if goes_back {
            let done = self.phase == Phase::RolledBack || self.settled.is_some() || at > self.wave;
            return match at == self.wave {
                _ if done => WaveStage::RolledBack,
                true => WaveStage::RollingBack,
                false => WaveStage::Passed,
            };
        }
        match self.phase {
            _ if at < self.wave => WaveStage::Passed,
            Phase::Activating => WaveStage::Activating,
            Phase::Soaking => WaveStage::Soaking,
            Phase::Approval | Phase::Halted if broken => WaveStage::Broken,
            Phase::Approval => WaveStage::Approval,
            Phase::Halted | Phase::Aborted => WaveStage::Stopped,
            _ => WaveStage::Passed,
        }
    }

    /// When the phase ends by itself.
    fn until(&self, moment: Moment) -> Option<Instant> {
        if self.paused.is_some() {
            return None;
        }
        match self.phase {
            Phase::Soaking => Some(self.soak_ends()),
            Phase::Approval => Some(self.approval_ends()),
            Phase::Waiting => Some(moment.now + self.waits(moment).0).filter(|until| *until > moment.now),
            _ => None,
        }
    }

    fn soak_ends(&self) -> Instant {
        self.since + Duration::from_secs(self.plan.soak_s(self.wave).into())
    }

    /// How long until the last wave is over; windows and approvals are not in it.
    fn left(&self, moment: Moment, shape: &Shape) -> Option<Duration> {
        if self.paused.is_some() {
            return None;
        }
        let now = moment.now;
        let own = match self.phase {
            Phase::Waiting => {
                let staged =
                    self.staged.filter(|_| self.wave == 0).map_or(Duration::ZERO, |at| now.since(at));
                self.takes(self.wave, shape).saturating_sub(staged.as_micros() / 1_000_000)
            }
            Phase::Activating => {
                let count = self.waves.get(self.wave).map_or(0, |wave| wave.batches.len());
                let left = count.saturating_sub(self.batch) as u64;
                let passed = (now.since(self.since).as_micros() / 1_000_000).min(BATCH_S * left);
                BATCH_S * left - passed + u64::from(self.plan.soak_s(self.wave))
            }
            Phase::Soaking => self.soak_ends().since(now).as_micros() / 1_000_000,
            _ => return None,
        };
        let later = (self.wave + 1..self.waves.len()).map(|wave| self.takes(wave, shape));
        Some(Duration::from_secs(own + later.sum::<u64>()))
    }

    /// About how long a wave takes that has not begun, in seconds.
    fn takes(&self, wave: usize, shape: &Shape) -> u64 {
        let ids: Vec<NodeId> = self.of_wave(wave).map(|(id, _)| id).collect();
        let is_stock =
            |id: NodeId| self.nodes.get(&id).is_some_and(|member| member.family == Some(Family::Stock));
        let count = batches(&ids, shape, self.plan.restart.away_percent_most, is_stock).len();
        takes(&self.plan, wave, count)
    }
}
