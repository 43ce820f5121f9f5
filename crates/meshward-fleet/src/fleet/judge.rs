//! From what was found to states that health and alerts know, and to events.

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::{Event, Fleet};
use crate::cause::{self, Reboot};
use crate::condition::{Condition, Subject, kind};
use crate::findings;
use crate::liveness::{Change, State};
use crate::reading::Reading;
use crate::signal::View;
use crate::topology;

/// What a state of a node is called as a condition, if it is one.
const fn named(state: State) -> Option<&'static str> {
    match state {
        State::Suspect => Some(kind::SUSPECT),
        State::Offline => Some(kind::OFFLINE),
        State::Unreachable { .. } => Some(kind::UNREACHABLE),
        _ => None,
    }
}

impl Fleet {
    /// Nodes live, or do not: what that means.
    pub(super) fn judge_lives(&mut self, now: Instant) {
        let changes: Vec<Change> = std::iter::from_fn(|| self.liveness.poll_event()).collect();
        if changes.is_empty() {
            return;
        }
        // Who is explained is known before anybody is told of a loss.
        let incidents = self.incidents.handle_changes(&changes);
        self.explain(now);
        for change in changes {
            let subject = Subject::Node(change.node);
            self.registry.touch(change.node);
            if change.from == State::Learning {
                // What was so before the gateway's start may be so no more.
                let was = [kind::SUSPECT, kind::OFFLINE, kind::UNREACHABLE];
                for was in was.into_iter().filter(|was| named(change.to) != Some(*was)) {
                    self.condition(now, &Condition::ended(was, subject, change.at));
                }
            }
            if let Some(was) = named(change.from).filter(|was| named(change.to) != Some(was)) {
                self.condition(now, &Condition::ended(was, subject, change.at));
            }
            if let Some(is) = named(change.to) {
                let evidence = format!("{}, because {}", change.to.name(), why(change.why));
                self.condition(now, &Condition::found(is, subject, change.at, evidence));
            }
            self.event(Event::Liveness(change));
        }
        self.judge_incidents(now, incidents);
    }

    /// Tells the alerts which losses an incident explains: those of everybody behind one node, and its own.
    fn explain(&mut self, now: Instant) {
        let branches = self.incidents.open().filter(|incident| incident.missing.len() > 1);
        let members = branches.flat_map(|incident| incident.missing.iter().map(|node| (*node, incident.id)));
        let explained: BTreeMap<NodeId, u64> = members.collect();
        let before = std::mem::replace(&mut self.explained, explained.clone());
        let gone = before.keys().filter(|node| !explained.contains_key(node)).map(|node| (*node, None));
        let news = explained.iter().filter(|(node, id)| before.get(node) != Some(id));
        let news: Vec<_> = gone.chain(news.map(|(node, id)| (*node, Some(*id)))).collect();
        for (node, incident) in news {
            self.engine.handle_cause(now, Subject::Node(node), incident);
        }
    }

    fn judge_incidents(&mut self, now: Instant, events: Vec<cause::Event>) {
        for event in events {
            let (cause::Event::Opened { incident, .. }
            | cause::Event::Grew { incident, .. }
            | cause::Event::Shrank { incident, .. }
            | cause::Event::Absorbed { incident, .. }
            | cause::Event::Closed { incident }
            | cause::Event::Explained { incident }) = event;
            self.tell_incident(now, incident);
            self.event(Event::Incident(event));
        }
    }

    /// A lost branch is one state, said of the link above its topmost node: that node may be well.
    fn tell_incident(&mut self, now: Instant, id: u64) {
        let open = self.incidents.get(id).filter(|incident| incident.closed.is_none());
        match open.filter(|incident| incident.missing.len() > 1) {
            Some(incident) => {
                let above = self.topology.place(incident.cause).map_or(self.own, |place| place.parent);
                let of_cause = |subject: &&Subject| matches!(subject, Subject::Link(one, other) if [one, other].contains(&&incident.cause));
                let before = self.incidents_before.iter().find(of_cause).copied();
                let subject = before.unwrap_or_else(|| Subject::link(above, incident.cause));
                let subject = *self.incident_subjects.entry(id).or_insert(subject);
                let evidence =
                    format!("{} nodes are lost behind node {}", incident.missing.len(), incident.cause);
                let condition = Condition::found(kind::INCIDENT, subject, incident.opened, evidence);
                self.condition(now, &condition);
            }
            None => {
                if let Some(subject) = self.incident_subjects.remove(&id) {
                    self.incidents_before.remove(&subject);
                    self.condition(now, &Condition::ended(kind::INCIDENT, subject, now));
                }
            }
        }
    }

    pub(super) fn topology_events(&mut self, now: Instant, events: Vec<topology::Event>) {
        for event in events {
            let change = event.find(&mut self.findings);
            self.judge_findings(now, change);
            self.event(Event::Topology(event));
        }
    }

    pub(super) fn judge_findings(
        &mut self,
        now: Instant,
        changes: impl IntoIterator<Item = findings::Change>,
    ) {
        for change in changes {
            let (finding, holds) = match change {
                findings::Change::Raised(finding) => (finding, true),
                findings::Change::Cleared(finding) => (finding, false),
            };
            let (name, subject) = (finding.kind.name(), Subject::Node(finding.subject));
            let condition = if holds {
                Condition::found(name, subject, finding.since, finding.evidence.to_string())
            } else {
                Condition::ended(name, subject, now)
            };
            self.condition(now, &condition);
            self.event(Event::Finding(change));
        }
    }

    /// A node has restarted.
    pub(super) fn rebooted(&mut self, now: Instant, reboot: &Reboot) {
        self.registry.touch(reboot.node);
        let event = self.topology.note(now, reboot.node, topology::What::Rebooted);
        self.event(Event::Topology(event));
        let explained = self.incidents.rebooted(now, reboot.node);
        self.judge_incidents(now, explained.into_iter().collect());
        let change = self.reboots.watch(reboot, &mut self.findings);
        self.judge_findings(now, change);
        self.commands.handle_restart(now, reboot.node);
    }

    /// Values came: what the detector and the rules make of them.
    pub(super) fn judge_values(&mut self, now: Instant, readings: &[Reading]) {
        while let Some(event) = self.detector.poll_event() {
            let condition = event.finding.condition(event.began);
            // Restarts are counted once, by whoever tells them from losses.
            if condition.kind != kind::REBOOT_LOOP {
                self.condition(now, &condition);
            }
            self.event(Event::Anomaly(event));
        }
        let nodes: BTreeSet<NodeId> = readings.iter().map(|reading| reading.node).collect();
        let view = View { store: &self.store, detector: &self.detector };
        nodes.into_iter().for_each(|node| self.engine.handle_node(now, view, node));
    }
}

/// Why a node's state is what it is, in words.
fn why(why: crate::liveness::Why) -> String {
    use crate::liveness::Why;
    match why {
        Why::InTree => "the tree shows it".to_owned(),
        Why::Heard => "it was heard".to_owned(),
        Why::Overdue => "its report is overdue".to_owned(),
        Why::NoAnswer { probes } => format!("it did not answer {probes} probes"),
        Why::LeftTree => "it left the tree".to_owned(),
        Why::Inherited => "the node above it is lost".to_owned(),
        Why::Announced => "it said so".to_owned(),
        Why::DidNotReturn => "the nodes around it came back without it".to_owned(),
        Why::Ordered => "an operator said so".to_owned(),
    }
}
