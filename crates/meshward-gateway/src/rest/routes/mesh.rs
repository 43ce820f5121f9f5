//! The mesh as a whole.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::model::{Finding, Incident, Page, Status, Topology};
use super::super::problem::Answer;
use super::{Handle, page};

/// The media type of Graphviz.
const DOT: &str = "text/vnd.graphviz; charset=utf-8";

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get_status))
        .routes(routes!(get_topology))
        .routes(routes!(get_topology_dot))
        .routes(routes!(list_findings))
        .routes(routes!(list_incidents))
}

/// The mesh in one look.
///
/// How many nodes are in each state, the score with what it lacks, what looking after the mesh costs, open
/// incidents and raised alerts. Nobody is asked for it.
#[utoipa::path(get, path = "/api/v1/status", tag = "mesh", responses(
    (status = 200, description = "How it is now.", body = Status),
))]
async fn get_status(State(gateway): Handle) -> Answer<Json<Status>> {
    Ok(Json(gateway.with(|now, node, gateway| convert::status(gateway, now, node)).await?))
}

/// The tree as it is.
#[utoipa::path(get, path = "/api/v1/topology", tag = "mesh", responses(
    (status = 200, description = "Nodes in the tree, and what joins them.", body = Topology),
))]
async fn get_topology(State(gateway): Handle) -> Answer<Json<Topology>> {
    Ok(Json(gateway.with(|now, node, gateway| convert::topology(gateway, now, node)).await?))
}

/// The tree in the language of Graphviz.
#[utoipa::path(get, path = "/api/v1/topology.dot", tag = "mesh", responses(
    (status = 200, description = "A directed graph.", body = String, content_type = "text/vnd.graphviz"),
))]
async fn get_topology_dot(State(gateway): Handle) -> Answer<impl IntoResponse> {
    let dot = gateway.with(|_, _, gateway| convert::dot(gateway)).await?;
    Ok(([(header::CONTENT_TYPE, DOT)], dot))
}

/// What somebody should look at.
#[utoipa::path(get, path = "/api/v1/findings", tag = "mesh", responses(
    (status = 200, description = "Findings that are not over.", body = Page<Finding>),
))]
async fn list_findings(State(gateway): Handle) -> Answer<Json<Page<Finding>>> {
    Ok(page(gateway.with(|_, _, gateway| convert::findings(gateway)).await?))
}

/// Losses by their cause.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "mesh", responses(
    (status = 200, description = "Open ones first, then those that are remembered.", body = Page<Incident>),
))]
async fn list_incidents(State(gateway): Handle) -> Answer<Json<Page<Incident>>> {
    Ok(page(gateway.with(|_, _, gateway| convert::incidents(gateway)).await?))
}
