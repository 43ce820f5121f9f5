//! One telemetry packet: a keyframe, or a delta against the last keyframe.
//!
//! ```text
//! byte 0     version 1 in the high half, kind in the low one: 0 keyframe, 1 delta
//! byte 1     sequence number, modulo 256
//! byte 2     generation of the keyframe, modulo 256
//! byte 3     flags, see `Flags`
//! byte 4     how old the values are, in 0.1 s; relays that hold a packet add to it
//! byte 5–7   a bit for each of the first 24 fields, the lowest first
//! byte 8     with the flag WIDE only: bits for the other fields
//! …          the fields' numbers, in order of their bits
//! ```
//!
//! A delta names every field that differs from the keyframe, not what has changed since the last delta: with the
//! keyframe it says everything, so that a lost one costs nothing, and what it does not name has the keyframe's
//! value. Only with the flag MORE it says nothing of what it does not name. A field that the keyframe has not
//! counts from 0.
//!
//! Refuses other versions and kinds, numbers beyond 32 bits or written longer than need be, flags of fields that
//! do not exist, and a packet that ends early or goes on.

use alloc::vec::Vec;

use super::field::{FIELDS, Field, Form, NARROW, Numbers, bits};
use super::message::Malformed;

/// A keyframe's first byte.
pub(super) const KEYFRAME: u8 = 0x10;
/// A delta's first byte.
pub(super) const DELTA: u8 = 0x11;
/// Where a packet has its flags.
pub(super) const FLAGS: usize = 3;
/// Where a packet says how old it is.
pub(super) const AGE: usize = 4;
const HEAD: usize = 8;
/// No packet is longer: head, five bytes a field.
pub(super) const PACKET_MAX: usize = HEAD + 1 + 5 * FIELDS;

/// What a packet says besides numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// Of the first keyframe since the node started, or a delta against it.
    pub const REBOOT: Self = Self(1);
    /// The node is short of memory.
    pub const LOW_MEMORY: Self = Self(2);
    /// The node goes to sleep now.
    pub const SLEEPING: Self = Self(4);
    /// There was no room for everything; the rest comes in the next packet.
    pub const MORE: Self = Self(8);
    /// Relays do not hold it.
    pub const URGENT: Self = Self(16);
    /// There are bits for more than 24 fields.
    const WIDE: Self = Self(32);

    /// Whether these flags have all of those.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those, if `really`.
    #[must_use]
    pub const fn with(self, other: Self, really: bool) -> Self {
        if really { Self(self.0 | other.0) } else { self }
    }
}

/// What a packet begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Whether it is a keyframe.
    pub keyframe: bool,
    /// Counts the node's packets, modulo 256.
    pub seq: u8,
    /// Counts the node's keyframes, modulo 256.
    pub generation: u8,
    /// See [`Flags`].
    pub flags: Flags,
    /// How old the values are, in 0.1 s; 255 is that or older.
    pub age: u8,
}

/// A packet, as it is on the wire: its numbers mean something only beside the keyframe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it begins with.
    pub head: Head,
    present: u32,
    /// Numbers as they are written, at their bits.
    raw: [u64; FIELDS],
}

impl Packet {
    /// A packet that tells the numbers at the bits `wanted`, those in `first` before the others, as far as they
    /// have room in `room` bytes. What has none is told by the second value, and by the flag MORE. Numbers are
    /// against `key`, or whole without one.
    pub fn build(
        head: Head,
        numbers: &Numbers,
        key: Option<&Numbers>,
        wanted: u32,
        first: u32,
        room: usize,
    ) -> (Self, u32) {
        let mut packet = Self { head, present: 0, raw: [0; FIELDS] };
        let wanted = wanted & numbers.known();
        let mut order: Vec<(bool, u8, usize)> = Vec::with_capacity(FIELDS);
        order.extend(
            bits(wanted).filter_map(|bit| Some((first & (1 << bit) == 0, Field::ALL.get(bit)?.rank, bit))),
        );
        order.sort_unstable();
        let mut left = 0;
        for (_, _, bit) in order {
            let Some((field, number)) = Field::ALL.get(bit).zip(numbers.get(bit)) else { continue };
            let base = key.map(|key| key.get(bit).unwrap_or(0));
            let raw = match (field.form, base) {
                (Form::Distance | Form::Keyframe, Some(base)) => {
                    zigzag(i64::from(number).wrapping_sub(i64::from(base)))
                }
                _ => u64::from(number),
            };
            packet.put(bit, raw);
            if packet.len() > room {
                packet.put(bit, 0);
                packet.present &= !(1 << bit);
                left |= 1 << bit;
            }
        }
        packet.head.flags = packet.head.flags.with(Flags::MORE, left != 0);
        packet.head.flags = packet.head.flags.with(Flags::WIDE, packet.is_wide());
        (packet, left)
    }

    fn put(&mut self, bit: usize, raw: u64) {
        if let Some(place) = self.raw.get_mut(bit) {
            *place = raw;
            self.present |= 1 << bit;
        }
    }

    fn is_wide(&self) -> bool {
        self.present >> NARROW != 0
    }

    /// A bit for each field that it tells.
    pub fn present(&self) -> u32 {
        self.present
    }

    fn parts(&self) -> impl Iterator<Item = (&'static Field, u64)> + '_ {
        bits(self.present).filter_map(|bit| Some((Field::ALL.get(bit)?, *self.raw.get(bit)?)))
    }

    /// Its bytes on the wire, without a sum.
    pub fn len(&self) -> usize {
        let fields =
            self.parts().map(|(field, raw)| if field.form == Form::Word { 4 } else { varint_len(raw) });
        fields.fold(HEAD, usize::saturating_add).saturating_add(usize::from(self.is_wide()))
    }

    /// Whether it tells nothing but that the node lives.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Appends its bytes, without a sum.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Head { keyframe, seq, generation, flags, age } = self.head;
        let kind = if keyframe { KEYFRAME } else { DELTA };
        let flags = Flags(flags.0 & !Flags::WIDE.0).with(Flags::WIDE, self.is_wide());
        out.extend_from_slice(&[kind, seq, generation, flags.0, age]);
        let [first, second, third, wide] = self.present.to_le_bytes();
        out.extend_from_slice(&[first, second, third]);
        if self.is_wide() {
            out.push(wide);
        }
        for (field, raw) in self.parts() {
            if field.form == Form::Word {
                out.extend_from_slice(&(raw as u32).to_le_bytes());
            } else {
                write_varint(out, raw);
            }
        }
    }

    /// Reads all of `bytes`.
    ///
    /// # Errors
    /// [`Malformed`], see the module's page.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (&[kind, seq, generation, flags, age, first, second, third], mut rest) =
            bytes.split_first_chunk::<HEAD>().ok_or(Malformed::Short)?;
        let keyframe = match kind {
            KEYFRAME => true,
            DELTA => false,
            _ => return Err(Malformed::Kind),
        };
        let mut wide = 0;
        if flags & Flags::WIDE.0 != 0 {
            (wide, rest) = rest.split_first().map(|(wide, rest)| (*wide, rest)).ok_or(Malformed::Short)?;
            if wide == 0 {
                return Err(Malformed::Field);
            }
        }
        let present = u32::from_le_bytes([first, second, third, wide]);
        if present >> FIELDS != 0 {
            return Err(Malformed::Field);
        }
        let head = Head { keyframe, seq, generation, flags: Flags(flags), age };
        let mut packet = Self { head, present, raw: [0; FIELDS] };
        for (bit, field) in Field::ALL.iter().enumerate().filter(|(bit, _)| present & (1 << bit) != 0) {
            let raw = if field.form == Form::Word {
                let (word, more) = rest.split_first_chunk().ok_or(Malformed::Short)?;
                rest = more;
                u64::from(u32::from_le_bytes(*word))
            } else {
                read_varint(&mut rest)?
            };
            // A distance of 32-bit numbers, zig-zag, has one bit more.
            let signed = !keyframe && matches!(field.form, Form::Distance | Form::Keyframe);
            if raw >> (32_u32.saturating_add(u32::from(signed))) != 0 {
                return Err(Malformed::Number);
            }
            packet.put(bit, raw);
        }
        if rest.is_empty() { Ok(packet) } else { Err(Malformed::Long) }
    }

    /// The numbers that it tells; a delta's beside the keyframe `key`.
    ///
    /// # Errors
    /// [`Malformed::Number`] for one outside of 32 bits.
    pub fn numbers(&self, key: &Numbers) -> Result<Numbers, Malformed> {
        let mut numbers = Numbers::default();
        for bit in bits(self.present) {
            let Some((field, raw)) = Field::ALL.get(bit).zip(self.raw.get(bit)) else { continue };
            let number = match field.form {
                Form::Distance | Form::Keyframe if !self.head.keyframe => {
                    let base = i64::from(key.get(bit).unwrap_or(0));
                    let number =
                        base.checked_add(unzigzag(*raw)).and_then(|number| u32::try_from(number).ok());
                    number.ok_or(Malformed::Number)?
                }
                _ => u32::try_from(*raw).map_err(|_| Malformed::Number)?,
            };
            numbers.set(bit, number);
        }
        Ok(numbers)
    }
}

/// Small numbers of either sign as small numbers.
pub(super) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

pub(super) const fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ (raw & 1).wrapping_neg() as i64
}

const fn varint_len(number: u64) -> usize {
    let bits = 64_u32.saturating_sub((number | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

/// Seven bits a byte, the lowest first; the high bit says that there are more.
pub(super) fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn read_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for place in 0..5_u32 {
        let (byte, more) = rest.split_first().ok_or(Malformed::Short)?;
        *rest = more;
        number |= u64::from(byte & 0x7F) << place.saturating_mul(7);
        if byte & 0x80 == 0 {
            // A last byte of 0 is what nobody writes.
            return if *byte == 0 && place > 0 { Err(Malformed::Number) } else { Ok(number) };
        }
    }
    Err(Malformed::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metric;

    fn numbers(values: &[(Metric, i64)]) -> Numbers {
        let mut numbers = Numbers::default();
        for (metric, value) in values {
            let bit = Field::bit(*metric).unwrap();
            numbers.set(bit, Field::ALL[bit].number(*value));
        }
        numbers
    }

    #[test]
    fn varints_and_signs() {
        for (number, len) in [(0, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (-8_192, 2), (8_192, 3)] {
            let mut out = Vec::new();
            write_varint(&mut out, zigzag(number));
            assert_eq!((out.len(), varint_len(zigzag(number))), (len, len), "{number}");
            assert_eq!(read_varint(&mut &out[..]).map(unzigzag), Ok(number));
        }
        for (bytes, error) in [
            (&[0x80][..], Malformed::Short),
            (&[0x80, 0], Malformed::Number),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 1], Malformed::Number),
        ] {
            assert_eq!(read_varint(&mut &*bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn what_has_no_room_waits_and_goes_first_the_next_time() {
        let values = numbers(&[
            (Metric::Alerts, 4),
            (Metric::FreeHeap, 100_000),
            (Metric::BytesTx, 1 << 30),
            (Metric::BytesRx, 1 << 30),
        ]);
        let bit = |metric| 1 << Field::bit(metric).unwrap();
        let build = |first, room| Packet::build(Head::default(), &values, None, u32::MAX, first, room);
        let (packet, left) = build(0, 8 + 1 + 2 + 4);
        assert_eq!(left, bit(Metric::BytesTx), "the least important");
        assert!(packet.head.flags.has(Flags::MORE));
        let (packet, left) = build(bit(Metric::BytesTx), 8 + 4 + 1 + 2);
        assert_eq!(left, bit(Metric::BytesRx), "what has waited goes first");
        assert_eq!(packet.len(), 15);
        let (packet, left) = build(0, 19);
        assert!(left == 0 && !packet.head.flags.has(Flags::MORE));
    }

    #[test]
    fn what_is_none_is_refused() {
        let values = numbers(&[(Metric::FreeHeap, 100_000), (Metric::Parent, 7), (Metric::Supply, 3_300)]);
        let (packet, _) =
            Packet::build(Head { keyframe: true, ..Head::default() }, &values, None, u32::MAX, 0, 64);
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        assert_eq!((bytes.len(), Packet::read(&bytes)), (packet.len(), Ok(packet)));
        for cut in 0..bytes.len() {
            assert_eq!(Packet::read(&bytes[..cut]), Err(Malformed::Short), "cut at {cut}");
        }
        let spoilt = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            Packet::read(&bytes)
        };
        assert_eq!(spoilt(0, 0x20), Err(Malformed::Kind), "another version");
        assert_eq!(spoilt(8, 0x80), Err(Malformed::Field), "a field that there is not");
        assert_eq!(spoilt(8, 0), Err(Malformed::Field), "a wide packet without wide fields");
        bytes.push(0);
        assert_eq!(Packet::read(&bytes), Err(Malformed::Long));
    }
}
