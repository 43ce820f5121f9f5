//! One round of the keeper: what is new is taken in the gateway's task, as copies, and written outside of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use meshward_core::node::Node;
use meshward_core::telemetry::Metric;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::alert::Fingerprint;
use meshward_fleet::memory::{AlertMemory, Dirty, MeshMemory, NodeMemory, WindowMemory};

use super::load::{COUNTER, EVENTS_RESERVED, MESH};
use super::{RowError, alert, node, rollout, said};
use crate::notify::{self, Message, Notifier};
use crate::rest::convert;
use crate::rest::model;
use crate::service::{Decided, Gateway, Rollout};
use crate::shell::{NodeHandle, Stopped};
use crate::store::{
    AlertRow, DocumentKind, EVENT_IDS, EventRow, Expected, MetricId, Record, Recorder, Sample, Store,
    TopologyRow, WaveDecision,
};

/// Values that are taken in one round.
const SAMPLES_MAX: usize = 20_000;
/// Changes of what the fleet remembers that are taken in one round.
const DIRTY_MAX: usize = 5_000;

/// A value, and when it was measured.
type Value = (NodeId, Metric, Timestamp, f64);

/// What is new.
#[derive(Debug, Default)]
struct News {
    events: Vec<model::Event>,
    samples: Vec<Value>,
    mesh: Option<MeshMemory>,
    nodes: Vec<(NodeId, Option<NodeMemory>)>,
    alerts: Vec<(Fingerprint, Option<AlertMemory>)>,
    windows: Vec<(u32, Option<WindowMemory>)>,
    /// The revision, since when it is so, and the tree.
    topology: Option<(u64, Timestamp, model::PastTopology)>,
    rollouts: Vec<(Rollout, model::Rollout)>,
    decided: Vec<Decided>,
    counter: u64,
    messages: Vec<Message>,
}

/// What was taken and written so far.
#[derive(Debug)]
pub(super) struct Round {
    store: Store,
    recorder: Recorder,
    notifier: Option<Notifier>,
    /// The last event that was taken; `None` before the first round.
    event: Option<u64>,
    /// The number of events up to which numbers are reserved.
    reserved: u64,
    metrics: BTreeMap<Metric, MetricId>,
    /// The revision that was written last, and how much lower the gateway counts than the database.
    topology: Option<u64>,
    above: Option<u64>,
    /// Roll-outs whose end is written.
    finished: BTreeSet<u64>,
    /// What was written last of each roll-out that is not over.
    documents: BTreeMap<u64, String>,
    counter: u64,
    /// Windows that the database has not taken yet.
    windows: BTreeMap<u32, Option<WindowMemory>>,
}

impl Round {
    pub(super) fn new(store: Store, recorder: Recorder, notifier: Option<Notifier>) -> Self {
        Self {
            store,
            recorder,
            notifier,
            event: None,
            reserved: 0,
            metrics: BTreeMap::new(),
            topology: None,
            above: None,
            finished: BTreeSet::new(),
            documents: BTreeMap::new(),
            counter: 0,
            windows: BTreeMap::new(),
        }
    }

    /// Takes and writes what is new. What the database does not take is said; it is taken again where it can be.
    pub(super) async fn go(&mut self, gateway: &NodeHandle<Gateway>) -> Result<(), Stopped> {
        let (event, topology, finished) = (self.event, self.topology, self.finished.clone());
        let news = gateway
            .with(move |now, node, gateway| take(gateway, now, node, (event, topology, &finished)))
            .await?;
        // First of all: that an alert was told is not written down before the message is in the outbox.
        if let Some(notifier) = &self.notifier {
            notifier.accept(news.messages).await;
        }
        for decided in news.decided {
            self.decided(gateway, decided).await?;
        }
        self.events(news.events).await;
        self.samples(news.samples).await;
        self.memory(news.mesh, news.nodes, news.windows).await;
        self.alerts(news.alerts);
        if let Some((revision, at, tree)) = news.topology {
            self.tree(revision, at, &tree).await;
        }
        for (rollout, document) in news.rollouts {
            self.rollout(&rollout, &document).await;
        }
        if news.counter > self.counter {
            match self.store.set_meta(COUNTER, &news.counter.to_string()).await {
                Ok(()) => self.counter = news.counter,
                Err(error) => said::<()>("keep the counter of orders", Err(error)),
            }
        }
        Ok(())
    }

    /// Writes down what waves have decided, so that it is done.
    async fn decided(&self, gateway: &NodeHandle<Gateway>, decided: Decided) -> Result<(), Stopped> {
        let done = match row("what waves decided", written(&decided)) {
            Some((memory, rows)) => {
                let kept = self.store.keep_waves(decided.rollout, &memory, &rows).await;
                let done = kept.is_ok();
                said("keep what waves decided", kept);
                done
            }
            None => false,
        };
        gateway.with(move |now, node, gateway| gateway.kept(now, node, &decided, done)).await
    }

    async fn events(&mut self, events: Vec<model::Event>) {
        let Some(last) = events.last().map(|event| event.id) else { return };
        self.event = Some(last);
        if last >= self.reserved {
            // The first reservation was the keeper's, at its start.
            if self.reserved > 0 {
                said("reserve numbers", self.store.reserve(EVENT_IDS, EVENTS_RESERVED).await);
            }
            self.reserved = last + u64::from(EVENTS_RESERVED) / 2;
        }
        for model::Event { id, at, kind, name, node, text } in events {
            let detail = serde_json::to_string(&convert::Detail { name, text }).map_err(RowError::from);
            let Some(detail) = row("an event", detail) else { continue };
            self.recorder.record(Record::Event(EventRow { id, at, kind, node, detail }));
        }
    }

    async fn samples(&mut self, samples: Vec<Value>) {
        for (node, metric, at, value) in samples {
            let id = match self.metrics.get(&metric) {
                Some(id) => *id,
                None => match self.store.metric(metric.name()).await {
                    Ok(id) => *self.metrics.entry(metric).or_insert(id),
                    Err(error) => return said::<()>("number a metric", Err(error)),
                },
            };
            self.recorder.record(Record::Sample(Sample { node: node.0, metric: id, at, value }));
        }
    }

    async fn memory(
        &mut self,
        mesh: Option<MeshMemory>,
        nodes: Vec<(NodeId, Option<NodeMemory>)>,
        windows: Vec<(u32, Option<WindowMemory>)>,
    ) {
        if let Some(text) = mesh.and_then(|mesh| row("the mesh", alert::written_mesh(mesh))) {
            said("keep the fleet's numbers", self.store.set_meta(MESH, &text).await);
        }
        for (id, kept) in nodes {
            match kept {
                Some(kept) => {
                    let record = row("a node", node::row(&kept)).map(Record::Node);
                    record.into_iter().for_each(|record| self.recorder.record(record));
                }
                None => said("forget a node", self.store.forget_node(id.0).await),
            }
        }
        self.windows.extend(windows);
        for (number, kept) in std::mem::take(&mut self.windows) {
            let (kind, id) = (DocumentKind::Silence, number.to_string());
            let body = kept.as_ref().map(|kept| row("a window", alert::written_window(kept)));
            let done = match &body {
                Some(Some(body)) => self.store.put_document(kind, &id, body, Expected::Any).await,
                Some(None) => continue,
                None => self.store.remove_document(kind, &id, Expected::Any).await,
            };
            if let Err(error) = done {
                said::<()>("keep a window", Err(error));
                self.windows.insert(number, kept);
            }
        }
    }

    fn alerts(&self, alerts: Vec<(Fingerprint, Option<AlertMemory>)>) {
        let now = Timestamp::now();
        for (fingerprint, kept) in alerts {
            let state = match &kept {
                Some(kept) => match row("an alert", alert::written(kept)) {
                    Some(state) => Some(state),
                    None => continue,
                },
                None => None,
            };
            let transition = kept.as_ref().map(|kept| {
                serde_json::json!({ "state": kept.state.name(), "evidence": kept.evidence }).to_string()
            });
            let fingerprint = fingerprint.to_string();
            self.recorder.record(Record::Alert(AlertRow { fingerprint, at: now, state, transition }));
        }
    }

    async fn tree(&mut self, revision: u64, at: Timestamp, tree: &model::PastTopology) {
        let above = match self.above {
            Some(above) => above,
            None => match self.store.last_topology().await {
                Ok(last) => *self.above.insert(last.map_or(0, |last| last.revision)),
                Err(error) => return said::<()>("read the last tree", Err(error)),
            },
        };
        self.topology = Some(revision);
        let Some(tree) = row("the tree", serde_json::to_string(tree).map_err(RowError::from)) else { return };
        self.recorder.record(Record::Topology(TopologyRow { revision: above + revision, at, tree }));
    }

    async fn rollout(&mut self, kept: &Rollout, document: &model::Rollout) {
        let written = serde_json::to_value(document).map_err(RowError::from);
        let Some((found, nodes)) = row("a roll-out", written.and_then(|value| rollout::rows(kept, value)))
        else {
            return;
        };
        let text = format!("{found:?}{nodes:?}");
        if self.documents.get(&found.id) == Some(&text) {
            return;
        }
        match self.store.update_rollout(&found, &nodes).await {
            Ok(_) => {
                if found.finished.is_some() {
                    self.documents.remove(&found.id);
                    self.finished.insert(found.id);
                } else {
                    // It may be one that is taken back.
                    self.documents.insert(found.id, text);
                    self.finished.remove(&found.id);
                }
            }
            Err(error) => said::<()>("keep how a roll-out goes", Err(error)),
        }
    }
}

/// What waves decided as the rows of the audit, and their memory.
fn written(decided: &Decided) -> Result<(String, Vec<WaveDecision>), RowError> {
    let rows = decided.decisions.iter().map(|one| {
        let (at, detail) = rollout::audited(one)?;
        Ok(WaveDecision { at, actor: one.by.clone(), detail })
    });
    Ok((serde_json::to_string(&decided.memory)?, rows.collect::<Result<_, RowError>>()?))
}

/// What could be written; what could not is a mistake of ours, and said.
fn row<T>(what: &str, row: Result<T, RowError>) -> Option<T> {
    row.map_err(|error| tracing::error!(%error, "{what} cannot be written down")).ok()
}

/// Takes copies of what is new.
fn take(
    gateway: &mut Gateway,
    now: Instant,
    node: &mut Node,
    (event, topology, finished): (Option<u64>, Option<u64>, &BTreeSet<u64>),
) -> News {
    let mut news = News { counter: gateway.last_counter(), ..News::default() };
    news.events = convert::events(gateway, event.unwrap_or(0), crate::service::EVENTS_KEPT_MAX).items;
    news.messages = notify::messages(gateway);
    let samples = std::iter::from_fn(|| gateway.fleet_mut().poll_sample()).take(SAMPLES_MAX);
    let samples: Vec<_> = samples.collect();
    let timed = |sample: meshward_fleet::series::Sample| {
        Some((sample.node, sample.metric, convert::timestamp(gateway.civil(sample.at)), sample.value?))
    };
    news.samples = samples.into_iter().filter_map(timed).collect();
    take_memory(gateway, now, &mut news);
    let tree = gateway.topology();
    if topology != Some(tree.revision()) {
        let at = convert::timestamp(gateway.civil(now));
        news.topology = Some((tree.revision(), at, convert::tree(gateway)));
    }
    for kept in gateway.rollouts(now, node) {
        if kept.finished.is_none() || !finished.contains(&kept.id) {
            let document = convert::rollout(gateway, node, &kept);
            news.rollouts.push((kept, document));
        }
    }
    news
}

fn take_memory(gateway: &mut Gateway, now: Instant, news: &mut News) {
    news.decided = gateway.decided(now);
    let moment = gateway.moment(now);
    let fleet = gateway.fleet_mut();
    for _ in 0..DIRTY_MAX {
        match fleet.poll_dirty() {
            None => break,
            Some(Dirty::All) => {
                let all = fleet.memory(moment);
                news.mesh = Some(all.mesh);
                news.nodes = all.nodes.into_iter().map(|kept| (kept.node, Some(kept))).collect();
                news.alerts = all.alerts.into_iter().map(|kept| (kept.fingerprint, Some(kept))).collect();
                news.windows = all.windows.into_iter().map(|kept| (kept.number, Some(kept))).collect();
            }
            Some(Dirty::Mesh) => news.mesh = Some(fleet.memory_of_mesh()),
            Some(Dirty::Node(node)) => news.nodes.push((node, fleet.memory_of_node(moment, node))),
            Some(Dirty::Alert(name)) => news.alerts.push((name, fleet.memory_of_alert(moment, name))),
            Some(Dirty::Window(number)) => {
                news.windows.push((number, fleet.memory_of_window(moment, number)));
            }
            // They were written where somebody changed them.
            Some(Dirty::Rules) => {}
        }
    }
}
