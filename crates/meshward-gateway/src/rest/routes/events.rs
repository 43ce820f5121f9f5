//! What has happened.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::extract::{NodePath, QueryOf};
use super::super::model::Events;
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::{Handle, unknown};
use crate::service::Gateway;

/// Most events in one answer.
const EVENTS_MAX: usize = 1_000;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_events)).routes(routes!(list_node_events))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct After {
    /// The number of an event; 0 for all that are kept.
    #[serde(default)]
    #[param(minimum = 0)]
    after: u64,
    /// Only the newest so many, instead of all since an event.
    #[param(minimum = 1, maximum = 1000)]
    last: Option<usize>,
}

/// What has happened since an event, the oldest first.
///
/// The last 4096 events are kept. At most 1000 come at once; go on with `after` set to `next`. With `last` the newest
/// come, and `next` is where to go on with what is still to happen.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(After), responses(
    (status = 200, description = "Events, where to go on, and how many are missing before the first.",
        body = Events),
    Is::<400>,
))]
async fn list_events(
    State(gateway): Handle,
    QueryOf(After { after, last }): QueryOf<After>,
) -> Answer<Json<Events>> {
    if let Some(last) = last {
        if !(1..=EVENTS_MAX).contains(&last) || after > 0 {
            let detail = format!("last is 1 to {EVENTS_MAX}, and stands without after");
            return Err(Problem::parameter("last", detail));
        }
        let newest = move |gateway: &mut Gateway| {
            // They are numbered without gaps.
            let after = gateway.last_event().saturating_sub(last as u64);
            Events { lost: 0, ..convert::events(gateway, after, last) }
        };
        return Ok(Json(gateway.with(move |_, _, gateway| newest(gateway)).await?));
    }
    Ok(Json(gateway.with(move |_, _, gateway| convert::events(gateway, after, EVENTS_MAX)).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NodeAfter {
    /// The number of an event; 0 for all that are kept.
    #[serde(default)]
    #[param(minimum = 0)]
    after: u64,
}

/// What has happened to one node since an event, the oldest first.
///
/// Of the last 4096 events of all nodes. At most 1000 come at once; go on with `after` set to `next`.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/events", tag = "events",
    params(("id" = u32, Path, description = "Its id, decimal."), NodeAfter),
    responses((status = 200, description = "Events that are about it.", body = Events), Is::<400>, Is::<404>))]
async fn list_node_events(
    State(gateway): Handle,
    NodePath(id): NodePath,
    QueryOf(NodeAfter { after }): QueryOf<NodeAfter>,
) -> Answer<Json<Events>> {
    let events = gateway
        .with(move |_, _, gateway| {
            gateway.registry().get(id)?;
            Some(convert::node_events(gateway, id, after, EVENTS_MAX))
        })
        .await?;
    events.map(Json).ok_or_else(|| unknown(id))
}
