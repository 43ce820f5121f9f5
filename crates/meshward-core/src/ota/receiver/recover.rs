//! After a reset: reads the books, and finishes what the power interrupted.

use alloc::vec::Vec;

use super::Receiver;
use super::memory::{self, Known, Wish};
use super::state::Failure;
use super::work::{READ, Task};
use crate::flash::FlashOp;
use crate::hash::Summing;
use crate::ota::journal::{HEAD, Head};
use crate::ota::trial::{AfterReset, Ended, Trial, TrialCopies, TrialRecord, TrialState, after_reset};
use crate::ota::trust::Refusal;
use crate::time::Instant;

/// What is read next.
#[derive(Debug)]
pub(super) enum Recovery {
    /// The copy in the first sector, then in the second.
    Memory(usize),
    Trial(Vec<Vec<u8>>),
    /// The running image's sum, if it is not in the memory.
    Running {
        at: u32,
        sum: Summing,
    },
    Head,
    /// The marks from this chunk on.
    Marks(u32),
}

impl Receiver {
    pub(super) fn read_books(&self, recovery: &Recovery) -> FlashOp {
        let books = &self.config.books;
        let copy = |regions: [crate::flash::Region; 2], read: &Vec<Vec<u8>>, len| {
            let [first, second] = regions;
            FlashOp::Read { address: if read.is_empty() { first.start } else { second.start }, len }
        };
        match recovery {
            Recovery::Memory(index) => {
                let [first, second] = books.memory;
                let address = if *index == 0 { first.start } else { second.start };
                FlashOp::Read { address, len: memory::READ }
            }
            Recovery::Trial(read) => copy(books.trial, read, TrialCopies::LEN),
            Recovery::Running { at, .. } => {
                let running = &self.config.running;
                let address = self.config.layout.slot(running.slot).start + at;
                FlashOp::Read { address, len: running.size.saturating_sub(*at).min(READ) }
            }
            Recovery::Head => FlashOp::Read { address: books.journal[0].start, len: HEAD },
            Recovery::Marks(first) => {
                let len = books.marks.bytes();
                let left = self.session.as_ref().map_or(1, |session| session.journal.chunks() - first);
                let address = books.journal[0].start + HEAD + len * first;
                FlashOp::Read { address, len: (len * left).min(READ) }
            }
        }
    }

    pub(super) fn have_read_books(&mut self, now: Instant, recovery: Recovery, bytes: &[u8]) {
        let next = match recovery {
            Recovery::Memory(index) => {
                self.memory.read(bytes);
                if index == 0 { Recovery::Memory(1) } else { Recovery::Trial(Vec::new()) }
            }
            Recovery::Trial(read) => match read.first() {
                None => Recovery::Trial(alloc::vec![bytes.to_vec()]),
                Some(first) => {
                    self.trial_copies = TrialCopies::read(first, bytes);
                    match self.running() {
                        Some(_) => Recovery::Head,
                        None => Recovery::Running { at: 0, sum: Summing::default() },
                    }
                }
            },
            Recovery::Running { at, mut sum } => {
                sum.update(bytes);
                let at = at + bytes.len() as u32;
                let (slot, size) = (self.config.running.slot, self.config.running.size);
                if at < size && !bytes.is_empty() {
                    Recovery::Running { at, sum }
                } else {
                    let sums = sum.finish();
                    self.memory.learn(slot, Known { md5: sums.md5, sha256: sums.sha256, size, sequence: 0 });
                    Recovery::Head
                }
            }
            Recovery::Head => match self.recover_session(bytes) {
                true => Recovery::Marks(0),
                false => return self.recovered(now),
            },
            Recovery::Marks(first) => {
                let Some(session) = &mut self.session else { return self.recovered(now) };
                session.journal.recover(first, bytes);
                let next = first + bytes.len() as u32 / session.journal.mark_len();
                if next >= session.journal.chunks() || bytes.is_empty() {
                    return self.recovered(now);
                }
                Recovery::Marks(next)
            }
        };
        self.task = Task::Recover(next);
    }

    /// The journal's beginning: whether anybody whom this node believes signed it, for this node as it is.
    fn recover_session(&mut self, bytes: &[u8]) -> bool {
        self.session = match Head::decode(bytes).map(|head| self.admit(&head)) {
            Some(Ok(session)) => Some(session),
            Some(Err(Refusal::Quarantined(_))) => None,
            Some(Err(refusal)) => {
                self.refused = Some(refusal);
                None
            }
            None => None,
        };
        self.session.is_some()
    }

    /// All books have been read.
    fn recovered(&mut self, now: Instant) {
        self.task = Task::Idle;
        if let Some(session) = self.session.as_mut().filter(|session| session.journal.missing() == 0) {
            // An installed image is looked at first: if it is right, nothing else has to be.
            (session.verified, session.installed) = (true, true);
        }
        if let Some(Wish::Revert(image)) = self.memory.wish
            && self.running() != Some(image)
        {
            self.note_revert(image);
        }
        let on_trial = self.config.running.slot != self.config.committed.slot;
        if let Some(record) = self.trial_copies.record {
            let this = record.md5 == self.config.running.md5 && record.slot == self.config.running.slot;
            match record.state {
                TrialState::PendingVerify if this && on_trial => {
                    self.trial = Some(Trial::new(now, self.rules(), record.gateway));
                }
                // The power went between the boot record and this one.
                TrialState::PendingVerify | TrialState::New | TrialState::Aborted if this => self.confirm(),
                TrialState::Aborted => self.after_trial(record),
                TrialState::New => {
                    // The boot loader did not start it: it is not whole any more.
                    self.memory.wish = Some(Wish::Activate(record.sha256));
                    if let Some(session) = &mut self.session {
                        session.doubt();
                    } else {
                        self.failed = Some(Failure::Image);
                    }
                }
                _ => {}
            }
        }
        self.proceed();
    }

    /// The old image runs again because a reset ended the trial.
    fn after_trial(&mut self, record: TrialRecord) {
        let next = match after_reset(self.config.reset, record.attempts) {
            AfterReset::Retry if self.memory.wish == Some(Wish::Activate(record.sha256)) => {
                self.task = Task::Restart;
                (TrialState::New, None)
            }
            AfterReset::Retry => return,
            // Said once, not after every reset.
            AfterReset::GiveUp if record.ended.is_some() && self.memory.wish.is_none() => return,
            AfterReset::GiveUp => {
                self.memory.wish = None;
                self.writes.extend(self.memory.write(&self.config.books));
                (TrialState::Aborted, Some(record.ended.unwrap_or(Ended::Power)))
            }
            AfterReset::Quarantine => {
                self.memory.wish = None;
                self.memory.quarantine(record.sha256);
                self.session = None;
                self.writes.extend(self.memory.write(&self.config.books));
                (TrialState::Invalid, Some(Ended::Crashed))
            }
        };
        let (state, ended) = next;
        let record = TrialRecord { state, ended, ..record };
        self.writes.extend(self.trial_copies.write(&self.config.books, record));
    }
}
