//! Counts connections, and closes those that are too many.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum_server::accept::Accept;
use tokio::sync::Semaphore;

use super::stream::Stream;

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
    type Stream = Stream<I>;
    type Service = S;
    type Future = Ready<io::Result<(Stream<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return ready(Ok((Stream::placed(stream, place), service)));
        }
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        // Each thousand says it again: whoever floods us must not flood the log.
        if refused % 1_000 == 1 {
            tracing::warn!(refused, "too many connections at once: more are closed");
        }
        ready(Err(io::ErrorKind::ConnectionRefused.into()))
    }
}
