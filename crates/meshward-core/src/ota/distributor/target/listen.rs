//! A target and the broadcast pass: whether it listens, what the checks of the pass find out about it, and how it
//! catches up.

use super::{Loss, Target, TargetState};
use crate::time::Instant;

impl Target {
    /// Whether the broadcast pass goes on without it, and it must catch up.
    pub(in super::super) fn lags(&self) -> bool {
        self.present && self.is_listening() && self.stream.is_active()
    }

    /// Whether the broadcast pass is for it.
    pub(in super::super) fn is_listening(&self) -> bool {
        self.state == TargetState::Listening
    }

    /// Whether the broadcast pass should wait until it is known to listen.
    pub(in super::super) fn holds_up_pass(&self) -> bool {
        let announced = self.state == TargetState::Announced && !self.seems_deaf();
        self.present && (announced || self.state == TargetState::Waiting)
    }

    /// A check of the broadcast pass: `part` goes to it alone. Who has left broadcast mode unknown to us may
    /// stand at `low`.
    pub(in super::super) fn begin_check(&mut self, part: u32, last: u32, low: Option<u32>) {
        // One that is still being served alone catches up, or is checked the next time.
        let known = self.heard && self.stream.low() > part;
        if !self.is_listening() || self.stream.is_active() || known {
            return;
        }
        if !self.heard && !self.unchecked {
            self.stream.know(low.unwrap_or(part));
        }
        self.due = !self.heard;
        self.stream.check(part, last);
    }

    /// Somebody, nobody knows who, stands at `part`: it may be this one.
    pub(in super::super) fn may_stand_at(&mut self, part: u32) {
        if self.is_listening() && !self.heard {
            self.stream.know(self.stream.low().min(part));
        }
    }

    /// Whether a check waits for its first answer.
    pub(in super::super) fn is_checked(&self) -> bool {
        self.lags() && self.stream.is_fresh()
    }

    /// Whether a check has not come to it yet.
    pub(in super::super) fn awaits_check(&self) -> bool {
        self.lags() && self.stream.is_new()
    }

    /// Whether a check has had no answer, and it must be searched for: the part that it has for certain.
    pub(in super::super) fn lost_since(&self) -> Option<u32> {
        (self.lags() && self.stream.is_searching()).then(|| self.stream.low())
    }

    /// The block goes out once more, for it and many others.
    pub(in super::super) fn wait_for_repeat(&mut self) {
        if self.lags() {
            self.stream.stop();
        }
    }

    /// The check has taken long enough: the pass goes on without it.
    pub(in super::super) fn leave_behind(&mut self, now: Instant, loss: &Loss) {
        if self.awaits_check() {
            self.unchecked = true;
        } else if self.lags() {
            self.unanswered_sweep(now, loss);
        }
        if self.is_listening() {
            self.stream.stop();
        }
    }

    /// The broadcast pass has sent everything up to the last part, `last`.
    pub(in super::super) fn pass_over(&mut self, now: Instant, last: u32) {
        if self.state != TargetState::Listening {
            return;
        }
        if !self.heard || self.stream.low() >= last {
            self.enter(TargetState::Ready, None);
            self.due = !self.heard;
        } else {
            self.receive(now, last);
        }
    }

    /// A broadcast of the pass has gone by without it: it is served alone up to `reached`, where the pass is.
    pub(in super::super) fn catch_up(&mut self, reached: u32) {
        if self.is_listening() && !self.stream.is_active() {
            self.stream.serve(reached);
        }
    }
}
