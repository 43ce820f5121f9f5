//! When a node restarted, by what it says of its uptime ([`uptime`](crate::uptime)) and of its boots.

use std::collections::VecDeque;
use std::mem::size_of;

use meshward_core::time::{Duration, Instant};

use crate::uptime::{Told, Uptimes};

/// Most restarts that are remembered per node.
pub const RESTARTS_MAX: usize = 32;
/// An uptime tells of a counter that came so much later too: packages of one moment come one after the other.
const SLACK: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    uptimes: Uptimes,
    boots: Option<f64>,
    /// Restarts that the uptime told since the last count of boots.
    uncounted: u32,
    times: VecDeque<Instant>,
}

impl Restarts {
    /// An uptime in seconds that was told before the gateway's start.
    pub(super) fn restore(&mut self, value: f64, at: Instant) {
        self.uptimes = Uptimes::before_start((value * 1_000.0) as u64, at);
    }

    /// An uptime in seconds. Whether it makes sense after the one before.
    pub(super) fn handle_uptime(&mut self, value: f64, at: Instant) -> bool {
        let told = self.uptimes.handle((value * 1_000.0) as u64, at);
        if let Told::Restarted(started) = told {
            self.uncounted = self.uncounted.saturating_add(1);
            self.push(started);
        }
        told != Told::Doubtful
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
        self.uptimes.last().is_some_and(|(_, told)| told + SLACK >= at).then_some(false)
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

    #[test]
    fn only_what_is_doubtful_makes_no_sense() {
        let mut machine = Restarts::default();
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        for (second, uptime, sense, restarts) in [
            (1_000, 500.0, true, 0),
            (1_001, 499.5, true, 0),
            (1_030, 400.0, false, 0),
            (1_060, 12.0, true, 1),
            (1_090, 4.5, true, 2),
        ] {
            assert_eq!(machine.handle_uptime(uptime, at(second)), sense, "{uptime} at {second}");
            assert_eq!(machine.since(Instant::ORIGIN), restarts, "{uptime} at {second}");
        }
        assert_eq!(machine.last(), Some(Instant::from_micros(1_085_500_000)));
        assert_eq!(machine.between(at(1_061), at(1_090)), Some(true));
        assert_eq!(
            (machine.between(at(1_086), at(1_094)), machine.between(at(1_086), at(1_200))),
            (Some(false), None)
        );
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
