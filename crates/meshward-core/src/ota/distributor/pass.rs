//! The broadcast pass: every part but the last goes out once for all nodes.
//!
//! A stock receiver takes parts strictly in order and says nothing while nothing is missing. One that sees a
//! gap leaves broadcast mode and asks for what it lacks, but in the name of whoever the part was addressed
//! to, which is us: such a request says *that* somebody lacks a part, not *who*. So at the first one the pass
//! goes back to that part and repeats; nodes beyond it ignore what they have.
//!
//! What was lost once will be lost again. From how early the first loss came the pass estimates how lossy
//! the relays are, and how many copies of each part cost least, stragglers included, who must later be served
//! alone. With more than one copy the parts are sent such that nobody leaves broadcast mode any more: a node
//! that has left it sends a request per part, and a hundred such nodes would cost more than the copies.

use alloc::vec::Vec;

use super::pacing::{Pacer, hop_time};
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, Tree};

/// Most copies of a part.
const COPIES_MAX: u32 = 8;
/// What a node adds to a sync of the whole tree.
const SYNC_BYTES_PER_NODE: u64 = 24;
/// For this long after a change of the tree a loss says nothing about the relays.
const DISTURBED: Duration = Duration::from_secs(30);
/// Bytes of a request on the wire, for comparing costs.
const REQUEST_BYTES: u64 = 178;

/// One broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shot {
    pub(super) part: u32,
    /// The flag in the Data: set, a node with a gap leaves broadcast mode and tells; clear, it ignores.
    pub(super) broadcasted: bool,
    /// Who is probed behind it.
    pub(super) probe: Option<NodeId>,
}

/// What the pass knows of the tree.
#[derive(Clone, Debug)]
struct Shape {
    /// Hops to every target.
    depths: Vec<u32>,
    /// Links of the tree.
    links: u32,
    /// Links over which a relay forwards, and can lose, a broadcast.
    relayed: u32,
    /// Most children of one node.
    children: usize,
    leaves: Vec<NodeId>,
}

impl Shape {
    fn of(tree: &Tree, targets: impl Fn(NodeId) -> bool) -> Self {
        let mut shape = Self { depths: Vec::new(), links: 0, relayed: 0, children: 0, leaves: Vec::new() };
        let mut children: alloc::collections::BTreeMap<NodeId, usize> = alloc::collections::BTreeMap::new();
        for (node, (id, depth, parent)) in tree.nodes().iter().zip(tree.depths()) {
            let Some(parent) = parent else { continue };
            *children.entry(parent).or_insert(0) += 1;
            shape.links += 1;
            shape.relayed += u32::from(depth > 1);
            if targets(id) {
                shape.depths.push(depth);
            }
            if node.descendants == 0 {
                shape.leaves.push(id);
            }
        }
        shape.children = children.values().copied().max().unwrap_or(1);
        shape
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Pass {
    /// Parts to be sent: all but the last.
    end: u32,
    /// The part that goes next.
    next: u32,
    /// Parts below have gone before.
    high: u32,
    /// Copies of every part.
    copies: u32,
    /// Copies of `next` that have gone.
    gone: u32,
    part_bytes: u64,
    shape: Shape,
    pacer: Pacer,
    /// Somebody has lost something: nodes may chatter from then on.
    lossy: bool,
    /// When the tree changed last: what is lost then was cut off, not dropped by a relay.
    disturbed: Option<Instant>,
    /// Whether the next broadcast waits for the tree to settle.
    waits_for_tree: bool,
}

impl Pass {
    /// A pass over `parts` parts of `part_bytes` on the wire each.
    pub(super) fn new(parts: u32, part_bytes: u64, tree: &Tree, targets: impl Fn(NodeId) -> bool) -> Self {
        let shape = Shape::of(tree, targets);
        let pacer = Pacer::new(shape.leaves.clone(), shape.links as usize, shape.children, part_bytes);
        let end = parts.saturating_sub(1);
        Self {
            end,
            next: 0,
            high: 0,
            copies: 1,
            gone: 0,
            part_bytes,
            shape,
            pacer,
            lossy: false,
            disturbed: None,
            waits_for_tree: false,
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// Whether somebody has lost something.
    pub(super) const fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Parts that nodes without losses have.
    pub(super) const fn sent(&self) -> u32 {
        self.next
    }

    /// The tree has changed.
    pub(super) fn handle_topology(&mut self, now: Instant, tree: &Tree, targets: impl Fn(NodeId) -> bool) {
        self.disturbed = Some(now);
        self.waits_for_tree = true;
        self.shape = Shape::of(tree, targets);
        self.pacer.set_leaves(self.shape.leaves.clone());
    }

    /// The next broadcast, if it may go now.
    pub(super) fn next_shot(&mut self, now: Instant) -> Option<Shot> {
        self.waits_for_tree = self.held_until().is_some_and(|until| until > now);
        if self.is_done() || self.waits_for_tree || !self.pacer.may_send() {
            return None;
        }
        let part = self.next;
        let first_time = part >= self.high;
        let shot =
            Shot { part, broadcasted: first_time && self.copies == 1, probe: self.pacer.sent_one(now) };
        self.gone += 1;
        if self.gone >= self.copies {
            self.gone = 0;
            self.next += 1;
            self.high = self.high.max(self.next);
        }
        Some(shot)
    }

    /// After a change of the tree every link carries the news; on a channel full of parts they would come so
    /// late that nodes close links, which is the next change. So the pass waits for about a wave of syncs.
    fn held_until(&self) -> Option<Instant> {
        let links = u64::from(self.shape.links);
        let wave = hop_time(SYNC_BYTES_PER_NODE.saturating_mul(links)).saturating_mul(2 * links);
        self.disturbed.map(|at| at + wave)
    }

    /// A probe has come back.
    pub(super) fn answered(&mut self, now: Instant, from: NodeId, round_trip: Duration) {
        self.pacer.answered(now, from, round_trip);
    }

    /// Somebody, nobody knows who, asks for `part`.
    pub(super) fn missed(&mut self, now: Instant, part: u32) {
        if part >= self.next || self.copies > 1 {
            // It is up to date, or it will be served alone at the end.
            return;
        }
        // A node that chatters asks for what is still on its way; what has gone through is lost.
        let behind = u64::from(self.next - part);
        if self.lossy && self.pacer.proved() + behind <= self.pacer.sent() + 1 {
            return;
        }
        self.lossy = true;
        self.next = part;
        self.gone = 0;
        if self.disturbed.is_none_or(|at| now.since(at) > DISTURBED) {
            self.copies = self.best_copies();
        }
    }

    /// How many copies of the remaining parts cost least channel time, stragglers included.
    fn best_copies(&self) -> u32 {
        let chances = self.pacer.sent().max(1) as f64 * f64::from(self.shape.relayed.max(1));
        let loss = (1.0 / chances).min(0.5);
        let left = self.end.saturating_sub(self.next).max(1);
        let broadcast = f64::from(self.shape.links) * seconds(hop_time(self.part_bytes));
        let alone = seconds(hop_time(self.part_bytes)) + seconds(hop_time(REQUEST_BYTES));
        let cost = |copies: u32| {
            let alone: f64 = self
                .shape
                .depths
                .iter()
                .map(|depth| {
                    let missed = power(1.0 - power(1.0 - loss, depth.saturating_sub(1)), copies);
                    f64::from(*depth) * left_behind(missed, left) * alone
                })
                .sum();
            f64::from(left) * f64::from(copies) * broadcast + alone
        };
        let mut best = (1, cost(1));
        for copies in 2..=COPIES_MAX {
            let candidate = cost(copies);
            if candidate < best.1 {
                best = (copies, candidate);
            }
        }
        best.0
    }

    /// When [`Pass::ask_again`] has something to do.
    pub(super) fn overdue(&self) -> Option<Instant> {
        if self.is_done() {
            return None;
        }
        // While held, there is nothing to do before; afterwards only a probe may be overdue.
        match (self.held_until().filter(|_| self.waits_for_tree), self.pacer.overdue()) {
            (Some(held), _) => Some(held),
            (None, overdue) => overdue,
        }
    }

    /// The leaf to be probed again, if an answer is overdue.
    pub(super) fn ask_again(&mut self, now: Instant) -> Option<NodeId> {
        if self.is_done() { None } else { self.pacer.ask_again(now) }
    }
}

fn seconds(span: Duration) -> f64 {
    span.as_micros() as f64 / 1e6
}

/// Parts of `left` that a node still lacks after its first loss, on average, when it misses each with
/// probability `missed`.
fn left_behind(missed: f64, left: u32) -> f64 {
    let all = f64::from(left);
    if missed < 1e-12 { 0.0 } else { (all - (1.0 - power(1.0 - missed, left)) / missed).max(0.0) }
}

/// `base` to the power of `exponent`, by squaring: `core` has none.
fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 – 2 – … – n.
    fn chain(nodes: u32) -> Tree {
        let mut tree = Tree::leaf(NodeId(nodes));
        for id in (1..nodes).rev() {
            let mut above = Tree::leaf(NodeId(id));
            above.graft(&tree);
            tree = above;
        }
        tree
    }

    fn pass(parts: u32, nodes: u32) -> Pass {
        Pass::new(parts, 1_600, &chain(nodes), |_| true)
    }

    /// Fires until the pass is done or `limit` shots have gone, the leaf answering at once.
    fn fire(pass: &mut Pass, limit: usize) -> Vec<Shot> {
        let mut shots = Vec::new();
        while shots.len() < limit {
            let Some(shot) = pass.next_shot(Instant::ORIGIN) else { break };
            if let Some(leaf) = shot.probe {
                pass.answered(Instant::from_micros(1), leaf, Duration::from_micros(1));
            }
            shots.push(shot);
        }
        shots
    }

    #[test]
    fn without_loss_every_part_but_the_last_goes_once() {
        let mut pass = pass(100, 5);
        let shots = fire(&mut pass, 1_000);
        assert!(pass.is_done());
        let parts: Vec<u32> = shots.iter().map(|shot| shot.part).collect();
        assert_eq!(parts, (0..99).collect::<Vec<u32>>());
        assert!(shots.iter().all(|shot| shot.broadcasted));
    }

    #[test]
    fn a_rare_loss_is_repeated_in_step_and_then_the_pass_goes_on() {
        let mut pass = pass(1_000, 5);
        fire(&mut pass, 900);
        pass.missed(Instant::ORIGIN, 895);
        let shots = fire(&mut pass, 1_000);
        assert_eq!(shots[0], Shot { part: 895, broadcasted: false, probe: shots[0].probe });
        assert!(!shots[4].broadcasted && shots[5].broadcasted, "silent until where it was");
        assert_eq!(shots.len(), 999 - 895);
    }

    #[test]
    fn an_early_loss_means_copies_and_nobody_is_made_to_chatter() {
        let mut pass = pass(400, 8);
        fire(&mut pass, 3);
        pass.missed(Instant::ORIGIN, 1);
        assert!(pass.copies >= 2, "{} copies", pass.copies);
        let shots = fire(&mut pass, 10_000);
        assert!(shots.iter().all(|shot| !shot.broadcasted));
        assert_eq!(shots.len() as u32, (399 - 1) * pass.copies);
        pass.missed(Instant::ORIGIN, 50);
        assert!(pass.is_done(), "a straggler is served alone");
    }

    #[test]
    fn chatter_about_parts_on_their_way_is_no_loss() {
        let mut pass = pass(1_000, 5);
        fire(&mut pass, 900);
        pass.missed(Instant::ORIGIN, 895);
        fire(&mut pass, 5);
        let next = pass.next;
        while pass.next_shot(Instant::ORIGIN).is_some() {}
        pass.missed(Instant::ORIGIN, next);
        assert!(pass.next > next, "it was still on its way");
    }

    #[test]
    fn a_star_loses_nothing_to_relays() {
        let mut star = Tree::leaf(NodeId(1));
        (2..10).for_each(|id| star.graft(&Tree::leaf(NodeId(id))));
        let mut pass = Pass::new(100, 1_600, &star, |_| true);
        fire(&mut pass, 50);
        pass.missed(Instant::ORIGIN, 49);
        assert_eq!(pass.copies, 1);
    }
}
