//! The MD5 by which stock nodes know an image.

use core::fmt;

use md5::{Digest as _, Md5};

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
        if text.len() != 32 {
            return None;
        }
        let mut sum = [0; 16];
        for (byte, pair) in sum.iter_mut().zip(text.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16)?;
                *byte = (*byte << 4) | value as u8;
            }
        }
        Some(Self(sum))
    }
}

impl fmt::Display for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Md5Sum {
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
    }
}
