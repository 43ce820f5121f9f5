//! A new image is tried before it counts: what the boot loader starts meanwhile, and when the trial is over.
//!
//! The [`BootRecord`]s say which image counts; a [`TrialRecord`] beside them says which one is tried. The boot
//! loader ([`choose`]) starts an image under trial once: a reset before it was confirmed brings the old image
//! back. Confirming is writing a boot record, so that one torn write decides nothing twice. The running image
//! judges itself by [`Trial`], a machine without IO; the old image, when it is back, by [`after_reset`].
//!
//! The states are named as ESP-IDF names those of its `otadata`.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

use alloc::vec::Vec;
use core::fmt;

use super::boot::BootRecord;
use super::pair;
use crate::flash::{Books, FlashOp, SECTOR, Slot};
use crate::hash::{Md5Sum, Sha256Sum};
use crate::time::{Duration, Instant};

const MAGIC: [u8; 4] = *b"MWt1";
/// Bytes of a record's content.
const LEN: usize = 56;
/// How often an image is tried whose trials only ended because the power went.
pub const ATTEMPTS_MAX: u8 = 3;

/// How far an image under trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialState {
    /// It is to be started at the next boot. The running image says so.
    New,
    /// It has been started, and has not been confirmed. The boot loader says so.
    PendingVerify,
    /// It was confirmed. It says so itself.
    Valid,
    /// It failed, or was reverted, and is not tried again. It says so itself, or the old image does.
    Invalid,
    /// It was reset before it was confirmed. The boot loader says so.
    Aborted,
}

/// What is on flash about a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialRecord {
    /// How far it is.
    pub state: TrialState,
    /// How often it has been started.
    pub attempts: u8,
    /// Whether the old image had reached the gateway in the hour before.
    pub gateway: bool,
    /// Where the image is.
    pub slot: Slot,
    /// Its length in bytes.
    pub size: u32,
    /// Its MD5.
    pub md5: Md5Sum,
    /// Its SHA-256.
    pub sha256: Sha256Sum,
    /// Why it does not count, once that is decided.
    pub ended: Option<Ended>,
}

/// Why an image that was tried, or counted, does not count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It judged itself so.
    Failed(TrialFailure),
    /// It crashed or hung.
    Crashed,
    /// The power went in each of its [`ATTEMPTS_MAX`] trials.
    Power,
    /// An operator ordered it.
    Ordered,
}

impl Ended {
    const ALL: [Self; 6] = [
        Self::Failed(TrialFailure::SelfTest),
        Self::Failed(TrialFailure::Unreached),
        Self::Failed(TrialFailure::Alone),
        Self::Crashed,
        Self::Power,
        Self::Ordered,
    ];

    /// Its place in [`ALL`](Self::ALL), from 1 on.
    fn number(self) -> u8 {
        Self::ALL.iter().position(|other| *other == self).map_or(0, |index| index as u8 + 1)
    }

    /// The number that a node reports: 96 and up, behind those of refusals and failures.
    pub fn code(self) -> u8 {
        95 + self.number()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Crashed => f.write_str("it crashed or hung on trial"),
            Self::Power => f.write_str("the power went in each of its trials"),
            Self::Ordered => f.write_str("it was ordered"),
        }
    }
}

impl TrialRecord {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let state = match self.state {
            TrialState::New => 0,
            TrialState::PendingVerify => 1,
            TrialState::Valid => 2,
            TrialState::Invalid => 3,
            TrialState::Aborted => 4,
        };
        let flags = u8::from(self.gateway) | self.ended.map_or(0, Ended::number) << 1;
        bytes.extend_from_slice(&[state, self.attempts, flags, (self.slot == Slot::B).into()]);
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&self.md5.0);
        bytes.extend_from_slice(&self.sha256.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let [state, attempts, flags, slot, rest @ ..] = bytes;
        let state = match state {
            0 => TrialState::New,
            1 => TrialState::PendingVerify,
            2 => TrialState::Valid,
            3 => TrialState::Invalid,
            4 => TrialState::Aborted,
            _ => return None,
        };
        Some(Self {
            state,
            attempts: *attempts,
            gateway: flags & 1 == 1,
            slot: if *slot == 1 { Slot::B } else { Slot::A },
            size: u32::from_le_bytes(rest.get(..4)?.try_into().ok()?),
            md5: Md5Sum(rest.get(4..20)?.try_into().ok()?),
            sha256: Sha256Sum(rest.get(20..)?.try_into().ok()?),
            ended: usize::from(flags >> 1).checked_sub(1).and_then(|index| Ended::ALL.get(index)).copied(),
        })
    }

    /// The image as a boot record of this sequence would name it.
    pub const fn boot_record(&self, sequence: u32) -> BootRecord {
        BootRecord { sequence, slot: self.slot, size: self.size, md5: self.md5 }
    }
}

/// What the pair of sectors holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrialCopies {
    sequence: u32,
    /// The record that counts; `None` on a board that never tried an image.
    pub record: Option<TrialRecord>,
}

impl TrialCopies {
    /// Bytes to be read from the start of each sector.
    pub const LEN: u32 = LEN as u32 + 16;

    /// Reads the beginnings of both sectors.
    pub fn read(first: &[u8], second: &[u8]) -> Self {
        let found = pair::newest(MAGIC, first, second);
        Self { sequence: found.sequence, record: TrialRecord::decode(found.content) }
    }

    /// The commands that make `record` count.
    pub fn write(&mut self, books: &Books, record: TrialRecord) -> [FlashOp; 2] {
        self.sequence = self.sequence.saturating_add(1);
        self.record = Some(record);
        pair::write(books.trial, MAGIC, self.sequence, LEN, |bytes| record.encode(bytes))
    }
}

/// What the boot loader does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// To be executed first, completely.
    pub write: Option<[FlashOp; 2]>,
    /// The image to be started.
    pub start: BootRecord,
    /// The one that counts: the same unless `start` is on trial.
    pub committed: BootRecord,
}

/// What the boot loader does, given the boot records, the trial's record, and whether the image that a record
/// names stands in its slot. A board without books tries nothing: the newest whole image is started. `None` when
/// no image is whole.
pub fn choose(
    books: Option<&Books>,
    boot: [Option<BootRecord>; 2],
    mut trial: TrialCopies,
    mut is_whole: impl FnMut(&BootRecord) -> bool,
) -> Option<Choice> {
    let [first, second] = boot;
    let newer_first = match (first, second) {
        (Some(a), Some(b)) if b.sequence > a.sequence => [Some(b), Some(a)],
        other => [other.0, other.1],
    };
    let committed = newer_first.into_iter().flatten().find(&mut is_whole);
    let record = trial.record.filter(|_| books.is_some());
    let tried = record.map(|record| (record, record.boot_record(0)));
    let (Some(committed), Some((record, image))) = (committed, tried) else {
        // Without an image that counts, one on trial is better than none.
        let start = committed.or_else(|| tried.map(|(_, image)| image).filter(&mut is_whole))?;
        return Some(Choice { write: None, start, committed: start });
    };
    let counts = (committed.slot, committed.md5) == (image.slot, image.md5);
    let (start, next) = match record.state {
        TrialState::New if !counts && is_whole(&image) => {
            let attempts = record.attempts.saturating_add(1);
            (image, Some(TrialRecord { state: TrialState::PendingVerify, attempts, ..record }))
        }
        TrialState::PendingVerify if !counts => {
            (committed, Some(TrialRecord { state: TrialState::Aborted, ..record }))
        }
        _ => (committed, None),
    };
    let write = next.zip(books).map(|(next, books)| trial.write(books, next));
    Some(Choice { write, start, committed })
}

/// Why the machine was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The power came.
    PowerOn,
    /// The supply was too weak for a moment.
    BrownOut,
    /// It woke up from deep sleep.
    Sleep,
    /// Somebody pressed the button.
    External,
    /// The program asked for it.
    Software,
    /// The program crashed.
    Panic,
    /// The program hung.
    Watchdog,
}

/// What the old image does about an image whose trial a reset ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReset {
    /// Tries it again: the power's fault.
    Retry,
    /// Leaves it: it was tried [`ATTEMPTS_MAX`] times. It may be offered again.
    GiveUp,
    /// Leaves it and takes it never again: it crashed or hung.
    Quarantine,
}

/// Judges a trial that ended with a reset for this reason, after so many attempts.
pub const fn after_reset(reason: ResetReason, attempts: u8) -> AfterReset {
    match reason {
        ResetReason::Panic | ResetReason::Watchdog => AfterReset::Quarantine,
        _ if attempts < ATTEMPTS_MAX => AfterReset::Retry,
        _ => AfterReset::GiveUp,
    }
}

/// How a node is, as far as a trial is concerned. All `false` at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// What the application found out about itself; `None` until it has.
    pub self_test: Option<bool>,
    /// Whether any link is up and in sync.
    pub joined: bool,
    /// Whether the gateway is in the tree.
    pub gateway_in_tree: bool,
    /// Whether the gateway has answered since the boot.
    pub gateway_reached: bool,
    /// Whether a neighbour that holds the image's manifest has answered since the boot.
    pub neighbour_reached: bool,
}

/// How long a trial may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialRules {
    /// How long all must be well before the image is confirmed.
    pub soak: Duration,
    /// How long it may be unwell, the gateway's absence not counted.
    pub limit: Duration,
}

impl Default for TrialRules {
    /// A minute of soak, fifteen of trial.
    fn default() -> Self {
        Self { soak: Duration::from_secs(60), limit: Duration::from_secs(15 * 60) }
    }
}

/// Why an image did not pass its trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialFailure {
    /// The application says that something is wrong: it is quarantined.
    SelfTest,
    /// The gateway is in the tree and was not reached, or the application said nothing: quarantined.
    Unreached,
    /// No neighbour was found. It may be the neighbours' fault: it may be tried again.
    Alone,
}

impl TrialFailure {
    /// Whether the image is never taken again.
    pub const fn quarantines(self) -> bool {
        !matches!(self, Self::Alone)
    }
}

impl fmt::Display for TrialFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SelfTest => "its self-test failed",
            Self::Unreached => "it did not come to work in time",
            Self::Alone => "it found no neighbour in time",
        })
    }
}

/// How a trial ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The image counts from now on.
    Confirm,
    /// Back to the old one.
    Revert(TrialFailure),
}

/// The running image's trial of itself.
///
/// It is well when the self-test has passed, the mesh is joined, and the gateway was reached if the old image
/// had reached it, else any neighbour. Well for the soak: confirmed. Unwell for the limit: reverted. The clock of
/// the limit stands still while it is well, and while it has joined a mesh without a gateway that it needs, which
/// is not its fault. Without any neighbour the clock runs, since the image itself may be deaf.
#[derive(Clone, Debug)]
pub struct Trial {
    rules: TrialRules,
    needs_gateway: bool,
    health: Health,
    /// Time on the limit's clock, up to `counted`.
    unwell: Duration,
    counted: Instant,
    well_since: Option<Instant>,
}

impl Trial {
    /// A trial that begins now.
    pub fn new(now: Instant, rules: TrialRules, needs_gateway: bool) -> Self {
        let health = Health::default();
        Self { rules, needs_gateway, health, unwell: Duration::ZERO, counted: now, well_since: None }
    }

    fn is_well(&self) -> bool {
        let reached = if self.needs_gateway {
            self.health.gateway_reached && self.health.gateway_in_tree
        } else {
            self.health.gateway_reached || self.health.neighbour_reached
        };
        self.health.self_test == Some(true) && self.health.joined && reached
    }

    fn stands_still(&self) -> bool {
        let absent = self.needs_gateway && self.health.joined && !self.health.gateway_in_tree;
        // A node that says nothing of itself is at fault whoever else is there.
        self.is_well() || (absent && self.health.self_test == Some(true))
    }

    fn count(&mut self, now: Instant) {
        if !self.stands_still() {
            self.unwell += now.since(self.counted);
        }
        self.counted = now.max(self.counted);
    }

    /// The node's health has changed, or is the same.
    pub fn handle_health(&mut self, now: Instant, health: Health) {
        self.count(now);
        self.health = health;
        self.well_since = if self.is_well() { self.well_since.or(Some(now)) } else { None };
    }

    /// The verdict, if there is one by now.
    pub fn verdict(&mut self, now: Instant) -> Option<Verdict> {
        self.count(now);
        if self.health.self_test == Some(false) {
            return Some(Verdict::Revert(TrialFailure::SelfTest));
        }
        if self.well_since.is_some_and(|since| now.since(since) >= self.rules.soak) {
            return Some(Verdict::Confirm);
        }
        let failure = if self.health.joined { TrialFailure::Unreached } else { TrialFailure::Alone };
        (self.unwell >= self.rules.limit).then_some(Verdict::Revert(failure))
    }

    /// When to ask for the [`verdict`](Self::verdict) again; `None` while only news can change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let Some(since) = self.well_since {
            return Some(since + self.rules.soak);
        }
        let left =
            Duration::from_micros(self.rules.limit.as_micros().saturating_sub(self.unwell.as_micros()));
        (!self.stands_still()).then(|| self.counted + left)
    }
}

const _: () = assert!(TrialCopies::LEN <= SECTOR);

#[cfg(test)]
mod tests;
