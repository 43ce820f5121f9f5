//! What comes from the gateway's node: who is alive by it, what it cost, and what is learnt from it.

use meshward_core::mesh::{Mesh, MeshEvent};
use meshward_core::node;
use meshward_core::ota::exchange::ExchangeEvent;
use meshward_core::telemetry::{CollectorEvent, Flags, Metric, Report};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::status::Sent;
use meshward_core::wire::{NodeId, Routing, User, kind};

use super::{Event, Fleet, PARTED_MAX};
use crate::overhead::{Crossings, ENVELOPE_BYTES, Frame};
use crate::packages::{Learnt, Topic, Via, What};
use crate::reading::{Reading, Source};
use crate::registry::{Identity, Registry};

/// Bytes of a message around an application's text.
const MESSAGE_BYTES: usize = 70;
/// Of more reports in a row nobody believes that they were sent.
const LOST_MAX: u32 = 3;
/// Bytes of a report on its own, where it came packed with others; and of it among others.
const REPORT_BYTES: usize = 96;
const ENTRY_BYTES: usize = 32;

impl Fleet {
    /// Something happened on the gateway's node.
    pub fn handle_event(&mut self, now: Instant, mesh: &Mesh, event: &node::Event) {
        match event {
            node::Event::Mesh(MeshEvent::TopologyChanged { .. }) => self.look(now, mesh),
            node::Event::Mesh(MeshEvent::Delay { from, round_trip }) => {
                self.handle_delay(now, *from, *round_trip);
            }
            node::Event::Message { from, broadcast, text } => {
                let kind = if *broadcast { kind::BROADCAST } else { kind::SINGLE };
                let user = User { broadcast: *broadcast, dest: self.own, from: *from, msg: text.into() };
                let sent = Sent::of_text(&user);
                // A package as text costs what a package costs.
                let kind = sent.as_ref().map_or(kind, |sent| sent.package.kind());
                self.heard(now, *from, kind, text.len() + MESSAGE_BYTES, *broadcast);
                if let Ok(sent) = sent {
                    self.handle_package(now, &sent, Via::Text);
                }
            }
            node::Event::Package { envelope, bytes } => {
                let broadcast = envelope.routing == Routing::Broadcast;
                self.heard(now, envelope.from, envelope.kind, bytes.len() + 1, broadcast);
                if self.collector.handle_package(now, envelope.kind, bytes) {
                    self.collected(now, envelope.from);
                } else if let Ok(sent) = Sent::decode(bytes) {
                    self.handle_package(now, &sent, Via::Frame);
                }
            }
            node::Event::Exchange(ExchangeEvent::Member(id)) => {
                self.registry.heard(*id, kind::WANT);
                self.liveness.heard(now, *id);
            }
            _ => return,
        }
        self.settle(now);
    }

    /// Something came from a node.
    fn heard(&mut self, now: Instant, origin: NodeId, kind: i32, bytes: usize, broadcast: bool) {
        self.registry.heard(origin, kind);
        self.liveness.heard(now, origin);
        let crossings = if broadcast { self.everywhere() } else { self.hops(origin) };
        let frame = Frame { kind, bytes, crossings };
        self.meter.record(now, &self.channel, &frame);
        self.noise.record(&self.channel, origin, &frame);
    }

    /// The links of the mesh.
    pub(super) fn everywhere(&self) -> Crossings {
        Crossings::Everywhere(
            u32::try_from(self.topology.places().count()).unwrap_or(u32::MAX).saturating_add(1),
        )
    }

    /// The links between a node and the gateway.
    pub(super) fn hops(&self, node: NodeId) -> Crossings {
        Crossings::Hops(self.topology.place(node).map_or(1, |place| place.hops))
    }

    /// The tree as it is. To be told once where the node ran before the fleet did; later changes come as events.
    pub fn handle_tree(&mut self, now: Instant, mesh: &Mesh) {
        self.look(now, mesh);
        self.settle(now);
    }

    fn look(&mut self, now: Instant, mesh: &Mesh) {
        let update = self.topology.handle_tree(now, &mesh.tree());
        for id in update.joined {
            self.registry.joined(now, id);
            self.stranger(now, id);
        }
        for id in update.left {
            self.registry.left(now, id);
            self.strangers.remove(&id);
            self.asked.remove(&id);
            if let Some(told) = self.reporting.remove(&id)
                && self.parted.len() < PARTED_MAX
            {
                self.parted.insert(id, told);
            }
        }
        self.topology_events(now, update.events);
        self.liveness.handle_topology(now, &self.topology);
        self.queries.handle_topology(now, mesh);
        self.reckon(now);
    }

    fn handle_delay(&mut self, now: Instant, from: NodeId, round_trip: Duration) {
        self.liveness.probe_answered(now, from);
        self.queries.handle_delay(now, from, round_trip);
        if let Some(place) = self.topology.place(from).filter(|_| self.crowded_until <= now) {
            self.fit.probe_answered(round_trip, place.hops);
        }
        let millis = round_trip.as_micros() as f64 / 1_000.0;
        self.digest(now, &[Reading::new(from, Metric::RoundTrip, millis, now, Source::Probe)]);
    }

    /// What telemetry and the status service have brought with a package of `sender`.
    fn collected(&mut self, now: Instant, sender: NodeId) {
        let mut told = Vec::new();
        while let Some(event) = self.collector.poll_event() {
            match event {
                CollectorEvent::Report { node, report } => {
                    self.handle_report(now, node, &report);
                    told.push(node);
                }
                CollectorEvent::Answer { node, q, values } => {
                    self.queries.handle_answer(now, node, q, values.as_deref());
                    self.digest(now, &readings(node, now, Source::Answer, &values.unwrap_or_default()));
                }
                CollectorEvent::Policy { node, number, taken } => self.policy_heard(now, node, number, taken),
            }
        }
        self.count_besides(now, sender, &told);
    }

    /// A relay sends once what it has to tell, with what it packed. What it sends besides, because that was more than a
    /// message or came late, is one message more on each link since those in it have met.
    fn count_besides(&mut self, now: Instant, sender: NodeId, told: &[NodeId]) {
        if told.contains(&sender) || !self.aggregates(sender) {
            return;
        }
        let Some(place) = self.topology.meeting(told) else { return };
        let crossings = Crossings::Hops(place.hops.saturating_sub(1));
        let frame = Frame { kind: kind::TELEMETRY_DELTA, bytes: ENVELOPE_BYTES, crossings };
        self.meter.record(now, &self.channel, &frame);
    }

    /// What a report took of the channel, with those before it that did not come.
    fn count_report(&mut self, now: Instant, node: NodeId, report: &Report) {
        let missing = u32::from(report.lost).min(LOST_MAX);
        self.lost.report(missing);
        let Some(place) = self.topology.place(node).copied().filter(|place| place.hops > 1) else { return };
        let frame = |bytes, crossings| Frame { kind: kind::TELEMETRY_DELTA, bytes, crossings };
        if self.aggregates(place.parent) {
            // Packed by a relay, it was a message of its own before, over one link, and then part of others as far as the
            // last link, where it was counted. Sent by itself it was counted for its whole way.
            let within = Crossings::Within(place.hops.saturating_sub(2));
            for frame in [frame(REPORT_BYTES, Crossings::Hops(1)), frame(ENTRY_BYTES, within)] {
                self.meter.record(now, &self.channel, &frame);
            }
            return;
        }
        // A relay that packs took reports with it when it restarted. And more in a row than this were not lost by chance: a
        // relay was away, or the node itself.
        if !self.can_aggregate(place.parent) {
            let by_chance = u32::from(report.lost) <= LOST_MAX;
            self.liveness.report_came(node, if by_chance { missing } else { 0 });
        }
        // Those before it that did not come took the channel too, half-way on average.
        let crossings = Crossings::Hops(place.hops.div_ceil(2) * missing);
        self.meter.record(now, &self.channel, &frame(REPORT_BYTES, crossings));
    }

    fn handle_report(&mut self, now: Instant, node: NodeId, report: &Report) {
        self.registry.heard(node, kind::TELEMETRY_DELTA);
        self.liveness.heard(now, node);
        self.count_report(now, node, report);
        if report.flags.has(Flags::SLEEPING) {
            self.liveness.sleeps(now, node, None);
        }
        // A node that has restarted has lost its policy, and one that is new was never given any.
        let uptime = report.values.iter().find(|(metric, _)| *metric == Metric::Uptime);
        let uptime = uptime.and_then(|(_, seconds)| u64::try_from(*seconds).ok());
        let started = uptime.map(|seconds| now - (Duration::from_secs(seconds) + report.age));
        if !self.still_reports(now, node, started) {
            self.want_policy(now, node);
        }
        self.queries.handle_report(now, node, report);
        self.digest(now, &readings(node, now - report.age, Source::Telemetry, &report.values));
    }

    fn handle_package(&mut self, now: Instant, sent: &Sent, via: Via) {
        self.commands.handle_sent(now, sent);
        let learnt = self.packages.handle(now, sent, via);
        self.digest(now, &learnt.readings);
        self.take_facts(now, &learnt);
        for finding in learnt.findings {
            match finding.what {
                What::Logged { when, text } => self.event(Event::Log { node: finding.node, when, text }),
                What::Sleeps(millis) => {
                    self.liveness.sleeps(now, finding.node, Some(Duration::from_millis(millis.into())));
                }
                _ => {}
            }
        }
    }

    /// Keeps what a node says in words; of a node that the tree has shown.
    fn take_facts(&mut self, now: Instant, learnt: &Learnt) {
        if self.registry.get(learnt.from).is_none() {
            return;
        }
        let text = |topic| learnt.fact(topic).map(str::to_owned);
        let identity = Identity {
            hardware: text(Topic::Hardware),
            version: text(Topic::Version),
            ..Identity::default()
        };
        self.identify(now, learnt.from, identity);
        if let Some(name) = learnt.fact(Topic::Name) {
            self.registry.name_itself(learnt.from, name);
        }
        // The registry forgets the longest absent when it is full, and what they said goes with them.
        if self.facts.len() > Registry::NODES_MAX {
            self.facts.retain(|node, _| self.registry.get(*node).is_some());
        }
        let known = self.facts.entry(learnt.from).or_default();
        known.extend(learnt.facts.iter().map(|fact| (fact.topic, fact.clone())));
    }

    fn identify(&mut self, now: Instant, node: NodeId, identity: Identity) {
        if self.registry.identify(node, identity) {
            let event = self.topology.note(now, node, crate::topology::What::FirmwareChanged);
            self.event(Event::Topology(event));
            // What it could is not known any more.
            self.stranger(now, node);
        }
    }

    /// Numbers that nodes told: restarts, anomalies, alerts.
    fn digest(&mut self, now: Instant, readings: &[Reading]) {
        for reading in readings.iter().filter(|reading| reading.is_sound()) {
            let Reading { node, metric, value, at, .. } = *reading;
            let reboot = match metric {
                Metric::ResetReason => {
                    self.reboots.reset_reason(node, value as u8);
                    None
                }
                Metric::Uptime => self.reboots.uptime(now, node, value as u64, at),
                Metric::Boots => self.reboots.boots(now, node, value as u32),
                Metric::Firmware => {
                    self.identify(now, node, Identity { image: Some(value as u32), ..Identity::default() });
                    None
                }
                _ => None,
            };
            if let Some(reboot) = reboot {
                self.rebooted(now, &reboot);
            }
        }
        let samples = self.store.handle(now, readings);
        self.detector.handle(now, &self.store, &samples);
        if self.settings.history {
            samples.into_iter().for_each(|sample| self.sample(sample));
        }
        self.judge_values(now, readings);
    }
}

/// Whole numbers of metrics as readings.
fn readings(node: NodeId, at: Instant, source: Source, values: &[(Metric, i64)]) -> Vec<Reading> {
    let reading = |(metric, value): &(Metric, i64)| {
        let scale = 10_f64.powi(metric.decimals() as i32);
        Reading::new(node, *metric, *value as f64 / scale, at, source)
    };
    values.iter().map(reading).collect()
}
