//! The way back: nodes are ordered to the image before, and the mesh never to run this one again.
//!
//! A revert is an order like the one to start an image: signed once for the nodes of a batch, to all at first, and
//! then, the same bytes, to each that has not obeyed, until it says that it runs another image. It goes on when
//! the deployment has finished, and while it is paused. Only Meshward nodes have a way back. A quarantine is for every
//! Meshward node, those that were never meant too, and is repeated to each until it tells the order's counter.

use meshward_core::hash::Sha256Sum;
use meshward_core::node::Node;
use meshward_core::ota::exchange::{ImageId, Stage};
use meshward_core::ota::trust::{NODES_MAX, Verb};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::reasons::Why;
use super::target::{ACTIVATION_MAX, State};
use super::{Deployment, Family, Phase, activation};

/// An order is repeated after so long.
const REPEAT: Duration = Duration::from_secs(10);
/// What nodes run is asked again after so long.
const SURVEY: Duration = Duration::from_secs(15);
/// Who runs the image on trial is asked how that went after so long, and then every so often, but not for ever: a
/// trial takes a minute, or its limit.
const TRIAL_ASKED: Duration = Duration::from_secs(20);
const TRIAL_MAX: Duration = Duration::from_secs(30 * 60);
/// A quarantine is repeated for so long to those who have not heard.
const QUARANTINE_MAX: Duration = Duration::from_secs(5 * 60);
/// The reason of a node that was ordered back.
const ORDERED: u8 = 101;

/// Where a node's way back is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revert {
    /// It was ordered.
    Ordered,
    /// It runs the image before.
    Done,
    /// It was given up.
    Failed(Why),
}

/// What a node says that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It says nothing, as stock nodes do.
    Unknown,
    /// Another image.
    Old,
    /// The image, on trial.
    Trial,
    /// The image, for good.
    Confirmed,
    /// Another one again, with this reason; 0 while it may try again.
    WentBack(u8),
}

/// A node's way back.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) state: Revert,
    /// When it was first told, and by which order.
    ordered: (Instant, usize),
}

/// The mesh is told never to run the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quarantine {
    order: usize,
    since: Instant,
    repeated: Instant,
}

impl Deployment {
    /// Orders these Meshward nodes back to the image before, whether they are known to run this one or not. Others
    /// are passed over, as are those who were ordered already.
    pub fn revert(&mut self, now: Instant, node: &mut Node, nodes: &[NodeId]) {
        let meant = |id: &&NodeId| {
            let target = self.targets.get(id);
            // What a node is may not be known yet, after a restart of the gateway; a stock node makes nothing of it.
            target.is_some_and(|one| one.family != Some(Family::Stock) && one.revert.is_none())
        };
        let ids: Vec<NodeId> = nodes.iter().filter(meant).copied().collect();
        self.order_back(now, node, &ids);
        self.step(now, node);
    }

    /// Orders every Meshward node of the mesh never to run the image, and to forget what it holds of it. Who
    /// runs it goes on doing so: [`revert`](Self::revert) first.
    pub fn quarantine(&mut self, now: Instant, node: &mut Node) {
        if self.quarantine.is_none()
            && let Ok(order) = self.sign(node, Verb::Quarantine(self.sum()), None)
        {
            self.quarantine = Some(Quarantine { order, since: now, repeated: now });
            self.send(now, node, order, None);
        }
        self.step(now, node);
    }

    /// Whether every Meshward node that is there has heard of the quarantine, or was told often enough.
    pub fn is_quarantined(&self, node: &Node) -> bool {
        let silent = |quarantine: Quarantine| self.unheard(node, quarantine).next().is_none();
        self.quarantine.is_some_and(|one| self.moved_to(one) || silent(one))
    }

    /// Where a node's way back is; `None` if it was not sent there.
    pub fn reverting(&self, id: NodeId) -> Option<&Revert> {
        self.targets.get(&id)?.revert.as_ref().map(|way| &way.state)
    }

    /// What a node says that it runs.
    pub fn standing(&self, node: &Node, id: NodeId) -> Standing {
        let Some(member) = node.exchange().members().get(&id) else { return Standing::Unknown };
        let running = member.about.as_ref().and_then(|about| about.running);
        let line = member.line.filter(|line| line.tag.is_none_or(|tag| self.tags.contains(&tag)));
        let stage = line.map(|line| line.stage);
        let image = ImageId::from(self.sum());
        match (running, stage) {
            (_, Some(Stage::Reverted)) => Standing::WentBack(line.map_or(0, |line| line.reason)),
            // Who is on trial says so, whatever it is offered: who has refused something else by now is not.
            (Some(running), None | Some(Stage::Confirmed | Stage::Idle | Stage::Refused))
                if running == image =>
            {
                Standing::Confirmed
            }
            // What it said just after its start says nothing of the trial yet.
            (Some(running), _) if running == image => Standing::Trial,
            (Some(_), _) => Standing::Old,
            (None, _) => Standing::Unknown,
        }
    }

    /// Whether a node that failed to start the image still has it waiting, and is there.
    pub fn may_retry(&self, node: &Node, id: NodeId) -> bool {
        let failed = |state: &State| {
            matches!(state, State::Failed(Why::Disobeyed | Why::DidNotReturn | Why::Unproven))
        };
        let member = node.exchange().members().get(&id);
        let line = member.and_then(|member| member.line);
        let waits = line.is_some_and(|line| {
            line.stage == Stage::Ready && line.tag.is_some_and(|tag| self.tags.contains(&tag))
        });
        let target = self.targets.get(&id).filter(|target| target.family == Some(Family::Meshward));
        waits && node.mesh().knows(id) && target.is_some_and(|target| failed(&target.state))
    }

    /// Lets these nodes start the image once more, of those who [may](Self::may_retry).
    pub fn retry(&mut self, now: Instant, node: &mut Node, nodes: &[NodeId]) {
        let ids: Vec<NodeId> = nodes.iter().filter(|id| self.may_retry(node, **id)).copied().collect();
        for (_, target) in self.targets.iter_mut().filter(|(id, _)| ids.contains(id)) {
            (target.released, target.ordered) = (true, None);
            target.set(now, State::Ready);
        }
        if !ids.is_empty() && self.phase == Phase::Finished {
            self.go(now, Phase::Held);
        }
        self.step(now, node);
    }

    fn sum(&self) -> Sha256Sum {
        Sha256Sum::of(&self.plan.image)
    }

    fn order_back(&mut self, now: Instant, node: &mut Node, ids: &[NodeId]) {
        for batch in ids.chunks(NODES_MAX) {
            let signed = self.sign(node, Verb::Revert(self.sum()), Some(batch));
            for id in batch {
                let Some(target) = self.targets.get_mut(id) else { continue };
                let first = target.revert.as_ref().map_or(now, |way| way.ordered.0);
                let (state, order) = match &signed {
                    Ok(order) => (Revert::Ordered, *order),
                    Err(why) => (Revert::Failed(why.clone()), 0),
                };
                target.revert = Some(Way { state, ordered: (first, order) });
            }
            if let Ok(order) = signed {
                self.send(now, node, order, None);
            }
        }
        self.reverts_repeated = now;
    }

    /// Follows the ways back; whether there is anything more to look after.
    pub(super) fn look_at_reverts(&mut self, now: Instant, node: &mut Node) -> bool {
        self.follow_reverts(now, node);
        let open = |way: &Option<Way>| matches!(way, Some(Way { state: Revert::Ordered, .. }));
        let waiting = self.targets.values().any(|target| open(&target.revert));
        if waiting && now >= self.reverts_repeated + REPEAT {
            self.repeat_reverts(now, node);
        }
        if waiting && now >= self.reverts_asked + SURVEY {
            self.reverts_asked = now;
            node.survey(now);
        }
        let quarantines = self.repeat_quarantine(now, node);
        self.ask_trials(now, node) || quarantines || waiting
    }

    /// Asks those who have the image on trial: who goes back from it after it had said that it runs it may have told
    /// neighbours only. Whether there are any.
    fn ask_trials(&mut self, now: Instant, node: &mut Node) -> bool {
        let open = |(id, target): (&NodeId, &super::Target)| {
            let young = target.state == State::Updated && now.since(target.since) < TRIAL_MAX;
            let ours = target.family == Some(Family::Meshward) && target.revert.is_none();
            (self.plan.hold && young && ours && self.standing(node, *id) == Standing::Trial).then_some(*id)
        };
        let open: Vec<NodeId> = self.targets.iter().filter_map(open).collect();
        if !open.is_empty() && now >= self.trials_asked + TRIAL_ASKED {
            self.trials_asked = now;
            open.iter().for_each(|id| node.survey_one(now, *id));
        }
        !open.is_empty()
    }

    fn follow_reverts(&mut self, now: Instant, node: &Node) {
        let image = ImageId::from(self.sum());
        for (id, target) in &mut self.targets {
            let Some(way) = target.revert.as_mut().filter(|way| way.state == Revert::Ordered) else {
                continue;
            };
            let (first, _) = way.ordered;
            let member = node.exchange().members().get(id).filter(|member| member.heard >= first);
            let about = member.and_then(|member| member.about.as_ref());
            let line = member.and_then(|member| member.line);
            let runs_other = about.and_then(|about| about.running).is_some_and(|running| running != image);
            let went_back = line.is_some_and(|line| line.stage == Stage::Reverted && line.reason != 0);
            if node.mesh().knows(*id) && (went_back || runs_other) {
                way.state = Revert::Done;
                if !matches!(target.state, State::Failed(Why::Reverted(_))) {
                    target.state = State::Failed(Why::Reverted(ORDERED));
                }
            } else if let Some(line) = line.filter(|line| line.stage == Stage::Failed) {
                way.state = Revert::Failed(Why::Ended(line.reason));
            } else if now.since(first) >= ACTIVATION_MAX {
                let there = node.mesh().knows(*id);
                way.state = Revert::Failed(if there { Why::Disobeyed } else { Why::DidNotReturn });
            }
        }
    }

    /// The same bytes again; a new order where the old one's counter has been used up, and the node still runs it.
    fn repeat_reverts(&mut self, now: Instant, node: &mut Node) {
        self.reverts_repeated = now;
        let key = self.plan.operator.id();
        let (mut again, mut anew) = (std::collections::BTreeMap::<usize, Vec<NodeId>>::new(), Vec::new());
        for (id, target) in &self.targets {
            let Some(way) = target.revert.as_ref().filter(|way| way.state == Revert::Ordered) else {
                continue;
            };
            let member = node.exchange().members().get(id);
            let told = member.and_then(|member| member.about.as_ref()?.counter(key)).unwrap_or(0);
            if !node.mesh().knows(*id) {
                continue;
            }
            if told >= self.orders.counter(way.ordered.1) {
                anew.push(*id);
            } else {
                again.entry(way.ordered.1).or_default().push(*id);
            }
        }
        for (order, ids) in again {
            self.send(now, node, order, Some(&ids));
        }
        self.order_back(now, node, &anew);
    }

    fn moved_to(&self, quarantine: Quarantine) -> bool {
        self.quarantine_looked.since(quarantine.since) >= QUARANTINE_MAX
    }

    /// Meshward nodes that are there and have not told the quarantine's counter.
    fn unheard<'n>(&'n self, node: &'n Node, quarantine: Quarantine) -> impl Iterator<Item = NodeId> + 'n {
        let key = self.plan.operator.id();
        let counter = self.orders.counter(quarantine.order);
        let open = move |(id, member): (&NodeId, &meshward_core::ota::exchange::Member)| {
            let told = member.about.as_ref()?.counter(key).unwrap_or(0);
            (told < counter && node.mesh().knows(*id)).then_some(*id)
        };
        node.exchange().members().iter().filter_map(open)
    }

    /// Whether somebody is still to be told.
    fn repeat_quarantine(&mut self, now: Instant, node: &mut Node) -> bool {
        let Some(mut quarantine) = self.quarantine else { return false };
        self.quarantine_looked = now;
        let ids: Vec<NodeId> = self.unheard(node, quarantine).collect();
        if ids.is_empty() || self.moved_to(quarantine) {
            return false;
        }
        if now >= quarantine.repeated + REPEAT {
            quarantine.repeated = now;
            self.quarantine = Some(quarantine);
            self.send(now, node, quarantine.order, Some(&ids));
            // Counters are told with what a node is.
            node.survey(now);
        }
        true
    }

    fn send(&self, now: Instant, node: &mut Node, order: usize, nodes: Option<&[NodeId]>) {
        if let Some(bytes) = self.orders.bytes(order) {
            node.order(now, bytes, nodes);
        }
    }

    /// When the ways back are looked at again.
    pub(super) fn reverts_due(&self, now: Instant) -> Instant {
        now + activation::LOOK
    }
}
