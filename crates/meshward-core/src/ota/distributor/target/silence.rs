//! What time does to a target: what it makes of silence, and when it gives up.

use super::{FailReason, Overdue, Seen, Target, TargetState};
use super::{GRACE, LAST_PART_SPACING, LAST_PARTS, RETURNS_WITHIN, STALL};
use crate::time::{Duration, Instant};

/// Announces or questions without a request before a node counts as not interested.
const ANNOUNCES: u8 = 3;
/// How often that may happen without a part in between.
const STALLS: u8 = 12;
/// Probes that do not come back before a node counts as deaf: while others restart, routes come and go.
const PROBES: u8 = 8;
/// One that was in the middle of this image does not mind Announces; it asks by itself every 30 s.
const ASKS_EVERY: Duration = Duration::from_secs(30);
/// One that has left broadcast mode asks in somebody else's name, ten times; then it minds Announces again.
const GIVES_UP: Duration = Duration::from_secs(300);
/// Verdicts on one node; in a mesh that is so crowded nobody knows what it runs.
const VERDICTS: u8 = 60;
/// Between two Announces to a node that may be the one who asks in our name.
const STRAGGLER_PATIENCE: Duration = Duration::from_secs(10);
/// Checks of the broadcast pass in a row in which a node was not found; then it is served after the pass.
const CHECKS: u8 = 2;

impl Target {
    /// Its deadline may have passed.
    pub(in super::super) fn overdue(&mut self, now: Instant, seen: &mut Seen) {
        if self.is_listening() && self.stream.is_active() {
            self.stream.extend(seen.reached);
        }
        if !self.present {
            let gone = match self.state {
                TargetState::Restarting => FailReason::DidNotReturn,
                _ => FailReason::Absent,
            };
            if self.gone + RETURNS_WITHIN <= now {
                self.fail(gone);
            }
            return;
        }
        let waits = self.stream.deadline().filter(|_| self.is_receiving());
        if waits.is_some_and(|deadline| deadline <= now) {
            seen.loss.probe(self.depth, false);
        }
        match self.stream.overdue(now) {
            Overdue::No => {}
            Overdue::Searches => self.due = true,
            Overdue::InVain => self.unanswered_sweep(now),
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        let answered = core::mem::take(&mut self.probe_answered);
        if core::mem::take(&mut self.probing) && !answered {
            seen.loss.probe(self.depth, false);
        }
        let rounds = seen.loss.rounds(self.depth);
        match self.state {
            TargetState::Announced if answered => self.no_request(now, seen, rounds),
            TargetState::Announced if self.tries >= PROBES => self.fail(FailReason::Silent),
            TargetState::Ready | TargetState::Listening if answered => self.no_answer(seen, rounds),
            TargetState::Receiving if self.tries >= STALLS => self.fail(FailReason::Stalled),
            TargetState::Finishing if self.last_parts >= LAST_PARTS => self.fail(FailReason::Stalled),
            TargetState::Finishing => {
                self.enter(TargetState::Verifying, None);
                self.due = true;
            }
            TargetState::Verifying if answered => self.silence(now, seen),
            TargetState::Verifying if self.silences >= rounds => self.enter(TargetState::Updated, None),
            TargetState::Verifying if self.tries >= PROBES || self.verdicts >= VERDICTS => {
                self.fail(FailReason::Unverified)
            }
            TargetState::Verifying if self.verdict_at(now) > now => {
                self.deadline = Some(self.verdict_at(now))
            }
            _ => self.due = true,
        }
    }

    /// An Announce has gone through, and nothing came of it.
    fn no_request(&mut self, now: Instant, seen: &Seen, rounds: u8) {
        let enough = self.tries >= ANNOUNCES.max(rounds);
        if seen.stragglers && !self.heard {
            // It may be one of those who ask in our name, and then it does not answer an Announce.
            self.tries = self.tries.min(2);
            self.deadline = Some(now + STRAGGLER_PATIENCE);
        } else if enough && !self.waited {
            self.waited = true;
            let silent = if seen.gaps && self.trusted { GIVES_UP } else { ASKS_EVERY };
            self.deadline = Some(now + silent + GRACE);
        } else if enough {
            self.enter(TargetState::Declined, None);
        } else {
            self.due = true;
        }
    }

    /// A question has gone through, or not, and nothing came of it: it does not listen, or nobody knows where
    /// it stands.
    fn no_answer(&mut self, seen: &Seen, rounds: u8) {
        if self.heard {
            return;
        }
        if self.tries < rounds.max(2) {
            self.due = true;
        } else if self.state == TargetState::Ready {
            self.enter(TargetState::Announced, None);
            self.due = true;
        } else if !seen.stragglers {
            // It is served alone after the pass, if it wants the image at all.
            self.enter(TargetState::Waiting, None);
        }
    }

    /// All that a sweep may say has been said.
    pub(super) fn unanswered_sweep(&mut self, now: Instant) {
        if self.state == TargetState::Listening && self.heard && self.tries < CHECKS {
            // The next check may find it.
            self.tries += 1;
        } else if self.state == TargetState::Listening {
            self.enter(TargetState::Waiting, None);
        } else if self.tries >= STALLS {
            self.fail(FailReason::Stalled);
        } else {
            // It may have restarted, or given up.
            self.due = true;
            self.deadline = Some(now + STALL);
        }
    }

    /// A verdict's probe came back, and no request: it runs the image, or has just got its last part and
    /// restarts into it.
    fn silence(&mut self, now: Instant, seen: &Seen) {
        if seen.stragglers && !self.heard {
            self.deadline = Some(self.verdict_at(now + STRAGGLER_PATIENCE));
            return;
        }
        self.silences += 1;
        self.tries = 0;
        self.deadline = Some(self.last_part_at.map_or(now, |at| now.max(at + LAST_PART_SPACING)));
    }
}
