//! Asking nodes, and telling them what to do.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use meshward_core::telemetry::Metric;
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use meshward_core::wire::status::Code;
use meshward_fleet::commands::CommandError;
use meshward_fleet::query::{Refused, Request};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, NodePath, QueryOf};
use super::super::model::{CommandOutcome, NewCommand, NewQuery, QueryAnswer, QueryLine};
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::{Handle, unknown};
use crate::service::Gateway;
use crate::shell::{NodeHandle, Stopped};

/// Longest that a query or command may wait, in seconds.
const TIMEOUT_MAX: f64 = 120.0;
/// Oldest value that may be good enough, in seconds: a day.
const AGE_MAX: f64 = 86_400.0;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(start_query)).routes(routes!(ask_node)).routes(routes!(send_command))
}

/// Seconds within bounds, of a field.
fn span(field: &str, seconds: f64, least: f64, most: f64) -> Answer<Duration> {
    if !(least..=most).contains(&seconds) {
        let detail = format!("{field} {seconds} is out of range: take {least} to {most} seconds");
        return Err(Problem::value(format!("/{field}"), detail));
    }
    Ok(Duration::from_micros((seconds * 1e6) as u64))
}

/// `30s`, `500ms`, `2m`, `1h`, or a number of seconds, within bounds.
fn seconds(parameter: &str, text: &str, least: f64, most: f64) -> Answer<f64> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("", 1.0)];
    let read = |(unit, factor): (&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor);
    let seconds = units.into_iter().find_map(read).filter(|seconds| seconds.is_finite());
    let seconds = seconds.ok_or_else(|| {
        let right = "take a number with ms, s, m or h, such as 30s";
        Problem::parameter(parameter, format!("{parameter} `{text}` is no time: {right}"))
    })?;
    if !(least..=most).contains(&seconds) {
        let right = format!("take {least} to {most} seconds");
        return Err(Problem::parameter(parameter, format!("{parameter} `{text}` is out of range: {right}")));
    }
    Ok(seconds)
}

fn request(query: &NewQuery) -> Answer<(Option<Vec<NodeId>>, Request)> {
    let metric = |(at, name): (usize, &String)| {
        let names = || Metric::ALL.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ");
        Metric::named(name).ok_or_else(|| {
            let detail = format!("metrics: `{name}` is none: take some of {}", names());
            Problem::value(format!("/metrics/{at}"), detail)
        })
    };
    let request = Request {
        nodes: Vec::new(),
        metrics: query.metrics.iter().enumerate().map(metric).collect::<Answer<_>>()?,
        max_age: span("max_age_seconds", query.max_age_seconds, 0.0, AGE_MAX)?,
        timeout: span("timeout_seconds", query.timeout_seconds, 0.1, TIMEOUT_MAX)?,
    };
    let nodes = query.nodes.as_ref().map(|nodes| nodes.iter().map(|id| NodeId(*id)).collect());
    Ok((nodes, request))
}

async fn answered(gateway: &NodeHandle<Gateway>, query: &NewQuery) -> Answer<QueryAnswer> {
    let (nodes, request) = request(query)?;
    let asked = gateway
        .with(move |now, node, gateway| {
            let all = |gateway: &Gateway| gateway.topology().places().map(|(id, _)| id).collect();
            let nodes: Vec<NodeId> = nodes.unwrap_or_else(|| all(gateway));
            if let Some(stranger) = nodes.iter().find(|id| gateway.registry().get(**id).is_none()) {
                return Err(unknown(*stranger));
            }
            let refused = |error: Refused| {
                let status = match error {
                    Refused::Busy => StatusCode::TOO_MANY_REQUESTS,
                    Refused::TooMany => StatusCode::UNPROCESSABLE_ENTITY,
                };
                Problem::new(status, error.to_string())
            };
            gateway.query(now, node, Request { nodes, ..request }).map_err(refused)
        })
        .await??;
    let outcomes = asked.await.map_err(|_gone| Stopped)?;
    Ok(gateway.with(move |_, _, gateway| convert::answer(gateway, &outcomes)).await?)
}

/// Asks nodes how they fare, and waits.
///
/// What nodes have told within `max_age_seconds` is not asked for again. The answer comes when each node has its
/// outcome, after `timeout_seconds` at the latest. It is 200 also when not every node has answered: what became of
/// each is in its line.
#[utoipa::path(post, path = "/api/v1/queries", tag = "queries", request_body = NewQuery,
    responses((status = 200, description = "What became of each node.", body = QueryAnswer),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn start_query(
    State(gateway): Handle,
    JsonBody(query): JsonBody<NewQuery>,
) -> Answer<Json<QueryAnswer>> {
    answered(&gateway, &query).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Patience {
    /// What it told no longer ago is good enough: a number with ms, s, m or h, 0 to 86 400 s; 30s when absent.
    #[param(example = "30s")]
    max_age: Option<String>,
    /// How long it may take: 0.1 to 120 s; 5s when absent.
    #[param(example = "5s")]
    timeout: Option<String>,
}

/// Asks one node how it fares, and waits.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/status", tag = "queries",
    params(("id" = u32, Path, description = "Its id, decimal."), Patience),
    responses((status = 200, description = "What became of it.", body = QueryLine),
        Is::<400>, Is::<404>, Is::<429>))]
async fn ask_node(
    State(gateway): Handle,
    NodePath(id): NodePath,
    QueryOf(patience): QueryOf<Patience>,
) -> Answer<Json<QueryLine>> {
    let query = NewQuery {
        nodes: Some(vec![id.0]),
        metrics: Vec::new(),
        max_age_seconds: seconds("max_age", patience.max_age.as_deref().unwrap_or("30s"), 0.0, AGE_MAX)?,
        timeout_seconds: seconds("timeout", patience.timeout.as_deref().unwrap_or("5s"), 0.1, TIMEOUT_MAX)?,
    };
    let line = answered(&gateway, &query).await?.nodes.into_iter().next();
    line.map(Json).ok_or_else(|| unknown(id))
}

fn command_refused(error: CommandError) -> Problem {
    let status = match error {
        CommandError::Busy { .. } => StatusCode::CONFLICT,
        CommandError::Full => StatusCode::TOO_MANY_REQUESTS,
        CommandError::Nobody | CommandError::Code(_) | CommandError::Params(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    };
    Problem::new(status, error.to_string())
}

/// Sends a command (type 400) to a node, and waits for its answer.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/commands", tag = "queries",
    params(("id" = u32, Path, description = "Its id, decimal.")), request_body = NewCommand,
    responses((status = 200, description = "What became of it, `timed_out` included.", body = CommandOutcome),
        Is::<400>, Is::<404>, Is::<409>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn send_command(
    State(gateway): Handle,
    NodePath(id): NodePath,
    JsonBody(new): JsonBody<NewCommand>,
) -> Answer<Json<CommandOutcome>> {
    if !(1..=255).contains(&new.command) {
        let detail = format!("command {} is none: take 1 to 255, for the field has 8 bits", new.command);
        return Err(Problem::value("/command", detail));
    }
    let patience = span("timeout_seconds", new.timeout_seconds, 0.1, TIMEOUT_MAX)?;
    let sent = gateway
        .with(move |now, node, gateway| {
            if gateway.registry().get(id).is_none() {
                return Err(unknown(id));
            }
            if gateway.topology().place(id).is_none() {
                let detail = format!("node {id} is not in the mesh now; nothing has been sent");
                return Err(Problem::conflict(detail));
            }
            let code = Code::of(new.command);
            gateway.command(now, node, id, code, &new.params, patience).map_err(command_refused)
        })
        .await??;
    let ended = sent.await.map_err(|_gone| Stopped)?;
    Ok(Json(convert::command(&ended)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_words() {
        for (text, found) in [
            ("30s", Some(30.0)),
            ("500ms", Some(0.5)),
            ("2m", Some(120.0)),
            ("1h", Some(3_600.0)),
            ("7", Some(7.0)),
            ("0s", Some(0.0)),
            ("", None),
            ("s", None),
            ("3d", None),
            ("25h", None),
            ("1e999", None),
            ("NaN", None),
        ] {
            assert_eq!(seconds("max_age", text, 0.0, AGE_MAX).ok(), found, "{text}");
        }
    }
}
