//! Which link leads to which node: O(log n) look-up, updates that touch what changed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::LinkId;
use crate::wire::{NodeId, Tree, TreeNode};

/// Node id → links whose subtree holds it, in order of connection, with how often (a tree in transit may
/// name a node twice, and two branches may name the same node for a moment).
#[derive(Debug, Default)]
pub(super) struct Routes(BTreeMap<(NodeId, LinkId), u32>);

impl Routes {
    /// The oldest link behind which `id` is, as the C++ library's search finds it.
    pub(super) fn link_to(&self, id: NodeId) -> Option<LinkId> {
        let first = (id, LinkId::FIRST);
        self.0.range(first..).next().filter(|((found, _), _)| *found == id).map(|((_, link), _)| *link)
    }

    /// A link's branch has changed from `old` to `new`.
    pub(super) fn replace(&mut self, link: LinkId, old: Option<&Tree>, new: Option<&Tree>) {
        let old = old.map_or(&[][..], Tree::nodes);
        let new = new.map_or(&[][..], Tree::nodes);
        let (gone, come) = changed_middle(old, new);
        // A branch that was away for a moment comes back at another place, and between the two all is as it
        // was: looking for the differences in two sorted lists costs a tenth of taking all out and in again.
        let (gone, come) = (sorted_ids(gone), sorted_ids(come));
        let (mut gone, mut come) = (gone.into_iter().peekable(), come.into_iter().peekable());
        while let Some(id) = gone.peek().into_iter().chain(come.peek()).min().copied() {
            match (gone.next_if_eq(&id), come.next_if_eq(&id)) {
                (Some(_), None) => self.forget((id, link)),
                (None, Some(_)) => *self.0.entry((id, link)).or_insert(0) += 1,
                _ => {}
            }
        }
    }

    fn forget(&mut self, key: (NodeId, LinkId)) {
        if let Some(count) = self.0.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&key);
            }
        }
    }

    /// How many (node, link) pairs are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn sorted_ids(nodes: &[TreeNode]) -> Vec<NodeId> {
    let mut ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    ids.sort_unstable();
    ids
}

/// What is left of two preorder lists without the nodes that they share at their beginning and end.
fn changed_middle<'a>(old: &'a [TreeNode], new: &'a [TreeNode]) -> (&'a [TreeNode], &'a [TreeNode]) {
    let same = |(a, b): &(&TreeNode, &TreeNode)| a.id == b.id;
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let keep = |nodes: &'a [TreeNode]| nodes.get(..nodes.len() - tail).unwrap_or_default();
    (keep(old), keep(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(top: u32, subs: &[u32]) -> Tree {
        let mut tree = Tree::leaf(NodeId(top));
        for id in subs {
            tree.graft(&Tree::leaf(NodeId(*id)));
        }
        tree
    }

    #[test]
    fn the_oldest_link_wins_and_the_next_takes_over() {
        let mut routes = Routes::default();
        let (a, b) = (tree(1, &[2, 3]), tree(4, &[3]));
        routes.replace(LinkId(7), None, Some(&a));
        routes.replace(LinkId(8), None, Some(&b));
        assert_eq!(routes.link_to(NodeId(3)), Some(LinkId(7)));
        let smaller = tree(1, &[2]);
        routes.replace(LinkId(7), Some(&a), Some(&smaller));
        assert_eq!(routes.link_to(NodeId(3)), Some(LinkId(8)));
        assert_eq!(routes.link_to(NodeId(2)), Some(LinkId(7)));
        routes.replace(LinkId(7), Some(&smaller), None);
        routes.replace(LinkId(8), Some(&b), None);
        assert_eq!(routes.len(), 0);
    }

    #[test]
    fn a_node_named_twice_stays_until_both_are_gone() {
        let mut routes = Routes::default();
        let twice = tree(1, &[5, 2, 5]);
        let once = tree(1, &[5, 2]);
        routes.replace(LinkId(1), None, Some(&twice));
        routes.replace(LinkId(1), Some(&twice), Some(&once));
        assert_eq!(routes.link_to(NodeId(5)), Some(LinkId(1)));
        routes.replace(LinkId(1), Some(&once), Some(&tree(1, &[2])));
        assert_eq!(routes.link_to(NodeId(5)), None);
    }
}
