//! Keys that a group of nodes shares, for payloads that nobody else is to read.
//!
//! Every payload has a key of its own, derived from the group's and from all that a node is told of the payload
//! (HMAC-SHA256, as HKDF-Expand of RFC 5869 does it). So no nonce is used twice, whoever seals, and what was
//! sealed for one image cannot be given out for another, nor cut off, whoever signs.

use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::codec::{Codec, PayloadKey, Sizes};
use crate::hash::Sha256Sum;

/// Group keys that a node holds: one in use, one before it and one after it, and one to spare.
pub const GROUP_KEYS_MAX: usize = 4;
/// Bytes of a salt.
pub const SALT: usize = 16;

/// A group key's name: 8 bytes derived from it, which tell nothing else of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKeyId(pub [u8; GroupKeyId::LEN]);

impl GroupKeyId {
    /// Bytes of a name.
    pub const LEN: usize = 8;
}

impl fmt::Display for GroupKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a payload is sealed, as its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Whoever holds this key can open it.
    pub key: GroupKeyId,
    /// What makes the payload's key differ from those of all others.
    pub salt: [u8; SALT],
}

/// What a payload is for: its key opens nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The SHA-256 of the image that it becomes.
    pub image: Sha256Sum,
    /// That of the image that it is a patch of.
    pub base: Option<Sha256Sum>,
    /// How it is packed.
    pub codec: Codec,
    /// Its length, sealed, and that of what comes out of the codec.
    pub sizes: Sizes,
}

impl Purpose {
    fn feed(&self, mac: &mut Hmac<Sha256>) {
        mac.update(&self.image.0);
        mac.update(&[self.base.is_some().into(), self.codec.number()]);
        mac.update(&self.base.map_or([0; 32], |base| base.0));
        mac.update(&self.sizes.packed.to_le_bytes());
        mac.update(&self.sizes.plain.to_le_bytes());
    }
}

/// 32 secret bytes that a group of nodes and whoever seals for them share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GroupKey {
    bytes: [u8; 32],
    id: GroupKeyId,
}

impl GroupKey {
    /// The key with these bytes; `None` when they are all the same, as those of erased flash are.
    pub fn new(bytes: [u8; 32]) -> Option<Self> {
        let [first, ..] = bytes;
        if bytes.iter().all(|byte| *byte == first) {
            return None;
        }
        let id = GroupKeyId(head(derive(&bytes, b"meshward group key name", |_| {})));
        Some(Self { bytes, id })
    }

    /// Its bytes: whoever has them reads all that is sealed for the group.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Its name.
    pub const fn id(&self) -> GroupKeyId {
        self.id
    }

    /// What makes a payload's key its own: derived from what is sealed, so that sealing the same again gives the
    /// same payload, and nobody needs random bytes. `stream` is what comes out when it is opened.
    pub fn seal(&self, purpose: &Purpose, stream: &[u8]) -> Seal {
        let salt = derive(&self.bytes, b"meshward payload salt", |mac| {
            purpose.feed(mac);
            mac.update(&Sha256Sum::of(stream).0);
        });
        Seal { key: self.id, salt: head(salt) }
    }

    /// The key of the payload with this salt and purpose.
    // Inlined, what it needs for a moment would stay on an installer's stack.
    #[inline(never)]
    pub fn payload_key(&self, salt: &[u8; SALT], purpose: &Purpose) -> PayloadKey {
        PayloadKey::new(derive(&self.bytes, b"meshward payload key", |mac| {
            mac.update(salt);
            purpose.feed(mac);
        }))
    }
}

/// The first block of HKDF-Expand: HMAC of a label, its end, what `feed` adds, and the number 1.
fn derive(key: &[u8; 32], label: &[u8], feed: impl FnOnce(&mut Hmac<Sha256>)) -> [u8; 32] {
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = Hmac::<Sha256>::new((&block).into());
    mac.update(label);
    mac.update(&[0]);
    feed(&mut mac);
    mac.update(&[1]);
    mac.finalize().into_bytes().into()
}

fn head<const N: usize>(bytes: [u8; 32]) -> [u8; N] {
    let mut head = [0; N];
    head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    head
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKey({})", self.id)
    }
}

/// The group keys that a node holds, from its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupKeys(Vec<GroupKey>);

impl GroupKeys {
    /// These keys; `None` when they are more than [`GROUP_KEYS_MAX`].
    pub fn new(keys: &[GroupKey]) -> Option<Self> {
        (keys.len() <= GROUP_KEYS_MAX).then(|| Self(keys.to_vec()))
    }

    /// The key of this name.
    pub fn find(&self, id: GroupKeyId) -> Option<&GroupKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn key(seed: u8) -> GroupKey {
        GroupKey::new(core::array::from_fn(|at| seed.wrapping_add(at as u8))).unwrap()
    }

    fn purpose() -> Purpose {
        let sizes = Sizes { packed: 5_000, plain: 9_000 };
        Purpose { image: Sha256Sum([1; 32]), base: None, codec: Codec::Lzma, sizes }
    }

    /// As Python's `hmac` computes it, and as any other implementation must.
    #[test]
    fn keys_and_names_are_what_they_were() {
        let key = key(0);
        assert_eq!(format!("{} {key:?}", key.id()), "dc4050fa073edec0 GroupKey(dc4050fa073edec0)");
        let seal = key.seal(&purpose(), b"stream");
        let hex =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<alloc::string::String>();
        assert_eq!(hex(&seal.salt), "fc67c1375132d82285892c9c410ba823");
        let expected =
            Sha256Sum::parse(b"8a39863d0254f2b75bad9c146218c135f5c128ad5ae445eb7d7de22eddc8cd56").unwrap();
        assert_eq!(key.payload_key(&[7; SALT], &purpose()), PayloadKey::new(expected.0));
    }

    #[test]
    fn every_payload_has_its_own_key() {
        let (salt, purpose) = ([7; SALT], purpose());
        let usual = key(0).payload_key(&salt, &purpose);
        let sizes = |packed, plain| Sizes { packed, plain };
        let others = [
            key(1).payload_key(&salt, &purpose),
            key(0).payload_key(&[8; SALT], &purpose),
            key(0).payload_key(&salt, &Purpose { image: Sha256Sum([2; 32]), ..purpose }),
            key(0).payload_key(&salt, &Purpose { base: Some(Sha256Sum([0; 32])), ..purpose }),
            key(0).payload_key(&salt, &Purpose { codec: Codec::None, ..purpose }),
            key(0).payload_key(&salt, &Purpose { sizes: sizes(4_999, 9_000), ..purpose }),
            key(0).payload_key(&salt, &Purpose { sizes: sizes(5_000, 9_001), ..purpose }),
        ];
        assert!(others.iter().all(|other| *other != usual));
        let (first, second) = (key(0).seal(&purpose, b"one"), key(0).seal(&purpose, b"two"));
        assert_ne!(first.salt, second.salt);
        assert_eq!(first, key(0).seal(&purpose, b"one"), "the same again is the same payload");
    }

    #[test]
    fn erased_flash_is_no_key_and_a_node_holds_four() {
        assert_eq!((GroupKey::new([0xFF; 32]), GroupKey::new([0; 32])), (None, None));
        let keys: [GroupKey; 5] = core::array::from_fn(|seed| key(seed as u8));
        let held = GroupKeys::new(&keys[..4]).unwrap();
        assert_eq!(held.find(keys[3].id()), Some(&keys[3]));
        assert_eq!((held.find(keys[4].id()), GroupKeys::new(&keys)), (None, None));
    }
}
