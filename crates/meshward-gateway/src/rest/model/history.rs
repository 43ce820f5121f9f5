//! What was measured and done, from the database.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A step of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When it begins, or of a raw value when that was.
    pub at: Timestamp,
    /// The value, as it was asked for.
    pub value: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Of how many values.
    pub count: u64,
}

/// What a node measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// How long a point is, in seconds; 0 for raw values.
    pub step_seconds: u32,
    /// Of each metric its points, oldest first; steps without a value have none. Counters are rates, per second.
    pub series: BTreeMap<String, Vec<Point>>,
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// Counts from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The rest.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    /// SHA-256 of the line before and of this one.
    pub hash: String,
}

/// Lines of the audit, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// The lines.
    pub items: Vec<AuditLine>,
    /// Where to go on: `before` of the next request; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What happened, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PastEvents {
    /// Events.
    pub items: Vec<super::Event>,
    /// `before` of the next request; absent where there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// The tree became another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopologyChange {
    /// Its revision in the database, which rises for ever.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
}

/// When the tree changed, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopologyChanges {
    /// Changes.
    pub items: Vec<TopologyChange>,
    /// Whether there were more than are listed: ask again with an earlier `to`.
    pub more: bool,
}
