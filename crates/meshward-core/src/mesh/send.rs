//! What leaves a node: messages of its own, and frames passed on for others.

use alloc::vec::Vec;
use core::fmt;

use super::Mesh;
use super::link::LinkId;
use super::outbox::{Class, Priority, Pushed};
use crate::wire::{Envelope, NodeId, User, kind};

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The destination is this node itself.
    ToSelf,
    /// The destination is not in the tree.
    NoRoute(NodeId),
    /// The message is longer than a mesh takes.
    TooLong {
        /// Its length in bytes of JSON.
        len: usize,
        /// What would be right.
        max: usize,
    },
    /// The queue of the link that leads there is full.
    QueueFull(NodeId),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToSelf => f.write_str("the destination is this node itself"),
            Self::NoRoute(dest) => write!(f, "node {dest} is not in the mesh"),
            Self::TooLong { len, max } => {
                write!(f, "the message takes {len} bytes on the wire; {max} are allowed")
            }
            Self::QueueFull(dest) => write!(f, "the link towards node {dest} is busy: its queue is full"),
        }
    }
}

impl core::error::Error for SendError {}

/// How a frame of somebody else travels on, by type. Types 4, 5 and 6 are never somebody else's, and the
/// delay probes of others (type 3) must not crowd out our own signs of life. They queue with the chunks,
/// as they do in a C++ relay's one queue, so that who paces chunks by them sees what chunks wait.
fn forwarded(kind: i32) -> (Priority, Class) {
    match kind {
        kind::OTA_DATA | kind::CHUNK => (Priority::Chunk, Class::Chunk),
        // So does who asks what has come of them.
        kind::TIME_DELAY | kind::OFFER => (Priority::Chunk, Class::User),
        _ => (Priority::Normal, Class::User),
    }
}

/// What this node's own frames are, by their priority.
fn class_of(priority: Priority) -> Class {
    if priority == Priority::Chunk { Class::Chunk } else { Class::User }
}

impl Mesh {
    /// Sends text to one node (type 9).
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn send_single(&mut self, dest: NodeId, msg: &[u8], priority: Priority) -> Result<(), SendError> {
        let user = User { broadcast: false, dest, from: self.config.id, msg: msg.into() };
        let frame = self.checked(user.encode())?;
        self.send_single_frame(dest, &frame, priority)
    }

    /// Sends text to every node (type 8). Returns to how many links it went.
    ///
    /// # Errors
    /// [`SendError::TooLong`].
    pub fn send_broadcast(&mut self, msg: &[u8], priority: Priority) -> Result<usize, SendError> {
        let user = User { broadcast: true, dest: NodeId::NONE, from: self.config.id, msg: msg.into() };
        let frame = self.checked(user.encode())?;
        Ok(self.broadcast_frame(&frame, priority, Class::User))
    }

    fn checked(&self, frame: Vec<u8>) -> Result<Vec<u8>, SendError> {
        let max = self.config.limits.message;
        if frame.len() > max { Err(SendError::TooLong { len: frame.len(), max }) } else { Ok(frame) }
    }

    /// Sends an encoded package of this node's own to `dest`; chunks are told by their priority.
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn send_single_frame(
        &mut self,
        dest: NodeId,
        frame: &[u8],
        priority: Priority,
    ) -> Result<(), SendError> {
        if dest == self.config.id {
            return Err(SendError::ToSelf);
        }
        let link = self.link_to(dest).ok_or(SendError::NoRoute(dest))?;
        if self.queue(link, frame, priority, class_of(priority)) {
            Ok(())
        } else {
            Err(SendError::QueueFull(dest))
        }
    }

    /// Sends an encoded package of this node's own over one link, to the neighbour there; whether it was queued.
    pub fn send_neighbour_frame(&mut self, link: LinkId, frame: &[u8], priority: Priority) -> bool {
        self.queue(link, frame, priority, class_of(priority))
    }

    /// Sends an encoded package of this node's own to everybody. Returns to how many links it went.
    pub fn send_broadcast_frame(&mut self, frame: &[u8], priority: Priority) -> usize {
        self.broadcast_frame(frame, priority, class_of(priority))
    }

    fn broadcast_frame(&mut self, frame: &[u8], priority: Priority, class: Class) -> usize {
        let links: Vec<LinkId> = self.synced_links().collect();
        links.into_iter().filter(|id| self.queue(*id, frame, priority, class)).count()
    }

    /// An answer of the protocol to a node anywhere; without a route it is not given.
    pub(super) fn route_own(&mut self, dest: NodeId, frame: &[u8], priority: Priority) {
        match self.link_to(dest) {
            Some(link) => {
                self.queue(link, frame, priority, Class::Protocol);
            }
            None => self.counters.frames_without_route += 1,
        }
    }

    /// Passes a single on towards its destination; never back where it came from.
    pub(super) fn forward_single(&mut self, from: LinkId, envelope: &Envelope, frame: &[u8]) {
        match self.link_to(envelope.dest) {
            Some(link) if link != from && envelope.dest != NodeId::NONE => {
                self.forward(link, envelope.kind, frame);
            }
            _ => self.counters.frames_without_route += 1,
        }
    }

    /// Telemetry for `dest` is to be handed to `local` from now on, which passes it on in its own way; `None` for
    /// none.
    pub(crate) fn hold_for(&mut self, dest: Option<NodeId>) {
        self.held_for = dest;
    }

    pub(super) fn is_held(&self, envelope: &Envelope) -> bool {
        Some(envelope.dest) == self.held_for
            && matches!(envelope.kind, kind::TELEMETRY_KEYFRAME | kind::TELEMETRY_DELTA)
    }

    /// Passes on what was handed out and not held.
    pub(crate) fn pass_on(&mut self, from: LinkId, dest: NodeId, kind: i32, frame: &[u8]) {
        let routing = crate::wire::Routing::Single;
        self.forward_single(from, &Envelope { kind, dest, from: NodeId::NONE, routing }, frame);
    }

    /// Passes a broadcast on to every synced link but those of the neighbour it came from.
    pub(super) fn forward_broadcast(&mut self, from: LinkId, envelope: &Envelope, frame: &[u8]) {
        let mut after = None;
        // Links are found one by one, not collected: this is the hot path of a roll-out.
        while let Some(link) = self.next_synced(after) {
            after = Some(link);
            if link != from {
                self.forward(link, envelope.kind, frame);
            }
        }
    }

    fn next_synced(&self, after: Option<LinkId>) -> Option<LinkId> {
        self.links_after(after).find(|(_, link)| link.branch.is_some()).map(|(id, _)| *id)
    }

    fn forward(&mut self, link: LinkId, kind: i32, frame: &[u8]) {
        let (priority, class) = forwarded(kind);
        if self.queue(link, frame, priority, class) {
            self.counters.frames_forwarded += 1;
        }
    }

    /// Puts a frame into a link's queue; what is refused or evicted is counted.
    pub(super) fn queue(&mut self, id: LinkId, frame: &[u8], priority: Priority, class: Class) -> bool {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.closing.is_none()) else { return false };
        let pushed = link.outbox.push(frame, priority, class);
        self.count_pushed(pushed, class)
    }

    /// Counts what became of a frame; whether it is in.
    pub(super) fn count_pushed(&mut self, pushed: Pushed, class: Class) -> bool {
        self.counters.chunks_dropped += u64::from(pushed.evicted);
        match (pushed.accepted, class) {
            (true, _) => self.counters.frames_queued += 1,
            (false, Class::Chunk) => self.counters.chunks_dropped += 1,
            (false, _) => self.counters.messages_dropped += 1,
        }
        pushed.accepted
    }
}
