//! The library's command bridge: `mesh/command/ID`, `mesh/config/ID/get` and `…/set`, `mesh/ota/ID/start`; answers in
//! `mesh/response/ID` as nodes give them, configurations in `mesh/config/ID`, failures in `mesh/error/ID` too.
//!
//! Here a message becomes one or more calls of the REST interface; whoever may do what is judged there.

use meshward_core::wire::NodeId;
use meshward_core::wire::status::Code;
use serde_json::{Map, Value, json};

use super::{known, loosely, surely};
use crate::mqtt::message::Message;
use crate::mqtt::status::{is_there, told};
use crate::mqtt::update;
use crate::rest::inside::{Call, Content, Seen, SeenNode};

/// Longest message, in bytes.
const MESSAGE_MAX: usize = 4_096;
/// The status byte of a node that could not do it.
const ERROR: u64 = 2;

/// What is wanted by an older name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A command.
    Command,
    /// The node's configuration.
    ConfigGet,
    /// Another one.
    ConfigSet,
    /// An update.
    Start,
}

/// How something that was asked for by an older name is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Old {
    asked: Asked,
    node: u32,
    /// By what the asker knows the answer.
    command_id: Value,
}

/// What a message comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Calls, each with how it is answered.
    Calls(Vec<(Call, Old)>),
    /// The topology is asked for; by what the asker knows the answer.
    Topology(Value),
    /// It makes no sense; what would be right.
    Refused(&'static str),
}

/// A node as these bridges name it: its id, decimal or as `ALT-…`.
pub(crate) fn parse_device(text: &str) -> Option<u32> {
    match text.strip_prefix("ALT-") {
        Some(digits) if digits.len() == 12 => u64::from_str_radix(digits, 16).ok()?.try_into().ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// What somebody wants of `to`, which is a node or `broadcast`; `node_of` knows nodes by their names.
pub(crate) fn old(
    seen: &Seen,
    asked: Asked,
    to: &str,
    payload: &[u8],
    node_of: impl Fn(&str) -> Option<u32>,
) -> Outcome {
    let Some(body) = read(payload) else {
        return Outcome::Refused("the message is no JSON object of at most 4096 bytes");
    };
    let command_id = body.get("commandId").cloned().unwrap_or_default();
    let command = body.get("command").and_then(Value::as_u64);
    let to_gateway = to == "broadcast" || parse_device(to) == Some(seen.status.gateway);
    if asked == Asked::Command && command == Some(u64::from(Code::GetTopology.number())) && to_gateway {
        return Outcome::Topology(command_id);
    }
    let nodes: Vec<u32> = match (to, asked) {
        ("broadcast", Asked::Command) => everybody(seen).map(|each| each.node.id).collect(),
        _ => node_of(to).into_iter().collect(),
    };
    if nodes.is_empty() {
        return Outcome::Refused("there is no such node");
    }
    let calls: Option<Vec<(Call, Old)>> = nodes
        .into_iter()
        .map(|node| {
            let call = call(seen, asked, node, &body)?;
            Some((call, Old { asked, node, command_id: command_id.clone() }))
        })
        .collect();
    calls.map_or(Outcome::Refused(right(asked)), Outcome::Calls)
}

fn read(payload: &[u8]) -> Option<Map<String, Value>> {
    match payload {
        [] => Some(Map::new()),
        some if some.len() <= MESSAGE_MAX => serde_json::from_slice(some).ok(),
        _ => None,
    }
}

/// Nodes that can hear something.
fn everybody(seen: &Seen) -> impl Iterator<Item = &SeenNode> {
    let gateway = seen.status.gateway;
    told(seen).filter(move |each| {
        each.node.id != gateway && each.node.hops.is_some() && is_there(each.node.state) == Some(true)
    })
}

const fn right(asked: Asked) -> &'static str {
    match asked {
        Asked::Command => "take {\"command\": NUMBER, \"commandId\": NUMBER, \"parameters\": \"…\"}",
        Asked::ConfigSet => "take {\"config\": {…}}",
        Asked::ConfigGet => "take {}",
        Asked::Start => "take {}, where something is on offer for the node, or {\"firmware\": SHA256, …}",
    }
}

/// Parameters as a node gets them: text as it is, everything else as JSON.
fn parameters(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn call(seen: &Seen, asked: Asked, node: u32, body: &Map<String, Value>) -> Option<Call> {
    let (command, params) = match asked {
        Asked::Command => (
            body.get("command").filter(|command| command.is_u64())?.clone(),
            parameters(body.get("parameters")),
        ),
        Asked::ConfigGet => (Code::GetConfig.number().into(), String::new()),
        Asked::ConfigSet => {
            let config = body.get("config").filter(|config| config.is_object())?;
            (Code::SetConfig.number().into(), config.to_string())
        }
        Asked::Start => return start(seen, node, body),
    };
    let content = Content::Json(json!({ "command": command, "params": params }));
    Some(Call { method: "POST", target: format!("/api/v1/nodes/{}/commands", NodeId(node)), content })
}

fn start(seen: &Seen, node: u32, body: &Map<String, Value>) -> Option<Call> {
    let wanted = if body.contains_key("firmware") {
        let mut wanted = body.clone();
        wanted.remove("commandId");
        wanted.insert("nodes".to_owned(), json!([node]));
        Value::Object(wanted)
    } else {
        let each = seen.nodes.iter().find(|each| each.node.id == node)?;
        json!(update::offer(seen, each)?.rollout)
    };
    Some(Call { method: "POST", target: "/api/v1/rollouts".to_owned(), content: Content::Json(wanted) })
}

impl Old {
    /// What a node that cannot be asked is answered with.
    pub(crate) fn refused(asked: Asked, to: &str, why: &str) -> Message {
        let name = match asked {
            Asked::Command => "command",
            Asked::ConfigGet | Asked::ConfigSet => "config",
            Asked::Start => "ota",
        };
        let body = json!({ "device_id": to, "error": why, "of": name });
        surely(format!("mesh/error/{}", level(to)), &body)
    }

    /// The answer to a call.
    pub(crate) fn answer(&self, seen: Option<&Seen>, code: u16, data: &Value) -> Vec<Message> {
        let Self { asked, node, command_id } = self;
        let said = |key: &str| data.get(key).and_then(Value::as_str);
        if code >= 400 {
            let why = said("detail").unwrap_or("not done");
            let error = json!({
                "device_id": node.to_string(), "error": why, "code": code, "commandId": command_id,
            });
            return vec![self.response(seen, ERROR, why), loosely(format!("mesh/error/{node}"), &error)];
        }
        if *asked == Asked::Start {
            let body =
                json!({ "status": "success", "device_id": node.to_string(), "rollout": data.get("id") });
            return vec![surely(format!("mesh/response/{node}"), &body)];
        }
        let text = said("text").unwrap_or_default();
        let outcome = said("outcome").unwrap_or_default();
        let status = match (outcome, data.get("status").and_then(Value::as_u64)) {
            ("timed_out" | "cancelled", _) => ERROR,
            (_, status) => status.unwrap_or(0),
        };
        let words = if text.is_empty() { outcome } else { text };
        if *asked == Asked::ConfigGet && status != ERROR {
            let config = serde_json::from_str(text).unwrap_or_else(|_no_json| json!(text));
            let body = json!({ "device_id": node.to_string(), "config": config });
            return vec![surely(format!("mesh/config/{node}"), &body)];
        }
        vec![self.response(seen, status, words)]
    }

    /// As a node answers a command.
    fn response(&self, seen: Option<&Seen>, status: u64, words: &str) -> Message {
        let each = seen.and_then(|seen| seen.nodes.iter().find(|each| each.node.id == self.node));
        let metric = |name: &str| each.and_then(|each| each.node.metric(name));
        let body = known(json!({
            "type": 202, "from": self.node, "device_id": self.node.to_string(),
            "status": if status == ERROR { "error" } else { "success" }, "message": words,
            "deviceStatus": status, "responseToCommand": self.command_id, "responseMessage": words,
            "uptime": metric("uptime_s"),
            "freeMemory": metric("free_heap_bytes").map(|bytes| (bytes / 1_024.0).round()),
            "firmwareVersion": each.and_then(|each| each.version.clone()),
        }));
        surely(format!("mesh/response/{}", self.node), &body)
    }
}

/// A level of a topic that somebody else has chosen.
fn level(to: &str) -> String {
    to.chars().take(64).filter(|c| !"+#/".contains(*c) && !c.is_control()).collect()
}
