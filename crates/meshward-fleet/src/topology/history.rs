//! What happened to the tree, in a ring, and how to go back in it.
//!
//! Each event can be undone, so the tree of a while ago is the present one with what came after undone, newest
//! first. Changes of a node that flaps are not kept one by one, or one node would push everything else out of the ring:
//! an entry per spell keeps where its nodes were before, and within the spell their places are uncertain.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::{Event, Link, Place, Topology, What};

/// A spell of flapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// The node, or the top of the branch.
    pub node: NodeId,
    /// When it was noticed.
    pub began: Instant,
    /// When it changed its place last.
    pub last: Instant,
    /// How often it has changed its place.
    pub changes: u32,
    pub(super) open: bool,
    first_revision: u64,
    last_revision: u64,
    /// Where those that it moved were before; nowhere, when `None`.
    before: BTreeMap<NodeId, Option<NodeId>>,
}

/// The tree of a while ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its revision.
    pub revision: u64,
    /// The gateway, its top.
    pub own: NodeId,
    /// Each node's parent.
    pub parents: BTreeMap<NodeId, NodeId>,
    /// Nodes that flapped then: they may have been elsewhere, or nowhere.
    pub uncertain: BTreeSet<NodeId>,
}

impl Snapshot {
    /// The connections, in order of their far end.
    pub fn links(&self) -> impl Iterator<Item = Link> {
        self.parents.iter().map(|(to, from)| Link { from: *from, to: *to })
    }
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Event(Event),
    Flapping(Flapping),
}

/// A revision and a time.
type At = (u64, Instant);

impl Entry {
    fn last(&self) -> At {
        match self {
            Self::Event(event) => (event.revision, event.at),
            Self::Flapping(flapping) => (flapping.last_revision, flapping.last),
        }
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    dropped: u64,
    /// The newest of those that were dropped.
    dropped_until: Option<At>,
}

impl History {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= Topology::EVENTS_MAX {
            self.dropped = self.dropped.saturating_add(1);
            if let Some(gone) = self.entries.pop_front() {
                self.dropped_until = self.dropped_until.max(Some(gone.last()));
            }
        }
        self.entries.push_back(entry);
    }

    pub(super) fn begin_flapping(&mut self, node: NodeId, revision: u64, at: Instant, changes: u32) {
        self.push(Entry::Flapping(Flapping {
            node,
            began: at,
            last: at,
            changes,
            open: true,
            first_revision: revision,
            last_revision: revision,
            before: BTreeMap::new(),
        }));
    }

    fn open_spell(&mut self, node: NodeId) -> Option<&mut Flapping> {
        self.entries.iter_mut().rev().find_map(|entry| match entry {
            Entry::Flapping(flapping) if flapping.open && flapping.node == node => Some(flapping),
            _ => None,
        })
    }

    /// The nodes of `whats` have changed their places once more, below or with `node`; `places` are those before.
    pub(super) fn flapped(
        &mut self,
        node: NodeId,
        revision: u64,
        at: Instant,
        changes: u32,
        whats: &[(NodeId, What)],
        places: &BTreeMap<NodeId, Place>,
    ) {
        if self.open_spell(node).is_none() {
            // It began so long ago that it fell out of the ring.
            self.begin_flapping(node, revision, at, changes);
        }
        let Some(spell) = self.open_spell(node) else { return };
        spell.last = at;
        spell.last_revision = revision;
        spell.changes = changes;
        for (moved, _) in whats {
            spell.before.entry(*moved).or_insert_with(|| places.get(moved).map(|place| place.parent));
        }
    }

    /// How often it changed its place.
    pub(super) fn end_flapping(&mut self, node: NodeId) -> u32 {
        self.open_spell(node).map_or(0, |spell| {
            spell.open = false;
            spell.changes
        })
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Event(event) => Some(event),
            Entry::Flapping(_) => None,
        })
    }

    pub(super) fn flapping(&self) -> impl Iterator<Item = &Flapping> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Event(_) => None,
            Entry::Flapping(flapping) => Some(flapping),
        })
    }

    /// The newest revision that anything remembered had led to by then.
    pub(super) fn revision_at(&self, time: Instant) -> Option<u64> {
        let before = self.entries.iter().map(Entry::last).chain(self.dropped_until);
        let revision = before.filter(|at| at.1 <= time).map(|at| at.0).max();
        Some(revision.unwrap_or(0)).filter(|_| self.entries.iter().any(|entry| entry.last().1 > time))
    }

    /// The tree with everything undone that is `after`.
    pub(super) fn as_of(
        &self,
        own: NodeId,
        newest: u64,
        places: &BTreeMap<NodeId, Place>,
        after: impl Fn(At) -> bool,
        revision: u64,
    ) -> Option<Snapshot> {
        if revision > newest || self.dropped_until.is_some_and(&after) {
            return None;
        }
        let mut parents: BTreeMap<NodeId, NodeId> =
            places.iter().map(|(id, place)| (*id, place.parent)).collect();
        let mut uncertain = BTreeSet::new();
        let mut put = |id: NodeId, parent: Option<NodeId>| {
            match parent {
                Some(parent) => parents.insert(id, parent),
                None => parents.remove(&id),
            };
        };
        // Spells stand where they began and undo changes up to their end, so newest first is by their ends.
        let mut undone: Vec<&Entry> = self.entries.iter().filter(|entry| after(entry.last())).collect();
        undone.sort_by_key(|entry| entry.last());
        for entry in undone.into_iter().rev() {
            match entry {
                Entry::Event(event) => match event.what {
                    What::Joined { .. } => put(event.node, None),
                    What::Left { parent } | What::ParentChanged { from: parent, .. } => {
                        put(event.node, Some(parent));
                    }
                    _ => {}
                },
                Entry::Flapping(spell) => {
                    if !after((spell.first_revision, spell.began)) {
                        uncertain.extend(spell.before.keys());
                    }
                    spell.before.iter().for_each(|(id, parent)| put(*id, *parent));
                }
            }
        }
        Some(Snapshot { revision, own, parents, uncertain })
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}
