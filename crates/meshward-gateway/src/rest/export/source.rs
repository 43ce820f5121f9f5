//! Where the rows of a download come from, some at a time.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use meshward_core::telemetry::Metric;
use meshward_core::wire::NodeId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::convert::{self, hex};
use super::super::model::AuditLine;
use super::ExportError;
use crate::service::Gateway;
use crate::shell::NodeHandle;
use crate::store::{EVENTS_PER_PAGE_MAX, EventFilter, HistoryQuery, Store};

/// Nodes that are described at once: the node's task does that.
const NODES_MAX: usize = 50;
/// Lines of the audit that are read at once.
const AUDIT_MAX: u32 = 500;
/// Every value is kept for so long; a download takes this in pieces of [`FINE`], and what is older in pieces of
/// [`COARSE`], so that no piece is longer than what the store gives at once at its full resolution.
const RECENT: SignedDuration = SignedDuration::from_hours(48);
const FINE: SignedDuration = SignedDuration::from_hours(6);
const COARSE: SignedDuration = SignedDuration::from_hours(48);

/// What is known of a node beside its values, as columns.
const NODE: [&str; 13] = [
    "id",
    "name",
    "state",
    "since",
    "last_heard_at",
    "family",
    "joins",
    "parent",
    "hops",
    "root",
    "tags",
    "score",
    "version",
];

/// From when to when; `None` is as far as there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Span {
    pub(in super::super) from: Option<Timestamp>,
    pub(in super::super) to: Option<Timestamp>,
}

impl Span {
    fn has(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

/// See the module's page.
pub(in super::super) enum Source {
    /// Nodes that are still to come; `None` before they are known.
    Nodes { gateway: NodeHandle<Gateway>, left: Option<VecDeque<NodeId>> },
    /// What nodes measured.
    Telemetry(Box<Telemetry>),
    /// Events of the database, after the one of this number.
    Events { store: Store, span: Span, after: u64 },
    /// Events that the gateway itself remembers.
    Recent { gateway: NodeHandle<Gateway>, span: Span, after: u64 },
    /// Alerts, once.
    Alerts { gateway: NodeHandle<Gateway>, span: Span, done: bool },
    /// Lines of the audit, before the one of this number; nothing at the end.
    Audit { store: Store, span: Span, before: Option<u64>, done: bool },
}

/// Values, a piece of time after the other and in each a node after the other.
pub(in super::super) struct Telemetry {
    pub(in super::super) store: Store,
    pub(in super::super) metrics: Vec<String>,
    /// Where the piece that is under way begins, and where all ends.
    pub(in super::super) from: Timestamp,
    pub(in super::super) to: Timestamp,
    pub(in super::super) nodes: Vec<NodeId>,
    /// The node that comes next in this piece.
    pub(in super::super) next: usize,
}

fn value(row: &impl Serialize) -> Value {
    // What is answered as JSON always becomes JSON.
    serde_json::to_value(row).unwrap_or_default()
}

impl Source {
    /// The columns of a table.
    pub(super) fn columns(&self) -> Vec<String> {
        let fixed: &[&str] = match self {
            Self::Nodes { .. } => {
                let metrics = Metric::ALL.iter().map(|metric| metric.name());
                return NODE.into_iter().chain(metrics).map(str::to_owned).collect();
            }
            Self::Telemetry(_) => &["at", "node", "metric", "avg", "min", "max", "last", "count"],
            Self::Events { .. } | Self::Recent { .. } => &["id", "at", "kind", "name", "node", "text"],
            Self::Alerts { .. } => &[
                "fingerprint",
                "rule",
                "severity",
                "subject",
                "node",
                "state",
                "active",
                "since",
                "raised_at",
                "times",
                "value",
                "evidence",
                "known_by",
                "assigned_to",
                "suppressed_by",
            ],
            Self::Audit { .. } => &["seq", "at", "actor", "action", "subject", "detail", "hash"],
        };
        fixed.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A row as a table has it: its values by the columns' names.
    pub(super) fn flat(&self, row: &Value) -> Value {
        let mut flat = row.clone();
        let (Self::Nodes { .. }, Some(object)) = (self, flat.as_object_mut()) else { return flat };
        flatten(object);
        flat
    }

    /// The next rows; nothing when there are no more. None at all are no end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Value>>, ExportError> {
        match self {
            Self::Nodes { gateway, left } => nodes(gateway, left).await,
            Self::Telemetry(telemetry) => telemetry.next().await,
            Self::Events { store, span, after } => {
                let filter = EventFilter {
                    from: span.from,
                    to: span.to,
                    after: Some(*after),
                    ..EventFilter::default()
                };
                let rows = store.events(&filter, EVENTS_PER_PAGE_MAX).await?;
                let Some(last) = rows.last() else { return Ok(None) };
                *after = last.id;
                Ok(Some(
                    rows.into_iter().filter_map(convert::past_event).map(|event| value(&event)).collect(),
                ))
            }
            Self::Recent { gateway, span, after } => {
                let (span, from) = (*span, *after);
                let events = gateway
                    .with(move |_, _, gateway| convert::events(gateway, from, EVENTS_PER_PAGE_MAX as usize));
                let events = events.await?;
                if events.next == *after {
                    return Ok(None);
                }
                *after = events.next;
                Ok(Some(events.items.iter().filter(|event| span.has(event.at)).map(value).collect()))
            }
            Self::Alerts { gateway, span, done } => {
                if std::mem::replace(done, true) {
                    return Ok(None);
                }
                let alerts = gateway.with(|_, _, gateway| convert::alerts(gateway)).await?;
                Ok(Some(alerts.iter().filter(|alert| span.has(alert.since)).map(value).collect()))
            }
            Self::Audit { store, span, before, done } => {
                if *done {
                    return Ok(None);
                }
                let rows = store.audit(*before, AUDIT_MAX).await?;
                *before = rows.last().map(|row| row.seq);
                let older = |from: Timestamp| rows.last().is_some_and(|row| row.at < from);
                *done = rows.len() < AUDIT_MAX as usize || span.from.is_some_and(older);
                let line = |row: crate::store::AuditRow| AuditLine {
                    seq: row.seq,
                    at: row.at,
                    actor: row.actor,
                    action: row.action,
                    subject: row.subject,
                    detail: serde_json::from_str(&row.detail).unwrap_or_default(),
                    hash: hex(&row.hash),
                };
                Ok(Some(
                    rows.into_iter().filter(|row| span.has(row.at)).map(|row| value(&line(row))).collect(),
                ))
            }
        }
    }
}

/// Puts a node's score, version and values among its other columns.
fn flatten(node: &mut Map<String, Value>) {
    let score = node.get("score").and_then(|score| score.get("points")).cloned().unwrap_or_default();
    let list = |node: &mut Map<String, Value>, field| match node.remove(field) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let (metrics, facts) = (list(node, "metrics"), list(node, "facts"));
    let version = facts.iter().find(|fact| fact["topic"] == "version").map(|fact| fact["text"].clone());
    node.insert("score".to_owned(), score);
    node.extend(version.map(|version| ("version".to_owned(), version)));
    for metric in metrics {
        if let Some(name) = metric["name"].as_str() {
            node.insert(name.to_owned(), metric["value"].clone());
        }
    }
}

async fn nodes(
    gateway: &NodeHandle<Gateway>,
    left: &mut Option<VecDeque<NodeId>>,
) -> Result<Option<Vec<Value>>, ExportError> {
    let left = match left {
        Some(left) => left,
        None => left.insert(known(gateway).await?.into()),
    };
    let next: Vec<NodeId> = left.drain(..left.len().min(NODES_MAX)).collect();
    if next.is_empty() {
        return Ok(None);
    }
    // One that was forgotten meanwhile is left out.
    let described = gateway.with(move |now, _, gateway| {
        next.into_iter().filter_map(|id| convert::node(gateway, now, id)).collect::<Vec<_>>()
    });
    Ok(Some(described.await?.iter().map(value).collect()))
}

/// All nodes that are known.
pub(in super::super) async fn known(
    gateway: &NodeHandle<Gateway>,
) -> Result<Vec<NodeId>, crate::shell::Stopped> {
    gateway.with(|_, _, gateway| gateway.registry().iter().map(|(id, _)| id).collect()).await
}

impl Telemetry {
    async fn next(&mut self) -> Result<Option<Vec<Value>>, ExportError> {
        if self.from >= self.to {
            return Ok(None);
        }
        let end = piece(self.from, self.to, Timestamp::now());
        let Some(node) = self.nodes.get(self.next).copied() else {
            (self.from, self.next) = (end, 0);
            return Ok(Some(Vec::new()));
        };
        self.next += 1;
        let query =
            HistoryQuery { node: node.0, metrics: self.metrics.clone(), from: self.from, to: end, step_s: 0 };
        let found = self.store.history(&query).await?;
        let row = |metric: &str, point: &crate::store::Point| {
            json!({
                "at": point.at, "node": node.0, "metric": metric, "avg": point.avg, "min": point.min,
                "max": point.max, "last": point.last, "count": point.count,
            })
        };
        let series = found.series.iter();
        Ok(Some(series.flat_map(|(name, points)| points.iter().map(move |point| row(name, point))).collect()))
    }
}

/// Where the piece of time ends that begins at `from`.
fn piece(from: Timestamp, to: Timestamp, now: Timestamp) -> Timestamp {
    let recent = now.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
    let long = |span| from.checked_add(span).unwrap_or(Timestamp::MAX);
    let end = if from >= recent { long(FINE) } else { long(COARSE).min(recent) };
    end.min(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_all_and_end_where_every_value_is_kept() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-03-10T00:00:00Z");
        let (mut from, to) = (at("2026-03-01T12:00:00Z"), at("2026-03-09T07:00:00Z"));
        let mut ends = Vec::new();
        while from < to {
            from = piece(from, to, now);
            ends.push(from.to_string());
        }
        let expected = [
            "2026-03-03T12:00:00Z",
            "2026-03-05T12:00:00Z",
            "2026-03-07T12:00:00Z",
            "2026-03-08T00:00:00Z",
            "2026-03-08T06:00:00Z",
            "2026-03-08T12:00:00Z",
            "2026-03-08T18:00:00Z",
            "2026-03-09T00:00:00Z",
            "2026-03-09T06:00:00Z",
            "2026-03-09T07:00:00Z",
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn a_nodes_values_become_columns() {
        let mut node = json!({
            "id": 7, "score": {"points": 90, "level": "ok"}, "tags": ["a"],
            "metrics": [{"name": "rssi_dbm", "value": -61.0}],
            "facts": [{"topic": "hardware", "text": "ESP32"}, {"topic": "version", "text": "1.4.2"}],
        });
        flatten(node.as_object_mut().unwrap());
        let flat = json!({"id": 7, "score": 90, "tags": ["a"], "rssi_dbm": -61.0, "version": "1.4.2"});
        assert_eq!(node, flat);
    }
}
