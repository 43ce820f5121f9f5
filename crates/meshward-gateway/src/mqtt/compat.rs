//! Shapes that other programs and older documents expect, each behind a switch; what they say is what we know.
//!
//! `mesh/status/…` is the historic status bridge with its envelope, every interval, not retained; `alteriom/mesh/…`
//! the topology and events of the Alteriom documents; `painlessMesh/…` the library's `mqttBridge` example; `mesh/ota/…`
//! the proposal's names for what is in `ota/…`. Where the historic bridge had placeholders (a link quality of 0.9),
//! there is what was measured, or nothing.

use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::message::{Message, Qos};
use super::settings::{Settings, Shape};
use super::status::{device_id, is_there, told};
use super::topics::Topics;
use super::update;
use crate::rest::inside::{Seen, SeenNode};
use crate::rest::model::Event;

/// The whole topology of the Alteriom documents, without changes.
const WHOLE: Duration = Duration::from_secs(60);
/// The same when it has changed.
const CHANGED: Duration = Duration::from_secs(5);
/// Longest text for a node, in bytes.
const TEXT_MAX: usize = 1_024;

/// When what was said last.
#[derive(Debug, Default)]
pub(crate) struct Compat {
    status_at: Option<Instant>,
    topology: Option<(Instant, u64)>,
    ota: Option<(Value, Value)>,
}

/// What is listened to.
pub(crate) fn listens(settings: &Settings) -> Vec<String> {
    let mut filters = Vec::new();
    if settings.has(Shape::MqttBridge) {
        filters.push("painlessMesh/to/+".to_owned());
    }
    if settings.has(Shape::MeshOta) {
        filters.push("mesh/ota/control".to_owned());
    }
    filters
}

fn loosely(topic: impl Into<String>, body: &Value) -> Message {
    Message::passing(topic, body.to_string(), Qos::AtMostOnce)
}

impl Compat {
    /// What is to be said.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        settings: &Settings,
        topics: &Topics,
        seen: &Seen,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        let interval = Duration::from_secs(settings.interval_s);
        let due = self.status_at.is_none_or(|at| now.since(at) >= interval);
        if settings.has(Shape::MeshStatus) && due {
            self.status_at = Some(now);
            status(settings, seen, &mut messages);
        }
        if settings.has(Shape::Alteriom) {
            self.alteriom(now, topics, seen, &mut messages);
        }
        if settings.has(Shape::MeshOta) {
            let firmware: Vec<Value> = seen.firmware.iter().map(|firmware| json!(firmware)).collect();
            let now = (
                json!({ "firmware": firmware }),
                seen.rollouts.first().map(update::summary).unwrap_or_default(),
            );
            if self.ota.as_ref() != Some(&now) {
                let kept = |name: &str, body: &Value| {
                    Message::retained(format!("mesh/ota/{name}"), body.to_string(), Qos::AtLeastOnce)
                };
                messages.push(kept("announce", &now.0));
                messages.push(kept("status", &now.1));
                self.ota = Some(now);
            }
        }
        messages
    }

    fn alteriom(&mut self, now: Instant, topics: &Topics, seen: &Seen, messages: &mut Vec<Message>) {
        let (at, revision) = self.topology.unzip();
        let age = at.map(|at| now.since(at));
        let changed = revision != Some(seen.revision) && age.is_none_or(|age| age >= CHANGED);
        if !changed && age.is_some_and(|age| age < WHOLE) {
            return;
        }
        self.topology = Some((now, seen.revision));
        let topic = format!("alteriom/mesh/{}/topology", topics.mesh());
        messages.push(loosely(topic, &alteriom_topology(seen)));
    }
}

/// What every message of the historic bridge begins with.
fn envelope(device: u32, kind: &str, version: Option<&str>, seen: &Seen, body: Value) -> Value {
    let mut message = json!({
        "schema_version": 1,
        "device_id": device_id(device),
        "device_type": kind,
        "timestamp": seen.at,
        "firmware_version": version.unwrap_or(env!("CARGO_PKG_VERSION")),
    });
    if let (Some(message), Value::Object(body)) = (message.as_object_mut(), body) {
        message.extend(body);
    }
    message
}

fn status(settings: &Settings, seen: &Seen, messages: &mut Vec<Message>) {
    let gateway = |body| envelope(seen.status.gateway, "gateway", None, seen, body);
    let nodes: Vec<Value> = told(seen).map(historic).collect();
    let count = nodes.len();
    messages.push(loosely("mesh/status/nodes", &gateway(json!({ "nodes": nodes, "node_count": count }))));
    if settings.topology {
        let links: Vec<Value> = connections(seen);
        let body = json!({ "connections": links, "root_node": seen.status.gateway, "total_connections": links.len() });
        messages.push(loosely("mesh/status/topology", &gateway(body)));
    }
    if settings.metrics {
        let online = told(seen).filter(|each| is_there(each.node.state) == Some(true)).count();
        let body =
            json!({ "total_nodes": count, "online_nodes": online, "health_score": seen.status.score.points });
        messages.push(loosely("mesh/status/metrics", &gateway(body)));
    }
    if settings.alerts {
        let active: Vec<Value> = seen
            .alerts
            .iter()
            .filter(|alert| alert.active)
            .map(|alert| {
                json!({ "alert_id": alert.fingerprint, "alert_type": alert.rule, "severity": alert.severity,
                    "message": alert.evidence, "node_id": alert.node.map(device_id), "value": alert.value })
            })
            .collect();
        let body = json!({ "alert_count": active.len(), "alerts": active });
        messages.push(loosely("mesh/status/alerts", &gateway(body)));
    }
    for each in told(seen).filter(|_| settings.nodes) {
        let id = each.node.id;
        let version = each.version.as_deref();
        let of = |body| envelope(id, "sensor", version, seen, body);
        messages.push(loosely(format!("mesh/status/node/{id}"), &of(historic(each))));
        let reasons: Vec<&str> = each.node.score.deductions.iter().map(|lost| &*lost.rule).collect();
        let health = json!({ "health_score": each.node.score.points, "status": each.node.score.level, "problems": reasons });
        messages.push(loosely(format!("mesh/status/node/{id}/health"), &of(health)));
    }
}

fn word(each: &SeenNode) -> &'static str {
    match is_there(each.node.state) {
        Some(true) => "online",
        Some(false) => "offline",
        None => "unknown",
    }
}

fn historic(each: &SeenNode) -> Value {
    let metric = |name: &str| each.node.metric(name);
    json!({
        "node_id": device_id(each.node.id), "id": each.node.id, "name": each.node.name, "status": word(each),
        "last_seen": each.node.last_heard_at, "firmware_version": each.version,
        "uptime_seconds": metric("uptime_s"), "free_memory_kb": metric("free_heap_bytes").map(|bytes| (bytes / 1_024.0).round()),
        "rssi": metric("rssi_dbm"), "hop_count": each.node.hops,
    })
}

fn connections(seen: &Seen) -> Vec<Value> {
    let node = |id: u32| seen.nodes.iter().find(|each| each.node.id == id);
    let connection = |link: &crate::rest::model::Link| {
        let metric = |name: &str| node(link.to).and_then(|each| each.node.metric(name));
        json!({
            "from_node": device_id(link.from), "to_node": device_id(link.to),
            "quality": metric("link_quality_percent"), "latency_ms": metric("round_trip_ms"),
            "rssi": metric("rssi_dbm"), "hop_count": node(link.to).and_then(|each| each.node.hops),
        })
    };
    seen.links.iter().map(connection).collect()
}

fn alteriom_topology(seen: &Seen) -> Value {
    let children = |id: u32| seen.links.iter().filter(|link| link.from == id || link.to == id).count();
    let nodes: Vec<Value> = told(seen)
        .map(|each| {
            let mut node = historic(each);
            if let Some(node) = node.as_object_mut() {
                node.insert("role".to_owned(), json!(if each.node.root { "gateway" } else { "sensor" }));
                node.insert("connection_count".to_owned(), json!(children(each.node.id)));
            }
            node
        })
        .collect();
    let online = told(seen).filter(|each| is_there(each.node.state) == Some(true)).count();
    let body = json!({
        "mesh_id": seen.mesh, "update_type": "full", "gateway_node_id": device_id(seen.status.gateway),
        "metrics": { "total_nodes": nodes.len(), "online_nodes": online },
        "nodes": nodes, "connections": connections(seen),
    });
    envelope(seen.status.gateway, "gateway", None, seen, body)
}

/// An event as the Alteriom documents have it.
pub(crate) fn event(
    settings: &Settings,
    topics: &Topics,
    seen: Option<&Seen>,
    event: &Event,
) -> Option<Message> {
    let seen = seen.filter(|_| settings.has(Shape::Alteriom))?;
    let kind = match (&*event.kind, &*event.name) {
        ("topology", "join") => "node_join",
        ("topology", "leave") => "node_leave",
        ("topology", "partition") => "network_split",
        ("topology", "merged") => "network_merged",
        ("liveness", "offline" | "unreachable") => "connection_lost",
        ("liveness", "online") => "connection_restored",
        _ => return None,
    };
    let affected: Vec<String> = event.node.map(device_id).into_iter().collect();
    let body = json!({
        "event": "mesh_event", "event_type": kind, "mesh_id": seen.mesh, "affected_nodes": affected,
        "details": { "text": event.text }, "timestamp": event.at,
    });
    let body = envelope(seen.status.gateway, "gateway", None, seen, body);
    Some(Message::passing(
        format!("alteriom/mesh/{}/events", topics.mesh()),
        body.to_string(),
        Qos::AtLeastOnce,
    ))
}

/// What becomes of a message to the mesh.
#[derive(Debug, PartialEq)]
pub(crate) enum Passed {
    /// It is answered here.
    Answer(Message),
    /// It is for a node, or for all.
    Say(Option<u32>, String),
    /// It makes no sense.
    Nothing,
}

fn from_gateway(text: impl Into<String>) -> Message {
    Message::passing("painlessMesh/from/gateway", text.into(), Qos::AtLeastOnce)
}

/// What the example says of a node that is not there.
pub(crate) fn not_connected() -> Message {
    from_gateway("Client not connected!")
}

/// What the `mqttBridge` example does with a message.
pub(crate) fn pass_on(settings: &Settings, seen: Option<&Seen>, to: &str, payload: &[u8]) -> Passed {
    let Ok(text) = std::str::from_utf8(payload) else { return Passed::Nothing };
    if !settings.has(Shape::MqttBridge) || text.len() > TEXT_MAX || text.contains('\0') {
        return Passed::Nothing;
    }
    if to == "gateway" {
        if text != "getNodes" {
            return Passed::Nothing;
        }
        let nodes = seen.map(|seen| {
            told(seen).filter(|each| each.node.hops.is_some()).map(|each| each.node.id.to_string())
        });
        let ids: Vec<String> = nodes.into_iter().flatten().collect();
        return Passed::Answer(from_gateway(ids.join(" ")));
    }
    if !settings.may_act() {
        return Passed::Nothing;
    }
    match (to, to.parse::<u32>()) {
        ("broadcast", _) => Passed::Say(None, text.to_owned()),
        (_, Ok(node)) => Passed::Say(Some(node), text.to_owned()),
        _ => Passed::Nothing,
    }
}

/// A text of a node for the gateway.
pub(crate) fn text(settings: &Settings, from: u32, text: &[u8]) -> Option<Message> {
    settings
        .has(Shape::MqttBridge)
        .then(|| Message::passing(format!("painlessMesh/from/{from}"), text.to_vec(), Qos::AtLeastOnce))
}
