//! What is different between two trees: whole branches that came or went, and nodes with another parent.

use std::collections::BTreeMap;

use meshward_core::wire::{NodeId, Tree};

use super::Place;

/// The places of all nodes below the top, and how many of the tree's nodes made no sense: without an id, or with one
/// that was there already. What is below such a node hangs where the tree says.
pub(super) fn places(tree: &Tree) -> (BTreeMap<NodeId, Place>, u64) {
    let own = tree.top().id;
    let mut places = BTreeMap::new();
    let mut odd: u64 = 0;
    for (node, (id, hops, parent)) in tree.nodes().iter().zip(tree.depths()) {
        let Some(parent) = parent else { continue };
        if id == NodeId::NONE || id == own || parent == NodeId::NONE || places.contains_key(&id) {
            odd = odd.saturating_add(1);
            continue;
        }
        let place = Place { parent, hops, root: node.root, time_authority: node.time_authority };
        places.insert(id, place);
    }
    (places, odd)
}

/// Nodes that came or went together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// The one whose parent stayed where it was.
    pub(super) top: NodeId,
    /// All of them with their parents, the top first and parents before children.
    pub(super) nodes: Vec<(NodeId, NodeId)>,
}

impl Branch {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Diff {
    pub(super) left: Vec<Branch>,
    pub(super) joined: Vec<Branch>,
    /// Node, parent before, parent now.
    pub(super) moved: Vec<(NodeId, NodeId, NodeId)>,
}

impl Diff {
    pub(super) fn between(old: &BTreeMap<NodeId, Place>, new: &BTreeMap<NodeId, Place>) -> Self {
        let moved = new.iter().filter_map(|(id, place)| {
            let before = old.get(id)?.parent;
            (before != place.parent).then_some((*id, before, place.parent))
        });
        Self { left: branches(old, new), joined: branches(new, old), moved: moved.collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.joined.is_empty() && self.moved.is_empty()
    }
}

/// Those in `of` that are not in `other`, by the branches that they form in `of`.
fn branches(of: &BTreeMap<NodeId, Place>, other: &BTreeMap<NodeId, Place>) -> Vec<Branch> {
    let mut only: Vec<(u32, NodeId, NodeId)> = of
        .iter()
        .filter(|(id, _)| !other.contains_key(id))
        .map(|(id, place)| (place.hops, *id, place.parent))
        .collect();
    // Parents before children.
    only.sort_unstable();
    let mut tops: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut branches: Vec<Branch> = Vec::new();
    for (_, id, parent) in only {
        let at = tops.get(&parent).copied().unwrap_or_else(|| {
            branches.push(Branch { top: id, nodes: Vec::new() });
            branches.len().saturating_sub(1)
        });
        tops.insert(id, at);
        if let Some(branch) = branches.get_mut(at) {
            branch.nodes.push((id, parent));
        }
    }
    branches
}
