//! How fast a broadcast pass may go: two brakes, both fed by delay probes (type 3), which stock nodes answer.
//!
//! C++ nodes queue without limit, so a sender without brakes exhausts the memory of a relay.
//!
//! - *The window*: a part goes out only when a leaf has answered a probe that was sent at most `window` parts
//!   ago. Leaves take turns, so every branch is asked. The window is such that the busiest relay, which holds
//!   every part once per child, never has more than [`RELAY_BYTES`] queued. The answer proves that a part has
//!   passed on the way to that leaf. On another way, where more stands in line, the part may wait yet: there is
//!   room for one more than the window has.
//! - *The delay*: what a probe takes beyond the fastest one seen is queueing. The window starts at one part;
//!   below the target it grows, above it shrinks (RFC 6817, LEDBAT, is the model).
//!
//! At a fixed rate the window is as wide as relays have room, and delays move nothing.
//!
//! A silent leaf stops the pass until it answers, leaves the tree, or has been asked [`TRIES`] times: then it
//! is left out of the turns, and the next one is asked.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::loss::Loss;
use super::shape::Shape;
use crate::ota::Tempo;
use crate::time::{Duration, Instant};
use crate::wire::NodeId;

/// What the busiest relay may hold.
const RELAY_BYTES: u64 = 20 * 1024;
/// Most parts under way, however small the mesh is.
const WINDOW_MAX: u64 = 16;
/// The least and the most that a probe is given to come back before it is repeated.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// Probes to one leaf without an answer before it is passed over.
const TRIES: u8 = 10;
/// A probe is told from another to the same leaf by when it was sent.
const SAME_PROBE: Duration = Duration::from_millis(50);
/// How long an answer may take before it counts as given, in per cent of what a part takes on all links.
const LENIENT_PERCENT: u64 = 110;
/// The least queueing that counts as too much.
const TARGET_MIN: Duration = Duration::from_millis(200);
/// Queueing that keeps the channel busy, in percent of what one part takes on all links. More makes the
/// nodes' own syncs wait until they time out and close links.
const TARGET_PERCENT: u64 = 75;
/// A hop takes this long, whatever it carries, and …
const HOP_BASE_NANOS: u64 = 2_090_000;
/// … this long per byte (fitted to a published ESP8266 measurement; `docs/benchmarks.md` has the model).
const HOP_BYTE_NANOS: u64 = 7_640;

/// Time that a message of `bytes` takes on one hop of a real mesh.
pub(in crate::ota) const fn hop_time(bytes: u64) -> Duration {
    Duration::from_micros((HOP_BASE_NANOS + HOP_BYTE_NANOS * bytes) / 1_000)
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    leaf: NodeId,
    /// How many broadcasts had been sent when it left.
    behind: u64,
    sent: Instant,
}

/// See the module's page.
#[derive(Debug)]
pub(in crate::ota) struct Pacer {
    /// The leaves, and the hops to them.
    leaves: Vec<(NodeId, u32)>,
    /// Whose turn it is.
    turn: usize,
    /// Unanswered probes of the leaf whose turn it is.
    tries: u8,
    sent: u64,
    /// Parts that the busiest relay has room for.
    room: u64,
    /// Broadcasts that a leaf has proved to have passed.
    proved: u64,
    window_max: u64,
    /// The window, in thousandths of a part.
    window: u64,
    outstanding: VecDeque<Probe>,
    /// The fastest answer seen.
    fastest: Option<Duration>,
    smoothed: Duration,
    target: Duration,
    /// What a part takes on one channel.
    all_links: Duration,
    /// Whether relays bound their queues themselves: then a lost answer costs no more than a little time.
    lenient: bool,
    /// Whether delays move the window.
    adapts: bool,
}

impl Pacer {
    /// A pacer for parts of `bytes` on the wire in a tree of this shape.
    pub(in crate::ota) fn new(shape: &Shape, bytes: u64) -> Self {
        let (links, children) = (u64::from(shape.links), shape.children);
        let share = bytes.saturating_mul(children.max(1) as u64).max(1);
        let room = RELAY_BYTES / share;
        let all_links = hop_time(bytes).saturating_mul(links);
        let target = Duration::from_micros(all_links.as_micros() * TARGET_PERCENT / 100).max(TARGET_MIN);
        Self {
            leaves: shape.leaves.clone(),
            turn: 0,
            tries: 0,
            sent: 0,
            room,
            proved: 0,
            window_max: room.saturating_sub(1).clamp(1, WINDOW_MAX),
            window: 1_000,
            outstanding: VecDeque::new(),
            fastest: None,
            smoothed: Duration::ZERO,
            target,
            all_links,
            lenient: false,
            adapts: true,
        }
    }

    /// A pacer where no relay is a stock node. They hold no more than they have room for, and lost chunks are
    /// repaired over one hop: a probe without an answer counts as answered after a while.
    pub(in crate::ota) fn lenient(self) -> Self {
        Self { lenient: true, window_max: self.room.clamp(1, WINDOW_MAX), ..self }
    }

    /// A pacer for this tempo. Who asks for a rate has decided what the channel takes; what relays hold stays bounded.
    pub(in crate::ota) fn at(self, tempo: &Tempo) -> Self {
        if tempo.chunks_per_second.is_none() {
            return self;
        }
        Self { adapts: false, window: self.window_max * 1_000, ..self }
    }

    /// Whether one more broadcast may go.
    pub(in crate::ota) fn may_send(&self) -> bool {
        self.leaves.is_empty() || self.sent.saturating_sub(self.proved) < self.window.div_ceil(1_000)
    }

    /// Whether all that was sent has gone through.
    pub(in crate::ota) fn is_drained(&self) -> bool {
        self.leaves.is_empty() || self.proved >= self.sent
    }

    /// Broadcasts sent so far.
    pub(in crate::ota) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Broadcasts known to have gone through.
    pub(in crate::ota) const fn proved(&self) -> u64 {
        self.proved
    }

    /// A broadcast has gone; the leaf to be probed behind it.
    pub(in crate::ota) fn sent_one(&mut self, now: Instant) -> Option<NodeId> {
        self.sent += 1;
        self.turn = self.turn.wrapping_add(1);
        self.tries = 0;
        self.probe(now)
    }

    fn probe(&mut self, now: Instant) -> Option<NodeId> {
        let index = self.turn.checked_rem(self.leaves.len())?;
        let (leaf, _) = *self.leaves.get(index)?;
        self.outstanding.push_back(Probe { leaf, behind: self.sent, sent: now });
        while self.outstanding.len() > 2 * WINDOW_MAX as usize {
            self.outstanding.pop_front();
        }
        Some(leaf)
    }

    /// A probe has come back after `round_trip`, which tells which of a leaf's probes it was.
    pub(in crate::ota) fn answered(
        &mut self,
        now: Instant,
        from: NodeId,
        round_trip: Duration,
        loss: &mut Loss,
    ) {
        let sent = now - round_trip;
        let distance = |probe: &Probe| probe.sent.since(sent) + sent.since(probe.sent);
        // Probes that others sent to this leaf say nothing about what was lost.
        let own = self.outstanding.iter().filter(|probe| probe.leaf == from && distance(probe) < SAME_PROBE);
        let Some(probe) = own.min_by_key(|probe| distance(probe)).copied() else { return };
        // Answers of one leaf come in order: what it was asked before is lost.
        let depth = self.depth(from);
        loss.probe(depth, true);
        self.outstanding.retain(|other| {
            let open = other.leaf != from || other.sent > probe.sent;
            if !open && other.sent < probe.sent {
                loss.probe(depth, false);
            }
            open
        });
        self.proved = self.proved.max(probe.behind);
        self.tries = 0;
        let took = round_trip;
        let fastest = self.fastest.map_or(took, |fastest| fastest.min(took));
        self.fastest = Some(fastest);
        self.smoothed = match self.smoothed {
            Duration::ZERO => took,
            old => Duration::from_micros((old.as_micros() * 7 + took.as_micros()) / 8),
        };
        let queueing = took.as_micros().saturating_sub(fastest.as_micros());
        // One window of answers moves the window by at most one part.
        let step = 1_000_000 / self.window.max(1_000);
        if !self.adapts {
            return;
        }
        if queueing > self.target.as_micros() {
            self.window = self.window.saturating_sub(step).max(1_000);
        } else {
            self.window = (self.window + step).min(self.window_max * 1_000);
        }
    }

    fn depth(&self, leaf: NodeId) -> u32 {
        self.leaves.iter().find(|(id, _)| *id == leaf).map_or(1, |(_, depth)| *depth)
    }

    /// When the pass is stuck on a probe that may be lost; `drains` when it waits until all has gone through.
    pub(in crate::ota) fn overdue(&self, drains: bool) -> Option<Instant> {
        if if drains { self.is_drained() } else { self.may_send() } {
            return None;
        }
        let unproved = |probe: &&Probe| !self.lenient || probe.behind > self.proved;
        let sent = self.outstanding.iter().filter(unproved).map(|probe| probe.sent);
        // A strict pacer waits for its last question, a lenient one for its first.
        let newest = if self.lenient { sent.min() } else { sent.max() };
        Some(newest.unwrap_or(Instant::ORIGIN) + self.patience())
    }

    fn patience(&self) -> Duration {
        if self.lenient {
            // As long as what is under way needs on one channel: then the next part is no burden.
            let parts = self.sent.saturating_sub(self.proved).max(1);
            let needs = Duration::from_micros(self.all_links.as_micros() * parts * LENIENT_PERCENT / 100);
            return needs.clamp(PROBE_TIMEOUT_MIN, PROBE_TIMEOUT_MAX);
        }
        self.smoothed.saturating_mul(2).clamp(PROBE_TIMEOUT_MIN, PROBE_TIMEOUT_MAX)
    }

    /// Asks again if the answer is overdue; the leaf to be probed.
    pub(in crate::ota) fn ask_again(&mut self, now: Instant, drains: bool) -> Option<NodeId> {
        self.overdue(drains).filter(|due| *due <= now)?;
        if self.lenient {
            self.proved = (self.proved + 1).min(self.sent);
            self.turn = self.turn.wrapping_add(1);
            return None;
        }
        self.tries += 1;
        if self.tries >= TRIES {
            let silent = self.turn.checked_rem(self.leaves.len())?;
            self.leaves.remove(silent);
            self.tries = 0;
        }
        self.probe(now)
    }

    /// The tree has changed: only these leaves are there now.
    pub(in crate::ota) fn set_leaves(&mut self, shape: &Shape) {
        self.leaves.clone_from(&shape.leaves);
        self.outstanding.retain(|probe| shape.leaves.iter().any(|(id, _)| *id == probe.leaf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn shape(leaves: u32, children: usize) -> Shape {
        let leaves = (1..=leaves).map(|id| (NodeId(id), 3)).collect();
        Shape { links: 20, children, leaves, ..Shape::default() }
    }

    fn pacer(leaves: u32) -> Pacer {
        Pacer::new(&shape(leaves, 4), 1_600)
    }

    fn answered(pacer: &mut Pacer, now: Instant, from: NodeId, took: Duration) {
        pacer.answered(now, from, took, &mut Loss::default());
    }

    #[test]
    fn the_window_keeps_the_busiest_relay_below_its_limit() {
        for (children, bytes, window) in
            [(4, 1_600, 2), (1, 1_600, 11), (10, 1_600, 1), (1, 400, 16), (50, 2_000, 1)]
        {
            let pacer = Pacer::new(&shape(1, children), bytes);
            assert_eq!(pacer.window_max, window, "{children} children, {bytes} bytes");
        }
    }

    #[test]
    fn parts_wait_for_the_leaves_in_turn() {
        let mut pacer = pacer(2);
        pacer.window = 3_000;
        let first = pacer.sent_one(at(0)).unwrap();
        let second = pacer.sent_one(at(1)).unwrap();
        assert_ne!(first, second);
        pacer.sent_one(at(2));
        assert!(!pacer.may_send());
        answered(&mut pacer, at(50), second, Duration::from_millis(49));
        assert_eq!(pacer.proved(), 2);
        assert!(pacer.may_send());
        answered(&mut pacer, at(51), NodeId(99), Duration::from_millis(51));
        assert_eq!(pacer.proved(), 2, "a stranger proves nothing");
    }

    #[test]
    fn a_lost_probe_is_repeated_and_a_silent_leaf_passed_over() {
        let mut pacer = pacer(2);
        let mut asked = Vec::new();
        while pacer.may_send() {
            asked.push(pacer.sent_one(at(0)).unwrap());
        }
        assert_eq!(pacer.ask_again(at(499), false), None);
        let silent = pacer.ask_again(at(500), false).unwrap();
        for round in 2..TRIES {
            assert_eq!(pacer.ask_again(at(u64::from(round) * 500), false), Some(silent));
        }
        let other = pacer.ask_again(at(60_000), false).unwrap();
        assert_ne!(other, silent);
        answered(&mut pacer, at(60_001), other, Duration::from_millis(1));
        assert!(pacer.may_send());
    }

    #[test]
    fn queueing_shrinks_the_window_and_its_end_restores_it() {
        let mut pacer = pacer(1);
        let round = |pacer: &mut Pacer, now: u64, took: u64| {
            let leaf = pacer.sent_one(at(now)).unwrap();
            answered(pacer, at(now + took), leaf, Duration::from_millis(took));
        };
        round(&mut pacer, 0, 10);
        for index in 1..20 {
            round(&mut pacer, index * 5_000, 4_000);
        }
        assert_eq!(pacer.window, 1_000);
        for index in 20..40 {
            round(&mut pacer, index * 5_000, 20);
        }
        assert_eq!(pacer.window, pacer.window_max * 1_000);
    }

    #[test]
    fn at_a_fixed_rate_delays_move_nothing_and_relays_are_spared_all_the_same() {
        let tempo = Tempo { chunks_per_second: core::num::NonZeroU16::new(5), ..Tempo::default() };
        let mut pacer = pacer(1).at(&tempo);
        for round in 0..20 {
            let leaf = pacer.sent_one(at(round * 5_000)).unwrap();
            let took = if round == 0 { 10 } else { 4_000 };
            answered(&mut pacer, at(round * 5_000 + took), leaf, Duration::from_millis(took));
            assert_eq!(pacer.window, pacer.window_max * 1_000);
        }
        let before = pacer.sent();
        while pacer.may_send() {
            pacer.sent_one(at(200_000));
        }
        assert_eq!(pacer.sent() - before, pacer.window_max);
    }

    #[test]
    fn leaves_that_are_gone_hold_nothing_up() {
        let mut pacer = pacer(3);
        while pacer.may_send() {
            pacer.sent_one(at(0));
        }
        pacer.set_leaves(&Shape::default());
        assert!(pacer.may_send());
    }
}
