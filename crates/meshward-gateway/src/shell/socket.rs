//! One TCP connection of a shell: reads into a buffer that all share, writes what the node has queued.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use meshward_core::mesh::{LinkId, Outgoing};
use meshward_core::time::Instant;
use tokio::net::TcpStream;

use super::machine::Machine;
use super::shape::{Line, Shape};
use super::tap::{Direction, Tap};

/// Most bytes read at once.
const BATCH: usize = 64 * 1024;

thread_local! {
    /// A node hosts no read buffer of its own: a thread reads one link at a time.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends `act` this thread's read buffer.
pub(super) fn with_buffer(act: impl FnOnce(&mut [u8])) {
    let mut buffer = SCRATCH.take();
    buffer.resize(BATCH, 0);
    act(&mut buffer);
    SCRATCH.set(buffer);
}

/// What a read found.
pub(super) enum Read {
    /// So many bytes.
    Data(usize),
    Nothing,
    Closed,
}

/// What a write did.
pub(super) struct Written {
    /// Bytes that went into the socket.
    pub(super) bytes: u64,
    /// When the link's line has something to do again.
    pub(super) wake: Option<Instant>,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// Which peer was dialled, if this side dialled.
    pub(super) peer: Option<usize>,
    /// When the connection came up.
    pub(super) since: Instant,
    line: Option<Line>,
    /// The socket was full: wait until it can be written.
    blocked: bool,
    /// Bytes read and written so far.
    read: u64,
    written: u64,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, peer: Option<usize>, shape: Option<Shape>, now: Instant) -> Self {
        // Small answers must not wait for more; a system that refuses costs only time.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch Nagle's algorithm off");
        }
        let line = shape.map(Line::new);
        Self { stream, peer, since: now, line, blocked: false, read: 0, written: 0 }
    }

    /// The address of the other end; unspecified when the connection is broken already.
    pub(super) fn peer_address(&self) -> SocketAddr {
        self.stream.peer_addr().unwrap_or_else(|_gone| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Reads once into `buffer`.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Read {
        match self.stream.try_read(buffer) {
            Ok(0) => Read::Closed,
            Ok(count) => Read::Data(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Nothing,
            Err(_reset) => Read::Closed,
        }
    }

    /// Bytes go from here to the node: where they are in what was read over this link.
    pub(super) fn hand_over(&mut self, count: usize) -> u64 {
        let offset = self.read;
        self.read += count as u64;
        offset
    }

    /// Writes as much of the node's queue for this link as the socket, or the line, takes now.
    pub(super) fn write(
        &mut self,
        now: Instant,
        node: &mut impl Machine,
        link: LinkId,
        tap: Option<&Tap>,
    ) -> io::Result<Written> {
        self.blocked = false;
        let before = self.written;
        let mut wake = None;
        if let Some(mut line) = self.line.take() {
            let room = fill(&mut line, now, node, link);
            let written = self.write_line(now, &mut line, link, tap);
            let arrival = line.next_arrival().filter(|_| !self.blocked);
            wake = [room, arrival].into_iter().flatten().min();
            self.line = Some(line);
            written?;
        } else {
            while let Outgoing::Bytes(bytes) = node.outgoing(link) {
                let Some(count) = self.try_write(now, link, bytes, tap)? else { break };
                node.sent(link, count);
            }
        }
        Ok(Written { bytes: self.written - before, wake })
    }

    fn write_line(
        &mut self,
        now: Instant,
        line: &mut Line,
        link: LinkId,
        tap: Option<&Tap>,
    ) -> io::Result<()> {
        while let Some(bytes) = line.arrived(now) {
            let Some(count) = self.try_write(now, link, bytes, tap)? else { break };
            line.written(count);
        }
        Ok(())
    }

    /// `None`, and [`Socket::blocked`], when the socket is full.
    fn try_write(
        &mut self,
        now: Instant,
        link: LinkId,
        bytes: &[u8],
        tap: Option<&Tap>,
    ) -> io::Result<Option<usize>> {
        match self.stream.try_write(bytes) {
            Ok(count) => {
                if let Some(tap) = tap {
                    let written = bytes.get(..count).unwrap_or_default();
                    tap.bytes(now, link, Direction::Out, self.written, written);
                }
                self.written += count as u64;
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Moves the node's queue onto the line; when it can go on, if it could not.
fn fill(line: &mut Line, now: Instant, node: &mut impl Machine, link: LinkId) -> Option<Instant> {
    while let Outgoing::Bytes(bytes) = node.outgoing(link) {
        if let Some(free) = line.busy_until(now) {
            return Some(free);
        }
        // Small pieces, so that an urgent message need not wait for a long backlog.
        let piece = bytes.get(..bytes.len().min(4_096)).unwrap_or_default().to_vec();
        node.sent(link, piece.len());
        line.take(now, piece);
    }
    None
}

/// Ready when a socket can be read, or was full and can be written.
pub(super) async fn any_ready(sockets: &BTreeMap<LinkId, Socket>) {
    poll_fn(|cx| {
        let mut ready = false;
        for socket in sockets.values() {
            // All are asked, so that all will wake this task.
            ready |= socket.stream.poll_read_ready(cx).is_ready();
            ready |= socket.blocked && socket.stream.poll_write_ready(cx).is_ready();
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
