//! What an author says of an image.

use alloc::string::String;
use alloc::vec::Vec;

use super::Refusal;
use super::cbor::{Reader, Writer};
use crate::hash::{Md5Sum, Sha256Sum};
use crate::time::UnixTime;

const FORMAT: u64 = 1;
/// The longest hardware name, role or version, in bytes.
pub const TEXT_MAX: usize = 64;

/// An image's manifest, after the information model of RFC 9124: what it is, for whom, and when it counts. As
/// CBOR: a map of the numbers in brackets; key 0 is the format, 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// \[1] The image's SHA-256.
    pub sha256: Sha256Sum,
    /// \[2] Its MD5, by which stock nodes and boot records know it.
    pub md5: Md5Sum,
    /// \[3] Its length in bytes.
    pub size: u32,
    /// \[4] The hardware that it runs on, as nodes call it: `ESP32`, `ESP8266`, or a board's own name.
    pub hardware: String,
    /// \[5] The role that it is for.
    pub role: String,
    /// \[6] What people call this version; nothing is decided by it.
    pub version: String,
    /// \[7] Rises with every release. A node takes no image whose sequence is not above its own.
    pub sequence: u64,
    /// \[8], \[9] The lowest and highest version of the Meshward protocol that it speaks.
    pub protocol: (u16, u16),
    /// \[10] Until when it may be taken; `None` is for ever.
    pub not_after: Option<UnixTime>,
}

/// What a node is, against which a manifest is held.
#[derive(Clone, Copy, Debug)]
pub struct Board<'a> {
    /// Its hardware's name.
    pub hardware: &'a str,
    /// Its role.
    pub role: &'a str,
    /// Bytes of a slot.
    pub slot: u32,
    /// The lowest and highest protocol version that it speaks.
    pub protocol: (u16, u16),
    /// The sequence of the running image; 0 if it came without a manifest.
    pub sequence: u64,
}

impl Manifest {
    /// Its one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::open(if self.not_after.is_some() { 10 } else { 9 }, FORMAT);
        writer.bytes(1, &self.sha256.0);
        writer.bytes(2, &self.md5.0);
        writer.u64(3, self.size.into());
        writer.text(4, &self.hardware);
        writer.text(5, &self.role);
        writer.text(6, &self.version);
        writer.u64(7, self.sequence);
        writer.u64(8, self.protocol.0.into());
        writer.u64(9, self.protocol.1.into());
        if let Some(UnixTime(seconds)) = self.not_after {
            writer.u64(10, seconds);
        }
        writer.close()
    }

    /// Reads a manifest's content.
    ///
    /// # Errors
    /// [`Refusal::Truncated`], [`Refusal::Malformed`], [`Refusal::Format`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::open(bytes, FORMAT)?;
        let manifest = Self {
            sha256: Sha256Sum(reader.array(1)?),
            md5: Md5Sum(reader.array(2)?),
            size: reader.u32(3)?,
            hardware: reader.text(4, TEXT_MAX)?,
            role: reader.text(5, TEXT_MAX)?,
            version: reader.text(6, TEXT_MAX)?,
            sequence: reader.u64(7)?,
            protocol: (reader.u16(8)?, reader.u16(9)?),
            not_after: reader.optional_u64(10)?.map(UnixTime),
        };
        reader.close()?;
        let (low, high) = manifest.protocol;
        let sound = manifest.size > 0 && low <= high && manifest.encode() == bytes;
        if sound { Ok(manifest) } else { Err(Refusal::Malformed) }
    }

    /// What a signed manifest says, whoever signed it: for those who hold the image itself. A node that is to take it
    /// asks its [`KeyStore`](super::KeyStore).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn unverified(signed: &[u8]) -> Result<Self, Refusal> {
        Self::decode(super::cose::split(signed)?.content)
    }

    /// Whether a node may take the image.
    ///
    /// # Errors
    /// [`Refusal`] names the first reason against it.
    pub fn admit(&self, board: &Board<'_>) -> Result<(), Refusal> {
        let (low, high) = self.protocol;
        let (from, to) = board.protocol;
        if self.hardware != board.hardware {
            Err(Refusal::Hardware)
        } else if self.role != board.role {
            Err(Refusal::Role)
        } else if self.size > board.slot {
            Err(Refusal::TooLarge { size: self.size, slot: board.slot })
        } else if high < from || low > to {
            Err(Refusal::Protocol { image: self.protocol, node: board.protocol })
        } else if self.sequence <= board.sequence {
            Err(Refusal::Sequence { offered: self.sequence, running: board.sequence })
        } else {
            Ok(())
        }
    }
}
