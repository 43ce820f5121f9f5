//! The state of the mesh: what is known, what is asked, what is told to nodes, what people do with alerts.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use meshward_core::node::Node as MeshNode;
use meshward_core::telemetry::Metric;
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use meshward_core::wire::status::Code;
use meshward_fleet::alert::{Fingerprint, VerbError};
use meshward_fleet::commands::CommandError;
use meshward_fleet::query::{Refused, Request};
use meshward_fleet::registry::LabelError;
use serde::Deserialize;

use super::super::convert;
use super::super::model::{
    Alert, AlertAct, CommandOutcome, Events, Finding, Incident, NewCommand, NewName, NewQuery, Node, Page,
    QueryAnswer, QueryLine, Status, Topology,
};
use super::{Answer, Handle, Problem, page, problem, stopped};
use crate::service::Gateway;
use crate::shell::{NodeHandle, Stopped};

/// Most events in one answer.
const EVENTS_MAX: usize = 1_000;
/// Longest that a query or command may wait, in seconds.
const TIMEOUT_MAX: f64 = 120.0;
/// Oldest value that may be good enough, in seconds: a day.
const AGE_MAX: f64 = 86_400.0;
/// Who acted where nobody says.
const SOMEBODY: &str = "operator";

type NodePath = Result<Path<u32>, PathRejection>;

pub(super) fn router() -> Router<NodeHandle<Gateway>> {
    Router::new()
        .route("/api/v1/status", get(get_status))
        .route("/api/v1/nodes", get(list_nodes))
        .route("/api/v1/nodes/{id}", get(get_node))
        .route("/api/v1/nodes/{id}/status", get(ask_node))
        .route("/api/v1/nodes/{id}/commands", post(command))
        .route("/api/v1/nodes/{id}/name", put(set_name))
        .route("/api/v1/queries", post(ask))
        .route("/api/v1/topology", get(get_topology))
        .route("/api/v1/topology.dot", get(get_dot))
        .route("/api/v1/alerts", get(list_alerts))
        .route("/api/v1/alerts/{fingerprint}/{verb}", post(act_on_alert))
        .route("/api/v1/events", get(list_events))
        .route("/api/v1/findings", get(list_findings))
        .route("/api/v1/incidents", get(list_incidents))
}

fn unprocessable(detail: impl Into<String>) -> Problem {
    problem(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn node_id(id: NodePath) -> Answer<NodeId> {
    let bad = |error: PathRejection| {
        let detail = format!("{}: a node id is a decimal number of 32 bits", error.body_text());
        problem(StatusCode::BAD_REQUEST, detail)
    };
    id.map(|Path(id)| NodeId(id)).map_err(bad)
}

fn unknown(id: NodeId) -> Problem {
    problem(StatusCode::NOT_FOUND, format!("the mesh has never shown a node {id}"))
}

async fn get_status(State(gateway): Handle) -> Answer<Json<Status>> {
    gateway.with(|now, node, gateway| Json(convert::status(gateway, now, node))).await.map_err(stopped)
}

async fn list_nodes(State(gateway): Handle) -> Answer<Json<Page<Node>>> {
    gateway.with(|now, _, gateway| page(convert::nodes(gateway, now))).await.map_err(stopped)
}

async fn get_node(State(gateway): Handle, id: NodePath) -> Answer<Json<Node>> {
    let id = node_id(id)?;
    let found =
        gateway.with(move |now, _, gateway| convert::node(gateway, now, id)).await.map_err(stopped)?;
    found.map(Json).ok_or_else(|| unknown(id))
}

async fn get_topology(State(gateway): Handle) -> Answer<Json<Topology>> {
    gateway.with(|now, node, gateway| Json(convert::topology(gateway, now, node))).await.map_err(stopped)
}

async fn get_dot(State(gateway): Handle) -> Answer<impl IntoResponse> {
    let dot = gateway.with(|_, _, gateway| convert::dot(gateway)).await.map_err(stopped)?;
    Ok(([(header::CONTENT_TYPE, "text/vnd.graphviz; charset=utf-8")], dot))
}

async fn list_alerts(State(gateway): Handle) -> Answer<Json<Page<Alert>>> {
    gateway.with(|_, _, gateway| page(convert::alerts(gateway))).await.map_err(stopped)
}

async fn list_findings(State(gateway): Handle) -> Answer<Json<Page<Finding>>> {
    gateway.with(|_, _, gateway| page(convert::findings(gateway))).await.map_err(stopped)
}

async fn list_incidents(State(gateway): Handle) -> Answer<Json<Page<Incident>>> {
    gateway.with(|_, _, gateway| page(convert::incidents(gateway))).await.map_err(stopped)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn list_events(
    State(gateway): Handle,
    after: Result<Query<After>, QueryRejection>,
) -> Answer<Json<Events>> {
    let bad = |error: QueryRejection| {
        let detail = format!("{}: `after` is the number of an event, 0 for all", error.body_text());
        problem(StatusCode::BAD_REQUEST, detail)
    };
    let Query(After { after }) = after.map_err(bad)?;
    let events =
        move |_, _: &mut MeshNode, gateway: &mut Gateway| Json(convert::events(gateway, after, EVENTS_MAX));
    gateway.with(events).await.map_err(stopped)
}

/// Seconds within bounds, of a field.
fn span(field: &str, seconds: f64, least: f64, most: f64) -> Answer<Duration> {
    if !(least..=most).contains(&seconds) {
        let detail = format!("{field} {seconds} is out of range: take {least} to {most} seconds");
        return Err(unprocessable(detail));
    }
    Ok(Duration::from_micros((seconds * 1e6) as u64))
}

/// `30s`, `500ms`, `2m`, `1h`, or a number of seconds.
fn seconds(field: &str, text: &str) -> Answer<f64> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("", 1.0)];
    let read = |(unit, factor): (&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor);
    let seconds = units.into_iter().find_map(read).filter(|seconds| seconds.is_finite());
    seconds.ok_or_else(|| {
        unprocessable(format!("{field} `{text}` is no time: take a number with ms, s, m or h, such as 30s"))
    })
}

fn request(query: &NewQuery) -> Answer<(Option<Vec<NodeId>>, Request)> {
    let metric = |name: &String| {
        let names = || Metric::ALL.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ");
        Metric::named(name)
            .ok_or_else(|| unprocessable(format!("metrics: `{name}` is none: take some of {}", names())))
    };
    let request = Request {
        nodes: Vec::new(),
        metrics: query.metrics.iter().map(metric).collect::<Answer<_>>()?,
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
                problem(status, error.to_string())
            };
            gateway.query(now, node, Request { nodes, ..request }).map_err(refused)
        })
        .await
        .map_err(stopped)??;
    let outcomes = asked.await.map_err(|_gone| stopped(Stopped))?;
    gateway.with(move |_, _, gateway| convert::answer(gateway, &outcomes)).await.map_err(stopped)
}

async fn ask(
    State(gateway): Handle,
    body: Result<Json<NewQuery>, JsonRejection>,
) -> Answer<Json<QueryAnswer>> {
    let Json(query) = body.map_err(|error| problem(error.status(), error.body_text()))?;
    answered(&gateway, &query).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patience {
    max_age: Option<String>,
    timeout: Option<String>,
}

async fn ask_node(
    State(gateway): Handle,
    id: NodePath,
    patience: Result<Query<Patience>, QueryRejection>,
) -> Answer<Json<QueryLine>> {
    let id = node_id(id)?;
    let Query(patience) = patience.map_err(|error| problem(error.status(), error.body_text()))?;
    let query = NewQuery {
        nodes: Some(vec![id.0]),
        metrics: Vec::new(),
        max_age_seconds: seconds("max_age", patience.max_age.as_deref().unwrap_or("30s"))?,
        timeout_seconds: seconds("timeout", patience.timeout.as_deref().unwrap_or("5s"))?,
    };
    let line = answered(&gateway, &query).await?.nodes.into_iter().next();
    line.map(Json).ok_or_else(|| unknown(id))
}

async fn command(
    State(gateway): Handle,
    id: NodePath,
    body: Result<Json<NewCommand>, JsonRejection>,
) -> Answer<Json<CommandOutcome>> {
    let id = node_id(id)?;
    let Json(new) = body.map_err(|error| problem(error.status(), error.body_text()))?;
    if !(1..=255).contains(&new.command) {
        let detail = format!("command {} is none: take 1 to 255, for the field has 8 bits", new.command);
        return Err(unprocessable(detail));
    }
    let patience = span("timeout_seconds", new.timeout_seconds, 0.1, TIMEOUT_MAX)?;
    let sent = gateway
        .with(move |now, node, gateway| {
            if gateway.registry().get(id).is_none() {
                return Err(unknown(id));
            }
            if gateway.topology().place(id).is_none() {
                let detail = format!("node {id} is not in the mesh now; nothing has been sent");
                return Err(problem(StatusCode::CONFLICT, detail));
            }
            let refused = |error: CommandError| {
                let status = match error {
                    CommandError::Busy { .. } => StatusCode::CONFLICT,
                    CommandError::Full => StatusCode::TOO_MANY_REQUESTS,
                    CommandError::Nobody | CommandError::Code(_) | CommandError::Params(_) => {
                        StatusCode::UNPROCESSABLE_ENTITY
                    }
                };
                problem(status, error.to_string())
            };
            let code = Code::of(new.command);
            gateway.command(now, node, id, code, &new.params, patience).map_err(refused)
        })
        .await
        .map_err(stopped)??;
    let ended = sent.await.map_err(|_gone| stopped(Stopped))?;
    Ok(Json(convert::command(&ended)))
}

async fn set_name(
    State(gateway): Handle,
    id: NodePath,
    body: Result<Json<NewName>, JsonRejection>,
) -> Answer<Json<Node>> {
    let id = node_id(id)?;
    let Json(NewName { name }) = body.map_err(|error| problem(error.status(), error.body_text()))?;
    let named = gateway
        .with(move |now, _, gateway| {
            let registry = gateway.fleet_mut().registry_mut();
            match &name {
                Some(name) => registry.set_name(id, name)?,
                None => registry.clear_name(id),
            }
            convert::node(gateway, now, id).ok_or(LabelError::Unknown(id))
        })
        .await
        .map_err(stopped)?;
    let refused = |error: LabelError| match error {
        LabelError::Unknown(id) => unknown(id),
        error => unprocessable(format!("name: {error}")),
    };
    named.map(Json).map_err(refused)
}

/// What is in the body, which may be empty.
fn act(body: Result<Bytes, BytesRejection>) -> Answer<AlertAct> {
    let body = body.map_err(|error| problem(error.status(), error.body_text()))?;
    if body.is_empty() {
        return Ok(AlertAct::default());
    }
    serde_json::from_slice(&body).map_err(|error| {
        unprocessable(format!("the body is not {{\"by\": …, \"text\": …}}, both texts: {error}"))
    })
}

async fn act_on_alert(
    State(gateway): Handle,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<Alert>> {
    let Path((named, verb)) = path.map_err(|error| problem(StatusCode::BAD_REQUEST, error.body_text()))?;
    let AlertAct { by, text } = act(body)?;
    let read = u64::from_str_radix(&named, 16).ok().filter(|_| named.len() == 16);
    let fingerprint = read.map(Fingerprint).ok_or_else(|| {
        let detail = format!("alert `{named}` is no fingerprint: take the 16 hexadecimal digits of one");
        problem(StatusCode::BAD_REQUEST, detail)
    })?;
    let by = by.unwrap_or_else(|| SOMEBODY.to_owned());
    let done = gateway
        .with(move |now, node, gateway| {
            let done = gateway.alerts_mut(now, node, |engine| match (&*verb, &text) {
                ("ack", _) => Ok(engine.acknowledge(now, fingerprint, &by)),
                ("unack", _) => Ok(engine.unacknowledge(now, fingerprint, &by)),
                ("clear", _) => Ok(engine.clear(now, fingerprint, &by)),
                ("comment", Some(text)) if !text.trim().is_empty() => {
                    Ok(engine.comment(now, fingerprint, &by, text))
                }
                ("comment", _) => Err(unprocessable("text is missing or empty: a comment says something")),
                (verb, _) => {
                    let detail = format!("`{verb}` is nothing to do: take ack, unack, clear or comment");
                    Err(problem(StatusCode::NOT_FOUND, detail))
                }
            })?;
            done.map_err(refused)?;
            let name = fingerprint.to_string();
            let found = convert::alerts(gateway).into_iter().find(|alert| alert.fingerprint == name);
            found.ok_or_else(|| refused(VerbError::Unknown))
        })
        .await
        .map_err(stopped)?;
    done.map(Json)
}

fn refused(error: VerbError) -> Problem {
    let status = match error {
        VerbError::Unknown | VerbError::Window => StatusCode::NOT_FOUND,
        VerbError::State(_) => StatusCode::CONFLICT,
        VerbError::Text | VerbError::Times => StatusCode::UNPROCESSABLE_ENTITY,
        VerbError::Windows => StatusCode::TOO_MANY_REQUESTS,
    };
    problem(status, error.to_string())
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
            ("1e999", None),
            ("NaN", None),
        ] {
            assert_eq!(seconds("max_age", text).ok(), found, "{text}");
        }
    }
}
