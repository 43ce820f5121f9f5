//! Civil time to the millisecond, and one moment at which it is known, so that times can cross a restart.

use meshward_core::time::{Duration, Instant, UnixTime};

/// Civil time: milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub u64);

impl From<UnixTime> for Stamp {
    fn from(time: UnixTime) -> Self {
        Self(time.0.saturating_mul(1_000))
    }
}

/// Now, by both clocks. The civil one may be wrong, or have been set since: what comes of that is clamped here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the machine's clock.
    pub now: Instant,
    /// By the calendar.
    pub civil: Stamp,
}

impl Moment {
    /// The civil time of an instant, before now or after it.
    pub fn stamp(self, at: Instant) -> Stamp {
        let (ago, ahead) = (self.now.since(at).as_millis(), at.since(self.now).as_millis());
        Stamp(self.civil.0.saturating_add(ahead).saturating_sub(ago))
    }

    /// The instant of something that has happened. What seems to lie in the future counts as now: the clock was
    /// set back. What was before the machine's clock began counts as its beginning.
    pub fn past(self, stamp: Stamp) -> Instant {
        self.now - Duration::from_millis(self.civil.0.saturating_sub(stamp.0))
    }

    /// The instant of something that may be still to come.
    pub fn any(self, stamp: Stamp) -> Instant {
        self.past(stamp) + Duration::from_millis(stamp.0.saturating_sub(self.civil.0))
    }

    /// Whether something that has happened would lie in the future.
    pub fn is_ahead(self, stamp: Stamp) -> bool {
        stamp > self.civil
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_cross_a_restart() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let moment = Moment { now: at(1_000), civil: Stamp(1_700_000_000_000) };
        for (instant, stamp) in [
            (at(1_000), 1_700_000_000_000),
            (at(990), 1_699_999_990_000),
            (at(1_060), 1_700_000_060_000),
            (at(0), 1_699_999_000_000),
        ] {
            assert_eq!(moment.stamp(instant), Stamp(stamp));
            assert_eq!(moment.any(Stamp(stamp)), instant);
            assert_eq!(moment.past(Stamp(stamp)), instant.min(at(1_000)));
        }
        assert_eq!(moment.past(Stamp(0)), Instant::ORIGIN, "before the clock began");
        assert_eq!(moment.past(Stamp(u64::MAX)), moment.now, "the clock was set back");
        assert!(moment.stamp(Instant::from_micros(u64::MAX)) > moment.civil);
    }
}
