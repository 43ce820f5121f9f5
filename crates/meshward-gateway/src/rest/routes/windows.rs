//! Silences and maintenance windows: times in which nobody is told of alerts.
//!
//! Both are windows of the alert engine and differ in their purpose only, so the handlers share their work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use meshward_core::wire::NodeId;
use meshward_fleet::alert::{self, VerbError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::Api;
use super::super::convert;
use super::super::extract::QueryOf;
use super::super::extract::{JsonBody, PathOf};
use super::super::model::{NewWindow, Page, Purpose, Window};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::Handle;
use super::alerts::refused;

/// Most conditions of a window.
const MATCHERS_MAX: usize = 32;
/// Most nodes that a window names.
const NODES_MAX: usize = 2_500;
/// Longest window: a year.
const LASTS_MAX: Duration = Duration::from_secs(31_536_000);

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_silences, create_silence))
        .routes(routes!(get_silence, expire_silence))
        .routes(routes!(list_maintenance_windows, create_maintenance_window))
        .routes(routes!(get_maintenance_window, expire_maintenance_window))
}

/// Silences that are not over.
#[utoipa::path(get, path = "/api/v1/silences", tag = "alerts", params(Paging), responses(
    (status = 200, description = "In order of their numbers.", body = Page<Window>), Is::<400>,
))]
async fn list_silences(gateway: Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    list(gateway, &uri, &paging, Purpose::Silence).await
}

/// Maintenance windows that are not over, those of roll-outs included.
#[utoipa::path(get, path = "/api/v1/maintenance-windows", tag = "alerts", params(Paging), responses(
    (status = 200, description = "In order of their numbers.", body = Page<Window>), Is::<400>,
))]
async fn list_maintenance_windows(gateway: Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    list(gateway, &uri, &paging, Purpose::Maintenance).await
}

/// Silences alerts for a time: they are there to be seen, and nobody is told.
#[utoipa::path(post, path = "/api/v1/silences", tag = "alerts", request_body = NewWindow,
    responses((status = 201, description = "It is open, or will be.", body = Window,
            headers(("Location" = String, description = "Where it is to be found."))),
        Is::<400>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn create_silence(
    gateway: Handle,
    who: Principal,
    JsonBody(new): JsonBody<NewWindow>,
) -> Answer<Response> {
    open(gateway, who, new, Purpose::Silence).await
}

/// Says that nodes are worked on for a time: their alerts are there to be seen, and nobody is told.
#[utoipa::path(post, path = "/api/v1/maintenance-windows", tag = "alerts", request_body = NewWindow,
    responses((status = 201, description = "It is open, or will be.", body = Window,
            headers(("Location" = String, description = "Where it is to be found."))),
        Is::<400>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn create_maintenance_window(
    gateway: Handle,
    who: Principal,
    JsonBody(new): JsonBody<NewWindow>,
) -> Answer<Response> {
    open(gateway, who, new, Purpose::Maintenance).await
}

/// One silence.
#[utoipa::path(get, path = "/api/v1/silences/{id}", tag = "alerts",
    params(("id" = u32, Path, description = "Its number.")),
    responses((status = 200, description = "The silence.", body = Window), Is::<400>, Is::<404>))]
async fn get_silence(gateway: Handle, PathOf(id): PathOf<u32>) -> Answer<Json<Window>> {
    get(gateway, id, Purpose::Silence).await
}

/// One maintenance window.
#[utoipa::path(get, path = "/api/v1/maintenance-windows/{id}", tag = "alerts",
    params(("id" = u32, Path, description = "Its number.")),
    responses((status = 200, description = "The window.", body = Window), Is::<400>, Is::<404>))]
async fn get_maintenance_window(gateway: Handle, PathOf(id): PathOf<u32>) -> Answer<Json<Window>> {
    get(gateway, id, Purpose::Maintenance).await
}

/// Ends a silence now.
#[utoipa::path(delete, path = "/api/v1/silences/{id}", tag = "alerts",
    params(("id" = u32, Path, description = "Its number.")),
    responses((status = 204, description = "It is over."), Is::<400>, Is::<404>))]
async fn expire_silence(gateway: Handle, PathOf(id): PathOf<u32>) -> Answer<StatusCode> {
    close(gateway, id, Purpose::Silence).await
}

/// Ends a maintenance window now.
#[utoipa::path(delete, path = "/api/v1/maintenance-windows/{id}", tag = "alerts",
    params(("id" = u32, Path, description = "Its number.")),
    responses((status = 204, description = "It is over."), Is::<400>, Is::<404>))]
async fn expire_maintenance_window(gateway: Handle, PathOf(id): PathOf<u32>) -> Answer<StatusCode> {
    close(gateway, id, Purpose::Maintenance).await
}

async fn list(State(gateway): Handle, uri: &Uri, paging: &Paging, purpose: Purpose) -> Answer<Response> {
    let open = gateway.with(move |now, _, gateway| convert::windows(gateway, now, purpose)).await?;
    let page = paging.cut(open, ("id", false), |window| Place(0.0, String::new(), window.id.into()))?;
    Ok(linked(uri, page))
}

async fn get(State(gateway): Handle, id: u32, purpose: Purpose) -> Answer<Json<Window>> {
    let open = gateway.with(move |now, _, gateway| convert::windows(gateway, now, purpose)).await?;
    open.into_iter().find(|window| window.id == id).map(Json).ok_or_else(|| refused(VerbError::Window))
}

async fn close(State(gateway): Handle, id: u32, purpose: Purpose) -> Answer<StatusCode> {
    let closed = gateway
        .with(move |now, node, gateway| {
            let is = |(open, window): (u32, &alert::Window)| {
                open == id && window.purpose == convert::purpose(purpose)
            };
            if !gateway.fleet().alerts().windows().any(is) {
                return Err(VerbError::Window);
            }
            gateway.alerts_mut(now, node, |engine| engine.close(now, id))
        })
        .await?;
    closed.map(|()| StatusCode::NO_CONTENT).map_err(refused)
}

/// From when until when, as a body says.
fn times(new: &NewWindow, now: Timestamp) -> Answer<(Timestamp, Timestamp)> {
    let from = new.from.unwrap_or(now);
    let until = match (new.until, new.lasts_seconds) {
        (Some(until), None) => until,
        (None, Some(lasts)) => from.checked_add(Duration::from_secs(lasts.into())).map_err(|_beyond| {
            Problem::value("/lasts_seconds", format!("lasts_seconds {lasts} is beyond any date"))
        })?,
        _ => {
            return Err(Problem::value("/until", "give either until, a time, or lasts_seconds"));
        }
    };
    if until <= from || until <= now {
        return Err(Problem::value("/until", format!("until {until} is not after from {from} and now")));
    }
    if until.duration_since(now).unsigned_abs() > LASTS_MAX {
        return Err(Problem::value("/until", format!("until {until} is more than a year ahead")));
    }
    Ok((from, until))
}

fn checked(new: &NewWindow) -> Answer<()> {
    if new.matchers.is_empty() && new.nodes.is_empty() {
        let right = r#"name some, or say {"field": "severity", "value": "*"} for every alert"#;
        return Err(Problem::value("/matchers", format!("matchers and nodes are both empty: {right}")));
    }
    for (field, count, most) in
        [("matchers", new.matchers.len(), MATCHERS_MAX), ("nodes", new.nodes.len(), NODES_MAX)]
    {
        if count > most {
            return Err(Problem::value(format!("/{field}"), format!("{count} {field}: {most} are the most")));
        }
    }
    Ok(())
}

async fn open(State(gateway): Handle, who: Principal, new: NewWindow, purpose: Purpose) -> Answer<Response> {
    checked(&new)?;
    let opened = gateway
        .with(move |now, node, gateway| {
            let civil = Timestamp::try_from(gateway.civil(now)).unwrap_or(Timestamp::UNIX_EPOCH);
            let (from, until) = times(&new, civil)?;
            let window = alert::Window {
                purpose: convert::purpose(purpose),
                matchers: new.matchers.into_iter().map(convert::matcher).collect(),
                nodes: new.nodes.into_iter().map(NodeId).collect(),
                from: gateway.instant(convert::system_time(from)),
                until: gateway.instant(convert::system_time(until)),
                by: new.by.unwrap_or(who.name),
                why: new.why,
            };
            let id =
                gateway.alerts_mut(now, node, |engine| engine.open(now, window.clone())).map_err(refused)?;
            Ok::<_, Problem>(convert::window(gateway, now, id, &window))
        })
        .await??;
    let path = match purpose {
        Purpose::Silence => "silences",
        Purpose::Maintenance => "maintenance-windows",
    };
    let location = format!("/api/v1/{path}/{}", opened.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(opened)).into_response())
}
