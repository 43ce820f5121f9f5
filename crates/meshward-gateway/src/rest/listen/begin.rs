//! Times a connection's first bytes, and refuses HTTP/2.
//!
//! What serves connections that may become WebSockets looks first whether they begin as HTTP/2 does, and nothing times
//! that look; from the first byte that is otherwise the server's own limits hold.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
    type Stream = Begun<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Begun<A::Stream>, A::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let (accepted, patience) = (self.inner.accept(stream, service), self.patience);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((Begun { stream, look: Some(Look { due: Box::pin(sleep(patience)), alike: 0 }) }, service))
        })
    }
}

/// While it may be HTTP/2.
struct Look {
    due: Pin<Box<Sleep>>,
    /// Bytes so far, all as HTTP/2 has them.
    alike: usize,
}

/// A connection, and whether it has begun.
pub(super) struct Begun<T> {
    stream: T,
    look: Option<Look>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Begun<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, look } = &mut *self;
        let Some(Look { due, alike }) = look else { return Pin::new(stream).poll_read(cx, buffer) };
        if due.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(stream).poll_read(cx, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        let same =
            new.iter().zip(PREFACE.iter().skip(*alike)).take_while(|(one, other)| one == other).count();
        *alike += same;
        if *alike == PREFACE.len() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "HTTP/2 is not spoken here")));
        }
        if same < new.len() || new.is_empty() {
            *look = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Begun<T> {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn begun<T>(stream: T, patience: Duration) -> Begun<T> {
        Begun { stream, look: Some(Look { due: Box::pin(sleep(patience)), alike: 0 }) }
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
