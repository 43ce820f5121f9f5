//! A codec undone, whichever it is.

use super::{Codec, CodecError, Heatshrink, Lzma, Sizes, Step};

/// The decoder of one stream. A [`Codec`] says which; all have the same manners.
#[derive(Debug)]
pub enum Decoder {
    /// Bytes as they are.
    None {
        /// How many have still to come.
        left: u32,
    },
    /// About 2.2 KB of state.
    Heatshrink(Heatshrink),
    /// About 7.7 KB of state.
    Lzma(Lzma),
}

impl Decoder {
    /// A decoder of one stream of these sizes.
    ///
    /// # Errors
    /// [`CodecError::Sizes`] when no stream of that codec can have them.
    pub fn new(codec: Codec, sizes: Sizes) -> Result<Self, CodecError> {
        match codec {
            Codec::None if sizes.packed == sizes.plain => Ok(Self::None { left: sizes.plain }),
            Codec::None => Err(CodecError::Sizes),
            Codec::Heatshrink => Ok(Self::Heatshrink(Heatshrink::new(sizes))),
            Codec::Lzma => Ok(Self::Lzma(Lzma::new(sizes))),
        }
    }

    /// Whether all output has been made and the stream has ended as it should.
    pub fn is_done(&self) -> bool {
        match self {
            Self::None { left } => *left == 0,
            Self::Heatshrink(decoder) => decoder.is_done(),
            Self::Lzma(decoder) => decoder.is_done(),
        }
    }

    /// Decodes as far as `input` and the room in `output` allow. It takes all of `input` unless the output is
    /// full, and nothing beyond the stream's announced end.
    ///
    /// # Errors
    /// [`CodecError`], and again for every later call.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodecError> {
        match self {
            Self::None { left } => {
                let count = input.len().min(output.len()).min(*left as usize);
                if let (Some(place), Some(bytes)) = (output.get_mut(..count), input.get(..count)) {
                    place.copy_from_slice(bytes);
                }
                *left = left.wrapping_sub(count as u32);
                Ok(Step { read: count, written: count })
            }
            Self::Heatshrink(decoder) => decoder.decode(input, output),
            Self::Lzma(decoder) => decoder.decode(input, output),
        }
    }
}
