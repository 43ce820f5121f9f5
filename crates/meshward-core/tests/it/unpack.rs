//! Whole payloads through the machine that installs them.

use meshward_core::codec::{Codec, CodecError, Need, PAGE, Recipe, Sizes, Unpacker};
use meshward_core::hash::{Md5Sum, Sha256Sum, Sums};

/// A base and an image that is mostly made of it, with the patch between them.
fn patch() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let base: Vec<u8> = (0..5_000_u32).map(|at| (at.wrapping_mul(at) >> 5) as u8).collect();
    let mut image = base[1_000..3_000].to_vec();
    image.iter_mut().skip(500).take(100).for_each(|byte| *byte = byte.wrapping_add(3));
    image.extend_from_slice(b"and something new");
    image.extend_from_slice(&base[100..1_100]);
    let mut patch = Vec::new();
    operation(&mut patch, 3, 2 * 1_000);
    operation(&mut patch, 0, 500);
    operation(&mut patch, 1, 100);
    patch.extend_from_slice(&[3; 100]);
    operation(&mut patch, 0, 1_400);
    operation(&mut patch, 2, 17);
    patch.extend_from_slice(b"and something new");
    operation(&mut patch, 3, 2 * 2_900 - 1);
    operation(&mut patch, 0, 1_000);
    (base, image, patch)
}

fn operation(patch: &mut Vec<u8>, kind: u32, count: u32) {
    let mut number = count << 2 | kind;
    while number >= 0x80 {
        patch.push(number as u8 | 0x80);
        number >>= 7;
    }
    patch.push(number as u8);
}

/// Unpacks, lending `cut` bytes at most; the image and its sums.
fn unpack(recipe: Recipe, payload: &[u8], base: &[u8], cut: usize) -> Result<(Vec<u8>, Sums), CodecError> {
    let mut unpacker = Unpacker::new(recipe, None)?;
    let mut image = Vec::new();
    loop {
        match unpacker.needs() {
            Need::Payload { offset, len } => {
                let from = offset as usize;
                unpacker.payload(&payload[from..from + cut.min(len as usize)])?;
            }
            Need::Base { offset, len } => {
                let from = offset as usize;
                unpacker.base(&base[from..from + cut.min(len as usize)])?;
            }
            Need::Write => {
                let page = unpacker.page();
                assert_eq!(page.offset as usize, image.len());
                assert!(
                    page.bytes.len() == PAGE || image.len() + page.bytes.len() == recipe.image_len as usize
                );
                image.extend_from_slice(page.bytes);
                unpacker.page_written()?;
            }
            Need::Nothing(sums) => return Ok((image, sums)),
        }
    }
}

fn recipe(payload: &[u8], image: &[u8], base: Option<&[u8]>) -> Recipe {
    let len = payload.len() as u32;
    Recipe {
        codec: Codec::None,
        sizes: Sizes { packed: len, plain: len },
        image_len: image.len() as u32,
        base_len: base.map(|base| base.len() as u32),
    }
}

#[test]
fn a_patch_makes_pages_and_sums() {
    let (base, image, patch) = patch();
    let sums = Sums { sha256: Sha256Sum::of(&image), md5: Md5Sum::of(&image) };
    for cut in [1, 2, 100, 256, 4_096] {
        let outcome = unpack(recipe(&patch, &image, Some(&base)), &patch, &base, cut);
        assert_eq!(outcome, Ok((image.clone(), sums)), "{cut} at a time");
        let outcome = unpack(recipe(&image, &image, None), &image, &[], cut);
        assert_eq!(outcome, Ok((image.clone(), sums)), "{cut} at a time");
    }
}

/// Payloads that a gateway has made once are good for ever.
#[test]
fn kept_payloads_make_their_image() {
    let testdata = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
        std::fs::read(folder.join(name)).unwrap()
    };
    let base = testdata("firmware/node-c3-v1.4.2.bin");
    let image = testdata("firmware/node-c3-v1.4.3.bin");
    for (codec, name) in [(Codec::Lzma, "lzma"), (Codec::Heatshrink, "heatshrink")] {
        let payload = testdata(&format!("codec/v1.4.3-from-v1.4.2.{name}"));
        let sizes = Sizes { packed: payload.len() as u32, plain: 26_276 };
        let recipe = Recipe { codec, sizes, ..recipe(&payload, &image, Some(&base)) };
        let (made, sums) = unpack(recipe, &payload, &base, 256).unwrap();
        assert!(made == image, "{name}");
        assert_eq!(sums.sha256, Sha256Sum::of(&image));
        // With another base the sums tell; with a shorter one nothing is read behind its end.
        let mut other = base.clone();
        other.iter_mut().skip(1_000).step_by(5_000).for_each(|byte| *byte ^= 1);
        assert_ne!(unpack(recipe, &payload, &other, 256).unwrap().1, sums);
        let short = Recipe { base_len: Some(100_000), ..recipe };
        assert_eq!(unpack(short, &payload, &base, 256).err(), Some(CodecError::OutsideBase));
    }
}

#[test]
fn sizes_that_do_not_fit_the_payload_are_refused() {
    let (base, image, patch) = patch();
    let good = recipe(&patch, &image, Some(&base));
    let sizes = |len: usize| Sizes { packed: len as u32, plain: len as u32 };
    let check = |recipe: Recipe, expected: CodecError| {
        let longer = [&patch[..], &[0; 8]].concat();
        assert_eq!(unpack(recipe, &longer, &base, 64).err(), Some(expected), "{recipe:?}");
    };
    check(Recipe { sizes: sizes(patch.len() - 1), ..good }, CodecError::Truncated);
    check(Recipe { sizes: sizes(patch.len() + 1), ..good }, CodecError::Trailing);
    check(Recipe { image_len: good.image_len - 1, ..good }, CodecError::TooLong);
    check(Recipe { image_len: good.image_len + 1, ..good }, CodecError::Truncated);
    check(Recipe { base_len: Some(2_999), ..good }, CodecError::OutsideBase);
    check(Recipe { base_len: None, ..good }, CodecError::Sizes);
    check(Recipe { sizes: Sizes { packed: 5, plain: 6 }, ..good }, CodecError::Sizes);
    check(Recipe { image_len: 0, ..good }, CodecError::Sizes);
    check(Recipe { codec: Codec::Lzma, sizes: Sizes { packed: 0, plain: 6 }, ..good }, CodecError::Sizes);
}
