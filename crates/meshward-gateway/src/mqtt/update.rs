//! Firmware as MQTT tells it: what is on offer, how a roll-out goes, and for each node what it runs and what it could
//! run.
//!
//! What a node could run is the newest image whose author says that it is for the node's hardware and role. Of a stock
//! node nobody knows the role; for it, it is the image of the newest roll-out that had it among its targets.

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::board::{Pace, Want};
use super::message::{Message, Qos};
use super::topics::Topics;
use crate::rest::inside::{Seen, SeenNode};
use crate::rest::model::{Firmware, NewRollout, Rollout, RolloutNode, RolloutNodeState, RolloutState};

/// Between two messages about a node that stays in the same state.
const NODE_LEAST: Duration = Duration::from_secs(5);
/// Between two of a roll-out, in seconds.
const ROLLOUT_LEAST_S: u64 = 1;
/// Nodes that a roll-out may have.
const NODES_MAX: usize = 10_000;

/// What people call an image.
pub(crate) fn label(firmware: &Firmware) -> String {
    let manifest = firmware.manifest.as_ref().map(|manifest| manifest.version.clone());
    let short = || firmware.sha256.get(..8).unwrap_or_default().to_owned();
    manifest.or_else(|| firmware.version.clone()).filter(|label| !label.is_empty()).unwrap_or_else(short)
}

/// What a node could run, and how it would be brought to it.
pub(crate) struct Offer<'a> {
    pub(crate) firmware: &'a Firmware,
    pub(crate) rollout: NewRollout,
}

/// See the module's page.
pub(crate) fn offer<'a>(seen: &'a Seen, each: &SeenNode) -> Option<Offer<'a>> {
    let signed = seen.firmware.iter().filter(|firmware| {
        let manifest = firmware.manifest.as_ref();
        manifest.is_some_and(|manifest| {
            Some(&manifest.hardware) == each.hardware.as_ref() && Some(&manifest.role) == each.role.as_ref()
        })
    });
    let newest = signed.max_by_key(|firmware| firmware.manifest.as_ref().map(|manifest| manifest.sequence));
    let id = each.node.id;
    if let Some(firmware) = newest.filter(|_| each.node.family == "meshward") {
        let manifest = firmware.manifest.as_ref()?;
        let rollout = NewRollout {
            hardware: manifest.hardware.clone(),
            nodes: Some(vec![id]),
            ..NewRollout::new(firmware.sha256.clone(), Some(manifest.role.clone()))
        };
        return Some(Offer { firmware, rollout });
    }
    let rollout = seen.rollouts.iter().find(|rollout| line(rollout, id).is_some_and(was_meant))?;
    let wanted = NewRollout {
        hardware: rollout.hardware.clone(),
        scheme: rollout.scheme,
        nodes: Some(vec![id]),
        ..NewRollout::new(rollout.firmware.sha256.clone(), Some(rollout.role.clone()))
    };
    Some(Offer { firmware: &rollout.firmware, rollout: wanted })
}

fn was_meant(line: &RolloutNode) -> bool {
    line.state != RolloutNodeState::Declined
}

fn line(rollout: &Rollout, id: u32) -> Option<&RolloutNode> {
    rollout.nodes.iter().find(|line| line.id == id)
}

/// What a node runs, as far as anybody knows.
fn installed(seen: &Seen, each: &SeenNode) -> Option<String> {
    let images = seen.firmware.iter().chain(seen.rollouts.iter().map(|rollout| &rollout.firmware));
    let is = |firmware: &&Firmware| {
        each.image.is_some_and(|image| firmware.sha256.starts_with(&format!("{image:08x}")))
    };
    if let Some(firmware) = images.clone().find(is) {
        return Some(label(firmware));
    }
    let brought = || {
        let updated = |rollout: &&Rollout| {
            line(rollout, each.node.id).is_some_and(|line| line.state == RolloutNodeState::Updated)
        };
        // A Meshward node says what it runs; what a stock node was brought last, it runs.
        seen.rollouts.iter().find(updated).map(|rollout| label(&rollout.firmware))
    };
    let fact = || each.node.facts.iter().find(|fact| fact.topic == "version").map(|fact| fact.text.clone());
    brought().or_else(|| each.version.clone()).or_else(fact)
}

/// Where a node is in a roll-out under way. One that has not begun yet may name nodes of another.
fn under_way(seen: &Seen, id: u32) -> Option<&RolloutNode> {
    let running = seen.rollouts.iter().filter(|rollout| rollout.state != RolloutState::Finished);
    let lines = running.filter_map(|rollout| line(rollout, id)).filter(|line| !line.state.is_final());
    lines.min_by_key(|line| line.state == RolloutNodeState::Waiting)
}

fn percent(line: &RolloutNode) -> Option<u32> {
    (line.parts > 0).then(|| (u64::from(line.done) * 100 / u64::from(line.parts)) as u32)
}

/// What Home Assistant wants to know of a node's firmware; nothing where nothing is known.
pub(crate) fn state(seen: &Seen, each: &SeenNode) -> Option<Value> {
    let (installed, offer) = (installed(seen, each), offer(seen, each));
    if installed.is_none() && offer.is_none() {
        return None;
    }
    let latest = offer.as_ref().map(|offer| label(offer.firmware)).or_else(|| installed.clone());
    let line = under_way(seen, each.node.id);
    let title = offer.as_ref().map(|offer| offer.firmware.name.chars().take(255).collect::<String>());
    Some(json!({
        "installed_version": installed,
        "latest_version": latest,
        "title": title,
        "in_progress": line.is_some(),
        "update_percentage": line.and_then(percent),
    }))
}

/// The roll-outs whose nodes are told of: those under way, the newest, and others until their end `is_told`.
pub(crate) fn told(seen: &Seen, is_told: impl Fn(u64) -> bool) -> Vec<&Rollout> {
    let newest = seen.rollouts.first().map(|rollout| rollout.id);
    let runs = |rollout: &Rollout| rollout.state != RolloutState::Finished || Some(rollout.id) == newest;
    seen.rollouts.iter().filter(|rollout| runs(rollout) || !is_told(rollout.id)).collect()
}

/// What is told of firmware from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// What was told of each node of each roll-out, and when.
    told: BTreeMap<(u64, u32), (Value, RolloutNodeState, Instant)>,
}

impl Progress {
    /// What the broker is to keep, and what is to be said once.
    pub(crate) fn look(&mut self, now: Instant, topics: &Topics, seen: &Seen) -> (Vec<Want>, Vec<Message>) {
        let offered: Vec<Value> = seen.firmware.iter().map(|firmware| json!(firmware)).collect();
        let body = json!({ "firmware": offered });
        let mut wants = vec![Want::new(topics.of("ota/announce"), body, Pace::CHANGE)];
        let Some(rollout) = seen.rollouts.first() else { return (wants, Vec::new()) };
        wants.push(Want::new(
            topics.of("ota/status"),
            summary(rollout),
            Pace::between(ROLLOUT_LEAST_S, 3_600),
        ));
        let told = told(seen, |id| self.is_told(id));
        self.told.retain(|(id, _), _| told.iter().any(|one| one.id == *id));
        let mut once = Vec::new();
        let lines = told.iter().flat_map(|one| one.nodes.iter().map(move |line| (*one, line)));
        for (rollout, line) in lines.take(NODES_MAX) {
            let body = progress(rollout, line);
            let key = (rollout.id, line.id);
            if let Some((told, state, at)) = self.told.get(&key)
                && (*told == body || (*state == line.state && now.since(*at) < NODE_LEAST))
            {
                continue;
            }
            self.told.insert(key, (body.clone(), line.state, now));
            let topic = topics.of(&format!("ota/node/{}", line.id));
            once.push(Message::passing(topic, stamped(body, seen).to_string(), Qos::AtLeastOnce));
        }
        (wants, once)
    }

    /// Whether what was told last of each node of a roll-out was its end.
    fn is_told(&self, id: u64) -> bool {
        let mut mine = self.told.range((id, 0)..=(id, u32::MAX));
        mine.all(|(_, (_, state, _))| state.is_final())
    }
}

fn stamped(mut body: Value, seen: &Seen) -> Value {
    if let Some(body) = body.as_object_mut() {
        body.insert("ts".to_owned(), seen.at.as_millisecond().into());
    }
    body
}

fn progress(rollout: &Rollout, line: &RolloutNode) -> Value {
    json!({
        "rollout": rollout.id, "id": line.id, "state": line.state, "done": line.done, "parts": line.parts,
        "percent": percent(line), "family": line.family, "scheme": line.scheme, "reason": line.reason,
        "eta_seconds": rollout.eta_seconds.filter(|_| !line.state.is_final()).map(f64::round),
    })
}

/// A roll-out without its nodes.
pub(crate) fn summary(rollout: &Rollout) -> Value {
    let mut states: BTreeMap<String, u32> = BTreeMap::new();
    for line in &rollout.nodes {
        let name = json!(line.state).as_str().unwrap_or_default().to_owned();
        *states.entry(name).or_default() += 1;
    }
    let parts: u64 = rollout.nodes.iter().map(|line| u64::from(line.parts)).sum();
    let done: u64 = rollout.nodes.iter().map(|line| u64::from(line.done)).sum();
    json!({
        "id": rollout.id, "state": rollout.state, "phase": rollout.phase, "nodes": rollout.nodes.len(),
        "states": states, "percent": (parts > 0).then(|| done * 100 / parts.max(1)),
        "eta_seconds": rollout.eta_seconds.map(f64::round),
        "firmware": rollout.firmware.sha256, "name": rollout.firmware.name, "version": label(&rollout.firmware),
        "role": rollout.role, "hardware": rollout.hardware, "scheme": rollout.scheme, "hold": rollout.hold,
        "foreign_sender": rollout.foreign_sender, "started_at": rollout.started_at, "finished_at": rollout.finished_at,
    })
}
