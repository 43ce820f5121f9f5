//! From the gateway's own types to those of [`model`](super::model), at the edge and nowhere else.

mod event;
mod notify;
mod rules;
mod state;
mod waves;

use std::time::SystemTime;

use jiff::Timestamp;
use meshward_core::node::Node as MeshNode;
use meshward_core::ota::Distributor;
use meshward_core::ota::exchange::ImageId;
use meshward_core::time::Duration;
use meshward_fleet::deployment::{self, Phase, State, TargetReport, Why};
use meshward_fleet::forecast::{self, Form, Kind, Service};

use super::model::{
    Family, Firmware, Forecast, Group, Manifest, Rollout, RolloutNode, RolloutNodeState, RolloutPhase,
    RolloutState, Running, Scheme, Transfers,
};
use crate::service::{self, Gateway};
pub(crate) use event::{Detail, events};
pub(super) use event::{node_events, past_event};
pub use notify::configured_channel;
pub(super) use notify::{
    changed_channel, channel, delivery, empty_channel, imagined, kept_route, route, waiting,
};
pub(crate) use rules::{WrongRule, rule, written_rule};
pub(super) use rules::{matcher, purpose, rehearsal, rules, window, windows};
pub(crate) use state::tree;
pub(super) use state::{
    alerts, answer, command, dot, findings, health, incidents, label, mesh, node, nodes, overhead, progress,
    status, topology, topology_at,
};
pub(super) use waves::{mistake, preview};

pub(crate) fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A civil time as the system has it; what was before 1970 is 1970.
pub(crate) fn system_time(at: Timestamp) -> SystemTime {
    let since = at.duration_since(Timestamp::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + std::time::Duration::try_from(since).unwrap_or_default()
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
        manifest: firmware.manifest.as_ref().map(|manifest| {
            let content = manifest.content();
            Manifest {
                hardware: content.hardware.clone(),
                role: content.role.clone(),
                version: content.version.clone(),
                sequence: content.sequence,
            }
        }),
    }
}

/// Seconds with three digits after the point.
fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000.0).round() / 1_000.0
}

const fn scheme(scheme: forecast::Scheme) -> Scheme {
    match scheme {
        forecast::Scheme::Auto => Scheme::Auto,
        forecast::Scheme::Full => Scheme::Full,
        forecast::Scheme::Heatshrink => Scheme::Heatshrink,
        forecast::Scheme::Lzma => Scheme::Lzma,
        forecast::Scheme::Delta => Scheme::Delta,
        forecast::Scheme::Turbo => Scheme::Turbo,
        forecast::Scheme::Unicast => Scheme::Unicast,
    }
}

pub(super) const fn own_scheme(scheme: Scheme) -> forecast::Scheme {
    match scheme {
        Scheme::Auto => forecast::Scheme::Auto,
        Scheme::Full => forecast::Scheme::Full,
        Scheme::Heatshrink => forecast::Scheme::Heatshrink,
        Scheme::Lzma => forecast::Scheme::Lzma,
        Scheme::Delta => forecast::Scheme::Delta,
        Scheme::Turbo => forecast::Scheme::Turbo,
        Scheme::Unicast => forecast::Scheme::Unicast,
    }
}

/// What a group is sent.
fn sent(service: &Service, forecast: &forecast::Forecast) -> Option<Scheme> {
    Some(match service {
        Service::Pass(at) => match forecast.passes.get(*at)?.form {
            Form::Full => Scheme::Full,
            Form::Heatshrink => Scheme::Heatshrink,
            Form::Lzma => Scheme::Lzma,
            Form::Delta(_) => Scheme::Delta,
        },
        Service::Turbo => Scheme::Turbo,
        Service::Unicast => Scheme::Unicast,
        Service::None(_) => return None,
    })
}

fn group(gateway: &Gateway, group: &forecast::Group, all: &forecast::Forecast) -> Group {
    let running = |id: &ImageId| Running { id: hex(&id.0), name: gateway.image_name(*id).map(str::to_owned) };
    let (family, hardware, role, running) = match &group.kind {
        Kind::Meshward { hardware, role, running: image } => {
            (Family::Meshward, Some(hardware.clone()), Some(role.clone()), image.as_ref().map(running))
        }
        Kind::Stock => (Family::Stock, None, None, None),
    };
    Group {
        nodes: group.nodes.iter().map(|id| id.0).collect(),
        family,
        hardware,
        role,
        running,
        scheme: sent(&group.service, all),
        reason: if let Service::None(unfit) = &group.service { Some(unfit.to_string()) } else { None },
        bytes: group.bytes,
        chunks: group.chunks,
        pass: if let Service::Pass(at) = group.service { u32::try_from(at).ok() } else { None },
        channel_seconds: seconds(group.channel),
        transfer_seconds: seconds(group.transfer),
        install_seconds: seconds(group.install),
        restart_seconds: seconds(group.restart),
        eta_seconds: seconds(group.eta()),
    }
}

pub(super) fn forecast(gateway: &Gateway, forecast: &forecast::Forecast) -> Forecast {
    Forecast {
        groups: forecast.groups.iter().map(|each| group(gateway, each, forecast)).collect(),
        channel_seconds: seconds(forecast.channel),
        eta_seconds: seconds(forecast.eta),
    }
}

fn rollout_node(report: &TargetReport, forecast: Option<&forecast::Forecast>) -> RolloutNode {
    let said = |why: &Why| Some(why.to_string());
    let (state, reason) = match &report.state {
        State::Waiting => (RolloutNodeState::Waiting, None),
        State::Announced => (RolloutNodeState::Announced, None),
        State::Listening => (RolloutNodeState::Listening, None),
        State::Receiving => (RolloutNodeState::Receiving, None),
        State::Installing => (RolloutNodeState::Installing, None),
        State::Ready => (RolloutNodeState::Ready, None),
        State::Finishing => (RolloutNodeState::Finishing, None),
        State::Restarting => (RolloutNodeState::Restarting, None),
        State::Verifying => (RolloutNodeState::Verifying, None),
        State::Updated => (RolloutNodeState::Updated, None),
        State::Declined(why) => (RolloutNodeState::Declined, why.as_ref().and_then(said)),
        State::Failed(why) => (RolloutNodeState::Failed, said(why)),
    };
    let family = report.family.map(|family| match family {
        deployment::Family::Meshward => Family::Meshward,
        deployment::Family::Stock => Family::Stock,
    });
    let service = forecast.and_then(|forecast| sent(&forecast.group_of(report.node)?.service, forecast));
    RolloutNode {
        id: report.node.0,
        family,
        scheme: service,
        state,
        done: report.done,
        parts: report.parts,
        reason,
    }
}

const fn phase(phase: Phase) -> RolloutPhase {
    match phase {
        Phase::Surveying => RolloutPhase::Surveying,
        Phase::Queued => RolloutPhase::Queued,
        Phase::Packing => RolloutPhase::Packing,
        Phase::Delivering => RolloutPhase::Delivering,
        Phase::Sending => RolloutPhase::Sending,
        Phase::Held => RolloutPhase::Held,
        Phase::Activating => RolloutPhase::Activating,
        Phase::Finished => RolloutPhase::Finished,
    }
}

pub(crate) fn rollout(gateway: &Gateway, mesh: &MeshNode, rollout: &service::Rollout) -> Rollout {
    let state = match rollout.finished {
        Some(_) => RolloutState::Finished,
        None if rollout.paused => RolloutState::Paused,
        None => RolloutState::Running,
    };
    let (role, hardware) = (rollout.role.as_bytes(), rollout.hardware.as_bytes());
    let own = mesh.distributors().iter().find(|(_, one)| one.is_for(role, hardware)).map(|(_, one)| one);
    let foreign = own.filter(|_| rollout.finished.is_none()).and_then(Distributor::foreign_sender);
    let reckoned = rollout.forecast.as_ref();
    Rollout {
        id: rollout.id,
        state,
        phase: phase(rollout.phase),
        eta_seconds: rollout.eta.map(seconds),
        forecast: reckoned.map(|reckoned| forecast(gateway, reckoned)),
        transfers: Transfers {
            first_chunk_at: rollout.transfers.first_chunk.map(|at| timestamp(gateway.civil(at))),
            meshward_seconds: rollout.transfers.meshward.map(seconds),
            stock_seconds: rollout.transfers.stock.map(seconds),
        },
        firmware: firmware(&rollout.firmware),
        role: rollout.role.clone(),
        hardware: rollout.hardware.clone(),
        scheme: scheme(rollout.scheme),
        hold: rollout.hold,
        waits_for: rollout.waits_for,
        foreign_sender: foreign.map(|id| id.0),
        started_at: timestamp(rollout.started),
        finished_at: rollout.finished.map(timestamp),
        nodes: rollout.nodes.iter().map(|report| rollout_node(report, reckoned)).collect(),
        plan: rollout.request.plan.clone(),
        progress: rollout.progress.as_deref().map(|progress| waves::progress(gateway, progress)),
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
