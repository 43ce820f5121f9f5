//! How long an answer takes: a mean and its deviation, and what follows from them for waiting.
//!
//! The rule is TCP's (RFC 6298): an answer is overdue after the mean and four deviations. It refuses nothing;
//! what may be measured (nothing that was sent twice, by Karn's rule) is for the caller to know.

use crate::time::Duration;

/// Round trips to one node, or to many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trip {
    seen: Option<(Duration, Duration)>,
}

impl Trip {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self { seen: None }
    }

    /// An answer took so long.
    pub(super) fn measure(&mut self, took: Duration) {
        self.seen = Some(match self.seen {
            None => (took, Duration::from_micros(took.as_micros() / 2)),
            Some((mean, deviation)) => {
                let (mean, deviation, took) = (mean.as_micros(), deviation.as_micros(), took.as_micros());
                let off = mean.abs_diff(took);
                (
                    Duration::from_micros((mean * 7 + took) / 8),
                    Duration::from_micros((deviation * 3 + off) / 4),
                )
            }
        });
    }

    /// After how long an answer is overdue; `None` before the first measurement.
    pub(super) fn overdue(&self) -> Option<Duration> {
        self.seen.map(|(mean, deviation)| mean + deviation.saturating_mul(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_overdue_after_the_mean_and_four_deviations() {
        let millis = Duration::from_millis;
        let mut trip = Trip::new();
        assert_eq!(trip.overdue(), None);
        trip.measure(millis(100));
        assert_eq!(trip.overdue(), Some(millis(300)));
        (0..50).for_each(|_| trip.measure(millis(100)));
        assert!(trip.overdue().is_some_and(|overdue| overdue < millis(101)), "{trip:?}");
        trip.measure(millis(900));
        assert_eq!(trip.overdue(), Some(millis(200 + 800)), "one late answer makes it careful");
    }
}
