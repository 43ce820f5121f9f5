//! Which payloads are sent: of all that could be, those that serve most nodes for least channel time.
//!
//! One pass serves everybody who can take its payload, and crosses every link, unless it is for so few that it goes
//! over the links to them alone. A patch shortens nothing for those who cannot take it, so it is worth its pass only
//! if no whole image has to be sent for the same nodes, or more is saved otherwise. There are few candidates, so all
//! sets of them are tried.

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::ota::exchange::ImageId;
use meshward_core::wire::{NodeId, Tree};

/// Sets are bits of a word.
const CANDIDATES_MAX: usize = 12;
/// To so many nodes, or more than a quarter of the links' number, a payload goes by broadcast.
const FEW: usize = 8;

/// A payload that could be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The image that it is a patch of.
    pub(super) base: Option<ImageId>,
    /// What all its chunks take on one link, in nanoseconds.
    pub(super) nanos: u64,
}

/// A node, as far as the choice is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// Which.
    pub(super) node: NodeId,
    /// What it runs.
    pub(super) running: Option<ImageId>,
    /// The candidates that it can take, a bit each.
    pub(super) takes: u32,
}

impl Wish {
    /// The cheapest of a set that this node is offered. A node whose patch is sent is not offered a whole image.
    pub(super) fn served_by(&self, candidates: &[Candidate], set: u32) -> Option<usize> {
        let sent = || candidates.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
        let own = |base: Option<ImageId>| base.is_some() && base == self.running;
        let patched = sent().any(|(_, candidate)| own(candidate.base));
        let mine =
            sent().filter(|(at, candidate)| self.takes & (1 << at) != 0 && (!patched || own(candidate.base)));
        mine.min_by_key(|(_, candidate)| candidate.nanos).map(|(at, _)| at)
    }
}

/// The links of a mesh.
#[derive(Clone, Debug)]
pub(super) struct Links {
    parents: BTreeMap<NodeId, NodeId>,
}

impl Links {
    pub(super) fn of(tree: &Tree) -> Self {
        Self { parents: tree.depths().filter_map(|(id, _, parent)| Some((id, parent?))).collect() }
    }

    /// The links that a payload for these nodes crosses.
    pub(super) fn crossed_for(&self, nodes: &[NodeId]) -> u64 {
        let all = self.parents.len();
        if nodes.len() > FEW || nodes.len() * 4 > all {
            return all as u64;
        }
        let mut crossed: BTreeSet<NodeId> = BTreeSet::new();
        for node in nodes {
            let mut at = *node;
            // Ends where somebody has been before.
            while let Some(parent) = self.parents.get(&at).filter(|_| crossed.insert(at)) {
                at = *parent;
            }
        }
        crossed.iter().filter(|id| self.parents.contains_key(id)).count() as u64
    }
}

/// Whom each candidate of a set serves.
pub(super) fn takers(candidates: &[Candidate], wishes: &[Wish], set: u32) -> BTreeMap<usize, Vec<NodeId>> {
    let mut takers: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for wish in wishes {
        if let Some(at) = wish.served_by(candidates, set) {
            takers.entry(at).or_default().push(wish.node);
        }
    }
    takers
}

/// The best set: it leaves out fewest nodes, then takes least time, then has fewest payloads. Looks at the first
/// twelve candidates, and at sets of up to `most`.
pub(super) fn best(candidates: &[Candidate], wishes: &[Wish], links: &Links, most: usize) -> u32 {
    let cost = |set: &u32| {
        let takers = takers(candidates, wishes, *set);
        let served: usize = takers.values().map(Vec::len).sum();
        let each = |(at, nodes): (&usize, &Vec<NodeId>)| {
            candidates
                .get(*at)
                .map_or(0, |candidate| candidate.nanos)
                .saturating_mul(links.crossed_for(nodes))
        };
        (wishes.len() - served, takers.iter().map(each).sum::<u64>(), set.count_ones())
    };
    let count = candidates.len().min(CANDIDATES_MAX);
    (0..1 << count).filter(|set: &u32| set.count_ones() as usize <= most).min_by_key(cost).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ImageId = ImageId([1; 8]);
    const B: ImageId = ImageId([2; 8]);

    /// Full, LZMA, a patch of A, one of B.
    fn candidates() -> [Candidate; 4] {
        [(None, 100), (None, 60), (Some(A), 3), (Some(B), 50)].map(|(base, nanos)| Candidate { base, nanos })
    }

    /// A star with so many nodes, of which the first wish this.
    fn check_in(nodes: u32, wishes: &[(Option<ImageId>, u32)], most: usize, expected: u32) {
        let mut tree = Tree::leaf(NodeId(1));
        (0..nodes).for_each(|node| tree.graft(&Tree::leaf(NodeId(2 + node))));
        let wish = |(at, (running, takes)): (usize, &(Option<ImageId>, u32))| Wish {
            node: NodeId(2 + at as u32),
            running: *running,
            takes: *takes,
        };
        let wishes: Vec<Wish> = wishes.iter().enumerate().map(wish).collect();
        assert_eq!(best(&candidates(), &wishes, &Links::of(&tree), most), expected, "{wishes:?}");
    }

    fn check(wishes: &[(Option<ImageId>, u32)], most: usize, expected: u32) {
        check_in(wishes.len() as u32, wishes, most, expected);
    }

    #[test]
    fn least_time_is_chosen() {
        let (a, b, other) = ((Some(A), 0b0111), (Some(B), 0b1011), (None, 0b0011));
        check(&[], 8, 0);
        check(&[a, a], 8, 0b0100);
        check(&[other, a], 8, 0b0010);
        check(&[a, b], 8, 0b1100);
        check(&[a, b, other], 8, 0b0010);
        // Patches of both cost less than a whole image; of three, more.
        check(&[a, b], 1, 0b0010);
    }

    #[test]
    fn a_payload_for_few_crosses_the_links_to_them_alone() {
        let (a, other) = ((Some(A), 0b0111), (None, 0b0011));
        // Whoever cannot take the patch is one of forty: it is served alone, and all others by the patch.
        let mut wishes = vec![other];
        wishes.extend([a; 39]);
        check_in(40, &wishes, 8, 0b0110);
        let mut tree = Tree::leaf(NodeId(3));
        for id in [2, 1] {
            let mut above = Tree::leaf(NodeId(id));
            above.graft(&tree);
            tree = above;
        }
        (0..10).for_each(|node| tree.graft(&Tree::leaf(NodeId(10 + node))));
        let links = Links::of(&tree);
        let crossed =
            |nodes: &[u32]| links.crossed_for(&nodes.iter().map(|id| NodeId(*id)).collect::<Vec<_>>());
        assert_eq!((crossed(&[3]), crossed(&[2, 3]), crossed(&[3, 10]), crossed(&[])), (2, 2, 3, 0));
        assert_eq!(crossed(&[3, 10, 11, 12]), 12);
        assert_eq!(crossed(&[99]), 0);
    }

    #[test]
    fn nobody_is_left_out_for_the_sake_of_time() {
        // One cannot stage a packed image, another has no room for a whole one's chunks.
        check(&[(None, 0b0001), (None, 0b0010)], 8, 0b0011);
        // The patch of A does not fit one of those who run A: it is not sent, or that one would get nothing.
        check(&[(Some(A), 0b0100), (Some(A), 0b0010), (Some(A), 0b0110)], 8, 0b0100);
        check(&[(Some(A), 0b0110), (Some(A), 0b0010)], 8, 0b0010);
        check(&[(Some(A), 0)], 8, 0);
    }
}
