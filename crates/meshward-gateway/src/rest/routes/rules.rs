//! The rules that raise alerts.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use meshward_core::time::{Duration, Instant};
use meshward_fleet::alert;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::Principal;
use super::super::api::Api;
use super::super::conditional::IfMatch;
use super::super::convert;
use super::super::extract::{JsonBody, PathOf, QueryOf, seconds};
use super::super::model::{AlertRule, NewAlertRule, Page, Rehearsal};
use super::super::openapi::Is;
use super::super::page::{Paged, Paging, Place, linked};
use super::super::problem::{Answer, Problem};
use super::Handle;
use crate::keep;
use crate::service::Gateway;
use crate::store::{DocumentKind, Expected};

/// Longest time back that a rule is tried on, in seconds: a week.
const WINDOW_MAX: f64 = 604_800.0;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_alert_rules))
        .routes(routes!(get_alert_rule, put_alert_rule, delete_alert_rule))
        .routes(routes!(try_alert_rule))
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

/// The rule that a body says, checked.
fn read(name: &str, given: NewAlertRule) -> Answer<(alert::Rule, AlertRule)> {
    let mut given = AlertRule::from(given);
    if given.name.is_empty() {
        name.clone_into(&mut given.name);
    } else if given.name != name {
        let detail = format!("name `{}` is another than that of the path, `{name}`", given.name);
        return Err(Problem::value("/name", detail));
    }
    let written = |wrong: convert::WrongRule| Problem::value(format!("/{}", wrong.field), wrong.to_string());
    let rule = convert::written_rule(&given).map_err(written)?;
    let shown = convert::rule(&rule);
    Ok((rule, shown))
}

/// The rules would be these; what is there now of that name.
async fn now_of(api: &Api, name: String, rule: alert::Rule) -> Answer<Option<AlertRule>> {
    let found = api.gateway.with(move |_, _, gateway| {
        let rules = gateway.fleet().alerts().rules().to_vec();
        let old = rules.iter().find(|rule| rule.name == name).map(convert::rule);
        match keep::rule::with(rules, rule).len() {
            len if len > alert::RULES_MAX => Err(alert::RuleError::TooMany(len)),
            _ => Ok(old),
        }
    });
    found.await?.map_err(|error| Problem::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()))
}

/// Takes other rules: what was written down before.
async fn put(
    api: &Api,
    change: impl FnOnce(Vec<alert::Rule>) -> Vec<alert::Rule> + Send + 'static,
) -> Answer<()> {
    let done = api.gateway.with(move |now, node, gateway| {
        let rules = change(gateway.fleet().alerts().rules().to_vec());
        gateway.alerts_mut(now, node, |engine| engine.set_rules(now, rules))
    });
    done.await?.map_err(|error| Problem::new(StatusCode::CONFLICT, error.to_string()))
}

/// Writes a rule, or changes one: built-in ones too.
///
/// Alerts that the rule has raised stay while it looks at the same thing.
#[utoipa::path(put, path = "/api/v1/alert-rules/{name}", tag = "alerts", request_body = NewAlertRule,
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The rule as it is now.", body = AlertRule),
        (status = 201, description = "There is a rule of that name now.", body = AlertRule),
        Is::<400>, Is::<409>, Is::<412>, Is::<413>, Is::<415>, Is::<422>, Is::<429>))]
async fn put_alert_rule(
    State(api): State<Api>,
    who: Principal,
    PathOf(name): PathOf<String>,
    edit: IfMatch,
    JsonBody(given): JsonBody<NewAlertRule>,
) -> Answer<Response> {
    let (rule, shown) = read(&name, given)?;
    let old = now_of(&api, name.clone(), rule.clone()).await?;
    edit.holds(&old)?;
    let detail = serde_json::to_value(&shown).map_err(keep::RowError::from)?;
    api.audit(&who, "alert_rule.put", &name, detail).await?;
    if let Some(store) = &api.store {
        let body = keep::rule::written(&shown)?;
        store.put_document(DocumentKind::Rule, &name, &body, Expected::Any).await?;
    }
    put(&api, |rules| keep::rule::with(rules, rule)).await?;
    let status = if old.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(shown)).into_response())
}

/// Takes away what people wrote: a built-in rule is again as it came.
///
/// A built-in rule that nobody changed cannot be taken away, only switched off: 409.
#[utoipa::path(delete, path = "/api/v1/alert-rules/{name}", tag = "alerts",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 204, description = "It is as if nobody had written it."),
        Is::<400>, Is::<404>, Is::<409>, Is::<412>))]
async fn delete_alert_rule(
    State(api): State<Api>,
    who: Principal,
    PathOf(name): PathOf<String>,
    edit: IfMatch,
) -> Answer<StatusCode> {
    let named = name.clone();
    let rules = api.gateway.with(|_, _, gateway| gateway.fleet().alerts().rules().to_vec()).await?;
    let old = rules.into_iter().find(|rule| rule.name == name).ok_or_else(|| unknown(&name))?;
    edit.holds(&convert::rule(&old))?;
    if keep::rule::built_in(&name).as_ref() == Some(&old) {
        let detail = format!("rule `{name}` is built in and as it came: switch it off with `enabled` false");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    api.audit(&who, "alert_rule.delete", &name, serde_json::json!({})).await?;
    if let Some(store) = &api.store {
        store.remove_document(DocumentKind::Rule, &name, Expected::Any).await?;
    }
    put(&api, move |rules| keep::rule::without(rules, &named)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Window {
    /// How far back: a number with ms, s, m, h or d, at most 7d; what is kept is shorter. 6h when absent.
    #[param(example = "6h")]
    window: Option<String>,
}

impl Window {
    fn read(&self) -> Answer<Duration> {
        let window = seconds("window", self.window.as_deref().unwrap_or("6h"), 1.0, WINDOW_MAX)?;
        Ok(Duration::from_micros((window * 1e6) as u64))
    }
}

/// What a rule would have done, if it were one: nothing is kept of it.
///
/// See `/api/v1/alert-rules/{name}/test`.
#[utoipa::path(post, path = "/api/v1/alert-rule-tests", tag = "alerts", request_body = NewAlertRule, params(Window),
    responses((status = 200, description = "Alerts that would have been.", body = Rehearsal),
        Is::<400>, Is::<413>, Is::<415>, Is::<422>))]
async fn try_alert_rule(
    State(gateway): Handle,
    QueryOf(window): QueryOf<Window>,
    JsonBody(given): JsonBody<NewAlertRule>,
) -> Answer<Json<Rehearsal>> {
    let name = if given.name.is_empty() { "new".to_owned() } else { given.name.clone() };
    let (rule, _) = read(&name, given)?;
    let window = window.read()?;
    let tried = gateway.with(move |now, _, gateway| rehearsed(gateway, now, &rule, window)).await??;
    Ok(Json(tried))
}

fn rehearsed(gateway: &Gateway, now: Instant, rule: &alert::Rule, window: Duration) -> Answer<Rehearsal> {
    convert::rehearsal(gateway, now, rule, window).ok_or_else(|| {
        let name = &rule.name;
        let detail = format!(
            "rule `{name}` looks at something of which no history is kept: only rules on a level can be tried"
        );
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })
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
    QueryOf(window): QueryOf<Window>,
) -> Answer<Json<Rehearsal>> {
    let window = window.read()?;
    let tried = gateway
        .with(move |now, _, gateway| {
            let rule = gateway.fleet().alerts().rules().iter().find(|rule| rule.name == name);
            rehearsed(gateway, now, rule.ok_or_else(|| unknown(&name))?, window)
        })
        .await??;
    Ok(Json(tried))
}
