//! Whether the service itself is well.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::model::Ready;
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::Handle;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the process serves.
///
/// Says nothing of the mesh; for whoever restarts what hangs.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses(
    (status = 200, description = "It does.", body = String, content_type = "text/plain", example = "ok\n"),
))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether what the service says of the mesh can be relied on.
///
/// It can once nodes are in the tree, or when the gateway has learnt that there are none.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses(
    (status = 200, description = "It can.", body = Ready), Is::<503>,
))]
async fn readyz(State(gateway): Handle) -> Answer<Json<Ready>> {
    let mesh = gateway.with(|_, node, gateway| convert::mesh(gateway, node)).await?;
    if mesh.nodes == 0 && mesh.learning {
        let detail = "no node is in the tree yet, and the gateway is still learning whether there is one";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    Ok(Json(Ready { ready: true, learning: mesh.learning, nodes: mesh.nodes }))
}
