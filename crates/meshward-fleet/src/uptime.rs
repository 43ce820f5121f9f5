//! The uptimes that one node tells, one after the other: whether it restarted in between.
//!
//! The one place that tells a restart from milliseconds that wrap after 49.7 days, from a package that comes late and
//! from a clock that jumps. A node has restarted when it says that it runs for less time than has passed since it said
//! so last, as far as clocks and packages are exact. What it cannot have come to is doubtful; a second value that goes on
//! from a doubtful one means that the clock was set, and is believed. Drives nothing, and keeps one value a node.

use meshward_core::time::{Duration, Instant};

/// When uptimes that sketches take from `millis()` begin at 0 again, ms.
pub(crate) const MILLIS_WRAP: u64 = 1 << 32;
/// How far from the expected moment that may be: clocks drift and packages wait.
const WRAP_SLACK: u64 = 120_000;
/// Uptimes come in whole seconds, and the one before may have waited for so long.
const EXACT: u64 = 5_000;
/// Where a value rises, it is a restart only when so much is missing: packages wait where the channel is full.
const WAITED: u64 = 15_000;
/// A value that went back by less and is no restart came late; one that is ahead by less is exact enough.
const LATE: u64 = 60_000;
/// Clocks of chips are wrong by less than one part in so many.
const DRIFT_PARTS: u64 = 20;

/// What an uptime says of the time since the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: it is the first.
    First,
    /// The node ran.
    Ran,
    /// It started, at this time.
    Restarted(Instant),
    /// It is from before the one before.
    Late,
    /// It cannot be.
    Doubtful,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ran,
    Wrapped,
    Restarted,
    Late,
    Doubtful,
}

/// See the module's page. Uptimes are in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uptimes {
    /// The newest that is believed, as it came, and when it was observed.
    last: Option<(u64, Instant)>,
    /// What has wrapped before.
    base: u64,
    /// One that could not be.
    odd: Option<(u64, Instant)>,
    /// The last was told before the gateway's start: how long ago, only a clock says that may have been set since.
    before: bool,
}

impl Uptimes {
    /// The node had this uptime before the gateway's start; nothing else is known.
    pub(crate) const fn before_start(millis: u64, at: Instant) -> Self {
        Self { last: Some((millis, at)), base: 0, odd: None, before: true }
    }

    /// The next uptime, as it was observed at that time. One that was observed before the last is late.
    pub(crate) fn handle(&mut self, millis: u64, at: Instant) -> Told {
        let Some((last, then)) = self.last else {
            self.last = Some((millis, at));
            return Told::First;
        };
        if at < then {
            return Told::Late;
        }
        let told = match step(last, at.since(then).as_millis(), millis) {
            Step::Ran => Told::Ran,
            // It fits another clock.
            Step::Restarted | Step::Doubtful if self.before && millis >= last => Told::Ran,
            Step::Wrapped => {
                self.base = self.base.saturating_add(MILLIS_WRAP);
                Told::Ran
            }
            Step::Restarted => {
                self.base = 0;
                Told::Restarted((at - Duration::from_millis(millis)).max(then))
            }
            Step::Late => return Told::Late,
            Step::Doubtful => {
                let goes_on = |(odd, then): (u64, Instant)| {
                    at >= then && step(odd, at.since(then).as_millis(), millis) == Step::Ran
                };
                if !self.odd.is_some_and(goes_on) {
                    self.odd = Some((millis, at));
                    return Told::Doubtful;
                }
                // Somebody has set the clock: what wrapped before is another clock's.
                self.base = 0;
                Told::Ran
            }
        };
        (self.last, self.odd, self.before) = (Some((millis, at)), None, false);
        told
    }

    /// The newest that is believed, as it came, and when it was observed.
    pub(crate) const fn last(&self) -> Option<(u64, Instant)> {
        self.last
    }

    /// What an uptime that was just [handled](Self::handle) comes to since the node's start, wraps undone; one that is
    /// doubtful is as it came.
    pub(crate) fn total(&self, millis: u64) -> u64 {
        let believed = |(last, _): (u64, Instant)| millis <= last && last - millis <= LATE;
        if self.last.is_some_and(believed) { self.base.saturating_add(millis) } else { millis }
    }
}

/// What has become of a node that had run for `old` and, `elapsed` later, says `new`; all in milliseconds.
const fn step(old: u64, elapsed: u64, new: u64) -> Step {
    let expected = old.saturating_add(elapsed);
    let drift = elapsed / DRIFT_PARTS;
    let wraps = old < MILLIS_WRAP && expected.abs_diff(new.saturating_add(MILLIS_WRAP)) <= WRAP_SLACK;
    if new < old {
        return if wraps {
            Step::Wrapped
        } else if new <= elapsed.saturating_add(EXACT) {
            Step::Restarted
        } else if old - new <= LATE {
            Step::Late
        } else {
            Step::Doubtful
        };
    }
    if new.saturating_add(WAITED).saturating_add(drift) < elapsed {
        Step::Restarted
    } else if expected.abs_diff(new) > LATE.saturating_add(drift) {
        Step::Doubtful
    } else {
        Step::Ran
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    /// So long after an uptime of `old` came `new`.
    fn check(old: u64, elapsed: u64, new: u64, expected: Step) {
        assert_eq!(step(old, elapsed, new), expected, "{old}, and {elapsed} later {new}");
    }

    #[test]
    fn a_restart_is_told_from_all_that_looks_like_one() {
        use Step::{Doubtful, Late, Ran, Restarted, Wrapped};
        check(500_000, 30_000, 530_000, Ran);
        check(2_000, 30_000, 32_000, Ran);
        check(500_000, 0, 500_000, Ran);
        check(500_000, 30_000, 12_000, Restarted);
        check(10_000, 30_000, 8_000, Restarted);
        // It starts every few seconds: more than before, and yet a restart; so after a long silence.
        check(5_000, 30_000, 8_000, Restarted);
        check(500_000, 8_000_000, 700_000, Restarted);
        check(50 * DAY, DAY, HOUR, Restarted);
        // Two packages that overtook each other, or were rounded; one that was held up, or waited.
        check(10 * HOUR + 900, 10, 10 * HOUR, Late);
        check(130_000, 1_000, 101_000, Late);
        check(500_000, 1_000, 499_000, Late);
        check(5_000, 50_000, 40_000, Ran);
        // A clock that is 3 % slow, and one that is as fast.
        check(2_000, 3_600_000, 3_490_000, Ran);
        check(2_000, 3_600_000, 3_710_000, Ran);
        // It cannot have started so, and it cannot have run so.
        check(500_000, 30_000, 400_000, Doubtful);
        check(500_000, 30_000, 900_000_000, Doubtful);
        check(HOUR, 2 * HOUR, 2 * HOUR + 60_000, Doubtful);
        // After 49.7 days, and not an hour before or two after.
        check(MILLIS_WRAP - 30_000, 60_000, 30_000, Wrapped);
        check(MILLIS_WRAP - HOUR, 60_000, 30_000, Restarted);
        check(MILLIS_WRAP - 30_000, 2 * HOUR, 30_000, Restarted);
        check(MILLIS_WRAP + HOUR, 60_000, HOUR + 60_000, Doubtful);
        check(u64::MAX, u64::MAX, u64::MAX, Ran);
        check(0, u64::MAX, 0, Restarted);
    }

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    /// What seconds of uptime say, each told at a second.
    fn told(values: &[(u64, u64)]) -> Vec<Told> {
        let mut uptimes = Uptimes::default();
        values.iter().map(|(second, uptime)| uptimes.handle(uptime * 1_000, at(*second))).collect()
    }

    #[test]
    fn one_absurd_value_is_no_clock_and_two_that_fit_are() {
        use Told::{Doubtful, First, Late, Ran, Restarted};
        assert_eq!(told(&[(0, 100), (30, 4_000_000), (60, 160)]), [First, Doubtful, Ran]);
        let set = [(0, 100), (30, 900_000), (60, 900_030), (90, 900_060), (120, 5)];
        assert_eq!(told(&set), [First, Doubtful, Ran, Ran, Restarted(at(115))]);
        let odd = [(0, 100), (10, 5_000), (20, 77_000), (30, 1_000), (40, 140)];
        assert_eq!(told(&odd), [First, Doubtful, Doubtful, Doubtful, Ran]);
        assert_eq!(told(&[(50, 100), (20, 70), (80, 130)]), [First, Late, Ran]);
        // It started after the value before, whatever the value says.
        assert_eq!(told(&[(100, 500), (110, 12)]), [First, Restarted(at(100))]);
    }

    #[test]
    fn a_clock_that_was_set_while_the_gateway_was_away_makes_no_restart() {
        for (second, uptime, told) in [
            (86_500, 560, Told::Ran),
            (100, 9_000, Told::Ran),
            (160, 30, Told::Restarted(at(130))),
            (50, 560, Told::Late),
        ] {
            let mut uptimes = Uptimes::before_start(500_000, at(100));
            assert_eq!(uptimes.handle(uptime * 1_000, at(second)), told, "{uptime} at {second}");
        }
        let mut uptimes = Uptimes::before_start(500_000, at(100));
        uptimes.handle(560_000, at(86_500));
        assert_eq!(uptimes.handle(561_000, at(90_000)), Told::Restarted(at(89_439)), "once only");
    }

    #[test]
    fn what_has_wrapped_is_undone_until_a_restart() {
        let mut uptimes = Uptimes::before_start(MILLIS_WRAP - 30_000, at(0));
        let mut next = |second, millis| (uptimes.handle(millis, at(second)), uptimes.total(millis));
        assert_eq!(next(60, 30_000), (Told::Ran, MILLIS_WRAP + 30_000));
        assert_eq!(next(120, 90_000), (Told::Ran, MILLIS_WRAP + 90_000));
        assert_eq!(next(121, 80_000), (Told::Late, MILLIS_WRAP + 80_000));
        assert_eq!(next(122, 900 * HOUR), (Told::Doubtful, 900 * HOUR), "as it came");
        assert_eq!(next(180, 1_000), (Told::Restarted(at(179)), 1_000));
    }
}
