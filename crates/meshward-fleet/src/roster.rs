//! Which nodes the mesh has shown: where each is now, or when it was seen last.
//!
//! Told the tree after every change; never forgets a node by itself, but keeps at most
//! [`Roster::NODES_MAX`]: the longest absent goes first.

use std::collections::BTreeMap;

use meshward_core::time::Instant;
use meshward_core::wire::{NodeId, Tree};

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

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is; `None` while it is not in the tree.
    pub place: Option<Place>,
    /// When it came or went last.
    pub since: Instant,
    /// How often it has joined.
    pub joins: u32,
}

/// A node came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is in the tree now.
    Joined(NodeId),
    /// It is not in the tree any more.
    Left(NodeId),
    /// It hangs below another node now.
    Moved(NodeId),
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    nodes: BTreeMap<NodeId, Entry>,
}

impl Roster {
    /// Most nodes that are remembered.
    pub const NODES_MAX: usize = 10_000;

    /// The tree, with the gateway at its top, is now this.
    pub fn update(&mut self, now: Instant, tree: &Tree) -> Vec<Change> {
        let mut changes = Vec::new();
        let flags: BTreeMap<NodeId, (bool, bool)> =
            tree.nodes().iter().map(|node| (node.id, (node.root, node.time_authority))).collect();
        let mut present = BTreeMap::new();
        for (id, hops, parent) in tree.depths() {
            let (root, time_authority) = flags.get(&id).copied().unwrap_or_default();
            if let Some(parent) = parent {
                present.insert(id, Place { parent, hops, root, time_authority });
            }
        }
        for (id, entry) in &mut self.nodes {
            if entry.place.is_some() && !present.contains_key(id) {
                entry.place = None;
                entry.since = now;
                changes.push(Change::Left(*id));
            }
        }
        for (id, place) in present {
            let entry = self.nodes.entry(id).or_insert(Entry { place: None, since: now, joins: 0 });
            match entry.place {
                None => {
                    entry.since = now;
                    entry.joins += 1;
                    changes.push(Change::Joined(id));
                }
                Some(old) if old.parent != place.parent => changes.push(Change::Moved(id)),
                Some(_) => {}
            }
            entry.place = Some(place);
        }
        self.forget_longest_absent();
        changes
    }

    fn forget_longest_absent(&mut self) {
        while self.nodes.len() > Self::NODES_MAX {
            let absent = self.nodes.iter().filter(|(_, entry)| entry.place.is_none());
            let Some(id) = absent.min_by_key(|(_, entry)| entry.since).map(|(id, _)| *id) else { return };
            self.nodes.remove(&id);
        }
    }

    /// All nodes, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Entry)> {
        self.nodes.iter().map(|(id, entry)| (*id, entry))
    }

    /// What is known of one node.
    pub fn get(&self, id: NodeId) -> Option<&Entry> {
        self.nodes.get(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::time::Duration;

    fn chain(ids: &[u32]) -> Tree {
        let mut ids = ids.iter().rev();
        let mut tree = Tree::leaf(NodeId(*ids.next().unwrap()));
        for id in ids {
            let mut above = Tree::leaf(NodeId(*id));
            above.graft(&tree);
            tree = above;
        }
        tree
    }

    #[test]
    fn nodes_join_move_leave_and_return() {
        let mut roster = Roster::default();
        let t0 = Instant::ORIGIN;
        let t1 = t0 + Duration::from_secs(1);
        let joined = [Change::Joined(NodeId(2)), Change::Joined(NodeId(3))];
        assert_eq!(roster.update(t0, &chain(&[1, 2, 3])), joined);
        assert_eq!(roster.get(NodeId(3)).unwrap().place.unwrap().hops, 2);
        assert_eq!(roster.get(NodeId(1)), None, "the gateway itself is not on its roster");
        let moved = [Change::Moved(NodeId(2)), Change::Moved(NodeId(3))];
        assert_eq!(roster.update(t1, &chain(&[1, 3, 2])), moved);
        assert_eq!(roster.update(t1, &chain(&[1, 3])), [Change::Left(NodeId(2))]);
        assert_eq!(roster.get(NodeId(2)).unwrap(), &Entry { place: None, since: t1, joins: 1 });
        assert_eq!(roster.update(t1, &chain(&[1, 3, 2])), [Change::Joined(NodeId(2))]);
        assert_eq!(roster.get(NodeId(2)).unwrap().joins, 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut roster = Roster::default();
        for round in 0..3u64 {
            let mut tree = Tree::leaf(NodeId(1));
            for id in 0..4_000 {
                tree.graft(&Tree::leaf(NodeId(10 + (round as u32) * 4_000 + id)));
            }
            roster.update(Instant::from_micros(round), &tree);
        }
        assert_eq!(roster.iter().count(), Roster::NODES_MAX);
        assert!(roster.get(NodeId(10 + 11_999)).unwrap().place.is_some());
    }
}
