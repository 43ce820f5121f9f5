//! What is answered instead of what was asked for: RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is wrong with one part of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemPart {
    /// Where in the body it is, as a JSON pointer (RFC 6901); empty is the whole of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Which parameter of the path or the query it is, when it is not in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// Why a request was not fulfilled (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is, as a URI reference; `about:blank` says no more than the status does.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// The kind in words: the same for the same kind.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong with this request, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The path that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The parts of the request that are wrong, where that can be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemPart>,
}

fn blank() -> String {
    "about:blank".to_owned()
}
