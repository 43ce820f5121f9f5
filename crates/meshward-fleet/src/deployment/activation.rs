//! Nodes start the image: signed orders for Meshward nodes, the last part for stock nodes, until each has shown what
//! became of it. Stock nodes go first, because they restart only 2 s after they have their last part, and one that
//! waits for it is taken for reset when its parent restarts; the order goes out behind, so that the mesh restarts in
//! one go.
//!
//! An order goes to all once, and then, the same bytes, to each node alone that still has the image waiting. It names
//! its nodes where not everybody is meant: what was signed for one wave cannot be played to the next. Its counter is
//! above all that any node has told of, so a gateway that has lost its memory is obeyed too.

use std::collections::BTreeMap;

use meshward_core::hash::Sha256Sum;
use meshward_core::node::Node;
use meshward_core::ota::exchange::{ImageId, Line, Stage};
use meshward_core::ota::trust::{NODES_MAX, Order, Verb};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::reasons::Why;
use super::target::State;
use super::turns::OrderCounter;
use super::{Deployment, Family, Phase, STOCK_SILENCE};

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// An order is repeated after so long.
const REPEAT: Duration = Duration::from_secs(10);
/// What nodes run is asked again after so long, and after this when all say that they have started the image.
const SURVEY: Duration = Duration::from_secs(15);
const SURVEY_SOON: Duration = Duration::from_secs(1);
/// When the mesh has changed, and then has not for so long, orders are repeated and nodes asked: who is back may not
/// have heard, and knows nobody whom to tell.
const SETTLED: Duration = Duration::from_secs(2);
/// A last part has so long to arrive before the order follows it: less than the library waits with it.
const LINGER: Duration = Duration::from_millis(1_500);
/// For so long Meshward nodes wait for stock nodes to have their last part.
const PRECEDENCE: Duration = Duration::from_secs(30);

/// An order as it was signed.
#[derive(Debug)]
struct Signed {
    counter: u64,
    bytes: Vec<u8>,
}

/// What was ordered.
#[derive(Debug)]
pub(super) struct Orders {
    counter: OrderCounter,
    signed: Vec<Signed>,
    repeated: Instant,
    surveyed: Instant,
    /// When the mesh changed last.
    changed: Instant,
}

impl Orders {
    pub(super) fn new(counter: OrderCounter) -> Self {
        let never = Instant::ORIGIN;
        Self { counter, signed: Vec::new(), repeated: never, surveyed: never, changed: never }
    }

    /// Whether the mesh has changed since `last`, and then has not for a while.
    fn is_settled(&self, now: Instant, last: Instant) -> bool {
        last < self.changed && now >= self.changed + SETTLED
    }

    /// The mesh has changed.
    pub(super) const fn mesh_changed(&mut self, now: Instant) {
        self.changed = now;
    }

    /// The counter of the order in this place.
    pub(super) fn counter(&self, order: usize) -> u64 {
        self.signed.get(order).map_or(0, |signed| signed.counter)
    }

    /// What nodes are sent of it.
    pub(super) fn bytes(&self, order: usize) -> Option<&[u8]> {
        self.signed.get(order).map(|signed| &signed.bytes[..])
    }
}

impl Deployment {
    /// Starts what may be started, and follows what was.
    pub(super) fn look_at_activation(&mut self, now: Instant, node: &mut Node) -> bool {
        self.release(now, node);
        self.hear_stock(now, node);
        self.follow(now, node);
        let waits = |target: &super::Target| target.is_open(Family::Stock) && target.released;
        if self.targets.values().any(waits) && now.since(self.moved) >= STOCK_SILENCE {
            self.give_up_stock(now, node);
        }
        let open = |released: bool| {
            let mut targets = self.targets.values();
            targets.any(move |target| !target.state.is_final() && target.released == released)
        };
        let phase = if open(true) { Phase::Activating } else { Phase::Held };
        let over = !open(true) && !open(false);
        if self.phase != phase && !over {
            self.go(now, phase);
        }
        if phase == Phase::Activating {
            self.repeat(now, node);
            self.ask(now, node);
        }
        over
    }

    /// Tells those who may start the image and have not been told.
    fn release(&mut self, now: Instant, node: &mut Node) {
        let waits = |family| {
            let ready = move |(_, target): &(&NodeId, &super::Target)| {
                target.is_open(family) && target.released && target.ordered.is_none()
            };
            self.targets.iter().filter(ready).map(|(id, _)| *id).collect::<Vec<NodeId>>()
        };
        let (stock, mut ours) = (waits(Family::Stock), waits(Family::Meshward));
        if self.held_back && !self.is_restarting() {
            // It is not the nodes' fault that nothing moves.
            self.moved = now;
            return;
        }
        if !stock.is_empty() || self.is_finishing(now) {
            ours.clear();
        }
        for id in &stock {
            // The distributor says what becomes of them.
            self.targets.get_mut(id).into_iter().for_each(|target| target.ordered = Some((now, 0)));
        }
        if !stock.is_empty() && self.stock.is_some() {
            node.activate_rollout(now, &stock);
        }
        if !ours.is_empty() {
            self.order(now, node, &ours);
        }
    }

    /// Whether stock nodes that may start the image have still to get their last part.
    fn is_finishing(&self, now: Instant) -> bool {
        self.targets.values().filter(|target| target.is_open(Family::Stock)).any(|target| {
            let told = target.ordered.is_some_and(|(first, _)| now.since(first) < PRECEDENCE);
            let sent = match target.state {
                State::Finishing => now.since(target.since) >= LINGER,
                State::Restarting | State::Verifying => true,
                _ => false,
            };
            told && !sent
        })
    }

    /// Orders these nodes to start the image.
    fn order(&mut self, now: Instant, node: &mut Node, ids: &[NodeId]) {
        let mut open = self.targets.values().filter(|target| target.is_open(Family::Meshward));
        let all =
            self.plan.targets.is_none() && open.all(|target| target.released && target.ordered.is_none());
        let batches: Vec<&[NodeId]> = if all { vec![ids] } else { ids.chunks(NODES_MAX).collect() };
        for batch in batches {
            let verb = Verb::Activate(Sha256Sum::of(&self.plan.image));
            match self.sign(node, verb, (!all).then_some(batch)) {
                Ok(order) => {
                    if let Some(bytes) = self.orders.bytes(order) {
                        node.order(now, bytes, None);
                    }
                    for id in batch {
                        let Some(target) = self.targets.get_mut(id) else { continue };
                        target.ordered = Some((target.ordered.map_or(now, |(first, _)| first), order));
                        target.set(now, State::Finishing);
                    }
                }
                Err(why) => {
                    let named = batch.iter().filter_map(|id| self.targets.get(id).map(|_| *id));
                    let named: Vec<NodeId> = named.collect();
                    for id in named {
                        self.targets
                            .get_mut(&id)
                            .into_iter()
                            .for_each(|target| target.fail(now, why.clone()));
                    }
                }
            }
        }
        self.orders.repeated = now;
    }

    /// A new order, for these nodes or for all; its place among those that were signed.
    pub(super) fn sign(&mut self, node: &Node, verb: Verb, nodes: Option<&[NodeId]>) -> Result<usize, Why> {
        let key = self.plan.operator.id();
        let members = node.exchange().members().values();
        let told = members.filter_map(|member| member.about.as_ref()?.counter(key)).max().unwrap_or(0);
        let counter = self.orders.counter.next(told);
        let order = Order {
            counter,
            verb,
            // A gateway's clock may be wrong, and nodes would believe it.
            issued_at: None,
            not_after: None,
            nodes: nodes.map(|nodes| {
                let mut ids: Vec<u32> = nodes.iter().map(|id| id.0).collect();
                ids.sort_unstable();
                ids
            }),
        };
        let bytes = self.plan.operator.order(&order).map_err(|error| Why::NotStarted(error.to_string()))?;
        self.orders.signed.push(Signed { counter, bytes });
        Ok(self.orders.signed.len() - 1)
    }

    /// Hears what nodes say that were ordered.
    fn follow(&mut self, now: Instant, node: &Node) {
        let image = ImageId::from(Sha256Sum::of(&self.plan.image));
        for (id, target) in &mut self.targets {
            if let Some(member) = node.exchange().members().get(id) {
                target.hear_late(now, member, &self.tags);
            }
        }
        for (id, target) in self.targets.iter_mut().filter(|(_, target)| target.is_open(Family::Meshward)) {
            let member = node.exchange().members().get(id);
            let about = member.and_then(|member| member.about.as_ref());
            let runs = about.is_some_and(|about| about.running == Some(image));
            target.follow(now, member, node.mesh().knows(*id), runs);
        }
    }

    /// Orders those again who have not heard; with a new order where the old one's counter has been used up.
    fn repeat(&mut self, now: Instant, node: &mut Node) {
        let settled = self.orders.is_settled(now, self.orders.repeated);
        if !settled && now < self.orders.repeated + REPEAT {
            return;
        }
        self.orders.repeated = now;
        let key = self.plan.operator.id();
        let mut again: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
        let mut anew: Vec<NodeId> = Vec::new();
        for (id, target) in self.targets.iter().filter(|(_, target)| target.is_open(Family::Meshward)) {
            let Some((_, order)) = target.ordered.filter(|_| target.state == State::Finishing) else {
                continue;
            };
            let about = node.exchange().members().get(id).and_then(|member| member.about.as_ref());
            let counter = self.orders.counter(order);
            let waits = self.line(node, *id).is_none_or(|line| line.stage == Stage::Ready);
            if about.and_then(|about| about.counter(key)).is_some_and(|told| told >= counter) && waits {
                anew.push(*id);
            } else if waits && node.mesh().knows(*id) {
                again.entry(order).or_default().push(*id);
            }
        }
        for (order, ids) in again {
            if let Some(bytes) = self.orders.bytes(order) {
                node.order(now, bytes, Some(&ids));
            }
        }
        if !anew.is_empty() {
            self.order(now, node, &anew);
        }
    }

    fn line(&self, node: &Node, id: NodeId) -> Option<Line> {
        node.exchange().members().get(&id)?.line
    }

    /// Asks what nodes run: when all say that they have started something, or from time to time.
    fn ask(&mut self, now: Instant, node: &mut Node) {
        let waiting: Vec<NodeId> = self
            .targets
            .iter()
            .filter(|(_, target)| target.is_open(Family::Meshward) && target.ordered.is_some())
            .map(|(id, _)| *id)
            .collect();
        let started = |id: &NodeId| {
            let line = self.line(node, *id);
            node.mesh().knows(*id)
                && line.is_some_and(|line| matches!(line.stage, Stage::Trial | Stage::Confirmed))
        };
        let pause = if waiting.iter().all(started) { SURVEY_SOON } else { SURVEY };
        let settled = self.orders.is_settled(now, self.orders.surveyed);
        if !waiting.is_empty() && (settled || now >= self.orders.surveyed.max(self.since) + pause) {
            self.orders.surveyed = now;
            node.survey(now);
        }
    }
}
