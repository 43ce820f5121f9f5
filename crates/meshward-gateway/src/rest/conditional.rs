//! Answers that need not be sent again, and edits that must not overwrite another's (RFC 9110, 13).
//!
//! [`tag`] gives every readable answer a strong entity tag made from its bytes, and answers 304 when the asker has
//! them. [`IfMatch`] is for handlers that change something: what they are about to change must be what was read.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use meshward_core::hash::Sha256Sum;
use serde::Serialize;

use super::convert::hex;
use super::problem::{Answer, Problem};

/// Longest answer that gets a tag, in bytes.
const TAGGED_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the sum in a tag.
const TAG_BYTES: usize = 16;

pub(super) fn etag(bytes: &[u8]) -> String {
    let sum = Sha256Sum::of(bytes);
    format!("\"{}\"", hex(sum.0.get(..TAG_BYTES).unwrap_or_default()))
}

/// The tag under which something is read.
pub(crate) fn tag_of(value: &impl Serialize) -> String {
    // What is answered as JSON always becomes JSON.
    etag(&serde_json::to_vec(value).unwrap_or_default())
}

/// Whether a list of tags has this one; weak ones count where nothing is changed by it.
pub(super) fn lists(listed: &str, tag: &str, weak: bool) -> bool {
    listed.split(',').map(str::trim).any(|one| {
        one == "*" || one == tag || (weak && one.strip_prefix("W/").is_some_and(|strong| strong == tag))
    })
}

pub(super) fn every(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// What must still be so for an edit.
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    /// Whether what is there now is what was read; without the header it always is. To be asked last: what would be
    /// refused in any case is refused for that (RFC 9110, 13.2.1).
    ///
    /// # Errors
    /// 412.
    pub(crate) fn holds(&self, now: &impl Serialize) -> Answer<()> {
        let Some(listed) = &self.0 else { return Ok(()) };
        if lists(listed, &tag_of(now), false) {
            return Ok(());
        }
        let detail = "somebody has changed it since it was read: read it again (`If-Match` has another tag)";
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(every(&parts.headers, header::IF_MATCH)))
    }
}

/// Whether an answer is read as a whole, and may be read again.
fn is_readable(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default();
    response.status() == StatusCode::OK
        && (kind.starts_with("application/json") || kind.starts_with("text/vnd.graphviz"))
}

/// Tags what is read. A layer around the routes.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = every(request.headers(), header::IF_NONE_MATCH);
    let mut response = next.run(request).await;
    if !reads || !is_readable(&response) {
        let caching = response.headers_mut().entry(header::CACHE_CONTROL);
        caching.or_insert(HeaderValue::from_static("no-store"));
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, TAGGED_MAX).await else {
        let detail = format!("the answer has more than {TAGGED_MAX} bytes: take `limit` and `fields`");
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    let tag = etag(&bytes);
    let headers = &mut parts.headers;
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, value);
    }
    if known.is_some_and(|listed| lists(&listed, &tag, true)) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_the_standard_has_it() {
        let tag = etag(b"x");
        assert_ne!(tag, etag(b"y"));
        for (listed, weak, strong) in [
            (tag.clone(), true, true),
            (format!("\"a\", {tag}"), true, true),
            (format!("W/{tag}"), true, false),
            ("*".to_owned(), true, true),
            ("\"a\"".to_owned(), false, false),
            (String::new(), false, false),
        ] {
            assert_eq!(lists(&listed, &tag, true), weak, "{listed}");
            assert_eq!(lists(&listed, &tag, false), strong, "{listed}");
        }
        let read = [1, 2];
        assert!(IfMatch(None).holds(&read).is_ok());
        assert!(IfMatch(Some(tag_of(&read))).holds(&read).is_ok());
        assert!(IfMatch(Some(tag_of(&read))).holds(&[1, 3]).is_err());
    }
}
