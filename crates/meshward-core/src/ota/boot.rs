//! What the boot loader starts: two copies of a small record, the newer valid one counts.
//!
//! A record is written to the sector that holds the older copy, so a power cut while writing leaves the other
//! one whole.

use alloc::vec::Vec;

use super::Md5Sum;
use crate::flash::{ERASED, FlashOp, Layout, Slot, UNIT};

/// First bytes of a record.
const MAGIC: [u8; 4] = *b"MWb1";
/// Bytes of a record on flash.
const LEN: usize = 36;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Which image to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// Rises by one with every record written.
    pub sequence: u32,
    /// Where the image is.
    pub slot: Slot,
    /// Its length in bytes.
    pub size: u32,
    /// Its MD5.
    pub md5: Md5Sum,
}

impl BootRecord {
    /// Bytes to be read from the start of each boot sector.
    pub const LEN: u32 = LEN as u32;

    /// The record as it stands on flash: magic, sequence, slot, size, MD5, CRC-32; little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let slot: u32 = match self.slot {
            Slot::A => 0,
            Slot::B => 1,
        };
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&MAGIC);
        for field in [self.sequence, slot, self.size] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.md5.0);
        let crc = CRC.checksum(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a record; `None` for an erased, torn or foreign one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.get(..LEN)?.split_at(LEN - 4);
        let word = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        if body.get(..4)? != MAGIC || CRC.checksum(body).to_le_bytes() != crc {
            return None;
        }
        let slot = match word(8)? {
            0 => Slot::A,
            1 => Slot::B,
            _ => return None,
        };
        let md5 = Md5Sum(body.get(16..32)?.try_into().ok()?);
        Some(Self { sequence: word(4)?, slot, size: word(12)?, md5 })
    }

    /// What counts, given the beginnings of both boot sectors.
    pub fn newest(first: &[u8], second: &[u8]) -> Option<Self> {
        match (Self::decode(first), Self::decode(second)) {
            (Some(a), Some(b)) => Some(if b.sequence > a.sequence { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// The commands that put `record` into the sector of the older copy.
pub fn write_record(layout: &Layout, record: &BootRecord) -> [FlashOp; 2] {
    let [even, odd] = layout.boot;
    let address = if record.sequence.is_multiple_of(2) { even.start } else { odd.start };
    let mut data = record.encode();
    data.resize(data.len().next_multiple_of(UNIT as usize), ERASED);
    [FlashOp::Erase { address }, FlashOp::Program { address, data }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u32) -> BootRecord {
        BootRecord { sequence, slot: Slot::B, size: 5_120, md5: Md5Sum::of(b"image") }
    }

    #[test]
    fn survives_flash_and_notices_every_flipped_bit() {
        let bytes = record(7).encode();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(BootRecord::decode(&bytes), Some(record(7)));
        for bit in 0..bytes.len() * 8 {
            let mut torn = bytes.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BootRecord::decode(&torn), None, "bit {bit}");
        }
        assert_eq!(BootRecord::decode(&bytes[..35]), None);
        assert_eq!(BootRecord::decode(&[0xFF; 36]), None);
    }

    #[test]
    fn the_newer_copy_counts_and_a_torn_one_does_not() {
        let (old, new) = (record(7).encode(), record(8).encode());
        assert_eq!(BootRecord::newest(&new, &old), Some(record(8)));
        assert_eq!(BootRecord::newest(&old, &new), Some(record(8)));
        assert_eq!(BootRecord::newest(&new[..20], &old), Some(record(7)));
        assert_eq!(BootRecord::newest(&[], &[0xFF; 64]), None);
    }
}
