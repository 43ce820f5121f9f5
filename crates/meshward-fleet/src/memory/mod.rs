//! What a gateway must still know after it was restarted, as plain values with civil times.
//!
//! A shell that keeps them drains [`Fleet::poll_dirty`](crate::Fleet::poll_dirty), asks for what changed
//! ([`memory_of_node`](crate::Fleet::memory_of_node) and its like; nothing there means that it is gone), and hands
//! all of it to a new fleet ([`Fleet::restore`](crate::Fleet::restore)). No `Instant` is in here, for its origin ends
//! with the process, and nothing says how it is written: rows are another thing, made at the edge. Kept is what nodes
//! and people cannot be asked for again: labels, identities, policies, alerts and what was done with them, windows,
//! rules that people wrote, what is usual for a node. Learnt anew are the tree, open incidents and findings,
//! histories of values, trends, what the channel takes, what was pending, and maintenance that an update opened.
//! Whatever comes back is judged like a message from a stranger: bounded, clamped, skipped and counted.

mod changed;
mod moment;

use std::collections::BTreeSet;

use meshward_core::telemetry::Metric;
use meshward_core::wire::NodeId;

use crate::alert::{Fingerprint, Matcher, Purpose, Rule, Severity, State};
use crate::condition::Subject;
use crate::registry::{Capability, Family, Identity};
pub(crate) use changed::Changed;
pub use changed::DIRTY_MAX;
pub use moment::{Moment, Stamp};

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Numbers that must not be given twice.
    pub mesh: MeshMemory,
    /// Nodes, in order of id.
    pub nodes: Vec<NodeMemory>,
    /// Alerts that were raised once.
    pub alerts: Vec<AlertMemory>,
    /// Silences and maintenance that somebody asked for.
    pub windows: Vec<WindowMemory>,
    /// The rules that people wrote; `None` where those of the settings are in force.
    pub rules: Option<Vec<Rule>>,
}

/// Numbers that go on counting over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeshMemory {
    /// Of the last policy that a node was told.
    pub policies: u8,
    /// Of the last incident.
    pub incidents: u64,
    /// Of the next message about alerts.
    pub notifications: u64,
    /// Of the next silence or maintenance window.
    pub windows: u32,
}

/// What is kept of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeMemory {
    /// The node.
    pub node: NodeId,
    /// Whose protocol it speaks.
    pub family: Family,
    /// What it has shown that it can.
    pub capabilities: BTreeSet<Capability>,
    /// What it is.
    pub identity: Identity,
    /// The MD5 of its image, where it has told one.
    pub firmware_md5: Option<String>,
    /// What it is called.
    pub name: Option<String>,
    /// Whether people call it so, or it itself.
    pub named_by_people: bool,
    /// Words by which people choose nodes.
    pub tags: BTreeSet<String>,
    /// What people have written down about it.
    pub notes: String,
    /// When it was seen first.
    pub first_seen: Stamp,
    /// When something came from it last, to the minute.
    pub last_seen: Option<Stamp>,
    /// Whether it was in the tree.
    pub present: bool,
    /// When it came or went last.
    pub since: Stamp,
    /// How often it has joined.
    pub joins: u32,
    /// The node that it hung below last.
    pub parent: Option<NodeId>,
    /// Since when it is lost, if it is.
    pub lost: Option<Stamp>,
    /// That it sleeps, if it does.
    pub sleep: Option<Sleep>,
    /// By which policy it reports, if it took one.
    pub reporting: Option<Reporting>,
    /// By what the next restart is known.
    pub start: Start,
    /// What is usual for it.
    pub usual: Vec<UsualMemory>,
}

/// A node that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// When it should be back at the latest, if it said so.
    pub wakes: Option<Stamp>,
}

/// A policy that a node took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporting {
    /// How often it reports, in milliseconds.
    pub period_ms: u64,
    /// When it was told.
    pub told: Stamp,
}

/// What a node said of its starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Its uptime in seconds, and when it said so.
    pub uptime_s: Option<(u64, Stamp)>,
    /// How often it has started.
    pub boots: Option<u32>,
    /// Why it started last, by ESP-IDF's `esp_reset_reason_t`.
    pub reset_reason: Option<u8>,
}

/// What is usual for one metric of a node, on the scale that the detector works on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsualMemory {
    /// What is measured.
    pub metric: Metric,
    /// Its mean.
    pub mean: f32,
    /// Its spread.
    pub scale: f32,
    /// From how many values that is known.
    pub taken: u32,
}

/// What is kept of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertMemory {
    /// Its name: of mesh, rule and subject.
    pub fingerprint: Fingerprint,
    /// Its rule's name.
    pub rule: String,
    /// Whom it is about.
    pub subject: Subject,
    /// How much it matters.
    pub severity: Severity,
    /// Where it is in its life; never pending.
    pub state: State,
    /// Since when it is in that state.
    pub since: Stamp,
    /// When it was raised last.
    pub raised: Option<Stamp>,
    /// How often it was raised.
    pub times: u32,
    /// The last value; `None` for a state.
    pub value: Option<f64>,
    /// By what it is known, in words.
    pub evidence: String,
    /// When the evidence was observed.
    pub at: Stamp,
    /// Who said last that he knows.
    pub known_by: Option<String>,
    /// Whose it is.
    pub assigned: Option<String>,
    /// What was written on it, oldest first.
    pub comments: Vec<CommentMemory>,
    /// Whether it comes and goes.
    pub flapping: bool,
    /// When it was raised or cleared lately.
    pub changes: Vec<Stamp>,
    /// Whether something is still to be sent of it.
    pub news: bool,
    /// Whether its raise was sent.
    pub told: bool,
    /// Whether it was cleared by hand, and has not been good since.
    pub muted: bool,
}

/// Something that somebody wrote on an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentMemory {
    /// When.
    pub at: Stamp,
    /// Who.
    pub by: String,
    /// What.
    pub text: String,
}

/// What is kept of a silence or maintenance window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowMemory {
    /// Its number.
    pub number: u32,
    /// Why it was opened.
    pub purpose: Purpose,
    /// All of them must match; none match everything.
    pub matchers: Vec<Matcher>,
    /// Only these nodes, and their links; empty are all.
    pub nodes: BTreeSet<NodeId>,
    /// From then on.
    pub from: Stamp,
    /// Until then.
    pub until: Stamp,
    /// Who opened it.
    pub by: String,
    /// What for.
    pub why: String,
}

/// Something that is to be written again, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dirty {
    /// More than [`DIRTY_MAX`] things changed before anybody asked: everything.
    All,
    /// [`MeshMemory`].
    Mesh,
    /// A node.
    Node(NodeId),
    /// An alert.
    Alert(Fingerprint),
    /// A silence or maintenance window.
    Window(u32),
    /// The rules.
    Rules,
}

/// What became of a memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Nodes that are known again.
    pub nodes: usize,
    /// Alerts that are in force again.
    pub alerts: usize,
    /// Windows that are open again.
    pub windows: usize,
    /// Whether rules that people wrote are in force again.
    pub rules: bool,
    /// What is over meanwhile: windows that have ended, alerts of rules that are no more.
    pub over: u64,
    /// What could not be: doubles, ids of nobody, alerts of nodes that nobody knows, rules that make no sense, and
    /// whatever there was no room for.
    pub skipped: u64,
    /// Values that were put right: times in the future count as now, texts that are too long were cut or left out.
    pub corrected: u64,
}
