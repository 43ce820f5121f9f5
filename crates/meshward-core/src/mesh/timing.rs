//! Time sync (type 4) and time delay (type 3).
//!
//! Who adopts whose clock: the side without time authority from the side with it, then the smaller part of
//! the tree from the larger, then the lower id from the higher (`ntp.hpp` of the C++ library).
//!
//! A C++ node throws a reply away when the round trip exceeds 85 × (t2 − t1), and then asks five times a
//! second for ever. A fast answerer must therefore be slow on purpose: we hold a time answer for
//! [`HOLD_MIN`], which serves round trips up to 84 ms, twice as long whenever the neighbour asks again soon,
//! and longer where the last node sync took long: on a channel full of firmware a round trip takes seconds,
//! and polls would fill what is left. For the same reason we take a reply that breaks the rule once
//! [`DISCARDS_MAX`] in a row have been thrown away: its error is at most half the round trip, and no clock at
//! all is worse.

use alloc::collections::BTreeMap;

use super::clock::{ACCURACY, Exchange};
use super::link::{HeldAnswer, Link, LinkId};
use super::outbox::Priority;
use super::send::SendError;
use super::{Mesh, MeshEvent, timers};
use crate::time::{Duration, Instant, MeshTime};
use crate::wire::{Clock, NodeId, Stamp};

/// How long a time answer is held back at least.
const HOLD_MIN: Duration = Duration::from_millis(1);
/// And at most, because a neighbour asks again: enough for round trips of 1.3 s.
const HOLD_MAX: Duration = Duration::from_millis(16);
/// A neighbour that asks again within this time did not like the answer.
const ASKS_AGAIN: Duration = Duration::from_secs(5);
/// The part of a node sync's round trip for which an answer is held; below 84, with something to spare.
const TRIP_SHARE: u64 = 64;
/// The most that a long round trip makes of it.
const TRIP_HOLD_MAX: Duration = Duration::from_millis(100);
/// Answers held per link; a neighbour that asks faster gets no more.
const HELD_MAX: usize = 8;
/// Replies in a row that the 85× rule may throw away.
const DISCARDS_MAX: u8 = 5;
/// Probes that may be under way; the oldest is forgotten for a new one.
const PROBES_MAX: usize = 1_024;

/// Probes (type 3) that wait for their answer.
#[derive(Debug, Default)]
pub(super) struct Probes(BTreeMap<(NodeId, u32), Instant>);

impl Probes {
    fn insert(&mut self, dest: NodeId, t0: MeshTime, now: Instant) {
        if self.0.len() >= PROBES_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, sent)| **sent).map(|(key, _)| *key)
        {
            self.0.remove(&oldest);
        }
        self.0.insert((dest, t0.0), now);
    }
}

impl Mesh {
    /// Starts an exchange: asks for the neighbour's time, or asks it to ask for ours.
    pub(super) fn start_time_sync(&mut self, now: Instant, id: LinkId) {
        let adopts = self.adopts_from(id);
        let t0 = self.clock.at(now);
        if let Some(link) = self.links.get_mut(&id) {
            link.time.next = Some(now + timers::TIME_SYNC_RETRY);
        }
        self.send_clock(now, id, if adopts { Stamp::Request { t0 } } else { Stamp::Ask });
    }

    /// Whether our clock follows the neighbour's.
    fn adopts_from(&self, id: LinkId) -> bool {
        let Some(branch) = self.links.get(&id).and_then(Link::tree) else { return false };
        let theirs = branch.top();
        if self.config.time_authority != theirs.time_authority {
            return theirs.time_authority;
        }
        let ours: usize = 1 + self
            .links
            .iter()
            .filter(|(other, _)| **other != id)
            .filter_map(|(_, link)| link.tree())
            .map(|tree| tree.len())
            .sum::<usize>();
        match ours.cmp(&branch.len()) {
            core::cmp::Ordering::Greater => false,
            core::cmp::Ordering::Equal => self.config.id < theirs.id,
            core::cmp::Ordering::Less => true,
        }
    }

    fn send_clock(&mut self, now: Instant, id: LinkId, stamp: Stamp) {
        let Some(dest) = self.links.get(&id).and_then(|link| link.peer()) else { return };
        let clock = Clock { delay: false, dest, from: self.config.id, stamp };
        self.queue_own(now, id, &clock.encode(), Priority::High);
    }

    /// Takes a type 4 from the neighbour, if `frame` is one in the form in which everybody writes them. False, and
    /// nothing has happened, for any other frame.
    pub(super) fn handle_plain_clock(&mut self, now: Instant, id: LinkId, frame: &[u8]) -> bool {
        let Some(clock) = Clock::of_plain(frame).filter(|clock| !clock.delay) else { return false };
        self.take_clock(now, id, &clock);
        true
    }

    /// A type 4 from the neighbour.
    pub(super) fn handle_time_sync(&mut self, now: Instant, id: LinkId, bytes: &[u8]) {
        match Clock::decode(bytes) {
            Ok(clock) => self.take_clock(now, id, &clock),
            Err(_) => self.counters.packages_malformed += 1,
        }
    }

    fn take_clock(&mut self, now: Instant, id: LinkId, clock: &Clock) {
        if self.links.get(&id).and_then(Link::peer) != Some(clock.from) {
            self.counters.frames_misrouted += 1;
            return;
        }
        let received = self.clock.at(now);
        match clock.stamp {
            Stamp::Ask => self.send_clock(now, id, Stamp::Request { t0: received }),
            Stamp::Request { t0 } => self.hold_answer(now, id, t0, received),
            Stamp::Reply { t0, t1, t2 } => {
                self.handle_time_reply(now, id, Exchange { t0, t1, t2, t3: received });
            }
            Stamp::Error => self.start_time_sync(now, id),
            Stamp::Unknown(_) => self.counters.packages_malformed += 1,
        }
    }

    fn hold_answer(&mut self, now: Instant, id: LinkId, t0: MeshTime, t1: MeshTime) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.time.held.len() >= HELD_MAX {
            self.counters.answers_dropped += 1;
            return;
        }
        let hold = match link.time.last_ask {
            Some((last, hold)) if now.since(last) <= ASKS_AGAIN => hold.saturating_mul(2).min(HOLD_MAX),
            _ => HOLD_MIN,
        };
        link.time.last_ask = Some((now, hold));
        let trip = link.round_trip.unwrap_or_default();
        let for_trip = Duration::from_micros(trip.as_micros() / TRIP_SHARE).min(TRIP_HOLD_MAX);
        link.time.held.push_back(HeldAnswer { due: now + hold.max(for_trip), t0, t1 });
        link.time.next = Some(now + timers::TIME_SYNC);
    }

    /// Sends the held answers whose time has come, stamped with the time at which they really go.
    pub(super) fn send_held_answers(&mut self, now: Instant, id: LinkId) {
        let t2 = self.clock.at(now);
        while let Some(link) = self.links.get_mut(&id) {
            let Some(answer) = link.time.held.front().copied().filter(|answer| answer.due <= now) else {
                return;
            };
            link.time.held.pop_front();
            self.send_clock(now, id, Stamp::Reply { t0: answer.t0, t1: answer.t1, t2 });
        }
    }

    fn handle_time_reply(&mut self, now: Instant, id: LinkId, exchange: Exchange) {
        let Some(link) = self.links.get_mut(&id) else { return };
        // Where an exchange takes seconds it cannot be exact, and asking at once again only adds to the crowd.
        let again = timers::TIME_SYNC_AGAIN.max(exchange.trip().saturating_mul(4));
        if exchange.within_ratio() {
            link.time.discards = 0;
        } else if link.time.discards < DISCARDS_MAX {
            link.time.discards += 1;
            link.time.next = Some(now + again);
            self.counters.time_replies_discarded += 1;
            return;
        }
        let step = exchange.step();
        let settled = step.unsigned_abs() < ACCURACY as u32;
        let pause = if settled { timers::TIME_SYNC } else { again };
        link.time.next = Some(now + pause);
        if step != 0 {
            self.clock.step(step);
            self.push_event(MeshEvent::TimeAdjusted { offset: step });
        }
        if settled {
            // Our time has become good: the others may want it.
            let others: alloc::vec::Vec<LinkId> = self.synced_links().filter(|other| *other != id).collect();
            for other in others {
                self.start_time_sync(now, other);
            }
        }
    }

    /// A type 3 for this node: answered at once, or the answer to a probe of ours.
    pub(super) fn handle_time_delay(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(clock) = Clock::decode(bytes) else {
            self.counters.packages_malformed += 1;
            return;
        };
        match clock.stamp {
            Stamp::Request { t0 } => {
                let received = self.clock.at(now);
                let stamp = Stamp::Reply { t0, t1: received, t2: received };
                let reply = Clock { delay: true, dest: clock.from, from: self.config.id, stamp };
                self.route_own(clock.from, &reply.encode(), Priority::Normal);
            }
            Stamp::Reply { t0, t1, t2 } => match self.probes.0.remove(&(clock.from, t0.0)) {
                Some(sent) => {
                    let theirs = Duration::from_micros(u64::from(t2.0.wrapping_sub(t1.0)));
                    let round_trip =
                        Duration::from_micros(now.since(sent).as_micros().saturating_sub(theirs.as_micros()));
                    self.push_event(MeshEvent::Delay { from: clock.from, round_trip });
                }
                None => self.counters.probes_unmatched += 1,
            },
            Stamp::Ask | Stamp::Error | Stamp::Unknown(_) => self.counters.packages_malformed += 1,
        }
    }

    /// Measures the way to `dest` and back (type 3); the answer comes as [`MeshEvent::Delay`], or never. With
    /// [`Priority::Chunk`] it queues behind firmware chunks, and so measures what they wait.
    ///
    /// # Errors
    /// [`SendError`] when `dest` cannot be reached.
    pub fn probe(&mut self, now: Instant, dest: NodeId, priority: Priority) -> Result<(), SendError> {
        let t0 = self.clock.at(now);
        let request = Clock { delay: true, dest, from: self.config.id, stamp: Stamp::Request { t0 } };
        self.send_single_frame(dest, &request.encode(), priority)?;
        self.probes.insert(dest, t0, now);
        Ok(())
    }
}
