//! What is written: the mesh, its nodes, its links, and what has happened since the last time.
//!
//! Copies are taken in the node's task, and become lines outside of it. Names of measurements, tags and fields are
//! those of the REST interface; a node that is not there keeps `online` alone.

use jiff::Timestamp;
use meshward_core::telemetry::Metric;
use meshward_core::wire::NodeId;
use meshward_fleet::fleet::Event;
use meshward_fleet::liveness::State;

use super::line::{Field, Kind, line};
use super::nanos;
use crate::rest::convert;
use crate::service::Gateway;
use crate::shell::NodeHandle;

/// Events that are taken in one round.
const EVENTS_MAX: usize = 4_096;

/// A value of a node: its field, that field's type, and by what it is multiplied.
type Told = (Metric, &'static str, Kind, f64);

/// What nodes tell of themselves.
const TOLD: [Told; 14] = [
    (Metric::Uptime, "uptime_s", Kind::Int, 1.0),
    (Metric::FreeHeap, "free_heap_bytes", Kind::Int, 1.0),
    (Metric::MinHeap, "min_free_heap_bytes", Kind::Int, 1.0),
    (Metric::Fragmentation, "heap_fragmentation_ratio", Kind::Float, 0.01),
    (Metric::Cpu, "cpu_ratio", Kind::Float, 0.01),
    (Metric::Rssi, "rssi_dbm", Kind::Int, 1.0),
    (Metric::Loss, "loss_ratio", Kind::Float, 0.01),
    (Metric::RoundTrip, "latency_ms", Kind::Float, 1.0),
    (Metric::Battery, "battery_ratio", Kind::Float, 0.01),
    (Metric::ChipTemperature, "chip_temperature_celsius", Kind::Float, 1.0),
    (Metric::Boots, "boots", Kind::Int, 1.0),
    (Metric::MessagesRx, "messages_rx", Kind::Int, 1.0),
    (Metric::MessagesTx, "messages_tx", Kind::Int, 1.0),
    (Metric::MessagesDropped, "messages_dropped", Kind::Int, 1.0),
];

/// The other fields: measurement, name, type.
const FIELDS: [(&str, &str, Kind); 15] = [
    ("mesh", "nodes_online", Kind::Int),
    ("mesh", "nodes_offline", Kind::Int),
    ("mesh", "links", Kind::Int),
    ("mesh", "score", Kind::Float),
    ("mesh", "overhead_ratio", Kind::Float),
    ("mesh", "alerts_active", Kind::Int),
    ("mesh_node", "online", Kind::Bool),
    ("mesh_node", "score", Kind::Float),
    ("mesh_node", "hops", Kind::Int),
    ("mesh_node", "fw", Kind::Text),
    ("mesh_link", "rtt_ms", Kind::Float),
    ("mesh_alert", "state", Kind::Text),
    ("mesh_alert", "active", Kind::Bool),
    ("mesh_alert", "value", Kind::Float),
    ("mesh_event", "text", Kind::Text),
];

/// The tags of each measurement; some points lack some.
pub const TAGS: [(&str, &[&str]); 5] = [
    ("mesh", &["mesh"]),
    ("mesh_node", &["mesh", "node", "role", "name"]),
    ("mesh_link", &["mesh", "node", "peer"]),
    ("mesh_alert", &["mesh", "rule", "node", "severity"]),
    ("mesh_event", &["mesh", "kind", "node"]),
];

/// All fields that there may be: measurement, name, and the one type that it has. A server refuses a value of another
/// type than the first one had.
pub fn names() -> Vec<(&'static str, &'static str, Kind)> {
    let told = TOLD.iter().map(|(_, name, kind, _)| ("mesh_node", *name, *kind));
    FIELDS.into_iter().chain(told).collect()
}

/// A line before it is written.
struct Copy {
    measurement: &'static str,
    tags: Vec<(&'static str, String)>,
    fields: Vec<(&'static str, Field)>,
    at: Timestamp,
    /// The number of what happened; 0 of what is.
    event: u64,
}

/// See the module's page.
pub(super) struct Taking {
    names: bool,
    /// The last event that was written; none before the first round.
    event: Option<u64>,
}

impl Taking {
    pub(super) fn new(names: bool) -> Self {
        Self { names, event: None }
    }

    /// All lines of now; `None` when the node's task has ended. What happened before the first round is not written.
    pub(super) async fn round(&mut self, gateway: &NodeHandle<Gateway>) -> Option<Vec<String>> {
        let (names, event) = (self.names, self.event);
        let taken = gateway.with(move |now, _, gateway| {
            let at = convert::timestamp(gateway.civil(now));
            let mut copies = Vec::new();
            mesh(gateway, now, at, &mut copies);
            nodes(gateway, now, at, names, &mut copies);
            if let Some(after) = event {
                events(gateway, after, &mut copies);
            }
            (copies, gateway.last_event())
        });
        let (copies, last) = taken.await.ok()?;
        self.event = Some(last);
        Some(copies.iter().filter_map(written).collect())
    }
}

fn written(copy: &Copy) -> Option<String> {
    let tags: Vec<(&str, &str)> = copy.tags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    line(copy.measurement, &tags, &copy.fields, nanos(copy.at, copy.event))
}

fn count(value: usize) -> Field {
    Field::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn mesh(gateway: &mut Gateway, now: meshward_core::time::Instant, at: Timestamp, copies: &mut Vec<Copy>) {
    let (score, _) = gateway.fleet_mut().all_scores(now);
    let fleet = gateway.fleet();
    let in_state = |wanted: &[&str]| {
        fleet.liveness().iter().filter(|(_, status)| wanted.contains(&status.state.name())).count()
    };
    let active = fleet.alerts().alerts().filter(|alert| alert.state.is_active()).count();
    copies.push(Copy {
        measurement: "mesh",
        tags: vec![("mesh", fleet.mesh_name().to_owned())],
        fields: vec![
            ("nodes_online", count(in_state(&["online", "suspect", "sleeping"]))),
            ("nodes_offline", count(in_state(&["offline", "unreachable"]))),
            ("links", count(fleet.topology().links().count())),
            ("score", Field::Float(f64::from(score.points))),
            ("overhead_ratio", Field::Float(fleet.shares(now).status() / 100.0)),
            ("alerts_active", count(active)),
        ],
        at,
        event: 0,
    });
}

fn nodes(
    gateway: &mut Gateway,
    now: meshward_core::time::Instant,
    at: Timestamp,
    names: bool,
    copies: &mut Vec<Copy>,
) {
    let (_, scores) = gateway.fleet_mut().all_scores(now);
    let scores: std::collections::BTreeMap<_, _> = scores.into_iter().collect();
    let fleet = gateway.fleet();
    let (mesh, own) = (fleet.mesh_name().to_owned(), fleet.topology().own());
    for (id, record) in fleet.registry().iter() {
        let state = fleet.liveness().get(id).map(|status| status.state);
        let online = match state {
            Some(State::Online | State::Suspect | State::Sleeping) => true,
            Some(State::Offline | State::Unreachable { .. }) => false,
            // Nobody knows yet.
            _ => continue,
        };
        let mut tags = vec![("mesh", mesh.clone()), ("node", id.to_string())];
        tags.extend(record.identity.role.clone().map(|role| ("role", role)));
        tags.extend(record.name.clone().filter(|_| names).map(|name| ("name", name)));
        let mut fields = vec![("online", Field::Bool(online))];
        if online {
            let points = scores.get(&id).and_then(|score| score.points);
            fields.extend(points.map(|points| ("score", Field::Float(f64::from(points)))));
            let place = fleet.topology().place(id).copied();
            fields.extend(place.map(|place| ("hops", Field::Int(i64::from(place.hops)))));
            fields.extend(record.identity.version.clone().map(|version| ("fw", Field::Text(version))));
            fields.extend(TOLD.iter().filter_map(|told| value(gateway, id, told)));
            let near = place.is_some_and(|place| place.hops == 1);
            let trip = fleet.series().last(id, Metric::RoundTrip).filter(|_| near);
            copies.extend(trip.map(|trip| Copy {
                measurement: "mesh_link",
                tags: vec![("mesh", mesh.clone()), ("node", id.to_string()), ("peer", own.to_string())],
                fields: vec![("rtt_ms", Field::Float(trip.value))],
                at,
                event: 0,
            }));
        }
        copies.push(Copy { measurement: "mesh_node", tags, fields, at, event: 0 });
    }
}

fn value(gateway: &Gateway, id: NodeId, told: &Told) -> Option<(&'static str, Field)> {
    let (metric, name, kind, factor) = *told;
    let last = gateway.fleet().series().last(id, metric)?;
    let value = last.value * factor;
    let whole = kind == Kind::Int;
    Some((name, if whole { Field::Int(value.round() as i64) } else { Field::Float(value) }))
}

fn events(gateway: &Gateway, after: u64, copies: &mut Vec<Copy>) {
    let mesh = gateway.fleet().mesh_name();
    for told in gateway.events(after).take(EVENTS_MAX) {
        let Event::Alert(change) = &told.event else { continue };
        let alert = gateway.fleet().alerts().alerts().find(|alert| alert.fingerprint == change.fingerprint);
        let mut tags = vec![("mesh", mesh.to_owned()), ("rule", change.rule.clone())];
        tags.extend(change.subject.node().map(|node| ("node", node.to_string())));
        tags.extend(alert.map(|alert| ("severity", alert.severity.name().to_owned())));
        let state = change.to.map_or("forgotten", |to| to.name());
        let active = change.to.is_some_and(|to| to.is_active());
        let mut fields = vec![("state", Field::Text(state.to_owned())), ("active", Field::Bool(active))];
        fields.extend(alert.and_then(|alert| alert.value).map(|value| ("value", Field::Float(value))));
        let at = convert::timestamp(gateway.civil(change.at));
        copies.push(Copy { measurement: "mesh_alert", tags, fields, at, event: told.id });
    }
    for event in convert::events(gateway, after, EVENTS_MAX).items {
        let mut tags = vec![("mesh", mesh.to_owned()), ("kind", event.kind)];
        tags.extend(event.node.map(|node| ("node", node.to_string())));
        let fields = vec![("text", Field::Text(event.text))];
        copies.push(Copy { measurement: "mesh_event", tags, fields, at: event.at, event: event.id });
    }
}
