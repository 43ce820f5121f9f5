//! Who asks, once that is known. The guard puts it among a request's extensions; handlers take it from there.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};

use super::super::problem::Problem;
use super::role::Role;
use super::secret::{Digest, Secret};
use super::user::UserName;

/// By what somebody was let in.
#[derive(Clone, Debug)]
pub enum How {
    /// A program, by the token of this digest.
    Token(Digest),
    /// A person at a browser, by the session of this secret.
    Session(Secret),
    /// A program of the gateway's own user on this machine.
    Local,
    /// Anybody on this machine, where such may come in: see [`Settings::visitors`](super::gate::Settings::visitors).
    Visitor,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Principal {
    /// What the audit calls them: the user, or the token's name where it has no user, or `local`.
    pub name: String,
    /// The user behind it, if there is one.
    pub user: Option<UserName>,
    /// What they may do.
    pub role: Role,
    /// By what.
    pub how: How,
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        // A route that strangers may ask has no principal: that it wants one is a defect, and nobody gets in by it.
        let missing =
            || Problem::new(StatusCode::UNAUTHORIZED, "this needs a token or a session").into_response();
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}
