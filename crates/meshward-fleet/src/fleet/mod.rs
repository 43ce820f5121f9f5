//! Everything that a gateway knows of its mesh, as one machine.
//!
//! A [`Fleet`] is told what happens on the gateway's node ([`handle_event`](Fleet::handle_event)), and when time has
//! passed. It learns who is there, whether they live, what their loss is due to and how they fare; asks them within
//! a budget of the channel, and tells those that can how often to report; scores, and raises alerts. What it wants
//! sent and what others may want to know comes out of [`poll_transmit`](Fleet::poll_transmit) and
//! [`poll_event`](Fleet::poll_event). Each question has a machine of its own in this crate; this is their sum, and
//! decides nothing but who hears what. A broker or a database is nothing to it: losing one takes no node away.
//!
//! Drive it like a node: after every input send and take what there is until there is nothing, then sleep until
//! [`poll_timeout`](Fleet::poll_timeout).

mod ask;
mod hear;
mod judge;
mod remember;
mod room;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::mesh::Mesh;
use meshward_core::telemetry::Collector;
use meshward_core::time::{Duration, Instant, UnixTime};
use meshward_core::wire::NodeId;
use meshward_core::wire::status::Code;

use crate::alert::{self, Engine};
use crate::anomaly::{self, Detector};
use crate::cause::{self, Incidents, Reboots};
use crate::commands::{CommandError, Commands, Ended};
use crate::condition::{Condition, Subject};
use crate::findings::{self, Findings};
use crate::forecast::Channel;
use crate::health::{Health, MeshScore, Score};
use crate::liveness::{self, Liveness};
use crate::memory::MeshMemory;
use crate::overhead::{Class, Fit, Governor, Lost, Meter, Noise, Period, Shares};
use crate::packages::{Fact, Packages, Topic};
pub use crate::query::Transmit;
use crate::query::{Queries, QueryEvent, QueryId, Refused, Request};
use crate::registry::Registry;
use crate::series::{Sample, Store};
use crate::signal::View;
use crate::topology::{self, Topology};
pub use settings::{Settings, SettingsError};

/// Events that wait to be taken; what comes when they are so many is dropped and counted.
const EVENTS_MAX: usize = 20_000;
/// Samples that wait to be taken; what comes when they are so many is dropped and counted.
const SAMPLES_MAX: usize = 50_000;
/// Messages that wait to be sent.
const TRANSMITS_MAX: usize = 4_096;
/// Between two looks at the budget, at drift, at noisy nodes and at loops that have ended.
const TICK: Duration = Duration::from_secs(60);
/// So much of the budget is given away: what restarts, keyframes and lost messages cost is known only afterwards.
const KNOWN: f64 = 0.98;
/// A node whose broadcasts take more of the channel than this, in percent, is a finding.
const NOISY_PERCENT: f64 = 0.5;
/// Nodes that left, of which it is remembered how often they report; beyond it they are told again.
const PARTED_MAX: usize = 2_500;

/// Something that others may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The tree, or a node in it, is another one.
    Topology(topology::Event),
    /// A node lives, or does not.
    Liveness(liveness::Change),
    /// What became of a loss.
    Incident(cause::Event),
    /// Something that somebody should look at came or went.
    Finding(findings::Change),
    /// A value is not as it should be, or is again.
    Anomaly(anomaly::Event),
    /// An alert is in another state.
    Alert(alert::Transition),
    /// Somebody is to be told of alerts.
    Notification(alert::Notification),
    /// Somebody's query has an answer.
    Query(QueryEvent),
    /// Somebody's command is over.
    Command(Ended),
    /// A line of a node's log.
    Log {
        /// The node.
        node: NodeId,
        /// When, in its own reckoning.
        when: Option<u32>,
        /// What it says.
        text: String,
    },
    /// Nodes report so often now.
    Period(Period),
}

/// What was dropped, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Events that nobody took.
    pub events: u64,
    /// Samples that nobody took.
    pub samples: u64,
    /// Messages that nobody sent.
    pub transmits: u64,
}

/// A node that is to be told how often to report.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    due: Instant,
    /// How often it was told in vain.
    asked: u8,
}

/// What a node was told of how often to report.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The policy's number.
    number: u8,
    period: Duration,
    at: Instant,
    /// Whether it said so, to this policy or one before.
    acked: bool,
}

/// See the module's page.
#[derive(Debug)]
pub struct Fleet {
    own: NodeId,
    settings: Settings,
    channel: Channel,
    registry: Registry,
    topology: Topology,
    liveness: Liveness,
    incidents: Incidents,
    reboots: Reboots,
    findings: Findings,
    meter: Meter,
    governor: Governor,
    fit: Fit,
    lost: Lost,
    noise: Noise,
    packages: Packages,
    commands: Commands,
    collector: Collector,
    queries: Queries,
    store: Store,
    detector: Detector,
    health: Health,
    engine: Engine,
    facts: BTreeMap<NodeId, BTreeMap<Topic, Fact>>,
    /// Nodes that are to be told how often to report.
    strangers: BTreeMap<NodeId, Stranger>,
    /// None of them before.
    greet_next: Instant,
    /// How often nodes were told that have not acknowledged it.
    asked: BTreeMap<NodeId, u8>,
    /// Nodes that report by themselves, and by which policy.
    reporting: BTreeMap<NodeId, Told>,
    /// Those that did when they left the tree: who has not restarted still does.
    parted: BTreeMap<NodeId, Told>,
    /// When the last probe went, and until when answers have waited for others.
    probed_at: Option<Instant>,
    crowded_until: Instant,
    policy_number: u8,
    /// Nodes whose loss an incident explains.
    explained: BTreeMap<NodeId, u64>,
    /// Where the condition of an open incident is said to be.
    incident_subjects: BTreeMap<u64, Subject>,
    /// Where alerts said before the start that a branch was lost.
    incidents_before: BTreeSet<Subject>,
    /// Numbers as they were told last.
    mesh_kept: MeshMemory,
    tick_at: Instant,
    room: room::Room,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    samples: VecDeque<Sample>,
    dropped: Dropped,
}

impl Fleet {
    /// Of the gateway's node `own`, which begins to learn now. Commands are numbered from `first_command`, which
    /// should be another number after each start.
    ///
    /// # Errors
    /// When a rule or another setting makes no sense.
    pub fn new(
        now: Instant,
        own: NodeId,
        first_command: u32,
        settings: Settings,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let alerts = alert::Config { learning: settings.quiet, ..alert::Config::new(settings.mesh.clone()) };
        let engine = Engine::new(now, alerts, settings.rules.clone())?;
        Ok(Self {
            own,
            channel: settings.channel,
            registry: Registry::default(),
            topology: Topology::new(own),
            liveness: Liveness::new(own, settings.liveness),
            incidents: Incidents::default(),
            reboots: Reboots::default(),
            findings: Findings::default(),
            meter: Meter::default(),
            governor: Governor::new(settings.budget_percent * KNOWN, settings.period),
            fit: Fit::new(settings.channel),
            lost: Lost::default(),
            noise: Noise::new(NOISY_PERCENT),
            packages: Packages::default(),
            commands: Commands::new(own, first_command),
            collector: Collector::new(own),
            queries: Queries::new(own),
            store: Store::default(),
            detector: Detector::new(settings.anomaly.clone())?,
            health: Health::new(settings.health.clone()),
            engine,
            facts: BTreeMap::new(),
            strangers: BTreeMap::new(),
            greet_next: now,
            asked: BTreeMap::new(),
            reporting: BTreeMap::new(),
            parted: BTreeMap::new(),
            probed_at: None,
            crowded_until: now,
            policy_number: 0,
            explained: BTreeMap::new(),
            incident_subjects: BTreeMap::new(),
            incidents_before: BTreeSet::new(),
            mesh_kept: MeshMemory { windows: 1, ..MeshMemory::default() },
            tick_at: now + TICK,
            room: room::Room::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            samples: VecDeque::new(),
            dropped: Dropped::default(),
            settings,
        })
    }

    /// What date it is, for schedules of alerts.
    pub fn set_civil(&mut self, now: Instant, civil: UnixTime) {
        self.engine.set_civil(now, civil);
    }

    /// Another budget, in percent of the channel, and another shortest time between two reports.
    pub fn set_budget(&mut self, now: Instant, percent: f64, period: Duration) {
        self.settings.budget_percent = percent;
        self.settings.period = period;
        self.governor.set(percent * KNOWN, period);
        self.reckon(now);
        self.settle(now);
    }

    /// Asks nodes how they fare; the answers are [`Event::Query`]. What is known well enough costs nothing.
    ///
    /// # Errors
    /// [`Refused`], and nobody was asked.
    pub fn query(&mut self, now: Instant, mesh: &Mesh, request: Request) -> Result<QueryId, Refused> {
        let query = self.queries.start(now, request, mesh)?;
        self.settle(now);
        Ok(query)
    }

    /// Nobody waits for a query any more; whether it was under way.
    pub fn cancel_query(&mut self, now: Instant, query: QueryId) -> bool {
        let cancelled = self.queries.cancel(now, query);
        self.settle(now);
        cancelled
    }

    /// Tells a node to do something; returns the command's number. Its end is an [`Event::Command`].
    ///
    /// # Errors
    /// [`CommandError`], and nothing was sent.
    pub fn command(
        &mut self,
        now: Instant,
        node: NodeId,
        code: Code,
        params: &str,
        patience: Duration,
    ) -> Result<u32, CommandError> {
        let outgoing = self.commands.send(now, node, code, params, patience)?;
        self.send(now, node, outgoing.frame);
        self.settle(now);
        Ok(outgoing.cid)
    }

    /// What people do with alerts.
    pub fn alerts_mut<R>(&mut self, now: Instant, act: impl FnOnce(&mut Engine) -> R) -> R {
        let result = act(&mut self.engine);
        self.settle(now);
        result
    }

    /// Changes what people say of a node: its name, tags, notes.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Nothing is to be known of a node any more. False, and nothing changes, while it is in the tree.
    pub fn forget(&mut self, now: Instant, node: NodeId) -> bool {
        if self.registry.forget(node).is_err() {
            return false;
        }
        self.liveness.forget(now, node);
        self.reboots.forget(node);
        self.findings.forget(node);
        self.packages.forget(node);
        self.collector.forget(node);
        self.queries.forget(node);
        self.store.forget(node);
        self.detector.forget(node);
        self.health.forget(node);
        self.engine.forget(now, node);
        self.facts.remove(&node);
        self.strangers.remove(&node);
        self.reporting.remove(&node);
        self.parted.remove(&node);
        self.asked.remove(&node);
        self.room.forget(node);
        self.settle(now);
        true
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.liveness.handle_timeout(now);
        self.collector.handle_timeout(now);
        self.queries.handle_timeout(now);
        self.commands.handle_timeout(now);
        self.engine.handle_timeout(now);
        let events = self.topology.handle_timeout(now);
        self.topology_events(now, events);
        if self.tick_at <= now {
            self.tick(now);
        }
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let machines = [
            self.liveness.poll_timeout(),
            self.collector.poll_timeout(),
            self.queries.poll_timeout(),
            self.commands.poll_timeout(),
            self.engine.poll_timeout(),
            self.topology.poll_timeout(),
            self.greet_at(),
            self.room.poll_timeout(),
            Some(self.tick_at),
        ];
        machines.into_iter().flatten().min()
    }

    /// The next message to be sent by the gateway's node.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What has happened, the oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next number that a node told, the oldest first; there are none without [`Settings::history`].
    pub fn poll_sample(&mut self) -> Option<Sample> {
        self.samples.pop_front()
    }

    fn sample(&mut self, sample: Sample) {
        if self.samples.len() >= SAMPLES_MAX {
            self.dropped.samples = self.dropped.samples.saturating_add(1);
        } else {
            self.samples.push_back(sample);
        }
    }

    fn event(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.dropped.events = self.dropped.events.saturating_add(1);
        } else {
            self.events.push_back(event);
        }
    }
}

/// What is known, for reading.
impl Fleet {
    /// Nodes and what they are.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where they are, and were.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether they live.
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// What losses are due to.
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// What somebody should look at.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// What values are not as they should be.
    pub fn anomalies(&self) -> &Detector {
        &self.detector
    }

    /// What nodes told lately, in numbers.
    pub fn series(&self) -> &Store {
        &self.store
    }

    /// What a node told in words.
    pub fn facts(&self, node: NodeId) -> impl Iterator<Item = &Fact> {
        self.facts.get(&node).into_iter().flat_map(BTreeMap::values)
    }

    /// Alerts, rules, windows.
    pub fn alerts(&self) -> &Engine {
        &self.engine
    }

    /// The score of a node.
    pub fn score(&mut self, now: Instant, node: NodeId) -> Score {
        self.health.node(now, View { store: &self.store, detector: &self.detector }, node)
    }

    /// The score of the mesh.
    pub fn mesh_score(&mut self, now: Instant) -> MeshScore {
        self.health.mesh(now, View { store: &self.store, detector: &self.detector })
    }

    /// The score of the mesh, and that of each node, in order of id.
    pub fn all_scores(&mut self, now: Instant) -> (MeshScore, Vec<(NodeId, Score)>) {
        self.health.all(now, View { store: &self.store, detector: &self.detector })
    }

    /// What of the channel went to what, lately.
    pub fn shares(&self, now: Instant) -> Shares {
        self.meter.shares(now)
    }

    /// What went over links since the start for this purpose, in bytes times links.
    pub fn bytes_total(&self, class: Class) -> u64 {
        self.meter.bytes_total(class)
    }

    /// The mesh's name.
    pub fn mesh_name(&self) -> &str {
        &self.settings.mesh
    }

    /// The budget, in percent of the channel, and how often nodes report.
    pub fn budget(&self) -> (f64, Period) {
        (self.settings.budget_percent, self.governor.period())
    }

    /// Nodes that report by themselves.
    pub fn reporting(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.reporting.iter().filter(|(_, told)| told.acked).map(|(node, _)| *node)
    }

    /// What was dropped here; each machine counts its own.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    fn condition(&mut self, now: Instant, condition: &Condition) {
        self.health.handle_condition(condition);
        self.engine.handle_condition(now, condition);
    }
}
