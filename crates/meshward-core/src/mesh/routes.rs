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
        // A branch that was away for a moment comes back at another place, and then nothing has changed here:
        // looking for it in two short sorted lists costs a tenth of taking all out and in again.
        let (mut gone, mut come) = changed_branches(old, new);
        gone.sort_unstable();
        come.sort_unstable();
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

/// What has to be taken out of one preorder list, and put in, to make the other of it. Not the least that would do:
/// a branch at another place is in both.
fn changed_branches(old: &[TreeNode], new: &[TreeNode]) -> (Vec<NodeId>, Vec<NodeId>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old, new);
    loop {
        let same = old.iter().zip(new).take_while(|(a, b)| a.id == b.id).count();
        (old, new) = (old.get(same..).unwrap_or_default(), new.get(same..).unwrap_or_default());
        let (Some((old_branch, old_rest)), Some((new_branch, new_rest))) =
            (first_branch(old), first_branch(new))
        else {
            break;
        };
        // Whole branches go and come, so what is next in the one list is behind a branch of the other; if it is
        // not, both have changed.
        let next = |nodes: &[TreeNode]| nodes.first().map(|node| node.id);
        let (only_gone, only_come) = (next(old_rest) == next(new), next(old) == next(new_rest));
        if only_gone || !only_come {
            gone.extend(old_branch.iter().map(|node| node.id));
            old = old_rest;
        }
        if only_come || !only_gone {
            come.extend(new_branch.iter().map(|node| node.id));
            new = new_rest;
        }
    }
    gone.extend(old.iter().map(|node| node.id));
    come.extend(new.iter().map(|node| node.id));
    (gone, come)
}

/// The first node with all below it, and the rest; `None` of nothing.
fn first_branch(nodes: &[TreeNode]) -> Option<(&[TreeNode], &[TreeNode])> {
    let top = nodes.first()?;
    Some(nodes.split_at((top.descendants as usize).saturating_add(1).min(nodes.len())))
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
    fn whatever_changes_the_table_is_that_of_the_new_tree() {
        let mut rng = crate::rng::Rng::new(7);
        let mut branch = |tops: core::ops::Range<u32>| {
            let mut all = Tree::leaf(NodeId(1));
            for top in tops {
                // Few ids, so that branches go, come, move, and name nodes twice.
                let mut sub = Tree::leaf(NodeId(10 + top));
                (0..rng.below(4)).for_each(|_| sub.graft(&tree(30 + rng.below(9) as u32, &[50 + top])));
                if rng.below(3) > 0 {
                    all.graft(&sub);
                }
            }
            all
        };
        let mut routes = Routes::default();
        let mut before: Option<Tree> = None;
        for round in 0..500_u32 {
            let after = branch(round % 3..6 + round % 5);
            routes.replace(LinkId(1), before.as_ref(), Some(&after));
            let mut fresh = Routes::default();
            fresh.replace(LinkId(1), None, Some(&after));
            assert_eq!(routes.0, fresh.0, "round {round}");
            before = Some(after);
        }
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
