//! Requests, commands, uploads: good ones, and those of people and programs that mean no good.

use super::*;
use meshward_core::hash::Sha256Sum;

use super::super::bridge::CALLS_MAX;

/// The calls that are to be made, with their answers given at once.
pub(super) fn calls(table: &mut Table) -> Vec<(String, Value)> {
    let mut calls = Vec::new();
    answered(table, 200, &json!({ "done": true }), &mut calls);
    calls
}

/// The same, answered with this.
pub(super) fn answered(table: &mut Table, code: u16, data: &Value, calls: &mut Vec<(String, Value)>) {
    while let Some(task) = table.bridge.poll_task() {
        let asked = match task {
            Task::Ask(call, reply) => vec![(call, reply)],
            Task::Each(all) => all,
            Task::Say(..) => panic!("{task:?}"),
        };
        for (call, reply) in asked {
            let body = match call.content {
                Content::Json(body) => body,
                Content::Bytes(bytes) => json!(bytes.len()),
                Content::Nothing => Value::Null,
            };
            calls.push((format!("{} {}", call.method, call.target), body));
            table.bridge.handle_answer(reply, code, data.clone());
        }
    }
    table.drain();
}

#[test]
fn a_request_is_answered_with_its_transaction_where_it_wants_to_be() {
    let mut table = Table::operator().up();
    table.hear(&of("request/node"), r#"{"id": 7, "transaction": "t1"}"#);
    assert_eq!(calls(&mut table), [("GET /api/v1/nodes/7".to_owned(), Value::Null)]);
    let answer = table.last(&of("response/node"));
    assert_eq!((&answer["status"], &answer["transaction"]), (&json!("ok"), &json!("t1")));
    assert_eq!(answer["data"]["done"], true);
    // MQTT 5.
    let mut incoming = Incoming { topic: of("request/status"), ..Incoming::default() };
    incoming.response_topic = Some("me/answers".to_owned());
    incoming.correlation = Some(vec![1, 2, 3]);
    table.incoming(incoming.clone());
    calls(&mut table);
    let answer = table.said.iter().find(|message| message.topic == "me/answers").unwrap();
    assert_eq!(answer.correlation, Some(vec![1, 2, 3]));
    // Not with our voice.
    incoming.response_topic = Some(of("bridge/state"));
    table.incoming(incoming);
    calls(&mut table);
    assert!(table.said.iter().all(|message| message.topic != of("bridge/state")));
}

#[test]
fn what_is_no_request_is_refused_and_asks_nobody() {
    let mut table = Table::operator().up();
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(300 * 1024));
    for (name, payload, code) in [
        ("nothing", "{}", 404),
        ("status", "[1]", 400),
        ("status", "\u{1}", 400),
        ("node", "{}", 422),
        ("rollout/start", &huge, 413),
        ("firmware/upload/begin", "{}", 422),
        ("firmware/upload/begin", r#"{"size":5,"sha256":"0","x":1}"#, 422),
        ("firmware/upload/other", "{}", 404),
        ("firmware/upload/end", "{}", 422),
    ] {
        table.hear(&of(&format!("request/{name}")), payload);
        let answer = table.last(&of(&format!("response/{name}")));
        assert_eq!((&answer["status"], &answer["code"]), (&json!("error"), &json!(code)), "{name}: {answer}");
        assert!(!answer["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(calls(&mut table), []);
    assert_eq!(table.bridge.counters().refused, 9);
}

#[test]
fn retained_commands_are_ignored_and_said_to_be() {
    let mut table = Table::operator().up();
    table.see(&mesh(&[7]));
    for topic in
        ["request/rollout/abort", "node/7/set", "node/7/update/set", "request/firmware/upload/chunk/0"]
    {
        let incoming =
            Incoming { topic: of(topic), payload: b"restart".to_vec(), retain: true, ..Incoming::default() };
        table.incoming(incoming);
        assert_eq!(table.last(&of("bridge/logging"))["level"], "warning");
    }
    assert_eq!(calls(&mut table), []);
    assert_eq!(table.bridge.counters().retained_ignored, 4);
}

#[test]
fn what_the_broker_brings_twice_is_done_once() {
    let mut table = Table::operator().up();
    let command =
        |dup| Incoming { topic: of("node/7/set"), payload: b"restart".to_vec(), dup, ..Incoming::default() };
    // Brought again without having been brought, as after a lost acknowledgement of a former life: it is done.
    table.incoming(command(true));
    table.incoming(command(true));
    assert_eq!(calls(&mut table).len(), 1);
    table.incoming(command(false));
    assert_eq!(calls(&mut table).len(), 1, "somebody wants it once more");
}

#[test]
fn nodes_are_told_what_to_do() {
    let mut table =
        Table::new(Settings { role: Some(Role::Operator), names: true, ..Settings::default() }).up();
    let mut seen = mesh(&[7]);
    seen.nodes[0].node.name = Some("Pump".to_owned());
    table.see(&seen);
    for (level, payload, body) in [
        ("7", "restart", json!({ "command": 1 })),
        ("pump", r#"{"command": 200}"#, json!({ "command": 200 })),
    ] {
        table.hear(&of(&format!("node/{level}/set")), payload);
        assert_eq!(calls(&mut table), [("POST /api/v1/nodes/7/commands".to_owned(), body)]);
    }
    table.hear(&of("node/7/set"), "identify");
    assert_eq!(calls(&mut table)[0].1["command"], 10);
    for (level, payload, code) in [("door", "restart", 404), ("7", "explode", 422), ("7", "", 422)] {
        table.hear(&of(&format!("node/{level}/set")), payload);
        assert_eq!(table.last(&of(&format!("response/node/{level}/set")))["code"], code, "{payload}");
    }
}

#[test]
fn an_image_comes_in_chunks_and_becomes_an_upload() {
    let mut table = Table::operator().up();
    let image: Vec<u8> = (0..1_000_u32).map(|at| (at % 251) as u8).collect();
    let sum: String = Sha256Sum::of(&image).0.iter().map(|byte| format!("{byte:02x}")).collect();
    let begin = json!({ "size": 1_000, "sha256": sum, "chunk_size": 400, "name": "a b", "transaction": 5 });
    table.hear(&of("request/firmware/upload/begin"), &begin.to_string());
    let answer = table.last(&of("response/firmware/upload/begin"));
    assert_eq!((&answer["data"]["chunks"], &answer["transaction"]), (&json!(3), &json!(5)));
    table.said.clear();
    for number in [2, 0, 0, 1] {
        let payload = image.chunks(400).nth(number).unwrap().to_vec();
        let topic = of(&format!("request/firmware/upload/chunk/{number}"));
        table.incoming(Incoming { topic, payload, ..Incoming::default() });
    }
    assert_eq!(table.topics(), Vec::<String>::new(), "good chunks are not answered");
    table.hear(&of("request/firmware/upload/chunk/9"), "x");
    let refused = table.last(&of("response/firmware/upload/chunk"));
    assert!(refused["error"].as_str().unwrap().contains("0 to 2"), "{refused}");
    table.hear(&of("request/firmware/upload/end"), "");
    let made = calls(&mut table);
    assert_eq!(made, [("POST /api/v1/firmware?name=a%20b".to_owned(), json!(1_000))]);
    assert_eq!(table.last(&of("response/firmware/upload/end"))["status"], "ok");
}

#[test]
fn who_may_only_look_does_nothing_and_where_nobody_may_nobody_is_heard() {
    let mut table = Table::new(Settings::default()).up();
    let begin = json!({ "size": 1_000, "sha256": "0".repeat(64) });
    table.hear(&of("request/firmware/upload/begin"), &begin.to_string());
    assert_eq!(table.last(&of("response/firmware/upload/begin"))["code"], 403);
    let mut table = Table::new(Settings { role: None, ..Settings::default() }).up();
    assert!(table.bridge.listens().is_empty());
    table.hear(&of("request/status"), "");
    table.hear(&of("node/7/set"), "restart");
    assert_eq!((calls(&mut table), table.topics()), (Vec::new(), Vec::new()));
}

#[test]
fn more_requests_than_can_be_under_way_are_refused() {
    let mut table = Table::operator().up();
    for _ in 0..CALLS_MAX {
        table.hear(&of("request/status"), "");
    }
    assert_eq!(table.topics(), Vec::<String>::new());
    table.hear(&of("request/status"), "");
    assert_eq!(table.last(&of("response/status"))["code"], 429);
    assert_eq!(calls(&mut table).len(), CALLS_MAX);
    table.hear(&of("request/status"), "");
    assert_eq!(calls(&mut table).len(), 1);
}

#[test]
fn an_update_is_installed_from_home_assistant() {
    let mut table = Table::operator().up();
    let mut seen = mesh(&[7]);
    table.see(&seen);
    let update = of("node/7/update");
    assert_eq!(table.kept(&update)["latest_version"], "1.4.2");
    table.hear(&of("node/7/update/set"), "install");
    assert_eq!(table.last(&of("response/node/7/update/set"))["code"], 404);
    seen.firmware = vec![firmware("1.4.3", 3), firmware("1.4.4", 4), firmware("1.4.1", 1)];
    let mut other = firmware("9.9", 9);
    other.manifest.as_mut().unwrap().role = "door".to_owned();
    seen.firmware.push(other);
    table.pass(1_000);
    table.see(&seen);
    let state = table.kept(&update);
    assert_eq!((&state["installed_version"], &state["latest_version"]), (&json!("1.4.2"), &json!("1.4.4")));
    assert_eq!((&state["in_progress"], &state["update_percentage"]), (&json!(false), &Value::Null));
    table.hear(&of("node/7/update/set"), "install");
    let made = calls(&mut table);
    assert_eq!(made[0].0, "POST /api/v1/rollouts");
    assert_eq!((&made[0].1["nodes"], &made[0].1["role"]), (&json!([7]), &json!("sensor")));
    assert_eq!(made[0].1["firmware"], format!("{:064x}", 4));
    // And how far it is.
    let line = RolloutNode {
        id: 7,
        family: None,
        scheme: None,
        state: RolloutNodeState::Receiving,
        done: 3,
        parts: 10,
        reason: None,
    };
    seen.rollouts = vec![rollout(firmware("1.4.4", 4), vec![line])];
    table.pass(1_000);
    table.see(&seen);
    let state = table.kept(&update);
    assert_eq!((&state["in_progress"], &state["update_percentage"]), (&json!(true), &json!(30)));
    let progress = table.last(&of("ota/node/7"));
    assert_eq!((&progress["state"], &progress["percent"]), (&json!("receiving"), &json!(30)));
    assert_eq!(table.kept(&of("ota/status"))["percent"], 30);
    assert_eq!(table.kept(&of("ota/announce"))["firmware"][0]["manifest"]["version"], "1.4.3");
}
