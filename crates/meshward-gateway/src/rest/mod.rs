//! The HTTP interface under `/api/v1`: nodes, topology, alerts, events, firmware, roll-outs; described by
//! `docs/openapi.json`.
//!
//! It has no users yet, so it serves this machine only: [`bind`] refuses any address but loopback, and
//! requests that a web page of another origin makes are turned away. Errors are RFC 9457 problem details.

pub mod access;
mod api;
mod conditional;
mod convert;
mod extract;
mod hub;
mod idempotency;
pub mod model;
mod openapi;
mod page;
mod problem;
mod routes;

use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use thiserror::Error;
use tokio::net::TcpListener;

pub use api::Api;
pub use openapi::document;
use problem::Problem;

/// Longest image that may be uploaded, in bytes.
pub const FIRMWARE_MAX: usize = 16 * 1024 * 1024;

/// Why the service cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is not this machine's own.
    #[error(
        "{0} can be reached from other machines; without users the service listens on 127.0.0.1 or [::1] only"
    )]
    NotLoopback(SocketAddr),
    /// The system refused.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Takes the service's port.
///
/// # Errors
/// [`BindError`] when it cannot be had, or reaches beyond this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| BindError::Listen { address, source })
}

/// Serves until `shutdown` is ready.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let stop = api.stop.clone();
    let shutdown = async move {
        shutdown.await;
        // Streams would never end by themselves.
        stop.stop();
    };
    let app = routes::router(api).layer(from_fn(same_origin)).layer(from_fn(problem::place));
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await
}

/// Lets pass what comes from this machine's own programs and pages: a page elsewhere, or a name that was
/// bent to point here, must not drive the service.
async fn same_origin(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host_ok = headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_none_or(is_local);
    let origin_ok = origin(headers).is_none_or(|origin| origin.split("//").nth(1).is_some_and(is_local));
    if host_ok && origin_ok {
        next.run(request).await
    } else {
        Problem::new(StatusCode::FORBIDDEN, "this service answers to this machine's own programs only")
            .into_response()
    }
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("//"))
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

    #[tokio::test]
    async fn other_addresses_are_refused() {
        let error = bind("0.0.0.0:0".parse().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1"), "{error}");
        assert!(bind("127.0.0.1:0".parse().unwrap()).await.is_ok());
    }
}
