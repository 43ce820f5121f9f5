//! What the source of a roll-out sends, chunk by chunk: a payload, and the table of hashes before it.

use alloc::vec::Vec;

use super::message::Head;
use super::{ImageId, Offering, Tag};
use crate::ota::trust::Descriptor;

/// A payload, cut up.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) tag: Tag,
    pub(super) head: Head,
    table: Vec<u8>,
    bytes: Vec<u8>,
    pub(super) size: usize,
    tables: u32,
    pub(super) chunks: u32,
}

impl Payload {
    pub(super) fn new(offering: Offering) -> Option<Self> {
        let descriptor = Descriptor::unverified(&offering.descriptor).ok()?;
        let fits = descriptor.sizes.packed as usize == offering.payload.len()
            && descriptor.table_len() as usize == offering.table.len();
        fits.then(|| Self {
            tag: Tag::of(&offering.descriptor),
            size: descriptor.chunk_size.into(),
            tables: descriptor.table_chunks(),
            chunks: descriptor.chunks(),
            head: Head {
                manifest: offering.manifest,
                descriptor: offering.descriptor,
                except: descriptor.base.map(ImageId::from).into_iter().collect(),
            },
            table: offering.table,
            bytes: offering.payload,
        })
    }

    pub(super) fn chunk(&self, index: u32) -> Option<&[u8]> {
        let (from, index) = match index.checked_sub(self.tables) {
            None => (&self.table, index),
            Some(index) => (&self.bytes, index),
        };
        from.chunks(self.size.max(1)).nth(index as usize)
    }
}
