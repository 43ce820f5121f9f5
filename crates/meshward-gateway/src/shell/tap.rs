//! A tap on the links of a shell: a copy of every byte, and of what else its node was told, for a capture.
//!
//! The node's task never waits for whoever reads: what finds the channel full is dropped and counted. Bytes
//! carry their place in the stream of their link and direction, so that the reader sees where some are missing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use meshward_core::mesh::{LinkId, LinkRole, MeshConfig};
use meshward_core::time::Instant;

/// Events on their way to the reader.
const EVENTS_MAX: usize = 16_384;
/// Of these, kept free for links that come and go: rare, and nothing makes sense without them.
const EVENTS_RESERVED: usize = 1_024;
/// Bytes on their way to the reader.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the neighbour to the node.
    In,
    /// From the node to the neighbour.
    Out,
}

/// Something that a node was told or said, by its own clock.
#[derive(Clone, Debug)]
pub struct TapEvent {
    /// The `now` that the node was given; of bytes that it said, when they were written.
    pub at: Instant,
    /// What it was.
    pub what: Tapped,
}

/// What a [`TapEvent`] says.
#[derive(Clone, Debug)]
pub enum Tapped {
    /// A node was made; links of the one before are gone.
    Booted(Box<MeshConfig>),
    /// A connection stands.
    LinkUp {
        /// The link.
        link: LinkId,
        /// Who dialled.
        role: LinkRole,
        /// The other end.
        peer: SocketAddr,
    },
    /// A connection is closed at this end.
    LinkDown {
        /// The link.
        link: LinkId,
        /// The other end closed first, or the connection broke.
        lost: bool,
    },
    /// Bytes were read or written.
    Bytes {
        /// The link.
        link: LinkId,
        /// Which way.
        direction: Direction,
        /// How many went this way before them.
        offset: u64,
        /// The bytes, cut anywhere.
        bytes: Vec<u8>,
    },
    /// The node's timers were fired.
    Timers,
    /// The node's flash commands were executed, until it had none left.
    Flash,
}

#[derive(Debug, Default)]
struct Shared {
    events_waiting: AtomicUsize,
    bytes_waiting: AtomicUsize,
    events_dropped: AtomicU64,
    bytes_dropped: AtomicU64,
}

impl Shared {
    fn taken(&self, bytes: usize) {
        self.events_waiting.fetch_sub(1, Ordering::Relaxed);
        self.bytes_waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The node's end.
#[derive(Clone, Debug)]
pub struct Tap {
    events: SyncSender<TapEvent>,
    shared: Arc<Shared>,
}

/// The reader's end: for a thread that may block.
#[derive(Debug)]
pub struct TapReader {
    events: Receiver<TapEvent>,
    shared: Arc<Shared>,
}

/// What a reader has missed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Events, bytes included.
    pub events: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A tap and its reader.
pub fn tap() -> (Tap, TapReader) {
    let (sender, receiver) = sync_channel(EVENTS_MAX);
    let shared = Arc::new(Shared::default());
    (Tap { events: sender, shared: Arc::clone(&shared) }, TapReader { events: receiver, shared })
}

impl Tap {
    /// A node is made.
    pub fn booted(&self, at: Instant, config: &MeshConfig) {
        self.send(at, Tapped::Booted(Box::new(config.clone())));
    }

    pub(super) fn bytes(&self, at: Instant, link: LinkId, direction: Direction, offset: u64, bytes: &[u8]) {
        let waiting = self.shared.bytes_waiting.load(Ordering::Relaxed);
        if waiting + bytes.len() > BYTES_MAX {
            return self.missed(bytes.len());
        }
        self.send(at, Tapped::Bytes { link, direction, offset, bytes: bytes.to_vec() });
    }

    pub(super) fn send(&self, at: Instant, what: Tapped) {
        let rare = matches!(what, Tapped::Booted(_) | Tapped::LinkUp { .. } | Tapped::LinkDown { .. });
        let room = if rare { EVENTS_MAX } else { EVENTS_MAX - EVENTS_RESERVED };
        let bytes = what.len();
        // Counted before it is sent, so that the reader never takes off what is not there yet.
        let waiting = self.shared.events_waiting.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes_waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting >= room || self.events.try_send(TapEvent { at, what }).is_err() {
            self.shared.taken(bytes);
            self.missed(bytes);
        }
    }

    fn missed(&self, bytes: usize) {
        self.shared.events_dropped.fetch_add(1, Ordering::Relaxed);
        self.shared.bytes_dropped.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Tapped {
    fn len(&self) -> usize {
        if let Self::Bytes { bytes, .. } = self { bytes.len() } else { 0 }
    }
}

impl TapReader {
    /// Waits for the next event.
    ///
    /// # Errors
    /// When none came in time, or every tap is gone.
    pub fn next(&self, patience: std::time::Duration) -> Result<TapEvent, RecvTimeoutError> {
        let event = self.events.recv_timeout(patience)?;
        self.shared.taken(event.what.len());
        Ok(event)
    }

    /// What was dropped because this reader was too slow.
    pub fn missed(&self) -> Missed {
        Missed {
            events: self.shared.events_dropped.load(Ordering::Relaxed),
            bytes: self.shared.bytes_dropped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(1);
    const NOW: Instant = Instant::ORIGIN;
    const NO_TIME: std::time::Duration = std::time::Duration::ZERO;

    #[test]
    fn a_slow_reader_misses_bytes_and_no_links() {
        let (tap, reader) = tap();
        for offset in 0..EVENTS_MAX as u64 {
            tap.bytes(NOW, LINK, Direction::In, offset, b"x");
        }
        let missed = EVENTS_RESERVED as u64;
        assert_eq!(reader.missed(), Missed { events: missed, bytes: missed });
        tap.send(NOW, Tapped::LinkDown { link: LINK, lost: true });
        let mut events = 0;
        let mut last = None;
        while let Ok(event) = reader.next(NO_TIME) {
            events += 1;
            last = Some(event.what);
        }
        assert_eq!(events, EVENTS_MAX - EVENTS_RESERVED + 1);
        assert!(matches!(last, Some(Tapped::LinkDown { .. })));
        tap.bytes(NOW, LINK, Direction::In, 0, b"x");
        assert!(reader.next(NO_TIME).is_ok(), "there is room again");
    }

    #[test]
    fn bytes_have_a_limit_of_their_own() {
        let (tap, reader) = tap();
        let half = vec![0; BYTES_MAX / 2];
        for _ in 0..3 {
            tap.bytes(NOW, LINK, Direction::Out, 0, &half);
        }
        assert_eq!(reader.missed(), Missed { events: 1, bytes: half.len() as u64 });
        drop(tap);
        assert!(reader.next(NO_TIME).is_ok() && reader.next(NO_TIME).is_ok());
        assert_eq!(reader.next(NO_TIME).unwrap_err(), RecvTimeoutError::Disconnected);
    }
}
