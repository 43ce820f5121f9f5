//! Who is above whom in a mesh, by place: a tree looked through once, then asked often.
//!
//! A tree in transit may name a node twice; its last place counts.

use alloc::vec::Vec;

use crate::wire::{NodeId, Tree};

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Parents {
    /// All nodes in order of id, each once.
    nodes: Vec<Node>,
    /// The node above each, by its place here.
    above: Vec<Option<u32>>,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    depth: u32,
    above: Option<NodeId>,
}

impl Parents {
    pub(super) fn of(tree: &Tree) -> Self {
        let node = |(id, depth, above)| Node { id, depth, above };
        // Backwards, so that of one id the last comes first, and stays.
        let mut nodes: Vec<Node> = tree.depths().map(node).collect();
        nodes.reverse();
        nodes.sort_by_key(|node| node.id);
        nodes.dedup_by_key(|node| node.id);
        let place = |id: NodeId| nodes.binary_search_by_key(&id, |node| node.id).ok();
        let above = nodes.iter().map(|node| u32::try_from(node.above.and_then(place)?).ok()).collect();
        Self { nodes, above }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node's place, and hops to it; `None` when it is not in the tree.
    pub(super) fn place(&self, id: NodeId) -> Option<(usize, u32)> {
        let place = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        self.nodes.get(place).map(|node| (place, node.depth))
    }

    /// The place of the node above.
    pub(super) fn above(&self, place: usize) -> Option<usize> {
        self.above.get(place).copied().flatten().map(|above| above as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_node_that_is_named_twice_the_last_place_counts() {
        let sub = |top: u32, below: &[u32]| {
            let mut tree = Tree::leaf(NodeId(top));
            below.iter().for_each(|id| tree.graft(&Tree::leaf(NodeId(*id))));
            tree
        };
        let mut tree = sub(9, &[]);
        tree.graft(&sub(5, &[7]));
        tree.graft(&sub(3, &[]));
        tree.graft(&sub(2, &[7, 4]));
        let parents = Parents::of(&tree);
        let above = |id: u32| {
            let (place, depth) = parents.place(NodeId(id))?;
            Some((parents.above(place).map(|above| parents.nodes[above].id.0), depth))
        };
        assert_eq!(parents.len(), 6);
        assert_eq!(
            [9, 5, 3, 2, 7, 4, 1].map(above),
            [
                Some((None, 0)),
                Some((Some(9), 1)),
                Some((Some(9), 1)),
                Some((Some(9), 1)),
                Some((Some(2), 2)),
                Some((Some(2), 2)),
                None
            ]
        );
    }
}
