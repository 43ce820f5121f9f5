//! The two sums by which an image is known: SHA-256 to Meshward, MD5 to stock nodes.

use core::fmt;

use md5::{Digest as _, Md5};
use sha2::Sha256;

/// An MD5 sum. It names an image and finds accidents; it proves nothing about who made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5Sum(pub [u8; 16]);

impl Md5Sum {
    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Md5::digest(bytes).into())
    }

    /// Reads 32 hexadecimal digits, in either case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

/// A SHA-256 sum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Sum(pub [u8; 32]);

impl Sha256Sum {
    /// The sum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits, in either case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

/// Bytes of a payload that are hashed, and found wrong, together: a sector of flash.
pub const BLOCK: usize = 4096;

/// The first half of a block's SHA-256: 128 bits, which nobody finds a second block for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub [u8; BlockHash::LEN]);

impl BlockHash {
    /// Bytes of one in a block table.
    pub const LEN: usize = 16;

    /// The hash of one block, up to [`BLOCK`] bytes.
    pub fn of(block: &[u8]) -> Self {
        let mut half = [0; Self::LEN];
        half.iter_mut().zip(Sha256Sum::of(block).0).for_each(|(to, from)| *to = from);
        Self(half)
    }
}

/// Both sums of one run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// What Meshward compares.
    pub sha256: Sha256Sum,
    /// What stock nodes and boot records compare.
    pub md5: Md5Sum,
}

/// Takes both sums of bytes that come in pieces. About 250 bytes of state.
#[derive(Clone, Debug, Default)]
pub struct Summing {
    sha256: Sha256,
    md5: Md5,
}

impl Summing {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.update(bytes);
    }

    /// The sums of all of them. Afterwards it is as new.
    pub fn finish(&mut self) -> Sums {
        Sums {
            sha256: Sha256Sum(self.sha256.finalize_reset().into()),
            md5: Md5Sum(self.md5.finalize_reset().into()),
        }
    }
}

/// `N` bytes from twice as many hexadecimal digits.
fn parse_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N.checked_mul(2)? {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | value as u8;
        }
    }
    Some(bytes)
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_and_back() {
        let sum = Md5Sum::of(b"abc");
        assert_eq!(sum.to_string(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(Md5Sum::parse(b"900150983CD24FB0D6963F7D28E17F72"), Some(sum));
        for bad in [&b""[..], b"900150983cd24fb0d6963f7d28e17f7", b"x00150983cd24fb0d6963f7d28e17f72"] {
            assert_eq!(Md5Sum::parse(bad), None);
        }
        let sum = Sha256Sum::of(b"abc");
        assert_eq!(sum.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Sha256Sum::parse(sum.to_string().as_bytes()), Some(sum));
        assert_eq!(BlockHash::of(b"abc").0, sum.0[..16]);
    }

    #[test]
    fn pieces_sum_to_the_whole() {
        let mut summing = Summing::default();
        for piece in [&b"a"[..], b"", b"bc"] {
            summing.update(piece);
        }
        let sums = Sums { sha256: Sha256Sum::of(b"abc"), md5: Md5Sum::of(b"abc") };
        assert_eq!(summing.finish(), sums);
        assert_eq!(summing.finish().md5, Md5Sum::of(b""), "as new");
    }
}
