//! Shapes for others: that they are there when they are wanted, what they say, and that the published schemas take it.

use std::collections::BTreeSet;

use jsonschema::{Registry, Validator};

use super::requests::{answered, calls};
use super::*;

const ALL: [Shape; 6] = [
    Shape::MeshStatus,
    Shape::Alteriom,
    Shape::MqttBridge,
    Shape::MeshOta,
    Shape::MeshCommand,
    Shape::MeshData,
];

fn all() -> Table {
    Table::new(Settings { role: Some(Role::Operator), shapes: ALL.to_vec(), ..Settings::default() })
}

fn alert() -> Alert {
    Alert {
        fingerprint: "0".repeat(16),
        rule: "low_memory".to_owned(),
        severity: "warning".to_owned(),
        subject: "node 7".to_owned(),
        node: Some(7),
        state: "active_unack".to_owned(),
        active: true,
        since: Timestamp::UNIX_EPOCH,
        raised_at: None,
        times: 1,
        value: Some(1.0),
        evidence: "little".to_owned(),
        known_by: None,
        assigned_to: None,
        suppressed_by: None,
        comments: Vec::new(),
    }
}

#[test]
fn old_shapes_are_there_when_they_are_switched_on() {
    let mut table = all().up();
    let mut seen = mesh(&[7, 8]);
    seen.alerts = vec![alert()];
    table.see(&seen);
    for topic in [
        "mesh/status/nodes",
        "mesh/status/topology",
        "mesh/status/metrics",
        "mesh/status/alerts",
        "mesh/status/node/7",
        "mesh/status/node/7/health",
        "alteriom/mesh/garden/topology",
    ] {
        let body = table.last(topic);
        assert_eq!(
            (&body["schema_version"], &body["device_id"].as_str().unwrap()[..4]),
            (&json!(1), "ALT-"),
            "{topic}"
        );
        assert!(body["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }
    let topology = table.last("alteriom/mesh/garden/topology");
    assert!(topology.to_string().len() < 16 * 1024);
    assert_eq!(topology["connections"][1]["from_node"], "ALT-000000000007");
    table.bridge.handle_event(&event(1, "topology", "join", Some(8)));
    table.drain();
    assert_eq!(table.last("alteriom/mesh/garden/events")["event_type"], "node_join");
    assert!(table.kept.contains_key("mesh/ota/announce"));
    table.hear("mesh/ota/control", r#"{"action":"pause","id":4}"#);
    assert_eq!(calls(&mut table)[0].0, "POST /api/v1/rollouts/4/pause");
    table.hear("painlessMesh/to/gateway", "getNodes");
    let ids = table.said.iter().rev().find(|message| message.topic == "painlessMesh/from/gateway").unwrap();
    assert_eq!(&*ids.payload, b"7 8");
    table.hear("painlessMesh/to/7", "hello");
    assert_eq!(table.bridge.poll_task(), Some(Task::Say(Some(7), "hello".to_owned())));
    table.hear("painlessMesh/to/broadcast", "all");
    assert_eq!(table.bridge.poll_task(), Some(Task::Say(None, "all".to_owned())));
    table.bridge.handle_said(false);
    table.bridge.handle_text(8, b"reading 5");
    table.drain();
    assert!(table.said.iter().any(|message| &*message.payload == b"Client not connected!"));
    assert!(table.said.iter().any(|message| message.topic == "painlessMesh/from/8"));
    for (to, text) in [("x", "y"), ("7", "a\u{0}b"), ("7", &"z".repeat(2_000)), ("gateway", "other")] {
        table.hear(&format!("painlessMesh/to/{to}"), text);
        assert_eq!(table.bridge.poll_task(), None, "{to}");
    }
    // And nothing of it when they are not.
    let mut plain = Table::operator().up();
    plain.see(&seen);
    plain.hear("painlessMesh/to/gateway", "getNodes");
    let strange = |topic: &String| !topic.starts_with("painlessmesh/garden/");
    assert_eq!(plain.topics().into_iter().filter(strange).collect::<Vec<_>>(), Vec::<String>::new());
}

/// The schemas of `@alteriom/mqtt-schema` 0.8.2: `testdata/README.md` says where they are from.
fn schema(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/mqtt-schema");
    let text = std::fs::read_to_string(format!("{folder}/{name}.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn validator(name: &str) -> Validator {
    let envelope = schema("envelope");
    let id = envelope["$id"].as_str().unwrap().to_owned();
    let registry = Registry::new().add(id, envelope).unwrap().prepare().unwrap();
    let options = jsonschema::options().with_registry(&registry).should_validate_formats(true);
    options.build(&schema(name)).unwrap()
}

fn wrong(name: &str, body: &Value) -> Vec<String> {
    validator(name).iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Which schema a topic has; those without one of their own have the envelope's.
fn schema_of(topic: &str) -> Option<&'static str> {
    let levels: Vec<&str> = topic.split('/').collect();
    Some(match &*levels {
        ["mesh", "status", "nodes"] => "mesh_node_list",
        ["mesh", "status", "topology"] | ["alteriom", "mesh", _, "topology"] => "mesh_topology",
        ["mesh", "status", "metrics"] => "gateway_metrics",
        ["mesh", "status", "alerts"] | ["mesh", "alerts", "critical"] => "mesh_alert",
        ["mesh", "sensor", _] => "sensor_data",
        ["mesh", "metrics", _] => "sensor_metrics",
        ["mesh", "aggregated", "metrics"] => "mesh_metrics",
        ["mesh", "aggregated", "health"] => "mesh_status",
        ["mesh", "ota", _, "status"] => "firmware_status",
        ["mesh", "ota", ..] | ["mesh", "response" | "config" | "error", _] => return None,
        ["alteriom", "mesh", _, "topology", "response"] => "command_response",
        ["mesh" | "alteriom", ..] => "envelope",
        _ => return None,
    })
}

/// A mesh in which things are as bad as they can be told: values missing, out of range, and nodes in every state.
fn odd() -> Seen {
    let mut seen = mesh(&[7, 8, 9, 10, 4_000_000_000]);
    let states = [NodeState::Online, NodeState::Offline, NodeState::Learning, NodeState::Sleeping];
    for (each, state) in seen.nodes.iter_mut().zip(states) {
        each.node.state = state;
    }
    seen.nodes[1].node.last_heard_at = None;
    seen.nodes[1].node.metrics.clear();
    seen.nodes[1].version = None;
    seen.nodes[2].version = Some("v".repeat(60));
    seen.nodes[2].node.score = Score { points: None, level: "unknown".to_owned(), ..score() };
    let at = seen.at;
    let metric = |name: &str, value: f64| Metric {
        name: name.to_owned().into(),
        value,
        unit: "".into(),
        observed_at: at,
        source: "telemetry".into(),
        doubt: None,
    };
    let strange = [("rssi_dbm", -127.0), ("round_trip_ms", 60_000.4), ("link_quality_percent", 88.6)];
    seen.nodes[0].node.metrics.retain(|metric| metric.name != "rssi_dbm");
    seen.nodes[0].node.metrics.extend(strange.map(|(name, value)| metric(name, value)));
    seen.alerts = vec![
        alert(),
        Alert {
            severity: "critical".to_owned(),
            rule: "mesh_parted".to_owned(),
            node: None,
            value: None,
            ..alert()
        },
    ];
    let line = |id, state, parts| RolloutNode {
        id,
        family: None,
        scheme: None,
        state,
        done: parts / 2,
        parts,
        reason: None,
    };
    let lines = vec![
        line(7, RolloutNodeState::Receiving, 9),
        line(8, RolloutNodeState::Waiting, 0),
        line(9, RolloutNodeState::Updated, 9),
        line(10, RolloutNodeState::Failed, 9),
    ];
    seen.rollouts = vec![rollout(firmware("1.5.0", 5), lines)];
    seen.firmware = vec![firmware("1.5.0", 5)];
    seen
}

#[test]
fn what_is_published_is_what_the_published_schemas_take() {
    let mut table = all().up();
    table.see(&odd());
    table.pass(10_000);
    let mut other = odd();
    other.nodes.remove(1);
    other.links.pop();
    other.at = Timestamp::from_second(1_800_000_040).unwrap();
    table.see(&other);
    table.bridge.handle_event(&event(1, "topology", "join", Some(8)));
    table.bridge.handle_event(&event(2, "liveness", "offline", Some(8)));
    let asked = r#"{"event":"command","command":"get_topology","correlation_id":"a-1"}"#;
    table.hear("alteriom/mesh/garden/command", asked);
    table.hear("alteriom/mesh/garden/command", r#"{"command":"explode","correlation_id":"a b"}"#);
    table.drain();
    let mut seen = BTreeSet::new();
    for message in &table.said {
        let Some(schema) = schema_of(&message.topic) else { continue };
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(wrong(schema, &body), Vec::<String>::new(), "{}: {body:#}", message.topic);
        seen.insert(schema);
    }
    let expected = [
        "command_response",
        "envelope",
        "firmware_status",
        "gateway_metrics",
        "mesh_alert",
        "mesh_metrics",
        "mesh_node_list",
        "mesh_status",
        "mesh_topology",
        "sensor_data",
        "sensor_metrics",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected, "every schema was needed");
    // And the schemas do refuse something.
    let mut body = table.last("mesh/status/nodes");
    body["nodes"][0]["status"] = json!("asleep");
    body["device_id"] = json!("ALT 7");
    body["timestamp"] = json!("now");
    assert_eq!(wrong("mesh_node_list", &body).len(), 3, "{:?}", wrong("mesh_node_list", &body));
}

#[test]
fn the_alteriom_topology_is_told_whole_once_a_minute_and_in_between_what_has_changed() {
    let topic = "alteriom/mesh/garden/topology";
    let mut table = all().up();
    let ids: Vec<u32> = (2..42).collect();
    let mut seen = mesh(&ids);
    table.see(&seen);
    let whole = table.last(topic);
    assert_eq!((&whole["update_type"], &whole["event"]), (&json!("full"), &json!("mesh_topology")));
    assert_eq!(whole["metrics"]["network_diameter"], 40);
    assert_eq!(whole["nodes"].as_array().unwrap().len(), 40);
    assert!(whole.to_string().len() < 16 * 1024, "{}", whole.to_string().len());
    let told = |table: &mut Table| -> Vec<Value> {
        let said = std::mem::take(&mut table.said).into_iter().filter(|message| message.topic == topic);
        said.map(|message| serde_json::from_slice(&message.payload).unwrap()).collect()
    };
    told(&mut table);
    // What every report changes is no change.
    seen.at = Timestamp::from_second(1_800_000_006).unwrap();
    for each in &mut seen.nodes {
        each.node.last_heard_at = Some(seen.at);
        each.node.metrics[0].value += 6.0;
    }
    table.pass(6_000);
    table.see(&seen);
    assert_eq!(told(&mut table), Vec::<Value>::new());
    // Of the nodes at the end of the chain one is lost and one is gone; both with the link to it.
    seen.nodes[38].node.state = NodeState::Offline;
    seen.nodes.pop();
    seen.links.pop();
    table.pass(1_000);
    table.see(&seen);
    let changed = told(&mut table);
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["update_type"], "incremental");
    assert_eq!(changed[0]["nodes"].as_array().unwrap().len(), 1, "{:#}", changed[0]);
    assert_eq!(changed[0]["nodes"][0]["status"], "offline");
    assert_eq!(changed[0]["removed_nodes"], json!(["ALT-000000000029"]));
    assert_eq!(changed[0]["removed_connections"][0]["to_node"], "ALT-000000000029");
    // Within five seconds nothing more; then all of it, in pieces that are short enough.
    for each in seen.nodes.iter_mut().take(12) {
        each.version = Some("2.0.0".to_owned());
    }
    table.pass(4_000);
    table.see(&seen);
    assert_eq!(told(&mut table), Vec::<Value>::new());
    table.pass(1_000);
    table.see(&seen);
    let pieces = told(&mut table);
    assert_eq!(pieces.len(), 3);
    assert!(pieces.iter().all(|piece| piece.to_string().len() < 2 * 1024));
    // So many at once are the whole.
    seen.nodes.iter_mut().for_each(|each| each.version = Some("3.0.0".to_owned()));
    table.pass(5_000);
    table.see(&seen);
    assert_eq!(told(&mut table)[0]["update_type"], "full");
    for _ in 0..59 {
        table.pass(1_000);
        table.see(&seen);
    }
    assert_eq!(told(&mut table), Vec::<Value>::new());
    table.pass(1_000);
    table.see(&seen);
    assert_eq!(told(&mut table)[0]["update_type"], "full");
}

#[test]
fn the_topology_is_told_to_whoever_asks_for_it() {
    let mut table = all().up();
    table.see(&mesh(&[7, 8]));
    let response = "alteriom/mesh/garden/topology/response";
    table.hear("alteriom/mesh/garden/command", r#"{"command":"get_topology","correlation_id":"t-1"}"#);
    let answer = table.last(response);
    assert_eq!((&answer["correlation_id"], &answer["success"]), (&json!("t-1"), &json!(true)));
    assert_eq!(answer["result"]["nodes"].as_array().unwrap().len(), 2);
    table.hear("alteriom/mesh/garden/command", r#"{"command":"restart"}"#);
    assert_eq!(table.last(response)["error_code"], "UNKNOWN_COMMAND");
    for to in ["1", "ALT-000000000001", "broadcast"] {
        table.said.clear();
        table.hear(&format!("mesh/command/{to}"), r#"{"type":400,"command":300,"commandId":12345}"#);
        assert_eq!(table.last(response)["correlation_id"], "12345", "{to}");
    }
    table.said.clear();
    for bad in ["", "[]", "{", r#"{"command":""}"#] {
        table.hear("alteriom/mesh/garden/command", bad);
    }
    assert_eq!(table.topics(), Vec::<String>::new());
}

#[test]
fn nodes_are_told_what_to_do_by_the_older_names() {
    let mut table = all().up();
    let mut seen = mesh(&[7, 8]);
    seen.firmware = vec![firmware("2.0.0", 2)];
    table.see(&seen);
    let outcome = json!({ "outcome": "answered", "text": "{\"rate\":5}", "status": 0, "id": 3 });
    for (topic, payload, target, body, answer) in [
        (
            "mesh/command/7",
            r#"{"type":400,"command":10,"targetDevice":7,"commandId":1001,"parameters":"{\"state\":true}"}"#,
            "POST /api/v1/nodes/7/commands",
            json!({ "command": 10, "params": "{\"state\":true}" }),
            "mesh/response/7",
        ),
        (
            "mesh/command/ALT-000000000008",
            r#"{"command":1,"parameters":{"now":true}}"#,
            "POST /api/v1/nodes/8/commands",
            json!({ "command": 1, "params": "{\"now\":true}" }),
            "mesh/response/8",
        ),
        (
            "mesh/config/7/get",
            "",
            "POST /api/v1/nodes/7/commands",
            json!({ "command": 100, "params": "" }),
            "mesh/config/7",
        ),
        (
            "mesh/config/7/set",
            r#"{"config":{"rate":5}}"#,
            "POST /api/v1/nodes/7/commands",
            json!({ "command": 101, "params": "{\"rate\":5}" }),
            "mesh/response/7",
        ),
    ] {
        table.said.clear();
        table.hear(topic, payload);
        let mut made = Vec::new();
        answered(&mut table, 200, &outcome, &mut made);
        assert_eq!(made, [(target.to_owned(), body)], "{topic}");
        table.last(answer);
    }
    table.hear("mesh/command/7", r#"{"command":10,"commandId":1001}"#);
    answered(&mut table, 200, &outcome, &mut Vec::new());
    let said = table.last("mesh/response/7");
    assert_eq!((&said["responseToCommand"], &said["deviceStatus"]), (&json!(1001), &json!(0)));
    assert_eq!((&said["from"], &said["firmwareVersion"]), (&json!(7), &json!("1.4.2")));
    // What is on offer for it, and what somebody wants.
    table.hear("mesh/ota/7/start", "");
    table.hear("mesh/ota/8/start", r#"{"firmware":"abc","role":"sensor"}"#);
    let made = calls(&mut table);
    assert_eq!((&*made[0].0, &made[0].1["nodes"]), ("POST /api/v1/rollouts", &json!([7])));
    assert_eq!(made[1].1, json!({ "firmware": "abc", "role": "sensor", "nodes": [8] }));
    assert_eq!(table.last("mesh/response/7")["status"], "success");
    // Everybody who can hear it, and nobody else.
    seen.nodes[1].node.state = NodeState::Offline;
    table.pass(1_000);
    table.see(&seen);
    table.hear("mesh/command/broadcast", r#"{"command":200}"#);
    assert_eq!(calls(&mut table).len(), 1);
}

#[test]
fn what_cannot_be_done_by_the_older_names_is_said_so() {
    let mut table = all().up();
    table.see(&mesh(&[7]));
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(5_000));
    for (topic, payload, why) in [
        ("mesh/command/99999", r#"{"command":"x"}"#, "NUMBER"),
        ("mesh/command/door", r#"{"command":1}"#, "no such node"),
        ("mesh/command/ALT-7", r#"{"command":1}"#, "no such node"),
        ("mesh/command/7", "[1]", "no JSON object"),
        ("mesh/command/7", &huge, "4096"),
        ("mesh/config/7/set", "{}", "config"),
        ("mesh/ota/7/start", "{}", "on offer"),
        ("mesh/ota/broadcast/start", "{}", "no such node"),
    ] {
        table.hear(topic, payload);
        let to = topic.split('/').nth(2).unwrap();
        let said = table.last(&format!("mesh/error/{to}"));
        assert!(said["error"].as_str().unwrap().contains(why), "{topic}: {said}");
    }
    assert_eq!(table.bridge.poll_task(), None);
    // The node says no, does not answer, or REST does not let it.
    for (code, data, words) in [
        (200, json!({ "outcome": "answered", "text": "Unknown command", "status": 2 }), "Unknown command"),
        (200, json!({ "outcome": "timed_out", "text": null, "status": null }), "timed_out"),
        (403, json!({ "detail": "this needs the role operator" }), "this needs the role operator"),
    ] {
        table.hear("mesh/command/7", r#"{"command":9,"commandId":5}"#);
        answered(&mut table, code, &data, &mut Vec::new());
        let said = table.last("mesh/response/7");
        assert_eq!((&said["deviceStatus"], &said["responseMessage"]), (&json!(2), &json!(words)));
        assert_eq!(said["responseToCommand"], 5);
    }
    assert_eq!(table.last("mesh/error/7")["code"], 403);
    // One that waits is not asked more and more.
    for _ in 0..super::super::bridge::CALLS_MAX + 1 {
        table.hear("mesh/command/7", r#"{"command":9}"#);
    }
    assert!(table.last("mesh/error/7")["error"].as_str().unwrap().contains("too many"));
    // Without the switch nobody listens.
    let mut plain = Table::operator().up();
    plain.see(&mesh(&[7]));
    plain.said.clear();
    plain.hear("mesh/command/7", r#"{"command":9}"#);
    assert_eq!((plain.bridge.poll_task(), plain.topics()), (None, Vec::new()));
    assert!(plain.bridge.listens().iter().all(|filter| !filter.starts_with("mesh/")));
    assert!(all().bridge.listens().contains(&"mesh/command/+".to_owned()));
}

#[test]
fn what_a_node_tells_is_passed_on_when_it_has_told_something_new() {
    let mut table = all().up();
    let mut seen = mesh(&[7, 8]);
    table.see(&seen);
    assert_eq!(table.last("mesh/sensor/7")["sensors"]["temperature"]["value"], 21.5);
    assert_eq!(table.last("mesh/metrics/8")["metrics"]["uptime_s"], 3_600.0);
    assert_eq!(table.last("mesh/health/7")["health"], 2);
    let sum = table.last("mesh/aggregated/metrics");
    assert_eq!((&sum["avg_heap"], &sum["node_count"]), (&json!(123_456.0), &json!(2)));
    assert_eq!(table.last("mesh/aggregated/health")["healthy_nodes"], 2);
    let data = |table: &mut Table| -> Vec<String> {
        let topics = table.topics().into_iter();
        topics
            .filter(|topic| ["sensor", "metrics", "health"].contains(&topic.split('/').nth(1).unwrap()))
            .collect()
    };
    data(&mut table);
    table.pass(31_000);
    table.see(&seen);
    assert_eq!(data(&mut table), Vec::<String>::new(), "nobody has told anything new");
    seen.nodes[0].node.metrics[0].observed_at = Timestamp::from_second(1_800_000_031).unwrap();
    table.pass(1_000);
    table.see(&seen);
    assert_eq!(data(&mut table), ["mesh/sensor/7", "mesh/metrics/7", "mesh/health/7"]);
    // A critical alert is told once, when it is raised, and again when it is raised again.
    let raised = |second| Alert {
        severity: "critical".to_owned(),
        raised_at: Timestamp::from_second(second).ok(),
        ..alert()
    };
    for (alerts, told) in [
        (vec![raised(1)], 1),
        (vec![raised(1)], 0),
        (vec![alert()], 0),
        (vec![Alert { active: false, ..raised(1) }], 0),
        (vec![raised(2)], 1),
    ] {
        table.said.clear();
        seen.alerts = alerts;
        table.see(&seen);
        let critical = table.topics().iter().filter(|topic| *topic == "mesh/alerts/critical").count();
        assert_eq!(critical, told);
    }
}
