//! One real node's part in a recording of `testdata/wire`: what it got, what it sent, when.
//!
//! Reads only what the replay needs: connections until the first one closes, and messages. Times are
//! microseconds of the recording.

use std::collections::BTreeMap;

use serde_json::Value;

use super::package::decode_base64;

/// A TCP connection of the node.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) peer: String,
    pub(super) dials: bool,
    pub(super) opened: u64,
}

/// A message on one of the node's connections.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) at: u64,
    pub(super) connection: usize,
    pub(super) kind: u64,
    pub(super) text: String,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) id: u32,
    pub(super) connections: Vec<Connection>,
    /// What came to the node; what the proxy withheld did not.
    pub(super) heard: Vec<Message>,
    pub(super) sent: Vec<Message>,
    /// When the first connection is closed and the recording is over.
    pub(super) end: u64,
}

/// The objects of a file.
fn objects(file: &str) -> Vec<Value> {
    let path = format!("{}/../../testdata/wire/{file}.ndjson", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the recording is in the repository");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn at(object: &Value) -> u64 {
    (object["t_ms"].as_f64().expect("a line has a time") * 1_000.0).round() as u64
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {object}"))
}

/// Reads the part of `node` in `file`.
pub(super) fn part(file: &str, node: &str) -> Part {
    let mut part = Part { id: 0, connections: Vec::new(), heard: Vec::new(), sent: Vec::new(), end: 0 };
    for object in objects(file) {
        if object["event"] == "tcp_closed" {
            part.end = at(&object);
            return part;
        }
        if object["event"] == "tcp_open" {
            let (dialler, listener) = (text(&object, "dialler"), text(&object, "listener"));
            if dialler == node || listener == node {
                let dials = dialler == node;
                let peer = if dials { listener } else { dialler }.to_owned();
                let name = text(&object, "conn").to_owned();
                part.connections.push(Connection { name, peer, dials, opened: at(&object) });
            }
        } else if let Some(raw) = object["raw"].as_str() {
            part.note(node, &object, raw);
        }
    }
    panic!("{file} has no end")
}

impl Part {
    fn note(&mut self, node: &str, object: &Value, raw: &str) {
        let named = |connection: &Connection| object["conn"] == connection.name.as_str();
        let Some(connection) = self.connections.iter().position(named) else { return };
        let message: Value = serde_json::from_str(raw).expect("a message is JSON");
        let kind = message["type"].as_u64().expect("a message has a type");
        let note = Message { at: at(object), connection, kind, text: raw.to_owned() };
        if object["from"] == node {
            if matches!(kind, 5 | 6) {
                self.id = message["from"].as_u64().expect("a sync has a sender") as u32;
            }
            self.sent.push(note);
        } else if object["withheld_by_proxy"] != true {
            self.heard.push(note);
        }
    }

    /// What the node sent that the replay compares.
    pub(super) fn firmware(&self) -> impl Iterator<Item = &Message> {
        self.sent.iter().filter(|message| (10..=12).contains(&message.kind))
    }

    /// When the node's application offered what it announced: early enough for all announces, since the
    /// scheduler of a real node may fire within the millisecond before it is due.
    pub(super) fn offered(&self) -> Option<(u64, Value)> {
        let own = |message: &&Message| {
            message.kind == 10 && message.text.starts_with(&format!("{{\"from\":{},", self.id))
        };
        let announces: Vec<&Message> = self.sent.iter().filter(own).collect();
        let first = announces.first()?;
        let same_link = announces.iter().filter(|one| one.connection == first.connection);
        let due = (0..).map(|minutes: u64| minutes * 60_000_000);
        let earliest = same_link.zip(due).map(|(one, due)| one.at - due).min()?;
        Some((earliest, serde_json::from_str(&first.text).expect("an announce is JSON")))
    }
}

/// The bytes of the parts of `md5` in `file`, those that are missing as zeros.
pub(super) fn image(file: &str, md5: &str) -> Vec<u8> {
    let mut parts = BTreeMap::new();
    for object in objects(file) {
        let Some(message) = object["raw"].as_str().and_then(|raw| serde_json::from_str::<Value>(raw).ok())
        else {
            continue;
        };
        if message["type"] == 12 && message["md5"] == md5 {
            let number = message["partNo"].as_u64().expect("a part has a number") as usize;
            parts.insert(number, decode_base64(text(&message, "data").as_bytes()));
        }
    }
    let last = parts.keys().next_back().map_or(0, |last| last + 1);
    (0..last).flat_map(|number| parts.remove(&number).unwrap_or_else(|| vec![0; 1_024])).collect()
}
