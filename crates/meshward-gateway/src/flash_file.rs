//! A flash chip in a file, byte for byte as a dump of a chip would be, with the rules of NOR flash.
//!
//! Writes go to the operating system at once; a killed process loses nothing, a host that loses power may. A node reads
//! some hundred bytes at a time, as a small chip must: for one that runs the few sectors that it is at are remembered, so
//! that not each of its reads is a call of the operating system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use meshward_core::flash::{self, ERASED, FlashOp, NorError, SECTOR};
use thiserror::Error;

/// Why a flash file could not be used.
#[derive(Debug, Error)]
pub enum FlashError {
    /// The file could not be opened or made.
    #[error("cannot open the flash file {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there and is no chip of this board.
    #[error("the flash file {path} has {found} bytes; this board's chip has {expected}")]
    Size {
        /// Which.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// What would be right.
        expected: u64,
    },
    /// Reading or writing failed.
    #[error("cannot access the flash file")]
    Io(#[from] io::Error),
    /// A command broke the rules of NOR flash.
    #[error("a flash command broke the rules of NOR flash: {0:?}")]
    Nor(NorError),
}

/// Sectors that are remembered: an update reads a payload and the image before, and writes the new one.
const SECTORS_MAX: usize = 3;

/// Sectors as they are in the file, each with its address, the one that was used last first.
type Sectors = Vec<(u32, Vec<u8>)>;

/// A flash chip in a file.
#[derive(Debug)]
pub struct FlashFile {
    file: File,
    size: u32,
    /// If they are remembered.
    sectors: Option<Mutex<Sectors>>,
}

impl FlashFile {
    /// Opens the chip of `size` bytes at `path`; a new file is an erased chip.
    ///
    /// # Errors
    /// [`FlashError`] when the file cannot be used or is of another size.
    pub fn open(path: &Path, size: u32) -> Result<Self, FlashError> {
        let open = |source| FlashError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(open)?;
        let found = file.metadata().map_err(open)?.len();
        if found == 0 {
            let erased = vec![ERASED; SECTOR as usize * 16];
            let mut at = 0;
            while at < u64::from(size) {
                let len = (u64::from(size) - at).min(erased.len() as u64);
                file.write_all_at(erased.get(..len as usize).unwrap_or_default(), at)?;
                at += len;
            }
        } else if found != u64::from(size) {
            return Err(FlashError::Size { path: path.to_owned(), found, expected: u64::from(size) });
        }
        Ok(Self { file, size, sectors: None })
    }

    /// For a node that runs: as nobody else writes the file meanwhile, the sectors that it is at are remembered.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { sectors: Some(Mutex::default()), ..self }
    }

    /// Executes a command; what a read found, empty for the others.
    ///
    /// # Errors
    /// [`FlashError`], and the chip is unchanged.
    pub fn execute(&self, op: &FlashOp) -> Result<Vec<u8>, FlashError> {
        match op {
            FlashOp::Erase { address } => self.change(*address, SECTOR, |cells| flash::erase(cells, 0)),
            FlashOp::Program { address, data } => {
                self.change(*address, data.len() as u32, |cells| flash::program(cells, 0, data))
            }
            FlashOp::Read { address, len } => self.read(*address, *len),
        }
    }

    /// Reads `len` bytes from `address`.
    ///
    /// # Errors
    /// [`FlashError`] when that is outside the chip or the file cannot be read.
    pub fn read(&self, address: u32, len: u32) -> Result<Vec<u8>, FlashError> {
        if address.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(FlashError::Nor(NorError::OutOfRange));
        }
        if let Some(bytes) = self.within(address, len, |cells| cells.to_vec())? {
            return Ok(bytes);
        }
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, u64::from(address))?;
        Ok(bytes)
    }

    /// What `look` makes of `len` bytes at `address`; `None` where they are not in one sector, or nothing is remembered.
    fn within<T>(
        &self,
        address: u32,
        len: u32,
        look: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<Option<T>, FlashError> {
        let Some(sectors) = &self.sectors else { return Ok(None) };
        let offset = (address % SECTOR) as usize;
        let start = address - address % SECTOR;
        if offset + len as usize > SECTOR as usize
            || start.checked_add(SECTOR).is_none_or(|end| end > self.size)
        {
            return Ok(None);
        }
        // Whoever panicked while it held this changed nothing by halves.
        let mut sectors = sectors.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sectors.iter().position(|(known, _)| *known == start);
        let sector = match known {
            Some(place) => sectors.remove(place),
            None => {
                sectors.truncate(SECTORS_MAX - 1);
                let mut cells = vec![0; SECTOR as usize];
                self.file.read_exact_at(&mut cells, u64::from(start))?;
                (start, cells)
            }
        };
        sectors.insert(0, sector);
        let cells = sectors.first_mut().and_then(|(_, cells)| cells.get_mut(offset..offset + len as usize));
        Ok(cells.map(look))
    }

    fn change(
        &self,
        address: u32,
        len: u32,
        act: impl FnOnce(&mut [u8]) -> Result<(), NorError>,
    ) -> Result<Vec<u8>, FlashError> {
        let unit = if len == SECTOR { SECTOR } else { flash::WRITE_ALIGN };
        if !address.is_multiple_of(unit) {
            return Err(FlashError::Nor(NorError::Misaligned));
        }
        let mut cells = self.read(address, len)?;
        act(&mut cells).map_err(FlashError::Nor)?;
        if let Err(error) = self.file.write_all_at(&cells, u64::from(address)) {
            // Nobody knows how much of it was written.
            self.forget();
            return Err(error.into());
        }
        if self.within(address, len, |known| known.copy_from_slice(&cells))?.is_none() {
            self.forget();
        }
        Ok(Vec::new())
    }

    fn forget(&self) {
        if let Some(sectors) = &self.sectors {
            sectors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_keeps_the_rules_and_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        let chip = FlashFile::open(&path, 64 * 1024).unwrap();
        assert_eq!(chip.read(0, 8).unwrap(), [0xFF; 8]);
        let program = |address, data: &[u8]| FlashOp::Program { address, data: data.to_vec() };
        chip.execute(&program(8, b"abcd")).unwrap();
        assert!(matches!(chip.execute(&program(8, b"zzzz")), Err(FlashError::Nor(NorError::NotErased))));
        assert!(matches!(chip.execute(&program(9, b"abcd")), Err(FlashError::Nor(NorError::Misaligned))));
        assert!(chip.execute(&program(64 * 1024, b"abcd")).is_err());
        assert!(chip.execute(&FlashOp::Erase { address: 4 }).is_err());
        drop(chip);
        let chip = FlashFile::open(&path, 64 * 1024).unwrap();
        assert_eq!(chip.execute(&FlashOp::Read { address: 8, len: 4 }).unwrap(), b"abcd");
        chip.execute(&FlashOp::Erase { address: 0 }).unwrap();
        assert_eq!(chip.read(8, 4).unwrap(), [0xFF; 4]);
        let error = FlashFile::open(&path, 128 * 1024).unwrap_err().to_string();
        assert!(error.contains("65536") && error.contains("131072"), "{error}");
    }

    #[test]
    fn what_is_remembered_is_what_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flash.bin");
        let size = 16 * SECTOR;
        let chip = FlashFile::open(&path, size).unwrap().remembering();
        let watcher = FlashFile::open(&path, size).unwrap();
        let mut expected = vec![ERASED; size as usize];
        let mut rng = meshward_core::rng::Rng::new(3);
        for step in 0..4_000_u32 {
            let address = (rng.next_u64() % u64::from(size)) as u32 / 4 * 4;
            let len = ((rng.next_u64() % 6_000) as u32 / 4 * 4).min(size - address);
            let op = match step % 3 {
                0 => FlashOp::Erase { address: address / SECTOR * SECTOR },
                1 => FlashOp::Program {
                    address,
                    data: vec![rng.next_u64() as u8; len.min(300) as usize / 4 * 4],
                },
                _ => FlashOp::Read { address, len },
            };
            let found = chip.execute(&op);
            let (cells, at) = (&mut expected[..], address as usize);
            match &op {
                FlashOp::Erase { address } => flash::erase(cells, *address).unwrap(),
                FlashOp::Program { data, .. } => {
                    assert_eq!(found.is_ok(), flash::program(cells, address, data).is_ok(), "step {step}");
                }
                FlashOp::Read { .. } => {
                    let cells = &cells[at..at + len as usize];
                    assert_eq!(found.unwrap(), cells, "step {step}");
                    assert_eq!(watcher.read(address, len).unwrap(), cells, "step {step}");
                }
            }
        }
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        assert!(chip.sectors.unwrap().lock().unwrap().len() <= SECTORS_MAX);
    }
}
