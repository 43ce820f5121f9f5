//! What nodes have told lately, so that a query need not ask again.

use std::collections::BTreeMap;

use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

/// Values and the age of the oldest.
pub(super) type Found = (Vec<(Metric, i64)>, Duration);

#[derive(Debug, Default)]
struct Entry {
    values: BTreeMap<Metric, (i64, Instant)>,
    /// When it has last told all that it has.
    whole: Option<Instant>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Cache {
    nodes: BTreeMap<NodeId, Entry>,
}

impl Cache {
    /// Takes values observed at `at`; `whole` when the node has no others. False when there is no room.
    pub(super) fn put(&mut self, node: NodeId, at: Instant, values: &[(Metric, i64)], whole: bool) -> bool {
        if self.nodes.len() >= super::Queries::NODES_MAX && !self.nodes.contains_key(&node) {
            return false;
        }
        let entry = self.nodes.entry(node).or_default();
        for (metric, value) in values {
            let place = entry.values.entry(*metric).or_insert((*value, at));
            if place.1 <= at {
                *place = (*value, at);
            }
        }
        if whole {
            entry.whole = entry.whole.max(Some(at));
        }
        true
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// What is wanted, if all of it is no older than `max_age`; with no metric named, all that there is.
    pub(super) fn get(
        &self,
        now: Instant,
        node: NodeId,
        metrics: &[Metric],
        max_age: Duration,
    ) -> Option<Found> {
        if max_age == Duration::ZERO {
            return None;
        }
        let entry = self.nodes.get(&node)?;
        let young = |at: Instant| now.since(at) <= max_age;
        if metrics.is_empty() {
            let whole = entry.whole.filter(|at| young(*at))?;
            let values = entry.values.iter().filter(|(_, (_, at))| *at >= whole);
            return Some((values.map(|(metric, (value, _))| (*metric, *value)).collect(), now.since(whole)));
        }
        let mut oldest = Duration::ZERO;
        let mut values = Vec::with_capacity(metrics.len());
        for metric in metrics {
            let (value, at) = entry.values.get(metric).filter(|(_, at)| young(*at))?;
            oldest = oldest.max(now.since(*at));
            values.push((*metric, *value));
        }
        Some((values, oldest))
    }
}
