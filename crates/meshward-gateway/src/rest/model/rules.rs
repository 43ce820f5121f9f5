//! Rules for alerts, and windows in which nobody is told of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A condition on an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// `rule`, `severity`, `node`, or the name of a label of its rule.
    #[schema(max_length = 512)]
    pub field: String,
    /// Its value; with `*` at the end what begins so.
    #[schema(max_length = 512)]
    pub value: String,
    /// Whether it must be so; false is that it must not.
    #[serde(default = "yes")]
    pub equal: bool,
}

fn yes() -> bool {
    true
}

/// Why a window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Somebody wants quiet.
    Silence,
    /// Work is done on the nodes.
    Maintenance,
}

/// A time in which alerts are there to be seen and nobody is told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Window {
    /// Its number.
    pub id: u32,
    /// Why it is open.
    pub purpose: Purpose,
    /// What alerts must be like, all of them.
    pub matchers: Vec<Matcher>,
    /// Only of these nodes and their links; empty is all.
    pub nodes: Vec<u32>,
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Whether it has begun.
    pub active: bool,
    /// Who opened it.
    pub by: String,
    /// What for.
    pub why: String,
}

/// A window to be opened: for alerts that match, of nodes that are named, or both.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWindow {
    /// What alerts must be like, all of them; at most 32.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub matchers: Vec<Matcher>,
    /// Only of these nodes and their links; empty is all. At most 2 500.
    #[serde(default)]
    #[schema(max_items = 2500)]
    pub nodes: Vec<u32>,
    /// From then on; now when absent.
    #[serde(default)]
    pub from: Option<Timestamp>,
    /// Until then; this or `lasts_seconds`.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// How long; this or `until`. At most a year.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub lasts_seconds: Option<u32>,
    /// Who opens it.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub by: Option<String>,
    /// What for.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub why: String,
}

/// When a rule raises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// `mon` to `sun`: the days on which the time begins.
    pub days: Vec<String>,
    /// From this minute of the day on.
    #[schema(maximum = 1440)]
    pub from_minute: u16,
    /// Until this minute; when it is not after the first, of the next day.
    #[schema(maximum = 1440)]
    pub to_minute: u16,
    /// How far the clock on the wall is ahead of UTC, in minutes.
    pub ahead_minutes: i16,
}

/// A rule for alerts: on a value of each node, or on a state that somebody found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertRule {
    /// Its name: part of each alert's fingerprint.
    pub name: String,
    /// The value that it looks at, such as `free_heap_bytes` or `restarts_per_hour`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The state that it looks at, such as `offline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Which side of `raise` is bad: `above` or `below`; of a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// Beyond this it is bad; in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raise: Option<f64>,
    /// Beyond this, to the other side, it is good again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<f64>,
    /// How long it must be bad.
    pub hold_seconds: f64,
    /// How long it must be good again.
    pub recover_seconds: f64,
    /// A value that is older says nothing.
    pub fresh_seconds: f64,
    /// When it raises; absent is always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What receivers sort by.
    pub labels: BTreeMap<String, String>,
    /// What to do.
    pub runbook: String,
    /// Whether it is in force.
    pub enabled: bool,
}

/// A rule to be written: an [`AlertRule`] of which much may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAlertRule {
    /// Its name, one word; that of the path when absent.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub name: String,
    /// The value that it looks at, such as `free_heap_bytes` or `restarts_per_hour`; this or `state`.
    #[serde(default)]
    pub signal: Option<String>,
    /// The state that it looks at, such as `offline`; this or `signal`.
    #[serde(default)]
    pub state: Option<String>,
    /// Which side of `raise` is bad: `above` or `below`; of a value.
    #[serde(default)]
    pub side: Option<String>,
    /// Beyond this it is bad; in the metric's unit; of a value.
    #[serde(default)]
    pub raise: Option<f64>,
    /// Beyond this, to the other side, it is good again; as `raise` when absent.
    #[serde(default)]
    pub clear: Option<f64>,
    /// How long it must be bad; at most a week.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604_800)]
    pub hold_seconds: f64,
    /// How long it must be good again; at most a week.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604_800)]
    pub recover_seconds: f64,
    /// A value that is older says nothing; an hour when absent, at most a week.
    #[serde(default = "hour")]
    #[schema(minimum = 0, maximum = 604_800)]
    pub fresh_seconds: f64,
    /// When it raises; always when absent.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What receivers sort by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What to do.
    #[serde(default)]
    #[schema(max_length = 512)]
    pub runbook: String,
    /// Whether it is in force.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl From<NewAlertRule> for AlertRule {
    fn from(new: NewAlertRule) -> Self {
        Self {
            name: new.name,
            signal: new.signal,
            state: new.state,
            side: new.side,
            raise: new.raise,
            clear: new.clear,
            hold_seconds: new.hold_seconds,
            recover_seconds: new.recover_seconds,
            fresh_seconds: new.fresh_seconds,
            schedule: new.schedule,
            severity: new.severity,
            labels: new.labels,
            runbook: new.runbook,
            enabled: new.enabled,
        }
    }
}

fn hour() -> f64 {
    3_600.0
}

/// An alert that would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Firing {
    /// Whom it would have been about.
    pub node: Option<u32>,
    /// When it would have been raised.
    pub from: Timestamp,
    /// When it would have been cleared; absent if it still were.
    pub until: Option<Timestamp>,
}

/// What a rule would have done, on the values that are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rehearsal {
    /// The rule.
    pub rule: String,
    /// The time from the first to the last value that was looked at.
    pub span_seconds: f64,
    /// How many alerts would have been, those that are not listed included.
    pub count: u64,
    /// The first thousand of them.
    pub firings: Vec<Firing>,
    /// The same in words.
    pub text: String,
}
