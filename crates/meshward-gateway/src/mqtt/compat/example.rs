//! The library's `mqttBridge` example: texts to and from nodes, and `getNodes`.

use crate::mqtt::message::{Message, Qos};
use crate::mqtt::settings::{Settings, Shape};
use crate::mqtt::status::told;
use crate::rest::inside::Seen;

/// Longest text for a node, in bytes.
const TEXT_MAX: usize = 1_024;

/// What becomes of a message to the mesh.
#[derive(Debug, PartialEq)]
pub(crate) enum Passed {
    /// It is answered here.
    Answer(Message),
    /// It is for a node, or for all.
    Say(Option<u32>, String),
    /// It makes no sense.
    Nothing,
}

fn from_gateway(text: impl Into<String>) -> Message {
    Message::passing("painlessMesh/from/gateway", text.into(), Qos::AtLeastOnce)
}

/// What the example says of a node that is not there.
pub(crate) fn not_connected() -> Message {
    from_gateway("Client not connected!")
}

/// What the `mqttBridge` example does with a message.
pub(crate) fn pass_on(settings: &Settings, seen: Option<&Seen>, to: &str, payload: &[u8]) -> Passed {
    let Ok(text) = std::str::from_utf8(payload) else { return Passed::Nothing };
    if !settings.has(Shape::MqttBridge) || text.len() > TEXT_MAX || text.contains('\0') {
        return Passed::Nothing;
    }
    if to == "gateway" {
        if text != "getNodes" {
            return Passed::Nothing;
        }
        let nodes = seen.map(|seen| {
            told(seen).filter(|each| each.node.hops.is_some()).map(|each| each.node.id.to_string())
        });
        let ids: Vec<String> = nodes.into_iter().flatten().collect();
        return Passed::Answer(from_gateway(ids.join(" ")));
    }
    if !settings.may_act() {
        return Passed::Nothing;
    }
    match (to, to.parse::<u32>()) {
        ("broadcast", _) => Passed::Say(None, text.to_owned()),
        (_, Ok(node)) => Passed::Say(Some(node), text.to_owned()),
        _ => Passed::Nothing,
    }
}

/// A text of a node for the gateway.
pub(crate) fn text(settings: &Settings, from: u32, text: &[u8]) -> Option<Message> {
    settings
        .has(Shape::MqttBridge)
        .then(|| Message::passing(format!("painlessMesh/from/{from}"), text.to_vec(), Qos::AtLeastOnce))
}
