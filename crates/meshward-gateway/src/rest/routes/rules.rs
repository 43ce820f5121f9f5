//! The rules that raise alerts.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use meshward_core::time::Duration;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::api::Api;
use super::super::convert;
use super::super::extract::{PathOf, QueryOf, seconds};
use super::super::model::{AlertRule, Page, Rehearsal};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::Handle;

/// Longest time back that a rule is tried on, in seconds: a week.
const WINDOW_MAX: f64 = 604_800.0;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_alert_rules))
        .routes(routes!(get_alert_rule))
        .routes(routes!(test_alert_rule))
}

/// The rules that raise alerts.
#[utoipa::path(get, path = "/api/v1/alert-rules", tag = "alerts", params(Paging), responses(
    (status = 200, description = "In order of their names.", body = Page<AlertRule>), Is::<400>,
))]
async fn list_alert_rules(State(gateway): Handle, uri: Uri, QueryOf(paging): Paged) -> Answer<Response> {
    let rules = gateway.with(|_, _, gateway| convert::rules(gateway)).await?;
    let page = paging.cut(rules, ("name", false), |rule| Place(0.0, rule.name.clone(), 0))?;
    Ok(linked(&uri, page))
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no rule `{name}`: take one of /api/v1/alert-rules"))
}

/// One rule.
#[utoipa::path(get, path = "/api/v1/alert-rules/{name}", tag = "alerts",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The rule.", body = AlertRule), Is::<400>, Is::<404>))]
async fn get_alert_rule(State(gateway): Handle, PathOf(name): PathOf<String>) -> Answer<Json<AlertRule>> {
    let rules = gateway.with(|_, _, gateway| convert::rules(gateway)).await?;
    rules.into_iter().find(|rule| rule.name == name).map(Json).ok_or_else(|| unknown(&name))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Window {
    /// How far back: a number with ms, s, m, h or d, at most 7d; what is kept is shorter. 6h when absent.
    #[param(example = "6h")]
    window: Option<String>,
}

/// What a rule would have done.
///
/// It is tried on the values that are kept: six hours of them. Only rules on a level can be tried: of states, rates
/// and what is usual there is no history, which is 422.
#[utoipa::path(get, path = "/api/v1/alert-rules/{name}/test", tag = "alerts",
    params(("name" = String, Path, description = "Its name."), Window),
    responses((status = 200, description = "Alerts that would have been.", body = Rehearsal),
        Is::<400>, Is::<404>, Is::<422>))]
async fn test_alert_rule(
    State(gateway): Handle,
    PathOf(name): PathOf<String>,
    QueryOf(Window { window }): QueryOf<Window>,
) -> Answer<Json<Rehearsal>> {
    let window = seconds("window", window.as_deref().unwrap_or("6h"), 1.0, WINDOW_MAX)?;
    let window = Duration::from_micros((window * 1e6) as u64);
    let tried = gateway
        .with(move |now, _, gateway| {
            let rule = gateway.fleet().alerts().rules().iter().find(|rule| rule.name == name);
            let rule = rule.ok_or_else(|| unknown(&name))?;
            convert::rehearsal(gateway, now, rule, window).ok_or_else(|| {
                let detail = format!("rule `{name}` looks at something of which no history is kept: only rules on a level can be tried");
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            })
        })
        .await??;
    Ok(Json(tried))
}
