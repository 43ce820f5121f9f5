//! What the fleet remembers of a node, as its row.

use std::collections::BTreeSet;

use meshward_core::telemetry::Metric;
use meshward_core::wire::NodeId;
use meshward_fleet::memory::{NodeMemory, Reporting, Sleep, Stamp, Start, UsualMemory};
use meshward_fleet::registry::{Capability, Family, Identity};
use serde::{Deserialize, Serialize};

use super::{RowError, civil, stamp};
use crate::store::NodeRow;

/// The column `memory`: what has no column of its own. Times in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Memory {
    family: String,
    capabilities: Vec<String>,
    version: Option<String>,
    image: Option<u32>,
    named_by_people: bool,
    last_seen: Option<u64>,
    present: bool,
    since: u64,
    joins: u32,
    parent: Option<u32>,
    lost: Option<u64>,
    sleeps: bool,
    /// Until then, if that is known.
    wakes: Option<u64>,
    /// Every so many milliseconds, told then.
    reporting: Option<(u64, u64)>,
    /// Seconds, said then.
    uptime_s: Option<(u64, u64)>,
    boots: Option<u32>,
    reset_reason: Option<u8>,
    /// Metric, mean, spread, of so many values.
    usual: Vec<(String, f32, f32, u32)>,
}

/// A node's row.
pub(super) fn row(kept: &NodeMemory) -> Result<NodeRow, RowError> {
    let memory = Memory {
        family: kept.family.name().to_owned(),
        capabilities: kept.capabilities.iter().map(|one| one.name().to_owned()).collect(),
        version: kept.identity.version.clone(),
        image: kept.identity.image,
        named_by_people: kept.named_by_people,
        last_seen: kept.last_seen.map(|at| at.0),
        present: kept.present,
        since: kept.since.0,
        joins: kept.joins,
        parent: kept.parent.map(|node| node.0),
        lost: kept.lost.map(|at| at.0),
        sleeps: kept.sleep.is_some(),
        wakes: kept.sleep.and_then(|sleep| sleep.wakes).map(|at| at.0),
        reporting: kept.reporting.map(|policy| (policy.period_ms, policy.told.0)),
        uptime_s: kept.start.uptime_s.map(|(seconds, at)| (seconds, at.0)),
        boots: kept.start.boots,
        reset_reason: kept.start.reset_reason,
        usual: kept.usual.iter().map(|u| (u.metric.name().to_owned(), u.mean, u.scale, u.taken)).collect(),
    };
    Ok(NodeRow {
        id: kept.node.0,
        name: kept.name.clone(),
        tags: serde_json::to_string(&kept.tags)?,
        notes: kept.notes.clone(),
        hardware: kept.identity.hardware.clone(),
        role: kept.identity.role.clone(),
        firmware: kept.firmware_md5.clone(),
        first_seen: civil(kept.first_seen),
        last_seen: civil(kept.last_seen.unwrap_or(kept.first_seen)),
        memory: Some(serde_json::to_string(&memory)?),
    })
}

/// What a row says; a row without the fleet's words has only those of people.
pub(super) fn memory(row: &NodeRow) -> Result<Option<NodeMemory>, RowError> {
    let Some(text) = &row.memory else { return Ok(None) };
    let memory: Memory = serde_json::from_str(text)?;
    let tags: BTreeSet<String> = serde_json::from_str(&row.tags)?;
    let usual = |(metric, mean, scale, taken): (String, f32, f32, u32)| {
        Some(UsualMemory { metric: Metric::named(&metric)?, mean, scale, taken })
    };
    Ok(Some(NodeMemory {
        node: NodeId(row.id),
        family: Family::named(&memory.family).unwrap_or_default(),
        capabilities: memory.capabilities.iter().filter_map(|name| Capability::named(name)).collect(),
        identity: Identity {
            hardware: row.hardware.clone(),
            role: row.role.clone(),
            version: memory.version,
            image: memory.image,
        },
        firmware_md5: row.firmware.clone(),
        name: row.name.clone(),
        named_by_people: memory.named_by_people,
        tags,
        notes: row.notes.clone(),
        first_seen: stamp(row.first_seen),
        last_seen: memory.last_seen.map(Stamp),
        present: memory.present,
        since: Stamp(memory.since),
        joins: memory.joins,
        parent: memory.parent.map(NodeId),
        lost: memory.lost.map(Stamp),
        sleep: memory.sleeps.then(|| Sleep { wakes: memory.wakes.map(Stamp) }),
        reporting: memory.reporting.map(|(period_ms, told)| Reporting { period_ms, told: Stamp(told) }),
        start: Start {
            uptime_s: memory.uptime_s.map(|(seconds, at)| (seconds, Stamp(at))),
            boots: memory.boots,
            reset_reason: memory.reset_reason,
        },
        usual: memory.usual.into_iter().filter_map(usual).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_go_there_and_back() {
        let bare = NodeMemory {
            node: NodeId(7),
            family: Family::Unknown,
            capabilities: BTreeSet::new(),
            identity: Identity::default(),
            firmware_md5: None,
            name: None,
            named_by_people: false,
            tags: BTreeSet::new(),
            notes: String::new(),
            first_seen: Stamp(1_790_000_000_000),
            last_seen: None,
            present: false,
            since: Stamp(1_790_000_000_001),
            joins: 0,
            parent: None,
            lost: None,
            sleep: None,
            reporting: None,
            start: Start::default(),
            usual: Vec::new(),
        };
        let full = NodeMemory {
            family: Family::Meshward,
            capabilities: Capability::ALL.into(),
            identity: Identity {
                hardware: Some("ESP32".to_owned()),
                role: Some("sensor".to_owned()),
                version: Some("1.2".to_owned()),
                image: Some(u32::MAX),
            },
            firmware_md5: Some("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
            name: Some("pump \"house\"".to_owned()),
            named_by_people: true,
            tags: ["a".to_owned(), "ö".to_owned()].into(),
            notes: "two\nlines".to_owned(),
            last_seen: Some(Stamp(1_790_000_000_007)),
            present: true,
            joins: 3,
            parent: Some(NodeId(u32::MAX)),
            lost: Some(Stamp(5)),
            sleep: Some(Sleep { wakes: None }),
            reporting: Some(Reporting { period_ms: 30_000, told: Stamp(9) }),
            start: Start { uptime_s: Some((77, Stamp(8))), boots: Some(2), reset_reason: Some(4) },
            usual: vec![UsualMemory { metric: Metric::FreeHeap, mean: 1.5, scale: 0.1, taken: 12 }],
            ..bare.clone()
        };
        let asleep = NodeMemory { sleep: Some(Sleep { wakes: Some(Stamp(1)) }), ..full.clone() };
        for kept in [bare, full, asleep] {
            assert_eq!(memory(&row(&kept).unwrap()).unwrap(), Some(kept));
        }
    }

    #[test]
    fn a_row_that_makes_no_sense_is_an_error_and_no_panic() {
        let row = |memory: &str| NodeRow {
            id: 7,
            name: None,
            tags: "[]".to_owned(),
            notes: String::new(),
            hardware: None,
            role: None,
            firmware: None,
            first_seen: civil(Stamp(1)),
            last_seen: civil(Stamp(1)),
            memory: Some(memory.to_owned()),
        };
        for text in ["", "7", "{}", "{\"family\":7}"] {
            assert!(memory(&row(text)).is_err(), "{text}");
        }
        assert_eq!(memory(&NodeRow { memory: None, ..row("") }).unwrap(), None);
    }
}
