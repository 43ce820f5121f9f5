//! Several deployments beside one node: who sends, who starts nodes, and whose a node is.
//!
//! The channel is one. A deployment that [takes turns](super::Plan::takes_turns) waits for it when it knows its nodes
//! ([`Phase::Queued`]), has it from the packing until the image is with everybody or they were given up, and gives it
//! back then; while it is paused too, and queues again. [`take_turns`] hands it to the first in line. Whoever drives
//! several calls that after everything that any of them is told. Nothing of this is kept: it is what the
//! deployments are in, so a gateway that starts again finds it by itself.
//!
//! A source is replaced when the next one sends. Who lacks the image by then was given up already, with a reason; it
//! gets what it lacks from neighbours that hold it, and no longer from here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use meshward_core::node::Node;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::reasons::Why;
use super::{Deployment, Family, Phase, State};

/// The last counter of an order that a key has signed here. Copies count together, so that whoever signs, with
/// whatever roll-out, is above all before.
#[derive(Clone, Debug, Default)]
pub struct OrderCounter(Arc<AtomicU64>);

impl OrderCounter {
    /// Goes on after this one.
    pub fn after(last: u64) -> Self {
        Self(Arc::new(AtomicU64::new(last)))
    }

    /// The last one.
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The next one, above what nodes have told.
    pub(super) fn next(&self, told: u64) -> u64 {
        let next = self.last().max(told).saturating_add(1);
        self.0.store(next, Ordering::Relaxed);
        next
    }
}

/// Lets the first that waits for the channel have it, if nobody has. Each with its roll-out's number, the first in
/// line first.
pub fn take_turns(now: Instant, node: &mut Node, all: &mut [(u64, &mut Deployment)]) {
    // Who has nothing to send gives it back at once.
    for _ in 0..all.len() {
        if holder(all.iter().map(|(id, one)| (*id, &**one))).is_some() {
            return;
        }
        let Some(first) = all.iter().position(|(_, one)| one.is_waiting()) else { return };
        let others = all.iter().enumerate().filter(|(place, _)| *place != first);
        let taken: BTreeMap<NodeId, u64> =
            others.flat_map(|(_, (id, one))| one.claims().map(move |node| (node, *id))).collect();
        if let Some((_, one)) = all.get_mut(first) {
            one.let_send(now, node, &taken);
        }
    }
}

/// The number of the roll-out that has the channel.
pub fn holder<'a>(mut all: impl Iterator<Item = (u64, &'a Deployment)>) -> Option<u64> {
    all.find(|(_, one)| one.has_channel()).map(|(id, _)| id)
}

impl Deployment {
    /// Whether it may send now.
    const fn has_channel(&self) -> bool {
        let sends = matches!(self.phase, Phase::Packing | Phase::Delivering | Phase::Sending);
        self.granted && sends && !self.paused
    }

    /// Whether it waits for the channel.
    const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Queued) && !self.paused
    }

    /// Whether it may send, or there is nobody with whom it takes turns.
    pub(super) const fn may_send(&self) -> bool {
        self.granted || !self.plan.takes_turns
    }

    /// Nodes that nobody else may have: of one that has found out who they are, or was told. Who has no use for the
    /// image is free.
    fn claims(&self) -> impl Iterator<Item = NodeId> + '_ {
        let knows = self.plan.named || !matches!(self.phase, Phase::Surveying | Phase::Queued);
        let mine = self.targets.iter().filter(move |_| knows);
        mine.filter(|(_, target)| !matches!(target.state, State::Declined(_))).map(|(id, _)| *id)
    }

    /// The channel is free for it. `taken` are nodes of others, each with the number of its roll-out.
    fn let_send(&mut self, now: Instant, node: &mut Node, taken: &BTreeMap<NodeId, u64>) {
        self.granted = true;
        if self.forecast.is_none() {
            // Who was meant because everybody is may be somebody else's by now.
            self.find_targets(now, node);
            for (id, target) in self.targets.iter_mut().filter(|(_, target)| !target.state.is_final()) {
                if let Some(other) = taken.get(id) {
                    target.set(now, State::Declined(Some(Why::Elsewhere(*other))));
                }
            }
        }
        self.step(now, node);
    }

    /// It is its turn, or was so all the time: goes on where it stopped.
    pub(super) fn look_at_queue(&mut self, now: Instant, node: &mut Node) -> bool {
        if !self.may_send() {
            return false;
        }
        if self.forecast.is_none() {
            self.begin_packing(now, node);
            return false;
        }
        self.transfer(now, node);
        true
    }

    /// Brings the image to whoever is next.
    pub(super) fn transfer(&mut self, now: Instant, node: &mut Node) {
        if !self.may_send() {
            return self.go(now, Phase::Queued);
        }
        if let Some(session) = self.stock.filter(|_| self.is_open(Family::Stock)) {
            self.go(now, Phase::Sending);
            node.resume_rollout(now, session);
        } else if !self.delivered && self.is_open(Family::Meshward) {
            self.go(now, Phase::Delivering);
            self.send_payloads(now, node);
        } else {
            self.begin_sending(now, node);
        }
    }

    /// Whether the source of the node is this one's.
    pub(super) fn is_source(&self, node: &Node) -> bool {
        self.tags.iter().any(|tag| node.exchange().brings(*tag))
    }

    /// Whether nodes that it has told to start the image, or to go back, have not shown what came of that.
    pub fn is_restarting(&self) -> bool {
        let starts = |target: &super::Target| target.ordered.is_some() && !target.state.is_final();
        self.targets.values().any(|target| (starts(target) && !self.paused) || target.goes_back())
    }

    /// Nodes whose restarts are its doing: everybody who is open, from the payloads on; where somebody else says who
    /// starts the image, those who were let; and who goes back.
    pub fn restarted(&self) -> BTreeSet<NodeId> {
        let calm = matches!(self.phase, Phase::Surveying | Phase::Queued | Phase::Held | Phase::Finished);
        let starts = |target: &super::Target| {
            !calm && !target.state.is_final() && (target.released || !self.plan.hold)
        };
        let restarts = self.targets.iter().filter(|(_, target)| starts(target) || target.goes_back());
        restarts.map(|(id, _)| *id).collect()
    }

    /// From here on nobody is told to start the image, until this is taken back: nodes of another one restart. Who
    /// was told already goes on.
    pub const fn hold_back(&mut self, others_restart: bool) {
        self.held_back = others_restart;
    }

    /// Whether a quarantine of its image is on its way. Another one must not go out meanwhile: who has heard that
    /// would be taken to have heard this one.
    pub fn is_spreading(&self, node: &Node) -> bool {
        self.quarantine.is_some() && !self.is_quarantined(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_counter_count_together_and_above_what_nodes_have_told() {
        let one = OrderCounter::after(7);
        let other = one.clone();
        assert_eq!((one.next(0), other.next(0), one.next(20), other.next(3)), (8, 9, 21, 22));
        assert_eq!(one.last(), 22);
        assert_eq!(OrderCounter::after(u64::MAX).next(0), u64::MAX, "there is none above");
    }
}
