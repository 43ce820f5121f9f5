//! How frames travel: one channel that all links share, or lines of their own.
//!
//! On the one channel a frame of L bytes, its NUL included, takes t(L) = 2.09 ms + 7.64 µs · L, and only one
//! frame travels at a time, whoever sends it; links that have something take turns. The constants are fitted
//! to a published measurement of two ESP8266 (Yoppy 2019: 2.49 ms a message, 461 messages of 10 bytes and 28
//! of 4,400 bytes a second).
//!
//! A frame that a relay loses (see [`super::rule`]) has used the hop to the relay, and none from there.

use std::collections::VecDeque;

use meshward_core::mesh::Outgoing;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{self, kind};

use super::happening::Down;
use super::ledger::Ledger;
use super::queue::What;
use super::rule::Verdict;
use super::wire::WireId;
use super::{Seat, World};
use crate::image::Behaviour;
use crate::plant::Plant;

/// The constants of the one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// What a frame takes without its bytes, in nanoseconds.
    pub frame_nanos: u64,
    /// What each byte takes, in nanoseconds.
    pub byte_nanos: u64,
    /// What neighbours exchange (types 4, 5 and 6) takes no time at all: for comparing updates in meshes so
    /// large that their own syncs fill the channel.
    pub free_sync: bool,
}

impl Default for Channel {
    fn default() -> Self {
        Self { frame_nanos: 2_090_000, byte_nanos: 7_640, free_sync: false }
    }
}

impl Channel {
    /// t(L) for a frame of `len` bytes with its NUL.
    pub const fn time(&self, len: usize) -> Duration {
        Duration::from_micros((self.frame_nanos + self.byte_nanos * len as u64) / 1_000)
    }
}

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// One channel for all.
    Shared(Channel),
    /// Each direction of each link by itself.
    Independent {
        /// From one end to the other.
        latency: Duration,
        /// Nanoseconds a byte.
        byte_nanos: u64,
    },
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Hop {
    pub(super) wire: WireId,
    /// The sending end.
    pub(super) end: usize,
    /// The frame with its NUL.
    pub(super) bytes: Vec<u8>,
    pub(super) verdict: Verdict,
}

/// What has travelled so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames that took channel time.
    pub frames: u64,
    /// Their bytes, with NULs.
    pub bytes: u64,
    /// Bytes of frames of type 12 (and 222): firmware.
    pub firmware_bytes: u64,
    /// The time that the one channel was busy, or the sum over all lines.
    pub busy: Duration,
    /// Frames that died at a relay.
    pub lost: u64,
    /// Frames that silent links swallowed.
    pub swallowed: u64,
}

impl Totals {
    /// What has travelled since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            frames: self.frames - earlier.frames,
            bytes: self.bytes - earlier.bytes,
            firmware_bytes: self.firmware_bytes - earlier.firmware_bytes,
            busy: Duration::from_micros(self.busy.as_micros() - earlier.busy.as_micros()),
            lost: self.lost - earlier.lost,
            swallowed: self.swallowed - earlier.swallowed,
        }
    }
}

/// The state of the medium.
#[derive(Debug, Default)]
pub(super) struct Air {
    /// Directions with something to send, in turn.
    line: VecDeque<(WireId, usize)>,
    /// What the one channel carries.
    current: Option<Hop>,
    pub(super) totals: Totals,
    /// What took the channel, if somebody wants to know.
    pub(super) ledger: Option<Ledger>,
}

impl World {
    /// A direction has something to send.
    pub(super) fn line_up(&mut self, id: WireId, end: usize) {
        let Some(wire) = self.wires.get_mut(id) else { return };
        if std::mem::replace(&mut wire.ends[end].ready, true) {
            return;
        }
        match self.config.medium {
            Medium::Shared(channel) => {
                self.air.line.push_back((id, end));
                self.use_channel(channel);
            }
            Medium::Independent { latency, byte_nanos } => self.use_line(id, end, latency, byte_nanos),
        }
    }

    /// Starts the next frame on the one channel, if it is free.
    fn use_channel(&mut self, channel: Channel) {
        while self.air.current.is_none()
            && let Some((id, end)) = self.air.line.pop_front()
        {
            let (hop, more) = self.take_frame(id, end);
            if more {
                self.air.line.push_back((id, end));
            } else if let Some(wire) = self.wires.get_mut(id) {
                wire.ends[end].ready = false;
            }
            let Some(hop) = hop else { continue };
            let free = channel.free_sync && is_sync(&hop.bytes);
            let span = if free { Duration::ZERO } else { channel.time(hop.bytes.len()) };
            if !free {
                self.count(&hop, span);
            }
            if let Some(wire) = self.wires.get_mut(id) {
                let last = &mut wire.ends[end].last_arrival;
                *last = (*last).max(self.now + span);
            }
            self.queue.plan(self.now + span, What::ChannelFree);
            self.air.current = Some(hop);
        }
    }

    pub(super) fn channel_free(&mut self) {
        let Some(hop) = self.air.current.take() else { return };
        let here = self.land(hop, self.now);
        // The next frame is chosen before this one is answered: an answer has to stand in line.
        if let Medium::Shared(channel) = self.config.medium {
            self.use_channel(channel);
        }
        if let Some(hop) = here {
            self.arrive(hop);
        }
    }

    /// Starts the next frame on a line of its own.
    fn use_line(&mut self, id: WireId, end: usize, latency: Duration, byte_nanos: u64) {
        if self.wires.get(id).is_none_or(|wire| wire.ends[end].sending) {
            return;
        }
        let hop = loop {
            let (hop, more) = self.take_frame(id, end);
            if let Some(hop) = hop {
                break hop;
            }
            if !more {
                if let Some(wire) = self.wires.get_mut(id) {
                    wire.ends[end].ready = false;
                }
                return;
            }
        };
        let span = Duration::from_micros(hop.bytes.len() as u64 * byte_nanos / 1_000);
        self.count(&hop, span);
        if let Some(wire) = self.wires.get_mut(id) {
            wire.ends[end].sending = true;
        }
        self.queue.plan(self.now + span, What::LineFree(id, end));
        if let Some(hop) = self.land(hop, self.now + span + latency) {
            self.queue.plan(self.now, What::Arrive(hop));
        }
    }

    pub(super) fn line_free(&mut self, id: WireId, end: usize) {
        let Some(wire) = self.wires.get_mut(id) else { return };
        wire.ends[end].sending = false;
        if let Medium::Independent { latency, byte_nanos } = self.config.medium {
            self.use_line(id, end, latency, byte_nanos);
        }
    }

    /// Takes one frame off a link's queue, unless it dies here; and whether there is more.
    fn take_frame(&mut self, id: WireId, end: usize) -> (Option<Hop>, bool) {
        let Some(wire) = self.wires.get(id) else { return (None, false) };
        let (seat, Some(link)) = (wire.ends[end].seat, wire.ends[end].link) else { return (None, false) };
        let host = &mut self.hosts[seat.0];
        let id_of_sender = host.spec.id;
        let Some(machine) = &mut host.machine else { return (None, false) };
        if self.watched {
            let (all, firmware) = machine.held();
            host.held_max = (host.held_max.0.max(all), host.held_max.1.max(firmware));
        }
        let Some(bytes) = machine.take_frame(link) else { return (None, false) };
        let more = matches!(machine.outgoing(link), Outgoing::Bytes(_));
        let len = bytes.len();
        let forwarded = (self.rules.look_at_frames() || self.config.plant.is_some())
            && is_forwarded(&bytes[..len - 1], id_of_sender.0);
        let mut verdict = self.rules.judge(seat, forwarded, &mut self.rng);
        self.plant_in_frame(forwarded, &bytes, &mut verdict);
        if verdict.lost {
            self.air.totals.lost += 1;
            if let Some(recorder) = &mut self.recorder {
                recorder.note(self.now, &format!("a frame of {len} bytes dies at {id_of_sender}"));
            }
            return (None, more);
        }
        (Some(Hop { wire: id, end, bytes, verdict }), more)
    }

    fn count(&mut self, hop: &Hop, span: Duration) {
        let totals = &mut self.air.totals;
        totals.frames += 1;
        totals.bytes += hop.bytes.len() as u64;
        totals.busy += span;
        if is_firmware(&hop.bytes) {
            totals.firmware_bytes += hop.bytes.len() as u64;
        }
        if let Some(ledger) = &mut self.air.ledger {
            ledger.record(self.now, &hop.bytes, span);
        }
    }

    /// A frame reaches the other end at `at`, or later if it is delayed; the frame, if that is now.
    fn land(&mut self, mut hop: Hop, at: Instant) -> Option<Hop> {
        let wire = self.wires.get_mut(hop.wire)?;
        let end = &mut wire.ends[hop.end];
        let delay = std::mem::take(&mut hop.verdict.delay);
        let at = (at + delay).max(end.last_arrival);
        end.last_arrival = at;
        if at > self.now {
            self.queue.plan(at, What::Arrive(hop));
            return None;
        }
        Some(hop)
    }

    pub(super) fn arrive(&mut self, mut hop: Hop) {
        let Some(wire) = self.wires.get_mut(hop.wire) else { return };
        let (from, to) = (wire.ends[hop.end].seat, wire.ends[1 - hop.end].seat);
        let swallowed = wire.ends[hop.end].swallowed || self.planted_dead(from, to);
        let Some(wire) = self.wires.get_mut(hop.wire) else { return };
        if let Some(recorder) = &mut self.recorder {
            let ends = [from, to].map(|seat| self.hosts[seat.0].spec.id);
            recorder.message(self.now, ends, &wire.name, &hop.bytes, swallowed);
        }
        if swallowed {
            self.air.totals.swallowed += 1;
            return;
        }
        if let Behaviour::Slow(delay) = self.hosts[to.0].behaviour {
            let end = &mut wire.ends[hop.end];
            end.last_processed = (self.now + delay).max(end.last_processed);
            let at = end.last_processed;
            return self.queue.plan(at, What::Process(hop));
        }
        let again = std::mem::take(&mut hop.verdict.duplicated).then(|| hop.clone());
        self.process(hop);
        if let Some(hop) = again {
            self.process(hop);
        }
    }

    /// A machine reads a frame.
    pub(super) fn process(&mut self, hop: Hop) {
        let Some(wire) = self.wires.get(hop.wire) else { return };
        let end = &wire.ends[1 - hop.end];
        let (seat, Some(link)) = (end.seat, end.link) else { return };
        self.trace.number(self.now.as_micros());
        self.trace.number(hop.wire.number() << 1 | hop.end as u64);
        self.trace.bytes(&hop.bytes);
        if self.config.plant == Some(Plant::Panic) && self.steps > 2_000 {
            self.go_down(seat, Down::Crash, true);
            panic!("planted: the program of {seat:?} panics");
        }
        let mut hop = hop;
        if self.config.plant == Some(Plant::GarbledFrame) && self.rng.below(200) == 0 {
            let middle = hop.bytes.len() / 2;
            hop.bytes[middle] ^= 0x04;
        }
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let Some(machine) = &mut host.machine else { return };
        let Some(size) = self.config.segment.filter(|size| *size < hop.bytes.len()) else {
            machine.handle_data(local, link, &hop.bytes);
            return self.after_input(seat);
        };
        for piece in hop.bytes.chunks(size) {
            let Some(machine) = &mut self.hosts[seat.0].machine else { return };
            machine.handle_data(local, link, piece);
            if self.drain(seat) {
                return self.reset(seat, Down::Restart, false, Duration::ZERO);
            }
        }
        self.after_input(seat);
    }

    /// From now on frames travel in another way; what is on its way arrives as it would have.
    pub fn set_medium(&mut self, medium: Medium) {
        self.config.medium = medium;
        self.air.line.clear();
        let mut waiting = Vec::new();
        let ids: Vec<WireId> = self.wires.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(wire) = self.wires.get_mut(id) else { continue };
            for (end, state) in wire.ends.iter_mut().enumerate() {
                if std::mem::take(&mut state.ready) {
                    waiting.push((id, end));
                }
            }
        }
        for (id, end) in waiting {
            self.line_up(id, end);
        }
    }

    /// How frames travel.
    pub fn medium(&self) -> Medium {
        self.config.medium
    }

    /// What has travelled so far.
    pub fn totals(&self) -> Totals {
        self.air.totals
    }

    fn plant_in_frame(&mut self, forwarded: bool, bytes: &[u8], verdict: &mut Verdict) {
        let application = |bytes: &[u8]| {
            wire::peek(&bytes[..bytes.len() - 1])
                .is_some_and(|envelope| matches!(envelope.kind, kind::BROADCAST | kind::SINGLE))
        };
        match self.config.plant {
            Some(Plant::SecondCopy) if forwarded && application(bytes) => {
                verdict.duplicated |= self.rng.below(3) == 0;
            }
            Some(Plant::LostMessage) if forwarded && application(bytes) => {
                verdict.lost |= self.rng.below(3) == 0;
            }
            _ => {}
        }
    }

    fn planted_dead(&self, from: Seat, to: Seat) -> bool {
        self.config.plant == Some(Plant::DeadLink) && from.0.min(to.0) == 0 && from.0.max(to.0) == 1
    }
}

fn is_of_neighbours(kind: i32) -> bool {
    matches!(kind, kind::TIME_SYNC | kind::NODE_SYNC_REQUEST | kind::NODE_SYNC_REPLY)
}

/// Whether a frame is of type 4, 5 or 6, told by how C++ nodes and ours begin them.
fn is_sync(bytes: &[u8]) -> bool {
    bytes.starts_with(b"{\"nodeId\":") || bytes.starts_with(b"{\"type\":4,")
}

/// Whether a frame leaves a node that did not make it; types 4, 5 and 6 never do.
fn is_forwarded(frame: &[u8], sender: u32) -> bool {
    wire::peek(frame).is_some_and(|envelope| !is_of_neighbours(envelope.kind) && envelope.from.0 != sender)
}

/// Whether a frame carries firmware, told by where C++ nodes and ours put the type.
pub(crate) fn is_firmware(frame: &[u8]) -> bool {
    let head = &frame[..frame.len().min(64)];
    let of_type = |colon: usize| head[..colon].ends_with(b"\"type\"");
    memchr::memchr_iter(b':', head).any(|colon| {
        let value = &head[colon + 1..];
        (value.starts_with(b"12,") || value.starts_with(b"222,")) && of_type(colon)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_takes_the_published_time() {
        let channel = Channel::default();
        for (len, micros) in [(0, 2_090), (1, 2_097), (154, 3_266), (1_600, 14_314)] {
            assert_eq!(channel.time(len).as_micros(), micros, "{len} bytes");
        }
    }

    #[test]
    fn frames_are_told_apart() {
        let frame = |kind: u32| format!("{{\"from\":7,\"routing\":1,\"type\":{kind},\"dest\":9}}");
        assert!(is_forwarded(frame(9).as_bytes(), 8));
        assert!(!is_forwarded(frame(9).as_bytes(), 7));
        assert!(!is_forwarded(frame(5).as_bytes(), 8));
        assert!(is_firmware(frame(12).as_bytes()) && is_firmware(frame(222).as_bytes()));
        assert!(is_sync(b"{\"type\":4,\"dest\":1}") && is_sync(b"{\"nodeId\":1,\"type\":5}"));
        assert!(!is_sync(frame(9).as_bytes()));
        assert!(!is_firmware(frame(11).as_bytes()) && !is_firmware(frame(122).as_bytes()));
    }
}
