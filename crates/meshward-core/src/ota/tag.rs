//! Short names: of a payload under way, and of an image.

use core::fmt;

use crate::hash::Sha256Sum;

/// Names a payload among those that are under way: the first four bytes of the SHA-256 of its signed descriptor.
/// Nothing is believed because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

impl Tag {
    /// The tag of a signed descriptor.
    pub fn of(descriptor: &[u8]) -> Self {
        let [a, b, c, d, ..] = Sha256Sum::of(descriptor).0;
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The first eight bytes of an image's SHA-256: enough to say which image a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageId(pub [u8; 8]);

impl From<Sha256Sum> for ImageId {
    fn from(sum: Sha256Sum) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sum.0;
        Self([a, b, c, d, e, f, g, h])
    }
}
