//! Flash as IO: commands out, completions in.
//!
//! Machines that write flash say what they want ([`FlashOp`]) and are told how it went ([`Completion`]), one
//! command at a time. A shell executes them on a chip, in a file, or in a simulated array that may tear any
//! write. The rules are those of NOR flash: an erase sets a whole sector to 0xFF, a program can only clear
//! bits, and starts at a multiple of four bytes.

use alloc::vec::Vec;

/// Bytes in one erasable sector.
pub const SECTOR: u32 = 4096;
/// Programs start and end at multiples of this many bytes.
pub const WRITE_ALIGN: u32 = 4;
/// What a chip with flash encryption programs at once, in bytes. Machines fill their programs up to it, with
/// erased bytes, on every board.
pub const UNIT: u32 = 16;
/// The value of a byte after an erase.
pub const ERASED: u8 = 0xFF;

/// A command to the flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlashOp {
    /// Sets the sector at `address` (a multiple of [`SECTOR`]) to [`ERASED`].
    Erase {
        /// First byte of the sector.
        address: u32,
    },
    /// Clears bits from `address` on (a multiple of [`WRITE_ALIGN`], as is the length).
    Program {
        /// First byte to be written.
        address: u32,
        /// What to write.
        data: Vec<u8>,
    },
    /// Reads `len` bytes from `address`.
    Read {
        /// First byte to be read.
        address: u32,
        /// How many.
        len: u32,
    },
}

/// How a [`FlashOp`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion<'a> {
    /// The erase or program is done.
    Done,
    /// What was read.
    Data(&'a [u8]),
    /// The chip refused or failed.
    Failed,
}

/// Why an array refused a [`FlashOp`]: the caller broke the rules of NOR flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NorError {
    /// The address or length is outside the chip.
    OutOfRange,
    /// The address or length is not aligned.
    Misaligned,
    /// The program wants to set a bit that is cleared.
    NotErased,
}

/// Executes the rules of NOR flash on an array: the one model that files and simulators share.
///
/// # Errors
/// [`NorError`], and the array is unchanged.
pub fn program(cells: &mut [u8], address: u32, data: &[u8]) -> Result<(), NorError> {
    if !address.is_multiple_of(WRITE_ALIGN) || !data.len().is_multiple_of(WRITE_ALIGN as usize) {
        return Err(NorError::Misaligned);
    }
    let start = address as usize;
    let end = start.checked_add(data.len()).ok_or(NorError::OutOfRange)?;
    let target = cells.get_mut(start..end).ok_or(NorError::OutOfRange)?;
    if target.iter().zip(data).any(|(cell, byte)| cell & byte != *byte) {
        return Err(NorError::NotErased);
    }
    target.copy_from_slice(data);
    Ok(())
}

/// Erases the sector at `address` in an array.
///
/// # Errors
/// [`NorError`], and the array is unchanged.
pub fn erase(cells: &mut [u8], address: u32) -> Result<(), NorError> {
    if !address.is_multiple_of(SECTOR) {
        return Err(NorError::Misaligned);
    }
    let start = address as usize;
    let end = start.checked_add(SECTOR as usize).ok_or(NorError::OutOfRange)?;
    cells.get_mut(start..end).ok_or(NorError::OutOfRange)?.fill(ERASED);
    Ok(())
}

/// A run of whole sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte; a multiple of [`SECTOR`].
    pub start: u32,
    /// Length in bytes; a multiple of [`SECTOR`].
    pub len: u32,
}

/// Which of the two image slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The one that is not running.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Where things are on a board's flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of the whole chip.
    pub size: u32,
    /// The two image slots.
    pub slots: [Region; 2],
    /// Two sectors with copies of the boot record.
    pub boot: [Region; 2],
}

impl Layout {
    /// A 4 MB module as most ESP32 boards carry: boot records behind the partition table, then two slots of
    /// 1 920 KB each.
    pub const FOUR_MEGABYTES: Self = Self {
        size: 4 * 1024 * 1024,
        slots: [Region { start: 0x1_0000, len: 0x1E_0000 }, Region { start: 0x1F_0000, len: 0x1E_0000 }],
        boot: [Region { start: 0xD000, len: SECTOR }, Region { start: 0xE000, len: SECTOR }],
    };

    /// Where a slot is.
    pub const fn slot(&self, slot: Slot) -> Region {
        let [a, b] = self.slots;
        match slot {
            Slot::A => a,
            Slot::B => b,
        }
    }
}

/// How a journal says that a chunk is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// By a word of 4 bytes, whose bits are cleared as the chunk comes and goes.
    Words,
    /// By a unit of 16 bytes, programmed once: for flash encryption, where a unit that was programmed takes
    /// nothing else, and one that was torn reads as anything. The shell reads an erased unit as [`ERASED`].
    Units,
}

impl Marks {
    /// Bytes of a mark.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Words => 4,
            Self::Units => UNIT,
        }
    }
}

/// Where a Meshward receiver keeps its books: beside the [`Layout`], because a board that only takes stock
/// updates needs none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    /// The staging journal: what is received and which chunks are there; and the payload's block table.
    pub journal: [Region; 2],
    /// What the journal's marks are like.
    pub marks: Marks,
    /// Two sectors with copies of the trial's record.
    pub trial: [Region; 2],
    /// Two sectors with copies of what the node remembers: keys, counters, wishes.
    pub memory: [Region; 2],
}

impl Books {
    /// Behind the slots of [`Layout::FOUR_MEGABYTES`]: room for 1 696 chunks and 512 blocks, which is as much
    /// payload as a slot holds.
    pub const FOUR_MEGABYTES: Self = Self {
        journal: [Region { start: 0x3D_0000, len: 2 * SECTOR }, Region { start: 0x3D_2000, len: 2 * SECTOR }],
        marks: Marks::Words,
        trial: [Region { start: 0x3D_4000, len: SECTOR }, Region { start: 0x3D_5000, len: SECTOR }],
        memory: [Region { start: 0x3D_6000, len: SECTOR }, Region { start: 0x3D_7000, len: SECTOR }],
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nor_rules() {
        let mut cells = [0u8; 8192];
        assert_eq!(program(&mut cells, 0, &[1, 0, 0, 0]), Err(NorError::NotErased));
        assert_eq!(erase(&mut cells, 2), Err(NorError::Misaligned));
        assert_eq!(erase(&mut cells, 0), Ok(()));
        assert_eq!(program(&mut cells, 2, &[0; 4]), Err(NorError::Misaligned));
        assert_eq!(program(&mut cells, 0, &[0xF0; 4]), Ok(()));
        assert_eq!(program(&mut cells, 0, &[0x10; 4]), Ok(()), "clearing more bits is allowed");
        assert_eq!(program(&mut cells, 0, &[0x0F; 4]), Err(NorError::NotErased));
        assert_eq!(program(&mut cells, 8192, &[0; 4]), Err(NorError::OutOfRange));
        assert_eq!(erase(&mut cells, 8192), Err(NorError::OutOfRange));
    }

    #[test]
    fn the_layout_does_not_overlap() {
        let layout = Layout::FOUR_MEGABYTES;
        let books = Books::FOUR_MEGABYTES;
        let mut regions = [layout.boot, layout.slots, books.journal, books.trial, books.memory].concat();
        regions.sort_by_key(|region| region.start);
        assert!(regions.windows(2).all(|pair| pair[0].start + pair[0].len <= pair[1].start));
        assert!(regions.iter().all(|region| region.start + region.len <= layout.size));
    }
}
