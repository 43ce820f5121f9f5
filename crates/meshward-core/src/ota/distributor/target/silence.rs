//! What time does to a target: what it makes of silence, and when it gives up.

use super::{FailReason, Loss, Overdue, Seen, Target, TargetState};
use super::{GRACE, LAST_PART_SPACING, LAST_PARTS, RETURNS_WITHIN, STALL};
use crate::time::{Duration, Instant};

/// Announces or questions without a request before a node counts as not interested.
const ANNOUNCES: u8 = 3;
/// How often that may happen without a part in between.
const STALLS: u8 = 12;
/// Probes that do not come back before a node counts as deaf: while others restart, routes come and go.
const PROBES: u8 = 10;
/// One that was in the middle of this image does not mind Announces; it asks by itself every 30 s.
const ASKS_EVERY: Duration = Duration::from_secs(30);
/// One that has left broadcast mode asks in somebody else's name, ten times; then it minds Announces again.
const GIVES_UP: Duration = Duration::from_secs(300);
/// Verdicts on one node; in a mesh that is so crowded nobody knows what it runs.
const VERDICTS: u8 = 120;
/// Silences of one that did not leave, with its last part before each: a restart is seen, unless its parent's hides it.
const STAYED: u8 = 3;
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
            Overdue::InVain => self.unanswered_sweep(now, &seen.loss),
        }
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        let answered = core::mem::take(&mut self.probe_answered);
        if core::mem::take(&mut self.probing) && !answered {
            seen.loss.probe(self.depth, false);
            self.deaf = self.deaf.saturating_add(1);
        }
        self.time_is_up(now, seen, answered);
    }

    /// Its state has waited long enough; `answered` when the probe behind what it was sent came back.
    fn time_is_up(&mut self, now: Instant, seen: &Seen, answered: bool) {
        let (rounds, tries) = (seen.loss.rounds(self.depth), seen.loss.tries(self.depth).max(PROBES));
        match self.state {
            TargetState::Announced if answered => self.no_request(now, seen),
            TargetState::Ready | TargetState::Listening if answered => self.no_answer(seen, rounds),
            TargetState::Announced | TargetState::Ready if self.deaf >= tries => {
                self.fail(FailReason::Silent)
            }
            TargetState::Receiving if self.has_stalled(now, &seen.loss) => self.fail(FailReason::Stalled),
            TargetState::Finishing if self.last_parts >= LAST_PARTS => self.fail(FailReason::Stalled),
            TargetState::Finishing => {
                self.stayed = true;
                self.enter(TargetState::Verifying, None);
                self.due = true;
            }
            TargetState::Verifying if answered => self.silence(now, seen),
            TargetState::Verifying if self.tries == 0 && self.silences >= self.enough(rounds) => {
                self.enter(TargetState::Updated, None);
            }
            TargetState::Verifying if self.tries >= tries || self.verdicts >= VERDICTS => {
                self.fail(FailReason::Unverified)
            }
            TargetState::Verifying if self.verdict_at(now) > now => {
                self.deadline = Some(self.verdict_at(now))
            }
            TargetState::Verifying => {
                // It is there, and the probe that was lost has nothing to do with the request that did not come.
                let asks_unknown = seen.stragglers && !self.heard;
                self.silences = self.silences.saturating_add(u8::from(self.tries > 0 && !asks_unknown));
                self.due = true;
            }
            _ => self.due = true,
        }
    }

    /// An Announce has gone through, and nothing came of it.
    fn no_request(&mut self, now: Instant, seen: &Seen) {
        let rounds = seen.loss.careful_rounds(self.depth);
        let enough = self.tries >= ANNOUNCES.max(rounds);
        if seen.stragglers && !self.heard {
            // It may be one of those who ask in our name, and then it does not answer an Announce.
            self.tries = self.tries.min(2);
            self.deadline = Some(now + STRAGGLER_PATIENCE);
        } else if !enough {
            self.due = true;
        } else if let Some(end) = self.may_ask_until {
            let doubtful = rounds > 1 || seen.gaps && self.trusted;
            if end > now {
                self.deadline = Some(end);
            } else if doubtful && !self.waited_out {
                // It has given up by now, if it was in the middle: then it minds Announces again.
                (self.waited_out, self.may_ask_until) = (true, None);
                (self.tries, self.due) = (1, true);
            } else {
                self.enter(TargetState::Declined, None);
            }
        } else {
            // Where relays lose messages, so may they its requests.
            let silent = match ASKS_EVERY.saturating_mul(rounds.into()).min(GIVES_UP) {
                asks if self.waited_out => asks.min(ASKS_EVERY.saturating_mul(2)),
                _ if seen.gaps && self.trusted => GIVES_UP,
                asks => asks,
            };
            self.may_ask_until = Some(now + silent);
            self.deadline = Some(now + silent + GRACE);
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
    pub(super) fn unanswered_sweep(&mut self, now: Instant, loss: &Loss) {
        if self.state == TargetState::Listening && self.heard && self.tries < CHECKS {
            // The next check may find it.
            self.tries += 1;
        } else if self.state == TargetState::Listening {
            self.enter(TargetState::Waiting, None);
        } else if self.restarts_by.is_some() {
            self.verify_after_all(now);
        } else if self.has_stalled(now, loss) {
            self.fail(FailReason::Stalled);
        } else {
            // It may have restarted, or given up.
            self.due = true;
            self.deadline = Some(now + STALL);
        }
    }

    /// Whether nothing more can come of it: a node whose requests are lost asks until it gives up, and minds no
    /// Announce before.
    fn has_stalled(&self, now: Instant, loss: &Loss) -> bool {
        self.tries >= loss.tries(self.depth).max(STALLS) && self.asked_at + GIVES_UP + ASKS_EVERY <= now
    }

    /// Silences that mean *updated* where so many do as a rule.
    fn enough(&self, rounds: u8) -> u8 {
        if self.stayed { rounds.max(STAYED) } else { rounds }
    }

    /// A verdict's probe came back, and no request: it runs the image, or has just got its last part and
    /// restarts into it.
    fn silence(&mut self, now: Instant, seen: &Seen) {
        if seen.stragglers && !self.heard {
            self.deadline = Some(self.verdict_at(now + STRAGGLER_PATIENCE));
            return;
        }
        self.silences = self.silences.saturating_add(1);
        self.tries = 0;
        self.deadline = Some(self.last_part_at.map_or(now, |at| now.max(at + LAST_PART_SPACING)));
    }
}
