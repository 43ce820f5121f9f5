//! Shapes that other programs and older documents expect, each behind a switch; what they say is what we know.
//!
//! | switch | what | where it comes from |
//! | --- | --- | --- |
//! | `mesh_status` | `mesh/status/…` with its envelope | the historic status bridge (`historic`) |
//! | `alteriom` | `alteriom/mesh/…`: topology, events, `get_topology` | the Alteriom documents (`alteriom`) |
//! | `mqtt_bridge` | `painlessMesh/…` | the library's `mqttBridge` example (`example`) |
//! | `mesh_ota` | `mesh/ota/…` | the proposal's names for what is in `ota/…` (`ota`) |
//! | `mesh_command` | `mesh/command/…`, `mesh/config/…`, `mesh/ota/ID/start` | the library's command bridge (`commands`) |
//! | `mesh_data` | `mesh/sensor/…`, `mesh/metrics/…`, `mesh/health/…`, `mesh/aggregated/…` | its enhanced bridge (`data`) |
//!
//! What they publish is held against the JSON schemas of `@alteriom/mqtt-schema` 0.8.2, where that has one. Where
//! older bridges had placeholders (a link quality of 0.9), there is what was measured, or nothing.

mod alteriom;
mod commands;
mod data;
mod example;
mod historic;
mod ota;

use meshward_core::time::Instant;
use serde_json::{Map, Value, json};

use super::message::{Message, Qos};
use super::settings::{Settings, Shape};
use super::status::{device_id, is_there};
use super::topics::Topics;
use crate::rest::inside::{Seen, SeenNode};
use crate::rest::model::Event;

pub(crate) use alteriom::{get_topology, read_command, requested};
pub(crate) use commands::{Asked, Old, Outcome, old, parse_device};
pub(crate) use example::{Passed, not_connected, pass_on, text};

/// Longest version that the schemas allow.
const VERSION_MAX: usize = 40;

/// When what was said last.
#[derive(Debug, Default)]
pub(crate) struct Compat {
    historic: historic::Historic,
    alteriom: alteriom::Alteriom,
    ota: ota::Ota,
    data: data::Data,
}

/// What is listened to.
pub(crate) fn listens(settings: &Settings, topics: &Topics) -> Vec<String> {
    let alteriom = topics.alteriom("command");
    let filters: [(Shape, &[&str]); 4] = [
        (Shape::MqttBridge, &["painlessMesh/to/+"]),
        (Shape::MeshOta, &["mesh/ota/control"]),
        (Shape::Alteriom, &[&*alteriom]),
        (
            Shape::MeshCommand,
            &["mesh/command/+", "mesh/config/+/get", "mesh/config/+/set", "mesh/ota/+/start"],
        ),
    ];
    let wanted = filters.into_iter().filter(|(shape, _)| settings.has(*shape));
    wanted.flat_map(|(_, filters)| filters.iter().map(|&filter| filter.to_owned())).collect()
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
        if settings.has(Shape::MeshStatus) {
            self.historic.look(now, settings, seen, &mut messages);
        }
        if settings.has(Shape::Alteriom) {
            self.alteriom.look(now, topics, seen, &mut messages);
        }
        if settings.has(Shape::MeshOta) {
            self.ota.look(now, settings, seen, &mut messages);
        }
        if settings.has(Shape::MeshData) {
            self.data.look(now, settings, seen, &mut messages);
        }
        messages
    }
}

/// What an event is in these shapes.
pub(crate) fn event(
    settings: &Settings,
    topics: &Topics,
    seen: Option<&Seen>,
    event: &Event,
) -> Option<Message> {
    let seen = seen.filter(|_| settings.has(Shape::Alteriom))?;
    alteriom::event(topics, seen, event)
}

fn loosely(topic: impl Into<String>, body: &Value) -> Message {
    Message::passing(topic, body.to_string(), Qos::AtMostOnce)
}

fn surely(topic: impl Into<String>, body: &Value) -> Message {
    Message::passing(topic, body.to_string(), Qos::AtLeastOnce)
}

/// What every message of these bridges begins with.
fn envelope(device: u32, kind: &str, version: Option<&str>, seen: &Seen, body: Value) -> Value {
    let mut message = json!({
        "schema_version": 1,
        "device_id": device_id(device),
        "device_type": kind,
        "timestamp": seen.at,
        "firmware_version": version.unwrap_or("unknown"),
    });
    if let (Some(message), Value::Object(body)) = (message.as_object_mut(), body) {
        message.extend(body);
    }
    message
}

/// A message of the gateway itself.
fn of_gateway(seen: &Seen, body: Value) -> Value {
    envelope(seen.status.gateway, "gateway", Some(env!("CARGO_PKG_VERSION")), seen, body)
}

/// A message about a node; of the gateway's own node it is one of the gateway.
fn of_node(each: &SeenNode, seen: &Seen, body: Value) -> Value {
    let kind = if each.node.id == seen.status.gateway { "gateway" } else { "sensor" };
    envelope(each.node.id, kind, version(each).as_deref(), seen, body)
}

/// What a node's firmware calls itself, as far as the schemas allow.
fn version(each: &SeenNode) -> Option<String> {
    let version = each.version.as_deref().filter(|version| !version.is_empty())?;
    Some(version.chars().take(VERSION_MAX).collect())
}

/// What is known of an object: the schemas want a number or nothing, not null.
fn known(object: Value) -> Value {
    match object {
        Value::Object(fields) => {
            let there = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(there.collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// A whole number within what the schemas allow.
fn whole(value: Option<f64>, least: f64, most: f64) -> Value {
    value.map_or(Value::Null, |value| json!(value.clamp(least, most).round() as i64))
}

/// Whether a node is there, in the words of these bridges.
fn word(each: &SeenNode) -> Option<&'static str> {
    is_there(each.node.state).map(|is_there| if is_there { "online" } else { "offline" })
}
