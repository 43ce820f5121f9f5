//! Stands before every route: who asks, may they, how often, and how long may the body be.
//!
//! It fails closed: a route without a row in the [`table`] is refused to everybody, and what is no route
//! at all is found to be none only by those who were let in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::dashboard::Dashboard;
use super::super::problem::Problem;
use super::caller::{Caller, Network};
use super::gate::{Access, Denied, whole_seconds};
use super::principal::{How, Principal};
use super::table::{self, Need, Rule};
use super::{csrf, role::Role};

/// Where the interface's description for people is: Swagger UI.
const DOCS: &str = "/api/v1/docs";
/// What Swagger UI needs: it sets styles in its elements, and has pictures and fonts in its style sheet.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// What is data loads nothing, whatever a browser takes it for.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// What no page of ours needs, and nothing in one may have.
const PERMISSIONS: &str =
    "camera=(), microphone=(), geolocation=(), usb=(), serial=(), payment=(), bluetooth=()";

/// What the guard knows of the place where it stands.
#[derive(Clone, Debug)]
pub struct Post {
    /// Who may be let in.
    pub access: Access,
    /// What anybody may see: pages that say nothing about a mesh.
    pub dashboard: Dashboard,
    /// Whether the sockets speak TLS.
    pub tls: bool,
    /// Whom it believes where a request comes from.
    pub proxies: Arc<[Network]>,
    /// Whether only this machine can reach the sockets.
    pub loopback: bool,
}

/// The layer around all routes.
pub async fn guard(
    State(post): State<Post>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = Caller::of(peer, post.tls, request.headers(), &post.proxies);
    let docs = request.uri().path().starts_with(DOCS);
    let mut response = match page_or_check(&post, &caller, &mut request) {
        Ok(Some(page)) => page,
        Ok(None) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => *refused,
    };
    harden(response.headers_mut(), docs);
    response
}

/// A page for whoever is at this gateway's own address; else nothing, when the request may go on.
fn page_or_check(post: &Post, caller: &Caller, request: &mut Request) -> Result<Option<Response>, Refused> {
    if post.loopback && !caller.proxied && !is_for_this_machine(request.headers()) {
        let why = "this service answers to this machine's own programs and pages only";
        return Err(refuse(StatusCode::FORBIDDEN, why));
    }
    let page = post.dashboard.answer(request.method(), request.uri().path(), request.headers());
    if page.is_some() {
        return Ok(page);
    }
    check(post, caller, request).map(|()| None)
}

type Refused = Box<Response>;

fn refuse(status: StatusCode, why: impl ToString) -> Refused {
    Box::new(Problem::new(status, why.to_string()).into_response())
}

fn check(post: &Post, caller: &Caller, request: &mut Request) -> Result<(), Refused> {
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let rule = path.as_deref().and_then(|path| table::find(request.method(), path));
    if let Some(&Rule { need: Need::Nothing, body_max, .. }) = rule {
        post.access.admit_stranger(caller).map_err(too_often)?;
        own_page_or_none(request)?;
        short_enough(request.headers(), body_max)?;
        DefaultBodyLimit::max(body_max).apply(request);
        return Ok(());
    }
    let principal = let_in(post, caller, request)?;
    post.access.admit(&principal).map_err(too_often)?;
    let Some(rule) = rule else { return no_rule(path.as_deref()) };
    may(&principal, rule)?;
    if matches!(principal.how, How::Visitor) {
        // Nothing but this tells the page of somebody else in the same browser from a visitor.
        own_page_or_none(request)?;
    }
    if matches!(principal.how, How::Session(_)) && is_upgrade(request.headers()) {
        // Browsers let any page open a WebSocket anywhere, and read what comes.
        csrf::own_page(request.headers()).map_err(|error| refuse(StatusCode::FORBIDDEN, error))?;
    }
    if let How::Session(secret) = &principal.how
        && !csrf::is_safe(request.method())
    {
        csrf::check(request.headers(), secret).map_err(|error| refuse(StatusCode::FORBIDDEN, error))?;
    }
    short_enough(request.headers(), rule.body_max)?;
    DefaultBodyLimit::max(rule.body_max).apply(request);
    request.extensions_mut().insert(principal);
    Ok(())
}

/// What has no row: a method that a path does not take, a path that is none, or a route that nobody has thought about.
fn no_rule(path: Option<&str>) -> Result<(), Refused> {
    let Some(path) = path else { return Ok(()) };
    let methods = table::methods(path);
    if methods.is_empty() {
        tracing::error!(path, "a route is not in the access table, and is refused");
        return Err(refuse(StatusCode::FORBIDDEN, "nobody may do this"));
    }
    let mut refused =
        refuse(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method: see `Allow`");
    if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
        refused.headers_mut().insert(header::ALLOW, allow);
    }
    Err(refused)
}

fn let_in(post: &Post, caller: &Caller, request: &Request) -> Result<Principal, Refused> {
    post.access
        .authenticate(request.headers(), caller.secure)
        .or_else(|denied| {
            // A browser may bring a session of another gateway on this machine: cookies do not know ports.
            let here =
                post.loopback && !caller.proxied && matches!(denied, Denied::Nothing | Denied::Session);
            let visitor = if here { post.access.visitor() } else { None };
            visitor.ok_or(denied)
        })
        .map_err(|denied| {
            // Guessing a token is hopeless; that it costs the guesser more than us is all there is to it.
            if let Err(wait) = post.access.admit_stranger(caller) {
                return too_often(wait);
            }
            let mut refused = refuse(StatusCode::UNAUTHORIZED, denied);
            let challenge = match denied {
                Denied::Nothing | Denied::Session => "Bearer realm=\"meshward\"",
                Denied::Scheme => "Bearer realm=\"meshward\", error=\"invalid_request\"",
                Denied::Token => "Bearer realm=\"meshward\", error=\"invalid_token\"",
            };
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            refused
        })
}

fn may(principal: &Principal, rule: &Rule) -> Result<(), Refused> {
    let least = match rule.need {
        Need::Nothing => Role::Viewer,
        Need::Role(role) => role,
    };
    if principal.role >= least {
        return Ok(());
    }
    let has = principal.role;
    Err(refuse(StatusCode::FORBIDDEN, format!("{} is {has}, and this takes {least}", principal.name)))
}

/// A page of somebody else's must not log a person in, nor act as a visitor.
fn own_page_or_none(request: &Request) -> Result<(), Refused> {
    let headers = request.headers();
    let is_browser = headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    let harmless = csrf::is_safe(request.method()) && !is_upgrade(headers);
    if harmless || !is_browser {
        return Ok(());
    }
    csrf::own_page(headers).map_err(|error| refuse(StatusCode::FORBIDDEN, error))
}

/// Whether a request wants to go on in another protocol, where no browser keeps one site's pages from another's.
fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// What says that it is too long is not read at all; what does not say is cut off by the limit.
fn short_enough(headers: &HeaderMap, body_max: usize) -> Result<(), Refused> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > body_max as u64 => {
            let why = format!("the body has {length} bytes: {body_max} are the most here");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        _ => Ok(()),
    }
}

fn too_often(wait: Duration) -> Refused {
    let seconds = whole_seconds(&wait).max(1);
    let mut refused = refuse(StatusCode::TOO_MANY_REQUESTS, format!("too many requests: wait {seconds} s"));
    refused.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    refused
}

/// Keeps browsers from making more of an answer than it is. Pages bring a policy of their own.
fn harden(headers: &mut HeaderMap, docs: bool) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, if docs { DOCS_POLICY } else { DATA_POLICY }),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Whether a request names this machine, and comes from no page elsewhere: a name that was bent to point here (DNS
/// rebinding) must not drive the service.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or(""));
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or(""));
    let origin = origin.map(|origin| origin.split_once("://").map_or("", |(_, host)| host));
    host.is_none_or(is_local) && origin.is_none_or(is_local)
}

/// Whether a host, with or without port, is this machine by one of its fixed names.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_hosts() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:80", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:80", "127.0.0.1.evil:80", "10.0.0.1"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_route_that_nobody_has_thought_about_is_refused() {
        let refused = no_rule(Some("/api/v1/secrets")).unwrap_err();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let refused = no_rule(Some("/api/v1/rollouts")).unwrap_err();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[header::ALLOW], "GET, POST");
        assert!(no_rule(None).is_ok(), "it is found to be nothing by whoever looks for routes");
    }
}
