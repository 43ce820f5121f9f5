//! One deployment: an image on its way to nodes of both families, from the first question to the last line.
//!
//! [`Deployment`] is a machine that drives a gateway's [`Node`]: it is told what happened
//! ([`handle_event`](Deployment::handle_event), [`handle_timeout`](Deployment::handle_timeout)) and acts on the node
//! at once. What takes long is work for somebody else: [`poll_job`](Deployment::poll_job), and then
//! [`handle_packed`](Deployment::handle_packed).
//!
//! It asks the mesh who is a Meshward node, reckons what it costs ([`forecast`](crate::forecast)), brings payloads to
//! those, and then the image to stock nodes, all but its last part. When everybody has what it needs, or was given
//! up, nodes start the image together: Meshward nodes by a signed order, stock nodes by their last part. With
//! [`Plan::hold`] they do so when they are [activated](Deployment::activate), in as many waves as are wanted, and
//! Meshward nodes can be [sent back](Deployment::revert).
//!
//! Several may run beside one node, for nodes that are not the same: they [take turns](take_turns) on the channel.
//!
//! Every wait has an end: each node is updated, has declined, or has failed with a reason.

mod activation;
mod pace;
mod plan;
mod reasons;
mod revert;
mod survey;
mod target;
mod transfer;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::mesh::MeshEvent;
use meshward_core::node::{Event, Node};
use meshward_core::ota::exchange::{self, ExchangeEvent, Offering, Tag};
use meshward_core::ota::{DistributorEvent, ImagePlan, SessionId, StartError};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::forecast::{Forecast, Kind, Service, Unfit};
use activation::Orders;
use pace::Pace;
pub use plan::{Job, ManifestError, PackError, Packed, Plan, SignedManifest};
pub use reasons::{Why, words};
use revert::Quarantine;
pub use revert::{Revert, Standing};
use survey::Survey;
use target::Target;
pub use target::{Family, State, TargetReport};
pub use turns::{OrderCounter, holder, take_turns};

/// Between two looks at what goes on without events.
const LOOK: Duration = Duration::from_secs(10);
/// When nothing has moved at stock nodes for so long, they are given up. Another sender for the same role is waited
/// for meanwhile.
const STOCK_SILENCE: Duration = Duration::from_secs(60 * 60);

/// Where a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nodes are asked what they are.
    Surveying,
    /// Another one has the channel.
    Queued,
    /// Payloads are made.
    Packing,
    /// Payloads go to Meshward nodes.
    Delivering,
    /// The image goes to stock nodes.
    Sending,
    /// Nodes wait to be activated.
    Held,
    /// Nodes start the image.
    Activating,
    /// Every node is updated, has declined or has failed.
    Finished,
}

/// What the phases before activation took, of those that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// When the first chunk went to Meshward nodes.
    pub first_chunk: Option<Instant>,
    /// From the offer until the last Meshward node had the image installed, or was given up.
    pub meshward: Option<Duration>,
    /// From the announcement until the last stock node had all but the last part, or was given up.
    pub stock: Option<Duration>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Deployment {
    plan: Plan,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    targets: BTreeMap<NodeId, Target>,
    survey: Survey,
    job: Option<Job>,
    packed: Option<Packed>,
    forecast: Option<Forecast>,
    offerings: Vec<Offering>,
    tags: Vec<Tag>,
    orders: Orders,
    /// What brings it to stock nodes.
    stock: Option<SessionId>,
    /// Whether payloads are with the Meshward nodes.
    delivered: bool,
    /// Whether it is its turn to send, and whether it may let nobody start because others restart.
    granted: bool,
    held_back: bool,
    paused: bool,
    /// When anything moved, and what the exchange's phase was then.
    moved: Instant,
    seen: Option<exchange::Phase>,
    pace: Pace,
    due: Option<Instant>,
    /// When ways back were ordered again, and asked after.
    reverts_repeated: Instant,
    reverts_asked: Instant,
    trials_asked: Instant,
    quarantine: Option<Quarantine>,
    quarantine_looked: Instant,
}

impl Deployment {
    /// Begins: nodes are asked.
    ///
    /// # Errors
    /// [`StartError`], and nothing was sent.
    pub fn start(now: Instant, node: &mut Node, plan: Plan) -> Result<Self, StartError> {
        if plan.image.is_empty() {
            return Err(StartError::EmptyImage);
        }
        if !ImagePlan::PART_SIZES.contains(&plan.part_size) {
            return Err(StartError::PartSize(plan.part_size));
        }
        if !(1..=100).contains(&plan.tempo.airtime) {
            return Err(StartError::Airtime(plan.tempo.airtime));
        }
        let mut deployment = Self {
            phase: Phase::Surveying,
            since: now,
            targets: BTreeMap::new(),
            survey: Survey::new(now),
            job: None,
            packed: None,
            forecast: None,
            offerings: Vec::new(),
            tags: Vec::new(),
            orders: Orders::new(plan.counter.clone()),
            stock: None,
            delivered: false,
            granted: false,
            held_back: false,
            paused: false,
            moved: now,
            seen: None,
            pace: Pace::default(),
            due: None,
            reverts_repeated: now,
            reverts_asked: now,
            trials_asked: now,
            quarantine: None,
            quarantine_looked: now,
            plan,
        };
        deployment.find_targets(now, node);
        if deployment.targets.is_empty() {
            return Err(StartError::NoTargets);
        }
        // Stock schemes serve those who say nothing: nobody need be asked.
        if !deployment.plan.scheme.is_stock() {
            node.survey(now);
        }
        deployment.step(now, node);
        Ok(deployment)
    }

    /// Something happened on the node.
    pub fn handle_event(&mut self, now: Instant, node: &mut Node, event: &Event) {
        match event {
            Event::Exchange(ExchangeEvent::Phase(phase)) if self.is_source(node) => {
                self.moved = now;
                let sends = matches!(phase, exchange::Phase::Passing { .. } | exchange::Phase::Repairing);
                if sends && self.phase == Phase::Delivering {
                    self.pace.transfers.first_chunk.get_or_insert(now);
                }
            }
            Event::Exchange(ExchangeEvent::Member(id)) if self.targets.contains_key(id) => self.moved = now,
            Event::Rollout(DistributorEvent::Target(line)) if self.targets.contains_key(&line.node) => {
                self.moved = now;
            }
            Event::Exchange(_) | Event::Rollout(DistributorEvent::Finished) => {}
            Event::Mesh(MeshEvent::Delay { .. }) if self.phase == Phase::Surveying => {
                return self.survey.probe_answered();
            }
            Event::Mesh(MeshEvent::TopologyChanged { .. }) => self.orders.mesh_changed(now),
            _ => return,
        }
        self.step(now, node);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant, node: &mut Node) {
        self.step(now, node);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be packed, for somebody who has the time.
    pub fn poll_job(&mut self) -> Option<Job> {
        self.job.take()
    }

    /// The job is done. If it failed, so has everything.
    pub fn handle_packed(&mut self, now: Instant, node: &mut Node, outcome: Result<Packed, PackError>) {
        if self.phase != Phase::Packing {
            return;
        }
        match outcome {
            Ok(packed) => self.packed = Some(packed),
            Err(error) => self.fail_all(now, &Why::NotStarted(error.to_string())),
        }
        self.step(now, node);
    }

    /// Lets these nodes start the image, once everybody has it. Others are passed over; without [`Plan::hold`] it
    /// changes nothing.
    pub fn activate(&mut self, now: Instant, node: &mut Node, nodes: &[NodeId]) {
        let named = self.targets.iter_mut().filter(|(id, _)| nodes.contains(id));
        named.for_each(|(_, target)| target.released = true);
        self.step(now, node);
    }

    /// Those who were let to start the image by [`activate`](Self::activate).
    pub fn activated(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.targets.iter().filter(|(_, target)| target.released).map(|(id, _)| *id)
    }

    /// Stops sending until [`resume`](Self::resume): nodes keep what they have, and no time counts.
    pub fn pause(&mut self, now: Instant, node: &mut Node) {
        if !self.paused && self.phase != Phase::Finished {
            self.paused = true;
            if self.phase == Phase::Delivering {
                node.stop_update(now);
            }
            if let Some(session) = self.stock {
                node.pause_rollout(session);
            }
        }
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&mut self, now: Instant, node: &mut Node) {
        if !core::mem::take(&mut self.paused) {
            return;
        }
        self.moved = now;
        for target in self.targets.values_mut() {
            target.since = now;
            target.ordered = target.ordered.map(|(_, order)| (now, order));
        }
        // Somebody else may have the channel by now.
        self.granted = false;
        match self.phase {
            Phase::Delivering | Phase::Sending => self.transfer(now, node),
            Phase::Held | Phase::Activating => {
                if let Some(session) = self.stock {
                    node.resume_rollout(now, session);
                }
            }
            Phase::Surveying | Phase::Queued | Phase::Packing | Phase::Finished => {}
        }
        self.step(now, node);
    }

    /// Ends it where it is: nodes that are not done keep running what they run, and keep what they have.
    pub fn abort(&mut self, now: Instant, node: &mut Node) {
        self.paused = false;
        if let Some(session) = self.stock {
            node.abort_rollout(now, session);
            self.hear_stock(now, node);
        }
        self.fail_all(now, &Why::Aborted);
        self.step(now, node);
    }

    /// Where it is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether every node is updated, has declined or has failed.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether it is paused.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// What was reckoned; `None` until it is.
    pub const fn forecast(&self) -> Option<&Forecast> {
        self.forecast.as_ref()
    }

    /// How long is left until nodes run the image, by the forecast and by how fast it went so far; `None` while
    /// nobody can say.
    pub fn eta(&self, now: Instant, node: &Node) -> Option<Duration> {
        let forecast = self.forecast.as_ref().filter(|_| !self.paused)?;
        self.pace.left(now, self.phase, self.since, self.progress(node), forecast, self.plan.tempo)
    }

    /// What the transfers took.
    pub const fn transfers(&self) -> Transfers {
        self.pace.transfers
    }

    /// The counter of the last order that was signed, by whichever shares the counter.
    pub fn last_counter(&self) -> u64 {
        self.plan.counter.last()
    }

    /// A line per node, their ids rising.
    pub fn report(&self, node: &Node) -> Vec<TargetReport> {
        let passed = match node.exchange().phase() {
            Some(exchange::Phase::Passing { sent, chunks }) if self.phase == Phase::Delivering => {
                (sent, chunks)
            }
            _ => (0, 1),
        };
        let line = |(id, target): (&NodeId, &Target)| {
            let mut report = target.report(*id);
            if report.state == State::Receiving && report.family == Some(Family::Meshward) {
                // A node says how far it is only at turns; what went to all has come to most.
                let came = u64::from(report.parts) * u64::from(passed.0) / u64::from(passed.1.max(1));
                report.done = report.done.max(came as u32).min(report.parts);
            }
            report
        };
        self.targets.iter().map(line).collect()
    }

    /// How much of the phase's transfer is done, from 0 to 1.
    fn progress(&self, node: &Node) -> f64 {
        let family = if self.phase == Phase::Delivering { Family::Meshward } else { Family::Stock };
        let lines = self.report(node);
        let mine = || {
            lines.iter().filter(|line| line.family == Some(family) && !matches!(line.state, State::Failed(_)))
        };
        let (done, parts) = (
            mine().map(|line| u64::from(line.done)).sum::<u64>(),
            mine().map(|line| u64::from(line.parts)).sum::<u64>(),
        );
        if parts == 0 { 0.0 } else { done as f64 / parts as f64 }
    }

    fn go(&mut self, now: Instant, phase: Phase) {
        (self.phase, self.since, self.moved, self.seen) = (phase, now, now, None);
        if !matches!(phase, Phase::Queued | Phase::Packing | Phase::Delivering | Phase::Sending) {
            self.granted = false;
        }
    }

    fn fail_all(&mut self, now: Instant, why: &Why) {
        let open = self.targets.values_mut().filter(|target| !target.state.is_final());
        open.for_each(|target| target.fail(now, why.clone()));
    }

    fn is_open(&self, family: Family) -> bool {
        self.targets.values().any(|target| target.is_open(family))
    }

    /// Does what there is to do, and knows when to look again.
    fn step(&mut self, now: Instant, node: &mut Node) {
        while !self.paused && self.advance(now, node) {}
        self.due = match self.phase {
            _ if self.paused => None,
            Phase::Surveying => Some(self.survey.due(now, node)),
            Phase::Queued | Phase::Packing | Phase::Held | Phase::Finished => None,
            Phase::Delivering | Phase::Sending => Some(now + LOOK),
            Phase::Activating => Some(now + activation::LOOK),
        };
        if self.look_at_reverts(now, node) {
            let due = self.reverts_due(now);
            self.due = Some(self.due.map_or(due, |own| own.min(due)));
        }
    }

    /// One step; whether another may follow at once.
    fn advance(&mut self, now: Instant, node: &mut Node) -> bool {
        let over = self.targets.values().all(|target| target.state.is_final());
        if over && self.phase != Phase::Finished {
            // Nobody would order those who come late: what they get is of no use.
            if self.is_source(node) {
                node.stop_update(now);
            }
            self.offerings = Vec::new();
            self.go(now, Phase::Finished);
            return false;
        }
        match self.phase {
            Phase::Surveying => self.look_at_survey(now, node),
            Phase::Queued => self.look_at_queue(now, node),
            Phase::Packing => self.take_packed(now, node),
            Phase::Delivering => self.look_at_delivery(now, node),
            Phase::Sending => self.look_at_stock(now, node),
            Phase::Held | Phase::Activating => self.look_at_activation(now, node),
            Phase::Finished => false,
        }
    }

    /// Who is meant: those who were named, or everybody who is there.
    fn find_targets(&mut self, now: Instant, node: &Node) {
        let all = || node.mesh().tree().ids().collect();
        let ids: BTreeSet<NodeId> = self.plan.targets.clone().map_or_else(all, BTreeSet::from_iter);
        for id in ids.into_iter().filter(|id| *id != node.id() && *id != NodeId::NONE) {
            self.targets.entry(id).or_insert_with(|| Target::new(now));
        }
    }

    fn look_at_survey(&mut self, now: Instant, node: &mut Node) -> bool {
        self.find_targets(now, node);
        if !self.plan.scheme.is_stock() && !self.survey.is_over(now, node, self.targets.keys()) {
            return false;
        }
        self.go(now, Phase::Queued);
        true
    }

    /// Has made what those are sent who are meant.
    fn begin_packing(&mut self, now: Instant, node: &Node) {
        let members = node.exchange().members().iter();
        let told = members.filter_map(|(id, member)| Some((*id, member.about.clone()?)));
        self.job = Some(Job {
            plan: self.plan.clone(),
            tree: node.mesh().tree(),
            targets: self.open_targets(),
            members: told.collect(),
        });
        self.go(now, Phase::Packing);
    }

    fn take_packed(&mut self, now: Instant, node: &mut Node) -> bool {
        let Some(Packed { forecast, offerings }) = self.packed.take() else { return false };
        for group in &forecast.groups {
            for id in &group.nodes {
                let Some(target) = self.targets.get_mut(id) else { continue };
                target.parts = group.chunks;
                target.family = match (&group.kind, &group.service) {
                    (_, Service::None(Unfit::Absent)) => None,
                    (Kind::Meshward { .. }, _) => Some(Family::Meshward),
                    (Kind::Stock, _) => Some(Family::Stock),
                };
                match &group.service {
                    Service::None(unfit) if unfit.is_harmless() => {
                        target.set(now, State::Declined(Some(Why::Unfit(unfit.clone()))));
                    }
                    Service::None(unfit) => target.fail(now, Why::Unfit(unfit.clone())),
                    Service::Turbo | Service::Unicast if !self.plan.confirmed && !self.plan.forecast_only => {
                        target.fail(now, Why::Unconfirmed);
                    }
                    Service::Pass(_) | Service::Turbo | Service::Unicast => {}
                }
            }
        }
        self.tags = offerings.iter().map(|offering| Tag::of(&offering.descriptor)).collect();
        self.offerings = offerings;
        self.forecast = Some(forecast);
        if self.plan.forecast_only {
            self.go(now, Phase::Finished);
            return false;
        }
        self.transfer(now, node);
        true
    }

    fn open_targets(&self) -> Vec<NodeId> {
        self.targets.iter().filter(|(_, target)| !target.state.is_final()).map(|(id, _)| *id).collect()
    }

    /// Everybody has the image, or was given up.
    fn staged(&mut self, now: Instant) {
        if !self.plan.hold {
            self.targets.values_mut().for_each(|target| target.released = true);
        }
        self.go(now, Phase::Held);
    }
}
