//! What an operator says of a payload.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::cbor::{Reader, Writer};
use super::{GroupKeyId, GroupKeys, Manifest, Purpose, Refusal, Seal};
use crate::codec::seal::opened_len;
use crate::codec::{Codec, PayloadKey, Recipe, Sizes};
use crate::flash::WRITE_ALIGN;
use crate::hash::{BLOCK, BlockHash, Sha256Sum};

const FORMAT: u64 = 1;
/// ChaCha20-Poly1305 in blocks, with a key of the payload's own: see [`crate::codec::seal`].
const CIPHER: u64 = 1;
/// The longest payload, packed or not, in bytes.
pub const PAYLOAD_MAX: u32 = 16 * 1024 * 1024;
/// Bytes in a chunk: less is all envelope, more does not fit a stock node's frame.
pub const CHUNK_SIZES: RangeInclusive<u16> = 128..=1_400;
/// Chunks have a multiple of this many bytes: what flash programs at once.
pub const CHUNK_ALIGN: u16 = WRITE_ALIGN as u16;

/// A payload's descriptor. As CBOR: a map of the numbers in brackets; key 0 is the format, 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// \[1] The SHA-256 of the image that it becomes.
    pub image: Sha256Sum,
    /// \[2] The SHA-256 of the image that it is a patch of; `None` when it is a whole image.
    pub base: Option<Sha256Sum>,
    /// \[3] How it is packed.
    pub codec: Codec,
    /// \[4], \[5] Its length, and that of what comes out of the codec: the image, or a patch.
    pub sizes: Sizes,
    /// \[6] Its SHA-256.
    pub sha256: Sha256Sum,
    /// \[7] Bytes in a chunk: a multiple of [`CHUNK_ALIGN`] in [`CHUNK_SIZES`].
    pub chunk_size: u16,
    /// \[8] The SHA-256 of its block table: a [`BlockHash`] for every [`BLOCK`] bytes. The table travels before
    /// the payload, in chunks of its own.
    pub table: Sha256Sum,
    /// \[9] the cipher, 1; \[10] the key's name; \[11] the salt: how it is sealed. `None` when it is not.
    pub seal: Option<Seal>,
}

/// The image that a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its SHA-256.
    pub sha256: Sha256Sum,
    /// Its length in bytes.
    pub size: u32,
}

impl Descriptor {
    /// Its one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let optional = [(self.base.is_some(), 1), (self.seal.is_some(), 3)];
        let present = optional.into_iter().filter(|(present, _)| *present).map(|(_, entries)| entries);
        let mut writer = Writer::open(present.fold(7, u64::saturating_add), FORMAT);
        writer.bytes(1, &self.image.0);
        if let Some(base) = self.base {
            writer.bytes(2, &base.0);
        }
        writer.u64(3, self.codec.number().into());
        writer.u64(4, self.sizes.packed.into());
        writer.u64(5, self.sizes.plain.into());
        writer.bytes(6, &self.sha256.0);
        writer.u64(7, self.chunk_size.into());
        writer.bytes(8, &self.table.0);
        if let Some(Seal { key, salt }) = &self.seal {
            writer.u64(9, CIPHER);
            writer.bytes(10, &key.0);
            writer.bytes(11, salt);
        }
        writer.close()
    }

    /// Reads a descriptor's content.
    ///
    /// # Errors
    /// [`Refusal::Truncated`], [`Refusal::Malformed`], [`Refusal::Format`], [`Refusal::Cipher`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::open(bytes, FORMAT)?;
        let descriptor = Self {
            image: Sha256Sum(reader.array(1)?),
            base: reader.optional_array(2)?.map(Sha256Sum),
            codec: u8::try_from(reader.u64(3)?)
                .ok()
                .and_then(Codec::from_number)
                .ok_or(Refusal::Malformed)?,
            sizes: Sizes { packed: reader.u32(4)?, plain: reader.u32(5)? },
            sha256: Sha256Sum(reader.array(6)?),
            chunk_size: reader.u16(7)?,
            table: Sha256Sum(reader.array(8)?),
            seal: decode_seal(&mut reader)?,
        };
        reader.close()?;
        let Sizes { packed, plain } = descriptor.sizes;
        let chunk = descriptor.chunk_size;
        let sound = (1..=PAYLOAD_MAX).contains(&packed)
            && (1..=PAYLOAD_MAX).contains(&plain)
            && descriptor.opened_len().is_some_and(|len| descriptor.codec != Codec::None || len == plain)
            && CHUNK_SIZES.contains(&chunk)
            && chunk.is_multiple_of(CHUNK_ALIGN)
            && descriptor.encode() == bytes;
        if sound { Ok(descriptor) } else { Err(Refusal::Malformed) }
    }

    /// Bytes of what goes into the codec: the payload's, without what seals it; `None` when no sealed payload has
    /// that length.
    fn opened_len(&self) -> Option<u32> {
        if self.seal.is_some() { opened_len(self.sizes.packed) } else { Some(self.sizes.packed) }
    }

    /// Whether the payload is the image itself, byte for byte.
    pub fn is_image(&self) -> bool {
        self.codec == Codec::None && self.base.is_none() && self.seal.is_none()
    }

    /// What a key opens it with; `None` when it is not sealed.
    ///
    /// # Errors
    /// [`Refusal::UnknownGroupKey`]: none of these keys does.
    pub fn payload_key(&self, keys: &GroupKeys) -> Result<Option<PayloadKey>, Refusal> {
        let Some(seal) = &self.seal else { return Ok(None) };
        let key = keys.find(seal.key).ok_or(Refusal::UnknownGroupKey(seal.key))?;
        Ok(Some(key.payload_key(&seal.salt, &self.purpose())))
    }

    fn purpose(&self) -> Purpose {
        Purpose { image: self.image, base: self.base, codec: self.codec, sizes: self.sizes }
    }

    /// What a signed descriptor says, whoever signed it: for those who hold the payload itself. A node that is to
    /// take it asks its [`KeyStore`](super::KeyStore).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn unverified(signed: &[u8]) -> Result<Self, Refusal> {
        Self::decode(super::cose::split(signed)?.content)
    }

    /// Bytes of its block table.
    pub fn table_len(&self) -> u32 {
        self.sizes.packed.div_ceil(BLOCK as u32).saturating_mul(BlockHash::LEN as u32)
    }

    /// Chunks that the block table takes; they come first.
    pub fn table_chunks(&self) -> u32 {
        self.table_len().div_ceil(u32::from(self.chunk_size).max(1))
    }

    /// Chunks in all: the table's, then the payload's.
    pub fn chunks(&self) -> u32 {
        let payload = self.sizes.packed.div_ceil(u32::from(self.chunk_size).max(1));
        self.table_chunks().saturating_add(payload)
    }

    /// How a node makes the image of `manifest` out of it, with `staging` bytes of room for the payload.
    ///
    /// # Errors
    /// [`Refusal`] names the reason why it cannot.
    pub fn recipe(
        &self,
        manifest: &Manifest,
        running: Option<Running>,
        staging: u32,
    ) -> Result<Recipe, Refusal> {
        if self.image != manifest.sha256 {
            return Err(Refusal::OtherImage(self.image));
        }
        let base = match self.base {
            None if self.sizes.plain != manifest.size => return Err(Refusal::Malformed),
            None => None,
            Some(base) => {
                let running = running.filter(|running| running.sha256 == base);
                Some(running.ok_or(Refusal::OtherBase(base))?.size)
            }
        };
        if self.sizes.packed > staging {
            return Err(Refusal::Staging { size: self.sizes.packed, staging });
        }
        Ok(Recipe { codec: self.codec, sizes: self.sizes, image_len: manifest.size, base_len: base })
    }
}

fn decode_seal(reader: &mut Reader<'_>) -> Result<Option<Seal>, Refusal> {
    match reader.optional_u64(9)? {
        None => Ok(None),
        Some(CIPHER) => Ok(Some(Seal { key: GroupKeyId(reader.array(10)?), salt: reader.array(11)? })),
        Some(cipher) => Err(Refusal::Cipher(cipher)),
    }
}
