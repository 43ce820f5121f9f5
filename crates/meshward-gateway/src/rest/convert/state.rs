//! The state of the mesh, for readers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use meshward_core::node::Node as MeshNode;
use meshward_core::telemetry::Metric as Measure;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::alert::{self, Purpose, Suppression};
use meshward_fleet::cause;
use meshward_fleet::commands::{End, Ended};
use meshward_fleet::health::{self, MeshScore, Trend};
use meshward_fleet::liveness::State;
use meshward_fleet::overhead::Class;
use meshward_fleet::packages;
use meshward_fleet::query::Outcome;
use meshward_fleet::reading::{Doubt, Source};
use meshward_fleet::series::Last;

use super::super::model::{
    Alert, CommandEnd, CommandOutcome, Comment, Deduction, Fact, Finding, Health, Incident, Influx, Label,
    Link, Mesh, Metric, Node, NodeState, Overhead, PastTopology, QueryAnswer, QueryLine, QueryOutcome,
    QueryProgress, Score, Status, Topology, Value,
};
use super::{seconds, timestamp};
use crate::service::{Asked, Gateway};

fn at(gateway: &Gateway, at: Instant) -> Timestamp {
    timestamp(gateway.civil(at))
}

const fn state(state: State) -> NodeState {
    match state {
        State::Learning => NodeState::Learning,
        State::Online => NodeState::Online,
        State::Suspect => NodeState::Suspect,
        State::Offline => NodeState::Offline,
        State::Sleeping => NodeState::Sleeping,
        State::Unreachable { .. } => NodeState::Unreachable,
        State::Forgotten => NodeState::Forgotten,
    }
}

fn source(source: Source) -> Cow<'static, str> {
    match source {
        Source::Tree => "tree".into(),
        Source::Probe => "probe".into(),
        Source::Package(kind) => format!("package_{kind}").into(),
        Source::Telemetry => "telemetry".into(),
        Source::Answer => "answer".into(),
        Source::Update => "update".into(),
    }
}

const fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::Absurd => "absurd",
        Doubt::Type => "type",
        Doubt::Guessed => "guessed",
    }
}

fn metric(gateway: &Gateway, measure: Measure, last: &Last) -> Metric {
    Metric {
        name: measure.name().into(),
        value: last.value,
        unit: measure.unit().into(),
        observed_at: at(gateway, last.at),
        source: source(last.source),
        doubt: last.doubt.map(|why| doubt(why).into()),
    }
}

fn topic(topic: packages::Topic) -> String {
    use packages::Topic;
    match topic {
        Topic::Version => "version",
        Topic::FirmwareMd5 => "firmware_md5",
        Topic::Hardware => "hardware",
        Topic::Name => "name",
        Topic::Location => "location",
        Topic::Group => "group",
        Topic::Organization => "organization",
        Topic::Customer => "customer",
        Topic::LastError => "last_error",
        Topic::Advice => "advice",
        Topic::MeshId => "mesh_id",
        Topic::GatewayAddress => "gateway_address",
        Topic::RouterName => "router_name",
        Topic::BridgeRole => "bridge_role",
        Topic::TimeSource => "time_source",
        Topic::Setting(name) => return format!("setting_{name}"),
    }
    .to_owned()
}

fn trend(trend: Trend) -> String {
    match trend {
        Trend::Up => "up",
        Trend::Down => "down",
        Trend::Steady => "steady",
    }
    .to_owned()
}

fn score(score: health::Score) -> Score {
    let deduction = |lost: health::Deduction| Deduction {
        rule: lost.rule,
        points: lost.points.into(),
        node: None,
        evidence: lost.evidence,
        advice: lost.advice,
    };
    Score {
        points: score.points,
        level: score.level.name().to_owned(),
        trend: trend(score.trend),
        deductions: score.deductions.into_iter().map(deduction).collect(),
    }
}

fn mesh_score(score: MeshScore) -> Score {
    let deduction = |lost: health::MeshDeduction| Deduction {
        rule: lost.rule,
        points: (lost.points * 10.0).round() / 10.0,
        node: lost.worst.map(|node| node.0),
        evidence: lost.evidence,
        advice: lost.advice,
    };
    Score {
        points: (score.nodes > 0).then_some(score.points),
        level: score.level.name().to_owned(),
        trend: trend(score.trend),
        deductions: score.deductions.into_iter().map(deduction).collect(),
    }
}

/// A node that the mesh has shown.
pub(in super::super) fn node(gateway: &mut Gateway, now: Instant, id: NodeId) -> Option<Node> {
    let score = score(gateway.fleet_mut().score(now, id));
    let gateway = &*gateway;
    let fleet = gateway.fleet();
    let record = fleet.registry().get(id)?;
    let life = fleet.liveness().get(id);
    let place = fleet.topology().place(id);
    // Who is remembered and not watched is there if the tree says so.
    let seen = if record.present { NodeState::Online } else { NodeState::Offline };
    let facts = fleet.facts(id).map(|fact| Fact {
        topic: topic(fact.topic),
        text: fact.text.clone(),
        observed_at: at(gateway, fact.at),
        source: source(fact.source).into_owned(),
    });
    Some(Node {
        id: id.0,
        name: record.name.clone(),
        state: life.map_or(seen, |life| state(life.state)),
        since: at(gateway, life.map_or(record.since, |life| life.since)),
        last_heard_at: life.and_then(|life| life.heard).map(|heard| at(gateway, heard)),
        period_seconds: life.and_then(|life| life.period).map(seconds),
        family: record.family.name().to_owned(),
        joins: record.joins,
        parent: place.map(|place| place.parent.0),
        hops: place.map(|place| place.hops),
        root: place.is_some_and(|place| place.root),
        time_authority: place.is_some_and(|place| place.time_authority),
        tags: record.tags.iter().cloned().collect(),
        score,
        metrics: fleet.series().told(id).map(|(measure, last)| metric(gateway, measure, &last)).collect(),
        facts: facts.collect(),
    })
}

/// All of them, in order of id.
pub(in super::super) fn nodes(gateway: &mut Gateway, now: Instant) -> Vec<Node> {
    let ids: Vec<NodeId> = gateway.registry().iter().map(|(id, _)| id).collect();
    ids.into_iter().filter_map(|id| node(gateway, now, id)).collect()
}

pub(crate) fn topology(gateway: &mut Gateway, now: Instant, mesh: &MeshNode) -> Topology {
    let ids: Vec<NodeId> = gateway.topology().places().map(|(id, _)| id).collect();
    let nodes = ids.into_iter().filter_map(|id| node(gateway, now, id)).collect();
    let links = gateway.topology().links().map(|link| Link { from: link.from.0, to: link.to.0 }).collect();
    Topology { gateway: mesh.id().0, revision: gateway.topology().revision(), nodes, links }
}

/// The tree in the language of Graphviz, nodes by their names and states.
pub(in super::super) fn dot(gateway: &Gateway) -> String {
    let fleet = gateway.fleet();
    fleet.topology().dot(|id| {
        let label = fleet.registry().label(id);
        match fleet.liveness().get(id).map(|life| life.state) {
            Some(State::Online) | None => label,
            Some(other) => format!("{label}, {}", other.name()),
        }
    })
}

fn incident(gateway: &Gateway, incident: &cause::Incident) -> Incident {
    Incident {
        id: incident.id,
        cause: incident.cause.0,
        opened_at: at(gateway, incident.opened),
        closed_at: incident.closed.map(|closed| at(gateway, closed)),
        missing: incident.missing.iter().map(|node| node.0).collect(),
        missing_max: incident.missing_max,
        rebooted: incident.rebooted,
    }
}

/// All that are remembered, open ones first.
pub(in super::super) fn incidents(gateway: &Gateway) -> Vec<Incident> {
    let incidents = gateway.fleet().incidents();
    incidents.open().chain(incidents.closed()).map(|each| incident(gateway, each)).collect()
}

pub(in super::super) fn findings(gateway: &Gateway) -> Vec<Finding> {
    let finding = |finding: &meshward_fleet::findings::Finding| Finding {
        kind: finding.kind.name().to_owned(),
        node: finding.subject.0,
        evidence: finding.evidence.to_string(),
        advice: finding.kind.advice().to_owned(),
        since: at(gateway, finding.since),
    };
    gateway.fleet().findings().iter().map(finding).collect()
}

fn alert(gateway: &Gateway, alert: &alert::Alert) -> Alert {
    let suppressed = alert.suppressed_by.map(|suppression| match suppression {
        Suppression::Window(Purpose::Silence, _) => "silence",
        Suppression::Window(Purpose::Maintenance, _) => "maintenance",
        Suppression::Cause(_) => "cause",
        Suppression::Flapping => "flapping",
    });
    let comment = |comment: &alert::Comment| Comment {
        at: at(gateway, comment.at),
        by: comment.by.clone(),
        text: comment.text.clone(),
    };
    Alert {
        fingerprint: alert.fingerprint.to_string(),
        rule: alert.rule.clone(),
        severity: alert.severity.name().to_owned(),
        subject: alert.subject.to_string(),
        node: alert.subject.node().map(|node| node.0),
        state: alert.state.name().to_owned(),
        active: alert.state.is_active(),
        since: at(gateway, alert.since),
        raised_at: alert.raised.map(|raised| at(gateway, raised)),
        times: alert.times,
        value: alert.value,
        evidence: alert.evidence.clone(),
        known_by: alert.known_by.clone(),
        assigned_to: alert.assigned.clone(),
        suppressed_by: suppressed.map(str::to_owned),
        comments: alert.comments.iter().map(comment).collect(),
    }
}

/// All that are kept: raised, cleared, and those that are not bad for long enough.
pub(in super::super) fn alerts(gateway: &Gateway) -> Vec<Alert> {
    gateway.fleet().alerts().alerts().map(|each| alert(gateway, each)).collect()
}

fn states(gateway: &Gateway) -> BTreeMap<NodeState, u32> {
    let mut states = BTreeMap::new();
    for (_, life) in gateway.fleet().liveness().iter() {
        *states.entry(state(life.state)).or_insert(0) += 1;
    }
    states
}

pub(in super::super) fn health(gateway: &mut Gateway, now: Instant) -> Health {
    let score = mesh_score(gateway.fleet_mut().mesh_score(now));
    let fleet = gateway.fleet();
    let raised = fleet.alerts().alerts().filter(|alert| alert.state.is_active()).count();
    let alerts = u32::try_from(raised).unwrap_or(u32::MAX);
    Health { learning: fleet.liveness().is_learning(), score, states: states(gateway), alerts }
}

/// The one mesh that there is.
pub(in super::super) fn mesh(gateway: &Gateway, mesh: &MeshNode) -> Mesh {
    let fleet = gateway.fleet();
    Mesh {
        id: fleet.mesh_name().to_owned(),
        gateway: mesh.id().0,
        nodes: u32::try_from(fleet.topology().places().count()).unwrap_or(u32::MAX),
        learning: fleet.liveness().is_learning(),
    }
}

/// The tree as it was then; `None` where that is not remembered.
/// What joins the nodes now.
pub(crate) fn tree(gateway: &Gateway) -> PastTopology {
    let tree = gateway.fleet().topology();
    PastTopology {
        gateway: tree.own().0,
        revision: tree.revision(),
        links: tree.links().map(|link| Link { from: link.from.0, to: link.to.0 }).collect(),
        uncertain: Vec::new(),
    }
}

pub(in super::super) fn topology_at(gateway: &Gateway, at: Instant) -> Option<PastTopology> {
    let past = gateway.fleet().topology().as_of(at)?;
    Some(PastTopology {
        gateway: past.own.0,
        revision: past.revision,
        links: past.links().map(|link| Link { from: link.from.0, to: link.to.0 }).collect(),
        uncertain: past.uncertain.iter().map(|node| node.0).collect(),
    })
}

/// What people say of a node.
pub(in super::super) fn label(gateway: &Gateway, id: NodeId) -> Option<Label> {
    let record = gateway.registry().get(id)?;
    let (name, tags) = (record.name.clone(), record.tags.iter().cloned().collect());
    Some(Label { name, tags, notes: record.notes.clone() })
}

pub(in super::super) fn overhead(gateway: &Gateway, now: Instant) -> Overhead {
    let round = |percent: f64| (percent * 1_000.0).round() / 1_000.0;
    let shares = gateway.fleet().shares(now);
    let (budget, period) = gateway.fleet().budget();
    let classes = Class::ALL.iter().map(|class| (class.name().to_owned(), round(shares.percent(*class))));
    Overhead {
        share_percent: round(shares.status()),
        budget_percent: budget,
        period_seconds: seconds(period.value),
        period_bound: period.bound,
        classes: classes.collect(),
    }
}

pub(in super::super) fn status(gateway: &mut Gateway, now: Instant, mesh: &MeshNode) -> Status {
    let score = mesh_score(gateway.fleet_mut().mesh_score(now));
    let gateway = &*gateway;
    let fleet = gateway.fleet();
    let (dropped, alerts) = (fleet.dropped(), fleet.alerts().dropped());
    let dropped = [
        ("events", dropped.events),
        ("messages", dropped.transmits),
        ("alerts", alerts.alerts),
        ("nodes", fleet.registry().refused()),
        ("values", fleet.series().dropped().unsound),
    ];
    Status {
        gateway: mesh.id().0,
        learning: fleet.liveness().is_learning(),
        states: states(gateway),
        score,
        overhead: overhead(gateway, now),
        incidents: fleet.incidents().open().map(|each| incident(gateway, each)).collect(),
        alerts: self::alerts(gateway).into_iter().filter(|alert| alert.active).collect(),
        dropped: dropped.into_iter().map(|(what, count)| (what.to_owned(), count)).collect(),
        influx: gateway.written().map(|written| Influx {
            batches_waiting: written.batches,
            bytes_waiting: written.bytes,
            lines_dropped: written.dropped,
            written_at: written.at,
            failure: written.failure,
        }),
    }
}

fn values(values: &[(Measure, i64)]) -> Vec<Value> {
    let value = |(measure, value): &(Measure, i64)| Value {
        name: measure.name().to_owned(),
        value: *value as f64 / 10_f64.powi(measure.decimals() as i32),
        unit: measure.unit().to_owned(),
    };
    values.iter().map(value).collect()
}

fn line(gateway: &Gateway, id: NodeId, outcome: &Outcome) -> QueryLine {
    let known = gateway.registry().get(id).and_then(|record| record.name.clone());
    let line = |outcome| QueryLine {
        id: id.0,
        name: known.clone(),
        outcome,
        took_seconds: None,
        age_seconds: None,
        metrics: Vec::new(),
    };
    match outcome {
        Outcome::Answered { values: told, after } => QueryLine {
            took_seconds: Some(seconds(*after)),
            metrics: values(told),
            ..line(QueryOutcome::Answered)
        },
        Outcome::Cached { values: told, age } => QueryLine {
            age_seconds: Some(seconds(*age)),
            metrics: values(told),
            ..line(QueryOutcome::Cached)
        },
        Outcome::Probed { round_trip } => QueryLine {
            metrics: vec![Value {
                name: Measure::RoundTrip.name().to_owned(),
                value: (round_trip.as_micros() as f64 / 100.0).round() / 10.0,
                unit: Measure::RoundTrip.unit().to_owned(),
            }],
            ..line(QueryOutcome::Probed)
        },
        Outcome::Declined => line(QueryOutcome::Declined),
        Outcome::TimedOut => line(QueryOutcome::TimedOut),
        Outcome::Unreachable => line(QueryOutcome::Unreachable),
        Outcome::Cancelled => line(QueryOutcome::Cancelled),
    }
}

pub(in super::super) fn progress(gateway: &Gateway, asked: &Asked) -> QueryProgress {
    let QueryAnswer { outcomes, nodes } = answer(gateway, &asked.outcomes);
    QueryProgress {
        id: asked.id.0,
        asked_at: at(gateway, asked.at),
        finished_at: asked.finished.map(|finished| at(gateway, finished)),
        answered: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        missing: asked.missing.iter().map(|node| node.0).collect(),
        outcomes,
        nodes,
    }
}

pub(in super::super) fn answer(gateway: &Gateway, outcomes: &BTreeMap<NodeId, Outcome>) -> QueryAnswer {
    let nodes: Vec<QueryLine> = outcomes.iter().map(|(id, outcome)| line(gateway, *id, outcome)).collect();
    let mut counts = BTreeMap::new();
    for line in &nodes {
        *counts.entry(line.outcome).or_insert(0) += 1;
    }
    QueryAnswer { outcomes: counts, nodes }
}

pub(in super::super) fn command(ended: &Ended) -> CommandOutcome {
    let (outcome, answer) = match &ended.end {
        End::Answered(answer) => (CommandEnd::Answered, Some(answer)),
        End::Restarted => (CommandEnd::Restarted, None),
        End::TimedOut => (CommandEnd::TimedOut, None),
        End::Cancelled => (CommandEnd::Cancelled, None),
    };
    CommandOutcome {
        node: ended.node.0,
        cid: ended.cid,
        command: ended.code.number(),
        meaning: ended.code.name().to_owned(),
        outcome,
        text: answer.map(|answer| answer.text.to_str().into_owned()),
        status: answer.and_then(|answer| answer.status),
        took_seconds: seconds(ended.took),
    }
}
