//! The status bridge: from what is known of the mesh to what the broker is to keep of it, in the words of REST.
//!
//! A node counts as `offline` only when it is lost by the gateway's own judgement; while the gateway learns, nothing
//! is said of it, and what the broker has holds. It knows no clock; how often a topic is written is its [`Pace`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use meshward_core::time::Duration;
use serde_json::{Map, Value, json};

use super::board::{Pace, Want};
use super::message::{Message, Qos};
use super::settings::Settings;
use super::topics::Topics;
use super::update;
use crate::rest::inside::{Seen, SeenNode};
use crate::rest::model::{Alert, Event, NodeState};

/// A node's start is another one only when it differs by more than this: it is reckoned from what the node told.
const BOOT_SPREAD: SignedDuration = SignedDuration::from_secs(30);
/// The tree without changes, nodes without changes, and the list, in seconds.
const TREE_AGAIN_S: u64 = 60;
const NODE_AGAIN_S: u64 = 60;
const LIST_AGAIN_S: u64 = 300;

/// Nodes that come and go change how many there are in each state.
const INFO: Pace = Pace { least: Duration::from_secs(5), refresh: None };

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Status {
    booted: BTreeMap<u32, Timestamp>,
    tree: Option<Tree>,
}

/// The tree as it was told last.
#[derive(Clone, Debug, PartialEq)]
struct Tree {
    revision: u64,
    nodes: BTreeMap<u32, Value>,
    links: BTreeSet<(u32, u32)>,
}

/// Whether a node is there; `None` while nobody knows, and of one that is to be forgotten.
pub(crate) const fn is_there(state: NodeState) -> Option<bool> {
    match state {
        NodeState::Online | NodeState::Suspect | NodeState::Sleeping => Some(true),
        NodeState::Offline | NodeState::Unreachable => Some(false),
        NodeState::Learning | NodeState::Forgotten => None,
    }
}

fn up(is_there: bool) -> Value {
    json!({ "state": if is_there { "online" } else { "offline" } })
}

/// Changes are told at once, and those that follow together, once in an interval; without any, after so many seconds.
/// What must be known sooner is said beside it: `availability`, `topology/delta`, events.
fn again(settings: &Settings, seconds: u64) -> Pace {
    Pace::between(settings.interval_s, settings.interval_s.max(seconds))
}

/// Of these nodes something is said.
pub(crate) fn told(seen: &Seen) -> impl Iterator<Item = &SeenNode> + Clone {
    seen.nodes.iter().filter(|each| each.node.state != NodeState::Forgotten)
}

/// What comes of a look.
#[derive(Default)]
pub(crate) struct Look {
    /// What the broker is to keep.
    pub(crate) wants: Vec<Want>,
    /// Topics of which nobody knows what they should hold: as they are, they stay.
    pub(crate) keeps: Vec<String>,
    /// What is to be said once.
    pub(crate) once: Vec<Message>,
}

impl Status {
    /// What the broker is to keep, and what is to be said once.
    pub(crate) fn look(
        &mut self,
        settings: &Settings,
        topics: &Topics,
        levels: &BTreeMap<u32, String>,
        seen: &Seen,
    ) -> Look {
        let mut look = Look::default();
        let Look { wants, once, .. } = &mut look;
        wants.extend([
            Want::new(topics.of("bridge/info"), info(settings, seen), INFO),
            Want::new(
                topics.of("nodes"),
                Value::Array(told(seen).map(summary).collect()),
                again(settings, LIST_AGAIN_S),
            ),
        ]);
        if settings.metrics {
            let pace = Pace::between(settings.interval_s, settings.interval_s);
            wants.push(Want::new(topics.of("metrics"), metrics(seen), pace).loosely());
        }
        if settings.alerts {
            let active: Vec<&Alert> = seen.alerts.iter().filter(|alert| alert.active).collect();
            wants.push(Want::new(topics.of("alerts"), json!(active), Pace::CHANGE));
        }
        if settings.topology {
            wants.push(Want::new(topics.of("topology"), full(seen), again(settings, TREE_AGAIN_S)));
            let delta = self.delta(seen).map(|delta| delta.to_string());
            let message = |delta| Message::passing(topics.of("topology/delta"), delta, Qos::AtMostOnce);
            once.extend(delta.map(message));
        }
        if settings.nodes {
            self.booted.retain(|id, _| seen.nodes.iter().any(|each| each.node.id == *id));
            for each in told(seen) {
                if let Some(level) = levels.get(&each.node.id) {
                    self.node(settings, topics, level, seen, each, &mut look);
                }
            }
        }
        look
    }

    fn node(
        &mut self,
        settings: &Settings,
        topics: &Topics,
        level: &str,
        seen: &Seen,
        each: &SeenNode,
        Look { wants, keeps, .. }: &mut Look,
    ) {
        let availability = topics.node(level, "availability");
        match is_there(each.node.state) {
            Some(is_there) => wants.push(Want::new(availability, up(is_there), Pace::CHANGE).bare()),
            None => keeps.push(availability),
        }
        let pace = again(settings, NODE_AGAIN_S);
        wants.push(
            Want::new(topics.node(level, "health"), health(each), pace)
                .with("observed_at", json!(each.node.last_heard_at)),
        );
        let booted = self.booted(each);
        wants.push(Want::new(topics.node(level, "state"), flat(each, booted), pace).loosely());
        if let Some(body) = update::state(seen, each) {
            wants.push(Want::new(topics.node(level, "update"), body, Pace::CHANGE).bare());
        }
    }

    /// When a node has started, as far as it told how long ago that is.
    fn booted(&mut self, each: &SeenNode) -> Option<Timestamp> {
        let uptime = each.node.metrics.iter().find(|metric| metric.name == "uptime_s")?;
        let since = SignedDuration::try_from_secs_f64(uptime.value).ok()?;
        let at = uptime.observed_at.checked_sub(since).ok()?;
        let known = self.booted.entry(each.node.id).or_insert(at);
        if at.duration_since(*known).abs() > BOOT_SPREAD {
            *known = at;
        }
        Some(*known)
    }

    /// What has changed in the tree since it was told last.
    fn delta(&mut self, seen: &Seen) -> Option<Value> {
        let nodes = told(seen).filter(|each| each.node.hops.is_some());
        let now = Tree {
            revision: seen.revision,
            nodes: nodes.map(|each| (each.node.id, place(each))).collect(),
            links: seen.links.iter().map(|link| (link.from, link.to)).collect(),
        };
        let before = self.tree.replace(now.clone())?;
        if before.revision == now.revision {
            return None;
        }
        let link = |(from, to): &(u32, u32)| json!({ "from": from, "to": to });
        let links = |some: &BTreeSet<(u32, u32)>, than: &BTreeSet<(u32, u32)>| -> Vec<Value> {
            some.difference(than).map(link).collect()
        };
        let new = now.nodes.iter().filter(|(id, _)| !before.nodes.contains_key(id));
        let gone: Vec<&u32> = before.nodes.keys().filter(|id| !now.nodes.contains_key(id)).collect();
        let other =
            now.nodes.iter().filter(|(id, place)| before.nodes.get(id).is_some_and(|was| was != *place));
        Some(json!({
            "update_type": "incremental",
            "base_revision": before.revision,
            "revision": now.revision,
            "added": { "nodes": new.map(|(_, place)| place).collect::<Vec<_>>(), "links": links(&now.links, &before.links) },
            "removed": { "nodes": gone, "links": links(&before.links, &now.links) },
            "changed": other.map(|(_, place)| place).collect::<Vec<_>>(),
            "ts": seen.at.as_millisecond(),
        }))
    }
}

fn info(settings: &Settings, seen: &Seen) -> Value {
    let root = seen.nodes.iter().find(|each| each.node.root).map(|each| each.node.id);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mesh_id": seen.mesh,
        "gateway": seen.status.gateway,
        "config_hash": settings.config_hash,
        "learning": seen.status.learning,
        "states": seen.status.states,
        "root": root,
    })
}

/// A node in a list: without what changes with every report, as its points do.
fn summary(each: &SeenNode) -> Value {
    let node = &each.node;
    json!({
        "id": node.id, "name": node.name, "device_id": device_id(node.id), "state": node.state,
        "since": node.since, "family": node.family, "version": each.version, "hardware": each.hardware,
        "role": each.role, "parent": node.parent, "hops": node.hops, "root": node.root,
        "level": node.score.level, "tags": node.tags,
    })
}

/// The id that the Alteriom documents make of a node's.
pub(crate) fn device_id(id: u32) -> String {
    format!("ALT-{id:012X}")
}

fn place(each: &SeenNode) -> Value {
    let node = &each.node;
    json!({ "id": node.id, "name": node.name, "state": node.state, "parent": node.parent, "hops": node.hops, "root": node.root })
}

fn full(seen: &Seen) -> Value {
    let nodes = told(seen).filter(|each| each.node.hops.is_some());
    json!({
        "update_type": "full",
        "gateway": seen.status.gateway,
        "revision": seen.revision,
        "nodes": nodes.map(place).collect::<Vec<_>>(),
        "links": seen.links,
    })
}

fn metrics(seen: &Seen) -> Value {
    let mut alerts: BTreeMap<&str, u32> = ["info", "warning", "critical"].map(|each| (each, 0)).into();
    for alert in seen.alerts.iter().filter(|alert| alert.active) {
        *alerts.entry(&alert.severity).or_default() += 1;
    }
    json!({
        "nodes": told(seen).count(),
        "nodes_online": told(seen).filter(|each| is_there(each.node.state) == Some(true)).count(),
        "nodes_offline": told(seen).filter(|each| is_there(each.node.state) == Some(false)).count(),
        "states": seen.status.states,
        "links": seen.links.len(),
        "weak_links": told(seen).filter(|each| is_heard_weakly(each)).count(),
        "hops_max": seen.nodes.iter().filter_map(|each| each.node.hops).max().unwrap_or(0),
        "points": seen.status.score.points,
        "level": seen.status.score.level,
        "topology_changes": seen.revision,
        "overhead": seen.status.overhead,
        "alerts": alerts,
        "alerts_active": alerts.values().sum::<u32>(),
        "dropped": seen.status.dropped,
    })
}

/// Whether its link costs it points.
fn is_heard_weakly(each: &SeenNode) -> bool {
    each.node.score.deductions.iter().any(|lost| lost.rule == "weak_link")
}

fn health(each: &SeenNode) -> Value {
    let score = &each.node.score;
    let reasons: Vec<Value> = score
        .deductions
        .iter()
        .map(|lost| json!({ "rule": lost.rule, "points": lost.points, "evidence": lost.evidence, "advice": lost.advice }))
        .collect();
    json!({
        "points": score.points,
        "level": score.level,
        "trend": score.trend,
        "problem": if matches!(&*score.level, "warning" | "critical") { "ON" } else { "OFF" },
        "problems": score.deductions.iter().map(|lost| &lost.rule).collect::<Vec<_>>(),
        "reasons": reasons,
    })
}

/// Numbers by their names, without levels, for readers that cannot go down.
fn flat(each: &SeenNode, booted: Option<Timestamp>) -> Value {
    let node = &each.node;
    let mut flat: Map<String, Value> =
        node.metrics.iter().map(|metric| (metric.name.to_string(), json!(metric.value))).collect();
    flat.insert("points".to_owned(), json!(node.score.points));
    flat.insert("hops".to_owned(), json!(node.hops));
    flat.insert("parent".to_owned(), json!(node.parent));
    flat.insert("last_heard_at".to_owned(), json!(node.last_heard_at));
    flat.insert("booted_at".to_owned(), json!(booted));
    Value::Object(flat)
}

/// What an event is to those who listen; nothing of what has its own place.
pub(crate) fn event(settings: &Settings, topics: &Topics, event: &Event) -> Option<Message> {
    let mut body = json!(event);
    let (topic, qos) = match &*event.kind {
        "topology" | "liveness" | "incident" => ("bridge/event", Qos::AtLeastOnce),
        "alert" if settings.alerts => ("alerts/event", Qos::AtLeastOnce),
        "alert" => return None,
        kind => {
            let level = match kind {
                "finding" | "anomaly" => "warning",
                "period" => "debug",
                _ => "info",
            };
            body = json!({ "level": level, "message": event.text, "node": event.node, "kind": kind, "at": event.at });
            ("bridge/logging", Qos::AtMostOnce)
        }
    };
    if let Some(body) = body.as_object_mut() {
        body.insert("event_type".to_owned(), event.name.clone().into());
        body.insert("ts".to_owned(), event.at.as_millisecond().into());
    }
    Some(Message::passing(topics.of(topic), body.to_string(), qos))
}

/// An event of a node, in the topic in which Home Assistant expects it.
pub(crate) fn node_event(topics: &Topics, levels: &BTreeMap<u32, String>, event: &Event) -> Option<Message> {
    let level = levels.get(&event.node?)?;
    let known = super::home_assistant::EVENT_TYPES.contains(&&*event.name);
    if !known || !matches!(&*event.kind, "topology" | "liveness") {
        return None;
    }
    let body = json!({ "event_type": event.name, "text": event.text });
    Some(Message::passing(topics.node(level, "event"), body.to_string(), Qos::AtLeastOnce))
}
