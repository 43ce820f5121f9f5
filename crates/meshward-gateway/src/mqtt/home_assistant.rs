//! Home Assistant's device discovery: one retained message per node, and one for the gateway.
//!
//! Every entity has an id that stays (`pm_MESH_ID_KEY`), whatever a node is called. A node is available when both the
//! gateway and the node are; its connectivity only needs the gateway, or it could never show "off". Buttons and the
//! installation of updates are there only where the operator lets MQTT do things. Rules:
//! <https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload>.

use std::collections::BTreeMap;

use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use serde_json::{Map, Value, json};

use super::board::{Pace, Want};
use super::settings::Settings;
use super::status::told;
use super::topics::Topics;
use crate::rest::inside::{Seen, SeenNode};

/// When Home Assistant comes back, devices are announced to it within so long, not all at once.
const SPREAD: Duration = Duration::from_secs(5);
/// The gateway's own device.
const GATEWAY: &str = "gateway";
/// What a node's event can be.
pub(crate) const EVENT_TYPES: [&str; 8] =
    ["join", "leave", "parent_changed", "reboot", "firmware_changed", "online", "offline", "unreachable"];

/// A sensor of what a node tells: its key in `state`, its name, and what Home Assistant wants to know of it.
struct Sensor {
    key: &'static str,
    name: &'static str,
    class: Option<&'static str>,
    unit: Option<&'static str>,
    shape: Option<&'static str>,
    diagnostic: bool,
    enabled: bool,
    /// Whether it is there only when the node has told it.
    told: bool,
}

const fn sensor(key: &'static str, name: &'static str, class: &'static str, unit: &'static str) -> Sensor {
    Sensor {
        key,
        name,
        class: Some(class),
        unit: Some(unit),
        shape: Some("measurement"),
        diagnostic: true,
        enabled: true,
        told: true,
    }
}

const SENSORS: &[Sensor] = &[
    Sensor { class: None, told: false, diagnostic: false, ..sensor("points", "Health", "", "%") },
    Sensor { unit: None, shape: None, told: false, ..sensor("last_heard_at", "Last seen", "timestamp", "") },
    Sensor { unit: None, shape: None, ..sensor("booted_at", "Last boot", "timestamp", "") },
    Sensor { class: None, unit: None, shape: None, told: false, ..sensor("parent", "Parent", "", "") },
    Sensor { class: None, unit: None, told: false, ..sensor("hops", "Hops", "", "") },
    sensor("free_heap_bytes", "Free heap", "data_size", "B"),
    sensor("rssi_dbm", "Signal strength", "signal_strength", "dBm"),
    sensor("round_trip_ms", "Round trip", "duration", "ms"),
    sensor("latency_ms", "Latency", "duration", "ms"),
    Sensor {
        class: None,
        unit: None,
        shape: Some("total_increasing"),
        ..sensor("messages_rx", "Messages received", "", "")
    },
    Sensor {
        class: None,
        unit: None,
        shape: Some("total_increasing"),
        ..sensor("messages_tx", "Messages sent", "", "")
    },
    Sensor { class: None, ..sensor("loss_percent", "Packet loss", "", "%") },
    Sensor { enabled: false, class: None, ..sensor("wifi_quality_percent", "Wi-Fi quality", "", "%") },
    Sensor {
        enabled: false,
        ..sensor("router_rssi_dbm", "Router signal strength", "signal_strength", "dBm")
    },
    sensor("chip_temperature_c", "Chip temperature", "temperature", "°C"),
    Sensor { diagnostic: false, ..sensor("temperature_c", "Temperature", "temperature", "°C") },
    Sensor { diagnostic: false, ..sensor("humidity_percent", "Humidity", "humidity", "%") },
    Sensor { diagnostic: false, ..sensor("pressure_hpa", "Pressure", "atmospheric_pressure", "hPa") },
    sensor("battery_percent", "Battery", "battery", "%"),
];

/// What is announced, and when it is announced again.
#[derive(Debug, Default)]
pub(crate) struct HomeAssistant {
    /// Topics to be sent once more.
    due: BTreeMap<String, Instant>,
    births: u64,
    /// The level and the name of each node.
    called: BTreeMap<u32, (String, Option<String>)>,
}

impl HomeAssistant {
    /// What the broker is to keep for Home Assistant.
    pub(crate) fn look(
        &mut self,
        settings: &Settings,
        topics: &Topics,
        levels: &BTreeMap<u32, String>,
        seen: &Seen,
    ) -> Vec<Want> {
        let device = |name: &str, body, pace| Want::new(topics.device(name), body, pace).bare();
        // A node that tells more and more of itself is announced with what it tells once in an interval.
        let coalesced = Pace { least: Duration::from_secs(settings.interval_s), refresh: None };
        let mut wants = vec![device(GATEWAY, gateway(settings, topics, seen), coalesced)];
        self.called.retain(|id, _| levels.contains_key(id));
        for each in told(seen).filter(|_| settings.nodes) {
            let Some(level) = levels.get(&each.node.id) else { continue };
            // Its topics have moved, or people look for its name.
            let called = (level.clone(), each.node.name.clone());
            let renamed = self.called.insert(each.node.id, called.clone()).is_some_and(|was| was != called);
            let pace = if renamed { Pace::CHANGE } else { coalesced };
            wants.push(device(&each.node.id.to_string(), node(settings, topics, level, each), pace));
        }
        wants
    }

    /// Home Assistant has come back: what it was told is told again, spread by the seed.
    pub(crate) fn birth(&mut self, now: Instant, seed: u64, topics: impl Iterator<Item = String>) {
        self.births += 1;
        let mut rng = Rng::new(seed ^ self.births);
        for topic in topics {
            self.due.insert(topic, now + Duration::from_micros(rng.below(SPREAD.as_micros())));
        }
    }

    /// The topics that are to be sent again by now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<String> {
        let due: Vec<String> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(topic, _)| topic.clone()).collect();
        self.due.retain(|_, at| *at > now);
        due
    }
}

/// An id that stays.
fn unique(topics: &Topics, device: &str, key: &str) -> String {
    format!("pm_{}_{device}_{key}", topics.mesh())
}

fn origin(settings: &Settings) -> Value {
    let mut origin = json!({ "name": "Meshward", "sw": env!("CARGO_PKG_VERSION") });
    insert(&mut origin, "url", settings.url.as_deref());
    origin
}

fn insert(object: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(key.to_owned(), value.into());
    }
}

const STATE: &str = "{{ value_json.state }}";

fn available(topic: String) -> Value {
    json!({ "topic": topic, "value_template": STATE })
}

/// One entity: its platform, id and name, and the rest.
fn entity(
    topics: &Topics,
    device: &str,
    platform: &str,
    key: &str,
    name: &str,
    rest: Value,
) -> (String, Value) {
    let id = unique(topics, device, key);
    let mut entity = json!({ "p": platform, "unique_id": id, "name": name, "default_entity_id": format!("{platform}.{id}") });
    if let (Some(entity), Value::Object(rest)) = (entity.as_object_mut(), rest) {
        entity.extend(rest);
    }
    (key.to_owned(), entity)
}

fn node(settings: &Settings, topics: &Topics, level: &str, each: &SeenNode) -> Value {
    let node = &each.node;
    let id = node.id.to_string();
    let of = |rest: &str| topics.node(level, rest);
    let mut device = json!({
        "ids": [format!("pm_{}_{id}", topics.mesh())],
        "name": node.name.clone().unwrap_or_else(|| format!("Node {id}")),
        "mf": "painlessMesh",
        "mdl": each.role.clone().unwrap_or_else(|| node.family.clone()),
        "sn": id,
        "via_device": format!("pm_{}_{GATEWAY}", topics.mesh()),
    });
    insert(&mut device, "sw", each.version.clone());
    insert(&mut device, "hw", each.hardware.clone());
    let place = node.facts.iter().find(|fact| fact.topic == "location").map(|fact| fact.text.clone());
    insert(&mut device, "suggested_area", place);
    insert(&mut device, "cu", settings.url.as_ref().map(|url| format!("{url}/nodes/{id}")));
    let mut components: Map<String, Value> = Map::new();
    components.extend(
        SENSORS
            .iter()
            .filter(|sensor| !sensor.told || has(each, sensor.key))
            .map(|sensor| entity(topics, &id, "sensor", sensor.key, sensor.name, described(sensor))),
    );
    components.extend(judged(topics, &id, &of));
    components.extend(done(settings, topics, &id, &of));
    json!({
        "dev": device,
        "o": origin(settings),
        "availability": [available(topics.of("bridge/state")), available(of("availability"))],
        "availability_mode": "all",
        "state_topic": of("state"),
        "qos": 1,
        "cmps": components,
    })
}

fn has(each: &SeenNode, key: &str) -> bool {
    let key = if key == "booted_at" { "uptime_s" } else { key };
    each.node.metrics.iter().any(|metric| metric.name == key)
}

/// What there is to say of a sensor; its topic is the device's.
fn described(sensor: &Sensor) -> Value {
    let key = sensor.key;
    let mut rest = json!({ "value_template": format!("{{{{ value_json.{key} }}}}") });
    insert(&mut rest, "device_class", sensor.class);
    insert(&mut rest, "unit_of_measurement", sensor.unit);
    insert(&mut rest, "state_class", sensor.shape);
    insert(&mut rest, "entity_category", sensor.diagnostic.then_some("diagnostic"));
    insert(&mut rest, "enabled_by_default", (!sensor.enabled).then_some(false));
    rest
}

/// What the gateway judges of a node.
fn judged(topics: &Topics, id: &str, of: &impl Fn(&str) -> String) -> [(String, Value); 3] {
    let connectivity = json!({
        "device_class": "connectivity", "entity_category": "diagnostic", "state_topic": of("availability"),
        "value_template": STATE, "payload_on": "online", "payload_off": "offline",
        "availability": [available(topics.of("bridge/state"))],
    });
    let problem = json!({
        "device_class": "problem", "state_topic": of("health"), "value_template": "{{ value_json.problem }}",
        "json_attributes_topic": of("health"),
    });
    let events = json!({ "event_types": EVENT_TYPES, "state_topic": of("event") });
    [
        entity(topics, id, "binary_sensor", "connectivity", "Connectivity", connectivity),
        entity(topics, id, "binary_sensor", "problem", "Problem", problem),
        entity(topics, id, "event", "events", "Events", events),
    ]
}

/// What can be done with a node.
fn done(
    settings: &Settings,
    topics: &Topics,
    id: &str,
    of: &impl Fn(&str) -> String,
) -> Vec<(String, Value)> {
    let mut update =
        json!({ "device_class": "firmware", "entity_category": "config", "state_topic": of("update") });
    let mut components = Vec::new();
    if settings.may_act() {
        insert(&mut update, "command_topic", Some(of("update/set")));
        insert(&mut update, "payload_install", Some("install"));
        for (key, name) in [("restart", "Restart"), ("identify", "Identify")] {
            let category = if key == "restart" { "config" } else { "diagnostic" };
            let rest = json!({
                "device_class": key, "entity_category": category, "command_topic": of("set"), "payload_press": key,
            });
            components.push(entity(topics, id, "button", key, name, rest));
        }
    }
    components.push(entity(topics, id, "update", "firmware", "Firmware", update));
    components
}

fn gateway(settings: &Settings, topics: &Topics, seen: &Seen) -> Value {
    let mut device = json!({
        "ids": [format!("pm_{}_{GATEWAY}", topics.mesh())],
        "name": format!("Mesh {}", seen.mesh),
        "mf": "Meshward",
        "mdl": "Gateway",
        "sw": env!("CARGO_PKG_VERSION"),
        "sn": seen.status.gateway.to_string(),
    });
    insert(&mut device, "cu", settings.url.clone());
    let topic = topics.of("metrics");
    let mut components = Map::new();
    let template = |path: &str| format!("{{{{ value_json.{path} }}}}");
    for (key, name, path, unit) in [
        ("nodes_online", "Nodes online", "nodes_online", None),
        ("nodes_offline", "Nodes offline", "nodes_offline", None),
        ("weak_links", "Weak links", "weak_links", None),
        ("points", "Mesh health", "points", Some("%")),
        ("overhead", "Status overhead", "overhead.share_percent", Some("%")),
        ("alerts", "Active alerts", "alerts_active", None),
    ]
    .into_iter()
    .filter(|_| settings.metrics)
    {
        let mut rest = json!({ "value_template": template(path), "state_class": "measurement" });
        insert(&mut rest, "unit_of_measurement", unit);
        components.extend([entity(topics, GATEWAY, "sensor", key, name, rest)]);
    }
    let connectivity = json!({
        "device_class": "connectivity", "entity_category": "diagnostic", "state_topic": topics.of("bridge/state"),
        "value_template": STATE, "payload_on": "online", "payload_off": "offline", "availability": [],
    });
    components.extend([entity(topics, GATEWAY, "binary_sensor", "connectivity", "Gateway", connectivity)]);
    json!({
        "dev": device,
        "o": origin(settings),
        "availability": [available(topics.of("bridge/state"))],
        "state_topic": topic,
        "qos": 1,
        "cmps": components,
    })
}
