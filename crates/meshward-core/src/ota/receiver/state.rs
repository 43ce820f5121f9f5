//! What a receiver is told at its birth, and what it shows of itself.

use alloc::string::String;
use core::fmt;

use super::Receiver;
use super::memory::Wish;
use super::work::Task;
use crate::codec::CodecError;
use crate::flash::{Books, Layout};
use crate::hash::Sha256Sum;
use crate::mesh::LinkId;
use crate::ota::BootRecord;
use crate::ota::trial::{Ended, ResetReason, TrialFailure, TrialRules, TrialState};
use crate::ota::trust::{GroupKeys, Refusal};
use crate::time::Instant;
use crate::wire::NodeId;

/// What a receiver is told at its birth.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id.
    pub id: NodeId,
    /// Its hardware, as manifests name it.
    pub hardware: String,
    /// Its role.
    pub role: String,
    /// The lowest and highest Meshward protocol that it speaks.
    pub protocol: (u16, u16),
    /// The chip id in the header of images that it can run (ESP-IDF, `esp_image_header_t`); `None` on hosts.
    pub chip: Option<u16>,
    /// The board's flash.
    pub layout: Layout,
    /// The receiver's books on it.
    pub books: Books,
    /// What the boot loader started.
    pub running: BootRecord,
    /// What counts: the same unless `running` is on trial.
    pub committed: BootRecord,
    /// The other boot record, if there is one.
    pub previous: Option<BootRecord>,
    /// Why the machine was reset.
    pub reset: ResetReason,
    /// What it can open of sealed payloads.
    pub group_keys: GroupKeys,
    /// Whether the boot loader knows trials.
    pub rollback: bool,
    /// How long trials take, unless a policy says otherwise.
    pub rules: TrialRules,
    /// The supply that an update takes, in millivolts; `None` on boards that do not measure theirs.
    pub supply_least: Option<u16>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An offer was taken: chunks are wanted.
    Wanted(Sha256Sum),
    /// A block of the payload was wrong, and is wanted again.
    BadBlock {
        /// Which one; `None` is the block table.
        block: Option<u32>,
        /// The link that it is charged to; `None` when it may have been another.
        link: Option<LinkId>,
    },
    /// The image is in its slot.
    Ready(Sha256Sum),
    /// The image under trial counts now.
    Confirmed,
    /// The image under trial did not pass.
    TrialFailed(TrialFailure),
    /// The update ended.
    Failed(Failure),
    /// Reset the machine now.
    Restart,
}

/// Why an update ended. Its [`code`](Self::code) follows those of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The flash refused a command.
    Flash,
    /// All blocks are right and the payload is not: its descriptor contradicts itself.
    Payload,
    /// The payload does not unpack.
    Codec(CodecError),
    /// What it unpacks to is another image than the manifest's, twice.
    Image,
    /// The image is for another chip, whatever its manifest says.
    Chip,
    /// There is nothing to go back to.
    NoPrevious,
}

impl Failure {
    /// The number that a node reports. Numbers are never given twice.
    pub const fn code(self) -> u8 {
        match self {
            Self::Flash => 64,
            Self::Payload => 65,
            Self::Codec(_) => 66,
            Self::Image => 67,
            Self::Chip => 68,
            Self::NoPrevious => 69,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash => f.write_str("the flash refused a command"),
            Self::Payload => f.write_str("the payload is not the one of its descriptor"),
            Self::Codec(error) => write!(f, "the payload does not unpack: {error}"),
            Self::Image => f.write_str("the payload makes another image than the manifest's"),
            Self::Chip => f.write_str("the image's header names another chip"),
            Self::NoPrevious => f.write_str("the image before is not there any more"),
        }
    }
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkOutcome {
    /// It is on its way to the flash.
    Taken,
    /// It was there.
    Known,
    /// The flash is behind: once more, later.
    Busy,
    /// Nothing is being received, or not now, or not over this link.
    Unwanted,
    /// There is no such chunk, or it has another length.
    Malformed,
}

/// Where a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Reads its books after a reset.
    Starting,
    /// Nothing to do.
    Idle,
    /// Took an offer and makes room for it.
    Offered,
    /// Did not take the last offer.
    Refused(Refusal),
    /// Wants chunks.
    Receiving {
        /// Chunks on flash.
        done: u32,
        /// Chunks in all, the block table's included.
        chunks: u32,
    },
    /// Wants chunks, and so many blocks were wrong that the flash would suffer: what has come is not looked at
    /// before `until`, and then one wrong block at a time. Somebody sends wrong chunks.
    Wary {
        /// Chunks on flash, right or wrong.
        done: u32,
        /// Chunks in all, the block table's included.
        chunks: u32,
        /// When the next wrong block may be erased.
        until: Instant,
    },
    /// Wants none for the moment: it was ordered so.
    Paused,
    /// Compares sums of the payload or of the slot.
    Verifying,
    /// Unpacks.
    Installing {
        /// Bytes of the image made.
        made: u32,
        /// Its length.
        size: u32,
    },
    /// The image is in its slot.
    Ready,
    /// The machine restarts.
    Activating,
    /// This image is on trial.
    Trial,
    /// This image counts, and was the last update.
    Confirmed,
    /// The last update was taken back.
    Reverted {
        /// Whether its image is never taken again.
        quarantined: bool,
        /// Why; `None` while it may be tried again.
        why: Option<Ended>,
    },
    /// The last update ended.
    Failed(Failure),
}

/// The reason of [`State::Wary`].
const WARY: u8 = 70;

impl State {
    /// Its name, as nodes report it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Offered => "offered",
            Self::Refused(_) => "refused",
            Self::Receiving { .. } => "receiving",
            Self::Wary { .. } | Self::Paused => "paused",
            Self::Verifying => "verifying",
            Self::Installing { .. } => "installing",
            Self::Ready => "ready",
            Self::Activating => "activating",
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::Reverted { .. } => "reverted",
            Self::Failed(_) => "failed",
        }
    }

    /// The reason's number: that of a [`Refusal`], a [`Failure`] or an [`Ended`]; 0 where the state is all there
    /// is to say.
    pub fn reason(&self) -> u8 {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Failed(failure) => failure.code(),
            Self::Reverted { why: Some(why), .. } => why.code(),
            Self::Paused => Ended::Ordered.code(),
            Self::Wary { .. } => WARY,
            _ => 0,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Refused(refusal) => write!(f, ": {refusal}"),
            Self::Receiving { done, chunks } => write!(f, " ({done}/{chunks})"),
            Self::Wary { done, chunks, .. } => {
                write!(f, " ({done}/{chunks}): too many wrong chunks came; they are looked at again later")
            }
            Self::Paused => write!(f, ": {}", Ended::Ordered),
            Self::Installing { made, size } => {
                write!(f, " ({} %)", u64::from(*made) * 100 / u64::from(*size).max(1))
            }
            Self::Reverted { why: Some(why), .. } => write!(f, ": {why}"),
            Self::Failed(failure) => write!(f, ": {failure}"),
            _ => Ok(()),
        }
    }
}

impl Receiver {
    /// Where the receiver is.
    pub fn state(&self) -> State {
        match &self.task {
            Task::Recover(_) => return State::Starting,
            Task::Clear { .. } => return State::Offered,
            Task::Verify { .. } | Task::ReadBack { .. } => return State::Verifying,
            Task::Install(unpacker) => {
                let size = self.session.as_ref().map_or(0, |session| session.manifest.size);
                return State::Installing { made: unpacker.made(), size };
            }
            Task::Restart => return State::Activating,
            _ => {}
        }
        if self.trial.is_some() || self.confirming.is_some() {
            return State::Trial;
        }
        if let Some(failure) = self.failed {
            return State::Failed(failure);
        }
        if let Some(session) = self.session.as_ref().filter(|session| Some(session.image()) != self.running())
        {
            let (journal, image) = (&session.journal, session.image());
            return match self.memory.wish {
                Some(Wish::Pause(paused)) if paused == image => State::Paused,
                _ if session.ready && self.tried() == Some((image, TrialState::Aborted)) => {
                    self.reverted(image)
                }
                _ if session.ready && self.tried() == Some((image, TrialState::Invalid)) => {
                    self.reverted(image)
                }
                _ if session.ready => State::Ready,
                _ => {
                    let (done, chunks) = (journal.chunks() - journal.missing(), journal.chunks());
                    let wary = |until| State::Wary { done, chunks, until };
                    self.wear.spent_until().map_or(State::Receiving { done, chunks }, wary)
                }
            };
        }
        match (self.refused, self.tried()) {
            (Some(refusal), _) => State::Refused(refusal),
            (None, Some((image, TrialState::Valid))) if Some(image) == self.running() => State::Confirmed,
            (None, Some((image, TrialState::Invalid | TrialState::Aborted))) => self.reverted(image),
            // The running image's own payload: it came by an update, whatever became of the trial's record.
            _ if self.session.is_some() => State::Confirmed,
            _ => State::Idle,
        }
    }

    fn reverted(&self, image: Sha256Sum) -> State {
        let why = self.trial_copies.record.and_then(|record| record.ended);
        State::Reverted { quarantined: self.memory.is_quarantined(image), why }
    }

    fn tried(&self) -> Option<(Sha256Sum, TrialState)> {
        self.trial_copies.record.map(|record| (record.sha256, record.state))
    }

    /// The running image.
    pub fn running(&self) -> Option<Sha256Sum> {
        let known = self.memory.known(self.config.running.slot);
        known.filter(|known| known.md5 == self.config.running.md5).map(|known| known.sha256)
    }

    /// Whether the image before the running one is still there, as far as is known without reading it: an update
    /// that is being received writes over it.
    pub fn can_revert(&self) -> bool {
        let held = self.session.as_ref().is_none_or(|session| Some(session.image()) == self.running());
        held && self.previous().is_some()
    }

    /// The image in the other slot. Its boot record may be gone, when the power went while the one that brings
    /// it back was written over it; then the memory knows it.
    pub(super) fn previous(&self) -> Option<BootRecord> {
        let slot = self.config.running.slot.other();
        let record = self.config.previous.filter(|previous| previous.slot == slot);
        let known = || {
            let known = self.memory.known(slot)?;
            Some(BootRecord { sequence: 0, slot, size: known.size, md5: known.md5 })
        };
        record.or_else(known).filter(|previous| previous.size <= self.config.layout.slot(slot).len)
    }

    /// Which chunks are there, a bit each, the lowest of the first byte first; `None` while none is wanted.
    pub fn bitmap(&self) -> Option<&[u8]> {
        let receiving = matches!(self.state(), State::Receiving { .. } | State::Wary { .. });
        self.session.as_ref().filter(|_| receiving).map(|session| session.journal.bitmap())
    }
}
