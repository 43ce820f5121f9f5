//! When what failed is tried again, and when a channel is left alone for a while.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::{SignedDuration, Timestamp};

/// The shortest wait before another attempt.
const DELAY_MIN: Duration = Duration::from_secs(2);
/// The longest; a receiver may ask for more, up to [`ASKED_MAX`].
const DELAY_MAX: Duration = Duration::from_secs(300);
/// The longest wait that a receiver can ask for.
const ASKED_MAX: Duration = Duration::from_secs(3_600);
/// A message that could not be delivered for so long is a dead letter.
pub const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Failures in a row after which a channel is left alone.
const FAILURES: u32 = 5;
/// How long at first; then doubled.
const REST_MIN: Duration = Duration::from_secs(15);
/// How long at the most.
const REST_MAX: Duration = Duration::from_secs(300);

/// How long to wait after so many failed attempts: from 2 s doubled up to 5 min, with up to as much again by chance,
/// or as long as the receiver asked for, up to an hour.
pub fn delay(attempts: u32, asked: Option<Duration>) -> Duration {
    let usual = ExponentialBuilder::new()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .with_jitter()
        .without_max_times()
        .build()
        // Beyond this it is the longest anyway.
        .nth(attempts.saturating_sub(1).min(32) as usize)
        .unwrap_or(DELAY_MAX);
    asked.map_or(usual, |asked| asked.min(ASKED_MAX).max(DELAY_MIN))
}

/// Leaves a channel alone that fails again and again: after `FAILURES` in a row for 15 s, then twice as long each
/// time, up to 5 min. After each rest one message is tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circuit {
    failures: u32,
    rests: u32,
    until: Option<Timestamp>,
}

impl Circuit {
    /// Until when nothing may be tried.
    pub fn resting(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| *until > now)
    }

    /// Whether only one message may be tried, to see.
    pub fn is_probing(&self) -> bool {
        self.rests > 0
    }

    /// A message was taken, or refused for good by somebody who answers properly. Whether the channel had been left
    /// alone.
    pub fn worked(&mut self) -> bool {
        let was = self.rests > 0;
        *self = Self::default();
        was
    }

    /// A message could not be delivered.
    pub fn failed(&mut self, now: Timestamp) {
        self.failures += 1;
        if self.rests > 0 || self.failures >= FAILURES {
            let rest = REST_MIN.saturating_mul(1 << self.rests.min(10)).min(REST_MAX);
            self.rests += 1;
            self.until = now.checked_add(rest).ok();
        }
    }

    /// `closed` when it works, `open` while it is left alone, `half_open` when one is tried.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (self.resting(now), self.rests) {
            (Some(_), _) => "open",
            (None, 0) => "closed",
            (None, _) => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound() {
        for (attempts, least) in [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (99, 300)] {
            let wait = delay(attempts, None);
            let (least, most) = (Duration::from_secs(least), Duration::from_secs(2 * least + 2));
            assert!((least..=most).contains(&wait), "{attempts}: {wait:?}");
        }
        let asked = |seconds| delay(1, Some(Duration::from_secs(seconds)));
        assert_eq!([asked(0), asked(90), asked(86_400)].map(|wait| wait.as_secs()), [2, 90, 3_600]);
    }

    #[test]
    fn a_channel_that_fails_is_left_alone_and_tried_with_one() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut circuit = Circuit::default();
        for _ in 1..FAILURES {
            circuit.failed(at(0));
        }
        assert_eq!((circuit.state(at(0)), circuit.resting(at(0))), ("closed", None));
        circuit.failed(at(0));
        assert_eq!((circuit.state(at(0)), circuit.resting(at(0))), ("open", Some(at(15))));
        assert_eq!((circuit.state(at(15)), circuit.is_probing()), ("half_open", true));
        circuit.failed(at(15));
        assert_eq!(circuit.resting(at(15)), Some(at(45)), "twice as long");
        for _ in 0..40 {
            circuit.failed(at(100));
        }
        assert_eq!(circuit.resting(at(100)), Some(at(400)));
        assert!(circuit.worked() && !circuit.worked());
        assert_eq!(circuit.state(at(100)), "closed");
    }
}
