//! Roll-outs as their rows: what was asked for, a line per node, and whether it is over.

use std::time::SystemTime;

use jiff::Timestamp;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Family, State, TargetReport, Why};
use meshward_fleet::forecast::Scheme;
use meshward_fleet::memory::{Moment, Stamp};
use meshward_fleet::rollout::{Decision, RolloutMemory, RolloutPlan, RolloutReport};
use serde::{Deserialize, Serialize};

use super::RowError;
use crate::service::{Rollout, RolloutRequest, Unfinished};
use crate::store::{RolloutNodeRow, RolloutRow};

/// The state of a row whose roll-out was refused and never began.
pub const REFUSED: &str = "refused";

/// The column `request`, and with it what operators did since.
#[derive(Serialize, Deserialize)]
struct Request {
    firmware: String,
    role: Option<String>,
    hardware: String,
    scheme: String,
    nodes: Option<Vec<u32>>,
    force_image: bool,
    confirm_receiver: bool,
    slot_size: u32,
    part_size: u32,
    concurrency: usize,
    hold: bool,
    airtime: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<RolloutPlan>,
}

/// What is kept of a roll-out beside its document: that goes on after a restart.
#[derive(Default, Serialize, Deserialize)]
struct Going {
    paused: bool,
    activated: Vec<u32>,
}

/// The column `report`.
#[derive(Serialize, Deserialize)]
struct Report {
    going: Going,
    /// As the REST interface shows it.
    document: serde_json::Value,
}

/// The column `detail` of a node's row.
#[derive(Serialize, Deserialize)]
struct Line {
    family: Option<String>,
    done: u32,
    parts: u32,
    reason: Option<String>,
}

/// What was asked for, to be written.
pub(crate) fn request(request: &RolloutRequest) -> Result<String, RowError> {
    Ok(serde_json::to_string(&Request {
        firmware: request.firmware.iter().map(|byte| format!("{byte:02x}")).collect(),
        role: request.role.clone(),
        hardware: request.hardware.clone(),
        scheme: request.scheme.name().to_owned(),
        nodes: request.nodes.as_ref().map(|nodes| nodes.iter().map(|node| node.0).collect()),
        force_image: request.force_image,
        confirm_receiver: request.confirm_receiver,
        slot_size: request.slot_size,
        part_size: request.part_size,
        concurrency: request.concurrency,
        hold: request.hold,
        airtime: request.airtime,
        plan: request.plan.clone(),
    })?)
}

fn read_request(text: &str) -> Result<RolloutRequest, RowError> {
    let request: Request = serde_json::from_str(text)?;
    let unknown = |what: &str| RowError::Unknown(what.to_owned());
    Ok(RolloutRequest {
        firmware: super::sum(&request.firmware).ok_or_else(|| unknown(&request.firmware))?,
        role: request.role,
        hardware: request.hardware,
        scheme: Scheme::named(&request.scheme).ok_or_else(|| unknown(&request.scheme))?,
        nodes: request.nodes.map(|nodes| nodes.into_iter().map(NodeId).collect()),
        force_image: request.force_image,
        confirm_receiver: request.confirm_receiver,
        slot_size: request.slot_size,
        part_size: request.part_size,
        concurrency: request.concurrency,
        hold: request.hold,
        airtime: request.airtime,
        plan: request.plan,
    })
}

/// The row of a roll-out and those of its nodes. `document` is what the REST interface shows of it.
pub(crate) fn rows(
    rollout: &Rollout,
    document: serde_json::Value,
) -> Result<(RolloutRow, Vec<RolloutNodeRow>), RowError> {
    let going =
        Going { paused: rollout.paused, activated: rollout.activated.iter().map(|node| node.0).collect() };
    let state = if rollout.finished.is_some() { "finished" } else { "running" };
    let row = RolloutRow {
        id: rollout.id,
        request: request(&rollout.request)?,
        state: state.to_owned(),
        started: timestamp(rollout.started),
        finished: rollout.finished.map(timestamp),
        report: Some(serde_json::to_string(&Report { going, document })?),
    };
    let nodes: Result<Vec<_>, _> = rollout.nodes.iter().map(line).collect();
    Ok((row, nodes?))
}

fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn system_time(at: Timestamp) -> SystemTime {
    let since = u64::try_from(at.as_millisecond()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(since)
}

fn line(report: &TargetReport) -> Result<RolloutNodeRow, RowError> {
    let reason = match &report.state {
        State::Declined(why) => why.as_ref().map(Why::to_string),
        State::Failed(why) => Some(why.to_string()),
        _ => None,
    };
    let family = report.family.map(|family| family.name().to_owned());
    let line = Line { family, done: report.done, parts: report.parts, reason };
    Ok(RolloutNodeRow {
        node: report.node.0,
        state: report.state.name().to_owned(),
        detail: serde_json::to_string(&line)?,
    })
}

fn read_line(row: &RolloutNodeRow) -> Result<TargetReport, RowError> {
    let line: Line = serde_json::from_str(&row.detail)?;
    let state = State::recorded(&row.state, line.reason);
    Ok(TargetReport {
        node: NodeId(row.node),
        family: line.family.as_deref().and_then(Family::named),
        state: state.ok_or_else(|| RowError::Unknown(row.state.clone()))?,
        done: line.done,
        parts: line.parts,
    })
}

/// What is to go on, from its rows; `waves` is what its waves had come to.
pub(super) fn unfinished(
    row: &RolloutRow,
    nodes: &[RolloutNodeRow],
    waves: Option<&str>,
) -> Result<Unfinished, RowError> {
    let going = match &row.report {
        Some(report) => serde_json::from_str::<Report>(report)?.going,
        // It was accepted, and had not begun.
        None => Going::default(),
    };
    let nodes: Result<Vec<_>, _> = nodes.iter().map(read_line).collect();
    Ok(Unfinished {
        id: row.id,
        request: read_request(&row.request)?,
        started: system_time(row.started),
        paused: going.paused,
        activated: going.activated.into_iter().map(NodeId).collect(),
        nodes: nodes?,
        waves: waves.map(serde_json::from_str).transpose()?,
    })
}

/// How a roll-out in waves ended, from what was kept of them.
pub(crate) fn report(waves: &str) -> Result<RolloutReport, RowError> {
    let memory: RolloutMemory = serde_json::from_str(waves)?;
    // No time is in a report, so any clock will do.
    let moment = Moment { now: meshward_core::time::Instant::ORIGIN, civil: Stamp(0) };
    let restored = meshward_fleet::rollout::Rollout::restore(moment, memory);
    let restored = restored.map_err(|mistakes| {
        RowError::Unknown(mistakes.first().map(ToString::to_string).unwrap_or_default())
    })?;
    Ok(restored.report())
}

/// A decision's row of the audit: its time, and the rest of it.
pub(super) fn audited(decision: &Decision) -> Result<(Timestamp, String), RowError> {
    let Decision { at, what, wave, words, findings, .. } = decision;
    let detail = serde_json::json!({ "what": what, "wave": wave, "words": words, "findings": findings });
    Ok((super::civil(Stamp(*at)), serde_json::to_string(&detail)?))
}

/// The document of a roll-out that is over.
pub(crate) fn document(row: &RolloutRow) -> Result<Option<serde_json::Value>, RowError> {
    let report = row.report.as_ref().map(|report| serde_json::from_str::<Report>(report));
    Ok(report.transpose()?.map(|report| report.document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_there_and_back() {
        let state =
            |state| TargetReport { node: NodeId(7), family: Some(Family::Stock), state, done: 1, parts: 2 };
        for (report, said) in [
            (state(State::Waiting), None),
            (state(State::Verifying), None),
            (state(State::Updated), None),
            (state(State::Declined(None)), None),
            (state(State::Failed(Why::Silent)), Some(Why::Silent.to_string())),
            (state(State::Declined(Some(Why::Paused))), Some(Why::Paused.to_string())),
        ] {
            let back = read_line(&line(&report).unwrap()).unwrap();
            assert_eq!((back.node, back.family, back.done, back.parts), (report.node, report.family, 1, 2));
            let words = match &back.state {
                State::Declined(why) => why.as_ref().map(Why::to_string),
                State::Failed(why) => Some(why.to_string()),
                _ => None,
            };
            assert_eq!(words, said);
            assert_eq!(back.state.name(), report.state.name());
        }
        let odd = RolloutNodeRow { node: 1, state: "flying".to_owned(), detail: "{}".to_owned() };
        assert!(read_line(&odd).is_err());
    }

    #[test]
    fn requests_go_there_and_back() {
        for scheme in Scheme::ALL {
            let asked = RolloutRequest {
                firmware: core::array::from_fn(|at| at as u8),
                role: Some("sensor".to_owned()),
                hardware: "ESP32".to_owned(),
                scheme,
                nodes: Some(vec![NodeId(1), NodeId(u32::MAX)]),
                force_image: true,
                confirm_receiver: false,
                slot_size: 1,
                part_size: 2,
                concurrency: 3,
                hold: true,
                airtime: 4,
                plan: (scheme == Scheme::Auto).then(RolloutPlan::default),
            };
            let back = read_request(&request(&asked).unwrap()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{asked:?}"));
        }
    }
}
