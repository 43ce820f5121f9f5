//! Alerts, and what people do with them.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use meshward_core::time::Instant;
use meshward_fleet::alert::{Engine, Fingerprint, TEXT_MAX, VerbError};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, JsonBodyOrNone, PathOf, QueryOf};
use super::super::model::{Alert, AlertAct, Page};
use super::super::openapi::Is;
use super::super::page::{Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::Handle;

const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_alerts))
        .routes(routes!(get_alert))
        .routes(routes!(acknowledge_alert))
        .routes(routes!(unacknowledge_alert))
        .routes(routes!(clear_alert))
        .routes(routes!(comment_on_alert))
        .routes(routes!(assign_alert))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only raised ones, or only those that are not.
    active: Option<bool>,
    /// Only of this severity: `info`, `warning` or `critical`.
    severity: Option<String>,
    /// Only about this node.
    node: Option<u32>,
    /// Only of this rule.
    rule: Option<String>,
    /// Most items in the answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Wanted {
    fn has(&self, alert: &Alert) -> bool {
        self.active.is_none_or(|active| alert.active == active)
            && self.severity.as_ref().is_none_or(|severity| alert.severity == *severity)
            && self.node.is_none_or(|node| alert.node == Some(node))
            && self.rule.as_ref().is_none_or(|rule| alert.rule == *rule)
    }
}

/// Alerts that are kept: raised, cleared, and those that are not bad for long enough.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(Wanted), responses(
    (status = 200, description = "Those first that changed last.", body = Page<Alert>), Is::<400>,
))]
async fn list_alerts(State(gateway): Handle, uri: Uri, QueryOf(wanted): QueryOf<Wanted>) -> Answer<Response> {
    if let Some(other) = wanted.severity.as_ref().filter(|one| !SEVERITIES.contains(&one.as_str())) {
        let detail = format!("severity `{other}` is none: take one of {}", SEVERITIES.join(", "));
        return Err(Problem::parameter("severity", detail));
    }
    let mut alerts = gateway.with(|_, _, gateway| convert::alerts(gateway)).await?;
    alerts.retain(|alert| wanted.has(alert));
    let place = |alert: &Alert| Place(alert.since.as_millisecond() as f64, alert.fingerprint.clone(), 0);
    let page = Paging::new(wanted.limit, wanted.cursor).cut(alerts, ("since", true), place)?;
    Ok(linked(&uri, page))
}

/// One alert.
#[utoipa::path(get, path = "/api/v1/alerts/{fingerprint}", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")),
    responses((status = 200, description = "The alert.", body = Alert), Is::<400>, Is::<404>))]
async fn get_alert(State(gateway): Handle, PathOf(named): PathOf<String>) -> Answer<Json<Alert>> {
    let name = fingerprint(&named)?.to_string();
    let alerts = gateway.with(|_, _, gateway| convert::alerts(gateway)).await?;
    let found = alerts.into_iter().find(|alert| alert.fingerprint == name);
    found.map(Json).ok_or_else(|| refused(VerbError::Unknown))
}

/// The alert that is meant.
fn fingerprint(named: &str) -> Answer<Fingerprint> {
    let read = u64::from_str_radix(named, 16).ok().filter(|_| named.len() == 16 && !named.starts_with('+'));
    read.map(Fingerprint).ok_or_else(|| {
        let right = "take the 16 hexadecimal digits of one";
        Problem::parameter("fingerprint", format!("alert `{named}` is no fingerprint: {right}"))
    })
}

/// Whether its texts are no longer than they may be, those too that this act has no use for.
fn fit(said: &AlertAct) -> Answer<()> {
    for (name, text) in [("by", &said.by), ("text", &said.text), ("to", &said.to)] {
        if let Some(len) = text.as_ref().map(String::len).filter(|len| *len > TEXT_MAX) {
            let wrong = format!("{name} has {len} bytes: it may have {TEXT_MAX}");
            return Err(Problem::value(format!("/{name}"), wrong));
        }
    }
    Ok(())
}

/// Does something with an alert; the alert as it is then.
async fn act(
    State(gateway): Handle,
    who: Principal,
    named: &str,
    said: &AlertAct,
    verb: impl FnOnce(&mut Engine, Instant, Fingerprint, &str) -> Result<(), VerbError> + Send + 'static,
) -> Answer<Json<Alert>> {
    let fingerprint = fingerprint(named)?;
    fit(said)?;
    let by = said.by.clone().unwrap_or(who.name);
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
    who: Principal,
    PathOf(named): PathOf<String>,
    JsonBodyOrNone(said): JsonBodyOrNone<AlertAct>,
) -> Answer<Json<Alert>> {
    act(gateway, who, &named, &said, |engine, now, alert, by| engine.acknowledge(now, alert, by)).await
}

/// Nobody knows of an alert after all.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/unack", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")),
    request_body = Option<AlertAct>,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn unacknowledge_alert(
    gateway: Handle,
    who: Principal,
    PathOf(named): PathOf<String>,
    JsonBodyOrNone(said): JsonBodyOrNone<AlertAct>,
) -> Answer<Json<Alert>> {
    act(gateway, who, &named, &said, |engine, now, alert, by| engine.unacknowledge(now, alert, by)).await
}

/// Ends an alert by hand: it is raised again only after it was good once.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/clear", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")),
    request_body = Option<AlertAct>,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>))]
async fn clear_alert(
    gateway: Handle,
    who: Principal,
    PathOf(named): PathOf<String>,
    JsonBodyOrNone(said): JsonBodyOrNone<AlertAct>,
) -> Answer<Json<Alert>> {
    act(gateway, who, &named, &said, |engine, now, alert, by| engine.clear(now, alert, by)).await
}

/// Writes on an alert; `text` says what, in at most 512 bytes.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/comment", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")), request_body = AlertAct,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>))]
async fn comment_on_alert(
    gateway: Handle,
    who: Principal,
    PathOf(named): PathOf<String>,
    JsonBody(said): JsonBody<AlertAct>,
) -> Answer<Json<Alert>> {
    let text = said
        .text
        .clone()
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| Problem::value("/text", "text is missing or empty: a comment says something"))?;
    act(gateway, who, &named, &said, move |engine, now, alert, by| engine.comment(now, alert, by, &text))
        .await
}

/// Says whose an alert is: `to`, at most 512 bytes; null is nobody's.
#[utoipa::path(post, path = "/api/v1/alerts/{fingerprint}/assign", tag = "alerts",
    params(("fingerprint" = String, Path, description = "16 hexadecimal digits.")), request_body = AlertAct,
    responses((status = 200, description = "The alert as it is then.", body = Alert),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>))]
async fn assign_alert(
    gateway: Handle,
    who: Principal,
    PathOf(named): PathOf<String>,
    JsonBody(said): JsonBody<AlertAct>,
) -> Answer<Json<Alert>> {
    let to = said.to.clone();
    act(gateway, who, &named, &said, move |engine, _, alert, _| engine.assign(alert, to.as_deref())).await
}
