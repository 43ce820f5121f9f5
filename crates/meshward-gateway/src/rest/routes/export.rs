//! One download of what the gateway knows, for spreadsheets and other programs.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use meshward_core::telemetry::Metric;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::super::access::{Principal, Role};
use super::super::api::Api;
use super::super::export::source::{Source, Span, Telemetry, known};
use super::super::export::{EXPORTS_MAX, Format, body};
use super::super::extract::QueryOf;
use super::super::openapi::Is;
use super::super::problem::{Answer, Problem};
use super::history::within;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(export))
}

/// What a download has.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum What {
    Nodes,
    Telemetry,
    Events,
    Alerts,
    Audit,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Telemetry => "telemetry",
            Self::Events => "events",
            Self::Alerts => "alerts",
            Self::Audit => "audit",
        }
    }
}

/// How it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Written {
    #[default]
    Ndjson,
    Csv,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// `nodes`, `telemetry`, `events`, `alerts` or `audit`.
    #[param(inline)]
    what: What,
    /// `ndjson`, a JSON object a line, or `csv`, a table with a head.
    #[serde(default)]
    #[param(inline)]
    format: Written,
    /// Not before, RFC 3339; of telemetry a day before `to` if absent, else the beginning.
    from: Option<Timestamp>,
    /// Before, RFC 3339; now if absent.
    to: Option<Timestamp>,
    /// Of telemetry which metrics, by name, separated by commas; all of them if absent.
    #[param(example = "free_heap_bytes,rssi_dbm")]
    metrics: Option<String>,
}

/// A download of what the gateway knows.
///
/// Nodes as they are now; what they measured, at the finest resolution that is kept, by time and node; events, the oldest
/// first; alerts that began within the time; the audit, the newest line first, for admins. Rows are sent as they are read,
/// so the answer has no length, and one that breaks off is not whole. In a table texts that a spreadsheet would take for a
/// formula have an apostrophe in front. At most two downloads at once.
#[utoipa::path(get, path = "/api/v1/export", tag = "service", params(Wanted), responses(
    (status = 200, description = "The rows.",
        content((String = "application/x-ndjson"), (String = "text/csv"))),
    Is::<400>, Is::<404>))]
async fn export(
    State(api): State<Api>,
    who: Principal,
    QueryOf(wanted): QueryOf<Wanted>,
) -> Answer<Response> {
    let format = match wanted.format {
        Written::Ndjson => Format::Ndjson,
        Written::Csv => Format::Csv,
    };
    let source = source(&api, &who, &wanted).await?;
    let place = api.exports.take().ok_or_else(|| {
        let detail = format!("{EXPORTS_MAX} downloads are under way already: wait for one to end");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
    })?;
    let name = format!("attachment; filename=\"meshward-{}.{}\"", wanted.what.name(), format.ending());
    let headers =
        [(header::CONTENT_TYPE, format.content_type().to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, body(source, format, place)).into_response())
}

async fn source(api: &Api, who: &Principal, wanted: &Wanted) -> Answer<Source> {
    let Wanted { what, from, to, metrics, .. } = wanted;
    let span = Span { from: *from, to: *to };
    if from.zip(*to).is_some_and(|(from, to)| from >= to) {
        return Err(Problem::parameter("from", "from is not before to"));
    }
    if metrics.is_some() && !matches!(what, What::Telemetry) {
        return Err(Problem::parameter("metrics", format!("{} have no metrics to choose from", what.name())));
    }
    let gateway = api.gateway.clone();
    Ok(match what {
        What::Nodes if span != (Span { from: None, to: None }) => {
            let parameter = if from.is_some() { "from" } else { "to" };
            return Err(Problem::parameter(parameter, "nodes are as they are now: take telemetry or events"));
        }
        What::Nodes => Source::Nodes { gateway, left: None },
        What::Telemetry => {
            let (from, to) = within(*from, *to)?;
            let metrics = chosen(metrics.as_deref())?;
            let (store, nodes) = (api.database()?.clone(), known(&gateway).await?);
            let telemetry = Telemetry { store, metrics, from, to: to.min(Timestamp::now()), nodes, next: 0 };
            Source::Telemetry(Box::new(telemetry))
        }
        What::Events => match &api.store {
            Some(store) => Source::Events { store: store.clone(), span, after: 0 },
            None => Source::Recent { gateway, span, after: 0 },
        },
        What::Alerts => Source::Alerts { gateway, span, done: false },
        What::Audit => {
            if who.role < Role::Admin {
                let detail = format!("{} is {}, and the audit is for admins", who.name, who.role);
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
            Source::Audit { store: api.database()?.clone(), span, before: None, done: false }
        }
    })
}

/// The metrics of these names; all if nobody names any.
fn chosen(named: Option<&str>) -> Answer<Vec<String>> {
    let Some(named) = named else {
        return Ok(Metric::ALL.iter().map(|metric| metric.name().to_owned()).collect());
    };
    let one = |name: &str| match Metric::named(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err(Problem::parameter("metrics", format!("there is no metric `{name}`"))),
    };
    named.split(',').map(str::trim).map(one).collect()
}
