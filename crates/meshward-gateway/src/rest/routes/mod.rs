//! One function per route.

mod state;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use meshward_core::hash::Sha256Sum;
use meshward_core::node::Node as MeshNode;
use meshward_core::ota::StartError;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Deployment, SignedManifest};
use meshward_fleet::firmware::{self, ImageInfo};
use problem_details::ProblemDetails;
use serde::Deserialize;

use super::model::{Activation, Firmware, Forecast, NewRollout, Page, Rollout};
use super::{FIRMWARE_MAX, convert};
use crate::service::{Gateway, RolloutError, RolloutRequest};
use crate::shell::{NodeHandle, Stopped};

type Handle = State<NodeHandle<Gateway>>;
type Answer<T> = Result<T, Problem>;
type Id = Result<Path<u64>, PathRejection>;

/// The number in a roll-out's path.
fn number(id: Id) -> Answer<u64> {
    id.map(|Path(id)| id).map_err(|error| problem(StatusCode::BAD_REQUEST, error.body_text()))
}

/// What is answered instead; boxed, because it is rare and large.
struct Problem(Box<ProblemDetails>);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

pub(super) fn router(gateway: NodeHandle<Gateway>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .merge(state::router())
        .merge(crate::prometheus::router())
        .route("/api/v1/firmware", get(list_firmware).post(add_firmware))
        .route("/api/v1/firmware/{sha256}/manifest", put(put_manifest))
        .route("/api/v1/forecasts", post(reckon))
        .route("/api/v1/rollouts", get(list_rollouts).post(start_rollout))
        .route("/api/v1/rollouts/{id}", get(get_rollout))
        .route("/api/v1/rollouts/{id}/activate", post(activate_rollout))
        .route("/api/v1/rollouts/{id}/pause", post(pause_rollout))
        .route("/api/v1/rollouts/{id}/resume", post(resume_rollout))
        .route("/api/v1/rollouts/{id}/abort", post(abort_rollout))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .layer(DefaultBodyLimit::max(FIRMWARE_MAX))
        .with_state(gateway)
}

fn problem(status: StatusCode, detail: impl Into<String>) -> Problem {
    Problem(Box::new(ProblemDetails::from_status_code(status).with_detail(detail)))
}

fn stopped(_: Stopped) -> Problem {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the gateway is shutting down")
}

fn page<T>(items: Vec<T>) -> Json<Page<T>> {
    Json(Page { items, next_cursor: None })
}

async fn list_firmware(State(gateway): Handle) -> Answer<Json<Page<Firmware>>> {
    let list = |_, _: &mut MeshNode, gateway: &mut Gateway| {
        page(gateway.firmware().map(convert::firmware).collect())
    };
    gateway.with(list).await.map_err(stopped)
}

#[derive(Deserialize)]
struct Upload {
    #[serde(default)]
    name: String,
}

async fn add_firmware(
    State(gateway): Handle,
    upload: Result<Query<Upload>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<(StatusCode, Json<Firmware>)> {
    let Query(upload) = upload.map_err(|error| problem(error.status(), error.body_text()))?;
    let body = body.map_err(|error| problem(error.status(), error.body_text()))?;
    if body.is_empty() {
        return Err(problem(StatusCode::BAD_REQUEST, "the image is empty: send its bytes as the body"));
    }
    // Unpacking and hashing take a while: not in the node's task.
    let image =
        firmware::plain(&body).map_err(|error| problem(StatusCode::BAD_REQUEST, error.to_string()))?;
    let info = ImageInfo::of(&image);
    let image: Arc<[u8]> = Arc::from(&image[..]);
    let name: String = upload.name.chars().take(128).collect();
    let added = gateway
        .with(move |_, _, gateway| convert::firmware(&gateway.add_firmware(name, image, info)))
        .await
        .map_err(stopped)?;
    Ok((StatusCode::CREATED, Json(added)))
}

async fn put_manifest(
    State(gateway): Handle,
    sha256: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<Firmware>> {
    let Path(sha256) = sha256.map_err(|error| problem(StatusCode::BAD_REQUEST, error.body_text()))?;
    let body = body.map_err(|error| problem(error.status(), error.body_text()))?;
    let unreadable = || format!("firmware `{sha256}` is not a SHA-256 in hexadecimal");
    let sum = convert::parse_sha256(&sha256).ok_or_else(|| problem(StatusCode::BAD_REQUEST, unreadable()))?;
    let manifest = SignedManifest::read(body.to_vec(), Sha256Sum(sum));
    let manifest = manifest.map_err(|error| problem(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    let added = gateway
        .with(move |_, _, gateway| {
            gateway.add_manifest(&sum, manifest).map(|known| convert::firmware(&known))
        })
        .await
        .map_err(stopped)?;
    let missing = || problem(StatusCode::NOT_FOUND, RolloutError::UnknownFirmware.to_string());
    added.map(Json).ok_or_else(missing)
}

async fn list_rollouts(State(gateway): Handle) -> Answer<Json<Page<Rollout>>> {
    let list = |now, node: &mut MeshNode, gateway: &mut Gateway| {
        let rollouts = gateway.rollouts(now, node);
        page(rollouts.iter().map(|rollout| convert::rollout(gateway, node, rollout)).collect())
    };
    gateway.with(list).await.map_err(stopped)
}

fn find(gateway: &mut Gateway, now: Instant, node: &MeshNode, id: u64) -> Option<Rollout> {
    let rollouts = gateway.rollouts(now, node);
    let found = rollouts.iter().find(|rollout| rollout.id == id)?;
    Some(convert::rollout(gateway, node, found))
}

fn no_rollout(id: u64) -> Problem {
    problem(StatusCode::NOT_FOUND, format!("there is no roll-out {id}"))
}

async fn get_rollout(State(gateway): Handle, id: Id) -> Answer<Json<Rollout>> {
    let id = number(id)?;
    let found =
        gateway.with(move |now, node, gateway| find(gateway, now, node, id)).await.map_err(stopped)?;
    found.map(Json).ok_or_else(|| no_rollout(id))
}

fn checked(new: NewRollout) -> Answer<RolloutRequest> {
    let bad = |detail: String| problem(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let firmware = convert::parse_sha256(&new.firmware)
        .ok_or_else(|| bad(format!("firmware `{}` is not a SHA-256 in hexadecimal", new.firmware)))?;
    if !(1..=64).contains(&new.concurrency) {
        return Err(bad(format!("concurrency {} is out of range: take 1 to 64", new.concurrency)));
    }
    if new.role.as_ref().is_some_and(|role| role.len() > 64) {
        return Err(bad("role is too long: take at most 64 bytes".to_owned()));
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
        RolloutError::Start(StartError::Busy) => StatusCode::CONFLICT,
        RolloutError::Crowded => StatusCode::TOO_MANY_REQUESTS,
        RolloutError::Image(_)
        | RolloutError::Unconfirmed
        | RolloutError::NoRole
        | RolloutError::OtherNodes { .. }
        | RolloutError::Start(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    problem(status, error.to_string())
}

async fn reckon(
    State(gateway): Handle,
    body: Result<Json<NewRollout>, JsonRejection>,
) -> Answer<Json<Forecast>> {
    let Json(new) = body.map_err(|error| problem(error.status(), error.body_text()))?;
    let request = checked(new)?;
    let asked = gateway.with(move |now, node, gateway| gateway.forecast(now, node, &request)).await;
    let answer = asked.map_err(stopped)?.map_err(refused)?.await.map_err(|_gone| stopped(Stopped))?;
    let forecast = answer.map_err(|why| problem(StatusCode::INTERNAL_SERVER_ERROR, why))?;
    let shown = gateway.with(move |_, _, gateway| convert::forecast(gateway, &forecast)).await;
    shown.map(Json).map_err(stopped)
}

async fn start_rollout(
    State(gateway): Handle,
    body: Result<Json<NewRollout>, JsonRejection>,
) -> Answer<Response> {
    let Json(new) = body.map_err(|error| problem(error.status(), error.body_text()))?;
    let request = checked(new)?;
    let started = gateway
        .with(move |now, node, gateway| {
            let rollout = gateway.start(now, node, &request)?;
            Ok(convert::rollout(gateway, node, &rollout))
        })
        .await
        .map_err(stopped)?;
    let rollout = started.map_err(refused)?;
    let location = format!("/api/v1/rollouts/{}", rollout.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(rollout)).into_response())
}

async fn activate_rollout(
    gateway: Handle,
    id: Id,
    body: Result<Json<Activation>, JsonRejection>,
) -> Answer<Json<Rollout>> {
    let Json(Activation { nodes }) = body.map_err(|error| problem(error.status(), error.body_text()))?;
    control(gateway, id, move |now, deployment, node| {
        let targets: Vec<NodeId> = deployment.report(node).iter().map(|target| target.node).collect();
        let nodes = nodes.map_or_else(|| targets.clone(), |nodes| nodes.into_iter().map(NodeId).collect());
        if let Some(stranger) = nodes.iter().find(|id| !targets.contains(id)) {
            let detail = format!("node {stranger} is not in this roll-out; nothing has been activated");
            return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        deployment.activate(now, node, &nodes);
        Ok(())
    })
    .await
}

async fn pause_rollout(gateway: Handle, id: Id) -> Answer<Json<Rollout>> {
    control(gateway, id, |now, deployment, node| {
        deployment.pause(now, node);
        Ok(())
    })
    .await
}

async fn resume_rollout(gateway: Handle, id: Id) -> Answer<Json<Rollout>> {
    control(gateway, id, |now, deployment, node| {
        deployment.resume(now, node);
        Ok(())
    })
    .await
}

async fn abort_rollout(gateway: Handle, id: Id) -> Answer<Json<Rollout>> {
    control(gateway, id, |now, deployment, node| {
        deployment.abort(now, node);
        Ok(())
    })
    .await
}

/// Acts on the roll-out under way, if that is the one meant.
async fn control(
    State(gateway): Handle,
    id: Id,
    act: impl FnOnce(Instant, &mut Deployment, &mut MeshNode) -> Answer<()> + Send + 'static,
) -> Answer<Json<Rollout>> {
    let id = number(id)?;
    let acted = gateway
        .with(move |now, node, gateway| {
            let acted = gateway.control(now, node, id, |deployment, node| act(now, deployment, node));
            Ok((acted.transpose()?, find(gateway, now, node, id)))
        })
        .await
        .map_err(stopped)??;
    match acted {
        (_, None) => Err(no_rollout(id)),
        (None, Some(_)) => Err(problem(StatusCode::CONFLICT, format!("roll-out {id} has finished"))),
        (Some(()), Some(rollout)) => Ok(Json(rollout)),
    }
}
