//! Roll-outs in waves: what a plan comes to, what people decide, and what came of it.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, PathOf};
use super::super::model::{NewRollout, Rollout, RolloutPreview};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::rollouts::{checked, control, refused, uncontrolled};
use crate::service::{Control, ControlError, RolloutError};
use crate::shell::Stopped;

/// What a report is for people.
const MARKDOWN: &str = "text/markdown";

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(preview_rollout))
        .routes(routes!(approve_rollout))
        .routes(routes!(roll_back))
        .routes(routes!(report_rollout))
}

/// What a plan comes to: who would be in which wave, and what it takes.
///
/// Everything that makes no sense in the plan, by itself or in this mesh, is told at once, each with a pointer. The
/// nodes are asked what they are, which takes seconds; nothing is sent to be installed. Without `plan` it is the
/// default one.
#[utoipa::path(post, path = "/api/v1/rollout-previews", tag = "rollouts", request_body = NewRollout,
    responses((status = 200, description = "Its waves, and the forecast.", body = RolloutPreview),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn preview_rollout(
    State(api): State<Api>,
    JsonBody(new): JsonBody<NewRollout>,
) -> Answer<Json<RolloutPreview>> {
    let mut request = checked(new)?;
    let plan = request.plan.get_or_insert_default().clone();
    api.fetch_firmware(request.firmware).await?;
    let (gateway, asked) = (&api.gateway, request.clone());
    let answer = gateway.with(move |now, node, gateway| gateway.forecast_waves(now, node, &asked)).await?;
    let answer = answer.map_err(refused)?.await.map_err(|_gone| Stopped)?;
    let forecast = answer.map_err(|why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))?;
    let shown = gateway.with(move |now, node, gateway| {
        let previewed = gateway.preview(now, node, &request, &forecast)?;
        Ok::<_, RolloutError>(convert::preview(gateway, plan, &previewed, &forecast))
    });
    Ok(Json(shown.await?.map_err(refused)?))
}

/// Lets the wave begin that waits, or go on in spite of what stopped it.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/approve", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn approve_rollout(api: State<Api>, who: Principal, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    control(api, &who, id, Control::Approve).await
}

/// Takes whoever was updated back to the image before, also after the end.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/rollback", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn roll_back(api: State<Api>, who: Principal, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    // The gateway may have forgotten the image since it ended.
    if let Some(sum) = api.gateway.with(move |_, _, gateway| gateway.ended_image(id)).await? {
        api.fetch_firmware(sum).await?;
    }
    control(api, &who, id, Control::RollBack).await
}

/// What came of a roll-out in waves: every node by name, and what gates found. As a page with `Accept: text/markdown`.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}/report", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "How it stands, or ended.", content(
            (serde_json::Value = "application/json"), (String = "text/markdown"))),
        Is::<400>, Is::<404>))]
async fn report_rollout(
    State(api): State<Api>,
    PathOf(id): PathOf<u64>,
    headers: HeaderMap,
) -> Answer<Response> {
    let known = api
        .gateway
        .with(move |now, node, gateway| (gateway.report(now, id), gateway.rollout(now, node, id).is_some()));
    let (report, known) = known.await?;
    let report = match report {
        Some(report) => Some(report),
        None => api.kept_report(id).await?,
    };
    let Some(report) = report else {
        let unknown = || uncontrolled(ControlError::Unknown(id));
        let why = format!("roll-out {id} has no plan: its nodes are in the roll-out itself");
        return Err(if known { Problem::not_found(why) } else { unknown() });
    };
    let wanted = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let page = wanted.flat_map(|accept| accept.split(',')).any(|one| one.trim().starts_with(MARKDOWN));
    let vary = (header::VARY, "accept");
    Ok(if page {
        let kind = (header::CONTENT_TYPE, "text/markdown; charset=utf-8");
        ([vary, kind], report.markdown()).into_response()
    } else {
        ([vary], Json(report)).into_response()
    })
}
