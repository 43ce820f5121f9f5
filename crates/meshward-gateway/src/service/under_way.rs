//! The roll-outs that are under way, and what they have to do with one another: each has its deployment, its waves and
//! its maintenance window, and they share the channel, the nodes' restarts and the counter of orders.
//!
//! The oldest stand first: whose turn it is, is [`take_turns`]'s to say. While one restarts nodes no other lets any start
//! an image, and while one's quarantine is on its way no other goes out. All else they do side by side.

use std::collections::BTreeSet;

use meshward_core::node::Node;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Deployment, Phase, holder, take_turns};
use meshward_fleet::rollout::Shape;

use super::resume::Resuming;
use super::steer::Steering;
use super::{Gateway, ROLLOUTS_MAX, Rollout};

/// Roll-outs under way at once.
pub const ROLLOUTS_AT_ONCE: usize = 4;

/// What brings an image.
#[derive(Debug)]
pub(super) enum Course {
    /// It waits for its nodes, after a restart of the gateway.
    Resuming(Resuming),
    /// It runs, or has come to its end.
    Running(Box<Deployment>),
    /// It ended before it ran.
    Ended,
}

/// Nodes whose alerts are sent to nobody, because they are restarted.
#[derive(Debug)]
pub(super) struct Window {
    /// By which the fleet knows it; `None` where it could not be opened.
    pub(super) number: Option<u32>,
    pub(super) nodes: BTreeSet<NodeId>,
}

/// A roll-out that is under way; what is told of it is in the [`Rollout`] of the same number.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) id: u64,
    pub(super) course: Course,
    /// Its waves, if it has any.
    pub(super) steering: Option<Steering>,
    /// Its maintenance window.
    pub(super) window: Option<Window>,
}

impl UnderWay {
    pub(super) const fn new(id: u64, course: Course, steering: Option<Steering>) -> Self {
        Self { id, course, steering, window: None }
    }

    pub(super) fn deployment(&self) -> Option<&Deployment> {
        match &self.course {
            Course::Running(deployment) => Some(&**deployment),
            Course::Resuming(_) | Course::Ended => None,
        }
    }

    pub(super) fn deployment_mut(&mut self) -> Option<&mut Deployment> {
        match &mut self.course {
            Course::Running(deployment) => Some(&mut **deployment),
            Course::Resuming(_) | Course::Ended => None,
        }
    }

    /// The deployment and the waves that steer it.
    pub(super) fn steered(&mut self) -> Option<(&mut Steering, &mut Deployment)> {
        match (&mut self.steering, &mut self.course) {
            (Some(steering), Course::Running(deployment)) => Some((steering, &mut **deployment)),
            _ => None,
        }
    }

    /// Whether nothing more happens: the deployment is at its end, and the last word of the waves is written.
    pub(super) fn is_over(&self) -> bool {
        let waves = self.steering.as_ref().map(Steering::is_over);
        match &self.course {
            Course::Running(deployment) => waves.unwrap_or(true) && deployment.is_finished(),
            Course::Resuming(_) => waves.unwrap_or(false),
            Course::Ended => waves.unwrap_or(true),
        }
    }

    /// When something is to be looked at.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.course {
            Course::Running(deployment) => deployment.poll_timeout(),
            Course::Resuming(resuming) => Some(resuming.look_at()),
            Course::Ended => None,
        };
        let looks = self.deployment().and(self.steering.as_ref()).and_then(Steering::due);
        own.into_iter().chain(looks).min()
    }

    /// Whether nodes restart by it, or are away since they did.
    fn restarts(&self, now: Instant, shape: &Shape) -> bool {
        match &self.steering {
            Some(steering) => steering.restarts(now, shape),
            None => self.deployment().is_some_and(Deployment::is_restarting),
        }
    }
}

impl Gateway {
    pub(super) fn under_way(&self, id: u64) -> Option<&UnderWay> {
        self.under_way.iter().find(|one| one.id == id)
    }

    pub(super) fn under_way_mut(&mut self, id: u64) -> Option<&mut UnderWay> {
        self.under_way.iter_mut().find(|one| one.id == id)
    }

    /// What is told of a roll-out.
    pub(super) fn told_mut(&mut self, id: u64) -> Option<&mut Rollout> {
        self.rollouts.iter_mut().find(|rollout| rollout.id == id)
    }

    /// What is told of those under way.
    pub(super) fn told_under_way(&self) -> impl Iterator<Item = &Rollout> {
        self.rollouts.iter().filter(|rollout| self.under_way(rollout.id).is_some())
    }

    /// Keeps what is told of a roll-out. The oldest that is over makes room.
    pub(super) fn remember(&mut self, rollout: Rollout) {
        self.rollouts.retain(|known| known.id != rollout.id);
        if self.rollouts.len() >= ROLLOUTS_MAX {
            let over = self.rollouts.iter().position(|known| self.under_way(known.id).is_none());
            over.and_then(|place| self.rollouts.remove(place));
        }
        self.rollouts.push_back(rollout);
    }

    /// It is under way from here on; the oldest stand first.
    pub(super) fn set_out(&mut self, one: UnderWay) {
        self.under_way.push(one);
        self.under_way.sort_by_key(|one| one.id);
    }

    /// All under way are told of as they are now.
    pub(super) fn refresh(&mut self, now: Instant, node: &Node) {
        if self.under_way.is_empty() {
            return;
        }
        let (moment, shape) = (self.moment(now), Shape::of(&node.mesh().tree()));
        let deployments = self.under_way.iter().filter_map(|one| Some((one.id, one.deployment()?)));
        let sender = holder(deployments);
        let Self { under_way, rollouts, .. } = self;
        for one in under_way {
            let Some(rollout) = rollouts.iter_mut().find(|rollout| rollout.id == one.id) else { continue };
            if let Some(deployment) = one.deployment() {
                rollout.refresh(now, node, deployment);
                rollout.waits_for = sender.filter(|_| deployment.phase() == Phase::Queued);
            }
            if let Some(steering) = &one.steering {
                steering.refresh(moment, &shape, rollout);
            }
        }
    }

    /// Who waits for the channel may have it, and who restarts nodes has that to itself.
    pub(super) fn take_turns(&mut self, now: Instant, node: &mut Node) {
        if self.under_way.len() > 1 && self.under_way.iter().any(|one| one.steering.is_none()) {
            let shape = Shape::of(&node.mesh().tree());
            let elsewhere: Vec<bool> =
                self.under_way.iter().map(|one| self.elsewhere(now, &shape, one.id).is_some()).collect();
            // Waves ask before they let nodes start.
            let plain = self.under_way.iter_mut().zip(elsewhere).filter(|(one, _)| one.steering.is_none());
            for (one, elsewhere) in plain {
                one.deployment_mut().into_iter().for_each(|deployment| deployment.hold_back(elsewhere));
            }
        } else {
            let all = self.under_way.iter_mut().filter_map(UnderWay::deployment_mut);
            all.for_each(|deployment| deployment.hold_back(false));
        }
        // Whose nodes have the image, or had it before the gateway restarted, is done soon.
        let mut all: Vec<&mut UnderWay> = self.under_way.iter_mut().collect();
        all.sort_by_key(|one| (one.steering.as_ref().is_none_or(Steering::is_staging), one.id));
        let deployments = all.into_iter().filter_map(|one| Some((one.id, one.deployment_mut()?)));
        take_turns(now, node, &mut deployments.collect::<Vec<_>>());
    }

    /// Another roll-out that restarts nodes.
    pub(super) fn elsewhere(&self, now: Instant, shape: &Shape, id: u64) -> Option<u64> {
        self.under_way.iter().find(|one| one.id != id && one.restarts(now, shape)).map(|one| one.id)
    }

    /// Whether the quarantine of another one is on its way.
    pub(super) fn spreads_elsewhere(&self, node: &Node, id: u64) -> bool {
        let others = self.under_way.iter().filter(|one| one.id != id);
        others.filter_map(UnderWay::deployment).any(|deployment| deployment.is_spreading(node))
    }
}
