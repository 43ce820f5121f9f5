//! Bodies that trickle are cut off: what comes must come at a rate.

use std::io;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

/// Slower than this, in bytes a second, a body is not waited for: what 802.11b does over three hops.
const RATE_MIN: u64 = 16 * 1024;

/// The layer that times bodies. Each has `patience` to begin with, and more with each byte.
pub(super) async fn in_time(State(patience): State<Duration>, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + patience;
    next.run(request.map(|body| timed(body, deadline))).await
}

fn timed(body: Body, deadline: Instant) -> Body {
    let pieces = stream::unfold(Some((body.into_data_stream(), deadline)), async |state| {
        let (mut pieces, mut deadline): (BodyDataStream, Instant) = state?;
        match tokio::time::timeout_at(deadline, pieces.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => {
                deadline += time_for(piece.len());
                Some((Ok(piece), Some((pieces, deadline))))
            }
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Err(_late) => {
                Some((Err(io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly")), None))
            }
        }
    });
    Body::from_stream(pieces)
}

/// How much longer a body may take for so many bytes.
fn time_for(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / RATE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a body that is a few pieces, and then nothing more or the end, when there is no time left.
    async fn read(pieces: usize, ends: bool) -> Result<usize, String> {
        let pieces = stream::iter((0..pieces).map(|_| Ok::<_, io::Error>(vec![0_u8; 8])));
        let body =
            if ends { Body::from_stream(pieces) } else { Body::from_stream(pieces.chain(stream::pending())) };
        let read = axum::body::to_bytes(timed(body, Instant::now()), usize::MAX).await;
        read.map(|bytes| bytes.len()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn what_is_there_is_taken_and_what_is_not_is_not_waited_for() {
        assert_eq!((read(0, true).await, read(9, true).await), (Ok(0), Ok(72)));
        for pieces in [0, 9] {
            let late = read(pieces, false).await.unwrap_err();
            assert!(late.contains("too slowly"), "{late}");
        }
    }

    #[test]
    fn each_piece_buys_time_by_its_length() {
        for (bytes, ms) in
            [(0, 0), (1, 0), (16 * 1024, 1_000), (24 * 1024, 1_500), (16 * 1024 * 1024, 1_024_000)]
        {
            assert_eq!(time_for(bytes).as_millis(), ms, "{bytes}");
        }
    }
}
