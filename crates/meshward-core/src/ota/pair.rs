//! Small records in two copies: the newer whole one counts.
//!
//! A record is written to the sector that holds the older copy, so a power cut while writing leaves the other
//! one whole. Record: magic, sequence, length, content filled up to words with 0xFF, CRC-32, filled up to what
//! any chip programs at once; little-endian.

use alloc::vec::Vec;

use crate::flash::{ERASED, FlashOp, Region, SECTOR, UNIT, WRITE_ALIGN};

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
/// Bytes before the content.
const HEAD: usize = 12;
/// The longest content, so that a record stays in its sector.
const CONTENT_MAX: usize = SECTOR as usize - HEAD - 4;

/// What a pair of sectors holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// 0 when there is no whole record.
    pub(crate) sequence: u32,
    /// Empty when there is no whole record.
    pub(crate) content: &'a [u8],
}

/// A record whose content, of `len` bytes, `fill` appends: in one piece of memory from the beginning.
fn encode(magic: [u8; 4], sequence: u32, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(
        (HEAD + len.next_multiple_of(WRITE_ALIGN as usize) + 4).next_multiple_of(UNIT as usize),
    );
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
    fill(&mut bytes);
    debug_assert_eq!(bytes.len(), HEAD + len, "the content is as long as it was said to be");
    bytes.resize(bytes.len().next_multiple_of(WRITE_ALIGN as usize), ERASED);
    let crc = CRC.checksum(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(UNIT as usize), ERASED);
    bytes
}

/// The record at the beginning of a sector, if it is whole.
pub(crate) fn decode(magic: [u8; 4], bytes: &[u8]) -> Option<Found<'_>> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let len = usize::try_from(word(8)?).ok().filter(|len| *len <= CONTENT_MAX)?;
    let end = HEAD + len.next_multiple_of(WRITE_ALIGN as usize);
    let whole = bytes.get(..4)? == magic && CRC.checksum(bytes.get(..end)?) == word(end)?;
    whole.then_some(Found { sequence: word(4)?, content: bytes.get(HEAD..HEAD + len)? })
}

/// The newer whole record of the two sectors' beginnings.
pub(crate) fn newest<'a>(magic: [u8; 4], first: &'a [u8], second: &'a [u8]) -> Found<'a> {
    let (first, second) =
        (decode(magic, first).unwrap_or_default(), decode(magic, second).unwrap_or_default());
    if second.sequence > first.sequence { second } else { first }
}

/// The commands that put the record with this sequence, one above the newest, where the older copy is. Its
/// content has `len` bytes, which `fill` appends.
pub(crate) fn write(
    regions: [Region; 2],
    magic: [u8; 4],
    sequence: u32,
    len: usize,
    fill: impl FnOnce(&mut Vec<u8>),
) -> [FlashOp; 2] {
    let [even, odd] = regions;
    let address = if sequence.is_multiple_of(2) { even.start } else { odd.start };
    [FlashOp::Erase { address }, FlashOp::Program { address, data: encode(magic, sequence, len, fill) }]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = *b"test";

    fn record(sequence: u32, content: &[u8]) -> Vec<u8> {
        encode(MAGIC, sequence, content.len(), |bytes| bytes.extend_from_slice(content))
    }

    #[test]
    fn a_record_notices_every_flipped_bit() {
        let mut bytes = record(7, b"content");
        assert_eq!(bytes.len(), 32);
        bytes.truncate(HEAD + 8 + 4);
        assert_eq!(decode(MAGIC, &bytes).unwrap().content, b"content");
        for bit in 0..bytes.len() * 8 {
            let mut torn = bytes.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            // The filling is covered too.
            assert_eq!(decode(MAGIC, &torn), None, "bit {bit}");
        }
        assert!((0..bytes.len()).all(|len| decode(MAGIC, &bytes[..len]).is_none()));
        assert_eq!(decode(*b"else", &bytes), None);
    }

    #[test]
    fn the_newer_whole_copy_counts() {
        let (old, new) = (record(7, b"old"), record(8, b"new"));
        assert_eq!(newest(MAGIC, &old, &new).content, b"new");
        assert_eq!(newest(MAGIC, &new, &old).content, b"new");
        assert_eq!(newest(MAGIC, &old, &new[..9]).content, b"old");
        assert_eq!(newest(MAGIC, &[], &[0xFF; 64]), Found::default());
    }
}
