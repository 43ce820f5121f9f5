//! How queries ended and how long they took, for those who watch the gateway itself.

use std::collections::BTreeMap;

use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use meshward_fleet::query::Outcome;

/// Upper bounds of the histogram, in seconds: from memory to the longest that a query may wait.
pub const BOUNDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// How a query can end, in the order of [`Tally::results`].
pub const QUERY_RESULTS: [&str; 5] = ["complete", "partial", "unanswered", "cancelled", "refused"];

/// See the module's page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    results: [u64; 5],
    /// Queries that took at most so long, by [`BOUNDS`]; not cumulative, the last is beyond them.
    buckets: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Tally {
    fn count(&mut self, result: usize) {
        if let Some(sum) = self.results.get_mut(result) {
            *sum = sum.saturating_add(1);
        }
    }

    /// A query came to its end.
    pub(super) fn finished(&mut self, took: Duration, outcomes: &BTreeMap<NodeId, Outcome>) {
        let told = |outcome: &&Outcome| {
            matches!(outcome, Outcome::Answered { .. } | Outcome::Cached { .. } | Outcome::Probed { .. })
        };
        let answered = outcomes.values().filter(told).count();
        self.count(match answered {
            all if all == outcomes.len() => 0,
            0 => 2,
            _ => 1,
        });
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(sum) = self.buckets.get_mut(place) {
            *sum = sum.saturating_add(1);
        }
        self.seconds += seconds;
    }

    /// Whoever asked has gone.
    pub(super) fn cancelled(&mut self) {
        self.count(3);
    }

    /// Nobody was asked.
    pub(super) fn refused(&mut self) {
        self.count(4);
    }

    /// How many ended so.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u64)> {
        QUERY_RESULTS.into_iter().zip(self.results)
    }

    /// How many took at most so many seconds, cumulative; the last bound is infinite.
    pub fn durations(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        bounds.zip(self.buckets).scan(0, |sum: &mut u64, (bound, count)| {
            *sum = sum.saturating_add(count);
            Some((bound, *sum))
        })
    }

    /// What all that ended took together.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_counted_by_how_they_ended() {
        let mut tally = Tally::default();
        let probed = Outcome::Probed { round_trip: Duration::from_millis(9) };
        let outcomes = |list: &[Outcome]| (1..).map(NodeId).zip(list.iter().cloned()).collect();
        tally.finished(Duration::from_millis(40), &outcomes(std::slice::from_ref(&probed)));
        tally.finished(Duration::from_secs(5), &outcomes(&[probed, Outcome::Declined]));
        tally.finished(Duration::from_secs(500), &outcomes(&[Outcome::Declined]));
        tally.cancelled();
        assert_eq!(tally.results().map(|(_, count)| count).collect::<Vec<_>>(), [1, 1, 1, 1, 0]);
        let durations: Vec<(f64, u64)> = tally.durations().collect();
        assert_eq!(durations.first(), Some(&(0.05, 1)));
        assert_eq!(durations.get(6), Some(&(5.0, 2)));
        assert_eq!(durations.last(), Some(&(f64::INFINITY, 3)));
        assert!((tally.seconds() - 505.04).abs() < 1e-9);
    }
}
