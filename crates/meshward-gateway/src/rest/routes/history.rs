//! What was measured and done, for longer than the gateway itself remembers: from its database.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use meshward_core::telemetry::Metric;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert::{self, hex};
use super::super::extract::{NodePath, PathOf, QueryOf};
use super::super::model::{Audit, AuditLine, History, PastEvents, Point, TopologyChange, TopologyChanges};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::unknown;
use crate::store::{self, Aggregate, EVENTS_PER_PAGE_MAX, EventFilter, HistoryQuery, Store};

/// Lines of the audit in one answer.
const AUDIT_MAX: u32 = 500;
/// Changes of the tree in one answer.
const CHANGES_MAX: u32 = 1_000;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(node_history))
        .routes(routes!(list_past_events))
        .routes(routes!(list_topology_changes))
        .routes(routes!(list_audit))
}

impl Api {
    pub(super) fn database(&self) -> Answer<&Store> {
        let missing = "this gateway keeps nothing (store.url is none), so it knows no more than the present";
        self.store.as_ref().ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, missing))
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Span {
    /// Which metrics, by name, separated by commas; all of them if absent.
    #[param(example = "free_heap_bytes,rssi_dbm")]
    metrics: Option<String>,
    /// From when, RFC 3339; a day before `to` if absent.
    from: Option<Timestamp>,
    /// To before when, RFC 3339; now if absent.
    to: Option<Timestamp>,
    /// How long a point is, in seconds; 0 lets the gateway choose.
    #[serde(default)]
    #[param(minimum = 0, maximum = 31_536_000)]
    step: u32,
    /// What becomes of the values of a step: `min`, `max`, `avg` or `last`.
    #[serde(default)]
    #[param(inline)]
    agg: Agg,
}

#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Agg {
    Min,
    Max,
    #[default]
    Avg,
    Last,
}

/// What a node measured.
///
/// Every value for 48 hours, minutes for 90 days, hours for five years; at most 5 000 points of a metric, so longer
/// steps are taken where they would be more.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/history", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal."), Span),
    responses((status = 200, description = "Points of each metric.", body = History), Is::<400>, Is::<404>))]
async fn node_history(
    State(api): State<Api>,
    NodePath(id): NodePath,
    QueryOf(span): QueryOf<Span>,
) -> Answer<Json<History>> {
    let known = api.gateway.with(move |_, _, gateway| gateway.registry().get(id).is_some());
    if !known.await? {
        return Err(unknown(id));
    }
    let store = api.database()?;
    let (from, to) = within(span.from, span.to)?;
    let metrics: Vec<String> = match &span.metrics {
        Some(named) => named.split(',').map(|name| name.trim().to_owned()).collect(),
        None => Metric::ALL.iter().map(|metric| metric.name().to_owned()).collect(),
    };
    if let Some(name) = metrics.iter().find(|name| Metric::named(name).is_none()) {
        return Err(Problem::parameter("metrics", format!("there is no metric `{name}`")));
    }
    let found = store.history(&HistoryQuery { node: id.0, metrics, from, to, step_s: span.step }).await?;
    let aggregate = match span.agg {
        Agg::Min => Aggregate::Min,
        Agg::Max => Aggregate::Max,
        Agg::Avg => Aggregate::Avg,
        Agg::Last => Aggregate::Last,
    };
    let point = |point: store::Point| Point {
        at: point.at,
        value: point.value(aggregate),
        min: point.min,
        max: point.max,
        count: point.count,
    };
    let series = found.series.into_iter().filter(|(_, points)| !points.is_empty());
    let series = series.map(|(name, points)| (name, points.into_iter().map(point).collect()));
    Ok(Json(History { step_seconds: found.step_s, series: series.collect() }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only of this node.
    node: Option<u32>,
    /// Only of this kind.
    #[param(example = "alert")]
    kind: Option<String>,
    /// Not before, RFC 3339.
    from: Option<Timestamp>,
    /// Before, RFC 3339.
    to: Option<Timestamp>,
    /// Only events with lower numbers.
    #[param(minimum = 0)]
    before: Option<u64>,
    /// Most events in the answer.
    #[serde(default = "usual")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
}

const fn usual() -> u32 {
    100
}

/// What has happened, as far back as events are kept, the newest first.
///
/// Of the present the last half second may be missing: `/api/v1/events` has it.
#[utoipa::path(get, path = "/api/v1/events/history", tag = "events", params(Wanted), responses(
    (status = 200, description = "Events, and where to go on.", body = PastEvents), Is::<400>, Is::<404>))]
async fn list_past_events(
    State(api): State<Api>,
    QueryOf(wanted): QueryOf<Wanted>,
) -> Answer<Json<PastEvents>> {
    let Wanted { node, kind, from, to, before, limit } = wanted;
    if !(1..=EVENTS_PER_PAGE_MAX).contains(&limit) {
        let detail = format!("limit {limit} is out of range: take 1 to {EVENTS_PER_PAGE_MAX}");
        return Err(Problem::parameter("limit", detail));
    }
    let filter = EventFilter { node, kind, from, to, before, after: None };
    let rows = api.database()?.events(&filter, limit).await?;
    let next = rows.last().map(|row| row.id).filter(|id| *id > 1 && rows.len() == limit as usize);
    Ok(Json(PastEvents { items: rows.into_iter().filter_map(convert::past_event).collect(), next }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Within {
    /// From when, RFC 3339; a day before `to` if absent.
    from: Option<Timestamp>,
    /// To before when, RFC 3339; now if absent.
    to: Option<Timestamp>,
}

/// From when to when; a day that ends now where nothing is said.
pub(super) fn within(from: Option<Timestamp>, to: Option<Timestamp>) -> Answer<(Timestamp, Timestamp)> {
    let to = to.unwrap_or_else(Timestamp::now);
    let day = to.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
    let from = from.unwrap_or(day);
    if from < to {
        return Ok((from, to));
    }
    Err(Problem::parameter("from", format!("from {from} is not before to {to}")))
}

/// When the tree of a mesh changed, the newest first; `/topology/history` has what it was then.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}/topology/changes", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name."), Within),
    responses((status = 200, description = "At most 1000 changes.", body = TopologyChanges),
        Is::<400>, Is::<404>))]
async fn list_topology_changes(
    State(api): State<Api>,
    PathOf(name): PathOf<String>,
    QueryOf(Within { from, to }): QueryOf<Within>,
) -> Answer<Json<TopologyChanges>> {
    super::mesh::named(&State(api.gateway.clone()), &name).await?;
    let (from, to) = within(from, to)?;
    let rows = api.database()?.topology_changes(from, to, CHANGES_MAX).await?;
    let more = rows.len() == CHANGES_MAX as usize;
    let items = rows.into_iter().map(|(revision, at)| TopologyChange { revision, at }).collect();
    Ok(Json(TopologyChanges { items, more }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Before {
    /// Only lines before the one with this number.
    #[param(minimum = 0)]
    before: Option<u64>,
}

/// What was done, by whom, the newest first.
///
/// Each line has the SHA-256 of the one before in its own, so a line that was changed or removed shows.
#[utoipa::path(get, path = "/api/v1/audit", tag = "service", params(Before), responses(
    (status = 200, description = "At most 500 lines.", body = Audit), Is::<400>, Is::<404>))]
async fn list_audit(
    State(api): State<Api>,
    QueryOf(Before { before }): QueryOf<Before>,
) -> Answer<Json<Audit>> {
    let rows = api.database()?.audit(before, AUDIT_MAX).await?;
    let next = rows.last().map(|row| row.seq).filter(|seq| *seq > 1 && rows.len() == AUDIT_MAX as usize);
    let line = |row: store::AuditRow| AuditLine {
        seq: row.seq,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        detail: serde_json::from_str(&row.detail).unwrap_or_default(),
        hash: hex(&row.hash),
    };
    Ok(Json(Audit { items: rows.into_iter().map(line).collect(), next }))
}
