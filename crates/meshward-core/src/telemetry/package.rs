//! The packages that stock gateways understand: EnhancedStatus (604), and the Status (202) that answers a command.
//!
//! Only written here, with the fields in the order in which the C++ library writes them, and always for one node:
//! the library's own classes broadcast them, which costs a mesh more than it can carry. Also reads what a command
//! (400) says. Refuses a command without a sender.

use alloc::string::String;
use alloc::vec::Vec;

use super::Metric;
use super::registry::Registry;
use crate::mesh::Mesh;
use crate::wire::{Envelope, NodeId, Object, fields, kind};

/// Longest text of a command's parameters that is taken, in bytes.
pub const PARAMS_MAX: usize = 1_024;

/// A command to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Who sent it.
    pub from: NodeId,
    /// What is to be done: 1 reset, 2 sleep, 3 wake, 10 LED, 11 relay, 200 status, 202 diagnostics, 210 and 211 start
    /// and stop monitoring, and whatever else a sketch has.
    pub code: u8,
    /// Its parameters, by convention JSON.
    pub params: Vec<u8>,
    /// The sender's number for it; the answer has it too. 0 wants no answer.
    pub id: u32,
}

/// Resets the node.
pub const RESET: u8 = 1;
/// Wants its status.
pub const GET_STATUS: u8 = 200;
/// Wants its diagnostics.
pub const GET_DIAGNOSTICS: u8 = 202;
/// Wants to hear from it regularly.
pub const START_MONITORING: u8 = 210;
/// Wants to hear no more.
pub const STOP_MONITORING: u8 = 211;

impl Command {
    /// Reads a frame of type 400; `None` when it makes no sense, or names another target than `own` or all.
    pub(super) fn decode(own: NodeId, envelope: &Envelope, frame: &[u8]) -> Option<Self> {
        let mut command = Self { from: envelope.from, code: 0, params: Vec::new(), id: 0 };
        let mut target = 0;
        for (key, value) in fields(frame) {
            match &*key.name() {
                b"cmd" => command.code = u8::try_from(value.as_u32()).ok()?,
                b"target" => target = value.as_u32(),
                b"params" => command.params = value.as_str().map_or(Vec::new(), |text| text.into_owned()),
                b"cid" => command.id = value.as_u32(),
                _ => {}
            }
        }
        let fits = command.params.len() <= PARAMS_MAX && (target == 0 || target == own.0);
        (fits && command.from != NodeId::NONE && command.code != 0).then_some(command)
    }
}

/// What a node says of itself beside its metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The firmware's version, as people write it.
    pub version: String,
    /// The firmware image's MD5 in hex, where it is known.
    pub md5: String,
}

fn head(from: NodeId, dest: NodeId, kind: i32) -> Object {
    let mut object = Object::with_capacity(320);
    let (from, dest) = (i64::from(from.0), i64::from(dest.0));
    object.integer("from", from).integer("dest", dest).integer("routing", 1).integer("type", kind.into());
    object
}

/// The first four fields that 202 and 604 share.
fn common(object: &mut Object, registry: &Registry, identity: &Identity) {
    let quality = registry.get(Metric::WifiQuality).or_else(|| {
        // As Windows and many sketches reckon: −100 dBm is nothing, −50 dBm all.
        registry.get(Metric::Rssi).map(|rssi| rssi.saturating_add(100).saturating_mul(2).clamp(0, 100))
    });
    let kilobytes = registry.get(Metric::FreeHeap).unwrap_or(0) / 1_024;
    object
        .integer("status", i64::from(registry.word(Metric::Alerts) != 0))
        .integer("uptime", i64::from(registry.word(Metric::Uptime)))
        .integer("mem", kilobytes.clamp(0, 65_535))
        .integer("wifi", quality.unwrap_or(0))
        .text("fw", identity.version.as_bytes());
}

/// EnhancedStatus, for one node.
pub(super) fn enhanced(
    registry: &Registry,
    identity: &Identity,
    last_error: &str,
    mesh: &Mesh,
    dest: NodeId,
) -> Vec<u8> {
    let mut object = head(mesh.id(), dest, kind::ENHANCED_STATUS);
    common(&mut object, registry, identity);
    let word = |metric| i64::from(registry.word(metric));
    let bytes = word(Metric::BytesRx).saturating_add(word(Metric::BytesTx));
    object
        .text("fwMD5", identity.md5.as_bytes())
        .integer("nodes", i64::try_from(mesh.tree().len()).unwrap_or(0))
        .integer("conns", word(Metric::Links))
        .integer("msgRx", word(Metric::MessagesRx))
        .integer("msgTx", word(Metric::MessagesTx))
        .integer("msgDrop", word(Metric::MessagesDropped))
        .integer("latency", word(Metric::Latency))
        .integer("loss", word(Metric::Loss) / 10)
        .integer("throughput", bytes / word(Metric::Uptime).max(1))
        .integer("alerts", word(Metric::Alerts))
        .text("lastErr", last_error.as_bytes());
    object.finish()
}

/// The answer to a command.
pub(super) fn response(
    registry: &Registry,
    identity: &Identity,
    from: NodeId,
    dest: NodeId,
    command: u32,
    text: &str,
) -> Vec<u8> {
    let mut object = head(from, dest, kind::STATUS);
    common(&mut object, registry, identity);
    if command > 0 {
        object.integer("respTo", command.into()).text("respMsg", text.as_bytes());
    }
    object.integer("message_type", kind::STATUS.into());
    object.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::MeshConfig;

    #[test]
    fn enhanced_status_has_the_fields_of_the_library_in_their_order() {
        // testdata/wire/17, but for the values and that it is for one node.
        let order = [
            "from",
            "dest",
            "routing",
            "type",
            "status",
            "uptime",
            "mem",
            "wifi",
            "fw",
            "fwMD5",
            "nodes",
            "conns",
            "msgRx",
            "msgTx",
            "msgDrop",
            "latency",
            "loss",
            "throughput",
            "alerts",
            "lastErr",
        ];
        let mut registry = Registry::default();
        registry.set(Metric::FreeHeap, 215_040);
        registry.set(Metric::Rssi, -68);
        registry.set(Metric::Alerts, 21);
        registry.set(Metric::Loss, 25);
        let identity = Identity { version: "1.10.0".into(), md5: "d41d8cd9".into() };
        let mesh = Mesh::new(MeshConfig::node(NodeId(7), 1));
        let frame = enhanced(&registry, &identity, "timeout \"AP\"", &mesh, NodeId(1));
        let names: Vec<_> = fields(&frame).map(|(key, _)| key.name().into_owned()).collect();
        assert_eq!(names, order.map(|name| name.as_bytes().to_vec()));
        let field = |name: &str| fields(&frame).find(|(key, _)| key.is(name)).unwrap().1.as_u32();
        let told = ["status", "mem", "wifi", "alerts", "loss", "nodes"].map(field);
        assert_eq!(told, [1, 210, 64, 21, 2, 1]);
    }

    #[test]
    fn commands_are_for_this_node_or_not_taken() {
        let check = |text: &str, expected: Option<(u8, u32)>| {
            let message = crate::wire::read(text.as_bytes()).unwrap();
            let command = Command::decode(NodeId(9), &message.envelope, &message.bytes);
            assert_eq!(command.map(|command| (command.code, command.id)), expected, "{text}");
        };
        let head = "{\"from\":7,\"dest\":9,\"routing\":1,\"type\":400";
        check(
            &alloc::format!("{head},\"cmd\":3,\"target\":9,\"params\":\"{{}}\",\"cid\":42}}"),
            Some((3, 42)),
        );
        check(&alloc::format!("{head},\"cmd\":1}}"), Some((1, 0)));
        check(&alloc::format!("{head},\"cmd\":300}}"), None);
        check(&alloc::format!("{head},\"cmd\":3,\"target\":8}}"), None);
        check(&alloc::format!("{head},\"target\":9}}"), None);
        check("{\"type\":400,\"cmd\":1}", None);
    }
}
