//! A running hash over everything that happens: two runs are the same if and only if theirs are equal.
//!
//! Not a cryptographic hash; it is made to cost little per byte, since every frame goes through it.

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl TraceHash {
    /// Takes a number in.
    pub fn number(&mut self, value: u64) {
        // One step of Wang Yi's wyhash: a wide product, folded.
        let mixed = u128::from(self.0 ^ value) * u128::from(0xA076_1D64_78BD_642F_u64);
        self.0 = (mixed as u64) ^ ((mixed >> 64) as u64) ^ 0xE703_7ED1_A0B4_28DB;
    }

    /// Takes bytes in, with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        // Long texts in four lanes, which do not wait for each other.
        let (blocks, rest) = bytes.as_chunks::<32>();
        if !blocks.is_empty() {
            let mut lanes = [1, 2, 3, 4].map(|lane| Self(self.0 ^ lane));
            for block in blocks {
                let (words, _) = block.as_chunks::<8>();
                for (lane, word) in lanes.iter_mut().zip(words) {
                    lane.number(u64::from_le_bytes(*word));
                }
            }
            lanes.into_iter().for_each(|lane| self.number(lane.0));
        }
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last));
    }

    /// The hash so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_length_and_content_matter() {
        let hash = |parts: &[&[u8]]| {
            let mut hash = TraceHash::default();
            parts.iter().for_each(|part| hash.bytes(part));
            hash.value()
        };
        let base = hash(&[b"one", b"two"]);
        assert_eq!(base, hash(&[b"one", b"two"]));
        for other in [hash(&[b"two", b"one"]), hash(&[b"onetwo"]), hash(&[b"one\0", b"two"]), hash(&[])] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn every_byte_of_a_long_text_matters_and_its_place() {
        let text: Vec<u8> = (0..150).collect();
        let hash = |text: &[u8]| {
            let mut hash = TraceHash::default();
            hash.bytes(text);
            hash.value()
        };
        let mut seen = std::collections::BTreeSet::from([hash(&text)]);
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 1;
            assert!(seen.insert(hash(&other)), "byte {at}");
            other[at] ^= 1;
            other.swap(at, (at + 8) % text.len());
            assert!(seen.insert(hash(&other)), "bytes {at} and {}", at + 8);
        }
    }
}
