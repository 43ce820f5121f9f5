//! What a node says in the packages that stock gateways understand: EnhancedStatus (604), and the Status (202) that
//! answers a command; and what a command (400) says to it.
//!
//! The library's own classes broadcast them, which costs a mesh more than it can carry: here they are always for one
//! node. Refuses a command without a sender, for somebody else, or whose parameters do not fit.

use alloc::string::String;
use alloc::vec::Vec;

use super::Metric;
use super::registry::Registry;
use crate::mesh::Mesh;
use crate::wire::NodeId;
use crate::wire::status::{Code, EnhancedStatus, Package, Sent, Status};

/// A command to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Who sent it.
    pub from: NodeId,
    /// What is to be done.
    pub code: Code,
    /// Its parameters, by convention JSON.
    pub params: Vec<u8>,
    /// The sender's number for it; the answer has it too. 0 wants no answer.
    pub id: u32,
}

impl Command {
    /// Reads a frame of type 400; `None` when it makes no sense, or names another target than `own` or all.
    pub(super) fn decode(own: NodeId, frame: &[u8]) -> Option<Self> {
        let sent = Sent::decode(frame).ok()?;
        let Package::Command(command) = sent.package else { return None };
        let target = command.target.get().unwrap_or(0);
        let params = command.params.value();
        let fits = params.is_none_or(|params| params.left_out() == 0) && (target == 0 || target == own.0);
        let code = command.number.get().filter(|number| *number != 0 && fits)?;
        Some(Self {
            from: sent.from,
            code: Code::of(code.into()),
            params: params.map_or(Vec::new(), |params| params.as_bytes().to_vec()),
            id: command.id.get().unwrap_or(0),
        })
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

/// What fits of a number into a field.
fn fit<T: TryFrom<u32>>(number: u32, most: T) -> T {
    T::try_from(number).unwrap_or(most)
}

/// How strong the node hears its parent, in percent; 0 where that is not known.
fn quality(registry: &Registry) -> u8 {
    let quality = registry.get(Metric::WifiQuality).or_else(|| {
        // As Windows and many sketches reckon: −100 dBm is nothing, −50 dBm all.
        registry.get(Metric::Rssi).map(|rssi| rssi.saturating_add(100).saturating_mul(2).clamp(0, 100))
    });
    quality.and_then(|quality| u8::try_from(quality).ok()).unwrap_or(0)
}

fn kilobytes(registry: &Registry) -> u16 {
    fit(registry.word(Metric::FreeHeap) / 1_024, u16::MAX)
}

/// EnhancedStatus.
pub(super) fn enhanced(
    registry: &Registry,
    identity: &Identity,
    last_error: &str,
    mesh: &Mesh,
) -> EnhancedStatus {
    let word = |metric| registry.word(metric);
    let bytes = word(Metric::BytesRx).saturating_add(word(Metric::BytesTx));
    EnhancedStatus {
        status: u8::from(word(Metric::Alerts) != 0).into(),
        uptime_s: word(Metric::Uptime).into(),
        memory_kb: kilobytes(registry).into(),
        wifi: quality(registry).into(),
        firmware: identity.version.as_str().into(),
        firmware_md5: identity.md5.as_str().into(),
        nodes: u16::try_from(mesh.tree().len()).unwrap_or(u16::MAX).into(),
        connections: fit(word(Metric::Links), u8::MAX).into(),
        messages_rx: word(Metric::MessagesRx).into(),
        messages_tx: word(Metric::MessagesTx).into(),
        messages_dropped: word(Metric::MessagesDropped).into(),
        latency_ms: fit(word(Metric::Latency), u16::MAX).into(),
        loss: fit(word(Metric::Loss) / 10, u8::MAX).into(),
        throughput: fit(bytes.checked_div(word(Metric::Uptime)).unwrap_or(bytes), u16::MAX).into(),
        alerts: fit(word(Metric::Alerts), u8::MAX).into(),
        last_error: last_error.into(),
        ..EnhancedStatus::default()
    }
}

/// The answer to a command.
pub(super) fn response(registry: &Registry, identity: &Identity, command: u32, text: &str) -> Status {
    let status = Status {
        status: u8::from(registry.word(Metric::Alerts) != 0).into(),
        uptime_s: registry.word(Metric::Uptime).into(),
        memory_kb: kilobytes(registry).into(),
        wifi: quality(registry).into(),
        firmware: identity.version.as_str().into(),
        message_type: 202.into(),
        ..Status::default()
    };
    if command > 0 { status.answering(command, text) } else { status }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::MeshConfig;
    use crate::wire::{To, fields};

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
        let status = enhanced(&registry, &identity, "timeout \"AP\"", &mesh);
        let frame = Package::from(status).encode(NodeId(7), To::One(NodeId(1)));
        let names: Vec<_> = fields(&frame).map(|(key, _)| key.name().into_owned()).collect();
        assert_eq!(names, order.map(|name| name.as_bytes().to_vec()));
        let field = |name: &str| fields(&frame).find(|(key, _)| key.is(name)).unwrap().1.as_u32();
        let told = ["status", "mem", "wifi", "alerts", "loss", "nodes"].map(field);
        assert_eq!(told, [1, 210, 64, 21, 2, 1]);
    }

    #[test]
    fn commands_are_for_this_node_or_not_taken() {
        let check = |text: &str, expected: Option<(Code, u32)>| {
            let command = Command::decode(NodeId(9), text.as_bytes());
            assert_eq!(command.map(|command| (command.code, command.id)), expected, "{text}");
        };
        let head = "{\"from\":7,\"dest\":9,\"routing\":1,\"type\":400";
        check(
            &alloc::format!("{head},\"cmd\":3,\"target\":9,\"params\":\"{{}}\",\"cid\":42}}"),
            Some((Code::Wake, 42)),
        );
        check(&alloc::format!("{head},\"cmd\":1}}"), Some((Code::Reset, 0)));
        check(&alloc::format!("{head},\"cmd\":300}}"), None);
        check(&alloc::format!("{head},\"cmd\":3,\"target\":8}}"), None);
        check(&alloc::format!("{head},\"target\":9}}"), None);
        check("{\"type\":400,\"cmd\":1}", None);
    }
}
