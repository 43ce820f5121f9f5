//! Payloads: an image, whole or as a patch of the one that nodes run, packed for the way.
//!
//! [`build`] makes one, seals it for a group of nodes if that is wanted, and unpacks it again with the node's own
//! code before anybody else sees it. What nodes need to know of it is its [`Descriptor`].

mod delta;
mod pack;

use std::ops::RangeInclusive;

use meshward_core::codec::seal::{seal, sealed_len};
use meshward_core::codec::{Codec, CodecError, Need, PayloadKey, Recipe, Sizes, Unpacker};
use meshward_core::hash::{BLOCK, BlockHash, Sha256Sum};
use meshward_core::ota::trust::{
    CHUNK_ALIGN, CHUNK_SIZES, Descriptor, GroupKey, GroupKeys, PAYLOAD_MAX, Purpose, Seal,
};
use thiserror::Error;

/// How hard the encoder tries, as it may be asked for.
pub const LEVELS: RangeInclusive<u8> = 1..=9;

/// How a payload is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How it is packed.
    pub codec: Codec,
    /// From 1, quick, to 9, small; LZMA only. The slowest takes a tenth of a second for 500 KB.
    pub level: u8,
    /// Bytes in a chunk: a multiple of four in [`CHUNK_SIZES`].
    pub chunk_size: u16,
    /// Whose nodes alone are to read it; `None` leaves it open.
    pub group_key: Option<GroupKey>,
}

impl Default for Options {
    fn default() -> Self {
        Self { codec: Codec::Lzma, level: 9, chunk_size: 1_024, group_key: None }
    }
}

/// Why there is no payload.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// Nothing to send.
    #[error("the image is empty")]
    EmptyImage,
    /// Nothing to start from.
    #[error("the base image is empty")]
    EmptyBase,
    /// Longer than nodes take.
    #[error("an image, patch or payload of {0} bytes: nodes take {PAYLOAD_MAX} at most")]
    TooLarge(usize),
    /// Not a size that nodes take.
    #[error("chunk size {0}: a multiple of 4 from {min} to {max}", min = CHUNK_SIZES.start(), max = CHUNK_SIZES.end())]
    ChunkSize(u16),
    /// Not a level.
    #[error("level {0}: {min} (quick) to {max} (small)", min = LEVELS.start(), max = LEVELS.end())]
    Level(u8),
    /// The encoder gave up.
    #[error("packing failed")]
    Pack(#[source] std::io::Error),
    /// What was made does not unpack. This is a bug, and nothing is sent.
    #[error("the payload does not unpack")]
    Unpack(#[source] CodecError),
    /// What was made unpacks to something else. This is a bug, and nothing is sent.
    #[error("the payload unpacks to another image")]
    OtherImage,
}

/// A payload, and what has to be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What travels and is stored.
    pub bytes: Vec<u8>,
    /// How it becomes the image.
    pub recipe: Recipe,
    /// The image that it becomes.
    pub image: Sha256Sum,
    /// The image that it is a patch of.
    pub base: Option<Sha256Sum>,
    /// Bytes in a chunk.
    pub chunk_size: u16,
    /// How it is sealed.
    pub seal: Option<Seal>,
}

impl Payload {
    /// Its own hash.
    pub fn sha256(&self) -> Sha256Sum {
        Sha256Sum::of(&self.bytes)
    }

    /// The block table: a [`BlockHash`] per [`BLOCK`] bytes, one after the other.
    pub fn table(&self) -> Vec<u8> {
        self.bytes.chunks(BLOCK).flat_map(|block| BlockHash::of(block).0).collect()
    }

    /// What nodes have to know of it, for an operator to sign.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            image: self.image,
            base: self.base,
            codec: self.recipe.codec,
            sizes: self.recipe.sizes,
            sha256: self.sha256(),
            chunk_size: self.chunk_size,
            table: Sha256Sum::of(&self.table()),
            seal: self.seal,
        }
    }

    /// Its length over the image's.
    pub fn ratio(&self) -> f64 {
        self.bytes.len() as f64 / f64::from(self.recipe.image_len)
    }
}

/// Packs `image`, as a patch of `base` if there is one.
///
/// # Errors
/// [`PayloadError`] names the field that is wrong.
pub fn build(image: &[u8], base: Option<&[u8]>, options: &Options) -> Result<Payload, PayloadError> {
    check(image, base, options)?;
    let too_large = [Some(image), base].into_iter().flatten().find(|file| file.len() > PAYLOAD_MAX as usize);
    if let Some(file) = too_large {
        return Err(PayloadError::TooLarge(file.len()));
    }
    let patch = base.map(|base| delta::patch(base, image));
    let plain = patch.as_deref().unwrap_or(image);
    let stream = match options.codec {
        Codec::None => plain.to_vec(),
        Codec::Heatshrink => pack::heatshrink(plain),
        Codec::Lzma => pack::lzma(plain, options.level).map_err(PayloadError::Pack)?,
    };
    let len = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).ok().filter(|len| *len <= PAYLOAD_MAX);
        len.ok_or(PayloadError::TooLarge(bytes.len()))
    };
    let mut payload = Payload {
        recipe: Recipe {
            codec: options.codec,
            sizes: Sizes { packed: len(&stream)?, plain: len(plain)? },
            image_len: len(image)?,
            base_len: base.map(len).transpose()?,
        },
        image: Sha256Sum::of(image),
        base: base.map(Sha256Sum::of),
        chunk_size: options.chunk_size,
        seal: None,
        bytes: stream,
    };
    if let Some(key) = &options.group_key {
        payload = sealed(payload, key)?;
    }
    let unpacked = unpack(&payload, base.unwrap_or_default(), options.group_key.as_ref());
    if unpacked.map_err(PayloadError::Unpack)? == image { Ok(payload) } else { Err(PayloadError::OtherImage) }
}

/// The payload as only holders of the key can read it.
fn sealed(open: Payload, key: &GroupKey) -> Result<Payload, PayloadError> {
    let Payload { image, base, recipe, .. } = open;
    let packed = sealed_len(recipe.sizes.packed).filter(|len| *len <= PAYLOAD_MAX);
    let packed = packed.ok_or(PayloadError::TooLarge(open.bytes.len()))?;
    let sizes = Sizes { packed, ..recipe.sizes };
    let purpose = Purpose { image, base, codec: recipe.codec, sizes };
    let how = key.seal(&purpose, &open.bytes);
    let bytes = seal(&key.payload_key(&how.salt, &purpose), &open.bytes);
    Ok(Payload { bytes, seal: Some(how), recipe: Recipe { sizes, ..recipe }, ..open })
}

fn check(image: &[u8], base: Option<&[u8]>, options: &Options) -> Result<(), PayloadError> {
    let chunk = options.chunk_size;
    if image.is_empty() {
        Err(PayloadError::EmptyImage)
    } else if base.is_some_and(<[u8]>::is_empty) {
        Err(PayloadError::EmptyBase)
    } else if !CHUNK_SIZES.contains(&chunk) || !chunk.is_multiple_of(CHUNK_ALIGN) {
        Err(PayloadError::ChunkSize(chunk))
    } else if !LEVELS.contains(&options.level) {
        Err(PayloadError::Level(options.level))
    } else {
        Ok(())
    }
}

/// The image that a payload becomes, made by the code that nodes run, of which one that is sealed needs the group's
/// key.
///
/// # Errors
/// [`CodecError`]: the payload is not what its recipe says, or `base` is not its base, or the key another.
pub fn unpack(payload: &Payload, base: &[u8], key: Option<&GroupKey>) -> Result<Vec<u8>, CodecError> {
    let mut unpacker = Unpacker::new(payload.recipe, opening_key(payload, key)?.as_ref())?;
    let mut image = Vec::new();
    let piece = |bytes: &'_ [u8], offset: u32, len: u32| -> Result<Vec<u8>, CodecError> {
        let from = offset as usize;
        let to = from.saturating_add(len.min(BLOCK as u32) as usize);
        bytes.get(from..to).map(<[u8]>::to_vec).ok_or(CodecError::Sizes)
    };
    loop {
        match unpacker.needs() {
            Need::Payload { offset, len } => {
                unpacker.payload(&piece(&payload.bytes, offset, len)?)?;
            }
            Need::Base { offset, len } => unpacker.base(&piece(base, offset, len)?)?,
            Need::Write => {
                image.extend_from_slice(unpacker.page().bytes);
                unpacker.page_written()?;
            }
            Need::Nothing(_) => return Ok(image),
        }
    }
}

/// What opens a payload, as a node with this key finds it.
fn opening_key(payload: &Payload, key: Option<&GroupKey>) -> Result<Option<PayloadKey>, CodecError> {
    let keys = key.map(core::slice::from_ref).and_then(GroupKeys::new).unwrap_or_default();
    payload.descriptor().payload_key(&keys).map_err(|_no_such_key| CodecError::Seal)
}
