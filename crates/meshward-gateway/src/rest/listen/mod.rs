//! The sockets of the HTTP interface: where it listens, with or without TLS, and what slow or many clients may cost.
//!
//! It refuses to be reached from other machines without TLS, unless a proxy does that or the operator insists. Whoever
//! does not finish a request's head in time is cut off, and so is a body that trickles; connections are counted.

mod begin;
mod body;
mod connections;
mod stream;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use thiserror::Error;
use tokio::net::TcpListener;

use super::access::caller::Network;
use super::access::gate::{Access, TEND_INTERVAL};
use super::access::guard::{Post, guard};
use super::api::Api;
use super::{problem, routes};
use begin::Timed;
use connections::Counted;
use tls::{Certificate, TlsError, TlsFiles};

/// Most bytes of a request's head.
pub const HEAD_MAX: usize = 32 * 1024;
/// Most lines of a request's head.
pub const HEADERS_MAX: usize = 100;

/// What clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until the head of a request is there: of the first one, and of each one after an answer.
    pub head_timeout: Duration,
    /// Most connections at once; one more is closed at once.
    pub connections_max: usize,
    /// How long requests under way have when the service stops.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            connections_max: 512,
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Where and how the interface is served.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where. Port 0 takes a free one.
    pub address: SocketAddr,
    /// The certificate, to serve TLS and nothing else.
    pub tls: Option<TlsFiles>,
    /// Proxies in front of it, which do TLS: they are believed where a request comes from.
    pub proxies: Vec<Network>,
    /// Let other machines in without TLS all the same.
    pub allow_insecure: bool,
    /// What clients may cost.
    pub limits: Limits,
}

impl Http {
    /// At an address, without TLS or proxies.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, tls: None, proxies: Vec::new(), allow_insecure: false, limits: Limits::default() }
    }
}

/// Why the service cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// Whoever listens in on the way could read every token.
    #[error(
        "{0} can be reached from other machines, and without TLS everybody in between reads every token and password: \
         listen on 127.0.0.1 or [::1], give a certificate (tls), name the proxy that does TLS (proxies), or insist \
         (allow_insecure)"
    )]
    Insecure(SocketAddr),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system refused.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A port that was taken, and how it is served.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    http: Http,
    certificate: Option<Certificate>,
}

impl Bound {
    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Its address as clients write it.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.local_addr()?))
    }
}

/// Takes the service's port.
///
/// # Errors
/// [`BindError`] when it cannot be had, or would be open to eavesdroppers.
pub async fn bind(http: &Http) -> Result<Bound, BindError> {
    let address = http.address;
    let loopback = address.ip().to_canonical().is_loopback();
    if !loopback && http.tls.is_none() && http.proxies.is_empty() {
        if !http.allow_insecure {
            return Err(BindError::Insecure(address));
        }
        tracing::warn!(%address, "other machines are let in without TLS: tokens and passwords can be read on the way");
    }
    let certificate = http.tls.clone().map(Certificate::load).transpose()?;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| BindError::Listen { address, source })?;
    Ok(Bound { listener, http: http.clone(), certificate })
}

/// Serves until `shutdown` is ready, and then ends what is under way.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    bound: Bound,
    api: Api,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let Bound { listener, http, certificate } = bound;
    let (limits, access, stop) = (http.limits, api.access.clone(), api.stop.clone());
    let post = Post {
        access: access.clone(),
        dashboard: api.dashboard.clone(),
        tls: certificate.is_some(),
        proxies: Arc::from(http.proxies),
        loopback: listener.local_addr()?.ip().to_canonical().is_loopback(),
    };
    let app = routes::router(api)
        .layer(from_fn_with_state(limits.head_timeout, body::in_time))
        .layer(from_fn_with_state(post, guard))
        .layer(from_fn(problem::place));
    let handle = Handle::new();
    let serving = accept(listener, &limits, certificate.as_ref(), app, handle.clone());
    tokio::pin!(serving);
    let watching = async {
        match &certificate {
            Some(certificate) => certificate.watch().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = async { tokio::join!(tend(&access), watching); } => Ok(()),
        () = shutdown => {
            // Streams would never end by themselves.
            stop.stop();
            handle.graceful_shutdown(Some(limits.stop_timeout));
            serving.await
        }
    };
    if let Err(error) = access.tend().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "what was used last is not written down");
    }
    ended
}

async fn accept(
    listener: TcpListener,
    limits: &Limits,
    certificate: Option<&Certificate>,
    app: Router,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let mut server = Server::<SocketAddr>::from_listener(listener).handle(handle);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    // Not `http1_only`, which lets nothing become a WebSocket: `Timed` sees to the first bytes.
    let counted = Counted::new(limits.connections_max);
    match certificate {
        None => server.acceptor(Timed::new(counted, limits.head_timeout)).serve(app).await,
        Some(certificate) => {
            let tls = RustlsAcceptor::new(certificate.config()).handshake_timeout(limits.head_timeout);
            server.acceptor(Timed::new(tls.acceptor(counted), limits.head_timeout)).serve(app).await
        }
    }
}

/// Looks after users, tokens and sessions for as long as the service runs.
async fn tend(access: &Access) {
    loop {
        tokio::time::sleep(TEND_INTERVAL).await;
        if let Err(error) = access.tend().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what was used is not written down yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_listens_in_unless_the_operator_insists() {
        let at = |address: &str| Http::at(address.parse().unwrap());
        let error = bind(&at("0.0.0.0:0")).await.unwrap_err().to_string();
        for needle in ["0.0.0.0:0", "127.0.0.1", "tls", "proxies", "allow_insecure"] {
            assert!(error.contains(needle), "{error}");
        }
        assert!(matches!(bind(&at("[::]:0")).await, Err(BindError::Insecure(_))));
        let proxied = Http { proxies: vec!["10.0.0.1".parse().unwrap()], ..at("0.0.0.0:0") };
        let insisted = Http { allow_insecure: true, ..at("0.0.0.0:0") };
        for http in [at("127.0.0.1:0"), proxied, insisted] {
            let bound = bind(&http).await.unwrap();
            assert!(bound.url().unwrap().starts_with("http://"), "{http:?}");
        }
        let taken = bind(&at("127.0.0.1:0")).await.unwrap();
        let again = bind(&Http::at(taken.local_addr().unwrap())).await.unwrap_err();
        assert!(again.to_string().contains(&taken.local_addr().unwrap().to_string()), "{again}");
    }
}
