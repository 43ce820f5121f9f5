//! Sealed payloads: what a standard library makes of them, what opens, and what descriptors say of them.

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use meshward_core::codec::seal::{TAG, opened_len, seal, sealed_len};
use meshward_core::codec::{Codec, CodecError, Need, PayloadKey, Recipe, Sizes, Unpacker};
use meshward_core::hash::{BLOCK, Sha256Sum};
use meshward_core::ota::trust::{Descriptor, GroupKey, GroupKeyId, GroupKeys, Refusal, Seal};
use proptest::prelude::*;

const KEY: [u8; 32] = [9; 32];

/// Opens as an installer does, `cut` bytes at a time.
fn open(key: &[u8; 32], sealed: &[u8], cut: usize) -> Result<Vec<u8>, CodecError> {
    let plain = opened_len(sealed.len() as u32).ok_or(CodecError::Sizes)?;
    let sizes = Sizes { packed: sealed.len() as u32, plain };
    let recipe = Recipe { codec: Codec::None, sizes, image_len: plain, base_len: None };
    let mut unpacker = Unpacker::new(recipe, Some(&PayloadKey::new(*key)))?;
    let mut image = Vec::new();
    loop {
        match unpacker.needs() {
            Need::Payload { offset, len } => {
                let from = offset as usize;
                unpacker.payload(&sealed[from..from + cut.min(len as usize)])?;
            }
            Need::Base { .. } => panic!("there is none"),
            Need::Write => {
                image.extend_from_slice(unpacker.page().bytes);
                unpacker.page_written()?;
            }
            Need::Nothing(sums) => {
                assert_eq!(sums.sha256, Sha256Sum::of(&image));
                return Ok(image);
            }
        }
    }
}

/// The same by the usual crate: a block's number is its nonce.
fn by_the_book(plain: &[u8]) -> Vec<u8> {
    let cipher = ChaCha20Poly1305::new((&KEY).into());
    let block = |(number, plain): (usize, &[u8])| {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&(number as u32).to_le_bytes());
        cipher.encrypt((&nonce).into(), plain).unwrap()
    };
    plain.chunks(BLOCK - TAG).enumerate().flat_map(block).collect()
}

proptest! {
    #[test]
    fn what_is_sealed_opens_and_is_what_the_standard_says(
        plain in proptest::collection::vec(any::<u8>(), 1..9_000), cut in 1_usize..5_000,
    ) {
        let sealed = seal(&PayloadKey::new(KEY), &plain);
        prop_assert_eq!(&sealed, &by_the_book(&plain));
        prop_assert_eq!(sealed_len(plain.len() as u32), Some(sealed.len() as u32));
        prop_assert_eq!(open(&KEY, &sealed, cut), Ok(plain));
    }

    #[test]
    fn a_changed_bit_is_found_before_its_block_is_decoded(
        len in 1_usize..9_000, at in any::<prop::sample::Index>(), bit in 0_u32..8, cut in 1_usize..5_000,
    ) {
        let plain: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let mut sealed = seal(&PayloadKey::new(KEY), &plain);
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert_eq!(open(&KEY, &sealed, cut), Err(CodecError::Seal));
    }
}

#[test]
fn only_the_very_payload_opens() {
    let plain: Vec<u8> = (0..10_000_u32).map(|at| ((at * at) >> 9) as u8).collect();
    let sealed = seal(&PayloadKey::new(KEY), &plain);
    let blocks: Vec<&[u8]> = sealed.chunks(BLOCK).collect();
    assert_eq!(open(&KEY, &sealed, 256), Ok(plain));
    assert_eq!(open(&[8; 32], &sealed, 256), Err(CodecError::Seal), "another key");
    assert_eq!(
        open(&KEY, &[blocks[1], blocks[0], blocks[2]].concat(), 256),
        Err(CodecError::Seal),
        "swapped"
    );
    assert_eq!(open(&KEY, &[blocks[0], blocks[0], blocks[2]].concat(), 256), Err(CodecError::Seal), "twice");
    assert_eq!(open(&KEY, &[blocks[0], blocks[2]].concat(), 256), Err(CodecError::Seal), "one left out");
    assert_eq!(open(&KEY, &sealed[..sealed.len() - 1], 256), Err(CodecError::Seal), "cut off");
    assert_eq!(open(&KEY, &sealed[..16], 256), Err(CodecError::Sizes), "no room for a byte");
}

/// What is left of a payload whose last blocks are gone opens with the key of the whole one, so the length is part
/// of what the key is made of.
#[test]
fn a_payload_that_ends_sooner_has_another_key() {
    let (group, descriptor) = (group(0), descriptor());
    let keys = GroupKeys::new(&[group]).unwrap();
    let seal = Some(Seal { key: group.id(), salt: [5; 16] });
    let key = |packed| {
        let sizes = Sizes { packed, ..descriptor.sizes };
        Descriptor { seal, sizes, ..descriptor.clone() }.payload_key(&keys).unwrap().unwrap()
    };
    assert_ne!(key(8_192), key(4_096));
    assert_eq!(key(8_192), key(8_192));
}

fn group(seed: u8) -> GroupKey {
    GroupKey::new(core::array::from_fn(|at| seed.wrapping_add(at as u8))).unwrap()
}

fn descriptor() -> Descriptor {
    Descriptor {
        image: Sha256Sum::of(b"image"),
        base: Some(Sha256Sum::of(b"base")),
        codec: Codec::Lzma,
        sizes: Sizes { packed: 9_000, plain: 20_000 },
        sha256: Sha256Sum::of(b"payload"),
        chunk_size: 1_024,
        table: Sha256Sum::of(b"table"),
        seal: None,
    }
}

/// Hashes of encodings that were made without this code.
#[test]
fn descriptors_are_what_they_were_and_say_how_a_payload_is_sealed() {
    let seal = Seal { key: GroupKeyId([0, 1, 2, 3, 4, 5, 6, 7]), salt: core::array::from_fn(|at| at as u8) };
    let rows = [
        (true, None, 157, "d2ae8d7df3c0fc73fb1a3af60efdf646a605d047be84149170f207bfd22bd993"),
        (false, None, 122, "3429db6250a08c806742c162325722681e9d5c0ed3d6df90b094afe7b26e6f47"),
        (true, Some(seal), 187, "245a8663b5cd5a4056678ef140802081258671a2e15aba663b20692cac4180d5"),
        (false, Some(seal), 152, "bca9c6a579abd7e9c595b1e9daf6f755009788cbad681fb7ae160ccd6e420cbf"),
    ];
    for (patch, seal, len, sha256) in rows {
        let base = descriptor().base.filter(|_| patch);
        let descriptor = Descriptor { base, seal, ..descriptor() };
        let bytes = descriptor.encode();
        assert_eq!((bytes.len(), Sha256Sum::of(&bytes).to_string().as_str()), (len, sha256));
        assert_eq!(Descriptor::decode(&bytes), Ok(descriptor));
        for len in 0..bytes.len() {
            assert_eq!(Descriptor::decode(&bytes[..len]), Err(Refusal::Truncated), "{len} bytes");
        }
    }
}

#[test]
fn a_seal_that_makes_no_sense_is_refused() {
    let sealed = Descriptor { seal: Some(Seal { key: group(0).id(), salt: [5; 16] }), ..descriptor() };
    let good = sealed.encode();
    // The last 30 bytes: 09 01, 0A 48 …, 0B 50 ….
    let at = good.len() - 30;
    let with = |bytes: &[u8]| [&good[..at], bytes, &good[at + bytes.len()..]].concat();
    assert_eq!(Descriptor::decode(&with(&[9, 2])), Err(Refusal::Cipher(2)));
    assert_eq!(Descriptor::decode(&with(&[9, 0])), Err(Refusal::Cipher(0)));
    assert_eq!(Descriptor::decode(&with(&[9, 1, 10, 0x47])), Err(Refusal::Malformed), "a name of 7 bytes");
    assert_eq!(Descriptor::decode(&with(&[9, 1, 12])), Err(Refusal::Malformed), "no name");
    let mut without = good[..at].to_vec();
    without[0] = 0xA9;
    assert!(Descriptor::decode(&without).is_ok());
    without[0] = 0xAA;
    without.extend_from_slice(&good[at..at + 2]);
    assert_eq!(Descriptor::decode(&without), Err(Refusal::Malformed), "a cipher and no key");
    let sizes = |packed, plain| Descriptor { sizes: Sizes { packed, plain }, ..sealed.clone() }.encode();
    assert_eq!(Descriptor::decode(&sizes(4_096 + 16, 20_000)), Err(Refusal::Malformed), "an empty block");
    let image = |packed, plain, seal| {
        let sizes = Sizes { packed, plain };
        Descriptor { base: None, codec: Codec::None, sizes, seal, ..sealed.clone() }
    };
    assert!(Descriptor::decode(&image(5_032, 5_000, sealed.seal).encode()).is_ok());
    assert_eq!(Descriptor::decode(&image(5_000, 5_000, sealed.seal).encode()), Err(Refusal::Malformed));
    assert!(!image(5_032, 5_000, sealed.seal).is_image() && image(5_000, 5_000, None).is_image());
    assert!(Refusal::Cipher(2).to_string().contains("cipher 2 is not known"));
}

#[test]
fn a_node_finds_the_key_or_says_which_it_lacks() {
    let keys = GroupKeys::new(&[group(0), group(1)]).unwrap();
    let sealed = |key: GroupKey| {
        Descriptor { seal: Some(Seal { key: key.id(), salt: [5; 16] }), ..descriptor() }.payload_key(&keys)
    };
    assert_eq!(descriptor().payload_key(&keys), Ok(None), "not sealed");
    assert!(
        matches!((sealed(group(0)), sealed(group(1))), (Ok(Some(first)), Ok(Some(second))) if first != second)
    );
    let refusal = sealed(group(2)).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownGroupKey(group(2).id()));
    assert_eq!(refusal.code(), 25);
    assert!(refusal.to_string().contains(&format!("sealed by group key {}", group(2).id())));
}
