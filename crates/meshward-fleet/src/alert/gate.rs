//! From good and bad looks to one raise and one clear: it must be bad for a while, and good for a while.
//!
//! The same gate serves the engine and rehearsals, so that what a rehearsal says is what would have happened.

use meshward_core::time::{Duration, Instant};

/// What a look at a value or state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is bad.
    Bad,
    /// Neither bad nor good: nothing begins, nothing ends.
    Between,
    /// It is good.
    Good,
}

/// What a look changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// Nothing.
    None,
    /// It is bad, but not for long enough.
    Pending,
    /// It was bad for less than it takes.
    Dropped,
    /// It was bad for long enough.
    Raised,
    /// It was good for long enough.
    Cleared,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Calm,
    Pending(Instant),
    Active,
    Recovering(Instant),
}

/// See the module's page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    phase: Phase,
    last: Instant,
}

impl Gate {
    /// The gate of something that was raised before, and looked at last at that time.
    pub(super) fn raised(last: Instant) -> Self {
        Self { phase: Phase::Active, last }
    }

    /// A look at an instant. `may_raise` is false while nothing is to be raised: what is bad then waits.
    pub(super) fn look(
        &mut self,
        at: Instant,
        look: Look,
        (hold_for, recover_for): (Duration, Duration),
        may_raise: bool,
    ) -> Edge {
        // What was observed before the last look cannot undo it.
        let at = at.max(self.last);
        self.last = at;
        match (self.phase, look) {
            (Phase::Calm, Look::Bad) if may_raise && hold_for == Duration::ZERO => {
                self.enter(Phase::Active, Edge::Raised)
            }
            (Phase::Calm, Look::Bad) => self.enter(Phase::Pending(at), Edge::Pending),
            (Phase::Pending(since), Look::Bad) if may_raise && at.since(since) >= hold_for => {
                self.enter(Phase::Active, Edge::Raised)
            }
            (Phase::Pending(_), Look::Between | Look::Good) => self.enter(Phase::Calm, Edge::Dropped),
            (Phase::Recovering(_), Look::Bad | Look::Between) => self.enter(Phase::Active, Edge::None),
            (Phase::Active, Look::Good) if recover_for == Duration::ZERO => {
                self.enter(Phase::Calm, Edge::Cleared)
            }
            (Phase::Active, Look::Good) => self.enter(Phase::Recovering(at), Edge::None),
            (Phase::Recovering(since), Look::Good) if at.since(since) >= recover_for => {
                self.enter(Phase::Calm, Edge::Cleared)
            }
            _ => Edge::None,
        }
    }

    fn enter(&mut self, phase: Phase, edge: Edge) -> Edge {
        self.phase = phase;
        edge
    }

    /// When another look of the same kind changes something.
    pub(super) fn due(&self, (hold_for, recover_for): (Duration, Duration)) -> Option<Instant> {
        match self.phase {
            Phase::Pending(since) => Some(since + hold_for),
            Phase::Recovering(since) => Some(since + recover_for),
            Phase::Calm | Phase::Active => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at minutes (b bad, o between, g good), with three minutes to raise and two to clear.
    #[track_caller]
    fn check(looks: &str, edges: &str) {
        let mut gate = Gate::default();
        let times = (Duration::from_secs(180), Duration::from_secs(120));
        let seen: String = looks
            .chars()
            .enumerate()
            .map(|(minute, look)| {
                let look = match look {
                    'b' => Look::Bad,
                    'g' => Look::Good,
                    _ => Look::Between,
                };
                match gate.look(Instant::from_micros(minute as u64 * 60_000_000), look, times, true) {
                    Edge::None => '.',
                    Edge::Pending => 'p',
                    Edge::Dropped => 'd',
                    Edge::Raised => 'R',
                    Edge::Cleared => 'C',
                }
            })
            .collect();
        assert_eq!(seen, edges, "{looks}");
    }

    #[test]
    fn it_takes_time_to_raise_and_to_clear() {
        check("bbbbbggg", "p..R...C");
        check("bbgbbgbbg", "p.dp.dp.d");
        check("bbobbbb", "p.dp..R");
        check("bbbbgbgbgg", "p..R......");
        check("bbbbgoggg", "p..R....C");
        check("ooogggo", ".......");
    }

    #[test]
    fn nothing_is_raised_before_it_may() {
        let mut gate = Gate::default();
        let times = (Duration::ZERO, Duration::ZERO);
        assert_eq!(gate.look(Instant::from_micros(1), Look::Bad, times, false), Edge::Pending);
        assert_eq!(gate.look(Instant::from_micros(9), Look::Bad, times, false), Edge::None);
        assert_eq!(gate.look(Instant::from_micros(10), Look::Bad, times, true), Edge::Raised);
    }
}
