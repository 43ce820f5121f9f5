//! `mesh/ota/…`: the proposal's names for what is on offer and how a roll-out goes, and each node's state in the words
//! of the schema for firmware.

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use serde_json::{Value, json};

use super::{known, of_node, surely};
use crate::mqtt::message::{Message, Qos};
use crate::mqtt::settings::Settings;
use crate::mqtt::update;
use crate::rest::inside::Seen;
use crate::rest::model::{Rollout, RolloutNode};

/// Between two messages about a node that stays in the same state.
const NODE_LEAST: Duration = Duration::from_secs(5);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Ota {
    told: Option<(Value, Value)>,
    /// Of each node of each roll-out: its state, how far it was, when that was told, and whether it was the end.
    nodes: BTreeMap<(u64, u32), (&'static str, u32, Instant, bool)>,
}

impl Ota {
    pub(super) fn look(
        &mut self,
        now: Instant,
        settings: &Settings,
        seen: &Seen,
        messages: &mut Vec<Message>,
    ) {
        let firmware: Vec<Value> = seen.firmware.iter().map(|firmware| json!(firmware)).collect();
        let body =
            (json!({ "firmware": firmware }), seen.rollouts.first().map(update::summary).unwrap_or_default());
        if self.told.as_ref() != Some(&body) {
            let kept = |name: &str, body: &Value| {
                Message::retained(format!("mesh/ota/{name}"), body.to_string(), Qos::AtLeastOnce)
            };
            messages.push(kept("announce", &body.0));
            messages.push(kept("status", &body.1));
            self.told = Some(body);
        }
        if settings.nodes {
            let is_told = |id| self.nodes.range((id, 0)..=(id, u32::MAX)).all(|(_, (.., over))| *over);
            let told = update::told(seen, is_told);
            self.nodes.retain(|(id, _), _| told.iter().any(|rollout| rollout.id == *id));
            told.into_iter().for_each(|rollout| self.nodes(now, rollout, seen, messages));
        }
    }

    fn nodes(&mut self, now: Instant, rollout: &Rollout, seen: &Seen, messages: &mut Vec<Message>) {
        for line in &rollout.nodes {
            let state = word(line);
            let key = (rollout.id, line.id);
            if let Some((told, done, at, _)) = self.nodes.get(&key)
                && *told == state
                && (*done == line.done || now.since(*at) < NODE_LEAST)
            {
                continue;
            }
            self.nodes.insert(key, (state, line.done, now, line.state.is_final()));
            let Some(each) = seen.nodes.iter().find(|each| each.node.id == line.id) else { continue };
            let body = of_node(each, seen, status(rollout, line, each.version.as_deref()));
            messages.push(surely(format!("mesh/ota/{}/status", line.id), &body));
        }
    }
}

/// A node's state in the words of the schema.
fn word(line: &RolloutNode) -> &'static str {
    let name = json!(line.state);
    match name.as_str().unwrap_or_default() {
        "announced" | "listening" | "receiving" => "downloading",
        "installing" | "finishing" => "flashing",
        "ready" => "scheduled",
        "restarting" => "rebooting",
        "verifying" => "verifying",
        "updated" => "completed",
        "declined" => "cancelled",
        "failed" => "failed",
        "reverted" | "rolled_back" => "rolled_back",
        _ => "pending",
    }
}

fn status(rollout: &Rollout, line: &RolloutNode, version: Option<&str>) -> Value {
    let over = line.state.is_final();
    known(json!({
        "event": "ota_status", "status": word(line),
        "from_version": version.filter(|_| !over),
        "to_version": update::label(&rollout.firmware),
        "progress_pct": (line.parts > 0).then(|| f64::from(line.done) * 100.0 / f64::from(line.parts)),
        "eta_seconds": rollout.eta_seconds.filter(|_| !over).map(|eta| eta.max(0.0).round() as u64),
        "bytes_total": rollout.firmware.size,
        "error": line.reason,
        "update_started_at": rollout.started_at, "update_completed_at": rollout.finished_at,
        "expected_checksum": rollout.firmware.sha256, "checksum_algorithm": "sha256",
        "correlation_id": rollout.id.to_string(),
    }))
}
