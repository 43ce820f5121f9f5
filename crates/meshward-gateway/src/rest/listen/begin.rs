//! Connections have to begin in time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum_server::accept::Accept;

use super::stream::{Look, Stream};

/// An acceptor whose connections have to begin in time.
#[derive(Clone, Debug)]
pub(super) struct Timed<A> {
    inner: A,
    patience: Duration,
}

impl<A> Timed<A> {
    pub(super) const fn new(inner: A, patience: Duration) -> Self {
        Self { inner, patience }
    }
}

impl<A, I, S> Accept<I, S> for Timed<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = Stream<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Stream<A::Stream>, A::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let (accepted, patience) = (self.inner.accept(stream, service), self.patience);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((Stream::beginning(stream, Look::new(patience)), service))
        })
    }
}
