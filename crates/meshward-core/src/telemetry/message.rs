//! The bodies of types 210 to 215: what each begins with, what it says, and the sum at its end.
//!
//! All begin with a byte of version and kind and end with a CRC-16 (CCITT, as XMODEM has it) of everything before
//! it, as a little-endian number; all numbers are little-endian. The mesh passes JSON and does not look inside, and
//! long messages were seen to arrive broken, so every body is summed. Refuses a wrong sum, another version, a kind
//! that does not go with the type, and what [`Packet::read`] refuses.

use alloc::vec::Vec;

use super::field::{FIELDS, Field};
use super::packet::{DELTA, KEYFRAME, PACKET_MAX, Packet, read_varint, write_varint};
use crate::wire::{NodeId, Parcel, To, kind};

/// The longest body of a keyframe or delta: with ids of ten digits its frame takes 144 bytes on the wire, NUL
/// included.
pub const BODY_MAX: usize = 57;
/// The longest body with packets of several nodes: 751 bytes on the wire.
pub const BUNDLE_MAX: usize = 512;
/// No body that is longer is read.
pub const BODY_READ_MAX: usize = 1_024;

const BUNDLE: u8 = 0x12;
const QUERY: u8 = 0x13;
const ANSWER: u8 = 0x14;
const POLICY: u8 = 0x15;
const RESYNC: u8 = 0x16;
const ACK: u8 = 0x17;

/// Bytes of the sum at a body's end.
pub(super) const SUM: usize = 2;
/// What stands before each packet of a bundle: whose it is, and its length.
pub(super) const ENTRY: usize = 5;
const CRC: crc::Crc<u16, crc::NoTable> = crc::Crc::<u16, crc::NoTable>::new(&crc::CRC_16_XMODEM);

/// Why a body is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Malformed {
    /// It ends too early.
    Short,
    /// It goes on, or is longer than any.
    Long,
    /// Its sum is wrong.
    Sum,
    /// Its version or kind is another, or does not go with its type.
    Kind,
    /// It names a field that there is not.
    Field,
    /// A number is beyond what it can be, or written in another way than it is.
    Number,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Short => "the body ends too early",
            Self::Long => "the body is too long",
            Self::Sum => "the sum is wrong",
            Self::Kind => "another version or kind",
            Self::Field => "a field that there is not",
            Self::Number => "a number beyond its range",
        })
    }
}

impl core::error::Error for Malformed {}

/// What a gateway wants to know (210).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The asker's number for it; the answer has it too.
    pub q: u16,
    /// A bit for each field that is wanted, see [`Field::mask`]; 0 wants all.
    pub mask: u32,
    /// Answers are spread over so many milliseconds, each node at its own place.
    pub window_ms: u16,
}

/// What a node is to tell, and when (214). Words as in LwM2M.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The sender's number for it; the ack has it too.
    pub number: u8,
    /// Whether the node tells anything by itself.
    pub on: bool,
    /// Whether a relay packs the packets of those behind it with its own.
    pub aggregate: bool,
    /// Least time between two packets, in seconds.
    pub pmin_s: u16,
    /// Most time between two packets, in seconds.
    pub pmax_s: u16,
    /// Between two keyframes, in seconds.
    pub keyframe_s: u16,
    /// Between two EnhancedStatus packages (type 604), in seconds; 0 for none.
    pub enhanced_s: u16,
    /// Dead bands that differ from the table's: a field's bit, and its band in steps. 0: it only rides along.
    pub bands: Vec<(u8, u32)>,
}

impl Default for Policy {
    /// A packet at least each 60 s and at most each 10 s, a keyframe each 10 min, no type 604.
    fn default() -> Self {
        Self {
            number: 0,
            on: true,
            aggregate: true,
            pmin_s: 10,
            pmax_s: 60,
            keyframe_s: 600,
            enhanced_s: 0,
            bands: Vec::new(),
        }
    }
}

impl Policy {
    /// The same with what makes no sense made right: `pmin` 1 s or more, `pmax` no less than that and 1 h at most,
    /// keyframes a minute apart or more, type 604 10 s apart or more.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.pmin_s = self.pmin_s.clamp(1, 3_600);
        self.pmax_s = self.pmax_s.clamp(self.pmin_s, 3_600);
        self.keyframe_s = self.keyframe_s.max(60);
        if self.enhanced_s != 0 {
            self.enhanced_s = self.enhanced_s.max(10);
        }
        self
    }

    /// The band of the field at a bit, in steps.
    pub fn band(&self, bit: usize) -> u32 {
        let own = self.bands.iter().find(|(at, _)| usize::from(*at) == bit).map(|(_, band)| *band);
        own.unwrap_or_else(|| Field::ALL.get(bit).map_or(0, |field| field.band))
    }
}

/// A body of the types 210 to 215.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A packet of the sender (212 or 213).
    Packet(Packet),
    /// Packets of several nodes (213).
    Bundle(Vec<(NodeId, Packet)>),
    /// Somebody wants to know (210).
    Query(Query),
    /// The answer (211).
    Answer {
        /// The query's number.
        q: u16,
        /// Everything wanted, as a keyframe that no delta counts from; `None` from a node that does not answer.
        packet: Option<Packet>,
    },
    /// What is to be told (214).
    Policy(Policy),
    /// The sender has no keyframe of the receiver's (215).
    Resync {
        /// The generation that it has heard of.
        generation: u8,
    },
    /// A policy has been taken or refused (215).
    Ack {
        /// The policy's number.
        number: u8,
        /// Whether it was taken.
        taken: bool,
    },
}

impl Body {
    /// The package type that carries it.
    pub fn kind(&self) -> i32 {
        match self {
            Self::Packet(packet) if packet.head.keyframe => kind::TELEMETRY_KEYFRAME,
            Self::Packet(_) | Self::Bundle(_) => kind::TELEMETRY_DELTA,
            Self::Query(_) => kind::STATUS_QUERY,
            Self::Answer { .. } => kind::STATUS_ANSWER,
            Self::Policy(_) => kind::TELEMETRY_POLICY,
            Self::Resync { .. } | Self::Ack { .. } => kind::TELEMETRY_ACK,
        }
    }

    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BODY_MAX);
        match self {
            Self::Packet(packet) => packet.write(&mut out),
            Self::Bundle(entries) => {
                out.push(BUNDLE);
                for (node, packet) in entries {
                    out.extend_from_slice(&node.0.to_le_bytes());
                    out.push(packet.len() as u8);
                    packet.write(&mut out);
                }
            }
            Self::Query(Query { q, mask, window_ms }) => {
                out.push(QUERY);
                out.extend_from_slice(&q.to_le_bytes());
                out.extend_from_slice(&mask.to_le_bytes());
                out.extend_from_slice(&window_ms.to_le_bytes());
            }
            Self::Answer { q, packet } => {
                out.push(ANSWER);
                out.extend_from_slice(&q.to_le_bytes());
                if let Some(packet) = packet {
                    packet.write(&mut out);
                }
            }
            Self::Policy(policy) => policy.write(&mut out),
            Self::Resync { generation } => out.extend_from_slice(&[RESYNC, *generation]),
            Self::Ack { number, taken } => out.extend_from_slice(&[ACK, *number, u8::from(*taken)]),
        }
        seal(&mut out);
        out
    }

    /// The package's JSON text.
    pub fn frame(&self, from: NodeId, to: To) -> Vec<u8> {
        Parcel { kind: self.kind(), from, to, body: self.encode() }.encode()
    }

    /// Reads the body of a package of type `kind`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(kind: i32, body: &[u8]) -> Result<Self, Malformed> {
        let bytes = open(body)?;
        let (first, rest) = bytes.split_first().ok_or(Malformed::Short)?;
        let body = match *first {
            KEYFRAME | DELTA => Self::Packet(Packet::read(bytes)?),
            BUNDLE => Self::Bundle(read_bundle(rest)?),
            QUERY => {
                let &[a, b, c, d, e, f, g, h] = exactly(rest)?;
                let mask = u32::from_le_bytes([c, d, e, f]);
                let (q, window_ms) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([g, h]));
                if mask >> FIELDS != 0 {
                    return Err(Malformed::Field);
                }
                Self::Query(Query { q, mask, window_ms })
            }
            ANSWER => {
                let (q, rest) = rest.split_first_chunk().ok_or(Malformed::Short)?;
                let packet = if rest.is_empty() { None } else { Some(Packet::read(rest)?) };
                if packet.as_ref().is_some_and(|packet| !packet.head.keyframe) {
                    return Err(Malformed::Kind);
                }
                Self::Answer { q: u16::from_le_bytes(*q), packet }
            }
            POLICY => Self::Policy(Policy::read(rest)?),
            RESYNC => {
                let [generation] = *exactly(rest)?;
                Self::Resync { generation }
            }
            ACK => {
                let [number, taken] = *exactly(rest)?;
                if taken > 1 {
                    return Err(Malformed::Number);
                }
                Self::Ack { number, taken: taken == 1 }
            }
            _ => return Err(Malformed::Kind),
        };
        if body.kind() == kind { Ok(body) } else { Err(Malformed::Kind) }
    }
}

impl Policy {
    fn write(&self, out: &mut Vec<u8>) {
        let flags = u8::from(self.on) | u8::from(self.aggregate) << 1;
        out.extend_from_slice(&[POLICY, self.number, flags]);
        for seconds in [self.pmin_s, self.pmax_s, self.keyframe_s, self.enhanced_s] {
            out.extend_from_slice(&seconds.to_le_bytes());
        }
        for (bit, band) in self.bands.iter().take(FIELDS) {
            out.push(*bit);
            write_varint(out, u64::from(*band));
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (&[number, flags, a, b, c, d, e, f, g, h], mut rest) =
            bytes.split_first_chunk::<10>().ok_or(Malformed::Short)?;
        let seconds = |low, high| u16::from_le_bytes([low, high]);
        let mut policy = Self {
            number,
            on: flags & 1 != 0,
            aggregate: flags & 2 != 0,
            pmin_s: seconds(a, b),
            pmax_s: seconds(c, d),
            keyframe_s: seconds(e, f),
            enhanced_s: seconds(g, h),
            bands: Vec::new(),
        };
        if flags > 3 {
            return Err(Malformed::Number);
        }
        while let Some((bit, more)) = rest.split_first() {
            rest = more;
            let band = u32::try_from(read_varint(&mut rest)?).map_err(|_| Malformed::Number)?;
            if usize::from(*bit) >= FIELDS || policy.bands.len() >= FIELDS {
                return Err(Malformed::Field);
            }
            policy.bands.push((*bit, band));
        }
        Ok(policy)
    }
}

fn read_bundle(rest: &[u8]) -> Result<Vec<(NodeId, Packet)>, Malformed> {
    let mut entries = Vec::new();
    for entry in (Entries { rest }) {
        let (node, packet) = entry?;
        entries.push((node, Packet::read(packet)?));
    }
    if entries.is_empty() { Err(Malformed::Short) } else { Ok(entries) }
}

/// The packets of a bundle one by one, as they stand there.
#[derive(Clone)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(NodeId, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = core::mem::take(&mut self.rest);
        if rest.is_empty() {
            return None;
        }
        let entry = rest.split_first_chunk::<ENTRY>().and_then(|(&[a, b, c, d, len], more)| {
            let (packet, more) = more.split_at_checked(usize::from(len))?;
            self.rest = more;
            Some((NodeId(u32::from_le_bytes([a, b, c, d])), packet))
        });
        Some(entry.ok_or(Malformed::Short))
    }
}

/// What a relay may hold of a body: its packets, not looked into, of which that of a keyframe or delta is
/// `from`'s. A relay has no memory for them all as [`Packet`]s. `None` for another body.
pub(super) fn packets(from: NodeId, body: &[u8]) -> Option<impl Iterator<Item = (NodeId, &[u8])> + Clone> {
    let bytes = open(body).ok()?;
    let (single, rest) = match bytes.split_first()? {
        (&(KEYFRAME | DELTA), _) => (Some((from, bytes)), &[][..]),
        (&BUNDLE, rest) => (None, rest),
        _ => return None,
    };
    let entries = Entries { rest };
    let readable = |entry: Result<_, Malformed>| entry.is_ok_and(|(_, packet)| Packet::read(packet).is_ok());
    (entries.clone().all(readable) && single.is_none_or(|(_, packet)| Packet::read(packet).is_ok()))
        .then(|| single.into_iter().chain(entries.flatten()))
}

/// A bundle of packets that are written already; the caller has seen that there is room.
pub(super) fn bundle<'a>(entries: impl Iterator<Item = (NodeId, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::from([BUNDLE]);
    for (node, packet) in entries {
        out.extend_from_slice(&node.0.to_le_bytes());
        out.push(packet.len().min(PACKET_MAX) as u8);
        out.extend_from_slice(packet);
    }
    seal(&mut out);
    out
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], Malformed> {
    bytes.try_into().map_err(|_| if bytes.len() < N { Malformed::Short } else { Malformed::Long })
}

/// Appends the sum.
pub(super) fn seal(out: &mut Vec<u8>) {
    let sum = CRC.checksum(out);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// What is before the sum, if that is right.
fn open(body: &[u8]) -> Result<&[u8], Malformed> {
    if body.len() > BODY_READ_MAX {
        return Err(Malformed::Long);
    }
    let (bytes, sum) = body.split_last_chunk::<SUM>().ok_or(Malformed::Short)?;
    if CRC.checksum(bytes) == u16::from_le_bytes(*sum) { Ok(bytes) } else { Err(Malformed::Sum) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::packet::Head;

    fn bodies() -> [Body; 8] {
        let (packet, _) = Packet::build(Head::default(), &super::super::Numbers::default(), None, 0, 0, 55);
        let mut key = packet.clone();
        key.head.keyframe = true;
        let policy = Policy { number: 3, bands: Vec::from([(1, 300), (5, 0)]), ..Policy::default() };
        [
            Body::Packet(packet.clone()),
            Body::Packet(key.clone()),
            Body::Bundle(Vec::from([(NodeId(u32::MAX), packet), (NodeId(7), key.clone())])),
            Body::Query(Query { q: 300, mask: 0x21, window_ms: 2_000 }),
            Body::Answer { q: 300, packet: Some(key) },
            Body::Policy(policy),
            Body::Resync { generation: 9 },
            Body::Ack { number: 3, taken: true },
        ]
    }

    #[test]
    fn bodies_survive_the_wire_and_nothing_else_does() {
        for body in bodies() {
            let bytes = body.encode();
            assert_eq!(Body::decode(body.kind(), &bytes), Ok(body.clone()));
            let frame = body.frame(NodeId(7), To::One(NodeId(9)));
            let parcel = Parcel::decode(&frame).unwrap();
            assert_eq!(Body::decode(parcel.kind, &parcel.body).as_ref(), Ok(&body));
            for cut in 0..bytes.len() {
                assert!(Body::decode(body.kind(), &bytes[..cut]).is_err(), "{body:?} cut at {cut}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut spoilt = bytes.clone();
                spoilt[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Body::decode(body.kind(), &spoilt), Err(Malformed::Sum), "{body:?}, bit {bit}");
            }
            let other = if body.kind() == 210 { 211 } else { 210 };
            assert_eq!(Body::decode(other, &bytes), Err(Malformed::Kind));
        }
        assert_eq!(Body::decode(212, &[0; BODY_READ_MAX + 1]), Err(Malformed::Long));
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_made_right() {
        let odd = Policy { pmin_s: 0, pmax_s: 0, keyframe_s: 0, enhanced_s: 1, ..Policy::default() };
        let policy = odd.bounded();
        assert_eq!((policy.pmin_s, policy.pmax_s, policy.keyframe_s, policy.enhanced_s), (1, 1, 60, 10));
        assert_eq!(Policy::default().bounded(), Policy::default());
    }

    #[test]
    fn the_longest_bodies_stay_below_the_design() {
        let to = To::One(NodeId(u32::MAX));
        for (len, wire) in [(10, 82), (20, 95), (BODY_MAX, 144), (64, 154), (BUNDLE_MAX, 751)] {
            let parcel =
                Parcel { kind: kind::TELEMETRY_DELTA, from: NodeId(u32::MAX), to, body: alloc::vec![0; len] };
            assert_eq!(parcel.encode().len() + 1, wire, "{len} bytes");
        }
    }
}
