//! `alteriom/mesh/{mesh_id}/…`: the topology whole and in changes, events, and `get_topology`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::{known, loosely, of_gateway, surely, version, whole, word};
use crate::mqtt::message::Message;
use crate::mqtt::status::{device_id, is_there, told};
use crate::mqtt::topics::Topics;
use crate::rest::inside::{Seen, SeenNode};
use crate::rest::model::{Event, Link};

/// The whole topology, also without changes.
const WHOLE: Duration = Duration::from_secs(60);
/// Between two messages with changes.
const CHANGED: Duration = Duration::from_secs(5);
/// Changes in one message: the documents want no more than 2 KB.
const CHANGES_MAX: usize = 5;
/// With more changes than this the whole topology is told again.
const CHANGES_WHOLE: usize = 20;
/// Longest id by which an asker knows an answer, in bytes.
const CORRELATION_MAX: usize = 128;

/// A node or a connection that has changed.
#[derive(Clone, Debug, PartialEq)]
enum Change {
    Node(Value),
    Connection(Value),
    NodeGone(u32),
    ConnectionGone(u32, u32),
}

/// What of a node is a change; what it tells with every report is none.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    word: Option<&'static str>,
    version: Option<String>,
    links: usize,
}

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Alteriom {
    whole_at: Option<Instant>,
    changed_at: Option<Instant>,
    nodes: BTreeMap<u32, Told>,
    links: BTreeSet<(u32, u32)>,
    rate: Rate,
}

impl Alteriom {
    pub(super) fn look(&mut self, now: Instant, topics: &Topics, seen: &Seen, messages: &mut Vec<Message>) {
        self.rate.look(seen);
        let topic = topics.alteriom("topology");
        if self.whole_at.is_none_or(|at| now.since(at) >= WHOLE) {
            return self.whole(now, topic, seen, messages);
        }
        if self.changed_at.is_some_and(|at| now.since(at) < CHANGED) {
            return;
        }
        let changes = self.changes(seen);
        if changes.len() > CHANGES_WHOLE {
            return self.whole(now, topic, seen, messages);
        }
        for some in changes.chunks(CHANGES_MAX) {
            messages.push(surely(topic.clone(), &of_gateway(seen, incremental(seen, some))));
        }
        if !changes.is_empty() {
            self.changed_at = Some(now);
            self.remember(seen);
        }
    }

    fn whole(&mut self, now: Instant, topic: String, seen: &Seen, messages: &mut Vec<Message>) {
        (self.whole_at, self.changed_at) = (Some(now), Some(now));
        self.remember(seen);
        messages.push(loosely(topic, &of_gateway(seen, topology(seen, self.rate.per_second()))));
    }

    fn remember(&mut self, seen: &Seen) {
        self.nodes = told(seen).map(|each| (each.node.id, short(seen, each))).collect();
        self.links = seen.links.iter().map(|link| (link.from, link.to)).collect();
    }

    fn changes(&self, seen: &Seen) -> Vec<Change> {
        let mut changes: Vec<Change> = told(seen)
            .filter(|each| self.nodes.get(&each.node.id) != Some(&short(seen, each)))
            .map(|each| Change::Node(node(seen, each)))
            .collect();
        let there: BTreeSet<u32> = told(seen).map(|each| each.node.id).collect();
        changes.extend(self.nodes.keys().filter(|id| !there.contains(id)).map(|id| Change::NodeGone(*id)));
        let new = seen.links.iter().filter(|link| !self.links.contains(&(link.from, link.to)));
        changes.extend(new.map(|link| Change::Connection(connection(seen, link))));
        let links: BTreeSet<(u32, u32)> = seen.links.iter().map(|link| (link.from, link.to)).collect();
        changes.extend(self.links.difference(&links).map(|(from, to)| Change::ConnectionGone(*from, *to)));
        changes
    }
}

/// Messages a second, from what nodes say they have sent.
#[derive(Debug, Default)]
struct Rate {
    /// The last count of a node and when it was so, and how fast it rose.
    nodes: BTreeMap<u32, (f64, Timestamp, Option<f64>)>,
}

impl Rate {
    fn look(&mut self, seen: &Seen) {
        let of = |each: &SeenNode| {
            let sent = each.node.metrics.iter().find(|metric| metric.name == "messages_tx")?;
            let before = self.nodes.get(&each.node.id);
            let rate = match before {
                Some((_, at, rate)) if *at == sent.observed_at => *rate,
                Some((count, at, _)) => {
                    let seconds = sent.observed_at.duration_since(*at).as_secs_f64();
                    // It has begun anew.
                    (seconds > 0.0 && sent.value >= *count).then(|| (sent.value - count) / seconds)
                }
                None => None,
            };
            Some((each.node.id, (sent.value, sent.observed_at, rate)))
        };
        self.nodes = told(seen).filter_map(of).collect();
    }

    fn per_second(&self) -> Option<f64> {
        let rates: Vec<f64> = self.nodes.values().filter_map(|(_, _, rate)| *rate).collect();
        (!rates.is_empty()).then(|| (rates.iter().sum::<f64>() * 10.0).round() / 10.0)
    }
}

fn count(seen: &Seen, id: u32) -> usize {
    seen.links.iter().filter(|link| link.from == id || link.to == id).count()
}

fn short(seen: &Seen, each: &SeenNode) -> Told {
    Told { word: word(each), version: each.version.clone(), links: count(seen, each.node.id) }
}

fn node(seen: &Seen, each: &SeenNode) -> Value {
    let metric = |name: &str| each.node.metric(name);
    let links = count(seen, each.node.id);
    let role = match (each.node.id == seen.status.gateway, links) {
        (true, _) => "gateway",
        (false, 2..) => "repeater",
        _ => "sensor",
    };
    known(json!({
        "node_id": device_id(each.node.id), "role": role, "status": word(each),
        "last_seen": each.node.last_heard_at.map(|at| at.as_second()).and_then(|at| Timestamp::from_second(at).ok()),
        "firmware_version": version(each), "uptime_seconds": whole(metric("uptime_s"), 0.0, f64::MAX),
        "free_memory_kb": whole(metric("free_heap_bytes").map(|bytes| bytes / 1_024.0), 0.0, f64::MAX),
        "connection_count": links,
    }))
}

/// A connection, with what is known of it.
pub(super) fn connection(seen: &Seen, link: &Link) -> Value {
    let below = seen.nodes.iter().find(|each| each.node.id == link.to);
    let metric = |name: &str| below.and_then(|each| each.node.metric(name));
    known(json!({
        "from_node": device_id(link.from), "to_node": device_id(link.to),
        "quality": whole(metric("link_quality_percent"), 0.0, 100.0),
        "latency_ms": whole(metric("round_trip_ms"), 0.0, 10_000.0),
        "rssi": whole(metric("rssi_dbm"), -100.0, 0.0),
        "hop_count": below.and_then(|each| each.node.hops).filter(|hops| *hops > 0),
    }))
}

/// Hops between the two nodes that are farthest apart.
fn diameter(links: &[Link]) -> usize {
    let mut beside: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for link in links {
        beside.entry(link.from).or_default().push(link.to);
        beside.entry(link.to).or_default().push(link.from);
    }
    // In a tree whoever is farthest from anybody is an end of a longest way.
    let farthest = |start: u32| {
        let (mut seen, mut ways) = (BTreeSet::from([start]), VecDeque::from([(start, 0)]));
        let mut last = (start, 0);
        while let Some((id, hops)) = ways.pop_front() {
            last = (id, hops);
            for &next in beside.get(&id).into_iter().flatten() {
                if seen.insert(next) {
                    ways.push_back((next, hops + 1));
                }
            }
        }
        last
    };
    beside.keys().next().map_or(0, |&any| farthest(farthest(any).0).1)
}

/// The whole of it.
fn topology(seen: &Seen, messages_per_second: Option<f64>) -> Value {
    let nodes: Vec<Value> = told(seen).map(|each| node(seen, each)).collect();
    let connections: Vec<Value> = seen.links.iter().map(|link| connection(seen, link)).collect();
    let qualities: Vec<f64> = connections.iter().filter_map(|each| each.get("quality")?.as_f64()).collect();
    let average = (!qualities.is_empty()).then(|| qualities.iter().sum::<f64>() / qualities.len() as f64);
    json!({
        "event": "mesh_topology", "mesh_id": seen.mesh, "update_type": "full",
        "gateway_node_id": device_id(seen.status.gateway),
        "metrics": known(json!({
            "total_nodes": nodes.len(),
            "online_nodes": told(seen).filter(|each| is_there(each.node.state) == Some(true)).count(),
            "network_diameter": diameter(&seen.links),
            "avg_connection_quality": whole(average, 0.0, 100.0),
            "messages_per_second": messages_per_second,
        })),
        "nodes": nodes, "connections": connections,
    })
}

fn incremental(seen: &Seen, changes: &[Change]) -> Value {
    let (mut nodes, mut connections) = (Vec::new(), Vec::new());
    let (mut nodes_gone, mut connections_gone) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Node(node) => nodes.push(node),
            Change::Connection(connection) => connections.push(connection),
            Change::NodeGone(id) => nodes_gone.push(device_id(*id)),
            Change::ConnectionGone(from, to) => {
                connections_gone.push(json!({ "from_node": device_id(*from), "to_node": device_id(*to) }));
            }
        }
    }
    json!({
        "event": "mesh_topology", "mesh_id": seen.mesh, "update_type": "incremental",
        "gateway_node_id": device_id(seen.status.gateway), "nodes": nodes, "connections": connections,
        "removed_nodes": nodes_gone, "removed_connections": connections_gone,
    })
}

/// An event as these documents have it.
pub(super) fn event(topics: &Topics, seen: &Seen, event: &Event) -> Option<Message> {
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
        "details": { "text": event.text, "total_nodes": told(seen).count(), "timestamp": event.at },
        "timestamp": event.at,
    });
    Some(surely(topics.alteriom("events"), &of_gateway(seen, body)))
}

/// By what an asker knows the answer, if that can be one.
fn correlation(id: Option<&Value>) -> Option<String> {
    let id = match id? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    ((1..=CORRELATION_MAX).contains(&id.len()) && id.bytes().all(letter)).then_some(id)
}

/// The command of a message to `…/command`, and by what its sender knows the answer.
pub(crate) fn read_command(payload: &[u8]) -> Option<(String, Option<String>)> {
    let body: Value = serde_json::from_slice(payload).ok()?;
    let command = body.get("command")?.as_str()?;
    let correlation = correlation(body.get("correlation_id"));
    (1..=64).contains(&command.len()).then(|| (command.to_owned(), correlation))
}

/// The answer to such a command: there is only `get_topology`.
pub(crate) fn requested(
    topics: &Topics,
    seen: &Seen,
    command: &str,
    correlation_id: Option<String>,
) -> Message {
    let mut body = json!({
        "event": "command_response", "command": command, "correlation_id": correlation_id,
        "mesh_id": seen.mesh, "success": true,
    });
    if command == "get_topology" {
        body["result"] = topology(seen, None);
    } else {
        body["success"] = false.into();
        body["error_code"] = "UNKNOWN_COMMAND".into();
        body["message"] = "there is only get_topology here; others go to mesh/command/ID".into();
    }
    surely(topics.alteriom("topology/response"), &of_gateway(seen, known(body)))
}

/// The answer to command 300, by which the command bridge asks for the topology.
pub(crate) fn get_topology(topics: &Topics, seen: &Seen, id: Option<&Value>) -> Message {
    let mut body = topology(seen, None);
    if let Some(id) = correlation(id) {
        body["correlation_id"] = id.into();
    }
    surely(topics.alteriom("topology/response"), &of_gateway(seen, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(pairs: &[(u32, u32)]) -> Vec<Link> {
        pairs.iter().map(|&(from, to)| Link { from, to }).collect()
    }

    #[test]
    fn the_diameter_is_the_longest_way_whoever_is_asked_first() {
        for (pairs, hops) in [
            (&[][..], 0),
            (&[(1, 2)], 1),
            (&[(1, 2), (1, 3)], 2),
            (&[(5, 1), (1, 2), (2, 3), (5, 4), (4, 6)], 5),
        ] {
            assert_eq!(diameter(&links(pairs)), hops, "{pairs:?}");
        }
    }

    #[test]
    fn an_id_of_an_answer_is_one_that_the_schema_takes() {
        for (id, taken) in [
            (json!("cmd-17_a"), Some("cmd-17_a")),
            (json!(12), Some("12")),
            (json!(""), None),
            (json!("a b"), None),
            (json!("x".repeat(129)), None),
            (json!([1]), None),
        ] {
            assert_eq!(correlation(Some(&id)).as_deref(), taken, "{id}");
        }
    }
}
