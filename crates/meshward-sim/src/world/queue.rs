//! What will happen, in order of time; what is due at one instant happens in the order it was planned.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

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
    /// A host's application has found out whether it works.
    SelfTest(Seat, Life),
    /// A gateway's service looks at its node.
    Drive(Seat, Life),
    /// A host's chip measures what it tells.
    Measure(Seat, Life),
    /// The script goes on.
    Script(Box<Step>),
}

/// See the module's page. What is planned stays where it is; only its time and its place are moved about.
#[derive(Default)]
pub(super) struct Queue {
    /// The time, the number of the plan, the place.
    entries: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    places: Vec<Option<What>>,
    free: Vec<usize>,
    planned: u64,
    /// The instant of what happened last, and what has been planned for it since: it comes after all that was planned
    /// for it before, and in a large mesh much happens at once.
    now: Instant,
    at_once: VecDeque<What>,
}

impl Queue {
    pub(super) fn plan(&mut self, at: Instant, what: What) {
        if at == self.now {
            return self.at_once.push_back(what);
        }
        self.planned += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(what);
        self.entries.push(Reverse((at, self.planned, place)));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        let later = self.entries.peek().map(|Reverse((at, ..))| *at);
        if self.at_once.is_empty() { later } else { Some(self.now) }
    }

    pub(super) fn pop(&mut self) -> Option<(Instant, What)> {
        let earlier = self.entries.peek().is_some_and(|Reverse((at, ..))| *at <= self.now);
        if !earlier && let Some(what) = self.at_once.pop_front() {
            return Some((self.now, what));
        }
        let Reverse((at, _, place)) = self.entries.pop()?;
        self.now = at;
        self.free.push(place);
        self.places[place].take().map(|what| (at, what))
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

    #[test]
    fn what_is_planned_for_now_comes_after_what_was_planned_for_it_before() {
        let mut queue = Queue::default();
        let at = Instant::from_micros;
        for (time, seat) in [(5, 1), (5, 2), (6, 3)] {
            queue.plan(at(time), What::Wake(Seat(seat), 0));
        }
        let mut order = Vec::new();
        while let Some((time, What::Wake(seat, _))) = queue.pop() {
            order.push((time.as_micros(), seat.0));
            if seat.0 <= 2 {
                queue.plan(time, What::Wake(Seat(seat.0 + 10), 0));
                queue.plan(at(6), What::Wake(Seat(seat.0 + 20), 0));
            }
            assert_eq!(queue.next_at().is_none(), order.len() == 7);
        }
        assert_eq!(order, [(5, 1), (5, 2), (5, 11), (5, 12), (6, 3), (6, 21), (6, 22)]);
    }
}
