//! When somebody is told: at once, when the quiet hours are over, or with the next digest. Times are arguments.

use jiff::{SignedDuration, Timestamp};
use meshward_fleet::alert::Severity;
use serde::{Deserialize, Serialize};

/// Minutes of a day.
const DAY: i64 = 1_440;
/// Days after which a quiet time is cut, should one join the next for ever.
const QUIET_DAYS_MAX: i64 = 8;

/// Hours in which only critical messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// Bit 0 is Monday. The day is that on which the time begins.
    pub days: u8,
    /// From this minute of the day on.
    pub from: u16,
    /// Until this minute; when it is not after `from`, until that of the next day.
    pub to: u16,
    /// How far the clock on the wall is ahead of UTC, in minutes.
    pub ahead_min: i16,
}

impl Quiet {
    /// When it is over, if it is quiet now; times that join are one.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let mut minute = now.as_second().div_euclid(60) + i64::from(self.ahead_min);
        let first = minute;
        while let Some(end) = self.end(minute) {
            minute = end;
            if minute - first >= QUIET_DAYS_MAX * DAY {
                break;
            }
        }
        let ends = (minute - i64::from(self.ahead_min)).checked_mul(60)?;
        if minute == first { None } else { Timestamp::from_second(ends).ok() }
    }

    /// The local minute in which the quiet time ends that holds at this one.
    fn end(&self, minute: i64) -> Option<i64> {
        let today = minute.div_euclid(DAY);
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        let to = if to > from { to } else { to + DAY };
        // 1970-01-01 was a Thursday.
        let on = |day: i64| self.days >> (day + 3).rem_euclid(7) & 1 == 1;
        let times = [today - 1, today].into_iter().filter(|day| on(*day));
        let mut spans = times.map(|day| (day * DAY + from, day * DAY + to));
        spans.find(|(from, to)| (*from..*to).contains(&minute)).map(|(_, to)| to)
    }
}

/// The next digest after `now`: digests come at whole multiples of their period since 1970.
pub fn next_digest(now: Timestamp, period_seconds: u32) -> Timestamp {
    let period = i64::from(period_seconds.max(1));
    let next = now.as_second().div_euclid(period).saturating_add(1).saturating_mul(period);
    Timestamp::from_second(next).unwrap_or(now)
}

/// When a message may be sent, and whether it is held back until then. What is critical never waits.
pub fn due(
    now: Timestamp,
    severity: Severity,
    digest_seconds: Option<u32>,
    quiet: Option<&Quiet>,
) -> (Timestamp, bool) {
    if severity == Severity::Critical {
        return (now, false);
    }
    let digest = digest_seconds.map(|period| next_digest(now, period));
    let at = digest.unwrap_or(now);
    let at = quiet.and_then(|quiet| quiet.until(at)).unwrap_or(at);
    (at, at > now)
}

/// When the gateway says that it lives: at once, then once a period; a beat that was missed is not made up for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beats {
    period: SignedDuration,
    next: Timestamp,
}

impl Beats {
    /// From `now` on.
    pub(super) fn new(now: Timestamp, period_seconds: u32) -> Self {
        Self { period: SignedDuration::from_secs(i64::from(period_seconds.max(1))), next: now }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Timestamp {
        self.next
    }

    /// Whether one is due; then the next is a period later.
    pub(super) fn beat(&mut self, now: Timestamp) -> bool {
        if now < self.next {
            return false;
        }
        let regular = self.next.saturating_add(self.period).unwrap_or(Timestamp::MAX);
        let later = now.saturating_add(self.period).unwrap_or(Timestamp::MAX);
        self.next = if regular > now { regular } else { later };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn quiet_hours_end() {
        // 2026-03-02 is a Monday; nights of Monday to Friday.
        let nights = Quiet { days: 0b1_1111, from: 1_320, to: 360, ahead_min: 0 };
        let always = Quiet { days: 0b111_1111, from: 0, to: 0, ahead_min: 0 };
        let ahead = Quiet { ahead_min: 120, ..nights };
        for (quiet, now, until) in [
            (nights, "2026-03-02T21:59:59Z", None),
            (nights, "2026-03-02T22:00:00Z", Some("2026-03-03T06:00:00Z")),
            (nights, "2026-03-03T05:59:00Z", Some("2026-03-03T06:00:00Z")),
            (nights, "2026-03-03T06:00:00Z", None),
            (nights, "2026-03-02T05:00:00Z", None),
            (nights, "2026-03-07T05:00:00Z", Some("2026-03-07T06:00:00Z")),
            (nights, "2026-03-07T23:00:00Z", None),
            (ahead, "2026-03-02T20:30:00Z", Some("2026-03-03T04:00:00Z")),
            (always, "2026-03-02T12:00:00Z", Some("2026-03-11T00:00:00Z")),
            (Quiet { days: 0, ..nights }, "2026-03-02T23:00:00Z", None),
        ] {
            assert_eq!(quiet.until(time(now)), until.map(time), "{quiet:?} {now}");
        }
    }

    #[test]
    fn what_is_critical_never_waits() {
        let now = time("2026-03-02T22:10:01Z");
        let night = Quiet { days: 0b111_1111, from: 1_320, to: 360, ahead_min: 0 };
        let morning = time("2026-03-03T06:00:00Z");
        for (severity, digest, quiet, expected) in [
            (Severity::Critical, Some(3_600), Some(&night), (now, false)),
            (Severity::Warning, None, None, (now, false)),
            (Severity::Warning, Some(3_600), None, (time("2026-03-02T23:00:00Z"), true)),
            (Severity::Info, None, Some(&night), (morning, true)),
            (Severity::Info, Some(600), Some(&night), (morning, true)),
            (Severity::Info, Some(86_400), None, (time("2026-03-03T00:00:00Z"), true)),
        ] {
            assert_eq!(due(now, severity, digest, quiet), expected, "{severity:?} {digest:?}");
        }
    }

    #[test]
    fn beats_are_regular_and_not_made_up_for() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut beats = Beats::new(at(100), 60);
        let beaten: Vec<i64> = [100, 101, 159, 160, 161, 219, 221, 400, 401, 459, 460]
            .into_iter()
            .filter(|now| beats.beat(at(*now)))
            .collect();
        assert_eq!(beaten, [100, 160, 221, 400, 460], "280 and 340 are gone, and 400 begins anew");
    }
}
