//! The interface for other parts of this program, without a socket: the same routes, access table and audit as over
//! HTTP, so that there is one way to do a thing, whoever asks for it.
//!
//! Who asks is a [`Principal`] with a name for the audit and a role. Routes that let strangers in, and those for
//! admins alone, are refused. [`Inside::look`] copies what is known of the mesh, in the words of [`model`].

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use meshward_core::wire::NodeId;
use serde_json::Value;
use tower::ServiceExt as _;

use super::access::principal::How;
use super::access::table::{self, Need};
use super::access::{Principal, Role};
use super::api::Api;
use super::problem::Problem;
use super::{convert, model, routes};
use crate::service::Gateway;
use crate::shell::{NodeHandle, Stopped};
use crate::store::AuditRow;

/// Longest answer that is taken, in bytes.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// What goes with a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(Value),
    /// Bytes, as an image is.
    Bytes(Vec<u8>),
}

/// Something that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// As in HTTP.
    pub(crate) method: &'static str,
    /// The path and the query, percent-encoded.
    pub(crate) target: String,
    /// What goes with it.
    pub(crate) content: Content,
}

/// A node, with what only the registry knows of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeenNode {
    /// It.
    pub(crate) node: model::Node,
    /// Its board, as its firmware names it.
    pub(crate) hardware: Option<String>,
    /// What its firmware is for.
    pub(crate) role: Option<String>,
    /// What its firmware calls itself.
    pub(crate) version: Option<String>,
    /// The first four bytes of the running image's SHA-256.
    pub(crate) image: Option<u32>,
}

/// What is known of the mesh at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When.
    pub(crate) at: Timestamp,
    /// The mesh's name.
    pub(crate) mesh: String,
    /// The mesh in one look.
    pub(crate) status: model::Status,
    /// Counts the changes of the tree.
    pub(crate) revision: u64,
    /// All nodes, by id.
    pub(crate) nodes: Vec<SeenNode>,
    /// What joins them.
    pub(crate) links: Vec<model::Link>,
    /// All alerts that are kept.
    pub(crate) alerts: Vec<model::Alert>,
    /// Roll-outs, the newest first.
    pub(crate) rollouts: Vec<model::Rollout>,
    /// Images, the oldest first.
    pub(crate) firmware: Vec<model::Firmware>,
}

/// See the module's page.
#[derive(Clone)]
pub(crate) struct Inside {
    api: Api,
    app: Router,
    who: Principal,
}

impl Inside {
    /// For somebody of this name and role.
    pub(crate) fn new(api: Api, name: &str, role: Role) -> Self {
        let who = Principal { name: name.to_owned(), user: None, role, how: How::Local };
        let app = routes::router(api.clone()).layer(from_fn(admit));
        Self { api, app, who }
    }

    /// The way to the gateway.
    pub(crate) fn gateway(&self) -> &NodeHandle<Gateway> {
        &self.api.gateway
    }

    /// Does what is asked for; the status of HTTP and the answer, or the problem document.
    pub(crate) async fn ask(&self, call: Call) -> (u16, Value) {
        let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
        let request = Request::builder().method(method).uri(&call.target);
        let request = match call.content {
            Content::Nothing => request.body(Body::empty()),
            Content::Json(body) => {
                request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
            }
            Content::Bytes(bytes) => {
                request.header(header::CONTENT_TYPE, "application/octet-stream").body(Body::from(bytes))
            }
        };
        let Ok(mut request) = request else {
            let detail = format!("`{}` is no path", call.target);
            return read(Problem::new(StatusCode::BAD_REQUEST, detail).into_response()).await;
        };
        request.extensions_mut().insert(self.who.clone());
        match self.app.clone().oneshot(request).await {
            Ok(response) => read(response).await,
            Err(never) => match never {},
        }
    }

    /// What is known of the mesh now.
    ///
    /// # Errors
    /// [`Stopped`] when the gateway has gone.
    pub(crate) async fn look(&self) -> Result<Seen, Stopped> {
        self.api
            .gateway
            .with(|now, node, gateway| {
                let rollouts = gateway.rollouts(now, node);
                let rollouts =
                    rollouts.iter().map(|rollout| convert::rollout(gateway, node, rollout)).collect();
                let status = convert::status(gateway, now, node);
                let nodes = convert::nodes(gateway, now);
                let links = gateway.topology().links();
                Seen {
                    at: Timestamp::now(),
                    mesh: gateway.fleet().mesh_name().to_owned(),
                    status,
                    revision: gateway.topology().revision(),
                    links: links.map(|link| model::Link { from: link.from.0, to: link.to.0 }).collect(),
                    nodes: nodes.into_iter().map(|node| seen(gateway, node)).collect(),
                    alerts: convert::alerts(gateway),
                    rollouts,
                    firmware: gateway.firmware().map(convert::firmware).collect(),
                }
            })
            .await
    }

    /// Events after this number, at most `limit`.
    ///
    /// # Errors
    /// [`Stopped`] when the gateway has gone.
    pub(crate) async fn events(&self, after: u64, limit: usize) -> Result<model::Events, Stopped> {
        self.api.gateway.with(move |_, _, gateway| convert::events(gateway, after, limit)).await
    }

    /// The newest rows of the audit; nothing where none is kept or it cannot be read now.
    pub(crate) async fn audit(&self, limit: u32) -> Vec<AuditRow> {
        let Some(store) = &self.api.store else { return Vec::new() };
        store.audit(None, limit).await.unwrap_or_default()
    }
}

fn seen(gateway: &Gateway, node: model::Node) -> SeenNode {
    let identity = gateway.registry().get(NodeId(node.id)).map(|record| record.identity.clone());
    let identity = identity.unwrap_or_default();
    SeenNode {
        node,
        hardware: identity.hardware,
        role: identity.role,
        version: identity.version,
        image: identity.image,
    }
}

/// The layer around the routes: what the table says holds here too.
async fn admit(mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(path) = path else { return next.run(request).await };
    let role = request.extensions().get::<Principal>().map(|who| who.role);
    let refuse = |why: String| Problem::new(StatusCode::FORBIDDEN, why).into_response();
    let Some(rule) = table::find(request.method(), &path) else {
        return refuse(format!("{} {path} is not for other parts of the program", request.method()));
    };
    match (rule.need, role) {
        (Need::Role(need), Some(role)) if role >= need && need < Role::Admin => {}
        (Need::Role(need), _) => return refuse(format!("this needs the role {need}")),
        (Need::Nothing, _) => return refuse("this is for people at a browser".to_owned()),
    }
    DefaultBodyLimit::max(rule.body_max).apply(&mut request);
    next.run(request).await
}

/// An answer as JSON; what is none is text.
async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let Ok(body) = to_bytes(response.into_body(), ANSWER_MAX).await else {
        let problem = serde_json::json!({ "detail": format!("the answer has more than {ANSWER_MAX} bytes: ask for less") });
        return (StatusCode::INTERNAL_SERVER_ERROR.as_u16(), problem);
    };
    if body.is_empty() {
        return (status, Value::Null);
    }
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

/// Text as a part of a path or query: all but letters, digits and `-._~` percent-encoded (RFC 3986).
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_is_taken_for_a_part_of_the_path() {
        for (text, part) in [("12", "12"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("é ", "%C3%A9%20"), ("..", "..")] {
            assert_eq!(encoded(text), part);
        }
    }
}
