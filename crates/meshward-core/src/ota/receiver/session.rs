//! An offer, and the chunks that follow it.

use alloc::vec;
use alloc::vec::Vec;

use super::Receiver;
use super::blame::Blame;
use super::memory::Wish;
use super::state::ChunkOutcome;
use super::work::{Store, Task};
use crate::codec::{PayloadKey, Recipe};
use crate::flash::{ERASED, Region, SECTOR, Slot, UNIT};
use crate::hash::Sha256Sum;
use crate::mesh::LinkId;
use crate::ota::Tag;
use crate::ota::journal::{Head, Journal};
use crate::ota::trial::{Ended, TrialState};
use crate::ota::trust::{Board, Descriptor, Manifest, Refusal, Running};

/// A payload that is received, or was.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) tag: Tag,
    pub(super) manifest: Manifest,
    pub(super) descriptor: Descriptor,
    /// `None` when the image runs already and the payload is only kept.
    pub(super) recipe: Option<Recipe>,
    /// What opens the payload when it is sealed and has still to be unpacked.
    pub(super) key: Option<PayloadKey>,
    pub(super) journal: Journal,
    /// Where the payload is.
    pub(super) staging: Region,
    /// Whether that is where the image belongs.
    pub(super) in_place: bool,
    /// Whether the block table has the descriptor's sum.
    pub(super) table: bool,
    /// Blocks that have their sum, a bit each.
    checked: Vec<u8>,
    /// Whether the table was looked at again because of a block.
    pub(super) suspect: bool,
    /// Whether the payload as a whole was wrong, and no block since.
    pub(super) blamed: bool,
    /// Whether the image came out wrong, once.
    pub(super) retried: bool,
    /// Whether the slot's first bytes name this node's chip.
    pub(super) chip: bool,
    /// Whether the unpacker has run since the reset.
    pub(super) unpacked: bool,
    pub(super) verified: bool,
    pub(super) installed: bool,
    pub(super) ready: bool,
}

impl Session {
    pub(super) fn image(&self) -> Sha256Sum {
        self.manifest.sha256
    }

    pub(super) fn blocks(&self) -> u32 {
        self.descriptor.sizes.packed.div_ceil(SECTOR)
    }

    /// Bytes of a block.
    pub(super) fn block_len(&self, block: u32) -> u32 {
        self.descriptor.sizes.packed.saturating_sub(block * SECTOR).min(SECTOR)
    }

    /// The first chunk of a block, and how many it has: chunk sizes divide blocks.
    pub(super) fn block_chunks(&self, block: u32) -> (u32, u32) {
        let size = u32::from(self.descriptor.chunk_size);
        let first = self.descriptor.table_chunks() + block * (SECTOR / size);
        (first, self.block_len(block).div_ceil(size))
    }

    pub(super) fn is_checked(&self, block: u32) -> bool {
        self.checked.get((block / 8) as usize).is_some_and(|byte| byte & (1 << (block % 8)) != 0)
    }

    pub(super) fn set_checked(&mut self, block: u32) {
        if let Some(byte) = self.checked.get_mut((block / 8) as usize) {
            *byte |= 1 << (block % 8);
        }
    }

    /// Nothing that was read counts any more.
    pub(super) fn doubt(&mut self) {
        self.checked.fill(0);
        (self.table, self.verified, self.installed, self.ready) = (false, false, false, false);
    }

    /// The block that a chunk is of; `None` for the block table's.
    pub(super) fn block_of(&self, chunk: u32) -> Option<u32> {
        let at = chunk.checked_sub(self.descriptor.table_chunks())?;
        Some(at / (SECTOR / u32::from(self.descriptor.chunk_size)))
    }

    /// Whether all of a block is there.
    pub(super) fn is_complete(&self, block: u32) -> bool {
        let (first, count) = self.block_chunks(block);
        (first..first + count).all(|chunk| self.journal.has(chunk))
    }

    /// A block that is complete and was not checked.
    pub(super) fn unchecked(&self) -> Option<u32> {
        (0..self.blocks()).find(|block| !self.is_checked(*block) && self.is_complete(*block))
    }

    pub(super) fn has_table(&self) -> bool {
        (0..self.descriptor.table_chunks()).all(|chunk| self.journal.has(chunk))
    }

    /// Whether anything of a block, or of the table, is there.
    fn has_any_of(&self, block: Option<u32>) -> bool {
        let (first, count) = match block {
            Some(block) => self.block_chunks(block),
            None => (0, self.descriptor.table_chunks()),
        };
        (first..first + count).any(|chunk| self.journal.has(chunk))
    }

    /// Where a chunk belongs, its length, and the block that it is of; `None` for the block table's.
    pub(super) fn place(&self, table: Region, chunk: u32) -> Option<(u32, u32, Option<u32>)> {
        let size = u32::from(self.descriptor.chunk_size);
        let tables = self.descriptor.table_chunks();
        if chunk >= self.journal.chunks() {
            None
        } else if chunk < tables {
            let at = chunk * size;
            Some((table.start + at, (self.descriptor.table_len() - at).min(size), None))
        } else {
            let at = (chunk - tables) * size;
            let len = (self.descriptor.sizes.packed - at).min(size);
            Some((self.staging.start + at, len, Some(at / SECTOR)))
        }
    }
}

impl Receiver {
    pub(super) fn slot(&self) -> Slot {
        self.config.committed.slot.other()
    }

    /// A signed manifest and a signed descriptor were offered. What is taken is received; what is being received
    /// already is taken and changes nothing.
    ///
    /// # Errors
    /// [`Refusal`] names the first reason against it, which [`state`](Self::state) shows too while nothing else
    /// goes on. What is being received is not disturbed.
    pub fn offer(&mut self, manifest: &[u8], descriptor: &[u8]) -> Result<(), Refusal> {
        let outcome = self.try_offer(manifest, descriptor);
        self.refused = outcome.err().filter(|refusal| match refusal {
            // What is occupied with something else shows that.
            Refusal::Occupied => false,
            // Why the image was taken back says more, and the gateway may not have heard it yet; but an order to take
            // it back was the gateway's own.
            Refusal::Quarantined(image) => {
                let ended = self.trial_copies.record.and_then(|record| record.ended);
                !self.is_reverted(*image) || ended == Some(Ended::Ordered)
            }
            _ => true,
        });
        outcome
    }

    fn try_offer(&mut self, manifest: &[u8], descriptor: &[u8]) -> Result<(), Refusal> {
        // The slot beside the committed image is that of an image on trial, also when its trial is over and the
        // flash did not take that.
        let on_trial = self.config.running.slot != self.config.committed.slot;
        if matches!(self.task, Task::Recover(_) | Task::Restart) || on_trial {
            return Err(Refusal::Occupied);
        }
        let head = Head { manifest, descriptor };
        let session = self.admit(&head)?;
        let held = self.session.as_ref();
        if session.recipe.is_none() && held.is_none_or(|held| held.descriptor != session.descriptor) {
            // Room for the payload of the running image would be made in its own slot.
            let sequence = session.manifest.sequence;
            return Err(Refusal::Sequence { offered: sequence, running: sequence });
        }
        if let Some(held) = &self.session {
            let same = held.descriptor == session.descriptor && held.manifest == session.manifest;
            let failed = self.failed.is_some();
            if same && (!failed || session.recipe.is_none()) {
                return Ok(());
            }
            let over = failed || held.recipe.is_none() || self.is_reverted(held.image());
            if !over && session.manifest.sequence <= held.manifest.sequence {
                return Err(Refusal::Occupied);
            }
        }
        self.guard()?;
        if !self.is_idle() {
            return Err(Refusal::Occupied);
        }
        let bytes = head.encode().ok_or(Refusal::Malformed)?;
        if self.memory.wish.take().is_some() {
            // What was ordered about an earlier offer must not befall this one after a reset.
            self.writes.extend(self.memory.write(&self.config.books));
        }
        self.failed = None;
        self.session = Some(session);
        self.blame = Blame::default();
        self.task = Task::Clear { at: 0, head: bytes };
        self.proceed();
        Ok(())
    }

    /// What must be so before the first byte of an update, whatever it is.
    fn guard(&self) -> Result<(), Refusal> {
        if self.memory.policy.is_some_and(|policy| !policy.updates) {
            return Err(Refusal::SwitchedOff);
        }
        match self.config.supply_least {
            Some(least) if self.supply.is_none_or(|millivolts| millivolts < least) => {
                Err(Refusal::Supply { millivolts: self.supply, least })
            }
            _ => Ok(()),
        }
    }

    fn is_reverted(&self, image: Sha256Sum) -> bool {
        let tried = self.trial_copies.record.filter(|record| record.sha256 == image);
        tried.is_some_and(|record| matches!(record.state, TrialState::Invalid | TrialState::Aborted))
    }

    /// Holds an offer, or what a journal says was one, against everything that this node is.
    pub(super) fn admit(&self, head: &Head<'_>) -> Result<Session, Refusal> {
        let manifest = self.memory.keys.manifest(head.manifest, self.memory.time)?.content;
        let descriptor = self.memory.keys.descriptor(head.descriptor)?.content;
        let journal = Journal::new(&self.config.books, &descriptor);
        let journal = journal.ok_or(Refusal::Chunks { chunks: descriptor.chunks() })?;
        if !SECTOR.is_multiple_of(u32::from(descriptor.chunk_size)) {
            return Err(Refusal::Chunks { chunks: descriptor.chunks() });
        }
        let running = self.memory.known(self.config.running.slot);
        let running = running.filter(|known| known.md5 == self.config.running.md5);
        // The payload of the image that runs is kept in that image's slot.
        let runs = running.is_some_and(|running| running.sha256 == manifest.sha256);
        let slot = self.config.layout.slot(if runs { self.config.running.slot } else { self.slot() });
        let packed = descriptor.sizes.packed.next_multiple_of(SECTOR);
        let room = slot.len.saturating_sub(manifest.size.next_multiple_of(SECTOR).min(slot.len));
        // What is sealed, packed or a patch has to be unpacked from elsewhere.
        let in_place = packed > room && descriptor.is_image();
        let (recipe, key) = if runs {
            (None, None)
        } else {
            if self.memory.is_quarantined(manifest.sha256) {
                return Err(Refusal::Quarantined(manifest.sha256));
            }
            let (hardware, role) = self.names();
            let sequence = running.map_or(0, |running| running.sequence);
            let protocol = self.config.protocol;
            manifest.admit(&Board { hardware, role, slot: slot.len, protocol, sequence })?;
            let staging = if in_place { slot.len } else { room };
            let base = running.map(|known| Running { sha256: known.sha256, size: known.size });
            let recipe = descriptor.recipe(&manifest, base, staging)?;
            let key = descriptor.payload_key(&self.config.group_keys)?;
            if descriptor.is_image() && descriptor.sha256 != manifest.sha256 {
                return Err(Refusal::OtherImage(descriptor.sha256));
            }
            (Some(recipe), key)
        };
        let start = if in_place { slot.start } else { slot.start + slot.len - packed.min(slot.len) };
        let blocks = descriptor.sizes.packed.div_ceil(SECTOR);
        Ok(Session {
            tag: Tag::of(head.descriptor),
            staging: Region { start, len: packed },
            in_place,
            table: false,
            checked: vec![0; blocks.div_ceil(8) as usize],
            suspect: false,
            blamed: false,
            retried: false,
            chip: false,
            unpacked: false,
            verified: false,
            installed: false,
            ready: false,
            manifest,
            descriptor,
            recipe,
            key,
            journal,
        })
    }

    /// A chunk came over a link: the block table's are the first.
    pub fn handle_chunk(&mut self, link: LinkId, index: u32, bytes: &[u8]) -> ChunkOutcome {
        self.take_chunk(link, index, || bytes.to_vec(), bytes.len())
    }

    /// As [`handle_chunk`](Self::handle_chunk), with a buffer that is kept if the chunk is taken.
    pub(crate) fn handle_chunk_in(&mut self, link: LinkId, index: u32, bytes: &mut Vec<u8>) -> ChunkOutcome {
        let len = bytes.len();
        self.take_chunk(link, index, || core::mem::take(bytes), len)
    }

    fn take_chunk(
        &mut self,
        link: LinkId,
        index: u32,
        bytes: impl FnOnce() -> Vec<u8>,
        length: usize,
    ) -> ChunkOutcome {
        let table = self.config.books.journal[1];
        let paused = matches!(self.memory.wish, Some(Wish::Pause(_)));
        let wanted =
            !paused && self.failed.is_none() && !matches!(self.task, Task::Recover(_) | Task::Clear { .. });
        let session = self.session.as_ref().filter(|session| wanted && session.recipe.is_some());
        let Some(session) = session else { return ChunkOutcome::Unwanted };
        let Some((address, len, block)) = session.place(table, index) else { return ChunkOutcome::Malformed };
        if len as usize != length {
            return ChunkOutcome::Malformed;
        }
        if session.journal.has(index) {
            return ChunkOutcome::Known;
        }
        let fresh = !session.has_any_of(block);
        if !self.is_idle() {
            return ChunkOutcome::Busy;
        }
        if !self.blame.admits(link, block) {
            return ChunkOutcome::Unwanted;
        }
        self.blame.note(link, block, fresh);
        let mut data = bytes();
        data.resize(data.len().next_multiple_of(UNIT as usize), ERASED);
        self.task = Task::Store(Store { index, address, data, block });
        ChunkOutcome::Taken
    }
}
