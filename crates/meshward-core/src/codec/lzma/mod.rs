//! The classic LZMA1 stream with lc=0, lp=0, pb=0 and a dictionary of 4 KB, without header.
//!
//! After the format's public-domain specification (Igor Pavlov, LZMA SDK, `lzma-specification.txt`). The
//! stream may close with an end marker or without one. The state is 7 646 bytes on the heap (3 550 of
//! probabilities, the window) and about 90 more.
//!
//! A symbol takes at most [`LOOKAHEAD`] bytes of input, so one is begun only when that many are there or
//! the stream's last byte is: nothing has to stop in the middle of a symbol. What is too short for that is
//! kept until more comes.

mod coder;

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

use self::coder::{
    Coder, END_MARKER, IS_MATCH, IS_REP, IS_REP_G0, IS_REP_G1, IS_REP_G2, IS_REP0_LONG, LENGTH, LENGTH_MIN,
    LITERAL, PROBABILITIES, PROBABILITY_BITS, REP_LENGTH,
};
use super::{CodecError, Sizes, Step};

/// Bytes of the dictionary.
const WINDOW: u32 = 4096;
const MASK: u32 = WINDOW - 1;
/// The most that one symbol takes, normalisation included (`LZMA_REQUIRED_INPUT_MAX` in the SDK).
const LOOKAHEAD: usize = 20;
/// Bytes before the first symbol: a zero, and the first code value.
const HEADER: usize = 5;

/// How far the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    Symbols,
    /// All output is there; the stream has to close now.
    Closing,
    Done,
    Failed(CodecError),
}

/// A decoder; see the module's page.
#[derive(Debug)]
pub struct Lzma {
    probabilities: Box<[u16; PROBABILITIES]>,
    window: Box<[u8; WINDOW as usize]>,
    range: u32,
    code: u32,
    state: u8,
    /// The last four distances, less one.
    reps: [u32; 4],
    /// Bytes of the match under way that have still to be copied.
    run: u32,
    made: u32,
    sizes: Sizes,
    /// Packed bytes that have not been taken from the caller yet.
    unread: u32,
    carry: [u8; LOOKAHEAD],
    carried: usize,
    phase: Phase,
}

/// An array on the heap that has never been on the stack, where it would count twice.
#[expect(clippy::expect_used, reason = "a slice of N becomes an array of N; any other way needs the stack")]
fn boxed<T: Copy + fmt::Debug, const N: usize>(value: T) -> Box<[T; N]> {
    vec![value; N].into_boxed_slice().try_into().expect("N elements")
}

impl Lzma {
    /// A decoder of one stream.
    pub fn new(sizes: Sizes) -> Self {
        Self {
            probabilities: boxed(1 << (PROBABILITY_BITS - 1)),
            window: boxed(0),
            range: 0xFFFF_FFFF,
            code: 0,
            state: 0,
            reps: [0; 4],
            run: 0,
            made: 0,
            sizes,
            unread: sizes.packed,
            carry: [0; LOOKAHEAD],
            carried: 0,
            phase: Phase::Header,
        }
    }

    /// Whether all output has been made and the stream has closed properly.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Decodes as far as `input` and the room in `output` allow. It takes all of `input` unless the output is
    /// full, and nothing beyond the stream's announced end.
    ///
    /// # Errors
    /// [`CodecError`], and again for every later call.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodecError> {
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        self.advance(input, output).inspect_err(|error| self.phase = Phase::Failed(*error))
    }

    fn advance(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodecError> {
        let mut step = Step::default();
        loop {
            let rest = input.get(step.read..).unwrap_or_default();
            let room = output.get_mut(step.written..).unwrap_or_default();
            let from = self.made & MASK;
            // Up to where the window wraps, so that what is new in it is one piece.
            let span = (WINDOW.wrapping_sub(from)).min(u32::try_from(room.len()).unwrap_or(WINDOW));
            let limit = self.made.saturating_add(span).min(self.sizes.plain);
            let before = self.made;
            let read = self.feed(rest, limit)?;
            let made = self.made.wrapping_sub(before) as usize;
            let fresh = self.window.get(from as usize..).and_then(|tail| tail.get(..made));
            if let (Some(fresh), Some(place)) = (fresh, room.get_mut(..made)) {
                place.copy_from_slice(fresh);
            }
            step.read = step.read.wrapping_add(read);
            step.written = step.written.wrapping_add(made);
            if read == 0 && made == 0 {
                return Ok(step);
            }
        }
    }

    /// Decodes up to `limit` bytes of output in all; how much of `input` was taken.
    fn feed(&mut self, input: &[u8], limit: u32) -> Result<usize, CodecError> {
        let input = input.get(..self.unread as usize).unwrap_or(input);
        let last = input.len() == self.unread as usize;
        let read = if self.carried == 0 {
            let read = self.decode_from(input, last, limit)?;
            let rest = input.get(read..).unwrap_or_default();
            if rest.is_empty() || self.is_satisfied(limit) { read } else { self.keep(rest, read) }
        } else {
            self.feed_carried(input, limit)?
        };
        self.unread = self.unread.wrapping_sub(read as u32);
        Ok(read)
    }

    /// Nothing more can be made before the caller has taken what there is.
    fn is_satisfied(&self, limit: u32) -> bool {
        match self.phase {
            Phase::Header | Phase::Closing => false,
            Phase::Symbols => self.made >= limit,
            Phase::Done | Phase::Failed(_) => true,
        }
    }

    /// Keeps what is too short for a symbol; `read` bytes were taken before it.
    fn keep(&mut self, rest: &[u8], read: usize) -> usize {
        if let Some(place) = self.carry.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
            self.carried = rest.len();
            read.wrapping_add(rest.len())
        } else {
            read
        }
    }

    /// Goes on with what was kept, filled up from `input`, one symbol.
    fn feed_carried(&mut self, input: &[u8], limit: u32) -> Result<usize, CodecError> {
        let old = self.carried;
        let added = input.len().min(LOOKAHEAD.wrapping_sub(old));
        let mut joined = self.carry;
        let whole = old.wrapping_add(added);
        if let (Some(place), Some(more)) = (joined.get_mut(old..whole), input.get(..added)) {
            place.copy_from_slice(more);
        }
        let last = added == self.unread as usize;
        let one = self.made.saturating_add(1).min(limit);
        let used = self.decode_from(joined.get(..whole).unwrap_or_default(), last, one)?;
        if used >= old {
            self.carried = 0;
            return Ok(used.wrapping_sub(old));
        }
        // Nothing moves into the carry while the output is full: the caller gives it again.
        if used == 0 && self.is_satisfied(limit) {
            return Ok(0);
        }
        joined.copy_within(used.., 0);
        self.carry = joined;
        self.carried = whole.wrapping_sub(used);
        Ok(added)
    }

    /// Decodes from `input`, which holds the stream's end if `last`; how much of it was used.
    fn decode_from(&mut self, input: &[u8], last: bool, limit: u32) -> Result<usize, CodecError> {
        let mut coder = Coder { range: self.range, code: self.code, input, at: 0 };
        if self.phase == Phase::Header {
            if coder.left() < HEADER {
                return if last { Err(CodecError::Truncated) } else { Ok(0) };
            }
            self.header(&mut coder)?;
        }
        if self.phase == Phase::Symbols {
            coder = self.symbols(coder, last, limit)?;
        }
        if self.phase == Phase::Symbols && self.made == self.sizes.plain && self.run == 0 {
            self.phase = Phase::Closing;
        }
        if self.phase == Phase::Closing && (last || coder.left() >= LOOKAHEAD) {
            self.close(&mut coder, last)?;
        }
        (self.range, self.code) = (coder.range, coder.code);
        Ok(coder.at)
    }

    /// Symbols up to `limit`, or until there may be too little input for the next. The coder is passed by value,
    /// and all below it inlined, so that its registers are the processor's.
    fn symbols<'a>(&mut self, mut coder: Coder<'a>, last: bool, limit: u32) -> Result<Coder<'a>, CodecError> {
        while self.made < limit {
            if self.run > 0 {
                self.copy(limit);
            } else if !last && coder.left() < LOOKAHEAD {
                break;
            } else {
                let outcome = self.symbol(&mut coder);
                // Bytes that are not there read as zeros: whatever that made is not to be believed.
                if coder.overran() {
                    return Err(CodecError::Truncated);
                }
                outcome?;
            }
        }
        Ok(coder)
    }

    fn header(&mut self, coder: &mut Coder<'_>) -> Result<(), CodecError> {
        let [0, code @ ..] = coder.input.first_chunk::<HEADER>().ok_or(CodecError::Truncated)? else {
            return Err(CodecError::Malformed);
        };
        coder.code = u32::from_be_bytes(*code);
        coder.at = HEADER;
        self.phase = Phase::Symbols;
        Ok(())
    }

    /// The end: nothing more, or an end marker and nothing more.
    fn close(&mut self, coder: &mut Coder<'_>, last: bool) -> Result<(), CodecError> {
        coder.normalise();
        if !last || coder.left() > 0 && !coder.overran() {
            let state = usize::from(self.state);
            let probabilities = &mut *self.probabilities;
            let marker = coder.bit(probabilities, IS_MATCH.wrapping_add(state)) == 1
                && coder.bit(probabilities, IS_REP.wrapping_add(state)) == 0;
            if !marker {
                return Err(CodecError::Trailing);
            }
            let length = coder.length(probabilities, LENGTH);
            if coder.distance(probabilities, length) != END_MARKER {
                return Err(CodecError::Trailing);
            }
            coder.normalise();
        }
        if coder.overran() {
            return Err(CodecError::Truncated);
        }
        if !last || coder.left() > 0 {
            return Err(CodecError::Trailing);
        }
        if coder.code != 0 {
            return Err(CodecError::Malformed);
        }
        self.phase = Phase::Done;
        Ok(())
    }

    #[inline(always)]
    fn symbol(&mut self, coder: &mut Coder<'_>) -> Result<(), CodecError> {
        let probabilities = &mut *self.probabilities;
        let state = usize::from(self.state);
        if coder.bit(probabilities, IS_MATCH.wrapping_add(state)) == 0 {
            self.literal(coder);
            return Ok(());
        }
        let length = if coder.bit(probabilities, IS_REP.wrapping_add(state)) == 0 {
            let length = coder.length(probabilities, LENGTH);
            let [first, second, third, _] = self.reps;
            self.reps = [coder.distance(probabilities, length), first, second, third];
            self.state = if self.state < 7 { 7 } else { 10 };
            length.wrapping_add(LENGTH_MIN)
        } else {
            self.repeat(coder)
        };
        let [distance, ..] = self.reps;
        if distance >= self.made || distance >= WINDOW {
            return Err(CodecError::Distance);
        }
        if length > self.sizes.plain.wrapping_sub(self.made) {
            return Err(CodecError::TooLong);
        }
        self.run = length;
        Ok(())
    }

    /// A match at one of the last four distances, which becomes the first; its length.
    #[inline(always)]
    fn repeat(&mut self, coder: &mut Coder<'_>) -> u32 {
        let probabilities = &mut *self.probabilities;
        let state = usize::from(self.state);
        let [first, second, third, fourth] = self.reps;
        if coder.bit(probabilities, IS_REP_G0.wrapping_add(state)) == 0 {
            if coder.bit(probabilities, IS_REP0_LONG.wrapping_add(state)) == 0 {
                self.state = if self.state < 7 { 9 } else { 11 };
                return 1;
            }
        } else if coder.bit(probabilities, IS_REP_G1.wrapping_add(state)) == 0 {
            self.reps = [second, first, third, fourth];
        } else if coder.bit(probabilities, IS_REP_G2.wrapping_add(state)) == 0 {
            self.reps = [third, first, second, fourth];
        } else {
            self.reps = [fourth, first, second, third];
        }
        self.state = if self.state < 7 { 8 } else { 11 };
        coder.length(probabilities, REP_LENGTH).wrapping_add(LENGTH_MIN)
    }

    #[inline(always)]
    fn literal(&mut self, coder: &mut Coder<'_>) {
        let literal = if self.state < 7 {
            coder.tree::<256>(&mut self.probabilities, LITERAL)
        } else {
            let [distance, ..] = self.reps;
            let expected = u32::from(self.back(distance));
            coder.literal_after_match(&mut self.probabilities, expected)
        };
        self.state = match self.state {
            0..4 => 0,
            state @ 4..10 => state.wrapping_sub(3),
            state => state.wrapping_sub(6),
        };
        self.put(literal as u8);
    }

    /// The byte that was made `distance` + 1 bytes ago.
    fn back(&self, distance: u32) -> u8 {
        let at = self.made.wrapping_sub(distance).wrapping_sub(1) & MASK;
        self.window.get(at as usize).copied().unwrap_or(0)
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.window.get_mut((self.made & MASK) as usize) {
            *place = byte;
        }
        self.made = self.made.wrapping_add(1);
    }

    /// Copies the match under way up to `limit`.
    fn copy(&mut self, limit: u32) {
        let [distance, ..] = self.reps;
        let count = self.run.min(limit.wrapping_sub(self.made));
        self.run = self.run.wrapping_sub(count);
        for _ in 0..count {
            self.put(self.back(distance));
        }
    }
}
