//! The state of a mesh of three `meshward node` processes: as it is, when one is killed, when one is stopped.

use std::time::Instant;

use serde_json::Value;

use crate::program::{Gateway, PATIENCE, Running, text};

/// Starts node `id` below the node that listens at `parent`; returns it and its port.
fn node(id: &str, parent: Option<&str>) -> (Running, String) {
    let mut args = vec!["node", "--id", id, "--listen", "127.0.0.1:0"];
    args.extend(parent.iter().flat_map(|parent| ["--connect", *parent]));
    let running = Running::start(&args);
    let port = running.port();
    (running, port)
}

/// Asks until the answer is as it should be.
pub(crate) fn until(gateway: &Gateway, args: &[&str], found: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = gateway.json(args);
        if found(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{args:?} stays {answer}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

pub(crate) fn state(nodes: &Value, id: u64) -> &str {
    let node = nodes.as_array().unwrap().iter().find(|node| node["id"] == id);
    node.map_or("nowhere", |node| node["state"].as_str().unwrap())
}

fn is_refused(gateway: &Gateway, args: &[&str], code: i32, needle: &str) {
    let output = gateway.ask(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(needle), "{args:?} should name {needle}: {said}");
}

#[test]
fn a_mesh_is_seen_asked_told_and_missed() {
    let (_root, port) = node("11", None);
    let (lost, _) = node("12", Some(&port));
    let (still, _) = node("13", Some(&port));
    let gateway = Gateway::start_with(&port, &["--learning", "5", "--status-interval", "10"]);
    gateway.sees(3);

    // Nodes are asked by name and id; they answer, or it is known what they said just now.
    assert_eq!(gateway.json(&["name", "12", "pump house"])["name"], "pump house");
    let asked = gateway.json(&["status", "pump house", "11", "--max-age", "0"]);
    assert_eq!(asked["outcomes"]["answered"], 2, "{asked}");
    let again = gateway.json(&["status", "12", "--max-age", "60"]);
    assert_eq!(again["nodes"][0]["outcome"], "cached", "{again}");
    let status = gateway.json(&["status"]);
    assert_eq!(status["states"]["online"], 3, "{status}");
    let dot = text(&gateway.ask(&["topology", "--dot"]).stdout);
    assert!(dot.contains("digraph mesh") && dot.contains("pump house") && dot.contains("11 -> 12"), "{dot}");
    let table = text(&gateway.ask(&["nodes"]).stdout);
    assert!(table.contains("pump house") && table.contains("3 online, 0 offline"), "{table}");

    // Commands: what the node knows, what it does not, and what it may not.
    let told = gateway.json(&["command", "12", "200"]);
    assert_eq!(told["outcome"], "answered", "{told}");
    let unknown = gateway.json(&["command", "12", "77"]);
    assert!(unknown["text"].as_str().unwrap().contains("does not know"), "{unknown}");

    for (args, code, needle) in [
        (&["status", "77"][..], 1, "77"),
        (&["status", "kitchen"], 1, "no node is called `kitchen`"),
        (&["status", "11", "--metric", "mood"], 1, "free_heap_bytes"),
        (&["status", "11", "--timeout", "0"], 1, "0.1 to 120"),
        (&["command", "11", "0"], 2, "1..=255"),
        (&["command", "77", "200"], 1, "never shown a node 77"),
        (&["name", "11", " "], 1, "not empty"),
        (&["alerts", "ack", "0123456789abcdef"], 1, "no alert of that fingerprint"),
        (&["alerts", "ack", "0123456789abcdeg"], 1, "16 hexadecimal digits"),
        (&["alerts", "clear", "f"], 1, "no alert begins with `f`"),
        (&["logs", "--kind", "gossip"], 2, "liveness"),
    ] {
        is_refused(&gateway, args, code, needle);
    }

    // Once the gateway has learnt what is so, and all report, one is killed and one is stopped.
    until(&gateway, &["status"], |status| status["learning"] == false);
    let reporting =
        |nodes: &Value| nodes.as_array().unwrap().iter().all(|node| node["period_seconds"].is_number());
    until(&gateway, &["nodes"], reporting);
    still.signal("STOP");
    drop(lost);
    until(&gateway, &["nodes"], |nodes| state(nodes, 12) == "offline");
    let alerts = until(&gateway, &["alerts"], |alerts| !alerts.as_array().unwrap().is_empty());
    assert_eq!(alerts.as_array().unwrap().len(), 1, "{alerts}");
    assert_eq!((&alerts[0]["rule"], &alerts[0]["node"]), (&"node_offline".into(), &12.into()));
    // Its neighbour may find out, by its own time-out, before its report is overdue.
    until(&gateway, &["nodes"], |nodes| ["suspect", "offline"].contains(&state(nodes, 13)));
    still.signal("CONT");
    until(&gateway, &["nodes"], |nodes| state(nodes, 13) == "online");

    let fingerprint = alerts[0]["fingerprint"].as_str().unwrap();
    let acked = gateway.json(&["alerts", "ack", &fingerprint[..4], "--by", "anna"]);
    assert_eq!((&acked["state"], &acked["known_by"]), (&"active_ack".into(), &"anna".into()));
    is_refused(&gateway, &["alerts", "ack", fingerprint], 1, "active_ack");
    let commented = gateway.json(&["alerts", "comment", fingerprint, "no power there"]);
    assert_eq!(commented["comments"][0]["text"], "no power there");
    let log = text(&gateway.ask(&["logs", "--node", "12"]).stdout);
    for needle in ["is in the mesh, below node 11", "was online, is offline", "node_offline"] {
        assert!(log.contains(needle), "{needle} in {log}");
    }
    is_refused(&gateway, &["command", "12", "200"], 1, "not in the mesh now");
}
