//! What the tree says about lives: who is in it lives, who left it is lost, and who was below that one inherits.

use std::collections::BTreeMap;

use meshward_core::wire::NodeId;

use super::life::Life;
use super::{Liveness, State, Why};
use crate::topology::Topology;

impl Liveness {
    /// The tree has changed, or the same one was confirmed.
    pub fn handle_topology(&mut self, now: meshward_core::time::Instant, topology: &Topology) {
        self.advance(now);
        let left =
            self.nodes.iter().filter(|(id, life)| life.place.is_some() && topology.place(**id).is_none());
        let left: BTreeMap<NodeId, NodeId> =
            left.filter_map(|(id, life)| Some((*id, life.place?.0))).collect();
        self.branches_left(&left, topology);
        for (id, place) in topology.places() {
            self.is_at(id, place.parent, place.hops);
        }
        if self.learning.is_none() && topology.places().next().is_some() {
            self.learning = Some(self.now + self.config.learning);
        }
    }

    /// These left, each with the node that it was below.
    fn branches_left(&mut self, left: &BTreeMap<NodeId, NodeId>, topology: &Topology) {
        let top_of = |mut id: NodeId| {
            // At most as many steps as nodes left.
            for _ in 0..left.len() {
                match left.get(&id) {
                    Some(parent) if left.contains_key(parent) => id = *parent,
                    _ => break,
                }
            }
            id
        };
        let tops = left.keys().filter(|id| top_of(**id) == **id).count();
        // All its links at once: it is the gateway that is cut off.
        let cut_off = tops > 1 && topology.places().next().is_none();
        for id in left.keys() {
            if let Some(life) = self.nodes.get_mut(id) {
                life.below = life.place.take().map(|(parent, _)| parent);
                life.inquiry = None;
            }
            let top = top_of(*id);
            match self.nodes.get(id).map(|life| life.state) {
                Some(State::Sleeping) | None => {}
                // Links are still being made and unmade; who is missing when that is over is missing.
                Some(_) if !self.learnt => self.set(*id, State::Learning, Why::LeftTree),
                Some(_) if cut_off => self.inherit(*id, self.own),
                Some(_) if top != *id => self.inherit(*id, top),
                // What a node above is lost for stays inherited when the tree says so too.
                Some(State::Unreachable { .. }) => {}
                Some(_) => self.set(*id, State::Offline, Why::LeftTree),
            }
        }
    }

    fn is_at(&mut self, id: NodeId, parent: NodeId, hops: u32) {
        if self.nodes.len() >= Self::NODES_MAX && !self.nodes.contains_key(&id) {
            let absent = self.nodes.iter().filter(|(_, life)| life.place.is_none());
            let Some(oldest) = absent.min_by_key(|(_, life)| life.since).map(|(id, _)| *id) else {
                self.dropped = self.dropped.saturating_add(1);
                return;
            };
            self.forget(self.now, oldest);
        }
        let now = self.now;
        let life = self.nodes.entry(id).or_insert_with(|| Life::new(now));
        let before = life.place.replace((parent, hops));
        if before.is_some_and(|(before, _)| before == parent) {
            return;
        }
        // It is new here, or has a new link: either is a sign of life.
        (life.heard, life.base, life.inquiry) = (Some(now), now, None);
        (life.wakes, life.returns, life.lost_before) = (None, None, None);
        self.set(id, State::Online, Why::InTree);
        self.release(id);
        self.arm(id);
    }

    /// A node is lost, and with it whatever is reached through it.
    pub(super) fn lost(&mut self, node: NodeId, why: Why) {
        if let Some(life) = self.nodes.get_mut(&node) {
            life.inquiry = None;
        }
        self.set(node, State::Offline, why);
        let below = self.nodes.keys().copied().filter(|id| self.above(*id).any(|(above, _)| above == node));
        let below: Vec<NodeId> = below.collect();
        for id in below {
            if self.nodes.get(&id).is_some_and(|life| life.state != State::Sleeping) {
                self.inherit(id, node);
            }
        }
    }

    /// Nothing can be known of a node, for `through` is lost, or whatever that one is lost for.
    pub(super) fn inherit(&mut self, node: NodeId, through: NodeId) {
        let through = match self.nodes.get(&through).map(|life| life.state) {
            Some(State::Unreachable { through }) => through,
            _ => through,
        };
        if let Some(life) = self.nodes.get_mut(&node) {
            life.inquiry = None;
        }
        self.set(node, State::Unreachable { through }, Why::Inherited);
    }

    /// A node is back: those that were unreachable through it are as the tree says, or have a while to return.
    pub(super) fn release(&mut self, node: NodeId) {
        let until = self.now + self.config.learning;
        let lost_through = |life: &Life| match life.state {
            State::Unreachable { through } => through == node || through == self.own,
            _ => false,
        };
        let below = self.nodes.iter().filter(|(_, life)| lost_through(life));
        let below: Vec<(NodeId, bool)> = below.map(|(id, life)| (*id, life.place.is_some())).collect();
        for (id, in_tree) in below {
            if let Some(life) = self.nodes.get_mut(&id) {
                life.base = self.now;
                life.returns = (!in_tree).then_some(until);
            }
            if in_tree {
                self.set(id, State::Online, Why::InTree);
            }
            self.arm(id);
        }
    }

    /// Those that a node is reached through, the nearest first.
    pub(super) fn above(&self, node: NodeId) -> impl Iterator<Item = (NodeId, &Life)> {
        let mut at = node;
        let step = move || {
            let (above, _) = self.nodes.get(&at)?.place?;
            at = above;
            self.nodes.get(&above).map(|life| (above, life))
        };
        // Parents that made a ring would be one way without an end.
        std::iter::from_fn(step).take(self.nodes.len())
    }
}
