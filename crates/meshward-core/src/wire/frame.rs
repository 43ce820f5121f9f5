//! Cuts the byte stream of a link into frames, at the NUL bytes.
//!
//! Refuses a frame longer than its limit, and with it the link: there is no way to tell a peer that a
//! frame was too long. Driven by the link with whatever a read returned, in pieces of any size. The
//! result does not depend on how the stream was cut.

use alloc::vec::Vec;
use core::fmt;

/// A frame passed the limit of its [`Splitter`]; the link must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversize {
    /// The limit that was passed, in bytes without the NUL.
    pub limit: usize,
}

impl fmt::Display for Oversize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame is longer than {} bytes", self.limit)
    }
}

impl core::error::Error for Oversize {}

/// Finds frames in a byte stream. Holds the beginning of at most one frame, and no memory when none has
/// begun.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    carry: Vec<u8>,
    /// `carry` was handed out by the last call and is to be let go by the next.
    delivered: bool,
}

impl Splitter {
    /// A splitter for frames of up to `limit` bytes, the NUL not counted.
    pub const fn new(limit: usize) -> Self {
        Self { limit, carry: Vec::new(), delivered: false }
    }

    /// The next complete frame, without its NUL, taken off the front of `input`; empty frames are passed
    /// over. `None` once `input` is used up: what is left of it is kept for the next call, so call until
    /// `None`.
    ///
    /// A frame that lies whole in `input` is borrowed from there; one that came in pieces is borrowed from
    /// the splitter, and its memory is let go by the next call.
    ///
    /// # Errors
    ///
    /// [`Oversize`] when a frame, complete or not, is longer than the limit. What was kept of it is let go;
    /// the rest of the stream has no meaning any more.
    pub fn split<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<&'s [u8]>, Oversize> {
        if self.delivered {
            self.carry = Vec::new();
            self.delivered = false;
        }
        loop {
            let Some((frame, rest)) = cut(input) else {
                let rest = core::mem::take(input);
                self.keep(rest)?;
                return Ok(None);
            };
            *input = rest;
            if self.carry.is_empty() {
                if frame.len() > self.limit {
                    return Err(Oversize { limit: self.limit });
                }
                if frame.is_empty() {
                    continue;
                }
                return Ok(Some(frame));
            }
            self.keep(frame)?;
            self.delivered = true;
            return Ok(Some(&self.carry));
        }
    }

    /// Bytes kept of a frame that is not complete yet.
    pub fn buffered(&self) -> usize {
        if self.delivered { 0 } else { self.carry.len() }
    }

    /// Adds `piece` to what is kept, in room that grows by doubling but never past the limit.
    fn keep(&mut self, piece: &[u8]) -> Result<(), Oversize> {
        let needed = self.carry.len().saturating_add(piece.len());
        if needed > self.limit {
            self.carry = Vec::new();
            return Err(Oversize { limit: self.limit });
        }
        if needed > self.carry.capacity() {
            let room = self.carry.capacity().saturating_mul(2).min(self.limit).max(needed);
            self.carry.reserve_exact(room.saturating_sub(self.carry.len()));
        }
        self.carry.extend_from_slice(piece);
        Ok(())
    }
}

/// `input` before and after its first NUL.
fn cut(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (frame, rest) = input.split_at_checked(memchr::memchr(0, input)?)?;
    Some((frame, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All frames that `pieces` make, or the refusal.
    fn frames(limit: usize, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Oversize> {
        let mut splitter = Splitter::new(limit);
        let mut out = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(frame) = splitter.split(&mut input)? {
                out.push(frame.to_vec());
            }
        }
        Ok(out)
    }

    #[test]
    fn frames_come_out_however_they_are_cut() {
        let want: &[&[u8]] = &[b"{}", b"abc"];
        for pieces in [
            &[&b"{}\0\0abc\0"[..]][..],
            &[b"{", b"}", b"\0", b"\0abc\0"],
            &[b"", b"{}\0\0a", b"", b"bc", b"\0x"],
        ] {
            assert_eq!(frames(3, pieces).unwrap(), want);
        }
    }

    #[test]
    fn the_limit_holds_for_whole_and_unfinished_frames() {
        assert_eq!(frames(3, &[b"abc\0"]).unwrap().len(), 1);
        for pieces in [&[&b"abcd\0"[..]][..], &[b"abcd"], &[b"ab", b"cd"], &[b"ab", b"cd\0"]] {
            assert_eq!(frames(3, pieces), Err(Oversize { limit: 3 }));
        }
        assert_eq!(frames(0, &[b"\0\0"]).unwrap().len(), 0);
    }

    #[test]
    fn a_whole_frame_is_borrowed_and_an_idle_link_holds_nothing() {
        let stream = b"whole\0par";
        let mut splitter = Splitter::new(100);
        let mut input = &stream[..];
        let frame = splitter.split(&mut input).unwrap().unwrap();
        assert!(stream.as_ptr_range().contains(&frame.as_ptr()));
        assert_eq!(splitter.split(&mut input).unwrap(), None);
        assert_eq!((splitter.buffered(), input.len()), (3, 0));
        let mut input = &b"tial\0"[..];
        assert_eq!(splitter.split(&mut input).unwrap().unwrap(), b"partial");
        assert_eq!(splitter.split(&mut input).unwrap(), None);
        assert_eq!((splitter.buffered(), splitter.carry.capacity()), (0, 0));
    }
}
