//! heatshrink with a window of 2 KB (w=11) and lengths of up to 8 (l=3), for nodes short of memory.
//!
//! The decoding is `heatshrink-lib`'s; this bounds it by the announced sizes and gives it the manners of the
//! other decoders. The stream has no end of its own: it is over when all packed bytes are read and all output
//! is made, and fewer than eight bits are left.

use alloc::boxed::Box;

use heatshrink::Poll;
use heatshrink::decoder::HeatshrinkDecoder;

use super::{CodecError, Sizes, Step};

/// log₂ of the window.
const WINDOW_BITS: usize = 11;
/// Bits of a length.
const LENGTH_BITS: usize = 3;
/// Bytes that the inner decoder takes at once.
const INPUT: usize = 32;
const WINDOW: usize = 1 << WINDOW_BITS;

type Inner = HeatshrinkDecoder<WINDOW_BITS, LENGTH_BITS, INPUT, WINDOW>;

/// The inner decoder, made where it stays: on the way over a caller's stack it would count twice.
#[inline(never)]
fn boxed() -> Box<Inner> {
    Box::default()
}

/// A decoder; see the module's page. About 2.2 KB of state on the heap.
#[derive(Debug)]
pub struct Heatshrink {
    inner: Box<Inner>,
    /// Packed bytes that have not been taken from the caller yet.
    unread: u32,
    /// Output that has still to be made.
    left: u32,
    done: bool,
    failed: Option<CodecError>,
}

impl Heatshrink {
    /// A decoder of one stream.
    pub fn new(sizes: Sizes) -> Self {
        Self { inner: boxed(), unread: sizes.packed, left: sizes.plain, done: false, failed: None }
    }

    /// Whether all output has been made and nothing is left over.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Decodes as far as `input` and the room in `output` allow; see [`Lzma::decode`](super::Lzma::decode).
    ///
    /// # Errors
    /// [`CodecError`], and again for every later call.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodecError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance(input, output).inspect_err(|error| self.failed = Some(*error))
    }

    fn advance(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodecError> {
        let mut step = Step::default();
        loop {
            let room = output.get_mut(step.written..).unwrap_or_default();
            let room_len = room.len().min(self.left as usize);
            let made = self.make(room.get_mut(..room_len).unwrap_or_default())?;
            let full = made == room_len;
            step.written = step.written.wrapping_add(made);
            self.left = self.left.wrapping_sub(made as u32);
            if full && self.left > 0 {
                return Ok(step);
            }
            let rest = input.get(step.read..).unwrap_or_default();
            let rest = rest.get(..self.unread as usize).unwrap_or(rest);
            let read = if rest.is_empty() { 0 } else { self.inner.sink(rest).unwrap_or(0) };
            step.read = step.read.wrapping_add(read);
            self.unread = self.unread.wrapping_sub(read as u32);
            if self.left == 0 {
                self.close(read)?;
            }
            if read == 0 {
                // The inner decoder has said that it needs more, and there is no more.
                let truncated = self.left > 0 && self.unread == 0;
                return if truncated { Err(CodecError::Truncated) } else { Ok(step) };
            }
        }
    }

    /// What the inner decoder can make of what it has.
    fn make(&mut self, room: &mut [u8]) -> Result<usize, CodecError> {
        if room.is_empty() {
            return Ok(0);
        }
        match self.inner.poll(room) {
            Ok(Poll::More(made) | Poll::Empty(made)) => Ok(made),
            Err(_) => Err(CodecError::Malformed),
        }
    }

    /// All output is made: nothing more may come out of what was read.
    fn close(&mut self, read: usize) -> Result<(), CodecError> {
        if self.make(&mut [0])? > 0 {
            return Err(CodecError::Trailing);
        }
        self.done = self.unread == 0 && read == 0;
        Ok(())
    }
}
