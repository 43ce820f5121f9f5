//! Counters that wrap and uptimes that go backwards: which of the two it was, a wrap or a restart.
//!
//! A counter of 16 bits wraps within minutes, and falls to zero at a restart too. Where a package has an uptime,
//! that decides. Where it has none (204), its counters of 32 bits do: they wrap seldom, so one that fell from far
//! below its end was reset. What is left is a guess, and says so.

use meshward_core::time::Instant;

use crate::reading::Doubt;

/// When uptimes that sketches take from `millis()` begin at 0 again, ms.
const MILLIS_WRAP: u64 = 1 << 32;
/// An uptime may be this much behind the one before: packages overtake one another and round their seconds.
const UPTIME_SLACK_MS: u64 = 5_000;
/// How far from the expected moment an uptime may wrap: clocks drift and packages wait.
const WRAP_SLACK_MS: u64 = 120_000;
/// More than this is no uptime, ms: ten years.
pub(super) const UPTIME_MS_MAX: u64 = 10 * 365 * 86_400_000;

/// What became of a node between two packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It went on.
    Ran,
    /// It restarted.
    Restarted,
    /// Who knows.
    Unknown,
}

/// The uptime of one node, as it was said last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uptime {
    /// As it came, ms.
    raw: u64,
    /// What has wrapped before, ms.
    base: u64,
    at: Instant,
}

impl Uptime {
    /// The uptime that has come first.
    pub(super) fn first(raw: u64, now: Instant) -> Self {
        Self { raw, base: 0, at: now }
    }

    /// The next one has come; what has become of the node.
    pub(super) fn update(&mut self, raw: u64, now: Instant) -> Life {
        let expected = self.raw.saturating_add(now.since(self.at).as_millis());
        let fell = raw.saturating_add(UPTIME_SLACK_MS) < self.raw;
        let wrapped = fell && expected.abs_diff(raw.saturating_add(MILLIS_WRAP)) <= WRAP_SLACK_MS;
        let base = if wrapped { self.base.saturating_add(MILLIS_WRAP) } else { self.base };
        *self = Self { raw, base: if fell && !wrapped { 0 } else { base }, at: now };
        if fell && !wrapped { Life::Restarted } else { Life::Ran }
    }

    /// Since the node's start, ms, wraps undone.
    pub(super) const fn total_ms(&self) -> u64 {
        self.base.saturating_add(self.raw)
    }
}

/// Bits of a counter on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    Bits16,
    Bits32,
}

impl Width {
    const fn wrap(self) -> u64 {
        match self {
            Self::Bits16 => 1 << 16,
            Self::Bits32 => 1 << 32,
        }
    }
}

/// One counter of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    raw: u64,
    /// Since the node's start, wraps undone.
    total: u64,
    /// Which of the node's starts that is.
    start: u32,
}

impl Counter {
    /// The counter when it has come first.
    pub(super) const fn first(raw: u64, start: u32) -> Self {
        Self { raw, total: raw, start }
    }

    /// What this counter alone says, when its next value is `raw`.
    pub(super) fn testimony(&self, raw: u64, width: Width, start: u32) -> Life {
        if start != self.start {
            return Life::Restarted;
        }
        match width {
            Width::Bits32 if raw >= self.raw => Life::Ran,
            Width::Bits32 if self.forward(raw, width) >= width.wrap() / 2 => Life::Restarted,
            _ => Life::Unknown,
        }
    }

    /// The next value has come, and this became of the node in between. What is doubtful about the total.
    pub(super) fn update(&mut self, raw: u64, width: Width, start: u32, life: Life) -> Option<Doubt> {
        let fell = raw < self.raw;
        let forward = self.forward(raw, width);
        let restarted = match life {
            Life::Restarted => true,
            Life::Ran => false,
            Life::Unknown => fell && forward >= width.wrap() / 2,
        };
        let total = if restarted { raw } else { self.total.saturating_add(forward) };
        *self = Self { raw, total, start };
        (life == Life::Unknown && fell).then_some(Doubt::Guessed)
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    const fn forward(&self, raw: u64, width: Width) -> u64 {
        raw.wrapping_sub(self.raw) & (width.wrap() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::time::Duration;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn uptimes_that_fall_are_restarts_unless_millis_wrapped() {
        for (before, after_ms, raw, want, total) in [
            (10 * HOUR, 60_000, 10 * HOUR + 60_000, Life::Ran, 10 * HOUR + 60_000),
            // Two packages on their way together, the one in whole seconds.
            (10 * HOUR + 900, 10, 10 * HOUR, Life::Ran, 10 * HOUR),
            (10 * HOUR, 60_000, 20_000, Life::Restarted, 20_000),
            (MILLIS_WRAP - 30_000, 60_000, 30_000, Life::Ran, MILLIS_WRAP + 30_000),
            // It would have wrapped, but an hour later.
            (MILLIS_WRAP - HOUR, 60_000, 30_000, Life::Restarted, 30_000),
            (MILLIS_WRAP - 30_000, 2 * HOUR, 30_000, Life::Restarted, 30_000),
            // The gateway's clock does not jump; the node's may.
            (10 * HOUR, 60_000, 900 * HOUR, Life::Ran, 900 * HOUR),
        ] {
            let mut uptime = Uptime::first(before, Instant::ORIGIN);
            let life = uptime.update(raw, Instant::ORIGIN + Duration::from_millis(after_ms));
            assert_eq!((life, uptime.total_ms()), (want, total), "{before} then {raw}");
        }
    }

    #[test]
    fn a_restart_after_a_wrap_begins_at_0() {
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let mut uptime = Uptime::first(MILLIS_WRAP - 30_000, at(0));
        assert_eq!((uptime.update(30_000, at(60)), uptime.total_ms()), (Life::Ran, MILLIS_WRAP + 30_000));
        assert_eq!((uptime.update(90_000, at(120)), uptime.total_ms()), (Life::Ran, MILLIS_WRAP + 90_000));
        assert_eq!((uptime.update(1_000, at(180)), uptime.total_ms()), (Life::Restarted, 1_000));
    }

    #[test]
    fn a_counter_that_falls_has_wrapped_or_was_reset() {
        use Life::{Ran, Restarted, Unknown};
        use Width::{Bits16, Bits32};
        for (before, raw, width, life, total, doubt) in [
            (100, 150, Bits16, Unknown, 150, None),
            (65_530, 5, Bits16, Ran, 65_541, None),
            (65_530, 5, Bits16, Restarted, 5, None),
            (65_530, 5, Bits16, Unknown, 65_541, Some(Doubt::Guessed)),
            (1_000, 5, Bits16, Unknown, 5, Some(Doubt::Guessed)),
            (1_000, 5, Bits16, Ran, 65_541, None),
            (4_294_967_290, 4, Bits32, Ran, 4_294_967_300, None),
            (1_000, 2_000, Bits32, Restarted, 2_000, None),
        ] {
            let mut counter = Counter::first(before, 0);
            let found = counter.update(raw, width, 0, life);
            assert_eq!((counter.total(), found), (total, doubt), "{before} then {raw}, {life:?}");
        }
    }

    #[test]
    fn wide_counters_testify() {
        let counter = Counter::first(3_000_000, 0);
        assert_eq!(counter.testimony(3_000_001, Width::Bits32, 0), Life::Ran);
        assert_eq!(counter.testimony(5_000, Width::Bits32, 0), Life::Restarted);
        assert_eq!(counter.testimony(3_000_001, Width::Bits32, 1), Life::Restarted);
        assert_eq!(Counter::first(4_294_967_290, 0).testimony(5, Width::Bits32, 0), Life::Unknown);
        assert_eq!(Counter::first(9, 0).testimony(10, Width::Bits16, 0), Life::Unknown);
    }
}
