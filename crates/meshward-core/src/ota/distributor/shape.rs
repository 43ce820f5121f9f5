//! What a broadcast meets on its way: the tree as a distributor reckons with it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::wire::{NodeId, Tree};

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(in crate::ota) struct Shape {
    /// Hops to every target.
    pub(in crate::ota) depths: Vec<u32>,
    /// Links of the tree.
    pub(in crate::ota) links: u32,
    /// Links over which a relay forwards, and can lose, a broadcast.
    pub(in crate::ota) relayed: u32,
    /// Most children of one node; at least 1.
    pub(in crate::ota) children: usize,
    /// Nodes without children, and the hops to them.
    pub(in crate::ota) leaves: Vec<(NodeId, u32)>,
}

impl Shape {
    pub(in crate::ota) fn of(tree: &Tree, targets: impl Fn(NodeId) -> bool) -> Self {
        let mut shape = Self::default();
        let mut children: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (node, (id, depth, parent)) in tree.nodes().iter().zip(tree.depths()) {
            let Some(parent) = parent else { continue };
            *children.entry(parent).or_insert(0) += 1;
            shape.links += 1;
            shape.relayed += u32::from(depth > 1);
            if targets(id) {
                shape.depths.push(depth);
            }
            if node.descendants == 0 {
                shape.leaves.push((id, depth));
            }
        }
        shape.children = children.values().copied().max().unwrap_or(1);
        shape
    }
}
