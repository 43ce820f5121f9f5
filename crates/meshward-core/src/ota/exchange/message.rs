//! What stands in the bodies of types 220 to 223. `docs/protocol.md` has the tables.
//!
//! Numbers are little-endian. Refuses what ends too early or goes on too long; a reader never takes more memory
//! than the body has. A chunk's body is read in place.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use alloc::vec::Vec;

use super::about::About;
use super::stage::Stage;
use crate::ota::{ImageId, Tag};
use crate::wire::NodeId;

/// Type 220: who holds what, or wants to know something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The payload; `None` when the sender holds none.
    pub tag: Option<Tag>,
    /// Who began the roll-out, and hears how it goes; nobody when that is not known.
    pub source: NodeId,
    /// Chunks that the sender holds.
    pub held: u32,
    /// Whoever gets this says how far it is.
    pub ask: bool,
    /// Whoever gets this says also what it is.
    pub ask_about: bool,
    /// A report has come: nothing has to be said about this.
    pub thanks: bool,
    /// What signs the payload, when that is told.
    pub head: Option<Head>,
}

/// The signed beginning of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The image's manifest, signed by an author.
    pub manifest: Vec<u8>,
    /// The payload's descriptor, signed by an operator.
    pub descriptor: Vec<u8>,
    /// Who runs one of these has a better payload, a patch: it does not take this one.
    pub except: Vec<ImageId>,
}

/// Chunks, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    /// The chunk of the lowest bit of the first byte.
    pub first: u32,
    /// A bit per chunk.
    pub bits: Vec<u8>,
}

impl Chunks {
    /// Bytes of a map on the wire, at most: 512 chunks.
    pub const BYTES_MAX: usize = 64;

    /// The chunks, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let set = |(at, byte): (usize, &u8)| {
            let (first, byte) = (self.first.saturating_add((at as u32).saturating_mul(8)), *byte);
            (0..8u32).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| first.saturating_add(bit))
        };
        self.bits.iter().enumerate().flat_map(set)
    }

    /// The first of `chunks`, which rise, as far as they fit.
    pub fn of(chunks: impl Iterator<Item = u32>) -> Self {
        let mut map: Option<Self> = None;
        for chunk in chunks {
            let map = map.get_or_insert_with(|| Self { first: chunk, bits: Vec::new() });
            let at = chunk.saturating_sub(map.first);
            let byte = (at / 8) as usize;
            if byte >= Self::BYTES_MAX {
                break;
            }
            if map.bits.len() <= byte {
                map.bits.resize(byte.saturating_add(1), 0);
            }
            if let Some(byte) = map.bits.get_mut(byte) {
                *byte |= 1 << (at % 8);
            }
        }
        map.unwrap_or_default()
    }

    fn place(&self, chunk: u32) -> Option<(usize, u8)> {
        let at = chunk.checked_sub(self.first)?;
        Some(((at / 8) as usize, 1 << (at % 8)))
    }

    /// Whether a chunk is among them.
    pub fn contains(&self, chunk: u32) -> bool {
        let Some((byte, bit)) = self.place(chunk) else { return false };
        self.bits.get(byte).is_some_and(|byte| byte & bit != 0)
    }

    /// Takes a chunk out.
    pub fn remove(&mut self, chunk: u32) {
        if let Some((byte, bit)) = self.place(chunk)
            && let Some(byte) = self.bits.get_mut(byte)
        {
            *byte &= !bit;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|byte| *byte == 0)
    }
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// With which payload; `None` when it holds none.
    pub tag: Option<Tag>,
    /// Its receiver's state.
    pub stage: Stage,
    /// The state's reason, as [`State::reason`](crate::ota::receiver::State::reason) numbers them.
    pub reason: u8,
    /// Chunks that are on its flash.
    pub done: u32,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// How far it is.
    Line(Line),
    /// What it is.
    About(About),
}

/// News of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub node: NodeId,
    /// What.
    pub news: News,
}

/// Type 221: what a node wants, and news of it and of those behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The payload.
    pub tag: Option<Tag>,
    /// It does not know what signs the payload.
    pub head: bool,
    /// It wants to know that this has come.
    pub thanks: bool,
    /// Chunks that it wants.
    pub missing: Chunks,
    /// News.
    pub records: Vec<Record>,
}

/// Type 222: one chunk of a payload, the block table's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The payload.
    pub tag: Tag,
    /// Which chunk.
    pub index: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The highest number of a chunk that can be written.
const INDEX_MAX: u32 = 0xFF_FFFF;

/// Reads one thing after the other.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    pub(super) fn u24(&mut self) -> Option<u32> {
        let [a, b, c] = self.take()?;
        Some(u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn tag(&mut self) -> Option<Option<Tag>> {
        Some(Some(self.u32()?).filter(|tag| *tag != 0).map(Tag))
    }

    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

fn u24(bytes: &mut Vec<u8>, number: u32) {
    let [a, b, c, _] = number.min(INDEX_MAX).to_le_bytes();
    bytes.extend_from_slice(&[a, b, c]);
}

fn tag(bytes: &mut Vec<u8>, tag: Option<Tag>) {
    bytes.extend_from_slice(&tag.map_or(0, |tag| tag.0).to_le_bytes());
}

fn flags<const N: usize>(flags: [bool; N]) -> u8 {
    flags.into_iter().rev().fold(0, |all, flag| all << 1 | u8::from(flag))
}

impl Offer {
    /// A body.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.push(flags([self.ask, self.ask_about, self.thanks, self.head.is_some()]));
        tag(&mut bytes, self.tag);
        bytes.extend_from_slice(&self.source.0.to_le_bytes());
        u24(&mut bytes, self.held);
        if let Some(Head { manifest, descriptor, except }) = &self.head {
            for message in [manifest, descriptor] {
                let len = u16::try_from(message.len()).unwrap_or(0);
                bytes.extend_from_slice(&len.to_le_bytes());
                bytes.extend_from_slice(message.get(..len.into()).unwrap_or_default());
            }
            except.iter().for_each(|image| bytes.extend_from_slice(&image.0));
        }
        bytes
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        let flags = cursor.u8()?;
        let mut offer = Self {
            tag: cursor.tag()?,
            source: NodeId(cursor.u32()?),
            held: cursor.u24()?,
            ask: flags & 1 != 0,
            ask_about: flags & 2 != 0,
            thanks: flags & 4 != 0,
            head: None,
        };
        if flags & 8 != 0 {
            let mut message = || {
                let len = u16::from_le_bytes(cursor.take()?);
                cursor.bytes(len.into()).map(<[u8]>::to_vec)
            };
            let (manifest, descriptor) = (message()?, message()?);
            let mut except = Vec::new();
            while !cursor.0.is_empty() {
                except.push(ImageId(cursor.take()?));
            }
            offer.head = Some(Head { manifest, descriptor, except });
        }
        cursor.end(offer)
    }
}

impl Record {
    /// Appends it.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.node.0.to_le_bytes());
        match &self.news {
            News::Line(line) => {
                bytes.push(0);
                tag(bytes, line.tag);
                bytes.extend_from_slice(&[line.stage.number(), line.reason]);
                u24(bytes, line.done);
            }
            News::About(about) => {
                bytes.push(1);
                about.encode(bytes);
            }
        }
    }

    fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let node = NodeId(cursor.u32()?);
        let news = match cursor.u8()? {
            0 => News::Line(Line {
                tag: cursor.tag()?,
                stage: Stage::from_number(cursor.u8()?)?,
                reason: cursor.u8()?,
                done: cursor.u24()?,
            }),
            1 => News::About(About::decode(cursor)?),
            _ => return None,
        };
        Some(Self { node, news })
    }
}

impl Want {
    /// A body.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.push(flags([self.head, self.thanks]));
        tag(&mut bytes, self.tag);
        let bits = self.missing.bits.get(..Chunks::BYTES_MAX).unwrap_or(&self.missing.bits);
        bytes.push(bits.len() as u8);
        if !bits.is_empty() {
            u24(&mut bytes, self.missing.first);
            bytes.extend_from_slice(bits);
        }
        self.records.iter().for_each(|record| record.encode(&mut bytes));
        bytes
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        let flags = cursor.u8()?;
        let tag = cursor.tag()?;
        let len = usize::from(cursor.u8()?);
        let missing = match len {
            0 => Chunks::default(),
            1..=Chunks::BYTES_MAX => Chunks { first: cursor.u24()?, bits: cursor.bytes(len)?.to_vec() },
            _ => return None,
        };
        let mut records = Vec::new();
        while !cursor.0.is_empty() {
            records.push(Record::decode(&mut cursor)?);
        }
        Some(Self { tag, head: flags & 1 != 0, thanks: flags & 2 != 0, missing, records })
    }
}

impl<'a> Chunk<'a> {
    /// Bytes before those of the payload.
    pub const HEAD: usize = 7;

    /// A body.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len().saturating_add(7));
        bytes.extend_from_slice(&self.tag.0.to_le_bytes());
        u24(&mut bytes, self.index);
        bytes.extend_from_slice(self.bytes);
        bytes
    }

    /// Reads a body.
    pub fn decode(body: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(body);
        Some(Self { tag: cursor.tag()??, index: cursor.u24()?, bytes: cursor.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn offers_survive_the_wire() {
        let head = Head {
            manifest: vec![1; 300],
            descriptor: vec![2; 200],
            except: vec![ImageId([3; 8]), ImageId([4; 8])],
        };
        for head in [None, Some(head), Some(Head::default())] {
            let offer = Offer {
                tag: Some(Tag(0x0102_0304)),
                source: NodeId(9),
                held: 517,
                ask: true,
                ask_about: false,
                thanks: true,
                head,
            };
            let body = offer.encode();
            assert_eq!(Offer::decode(&body).as_ref(), Some(&offer));
            assert!((0..body.len()).filter(|len| *len != 12).all(|len| {
                // A list of images may end anywhere between two.
                Offer::decode(&body[..len]).is_none_or(|short| short.head.is_some())
            }));
        }
        assert_eq!(Offer::decode(&Offer::default().encode()), Some(Offer::default()));
    }

    #[test]
    fn wants_survive_the_wire_and_refuse_what_is_cut() {
        let line = Line { tag: Some(Tag(5)), stage: Stage::Ready, reason: 0, done: 45 };
        let records = vec![
            Record { node: NodeId(1), news: News::Line(line) },
            Record { node: NodeId(2), news: News::About(About::default()) },
        ];
        let missing = Chunks::of([3, 4, 11, 300, 100_000].into_iter());
        assert_eq!(missing.iter().collect::<Vec<_>>(), [3, 4, 11, 300]);
        let want = Want { tag: None, head: true, thanks: true, missing, records };
        let body = want.encode();
        assert_eq!(Want::decode(&body), Some(want));
        assert_eq!(Want::decode(&body[..body.len() - 1]), None);
        assert_eq!(Want::decode(&[0, 0, 0, 0, 0, 65]), None);
        assert_eq!(Want::decode(&Want::default().encode()), Some(Want::default()));
        assert!(Want::default().missing.is_empty());
    }

    #[test]
    fn chunks_survive_the_wire() {
        let chunk = Chunk { tag: Tag(7), index: 70_000, bytes: b"bytes" };
        assert_eq!(Chunk::decode(&chunk.encode()), Some(chunk));
        assert_eq!(Chunk::decode(&[0; 20]), None, "no payload has the tag 0");
        assert_eq!(Chunk::decode(&[1; 6]), None);
    }
}
