//! What a rule would have done: tried on history before it is saved.

use core::fmt;

use meshward_core::time::{Duration, Instant, UnixTime};

use super::gate::{Edge, Gate, Look};
use super::{Rule, What};
use crate::anomaly::span;
use crate::condition::{Condition, Subject};
use crate::series::Point;

/// Most firings that are listed; the others are counted.
pub const FIRINGS_MAX: usize = 1_000;

/// An alert that would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// Whom it would have been about.
    pub subject: Subject,
    /// When it would have been raised.
    pub from: Instant,
    /// When it would have been cleared; `None` if it still were.
    pub until: Option<Instant>,
}

/// What a rule would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// Alerts that would have been, in the order of the history.
    pub firings: Vec<Firing>,
    /// How many, those that are not listed included.
    pub count: usize,
    /// The time from the first to the last point.
    pub span: Duration,
}

impl fmt::Display for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = match self.count {
            0 => return write!(f, "would not have fired in {}", span(self.span)),
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        write!(f, "would have fired {times} in {}", span(self.span))
    }
}

struct Trial<'a> {
    rule: &'a Rule,
    civil: Option<(Instant, UnixTime)>,
    said: Rehearsal,
    first: Option<Instant>,
    last: Instant,
}

impl<'a> Trial<'a> {
    fn new(rule: &'a Rule, civil: Option<(Instant, UnixTime)>) -> Self {
        Self { rule, civil, said: Rehearsal::default(), first: None, last: Instant::ORIGIN }
    }

    fn look(&mut self, gate: &mut Gate, subject: Subject, at: Instant, look: Look) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = self.last.max(at);
        let date = |(then, civil): (Instant, UnixTime)| {
            let after = civil.0.saturating_add(at.since(then).as_micros() / 1_000_000);
            UnixTime(after.saturating_sub(then.since(at).as_micros() / 1_000_000))
        };
        let covered = |schedule: super::Schedule| self.civil.is_none_or(|known| schedule.covers(date(known)));
        let may_raise = self.rule.schedule.is_none_or(covered);
        match gate.look(at, look, (self.rule.hold_for, self.rule.recover_for), may_raise) {
            Edge::Raised => {
                self.said.count += 1;
                if self.said.firings.len() < FIRINGS_MAX {
                    self.said.firings.push(Firing { subject, from: at, until: None });
                }
            }
            Edge::Cleared => {
                let mut open = self.said.firings.iter_mut().rev();
                if let Some(firing) = open.find(|firing| firing.subject == subject && firing.until.is_none())
                {
                    firing.until = Some(at);
                }
            }
            Edge::None | Edge::Pending | Edge::Dropped => {}
        }
    }

    fn end(mut self) -> Rehearsal {
        self.said.span = self.first.map_or(Duration::ZERO, |first| self.last.since(first));
        self.said
    }
}

/// A rule on values: points of its signal per subject, in the order of time. `civil` is a date at some instant, for
/// schedules. Values that are no numbers are passed over. Of a rule on a state nothing comes out: see
/// [`rehearse_states`].
pub fn rehearse(
    rule: &Rule,
    civil: Option<(Instant, UnixTime)>,
    history: &[(Subject, Vec<Point>)],
) -> Rehearsal {
    let mut trial = Trial::new(rule, civil);
    for (subject, points) in history {
        let mut gate = Gate::default();
        for point in points.iter().filter(|point| point.value.is_finite()) {
            trial.look(&mut gate, *subject, point.at, rule.what.look(point.value));
        }
    }
    trial.end()
}

/// A rule on a state: what was found, in the order of time, and until when is looked.
pub fn rehearse_states(
    rule: &Rule,
    civil: Option<(Instant, UnixTime)>,
    found: &[Condition],
    until: Instant,
) -> Rehearsal {
    let mut trial = Trial::new(rule, civil);
    let What::State(kind) = &rule.what else { return trial.end() };
    let mut subjects: Vec<Subject> = found.iter().map(|condition| condition.subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    for subject in subjects {
        let mut gate = Gate::default();
        let mut state = Look::Good;
        let mut of = found.iter().filter(|one| one.subject == subject && one.kind == *kind).peekable();
        while let Some(condition) = of.next() {
            state = if condition.holds { Look::Bad } else { Look::Good };
            trial.look(&mut gate, subject, condition.since, state);
            let next = of.peek().map_or(until, |next| next.since);
            // What would have become due before the next change.
            while let Some(due) = gate.due((rule.hold_for, rule.recover_for)).filter(|due| *due <= next) {
                let before = gate;
                trial.look(&mut gate, subject, due, state);
                if gate.due((rule.hold_for, rule.recover_for))
                    == before.due((rule.hold_for, rule.recover_for))
                {
                    break;
                }
            }
        }
        trial.look(&mut gate, subject, until, state);
    }
    trial.end()
}
