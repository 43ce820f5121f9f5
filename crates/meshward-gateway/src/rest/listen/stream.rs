//! A connection as the acceptors hand it on: with its place, and with its first bytes timed.
//!
//! What serves connections that may become WebSockets looks first whether they begin as HTTP/2 does, and nothing times
//! that look; from the first byte that is otherwise the server's own limits hold. HTTP/2 is refused.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

/// How HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection with what is known of it; it goes with the connection.
pub(super) struct Stream<T> {
    stream: T,
    /// Its place among all connections.
    _place: Option<OwnedSemaphorePermit>,
    /// While it has not begun.
    look: Option<Look>,
}

impl<T> Stream<T> {
    /// One that has a place for as long as it lasts.
    pub(super) const fn placed(stream: T, place: OwnedSemaphorePermit) -> Self {
        Self { stream, _place: Some(place), look: None }
    }

    /// One whose first bytes are looked at.
    pub(super) const fn beginning(stream: T, look: Look) -> Self {
        Self { stream, _place: None, look: Some(look) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, look, .. } = &mut *self;
        let Some(open) = look else { return Pin::new(stream).poll_read(cx, buffer) };
        if std::task::ready!(open.poll_read(stream, cx, buffer))? {
            *look = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stream<T> {
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
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// While it may be HTTP/2.
pub(super) struct Look {
    due: Pin<Box<Sleep>>,
    /// Bytes so far, all as HTTP/2 has them.
    alike: usize,
}

impl Look {
    pub(super) fn new(patience: Duration) -> Self {
        Self { due: Box::pin(sleep(patience)), alike: 0 }
    }

    /// Reads; whether there is nothing more to look for.
    fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.due.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(stream).poll_read(cx, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let expected = PREFACE.iter().skip(self.alike);
        let same = new.iter().zip(expected).take_while(|(one, other)| one == other).count();
        self.alike += same;
        if self.alike == PREFACE.len() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP/2 is not spoken here")));
        }
        Poll::Ready(Ok(same < new.len() || new.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn begun<T>(stream: T, patience: Duration) -> Stream<T> {
        Stream::beginning(stream, Look::new(patience))
    }

    #[tokio::test]
    async fn what_does_not_begin_is_cut_off_and_what_has_begun_is_not() {
        for (first, begins) in [("", false), ("PRI * H", false), ("P", false), ("POST", true), ("G", true)] {
            let (mut client, server) = duplex(64);
            let mut server = begun(server, Duration::from_millis(30));
            client.write_all(first.as_bytes()).await.unwrap();
            let mut bytes = [0; 64];
            if !first.is_empty() {
                assert_eq!(server.read(&mut bytes).await.unwrap(), first.len());
            }
            if begins {
                // Well after it would have been cut off.
                tokio::time::sleep(Duration::from_millis(60)).await;
                client.write_all(b"rest").await.unwrap();
                assert_eq!(server.read(&mut bytes).await.unwrap(), 4, "{first}");
            } else {
                let error = server.read(&mut bytes).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{first}");
            }
        }
    }

    #[tokio::test]
    async fn http_2_is_refused_in_pieces_too() {
        for piece in [1, 5, PREFACE.len()] {
            let (mut client, server) = duplex(1_024);
            client.write_all(PREFACE).await.unwrap();
            let mut server = begun(server, Duration::from_secs(60));
            let mut bytes = vec![0; piece];
            let error = loop {
                if let Err(error) = server.read(&mut bytes).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
