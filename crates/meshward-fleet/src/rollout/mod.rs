//! A roll-out in waves: who starts a new image when, what must hold before more do, and the way back.
//!
//! [`Rollout`] decides, and does nothing. It is told what is ([`Seen`]) and how nodes fare ([`Evidence`]) by
//! [`handle`](Rollout::handle), and what people want by its verbs; out come [`Effect`]s for the
//! [`Deployment`](crate::deployment::Deployment) that has staged the image, and [`Decision`]s for the audit, each
//! with what it was made of. [`drive`] is the glue between the two. It asks for what it wants again until it sees
//! it done, so that a gateway that was killed between a decision and its deed loses neither: restored from
//! [`memory`](Rollout::memory), it wants the same.
//!
//! ```text
//! staging ─► waiting ─► activating ─► soaking ─► waiting … ─► finished
//!               ▲ └──────────┴───────────┤
//!               │  approval ◄────────────┤        paused: over any of these
//!               └──────┘                 └─► rolling back ─► rolled back
//! ```
//!
//! Rules for what comes unasked:
//! - Every wait has an end: a node's start by the deployment, a soak by its patience, somebody's decision by
//!   `approval_s`, a rollback by [`REVERT_MAX`].
//! - Who is away when its wave begins is put off to the last wave, and left out if it is away then. Who goes while it
//!   is watched counts as failed after `away_s_most`, and no longer once it is back. Who is away in a rollback is
//!   waited for, and then named.
//! - An approval counts for the wave that waits; another finds nothing that waits, and is refused.
//! - A rollback is not paused and not aborted: what half a mesh runs is then nobody's plan.
//! - Others may be under way in the same mesh. A wave or a batch begins when none of them [restarts](Rollout::restarts)
//!   nodes: so however many there are, no more of the mesh is away than one batch takes. The way back waits for nobody.
//! - While it is paused nothing begins, a rollback neither; its time does not count. Gates that are broken by then
//!   break when it goes on.

mod back;
mod check;
mod choose;
pub mod drive;
mod evidence;
mod gate;
mod measure;
mod memory;
mod order;
mod plan;
mod progress;
mod report;
mod soak;
mod stats;
mod step;
mod verbs;
mod wave;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use serde::{Deserialize, Serialize};

pub use back::{QUARANTINE_MAX, REVERT_MAX};
pub use check::{Mistake, check, resolve, wave_name};
pub use choose::{Chosen, Facts, Roster, Shape, place};
pub use evidence::{Evidence, Lie, Watch, Watched};
pub use gate::{Finding, OTHERS_LEAST, Verdict};
pub use measure::Measure;
pub use memory::RolloutMemory;
pub use order::{away, batches, most_away};
pub use plan::{
    Canary, Clock, Day, GATES_MAX, Gate, OnFailure, PLAN_BYTES_MAX, PlanError, Power, Promotion, Restart,
    Retry, RolloutPlan, SELECTOR_MAX, Selector, Size, Soak, WAVES_MAX, WINDOWS_MAX, Wave, Window,
};
pub use progress::{Progress, WaveProgress, WaveStage};
pub use report::{NodeReport, Preview, RolloutReport, WaveReport, preview};
pub use soak::PROBED_MAX;
pub use step::{PAUSED_MAX, STAGING_MAX};
pub use verbs::{Verb, VerbError};
pub use wave::BATCH_MAX;

use crate::deployment::{self, Family, Revert, Standing};
use crate::memory::{Moment, Stamp};

/// Decisions that wait to be taken; what comes when they are so many is dropped and counted.
pub const DECISIONS_MAX: usize = 1_000;
/// Who decides when nobody does.
const ENGINE: &str = "meshward";

/// Where a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The deployment brings the image to everybody; nobody starts it.
    Staging,
    /// The next wave waits for its window, for the end of a transfer's noise, or for nothing.
    Waiting,
    /// Nodes of a wave start the image, a batch after the other.
    Activating,
    /// A wave is watched.
    Soaking,
    /// Somebody has to decide.
    Approval,
    /// Nodes go back, the last wave first.
    RollingBack,
    /// Every wave was.
    Finished,
    /// Who could go back has, or is named.
    RolledBack,
    /// It ended before its end; nodes keep what they run.
    Halted,
    /// Somebody ended it; nodes keep what they run.
    Aborted,
}

impl Phase {
    /// Whether nothing more happens by itself.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::RolledBack | Self::Halted | Self::Aborted)
    }

    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Waiting => "waiting",
            Self::Activating => "activating",
            Self::Soaking => "soaking",
            Self::Approval => "approval",
            Self::RollingBack => "rolling_back",
            Self::Finished => "finished",
            Self::RolledBack => "rolled_back",
            Self::Halted => "halted",
            Self::Aborted => "aborted",
        }
    }
}

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has the image, and its wave has not begun.
    Waiting,
    /// It was told to start it.
    Starting,
    /// It runs it, on trial.
    Trial,
    /// It runs it.
    Updated,
    /// It has no use for it, with why.
    Declined(String),
    /// It does not run it, with why.
    Failed(String),
    /// It went back by itself because of the image, with why.
    Fault(String),
    /// It was not told to, with why.
    LeftOut(String),
    /// It runs the image before again: it was ordered.
    Reverted,
    /// It was to go back and did not, or cannot, with why.
    Kept(String),
}

impl Outcome {
    /// Its name in interfaces.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Trial => "trial",
            Self::Updated => "updated",
            Self::Declined(_) => "declined",
            Self::Failed(_) => "failed",
            Self::Fault(_) => "fault",
            Self::LeftOut(_) => "left_out",
            Self::Reverted => "reverted",
            Self::Kept(_) => "kept",
        }
    }

    /// Why, in words that follow the node's id.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Declined(why)
            | Self::Failed(why)
            | Self::Fault(why)
            | Self::LeftOut(why)
            | Self::Kept(why) => Some(why),
            _ => None,
        }
    }

    /// Whether the node has shown what came of its start.
    const fn is_settled(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Starting)
    }

    /// Whether it runs the image.
    const fn runs(&self) -> bool {
        matches!(self, Self::Trial | Self::Updated)
    }
}

/// A node as the deployment sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// How it takes updates.
    pub family: Option<Family>,
    /// Where it is.
    pub state: deployment::State,
    /// Whether it was let to start the image.
    pub released: bool,
    /// Whether it may be let once more.
    pub retriable: bool,
    /// What it says that it runs.
    pub standing: Standing,
    /// Where its way back is, if it was sent there.
    pub revert: Option<Revert>,
}

/// What is, at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub moment: Moment,
    /// Where the deployment is.
    pub phase: deployment::Phase,
    /// Whether the deployment is paused.
    pub paused: bool,
    /// Whether all who are there know that the image is in quarantine.
    pub quarantined: bool,
    /// Another roll-out, by its name, that restarts nodes now or waits for some that it did.
    pub elsewhere: Option<String>,
    /// Its nodes.
    pub nodes: BTreeMap<NodeId, NodeSeen>,
    /// How the mesh hangs together.
    pub shape: Shape,
    /// What is known of nodes.
    pub facts: BTreeMap<NodeId, Facts>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Let these nodes start the image.
    Activate(Vec<NodeId>),
    /// Let these nodes try once more.
    Retry(Vec<NodeId>),
    /// Measure round trips to these nodes, of at most [`PROBED_MAX`] in turn: one in two seconds.
    Probe(Vec<NodeId>),
    /// Send nothing more for the time being.
    Pause,
    /// Go on sending.
    Resume,
    /// Send nothing more at all: whoever has not started the image never will.
    Stop,
    /// Let these Meshward nodes go back to the image before.
    Revert(Vec<NodeId>),
    /// Let no Meshward node of the mesh run the image again.
    Quarantine,
}

impl Effect {
    /// Whether nodes may start the image by it: what must not be done before it is written down that it was decided.
    pub const fn starts(&self) -> bool {
        matches!(self, Self::Activate(_) | Self::Retry(_) | Self::Resume)
    }
}

/// What was decided, by whom and from what: a row of the audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When: milliseconds since 1970.
    pub at: u64,
    /// Who: an operator, or `meshward`.
    pub by: String,
    /// What, in snake case: `begin`, `gates`, `promote`, `roll_back` and so on.
    pub what: String,
    /// Of which wave; 0 is the canary.
    pub wave: usize,
    /// In words.
    pub words: String,
    /// What gates found, where it was made of that.
    pub findings: Vec<Finding>,
}

/// A node of the roll-out.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    wave: Option<usize>,
    /// Why it is in that wave.
    why: String,
    family: Option<Family>,
    outcome: Outcome,
    /// When it was told to start the image.
    told: Option<Instant>,
    tries: u32,
    /// Since when it is not in the mesh.
    away: Option<Instant>,
}

/// A wave that has begun.
#[derive(Clone, Debug, Default, PartialEq)]
struct WaveState {
    batches: Vec<Vec<NodeId>>,
    /// Who hung behind its nodes when it began, and is not of it.
    behind: BTreeSet<NodeId>,
    /// What gates found last.
    findings: Vec<Finding>,
    began: Option<Instant>,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Rollout {
    plan: RolloutPlan,
    phase: Phase,
    /// When the phase, or the batch, began.
    since: Instant,
    /// Since when it is paused.
    paused: Option<Instant>,
    /// The wave that is under way or next; 0 is the canary.
    wave: usize,
    batch: usize,
    /// When all of the batch had shown what came of it.
    settled: Option<Instant>,
    waves: Vec<WaveState>,
    nodes: BTreeMap<NodeId, Member>,
    /// Who is away that hung behind the wave's nodes, and since when.
    cut_off: BTreeMap<NodeId, Instant>,
    watch: Watch,
    /// The look that is next, and what each gate said at the last one that counts.
    look: u32,
    decided: Vec<Option<Finding>>,
    /// The wave that somebody has let begin.
    approved: Option<usize>,
    /// Why it waits for somebody, goes back or has ended.
    why: String,
    /// The other roll-out for which it waits.
    waits_for: Option<String>,
    due: Option<Instant>,
    /// When the image was with everybody.
    staged: Option<Instant>,
    /// When round trips were measured last, and whose turn it is.
    probed: Instant,
    turn: usize,
    effects: VecDeque<Effect>,
    decisions: VecDeque<Decision>,
    dropped: u64,
}

impl Rollout {
    /// Begins, for a deployment that holds.
    ///
    /// # Errors
    /// What makes no sense in the plan.
    pub fn start(moment: Moment, plan: RolloutPlan, by: &str) -> Result<Self, Vec<Mistake>> {
        check(&plan)?;
        let now = moment.now;
        let mut rollout = Self {
            phase: Phase::Staging,
            since: now,
            paused: None,
            wave: 0,
            batch: 0,
            settled: None,
            waves: Vec::new(),
            nodes: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            watch: Watch::default(),
            look: 0,
            decided: vec![None; plan.gates.len()],
            approved: None,
            why: String::new(),
            waits_for: None,
            due: Some(now),
            staged: None,
            probed: Instant::ORIGIN,
            turn: 0,
            effects: VecDeque::new(),
            decisions: VecDeque::new(),
            dropped: 0,
            plan,
        };
        let words = format!("{} begins", rollout.plan.name);
        rollout.decide(moment, by, "start", words, Vec::new());
        Ok(rollout)
    }

    /// What is to be done; take them until there is nothing, and do them before the next [`handle`](Self::handle).
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What waits to be done.
    pub fn wanted(&self) -> impl Iterator<Item = &Effect> {
        self.effects.iter()
    }

    /// What was decided, oldest first.
    pub fn poll_decision(&mut self) -> Option<Decision> {
        self.decisions.pop_front()
    }

    /// When to call [`handle`](Self::handle) at the latest; whenever something happened is right too.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Where it is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The wave that is under way or next; 0 is the canary.
    pub const fn wave(&self) -> usize {
        self.wave
    }

    /// Whether it is paused.
    pub const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// The plan.
    pub const fn plan(&self) -> &RolloutPlan {
        &self.plan
    }

    /// Why it waits for somebody, goes back or has ended.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What became of a node; `None` of one that it does not know.
    pub fn outcome(&self, node: NodeId) -> Option<&Outcome> {
        self.nodes.get(&node).map(|member| &member.outcome)
    }

    /// Decisions that were dropped because nobody took them.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn decide(&mut self, moment: Moment, by: &str, what: &str, words: String, findings: Vec<Finding>) {
        if self.decisions.len() >= DECISIONS_MAX {
            self.dropped += 1;
            return;
        }
        let Stamp(at) = moment.stamp(moment.now);
        let (by, what) = (by.to_owned(), what.to_owned());
        self.decisions.push_back(Decision { at, by, what, wave: self.wave, words, findings });
    }

    fn want(&mut self, effect: Effect) {
        if !self.effects.contains(&effect) {
            self.effects.push_back(effect);
        }
    }

    fn go(&mut self, now: Instant, phase: Phase) {
        (self.phase, self.since) = (phase, now);
    }

    /// The nodes of a wave.
    fn of_wave(&self, wave: usize) -> impl Iterator<Item = (NodeId, &Member)> {
        self.nodes
            .iter()
            .filter(move |(_, member)| member.wave == Some(wave))
            .map(|(id, member)| (*id, member))
    }

    fn measures(&self) -> Vec<Measure> {
        let of = |gate: &Gate| match gate {
            Gate::Value { measure, .. } => Some(*measure),
            _ => None,
        };
        self.plan.gates.iter().filter_map(of).collect()
    }
}
