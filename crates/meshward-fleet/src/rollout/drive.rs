//! Between a [`Rollout`] and the [`Deployment`] that it steers: what is, read off the one, and effects, carried out
//! on the other. For whoever has both in hand.

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::node::Node;
use meshward_core::telemetry::Metric;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::{Effect, Evidence, Facts, NodeSeen, Rollout, Seen, Shape};
use crate::deployment::{Deployment, Family};
use crate::fleet::Fleet;
use crate::memory::Moment;
use crate::registry;

/// What a fleet knows of its nodes. Scores are reckoned: not for every look.
pub fn facts(now: Instant, fleet: &mut Fleet) -> BTreeMap<NodeId, Facts> {
    let scores: BTreeMap<NodeId, Option<u8>> =
        fleet.all_scores(now).1.into_iter().map(|(id, score)| (id, score.points)).collect();
    let last = |id: NodeId, metric: Metric| fleet.series().last(id, metric).map(|last| last.value);
    let of = |(id, record): (NodeId, &registry::Record)| {
        let facts = Facts {
            family: match record.family {
                registry::Family::Meshward => Some(Family::Meshward),
                registry::Family::Stock | registry::Family::Alteriom => Some(Family::Stock),
                registry::Family::Unknown => None,
            },
            role: record.identity.role.clone(),
            hardware: record.identity.hardware.clone(),
            version: record.identity.version.clone(),
            tags: record.tags.clone(),
            health: scores.get(&id).copied().flatten(),
            battery_percent: last(id, Metric::Battery),
            supply_mv: last(id, Metric::Supply),
        };
        (id, facts)
    };
    fleet.registry().iter().map(of).collect()
}

/// What nodes have said of themselves for an update is newer than what they said for the list.
pub fn told(node: &Node, facts: &mut BTreeMap<NodeId, Facts>) {
    for (id, told) in
        node.exchange().members().iter().filter_map(|(id, one)| Some((*id, one.about.as_ref()?)))
    {
        let facts = facts.entry(id).or_default();
        facts.role = Some(told.role.clone());
        facts.hardware = Some(told.hardware.clone());
    }
}

/// What is now.
///
/// Other roll-outs in the mesh are not in it: whoever knows of them [says](Seen::elsewhere) so.
pub fn see(moment: Moment, deployment: &Deployment, node: &Node, facts: &BTreeMap<NodeId, Facts>) -> Seen {
    let released: BTreeSet<NodeId> = deployment.activated().collect();
    let nodes = deployment.report(node).into_iter().map(|line| {
        let id = line.node;
        let seen = NodeSeen {
            family: line.family,
            released: released.contains(&id),
            retriable: deployment.may_retry(node, id),
            standing: deployment.standing(node, id),
            revert: deployment.reverting(id).cloned(),
            state: line.state,
        };
        (id, seen)
    });
    let nodes: BTreeMap<NodeId, NodeSeen> = nodes.collect();
    let mut facts = facts.clone();
    told(node, &mut facts);
    Seen {
        moment,
        phase: deployment.phase(),
        paused: deployment.is_paused(),
        quarantined: deployment.is_quarantined(node),
        elsewhere: None,
        nodes,
        shape: Shape::of(&node.mesh().tree()),
        facts,
    }
}

/// Does what is to be done.
pub fn carry_out(now: Instant, effect: &Effect, deployment: &mut Deployment, node: &mut Node) {
    match effect {
        Effect::Activate(nodes) => deployment.activate(now, node, nodes),
        Effect::Retry(nodes) => deployment.retry(now, node, nodes),
        Effect::Probe(nodes) => {
            for id in nodes {
                // Who is not there any more is not measured.
                let _sent = node.probe(now, *id);
            }
        }
        Effect::Pause => deployment.pause(now, node),
        Effect::Resume => deployment.resume(now, node),
        Effect::Stop => deployment.abort(now, node),
        Effect::Revert(nodes) => deployment.revert(now, node, nodes),
        Effect::Quarantine => deployment.quarantine(now, node),
    }
}

/// One round: looks, decides, and does it. `elsewhere` is another roll-out that restarts nodes; `keep` writes the
/// decided down before anything is done.
pub fn round(
    moment: Moment,
    rollout: &mut Rollout,
    deployment: &mut Deployment,
    node: &mut Node,
    (facts, evidence): (&BTreeMap<NodeId, Facts>, &dyn Evidence),
    elsewhere: Option<String>,
    keep: impl FnOnce(&mut Rollout),
) {
    let seen = Seen { elsewhere, ..see(moment, deployment, node, facts) };
    rollout.handle(&seen, evidence);
    keep(rollout);
    while let Some(effect) = rollout.poll_effect() {
        carry_out(moment.now, &effect, deployment, node);
    }
}
