//! When a node restarted, by what it says of its uptime and its boots.
//!
//! An uptime that is less than before is a restart only when the node can have started after the value before;
//! a clock that jumps is not. Sketches that say `millis() / 1000` wrap after 49.7 days, which is none either.

use std::collections::VecDeque;
use std::mem::size_of;

use meshward_core::time::{Duration, Instant};

/// Most restarts that are remembered per node.
pub const RESTARTS_MAX: usize = 32;
/// By how much an uptime may be off: whole seconds, and a package that waited at a relay.
const SLACK: Duration = Duration::from_secs(5);
/// Where 32 bits of milliseconds end, in seconds.
const MILLIS_WRAP_S: f64 = 4_294_967.296;
/// How near to that end a wrap is believed, in seconds.
const WRAP_SLACK_S: f64 = 60.0;

#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    uptime: Option<(f64, Instant)>,
    boots: Option<f64>,
    /// Restarts that the uptime told since the last count of boots.
    uncounted: u32,
    times: VecDeque<Instant>,
}

impl Restarts {
    /// An uptime in seconds. Whether it makes sense after the one before.
    pub(super) fn handle_uptime(&mut self, value: f64, at: Instant) -> bool {
        let Some((before, then)) = self.uptime.replace((value, at)) else { return true };
        let elapsed = at.since(then).as_secs_f64();
        let slack = SLACK.as_secs_f64();
        let wrapped = (value - (before + elapsed - MILLIS_WRAP_S)).abs() <= WRAP_SLACK_S;
        if value < before && wrapped {
            return true;
        }
        let restarted = if value < before { value < elapsed + slack } else { value + slack < elapsed };
        if restarted {
            self.uncounted = self.uncounted.saturating_add(1);
            self.push((at - Duration::from_micros((value * 1e6) as u64)).max(then));
        }
        restarted || value >= before - slack
    }

    /// How often the node has started: tells of restarts that lie between two uptimes.
    pub(super) fn handle_boots(&mut self, value: f64, at: Instant) {
        let more = self.boots.replace(value).map_or(0.0, |before| value - before);
        let unseen = more - f64::from(std::mem::take(&mut self.uncounted));
        // Only so many are kept anyway; and a count that was cleared says nothing.
        for _ in 0..unseen.clamp(0.0, RESTARTS_MAX as f64) as usize {
            self.push(at);
        }
    }

    fn push(&mut self, at: Instant) {
        if self.times.len() == RESTARTS_MAX {
            self.times.pop_front();
        }
        self.times.push_back(at);
    }

    /// Whether the node restarted between those two; `None` if no uptime of that time is known.
    pub(super) fn between(&self, then: Instant, at: Instant) -> Option<bool> {
        if self.last().is_some_and(|last| last >= then && last <= at) {
            return Some(true);
        }
        self.uptime.is_some_and(|(_, told)| told + SLACK >= at).then_some(false)
    }

    pub(super) fn last(&self) -> Option<Instant> {
        self.times.back().copied()
    }

    pub(super) fn since(&self, since: Instant) -> usize {
        self.times.iter().filter(|at| **at >= since).count()
    }

    pub(super) fn bytes(&self) -> usize {
        self.times.capacity() * size_of::<Instant>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uptimes at seconds, the restarts that they tell, and how many made no sense.
    fn check(told: &[(u64, f64)], restarts: usize, odd: usize) {
        let mut machine = Restarts::default();
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let nonsense =
            told.iter().filter(|(second, uptime)| !machine.handle_uptime(*uptime, at(*second))).count();
        assert_eq!((machine.since(Instant::ORIGIN), nonsense), (restarts, odd), "{told:?}");
    }

    #[test]
    fn a_restart_is_told_from_a_clock_that_jumps() {
        check(&[(1_000, 500.0), (1_030, 530.0), (1_060, 560.0)], 0, 0);
        check(&[(1_000, 500.0), (1_030, 12.0)], 1, 0);
        // Of a second or two, by rounding.
        check(&[(1_000, 500.0), (1_001, 499.0)], 0, 0);
        // Below what it was, but the node cannot have started so.
        check(&[(1_000, 500.0), (1_030, 400.0), (1_060, 430.0)], 0, 1);
        // More than before, and yet a restart: it starts every few seconds.
        check(&[(1_000, 5.0), (1_030, 8.0)], 1, 0);
        // After a long silence.
        check(&[(1_000, 500.0), (9_000, 700.0)], 1, 0);
        // Just started, and going on.
        check(&[(1_000, 2.0), (1_030, 32.0)], 0, 0);
        // 49.7 days.
        check(&[(1_000, 4_294_960.0), (1_030, 22.0)], 0, 0);
    }

    #[test]
    fn boots_tell_of_restarts_between() {
        let mut machine = Restarts::default();
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        machine.handle_uptime(500.0, at(1_000));
        machine.handle_boots(7.0, at(1_000));
        machine.handle_uptime(3.0, at(1_060));
        machine.handle_boots(10.0, at(1_060));
        assert_eq!(machine.since(at(0)), 3, "one by the uptime, two more by the count");
        machine.handle_boots(2.0, at(1_090));
        machine.handle_boots(4_000_000_000.0, at(1_120));
        assert_eq!(machine.since(at(0)), RESTARTS_MAX);
    }
}
