//! One node of a roll-out: where it is, what it is waiting for, what may happen next. `listen` has its part in the
//! broadcast pass, `silence` what happens when nothing does, `step` what it is sent.

mod listen;
mod silence;
mod step;
#[cfg(test)]
mod tests;

use core::ops::Range;

use super::loss::Loss;
use super::report::{FailReason, TargetReport, TargetState};
use super::stream::{Overdue, Stream};
use crate::time::{Duration, Instant};
use crate::wire::NodeId;
pub(super) use step::{Leave, Seen, Step};

/// After a probe has come back, a request that will come is here within this time.
const GRACE: Duration = Duration::from_millis(500);
/// How long a probe may take before what was sent with it is repeated, by what others took; then twice as long,
/// up to eight times.
pub(super) const PROBE_TIMEOUT: core::ops::RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(8);
/// The same before anything is known.
pub(super) const PROBE_TIMEOUT_FIRST: Duration = Duration::from_secs(3);
/// A receiving node that does not answer a sweep is announced to this much later.
const STALL: Duration = Duration::from_secs(15);
/// The last part is not repeated sooner, and no verdict given: a second start of the receiver's flash writer
/// would ruin the image, and it restarts 2 s after its last part.
const LAST_PART_SPACING: Duration = Duration::from_secs(5);
/// How long a restarted node may stay away, and an unfinished one.
const RETURNS_WITHIN: Duration = Duration::from_secs(180);
/// A node that waits for a part asks every 30 s: for so long it is known to wait.
const STILL_ASKS: Duration = Duration::from_secs(35);
/// From a node's return to its Announce, so that its neighbours have told their trees.
const SETTLE: Duration = Duration::from_millis(200);
/// Announces or questions to one node without an answer for which others wait.
const OTHERS_WAIT: u8 = 6;
/// Rescues of one node. One that asks for the same part after them has parts of this image; if not, that shows when it
/// has all of them, and costs it a second transfer.
const RESCUES: u8 = 2;
/// Complete transfers after which a node still asks for the image.
const FAILURES: u8 = 2;
/// Last parts to one node; each time it asked for it again.
const LAST_PARTS: u8 = 20;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Target {
    state: TargetState,
    present: bool,
    /// When the tree lost it.
    gone: Instant,
    /// Where it is in the tree.
    place: Option<usize>,
    /// Hops to it, as last seen.
    depth: u32,
    /// The next thing to happen by itself.
    deadline: Option<Instant>,
    /// What it has, and what it is being sent.
    stream: Stream,
    /// Announces, questions or stalls without an answer.
    tries: u8,
    /// Whether what this state sends by itself (an Announce, a question, a verdict) should go out now.
    due: bool,
    /// Whether a probe is under way behind it.
    probing: bool,
    probe_answered: bool,
    /// Probes in a row that did not come back.
    deaf: u8,
    /// Verdicts whose probe came back without a request.
    silences: u8,
    verdicts: u8,
    last_part_at: Option<Instant>,
    last_parts: u8,
    /// Whether it may be given its last part.
    released: bool,
    /// Whether it has ever asked for a part in this session, in its own name.
    heard: bool,
    /// When it asked for a part last.
    asked_at: Instant,
    /// Whether its counter is of this image: it took part in the pass.
    trusted: bool,
    /// Whether a check never came to it: what it has is what it was known to have before that.
    unchecked: bool,
    /// It asked for this part, left over from another image.
    rescue: Option<u32>,
    /// How often it was made to forget that.
    rescues: u8,
    /// Whether it was sent the part at which it may stand before it asked for anything.
    woken: bool,
    /// That part: the first one, or the one for which somebody asked in our name.
    may_lack: u32,
    /// It minds no Announce, but a node in mid-update asks by itself until then.
    may_ask_until: Option<Instant>,
    /// That time is over, and it was announced to anew.
    waited_out: bool,
    /// It asked for the first part right after the last one: a copy of that came while it waited for its restart,
    /// which is over by then.
    restarts_by: Option<Instant>,
    /// It asked for a part after the last one, and has said nothing since: it runs the image, or is in the middle.
    began_anew: bool,
    /// It was not seen leaving after its last part: that may have got lost.
    stayed: bool,
    failures: u8,
    changed: bool,
}

impl Target {
    /// A target that may restart when it has everything, if `released`.
    pub(super) fn new(now: Instant, released: bool) -> Self {
        Self {
            state: TargetState::Waiting,
            present: false,
            gone: now,
            place: None,
            depth: 1,
            deadline: None,
            stream: Stream::new(),
            tries: 0,
            due: false,
            probing: false,
            probe_answered: false,
            deaf: 0,
            silences: 0,
            verdicts: 0,
            last_part_at: None,
            last_parts: 0,
            released,
            heard: false,
            asked_at: now,
            trusted: false,
            unchecked: false,
            rescue: None,
            rescues: 0,
            woken: false,
            may_lack: 0,
            may_ask_until: None,
            waited_out: false,
            restarts_by: None,
            began_anew: false,
            stayed: false,
            failures: 0,
            changed: true,
        }
    }

    pub(super) fn report(&self, node: NodeId, parts: u32, passed: u32) -> TargetReport {
        let done = match self.state {
            TargetState::Listening => passed,
            TargetState::Declined => 0,
            TargetState::Ready => parts.saturating_sub(1),
            TargetState::Finishing
            | TargetState::Restarting
            | TargetState::Verifying
            | TargetState::Updated => parts,
            _ => self.stream.low(),
        };
        TargetReport { node, state: self.state, done: done.min(parts), parts }
    }

    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Whether nothing can be sent to it now, nor said of it.
    pub(super) fn rests(&self) -> bool {
        (!self.present || self.is_final()) && !self.changed
    }

    pub(super) fn is_final(&self) -> bool {
        self.state.is_final()
    }

    /// Whether it may be the one who asks in our name.
    pub(super) fn may_straggle(&self) -> bool {
        self.present
            && !self.heard
            && matches!(self.state, TargetState::Announced | TargetState::Ready | TargetState::Verifying)
    }

    /// When it was given its last part for want of a name, if it may be the one who asks for that and may restart.
    pub(super) fn may_want_last(&self) -> Option<Option<Instant>> {
        (self.may_straggle() && self.released).then_some(self.last_part_at)
    }

    /// Whether it has just been given it, and may restart yet.
    pub(super) fn is_tested_for_last(&self, now: Instant) -> bool {
        self.may_straggle() && self.verdict_at(now) > now
    }

    /// This part goes to it, to find out whether it is the one who asks for it in our name; the last one, if `last`.
    pub(super) fn test(&mut self, now: Instant, part: u32, last: bool) {
        self.trusted = true;
        if last {
            self.last_part_at = Some(now);
        } else {
            self.may_lack = part;
        }
    }

    /// Whether it takes up one of the plan's places.
    pub(super) fn is_receiving(&self) -> bool {
        self.present && matches!(self.state, TargetState::Announced | TargetState::Receiving)
    }

    /// How many parts of its own may be in a relay's queue at `now`.
    pub(super) fn load(&self, now: Instant) -> usize {
        if self.present { self.stream.under_way(now).max(usize::from(self.probing)) } else { 0 }
    }

    /// Whether the next thing that it is sent is a part, or an answer is awaited.
    pub(super) fn wants_part(&self) -> bool {
        self.stream.is_active()
    }

    /// Whether it has said nothing for so long that nobody else should wait for it.
    fn seems_deaf(&self) -> bool {
        self.tries > OTHERS_WAIT
    }

    /// Whether it is being found out what it lacks.
    pub(super) fn is_questioned(&self) -> bool {
        self.present && self.state == TargetState::Ready && self.released && !self.heard && !self.seems_deaf()
    }

    /// Whether it waits for its last part, or that is on its way.
    pub(super) fn is_finishing(&self) -> bool {
        let ready = self.state == TargetState::Ready && self.released && self.heard;
        self.present && (ready || self.state == TargetState::Finishing && self.probing)
    }

    fn receive(&mut self, now: Instant, last: u32) {
        self.enter(TargetState::Receiving, Some(now + RETURNS_WITHIN));
        self.stream.serve(last);
    }

    /// It may be given its last part.
    pub(super) fn release(&mut self, now: Instant) {
        if core::mem::replace(&mut self.released, true) || self.state != TargetState::Ready {
            return;
        }
        // One that asks for it minds no question.
        let waits = self.heard && now.since(self.asked_at) < STILL_ASKS;
        if !waits {
            // It may have given up meanwhile; the Announce behind the question wakes it.
            self.heard = false;
            self.due = true;
        }
    }

    /// Whether a parent's restart would cost it something.
    pub(super) fn holds_up_parents(&self) -> bool {
        match self.state {
            TargetState::Restarting | TargetState::Verifying => false,
            // It does not seem to want the image.
            TargetState::Announced if self.tries > 1 => false,
            TargetState::Ready => self.present && self.released && !self.seems_deaf(),
            TargetState::Finishing => false,
            _ => self.present && !self.is_final(),
        }
    }

    /// Its turn in the order of service: the deepest come first, who is away last.
    pub(super) fn turn(&self) -> core::cmp::Reverse<Option<u32>> {
        core::cmp::Reverse(self.present.then_some(self.depth))
    }

    /// Where it is in the tree, if it is there.
    pub(super) fn place(&self) -> Option<usize> {
        self.place
    }

    /// Hops to it, as last seen.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether it has asked for a part in this session, in its own name.
    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_final() {
            None
        } else if self.present {
            [self.deadline, self.stream.deadline()].into_iter().flatten().min()
        } else {
            Some(self.gone + RETURNS_WITHIN)
        }
    }

    fn enter(&mut self, state: TargetState, deadline: Option<Instant>) {
        self.state = state;
        self.deadline = deadline;
        self.stream.stop();
        self.trusted |= state == TargetState::Listening;
        self.restarts_by = self.restarts_by.filter(|_| state == TargetState::Receiving);
        self.due = false;
        (self.tries, self.silences) = (0, 0);
        self.probing = false;
        self.probe_answered = false;
        self.deaf = 0;
        self.changed = true;
    }

    pub(super) fn fail(&mut self, reason: FailReason) {
        self.enter(TargetState::Failed(reason), None);
    }

    /// From when on a verdict is fair: not while it restarts, nor before its neighbours have told of it.
    fn verdict_at(&self, earliest: Instant) -> Instant {
        self.last_part_at.map_or(earliest, |at| earliest.max(at + LAST_PART_SPACING))
    }

    /// It asked from the beginning, has said nothing since, and may have restarted: then it runs the image.
    fn verify_after_all(&mut self, at: Instant) {
        // If it asks again, that is the same failure.
        self.failures = self.failures.saturating_sub(1);
        self.began_anew = true;
        self.enter(TargetState::Verifying, Some(self.verdict_at(at)));
    }

    /// The tree shows it at this place, so many hops away, or does not.
    pub(super) fn seen(&mut self, now: Instant, place: Option<(usize, u32)>) {
        self.place = place.map(|(place, _)| place);
        let was_present = core::mem::replace(&mut self.present, place.is_some());
        self.depth = place.map_or(self.depth, |(_, depth)| depth);
        if self.is_final() || self.present == was_present {
            return;
        }
        if !self.present {
            self.gone = now;
        }
        match (self.present, self.state) {
            (false, TargetState::Finishing | TargetState::Verifying) => {
                self.stayed = false;
                self.enter(TargetState::Restarting, None);
            }
            // A probe that is under way is lost, and must not be waited for.
            (false, _) => (self.due, self.probing) = (false, false),
            (true, _) if self.restarts_by.is_some() => self.verify_after_all(now + SETTLE),
            (true, TargetState::Restarting) => {
                self.enter(TargetState::Verifying, Some(self.verdict_at(now + SETTLE)));
            }
            (true, TargetState::Waiting | TargetState::Listening) => self.deadline = None,
            (true, TargetState::Ready) => {
                self.due = !self.heard;
                self.deadline = None;
            }
            // It may have lost its memory: an Announce finds out, and disturbs nobody who is in progress.
            (true, _) => {
                (self.due, self.may_ask_until) = (true, None);
                self.deadline = Some(now + STALL);
            }
        }
    }

    /// It asked for a part; `last` is the number of the last one, and `pass` the part that a broadcast pass has
    /// reached, if one is under way: a root asks then too.
    pub(super) fn asked(&mut self, now: Instant, part: u32, last: u32, pass: Option<u32>) {
        // Where messages are lost the verdict on a silent node may be wrong; one that asks corrects it.
        match self.state {
            TargetState::Failed(why) if !why.is_silence() => return,
            TargetState::Waiting => return,
            _ => {}
        }
        if self.state == TargetState::Announced && pass.is_some() {
            self.enter(TargetState::Listening, None);
        }
        let known =
            self.heard || self.trusted || self.woken && part == self.may_lack + 1 || self.rescues >= RESCUES;
        if part > 0 && !known && self.state == TargetState::Announced {
            // Parts of this image, or of another one: nobody can tell.
            self.rescue = Some(part);
            return;
        }
        (self.heard, self.asked_at) = (true, now);
        (self.tries, self.silences) = (0, 0);
        (self.due, self.began_anew) = (false, false);
        let has_last = matches!(self.state, TargetState::Finishing | TargetState::Verifying);
        self.restarts_by = self.restarts_by.filter(|by| now <= *by);
        if part == 0 && last > 0 && has_last {
            self.restarts_by = Some(now + LAST_PART_SPACING);
        }
        self.stream.extend(pass.unwrap_or(0));
        self.stream.asked(now, part);
        match self.state {
            TargetState::Listening => return,
            TargetState::Ready if part >= last => return,
            TargetState::Receiving if part < last => {
                if !self.stream.is_active() {
                    self.stream.serve(last);
                }
                self.deadline = Some(now + RETURNS_WITHIN);
                return;
            }
            // It started over because what it had was not the image.
            TargetState::Verifying | TargetState::Restarting if part == 0 && last > 0 => {
                self.failures += 1;
                if self.failures >= FAILURES {
                    return self.fail(FailReason::StillAsks);
                }
            }
            _ => {}
        }
        if part >= last {
            self.enter(TargetState::Ready, None);
        } else {
            self.receive(now, last);
        }
    }

    /// The probe behind what was sent last came back; `pass` as in [`Target::asked`]. Whether others may have
    /// a turn now.
    pub(super) fn probe_answered(
        &mut self,
        now: Instant,
        round_trip: Duration,
        pass: bool,
        loss: &mut Loss,
    ) -> bool {
        self.stream.probe_answered(round_trip);
        if !self.probing {
            return false;
        }
        loss.probe(self.depth, true);
        (self.probing, self.deaf) = (false, 0);
        match self.state {
            TargetState::Announced if pass => self.enter(TargetState::Listening, None),
            // Its stream has deadlines of its own.
            TargetState::Finishing | TargetState::Receiving => {}
            _ => {
                self.probe_answered = true;
                self.deadline = Some(now + GRACE);
            }
        }
        true
    }

    /// What may be sent to it now.
    pub(super) fn next_step(&mut self, now: Instant, leave: Leave) -> Option<Step> {
        if !self.present || self.is_final() {
            return None;
        }
        if self.state == TargetState::Waiting && leave.start {
            if self.heard {
                self.receive(now, leave.last);
            } else {
                self.enter(TargetState::Announced, None);
            }
            self.due = true;
        }
        if let Some(part) = self.rescue.take() {
            // The Announce behind it starts the node properly.
            self.due = self.state == TargetState::Announced;
            self.rescues += 1;
            // One that asks is interested, although not for what it should ask for.
            (self.tries, self.waited_out, self.may_ask_until) = (0, false, None);
            return Some(Step::Rescue(part));
        }
        match self.state {
            TargetState::Ready if self.heard => self.last_part(now, leave),
            TargetState::Ready if !self.released => None,
            TargetState::Verifying if !leave.judge => None,
            _ if !leave.send => None,
            _ if self.lost_since().is_some() && !leave.search => None,
            _ if self.lags() && !self.stream.is_new() && !leave.serve => None,
            TargetState::Listening | TargetState::Receiving if !self.due => {
                self.stream.next(now).map(|next| Step::Part { part: next.part, probed: next.probed })
            }
            _ => self.say(now, leave),
        }
    }

    /// What its state says by itself, when that is due.
    fn say(&mut self, now: Instant, leave: Leave) -> Option<Step> {
        if !core::mem::take(&mut self.due) {
            return None;
        }
        // In the search for a node that takes part an Announce is only an attempt to wake it.
        self.tries = self.tries.saturating_add(u8::from(!self.lags() || !self.heard));
        self.probing = true;
        self.probe_answered = false;
        self.deadline = Some(now + leave.patience.saturating_mul(1 << self.tries.saturating_sub(1).min(3)));
        Some(match self.state {
            TargetState::Ready | TargetState::Listening => Step::Question { wakes: 0..0 },
            TargetState::Verifying => {
                self.last_part_at = Some(now);
                self.verdicts = self.verdicts.saturating_add(1);
                Step::Verdict { wakes: self.wakes() }
            }
            TargetState::Receiving => {
                if !self.stream.is_active() {
                    self.stream.serve(leave.last);
                }
                self.deadline = Some(now + STALL);
                Step::Announce { broadcasted: false }
            }
            // One that listens to a broadcast, of ours or of an earlier sender, minds no Announce.
            TargetState::Announced if !leave.listen && self.tries > 1 => {
                // It may have taken the Announce, and its request been lost. After a rescue it must take one first.
                self.woken = self.rescues == 0 && (self.tries > 2 || self.waited_out);
                Step::Question { wakes: self.may_lack..self.may_lack.saturating_add(u32::from(self.woken)) }
            }
            state => Step::Announce { broadcasted: leave.listen && state == TargetState::Announced },
        })
    }

    /// The parts at one of which it stands if it does not run the image. It took an Announce and its request was lost:
    /// then at the beginning. It was lost from sight while it was served: then where it was, or one further. The
    /// requests for what woke it may have been lost too.
    fn wakes(&self) -> Range<u32> {
        let tried = u32::from(self.silences);
        let (from, next) = if self.began_anew { (self.stream.low(), tried + 2) } else { (0, tried) };
        from.saturating_add(next.saturating_sub(2))..from.saturating_add(next)
    }

    fn last_part(&mut self, now: Instant, leave: Leave) -> Option<Step> {
        if !self.released || !leave.finish {
            return None;
        }
        let earliest = self.verdict_at(now);
        if earliest > now {
            self.deadline = Some(earliest);
            return None;
        }
        self.enter(TargetState::Finishing, Some(now + LAST_PART_SPACING));
        self.last_part_at = Some(now);
        self.last_parts = self.last_parts.saturating_add(1);
        self.probing = true;
        Some(Step::Last)
    }
}
