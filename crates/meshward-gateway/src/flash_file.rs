//! A flash chip in a file, byte for byte as a dump of a chip would be, with the rules of NOR flash.
//!
//! Writes go to the operating system at once; a killed process loses nothing, a host that loses power may.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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

/// A flash chip in a file.
#[derive(Debug)]
pub struct FlashFile {
    file: File,
    size: u32,
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
        Ok(Self { file, size })
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
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, u64::from(address))?;
        Ok(bytes)
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
        self.file.write_all_at(&cells, u64::from(address))?;
        Ok(Vec::new())
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
}
