//! What the collector wants sent again and waits for room in the budget: policies that nobody acknowledged, and
//! requests for keyframes that got lost.
//!
//! Both come by themselves where messages get lost, with an answer that takes more of the channel than the request;
//! sent without asking they would carry a mesh that uses all of its budget over it. The newest of a kind for a node
//! replaces the one before, and policies go before requests. Refuses more than [`HELD_MAX`], and counts them.
//!
//! Where reports alone are too much for the budget, as those of nodes are whose relays have restarted and pack nothing
//! any more, policies are what ends that: they need no room then. Otherwise the mesh would stay over its budget for good,
//! because there is no room to tell it anything.

use std::collections::VecDeque;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, kind, peek};

use super::Fleet;
use crate::overhead::{Frame, Urgency};

/// Most frames that wait.
const HELD_MAX: usize = 4_096;
/// When the budget has no room, it is looked at again.
pub(super) const ROOM_AGAIN: Duration = Duration::from_secs(2);
/// Bytes of a policy, of its acknowledgement, of a keyframe.
const POLICY_BYTES: usize = 130;
const ACK_BYTES: usize = 80;
const KEYFRAME_BYTES: usize = 144;

/// Frames that wait: policies first, and the longest waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    held: VecDeque<(NodeId, i32, Vec<u8>)>,
    /// When there was none, not before this.
    again: Option<Instant>,
}

impl Room {
    /// Takes a frame; false when another one had to go for it.
    fn hold(&mut self, node: NodeId, frame: Vec<u8>) -> bool {
        let kind = peek(&frame).map_or(0, |envelope| envelope.kind);
        self.held.retain(|(other, of, _)| (*other, *of) != (node, kind));
        let full = self.held.len() >= HELD_MAX;
        if full {
            self.held.pop_back();
        }
        let policies = self.held.iter().take_while(|(_, of, _)| *of == kind::TELEMETRY_POLICY).count();
        let place = if kind == kind::TELEMETRY_POLICY { policies } else { self.held.len() };
        self.held.insert(place, (node, kind, frame));
        !full
    }

    /// Nothing is to be told to a node any more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.held.retain(|(other, ..)| *other != node);
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.again.filter(|_| !self.held.is_empty())
    }
}

impl Fleet {
    /// Sends what the collector wants sent, as far as the budget allows.
    pub(super) fn send_collected(&mut self, now: Instant) {
        while let Some((node, frame)) = self.collector.poll_transmit() {
            if !self.room.hold(node, frame) {
                self.dropped.transmits = self.dropped.transmits.saturating_add(1);
            }
        }
        if self.room.again.is_some_and(|again| now < again) {
            return;
        }
        self.room.again = None;
        while let Some((node, kind, frame)) = self.room.held.pop_front() {
            // Who has left takes no room.
            if self.topology.place(node).is_none() {
                continue;
            }
            let legs = self.legs(node, kind);
            if !self.has_room(now, kind, &legs) {
                self.room.held.push_front((node, kind, frame));
                self.room.again = Some(now + ROOM_AGAIN);
                return;
            }
            self.send(now, node, frame);
        }
    }

    /// Whether the budget has room for it, or it is what makes room.
    pub(super) fn has_room(&mut self, now: Instant, kind: i32, legs: &[Frame]) -> bool {
        self.governor.allow(now, &self.channel, &self.meter, legs, Urgency::Soon)
            || (kind == kind::TELEMETRY_POLICY && self.governor.is_overrun(now, &self.meter))
    }

    /// What a request of the collector takes, with all that follows.
    pub(super) fn legs(&self, node: NodeId, kind: i32) -> Vec<Frame> {
        let leg = |kind, bytes| Frame { kind, bytes, crossings: self.hops(node) };
        let keyframe = leg(kind::TELEMETRY_KEYFRAME, KEYFRAME_BYTES);
        let ack = leg(kind::TELEMETRY_ACK, ACK_BYTES);
        match kind {
            kind::TELEMETRY_POLICY => vec![leg(kind, POLICY_BYTES), ack, keyframe],
            _ => vec![ack, keyframe],
        }
    }
}

#[cfg(test)]
mod tests {
    use meshward_core::telemetry::{Body, Policy};
    use meshward_core::wire::To;

    use super::*;

    fn policy(node: NodeId, number: u8) -> Vec<u8> {
        Body::Policy(Policy { number, ..Policy::default() }).frame(NodeId(1), To::One(node))
    }

    fn resync(node: NodeId) -> Vec<u8> {
        Body::Resync { generation: 3 }.frame(NodeId(1), To::One(node))
    }

    #[test]
    fn the_newest_of_a_kind_waits_for_a_node_and_not_too_many() {
        let mut room = Room::default();
        let node = NodeId(7);
        assert!(room.hold(node, policy(node, 1)) && room.hold(node, resync(node)));
        assert!(room.hold(node, policy(node, 2)) && room.hold(NodeId(8), policy(NodeId(8), 1)));
        let frames: Vec<Vec<u8>> = room.held.iter().map(|(_, _, frame)| frame.clone()).collect();
        assert_eq!(frames, [policy(node, 2), policy(NodeId(8), 1), resync(node)]);
        room.forget(node);
        assert_eq!(room.held.len(), 1);
        let refused =
            (0..5_000).filter(|id| !room.hold(NodeId(100 + id), policy(NodeId(100 + id), 1))).count();
        assert_eq!((room.held.len(), refused), (HELD_MAX, 5_001 - HELD_MAX));
    }
}
