//! What a plan comes to in this mesh, before anything is sent: who is meant, and who would be in which wave.

use std::collections::BTreeMap;

use meshward_core::node::Node;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{self, Plan};
use meshward_fleet::forecast::{Forecast, Kind, Service};
use meshward_fleet::rollout::{self, Facts, Preview, RolloutPlan, Shape, drive};
use tokio::sync::oneshot;

use super::{Answer, Gateway, RolloutError, RolloutRequest};

/// What a plan comes to.
#[derive(Clone, Debug)]
pub struct Previewed {
    /// The waves.
    pub preview: Preview,
    /// How the nodes of it take updates, as far as that is known.
    pub families: BTreeMap<NodeId, deployment::Family>,
    /// Nodes that were asked and would be sent nothing, with why.
    pub unfit: Vec<(NodeId, String)>,
}

impl Gateway {
    /// What is known of the nodes that a request may mean.
    fn meant(&mut self, now: Instant, node: &Node, request: &RolloutRequest) -> BTreeMap<NodeId, Facts> {
        let mut facts = drive::facts(now, &mut self.fleet);
        drive::told(node, &mut facts);
        let named = |id: &NodeId| request.nodes.as_ref().is_none_or(|nodes| nodes.contains(id));
        facts.retain(|id, _| named(id) && *id != node.id());
        facts
    }

    /// Whom a plan's deployment is for: who is meant by its selector, where it has one. About how long its waves take.
    pub(super) fn choose_targets(
        &mut self,
        now: Instant,
        node: &Node,
        request: &RolloutRequest,
        plan: &mut Plan,
        taken: &BTreeMap<NodeId, u64>,
    ) -> Result<Duration, RolloutError> {
        let Some(waves) = &request.plan else { return Ok(Duration::ZERO) };
        let mut facts = self.meant(now, node, request);
        if !request.names_nodes() {
            facts.retain(|id, _| !taken.contains_key(id));
        }
        let shape = Shape::of(&node.mesh().tree());
        let taken = taken.iter().map(|(node, id)| (*node, format!("roll-out {id}"))).collect();
        let roster = rollout::resolve(waves, &facts, &shape, &taken).map_err(RolloutError::Plan)?;
        if !waves.select.is_empty() {
            let meant = roster.waves.iter().flatten().map(|chosen| chosen.node);
            plan.targets = Some(meant.collect());
        }
        let seconds = rollout::preview(waves, &roster, &facts, &shape).seconds;
        Ok(Duration::from_secs(seconds.iter().sum()))
    }

    /// Whether a plan makes sense here, and then what its staging would take. [`preview`](Self::preview) makes waves
    /// of the answer.
    ///
    /// # Errors
    /// [`RolloutError`], and nobody was asked.
    pub fn forecast_waves(
        &mut self,
        now: Instant,
        node: &mut Node,
        request: &RolloutRequest,
    ) -> Result<oneshot::Receiver<Answer>, RolloutError> {
        let (_, mut plan) = self.plan(request)?;
        // What could not be started comes to nothing.
        self.has_room_for(&plan.role, &plan.hardware)?;
        let taken = self.taken(now, node);
        self.choose_targets(now, node, request, &mut plan, &taken)?;
        self.reckon(now, node, plan)
    }

    /// The waves of a plan, made of those who can take the image.
    ///
    /// # Errors
    /// [`RolloutError::Plan`].
    pub fn preview(
        &mut self,
        now: Instant,
        node: &Node,
        request: &RolloutRequest,
        forecast: &Forecast,
    ) -> Result<Previewed, RolloutError> {
        let known = self.meant(now, node, request);
        let shape = Shape::of(&node.mesh().tree());
        let (mut ready, mut families, mut unfit) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for group in &forecast.groups {
            let family = match &group.kind {
                Kind::Meshward { .. } => deployment::Family::Meshward,
                Kind::Stock => deployment::Family::Stock,
            };
            for id in &group.nodes {
                families.insert(*id, family);
                if let Service::None(why) = &group.service {
                    unfit.push((*id, why.to_string()));
                    continue;
                }
                let facts = known.get(id).cloned().unwrap_or_default();
                ready.insert(*id, Facts { family: Some(family), ..facts });
            }
        }
        let plan = request.plan.clone().unwrap_or_default();
        let preview = preview(&plan, &ready, &shape)?;
        Ok(Previewed { preview, families, unfit })
    }
}

fn preview(
    plan: &RolloutPlan,
    ready: &BTreeMap<NodeId, Facts>,
    shape: &Shape,
) -> Result<Preview, RolloutError> {
    // Nobody who could take it is no mistake of the plan: it has no waves then.
    if ready.is_empty() {
        let notes = vec!["nobody has any use for the image, or could take it".to_owned()];
        return Ok(Preview { notes, ..Preview::default() });
    }
    let roster = rollout::place(plan, ready, shape).map_err(RolloutError::Plan)?;
    Ok(rollout::preview(plan, &roster, ready, shape))
}
