//! A roll-out as the gateway remembers it.

use std::sync::Arc;
use std::time::SystemTime;

use meshward_core::node::Node;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Deployment, Phase, Plan, State, TargetReport, Transfers};
use meshward_fleet::forecast::{Forecast, Scheme};
use meshward_fleet::rollout::Progress;

use super::resume::Earlier;
use super::{Firmware, RolloutRequest};

/// A roll-out that has begun.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Counts from 1.
    pub id: u64,
    /// What is brought.
    pub firmware: Firmware,
    /// To which role.
    pub role: String,
    /// To which hardware.
    pub hardware: String,
    /// What is sent.
    pub scheme: Scheme,
    /// Whether nodes restart only when they are activated.
    pub hold: bool,
    /// What was asked for.
    pub request: RolloutRequest,
    /// When it began.
    pub started: SystemTime,
    /// When the last node was done.
    pub finished: Option<SystemTime>,
    /// Where it is; this and the rest is kept up to date while it runs.
    pub phase: Phase,
    /// Whether it is paused.
    pub paused: bool,
    /// The roll-out that has the channel, while this one waits for it.
    pub waits_for: Option<u64>,
    /// What was reckoned.
    pub forecast: Option<Forecast>,
    /// How long is left, as far as anybody can say.
    pub eta: Option<Duration>,
    /// What the transfers took.
    pub transfers: Transfers,
    /// Nodes of a held roll-out that were let to restart.
    pub activated: Vec<NodeId>,
    /// A line per node.
    pub nodes: Vec<TargetReport>,
    /// Where its waves are, if it has a plan.
    pub progress: Option<Arc<Progress>>,
    /// What was known before the gateway restarted.
    pub(super) earlier: Earlier,
}

impl Rollout {
    /// One that begins, or goes on.
    pub(super) fn begun(
        (id, request): (u64, RolloutRequest),
        (firmware, plan): (Firmware, &Plan),
        started: SystemTime,
    ) -> Self {
        Self {
            id,
            firmware,
            role: plan.role.clone(),
            hardware: plan.hardware.clone(),
            scheme: request.scheme,
            hold: plan.hold,
            request,
            started,
            finished: None,
            phase: Phase::Surveying,
            paused: false,
            waits_for: None,
            forecast: None,
            eta: None,
            transfers: Transfers::default(),
            activated: Vec::new(),
            nodes: Vec::new(),
            progress: None,
            earlier: Earlier::default(),
        }
    }

    /// How many nodes are in a state.
    pub fn count(&self, state: impl Fn(&State) -> bool) -> usize {
        self.nodes.iter().filter(|report| state(&report.state)).count()
    }

    pub(super) fn refresh(&mut self, now: Instant, node: &Node, deployment: &Deployment) {
        self.phase = deployment.phase();
        self.paused = deployment.is_paused();
        self.eta = deployment.eta(now, node);
        self.transfers = deployment.transfers();
        self.nodes = self.earlier.merge(deployment.report(node));
        self.activated = deployment.activated().collect();
        if self.forecast.is_none() {
            self.forecast = deployment.forecast().cloned();
        }
    }
}
