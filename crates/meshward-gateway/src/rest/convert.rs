//! From the gateway's own types to those of [`model`](super::model), at the edge and nowhere else.

use std::time::SystemTime;

use jiff::Timestamp;
use meshward_core::node::Node as MeshNode;
use meshward_core::ota::{self, TargetReport, TargetState};
use meshward_core::wire::NodeId;
use meshward_fleet::roster::Entry;

use super::model::{
    Firmware, Link, Node, NodeState, Rollout, RolloutNode, RolloutNodeState, RolloutState, Scheme, Topology,
};
use crate::service::{self, Gateway};

fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let mut sum = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in sum.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(sum)
}

pub(super) fn node(gateway: &Gateway, id: NodeId, entry: &Entry) -> Node {
    Node {
        id: id.0,
        state: if entry.place.is_some() { NodeState::Online } else { NodeState::Offline },
        since: timestamp(gateway.civil(entry.since)),
        joins: entry.joins,
        parent: entry.place.map(|place| place.parent.0),
        hops: entry.place.map(|place| place.hops),
        root: entry.place.is_some_and(|place| place.root),
        time_authority: entry.place.is_some_and(|place| place.time_authority),
    }
}

pub(super) fn nodes(gateway: &Gateway) -> Vec<Node> {
    gateway.roster().iter().map(|(id, entry)| node(gateway, id, entry)).collect()
}

pub(super) fn topology(gateway: &Gateway, mesh: &MeshNode) -> Topology {
    let nodes: Vec<Node> =
        nodes(gateway).into_iter().filter(|node| node.state == NodeState::Online).collect();
    let links = nodes.iter().filter_map(|node| Some(Link { from: node.parent?, to: node.id })).collect();
    Topology { gateway: mesh.id().0, revision: mesh.mesh().revision(), nodes, links }
}

pub(super) fn firmware(firmware: &service::Firmware) -> Firmware {
    let description = firmware.info.description.clone();
    let (project, version) = description.unzip();
    Firmware {
        sha256: hex(&firmware.info.sha256),
        md5: firmware.info.md5.to_string(),
        size: firmware.info.size as u64,
        name: firmware.name.clone(),
        chip: firmware.info.chip.map(|chip| chip.to_string()),
        project,
        version,
    }
}

fn rollout_node(report: &TargetReport) -> RolloutNode {
    let (state, reason) = match report.state {
        TargetState::Waiting => (RolloutNodeState::Waiting, None),
        TargetState::Announced => (RolloutNodeState::Announced, None),
        TargetState::Listening => (RolloutNodeState::Listening, None),
        TargetState::Receiving => (RolloutNodeState::Receiving, None),
        TargetState::Ready => (RolloutNodeState::Ready, None),
        TargetState::Finishing => (RolloutNodeState::Finishing, None),
        TargetState::Restarting => (RolloutNodeState::Restarting, None),
        TargetState::Verifying => (RolloutNodeState::Verifying, None),
        TargetState::Updated => (RolloutNodeState::Updated, None),
        TargetState::Declined => (RolloutNodeState::Declined, None),
        TargetState::Failed(reason) => (RolloutNodeState::Failed, Some(reason.to_string())),
    };
    RolloutNode { id: report.node.0, state, done: report.done, parts: report.parts, reason }
}

pub(super) fn rollout(gateway: &Gateway, mesh: &MeshNode, rollout: &service::Rollout) -> Rollout {
    let state = match rollout.finished {
        Some(_) => RolloutState::Finished,
        None if mesh.distributor().is_paused() => RolloutState::Paused,
        None => RolloutState::Running,
    };
    Rollout {
        id: rollout.id,
        state,
        firmware: firmware(&rollout.firmware),
        role: rollout.role.clone(),
        hardware: rollout.hardware.clone(),
        scheme: match rollout.scheme {
            ota::Scheme::Turbo => Scheme::Turbo,
            ota::Scheme::Unicast => Scheme::Unicast,
        },
        hold: rollout.hold,
        foreign_sender: rollout
            .finished
            .is_none()
            .then(|| mesh.distributor().foreign_sender())
            .flatten()
            .map(|id| id.0),
        started_at: timestamp(gateway.civil(rollout.started)),
        finished_at: rollout.finished.map(|at| timestamp(gateway.civil(at))),
        nodes: rollout.nodes.iter().map(rollout_node).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_and_written() {
        let sum: [u8; 32] = core::array::from_fn(|at| at as u8 * 7);
        assert_eq!(parse_sha256(&hex(&sum)), Some(sum));
        for bad in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(parse_sha256(bad), None, "{bad}");
        }
    }
}
