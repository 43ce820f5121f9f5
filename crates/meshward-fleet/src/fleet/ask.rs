//! What goes out: probes, queries and policies, as far as the budget allows.

use meshward_core::mesh::Mesh;
use meshward_core::telemetry::{Metric, Policy};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, kind, peek};

use super::{Event, Fleet, TICK, TRANSMITS_MAX, Transmit};
use crate::condition::{Condition, Subject, kind as condition};
use crate::findings::{self, drift};
use crate::overhead::{Frame, Reports, Urgency};
use crate::query::{Outcome, QueryEvent, Request};
use crate::registry::Capability;

/// A node that has joined is asked what it is after so long: it may move once more.
const SETTLES: Duration = Duration::from_secs(3);
/// Nodes that are asked together.
const GREETED_MAX: usize = 250;
/// How long they may take.
const GREETING: Duration = Duration::from_secs(30);
/// When the budget has no room, or a node says nothing, it is asked again; each time after twice as long.
const GREET_AGAIN: Duration = Duration::from_secs(20);
const GREET_DOUBLINGS: u32 = 6;
/// A delay probe on a link, there or back.
const PROBE_BYTES: usize = 112;
/// The usual report's body.
const REPORT_BODY: usize = 16;
/// Bytes of a query or its answer.
const QUERY_BYTES: usize = 130;

/// A node whose kind is not known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    /// When it is to be asked; `None` while it is.
    due: Option<Instant>,
    /// How often it has been.
    tries: u32,
}

impl Fleet {
    /// Hands on what the machines want sent and told, within the budget.
    pub(super) fn settle(&mut self, now: Instant) {
        self.judge_lives(now);
        while let Some(probe) = self.liveness.poll_probe() {
            let leg = Frame { kind: kind::TIME_DELAY, bytes: PROBE_BYTES, crossings: self.hops(probe.node) };
            let urgency = Urgency::after(probe.unanswered);
            if self.governor.allow(now, &self.channel, &self.meter, &[leg, leg], urgency) {
                // Its answer is no message for the application: it is counted with the question.
                [leg, leg].iter().for_each(|leg| self.meter.record(now, &self.channel, leg));
                self.transmit(Transmit::Probe(probe.node));
            } else {
                self.liveness.probe_refused(now, probe.node);
            }
        }
        while let Some((node, frame)) = self.collector.poll_transmit() {
            self.send(now, node, frame);
        }
        while let Some(transmit) = self.queries.poll_transmit() {
            match transmit {
                Transmit::One(node, frame) => self.send(now, node, frame),
                Transmit::All(frame) => {
                    let crossings = self.everywhere();
                    self.record(now, &frame, crossings);
                    self.transmit(Transmit::All(frame));
                }
                Transmit::Probe(node) => {
                    let leg =
                        Frame { kind: kind::TIME_DELAY, bytes: PROBE_BYTES, crossings: self.hops(node) };
                    [leg, leg].iter().for_each(|leg| self.meter.record(now, &self.channel, leg));
                    self.transmit(Transmit::Probe(node));
                }
            }
        }
        while let Some(event) = self.queries.poll_event() {
            self.query_event(now, event);
        }
        while let Some(ended) = self.commands.poll_ended() {
            self.event(Event::Command(ended));
        }
        while let Some(transition) = self.engine.poll_transition() {
            self.event(Event::Alert(transition));
        }
        while let Some(notification) = self.engine.poll_notification() {
            self.event(Event::Notification(notification));
        }
    }

    /// A package for one node.
    pub(super) fn send(&mut self, now: Instant, node: NodeId, frame: Vec<u8>) {
        let crossings = self.hops(node);
        self.record(now, &frame, crossings);
        self.transmit(Transmit::One(node, frame));
    }

    fn record(&mut self, now: Instant, frame: &[u8], crossings: crate::overhead::Crossings) {
        let kind = peek(frame).map_or(0, |envelope| envelope.kind);
        self.meter.record(now, &self.channel, &Frame { kind, bytes: frame.len() + 1, crossings });
    }

    fn transmit(&mut self, transmit: Transmit) {
        if self.transmits.len() >= TRANSMITS_MAX {
            self.dropped.transmits = self.dropped.transmits.saturating_add(1);
        } else {
            self.transmits.push_back(transmit);
        }
    }

    /// A node whose kind is not known is to be asked.
    pub(super) fn stranger(&mut self, now: Instant, node: NodeId) {
        if self.settings.telemetry {
            self.strangers.insert(node, Stranger { due: Some(now + SETTLES), tries: 0 });
            self.plan_greeting();
        }
    }

    fn plan_greeting(&mut self) {
        self.greet_at = self.strangers.values().filter_map(|stranger| stranger.due).min();
    }

    /// Asks those who have joined what they are: whoever answers is told to report.
    pub(super) fn greet(&mut self, now: Instant, mesh: &Mesh) {
        if self.greet_at.is_none_or(|due| due > now) {
            return;
        }
        let due = self.strangers.iter().filter(|(_, stranger)| stranger.due.is_some_and(|due| due <= now));
        let nodes: Vec<NodeId> = due.map(|(node, _)| *node).take(GREETED_MAX).collect();
        if !nodes.is_empty() {
            let legs: Vec<Frame> = nodes
                .iter()
                .map(|node| Frame {
                    kind: kind::STATUS_QUERY,
                    bytes: QUERY_BYTES,
                    crossings: self.hops(*node),
                })
                .collect();
            let allowed = self.governor.allow(now, &self.channel, &self.meter, &legs, Urgency::Urgent);
            let request = Request {
                nodes: nodes.clone(),
                metrics: vec![Metric::Uptime, Metric::Firmware],
                max_age: Duration::ZERO,
                timeout: GREETING,
            };
            let query = allowed.then(|| self.queries.start(now, request, mesh)).and_then(Result::ok);
            self.own_queries.extend(query);
            for node in nodes {
                let Some(stranger) = self.strangers.get_mut(&node) else { continue };
                stranger.due = query.is_none().then_some(now + GREET_AGAIN);
                stranger.tries += u32::from(query.is_some());
            }
        }
        self.plan_greeting();
    }

    fn query_event(&mut self, now: Instant, event: QueryEvent) {
        match event {
            QueryEvent::Outcome { query, node, outcome } if self.own_queries.contains(&query) => {
                match outcome {
                    Outcome::TimedOut => {
                        if let Some(stranger) = self.strangers.get_mut(&node) {
                            let again = GREET_AGAIN.saturating_mul(1 << stranger.tries.min(GREET_DOUBLINGS));
                            stranger.due = Some(now + again);
                        }
                    }
                    _ => _ = self.strangers.remove(&node),
                }
                if matches!(outcome, Outcome::Answered { .. }) {
                    self.give_policy(now, node);
                }
                self.plan_greeting();
            }
            QueryEvent::Finished { query, .. } if self.own_queries.remove(&query) => {}
            event => self.event(Event::Query(event)),
        }
    }

    /// Tells a node how often to report.
    pub(super) fn give_policy(&mut self, now: Instant, node: NodeId) {
        if !self.settings.telemetry || self.topology.place(node).is_none() {
            return;
        }
        self.policy_number = self.policy_number.wrapping_add(1);
        let seconds = self.governor.period().value.as_micros().div_ceil(1_000_000);
        let pmax_s = u16::try_from(seconds).unwrap_or(u16::MAX);
        let policy = Policy {
            number: self.policy_number,
            aggregate: self.settings.aggregate,
            // What changes between two reports waits for the next: the budget has room for no more.
            pmin_s: pmax_s,
            pmax_s,
            keyframe_s: pmax_s.saturating_mul(20).clamp(600, 3_600),
            ..Policy::default()
        };
        self.reporting.insert(node, policy.number);
        self.collector.set_policy(now, node, policy);
    }

    /// A node has said what it makes of its policy, or nothing.
    pub(super) fn policy_heard(&mut self, now: Instant, node: NodeId, number: u8, taken: Option<bool>) {
        if self.reporting.get(&node) != Some(&number) {
            return;
        }
        if taken == Some(true) {
            self.registry.can(node, Capability::Telemetry);
            if self.settings.aggregate {
                self.registry.can(node, Capability::Aggregation);
            }
            self.liveness.expect(now, node, Some(self.governor.period().value));
        } else {
            self.reporting.remove(&node);
            self.liveness.expect(now, node, None);
        }
    }

    /// Whether a node packs the reports of those behind it with its own.
    pub(super) fn aggregates(&self, node: NodeId) -> bool {
        let can = |record: &crate::registry::Record| record.capabilities.contains(&Capability::Aggregation);
        self.settings.aggregate && self.registry.get(node).is_some_and(can)
    }

    /// Reckons how often nodes may report; tells them when that has changed.
    pub(super) fn reckon(&mut self, now: Instant) {
        let reports = Reports::of(
            &self.topology,
            REPORT_BODY,
            |node| self.reporting.contains_key(&node),
            |node| self.aggregates(node),
        );
        if let Some(period) = self.governor.reckon(now, &self.channel, &self.meter, &reports) {
            let nodes: Vec<NodeId> = self.reporting.keys().copied().collect();
            nodes.into_iter().for_each(|node| self.give_policy(now, node));
            self.event(Event::Period(period));
        }
    }

    /// What is looked at once a minute.
    pub(super) fn tick(&mut self, now: Instant) {
        self.tick_at = now + TICK;
        self.channel = self.fit.channel();
        self.reckon(now);
        let drifting = drift::find(self.registry.iter().map(|(node, record)| (node, &record.identity)));
        let mut changes = self.findings.replace(now, findings::Kind::Drift, drifting);
        changes.extend(self.noise.handle_timeout(now, &mut self.findings));
        changes.extend(self.reboots.handle_timeout(now, &mut self.findings));
        self.judge_findings(now, changes);
        let (share, budget) = (self.meter.shares(now).status(), self.governor.budget());
        let state = if share > budget {
            let evidence = format!("status took {share:.2} % of the channel, of {budget:.2} %");
            Condition::found(condition::OVERHEAD, Subject::Mesh, now, evidence)
        } else {
            Condition::ended(condition::OVERHEAD, Subject::Mesh, now)
        };
        self.condition(now, &state);
    }
}
