//! An installer's loop over flash that is memory: the patch release of the test images, unpacked.

use meshward_core::codec::{Codec, Need, Recipe, Sizes, Unpacker};
use meshward_core::hash::Sha256Sum;

/// What an installer reads from flash at once.
const READ: u32 = 256;
/// The image before.
pub(crate) const BASE: &[u8] = include_bytes!("../../testdata/firmware/node-c3-v1.4.2.bin");
/// The image that is made.
pub(crate) const IMAGE: &[u8] = include_bytes!("../../testdata/firmware/node-c3-v1.4.3.bin");
/// Bytes of the patch before it is packed.
const PATCH: u32 = 26_276;

/// A payload and how it is packed.
#[derive(Clone, Copy)]
pub(crate) struct Payload {
    pub(crate) codec: Codec,
    bytes: &'static [u8],
}

/// The patch from 1.4.2 to 1.4.3 by LZMA.
pub(crate) const LZMA: Payload =
    Payload { codec: Codec::Lzma, bytes: include_bytes!("../../testdata/codec/v1.4.3-from-v1.4.2.lzma") };
/// The same by heatshrink.
pub(crate) const HEATSHRINK: Payload = Payload {
    codec: Codec::Heatshrink,
    bytes: include_bytes!("../../testdata/codec/v1.4.3-from-v1.4.2.heatshrink"),
};

/// Unpacks the payload; whether its sums are the image's.
#[inline(never)]
pub(crate) fn install(payload: Payload) -> bool {
    let recipe = Recipe {
        codec: payload.codec,
        sizes: Sizes { packed: payload.bytes.len() as u32, plain: PATCH },
        image_len: IMAGE.len() as u32,
        base_len: Some(BASE.len() as u32),
    };
    let Ok(mut unpacker) = Unpacker::new(recipe) else { return false };
    let piece = |flash: &'static [u8], offset: u32, len: u32| {
        flash.get(offset as usize..(offset + len.min(READ)) as usize).unwrap_or_default()
    };
    loop {
        let outcome = match unpacker.needs() {
            Need::Payload { offset, len } => unpacker.payload(piece(payload.bytes, offset, len)).map(drop),
            Need::Base { offset, len } => unpacker.base(piece(BASE, offset, len)),
            Need::Write => {
                let page = unpacker.page();
                let place = page.offset as usize..page.offset as usize + page.bytes.len();
                if IMAGE.get(place) != Some(page.bytes) {
                    return false;
                }
                unpacker.page_written()
            }
            Need::Nothing(sums) => return sums.sha256 == image_hash(),
        };
        if outcome.is_err() {
            return false;
        }
    }
}

/// The image's SHA-256, as a manifest would say it.
fn image_hash() -> Sha256Sum {
    let digits = b"a69f70927458a0d46fdbb2dee921752855206f5f4dfe65e9b31c6b5a2df440cd";
    Sha256Sum::parse(digits).unwrap_or(Sha256Sum([0; 32]))
}
