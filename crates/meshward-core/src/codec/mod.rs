//! What payloads are packed with, undone in a few kilobytes of memory.
//!
//! A payload is an image, or what turns one image into the next (a *patch*), packed with a [`Codec`].
//! [`Unpacker`] is all that an installer needs: it asks for payload bytes, for bytes of the running image and
//! for pages to be written, and sums the image on the way. Its parts stand alone: [`Decoder`] undoes a codec,
//! [`Patch`] applies a patch.
//!
//! Everything here is fed in pieces of any size, stops in the middle of anything, and bounds its output by the
//! sizes that were said at the beginning, which come from a signed descriptor. A stream that breaks its own
//! rules is refused with a [`CodecError`]; what came out before that is garbage, as its sums will show.
//!
//! Arithmetic on what the stream says is checked; where a mask or an earlier check bounds it, it is written
//! as wrapping, so that no input can panic.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod decoder;
#[doc(hidden)]
pub mod fuzzing;
mod heatshrink;
mod lzma;
mod patch;
pub mod seal;
mod unpack;

use core::fmt;

pub use decoder::Decoder;
pub use heatshrink::Heatshrink;
pub use lzma::Lzma;
pub use patch::{Lent, Patch, PatchNeeds};
pub use seal::PayloadKey;
pub use unpack::{Need, PAGE, Page, Recipe, Unpacker};

/// How a payload is packed. The number is the one in descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// Not at all: number 0.
    None,
    /// heatshrink with a window of 2 KB and 3-bit lengths: number 1.
    Heatshrink,
    /// A raw LZMA1 stream with lc=0, lp=0, pb=0 and a dictionary of 4 KB: number 2.
    Lzma,
}

impl Codec {
    /// All of them, by number.
    pub const ALL: [Self; 3] = [Self::None, Self::Heatshrink, Self::Lzma];

    /// Its number in descriptors.
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Heatshrink => 1,
            Self::Lzma => 2,
        }
    }

    /// The codec with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Heatshrink),
            2 => Some(Self::Lzma),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Heatshrink => "heatshrink",
            Self::Lzma => "lzma",
        })
    }
}

/// How long a stream is, packed and unpacked, in bytes. Both are said before it begins, and bound it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// As it travels.
    pub packed: u32,
    /// What comes out.
    pub plain: u32,
}

/// How far one call has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes taken from the input. The rest has to be given again, with more behind it.
    pub read: usize,
    /// Bytes put into the output.
    pub written: usize,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The sizes contradict each other.
    Sizes,
    /// It ends before the output is complete.
    Truncated,
    /// It goes on after the output is complete.
    Trailing,
    /// It makes more output than was said.
    TooLong,
    /// It copies from before the output's beginning, or from further back than the window reaches.
    Distance,
    /// It reads outside the base image.
    OutsideBase,
    /// It has something that no encoder writes.
    Malformed,
    /// A sealed block is not what its tag says.
    Seal,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sizes => "the payload's sizes contradict each other",
            Self::Truncated => "the stream ends before its output is complete",
            Self::Trailing => "the stream goes on after its output is complete",
            Self::TooLong => "the stream makes more output than was announced",
            Self::Distance => "the stream copies from where nothing is",
            Self::OutsideBase => "the patch reads outside the base image",
            Self::Malformed => "the stream has something that no encoder writes",
            Self::Seal => "a sealed block does not open: it was changed, or sealed with another key or for another payload",
        })
    }
}

impl core::error::Error for CodecError {}
