//! What a receiver does with the flash, one command after the other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Receiver;
use super::recover::Recovery;
use super::state::{Event, Failure};
use crate::codec::{CodecError, Need, Unpacker};
use crate::flash::{ERASED, FlashOp, Region, SECTOR, UNIT};
use crate::hash::{BlockHash, Summing, Sums};
use crate::ota::BootRecord;
use crate::time::Instant;

/// Bytes that are read at once.
pub(super) const READ: u32 = 512;
/// The first byte of an image for a chip of the ESP32 family.
const IMAGE_MAGIC: u8 = 0xE9;
/// Where the chip's id is in it.
const CHIP_AT: usize = 12;

/// A chunk on its way to the flash.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) index: u32,
    pub(super) address: u32,
    /// Empty once it is there.
    pub(super) data: Vec<u8>,
    pub(super) block: Option<u32>,
}

#[derive(Debug)]
pub(super) enum Task {
    Idle,
    Recover(Recovery),
    /// Erases journal and staging, then writes the journal's head.
    Clear {
        at: u32,
        head: Vec<u8>,
    },
    Store(Store),
    /// Compares the block table with the descriptor.
    CheckTable {
        at: u32,
        sum: Summing,
    },
    /// Compares a block with the table; `found` once it has been read.
    Check {
        block: u32,
        at: u32,
        sum: Summing,
        found: Option<BlockHash>,
    },
    /// Chunks are wanted again; where they are is erased.
    Forget {
        first: u32,
        count: u32,
        erase: Region,
    },
    /// Compares the payload with the descriptor.
    Verify {
        at: u32,
        sum: Summing,
    },
    Install(Box<Unpacker>),
    /// Compares the slot with the manifest.
    ReadBack {
        at: u32,
        sum: Summing,
    },
    /// Compares the other slot with its boot record.
    LookBack {
        at: u32,
        sum: Summing,
        previous: BootRecord,
    },
    Restart,
}

impl Task {
    pub(super) fn start() -> Self {
        Self::Recover(Recovery::Memory(0))
    }
}

fn piece(start: u32, len: u32, at: u32) -> FlashOp {
    FlashOp::Read { address: start + at, len: len.saturating_sub(at).min(READ) }
}

impl Receiver {
    /// The task's next command.
    pub(super) fn read(&mut self) -> Option<FlashOp> {
        let [journal, table] = self.config.books.journal;
        let slot = self.config.layout.slot(self.slot());
        if let Task::Recover(recovery) = &self.task {
            return Some(self.read_books(recovery));
        }
        if let Task::LookBack { at, previous, .. } = &self.task {
            return Some(piece(self.config.layout.slot(previous.slot).start, previous.size, *at));
        }
        let session = self.session.as_ref()?;
        let staging = session.staging;
        Some(match &mut self.task {
            Task::Clear { at, head } => {
                let mut left = *at * SECTOR;
                *at += 1;
                for region in [journal, table, staging] {
                    if left < region.len {
                        return Some(FlashOp::Erase { address: region.start + left });
                    }
                    left -= region.len;
                }
                let data = core::mem::take(head);
                FlashOp::Program { address: journal.start, data }
            }
            Task::Store(store) if store.data.is_empty() => FlashOp::Read {
                address: session.journal.mark_address(store.index),
                len: session.journal.mark_len(),
            },
            Task::Store(store) => FlashOp::Read { address: store.address, len: store.data.len() as u32 },
            Task::CheckTable { at, .. } => piece(table.start, session.descriptor.table_len(), *at),
            Task::Check { block, at, found: None, .. } => {
                piece(staging.start + *block * SECTOR, session.block_len(*block), *at)
            }
            Task::Check { block, .. } => {
                let len = BlockHash::LEN as u32;
                FlashOp::Read { address: table.start + *block * len, len }
            }
            Task::Forget { first, count, .. } => {
                let len = session.journal.mark_len() * *count;
                FlashOp::Read { address: session.journal.mark_address(*first), len }
            }
            Task::Verify { at, .. } => piece(staging.start, session.descriptor.sizes.packed, *at),
            Task::ReadBack { at, .. } => piece(slot.start, session.manifest.size, *at),
            Task::Install(unpacker) => match unpacker.needs() {
                Need::Payload { offset, len } => piece(staging.start, offset + len, offset),
                Need::Base { offset, len } => {
                    let base = self.config.layout.slot(self.config.running.slot).start;
                    piece(base, offset + len, offset)
                }
                Need::Write | Need::Nothing(_) => return None,
            },
            Task::Idle | Task::Restart | Task::Recover(_) | Task::LookBack { .. } => return None,
        })
    }

    /// Something was read.
    pub(super) fn have_read(&mut self, now: Instant, bytes: &[u8]) {
        match core::mem::replace(&mut self.task, Task::Idle) {
            Task::Recover(recovery) => self.have_read_books(now, recovery, bytes),
            Task::Store(store) => self.store(store, bytes),
            Task::Forget { first, count, erase } => {
                let Some(session) = &self.session else { return };
                self.wear.erased(now);
                self.writes.extend(session.journal.forget(first, bytes));
                let sectors = (0..erase.len / SECTOR).map(|sector| erase.start + sector * SECTOR);
                self.writes.extend(sectors.map(|address| FlashOp::Erase { address }));
                self.task = Task::Forget { first, count, erase };
            }
            Task::Install(unpacker) => self.feed(unpacker, bytes),
            Task::Check { block, found: Some(found), .. } => self.checked(block, bytes == found.0),
            task => self.sum_up(task, bytes),
        }
    }

    /// The tasks that read to an end and compare a sum.
    fn sum_up(&mut self, mut task: Task, bytes: &[u8]) {
        if matches!(task, Task::ReadBack { at: 0, .. }) {
            let chip = self.is_for_this_chip(bytes);
            self.session.iter_mut().for_each(|session| session.chip = chip);
        }
        let Some((len, at, sum)) = self.summing(&mut task) else { return };
        sum.update(bytes);
        *at += bytes.len() as u32;
        if *at < len && !bytes.is_empty() {
            self.task = task;
            return;
        }
        let sums = sum.finish();
        match task {
            Task::CheckTable { .. } => self.checked_table(sums),
            Task::Check { block, at, sum, .. } => {
                let mut found = BlockHash([0; BlockHash::LEN]);
                found.0.iter_mut().zip(sums.sha256.0).for_each(|(to, from)| *to = from);
                self.task = Task::Check { block, at, sum, found: Some(found) };
            }
            Task::Verify { .. } => self.verified(sums),
            Task::ReadBack { .. } => self.read_back(sums),
            Task::LookBack { previous, .. } => self.looked_back(previous, sums.md5),
            _ => {}
        }
    }

    /// How much such a task reads, how far it is, and its sum.
    fn summing<'t>(&self, task: &'t mut Task) -> Option<(u32, &'t mut u32, &'t mut Summing)> {
        if let Task::LookBack { at, sum, previous } = task {
            return Some((previous.size, at, sum));
        }
        let session = self.session.as_ref()?;
        Some(match task {
            Task::CheckTable { at, sum } => (session.descriptor.table_len(), at, sum),
            Task::Check { block, at, sum, .. } => (session.block_len(*block), at, sum),
            Task::Verify { at, sum } => (session.descriptor.sizes.packed, at, sum),
            Task::ReadBack { at, sum } => (session.manifest.size, at, sum),
            _ => return None,
        })
    }

    /// What stands where a chunk belongs, then what its mark is.
    fn store(&mut self, mut store: Store, found: &[u8]) {
        let Some(session) = &mut self.session else { return };
        if store.data.is_empty() {
            match session.journal.mark(store.index, found) {
                Some(op) => {
                    self.writes.push_back(op);
                    self.task = Task::Store(store);
                }
                None => {
                    session.journal.set(store.index, true);
                    self.proceed();
                }
            }
            return;
        }
        // What a torn program left is part of the same chunk, unless somebody forged it.
        if found.iter().zip(&store.data).any(|(cell, byte)| cell & byte != *byte) {
            return self.forget(store.block);
        }
        self.writes
            .push_back(FlashOp::Program { address: store.address, data: core::mem::take(&mut store.data) });
        self.task = Task::Store(store);
    }

    /// A block, or the table, is wanted again, unless it must not be erased now.
    fn forget(&mut self, block: Option<u32>) {
        if self.wear.spent_until().is_some() {
            return;
        }
        let Some(session) = &self.session else { return };
        let [_, table] = self.config.books.journal;
        let (first, count, erase) = match block {
            Some(block) => {
                let (first, count) = session.block_chunks(block);
                (first, count, Region { start: session.staging.start + block * SECTOR, len: SECTOR })
            }
            None => {
                let len = session.descriptor.table_len().next_multiple_of(SECTOR);
                (0, session.descriptor.table_chunks(), Region { start: table.start, len })
            }
        };
        self.task = Task::Forget { first, count, erase };
    }

    fn checked_table(&mut self, sums: Sums) {
        let Some(session) = &mut self.session else { return };
        if sums.sha256 == session.descriptor.table {
            session.table = true;
            self.blame.good(None);
            self.proceed();
        } else {
            session.suspect = false;
            self.bad(None);
        }
    }

    fn checked(&mut self, block: u32, right: bool) {
        let Some(session) = &mut self.session else { return };
        if right {
            session.set_checked(block);
            session.suspect = false;
            self.blame.good(Some(block));
            self.proceed();
        } else if !session.suspect {
            // Perhaps the table is wrong and not the block.
            (session.suspect, session.table) = (true, false);
            self.proceed();
        } else {
            (session.suspect, session.blamed) = (false, false);
            self.bad(Some(block));
        }
    }

    /// A block, or the table, is wrong.
    fn bad(&mut self, block: Option<u32>) {
        let link = self.blame.bad(block);
        self.events.push_back(Event::BadBlock { block, link });
        self.forget(block);
    }

    fn verified(&mut self, sums: Sums) {
        let Some(session) = &mut self.session else { return };
        if sums.sha256 == session.descriptor.sha256 {
            session.verified = true;
            session.installed = session.in_place;
        } else if session.blamed {
            return self.fail(Failure::Payload);
        } else {
            session.blamed = true;
            session.doubt();
        }
        self.proceed();
    }

    /// The slot has these sums.
    fn read_back(&mut self, sums: Sums) {
        let Some(session) = &mut self.session else { return };
        let manifest = &session.manifest;
        if (sums.sha256, sums.md5) == (manifest.sha256, manifest.md5) {
            if !session.chip {
                return self.fail(Failure::Chip);
            }
            session.ready = true;
            self.events.push_back(Event::Ready(manifest.sha256));
        } else if !self.again() {
            return;
        }
        self.proceed();
    }

    /// The image came out wrong: everything is looked at once more, but not for ever.
    fn again(&mut self) -> bool {
        let Some(session) = &mut self.session else { return false };
        if session.retried {
            self.fail(Failure::Image);
            return false;
        }
        // What was only supposed to be installed, after a reset, does not count as tried.
        session.retried = session.unpacked;
        session.doubt();
        true
    }

    /// The unpacker was given what it wanted.
    fn feed(&mut self, mut unpacker: Box<Unpacker>, bytes: &[u8]) {
        let outcome = match unpacker.needs() {
            Need::Payload { .. } => unpacker.payload(bytes).map(drop),
            _ => unpacker.base(bytes),
        };
        self.unpack(unpacker, outcome);
    }

    fn unpack(&mut self, unpacker: Box<Unpacker>, outcome: Result<(), CodecError>) {
        let Some(session) = &mut self.session else { return };
        let (sha256, md5) = (session.manifest.sha256, session.manifest.md5);
        session.unpacked = true;
        if let Err(error) = outcome {
            if session.retried {
                return self.fail(Failure::Codec(error));
            }
            if self.again() {
                self.proceed();
            }
            return;
        }
        match unpacker.needs() {
            Need::Write => {
                let start = self.config.layout.slot(self.slot()).start;
                let page = unpacker.page();
                if page.offset == 0 && !self.is_for_this_chip(page.bytes) {
                    return self.fail(Failure::Chip);
                }
                let address = start + page.offset;
                let mut data = page.bytes.to_vec();
                data.resize(data.len().next_multiple_of(UNIT as usize), ERASED);
                if page.offset.is_multiple_of(SECTOR) {
                    self.writes.push_back(FlashOp::Erase { address });
                }
                self.writes.push_back(FlashOp::Program { address, data });
                self.task = Task::Install(unpacker);
            }
            Need::Nothing(sums) if (sums.sha256, sums.md5) == (sha256, md5) => {
                session.installed = true;
                self.proceed();
            }
            Need::Nothing(_) => {
                if self.again() {
                    self.proceed();
                }
            }
            _ => self.task = Task::Install(unpacker),
        }
    }

    fn is_for_this_chip(&self, image: &[u8]) -> bool {
        let id = image.get(CHIP_AT..CHIP_AT + 2).and_then(|id| <[u8; 2]>::try_from(id).ok());
        self.config.chip.is_none_or(|chip| {
            image.first() == Some(&IMAGE_MAGIC) && id.map(u16::from_le_bytes) == Some(chip)
        })
    }

    /// All commands that were waiting are done.
    pub(super) fn written(&mut self, _now: Instant) {
        if self.confirming.take() == Some(true) {
            self.events.push_back(Event::Confirmed);
        }
        match core::mem::replace(&mut self.task, Task::Idle) {
            Task::Idle => self.proceed(),
            Task::Clear { head, .. } if head.is_empty() => {
                if let Some(session) = &self.session {
                    self.events.push_back(Event::Wanted(session.image()));
                }
                self.proceed();
            }
            Task::Store(store) if self.marking => {
                self.marking = false;
                if let Some(session) = &mut self.session {
                    session.journal.set(store.index, true);
                }
                self.proceed();
            }
            Task::Store(store) => {
                self.marking = true;
                self.task = Task::Store(store);
            }
            Task::Forget { first, count, .. } => {
                if let Some(session) = &mut self.session {
                    (first..first + count).for_each(|chunk| session.journal.set(chunk, false));
                }
                self.proceed();
            }
            Task::Install(mut unpacker) => {
                let outcome = unpacker.page_written();
                self.unpack(unpacker, outcome);
            }
            Task::Restart => {
                self.events.push_back(Event::Restart);
                self.task = Task::Restart;
            }
            task => self.task = task,
        }
    }

    /// Nothing is under way: what is next?
    pub(super) fn proceed(&mut self) {
        if !self.writes.is_empty() || !matches!(self.task, Task::Idle) || self.grant() {
            return;
        }
        if let Some(task) = self.prove() {
            self.task = task;
            return;
        }
        let Some(session) = self.session.as_ref().filter(|_| self.failed.is_none()) else { return };
        let Some(recipe) = session.recipe.filter(|_| !session.ready) else { return };
        let sum = Summing::default();
        self.task = if session.installed {
            Task::ReadBack { at: 0, sum }
        } else if session.verified {
            match Unpacker::new(recipe, session.key.as_ref()) {
                Ok(unpacker) => Task::Install(unpacker),
                Err(error) => return self.fail(Failure::Codec(error)),
            }
        } else if self.wear.spent_until().is_some() {
            // What would turn out wrong could not be erased.
            Task::Idle
        } else if session.has_table() && !session.table {
            Task::CheckTable { at: 0, sum }
        } else if let Some(block) = session.unchecked().filter(|_| session.table) {
            Task::Check { block, at: 0, sum, found: None }
        } else if session.journal.missing() == 0 && session.table {
            Task::Verify { at: 0, sum }
        } else {
            Task::Idle
        };
    }
}
