//! What other machines of the node may ask of the mesh: ways, queues, branches.

use alloc::vec::Vec;

use super::{LinkId, Mesh};
use crate::wire::{NodeId, TreeNode};

impl Mesh {
    /// The neighbours that have synced, with their links.
    pub fn neighbours(&self) -> impl Iterator<Item = (LinkId, NodeId)> + '_ {
        self.links.iter().filter_map(|(id, link)| link.peer().map(|peer| (*id, peer)))
    }

    /// The link that leads to a node; `None` without a way to it.
    pub fn link_to(&self, id: NodeId) -> Option<LinkId> {
        self.routes.link_to(id)
    }

    /// Bytes that wait on the link towards a node; `None` without a way to it.
    pub fn queued_to(&self, id: NodeId) -> Option<usize> {
        let link = self.routes.link_to(id)?;
        self.links.get(&link).map(|link| link.outbox.len())
    }

    /// Bytes that wait on all links.
    pub fn queued(&self) -> usize {
        self.links.values().map(|link| link.outbox.len()).sum()
    }

    /// The branch behind the link towards a node, and the node's place in it.
    fn place(&self, id: NodeId) -> Option<(&[TreeNode], usize)> {
        let link = self.links.get(&self.routes.link_to(id)?)?;
        let nodes = link.tree.as_ref()?.nodes();
        let place = nodes.iter().position(|node| node.id == id)?;
        Some((nodes, place))
    }

    /// The nodes on the way to `id`: the neighbour first, `id` last; none without a way.
    pub fn path_to(&self, id: NodeId) -> Vec<NodeId> {
        let Some((nodes, place)) = self.place(id) else { return Vec::new() };
        let above =
            |(at, node): &(usize, &TreeNode)| *at <= place && place - *at <= node.descendants as usize;
        nodes.iter().enumerate().filter(above).map(|(_, node)| node.id).collect()
    }

    /// How many nodes are reached through `id`, itself included; 0 without a way to it.
    pub fn reached_through(&self, id: NodeId) -> usize {
        let node = self.place(id).and_then(|(nodes, place)| nodes.get(place));
        node.map_or(0, |node| node.descendants as usize + 1)
    }
}
