//! When a node tells something by itself, and what: keyframes and deltas by its policy.
//!
//! A packet goes when a metric has left its dead band since it was told (not sooner than `pmin` after the last),
//! when `pmax` is over, and at once when something is urgent: other alert bits, memory that runs short, a request of
//! the application. A keyframe goes first, each `keyframe_s`, on request, and when a delta has no room for what
//! differs. Refuses to press: urgent packets are a second apart, keyframes on request ten, and nothing goes over a
//! link with [`BUSY`] bytes waiting.
//!
//! With aggregation the periodic packets of a branch go together: each node's turn is at multiples of `pmax` on the
//! mesh clock, a deeper one's a little earlier than that of the node above, however deep the tree is, so that a relay
//! has heard those behind it when its own is due. Whoever misses that costs a message on each link of its way, so
//! what has changed waits for a turn that is near, and no turn is left out. Where the mesh clock begins anew, each
//! 71.6 minutes, turns are elsewhere: one comes too soon then, rather than too late.

use alloc::vec::Vec;

use super::field::{Field, Form, Numbers, bits};
use super::message::{BODY_MAX, Policy, SUM};
use super::packet::{Flags, Head, Packet};
use super::registry::Registry;
use crate::mesh::Mesh;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::NodeId;

/// Between two urgent packets.
pub(super) const URGENT_SPACING: Duration = Duration::from_secs(1);
/// Between two keyframes that others want.
const KEYFRAME_SPACING: Duration = Duration::from_secs(10);
/// A keyframe that is younger is not replaced because a delta has no room: the rest waits.
const KEYFRAME_LEAST: Duration = Duration::from_secs(60);
/// The first packet goes somewhere in this time: a mesh that comes up together shall not speak together.
const FIRST: Duration = Duration::from_secs(2);
/// With more bytes waiting on the way to the collector a packet waits as well.
const BUSY: usize = 4 * 1_024;
/// How much earlier than its parent's a node's turn is, as a part of the period and at least and at most: the more
/// nodes there are, the longer the period, and the longer the channel needs for those of one depth.
const STAGGER_PARTS: u64 = 100;
/// The clocks of a mesh agree to some 10 ms.
const STAGGER_MIN_US: u64 = 150_000;
/// Reports of deep nodes are older by that on each hop.
const STAGGER_MAX_US: u64 = 400_000;
/// A turn that comes sooner after a packet was that packet's: the clock was set a little, or the node has moved.
const SAME_TURN: Duration = Duration::from_secs(1);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Reporter {
    id: NodeId,
    seed: u64,
    policy: Policy,
    key: Numbers,
    /// What the collector believes, if nothing was lost.
    told: Numbers,
    seq: u8,
    generation: u8,
    /// Until the second keyframe.
    rebooted: bool,
    key_at: Option<Instant>,
    last: Option<Instant>,
    /// When the next packet goes if nothing happens.
    periodic: Option<Instant>,
    /// Something has left its band.
    changed: bool,
    urgent: bool,
    /// Somebody wants a keyframe.
    wanted: bool,
    sleeping: bool,
    /// Bits that had no room in the last packet.
    waiting: u32,
    was_low: bool,
    /// The way was busy: not before this.
    held_off: Option<Instant>,
    /// Packets that waited because a link was busy.
    postponed: u32,
}

impl Reporter {
    pub(super) fn new(id: NodeId, seed: u64, policy: Policy) -> Self {
        let [seq, generation, ..] = Rng::new(seed).next_u64().to_le_bytes();
        Self {
            id,
            seed,
            policy: policy.bounded(),
            key: Numbers::default(),
            told: Numbers::default(),
            seq,
            generation,
            rebooted: true,
            key_at: None,
            last: None,
            periodic: None,
            changed: false,
            urgent: false,
            wanted: false,
            sleeping: false,
            waiting: 0,
            was_low: false,
            held_off: None,
            postponed: 0,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn postponed(&self) -> u32 {
        self.postponed
    }

    /// Another policy, or another collector: everything is told anew.
    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy.bounded();
        self.wanted = true;
        self.periodic = None;
    }

    /// Somebody has no keyframe.
    pub(super) fn want_keyframe(&mut self) {
        self.wanted = true;
    }

    /// The application wants everything told at once.
    pub(super) fn press(&mut self) {
        self.urgent = true;
    }

    pub(super) fn set_sleeping(&mut self, sleeping: bool) {
        self.urgent |= sleeping && !self.sleeping;
        self.sleeping = sleeping;
    }

    /// The node's place has changed: so has its turn.
    pub(super) fn moved(&mut self) {
        self.periodic = None;
    }

    /// A metric was set. Whether it is something critical.
    pub(super) fn look(&mut self, registry: &Registry, bit: usize, low: u32) -> bool {
        let Some(field) = Field::ALL.get(bit) else { return false };
        let Some(value) = registry.get(field.metric) else { return false };
        let number = field.number(value);
        // Low until a quarter more is free: around its limit memory would else be news each second.
        let is_low = registry.is_low(low) || (self.was_low && registry.is_low(low.saturating_add(low / 4)));
        let sinks = is_low && !self.was_low;
        self.was_low = is_low;
        let told = self.told.get(bit);
        let alerts =
            field.metric == super::Metric::Alerts && told != Some(number) && (number != 0 || told.is_some());
        let band = self.policy.band(bit);
        let left = match told {
            Some(told) if field.form == Form::Distance => band > 0 && number.abs_diff(told) >= band,
            Some(told) => band > 0 && number != told,
            None => true,
        };
        self.changed |= left;
        self.urgent |= sinks || alerts;
        sinks || alerts
    }

    /// When the next packet goes; `None` while nothing is told.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if !self.policy.on {
            return None;
        }
        let planned = self.periodic.unwrap_or(now).max(self.held_off.unwrap_or(now));
        let Some(last) = self.last else { return Some(if self.urgent { now } else { planned }) };
        let pmin = Duration::from_secs(self.policy.pmin_s.into());
        let mut due = planned;
        if self.changed || self.waiting != 0 {
            let soonest = last + pmin;
            let near = Duration::from_micros(pmin.as_micros() / 4);
            let waits = self.policy.aggregate && planned.since(soonest) <= near;
            due = due.min(if waits { planned } else { soonest });
        }
        if self.wanted {
            let since = self.key_at.map_or(now, |at| at + KEYFRAME_SPACING);
            due = due.min(since.max(last + URGENT_SPACING));
        }
        due = due.max(self.held_off.unwrap_or(due));
        if self.urgent {
            due = due.min(last + URGENT_SPACING);
        }
        Some(due)
    }

    /// Decides when the node's next turn is, if that is not decided.
    pub(super) fn plan(&mut self, now: Instant, mesh: &Mesh, collector: NodeId) {
        if self.periodic.is_some() {
            return;
        }
        let spread = |bound: u64| Rng::new(u64::from(self.id.0)).below(bound);
        let Some(last) = self.last else {
            self.periodic = Some(now + Duration::from_micros(spread(FIRST.as_micros())));
            // The numbers begin somewhere, also where a shell has one seed for ever: what a node says after a
            // restart must not look like a copy of what it said before.
            let salt = u64::from(mesh.mesh_time(now).0) << 32 ^ now.as_micros();
            [self.seq, self.generation, ..] = Rng::new(self.seed ^ salt).next_u64().to_le_bytes();
            return;
        };
        let period = u64::from(self.policy.pmax_s).saturating_mul(1_000_000);
        if !self.policy.aggregate {
            self.periodic = Some(last + Duration::from_micros(period));
            return;
        }
        let stagger = (period / STAGGER_PARTS).clamp(STAGGER_MIN_US, STAGGER_MAX_US);
        let depth = mesh.path_to(collector).len() as u64;
        // Nodes of one depth are spread over so much of it that the last of them still is before those above.
        let turn = spread(stagger * 3 / 5) + period - depth * stagger % period;
        let at = u64::from(mesh.mesh_time(now).0);
        let ahead = (turn + period - at % period) % period;
        let mut due = now + Duration::from_micros(ahead);
        if due < last + SAME_TURN {
            due = due + Duration::from_micros(period);
        }
        self.periodic = Some(due);
    }

    /// Whether the way to the collector has room; if not, a packet waits for `pmin`.
    pub(super) fn has_room(&mut self, now: Instant, mesh: &Mesh, collector: NodeId) -> bool {
        if self.urgent || mesh.queued_to(collector).unwrap_or(0) < BUSY {
            return true;
        }
        self.postponed = self.postponed.saturating_add(1);
        self.held_off = Some(now + Duration::from_secs(self.policy.pmin_s.into()));
        false
    }

    /// The packet that goes now.
    pub(super) fn packet(&mut self, now: Instant, registry: &Registry, low: u32) -> Packet {
        let numbers = registry.numbers();
        let urgent = self.urgent;
        let flags = registry.flags(low).with(Flags::SLEEPING, self.sleeping).with(Flags::URGENT, urgent);
        let age = |at: Instant| now.since(at);
        let keyframe_s = Duration::from_secs(self.policy.keyframe_s.into());
        let old = self.key_at.is_none_or(|at| age(at) >= keyframe_s);
        let packet = if old || self.wanted {
            self.keyframe(now, &numbers, flags)
        } else {
            let (packet, left) = self.delta(&numbers, flags);
            let replace = self.key_at.is_some_and(|at| age(at) >= KEYFRAME_LEAST);
            if left != 0 && replace {
                self.keyframe(now, &numbers, flags)
            } else {
                self.tell(packet, left, &numbers)
            }
        };
        self.seq = self.seq.wrapping_add(1);
        self.last = Some(now);
        (self.periodic, self.held_off) = (None, None);
        (self.changed, self.urgent) = (false, false);
        packet
    }

    fn keyframe(&mut self, now: Instant, numbers: &Numbers, flags: Flags) -> Packet {
        self.generation = self.generation.wrapping_add(1);
        self.rebooted &= self.key_at.is_none();
        let flags = flags.with(Flags::REBOOT, self.rebooted);
        let head = Head { keyframe: true, seq: self.seq, generation: self.generation, flags, age: 0 };
        let (packet, left) = Packet::build(head, numbers, None, u32::MAX, 0, BODY_MAX - SUM);
        self.key = Numbers::default();
        for bit in bits(packet.present()) {
            if let Some(number) = numbers.get(bit) {
                self.key.set(bit, number);
            }
        }
        self.told = self.key.clone();
        self.key_at = Some(now);
        (self.waiting, self.wanted) = (left, false);
        packet
    }

    fn delta(&self, numbers: &Numbers, flags: Flags) -> (Packet, u32) {
        let flags = flags.with(Flags::REBOOT, self.rebooted);
        let head = Head { keyframe: false, seq: self.seq, generation: self.generation, flags, age: 0 };
        let fixed = |bit: &usize| Field::ALL.get(*bit).is_some_and(|field| field.form == Form::Keyframe);
        let reckoned = bits(self.key.known()).filter(fixed).fold(0, |mask, bit| mask | 1 << bit);
        let wanted = numbers.differing(&self.key) & !reckoned;
        Packet::build(head, numbers, Some(&self.key), wanted, self.waiting, BODY_MAX - SUM)
    }

    /// Remembers what a delta tells.
    fn tell(&mut self, packet: Packet, left: u32, numbers: &Numbers) -> Packet {
        if left == 0 {
            self.told = self.key.clone();
        }
        for bit in bits(packet.present()) {
            if let Some(number) = numbers.get(bit) {
                self.told.set(bit, number);
            }
        }
        self.waiting = left;
        packet
    }
}

/// A packet's bytes, without a sum.
pub(super) fn written(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.len());
    packet.write(&mut bytes);
    bytes
}
