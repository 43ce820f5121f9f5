//! One node of a roll-out: where it is, what it is waiting for, what may happen next.

use super::report::{FailReason, TargetReport, TargetState};
use crate::time::{Duration, Instant};
use crate::wire::NodeId;

/// After an Announce's probe has come back, a request that will come is here within this time.
const GRACE: Duration = Duration::from_millis(500);
/// How long a probe may take before the Announce is repeated.
const PROBE_TIMEOUT: Duration = Duration::from_secs(8);
/// Announces without a request before a node counts as not interested.
const ANNOUNCES: u8 = 3;
/// A receiving node that is silent this long is announced to again; its own retry is 30 s.
const STALL: Duration = Duration::from_secs(45);
/// How often that may happen without a part in between.
const STALLS: u8 = 5;
/// The last part is not repeated sooner: a second start of the receiver's flash writer would ruin the image.
const LAST_PART_SPACING: Duration = Duration::from_secs(5);
/// A node that has its last part leaves the tree within this time.
const LEAVES_WITHIN: Duration = Duration::from_secs(12);
/// How often the last part is sent: at the third time more than 30 s have passed, and whoever asks has asked.
const LAST_PARTS: u8 = 3;
/// How often in a mesh that loses messages.
const LAST_PARTS_LOSSY: u8 = 8;
/// How often when nothing comes back: while other nodes restart, routes come and go.
const LAST_PARTS_SENT: u8 = 20;
/// How often a node that has asked before is announced to, when it neither restarts nor asks: until its ten
/// requests, 30 s apart, must have ended, and with them the state in which it ignores Announces.
const LAST_ANNOUNCES: u8 = 12;
/// Between two of these.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(30);
/// How long a restarted node may stay away, and an unfinished one.
const RETURNS_WITHIN: Duration = Duration::from_secs(180);
/// From a node's return to its Announce, so that its neighbours have told their trees.
const SETTLE: Duration = Duration::from_millis(200);
/// Between two Announces to a node that may be a straggler.
const STRAGGLER_PATIENCE: Duration = Duration::from_secs(10);
/// Complete transfers after which a node still asks for the image.
const FAILURES: u8 = 2;

/// What the distributor should send to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An Announce and a probe.
    Announce {
        /// For the broadcast pass: the node listens instead of asking.
        broadcasted: bool,
    },
    /// This part.
    Part(u32),
    /// The last part, and a probe.
    Last {
        /// Its number.
        part: u32,
        /// For a node that may not have all the others: it tells, if so.
        broadcasted: bool,
    },
    /// This part, to find out whether this node is the one who asks for it in our name.
    Test(u32),
    /// A part that makes the node forget what it has: its counter is left over from another image.
    Rescue(u32),
}

/// What the rest of the session allows a target now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leave {
    /// To begin.
    pub(super) start: bool,
    /// To take the last part.
    pub(super) finish: bool,
    /// To listen to the broadcast pass instead of asking.
    pub(super) listen: bool,
}

/// What the session has seen of the mesh.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Somebody unknown still asks for parts.
    pub(super) stragglers: bool,
    /// Messages have been lost.
    pub(super) lossy: bool,
}

impl Seen {
    const fn last_parts(self) -> u8 {
        if self.lossy { LAST_PARTS_LOSSY } else { LAST_PARTS }
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Target {
    state: TargetState,
    present: bool,
    /// The next thing to happen by itself.
    deadline: Option<Instant>,
    /// A request that has not been answered.
    wanted: Option<u32>,
    /// Parts that it has.
    done: u32,
    /// Announces without a request, or stalls without a part.
    tries: u8,
    /// Whether an Announce should go out now.
    announce: bool,
    /// Whether an Announce and its probe went out in this state.
    probing: bool,
    probe_answered: bool,
    last_part_at: Option<Instant>,
    /// Last parts sent, and those whose probe came back: they have gone through.
    last_parts: u8,
    last_parts_through: u8,
    /// Whether it has ever asked for a part in this session.
    heard: bool,
    /// Whether it left the mesh after its last part.
    restarted: bool,
    rescue: bool,
    /// Whether it has been given the time in which a node in mid-update asks by itself.
    waited: bool,
    failures: u8,
    changed: bool,
}

impl Target {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: TargetState::Waiting,
            present: false,
            deadline: Some(now + RETURNS_WITHIN),
            wanted: None,
            done: 0,
            tries: 0,
            announce: false,
            probing: false,
            probe_answered: false,
            last_part_at: None,
            last_parts: 0,
            last_parts_through: 0,
            heard: false,
            restarted: false,
            rescue: false,
            waited: false,
            failures: 0,
            changed: true,
        }
    }

    pub(super) fn report(&self, node: NodeId, parts: u32, passed: u32) -> TargetReport {
        let done = match self.state {
            TargetState::Listening => passed,
            TargetState::Declined => 0,
            _ => self.done,
        };
        TargetReport { node, state: self.state, done: done.min(parts), parts }
    }

    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    pub(super) fn is_final(&self) -> bool {
        self.state.is_final()
    }

    /// Whether it may be the one who asks in our name: it has been sent its last part and nothing happened.
    pub(super) fn may_straggle(&self) -> bool {
        self.present
            && !self.heard
            && !self.restarted
            && matches!(self.state, TargetState::Ready | TargetState::Finishing | TargetState::Verifying)
    }

    /// Whether it takes up one of the plan's places.
    pub(super) fn is_receiving(&self) -> bool {
        self.present && matches!(self.state, TargetState::Announced | TargetState::Receiving)
    }

    /// Whether its last part may still be in a relay's queue.
    pub(super) fn loads_relays(&self) -> bool {
        self.state == TargetState::Finishing && self.probing
    }

    /// Whether the broadcast pass is for it.
    pub(super) fn is_listening(&self) -> bool {
        self.state == TargetState::Listening
    }

    /// Whether the broadcast pass should wait until it is known to listen.
    pub(super) fn holds_up_pass(&self) -> bool {
        self.present && matches!(self.state, TargetState::Waiting | TargetState::Announced)
    }

    /// The broadcast pass has sent everything up to the last part, `last`.
    pub(super) fn pass_over(&mut self, now: Instant, last: u32) {
        if self.state != TargetState::Listening {
            return;
        }
        // Who has asked meanwhile has said where it is.
        let part = self.wanted.unwrap_or(last);
        self.wanted = Some(part);
        self.done = part;
        if part == last {
            self.enter(TargetState::Ready, None);
        } else {
            self.enter(TargetState::Receiving, Some(now + STALL));
        }
    }

    /// Whether it waits for [`Target::next_step`]'s `may_start` or `may_finish`.
    pub(super) fn waits_for_leave(&self) -> bool {
        match self.state {
            TargetState::Waiting => self.present,
            TargetState::Ready | TargetState::Finishing => self.wanted.is_some(),
            _ => false,
        }
    }

    /// Whether a parent's restart would cost it something.
    pub(super) fn holds_up_parents(&self) -> bool {
        self.present && !self.is_final()
            || matches!(self.state, TargetState::Finishing | TargetState::Restarting)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.is_final())
    }

    fn enter(&mut self, state: TargetState, deadline: Option<Instant>) {
        self.state = state;
        self.deadline = deadline;
        self.probing = false;
        self.probe_answered = false;
        self.changed = true;
    }

    pub(super) fn fail(&mut self, reason: FailReason) {
        self.enter(TargetState::Failed(reason), None);
    }

    /// The tree shows it, or does not.
    pub(super) fn seen(&mut self, now: Instant, present: bool) {
        if self.is_final() || present == self.present {
            return;
        }
        self.present = present;
        match (present, self.state) {
            (false, TargetState::Finishing) => {
                self.restarted = true;
                self.enter(TargetState::Restarting, Some(now + RETURNS_WITHIN));
            }
            (false, TargetState::Verifying) => {
                // The news of its restart may have come late.
                self.restarted |= self.last_parts > 0;
                self.deadline = Some(now + RETURNS_WITHIN);
            }
            // Whether a node that comes back still has what it had shows when it gets its last part.
            (false, TargetState::Listening | TargetState::Ready) => {
                self.deadline = Some(now + RETURNS_WITHIN);
            }
            (false, _) => {
                self.wanted = None;
                self.announce = false;
                self.deadline = Some(now + RETURNS_WITHIN);
            }
            (true, TargetState::Restarting | TargetState::Verifying) => {
                self.tries = 0;
                self.enter(TargetState::Verifying, Some(now + SETTLE));
            }
            (true, TargetState::Waiting | TargetState::Listening | TargetState::Ready) => {
                self.deadline = None
            }
            // It may have lost its memory: an Announce finds out, and disturbs nobody who is in progress.
            (true, _) => {
                self.announce = true;
                self.deadline = Some(now + STALL);
            }
        }
    }

    /// It asked for a part; `listens` says whether a broadcast pass is under way, in which a root asks too.
    pub(super) fn asked(&mut self, now: Instant, part: u32, last: bool, listens: bool) {
        // Where messages are lost the verdict on a silent node may be wrong; one that asks corrects it.
        if matches!(self.state, TargetState::Failed(_) | TargetState::Waiting) {
            return;
        }
        if self.state == TargetState::Announced && listens {
            self.enter(TargetState::Listening, None);
        }
        if self.state == TargetState::Listening {
            self.heard = true;
            self.wanted = Some(part);
            return;
        }
        if part > 0 && !self.heard && self.state == TargetState::Announced {
            // Parts of this image, or of another one: nobody can tell.
            self.rescue = true;
            self.wanted = Some(part);
            return;
        }
        let first = !core::mem::replace(&mut self.heard, true);
        // It restarted, or started over because what it had was not the image.
        let complete = self.restarted || (part == 0 && !first);
        if complete && matches!(self.state, TargetState::Verifying | TargetState::Restarting) {
            self.failures += 1;
            if self.failures >= FAILURES {
                return self.fail(FailReason::StillAsks);
            }
        }
        self.announce = false;
        self.tries = 0;
        self.done = part;
        self.wanted = Some(part);
        let state = match (last, self.state) {
            (true, TargetState::Finishing) => TargetState::Finishing,
            (true, _) => TargetState::Ready,
            (false, _) => TargetState::Receiving,
        };
        if state != self.state {
            self.enter(state, None);
        }
        self.restarted = false;
        if state == TargetState::Receiving {
            self.last_parts = 0;
            self.last_parts_through = 0;
            self.deadline = Some(now + STALL);
        }
    }

    /// The probe behind what was sent last came back; whether a place has become free for others.
    pub(super) fn probe_answered(&mut self, now: Instant, listens: bool) -> bool {
        if !self.probing {
            return false;
        }
        match self.state {
            TargetState::Announced if listens => self.enter(TargetState::Listening, None),
            TargetState::Announced | TargetState::Verifying => {
                self.probe_answered = true;
                self.deadline = Some(now + GRACE);
            }
            TargetState::Finishing => {
                self.probing = false;
                self.last_parts_through = self.last_parts_through.saturating_add(1);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Nothing came of the last Announce: another one at this time.
    fn wait(&mut self, until: Instant) {
        self.probe_answered = false;
        self.deadline = Some(until);
    }

    /// Its deadline may have passed.
    pub(super) fn overdue(&mut self, now: Instant, seen: Seen) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        if !self.present && self.state != TargetState::Finishing {
            let gone = match self.state {
                TargetState::Restarting | TargetState::Verifying => FailReason::DidNotReturn,
                _ => FailReason::Absent,
            };
            return self.fail(gone);
        }
        match self.state {
            TargetState::Announced if self.probe_answered && self.tries >= ANNOUNCES => {
                self.enter(TargetState::Declined, None);
            }
            // One that was in the middle of this image before does not mind Announces; it asks every 30 s.
            TargetState::Announced if self.probe_answered && self.tries == ANNOUNCES - 1 && !self.waited => {
                self.waited = true;
                self.deadline = Some(now + ANNOUNCE_PAUSE + GRACE);
            }
            TargetState::Announced if self.tries >= ANNOUNCES => self.fail(FailReason::Silent),
            TargetState::Verifying if self.probe_answered && self.restarted => {
                self.enter(TargetState::Updated, None);
            }
            TargetState::Verifying if self.probe_answered && seen.stragglers && !self.heard => {
                // It may be one of those who ask in our name, and then it does not answer an Announce.
                self.tries = 0;
                self.wait(now + STRAGGLER_PATIENCE);
            }
            // Its requests may be what is lost.
            TargetState::Verifying if self.probe_answered && seen.lossy && self.tries < LAST_ANNOUNCES => {
                self.wait(now + ANNOUNCE_PAUSE);
            }
            // It has asked for every part, so it would ask for the last one again, or for the image.
            TargetState::Verifying if self.probe_answered && self.heard => {
                self.enter(TargetState::Updated, None);
            }
            TargetState::Verifying if self.probe_answered => self.enter(TargetState::Declined, None),
            TargetState::Verifying if self.tries >= LAST_ANNOUNCES => self.fail(FailReason::Unverified),
            // It waited for its last part's time to come.
            TargetState::Ready => {}
            TargetState::Receiving if self.tries >= STALLS => {
                self.fail(FailReason::Stalled);
            }
            TargetState::Finishing
                if self.last_parts_through < seen.last_parts() && self.last_parts < LAST_PARTS_SENT =>
            {
                self.probing = false;
                self.wanted = Some(self.done.saturating_sub(1));
            }
            // Its restart was not seen; an Announce tells whether it wants the image.
            TargetState::Finishing => {
                self.tries = 0;
                self.enter(TargetState::Verifying, None);
                self.announce = true;
            }
            _ => self.announce = true,
        }
    }

    /// What may be sent to it now.
    pub(super) fn next_step(&mut self, now: Instant, leave: Leave) -> Option<Step> {
        if !self.present || self.is_final() {
            return None;
        }
        if self.state == TargetState::Waiting && leave.start {
            self.enter(TargetState::Announced, None);
            self.announce = true;
        }
        if core::mem::take(&mut self.rescue) {
            // The Announce behind it starts the node properly.
            self.announce = true;
            return self.wanted.take().map(Step::Rescue);
        }
        if core::mem::take(&mut self.announce) {
            return Some(self.announce(now, leave));
        }
        let part = self.wanted?;
        match self.state {
            TargetState::Receiving => {
                self.wanted = None;
                Some(Step::Part(part))
            }
            TargetState::Ready | TargetState::Finishing if leave.finish => self.last_part(now, part),
            _ => None,
        }
    }

    fn announce(&mut self, now: Instant, leave: Leave) -> Step {
        self.tries += 1;
        self.probing = true;
        self.probe_answered = false;
        let wait = if self.state == TargetState::Receiving { STALL } else { PROBE_TIMEOUT };
        self.deadline = Some(now + wait);
        Step::Announce { broadcasted: leave.listen && self.state == TargetState::Announced }
    }

    fn last_part(&mut self, now: Instant, part: u32) -> Option<Step> {
        if let Some(earliest) = self.last_part_at.map(|at| at + LAST_PART_SPACING).filter(|at| *at > now) {
            self.deadline = Some(earliest);
            return None;
        }
        self.wanted = None;
        let again = self.last_parts > 0;
        self.last_part_at = Some(now);
        self.last_parts = self.last_parts.saturating_add(1);
        self.done = part + 1;
        self.enter(TargetState::Finishing, Some(now + LEAVES_WITHIN));
        self.probing = true;
        Some(Step::Last { part, broadcasted: again || !self.heard })
    }
}
