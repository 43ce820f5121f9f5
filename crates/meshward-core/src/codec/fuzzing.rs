//! What must hold for any bytes: one function per fuzz target, shared with the tests that replay the
//! corpus. They panic when it does not hold; nothing else calls them.

use super::seal::{TAG, opened_len, seal};
use super::{
    Codec, CodecError, Decoder, Lent, Need, Patch, PatchNeeds, PayloadKey, Recipe, Sizes, Step, Unpacker,
};
use crate::hash::BLOCK;
use alloc::vec::Vec;

/// The most output that a fuzzed stream may announce.
const PLAIN_MAX: u32 = 1 << 16;
/// Bytes of the base image.
const BASE: usize = 600;

/// A base image with some structure.
fn base() -> [u8; BASE] {
    core::array::from_fn(|at| (at % 7).wrapping_add(at / 64) as u8)
}

/// An LZMA stream: three bytes say how it is cut and how long its output is.
pub fn lzma(input: &[u8]) {
    decoder(Codec::Lzma, input);
}

/// A heatshrink stream, likewise.
pub fn heatshrink(input: &[u8]) {
    decoder(Codec::Heatshrink, input);
}

/// Output never exceeds what was said, and does not depend on how the stream is cut.
fn decoder(codec: Codec, input: &[u8]) {
    let Some(([cut, low, high], stream)) = input.split_first_chunk() else { return };
    let sizes = Sizes { packed: stream.len() as u32, plain: u32::from(u16::from_le_bytes([*low, *high])) };
    let whole = decode(codec, sizes, stream, stream.len().max(1), 4096);
    let pieces = decode(codec, sizes, stream, usize::from(*cut % 32).max(1), usize::from(*cut / 32).max(1));
    assert_eq!(whole, pieces, "the cut shows");
}

/// Decodes a stream given `size` bytes at a time into room for `room`.
fn decode(
    codec: Codec,
    sizes: Sizes,
    stream: &[u8],
    size: usize,
    room: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut decoder = Decoder::new(codec, sizes)?;
    let mut output = Vec::new();
    let mut buffer = alloc::vec![0; room];
    let mut at = 0_usize;
    while !decoder.is_done() {
        let end = at.saturating_add(size).min(stream.len());
        let piece = stream.get(at..end).unwrap_or_default();
        let step = decoder.decode(piece, &mut buffer)?;
        assert!(step.read <= piece.len() && step.written <= room);
        assert!(step.read == piece.len() || step.written == room || decoder.is_done(), "stopped for nothing");
        if step == Step::default() && piece.is_empty() && !decoder.is_done() {
            return Err(CodecError::Truncated);
        }
        output.extend_from_slice(buffer.get(..step.written).unwrap_or_default());
        assert!(output.len() <= sizes.plain as usize, "more than was said");
        at = at.saturating_add(step.read);
    }
    assert_eq!(output.len(), sizes.plain as usize);
    Ok(output)
}

/// A patch: three bytes say how it is cut and how long the image is.
pub fn patch(input: &[u8]) {
    let Some(([cut, low, high], stream)) = input.split_first_chunk() else { return };
    let image_len = u32::from(u16::from_le_bytes([*low, *high]));
    let whole = apply(image_len, stream, stream.len().max(1), BASE);
    let pieces = apply(image_len, stream, usize::from(*cut % 32).max(1), usize::from(*cut / 32).max(1));
    assert_eq!(whole, pieces, "the cut shows");
}

fn apply(image_len: u32, stream: &[u8], size: usize, lend: usize) -> Result<Vec<u8>, CodecError> {
    let mut patch = Patch::new(BASE as u32, image_len);
    let base = base();
    let (mut output, mut at, mut lent) = (Vec::new(), 0_usize, Lent::default());
    let mut room = [0; 300];
    while patch.needs() != PatchNeeds::Nothing {
        if let PatchNeeds::Base { offset, len } = patch.needs() {
            let from = offset as usize;
            let all = base.get(from..from.saturating_add(len as usize));
            let bytes = all.and_then(|all| all.get(..lend.min(all.len())));
            lent = Lent { offset, bytes: bytes.unwrap_or_else(|| panic!("{offset} + {len} is outside")) };
        }
        let piece = stream.get(at..at.saturating_add(size).min(stream.len())).unwrap_or_default();
        let step = patch.apply(piece, lent, &mut room)?;
        if step == Step::default() && piece.is_empty() {
            return Err(CodecError::Truncated);
        }
        output.extend_from_slice(room.get(..step.written).unwrap_or_default());
        assert!(output.len() <= image_len as usize, "more than was said");
        at = at.saturating_add(step.read);
    }
    if at < stream.len() { Err(CodecError::Trailing) } else { Ok(output) }
}

/// A whole payload: six bytes say what it is made of. It ends, or is refused, and writes whole pages in order.
pub fn unpack(input: &[u8]) {
    let Some(([codec, cut, plain @ .., low, high], payload)) = input.split_first_chunk::<6>() else { return };
    let image_len = u32::from(u16::from_le_bytes([*low, *high]));
    let [plain_low, plain_high] = *plain;
    let patch = codec & 0x80 != 0;
    let plain = if patch { u32::from(u16::from_le_bytes([plain_low, plain_high])) } else { image_len };
    let recipe = Recipe {
        codec: Codec::from_number(codec % 3).unwrap_or(Codec::None),
        sizes: Sizes { packed: payload.len() as u32, plain: plain.min(PLAIN_MAX) },
        image_len,
        base_len: patch.then_some(BASE as u32),
    };
    if let Ok(image) = install(recipe, payload, None, usize::from(*cut).max(1)) {
        assert_eq!(image.len(), image_len as usize);
    }
}

/// A sealed payload: five bytes say how it is cut and where it is spoilt, the rest is what is sealed. It opens to
/// what was sealed, and not if it was spoilt; the same bytes as if somebody had sealed them do not open either.
pub fn sealed(input: &[u8]) {
    let Some(([cut, how, at @ .., bit], plain)) = input.split_first_chunk::<5>() else { return };
    let (cut, key) = (usize::from(*cut).max(1), PayloadKey::new([9; 32]));
    let recipe = |sealed: &[u8], image_len: usize| Recipe {
        codec: Codec::None,
        sizes: Sizes { packed: sealed.len() as u32, plain: image_len as u32 },
        image_len: image_len as u32,
        base_len: None,
    };
    let open = |sealed: &[u8], image_len| install(recipe(sealed, image_len), sealed, Some(&key), cut);
    for len in [plain.len().saturating_sub(TAG), plain.len().saturating_sub(2 * TAG)] {
        assert!(open(plain, len).is_err(), "nobody sealed this");
    }
    if plain.is_empty() {
        return;
    }
    let mut sealed = seal(&key, plain);
    let at = usize::from(u16::from_le_bytes(*at)).checked_rem(sealed.len()).unwrap_or(0);
    match how % 3 {
        0 => assert_eq!(open(&sealed, plain.len()).as_deref(), Ok(plain)),
        1 => {
            sealed.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (bit % 8));
            assert_eq!(open(&sealed, plain.len()), Err(CodecError::Seal));
        }
        _ => {
            sealed.truncate(at);
            let len = opened_len(at as u32).unwrap_or(0) as usize;
            // Between two blocks it makes a shorter payload, whose key would be another one.
            assert!(open(&sealed, len).is_err() || at.is_multiple_of(BLOCK), "cut off at {at}");
        }
    }
}

/// The image that a payload makes, given `cut` bytes at a time.
fn install(
    recipe: Recipe,
    payload: &[u8],
    key: Option<&PayloadKey>,
    cut: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut unpacker = Unpacker::new(recipe, key)?;
    let (base, mut image) = (base(), Vec::new());
    loop {
        let outcome = match unpacker.needs() {
            Need::Payload { offset, len } => {
                let end = (offset as usize).saturating_add(cut.min(len as usize));
                let piece = payload.get(offset as usize..end);
                let piece = piece.unwrap_or_else(|| panic!("{offset} + {len} is outside"));
                assert!(!piece.is_empty(), "asks for nothing");
                let taken = unpacker.payload(piece);
                assert!(taken != Ok(0) || !matches!(unpacker.needs(), Need::Payload { .. }), "stands still");
                taken.map(drop)
            }
            Need::Base { offset, len } => {
                let from = offset as usize;
                let piece = base.get(from..from.saturating_add(cut.min(len as usize)));
                unpacker.base(piece.unwrap_or_else(|| panic!("{offset} + {len} is outside")))
            }
            Need::Write => {
                let page = unpacker.page();
                assert_eq!(page.offset as usize, image.len());
                image.extend_from_slice(page.bytes);
                assert!(page.bytes.len() == super::PAGE || image.len() == recipe.image_len as usize);
                unpacker.page_written()
            }
            Need::Nothing(_) => return Ok(image),
        };
        outcome?;
    }
}
