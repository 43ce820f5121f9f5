//! The mesh as a whole, by its name and, since there is one, without it.

use axum::Json;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::extract::{PathOf, QueryOf};
use super::super::model::{Finding, Health, Incident, Mesh, Overhead, Page, PastTopology, Status, Topology};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::Handle;

/// The media type of Graphviz.
const DOT: &str = "text/vnd.graphviz; charset=utf-8";

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get_status))
        .routes(routes!(get_health))
        .routes(routes!(get_topology))
        .routes(routes!(get_topology_dot))
        .routes(routes!(list_findings))
        .routes(routes!(list_incidents))
        .routes(routes!(list_meshes))
        .routes(routes!(get_mesh))
        .routes(routes!(get_mesh_status))
        .routes(routes!(get_mesh_health))
        .routes(routes!(get_mesh_topology))
        .routes(routes!(get_mesh_topology_dot))
        .routes(routes!(get_mesh_topology_history))
        .routes(routes!(get_mesh_overhead))
        .routes(routes!(get_status_short))
        .routes(routes!(get_health_short))
        .routes(routes!(get_topology_short))
}

async fn status(State(gateway): Handle) -> Answer<Json<Status>> {
    Ok(Json(gateway.with(|now, node, gateway| convert::status(gateway, now, node)).await?))
}

async fn health(State(gateway): Handle) -> Answer<Json<Health>> {
    Ok(Json(gateway.with(|now, _, gateway| convert::health(gateway, now)).await?))
}

async fn topology(State(gateway): Handle) -> Answer<Json<Topology>> {
    Ok(Json(gateway.with(|now, node, gateway| convert::topology(gateway, now, node)).await?))
}

async fn dot(State(gateway): Handle) -> Answer<Response> {
    let dot = gateway.with(|_, _, gateway| convert::dot(gateway)).await?;
    Ok(([(header::CONTENT_TYPE, DOT)], dot).into_response())
}

/// The mesh of that name.
pub(super) async fn named(State(gateway): &Handle, name: &str) -> Answer<Mesh> {
    let mesh = gateway.with(|_, node, gateway| convert::mesh(gateway, node)).await?;
    if mesh.id == name {
        return Ok(mesh);
    }
    let known = &mesh.id;
    Err(Problem::not_found(format!("there is no mesh `{name}`: this gateway looks after `{known}`")))
}

/// The mesh in one look.
///
/// How many nodes are in each state, the score with what it lacks, what looking after the mesh costs, open
/// incidents and raised alerts. Nobody is asked for it.
#[utoipa::path(get, path = "/api/v1/status", tag = "mesh",
    responses((status = 200, description = "How it is now.", body = Status)))]
async fn get_status(gateway: Handle) -> Answer<Json<Status>> {
    status(gateway).await
}

/// How well the mesh is.
#[utoipa::path(get, path = "/api/v1/health", tag = "mesh",
    responses((status = 200, description = "Its score, and what it lacks.", body = Health)))]
async fn get_health(gateway: Handle) -> Answer<Json<Health>> {
    health(gateway).await
}

/// The tree as it is.
#[utoipa::path(get, path = "/api/v1/topology", tag = "mesh",
    responses((status = 200, description = "Nodes in the tree, and what joins them.", body = Topology)))]
async fn get_topology(gateway: Handle) -> Answer<Json<Topology>> {
    topology(gateway).await
}

/// The tree in the language of Graphviz.
#[utoipa::path(get, path = "/api/v1/topology.dot", tag = "mesh",
    responses((status = 200, description = "A directed graph.", body = String, content_type = "text/vnd.graphviz")))]
async fn get_topology_dot(gateway: Handle) -> Answer<Response> {
    dot(gateway).await
}

/// A mesh in one look.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}/status", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name.")),
    responses((status = 200, description = "How it is now.", body = Status), Is::<400>, Is::<404>))]
async fn get_mesh_status(gateway: Handle, PathOf(name): PathOf<String>) -> Answer<Json<Status>> {
    named(&gateway, &name).await?;
    status(gateway).await
}

/// How well a mesh is.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}/health", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name.")),
    responses((status = 200, description = "Its score, and what it lacks.", body = Health), Is::<400>, Is::<404>))]
async fn get_mesh_health(gateway: Handle, PathOf(name): PathOf<String>) -> Answer<Json<Health>> {
    named(&gateway, &name).await?;
    health(gateway).await
}

/// The tree of a mesh as it is.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}/topology", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name.")),
    responses((status = 200, description = "Nodes in the tree, and what joins them.", body = Topology), Is::<400>, Is::<404>))]
async fn get_mesh_topology(gateway: Handle, PathOf(name): PathOf<String>) -> Answer<Json<Topology>> {
    named(&gateway, &name).await?;
    topology(gateway).await
}

/// The tree of a mesh in the language of Graphviz.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}/topology.dot", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name.")),
    responses((status = 200, description = "A directed graph.", body = String, content_type = "text/vnd.graphviz"), Is::<400>, Is::<404>))]
async fn get_mesh_topology_dot(gateway: Handle, PathOf(name): PathOf<String>) -> Answer<Response> {
    named(&gateway, &name).await?;
    dot(gateway).await
}

/// The mesh in one look: short for `/api/v1/status`.
#[utoipa::path(get, path = "/status", tag = "mesh",
    responses((status = 200, description = "How it is now.", body = Status)))]
async fn get_status_short(gateway: Handle) -> Answer<Json<Status>> {
    status(gateway).await
}

/// How well the mesh is: short for `/api/v1/health`.
#[utoipa::path(get, path = "/health", tag = "mesh",
    responses((status = 200, description = "Its score, and what it lacks.", body = Health)))]
async fn get_health_short(gateway: Handle) -> Answer<Json<Health>> {
    health(gateway).await
}

/// The tree as it is: short for `/api/v1/topology`.
#[utoipa::path(get, path = "/topology", tag = "mesh",
    responses((status = 200, description = "Nodes in the tree, and what joins them.", body = Topology)))]
async fn get_topology_short(gateway: Handle) -> Answer<Json<Topology>> {
    topology(gateway).await
}

/// The meshes that this gateway looks after: one.
#[utoipa::path(get, path = "/api/v1/meshes", tag = "mesh", params(Paging), responses(
    (status = 200, description = "The mesh.", body = Page<Mesh>), Is::<400>,
))]
async fn list_meshes(State(gateway): Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let mesh = gateway.with(|_, node, gateway| convert::mesh(gateway, node)).await?;
    let page = paging.cut(vec![mesh], ("id", false), |mesh| Place(0.0, mesh.id.clone(), 0))?;
    Ok(linked(&uri, page))
}

/// One mesh.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The mesh.", body = Mesh), Is::<400>, Is::<404>))]
async fn get_mesh(gateway: Handle, PathOf(name): PathOf<String>) -> Answer<Json<Mesh>> {
    named(&gateway, &name).await.map(Json)
}

/// What keeping an eye on a mesh costs its channel.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}/overhead", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name.")),
    responses((status = 200, description = "Shares of the channel's time.", body = Overhead),
        Is::<400>, Is::<404>))]
async fn get_mesh_overhead(gateway: Handle, PathOf(name): PathOf<String>) -> Answer<Json<Overhead>> {
    named(&gateway, &name).await?;
    let State(gateway) = gateway;
    Ok(Json(gateway.with(|now, _, gateway| convert::overhead(gateway, now)).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct When {
    /// The time (RFC 3339); now when absent.
    at: Option<Timestamp>,
}

/// The tree of a mesh as it was.
///
/// As far back as its changes are kept: the last ones by the gateway itself, those before in its database; before
/// that it is 404. Revisions of the database are numbers of their own.
#[utoipa::path(get, path = "/api/v1/meshes/{mesh}/topology/history", tag = "mesh",
    params(("mesh" = String, Path, description = "Its name."), When),
    responses((status = 200, description = "What joined the nodes then.", body = PastTopology),
        Is::<400>, Is::<404>))]
async fn get_mesh_topology_history(
    State(api): State<Api>,
    PathOf(name): PathOf<String>,
    QueryOf(When { at }): QueryOf<When>,
) -> Answer<Json<PastTopology>> {
    named(&State(api.gateway.clone()), &name).await?;
    let found = api
        .gateway
        .with(move |now, _, gateway| {
            let at = at.map(convert::system_time);
            if at.is_some_and(|at| at < gateway.began()) {
                return None;
            }
            convert::topology_at(gateway, at.map_or(now, |at| gateway.instant(at).min(now)))
        })
        .await?;
    let found = match (found, at, &api.store) {
        (None, Some(at), Some(store)) => {
            let row = store.topology_at(at).await?;
            // One of a version whose words were others is not shown rather than shown wrongly.
            row.and_then(|row| {
                let tree: PastTopology = serde_json::from_str(&row.tree).ok()?;
                Some(PastTopology { revision: row.revision, ..tree })
            })
        }
        (found, ..) => found,
    };
    found.map(Json).ok_or_else(|| Problem::not_found("the tree of that time is not kept any more"))
}

/// What somebody should look at.
#[utoipa::path(get, path = "/api/v1/findings", tag = "mesh", params(Paging), responses(
    (status = 200, description = "Findings that are not over, the newest first.", body = Page<Finding>), Is::<400>,
))]
async fn list_findings(State(gateway): Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let findings = gateway.with(|_, _, gateway| convert::findings(gateway)).await?;
    let place = |finding: &Finding| {
        Place(-(finding.since.as_millisecond() as f64), finding.kind.clone(), finding.node.into())
    };
    Ok(linked(&uri, paging.cut(findings, ("since", false), place)?))
}

/// Losses by their cause.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "mesh", params(Paging), responses(
    (status = 200, description = "Open ones first, then those that are remembered; of both the newest first.",
        body = Page<Incident>),
    Is::<400>,
))]
async fn list_incidents(State(gateway): Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let incidents = gateway.with(|_, _, gateway| convert::incidents(gateway)).await?;
    let place = |incident: &Incident| {
        Place(f64::from(u8::from(incident.closed_at.is_none())), String::new(), incident.id)
    };
    Ok(linked(&uri, paging.cut(incidents, ("open", true), place)?))
}
