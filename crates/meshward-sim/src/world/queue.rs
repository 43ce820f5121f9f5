//! What will happen, in order of time; what is due at one instant happens in the order it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use meshward_core::time::Instant;

use super::Seat;
use super::air::Hop;
use super::wire::WireId;
use crate::script::Step;

/// A life of a host: counts its resets, so that what was planned for an earlier life is ignored.
pub(super) type Life = u32;

/// Something planned.
#[derive(Debug)]
pub(super) enum What {
    /// A host's machine has a timer due.
    Wake(Seat, Life),
    /// The frame on the one channel has been sent.
    ChannelFree,
    /// The frame on one direction of a wire has been sent (independent links).
    LineFree(WireId, usize),
    /// A frame arrives.
    Arrive(Hop),
    /// A frame arrives at a slow node's program.
    Process(Hop),
    /// An end of a wire learns that the other has closed.
    Fin(WireId, usize),
    /// A host dials its parent; the number tells a newer wish from an older.
    Dial(Seat, Life, u32),
    /// A host's flash command is done.
    Flash(Seat, Life),
    /// A host's boot loader runs.
    Boot(Seat, Life),
    /// A host's program crashes.
    Crash(Seat, Life),
    /// A chatty host says something.
    Chat(Seat, Life),
    /// The script goes on.
    Script(Box<Step>),
}

struct Entry {
    at: Instant,
    order: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest, as a heap gives out the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Queue {
    entries: BinaryHeap<Entry>,
    planned: u64,
}

impl Queue {
    pub(super) fn plan(&mut self, at: Instant, what: What) {
        self.planned += 1;
        self.entries.push(Entry { at, order: self.planned, what });
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.entries.peek().map(|entry| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, What)> {
        self.entries.pop().map(|entry| (entry.at, entry.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_by_plan() {
        let mut queue = Queue::default();
        for (at, seat) in [(5, 1), (3, 2), (5, 3), (3, 4)] {
            queue.plan(Instant::from_micros(at), What::Wake(Seat(seat), 0));
        }
        let mut order = Vec::new();
        while let Some((at, What::Wake(seat, _))) = queue.pop() {
            order.push((at.as_micros(), seat.0));
        }
        assert_eq!(order, [(3, 2), (3, 4), (5, 1), (5, 3)]);
    }
}
