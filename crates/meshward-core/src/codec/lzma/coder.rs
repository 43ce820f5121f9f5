//! The range decoder, and the numbers that LZMA codes with it.
//!
//! It reads zeros where its input has ended, and knows that it did: whoever drives it looks before they believe
//! what came out.

/// Bits of a probability.
pub(super) const PROBABILITY_BITS: u32 = 11;
/// How fast probabilities adapt.
const MOVE_BITS: u32 = 5;
/// Below this the range coder takes the next byte.
const RANGE_MIN: u32 = 1 << 24;
/// States of the symbol history.
const STATES: usize = 12;
/// The distance that ends a stream.
pub(super) const END_MARKER: u32 = 0xFFFF_FFFF;
pub(super) const LENGTH_MIN: u32 = 2;

// Where the probabilities of each kind begin.
pub(super) const IS_MATCH: usize = 0;
pub(super) const IS_REP: usize = IS_MATCH + STATES;
pub(super) const IS_REP_G0: usize = IS_REP + STATES;
pub(super) const IS_REP_G1: usize = IS_REP_G0 + STATES;
pub(super) const IS_REP_G2: usize = IS_REP_G1 + STATES;
pub(super) const IS_REP0_LONG: usize = IS_REP_G2 + STATES;
const SLOT: usize = IS_REP0_LONG + STATES;
const SPECIAL: usize = SLOT + 4 * 64;
const ALIGN: usize = SPECIAL + 115;
pub(super) const LENGTH: usize = ALIGN + 16;
pub(super) const REP_LENGTH: usize = LENGTH + LENGTH_CODER;
pub(super) const LITERAL: usize = REP_LENGTH + LENGTH_CODER;
pub(super) const PROBABILITIES: usize = LITERAL + 0x300;

// Inside a length coder.
const LOW: usize = 2;
const MIDDLE: usize = LOW + 8;
const HIGH: usize = MIDDLE + 8;
const LENGTH_CODER: usize = HIGH + 256;

/// The range coder's registers over a piece of input.
pub(super) struct Coder<'a> {
    pub(super) range: u32,
    pub(super) code: u32,
    pub(super) input: &'a [u8],
    /// Bytes taken, those that were not there included.
    pub(super) at: usize,
}

impl Coder<'_> {
    pub(super) fn left(&self) -> usize {
        self.input.len().wrapping_sub(self.at)
    }

    /// Whether more was taken than was there; what has been decoded then is not to be used.
    pub(super) fn overran(&self) -> bool {
        self.at > self.input.len()
    }

    #[inline(always)]
    pub(super) fn normalise(&mut self) {
        if self.range < RANGE_MIN {
            let byte = self.input.get(self.at).copied().unwrap_or(0);
            self.at = self.at.wrapping_add(1);
            self.range <<= 8;
            self.code = (self.code << 8) | u32::from(byte);
        }
    }

    #[inline(always)]
    pub(super) fn bit(&mut self, probabilities: &mut [u16; PROBABILITIES], index: usize) -> u32 {
        self.normalise();
        // Every index is a sum of constants and of values with few bits: there always is one.
        let Some(probability) = probabilities.get_mut(index) else { return 0 };
        let value = u32::from(*probability);
        let bound = (self.range >> PROBABILITY_BITS).wrapping_mul(value);
        if self.code < bound {
            self.range = bound;
            *probability =
                value.wrapping_add((1_u32 << PROBABILITY_BITS).wrapping_sub(value) >> MOVE_BITS) as u16;
            0
        } else {
            self.range = self.range.wrapping_sub(bound);
            self.code = self.code.wrapping_sub(bound);
            *probability = value.wrapping_sub(value >> MOVE_BITS) as u16;
            1
        }
    }

    /// As [`bit`](Self::bit), without a branch: for bits that no predictor guesses. A fifth faster on a whole image.
    #[inline(always)]
    fn even_bit(&mut self, probabilities: &mut [u16; PROBABILITIES], index: usize) -> u32 {
        let Some(probability) = probabilities.get_mut(index) else { return 0 };
        let (bit, adapted) = self.even(*probability);
        *probability = adapted;
        bit
    }

    /// A bit that is 0 with this probability, and the probability after it.
    #[inline(always)]
    fn even(&mut self, probability: u16) -> (u32, u16) {
        self.normalise();
        let value = u32::from(probability);
        let bound = (self.range >> PROBABILITY_BITS).wrapping_mul(value);
        let bit = u32::from(self.code >= bound);
        let mask = 0_u32.wrapping_sub(bit);
        self.range = bound.wrapping_add(mask & self.range.wrapping_sub(bound << 1));
        self.code = self.code.wrapping_sub(bound & mask);
        // What is subtracted is a negative number, rounded away from zero, where the bit is 0.
        let offset = !mask & ((1_u32 << MOVE_BITS).wrapping_sub(1)).wrapping_sub(1 << PROBABILITY_BITS);
        let step = (value.wrapping_add(offset) as i32) >> MOVE_BITS;
        (bit, value.wrapping_sub(step as u32) as u16)
    }

    /// `bits` bits, each with an even chance.
    #[inline(always)]
    fn direct(&mut self, bits: u32) -> u32 {
        let mut value = 0;
        for _ in 0..bits {
            self.normalise();
            self.range >>= 1;
            let bit = u32::from(self.code >= self.range);
            self.code = self.code.wrapping_sub(self.range & 0_u32.wrapping_sub(bit));
            value = (value << 1) | bit;
        }
        value
    }

    /// A number less than `N`, a power of two, its highest bit first.
    #[inline(always)]
    pub(super) fn tree<const N: usize>(
        &mut self,
        probabilities: &mut [u16; PROBABILITIES],
        base: usize,
    ) -> u32 {
        let tail = probabilities.get_mut(base..).unwrap_or_default();
        let Some(table) = tail.first_chunk_mut::<N>() else { return 0 };
        let mut node = 1_usize;
        let mut probability = table.get(node).copied().unwrap_or(0);
        for _ in 0..N.trailing_zeros() {
            // Both next ones are fetched before it is known which is wanted.
            let below = node << 1;
            let zero = table.get(below).copied().unwrap_or(0);
            let one = table.get(below | 1).copied().unwrap_or(0);
            let (bit, adapted) = self.even(probability);
            if let Some(place) = table.get_mut(node) {
                *place = adapted;
            }
            probability = if bit == 1 { one } else { zero };
            node = below | bit as usize;
        }
        node.wrapping_sub(N) as u32
    }

    /// A number of `bits` bits, the lowest first.
    #[inline(always)]
    fn reverse_tree(&mut self, probabilities: &mut [u16; PROBABILITIES], base: usize, bits: u32) -> u32 {
        let (mut node, mut value) = (1, 0);
        for place in 0..bits {
            let bit = self.even_bit(probabilities, base.wrapping_add(node as usize));
            node = (node << 1) | bit;
            value |= bit << place;
        }
        value
    }

    /// A byte where a match has ended: the one at the match's distance says what it is not likely to be.
    #[inline(always)]
    pub(super) fn literal_after_match(
        &mut self,
        probabilities: &mut [u16; PROBABILITIES],
        expected: u32,
    ) -> u32 {
        let (mut node, mut expected, mut offset) = (1_u32, expected, 0x100_u32);
        for _ in 0..8 {
            expected <<= 1;
            let side = expected & offset;
            let index = LITERAL.wrapping_add(offset.wrapping_add(side).wrapping_add(node) as usize);
            let bit = self.even_bit(probabilities, index);
            node = (node << 1) | bit;
            // What follows has its own probabilities from the first bit on that was not expected.
            offset &= side ^ bit.wrapping_sub(1);
        }
        node
    }

    /// A length, less [`LENGTH_MIN`]; there is one position state.
    #[inline(always)]
    pub(super) fn length(&mut self, probabilities: &mut [u16; PROBABILITIES], base: usize) -> u32 {
        if self.bit(probabilities, base) == 0 {
            self.tree::<8>(probabilities, base.wrapping_add(LOW))
        } else if self.bit(probabilities, base.wrapping_add(1)) == 0 {
            self.tree::<8>(probabilities, base.wrapping_add(MIDDLE)).wrapping_add(8)
        } else {
            self.tree::<256>(probabilities, base.wrapping_add(HIGH)).wrapping_add(16)
        }
    }

    /// The distance of a match of this length, less one.
    #[inline(always)]
    pub(super) fn distance(&mut self, probabilities: &mut [u16; PROBABILITIES], length: u32) -> u32 {
        let length_state = length.min(3) as usize;
        let slot = self.tree::<64>(probabilities, SLOT.wrapping_add(length_state << 6));
        if slot < 4 {
            return slot;
        }
        let bits = (slot >> 1).wrapping_sub(1);
        let high = (2 | (slot & 1)) << bits;
        let low = if slot < 14 {
            // The trees of these slots overlap: each begins at its smallest distance, less its number.
            let base = SPECIAL.wrapping_add(high as usize).wrapping_sub(slot as usize);
            self.reverse_tree(probabilities, base, bits)
        } else {
            let middle = self.direct(bits.wrapping_sub(4)) << 4;
            middle | self.reverse_tree(probabilities, ALIGN, 4)
        };
        high.wrapping_add(low)
    }
}
