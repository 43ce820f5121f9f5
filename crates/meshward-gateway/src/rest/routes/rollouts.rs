//! Bringing images to nodes.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use meshward_core::node::Node as MeshNode;
use meshward_core::ota::StartError;
use meshward_core::wire::NodeId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, PathOf, QueryOf};
use super::super::model::{Activation, Forecast, NewRollout, Page, Rollout};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::Handle;
use crate::service::{Control, ControlError, Gateway, RolloutError, RolloutRequest};
use crate::shell::Stopped;

/// Longest role and hardware, in bytes.
const WORD_MAX: usize = 64;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(reckon_forecast))
        .routes(routes!(list_rollouts, start_rollout))
        .routes(routes!(get_rollout))
        .routes(routes!(activate_rollout))
        .routes(routes!(pause_rollout))
        .routes(routes!(resume_rollout))
        .routes(routes!(abort_rollout))
        .merge(super::waves::router())
}

/// The roll-outs that are remembered, the newest first.
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "rollouts", params(Paging), responses(
    (status = 200, description = "Roll-outs: the last 50 of this start, and 200 of before where a database is kept.", body = Page<Rollout>), Is::<400>,
))]
async fn list_rollouts(State(api): State<Api>, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let list = |now, node: &mut MeshNode, gateway: &mut Gateway| {
        let rollouts = gateway.rollouts(now, node);
        rollouts.iter().map(|rollout| convert::rollout(gateway, node, rollout)).collect()
    };
    let mut rollouts: Vec<Rollout> = api.gateway.with(list).await?;
    let earlier = api.earlier_rollouts(u64::MAX).await?;
    let of_now: Vec<u64> = rollouts.iter().map(|rollout| rollout.id).collect();
    rollouts.extend(earlier.into_iter().filter(|rollout| !of_now.contains(&rollout.id)));
    let page = paging.cut(rollouts, ("id", true), |rollout| Place(0.0, String::new(), rollout.id))?;
    Ok(linked(&uri, page))
}

/// One roll-out.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "Where it is.", body = Rollout), Is::<400>, Is::<404>))]
async fn get_rollout(State(api): State<Api>, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    let found = api.gateway.with(move |now, node, gateway| {
        let rollout = gateway.rollout(now, node, id)?;
        Some(convert::rollout(gateway, node, &rollout))
    });
    if let Some(found) = found.await? {
        return Ok(Json(found));
    }
    let earlier = api.earlier_rollouts(id.saturating_add(1)).await?.into_iter().next();
    let earlier = earlier.filter(|rollout| rollout.id == id);
    earlier.map(Json).ok_or_else(|| uncontrolled(ControlError::Unknown(id)))
}

pub(super) fn checked(new: NewRollout) -> Answer<RolloutRequest> {
    let firmware = convert::parse_sha256(&new.firmware).ok_or_else(|| {
        let detail = format!("firmware `{}` is not a SHA-256 in hexadecimal", new.firmware);
        Problem::value("/firmware", detail)
    })?;
    if !(1..=64).contains(&new.concurrency) {
        let detail = format!("concurrency {} is out of range: take 1 to 64", new.concurrency);
        return Err(Problem::value("/concurrency", detail));
    }
    for (field, word) in [("role", new.role.as_deref().unwrap_or_default()), ("hardware", &*new.hardware)] {
        if word.len() > WORD_MAX {
            let detail = format!("{field} is too long: take at most {WORD_MAX} bytes");
            return Err(Problem::value(format!("/{field}"), detail));
        }
    }
    Ok(RolloutRequest {
        firmware,
        role: new.role,
        hardware: new.hardware,
        scheme: convert::own_scheme(new.scheme),
        nodes: new.nodes.map(|nodes| nodes.into_iter().map(NodeId).collect()),
        force_image: new.force_image,
        confirm_receiver: new.confirm_receiver,
        slot_size: new.slot_size,
        part_size: new.part_size,
        concurrency: new.concurrency as usize,
        hold: new.hold,
        airtime: new.airtime,
        plan: new.plan,
    })
}

pub(super) fn refused(error: RolloutError) -> Problem {
    let status = match &error {
        RolloutError::Plan(mistakes) => {
            return Problem::values(error.to_string(), mistakes.iter().map(convert::mistake).collect());
        }
        RolloutError::UnknownFirmware => StatusCode::NOT_FOUND,
        RolloutError::SwitchedOff => StatusCode::FORBIDDEN,
        RolloutError::Busy { .. }
        | RolloutError::Shared { .. }
        | RolloutError::Full(_)
        | RolloutError::Start(StartError::Busy) => StatusCode::CONFLICT,
        RolloutError::Crowded => StatusCode::TOO_MANY_REQUESTS,
        RolloutError::Image(_)
        | RolloutError::Packed
        | RolloutError::Broadcast
        | RolloutError::Unconfirmed
        | RolloutError::NoRole
        | RolloutError::OtherNodes { .. }
        | RolloutError::Start(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, error.to_string())
}

/// Reckons what a roll-out would take.
///
/// The nodes are asked what they are, which takes seconds; nothing is sent to be installed.
#[utoipa::path(post, path = "/api/v1/forecasts", tag = "rollouts", request_body = NewRollout,
    responses((status = 200, description = "What each group of nodes would be sent.", body = Forecast),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn reckon_forecast(
    State(gateway): Handle,
    JsonBody(new): JsonBody<NewRollout>,
) -> Answer<Json<Forecast>> {
    let request = checked(new)?;
    let asked = gateway.with(move |now, node, gateway| gateway.forecast(now, node, &request)).await?;
    let answer = asked.map_err(refused)?.await.map_err(|_gone| Stopped)?;
    let forecast = answer.map_err(|why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))?;
    Ok(Json(gateway.with(move |_, _, gateway| convert::forecast(gateway, &forecast)).await?))
}

/// Starts a roll-out.
///
/// The image must have been uploaded; without `nodes` it goes to every node in the mesh that no other roll-out has. With
/// `plan` it is brought to everybody first, and then started in waves. Four may be under way at once, for nodes that are
/// not the same: one sends, the others wait for it.
#[utoipa::path(post, path = "/api/v1/rollouts", tag = "rollouts", request_body = NewRollout,
    responses((status = 201, description = "It has begun.", body = Rollout,
            headers(("Location" = String, description = "Where it is to be found."))),
        Is::<400>, Is::<403>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn start_rollout(
    State(api): State<Api>,
    who: Principal,
    JsonBody(new): JsonBody<NewRollout>,
) -> Answer<Response> {
    let request = checked(new)?;
    api.fetch_firmware(request.firmware).await?;
    api.audit(&who, "rollout.start", convert::hex(&request.firmware), audited(&request)).await?;
    let id = api.accept_rollout(&request).await?;
    let (sum, confirms, by) = (request.firmware, request.confirm_receiver, who.name.clone());
    let started = api.gateway.with(move |now, node, gateway| {
        if let Some(id) = id {
            gateway.number_rollouts_from(id);
        }
        let rollout = gateway.start(now, node, &request, &by)?;
        let image = gateway.firmware().find(|known| known.info.sha256 == sum).cloned();
        Ok((convert::rollout(gateway, node, &rollout), image))
    });
    let (rollout, image) = match started.await? {
        Ok(started) => started,
        Err(error) => {
            api.refuse_rollout(id).await;
            return Err(refused(error));
        }
    };
    if let Some(image) = image.filter(|_| confirms) {
        api.keep_firmware(&image, true).await?;
    }
    api.waves_written(rollout.id).await?;
    let location = format!("/api/v1/rollouts/{}", rollout.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(rollout)).into_response())
}

/// What the audit says of a roll-out that begins.
fn audited(request: &RolloutRequest) -> serde_json::Value {
    serde_json::json!({
        "role": request.role,
        "hardware": request.hardware,
        "scheme": request.scheme.name(),
        "nodes": request.nodes.as_ref().map(|nodes| nodes.iter().map(|node| node.0).collect::<Vec<_>>()),
        "hold": request.hold,
        "airtime": request.airtime,
        "confirm_receiver": request.confirm_receiver,
        "force_image": request.force_image,
        "plan": request.plan,
    })
}

/// Lets nodes of a held roll-out restart.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/activate", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")), request_body = Activation,
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn activate_rollout(
    api: State<Api>,
    who: Principal,
    PathOf(id): PathOf<u64>,
    JsonBody(Activation { nodes }): JsonBody<Activation>,
) -> Answer<Json<Rollout>> {
    let nodes = nodes.map(|nodes| nodes.into_iter().map(NodeId).collect());
    control(api, &who, id, Control::Activate(nodes)).await
}

/// Stops a roll-out until it is resumed.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/pause", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn pause_rollout(api: State<Api>, who: Principal, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    control(api, &who, id, Control::Pause).await
}

/// Goes on with a paused roll-out.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/resume", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn resume_rollout(api: State<Api>, who: Principal, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    control(api, &who, id, Control::Resume).await
}

/// Ends a roll-out: nothing more is sent.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/abort", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn abort_rollout(api: State<Api>, who: Principal, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    control(api, &who, id, Control::Abort).await
}

/// Acts on a roll-out under way, or takes one back that is over.
pub(super) async fn control(
    State(api): State<Api>,
    who: &Principal,
    id: u64,
    control: Control,
) -> Answer<Json<Rollout>> {
    let detail = match &control {
        Control::Activate(Some(nodes)) => {
            serde_json::json!({ "nodes": nodes.iter().map(|node| node.0).collect::<Vec<_>>() })
        }
        _ => serde_json::json!({}),
    };
    api.audit(who, &format!("rollout.{}", control.name()), id, detail).await?;
    let by = who.name.clone();
    let acted = api.gateway.with(move |now, node, gateway| {
        let rollout = gateway.control(now, node, id, (&control, &by))?;
        Ok((convert::rollout(gateway, node, &rollout), rollout))
    });
    let (shown, rollout) = acted.await?.map_err(uncontrolled)?;
    // Who paused it must find it paused after a crash.
    api.keep_rollout(&rollout, &shown).await?;
    api.waves_written(id).await?;
    Ok(Json(shown))
}

pub(super) fn uncontrolled(error: ControlError) -> Problem {
    match error {
        ControlError::Unknown(_) => Problem::not_found(error.to_string()),
        ControlError::Finished(_)
        | ControlError::Unplanned(..)
        | ControlError::Planned(_)
        | ControlError::Refused(_)
        | ControlError::Reopened(..) => Problem::conflict(error.to_string()),
        ControlError::Stranger { at, .. } => Problem::value(format!("/nodes/{at}"), error.to_string()),
    }
}
