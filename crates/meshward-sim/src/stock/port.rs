//! One TCP connection as `BufferedConnection` handles it: what has come, what waits to be written.
//!
//! It refuses nothing: both queues grow without bound, as in the library. Messages leave by priority and
//! then in order, and a started one is finished first. Driven by the node; in a node with a slow loop, by
//! its passes.

use std::collections::VecDeque;

use meshward_core::mesh::Priority;
use meshward_core::wire::Splitter;

use crate::world::is_firmware;

/// Priorities of `SentBuffer`: critical, high, normal, low.
const LANES: usize = 4;
/// The most bytes that are written at once (`TCP_MSS` less the NUL that `SentBuffer` keeps room for).
pub(super) const WRITE_MAX: usize = 1_023;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) splitter: Splitter,
    /// Messages that wait for a pass of a slow loop, with their NULs, and the first pass that may take them.
    pub(super) inbox: VecDeque<(u64, Vec<u8>)>,
    lanes: [VecDeque<Vec<u8>>; LANES],
    /// The lane of the message that is being written, and how much of it has been.
    started: Option<(usize, usize)>,
    /// What may be written until the next pass; no limit without a slow loop.
    allowance: Option<usize>,
    queued: usize,
}

impl Port {
    /// A connection; `slow` when it belongs to a node with a slow loop.
    pub(super) fn new(slow: bool) -> Self {
        Self {
            splitter: Splitter::new(usize::MAX),
            inbox: VecDeque::new(),
            lanes: Default::default(),
            started: None,
            allowance: slow.then_some(0),
            queued: 0,
        }
    }

    /// Bytes that wait to be written.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Those of them that are parts of an image.
    pub(super) fn firmware(&self) -> usize {
        let waiting = self.lanes.iter().flatten().filter(|message| is_firmware(message));
        waiting.map(Vec::len).sum()
    }

    /// Queues a message (with its NUL).
    pub(super) fn push(&mut self, message: Vec<u8>, priority: Priority) {
        let lane = match priority {
            Priority::Critical => 0,
            Priority::High => 1,
            Priority::Normal | Priority::Chunk => 2,
            Priority::Low => 3,
        };
        if let Some(lane) = self.lanes.get_mut(lane) {
            self.queued += message.len();
            lane.push_back(message);
        }
    }

    fn current(&self) -> Option<(usize, usize)> {
        let first = || self.lanes.iter().position(|lane| !lane.is_empty()).map(|lane| (lane, 0));
        self.started.or_else(first)
    }

    /// What is to be written now: the rest of one message, or as much of it as may go.
    pub(super) fn next(&self) -> &[u8] {
        let Some((lane, written)) = self.current() else { return &[] };
        let message = self.lanes.get(lane).and_then(VecDeque::front).map_or(&[][..], Vec::as_slice);
        let rest = message.get(written..).unwrap_or_default();
        rest.get(..self.allowance.unwrap_or(rest.len())).unwrap_or(rest)
    }

    /// The next message whole, written at once; `None` where that cannot be: none waits, one has been
    /// started, or a slow loop writes in pieces.
    pub(super) fn take_whole(&mut self) -> Option<Vec<u8>> {
        if self.started.is_some() || self.allowance.is_some() {
            return None;
        }
        let message = self.lanes.iter_mut().find_map(VecDeque::pop_front)?;
        self.queued -= message.len();
        Some(message)
    }

    /// `count` bytes of what [`Port::next`] showed are written.
    pub(super) fn sent(&mut self, count: usize) {
        let Some((lane, written)) = self.current().filter(|_| count > 0) else { return };
        let Some(messages) = self.lanes.get_mut(lane) else { return };
        let len = messages.front().map_or(0, Vec::len);
        let count = count.min(len - written).min(self.allowance.unwrap_or(usize::MAX));
        self.queued -= count;
        if let Some(allowance) = &mut self.allowance {
            *allowance = allowance.saturating_sub(count);
        }
        if written + count == len {
            messages.pop_front();
            self.started = None;
        } else {
            self.started = Some((lane, written + count));
        }
    }

    /// A pass of a slow loop lets one write go, of what is waiting already.
    pub(super) fn allow_write(&mut self) {
        self.started = self.current();
        self.allowance = Some(0);
        if let Some((lane, written)) = self.started {
            let len = self.lanes.get(lane).and_then(VecDeque::front).map_or(0, Vec::len);
            self.allowance = Some((len - written).min(WRITE_MAX));
        }
    }

    /// The oldest message that may be taken in this pass.
    pub(super) fn take(&mut self, pass: u64) -> Option<Vec<u8>> {
        let due = self.inbox.front().is_some_and(|(from, _)| *from <= pass);
        due.then(|| self.inbox.pop_front()).flatten().map(|(_, message)| message)
    }
}
