//! What comes in over HTTP, read once and in one way.
//!
//! A body is JSON of at most [`JSON_MAX`] bytes without unknown fields; what is wrong in it is said with a JSON
//! pointer (RFC 6901), what is wrong in a query with the parameter's name. Each extractor refuses by a [`Problem`].

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use meshward_core::wire::NodeId;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::problem::{Answer, Problem};
use super::strict::Strict;

/// Longest body of JSON, in bytes: more than a list of all nodes that a gateway remembers.
pub(crate) const JSON_MAX: usize = 256 * 1024;

/// The bytes of a body, however long the route lets it be.
pub(crate) struct RawBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|error| Problem::new(error.status(), error.body_text()))
    }
}

async fn short_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let RawBody(body) = RawBody::from_request(request, state).await?;
    if body.len() > JSON_MAX {
        let detail = format!("the body has {} bytes: {JSON_MAX} are the most here", body.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(body)
}

/// A body of JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        declared(request.headers())?;
        read(&short_body(request, state).await?).map(Self)
    }
}

/// A body of JSON, or none at all.
pub(crate) struct JsonBodyOrNone<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonBodyOrNone<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let said = declared(request.headers());
        let body = short_body(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        said?;
        read::<Option<T>>(&body).map(|said| Self(said.unwrap_or_default()))
    }
}

/// Whether a body is said to be JSON.
fn declared(headers: &HeaderMap) -> Result<(), Problem> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|said| said.to_str().ok()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = format!("the content type is `{said}`: this takes application/json");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

/// Reads JSON: 400 when it is none, 422 with a pointer when it has another shape.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(Strict(&mut json)).map_err(|error| {
        if error.inner().is_data() {
            return Problem::value(pointer(error.path()), format!("{}", error.inner()));
        }
        no_json(error.inner())
    })?;
    json.end().map_err(|error| no_json(&error))?;
    Ok(value)
}

fn no_json(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
}

/// A path as RFC 6901 writes it.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut text = String::new();
    for segment in path {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => break,
        };
        text.push('/');
        text.push_str(&part);
    }
    text
}

/// The parameters behind the question mark.
pub(crate) struct QueryOf<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(query)| Self(query)).map_err(|error| {
            // The reader names the parameter in front of a colon, where it is about one.
            let said =
                std::error::Error::source(&error).map_or_else(|| error.body_text(), ToString::to_string);
            let quoted = said.split('`').nth(1).unwrap_or_default();
            let name = said.split_once(": ").map_or(quoted, |(name, _)| name);
            Problem::parameter(name, format!("the query is not what this takes: {said}"))
        })
    }
}

/// `30s`, `500ms`, `2m`, `1h`, or a number of seconds, within bounds.
pub(crate) fn seconds(parameter: &str, text: &str, least: f64, most: f64) -> Answer<f64> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0), ("", 1.0)];
    let read = |(unit, factor): (&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor);
    let seconds = units.into_iter().find_map(read).filter(|seconds| seconds.is_finite());
    let seconds = seconds.ok_or_else(|| {
        let right = "take a number with ms, s, m, h or d, such as 30s";
        Problem::parameter(parameter, format!("{parameter} `{text}` is no time: {right}"))
    })?;
    if !(least..=most).contains(&seconds) {
        let right = format!("take {least} to {most} seconds");
        return Err(Problem::parameter(parameter, format!("{parameter} `{text}` is out of range: {right}")));
    }
    Ok(seconds)
}

/// What the path names.
pub(crate) struct PathOf<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named))
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))
    }
}

/// The node that the path names.
pub(crate) struct NodePath(pub(crate) NodeId);

impl<S: Send + Sync> FromRequestParts<S> for NodePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<u32>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(NodeId(id))).map_err(|error| {
            let detail = format!("{}: a node id is a decimal number of 32 bits", error.body_text());
            Problem::parameter("id", detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use serde::Deserialize;

    use super::*;
    use crate::rest::model::{ChannelSettings, NewCommand, NewNotificationChannel, NewRollout};

    fn refusal<T: DeserializeOwned>(body: &str) -> (u16, Option<String>) {
        let response = axum::response::IntoResponse::into_response(read::<T>(body.as_bytes()).err().unwrap());
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000);
        let body = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(body).unwrap();
        let problem: super::super::model::Problem = serde_json::from_slice(&body).unwrap();
        (status, problem.errors.first().and_then(|part| part.pointer.clone()))
    }

    #[test]
    fn what_is_wrong_in_a_body_is_pointed_at() {
        for (body, status, found) in [
            (r#"{"firmware":"aa","nodes":[1,"two"]}"#, 422, Some("/nodes/1")),
            (r#"{"firmware":"aa","nodes":[1,-2]}"#, 422, Some("/nodes/1")),
            (r#"{"firmware":7}"#, 422, Some("/firmware")),
            (r#"{"firmware":"aa","scheme":"pigeon"}"#, 422, Some("/scheme")),
            (r#"{"firmware":"aa","a/b~c":1}"#, 422, Some("/a~1b~0c")),
            (r#"{"nodes":null}"#, 422, Some("")),
            ("[]", 422, Some("")),
            (r#"{"firmware":"aa","plan":{"waves":[["canary"]]}}"#, 422, Some("/plan/waves/0")),
            (r#"{"firmware":"aa""#, 400, None),
            (r#"{"firmware":"aa"} x"#, 400, None),
            ("", 400, None),
        ] {
            assert_eq!(refusal::<NewRollout>(body), (status, found.map(str::to_owned)), "{body}");
        }
        assert!(read::<NewCommand>(br#"{"command":200}"#).is_ok());
    }

    #[test]
    fn a_list_is_no_object_where_all_of_it_may_be_absent() {
        for (body, found) in [
            ("[null,null]", Some("")),
            (r#"{"id":"a","kind":"mqtt","settings":[null,null]}"#, Some("/settings")),
        ] {
            let refused = match body.starts_with('[') {
                true => refusal::<ChannelSettings>(body),
                false => refusal::<NewNotificationChannel>(body),
            };
            assert_eq!(refused, (422, found.map(str::to_owned)), "{body}");
        }
    }

    #[test]
    fn times_are_read_in_words() {
        for (text, found) in [
            ("30s", Some(30.0)),
            ("500ms", Some(0.5)),
            ("2m", Some(120.0)),
            ("1h", Some(3_600.0)),
            ("1d", Some(86_400.0)),
            ("7", Some(7.0)),
            ("0s", Some(0.0)),
            ("", None),
            ("s", None),
            ("3y", None),
            ("25h", None),
            ("1e999", None),
            ("NaN", None),
        ] {
            assert_eq!(seconds("max_age", text, 0.0, 86_400.0).ok(), found, "{text}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[serde(default)]
        limit: u16,
    }

    #[test]
    fn what_is_wrong_in_a_query_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (query, found) in
            [("limit=many", Some("limit")), ("colour=red", Some("colour")), ("limit=7", None), ("", None)]
        {
            let uri: Uri = format!("/nodes?{query}").parse().unwrap();
            let (mut parts, ()) = axum::http::Request::builder().uri(uri).body(()).unwrap().into_parts();
            let read = runtime.block_on(QueryOf::<Wanted>::from_request_parts(&mut parts, &()));
            let said = read.map(|QueryOf(wanted)| wanted.limit).err().map(|problem| format!("{problem:?}"));
            let named = said
                .as_deref()
                .map(|said| found.is_some_and(|name| said.contains(&format!("parameter: Some(\"{name}\")"))));
            assert_eq!(named, found.map(|_| true), "{query}: {said:?}");
        }
    }
}
