//! An installer's loop over flash that is memory: the patch release of the test images, unpacked.

use alloc::borrow::Cow;

use meshward_core::codec::seal::seal;
use meshward_core::codec::{Codec, Need, PayloadKey, Recipe, Sizes, Unpacker};
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

/// A payload as it is stored, and what a node that took the offer knows of it.
pub(crate) struct Stored {
    bytes: Cow<'static, [u8]>,
    recipe: Recipe,
    key: Option<PayloadKey>,
}

impl Payload {
    /// For everybody.
    pub(crate) fn open(self) -> Stored {
        let recipe = Recipe {
            codec: self.codec,
            sizes: Sizes { packed: self.bytes.len() as u32, plain: PATCH },
            image_len: IMAGE.len() as u32,
            base_len: Some(BASE.len() as u32),
        };
        Stored { bytes: Cow::Borrowed(self.bytes), recipe, key: None }
    }

    /// For holders of a key.
    pub(crate) fn sealed(self) -> Stored {
        let Stored { bytes, mut recipe, .. } = self.open();
        let key = PayloadKey::new([7; 32]);
        let bytes = seal(&key, &bytes);
        recipe.sizes.packed = bytes.len() as u32;
        Stored { bytes: Cow::Owned(bytes), recipe, key: Some(key) }
    }
}

/// Unpacks the payload; whether its sums are the image's.
#[inline(never)]
pub(crate) fn install(stored: &Stored) -> bool {
    let Ok(mut unpacker) = Unpacker::new(stored.recipe, stored.key.as_ref()) else { return false };
    let piece = |offset: u32, len: u32| offset as usize..(offset + len.min(READ)) as usize;
    loop {
        let outcome = match unpacker.needs() {
            Need::Payload { offset, len } => {
                unpacker.payload(stored.bytes.get(piece(offset, len)).unwrap_or_default()).map(drop)
            }
            Need::Base { offset, len } => unpacker.base(BASE.get(piece(offset, len)).unwrap_or_default()),
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
