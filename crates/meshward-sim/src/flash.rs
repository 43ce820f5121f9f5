//! A NOR flash chip: erase before write, wear, torn writes, flipped bits.
//!
//! Sectors are shared copy-on-write, so 500 nodes with the same image on 4 MB chips cost one image. The
//! rules are those of [`meshward_core::flash`]; what breaks them is refused, and the chip is unchanged. How
//! long a command takes is told by [`duration`]; the world completes it that much later, and may cut the
//! power before ([`Chip::tear`]).

use std::sync::Arc;

use meshward_core::flash::{self, ERASED, FlashOp, NorError, SECTOR};
use meshward_core::rng::Rng;
use meshward_core::time::Duration;

/// The cells of one sector.
pub type Sector = [u8; SECTOR as usize];

/// One sector erase of a common 4 MB chip.
const ERASE: Duration = Duration::from_millis(45);
/// One page program.
const PROGRAM_PAGE: Duration = Duration::from_micros(700);
/// Bytes in one page.
const PAGE: u32 = 256;
/// Reading goes at 20 MB/s.
const READ_BYTES_PER_MICRO: u64 = 20;

/// How long a command keeps the chip busy.
pub fn duration(op: &FlashOp) -> Duration {
    match op {
        FlashOp::Erase { .. } => ERASE,
        FlashOp::Program { address, data } => {
            let end = address + data.len() as u32;
            let pages = end.div_ceil(PAGE) - address / PAGE;
            PROGRAM_PAGE.saturating_mul(u64::from(pages))
        }
        FlashOp::Read { len, .. } => Duration::from_micros(1 + u64::from(*len) / READ_BYTES_PER_MICRO),
    }
}

/// Cuts `bytes` into sectors, the last one filled up with erased cells.
pub fn sectors(bytes: &[u8]) -> Vec<Arc<Sector>> {
    let fill = |chunk: &[u8]| {
        let mut sector = [ERASED; SECTOR as usize];
        sector[..chunk.len()].copy_from_slice(chunk);
        Arc::new(sector)
    };
    bytes.chunks(SECTOR as usize).map(fill).collect()
}

/// A chip. A clone shares every sector with its original until one of them writes.
#[derive(Clone, Debug)]
pub struct Chip {
    /// `None` is an erased sector.
    sectors: Vec<Option<Arc<Sector>>>,
    /// Erases per sector.
    wear: Vec<u32>,
    /// Bytes programmed so far.
    programmed: u64,
}

impl Chip {
    /// An erased chip of `size` bytes.
    pub fn erased(size: u32) -> Self {
        let count = size.div_ceil(SECTOR) as usize;
        Self { sectors: vec![None; count], wear: vec![0; count], programmed: 0 }
    }

    /// Bytes that the chip holds.
    pub fn size(&self) -> u32 {
        self.sectors.len() as u32 * SECTOR
    }

    /// Sets whole sectors from `address` on, as a factory does: no wear, no time.
    pub fn place(&mut self, address: u32, content: &[Arc<Sector>]) {
        let first = (address / SECTOR) as usize;
        for (cell, sector) in self.sectors.iter_mut().skip(first).zip(content) {
            *cell = Some(Arc::clone(sector));
        }
    }

    /// Whether whole sectors from `address` on are these, and nobody has written them since [`Chip::place`].
    pub fn shares(&self, address: u32, content: &[Arc<Sector>]) -> bool {
        let here = self.sectors.iter().skip((address / SECTOR) as usize).take(content.len());
        here.len() == content.len()
            && here
                .zip(content)
                .all(|(cell, sector)| cell.as_ref().is_some_and(|cell| Arc::ptr_eq(cell, sector)))
    }

    /// Reads `len` bytes from `address`.
    ///
    /// # Errors
    /// [`NorError::OutOfRange`].
    pub fn read(&self, address: u32, len: u32) -> Result<Vec<u8>, NorError> {
        let end = address.checked_add(len).filter(|end| *end <= self.size()).ok_or(NorError::OutOfRange)?;
        let mut bytes = Vec::with_capacity(len as usize);
        let mut at = address;
        while at < end {
            let (sector, offset) = (at / SECTOR, (at % SECTOR) as usize);
            let count = (SECTOR - at % SECTOR).min(end - at);
            match &self.sectors[sector as usize] {
                Some(cells) => bytes.extend_from_slice(&cells[offset..offset + count as usize]),
                None => bytes.resize(bytes.len() + count as usize, ERASED),
            }
            at += count;
        }
        Ok(bytes)
    }

    /// Executes a command; what a read found, empty for the others.
    ///
    /// # Errors
    /// [`NorError`] when the command breaks the rules of NOR flash; the chip is unchanged.
    pub fn execute(&mut self, op: &FlashOp) -> Result<Vec<u8>, NorError> {
        match op {
            FlashOp::Read { address, len } => return self.read(*address, *len),
            FlashOp::Erase { address } if !address.is_multiple_of(SECTOR) => {
                return Err(NorError::Misaligned);
            }
            FlashOp::Erase { address } => {
                let index = (address / SECTOR) as usize;
                *self.sectors.get_mut(index).ok_or(NorError::OutOfRange)? = None;
                self.wear[index] += 1;
            }
            FlashOp::Program { address, data } => self.program(*address, data)?,
        }
        Ok(Vec::new())
    }

    fn program(&mut self, address: u32, data: &[u8]) -> Result<(), NorError> {
        let end = address.checked_add(data.len() as u32).filter(|end| *end <= self.size());
        let end = end.ok_or(NorError::OutOfRange)?;
        // The rules are checked on a copy first, so that a refused command changes nothing.
        let mut cells = self.read(address, end - address)?;
        if !address.is_multiple_of(flash::WRITE_ALIGN) {
            return Err(NorError::Misaligned);
        }
        flash::program(&mut cells, 0, data)?;
        self.programmed += u64::from(end - address);
        self.write(address, &cells);
        Ok(())
    }

    /// Sets cells without any rule.
    fn write(&mut self, address: u32, bytes: &[u8]) {
        let mut at = address as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (sector, offset) = (at / SECTOR as usize, at % SECTOR as usize);
            let (now, later) = rest.split_at(rest.len().min(SECTOR as usize - offset));
            let erased = || Arc::new([ERASED; SECTOR as usize]);
            let cells = Arc::make_mut(self.sectors[sector].get_or_insert_with(erased));
            cells[offset..offset + now.len()].copy_from_slice(now);
            at += now.len();
            rest = later;
        }
    }

    /// What is left of a command when the power goes while it runs: a part of it, and at the edge anything
    /// between before and after.
    pub fn tear(&mut self, op: &FlashOp, rng: &mut Rng) {
        let (address, after) = match op {
            FlashOp::Read { .. } => return,
            FlashOp::Erase { address } => (*address, vec![ERASED; SECTOR as usize]),
            FlashOp::Program { address, data } => (*address, data.clone()),
        };
        let Ok(before) = self.read(address, after.len() as u32) else { return };
        let done = rng.below(after.len() as u64 + 1) as usize;
        let torn = before.iter().zip(&after).enumerate().map(|(index, (old, new))| {
            let changed = if index < done { 0xFF } else { (index == done) as u8 * rng.next_u64() as u8 };
            (old & !changed) | (new & changed)
        });
        let torn: Vec<u8> = torn.collect();
        self.write(address, &torn);
        if matches!(op, FlashOp::Erase { .. }) {
            self.wear[(address / SECTOR) as usize] += 1;
        }
    }

    /// Turns one bit over.
    pub fn flip(&mut self, address: u32, bit: u8) {
        if let Ok(cell) = self.read(address, 1) {
            self.write(address, &[cell[0] ^ (1 << (bit % 8))]);
        }
    }

    /// Whether both hold the same bytes, however they came there.
    pub fn holds_the_same(&self, other: &Self) -> bool {
        let pairs = self.sectors.iter().zip(&other.sectors);
        self.sectors.len() == other.sectors.len()
            && pairs.into_iter().all(|pair| match pair {
                (Some(one), Some(two)) => Arc::ptr_eq(one, two) || one == two,
                (None, None) => true,
                (Some(cells), None) | (None, Some(cells)) => cells.iter().all(|cell| *cell == ERASED),
            })
    }

    /// The most erases that any sector has seen.
    pub fn wear_max(&self) -> u32 {
        self.wear.iter().copied().max().unwrap_or(0)
    }

    /// Bytes programmed since the factory.
    pub fn programmed(&self) -> u64 {
        self.programmed
    }

    /// Sectors that no other chip shares.
    pub fn own_sectors(&self) -> usize {
        self.sectors.iter().flatten().filter(|sector| Arc::strong_count(sector) == 1).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(address: u32, data: &[u8]) -> FlashOp {
        FlashOp::Program { address, data: data.to_vec() }
    }

    #[test]
    fn a_chip_keeps_the_rules_of_nor_flash() {
        let mut chip = Chip::erased(64 * 1024);
        assert_eq!(chip.execute(&program(4094 - 2, b"abcdefgh")), Ok(vec![]), "over a sector's edge");
        assert_eq!(chip.read(4092, 8).unwrap(), b"abcdefgh");
        assert_eq!(chip.execute(&program(4092, b"zzzz")), Err(NorError::NotErased));
        assert_eq!(chip.execute(&program(2, b"abcd")), Err(NorError::Misaligned));
        assert_eq!(chip.execute(&program(65_532, b"abcdefgh")), Err(NorError::OutOfRange));
        assert_eq!(chip.execute(&FlashOp::Erase { address: 4 }), Err(NorError::Misaligned));
        assert_eq!(chip.execute(&FlashOp::Erase { address: 65_536 }), Err(NorError::OutOfRange));
        chip.execute(&FlashOp::Erase { address: 4096 }).unwrap();
        assert_eq!(chip.read(4092, 8).unwrap(), b"abcd\xFF\xFF\xFF\xFF");
        assert_eq!((chip.wear_max(), chip.programmed()), (1, 8));
    }

    #[test]
    fn clones_share_until_they_write() {
        let mut first = Chip::erased(64 * 1024);
        first.place(0, &sectors(&[7; 10_000]));
        let mut second = first.clone();
        assert_eq!((first.own_sectors(), second.own_sectors()), (0, 0));
        second.flip(5_000, 1);
        assert_eq!((first.read(5_000, 1).unwrap(), second.read(5_000, 1).unwrap()), (vec![7], vec![5]));
        assert_eq!(second.own_sectors(), 1);
        assert!(!first.holds_the_same(&second));
        second.flip(5_000, 1);
        assert!(first.holds_the_same(&second) && second.own_sectors() == 1);
        second.write(20_000, &[ERASED; 8]);
        assert!(first.holds_the_same(&second) && second.holds_the_same(&first), "erased is erased");
    }

    #[test]
    fn commands_take_the_time_of_the_data_sheet() {
        for (op, micros) in [
            (FlashOp::Erase { address: 0 }, 45_000),
            (program(0, &[0; 256]), 700),
            (program(252, &[0; 8]), 1_400),
            (program(0, &[0; 1024]), 2_800),
            (FlashOp::Read { address: 0, len: 4096 }, 205),
        ] {
            assert_eq!(duration(&op).as_micros(), micros, "{op:?}");
        }
    }

    #[test]
    fn a_torn_write_is_between_before_and_after() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut chip = Chip::erased(8192);
            chip.execute(&program(0, &[0x0F; 64])).unwrap();
            chip.tear(&program(0, &[0x05; 64]), &mut rng);
            let cells = chip.read(0, 64).unwrap();
            let edge = cells.iter().take_while(|cell| **cell == 0x05).count();
            assert!(cells[edge..].iter().skip(1).all(|cell| *cell == 0x0F), "{cells:?}");
            assert!(cells.iter().all(|cell| cell & 0x05 == 0x05 && cell & 0xF0 == 0), "{cells:?}");
            chip.tear(&FlashOp::Erase { address: 0 }, &mut rng);
            assert!(chip.read(64, 100).unwrap().iter().all(|cell| *cell == 0xFF));
        }
    }
}
