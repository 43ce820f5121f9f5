//! What one node tells, put together again: a keyframe, and the deltas that count from it.
//!
//! A delta says everything that differs from its keyframe, so a lost one costs nothing, and one that is late says
//! nothing new. Refuses deltas whose keyframe it has not: then somebody should ask for one.

use alloc::vec::Vec;

use super::field::{Field, Form, Numbers, bits};
use super::message::Malformed;
use super::packet::{Flags, Packet};
use super::{Head, Metric};
use crate::time::Duration;

/// What a packet has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether it was a keyframe.
    pub keyframe: bool,
    /// What it says besides numbers.
    pub flags: Flags,
    /// How old the values were when it came.
    pub age: Duration,
    /// Packets that are missing between this and the one before.
    pub lost: u8,
    /// Values, in whole numbers of their metrics: what it names, and what it says by not naming it.
    pub values: Vec<(Metric, i64)>,
}

/// What a packet was good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has told something.
    Report(Report),
    /// It has come before.
    Duplicate,
    /// A younger one has come before.
    Stale,
    /// Its keyframe has not come: one is wanted. Names its generation.
    Unknown(u8),
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    /// The heads of the last packet and of the keyframe, once there was one.
    last: Option<(Head, Head)>,
    key: Numbers,
}

impl Follower {
    /// The generation of its keyframe.
    pub fn generation(&self) -> Option<u8> {
        self.last.map(|(head, _)| head.generation)
    }

    /// Takes a packet of the node.
    ///
    /// # Errors
    /// [`Malformed`] when its numbers make no sense beside the keyframe; nothing has changed.
    pub fn take(&mut self, packet: &Packet) -> Result<Heard, Malformed> {
        if packet.head.keyframe { self.keyframe(packet) } else { self.delta(packet) }
    }

    fn keyframe(&mut self, packet: &Packet) -> Result<Heard, Malformed> {
        let head = packet.head;
        let numbers = packet.numbers(&self.key)?;
        let mut lost = 0;
        if let Some((last, key)) = self.last {
            if (key.generation, key.seq) == (head.generation, head.seq) && numbers == self.key {
                return Ok(Heard::Duplicate);
            }
            // Only the one just before this can be late; anything else is a node that began anew.
            if last.generation == head.generation.wrapping_add(1) && !head.flags.has(Flags::REBOOT) {
                return Ok(Heard::Stale);
            }
            lost = missing(last.seq, head);
        }
        let told = numbers.known();
        self.key = numbers;
        self.last = Some((head, head));
        Ok(Heard::Report(self.report(head, lost, &self.key, told)))
    }

    fn delta(&mut self, packet: &Packet) -> Result<Heard, Malformed> {
        let head = packet.head;
        let Some((last, key)) = self.last else { return Ok(Heard::Unknown(head.generation)) };
        let first = |head: Head| head.flags.has(Flags::REBOOT);
        if key.generation != head.generation || first(key) != first(head) {
            let late = key.generation == head.generation.wrapping_add(1);
            return Ok(if late { Heard::Stale } else { Heard::Unknown(head.generation) });
        }
        match head.seq.wrapping_sub(last.seq) {
            0 => return Ok(Heard::Duplicate),
            1..=127 => {}
            _ => return Ok(Heard::Stale),
        }
        let mut numbers = packet.numbers(&self.key)?;
        let mut told = numbers.known();
        if !head.flags.has(Flags::MORE) {
            // What it does not name has the keyframe's value, but for what is only in keyframes.
            let fixed = |bit: &usize| Field::ALL.get(*bit).is_some_and(|field| field.form != Form::Keyframe);
            for bit in bits(self.key.known() & !told).filter(fixed) {
                if let Some(number) = self.key.get(bit) {
                    numbers.set(bit, number);
                    told |= 1 << bit;
                }
            }
        }
        let lost = missing(last.seq, head);
        self.last = Some((head, key));
        Ok(Heard::Report(self.report(head, lost, &numbers, told)))
    }

    fn report(&self, head: Head, lost: u8, numbers: &Numbers, told: u32) -> Report {
        let age = Duration::from_millis(u64::from(head.age) * 100);
        let values = numbers.values(told).collect();
        Report { keyframe: head.keyframe, flags: head.flags, age, lost, values }
    }
}

/// How many packets are missing between the one numbered `last` and this: none after a restart, and none when the
/// number went back.
fn missing(last: u8, head: Head) -> u8 {
    let step = head.seq.wrapping_sub(last).wrapping_sub(1);
    if head.flags.has(Flags::REBOOT) && head.keyframe || step > 127 { 0 } else { step }
}
