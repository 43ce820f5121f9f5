//! Counters that fell: whether they wrapped or were reset.
//!
//! A counter of 16 bits wraps within minutes, and falls to zero at a restart too. Where a package has an uptime,
//! that decides ([`uptime`](crate::uptime)). Where it has none (204), its counters of 32 bits do: they wrap seldom, so one that fell from far
//! below its end was reset. What is left is a guess, and says so.

use crate::reading::Doubt;
use crate::uptime::Told;

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

impl From<Told> for Life {
    fn from(told: Told) -> Self {
        match told {
            Told::Restarted(_) => Self::Restarted,
            Told::Ran => Self::Ran,
            // Late ones overtook each other, and a restart of the time between was told by the one before.
            Told::Late => Self::Ran,
            Told::First | Told::Doubtful => Self::Unknown,
        }
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
