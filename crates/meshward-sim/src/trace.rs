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
        let (words, rest) = bytes.as_chunks::<8>();
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
}
