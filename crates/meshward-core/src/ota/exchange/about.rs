//! What a node is, in as few bytes as a gateway needs to choose a payload for it.

use alloc::string::String;
use alloc::vec::Vec;

use super::message::Cursor;
use crate::ota::ImageId;
use crate::ota::receiver::{BootLoader, Capabilities};
use crate::ota::trust::KeyId;

/// The longest hardware or role that is told; what is longer is cut.
const TEXT_MAX: usize = 32;
/// Keys whose counters are told.
const KEYS_MAX: usize = 4;

/// What a node is and can take. 60 to 130 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The running image; `None` until it is known.
    pub running: Option<ImageId>,
    /// Its length in bytes.
    pub size: u32,
    /// Its sequence; 0 if it came without a manifest.
    pub sequence: u64,
    /// The longest image, in bytes.
    pub slot: u32,
    /// Bytes of payload beside an image as long as the running one.
    pub staging: u32,
    /// The most chunks that it can keep account of.
    pub chunks: u32,
    /// The lowest and highest Meshward protocol that it speaks.
    pub protocol: (u16, u16),
    /// Whether its boot loader goes back from an image that was not confirmed.
    pub rollback: bool,
    /// Whether it takes updates at all: an operator's policy.
    pub updates: bool,
    /// Its hardware.
    pub hardware: String,
    /// Its role.
    pub role: String,
    /// The beginnings of the names of keys that it believes, and the last order's counter of each.
    pub counters: Vec<(u32, u64)>,
}

/// The beginning of a key's name.
pub fn key_prefix(id: KeyId) -> u32 {
    let [a, b, c, d, ..] = id.0;
    u32::from_be_bytes([a, b, c, d])
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let text = text.get(..end).unwrap_or_default();
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text.as_bytes());
}

impl About {
    /// Of a node with these names.
    pub fn new(capabilities: &Capabilities, hardware: &str, role: &str) -> Self {
        Self {
            running: capabilities.running.map(|running| running.sha256.into()),
            size: capabilities.running.map_or(0, |running| running.size),
            sequence: capabilities.sequence,
            slot: capabilities.slot,
            staging: capabilities.staging,
            chunks: capabilities.chunks,
            protocol: capabilities.protocol,
            rollback: capabilities.boot_loader == BootLoader::Rollback,
            updates: capabilities.updates,
            hardware: String::from(hardware),
            role: String::from(role),
            counters: capabilities.counters.iter().map(|(id, counter)| (key_prefix(*id), *counter)).collect(),
        }
    }

    /// The last counter of a key that the node has obeyed, if it told.
    pub fn counter(&self, key: KeyId) -> Option<u64> {
        self.counters.iter().find(|(prefix, _)| *prefix == key_prefix(key)).map(|(_, counter)| *counter)
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let counters = self.counters.get(..KEYS_MAX).unwrap_or(&self.counters);
        let flags = [self.running.is_some(), self.rollback, self.updates];
        let flags = flags.into_iter().rev().fold(0, |all: u8, flag| all << 1 | u8::from(flag));
        bytes.extend_from_slice(&[flags, counters.len() as u8]);
        bytes.extend_from_slice(&self.running.map_or([0; 8], |image| image.0));
        for number in [self.size, self.slot, self.staging, self.chunks] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.protocol.0.to_le_bytes());
        bytes.extend_from_slice(&self.protocol.1.to_le_bytes());
        text(bytes, &self.hardware);
        text(bytes, &self.role);
        for (prefix, counter) in counters {
            bytes.extend_from_slice(&prefix.to_le_bytes());
            bytes.extend_from_slice(&counter.to_le_bytes());
        }
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Option<Self> {
        let [flags, count] = cursor.take()?;
        let running = cursor.take()?;
        let (size, slot, staging, chunks) = (cursor.u32()?, cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let sequence = u64::from_le_bytes(cursor.take()?);
        let protocol = (u16::from_le_bytes(cursor.take()?), u16::from_le_bytes(cursor.take()?));
        let mut text = || {
            let len = usize::from(cursor.u8()?);
            let bytes = cursor.bytes(len).filter(|bytes| bytes.len() <= TEXT_MAX)?;
            core::str::from_utf8(bytes).ok().map(String::from)
        };
        let (hardware, role) = (text()?, text()?);
        let mut counters = Vec::new();
        for _ in 0..usize::from(count).min(KEYS_MAX) {
            counters.push((cursor.u32()?, u64::from_le_bytes(cursor.take()?)));
        }
        Some(Self {
            running: (flags & 1 != 0).then_some(ImageId(running)),
            size,
            sequence,
            slot,
            staging,
            chunks,
            protocol,
            rollback: flags & 2 != 0,
            updates: flags & 4 != 0,
            hardware,
            role,
            counters,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn it_survives_the_wire_and_names_are_cut() {
        let about = About {
            running: Some(ImageId([7; 8])),
            size: 1,
            sequence: 1 << 40,
            slot: 3,
            staging: 4,
            chunks: 5,
            protocol: (1, 2),
            rollback: true,
            updates: false,
            hardware: "ESP32".into(),
            role: "é".repeat(40),
            counters: vec![(1, 2); 9],
        };
        let mut bytes = Vec::new();
        about.encode(&mut bytes);
        let back = About::decode(&mut Cursor(&bytes)).unwrap();
        let cut = About { role: "é".repeat(16), counters: vec![(1, 2); 4], ..about };
        assert_eq!(back, cut);
        assert!((0..bytes.len()).all(|len| About::decode(&mut Cursor(&bytes[..len])).is_none()));
    }
}
