//! What waits to be written to one link: five lanes of bytes, bounded together.
//!
//! A lane is a run of NUL-terminated frames in one buffer, so that forwarding is one copy, a backlog is one
//! write, and nothing is allocated per message. A started message is finished first; then the lane of the
//! highest priority goes. On overflow firmware chunks go first, then user data is refused; this
//! node's own messages of the protocol may use as much again, and after that the link is beyond help.

use alloc::vec::Vec;

/// How urgent a message is on this node's own links; it does not travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Before everything else.
    Critical,
    /// With the protocol's answers (types 4 and 6).
    High,
    /// Everything else.
    #[default]
    Normal,
    /// After everything else but firmware chunks.
    Low,
    /// Firmware chunks (type 12), which the application's traffic overtakes, and the delay probes among them.
    Chunk,
}

/// What may be dropped when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// This node's own messages of the protocol, types 3 to 6.
    Protocol,
    /// What applications send.
    User,
    /// Firmware chunks.
    Chunk,
}

/// What became of a frame that was put into an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Whether the frame is in.
    pub(super) accepted: bool,
    /// How many queued chunks made room for it.
    pub(super) evicted: u32,
}

const LANES: usize = 5;
/// A lane that has run empty keeps memory for the next message: a twelfth of what the queue may hold (2 KB
/// of a microcontroller's), and no more than this, in which the node sync of 500 nodes has room.
const KEEP_MAX: usize = 16 * 1024;
/// Written bytes at a lane's front are given back when there are this many.
const COMPACT: usize = 16 * 1024;

#[derive(Debug, Default)]
struct Lane {
    bytes: Vec<u8>,
    head: usize,
}

impl Lane {
    fn waiting(&self) -> &[u8] {
        self.bytes.get(self.head..).unwrap_or_default()
    }

    fn first_frame(&self) -> &[u8] {
        let waiting = self.waiting();
        let end = memchr::memchr(0, waiting).map_or(waiting.len(), |nul| nul + 1);
        waiting.get(..end).unwrap_or_default()
    }

    fn advance(&mut self, count: usize, keep: usize) {
        self.head = (self.head + count).min(self.bytes.len());
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(keep);
            self.head = 0;
        } else if self.head >= COMPACT && self.head * 2 >= self.bytes.len() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

/// The queue of one link.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    lanes: [Lane; LANES],
    /// The lane whose first frame has been written in part.
    started: Option<usize>,
    bytes: usize,
    limit: usize,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        Self { lanes: Default::default(), started: None, bytes: 0, limit }
    }

    /// Bytes waiting.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Puts a frame (without NUL) into its lane, or refuses it.
    pub(super) fn push(&mut self, frame: &[u8], priority: Priority, class: Class) -> Pushed {
        let pushed = self.make_room(frame.len() + 1, class);
        if pushed.accepted
            && let Some(lane) = self.lanes.get_mut(priority as usize)
        {
            lane.bytes.reserve(frame.len() + 1);
            lane.bytes.extend_from_slice(frame);
            lane.bytes.push(0);
            self.bytes += frame.len() + 1;
        }
        pushed
    }

    /// As [`Outbox::push`], for a frame that `write` appends: a copy less of what is long. Not for chunks,
    /// which make room.
    pub(super) fn push_written(
        &mut self,
        priority: Priority,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Pushed {
        let index = priority as usize;
        let Some(lane) = self.lanes.get_mut(index) else { return Pushed { accepted: false, evicted: 0 } };
        let before = lane.bytes.len();
        write(&mut lane.bytes);
        lane.bytes.push(0);
        let size = lane.bytes.len() - before;
        let pushed = self.make_room(size, class);
        if pushed.accepted {
            self.bytes += size;
        } else if let Some(lane) = self.lanes.get_mut(index) {
            lane.bytes.truncate(before);
        }
        pushed
    }

    /// Whether a frame that takes `size` bytes may come in, once chunks have made what room they can.
    fn make_room(&mut self, size: usize, class: Class) -> Pushed {
        let limit = if class == Class::Protocol { self.limit * 2 } else { self.limit };
        let mut evicted = 0;
        while class != Class::Chunk && self.bytes + size > limit && self.evict_chunk() {
            evicted += 1;
        }
        Pushed { accepted: self.bytes + size <= limit, evicted }
    }

    /// Drops the oldest chunk that has not been started.
    fn evict_chunk(&mut self) -> bool {
        let chunks = Priority::Chunk as usize;
        let Some(lane) = self.lanes.get_mut(chunks) else { return false };
        let mut start = lane.head;
        if self.started == Some(chunks) {
            start += lane.first_frame().len();
        }
        let rest = lane.bytes.get(start..).unwrap_or_default();
        let Some(nul) = memchr::memchr(0, rest) else { return false };
        lane.bytes.drain(start..=start + nul);
        self.bytes -= nul + 1;
        true
    }

    /// The bytes to write next: whole frames of one lane, or the rest of a started one.
    pub(super) fn next(&self) -> &[u8] {
        let first = self.lanes.iter().position(|lane| !lane.waiting().is_empty());
        match (self.started, first) {
            (None, None) => &[],
            (None, Some(lane)) => self.lanes.get(lane).map_or(&[], Lane::waiting),
            (Some(started), Some(first)) if first < started => {
                self.lanes.get(started).map_or(&[], Lane::first_frame)
            }
            (Some(started), _) => self.lanes.get(started).map_or(&[], Lane::waiting),
        }
    }

    /// `count` bytes of what [`Outbox::next`] showed are written.
    pub(super) fn sent(&mut self, count: usize) {
        let first = self.lanes.iter().position(|lane| !lane.waiting().is_empty());
        let Some(index) = self.started.or(first) else { return };
        let Some(lane) = self.lanes.get_mut(index) else { return };
        let count = count.min(lane.waiting().len());
        if count == 0 {
            return;
        }
        let whole = lane.waiting().get(count - 1) == Some(&0);
        lane.advance(count, (self.limit / 12).min(KEEP_MAX));
        self.bytes -= count;
        self.started = if whole { None } else { Some(index) };
    }

    /// Takes what [`Outbox::next`] shows, as written; without a copy where that is all of a lane.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let first = self.lanes.iter_mut().find(|lane| !lane.waiting().is_empty());
        match first.filter(|lane| self.started.is_none() && lane.head == 0) {
            Some(lane) => {
                let bytes = core::mem::take(&mut lane.bytes);
                self.bytes -= bytes.len();
                bytes
            }
            None => {
                let bytes = self.next().to_vec();
                self.sent(bytes.len());
                bytes
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(limit: usize) -> Outbox {
        Outbox::new(limit)
    }

    fn drain(outbox: &mut Outbox) -> Vec<u8> {
        let mut out = Vec::new();
        while !outbox.next().is_empty() {
            out.extend_from_slice(outbox.next());
            let count = outbox.next().len();
            outbox.sent(count);
        }
        out
    }

    #[test]
    fn priorities_and_order_within_one() {
        let mut outbox = outbox(100);
        outbox.push(b"n1", Priority::Normal, Class::User);
        outbox.push(b"c", Priority::Chunk, Class::Chunk);
        outbox.push(b"n2", Priority::Normal, Class::User);
        outbox.push(b"h", Priority::High, Class::Protocol);
        assert_eq!(drain(&mut outbox), b"h\0n1\0n2\0c\0");
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn a_started_message_is_finished_first() {
        let mut outbox = outbox(100);
        outbox.push(b"long", Priority::Low, Class::User);
        outbox.push(b"later", Priority::Low, Class::User);
        outbox.sent(2);
        outbox.push(b"urgent", Priority::Critical, Class::User);
        assert_eq!(outbox.next(), b"ng\0");
        assert_eq!(drain(&mut outbox), b"ng\0urgent\0later\0");
    }

    #[test]
    fn what_is_taken_is_what_would_be_written() {
        let mut outbox = outbox(100);
        outbox.push(b"c1", Priority::Chunk, Class::Chunk);
        outbox.push(b"c2", Priority::Chunk, Class::Chunk);
        outbox.sent(1);
        outbox.push(b"n1", Priority::Normal, Class::User);
        outbox.push(b"n2", Priority::Normal, Class::User);
        for want in [&b"1\0"[..], b"n1\0n2\0", b"c2\0", b""] {
            let waiting = outbox.len();
            assert_eq!((outbox.take(), outbox.len()), (want.to_vec(), waiting - want.len()));
        }
    }

    #[test]
    fn chunks_make_room_then_user_data_is_refused_then_the_protocol() {
        let mut outbox = outbox(20);
        assert!(outbox.push(b"chunk-1", Priority::Chunk, Class::Chunk).accepted);
        assert!(outbox.push(b"chunk-2", Priority::Chunk, Class::Chunk).accepted);
        assert!(!outbox.push(b"chunk-3", Priority::Chunk, Class::Chunk).accepted);
        outbox.sent(3);
        let pushed = outbox.push(b"user-data", Priority::Normal, Class::User);
        assert_eq!(pushed, Pushed { accepted: true, evicted: 1 });
        assert!(!outbox.push(b"user-data", Priority::Normal, Class::User).accepted);
        assert!(outbox.push(b"six", Priority::High, Class::Protocol).accepted);
        assert!(outbox.push(&[b'x'; 20], Priority::High, Class::Protocol).accepted);
        assert!(!outbox.push(&[b'x'; 20], Priority::High, Class::Protocol).accepted);
        assert!(drain(&mut outbox).starts_with(b"nk-1\0six\0"));
    }

    #[test]
    fn an_empty_lane_gives_its_memory_back() {
        for (limit, keep) in [(24 * 1024, 2 * 1024), (1 << 20, KEEP_MAX), (1 << 30, KEEP_MAX)] {
            let mut outbox = outbox(limit);
            for _ in 0..100 {
                outbox.push(&[b'x'; 1_000], Priority::Normal, Class::User);
            }
            drain(&mut outbox);
            assert!(outbox.lanes.iter().all(|lane| lane.bytes.capacity() <= keep), "{limit}");
        }
    }
}
