//! Applies a patch: what turns the running image into the next one, in one pass.
//!
//! bsdiff's idea (Colin Percival, "Naive differences of executable code", 2003) with its three streams
//! interleaved, and the runs of zeros in its differences left out. A patch is a sequence of operations; each
//! begins with a number, lowest seven bits first, bit 7 set in all bytes but the last, whose two lowest bits say
//! what to do with the rest, *n* > 0:
//!
//! | kind | then | meaning |
//! | ---: | --- | --- |
//! | 0 | | the next *n* bytes of the base as they are |
//! | 1 | *n* bytes | the next *n* bytes of the base, plus these, modulo 256 |
//! | 2 | *n* bytes | these, which the base does not have |
//! | 3 | | the place in the base moves: forward by *n*/2 if *n* is even, back by (*n*+1)/2 if it is odd |
//!
//! It ends when the image is complete. The base is lent: [`Patch::needs`] says which bytes are wanted, and any
//! piece of the base that has the first of them will do.

use super::{CodecError, Step};

/// Longest encoding of an operation's number, in bits: 32 of length, 2 of kind, in groups of seven.
const NUMBER_BITS_MAX: u32 = 35;

/// What a [`Patch`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchNeeds {
    /// More of the patch, or room for output.
    Stream,
    /// The base from `offset` on, up to `len` bytes of it (and room for output).
    Base {
        /// First byte that is wanted.
        offset: u32,
        /// How many the operation under way can use.
        len: u32,
    },
    /// Nothing: the image is complete.
    Nothing,
}

/// A piece of the base image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lent<'a> {
    /// Where in the base it begins.
    pub offset: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> Lent<'a> {
    /// Its part from `offset` on, empty if it does not have that byte.
    pub(super) fn from(&self, offset: u32) -> &'a [u8] {
        let skip = offset.checked_sub(self.offset);
        skip.and_then(|skip| self.bytes.get(skip as usize..)).unwrap_or_default()
    }
}

/// The operation under way.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Its number is being read: what there is of it, and its bits.
    Number {
        value: u64,
        bits: u32,
    },
    Copy {
        left: u32,
    },
    Add {
        left: u32,
    },
    Insert {
        left: u32,
    },
}

const NEXT: Operation = Operation::Number { value: 0, bits: 0 };

/// A patch being applied. 40 bytes of state.
#[derive(Debug)]
pub struct Patch {
    base_len: u32,
    image_len: u32,
    /// The place in the base.
    place: u32,
    made: u32,
    operation: Operation,
    failed: Option<CodecError>,
}

impl Patch {
    /// A patch that makes `image_len` bytes out of a base of `base_len`.
    pub fn new(base_len: u32, image_len: u32) -> Self {
        Self { base_len, image_len, place: 0, made: 0, operation: NEXT, failed: None }
    }

    /// What it waits for.
    pub fn needs(&self) -> PatchNeeds {
        match self.operation {
            Operation::Copy { left } | Operation::Add { left } => {
                PatchNeeds::Base { offset: self.place, len: left }
            }
            _ if self.made == self.image_len => PatchNeeds::Nothing,
            _ => PatchNeeds::Stream,
        }
    }

    /// Goes on as far as `stream`, `base` and the room in `output` allow.
    ///
    /// # Errors
    /// [`CodecError`], and again for every later call.
    pub fn apply(&mut self, stream: &[u8], base: Lent<'_>, output: &mut [u8]) -> Result<Step, CodecError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut step = Step::default();
        loop {
            let rest = stream.get(step.read..).unwrap_or_default();
            let room = output.get_mut(step.written..).unwrap_or_default();
            let moved = self.advance(rest, base, room).inspect_err(|error| self.failed = Some(*error))?;
            if moved == Step::default() {
                return Ok(step);
            }
            step.read = step.read.wrapping_add(moved.read);
            step.written = step.written.wrapping_add(moved.written);
        }
    }

    /// One piece of one operation.
    fn advance(&mut self, stream: &[u8], base: Lent<'_>, room: &mut [u8]) -> Result<Step, CodecError> {
        let old = base.from(self.place);
        match self.operation {
            Operation::Number { value, bits } => self.number(stream, value, bits),
            Operation::Copy { left } => {
                let count = shortest(left, &[old.len(), room.len()]);
                for (place, old) in room.iter_mut().zip(old).take(count) {
                    *place = *old;
                }
                self.moved(count, left, |left| Operation::Copy { left });
                self.place = self.place.wrapping_add(count as u32);
                Ok(Step { read: 0, written: count })
            }
            Operation::Add { left } => {
                let count = shortest(left, &[old.len(), room.len(), stream.len()]);
                for ((place, old), difference) in room.iter_mut().zip(old).zip(stream).take(count) {
                    *place = old.wrapping_add(*difference);
                }
                self.moved(count, left, |left| Operation::Add { left });
                self.place = self.place.wrapping_add(count as u32);
                Ok(Step { read: count, written: count })
            }
            Operation::Insert { left } => {
                let count = shortest(left, &[room.len(), stream.len()]);
                for (place, new) in room.iter_mut().zip(stream).take(count) {
                    *place = *new;
                }
                self.moved(count, left, |left| Operation::Insert { left });
                Ok(Step { read: count, written: count })
            }
        }
    }

    fn moved(&mut self, count: usize, left: u32, operation: impl FnOnce(u32) -> Operation) {
        self.made = self.made.wrapping_add(count as u32);
        let left = left.wrapping_sub(count as u32);
        self.operation = if left == 0 { NEXT } else { operation(left) };
    }

    /// Reads one byte of an operation's number.
    fn number(&mut self, stream: &[u8], value: u64, bits: u32) -> Result<Step, CodecError> {
        let Some(byte) = stream.first() else { return Ok(Step::default()) };
        if self.made == self.image_len {
            return Err(CodecError::Trailing);
        }
        if bits >= NUMBER_BITS_MAX {
            return Err(CodecError::Malformed);
        }
        let value = value | (u64::from(byte & 0x7F) << bits);
        self.operation = if byte & 0x80 == 0 {
            self.begin(value)?
        } else {
            Operation::Number { value, bits: bits.wrapping_add(7) }
        };
        Ok(Step { read: 1, written: 0 })
    }

    /// Checks an operation against both images before its first byte.
    fn begin(&mut self, number: u64) -> Result<Operation, CodecError> {
        let left = u32::try_from(number >> 2).map_err(|_too_large| CodecError::Malformed)?;
        if left == 0 {
            return Err(CodecError::Malformed);
        }
        let kind = number & 3;
        if kind != 3 && left > self.image_len.wrapping_sub(self.made) {
            return Err(CodecError::TooLong);
        }
        if kind < 2 && left > self.base_len.wrapping_sub(self.place) {
            return Err(CodecError::OutsideBase);
        }
        Ok(match kind {
            0 => Operation::Copy { left },
            1 => Operation::Add { left },
            2 => Operation::Insert { left },
            _ => {
                let distance = left.div_ceil(2);
                let place = if left.is_multiple_of(2) {
                    self.place.checked_add(distance).filter(|place| *place <= self.base_len)
                } else {
                    self.place.checked_sub(distance)
                };
                self.place = place.ok_or(CodecError::OutsideBase)?;
                NEXT
            }
        })
    }
}

fn shortest(left: u32, lengths: &[usize]) -> usize {
    lengths.iter().copied().fold(left as usize, usize::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const BASE: &[u8] = b"the quick brown fox";

    /// Applies a patch, the base lent `lend` bytes at a time.
    fn apply(patch: &[u8], image_len: u32, lend: usize) -> Result<Vec<u8>, CodecError> {
        let mut machine = Patch::new(BASE.len() as u32, image_len);
        let (mut read, mut image, mut lent) = (0, Vec::new(), Lent::default());
        loop {
            let mut room = [0; 5];
            let step = machine.apply(&patch[read..], lent, &mut room)?;
            read += step.read;
            image.extend_from_slice(&room[..step.written]);
            assert!(image.len() <= image_len as usize);
            match machine.needs() {
                PatchNeeds::Nothing => {
                    let after = machine.apply(&patch[read..], lent, &mut room)?;
                    assert_eq!(after, Step::default());
                    return Ok(image);
                }
                PatchNeeds::Base { offset, .. } if lent.from(offset).is_empty() => {
                    let from = offset as usize;
                    lent = Lent { offset, bytes: &BASE[from..BASE.len().min(from + lend)] };
                }
                _ if step == Step::default() => return Err(CodecError::Truncated),
                _ => {}
            }
        }
    }

    #[test]
    fn operations_mean_what_the_page_says() {
        let copy = |n: u8| n << 2;
        type Row<'a> = (&'a [u8], u32, Result<&'a [u8], CodecError>);
        let rows: [Row<'_>; 16] = [
            (&[copy(4)], 4, Ok(b"the ")),
            (&[copy(3), 3 << 2 | 1, 0, 1, 2], 6, Ok(b"the rw")),
            (&[3 << 2 | 2, b'a', b'b', b'c', copy(2)], 5, Ok(b"abcth")),
            (&[8 << 2 | 3, copy(5)], 5, Ok(b"quick")),
            (&[8 << 2 | 3, copy(5), 17 << 2 | 3, copy(3)], 8, Ok(b"quickthe")),
            (&[0x84, 0x00], 1, Ok(b"t")),
            (&[], 0, Ok(b"")),
            (&[copy(0)], 4, Err(CodecError::Malformed)),
            (&[3], 4, Err(CodecError::Malformed)),
            (&[copy(5)], 4, Err(CodecError::TooLong)),
            (&[copy(20)], 20, Err(CodecError::OutsideBase)),
            (&[1 << 2 | 3, copy(1)], 1, Err(CodecError::OutsideBase)),
            (&[40 << 2 | 3, copy(1)], 1, Err(CodecError::OutsideBase)),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 1, Err(CodecError::Malformed)),
            (&[copy(1), copy(1)], 1, Err(CodecError::Trailing)),
            (&[3 << 2 | 2, b'a'], 3, Err(CodecError::Truncated)),
        ];
        for (patch, image_len, expected) in rows {
            for lend in [1, 3, 64] {
                let image = apply(patch, image_len, lend);
                assert_eq!(image.as_deref(), expected.as_ref().map(|bytes| *bytes), "{patch:?}");
            }
        }
    }
}
