//! Asking nodes, and telling them what to do.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use meshward_core::node::Node as MeshNode;
use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_core::wire::status::Code;
use meshward_fleet::commands::CommandError;
use meshward_fleet::query::{QueryId, Refused, Request};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::Api;
use super::super::convert;
use super::super::extract::{JsonBody, NodePath, PathOf, QueryOf, seconds};
use super::super::model::{
    CommandOutcome, NewCommand, NewQuery, Page, QueryAnswer, QueryLine, QueryOutcome, QueryProgress,
};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::{Handle, unknown};
use crate::service::Gateway;
use crate::shell::{NodeHandle, Stopped};

/// Longest that a query or command may wait, in seconds.
const TIMEOUT_MAX: f64 = 120.0;
/// Oldest value that may be good enough, in seconds: a day.
const AGE_MAX: f64 = 86_400.0;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_queries, start_query))
        .routes(routes!(get_query, cancel_query))
        .routes(routes!(ask_node))
        .routes(routes!(ask_node_short))
        .routes(routes!(send_command))
}

/// Seconds within bounds, of a field.
fn span(field: &str, seconds: f64, least: f64, most: f64) -> Answer<Duration> {
    if !(least..=most).contains(&seconds) {
        let detail = format!("{field} {seconds} is out of range: take {least} to {most} seconds");
        return Err(Problem::value(format!("/{field}"), detail));
    }
    Ok(Duration::from_micros((seconds * 1e6) as u64))
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

/// Begins a question by `begin`, with its nodes filled in.
async fn begin<R: Send + 'static>(
    gateway: &NodeHandle<Gateway>,
    query: &NewQuery,
    begin: impl FnOnce(Instant, &mut MeshNode, &mut Gateway, Request) -> Result<R, Refused> + Send + 'static,
) -> Answer<R> {
    let (nodes, request) = request(query)?;
    gateway
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
            begin(now, node, gateway, Request { nodes, ..request }).map_err(refused)
        })
        .await?
}

async fn answered(gateway: &NodeHandle<Gateway>, query: &NewQuery) -> Answer<QueryAnswer> {
    let asked =
        begin(gateway, query, |now, node, gateway, request| gateway.query(now, node, request)).await?;
    let outcomes = asked.await.map_err(|_gone| Stopped)?;
    Ok(gateway.with(move |_, _, gateway| convert::answer(gateway, &outcomes)).await?)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// Answer when it is over, with what became of each node; so does `Prefer: wait`.
    #[serde(default)]
    #[param(required = false)]
    wait: bool,
}

/// Asks nodes how they fare.
///
/// What nodes have told within `max_age_seconds` is not asked for again. The question goes on by itself: `Location`
/// says where its progress is. With `wait` (or `Prefer: wait`) the answer comes when each node has its outcome, after
/// `timeout_seconds` at the latest, and is 200 also when not every node has answered: what became of each is in its
/// line. At most 32 are under way and 64 are kept.
#[utoipa::path(post, path = "/api/v1/queries", tag = "queries", params(Wait), request_body = NewQuery,
    responses((status = 200, description = "What became of each node.", body = QueryAnswer),
        (status = 202, description = "They are being asked.", body = QueryProgress,
            headers(("Location" = String, description = "Where its progress is."))),
        Is::<400>, Is::<404>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn start_query(
    State(gateway): Handle,
    QueryOf(Wait { wait }): QueryOf<Wait>,
    headers: HeaderMap,
    JsonBody(query): JsonBody<NewQuery>,
) -> Answer<Response> {
    let preferred = headers.get_all("prefer").iter().filter_map(|preferred| preferred.to_str().ok());
    let mut words = preferred.flat_map(|line| line.split([',', ';'])).map(str::trim);
    if wait || words.any(|word| word == "wait" || word.starts_with("wait=")) {
        return Ok(Json(answered(&gateway, &query).await?).into_response());
    }
    let asked =
        begin(&gateway, &query, |now, node, gateway, request| gateway.ask(now, node, request)).await?;
    let progress = progress(&gateway, asked).await?;
    let location = format!("/api/v1/queries/{}", progress.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(progress)).into_response())
}

async fn progress(gateway: &NodeHandle<Gateway>, id: QueryId) -> Answer<QueryProgress> {
    let found = gateway
        .with(move |_, _, gateway| gateway.asked(id).map(|asked| convert::progress(gateway, asked)))
        .await?;
    found.ok_or_else(|| no_query(id.0))
}

fn no_query(id: u32) -> Problem {
    Problem::not_found(format!("there is no question {id}; it may have been forgotten since"))
}

/// Questions that are kept, the newest first.
#[utoipa::path(get, path = "/api/v1/queries", tag = "queries", params(Paging), responses(
    (status = 200, description = "Under way and over.", body = Page<QueryProgress>), Is::<400>,
))]
async fn list_queries(State(gateway): Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let all =
        |gateway: &Gateway| gateway.all_asked().map(|asked| convert::progress(gateway, asked)).collect();
    let all: Vec<QueryProgress> = gateway.with(move |_, _, gateway| all(gateway)).await?;
    let page = paging.cut(all, ("id", true), |asked| Place(0.0, String::new(), asked.id.into()))?;
    Ok(linked(&uri, page))
}

/// How far a question is.
#[utoipa::path(get, path = "/api/v1/queries/{id}", tag = "queries",
    params(("id" = u32, Path, description = "Its number.")),
    responses((status = 200, description = "Who has answered and who has not.", body = QueryProgress),
        Is::<400>, Is::<404>))]
async fn get_query(State(gateway): Handle, PathOf(id): PathOf<u32>) -> Answer<Json<QueryProgress>> {
    progress(&gateway, QueryId(id)).await.map(Json)
}

/// Takes a question back, and forgets it.
#[utoipa::path(delete, path = "/api/v1/queries/{id}", tag = "queries",
    params(("id" = u32, Path, description = "Its number.")),
    responses((status = 204, description = "Nobody is asked any more."), Is::<400>, Is::<404>))]
async fn cancel_query(State(gateway): Handle, PathOf(id): PathOf<u32>) -> Answer<StatusCode> {
    let known = gateway.with(move |now, node, gateway| gateway.take_back(now, node, QueryId(id))).await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(no_query(id)) }
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
///
/// 200 when something is known of it now: it has answered, had told it before (then `Age` says how long ago), lives
/// (`probed`) or has declined. 504 when it has said nothing in time or is not in the mesh. Of several nodes see
/// `POST /api/v1/queries`, which answers 200 whatever became of them.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/status", tag = "queries",
    params(("id" = u32, Path, description = "Its id, decimal."), Patience),
    responses((status = 200, description = "What became of it.", body = QueryLine,
            headers(("Age" = u64, description = "How old the oldest value is, in seconds; when it is not new."))),
        Is::<400>, Is::<404>, Is::<429>, Is::<504>))]
async fn ask_node(
    State(gateway): Handle,
    NodePath(id): NodePath,
    QueryOf(patience): QueryOf<Patience>,
) -> Answer<Response> {
    ask_one(&gateway, id, patience).await
}

/// Asks one node how it fares, and waits: short for `/api/v1/nodes/{id}/status`.
#[utoipa::path(get, path = "/status/{id}", tag = "queries",
    params(("id" = u32, Path, description = "Its id, decimal."), Patience),
    responses((status = 200, description = "What became of it.", body = QueryLine,
            headers(("Age" = u64, description = "How old the oldest value is, in seconds; when it is not new."))),
        Is::<400>, Is::<404>, Is::<429>, Is::<504>))]
async fn ask_node_short(
    State(gateway): Handle,
    NodePath(id): NodePath,
    QueryOf(patience): QueryOf<Patience>,
) -> Answer<Response> {
    ask_one(&gateway, id, patience).await
}

async fn ask_one(gateway: &NodeHandle<Gateway>, id: NodeId, patience: Patience) -> Answer<Response> {
    let query = NewQuery {
        nodes: Some(vec![id.0]),
        metrics: Vec::new(),
        max_age_seconds: seconds("max_age", patience.max_age.as_deref().unwrap_or("30s"), 0.0, AGE_MAX)?,
        timeout_seconds: seconds("timeout", patience.timeout.as_deref().unwrap_or("5s"), 0.1, TIMEOUT_MAX)?,
    };
    let line = answered(gateway, &query).await?.nodes.into_iter().next().ok_or_else(|| unknown(id))?;
    if matches!(line.outcome, QueryOutcome::TimedOut | QueryOutcome::Unreachable | QueryOutcome::Cancelled) {
        let why = line.outcome.name();
        return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, format!("node {id} has not answered: {why}")));
    }
    let age = line.age_seconds.map(|age| [(header::AGE, (age as u64).to_string())]);
    Ok(match age {
        Some(age) => (age, Json(line)).into_response(),
        None => Json(line).into_response(),
    })
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
    State(api): State<Api>,
    who: Principal,
    NodePath(id): NodePath,
    JsonBody(new): JsonBody<NewCommand>,
) -> Answer<Json<CommandOutcome>> {
    if !(1..=255).contains(&new.command) {
        let detail = format!("command {} is none: take 1 to 255, for the field has 8 bits", new.command);
        return Err(Problem::value("/command", detail));
    }
    let patience = span("timeout_seconds", new.timeout_seconds, 0.1, TIMEOUT_MAX)?;
    api.gateway.with(move |_, _, gateway| reachable(gateway, id)).await??;
    let detail = serde_json::json!({ "command": new.command, "params": new.params });
    api.audit(&who, "node.command", id, detail).await?;
    let kept = api.accept_command(&who, id.0, new.command, &new.params).await?;
    let sent = api.gateway.with(move |now, node, gateway| {
        reachable(gateway, id)?;
        let code = Code::of(new.command);
        gateway.command(now, node, id, code, &new.params, patience).map_err(command_refused)
    });
    let sent = match sent.await? {
        Ok(sent) => sent,
        Err(refused) => {
            api.end_command(kept, &serde_json::json!({ "outcome": "refused" })).await;
            return Err(refused);
        }
    };
    // Whoever asked may go; what came of it is written down all the same.
    let waiting = tokio::spawn(async move {
        let ended = sent.await.map_err(|_gone| Stopped)?;
        let outcome = convert::command(&ended);
        api.end_command(kept, &serde_json::to_value(&outcome).unwrap_or_default()).await;
        Ok::<_, Problem>(outcome)
    });
    waiting.await.map_err(|_panicked| Stopped)?.map(Json)
}

/// Whether a command can reach a node.
fn reachable(gateway: &Gateway, id: NodeId) -> Answer<()> {
    if gateway.registry().get(id).is_none() {
        return Err(unknown(id));
    }
    if gateway.topology().place(id).is_none() {
        let detail = format!("node {id} is not in the mesh now; nothing has been sent");
        return Err(Problem::conflict(detail));
    }
    Ok(())
}
