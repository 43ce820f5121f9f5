//! Whether the service itself is well.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(healthz))
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
