//! Counts connections, and closes those that are too many.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Gives each connection a place, until there are no more.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    places: Arc<Semaphore>,
    refused: Arc<AtomicU64>,
}

impl Counted {
    pub(super) fn new(connections_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { places, refused: Arc::default() }
    }
}

impl<I, S> Accept<I, S> for Counted {
    type Stream = Place<I>;
    type Service = S;
    type Future = Ready<io::Result<(Place<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return ready(Ok((Place { stream, _place: place }, service)));
        }
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        // Each thousand says it again: whoever floods us must not flood the log.
        if refused % 1_000 == 1 {
            tracing::warn!(refused, "too many connections at once: more are closed");
        }
        ready(Err(io::ErrorKind::ConnectionRefused.into()))
    }
}

/// A connection that has its place for as long as it lasts.
pub(super) struct Place<T> {
    stream: T,
    _place: OwnedSemaphorePermit,
}

impl<T: AsyncRead + Unpin> AsyncRead for Place<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Place<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
