//! The broadcast pass: parts go out for all nodes at once.
//!
//! A stock receiver takes parts strictly in order and says nothing while nothing is missing. One that sees a
//! gap leaves broadcast mode and asks for what it lacks, but in the name of whoever the part was addressed
//! to, which is us: such a request says *that* somebody lacks a part, not *who*. There are two manners.
//!
//! - *Rewind*, while losses are rare: each part goes once, and at the first request for an older one the pass
//!   goes back there; nodes beyond it ignore what they have.
//! - *Blocks*, where relays lose much: some copies of each part, which make nobody tell anything, and then a
//!   *check*: the last part of the block goes to each node alone, and a node that takes it asks for the next
//!   in its own name. One that does not is searched for and served alone while the pass goes on: it catches
//!   up, for parts to one node are faster than parts to all. Copies come from [`NOBODY`], to whom a C++ node
//!   has no route, so that those who have left broadcast mode do not ask after every part: a hundred such
//!   nodes would cost more than the copies.
//!
//! The pass begins in the manner that [`super::loss`] finds cheapest, and changes to blocks when losses turn
//! out to be many. After any loss its last part goes in a check, so that in the end it is known of everybody
//! what it has.

use super::loss::{Loss, Manner, best};
use super::pacing::{Pacer, hop_time};
use super::shape::Shape;
use crate::ota::Tempo;
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, Tree};

/// The sender of parts to which nobody should answer: a station's address does not end in four bytes of 255.
pub(super) const NOBODY: NodeId = NodeId(u32::MAX);
/// What a node adds to a sync of the whole tree.
const SYNC_BYTES_PER_NODE: u64 = 24;
/// Parts go out to all once more when more nodes than links by this factor lack them: to search for one takes
/// about that share of what goes to all, whole branches at a time.
const REPEAT_SHARE: usize = 8;
/// For this long after a change of the tree a loss says nothing about the relays.
const DISTURBED: Duration = Duration::from_secs(30);

/// One broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shot {
    pub(super) part: u32,
    /// Whether a node with a gap should tell: it leaves broadcast mode then.
    pub(super) tells: bool,
    /// Whether those who have left it should not ask for the next part.
    pub(super) silent: bool,
    /// Who is probed behind it.
    pub(super) probe: Option<NodeId>,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Pass {
    /// Parts to be brought to all: all but the last of the image.
    end: u32,
    /// The part that goes next.
    next: u32,
    /// Parts below have gone before.
    high: u32,
    /// Up to here parts were repeated, so who has left broadcast mode asks for the next after each of them.
    chatter: u32,
    /// Copies of `next` that have gone.
    gone: u32,
    manner: Manner,
    /// The part that goes to each node alone.
    check: Option<u32>,
    /// Whether the parts before the check have gone out a second time.
    repeated: bool,
    part_bytes: u64,
    shape: Shape,
    pacer: Pacer,
    /// The lowest part that a node unknown may stand at; `None` when nobody has left broadcast mode.
    low: Option<u32>,
    /// When the tree changed last: what is lost then was cut off, not dropped by a relay.
    disturbed: Option<Instant>,
    /// Whether the next broadcast waits for the tree to settle.
    waits_for_tree: bool,
    tempo: Tempo,
    /// Until then the channel is left to others.
    rests: Option<Instant>,
}

impl Pass {
    /// A pass over `parts` parts of `part_bytes` on the wire each.
    pub(super) fn new(
        parts: u32,
        part_bytes: u64,
        tempo: Tempo,
        tree: &Tree,
        targets: impl Fn(NodeId) -> bool,
    ) -> Self {
        let shape = Shape::of(tree, targets);
        Self {
            end: parts.saturating_sub(1),
            next: 0,
            high: 0,
            chatter: 0,
            gone: 0,
            manner: Manner::Rewind,
            check: None,
            repeated: false,
            part_bytes,
            pacer: Pacer::new(&shape, part_bytes).at(&tempo),
            shape,
            low: None,
            disturbed: None,
            waits_for_tree: false,
            tempo,
            rests: None,
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// Parts that nodes without losses have.
    pub(super) const fn sent(&self) -> u32 {
        self.next
    }

    /// The lowest part at which somebody who left broadcast mode may stand, if anybody did.
    pub(super) const fn low(&self) -> Option<u32> {
        self.low
    }

    /// Whether nodes may have left broadcast mode.
    pub(super) fn has_gaps(&self) -> bool {
        self.low.is_some() || self.manner != Manner::Rewind
    }

    /// The part that goes to each node alone now; broadcasts wait until [`Pass::checked`].
    pub(super) fn check(&self) -> Option<u32> {
        self.check.filter(|_| self.at_check() && self.pacer.is_drained())
    }

    fn at_check(&self) -> bool {
        self.check == Some(self.next) && !self.is_done()
    }

    /// The part of the check is on its way to everybody who is there.
    pub(super) fn checked(&mut self, loss: &Loss) {
        self.next += 1;
        self.high = self.high.max(self.next);
        self.repeated = false;
        self.choose(loss);
    }

    /// `lost` nodes have not answered the check and may lack parts from `low` on: whether these go out once more
    /// for all, which is cheaper than to search for so many.
    pub(super) fn repeat(&mut self, lost: usize, low: u32) -> bool {
        let many = lost > self.shape.links as usize / REPEAT_SHARE;
        if self.repeated || !many || low >= self.next {
            return false;
        }
        (self.repeated, self.next, self.gone) = (true, low, 0);
        true
    }

    /// The tree has changed.
    pub(super) fn handle_topology(&mut self, now: Instant, tree: &Tree, targets: impl Fn(NodeId) -> bool) {
        self.disturbed = Some(now);
        self.waits_for_tree = true;
        self.shape = Shape::of(tree, targets);
        self.pacer.set_leaves(&self.shape);
    }

    /// The next broadcast, if it may go now.
    pub(super) fn next_shot(&mut self, now: Instant, loss: &mut Loss) -> Option<Shot> {
        self.waits_for_tree = self.held_until().is_some_and(|until| until > now);
        self.rests = self.rests.filter(|until| *until > now);
        let waits = self.waits_for_tree || self.at_check() || !self.pacer.may_send() || self.rests.is_some();
        if self.is_done() || waits {
            return None;
        }
        if self.next == 0 && self.gone == 0 && loss.rate() > 0.0 {
            self.choose(loss);
        }
        let (copies, blocks) = match self.manner {
            Manner::Rewind => (1, false),
            Manner::Blocks { copies, .. } => (copies, true),
        };
        let part = self.next;
        let tells = !blocks && part >= self.high;
        if tells {
            loss.broadcast(self.shape.relayed);
        }
        self.rests = self.tempo.rest(self.part_bytes, self.shape.links).map(|rest| now + rest);
        self.gone += 1;
        if self.gone >= copies {
            self.gone = 0;
            self.next += 1;
            self.high = self.high.max(self.next);
        }
        Some(Shot { part, tells, silent: blocks, probe: self.pacer.sent_one(now) })
    }

    /// After a change of the tree every link carries the news; on a channel full of parts they would come so
    /// late that nodes close links, which is the next change. So the pass waits for about a wave of syncs.
    fn held_until(&self) -> Option<Instant> {
        let links = u64::from(self.shape.links);
        let wave = hop_time(SYNC_BYTES_PER_NODE.saturating_mul(links)).saturating_mul(2 * links);
        self.disturbed.map(|at| at + wave)
    }

    /// A probe has come back.
    pub(super) fn answered(&mut self, now: Instant, from: NodeId, round_trip: Duration, loss: &mut Loss) {
        self.pacer.answered(now, from, round_trip, loss);
    }

    /// Whether `part` has gone and is not on its way any more.
    pub(super) fn has_gone_by(&self, part: u32) -> bool {
        let behind = u64::from(self.next.saturating_sub(part));
        behind > 0 && self.pacer.proved() + behind > self.pacer.sent() + 1
    }

    /// Somebody, nobody knows who, has left broadcast mode and asks for `part`.
    pub(super) fn missed(&mut self, now: Instant, part: u32, loss: &mut Loss) {
        let chatters = part <= self.chatter && !self.has_gone_by(part);
        if part >= self.next {
            // It has a counter from before, and tells nothing more in its own name until it is asked.
            self.check.get_or_insert(self.end.saturating_sub(1));
        }
        if part >= self.next || chatters {
            return;
        }
        self.low = Some(self.low.map_or(part, |low| low.min(part)));
        // In blocks, or in the last check, it is found alone.
        if self.manner == Manner::Rewind && !self.at_check() {
            self.chatter = self.high;
            self.next = part;
            self.gone = 0;
            self.gap(now, loss);
        }
    }

    /// Somebody has lost a part that has gone by: whether it should catch up at once, before the next check.
    pub(super) fn gap(&mut self, now: Instant, loss: &mut Loss) -> bool {
        if self.manner != Manner::Rewind {
            return false;
        }
        self.check = Some(self.end.saturating_sub(1));
        if self.disturbed.is_none_or(|at| now.since(at) > DISTURBED) {
            loss.gap();
            self.choose(loss);
        }
        true
    }

    /// Goes on in the manner that costs least. There is no way back from blocks: the nodes that were asked
    /// have left broadcast mode, and do not tell gaps any more.
    fn choose(&mut self, loss: &Loss) {
        let left = self.end.saturating_sub(self.next);
        let manner = best(loss.rate(), &self.shape, self.part_bytes, left);
        self.manner = match (self.manner, manner) {
            (Manner::Blocks { length, .. }, Manner::Rewind) => Manner::Blocks { copies: 1, length },
            (_, manner) => manner,
        };
        if let Manner::Blocks { length, .. } = self.manner {
            self.check = Some((self.next + length.max(1)).min(self.end).saturating_sub(1));
        }
    }

    /// When [`Pass::ask_again`] has something to do.
    pub(super) fn overdue(&self) -> Option<Instant> {
        if self.is_done() {
            return None;
        }
        // While held, there is nothing to do before; afterwards only a probe may be overdue.
        match (self.held_until().filter(|_| self.waits_for_tree), self.pacer.overdue(self.at_check())) {
            (Some(held), _) => Some(held),
            (None, overdue) => [overdue, self.rests].into_iter().flatten().min(),
        }
    }

    /// The leaf to be probed again, if an answer is overdue.
    pub(super) fn ask_again(&mut self, now: Instant) -> Option<NodeId> {
        if self.is_done() { None } else { self.pacer.ask_again(now, self.at_check()) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::num::NonZeroU16;

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

    struct Course {
        pass: Pass,
        loss: Loss,
    }

    fn course(parts: u32, nodes: u32) -> Course {
        Course {
            pass: Pass::new(parts, 1_600, Tempo::default(), &chain(nodes), |_| true),
            loss: Loss::default(),
        }
    }

    impl Course {
        /// Fires until the pass is done, checks or `limit` shots have gone, the leaf answering at once.
        fn fire(&mut self, limit: usize) -> Vec<Shot> {
            let mut shots = Vec::new();
            while shots.len() < limit {
                let Some(shot) = self.pass.next_shot(Instant::ORIGIN, &mut self.loss) else { break };
                if let Some(leaf) = shot.probe {
                    let took = Duration::from_micros(1);
                    self.pass.answered(Instant::from_micros(1), leaf, took, &mut self.loss);
                }
                shots.push(shot);
            }
            shots
        }

        fn missed(&mut self, part: u32) {
            self.pass.missed(Instant::ORIGIN, part, &mut self.loss);
        }
    }

    #[test]
    fn without_loss_every_part_but_the_last_goes_once() {
        let mut course = course(100, 5);
        let shots = course.fire(1_000);
        assert!(course.pass.is_done());
        let parts: Vec<u32> = shots.iter().map(|shot| shot.part).collect();
        assert_eq!(parts, (0..99).collect::<Vec<u32>>());
        assert!(shots.iter().all(|shot| shot.tells && !shot.silent));
    }

    #[test]
    fn a_rare_loss_is_repeated_in_step_and_the_last_part_is_checked() {
        let mut course = course(3_000, 5);
        course.fire(2_900);
        course.missed(2_895);
        let shots = course.fire(1_000);
        assert_eq!((shots[0].part, shots[0].tells), (2_895, false));
        assert!(!shots[4].tells && shots[5].tells, "silent until where it was");
        assert_eq!((course.pass.check(), course.pass.low()), (Some(2_998), Some(2_895)));
        assert_eq!(shots.len(), 2_998 - 2_895);
        course.pass.checked(&course.loss);
        assert!(course.pass.is_done());
    }

    #[test]
    fn many_losses_mean_copies_of_which_nobody_tells_anything_and_checks() {
        let mut course = course(400, 8);
        course.fire(3);
        (0..20).for_each(|_| course.loss.probe(8, false));
        course.missed(1);
        let Manner::Blocks { copies, length } = course.pass.manner else { panic!("{:?}", course.pass) };
        assert!(copies >= 2, "{copies} copies");
        let shots = course.fire(10_000);
        assert!(shots.iter().all(|shot| shot.silent && !shot.tells));
        assert_eq!(shots.len() as u32, (length - 1) * copies);
        assert_eq!(course.pass.check(), Some(length));
        assert_eq!(course.pass.overdue(), None, "the targets wait, not the pass");
        course.missed(3);
        assert_eq!(course.pass.check(), Some(length), "a straggler is found by the check");
        let mut checks = 0;
        while !course.pass.is_done() {
            course.pass.checked(&course.loss);
            course.fire(10_000);
            checks += 1;
        }
        assert_eq!(checks, (399 - 1_u32).div_ceil(length));
    }

    #[test]
    fn losses_seen_before_the_pass_decide_how_it_begins() {
        let mut course = course(400, 8);
        (0..40).for_each(|_| course.loss.probe(8, true));
        (0..20).for_each(|_| course.loss.probe(8, false));
        assert!(course.fire(1)[0].silent);
    }

    /// Between two of the first 20 parts, when the leaf answers at once.
    fn gap(tempo: Tempo) -> Duration {
        let mut course = course(100, 6);
        course.pass = Pass::new(100, 1_600, tempo, &chain(6), |_| true);
        let (mut now, mut gone) = (Instant::ORIGIN, Vec::new());
        while gone.len() < 20 {
            while let Some(shot) = course.pass.next_shot(now, &mut course.loss) {
                gone.push(now);
                let leaf = shot.probe.unwrap();
                course.pass.answered(now, leaf, Duration::from_micros(1), &mut course.loss);
            }
            now = course.pass.overdue().unwrap();
        }
        Duration::from_micros(gone[19].since(gone[0]).as_micros() / 19)
    }

    #[test]
    fn with_a_tenth_of_the_airtime_a_part_goes_every_ten_times_what_it_takes() {
        assert_eq!(gap(Tempo::with_airtime(10)), hop_time(1_600).saturating_mul(5 * 10));
    }

    #[test]
    fn at_a_fixed_rate_a_part_goes_as_often_as_it_says() {
        for rate in [1, 20, 250] {
            let tempo = Tempo { chunks_per_second: NonZeroU16::new(rate), ..Tempo::default() };
            assert_eq!(gap(tempo), Duration::from_micros(1_000_000 / u64::from(rate)), "{rate} a second");
        }
    }

    #[test]
    fn chatter_about_parts_on_their_way_is_no_loss() {
        let mut course = course(3_000, 5);
        course.fire(2_900);
        course.missed(2_895);
        course.fire(5);
        let next = course.pass.next;
        while course.pass.next_shot(Instant::ORIGIN, &mut course.loss).is_some() {}
        course.missed(next);
        assert!(course.pass.next > next, "it was still on its way");
    }
}
