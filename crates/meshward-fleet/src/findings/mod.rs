//! What somebody should look at, in one vocabulary: what it is, whom it is about, on which evidence, since when, and
//! what to do.
//!
//! A finding is a state and no event: it is raised once, however often its cause is seen, updated in place, and
//! cleared when the cause has gone. The machines beside this one raise them; [`Findings`] keeps them, at most
//! [`Findings::ENTRIES_MAX`], and counts what it could not keep. It decides nothing.

pub mod drift;
mod repeats;

use std::collections::BTreeMap;
use std::fmt;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
pub use repeats::{Repeated, Repeats};

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A node comes, goes or changes its parent again and again.
    Flapping,
    /// A node restarts again and again.
    RebootLoop,
    /// A node's broadcasts take more of the channel than they should.
    NoisyNode,
    /// A node calls its firmware by the version of another image.
    Drift,
}

impl Kind {
    /// Its name in interfaces, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flapping => "flapping",
            Self::RebootLoop => "reboot_loop",
            Self::NoisyNode => "noisy_node",
            Self::Drift => "drift",
        }
    }

    /// What to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Flapping => "give it a stronger signal: move it nearer to a parent, or put a relay between",
            Self::RebootLoop => "look at its supply and its reset reason; go back to the firmware before",
            Self::NoisyNode => "let its sketch send status singly to the gateway, or less often",
            Self::Drift => "build versions once; update the node with the image that the others run",
        }
    }
}

/// On what a finding rests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// So many changes or restarts within so long.
    Repeated {
        /// How many.
        count: u32,
        /// Within how long.
        within: Duration,
    },
    /// A share of the channel.
    Share {
        /// Of the channel's time, in percent.
        percent: f64,
        /// The type of most of these messages.
        kind: i32,
    },
    /// An image other than the one that most nodes of this version run.
    OtherImage {
        /// The first four bytes of the SHA-256 of what the node runs.
        runs: u32,
        /// The same of what most run.
        most_run: u32,
        /// How many nodes that are.
        nodes: u32,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated { count, within } => {
                write!(f, "{count} times within {} s", within.as_micros().div_ceil(1_000_000))
            }
            Self::Share { percent, kind } => {
                write!(f, "broadcasts status (type {kind}): {percent:.1} % of capacity")
            }
            Self::OtherImage { runs, most_run, nodes } => {
                write!(f, "runs image {runs:08x}; {nodes} nodes of the same version run {most_run:08x}")
            }
        }
    }
}

/// Something that somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The node that it is about.
    pub subject: NodeId,
    /// On what it rests, newest.
    pub evidence: Evidence,
    /// When it was raised.
    pub since: Instant,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}: {}: {}", self.subject, self.kind.name(), self.evidence)
    }
}

/// A finding came or went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// It was not there before.
    Raised(Finding),
    /// Its cause has gone.
    Cleared(Finding),
}

/// All that are open. See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    open: BTreeMap<(Kind, NodeId), Finding>,
    dropped: u64,
}

impl Findings {
    /// Most findings that are kept.
    pub const ENTRIES_MAX: usize = 2_000;

    /// The cause is there, on this evidence. [`Change::Raised`] the first time, nothing after that.
    pub fn raise(&mut self, now: Instant, kind: Kind, subject: NodeId, evidence: Evidence) -> Option<Change> {
        if let Some(known) = self.open.get_mut(&(kind, subject)) {
            known.evidence = evidence;
            return None;
        }
        if self.open.len() >= Self::ENTRIES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        let finding = Finding { kind, subject, evidence, since: now };
        self.open.insert((kind, subject), finding);
        Some(Change::Raised(finding))
    }

    /// The cause has gone.
    pub fn clear(&mut self, kind: Kind, subject: NodeId) -> Option<Change> {
        self.open.remove(&(kind, subject)).map(Change::Cleared)
    }

    /// Of this kind there are these and no others.
    pub fn replace(
        &mut self,
        now: Instant,
        kind: Kind,
        found: impl IntoIterator<Item = (NodeId, Evidence)>,
    ) -> Vec<Change> {
        let found: BTreeMap<NodeId, Evidence> = found.into_iter().collect();
        let gone: Vec<NodeId> =
            self.iter().filter(|finding| finding.kind == kind).map(|f| f.subject).collect();
        let gone = gone.into_iter().filter(|subject| !found.contains_key(subject));
        let mut changes: Vec<Change> = Vec::new();
        for subject in gone {
            changes.extend(self.clear(kind, subject));
        }
        for (subject, evidence) in found {
            changes.extend(self.raise(now, kind, subject, evidence));
        }
        changes
    }

    /// Nothing more is said of a node that was forgotten.
    pub fn forget(&mut self, node: NodeId) {
        self.open.retain(|(_, subject), _| *subject != node);
    }

    /// All that are open, by kind and node.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.open.values()
    }

    /// Those about one node.
    pub fn of(&self, node: NodeId) -> impl Iterator<Item = &Finding> {
        self.iter().filter(move |finding| finding.subject == node)
    }

    /// How many could not be kept.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Evidence = Evidence::Share { percent: 17.04, kind: 604 };

    #[test]
    fn a_finding_is_raised_once_and_cleared_once() {
        let mut findings = Findings::default();
        let (t0, t1) = (Instant::ORIGIN, Instant::from_micros(9));
        let raised = findings.raise(t0, Kind::NoisyNode, NodeId(7), SHARE);
        let Some(Change::Raised(finding)) = raised else { panic!("{raised:?}") };
        assert_eq!(
            finding.to_string(),
            "node 7: noisy_node: broadcasts status (type 604): 17.0 % of capacity"
        );
        let more = Evidence::Share { percent: 20.0, kind: 604 };
        assert_eq!(findings.raise(t1, Kind::NoisyNode, NodeId(7), more), None);
        assert_eq!(findings.of(NodeId(7)).map(|f| (f.since, f.evidence)).collect::<Vec<_>>(), [(t0, more)]);
        assert!(matches!(findings.clear(Kind::NoisyNode, NodeId(7)), Some(Change::Cleared(_))));
        assert_eq!(findings.clear(Kind::NoisyNode, NodeId(7)), None);
    }

    #[test]
    fn replacing_clears_what_is_not_found_any_more() {
        let mut findings = Findings::default();
        findings.raise(Instant::ORIGIN, Kind::Drift, NodeId(1), SHARE);
        findings.raise(Instant::ORIGIN, Kind::Flapping, NodeId(1), SHARE);
        let changes = findings.replace(Instant::ORIGIN, Kind::Drift, [(NodeId(2), SHARE)]);
        let of = |change: &Change| match change {
            Change::Raised(f) => (true, f.subject.0),
            Change::Cleared(f) => (false, f.subject.0),
        };
        assert_eq!(changes.iter().map(of).collect::<Vec<_>>(), [(false, 1), (true, 2)]);
        assert_eq!(findings.iter().count(), 2, "another kind stays");
    }

    #[test]
    fn memory_is_bounded() {
        let mut findings = Findings::default();
        for id in 0..5_000 {
            findings.raise(Instant::ORIGIN, Kind::Drift, NodeId(id), SHARE);
        }
        assert_eq!((findings.iter().count(), findings.dropped()), (Findings::ENTRIES_MAX, 3_000));
    }
}
