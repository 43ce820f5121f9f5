//! What other machines of the node may ask of the mesh: ways, queues, branches.

use alloc::vec::Vec;

use super::{LinkId, Mesh};
use crate::wire::{NodeId, TreeNode};

impl Mesh {
    /// The neighbours that have synced, with their links.
    pub fn neighbours(&self) -> impl Iterator<Item = (LinkId, NodeId)> + '_ {
        self.links.iter().filter_map(|(id, link)| link.peer().map(|peer| (*id, peer)))
    }

    /// The link that leads to a node, the oldest if there are several, as the C++ library's search finds it; `None`
    /// without a way to it.
    pub fn link_to(&self, id: NodeId) -> Option<LinkId> {
        self.place(id).map(|(link, ..)| link)
    }

    /// Bytes that wait on the link towards a node; `None` without a way to it.
    pub fn queued_to(&self, id: NodeId) -> Option<usize> {
        let link = self.link_to(id)?;
        self.links.get(&link).map(|link| link.outbox.len())
    }

    /// Bytes that wait on all links.
    pub fn queued(&self) -> usize {
        self.links.values().map(|link| link.outbox.len()).sum()
    }

    /// The link towards a node, the branch behind it, and the node's place in that. All nodes are looked through: among
    /// 500 that takes a tenth of a microsecond on a computer, and a table costs more at every change of the tree.
    fn place(&self, id: NodeId) -> Option<(LinkId, &[TreeNode], usize)> {
        self.links.iter().find_map(|(link, state)| {
            let nodes = state.tree()?.nodes();
            let place = nodes.iter().position(|node| node.id == id)?;
            Some((*link, nodes, place))
        })
    }

    /// The nodes on the way to `id`: the neighbour first, `id` last; none without a way.
    pub fn path_to(&self, id: NodeId) -> Vec<NodeId> {
        let Some((_, nodes, place)) = self.place(id) else { return Vec::new() };
        let above =
            |(at, node): &(usize, &TreeNode)| *at <= place && place - *at <= node.descendants as usize;
        nodes.iter().enumerate().filter(above).map(|(_, node)| node.id).collect()
    }

    /// How many nodes are reached through `id`, itself included; 0 without a way to it.
    pub fn reached_through(&self, id: NodeId) -> usize {
        let node = self.place(id).and_then(|(_, nodes, place)| nodes.get(place));
        node.map_or(0, |node| node.descendants as usize + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{LinkRole, MeshConfig};
    use crate::time::Instant;
    use crate::wire::{NodeSync, Tree};
    use alloc::vec::Vec;

    #[test]
    fn the_oldest_link_leads_to_a_node_and_the_next_takes_over() {
        let (us, now) = (NodeId(9), Instant::ORIGIN);
        let mut mesh = Mesh::new(MeshConfig::node(us, 1));
        let links: Vec<LinkId> =
            (0..2).filter_map(|_| mesh.handle_link_up(now, LinkRole::Listener)).collect();
        let tell = |mesh: &mut Mesh, link: LinkId, top: u32, below: &[u32]| {
            let (from, mut tree) = (NodeId(top), Tree::leaf(NodeId(top)));
            below.iter().for_each(|id| tree.graft(&Tree::leaf(NodeId(*id))));
            let mut frame = NodeSync { reply: false, dest: us, from, tree }.encode();
            frame.push(0);
            mesh.handle_data(now, link, &frame, &mut |_| {});
        };
        tell(&mut mesh, links[0], 1, &[2, 3, 3]);
        tell(&mut mesh, links[1], 4, &[3]);
        assert_eq!((mesh.link_to(NodeId(3)), mesh.path_to(NodeId(3)).len()), (Some(links[0]), 2));
        tell(&mut mesh, links[0], 1, &[2, 3]);
        assert_eq!(mesh.link_to(NodeId(3)), Some(links[0]), "still there, though named once");
        tell(&mut mesh, links[0], 1, &[2]);
        assert_eq!((mesh.link_to(NodeId(3)), mesh.link_to(NodeId(2))), (Some(links[1]), Some(links[0])));
        mesh.handle_link_down(now, links[1]);
        assert_eq!((mesh.link_to(NodeId(3)), mesh.reached_through(NodeId(1))), (None, 2));
    }
}
