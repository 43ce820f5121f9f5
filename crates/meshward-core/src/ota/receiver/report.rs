//! What a node tells of itself, so that gateways know what to offer it.

use alloc::vec::Vec;

use super::Receiver;
use crate::codec::Codec;
use crate::flash::SECTOR;
use crate::hash::{BLOCK, BlockHash};
use crate::ota::journal::Journal;
use crate::ota::trial::TrialRecord;
use crate::ota::trust::{KeyId, Running};

/// Whether a board's boot loader goes back from an image that was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootLoader {
    /// It does: images are tried.
    Rollback,
    /// It does not: an activated image counts at once. Such nodes come last in waves.
    NoRollback,
}

/// What a node can take, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The lowest and highest Meshward protocol that it speaks.
    pub protocol: (u16, u16),
    /// How payloads for it may be packed.
    pub codecs: &'static [Codec],
    /// The longest image, in bytes.
    pub slot: u32,
    /// Bytes of payload that it keeps beside an image as long as the running one. Beside another, image and
    /// payload, each in whole sectors, must fit the slot; a whole uncoded image needs no room beside it.
    pub staging: u32,
    /// The most chunks that it can keep account of, the block table's included.
    pub chunks: u32,
    /// The running image; `None` until it is known.
    pub running: Option<Running>,
    /// Its sequence; 0 if it came without a manifest.
    pub sequence: u64,
    /// What its boot loader knows.
    pub boot_loader: BootLoader,
    /// The last image that was tried, and how far that is; `None` if there was none.
    pub boot: Option<TrialRecord>,
    /// Whether it takes updates at all: an operator's policy.
    pub updates: bool,
    /// The last order's counter of each key that is believed.
    pub counters: Vec<(KeyId, u64)>,
}

impl Receiver {
    /// What this node can take, and where it is; once it has started.
    pub fn capabilities(&self) -> Capabilities {
        let config = &self.config;
        let slot = config.layout.slot(self.slot()).len;
        let known = self.memory.known(config.running.slot);
        let known = known.filter(|known| known.md5 == config.running.md5);
        let room = slot.saturating_sub(config.running.size.next_multiple_of(SECTOR));
        let blocks = Journal::table_capacity(&config.books) / BlockHash::LEN as u32;
        let keys = self.memory.keys.keys().filter(|(_, key)| !key.revoked);
        Capabilities {
            protocol: config.protocol,
            codecs: &Codec::ALL,
            slot,
            staging: room.min(blocks.saturating_mul(BLOCK as u32)),
            chunks: Journal::capacity(&config.books),
            running: known.map(|known| Running { sha256: known.sha256, size: known.size }),
            sequence: known.map_or(0, |known| known.sequence),
            boot_loader: if config.rollback { BootLoader::Rollback } else { BootLoader::NoRollback },
            boot: self.trial_copies.record,
            updates: self.memory.policy.is_none_or(|policy| policy.updates),
            counters: keys.map(|(id, key)| (id, key.counter)).collect(),
        }
    }
}
