//! Nodes that are known from before the gateway's start: they are *learning* until the mesh has shown itself, and
//! whoever is missing then is lost as it would have been: a branch by its topmost node.

use std::collections::BTreeSet;

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::life::Life;
use super::{Liveness, State, Why};

/// What was known of a node's life before the gateway's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// When something came from it last.
    pub heard: Option<Instant>,
    /// The node that it hung below.
    pub parent: Option<NodeId>,
    /// Since when it was lost, if it was.
    pub lost: Option<Instant>,
    /// That it slept, and when it should be back at the latest if it said so.
    pub sleep: Option<Option<Instant>>,
}

impl Liveness {
    /// A node is known from before the gateway's start. One that slept still does, and has at least as long to
    /// come back as the mesh has to show itself. Returns false, and nothing is changed, where the node is known
    /// already, the mesh has shown itself, or there is no room.
    pub fn restore(&mut self, now: Instant, node: NodeId, kept: Kept) -> bool {
        self.advance(now);
        if self.learnt || self.nodes.len() >= Self::NODES_MAX || self.nodes.contains_key(&node) {
            return false;
        }
        let mut life = Life::new(self.now);
        life.heard = kept.heard.map(|heard| heard.min(self.now));
        life.below = kept.parent.filter(|parent| *parent != node);
        life.lost_before = kept.lost.map(|lost| lost.min(self.now));
        if let Some(wakes) = kept.sleep {
            life.state = State::Sleeping;
            let soonest = self.now + self.config.learning + self.config.learning;
            life.wakes = wakes.map(|wakes| wakes.max(soonest));
        }
        self.nodes.insert(node, life);
        self.arm(node);
        true
    }

    /// What is to be known of a node's life after a restart.
    pub fn kept(&self, node: NodeId) -> Option<Kept> {
        let life = self.nodes.get(&node)?;
        let lost = if life.state.is_lost() { Some(life.since) } else { life.lost_before };
        Some(Kept {
            heard: life.heard,
            parent: life.place.map(|(parent, _)| parent).or(life.below),
            lost: lost.filter(|_| life.state != State::Online),
            sleep: (life.state == State::Sleeping).then_some(life.wakes),
        })
    }

    /// The mesh has shown itself: who is still not there is lost, those behind a missing node through it.
    pub(super) fn miss(&mut self) {
        let missing = self.nodes.iter().filter(|(_, life)| life.state == State::Learning);
        let missing: BTreeSet<NodeId> = missing.map(|(node, _)| *node).collect();
        let top_of = |node: NodeId| {
            let mut top = node;
            // At most as many steps as nodes are missing; parents that made a ring are nobody's.
            for _ in 0..missing.len() {
                match self.nodes.get(&top).and_then(|life| life.below) {
                    Some(above) if missing.contains(&above) => top = above,
                    _ => return top,
                }
            }
            node
        };
        let tops: Vec<(NodeId, NodeId)> = missing.iter().map(|node| (*node, top_of(*node))).collect();
        for (node, top) in tops {
            if node == top {
                self.set(node, State::Offline, Why::DidNotReturn);
            } else {
                self.inherit(node, top);
            }
            if let Some(life) = self.nodes.get_mut(&node)
                && let Some(lost) = life.lost_before.take()
            {
                life.since = lost;
            }
        }
    }
}
