//! What a receiver remembers over resets: keys and their counters, wishes, quarantine, what its slots hold.

use alloc::vec::Vec;

use crate::flash::{Books, FlashOp, Slot};
use crate::hash::{Md5Sum, Sha256Sum};
use crate::ota::pair::{self, Found};
use crate::ota::trust::{KeyStore, Policy};
use crate::time::UnixTime;

const MAGIC: [u8; 4] = *b"MWm1";
/// Images that a node never takes; the oldest is forgotten for a ninth.
pub(super) const QUARANTINE_MAX: usize = 8;
/// Bytes read of each copy: the keys, 16 × 54, the quarantine, 8 × 32, and what is around them.
pub(super) const READ: u32 = 1_344;

/// Bytes of a copy without quarantine and keys: wish, time, policy, two slots, a count.
const FIXED: usize = 1 + 32 + 8 + 9 + 2 * (1 + 16 + 32 + 4 + 8) + 1;

/// What was ordered and is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Activate(Sha256Sum),
    Revert(Sha256Sum),
    Cancel(Sha256Sum),
    Pause(Sha256Sum),
}

/// An image in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) md5: Md5Sum,
    pub(super) sha256: Sha256Sum,
    pub(super) size: u32,
    /// 0 if it came without a manifest.
    pub(super) sequence: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    sequence: u32,
    pub(super) keys: KeyStore,
    pub(super) wish: Option<Wish>,
    /// The latest time that a signed message told.
    pub(super) time: Option<UnixTime>,
    /// What an operator ordered; `None` is what the board was told.
    pub(super) policy: Option<Policy>,
    pub(super) slots: [Option<Known>; 2],
    pub(super) quarantine: Vec<Sha256Sum>,
}

/// Reads one thing after the other.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn known(&mut self) -> Option<Option<Known>> {
        let [there] = self.take()?;
        let (md5, sha256) = (Md5Sum(self.take()?), Sha256Sum(self.take()?));
        let (size, sequence) = (u32::from_le_bytes(self.take()?), u64::from_le_bytes(self.take()?));
        Some((there == 1).then_some(Known { md5, sha256, size, sequence }))
    }
}

impl Memory {
    /// Reads the beginning of a copy, which counts if it is whole and newer than what is known. One copy at a
    /// time, because two of them are more than all the rest of a receiver.
    pub(super) fn read(&mut self, copy: &[u8]) {
        let Some(found) = pair::decode(MAGIC, copy).filter(|found| found.sequence > self.sequence) else {
            return;
        };
        *self = Self::default();
        *self = Self::decode(&found).unwrap_or(Self { sequence: found.sequence, ..Self::default() });
    }

    fn decode(found: &Found<'_>) -> Option<Self> {
        let mut cursor = Cursor(found.content);
        let [kind] = cursor.take()?;
        let image = Sha256Sum(cursor.take()?);
        let wish = match kind {
            1 => Some(Wish::Activate(image)),
            2 => Some(Wish::Revert(image)),
            3 => Some(Wish::Cancel(image)),
            4 => Some(Wish::Pause(image)),
            _ => None,
        };
        let time = Some(u64::from_le_bytes(cursor.take()?)).filter(|time| *time > 0).map(UnixTime);
        let ([kind], soak, limit) = (cursor.take()?, cursor.take()?, cursor.take()?);
        let (soak, limit) = (u32::from_le_bytes(soak), u32::from_le_bytes(limit));
        let policy = (kind > 0).then_some(Policy { updates: kind == 2, soak, limit });
        let slots = [cursor.known()?, cursor.known()?];
        let [count] = cursor.take()?;
        let mut quarantine = Vec::new();
        for _ in 0..usize::from(count).min(QUARANTINE_MAX) {
            quarantine.push(Sha256Sum(cursor.take()?));
        }
        let keys = KeyStore::decode(cursor.0).ok()?;
        Some(Self { sequence: found.sequence, keys, wish, time, policy, slots, quarantine })
    }

    fn encoded_len(&self) -> usize {
        FIXED + self.quarantine.len() * 32 + self.keys.encoded_len()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let (kind, image) = match self.wish {
            None => (0, Sha256Sum([0; 32])),
            Some(Wish::Activate(image)) => (1, image),
            Some(Wish::Revert(image)) => (2, image),
            Some(Wish::Cancel(image)) => (3, image),
            Some(Wish::Pause(image)) => (4, image),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&image.0);
        bytes.extend_from_slice(&self.time.map_or(0, |time| time.0).to_le_bytes());
        let kind = self.policy.map_or(0, |policy| 1 + u8::from(policy.updates));
        bytes.push(kind);
        bytes.extend_from_slice(&self.policy.map_or(0, |policy| policy.soak).to_le_bytes());
        bytes.extend_from_slice(&self.policy.map_or(0, |policy| policy.limit).to_le_bytes());
        for slot in self.slots {
            let empty = Known { md5: Md5Sum([0; 16]), sha256: Sha256Sum([0; 32]), size: 0, sequence: 0 };
            let known = slot.unwrap_or(empty);
            bytes.push(slot.is_some().into());
            bytes.extend_from_slice(&known.md5.0);
            bytes.extend_from_slice(&known.sha256.0);
            bytes.extend_from_slice(&known.size.to_le_bytes());
            bytes.extend_from_slice(&known.sequence.to_le_bytes());
        }
        bytes.push(self.quarantine.len() as u8);
        self.quarantine.iter().for_each(|image| bytes.extend_from_slice(&image.0));
        self.keys.encode_into(bytes);
    }

    /// The commands that make all of it last.
    pub(super) fn write(&mut self, books: &Books) -> [FlashOp; 2] {
        self.sequence = self.sequence.saturating_add(1);
        pair::write(books.memory, MAGIC, self.sequence, self.encoded_len(), |bytes| self.encode(bytes))
    }

    /// A node with these keys that has seen nothing yet.
    pub(super) fn new(keys: &KeyStore) -> Self {
        Self { keys: keys.clone(), ..Self::default() }
    }

    pub(super) fn known(&self, slot: Slot) -> Option<Known> {
        let [a, b] = self.slots;
        if slot == Slot::A { a } else { b }
    }

    pub(super) fn learn(&mut self, slot: Slot, known: Known) {
        let [a, b] = &mut self.slots;
        *(if slot == Slot::A { a } else { b }) = Some(known);
    }

    pub(super) fn is_quarantined(&self, image: Sha256Sum) -> bool {
        self.quarantine.contains(&image)
    }

    pub(super) fn quarantine(&mut self, image: Sha256Sum) {
        if !self.is_quarantined(image) {
            if self.quarantine.len() >= QUARANTINE_MAX {
                self.quarantine.remove(0);
            }
            self.quarantine.push(image);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_flash_at_its_longest() {
        let known = Known { md5: Md5Sum([1; 16]), sha256: Sha256Sum([2; 32]), size: 3, sequence: 4 };
        let policy = Some(Policy { updates: true, soak: 5, limit: 600 });
        let mut memory = Memory { wish: Some(Wish::Pause(known.sha256)), policy, ..Memory::default() };
        memory.learn(Slot::B, known);
        (0..9).for_each(|index| memory.quarantine(Sha256Sum([index; 32])));
        let [_, FlashOp::Program { data, .. }] = memory.write(&Books::FOUR_MEGABYTES) else { panic!() };
        assert!(data.len() + 16 * 54 <= READ as usize);
        let mut back = Memory::default();
        back.read(&[0xFF; 64]);
        back.read(&data);
        assert_eq!((back.wish, back.known(Slot::B), back.known(Slot::A)), (memory.wish, Some(known), None));
        assert_eq!(back.policy, policy);
        assert!(back.is_quarantined(Sha256Sum([8; 32])) && !back.is_quarantined(Sha256Sum([0; 32])));
        let older = core::mem::take(&mut memory.wish);
        let [_, FlashOp::Program { data: newer, .. }] = memory.write(&Books::FOUR_MEGABYTES) else {
            panic!()
        };
        for (copies, wish) in [([&data, &newer], None), ([&newer, &data], None), ([&data, &data], older)] {
            let mut back = Memory::default();
            copies.iter().for_each(|copy| back.read(copy));
            assert_eq!(back.wish, wish, "the newer copy counts");
        }
    }
}
