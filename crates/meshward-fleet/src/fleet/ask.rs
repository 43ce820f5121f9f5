//! What goes out: probes, queries and policies, as far as the budget allows.

use meshward_core::telemetry::Policy;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, kind, peek};

use super::room::ROOM_AGAIN;
use super::{Event, Fleet, Stranger, TICK, TRANSMITS_MAX, Told, Transmit};
use crate::condition::{Condition, Subject, kind as condition};
use crate::findings::{self, drift};
use crate::overhead::{Frame, PROBE_BYTES, Reports, Urgency};
use crate::registry::Capability;

/// A node that has joined is told after so long: it may move once more.
const SETTLES: Duration = Duration::from_secs(3);
/// Who did not acknowledge a policy is told again; with [`ASKED_LAST`] who never has.
const ASKED_AGAIN: Duration = Duration::from_secs(20);
const ASKED_LAST: Duration = Duration::from_secs(3_600);
/// Uptimes come in whole seconds, and reports take a moment.
const CLOCKS: Duration = Duration::from_secs(3);
/// Probes so near to one another wait for each other on the channel, and say little of what one takes.
const CROWD: Duration = Duration::from_secs(1);
/// A report's body, on average: 18 bytes, and 57 each twentieth time.
const REPORT_BODY: usize = 20;

impl Fleet {
    /// Hands on what the machines want sent and told, within the budget.
    pub(super) fn settle(&mut self, now: Instant) {
        self.judge_lives(now);
        self.greet(now);
        while let Some(probe) = self.liveness.poll_probe() {
            let legs = self.probe_legs(probe.node);
            let urgency = Urgency::after(probe.unanswered);
            if self.governor.allow(now, &self.channel, &self.meter, &legs, urgency) {
                self.probe(now, probe.node, &legs);
            } else {
                self.liveness.probe_refused(now, probe.node);
            }
        }
        self.send_collected(now);
        while let Some(transmit) = self.queries.poll_transmit() {
            match transmit {
                Transmit::One(node, frame) => self.send(now, node, frame),
                Transmit::All(frame) => {
                    let crossings = self.everywhere();
                    self.record(now, &frame, crossings);
                    self.transmit(Transmit::All(frame));
                }
                Transmit::Probe(node) => {
                    let legs = self.probe_legs(node);
                    self.probe(now, node, &legs);
                }
            }
        }
        while let Some(event) = self.queries.poll_event() {
            self.event(Event::Query(event));
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

    /// A probe and its answer.
    fn probe_legs(&self, node: NodeId) -> [Frame; 2] {
        PROBE_BYTES.map(|bytes| Frame { kind: kind::TIME_DELAY, bytes, crossings: self.hops(node) })
    }

    /// A probe goes. Its answer is no message for the application: it is counted with the question.
    fn probe(&mut self, now: Instant, node: NodeId, legs: &[Frame; 2]) {
        legs.iter().for_each(|leg| self.meter.record(now, &self.channel, leg));
        self.transmit(Transmit::Probe(node));
        if self.probed_at.is_some_and(|at| now.since(at) < CROWD) {
            self.crowded_until = now + CROWD;
        }
        self.probed_at = Some(now);
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

    /// A node has joined, and may be one that reports: it is told how often when it has settled. One that has only
    /// changed its place still knows, and is given the time to show it.
    pub(super) fn stranger(&mut self, now: Instant, node: NodeId) {
        if self.settings.telemetry {
            let shows = self.parted.get(&node).map_or(Duration::ZERO, |told| told.period + SETTLES);
            self.strangers.insert(node, Stranger { due: now + SETTLES + shows, asked: 0 });
        }
    }

    /// A node that reports is to be told how often, when the budget has room.
    pub(super) fn want_policy(&mut self, now: Instant, node: NodeId) {
        if self.settings.telemetry && self.topology.place(node).is_some() {
            let stranger = self.strangers.entry(node).or_insert(Stranger { due: now, asked: 0 });
            stranger.due = stranger.due.min(now);
        }
    }

    /// Tells one how often to report that is to be told, if the budget has room. Whoever acknowledges
    /// it speaks our telemetry; nobody is asked before, for that would be half of the cost again.
    fn greet(&mut self, now: Instant) {
        if now < self.greet_next {
            return;
        }
        let due = self.strangers.iter().filter(|(_, stranger)| stranger.due <= now);
        // Of those who have waited as long, relays first: what is behind them is packed the sooner.
        let turn = |(node, stranger): &(&NodeId, &Stranger)| {
            (stranger.due, self.topology.place(**node).map(|place| place.hops))
        };
        let first = due.min_by_key(turn).map(|(node, stranger)| (*node, stranger.asked));
        if let Some((node, asked)) = first {
            let legs = self.legs(node, kind::TELEMETRY_POLICY);
            if !self.has_room(now, kind::TELEMETRY_POLICY, &legs) {
                let later = self.strangers.values_mut().filter(|stranger| stranger.due <= now);
                later.for_each(|stranger| stranger.due = now + ROOM_AGAIN);
                return;
            }
            self.strangers.remove(&node);
            self.asked.insert(node, asked.saturating_add(1));
            self.give_policy(now, node);
            self.send_collected(now);
            // One after the other, so that all together take a third of the budget.
            let nanos = legs.iter().map(|leg| leg.nanos(&self.channel)).sum::<u64>();
            let share = self.governor.budget() / 3.0;
            self.greet_next = now + Duration::from_micros((nanos as f64 / (share * 10.0)) as u64);
        }
    }

    /// When somebody is to be greeted next.
    pub(super) fn greet_at(&self) -> Option<Instant> {
        self.strangers.values().map(|stranger| stranger.due).min().map(|due| due.max(self.greet_next))
    }

    fn give_policy(&mut self, now: Instant, node: NodeId) {
        self.policy_number = self.policy_number.wrapping_add(1);
        let period = self.governor.told(node);
        let seconds = period.as_micros().div_ceil(1_000_000);
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
        let acked = self.reporting.get(&node).is_some_and(|told| told.acked);
        self.reporting.insert(node, Told { number: policy.number, period, at: now, acked });
        self.collector.set_policy(now, node, policy);
    }

    /// A node has said what it makes of its policy, or nothing.
    pub(super) fn policy_heard(&mut self, now: Instant, node: NodeId, number: u8, taken: Option<bool>) {
        let Some(told) = self.reporting.get_mut(&node).filter(|told| told.number == number) else { return };
        if taken == Some(true) {
            told.acked = true;
            let period = told.period;
            self.registry.touch(node);
            self.asked.remove(&node);
            self.registry.can(node, Capability::Telemetry);
            if self.settings.aggregate {
                self.registry.can(node, Capability::Aggregation);
            }
            self.liveness.expect(now, node, Some(period));
            self.plan(now);
            return;
        }
        self.reporting.remove(&node);
        self.registry.touch(node);
        self.liveness.expect(now, node, None);
        if self.topology.place(node).is_some() {
            // It may not have been heard: the sooner again, the more likely that is.
            let asked = self.asked.get(&node).copied().unwrap_or(1);
            let speaks =
                |record: &crate::registry::Record| record.capabilities.contains(&Capability::Telemetry);
            let refuses = taken == Some(false);
            let after = match asked {
                _ if refuses => ASKED_LAST,
                _ if self.registry.get(node).is_some_and(speaks) => ASKED_AGAIN,
                0..=2 => ASKED_AGAIN,
                _ => ASKED_LAST,
            };
            self.strangers.insert(node, Stranger { due: now + after, asked });
        }
    }

    /// A node that left the tree with a policy reports by it, so it need not be told again.
    pub(super) fn still_reports(&mut self, now: Instant, node: NodeId, started: Option<Instant>) -> bool {
        let current = self.governor.told(node);
        let parted = self.parted.remove(&node).filter(|told| told.acked && told.period == current);
        let told = self.reporting.get(&node).copied().or(parted);
        let Some(told) = told.filter(|told| started.is_none_or(|started| told.at + CLOCKS >= started)) else {
            return false;
        };
        if self.reporting.insert(node, told).is_none() {
            self.strangers.remove(&node);
            self.liveness.expect(now, node, Some(told.period));
            self.plan(now);
        }
        true
    }

    /// Whether a node packs, or will when it has been told again after a restart.
    pub(super) fn can_aggregate(&self, node: NodeId) -> bool {
        let can = |record: &crate::registry::Record| record.capabilities.contains(&Capability::Aggregation);
        self.settings.aggregate && self.registry.get(node).is_some_and(can)
    }

    /// Whether a node packs the reports of those behind it with its own.
    pub(super) fn aggregates(&self, node: NodeId) -> bool {
        self.settings.aggregate && self.reporting.get(&node).is_some_and(|told| told.acked)
    }

    /// What one round of the reports of those whom `reports` says takes.
    pub fn round(&self, reports: impl Fn(NodeId) -> bool) -> Reports {
        // Who is about to report will also pack: else the first period would be one that nobody needs.
        let packs = |node| self.settings.aggregate && reports(node);
        Reports::of(&self.topology, REPORT_BODY, &reports, packs)
    }

    /// What the reports of those who report now will take.
    pub(super) fn plan(&mut self, now: Instant) {
        let reports = self.round(|node| self.reporting.contains_key(&node));
        self.governor.plan(now, &self.channel, &reports);
    }

    /// Reckons how often nodes may report, with those who may be about to; tells them when that has changed.
    pub(super) fn reckon(&mut self, now: Instant) {
        let asked = |node| self.asked.get(&node).is_none_or(|asked| *asked <= 2);
        let coming = |node| self.strangers.contains_key(&node) && asked(node);
        let reports = self.round(|node| self.reporting.contains_key(&node) || coming(node));
        self.governor.expect_lost(self.lost.share());
        if let Some(period) = self.governor.reckon(now, &self.channel, &self.meter, &reports) {
            let nodes: Vec<NodeId> = self.reporting.keys().copied().collect();
            nodes.into_iter().for_each(|node| self.want_policy(now, node));
            self.event(Event::Period(period));
        }
        self.plan(now);
    }

    /// What is looked at once a minute.
    pub(super) fn tick(&mut self, now: Instant) {
        // What changes with every report is kept once a minute.
        let heard =
            self.liveness.iter().filter(|(_, status)| status.heard.is_some_and(|at| now.since(at) <= TICK));
        heard.for_each(|(node, _)| self.registry.touch(node));
        self.tick_at = now + TICK;
        self.channel = self.fit.channel();
        self.reckon(now);
        let drifting = drift::find(self.registry.iter().map(|(node, record)| (node, &record.identity)));
        let mut changes = self.findings.replace(now, findings::Kind::Drift, drifting);
        changes.extend(self.noise.handle_timeout(now, &mut self.findings));
        changes.extend(self.reboots.handle_timeout(now, &mut self.findings));
        self.judge_findings(now, changes);
        let (share, budget) = (self.meter.window(now), self.settings.budget_percent);
        let state = if share > budget {
            let evidence = format!("status took {share:.2} % of the channel, of {budget:.2} %");
            Condition::found(condition::OVERHEAD, Subject::Mesh, now, evidence)
        } else {
            Condition::ended(condition::OVERHEAD, Subject::Mesh, now)
        };
        self.condition(now, &state);
    }
}
