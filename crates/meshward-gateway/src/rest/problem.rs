//! What is answered instead of what was asked for, as a problem document of RFC 9457.
//!
//! A handler says status and words; [`place`] adds the path that was asked for. Every error of this interface goes
//! through here, those of the framework too.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::model;
use crate::shell::Stopped;

/// The media type of a problem document.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// See the module's page. Boxed, because it is rare and large.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<model::Problem>);

/// A handler's answer.
pub(crate) type Answer<T> = Result<T, Problem>;

/// A problem that does not know yet what was asked for.
#[derive(Clone)]
struct Unplaced(Arc<model::Problem>);

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(model::Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: Some(detail.into()),
            instance: None,
            errors: Vec::new(),
        }))
    }

    /// A value of the body that makes no sense: 422, with where it is.
    pub(crate) fn value(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail.clone());
        let pointer = Some(pointer.into());
        problem.0.errors.push(model::ProblemPart { pointer, parameter: None, detail });
        problem
    }

    /// The same of several values: where each is, and what is wrong with it.
    pub(crate) fn values(detail: impl Into<String>, errors: Vec<model::ProblemPart>) -> Self {
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        problem.0.errors = errors;
        problem
    }

    /// A parameter of the path or query that makes no sense: 400, with its name.
    pub(crate) fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let mut problem = Self::new(StatusCode::BAD_REQUEST, detail.clone());
        let parameter = Some(name.into());
        problem.0.errors.push(model::ProblemPart { pointer: None, parameter, detail });
        problem
    }

    /// It as JSON, where it is no answer to a request.
    pub(crate) fn json(&self) -> String {
        String::from_utf8(body(&self.0)).unwrap_or_default()
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// What is wrong, in words.
    pub(crate) fn detail(&self) -> &str {
        self.0.detail.as_deref().unwrap_or(&self.0.title)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }
}

impl From<Stopped> for Problem {
    fn from(_: Stopped) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is shutting down")
    }
}

fn body(problem: &model::Problem) -> Vec<u8> {
    // Texts and numbers always become JSON.
    serde_json::to_vec(problem).unwrap_or_default()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static(PROBLEM_JSON);
        let mut response = (status, [(header::CONTENT_TYPE, json)], body(&self.0)).into_response();
        response.extensions_mut().insert(Unplaced(Arc::new(*self.0)));
        response
    }
}

/// Adds to a problem the path that was asked for. A layer around everything that may answer with one.
pub(super) async fn place(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let Some(Unplaced(problem)) = response.extensions_mut().remove::<Unplaced>() else { return response };
    let placed = model::Problem { instance: Some(path), ..model::Problem::clone(&problem) };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = body(&placed).into();
    response
}
