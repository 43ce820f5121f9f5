//! The bridge against a table-top mesh and a broker that is a list of messages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::bridge::{Bridge, IN_FLIGHT_MAX, OUTBOX_MAX, Task, Vitals};
use super::message::{Incoming, Message};
use super::settings::{Settings, Shape, Switches};
use crate::rest::access::Role;
use crate::rest::inside::{Content, Seen, SeenNode};
use crate::rest::model::{
    Alert, Event, Firmware, Link, Manifest, Metric, Node, NodeState, Overhead, Rollout, RolloutNode,
    RolloutNodeState, RolloutPhase, RolloutState, Scheme, Score, Status, Transfers,
};

mod compat;
mod discovery;
mod requests;
mod retained;

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

fn score() -> Score {
    Score { points: Some(97), level: "ok".to_owned(), trend: "steady".to_owned(), deductions: Vec::new() }
}

pub(super) fn node(id: u32, parent: u32, hops: u32, state: NodeState) -> SeenNode {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let metric = |name: &str, value: f64, unit: &str| Metric {
        name: name.to_owned().into(),
        value,
        unit: unit.to_owned().into(),
        observed_at: now,
        source: "telemetry".into(),
        doubt: None,
    };
    let there = state == NodeState::Online;
    SeenNode {
        node: Node {
            id,
            name: None,
            state,
            since: now,
            last_heard_at: Some(now),
            period_seconds: Some(30.0),
            family: "meshward".to_owned(),
            joins: 1,
            parent: there.then_some(parent),
            hops: there.then_some(hops),
            root: false,
            time_authority: false,
            tags: Vec::new(),
            score: score(),
            metrics: vec![
                metric("uptime_s", 3_600.0, "s"),
                metric("free_heap_bytes", 123_456.0, "B"),
                metric("rssi_dbm", -61.0, "dBm"),
                metric("messages_rx", 77.0, ""),
                metric("temperature_c", 21.5, "°C"),
                metric("battery_percent", 80.0, "%"),
            ],
            facts: Vec::new(),
        },
        hardware: Some("ESP32".to_owned()),
        role: Some("sensor".to_owned()),
        version: Some("1.4.2".to_owned()),
        image: None,
    }
}

/// A mesh with these nodes, in a chain below the gateway, node 1.
pub(super) fn mesh(ids: &[u32]) -> Seen {
    let above = |at: usize| if at == 0 { 1 } else { ids[at - 1] };
    let nodes: Vec<SeenNode> = ids
        .iter()
        .enumerate()
        .map(|(place, id)| node(*id, above(place), place as u32 + 1, NodeState::Online))
        .collect();
    let links = ids.iter().enumerate().map(|(place, id)| Link { from: above(place), to: *id }).collect();
    Seen {
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        mesh: "garden".to_owned(),
        status: Status {
            gateway: 1,
            learning: false,
            states: BTreeMap::from([(NodeState::Online, ids.len() as u32)]),
            score: score(),
            overhead: Overhead {
                share_percent: 0.5,
                budget_percent: 2.0,
                period_seconds: 30.0,
                period_bound: false,
                classes: BTreeMap::new(),
            },
            incidents: Vec::new(),
            alerts: Vec::new(),
            dropped: BTreeMap::new(),
            influx: None,
        },
        revision: 1,
        nodes,
        links,
        alerts: Vec::new(),
        rollouts: Vec::new(),
        firmware: Vec::new(),
    }
}

fn firmware(version: &str, sequence: u64) -> Firmware {
    Firmware {
        sha256: format!("{sequence:064x}"),
        md5: "0".repeat(32),
        size: 1_000,
        name: format!("node-{version}"),
        chip: None,
        project: None,
        version: None,
        manifest: Some(Manifest {
            hardware: "ESP32".to_owned(),
            role: "sensor".to_owned(),
            version: version.to_owned(),
            sequence,
        }),
    }
}

fn rollout(firmware: Firmware, nodes: Vec<RolloutNode>) -> Rollout {
    Rollout {
        id: 4,
        state: RolloutState::Running,
        phase: RolloutPhase::Sending,
        eta_seconds: Some(12.4),
        forecast: None,
        transfers: Transfers::default(),
        firmware,
        role: "sensor".to_owned(),
        hardware: "ESP32".to_owned(),
        scheme: Scheme::Auto,
        hold: false,
        waits_for: None,
        foreign_sender: None,
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: None,
        nodes,
        plan: None,
        progress: None,
    }
}

/// A bridge and what a broker would have of it.
struct Table {
    bridge: Bridge,
    now: Instant,
    /// What the broker keeps.
    kept: BTreeMap<String, String>,
    /// Everything that was published since it was looked at.
    said: Vec<Message>,
}

impl Table {
    fn new(settings: Settings) -> Self {
        let bridge = Bridge::new(settings, "garden");
        Self { bridge, now: at(1_000), kept: BTreeMap::new(), said: Vec::new() }
    }

    fn operator() -> Self {
        Self::new(Settings { role: Some(Role::Operator), ..Settings::default() })
    }

    /// With a connection, and all that was said before forgotten.
    fn up(mut self) -> Self {
        self.bridge.handle_up(self.now);
        self.drain();
        assert!(self.bridge.is_live());
        self.said.clear();
        self
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    fn see(&mut self, seen: &Seen) {
        self.bridge.handle_seen(self.now, Vitals::default(), seen.clone());
        self.drain();
    }

    /// A broker that acknowledges at once.
    fn drain(&mut self) {
        while let Some((tag, message)) = self.bridge.poll_publish() {
            self.take(message);
            self.bridge.handle_acknowledged(tag);
        }
    }

    fn take(&mut self, message: Message) {
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        if message.retain && text.is_empty() {
            self.kept.remove(&message.topic);
        } else if message.retain {
            self.kept.insert(message.topic.clone(), text);
        }
        self.said.push(message);
    }

    fn hear(&mut self, topic: &str, payload: &str) {
        let incoming = Incoming { topic: topic.to_owned(), payload: payload.into(), ..Incoming::default() };
        self.incoming(incoming);
    }

    fn incoming(&mut self, incoming: Incoming) {
        self.bridge.handle_message(self.now, incoming);
        self.drain();
    }

    /// Topics of what was said, and forgets it.
    fn topics(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said).into_iter().map(|message| message.topic).collect()
    }

    /// The last thing that was said in a topic.
    fn last(&self, topic: &str) -> Value {
        let message = self.said.iter().rev().find(|message| message.topic == topic);
        let message = message.unwrap_or_else(|| panic!("nothing in {topic}: {:#?}", self.said));
        serde_json::from_slice(&message.payload).unwrap()
    }

    fn kept(&self, topic: &str) -> Value {
        let text =
            self.kept.get(topic).unwrap_or_else(|| panic!("nothing in {topic}: {:#?}", self.kept.keys()));
        serde_json::from_str(text).unwrap()
    }
}

fn of(rest: &str) -> String {
    format!("painlessmesh/garden/{rest}")
}

fn event(id: u64, kind: &str, name: &str, node: Option<u32>) -> Event {
    Event {
        id,
        at: Timestamp::UNIX_EPOCH,
        kind: kind.to_owned(),
        name: name.to_owned(),
        node,
        text: "words".to_owned(),
    }
}
