//! What of a roll-out outlives a restart: all of it, as plain values with civil times.
//!
//! Write it down before effects are carried out. A gateway that is killed anywhere then goes on with what it had
//! decided, and what it had not decided it decides again from the same.

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use serde::{Deserialize, Serialize};

use super::evidence::{Watch, Watched};
use super::{Finding, Member, Mistake, Outcome, Phase, Rollout, RolloutPlan, WaveState, check};
use crate::deployment::Family;
use crate::memory::{Moment, Stamp};

/// A roll-out, to be kept. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutMemory {
    /// Its plan.
    pub plan: RolloutPlan,
    /// Where it is.
    pub phase: Phase,
    /// When the phase, or the batch, began.
    pub since: u64,
    /// Since when it is paused.
    pub paused: Option<u64>,
    /// The wave that is under way or next.
    pub wave: usize,
    /// The batch of it.
    pub batch: usize,
    /// When the batch had shown what came of it.
    pub settled: Option<u64>,
    /// When everybody had the image.
    pub staged: Option<u64>,
    /// The look that is next.
    pub look: u32,
    /// What gates have said for good.
    pub decided: Vec<Option<Finding>>,
    /// The wave that somebody let begin.
    pub approved: Option<usize>,
    /// Why it waits, goes back or has ended.
    pub why: String,
    /// Its nodes.
    pub nodes: Vec<NodeRow>,
    /// Its waves.
    pub waves: Vec<WaveRow>,
    /// Who is cut off, and since when.
    pub cut_off: Vec<(u32, u64)>,
    /// What is watched.
    pub watch: Vec<(u32, Watched)>,
    /// From when values are of the new image.
    pub watch_since: Option<u64>,
    /// Until when they were taken in.
    pub gathered: u64,
}

/// A node of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id.
    pub node: u32,
    /// Its wave.
    pub wave: Option<usize>,
    /// Why it is in that wave.
    pub why: String,
    /// `meshward` or `stock`.
    pub family: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was told to start the image.
    pub told: Option<u64>,
    /// How often.
    pub tries: u32,
    /// Since when it is away.
    pub away: Option<u64>,
}

/// A wave of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaveRow {
    /// Who starts the image together.
    pub batches: Vec<Vec<u32>>,
    /// Who hung behind its nodes.
    pub behind: Vec<u32>,
    /// What gates found last.
    pub findings: Vec<Finding>,
    /// When it began.
    pub began: Option<u64>,
}

impl Rollout {
    /// All of it, as it is now. Decisions and effects that nobody has taken are not in it: take them first.
    pub fn memory(&self, moment: Moment) -> RolloutMemory {
        let at = |instant: Instant| moment.stamp(instant).0;
        let node = |(id, one): (&NodeId, &Member)| NodeRow {
            node: id.0,
            wave: one.wave,
            why: one.why.clone(),
            family: one.family.map(|family| family.name().to_owned()),
            outcome: one.outcome.clone(),
            told: one.told.map(at),
            tries: one.tries,
            away: one.away.map(at),
        };
        let numbers = |ids: &Vec<NodeId>| ids.iter().map(|id| id.0).collect::<Vec<u32>>();
        let wave = |one: &WaveState| WaveRow {
            batches: one.batches.iter().map(numbers).collect(),
            behind: one.behind.iter().map(|id| id.0).collect(),
            findings: one.findings.clone(),
            began: one.began.map(at),
        };
        RolloutMemory {
            plan: self.plan.clone(),
            phase: self.phase,
            since: at(self.since),
            paused: self.paused.map(at),
            wave: self.wave,
            batch: self.batch,
            settled: self.settled.map(at),
            staged: self.staged.map(at),
            look: self.look,
            decided: self.decided.clone(),
            approved: self.approved,
            why: self.why.clone(),
            nodes: self.nodes.iter().map(node).collect(),
            waves: self.waves.iter().map(wave).collect(),
            cut_off: self.cut_off.iter().map(|(id, since)| (id.0, at(*since))).collect(),
            watch: self.watch.nodes.iter().map(|(id, one)| (id.0, one.clone())).collect(),
            watch_since: self.watch.since.map(at),
            gathered: at(self.watch.gathered),
        }
    }

    /// Takes it up again.
    ///
    /// # Errors
    /// What makes no sense in the plan: somebody has changed what was written.
    pub fn restore(moment: Moment, memory: RolloutMemory) -> Result<Self, Vec<Mistake>> {
        check(&memory.plan)?;
        let at = |stamp: u64| moment.past(Stamp(stamp));
        let nodes = memory.nodes.into_iter().map(|row| {
            let member = Member {
                wave: row.wave,
                why: row.why,
                family: row.family.as_deref().and_then(Family::named),
                outcome: row.outcome,
                told: row.told.map(at),
                tries: row.tries,
                away: row.away.map(at),
            };
            (NodeId(row.node), member)
        });
        let ids = |ids: Vec<u32>| ids.into_iter().map(NodeId).collect::<Vec<NodeId>>();
        let wave = |row: WaveRow| WaveState {
            batches: row.batches.into_iter().map(ids).collect(),
            behind: row.behind.into_iter().map(NodeId).collect(),
            findings: row.findings,
            began: row.began.map(at),
        };
        let watch = Watch {
            nodes: memory.watch.into_iter().map(|(id, one)| (NodeId(id), one)).collect(),
            since: memory.watch_since.map(at),
            gathered: at(memory.gathered),
        };
        let mut decided = memory.decided;
        decided.resize(memory.plan.gates.len(), None);
        Ok(Self {
            phase: memory.phase,
            since: at(memory.since),
            paused: memory.paused.map(at),
            wave: memory.wave,
            batch: memory.batch,
            settled: memory.settled.map(at),
            waves: memory.waves.into_iter().map(wave).collect(),
            nodes: nodes.collect(),
            cut_off: memory.cut_off.into_iter().map(|(id, since)| (NodeId(id), at(since))).collect(),
            watch,
            look: memory.look,
            decided,
            approved: memory.approved,
            why: memory.why,
            waits_for: None,
            due: Some(moment.now),
            staged: memory.staged.map(at),
            probed: Instant::ORIGIN,
            turn: 0,
            effects: Default::default(),
            decisions: Default::default(),
            dropped: 0,
            plan: memory.plan,
        })
    }
}
