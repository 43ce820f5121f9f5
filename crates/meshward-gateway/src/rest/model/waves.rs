//! Roll-outs in waves: what a plan comes to, and where its waves are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meshward_fleet::rollout::RolloutPlan;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Family, Forecast};

/// A node in a wave that there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewNode {
    /// Its id.
    pub id: u32,
    /// How it takes updates, where that is known.
    pub family: Option<Family>,
    /// Why it is there, or is left out; to follow its id.
    pub why: String,
}

/// A wave that there may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreviewWave {
    /// Its place; 0 is the canary.
    pub wave: usize,
    /// What it is called.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<PreviewNode>,
    /// In how many batches they restart.
    pub batches: usize,
    /// About how long it takes, its soak included; the canary's with the baseline before it.
    pub seconds: f64,
    /// About when it is over, from the start of the roll-out on.
    pub ends_after_seconds: f64,
}

/// What a plan comes to. Windows and approvals are in none of its times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutPreview {
    /// The plan, with every default.
    #[schema(value_type = Object)]
    pub plan: RolloutPlan,
    /// The canary, and the waves after it.
    pub waves: Vec<PreviewWave>,
    /// Nodes that are meant and in no wave.
    pub left_out: Vec<PreviewNode>,
    /// Nodes of waves that have no way back but another update.
    pub no_way_back: Vec<u32>,
    /// What somebody should know before it starts.
    pub notes: Vec<String>,
    /// What is sent in all, in bytes, without what is lost and repeated.
    pub bytes: u64,
    /// Channel time of it.
    pub channel_seconds: f64,
    /// Until everybody has the image.
    pub staging_seconds: f64,
    /// Until the last wave is over.
    pub eta_seconds: f64,
    /// What each group of nodes is sent.
    pub forecast: Forecast,
}

/// What a gate found when it looked last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateFinding {
    /// Its name.
    pub gate: String,
    /// `holds`, `undecided` or `broken`.
    pub verdict: String,
    /// The same in words.
    pub words: String,
    /// How probable that, or worse, is by chance.
    pub chance: Option<f64>,
    /// Less than this breaks the gate at this look.
    pub limit: Option<f64>,
    /// How much worse, in per cent or dB.
    pub worse: Option<f64>,
    /// Nodes of the wave that failed, restarted or told the value; and of how many.
    pub wave: (u64, u64),
    /// The same of those to compare with.
    pub others: (u64, u64),
}

/// A node of a roll-out in waves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaveNode {
    /// Its id.
    pub id: u32,
    /// How it takes updates, where that is known.
    pub family: Option<Family>,
    /// Its wave; 0 is the canary.
    pub wave: Option<usize>,
    /// Why it is in that wave.
    pub why: String,
    /// `waiting`, `starting`, `trial`, `updated`, `declined`, `failed`, `fault`, `left_out`, `reverted` or `kept`.
    pub outcome: String,
    /// Why, to follow its id, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was told to start the image.
    pub tries: u32,
}

/// A wave of a roll-out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Wave {
    /// Its place; 0 is the canary.
    pub wave: usize,
    /// What it is called.
    pub name: String,
    /// `pending`, `activating`, `soaking`, `approval`, `passed`, `broken`, `rolling_back`, `rolled_back`, `stopped` or
    /// `skipped`.
    pub state: String,
    /// When it began.
    pub began_at: Option<Timestamp>,
    /// Its nodes.
    pub nodes: Vec<WaveNode>,
    /// Who starts the image together.
    pub batches: Vec<Vec<u32>>,
    /// What gates found when they looked last.
    pub findings: Vec<GateFinding>,
}

/// Where the waves of a roll-out are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// `staging`, `waiting`, `activating`, `soaking`, `approval`, `rolling_back`, `finished`, `rolled_back`, `halted` or
    /// `aborted`.
    pub phase: String,
    /// Whether it is paused, over any phase.
    pub paused: bool,
    /// Why it waits for somebody, goes back or has ended; else empty.
    pub why: String,
    /// The wave that is under way or next; 0 is the canary.
    pub wave: usize,
    /// When the phase, or the batch, began.
    pub since: Timestamp,
    /// When it ends by itself, where that is known.
    pub until: Option<Timestamp>,
    /// How long until the last wave is over, if all gates hold; windows and approvals are not in it.
    pub eta_seconds: Option<f64>,
    /// What may be done now: `approve`, `pause`, `resume`, `abort`, `rollback`.
    pub verbs: Vec<String>,
    /// How many nodes have each outcome.
    pub counts: BTreeMap<String, usize>,
    /// The canary, and the waves after it; none while the image is brought to everybody.
    pub waves: Vec<Wave>,
    /// Nodes that are in no wave.
    pub others: Vec<WaveNode>,
}
