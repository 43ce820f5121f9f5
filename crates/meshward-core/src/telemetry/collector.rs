//! A gateway's end of telemetry: takes the packages of types 211 to 213 and 215, and says what nodes have told.
//!
//! Asks a node for a keyframe when it has none of it, at most every [`RESYNC_SPACING`]; repeats policies until they
//! are acknowledged. Refuses more nodes than [`Collector::NODES_MAX`], and counts what made no sense. Whoever drives
//! the gateway's node hands it the packages ([`handle_package`](Collector::handle_package)), sends what it wants
//! sent, and wakes it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::Metric;
use super::follower::{Follower, Heard, Report};
use super::message::{Body, Malformed, Policy};
use super::packet::Packet;
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, Parcel, To};

/// Between two requests for a keyframe of one node.
pub const RESYNC_SPACING: Duration = Duration::from_secs(30);
/// How long an ack may take before a policy goes again.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a policy goes.
const POLICY_TRIES: u8 = 4;
/// Frames and events that may wait.
const WAITING_MAX: usize = 4_096;

/// What a gateway has learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectorEvent {
    /// A node has told something by itself.
    Report {
        /// The node.
        node: NodeId,
        /// What it told.
        report: Report,
    },
    /// A node has answered a query.
    Answer {
        /// The node.
        node: NodeId,
        /// The query's number.
        q: u16,
        /// All that was wanted, as far as the node has it; `None` when it does not answer queries.
        values: Option<Vec<(Metric, i64)>>,
    },
    /// A node has taken the policy of that number, or not, or said nothing.
    Policy {
        /// The node.
        node: NodeId,
        /// The policy's number.
        number: u8,
        /// Whether it was taken; `None` for silence.
        taken: Option<bool>,
    },
}

/// What it dropped; all only ever rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectorCounters {
    /// Bodies with a wrong sum.
    pub broken: u64,
    /// Other bodies that made no sense.
    pub malformed: u64,
    /// Packets that came twice or late.
    pub stale: u64,
    /// Packets whose keyframe had not come.
    pub unknown: u64,
    /// Packets that never came, by their numbers.
    pub lost: u64,
    /// Keyframes asked for.
    pub resyncs: u64,
    /// Nodes, frames and events beyond the bounds.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Entry {
    follower: Follower,
    /// When it was asked for a keyframe.
    asked: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    policy: Policy,
    tries: u8,
    due: Instant,
}

/// See the module's page.
#[derive(Debug)]
pub struct Collector {
    id: NodeId,
    nodes: BTreeMap<NodeId, Entry>,
    policies: BTreeMap<NodeId, Pending>,
    transmits: VecDeque<(NodeId, Vec<u8>)>,
    events: VecDeque<CollectorEvent>,
    counters: CollectorCounters,
}

impl Collector {
    /// Most nodes that are followed.
    pub const NODES_MAX: usize = 2_500;

    /// For the gateway's node `id`.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            nodes: BTreeMap::new(),
            policies: BTreeMap::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: CollectorCounters::default(),
        }
    }

    /// What it dropped.
    pub fn counters(&self) -> CollectorCounters {
        self.counters
    }

    /// A node is gone for good: nothing is remembered of it.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.policies.remove(&node);
    }

    /// Tells a node what it is to tell; repeated until it says that it heard.
    pub fn set_policy(&mut self, now: Instant, node: NodeId, policy: Policy) {
        if self.policies.len() >= Self::NODES_MAX && !self.policies.contains_key(&node) {
            self.counters.dropped += 1;
            return;
        }
        self.policies.insert(node, Pending { policy, tries: 0, due: now });
        self.handle_timeout(now);
    }

    /// A package that came for the gateway ([`Event::Package`](crate::node::Event::Package)); false when it is of
    /// another type.
    pub fn handle_package(&mut self, now: Instant, kind: i32, frame: &[u8]) -> bool {
        if !Parcel::is_telemetry(kind) {
            return false;
        }
        match Parcel::decode(frame) {
            Ok(parcel) => self.handle_parcel(now, &parcel),
            Err(_) => self.counters.malformed += 1,
        }
        true
    }

    fn handle_parcel(&mut self, now: Instant, parcel: &Parcel) {
        match Body::decode(parcel.kind, &parcel.body) {
            Ok(Body::Packet(packet)) => self.handle_packet(now, parcel.from, &packet),
            Ok(Body::Bundle(entries)) => {
                entries.iter().for_each(|(node, packet)| self.handle_packet(now, *node, packet));
            }
            Ok(Body::Answer { q, packet }) => self.handle_answer(parcel.from, q, packet.as_ref()),
            Ok(Body::Ack { number, taken }) => self.handle_ack(parcel.from, number, taken),
            Ok(Body::Query(_) | Body::Policy(_) | Body::Resync { .. }) => self.counters.malformed += 1,
            Err(error) => self.count(error),
        }
    }

    fn count(&mut self, error: Malformed) {
        match error {
            Malformed::Sum => self.counters.broken += 1,
            _ => self.counters.malformed += 1,
        }
    }

    fn handle_packet(&mut self, now: Instant, node: NodeId, packet: &Packet) {
        if node == self.id || self.nodes.len() >= Self::NODES_MAX && !self.nodes.contains_key(&node) {
            self.counters.dropped += 1;
            return;
        }
        let entry = self.nodes.entry(node).or_default();
        match entry.follower.take(packet) {
            Ok(Heard::Report(report)) => {
                entry.asked = entry.asked.filter(|_| !report.keyframe);
                self.counters.lost += u64::from(report.lost);
                self.push(CollectorEvent::Report { node, report });
            }
            Ok(Heard::Duplicate | Heard::Stale) => self.counters.stale += 1,
            Ok(Heard::Unknown(generation)) => {
                self.counters.unknown += 1;
                if entry.asked.is_none_or(|at| now.since(at) >= RESYNC_SPACING) {
                    entry.asked = Some(now);
                    self.counters.resyncs += 1;
                    self.send(node, &Body::Resync { generation });
                }
            }
            Err(error) => self.count(error),
        }
    }

    fn handle_answer(&mut self, node: NodeId, q: u16, packet: Option<&Packet>) {
        let values = match packet.map(|packet| packet.numbers(&super::Numbers::default())) {
            Some(Ok(numbers)) => Some(numbers.values(u32::MAX).collect()),
            Some(Err(error)) => return self.count(error),
            None => None,
        };
        self.push(CollectorEvent::Answer { node, q, values });
    }

    fn handle_ack(&mut self, node: NodeId, number: u8, taken: bool) {
        if self.policies.get(&node).is_some_and(|pending| pending.policy.number == number) {
            self.policies.remove(&node);
            self.push(CollectorEvent::Policy { node, number, taken: Some(taken) });
        }
    }

    /// Repeats what was not acknowledged.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<NodeId> =
            self.policies.iter().filter(|(_, pending)| pending.due <= now).map(|(node, _)| *node).collect();
        for node in due {
            let Some(pending) = self.policies.get_mut(&node) else { continue };
            let number = pending.policy.number;
            if pending.tries >= POLICY_TRIES {
                self.policies.remove(&node);
                self.push(CollectorEvent::Policy { node, number, taken: None });
                continue;
            }
            pending.tries += 1;
            pending.due = now + ACK_TIMEOUT;
            let body = Body::Policy(pending.policy.clone());
            self.send(node, &body);
        }
    }

    /// When to call [`Collector::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.policies.values().map(|pending| pending.due).min()
    }

    /// The next frame to send, and to whom.
    pub fn poll_transmit(&mut self) -> Option<(NodeId, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// What was learnt, the oldest first.
    pub fn poll_event(&mut self) -> Option<CollectorEvent> {
        self.events.pop_front()
    }

    fn send(&mut self, node: NodeId, body: &Body) {
        if self.transmits.len() >= WAITING_MAX {
            self.counters.dropped += 1;
        } else {
            self.transmits.push_back((node, body.frame(self.id, To::One(node))));
        }
    }

    fn push(&mut self, event: CollectorEvent) {
        if self.events.len() >= WAITING_MAX {
            self.counters.dropped += 1;
        } else {
            self.events.push_back(event);
        }
    }
}
