//! Bringing images to nodes.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use meshward_core::node::Node as MeshNode;
use meshward_core::ota::StartError;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::Deployment;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, PathOf, QueryOf};
use super::super::model::{Activation, Forecast, NewRollout, Page, Rollout};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::Handle;
use crate::service::{Gateway, RolloutError, RolloutRequest};
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
}

/// The roll-outs that are remembered, the newest first.
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "rollouts", params(Paging), responses(
    (status = 200, description = "Roll-outs: the last 50.", body = Page<Rollout>), Is::<400>,
))]
async fn list_rollouts(State(gateway): Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let list = |now, node: &mut MeshNode, gateway: &mut Gateway| {
        let rollouts = gateway.rollouts(now, node);
        rollouts.iter().map(|rollout| convert::rollout(gateway, node, rollout)).collect()
    };
    let rollouts: Vec<Rollout> = gateway.with(list).await?;
    let page = paging.cut(rollouts, ("id", true), |rollout| Place(0.0, String::new(), rollout.id))?;
    Ok(linked(&uri, page))
}

fn find(gateway: &mut Gateway, now: Instant, node: &MeshNode, id: u64) -> Option<Rollout> {
    let rollouts = gateway.rollouts(now, node);
    let found = rollouts.iter().find(|rollout| rollout.id == id)?;
    Some(convert::rollout(gateway, node, found))
}

fn no_rollout(id: u64) -> Problem {
    Problem::not_found(format!("there is no roll-out {id}"))
}

/// One roll-out.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "Where it is.", body = Rollout), Is::<400>, Is::<404>))]
async fn get_rollout(State(gateway): Handle, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    let found = gateway.with(move |now, node, gateway| find(gateway, now, node, id)).await?;
    found.map(Json).ok_or_else(|| no_rollout(id))
}

fn checked(new: NewRollout) -> Answer<RolloutRequest> {
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
    })
}

fn refused(error: RolloutError) -> Problem {
    let status = match &error {
        RolloutError::UnknownFirmware => StatusCode::NOT_FOUND,
        RolloutError::SwitchedOff => StatusCode::FORBIDDEN,
        RolloutError::Start(StartError::Busy) => StatusCode::CONFLICT,
        RolloutError::Crowded => StatusCode::TOO_MANY_REQUESTS,
        RolloutError::Image(_)
        | RolloutError::Packed
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
/// One at a time. The image must have been uploaded; without `nodes` it goes to every node in the mesh.
#[utoipa::path(post, path = "/api/v1/rollouts", tag = "rollouts", request_body = NewRollout,
    responses((status = 201, description = "It has begun.", body = Rollout,
            headers(("Location" = String, description = "Where it is to be found."))),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn start_rollout(State(gateway): Handle, JsonBody(new): JsonBody<NewRollout>) -> Answer<Response> {
    let request = checked(new)?;
    let started = gateway
        .with(move |now, node, gateway| {
            let rollout = gateway.start(now, node, &request)?;
            Ok(convert::rollout(gateway, node, &rollout))
        })
        .await?;
    let rollout = started.map_err(refused)?;
    let location = format!("/api/v1/rollouts/{}", rollout.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(rollout)).into_response())
}

/// Lets nodes of a held roll-out restart.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/activate", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")), request_body = Activation,
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn activate_rollout(
    gateway: Handle,
    PathOf(id): PathOf<u64>,
    JsonBody(Activation { nodes }): JsonBody<Activation>,
) -> Answer<Json<Rollout>> {
    control(gateway, id, move |now, deployment, node| {
        let targets: Vec<NodeId> = deployment.report(node).iter().map(|target| target.node).collect();
        let nodes = nodes.map_or_else(|| targets.clone(), |nodes| nodes.into_iter().map(NodeId).collect());
        if let Some((at, stranger)) = nodes.iter().enumerate().find(|(_, id)| !targets.contains(id)) {
            let detail = format!("node {stranger} is not in this roll-out; nothing has been activated");
            return Err(Problem::value(format!("/nodes/{at}"), detail));
        }
        deployment.activate(now, node, &nodes);
        Ok(())
    })
    .await
}

/// Stops a roll-out until it is resumed.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/pause", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn pause_rollout(gateway: Handle, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    control(gateway, id, |now, deployment, node| {
        deployment.pause(now, node);
        Ok(())
    })
    .await
}

/// Goes on with a paused roll-out.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/resume", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn resume_rollout(gateway: Handle, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    control(gateway, id, |now, deployment, node| {
        deployment.resume(now, node);
        Ok(())
    })
    .await
}

/// Ends a roll-out: nothing more is sent.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/abort", tag = "rollouts",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The roll-out after it.", body = Rollout),
        Is::<400>, Is::<404>, Is::<409>))]
async fn abort_rollout(gateway: Handle, PathOf(id): PathOf<u64>) -> Answer<Json<Rollout>> {
    control(gateway, id, |now, deployment, node| {
        deployment.abort(now, node);
        Ok(())
    })
    .await
}

/// Acts on the roll-out under way, if that is the one meant.
async fn control(
    State(gateway): Handle,
    id: u64,
    act: impl FnOnce(Instant, &mut Deployment, &mut MeshNode) -> Answer<()> + Send + 'static,
) -> Answer<Json<Rollout>> {
    let acted = gateway
        .with(move |now, node, gateway| {
            let acted = gateway.control(now, node, id, |deployment, node| act(now, deployment, node));
            Ok::<_, Problem>((acted.transpose()?, find(gateway, now, node, id)))
        })
        .await??;
    match acted {
        (_, None) => Err(no_rollout(id)),
        (None, Some(_)) => Err(Problem::conflict(format!("roll-out {id} has finished"))),
        (Some(()), Some(rollout)) => Ok(Json(rollout)),
    }
}
