//! Requests over MQTT: which there are, what each comes to at the REST interface, and how it is answered.
//!
//! A request is a JSON object sent to `{base}/request/NAME`. What the path of its route needs is taken out of it, and
//! the rest becomes the body, or the query of a route that only looks. So there is one vocabulary, and REST's handlers
//! judge what is asked for. The answer goes to `{base}/response/NAME`, or where MQTT 5's response topic says, with the
//! `transaction` of the request.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::rest::inside::{Call, Content, encoded};

/// Longest request, in bytes; images come in chunks.
pub(crate) const REQUEST_MAX: usize = 256 * 1024;
/// Longest transaction, as JSON, in bytes.
const TRANSACTION_MAX: usize = 256;

/// A request that there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// Its name, behind `request/`.
    pub(crate) name: &'static str,
    method: &'static str,
    path: &'static str,
}

const fn route(name: &'static str, method: &'static str, path: &'static str) -> Route {
    Route { name, method, path }
}

/// All of them, but for the upload of firmware.
pub(crate) const ROUTES: &[Route] = &[
    route("status", "GET", "/api/v1/status"),
    route("health", "GET", "/api/v1/health"),
    route("topology", "GET", "/api/v1/topology"),
    route("findings", "GET", "/api/v1/findings"),
    route("incidents", "GET", "/api/v1/incidents"),
    route("events", "GET", "/api/v1/events"),
    route("nodes", "GET", "/api/v1/nodes"),
    route("node", "GET", "/api/v1/nodes/{id}"),
    route("node/status", "GET", "/api/v1/nodes/{id}/status"),
    route("node/history", "GET", "/api/v1/nodes/{id}/history"),
    route("node/events", "GET", "/api/v1/nodes/{id}/events"),
    route("node/label", "PATCH", "/api/v1/nodes/{id}/label"),
    route("node/name", "PUT", "/api/v1/nodes/{id}/name"),
    route("node/forget", "DELETE", "/api/v1/nodes/{id}"),
    route("node/command", "POST", "/api/v1/nodes/{id}/commands"),
    route("query", "POST", "/api/v1/queries?wait=true"),
    route("alerts", "GET", "/api/v1/alerts"),
    route("alert/ack", "POST", "/api/v1/alerts/{fingerprint}/ack"),
    route("alert/unack", "POST", "/api/v1/alerts/{fingerprint}/unack"),
    route("alert/clear", "POST", "/api/v1/alerts/{fingerprint}/clear"),
    route("alert/comment", "POST", "/api/v1/alerts/{fingerprint}/comment"),
    route("alert/assign", "POST", "/api/v1/alerts/{fingerprint}/assign"),
    route("silences", "GET", "/api/v1/silences"),
    route("silence/start", "POST", "/api/v1/silences"),
    route("silence/end", "DELETE", "/api/v1/silences/{id}"),
    route("firmware", "GET", "/api/v1/firmware"),
    route("firmware/manifest", "PUT", "/api/v1/firmware/{sha256}/manifest"),
    route("rollouts", "GET", "/api/v1/rollouts"),
    route("rollout", "GET", "/api/v1/rollouts/{id}"),
    route("rollout/forecast", "POST", "/api/v1/forecasts"),
    route("rollout/start", "POST", "/api/v1/rollouts"),
    route("rollout/activate", "POST", "/api/v1/rollouts/{id}/activate"),
    route("rollout/pause", "POST", "/api/v1/rollouts/{id}/pause"),
    route("rollout/resume", "POST", "/api/v1/rollouts/{id}/resume"),
    route("rollout/abort", "POST", "/api/v1/rollouts/{id}/abort"),
    route("rollout/preview", "POST", "/api/v1/rollout-previews"),
    route("rollout/approve", "POST", "/api/v1/rollouts/{id}/approve"),
    route("rollout/rollback", "POST", "/api/v1/rollouts/{id}/rollback"),
    route("rollout/report", "GET", "/api/v1/rollouts/{id}/report"),
];

/// Requests of an upload, which are answered here.
pub(crate) const UPLOADS: [&str; 3] =
    ["firmware/upload/begin", "firmware/upload/chunk", "firmware/upload/end"];

/// Why a request comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum RequestError {
    #[error("the request has {0} bytes: {REQUEST_MAX} are the most")]
    Long(usize),
    #[error("the request is no JSON object: {0}")]
    NoObject(String),
    #[error("transaction is too long: take at most {TRANSACTION_MAX} bytes")]
    Transaction,
    #[error("there is no request `{0}`: there are {names}", names = names())]
    Unknown(String),
    #[error("`{0}` is missing: a string or a number")]
    Missing(&'static str),
    #[error("`{field}` is no base64: {why}")]
    Base64 { field: &'static str, why: String },
}

impl RequestError {
    /// The status as HTTP would have it.
    pub(crate) const fn code(&self) -> u16 {
        match self {
            Self::Long(_) => 413,
            Self::Unknown(_) => 404,
            Self::NoObject(_) => 400,
            Self::Transaction | Self::Missing(_) | Self::Base64 { .. } => 422,
        }
    }
}

fn names() -> String {
    let all = ROUTES.iter().map(|route| route.name).chain(UPLOADS);
    all.collect::<Vec<_>>().join(", ")
}

/// A request as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// All but the transaction.
    pub(crate) fields: Map<String, Value>,
    /// By what its sender knows the answer; null when it does not want to.
    pub(crate) transaction: Value,
}

impl Request {
    /// Reads it; nothing at all is an empty object.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, RequestError> {
        if payload.len() > REQUEST_MAX {
            return Err(RequestError::Long(payload.len()));
        }
        if payload.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { fields: Map::new(), transaction: Value::Null });
        }
        let read = serde_json::from_slice::<Map<String, Value>>(payload);
        let mut fields = read.map_err(|error| RequestError::NoObject(error.to_string()))?;
        let transaction = fields.remove("transaction").unwrap_or_default();
        if transaction.to_string().len() > TRANSACTION_MAX {
            return Err(RequestError::Transaction);
        }
        Ok(Self { fields, transaction })
    }

    /// What it comes to.
    pub(crate) fn call(mut self, name: &str) -> Result<Call, RequestError> {
        let route = ROUTES.iter().find(|route| route.name == name);
        let route = route.ok_or_else(|| RequestError::Unknown(name.chars().take(80).collect()))?;
        let target = self.path(route.path)?;
        if name == "firmware/manifest" {
            return self.manifest(route.method, target);
        }
        let looks = route.method == "GET" || route.method == "DELETE";
        Ok(if looks {
            Call { method: route.method, target: with_query(target, &self.fields), content: Content::Nothing }
        } else {
            Call { method: route.method, target, content: Content::Json(Value::Object(self.fields)) }
        })
    }

    /// A path with its parameters filled in, which are taken out of the fields.
    fn path(&mut self, path: &'static str) -> Result<String, RequestError> {
        let mut filled = String::new();
        for (at, level) in path.split('/').enumerate() {
            if at > 0 {
                filled.push('/');
            }
            match level.strip_prefix('{').and_then(|level| level.strip_suffix('}')) {
                None => filled.push_str(level),
                Some(parameter) => {
                    let value = self.fields.remove(parameter).as_ref().and_then(word);
                    filled.push_str(&encoded(&value.ok_or(RequestError::Missing(parameter))?));
                }
            }
        }
        Ok(filled)
    }

    fn manifest(&self, method: &'static str, target: String) -> Result<Call, RequestError> {
        use base64::Engine as _;
        let text = self.fields.get("manifest").and_then(Value::as_str);
        let text = text.ok_or(RequestError::Missing("manifest"))?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
        let bytes =
            bytes.map_err(|error| RequestError::Base64 { field: "manifest", why: error.to_string() })?;
        Ok(Call { method, target, content: Content::Bytes(bytes) })
    }
}

/// What can stand in a path or a query.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(switch) => Some(switch.to_string()),
        _ => None,
    }
}

fn with_query(mut target: String, fields: &Map<String, Value>) -> String {
    for (name, value) in fields {
        // What is no word is sent as JSON, so that the route can refuse it.
        let value = word(value).unwrap_or_else(|| value.to_string());
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&format!("{}={}", encoded(name), encoded(&value)));
    }
    target
}

/// What is answered: `status` is `ok` or `error`, `code` the status as HTTP has it.
pub(crate) fn answer(code: u16, data: Value, transaction: &Value) -> Value {
    if code < 400 {
        return json!({ "status": "ok", "code": code, "data": data, "error": null, "transaction": transaction });
    }
    let error = data.get("detail").and_then(Value::as_str).unwrap_or("not done").to_owned();
    let errors = data.get("errors").cloned().unwrap_or_default();
    json!({ "status": "error", "code": code, "data": null, "error": error, "errors": errors, "transaction": transaction })
}

/// The same of what was refused here.
pub(crate) fn refusal(code: u16, why: &str, transaction: &Value) -> Value {
    answer(code, json!({ "detail": why }), transaction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::access::table;

    fn call(name: &str, payload: &str) -> Result<Call, RequestError> {
        Request::read(payload.as_bytes())?.call(name)
    }

    #[test]
    fn a_request_becomes_a_call() {
        for (name, payload, method, target, body) in [
            ("status", "", "GET", "/api/v1/status", None),
            ("node", r#"{"id":7}"#, "GET", "/api/v1/nodes/7", None),
            ("node", r#"{"id":"a/b"}"#, "GET", "/api/v1/nodes/a%2Fb", None),
            ("nodes", r#"{"state":"online","limit":5}"#, "GET", "/api/v1/nodes?limit=5&state=online", None),
            ("node/forget", r#"{"id":7}"#, "DELETE", "/api/v1/nodes/7", None),
            ("node/name", r#"{"id":7,"name":"x"}"#, "PUT", "/api/v1/nodes/7/name", Some(r#"{"name":"x"}"#)),
            ("query", r#"{"transaction":1}"#, "POST", "/api/v1/queries?wait=true", Some("{}")),
            ("rollout/abort", r#"{"id":3}"#, "POST", "/api/v1/rollouts/3/abort", Some("{}")),
        ] {
            let made = call(name, payload).unwrap();
            assert_eq!((made.method, &*made.target), (method, target), "{name}");
            let expected =
                body.map_or(Content::Nothing, |body| Content::Json(serde_json::from_str(body).unwrap()));
            assert_eq!(made.content, expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_would_be_right() {
        let long = format!("{{\"transaction\":\"{}\"}}", "x".repeat(300));
        let huge = " ".repeat(REQUEST_MAX + 1);
        for (name, payload, code, said) in [
            ("nothing", "{}", 404, "there are status, health"),
            ("status", "[]", 400, "no JSON object"),
            ("status", "{", 400, "no JSON object"),
            ("status", "\u{0}", 400, "no JSON object"),
            ("node", "{}", 422, "`id` is missing"),
            ("node", r#"{"id":[1]}"#, 422, "`id` is missing"),
            ("node", r#"{"id":""}"#, 422, "`id` is missing"),
            ("status", &long, 422, "at most 256"),
            ("status", &huge, 413, "262144"),
            ("firmware/manifest", r#"{"sha256":"0","manifest":"%"}"#, 422, "base64"),
        ] {
            let error = call(name, payload).unwrap_err();
            assert!(error.to_string().contains(said) && error.code() == code, "{name}: {error}");
        }
    }

    #[test]
    fn every_request_has_a_route_at_the_rest_interface_and_a_name_of_its_own() {
        let mut names: Vec<&str> = ROUTES.iter().map(|route| route.name).chain(UPLOADS).collect();
        for route in ROUTES {
            let method = axum::http::Method::from_bytes(route.method.as_bytes()).unwrap();
            let path = route.path.split('?').next().unwrap();
            assert!(table::find(&method, path).is_some(), "{} {path}", route.method);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_answer_says_what_was_done_or_why_not() {
        let one = Value::from("t1");
        assert_eq!(answer(201, json!({"id": 1}), &one)["status"], "ok");
        let problem = json!({"detail": "no such node", "errors": []});
        let error = answer(404, problem, &one);
        assert_eq!((&error["status"], &error["error"]), (&json!("error"), &json!("no such node")));
        assert_eq!((&error["code"], &error["transaction"]), (&json!(404), &one));
    }
}
