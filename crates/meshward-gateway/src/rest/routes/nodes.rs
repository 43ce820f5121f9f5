//! Nodes, and what people say of them.

use axum::Json;
use axum::extract::State;
use meshward_fleet::registry::LabelError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, NodePath};
use super::super::model::{NewName, Node, Page};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::{Handle, page, unknown};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_nodes)).routes(routes!(get_node)).routes(routes!(set_node_name))
}

/// All nodes that the mesh has shown, in order of id.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", responses(
    (status = 200, description = "Nodes with what they told last.", body = Page<Node>),
))]
async fn list_nodes(State(gateway): Handle) -> Answer<Json<Page<Node>>> {
    Ok(page(gateway.with(|now, _, gateway| convert::nodes(gateway, now)).await?))
}

/// One node.
#[utoipa::path(get, path = "/api/v1/nodes/{id}", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal.")),
    responses((status = 200, description = "What is known of it.", body = Node), Is::<400>, Is::<404>))]
async fn get_node(State(gateway): Handle, NodePath(id): NodePath) -> Answer<Json<Node>> {
    let found = gateway.with(move |now, _, gateway| convert::node(gateway, now, id)).await?;
    found.map(Json).ok_or_else(|| unknown(id))
}

/// Names a node.
///
/// A name is one line of 1 to 64 bytes; null takes it away, and the node may call itself something again.
#[utoipa::path(put, path = "/api/v1/nodes/{id}/name", tag = "nodes",
    params(("id" = u32, Path, description = "Its id, decimal.")), request_body = NewName,
    responses((status = 200, description = "The node by its new name.", body = Node),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>))]
async fn set_node_name(
    State(gateway): Handle,
    NodePath(id): NodePath,
    JsonBody(NewName { name }): JsonBody<NewName>,
) -> Answer<Json<Node>> {
    let named = gateway
        .with(move |now, _, gateway| {
            let registry = gateway.fleet_mut().registry_mut();
            match &name {
                Some(name) => registry.set_name(id, name)?,
                None => registry.clear_name(id),
            }
            convert::node(gateway, now, id).ok_or(LabelError::Unknown(id))
        })
        .await?;
    named.map(Json).map_err(|error| label_refused(error, "name"))
}

/// Why a label was not taken, at its field.
fn label_refused(error: LabelError, field: &str) -> Problem {
    match error {
        LabelError::Unknown(id) => unknown(id),
        error => Problem::value(format!("/{field}"), format!("{field}: {error}")),
    }
}
