//! Sends parts to one node alone, in order, until it asks for the part after the last of them.
//!
//! A stock node asks for one part after the other, and asks again only after 30 s. We wait no longer than a
//! few round trips: then we *sweep*. The parts that it may lack go out one after the other, each with a delay
//! probe behind it that says when the next one may go; the node takes the one it stands at, ignores the
//! others, and asks for the next. So a lost part or request costs a round trip or two instead of 30 s, and a
//! node finds its place again of which nobody knows where it stands.
//!
//! It refuses nothing and knows nothing of Announces; its target drives it.

use super::trip::Trip;
use crate::time::{Duration, Instant};

/// What an answer is given before anything is known about round trips.
const PATIENCE_FIRST: Duration = Duration::from_secs(3);
const PATIENCE_MIN: Duration = Duration::from_secs(2);
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// The least that the next part of a sweep waits for the probe behind the one before.
const SWEEP_MIN: Duration = Duration::from_millis(300);
/// Sweeps without an answer; then somebody else must find out what is wrong.
const SWEEPS: u8 = 4;

/// What [`Stream::overdue`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing that somebody else should do.
    No,
    /// It begins to search: an Announce before it wakes a node that has given up.
    Searches,
    /// It has searched often enough, and has ended.
    InVain,
}

/// What to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) part: u32,
    /// With a probe behind it: nobody knows whether the node takes it.
    pub(super) probed: bool,
}

/// See the module's page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// It has every part before this one.
    low: u32,
    /// It does not lack this part or any after it yet: a sweep ends before it.
    high: u32,
    /// It is done when it asks for this part.
    goal: u32,
    /// Parts from this one on are not sent.
    end: u32,
    active: bool,
    /// The part that goes next.
    turn: Option<u32>,
    /// The part that went last, and when.
    sent: Option<(u32, Instant)>,
    /// Whether it has not been sent before, nor asked for.
    once: bool,
    /// Whether one more part of a sweep may go at once.
    ahead: bool,
    sweeping: bool,
    sweeps: u8,
    /// Whether it has asked for something since the stream began.
    answered: bool,
    /// Round trips from a part to the request for the next, or to its probe's answer.
    trip: Trip,
}

impl Stream {
    /// A stream to a node of which nothing is known.
    pub(super) const fn new() -> Self {
        Self {
            low: 0,
            high: 0,
            goal: 0,
            end: 0,
            active: false,
            turn: None,
            sent: None,
            once: false,
            ahead: false,
            sweeping: false,
            sweeps: 0,
            answered: false,
            trip: Trip::new(),
        }
    }

    /// The part that it asked for last: it has everything before.
    pub(super) const fn low(&self) -> u32 {
        self.low
    }

    /// It is known to have everything before `part`.
    pub(super) fn know(&mut self, part: u32) {
        self.low = part;
    }

    /// Serves it from the part that it asked for on, until it asks for `goal`.
    pub(super) fn serve(&mut self, goal: u32) {
        self.begin(self.low, goal, goal);
    }

    /// Sends it `part` alone, although it may lack earlier ones too; parts up to `end` may follow when it
    /// does not answer.
    pub(super) fn check(&mut self, part: u32, end: u32) {
        self.begin(part, part + 1, end);
    }

    fn begin(&mut self, first: u32, goal: u32, end: u32) {
        *self = Self {
            high: self.high.max(first + 1),
            end,
            goal,
            active: first < goal,
            turn: Some(first),
            sent: None,
            sweeping: false,
            sweeps: 0,
            answered: false,
            ..*self
        };
    }

    pub(super) fn stop(&mut self) {
        self.active = false;
    }

    pub(super) const fn is_active(&self) -> bool {
        self.active
    }

    /// Whether it may still answer what it was sent first.
    pub(super) const fn is_fresh(&self) -> bool {
        self.active && !self.answered && self.sweeps < 2
    }

    /// Whether it has not, and all that it may lack is being tried.
    pub(super) const fn is_searching(&self) -> bool {
        self.active && !self.answered && self.sweeps >= 2
    }

    /// Whether it has not been sent anything yet.
    pub(super) const fn is_new(&self) -> bool {
        self.active && self.sent.is_none()
    }

    /// How many parts may be on their way at `now`: a sweep has two.
    pub(super) fn under_way(&self, now: Instant) -> usize {
        let recent = self.sent.is_some_and(|(_, at)| at + self.patience() > now);
        match (self.active && recent, self.sweeping) {
            (true, true) => 2,
            (true, false) => usize::from(self.turn.is_none()),
            (false, _) => 0,
        }
    }

    /// A broadcast pass has reached this part meanwhile: the stream is done there, and not before.
    pub(super) fn extend(&mut self, reached: u32) {
        self.goal = self.goal.max(reached);
    }

    /// It asks for `part`.
    pub(super) fn asked(&mut self, now: Instant, part: u32) {
        // Only what went once tells a round trip (Karn's rule).
        let once = core::mem::take(&mut self.once);
        if let Some((_, at)) = self.sent.filter(|(sent, _)| once && *sent + 1 == part) {
            self.trip.measure(now.since(at));
        }
        (self.low, self.high) = (part, part + 1);
        (self.sweeping, self.sweeps, self.answered) = (false, 0, true);
        if part >= self.goal {
            self.active = false;
        }
        self.turn = self.active.then_some(part);
    }

    /// What goes now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Part> {
        let part = self.turn.filter(|_| self.active)?;
        self.sent = Some((part, now));
        self.once = !self.sweeping;
        // A sweep has two parts on their way, so that the way is never empty.
        self.ahead = self.sweeping && !self.ahead;
        self.turn = self.after_sent().filter(|_| self.ahead);
        Some(Part { part, probed: self.sweeping })
    }

    /// A probe behind a part came back after `round_trip`: if the node had taken it, its request would be here
    /// soon.
    pub(super) fn probe_answered(&mut self, round_trip: Duration) {
        if self.active && self.sweeping {
            self.trip.measure(round_trip);
        }
        if self.active && self.sweeping && self.turn.is_none() {
            self.ahead = true;
            self.turn = self.after_sent();
        }
    }

    /// The next part of the sweep.
    fn after_sent(&self) -> Option<u32> {
        self.sent.map(|(sent, _)| sent + 1).filter(|next| *next < self.high.min(self.end))
    }

    /// When [`Stream::overdue`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (_, at) = self.sent.filter(|_| self.active && self.turn.is_none())?;
        Some(at + self.patience())
    }

    fn patience(&self) -> Duration {
        let overdue = self.trip.overdue().unwrap_or(PATIENCE_FIRST);
        if self.sweeping && self.after_sent().is_some() {
            // A lost probe holds the sweep up no longer than it must: nothing is sent twice by going on.
            return overdue.clamp(SWEEP_MIN, PATIENCE_MAX);
        }
        let doubled = 1 << self.sweeps.saturating_sub(1).min(2);
        overdue.max(PATIENCE_MIN).saturating_mul(doubled).min(PATIENCE_MAX)
    }

    /// Sends again what may have been lost when an answer is overdue, and sweeps when that does not help.
    pub(super) fn overdue(&mut self, now: Instant) -> Overdue {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Overdue::No;
        }
        if let Some(next) = self.after_sent().filter(|_| self.sweeping) {
            (self.turn, self.ahead) = (Some(next), false);
            return Overdue::No;
        }
        if self.sweeps >= SWEEPS {
            self.active = false;
            return Overdue::InVain;
        }
        // What went last may have arrived, and the request for the next part been lost. That is tried first,
        // and then everything that it may lack.
        let last = self.sent.map_or(self.low, |(sent, _)| sent);
        self.high = self.high.max(last + 2);
        let first = if self.sweeps == 0 { last } else { self.low };
        (self.turn, self.sweeping, self.once, self.ahead) = (Some(first), true, false, false);
        self.sweeps += 1;
        if self.sweeps > 1 { Overdue::Searches } else { Overdue::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn part(part: u32) -> Option<Part> {
        Some(Part { part, probed: false })
    }

    fn swept(part: u32) -> Option<Part> {
        Some(Part { part, probed: true })
    }

    #[test]
    fn each_request_is_answered_until_the_goal() {
        let mut stream = Stream::new();
        stream.serve(3);
        for expected in 0..3 {
            assert_eq!(stream.next(at(u64::from(expected) * 100)), part(expected));
            assert_eq!(stream.next(at(u64::from(expected) * 100)), None);
            stream.asked(at(u64::from(expected) * 100 + 50), expected + 1);
        }
        assert!(!stream.is_active());
        assert_eq!((stream.next(at(1_000)), stream.deadline()), (None, None));
    }

    #[test]
    fn a_lost_part_or_request_costs_a_few_round_trips() {
        let mut stream = Stream::new();
        stream.serve(100);
        stream.next(at(0));
        stream.asked(at(100), 1);
        assert_eq!(stream.next(at(100)), part(1));
        let due = stream.deadline().unwrap();
        assert_eq!(due, at(2_100), "five times 100 ms is less than the least patience");
        assert_eq!(stream.overdue(due), Overdue::No);
        assert_eq!(stream.next(due), swept(1));
        stream.probe_answered(Duration::from_millis(100));
        assert_eq!(stream.next(at(700)), swept(2), "it may have part 1, and its request be lost");
        stream.probe_answered(Duration::from_millis(100));
        assert_eq!(stream.next(at(800)), None);
        stream.asked(at(810), 3);
        assert_eq!(stream.next(at(810)), part(3));
    }

    #[test]
    fn a_node_of_which_nobody_knows_where_it_stands_is_found() {
        let mut stream = Stream::new();
        stream.know(20);
        stream.check(31, 100);
        assert_eq!(stream.next(at(0)), part(31));
        assert_eq!(stream.overdue(at(3_000)), Overdue::No);
        for expected in 31..33 {
            assert_eq!(stream.next(at(3_000)), swept(expected), "only that may have been lost");
            stream.probe_answered(Duration::from_millis(100));
        }
        assert_eq!(stream.next(at(3_000)), None);
        assert_eq!(stream.overdue(at(9_000)), Overdue::Searches);
        for expected in 20..27 {
            assert_eq!(stream.next(at(9_000)), swept(expected));
            stream.probe_answered(Duration::from_millis(100));
        }
        stream.asked(at(4_100), 27);
        assert_eq!(stream.next(at(4_100)), part(27));
        (28..=32).for_each(|part| {
            stream.asked(at(4_200), part);
            stream.next(at(4_200));
        });
        assert!(!stream.is_active());
    }

    #[test]
    fn in_vain_means_the_end() {
        let mut stream = Stream::new();
        stream.serve(1);
        let mut sent = 0;
        let mut now = Instant::ORIGIN;
        while stream.overdue(now) != Overdue::InVain {
            sent += u32::from(stream.next(now).is_some());
            now = stream.deadline().unwrap();
        }
        assert_eq!((sent, stream.is_active()), (u32::from(SWEEPS) + 1, false));
        assert!(now.since(Instant::ORIGIN) > Duration::from_secs(15), "{now:?}");
    }
}
