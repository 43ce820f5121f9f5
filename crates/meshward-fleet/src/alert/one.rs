//! One alert, and the states of its life.

use core::fmt;
use std::collections::VecDeque;

use meshward_core::hash::Sha256Sum;
use meshward_core::time::{Duration, Instant};

use super::gate::{Gate, Look};
use super::rule::Severity;
use super::window::Purpose;
use crate::condition::Subject;

/// Most comments on an alert; the oldest go first.
pub const COMMENTS_MAX: usize = 32;
/// Changes within [`FLAP_WINDOW`] that make an alert flap: three times raised and cleared.
pub const FLAPS: usize = 6;
/// How long an alert must be still to flap no more.
pub const FLAP_WINDOW: Duration = Duration::from_secs(1_800);

/// An alert's name: the same for the same rule and subject in the same mesh, in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The first eight bytes of the SHA-256 of mesh, rule and subject.
    pub fn of(mesh: &str, rule: &str, subject: Subject) -> Self {
        let sum = Sha256Sum::of(format!("{mesh}\0{rule}\0{subject}").as_bytes());
        Self(sum.0.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Bad, but not for long enough.
    Pending,
    /// Raised, and nobody has said that he knows.
    ActiveUnack,
    /// Raised, and somebody knows.
    ActiveAck,
    /// Over, and nobody has said that he knows.
    ClearedUnack,
    /// Over and known; forgotten after an hour.
    ClearedAck,
}

impl State {
    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::ActiveUnack => "active_unack",
            Self::ActiveAck => "active_ack",
            Self::ClearedUnack => "cleared_unack",
            Self::ClearedAck => "cleared_ack",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Pending, Self::ActiveUnack, Self::ActiveAck, Self::ClearedUnack, Self::ClearedAck]
            .into_iter()
            .find(|one| one.name() == name)
    }

    /// Whether it is raised.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::ActiveUnack | Self::ActiveAck)
    }
}

/// Why nothing is sent of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// A silence or maintenance window of that number.
    Window(Purpose, u32),
    /// Another alert explains it: the incident of that number.
    Cause(u64),
    /// It comes and goes.
    Flapping,
}

/// Something that somebody wrote on an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// When.
    pub at: Instant,
    /// Who.
    pub by: String,
    /// What.
    pub text: String,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// Its rule's name.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whom it is about.
    pub subject: Subject,
    /// Where it is in its life.
    pub state: State,
    /// Since when it is in that state.
    pub since: Instant,
    /// When it was raised last.
    pub raised: Option<Instant>,
    /// How often it was raised.
    pub times: u32,
    /// The last value; `None` for a state.
    pub value: Option<f64>,
    /// By what it is known, in words.
    pub evidence: String,
    /// When the evidence was observed.
    pub at: Instant,
    /// Who said last that he knows.
    pub known_by: Option<String>,
    /// Whose it is.
    pub assigned: Option<String>,
    /// What was written on it, oldest first.
    pub comments: VecDeque<Comment>,
    /// Why nothing is sent of it.
    pub suppressed_by: Option<Suppression>,
    /// Whether it comes and goes.
    pub flapping: bool,
    pub(super) gate: Gate,
    /// The last look, which a state keeps until it is told otherwise.
    pub(super) look: Look,
    /// The state before it was pending again.
    pub(super) before: Option<State>,
    /// When it was raised or cleared lately.
    pub(super) changes: VecDeque<Instant>,
    /// Whether something is to be sent of it.
    pub(super) news: bool,
    /// Whether its raise was sent.
    pub(super) told: bool,
    /// That it flaps is to be said, once.
    pub(super) announce: bool,
    /// Cleared by hand: nothing is raised before it was good once.
    pub(super) muted: bool,
    /// Raised before a restart: until when somebody must have found the state again, or it is over.
    pub(super) confirm_by: Option<Instant>,
}

impl Alert {
    pub(super) fn new(fingerprint: Fingerprint, rule: &super::Rule, subject: Subject, now: Instant) -> Self {
        Self {
            fingerprint,
            rule: rule.name.clone(),
            severity: rule.severity,
            subject,
            state: State::Pending,
            since: now,
            raised: None,
            times: 0,
            value: None,
            evidence: String::new(),
            at: now,
            known_by: None,
            assigned: None,
            comments: VecDeque::new(),
            suppressed_by: None,
            flapping: false,
            gate: Gate::default(),
            look: Look::Between,
            before: None,
            changes: VecDeque::new(),
            news: false,
            told: false,
            announce: false,
            muted: false,
            confirm_by: None,
        }
    }

    /// It was raised or cleared.
    pub(super) fn note_change(&mut self, now: Instant) {
        if self.changes.len() == FLAPS {
            self.changes.pop_front();
        }
        self.changes.push_back(now);
        let often = self.changes.len() == FLAPS
            && self.changes.front().is_some_and(|first| now.since(*first) <= FLAP_WINDOW);
        self.announce |= often && !self.flapping;
        self.flapping |= often;
    }

    /// What has been still for long enough flaps no more.
    pub(super) fn settle(&mut self, now: Instant) {
        self.flapping &= self.changes.back().is_some_and(|last| now.since(*last) < FLAP_WINDOW);
    }
}
