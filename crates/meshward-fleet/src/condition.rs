//! A state that somebody found in the mesh: what, of whom, since when, and by what it is known.
//!
//! Liveness, root cause, topology, the overhead meter and anomalies all say what they found in this one form;
//! health and alerts know no other. It decides nothing.

use core::fmt;
use std::borrow::Cow;

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

/// Names of states that the default rules know. Others are as good.
pub mod kind {
    /// A node is not there, by its own fault.
    pub const OFFLINE: &str = "offline";
    /// A node does not answer, and has not been given up.
    pub const SUSPECT: &str = "suspect";
    /// A node is behind one that is not there.
    pub const UNREACHABLE: &str = "unreachable";
    /// A part of the mesh is gone, with one cause.
    pub const INCIDENT: &str = "incident";
    /// The mesh has fallen into parts.
    pub const PARTITION: &str = "partition";
    /// A node restarts again and again.
    pub const REBOOT_LOOP: &str = "reboot_loop";
    /// A node comes and goes, or changes its parent, again and again.
    pub const FLAPPING: &str = "flapping";
    /// Free memory falls steadily.
    pub const LEAK: &str = "leak";
    /// A link gets steadily weaker.
    pub const LINK_DECAY: &str = "link_decay";
    /// Something runs out steadily: a battery.
    pub const DRAIN: &str = "drain";
    /// A value left what is usual for this node.
    pub const UNUSUAL: &str = "unusual";
    /// Round trips take much longer than before.
    pub const STEP: &str = "step";
    /// A value is beyond a fixed limit.
    pub const LIMIT: &str = "limit";
    /// Status takes more of the channel than it may.
    pub const OVERHEAD: &str = "overhead_above_budget";
    /// The same version, another image.
    pub const DRIFT: &str = "drift";
    /// A node sends its status to everybody.
    pub const NOISY_NODE: &str = "noisy_node";

    /// All of them.
    pub const ALL: [&str; 16] = [
        OFFLINE,
        SUSPECT,
        UNREACHABLE,
        INCIDENT,
        PARTITION,
        REBOOT_LOOP,
        FLAPPING,
        LEAK,
        LINK_DECAY,
        DRAIN,
        UNUSUAL,
        STEP,
        LIMIT,
        OVERHEAD,
        DRIFT,
        NOISY_NODE,
    ];
}

/// Whom something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The whole mesh.
    Mesh,
    /// A node.
    Node(NodeId),
    /// The link between two nodes; make it with [`Subject::link`].
    Link(NodeId, NodeId),
}

impl Subject {
    /// The link between two nodes, whichever is named first.
    pub fn link(one: NodeId, other: NodeId) -> Self {
        Self::Link(one.min(other), one.max(other))
    }

    /// The node, if it is one.
    pub const fn node(self) -> Option<NodeId> {
        if let Self::Node(node) = self { Some(node) } else { None }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh => f.write_str("the mesh"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Link(one, other) => write!(f, "the link of {one} and {other}"),
        }
    }
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which state: one of [`kind`], or any other name in snake case.
    pub kind: Cow<'static, str>,
    /// Of whom.
    pub subject: Subject,
    /// Whether it is so, or has ended.
    pub holds: bool,
    /// Since when.
    pub since: Instant,
    /// By what it is known, in words.
    pub evidence: String,
}

impl Condition {
    /// A state that has been found.
    pub fn found(kind: &'static str, subject: Subject, since: Instant, evidence: impl Into<String>) -> Self {
        Self { kind: Cow::Borrowed(kind), subject, holds: true, since, evidence: evidence.into() }
    }

    /// A state that has ended.
    pub fn ended(kind: &'static str, subject: Subject, since: Instant) -> Self {
        Self { kind: Cow::Borrowed(kind), subject, holds: false, since, evidence: String::new() }
    }
}
