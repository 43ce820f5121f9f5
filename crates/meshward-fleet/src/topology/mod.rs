//! Where nodes are: the tree as it is now, how it came to be so, and what it was.
//!
//! [`Topology`] is told the tree after every change, the gateway at its top, and returns what is new of it; the
//! same goes into a [`history`](Topology::history) of at most [`Topology::EVENTS_MAX`] events, from which the tree of a
//! while ago can be had. A node whose place changes again and again is *flapping*: that is told when it begins and
//! when it ends, and nothing between. Whether nodes live is for [`liveness`](crate::liveness).

mod diff;
mod dot;
mod history;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, Tree};

use crate::findings::{Change, Evidence, Findings, Kind, Repeated, Repeats};
use diff::{Branch, Diff};
use history::{Entry, History};
pub use history::{Flapping, Snapshot};

/// So many changes of place within [`FLAPPING_WINDOW`] are flapping.
const FLAPPING_CHANGES: usize = 5;
const FLAPPING_WINDOW: Duration = Duration::from_secs(300);
/// No change for so long, and it is over.
const FLAPPING_CALM: Duration = Duration::from_secs(600);

/// A node's place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node one hop nearer to the gateway.
    pub parent: NodeId,
    /// Hops from the gateway.
    pub hops: u32,
    /// Whether the node calls itself the root.
    pub root: bool,
    /// Whether the node's clock is the one to adopt.
    pub time_authority: bool,
}

/// A connection of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The end nearer to the gateway.
    pub from: NodeId,
    /// The other one.
    pub to: NodeId,
}

/// Something that happened to the tree or to a node in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision of the tree that it led to, or in which it happened.
    pub revision: u64,
    /// When.
    pub at: Instant,
    /// The node that it is about; the gateway for [`What::RootChanged`] to nobody.
    pub node: NodeId,
    /// What.
    pub what: What,
}

impl Event {
    /// What this means for the findings: flapping begins one and ends it.
    pub fn find(&self, findings: &mut Findings) -> Option<Change> {
        match self.what {
            What::FlappingBegan { changes } => {
                let evidence = Evidence::Repeated { count: changes, within: FLAPPING_WINDOW };
                findings.raise(self.at, Kind::Flapping, self.node, evidence)
            }
            What::FlappingEnded { .. } => findings.clear(Kind::Flapping, self.node),
            _ => None,
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The node is in the tree now.
    Joined {
        /// Below this one.
        parent: NodeId,
    },
    /// The node is not in the tree any more.
    Left {
        /// Where it was.
        parent: NodeId,
    },
    /// The node hangs below another one now.
    ParentChanged {
        /// Before.
        from: NodeId,
        /// Now.
        to: NodeId,
    },
    /// The node and everything below it left at once: maybe they live on as a mesh of their own.
    Partition {
        /// How many left, the node included: at least 2.
        nodes: u32,
    },
    /// The node came with others below it: two meshes are one.
    Merged {
        /// How many came, the node included: at least 2.
        nodes: u32,
    },
    /// The node is the root now; where the node is the gateway and `is_root` false, nobody is.
    RootChanged {
        /// Whether there is one.
        is_root: bool,
    },
    /// The node, or the branch that it tops, changes its place again and again.
    FlappingBegan {
        /// How often within five minutes.
        changes: u32,
    },
    /// The node has kept its place for ten minutes.
    FlappingEnded {
        /// How often it changed.
        changes: u32,
    },
    /// The node has restarted.
    Rebooted,
    /// The node runs other firmware than before.
    FirmwareChanged,
}

impl What {
    /// Its name in interfaces, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joined { .. } => "join",
            Self::Left { .. } => "leave",
            Self::ParentChanged { .. } => "parent_changed",
            Self::Partition { .. } => "partition",
            Self::Merged { .. } => "merged",
            Self::RootChanged { .. } => "root_changed",
            Self::FlappingBegan { .. } => "flapping_began",
            Self::FlappingEnded { .. } => "flapping_ended",
            Self::Rebooted => "reboot",
            Self::FirmwareChanged => "firmware_changed",
        }
    }
}

/// What a new tree brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Who is in the tree now and was not before, parents first, flapping or not.
    pub joined: Vec<NodeId>,
    /// Who is not in it any more, in order of id, flapping or not.
    pub left: Vec<NodeId>,
    /// What is to be told: nothing about those that go on flapping.
    pub events: Vec<Event>,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Topology {
    own: NodeId,
    places: BTreeMap<NodeId, Place>,
    root: Option<NodeId>,
    revision: u64,
    /// When the tree changed last; time never goes back.
    at: Instant,
    history: History,
    flapping: Repeats,
    /// Nodes of trees that made no sense.
    malformed: u64,
}

impl Topology {
    /// Most events that are remembered; the oldest go first.
    pub const EVENTS_MAX: usize = 4_096;

    /// The tree of a gateway that is alone.
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            places: BTreeMap::new(),
            root: None,
            revision: 0,
            at: Instant::ORIGIN,
            history: History::default(),
            flapping: Repeats::new(FLAPPING_CHANGES, FLAPPING_WINDOW, FLAPPING_CALM),
            malformed: 0,
        }
    }

    /// The tree, with the gateway at its top, is now this.
    pub fn handle_tree(&mut self, now: Instant, tree: &Tree) -> Update {
        let now = now.max(self.at);
        let mut update = Update { events: self.handle_timeout(now), ..Update::default() };
        let (places, odd) = diff::places(tree);
        self.malformed = self.malformed.saturating_add(odd);
        let root = tree.nodes().iter().find(|node| node.root).map(|node| node.id);
        let diff = Diff::between(&self.places, &places);
        if diff.is_empty() && root == self.root {
            self.places = places;
            return update;
        }
        let first = self.revision == 0;
        self.revision = self.revision.saturating_add(1);
        self.at = now;
        for branch in &diff.left {
            self.branch_left(branch, &mut update.events);
        }
        for branch in &diff.joined {
            self.branch_joined(branch, first, &mut update.events);
        }
        for (node, from, to) in &diff.moved {
            let what = What::ParentChanged { from: *from, to: *to };
            self.change(*node, &[(*node, what)], None, &mut update.events);
        }
        if root != self.root {
            self.root = root;
            let what = What::RootChanged { is_root: root.is_some() };
            self.push(root.unwrap_or(self.own), what, &mut update.events);
        }
        update.left = diff.left.iter().flat_map(|branch| branch.nodes.iter().map(|(id, _)| *id)).collect();
        update.left.sort_unstable();
        update.joined =
            diff.joined.iter().flat_map(|branch| branch.nodes.iter().map(|(id, _)| *id)).collect();
        self.places = places;
        update
    }

    fn branch_left(&mut self, branch: &Branch, out: &mut Vec<Event>) {
        let left = |(id, parent): &(NodeId, NodeId)| (*id, What::Left { parent: *parent });
        let whats: Vec<_> = branch.nodes.iter().map(left).collect();
        let whole = What::Partition { nodes: branch.len() };
        self.change(branch.top, &whats, (branch.len() > 1).then_some(whole), out);
    }

    fn branch_joined(&mut self, branch: &Branch, first: bool, out: &mut Vec<Event>) {
        let joined = |(id, parent): &(NodeId, NodeId)| (*id, What::Joined { parent: *parent });
        let whats: Vec<_> = branch.nodes.iter().map(joined).collect();
        let whole = What::Merged { nodes: branch.len() };
        // The first tree is news to the gateway and to nobody else.
        self.change(branch.top, &whats, (branch.len() > 1 && !first).then_some(whole), out);
    }

    /// The place of `top` has changed, and with it those of `whats`.
    fn change(&mut self, top: NodeId, whats: &[(NodeId, What)], whole: Option<What>, out: &mut Vec<Event>) {
        match self.flapping.happened(self.at, top) {
            Repeated::GoesOn { count, .. } => {
                self.history.flapped(top, self.revision, self.at, count, whats, &self.places);
                return;
            }
            Repeated::Seldom => {}
            Repeated::Began { count } => {
                self.push(top, What::FlappingBegan { changes: count }, out);
                self.history.begin_flapping(top, self.revision, self.at, count);
                self.history.flapped(top, self.revision, self.at, count, whats, &self.places);
                return;
            }
        }
        if let Some(whole) = whole {
            self.push(top, whole, out);
        }
        for (node, what) in whats {
            self.push(*node, *what, out);
        }
    }

    /// Something happened to a node that is not about its place.
    pub fn note(&mut self, now: Instant, node: NodeId, what: What) -> Event {
        self.at = self.at.max(now);
        let mut out = Vec::new();
        self.push(node, what, &mut out);
        out.pop().unwrap_or(Event { revision: self.revision, at: self.at, node, what })
    }

    fn push(&mut self, node: NodeId, what: What, out: &mut Vec<Event>) {
        let event = Event { revision: self.revision, at: self.at, node, what };
        self.history.push(Entry::Event(event));
        out.push(event);
    }

    /// Which nodes have calmed down.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Event> {
        self.at = self.at.max(now);
        let mut out = Vec::new();
        for node in self.flapping.ended(self.at) {
            let changes = self.history.end_flapping(node);
            self.push(node, What::FlappingEnded { changes }, &mut out);
        }
        out
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flapping.poll_timeout()
    }

    /// Counts up by one with every tree that is another one.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The gateway.
    pub const fn own(&self) -> NodeId {
        self.own
    }

    /// The node that calls itself the root, the first in preorder.
    pub const fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// Where a node is; `None` while it is not in the tree, and for the gateway.
    pub fn place(&self, id: NodeId) -> Option<&Place> {
        self.places.get(&id)
    }

    /// The place where the ways from these nodes to the gateway meet; `None` at the gateway itself, and of none.
    pub fn meeting(&self, nodes: &[NodeId]) -> Option<&Place> {
        let mut at = *nodes.first()?;
        for mut other in nodes.iter().copied() {
            while at != other {
                let (one, two) = (self.place(at)?, self.place(other)?);
                if one.hops >= two.hops {
                    at = one.parent;
                } else {
                    other = two.parent;
                }
            }
        }
        self.place(at)
    }

    /// All nodes but the gateway with their places, in order of id.
    pub fn places(&self) -> impl Iterator<Item = (NodeId, &Place)> {
        self.places.iter().map(|(id, place)| (*id, place))
    }

    /// The connections, in order of their far end.
    pub fn links(&self) -> impl Iterator<Item = Link> {
        self.places.iter().map(|(id, place)| Link { from: place.parent, to: *id })
    }

    /// What happened, oldest first: everything that is remembered. Of nodes that flap only that they do.
    pub fn history(&self) -> impl Iterator<Item = &Event> {
        self.history.events()
    }

    /// The nodes that change their place again and again at present, with how often so far.
    pub fn flapping(&self) -> impl Iterator<Item = &Flapping> {
        self.history.flapping().filter(|flapping| flapping.open)
    }

    /// The tree as it was at this revision; `None` where that is not remembered any more, or still to come.
    pub fn as_of_revision(&self, revision: u64) -> Option<Snapshot> {
        self.history.as_of(self.own, self.revision, &self.places, |at| at.0 > revision, revision)
    }

    /// The tree as it was at this time, or as it is now where that is still to come.
    pub fn as_of(&self, time: Instant) -> Option<Snapshot> {
        let revision = self.history.revision_at(time).unwrap_or(self.revision);
        self.history.as_of(self.own, self.revision, &self.places, |at| at.1 > time, revision)
    }

    /// How many events were forgotten for want of room.
    pub const fn events_dropped(&self) -> u64 {
        self.history.dropped()
    }

    /// How many nodes in trees had no id, or that of another node.
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }
}
