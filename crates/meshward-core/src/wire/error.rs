//! Why a package could not be decoded: which field, and what should have been there.
//!
//! A frame that gets here was readable JSON; [`Refusal`](super::Refusal) is for those that were not.

use core::fmt;

/// A package that is not what its type promises. The receiver drops it; nothing is half decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The field at fault, as it is spelt on the wire.
    pub field: &'static str,
    /// What should have been there, to follow the word "expected".
    pub expected: &'static str,
}

impl DecodeError {
    /// A tree has more nodes than the caller allows.
    pub const TOO_MANY_NODES: Self = Self::new("subs", "fewer nodes");

    /// The error for `field`, which should have been `expected`.
    pub const fn new(field: &'static str, expected: &'static str) -> Self {
        Self { field, expected }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field `{}`: expected {}", self.field, self.expected)
    }
}

impl core::error::Error for DecodeError {}
