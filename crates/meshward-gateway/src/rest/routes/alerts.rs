//! Alerts, and what people do with them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use meshward_core::time::Instant;
use meshward_fleet::alert::{Engine, Fingerprint, VerbError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, JsonBodyOrNone, PathOf};
use super::super::model::{Alert, AlertAct, Page};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::{Handle, page};

/// Who acted where nobody says.
const SOMEBODY: &str = "operator";

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_alerts))
        .routes(routes!(acknowledge_alert))
        .routes(routes!(unacknowledge_alert))
        .routes(routes!(clear_alert))
        .routes(routes!(comment_on_alert))
}

/// All alerts that are kept: raised, cleared, and those that are not bad for long enough.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", responses(
    (status = 200, description = "Alerts.", body = Page<Alert>),
))]
async fn list_alerts(State(gateway): Handle) -> Answer<Json<Page<Alert>>> {
    Ok(page(gateway.with(|_, _, gateway| convert::alerts(gateway)).await?))
}

/// The alert that is meant.
fn fingerprint(named: &str) -> Answer<Fingerprint> {
    let read = u64::from_str_radix(named, 16).ok().filter(|_| named.len() == 16 && !named.starts_with('+'));
    read.map(Fingerprint).ok_or_else(|| {
        let right = "take the 16 hexadecimal digits of one";
        Problem::parameter("fingerprint", format!("alert `{named}` is no fingerprint: {right}"))
    })
}

/// Does something with an alert; the alert as it is then.
async fn act(
    State(gateway): Handle,
    named: &str,
    by: Option<String>,
    verb: impl FnOnce(&mut Engine, Instant, Fingerprint, &str) -> Result<(), VerbError> + Send + 'static,
) -> Answer<Json<Alert>> {
    let fingerprint = fingerprint(named)?;
    let by = by.unwrap_or_else(|| SOMEBODY.to_owned());
    let done = gateway
        .with(move |now, node, gateway| {
            gateway.alerts_mut(now, node, |engine| verb(engine, now, fingerprint, &by))?;
            let name = fingerprint.to_string();
            let found = convert::alerts(gateway).into_iter().find(|alert| alert.fingerprint == name);
            found.ok_or(VerbError::Unknown)
        })
        .await?;
    done.map(Json).map_err(refused)
}

pub(super) fn refused(error: VerbError) -> Problem {
    let status = match error {
        VerbError::Unknown | VerbError::Window => StatusCode::NOT_FOUND,
        VerbError::State(_) => StatusCode::CONFLICT,
        VerbError::Text | VerbError::Times => StatusCode::UNPROCESSABLE_ENTITY,
        VerbError::Windows => StatusCode::TOO_MANY_REQUESTS,
    };
    Problem::new(status, error.to_string())
}

/// Somebody knows of an alert: reminders end.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/ack", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")),
    request_body = Option<AlertAct>,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn acknowledge_alert(
    gateway: Handle,
    PathOf(named): PathOf<String>,
    JsonBodyOrNone(said): JsonBodyOrNone<AlertAct>,
) -> Answer<Json<Alert>> {
    act(gateway, &named, said.by, |engine, now, alert, by| engine.acknowledge(now, alert, by)).await
}

/// Nobody knows of an alert after all.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/unack", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")),
    request_body = Option<AlertAct>,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn unacknowledge_alert(
    gateway: Handle,
    PathOf(named): PathOf<String>,
    JsonBodyOrNone(said): JsonBodyOrNone<AlertAct>,
) -> Answer<Json<Alert>> {
    act(gateway, &named, said.by, |engine, now, alert, by| engine.unacknowledge(now, alert, by)).await
}

/// Ends an alert by hand: it is raised again only after it was good once.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/clear", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")),
    request_body = Option<AlertAct>,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn clear_alert(
    gateway: Handle,
    PathOf(named): PathOf<String>,
    JsonBodyOrNone(said): JsonBodyOrNone<AlertAct>,
) -> Answer<Json<Alert>> {
    act(gateway, &named, said.by, |engine, now, alert, by| engine.clear(now, alert, by)).await
}

/// Writes on an alert; `text` says what, in at most 512 bytes.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/comment", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")), request_body = AlertAct,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>))]
async fn comment_on_alert(
    gateway: Handle,
    PathOf(named): PathOf<String>,
    JsonBody(said): JsonBody<AlertAct>,
) -> Answer<Json<Alert>> {
    let text = said
        .text
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| Problem::value("/text", "text is missing or empty: a comment says something"))?;
    act(gateway, &named, said.by, move |engine, now, alert, by| engine.comment(now, alert, by, &text)).await
}
