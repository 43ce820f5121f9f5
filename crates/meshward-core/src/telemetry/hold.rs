//! What a relay holds of those behind it, to send it together with its own: a message costs more than its bytes.
//!
//! Holds telemetry packets for one collector until the relay's own is due, at most [`HOLD`]. [`ROOM`] bytes are a
//! message: when more come, those go at once, and what is over begins the next one, so that a large branch takes as
//! few messages as its bytes need. What is urgent makes everything go at once. A packet's age grows by as long as it
//! was held. Refuses what it does not understand and what is more than two messages at once: that is passed on as it
//! came. Never sends anything back over the link it came from.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::message::{BODY_MAX, BUNDLE_MAX, ENTRY, SUM, bundle, packets};
use super::packet::{AGE, FLAGS, Flags};
use crate::mesh::LinkId;
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, Parcel};

/// The longest that a packet is held.
pub const HOLD: Duration = Duration::from_secs(2);
/// Bytes held; with the relay's own packet they fill a bundle.
pub(super) const ROOM: usize = BUNDLE_MAX - 1 - SUM - ENTRY - BODY_MAX;
/// Full messages that wait to be taken, which is at once; and how many of them one frame can make.
const FULL_MAX: usize = 3;
const FULL_BY_ONE: usize = 2;
/// Frames that are passed on as they came and wait for that.
const PASSING_MAX: usize = 8;

/// A packet that waits.
#[derive(Debug)]
struct Held {
    link: LinkId,
    since: Instant,
    from: NodeId,
    bytes: Box<[u8]>,
}

/// A frame that is passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passing {
    pub(crate) link: LinkId,
    pub(crate) kind: i32,
    pub(crate) frame: Vec<u8>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Messages that are full, and go now.
    full: VecDeque<Vec<Held>>,
    held: Vec<Held>,
    /// Of `held`, with what stands before each.
    bytes: usize,
    /// Something urgent is among them.
    urgent: bool,
    passing: VecDeque<Passing>,
    /// Frames that had no room even among those that are passed on.
    dropped: u32,
    /// Packets that would have gone back over the link they came from.
    returned: u32,
}

impl Hold {
    /// Takes a frame that is on its way to the collector.
    pub(super) fn take(&mut self, now: Instant, link: LinkId, kind: i32, frame: &[u8]) {
        if self.hold(now, link, frame).is_none() {
            if self.passing.len() >= PASSING_MAX {
                self.dropped = self.dropped.saturating_add(1);
            } else {
                self.passing.push_back(Passing { link, kind, frame: frame.to_vec() });
            }
        }
    }

    fn hold(&mut self, now: Instant, link: LinkId, frame: &[u8]) -> Option<()> {
        let parcel = Parcel::decode(frame).ok()?;
        let entries = packets(parcel.from, &parcel.body)?;
        let size: usize = entries.clone().map(|(_, packet)| packet.len() + ENTRY).sum();
        let has_room = self.bytes + size <= ROOM || self.full.len() + FULL_BY_ONE <= FULL_MAX;
        if !has_room || size > BUNDLE_MAX {
            return None;
        }
        for (from, packet) in entries {
            let size = packet.len() + ENTRY;
            if self.bytes + size > ROOM {
                self.full.push_back(core::mem::take(&mut self.held));
                self.bytes = 0;
            }
            self.bytes += size;
            self.urgent |= packet.get(FLAGS).is_some_and(|flags| Flags(*flags).has(Flags::URGENT));
            self.held.push(Held { link, since: now, from, bytes: packet.into() });
        }
        Some(())
    }

    /// The message that is full, as one body, see [`Hold::release`].
    pub(super) fn full(&mut self, now: Instant, towards: Option<LinkId>) -> Option<Vec<u8>> {
        // One that would all go back is none.
        while let Some(full) = self.full.pop_front() {
            if let Some(body) = self.body(full, now, towards, None) {
                return Some(body);
            }
        }
        None
    }

    /// The next frame that is passed on as it came.
    pub(super) fn pass(&mut self) -> Option<Passing> {
        self.passing.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty() && self.held.is_empty()
    }

    /// When what is held must go.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let first = self.full.front().and_then(|full| full.first()).or(self.held.first())?;
        Some(if self.urgent || !self.full.is_empty() { now } else { first.since + HOLD })
    }

    /// Everything held and the relay's own packet as one body, for the link `towards` the collector; `None` when
    /// there is nothing.
    pub(super) fn release(
        &mut self,
        now: Instant,
        towards: Option<LinkId>,
        own: Option<(NodeId, &[u8])>,
    ) -> Option<Vec<u8>> {
        let held = core::mem::take(&mut self.held);
        (self.bytes, self.urgent) = (0, false);
        self.body(held, now, towards, own)
    }

    fn body(
        &mut self,
        held: Vec<Held>,
        now: Instant,
        towards: Option<LinkId>,
        own: Option<(NodeId, &[u8])>,
    ) -> Option<Vec<u8>> {
        let before = held.len();
        let mut entries: Vec<(NodeId, Box<[u8]>)> = Vec::with_capacity(before + 1);
        for Held { link, since, from, mut bytes } in held {
            if Some(link) == towards {
                continue;
            }
            let waited = now.since(since).as_millis() / 100;
            if let Some(age) = bytes.get_mut(AGE) {
                *age = u8::try_from(u64::from(*age) + waited).unwrap_or(u8::MAX);
            }
            entries.push((from, bytes));
        }
        self.returned = self.returned.saturating_add((before - entries.len()) as u32);
        if entries.is_empty() {
            return None;
        }
        let own = own.into_iter();
        Some(bundle(own.chain(entries.iter().map(|(from, bytes)| (*from, &bytes[..])))))
    }

    /// Forgets what it holds, and says how many packets those were.
    pub(super) fn drop_all(&mut self) {
        let full: usize = self.full.iter().map(Vec::len).sum();
        let lost = full + self.held.len() + self.passing.len();
        self.dropped = self.dropped.saturating_add(lost as u32);
        (self.full, self.held) = (VecDeque::new(), Vec::new());
        self.passing.clear();
        (self.bytes, self.urgent) = (0, false);
    }

    /// Packets and frames lost for want of room or of a way.
    pub(super) fn dropped(&self) -> u32 {
        self.dropped.saturating_add(self.returned)
    }

    /// Everything it holds is bounded.
    pub(super) fn check(&self) {
        let bytes = |held: &[Held]| held.iter().map(|held| held.bytes.len() + ENTRY).sum::<usize>();
        assert!(bytes(&self.held) == self.bytes && self.bytes <= ROOM, "{} bytes are held", self.bytes);
        assert!(self.full.iter().all(|full| bytes(full) <= ROOM) && self.full.len() <= FULL_MAX);
        assert!(self.passing.len() <= PASSING_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Body, Field, Head, Metric, Numbers, Packet};
    use crate::wire::{To, kind};

    const COLLECTOR: NodeId = NodeId(1);

    fn packet(seq: u8, flags: Flags) -> Packet {
        let mut numbers = Numbers::default();
        numbers.set(Field::bit(Metric::Rssi).unwrap(), 60);
        let head = Head { seq, flags, ..Head::default() };
        Packet::build(head, &numbers, None, u32::MAX, 0, 55).0
    }

    fn frame(from: u32, body: &Body) -> Vec<u8> {
        body.frame(NodeId(from), To::One(COLLECTOR))
    }

    fn taken(hold: &mut Hold, at: u64, link: u32, frame: &[u8]) {
        hold.take(Instant::from_micros(at), LinkId(link), kind::TELEMETRY_DELTA, frame);
    }

    #[test]
    fn packets_go_together_and_know_how_long_they_waited() {
        let mut hold = Hold::default();
        taken(&mut hold, 0, 2, &frame(5, &Body::Packet(packet(1, Flags::default()))));
        let inner = Body::Bundle(Vec::from([(NodeId(7), packet(2, Flags::default()))]));
        taken(&mut hold, 700_000, 3, &frame(6, &inner));
        let now = Instant::from_micros(2_000_000);
        assert_eq!(hold.due(Instant::from_micros(700_000)), Some(now));
        let own = packet(9, Flags::default());
        let mut bytes = Vec::new();
        own.write(&mut bytes);
        let body = hold.release(now, Some(LinkId(1)), Some((NodeId(4), &bytes))).unwrap();
        let Ok(Body::Bundle(entries)) = Body::decode(kind::TELEMETRY_DELTA, &body) else {
            panic!("a bundle")
        };
        let told = entries.iter().map(|(node, packet)| (node.0, packet.head.seq, packet.head.age));
        let told = told.collect::<Vec<_>>();
        assert_eq!(told, [(4, 9, 0), (5, 1, 20), (7, 2, 13)]);
        assert!(hold.is_empty() && hold.release(now, None, None).is_none());
    }

    #[test]
    fn nothing_goes_back_and_what_is_urgent_does_not_wait() {
        let mut hold = Hold::default();
        taken(&mut hold, 0, 2, &frame(5, &Body::Packet(packet(1, Flags::URGENT))));
        let now = Instant::from_micros(10);
        assert_eq!(hold.due(now), Some(now));
        assert_eq!(hold.full(now, Some(LinkId(1))), None, "a message that is not full");
        assert_eq!(hold.release(now, Some(LinkId(2)), None), None);
        assert_eq!(hold.dropped(), 1);
    }

    #[test]
    fn memory_is_bounded_and_what_is_not_understood_passes() {
        let mut hold = Hold::default();
        let strange = frame(5, &Body::Ack { number: 1, taken: true });
        for count in 0..200_u32 {
            taken(&mut hold, 0, 2, &frame(5, &Body::Packet(packet(1, Flags::default()))));
            if count == 0 {
                taken(&mut hold, 0, 2, &strange);
            }
            hold.check();
        }
        assert_eq!(hold.pass().map(|passing| passing.frame), Some(strange));
        assert!(
            hold.dropped() > 0 && hold.due(Instant::ORIGIN) == Some(Instant::ORIGIN),
            "full: it goes now"
        );
    }

    #[test]
    fn a_large_branch_takes_as_few_messages_as_its_bytes_need() {
        let mut hold = Hold::default();
        let (mut sent, mut bytes) = (Vec::new(), 0);
        let now = Instant::from_micros(500_000);
        for node in 0..100 {
            let packet = packet(node, Flags::default());
            bytes += packet.len() + ENTRY;
            let inner = Body::Bundle(Vec::from([(NodeId(u32::from(node)), packet)]));
            taken(&mut hold, 0, 2, &frame(5, &inner));
            hold.check();
            sent.extend(hold.full(now, Some(LinkId(1))));
        }
        sent.extend(hold.release(now, Some(LinkId(1)), None));
        assert_eq!(sent.len(), bytes.div_ceil(ROOM), "{bytes}");
        assert!(sent.iter().all(|body| body.len() <= BUNDLE_MAX));
        let told = sent.iter().map(|body| match Body::decode(kind::TELEMETRY_DELTA, body) {
            Ok(Body::Bundle(entries)) => entries,
            other => panic!("{other:?}"),
        });
        let told: Vec<u32> = told.flatten().map(|(node, _)| node.0).collect();
        assert_eq!(told, (0..100).collect::<Vec<u32>>(), "all of them, in their order");
        assert!(hold.is_empty() && hold.dropped() == 0 && hold.pass().is_none());
    }
}
