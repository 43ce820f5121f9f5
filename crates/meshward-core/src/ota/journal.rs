//! The staging journal: what is being received, and which chunks of it are on flash.
//!
//! First come the signed manifest and the signed descriptor, so that a journal is a payload's own, whatever
//! its name or size, and a journal that nobody signed is none. Then there is one mark per chunk, programmed
//! after the chunk's data: a power cut costs the chunk in flight at most. The block table has a region of its
//! own. Nothing here does IO; the receiver executes the commands.
//!
//! A mark is a word, or a unit of 16 bytes where flash is encrypted ([`Marks`]). A unit is zeros once the chunk
//! is there, and never changes again: what has to be forgotten is remembered in memory only, and after a reset
//! the block is found wrong once more. A chunk's word only ever loses bits. Its lower half says how often the chunk was stored, its upper half how
//! often it was forgotten again because its block was wrong; it is there while the former is more. As the word
//! is programmed after the data, even a torn one tells the truth; a flipped bit at worst claims a chunk whose
//! block will then be found wrong, or forgets one.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use alloc::vec;
use alloc::vec::Vec;

use crate::flash::{Books, ERASED, FlashOp, Marks, UNIT};
use crate::ota::trust::{Descriptor, SIGNED_MAX};

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
const MAGIC: [u8; 4] = *b"MWj1";
/// Magic, two lengths.
const FIXED: usize = 12;
/// Bytes before the marks: both messages at their longest, and what is around them.
pub const HEAD: u32 = 1_408;
/// The word of a chunk that was never stored.
const BLANK: u32 = u32::MAX;
/// Its lower half.
const STORED: u32 = 0xFFFF;

const _: () = assert!(FIXED + 2 * SIGNED_MAX + 2 * 3 + 4 <= HEAD as usize && HEAD.is_multiple_of(UNIT));

/// The unit of a chunk that is there.
const DONE: [u8; UNIT as usize] = [0; UNIT as usize];

/// What stands at the journal's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The image's manifest, signed by an author.
    pub manifest: &'a [u8],
    /// The payload's descriptor, signed by an operator.
    pub descriptor: &'a [u8],
}

impl<'a> Head<'a> {
    /// As it stands on flash: magic, both lengths, both messages, CRC-32, filled up to a [`UNIT`] with 0xFF. `None`
    /// when a message is longer than any signed one.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (manifest, descriptor) = (self.manifest.len(), self.descriptor.len());
        if manifest > SIGNED_MAX || descriptor > SIGNED_MAX {
            return None;
        }
        let mut bytes =
            Vec::with_capacity((FIXED + manifest + descriptor + 4).next_multiple_of(UNIT as usize));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(manifest as u32).to_le_bytes());
        bytes.extend_from_slice(&(descriptor as u32).to_le_bytes());
        bytes.extend_from_slice(self.manifest);
        bytes.extend_from_slice(self.descriptor);
        let crc = CRC.checksum(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(UNIT as usize), ERASED);
        Some(bytes)
    }

    /// Reads the first [`HEAD`] bytes of a journal; `None` for an erased, torn or damaged one. Whether anybody
    /// signed the messages is for the key store to say.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let len = |at: usize| -> Option<usize> {
            let word = u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
            usize::try_from(word).ok().filter(|len| *len <= SIGNED_MAX)
        };
        let (manifest, descriptor) = (len(4)?, len(8)?);
        let end = FIXED + manifest + descriptor;
        let crc: [u8; 4] = bytes.get(end..end + 4)?.try_into().ok()?;
        let body = bytes.get(..end)?;
        if body.get(..4)? != MAGIC || CRC.checksum(body).to_le_bytes() != crc {
            return None;
        }
        let (manifest, descriptor) = body.get(FIXED..)?.split_at_checked(manifest)?;
        Some(Self { manifest, descriptor })
    }
}

/// Whether a chunk with this word is on flash.
pub fn is_there(mark: u32) -> bool {
    (mark | !STORED).count_zeros() > (mark | STORED).count_zeros()
}

/// The word after storing the chunk once more; `None` after sixteen times, when it is only remembered.
fn stored(mark: u32) -> Option<u32> {
    let left = mark & STORED;
    (left != 0).then(|| mark & !(left & left.wrapping_neg()))
}

/// The word after forgetting the chunk.
fn forgotten(mut mark: u32) -> u32 {
    while is_there(mark) {
        let left = mark & !STORED;
        mark &= !(left & left.wrapping_neg());
    }
    mark
}

/// Where the marks and the block table are, and which chunks are there: 4 bits a chunk of memory at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    start: u32,
    marks: Marks,
    /// Chunks in all: the table's, then the payload's.
    chunks: u32,
    present: Vec<u8>,
    missing: u32,
}

impl Journal {
    /// Chunks that a board's journal has marks for.
    pub const fn capacity(books: &Books) -> u32 {
        let [marks, _] = books.journal;
        marks.len.saturating_sub(HEAD) / books.marks.bytes()
    }

    /// Bytes of block table that a board's journal holds.
    pub const fn table_capacity(books: &Books) -> u32 {
        let [_, table] = books.journal;
        table.len
    }

    /// The journal of a payload of which nothing is there; `None` when the board has no room for its marks or
    /// its block table.
    pub fn new(books: &Books, descriptor: &Descriptor) -> Option<Self> {
        let [region, _] = books.journal;
        let chunks = descriptor.chunks();
        let fits = chunks <= Self::capacity(books) && descriptor.table_len() <= Self::table_capacity(books);
        let bytes = usize::try_from(chunks.div_ceil(8)).ok()?;
        fits.then(|| Self {
            start: region.start,
            marks: books.marks,
            chunks,
            present: vec![0; bytes],
            missing: chunks,
        })
    }

    /// Chunks in all.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Chunks that are not there.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// Which chunks are there: a bit each, the lowest of the first byte first.
    pub fn bitmap(&self) -> &[u8] {
        &self.present
    }

    /// Whether a chunk is there.
    pub fn has(&self, chunk: u32) -> bool {
        let byte = self.present.get((chunk / 8) as usize);
        chunk < self.chunks && byte.is_some_and(|byte| byte & (1 << (chunk % 8)) != 0)
    }

    /// A chunk is there now, or not any more.
    pub fn set(&mut self, chunk: u32, there: bool) {
        if chunk >= self.chunks || self.has(chunk) == there {
            return;
        }
        if let Some(byte) = self.present.get_mut((chunk / 8) as usize) {
            *byte ^= 1 << (chunk % 8);
            self.missing =
                if there { self.missing.saturating_sub(1) } else { self.missing.saturating_add(1) };
        }
    }

    /// Reads the marks from chunk `first` on, as they stand on flash.
    pub fn recover(&mut self, first: u32, marks: &[u8]) {
        for (index, mark) in marks.chunks_exact(self.mark_len() as usize).enumerate() {
            let there = match self.marks {
                Marks::Words => is_there(word(mark)),
                Marks::Units => mark == DONE,
            };
            self.set(first.saturating_add(index as u32), there);
        }
    }

    /// Bytes of a mark.
    pub fn mark_len(&self) -> u32 {
        self.marks.bytes()
    }

    /// Where a chunk's mark is.
    pub fn mark_address(&self, chunk: u32) -> u32 {
        self.start + HEAD + self.mark_len() * chunk.min(self.chunks)
    }

    /// The command that says that a chunk, whose mark is `mark`, is there; `None` when it can only be
    /// remembered, or is marked already.
    pub fn mark(&self, chunk: u32, mark: &[u8]) -> Option<FlashOp> {
        let data = match self.marks {
            Marks::Words => stored(word(mark))?.to_le_bytes().to_vec(),
            Marks::Units if mark.iter().all(|byte| *byte == ERASED) => DONE.to_vec(),
            Marks::Units => return None,
        };
        Some(FlashOp::Program { address: self.mark_address(chunk), data })
    }

    /// The command that forgets chunks from `first` on, whose marks are `marks`; `None` when they can only be
    /// forgotten in memory.
    pub fn forget(&self, first: u32, marks: &[u8]) -> Option<FlashOp> {
        if self.marks == Marks::Units {
            return None;
        }
        let data = marks.chunks_exact(4).flat_map(|mark| forgotten(word(mark)).to_le_bytes()).collect();
        Some(FlashOp::Program { address: self.mark_address(first), data })
    }
}

fn word(mark: &[u8]) -> u32 {
    u32::from_le_bytes(mark.try_into().unwrap_or(BLANK.to_le_bytes()))
}

/// What must hold for any journal; shared by the fuzz target and the tests that replay its corpus.
#[doc(hidden)]
pub fn fuzz(input: &[u8]) {
    if let Some(head) = Head::decode(input) {
        let encoded = head.encode().unwrap_or_default();
        assert!(
            input.starts_with(
                encoded.get(..encoded.len().saturating_sub(UNIT as usize - 1)).unwrap_or_default()
            )
        );
    }
    for word in input.chunks_exact(4).filter_map(|word| <[u8; 4]>::try_from(word).ok()) {
        let mark = u32::from_le_bytes(word);
        let gone = forgotten(mark);
        assert!(!is_there(gone) && gone & mark == gone, "bits only clear");
        if let Some(back) = stored(gone) {
            assert!(back & gone == back, "bits only clear");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Sizes};
    use crate::hash::Sha256Sum;

    fn descriptor(packed: u32) -> Descriptor {
        let sha256 = Sha256Sum::of(b"");
        let sizes = Sizes { packed, plain: packed };
        Descriptor {
            image: sha256,
            base: None,
            codec: Codec::None,
            sizes,
            sha256,
            chunk_size: 1_024,
            table: sha256,
            seal: None,
        }
    }

    #[test]
    fn a_head_notices_every_flipped_bit_and_every_cut() {
        let head = Head { manifest: &[1; 301], descriptor: &[2; 255] };
        let bytes = head.encode().unwrap();
        assert_eq!(Head::decode(&bytes), Some(head));
        let covered = FIXED + 301 + 255 + 4;
        for bit in 0..covered * 8 {
            let mut torn = bytes.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&torn), None, "bit {bit}");
        }
        assert!((0..covered).all(|len| Head::decode(&bytes[..len]).is_none()));
        assert_eq!(Head { manifest: &[0; SIGNED_MAX + 1], descriptor: &[] }.encode(), None);
    }

    #[test]
    fn a_mark_only_loses_bits_and_can_come_back_sixteen_times() {
        let mut mark = BLANK;
        for _ in 0..16 {
            assert!(!is_there(mark));
            let there = stored(mark).unwrap();
            assert!(is_there(there) && there & mark == there);
            mark = forgotten(there);
            assert!(mark & there == mark);
        }
        assert_eq!(stored(mark), None);
        assert!(!is_there(forgotten(BLANK & !(1 << 31))), "a flipped bit forgets nothing that is not there");
    }

    #[test]
    fn marks_make_the_bitmap() {
        let books = Books::FOUR_MEGABYTES;
        let mut journal = Journal::new(&books, &descriptor(100_000)).unwrap();
        assert_eq!((journal.chunks(), journal.missing()), (99, 99));
        let FlashOp::Program { address, data } = journal.mark(98, &BLANK.to_le_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!(address, books.journal[0].start + HEAD + 4 * 98);
        journal.recover(98, &data);
        journal.recover(99, &data);
        assert!(journal.has(98) && !journal.has(97) && !journal.has(99));
        assert_eq!(journal.missing(), 98);
        assert!(Journal::new(&books, &descriptor(2 << 20)).is_none(), "no marks for so many");
    }

    #[test]
    fn a_unit_is_programmed_once_and_anything_else_is_no_mark() {
        let books = Books { marks: Marks::Units, ..Books::FOUR_MEGABYTES };
        let mut journal = Journal::new(&books, &descriptor(100_000)).unwrap();
        let FlashOp::Program { address, data } = journal.mark(3, &[ERASED; 16]).unwrap() else { panic!() };
        assert_eq!((address, &data[..]), (books.journal[0].start + HEAD + 16 * 3, &DONE[..]));
        let torn = [[0; 8], [0x5A; 8]].concat();
        assert_eq!((journal.mark(3, &data), journal.mark(3, &torn)), (None, None));
        assert_eq!(journal.forget(3, &data), None);
        journal.recover(0, &[&[ERASED; 16][..], &torn, &DONE].concat());
        assert_eq!([0, 1, 2].map(|chunk| journal.has(chunk)), [false, false, true]);
        assert_eq!(Journal::capacity(&books), 424);
        assert!(Journal::new(&books, &descriptor(500_000)).is_none(), "no marks for so many");
    }

    #[test]
    fn any_bytes_are_a_journal_or_none() {
        let mut rng = crate::rng::Rng::new(5);
        for len in 0..600 {
            let bytes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            fuzz(&bytes);
        }
    }
}
