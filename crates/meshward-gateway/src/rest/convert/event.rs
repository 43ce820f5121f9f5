//! What happened, in words.

use meshward_core::wire::NodeId;
use meshward_fleet::cause::{self, Incidents};
use meshward_fleet::commands::End;
use meshward_fleet::fleet;
use meshward_fleet::liveness::State;
use meshward_fleet::topology::What;
use meshward_fleet::{alert, findings};

use super::super::model::{Event, Events};
use super::timestamp;
use crate::service::{Gateway, Told};
use crate::store::EventRow;

/// Kind, name, node, words.
type Words = (&'static str, String, Option<NodeId>, String);

/// What the keeper writes beside an event's columns.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Detail {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// An event from its row; nothing of one whose words cannot be read.
pub(in super::super) fn past_event(row: EventRow) -> Option<Event> {
    let Detail { name, text } = serde_json::from_str(&row.detail).ok()?;
    Some(Event { id: row.id, at: row.at, kind: row.kind, name, node: row.node, text })
}

fn place(what: What) -> String {
    match what {
        What::Joined { parent } => format!("is in the mesh, below node {parent}"),
        What::Left { parent } => format!("has left the mesh; it was below node {parent}"),
        What::ParentChanged { from, to } => format!("hangs below node {to} now, not {from}"),
        What::Partition { nodes } => format!("{nodes} nodes left at once, this one at the top"),
        What::Merged { nodes } => format!("{nodes} nodes came at once, this one at the top"),
        What::RootChanged { is_root: true } => "is the root now".to_owned(),
        What::RootChanged { is_root: false } => "nobody is the root now".to_owned(),
        What::FlappingBegan { changes } => {
            format!("changes its place again and again: {changes} times lately")
        }
        What::FlappingEnded { changes } => format!("keeps its place again, after {changes} changes"),
        What::Rebooted => "has restarted".to_owned(),
        What::FirmwareChanged => "runs other firmware than before".to_owned(),
    }
}

fn incident(incidents: &Incidents, event: &cause::Event) -> (&'static str, Option<NodeId>, String) {
    let cause = |id: &u64| incidents.get(*id).map(|incident| incident.cause);
    match event {
        cause::Event::Opened { incident, cause, missing } => {
            ("opened", Some(*cause), format!("incident {incident}: {missing} nodes are lost"))
        }
        cause::Event::Grew { incident, missing } => {
            ("grew", cause(incident), format!("incident {incident}: {missing} nodes are lost now"))
        }
        cause::Event::Shrank { incident, missing } => {
            ("shrank", cause(incident), format!("incident {incident}: {missing} nodes are lost still"))
        }
        cause::Event::Absorbed { incident, by } => {
            ("absorbed", cause(incident), format!("incident {incident} is part of incident {by}"))
        }
        cause::Event::Closed { incident } => {
            ("closed", cause(incident), format!("incident {incident} is over"))
        }
        cause::Event::Explained { incident } => {
            ("explained", cause(incident), format!("incident {incident} was a restart of its cause"))
        }
    }
}

fn transition(change: &alert::Transition) -> (String, String) {
    let name = |state: Option<alert::State>| state.map_or("none", alert::State::name);
    let by = change.by.as_ref().map_or_else(String::new, |by| format!(", by {by}"));
    let text = format!("{}, of {}: {}{by}", change.rule, change.subject, name(change.to));
    (name(change.to).to_owned(), text)
}

/// What an event says; `None` for what readers get by other ways.
fn words(gateway: &Gateway, event: &fleet::Event) -> Option<Words> {
    Some(match event {
        fleet::Event::Topology(event) => {
            ("topology", event.what.name().to_owned(), Some(event.node), place(event.what))
        }
        fleet::Event::Liveness(change) => {
            let through = match change.to {
                State::Unreachable { through } => format!(", behind node {through}"),
                _ => String::new(),
            };
            let text = format!("was {}, is {}{through}", change.from.name(), change.to.name());
            ("liveness", change.to.name().to_owned(), Some(change.node), text)
        }
        fleet::Event::Incident(event) => {
            let (name, node, text) = incident(gateway.fleet().incidents(), event);
            ("incident", name.to_owned(), node, text)
        }
        fleet::Event::Finding(change) => {
            let (finding, end) = match change {
                findings::Change::Raised(finding) => (finding, ""),
                findings::Change::Cleared(finding) => (finding, ", is over"),
            };
            let name = finding.kind.name();
            ("finding", name.to_owned(), Some(finding.subject), format!("{name}: {}{end}", finding.evidence))
        }
        fleet::Event::Anomaly(event) => {
            let name = if event.began { "began" } else { "ended" };
            ("anomaly", name.to_owned(), Some(event.finding.node), format!("{}: {name}", event.finding))
        }
        fleet::Event::Alert(change) => {
            let (name, text) = transition(change);
            ("alert", name, change.subject.node(), text)
        }
        fleet::Event::Command(ended) => {
            let (name, said) = match &ended.end {
                End::Answered(answer) => ("answered", format!(": {}", answer.text.to_str())),
                End::Restarted => ("restarted", String::new()),
                End::TimedOut => ("timed_out", String::new()),
                End::Cancelled => ("cancelled", String::new()),
            };
            let text = format!("command {} ({}) {name}{said}", ended.cid, ended.code.name());
            ("command", name.to_owned(), Some(ended.node), text)
        }
        fleet::Event::Log { node, text, .. } => ("log", "log".to_owned(), Some(*node), text.clone()),
        fleet::Event::Period(period) => {
            let bound = if period.bound { ", as the budget has it" } else { "" };
            let text = format!("nodes report every {:.0} s now{bound}", period.value.as_secs_f64());
            ("period", "changed".to_owned(), None, text)
        }
        fleet::Event::Query(_) | fleet::Event::Notification(_) => return None,
    })
}

/// An event for readers; `None` of what they get by other ways.
fn event(gateway: &Gateway, told: &Told) -> Option<Event> {
    let (kind, name, node, text) = words(gateway, &told.event)?;
    let (kind, node) = (kind.to_owned(), node.map(|node| node.0));
    Some(Event { id: told.id, at: timestamp(gateway.civil(told.at)), kind, name, node, text })
}

/// At most `limit` events after the one of this number.
pub(crate) fn events(gateway: &Gateway, after: u64, limit: usize) -> Events {
    let told: Vec<&Told> = gateway.events(after).take(limit).collect();
    let next = told.last().map_or(after, |told| told.id);
    let lost = told.first().map_or(0, |told| told.id.saturating_sub(after).saturating_sub(1));
    Events { items: told.iter().filter_map(|told| event(gateway, told)).collect(), next, lost }
}

/// The same of those about one node; what is passed over counts as read.
pub(in super::super) fn node_events(gateway: &Gateway, id: NodeId, after: u64, limit: usize) -> Events {
    let lost = gateway.events(after).next().map_or(0, |told| told.id.saturating_sub(after).saturating_sub(1));
    let about = gateway.events(after).filter_map(|told| event(gateway, told));
    let items: Vec<Event> = about.filter(|event| event.node == Some(id.0)).take(limit).collect();
    let whole = items.len() < limit;
    let last = items.last().map_or(after, |event| event.id);
    Events { items, next: if whole { gateway.last_event().max(after) } else { last }, lost }
}
