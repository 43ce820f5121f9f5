//! Asking a node that is silent, until it answers or its silence proves something.
//!
//! Probes go out one after the other; how far apart depends on how many it will take, so that the whole is not much
//! longer where much gets lost. A node is asked only while nobody above it is being asked, for then the silence says
//! nothing about itself; and it is not called lost before the node above has shown itself since the inquiry began.
//! If that one has not, it is asked instead: whoever lives answers at once, so the topmost that does not is soon found.

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::loss::{LOSS_MIN, PROBES_MAX, ln_lost, probes_needed};
use super::{Config, Liveness, State, Why};

/// From the first probe to the last: two of them are 4 s apart, many share that. The last one's time-out follows.
const SPAN: Duration = Duration::from_secs(4);
/// Probes to one node are never closer together; who waits for a verdict above is looked at again after this.
pub(super) const GAP_MIN: Duration = Duration::from_millis(500);
/// A probe that was not sent is asked for again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// From so many unanswered probes on the node above is asked before another one goes: an answer of it costs less than
/// going on, and its silence tells of everybody behind it.
const PROBES_BEFORE_ABOVE: u32 = 1;

/// Questions to one node.
#[derive(Clone, Debug)]
pub(super) struct Inquiry {
    since: Instant,
    /// Its report was due and did not come.
    overdue: bool,
    sent: u32,
    last: Instant,
    /// What to do next: ask again, or judge.
    pub(super) next: Instant,
}

impl Inquiry {
    fn new(now: Instant, overdue: bool) -> Self {
        Self { since: now, overdue, sent: 0, last: now, next: now }
    }

    /// One of the probes was answered.
    pub(super) fn answered(&mut self) {
        self.sent = self.sent.saturating_sub(1);
        // None is under way: the answer was the last one's.
        self.last = self.since;
    }

    /// How many probes went out before the newest.
    pub(super) const fn before(&self) -> u32 {
        self.sent.saturating_sub(1)
    }

    pub(super) fn refused(&mut self, now: Instant) {
        self.sent = self.sent.saturating_sub(1);
        self.next = now + AGAIN;
    }

    /// How many probes stayed unanswered, by now that the node has shown itself.
    pub(super) fn unanswered(&self, now: Instant) -> u32 {
        let under_way = self.sent > 0 && now.since(self.last) < AGAIN && self.last > self.since;
        self.sent.saturating_sub(u32::from(under_way))
    }
}

impl Config {
    /// How many unanswered probes make a node of so many hops lost, where each hop loses that share of messages, and how
    /// far they are apart. A node that reports each `period` and is `overdue` is doubtful already.
    pub fn probes(&self, period: Duration, loss: f64, hops: u32, overdue: bool) -> (u32, Duration) {
        let occasions = 86_400.0 / period.as_secs_f64().max(1.0) * f64::from(self.days_per_mistake.max(1));
        let doubt = if overdue { ln_lost(loss, hops) } else { 0.0 };
        let needed = probes_needed(-occasions.ln(), doubt, loss, hops, self.probes_min.max(1));
        let gap = Duration::from_micros(SPAN.as_micros() / u64::from(needed.saturating_sub(1).max(1)));
        (needed, gap.clamp(GAP_MIN, self.answer.max(GAP_MIN)))
    }

    /// The same from a report that did not come in time until the node is called lost, when every probe goes at once.
    pub fn patience(&self, period: Duration, loss: f64, hops: u32) -> Duration {
        let (needed, gap) = self.probes(period, loss.max(LOSS_MIN), hops, true);
        self.grace + gap.saturating_mul(u64::from(needed.saturating_sub(1))) + self.answer
    }
}

impl Liveness {
    /// A node is due: ask, judge, or go on waiting.
    pub(super) fn look_at(&mut self, node: NodeId) {
        let now = self.now;
        let Some(life) = self.nodes.get_mut(&node) else { return };
        if life.inquiry.is_some() {
            return self.go_on(node);
        }
        match life.state {
            State::Online | State::Suspect => self.inquire(node),
            State::Sleeping => {
                life.wakes = None;
                if life.place.is_some() {
                    life.base = now;
                    self.set(node, State::Suspect, Why::Overdue);
                    self.inquire(node);
                } else if self.learnt {
                    self.set(node, State::Offline, Why::DidNotReturn);
                } else {
                    self.set(node, State::Learning, Why::DidNotReturn);
                }
            }
            State::Unreachable { .. } => {
                life.returns = None;
                self.set(node, State::Offline, Why::DidNotReturn);
            }
            State::Offline => {
                life.base = now;
                self.ask(node);
            }
            State::Learning | State::Forgotten => {}
        }
    }

    fn inquire(&mut self, node: NodeId) {
        let Some(life) = self.nodes.get_mut(&node) else { return };
        let overdue = life.period.is_some() && life.due(&self.config).is_some_and(|due| due <= self.now);
        life.inquiry = Some(Inquiry::new(self.now, overdue));
        if overdue {
            self.set(node, State::Suspect, Why::Overdue);
        }
        self.go_on(node);
    }

    fn go_on(&mut self, node: NodeId) {
        if self.is_behind_asked(node) {
            return self.wait(node);
        }
        let (needed, gap) = self.needed(node);
        let (now, answer) = (self.now, self.config.answer);
        let Some(life) = self.nodes.get_mut(&node) else { return };
        let (place, state) = (life.place, life.state);
        let Some(inquiry) = &mut life.inquiry else { return };
        let silent = inquiry.sent > 0 && now >= inquiry.last + answer.min(gap);
        let (sent, since) = (inquiry.sent, inquiry.since);
        if sent < needed {
            if silent && sent >= PROBES_BEFORE_ABOVE {
                if state == State::Online {
                    self.set(node, State::Suspect, Why::NoAnswer { probes: sent });
                }
                if !self.ask_above(node, since) && self.is_behind_asked(node) {
                    return self.wait(node);
                }
            }
            return self.ask_again(node, if sent + 1 < needed { gap } else { answer });
        }
        let Some((above, _)) = place else { return self.wait(node) };
        if self.ask_above(node, since) {
            self.lost(node, Why::NoAnswer { probes: sent });
        } else if self.nodes.get(&above).is_some_and(|above| above.inquiry.is_none()) {
            // It is lost itself, or asleep: nothing can be known of what is behind it.
            self.inherit(node, above);
        } else {
            self.wait(node);
        }
    }

    /// One more probe; what comes next comes after `wait`.
    fn ask_again(&mut self, node: NodeId, wait: Duration) {
        let now = self.now;
        if let Some(inquiry) = self.nodes.get_mut(&node).and_then(|life| life.inquiry.as_mut()) {
            inquiry.sent = inquiry.sent.saturating_add(1);
            (inquiry.last, inquiry.next) = (now, now + wait);
            self.ask(node);
        }
    }

    fn wait(&mut self, node: NodeId) {
        let again = self.now + GAP_MIN;
        if let Some(inquiry) = self.nodes.get_mut(&node).and_then(|life| life.inquiry.as_mut()) {
            inquiry.next = again;
        }
    }

    /// How many unanswered probes it takes, and how far they are apart.
    fn needed(&self, node: NodeId) -> (u32, Duration) {
        let Some((life, inquiry)) =
            self.nodes.get(&node).and_then(|life| Some((life, life.inquiry.as_ref()?)))
        else {
            return (PROBES_MAX, self.config.answer);
        };
        let (loss, hops) = (life.path.own(&self.loss), life.hops());
        let period = life.period.unwrap_or(self.config.sweep);
        self.config.probes(period, loss, hops, inquiry.overdue)
    }

    /// Whether somebody above is being asked.
    fn is_behind_asked(&self, node: NodeId) -> bool {
        self.above(node).any(|(_, life)| life.inquiry.is_some())
    }

    /// Whether the node above has shown itself since the inquiry began; if not it is asked too.
    fn ask_above(&mut self, node: NodeId, since: Instant) -> bool {
        let place = self.nodes.get(&node).and_then(|life| life.place);
        let Some((above, _)) = place.filter(|(above, _)| *above != self.own) else { return true };
        let Some(life) = self.nodes.get(&above) else { return true };
        if life.heard.is_some_and(|heard| heard >= since) {
            return true;
        }
        if life.inquiry.is_none() && matches!(life.state, State::Online | State::Suspect) {
            if let Some(life) = self.nodes.get_mut(&above) {
                life.inquiry = Some(Inquiry::new(self.now, false));
            }
            self.go_on(above);
            self.arm(above);
        }
        false
    }
}
