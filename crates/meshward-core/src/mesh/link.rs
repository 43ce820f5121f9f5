//! One TCP link to a neighbour: its framing, its queue, its timers.

use alloc::collections::VecDeque;
use core::fmt;

use super::outbox::Outbox;
use super::{Limits, Timer, timers};
use crate::time::{Duration, Instant, MeshTime};
use crate::wire::{Branch, NodeId, Splitter, Tree};

/// A link of one node; numbers rise in order of connection and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// Which end opened the connection: the dialler (a Wi-Fi station) syncs first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// This node dialled.
    Dialler,
    /// This node accepted.
    Listener,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The TCP connection was closed or lost by the other side or the shell.
    ConnectionLost,
    /// The application asked for it.
    Requested,
    /// The peer's id can be reached already: a second link or a ring.
    AlreadyConnected,
    /// The peer calls itself by our own id.
    ClaimsOurId,
    /// Our own id is in the peer's tree: a ring.
    Ring,
    /// The peer's sync names no node, another node than before, or itself below itself.
    InvalidTree,
    /// More than [`Limits::nodes`] nodes in one tree.
    TreeTooLarge,
    /// No answer to a node sync within [`timers::NODE_TIMEOUT`].
    NoSyncReply,
    /// A frame longer than [`Limits::frame`].
    FrameTooLong,
    /// The peer does not take what the protocol must send it.
    QueueOverflow,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionLost => "the connection was lost",
            Self::Requested => "closed on request",
            Self::AlreadyConnected => "this node is connected already: a second link or a ring",
            Self::ClaimsOurId => "the peer claims our own node id",
            Self::Ring => "our own node id is in the peer's tree: a ring",
            Self::InvalidTree => "the peer's node sync is not a tree with the peer at its top",
            Self::TreeTooLarge => "the peer's tree has more nodes than this node takes",
            Self::NoSyncReply => "no answer to a node sync in 10 s",
            Self::FrameTooLong => "a frame was longer than this node takes",
            Self::QueueOverflow => "the peer does not read what the protocol must send",
        })
    }
}

/// What a reader may know about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The link.
    pub link: LinkId,
    /// Which end opened it.
    pub role: LinkRole,
    /// The neighbour, once synced.
    pub peer: Option<NodeId>,
    /// Bytes waiting to be written.
    pub queued: usize,
    /// From the last node sync request to its answer.
    pub round_trip: Option<Duration>,
}

/// A time answer held back so that the asker does not throw it away: see `timing`.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldAnswer {
    pub(super) due: Instant,
    pub(super) t0: MeshTime,
    pub(super) t1: MeshTime,
}

/// State of a link's node sync.
#[derive(Debug)]
pub(super) struct SyncState {
    /// When the next request goes.
    pub(super) next: Instant,
    /// When the last request went.
    pub(super) last: Option<Instant>,
    /// By when its answer must be here.
    pub(super) deadline: Option<Instant>,
    /// The tree has changed since, and the neighbour has not been told.
    pub(super) stale: bool,
}

/// State of a link's time sync.
#[derive(Debug)]
pub(super) struct TimeState {
    /// When the next exchange starts; `None` until the first node sync.
    pub(super) next: Option<Instant>,
    /// Replies in a row that broke the 85× rule.
    pub(super) discards: u8,
    /// Answers waiting for their time.
    pub(super) held: VecDeque<HeldAnswer>,
    /// When the neighbour asked last, and how long its answer was held.
    pub(super) last_ask: Option<(Instant, Duration)>,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) role: LinkRole,
    pub(super) splitter: Splitter,
    pub(super) outbox: Outbox,
    /// The neighbour's branch; `None` until it has synced.
    pub(super) branch: Option<Branch>,
    pub(super) sync: SyncState,
    pub(super) time: TimeState,
    pub(super) round_trip: Option<Duration>,
    pub(super) closing: Option<CloseReason>,
}

impl Link {
    pub(super) fn new(role: LinkRole, now: Instant, limits: &Limits) -> Self {
        Self {
            role,
            splitter: Splitter::new(limits.frame),
            outbox: Outbox::new(limits.queue),
            branch: None,
            sync: SyncState { next: now + timers::FIRST_NODE_SYNC, last: None, deadline: None, stale: false },
            time: TimeState { next: None, discards: 0, held: VecDeque::new(), last_ask: None },
            round_trip: None,
            closing: None,
        }
    }

    /// The neighbour, once it has synced.
    pub(super) fn peer(&self) -> Option<NodeId> {
        self.tree().map(|tree| tree.top().id)
    }

    /// The neighbour's tree, once it has synced.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.branch.as_ref().map(Branch::tree)
    }

    /// The earliest timer.
    pub(super) fn next_timer(&self, id: LinkId) -> Option<(Instant, Timer)> {
        if self.closing.is_some() {
            return None;
        }
        // Written out, since every input to a node asks every link. Of two at once the first one here counts.
        let mut next = (self.sync.next, Timer::NodeSync(id));
        if let Some(due) = self.sync.deadline.filter(|due| *due <= next.0) {
            next = (due, Timer::SyncOverdue(id));
        }
        if let Some(answer) = self.time.held.front().filter(|answer| answer.due < next.0) {
            next = (answer.due, Timer::HeldAnswer(id));
        }
        if let Some(due) = self.time.next.filter(|due| *due < next.0) {
            next = (due, Timer::TimeSync(id));
        }
        Some(next)
    }

    pub(super) fn info(&self, link: LinkId) -> LinkInfo {
        LinkInfo {
            link,
            role: self.role,
            peer: self.peer(),
            queued: self.outbox.len(),
            round_trip: self.round_trip,
        }
    }
}
