//! One function per route, one file per tag of the description.

mod alerts;
mod channels;
mod events;
mod export;
mod firmware;
mod grafana;
mod history;
mod mesh;
mod nodes;
mod queries;
mod rollouts;
mod rules;
mod service;
mod socket;
mod stream;
mod waves;
mod windows;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use meshward_core::wire::NodeId;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use super::api::Api;
use super::problem::Problem;
use super::{conditional, idempotency, kept, openapi};
use crate::service::Gateway;
use crate::shell::NodeHandle;

/// The way to the gateway, as handlers take it.
type Handle = axum::extract::State<NodeHandle<Gateway>>;

/// All routes, and what they say of themselves.
pub(super) fn described() -> (Router<Api>, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::base())
        .merge(service::router())
        .merge(crate::prometheus::router())
        .merge(super::access::routes::router())
        .merge(mesh::router())
        .merge(nodes::router())
        .merge(queries::router())
        .merge(alerts::router())
        .merge(rules::router())
        .merge(windows::router())
        .merge(channels::router())
        .merge(events::router())
        .merge(stream::router())
        .merge(socket::router())
        .merge(history::router())
        .merge(export::router())
        .merge(grafana::router())
        .merge(firmware::router())
        .merge(rollouts::router())
        .split_for_parts();
    openapi::finish(&mut document);
    (router, document)
}

/// The whole interface.
pub(super) fn router(api: Api) -> Router {
    let (routes, document) = described();
    // As text: the document itself takes ten times as much, and every method of the route would have one of its own.
    let document = openapi::served(&document);
    let docs = utoipa_swagger_ui::Config::from("/api/v1/openapi.json").validator_url("none");
    routes
        .route("/api/v1/openapi.json", get(move || std::future::ready(document.clone())))
        .merge(SwaggerUi::new("/api/v1/docs").config(docs))
        .route_layer(from_fn_with_state(api.clone(), kept::audited))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method: see `Allow`")
        })
        .fallback(async || Problem::not_found("there is nothing at this path"))
        .layer(from_fn(conditional::tag))
        .layer(from_fn_with_state(api.clone(), idempotency::once))
        .with_state(api)
}

fn unknown(id: NodeId) -> Problem {
    Problem::not_found(format!("the mesh has never shown a node {id}"))
}
