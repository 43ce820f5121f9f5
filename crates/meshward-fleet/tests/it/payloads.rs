//! Payloads of real images: how small they are, and that they come back.

use std::path::Path;

use meshward_core::codec::{Codec, CodecError};
use meshward_core::hash::{BLOCK, BlockHash, Sha256Sum};
use meshward_core::ota::trust::{Descriptor, GroupKey};
use meshward_fleet::payload::{Options, Payload, build, unpack};

fn image(version: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/firmware");
    std::fs::read(folder.join(format!("node-c3-v{version}.bin"))).unwrap()
}

fn made(version: &str, base: Option<&str>, codec: Codec) -> Payload {
    let base = base.map(image);
    let options = Options { codec, ..Options::default() };
    build(&image(version), base.as_deref(), &options).unwrap()
}

/// Payload over image, in parts per thousand of the image.
#[test]
fn real_images_are_packed_as_small_as_promised() {
    let rows = [
        ("1.4.2", None, Codec::Lzma, 605.0),
        ("1.4.3", None, Codec::Lzma, 605.0),
        ("1.5.0", None, Codec::Lzma, 605.0),
        ("1.4.2", None, Codec::Heatshrink, 750.0),
        ("1.4.3", None, Codec::Heatshrink, 750.0),
        ("1.5.0", None, Codec::Heatshrink, 750.0),
        ("1.4.3", Some("1.4.2"), Codec::Lzma, 25.0),
        ("1.5.0", Some("1.4.2"), Codec::Lzma, 95.0),
        ("1.5.0", Some("1.4.3"), Codec::Lzma, 95.0),
        ("1.4.3", Some("1.4.2"), Codec::Heatshrink, 30.0),
        ("1.5.0", Some("1.4.2"), Codec::Heatshrink, 120.0),
        ("1.4.3", Some("1.4.2"), Codec::None, 55.0),
        ("1.5.0", Some("1.4.2"), Codec::None, 180.0),
    ];
    for (version, base, codec, most) in rows {
        let payload = made(version, base, codec);
        let ratio = payload.ratio() * 1_000.0;
        let from = base.unwrap_or("nothing");
        println!("{version} from {from}, {codec}: {} bytes, {ratio:.1} ‰", payload.bytes.len());
        assert!(ratio <= most, "{version} from {from}, {codec}: {ratio:.1} ‰, at most {most} ‰");
    }
}

#[test]
fn a_patch_needs_its_own_base() {
    let payload = made("1.4.3", Some("1.4.2"), Codec::Lzma);
    assert_eq!(unpack(&payload, &image("1.4.2"), None).as_deref(), Ok(&image("1.4.3")[..]));
    assert_eq!(payload.base, Some(Sha256Sum::of(&image("1.4.2"))));
    let mut other = image("1.4.2");
    other[0x1_0000] ^= 1;
    let wrong = unpack(&payload, &other, None).unwrap();
    assert_ne!(Sha256Sum::of(&wrong), payload.image, "the image's hash tells");
    assert_eq!(unpack(&payload, &other[..1_000], None), Err(CodecError::Sizes));
}

#[test]
fn a_smaller_image_than_its_base_and_one_of_other_bytes_come_back() {
    let base = image("1.5.0");
    for image in [&base[200_000..201_000], &base[..1], b"nothing of it is in the base \xF1\xF2\xF3"] {
        for codec in Codec::ALL {
            let payload = build(image, Some(&base), &Options { codec, ..Options::default() }).unwrap();
            assert_eq!(unpack(&payload, &base, None).as_deref(), Ok(image));
        }
    }
    let same = build(&base, Some(&base), &Options::default()).unwrap();
    assert!(same.bytes.len() < 30, "{} bytes say that nothing changed", same.bytes.len());
}

#[test]
fn the_table_has_a_hash_per_block() {
    let payload = made("1.4.3", Some("1.4.2"), Codec::Lzma);
    let table = payload.table();
    let blocks = payload.bytes.len().div_ceil(BLOCK);
    assert_eq!(table.len(), blocks * BlockHash::LEN);
    let last = &payload.bytes[(blocks - 1) * BLOCK..];
    assert_eq!(table[(blocks - 1) * BlockHash::LEN..], BlockHash::of(last).0);
}

#[test]
fn a_descriptor_says_what_a_payload_is() {
    let payload = made("1.4.3", Some("1.4.2"), Codec::Lzma);
    let descriptor = payload.descriptor();
    assert_eq!(Descriptor::decode(&descriptor.encode()).as_ref(), Ok(&descriptor));
    assert_eq!(descriptor.table_len() as usize, payload.table().len());
    assert_eq!(descriptor.chunks(), 1 + 11);
    assert_eq!(descriptor.sha256, Sha256Sum::of(&payload.bytes));
}

#[test]
fn levels_trade_time_for_size() {
    let image = image("1.4.2");
    let size = |level| build(&image, None, &Options { level, ..Options::default() }).unwrap().bytes.len();
    let (quick, small) = (size(1), size(9));
    println!("level 1: {quick} bytes, level 9: {small} bytes");
    assert!(small < quick);
}

#[test]
fn wrong_options_are_named() {
    let default = Options::default();
    let check = |image: &[u8], base: Option<&[u8]>, options: Options, needle: &str| {
        let error = build(image, base, &options).unwrap_err().to_string();
        assert!(error.contains(needle), "{error} should say {needle}");
    };
    let chunks = |chunk_size| Options { chunk_size, ..default };
    let level = |level| Options { level, ..default };
    check(b"", None, default, "image is empty");
    check(b"x", Some(b""), default, "base image is empty");
    check(b"x", None, chunks(100), "chunk size 100: a multiple of 4 from 128 to 1400");
    check(b"x", None, chunks(1_022), "chunk size 1022");
    check(b"x", None, level(0), "level 0: 1 (quick) to 9 (small)");
    check(b"x", None, level(10), "level 10");
}

fn group_key(seed: u8) -> GroupKey {
    GroupKey::new(core::array::from_fn(|at| seed.wrapping_add(at as u8))).unwrap()
}

#[test]
fn a_sealed_payload_opens_with_its_groups_key_alone() {
    let image = image("1.4.2");
    for codec in Codec::ALL {
        let open = Options { codec, ..Options::default() };
        let options = Options { group_key: Some(group_key(1)), ..open };
        let (plain, sealed) = (build(&image, None, &open).unwrap(), build(&image, None, &options).unwrap());
        assert_eq!(unpack(&sealed, &[], Some(&group_key(1))).as_deref(), Ok(&image[..]));
        assert_eq!(unpack(&sealed, &[], Some(&group_key(2))), Err(CodecError::Seal));
        assert_eq!(unpack(&sealed, &[], None), Err(CodecError::Seal));
        let blocks = plain.bytes.len().div_ceil(BLOCK - 16);
        assert_eq!(sealed.bytes.len(), plain.bytes.len() + 16 * blocks, "16 bytes for each block");
        let descriptor = sealed.descriptor();
        assert_eq!(Descriptor::decode(&descriptor.encode()).as_ref(), Ok(&descriptor));
        assert_eq!(descriptor.seal.map(|seal| seal.key), Some(group_key(1).id()));
        assert_eq!(descriptor.table_len() as usize, sealed.table().len());
        // Half of all bits differ: nothing of the one shows in the other.
        let differ: u32 = plain.bytes.iter().zip(&sealed.bytes).map(|(a, b)| (a ^ b).count_ones()).sum();
        let share = f64::from(differ) / (8 * plain.bytes.len()) as f64;
        assert!((0.495..0.505).contains(&share), "{codec}: {share}");
    }
}

#[test]
fn sealing_again_gives_the_same_and_sealing_something_else_shares_nothing() {
    let image = image("1.4.2");
    let options = |seed, codec| Options { codec, group_key: Some(group_key(seed)), ..Options::default() };
    let usual = build(&image, None, &options(1, Codec::None)).unwrap();
    assert_eq!(build(&image, None, &options(1, Codec::None)).unwrap(), usual, "nodes go on where they were");
    // The same bytes but one: with the same key stream all others would be equal.
    let mut other = image.clone();
    other[100_000] ^= 1;
    for (image, seed) in [(&other, 1), (&image, 2)] {
        let other = build(image, None, &options(seed, Codec::None)).unwrap();
        assert_ne!(other.seal, usual.seal);
        let equal = other.bytes.iter().zip(&usual.bytes).filter(|(a, b)| a == b).count();
        assert!(equal < image.len() / 200, "{equal} bytes of {} are the same", image.len());
    }
}
