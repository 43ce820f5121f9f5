//! What nodes say of others and of the mesh: types 600 to 622, and 604 and 605 where they are about the mesh.

use meshward_core::telemetry::Metric;
use meshward_core::time::UnixTime;
use meshward_core::wire::status::{Alerts, Bridged, Field, NodeList, Package, Sent, Text, Topology};
use meshward_core::wire::{NodeId, kind};

use super::learnt::{Level, Presence, Topic, What};
use super::reader::Reader;
use super::scale::{as_written, quality_scale};
use crate::reading::Doubt;

pub(super) fn read(reader: &mut Reader<'_>, package: &Package) {
    match package {
        Package::NodeList(package) => node_list(reader, package),
        Package::Topology(package) => topology(reader, package),
        Package::Alerts(package) => alerts(reader, package),
        Package::Bridged(package) => bridged(reader, package),
        Package::GatewayData(data) => reader.find(What::Outbound {
            id: data.id.get(),
            destination: words(&data.destination),
            bytes: length(&data.payload),
        }),
        Package::GatewayAck(ack) => reader.find(What::Delivered {
            id: ack.id.get(),
            success: ack.success.get().unwrap_or(false),
            http: ack.http.get().filter(|http| *http != 0),
            error: words(&ack.error),
        }),
        Package::GatewayHeartbeat(_) => reader.find(What::Gateway),
        other => bridges(reader, other),
    }
}

fn node_list(reader: &mut Reader<'_>, package: &NodeList) {
    reader.text(Topic::MeshId, &package.mesh_id);
    for listed in package.nodes.value().map_or(&[][..], |nodes| nodes.items()) {
        let Some(node) = id(&listed.node) else { continue };
        let presence = match listed.status.get() {
            Some(0) => Some(Presence::Offline),
            Some(1) => Some(Presence::Online),
            Some(2) => Some(Presence::Unreachable),
            _ => None,
        };
        let last_seen = civil(&listed.last_seen);
        reader.find_of(node, What::Seen { presence, last_seen, rssi: listed.rssi.get() });
    }
}

fn topology(reader: &mut Reader<'_>, package: &Topology) {
    let connections = package.connections.value().map_or(&[][..], |connections| connections.items());
    let qualities = connections.iter().filter_map(|connection| connection.quality.get());
    let (scale, guessed) = quality_scale(qualities);
    for connection in connections {
        let (Some(from), Some(to)) = (id(&connection.from), id(&connection.to)) else { continue };
        let quality = connection.quality.number().map(|quality| as_written(quality) / scale);
        let doubt = match quality {
            Some(quality) if !(0.0..=1.0).contains(&quality) => Some(Doubt::Absurd),
            None if !connection.quality.is_missing() => Some(Doubt::Type),
            _ => guessed,
        };
        let (latency_ms, hops) = (connection.latency_ms.get(), connection.hops.get());
        reader.find_of(from, What::Link { to, quality, doubt, latency_ms, hops });
    }
    if let Some(root) = id(&package.root) {
        reader.find_of(root, What::Root);
    }
}

/// `alerts` is an array here, and a bit mask in 604.
fn alerts(reader: &mut Reader<'_>, package: &Alerts) {
    for alert in package.alerts.value().map_or(&[][..], |alerts| alerts.items()) {
        let level = match alert.severity.get() {
            Some(0) => Some(Level::Info),
            Some(1) => Some(Level::Warning),
            Some(2) => Some(Level::Critical),
            _ => None,
        };
        let what = What::Alert {
            kind: alert.kind.get(),
            level,
            text: words(&alert.message),
            value: alert.value.get().map(as_written),
            threshold: alert.threshold.get().map(as_written),
            id: alert.id.get(),
        };
        match id(&alert.node) {
            Some(node) => reader.find_of(node, what),
            None => reader.find(what),
        }
    }
}

fn bridged(reader: &mut Reader<'_>, package: &Bridged) {
    reader.text(Topic::MeshId, &package.mesh_id);
    let mesh_type = package.mesh_type.get().unwrap_or(0);
    let name = if package.protocol.get() == Some(0) { core_type(mesh_type) } else { "" };
    reader.find(What::Bridged { mesh_type, name, bytes: length(&package.payload) });
}

/// What a type of the core protocol is. The prose of the MQTT schema has other names for these numbers (3 as a node
/// sync), which no node has ever sent.
fn core_type(mesh_type: u16) -> &'static str {
    match i32::from(mesh_type) {
        kind::TIME_DELAY => "time delay",
        kind::TIME_SYNC => "time sync",
        kind::NODE_SYNC_REQUEST => "node sync request",
        kind::NODE_SYNC_REPLY => "node sync reply",
        kind::CONTROL => "control",
        kind::BROADCAST => "broadcast",
        kind::SINGLE => "single",
        kind::OTA_ANNOUNCE => "firmware announce",
        kind::OTA_REQUEST => "firmware request",
        kind::OTA_DATA => "firmware data",
        _ => "",
    }
}

/// Bridges, whose uptime is in milliseconds.
fn bridges(reader: &mut Reader<'_>, package: &Package) {
    match package {
        Package::BridgeStatus(bridge) => {
            reader.uptime(&bridge.uptime_ms, 1);
            reader.number_if_set(Metric::RouterRssi, &bridge.router_rssi);
            reader.number_if_set(Metric::RouterChannel, &bridge.router_channel);
            reader.text(Topic::GatewayAddress, &bridge.gateway_ip);
            reader.find(What::Bridge { internet: bridge.internet.get() });
        }
        Package::Election(election) => {
            reader.uptime(&election.uptime_ms, 1);
            reader.number_if_set(Metric::RouterRssi, &election.router_rssi);
            reader.number(Metric::FreeHeap, &election.free_memory);
            reader.text(Topic::RouterName, &election.router_ssid);
            reader.find(What::Candidate);
        }
        Package::Takeover(takeover) => {
            reader.number_if_set(Metric::RouterRssi, &takeover.router_rssi);
            let (previous, reason) = (id(&takeover.previous), words(&takeover.reason));
            reader.find(What::Takeover { previous, reason });
        }
        Package::Coordination(coordination) => {
            reader.number(Metric::BridgeLoad, &coordination.load);
            reader.text(Topic::BridgeRole, &coordination.role);
            let peers = coordination.peers.value().map_or(&[][..], |peers| peers.items());
            let peers = peers.iter().map(|peer| NodeId(*peer)).collect();
            reader.find(What::Coordination { priority: coordination.priority.get(), peers });
        }
        Package::NtpTime(ntp) => {
            reader.text(Topic::TimeSource, &ntp.source);
            if let Some(time) = civil(&ntp.time) {
                reader.find(What::Civil { time, accuracy_ms: ntp.accuracy_ms.get() });
            }
        }
        _ => {}
    }
}

/// A 604 or 605 that is not about its sender.
pub(super) fn of_mesh(reader: &mut Reader<'_>, sent: &Sent) {
    let (nodes, loss) = match &sent.package {
        Package::EnhancedStatus(package) => (package.nodes.get(), package.loss.get()),
        Package::HealthCheck(package) => (None, package.loss.get()),
        _ => (None, None),
    };
    let words = sent.label.mesh_status.value().map(|words| words.to_str().into_owned());
    reader.find(What::MeshStatus { words, nodes, loss });
}

/// A node's id, unless it is nobody's.
fn id(field: &Field<u32>) -> Option<NodeId> {
    field.get().map(NodeId).filter(|node| *node != NodeId::NONE)
}

/// Civil time, unless it is 0, which is a clock that nobody has set.
fn civil(field: &Field<u32>) -> Option<UnixTime> {
    field.get().filter(|seconds| *seconds != 0).map(|seconds| UnixTime(u64::from(seconds)))
}

fn words(field: &Field<Text>) -> String {
    field.value().map(|text| text.to_str().into_owned()).unwrap_or_default()
}

fn length<const MAX: usize>(field: &Field<Text<MAX>>) -> usize {
    field.value().map_or(0, |text| text.as_bytes().len())
}
