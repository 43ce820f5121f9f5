//! Whether waves may begin now, by the hours of a plan, in UTC.

use meshward_core::time::Duration;

use super::plan::{Day, Window};
use crate::memory::Stamp;

const DAY_MINUTES: u64 = 1_440;
/// When nobody knows the day: so much later is asked again.
const NEVER: u64 = 7 * DAY_MINUTES;
/// 1970-01-01 was a Thursday: so many days after Monday.
const EPOCH_DAY: u64 = 3;

const fn number(day: Day) -> u64 {
    day as u64
}

impl Window {
    fn is_open(&self, minute: u64) -> bool {
        let (day, of_day) = (minute / DAY_MINUTES, minute % DAY_MINUTES);
        let (from, until) = (u64::from(self.from.0), u64::from(self.until.0));
        let is_day = |day: u64| {
            let day = (day + EPOCH_DAY) % 7;
            self.days.is_empty() || self.days.iter().any(|one| number(*one) == day)
        };
        if from < until {
            is_day(day) && (from..until).contains(&of_day)
        } else {
            (is_day(day) && of_day >= from) || (is_day(day.wrapping_add(6) % 7) && of_day < until)
        }
    }
}

/// How long until a wave may begin; zero when it may now.
pub(super) fn opens_in(windows: &[Window], civil: Stamp) -> Duration {
    let now = civil.0 / 60_000;
    let open = |ahead: &u64| windows.is_empty() || windows.iter().any(|window| window.is_open(now + ahead));
    match (0..=NEVER).find(open) {
        Some(0) => Duration::ZERO,
        // To the beginning of that minute.
        found => {
            let minutes = found.unwrap_or(NEVER);
            Duration::from_millis(((now + minutes) * 60_000).saturating_sub(civil.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Clock;
    use super::*;

    #[test]
    fn waves_begin_in_their_hours() {
        let window = |days: &[Day], from, until| Window {
            days: days.to_vec(),
            from: Clock(from),
            until: Clock(until),
        };
        // 2026-11-29 17:00 UTC, a Sunday.
        let now = Stamp(1_795_971_600_000);
        let hours = |count: u64| Duration::from_secs(count * 3_600);
        for (windows, expected) in [
            (vec![], hours(0)),
            (vec![window(&[], 1_020, 1_080)], hours(0)),
            (vec![window(&[], 1_080, 1_140)], hours(1)),
            (vec![window(&[], 900, 1_020)], hours(22)),
            (vec![window(&[Day::Sun], 960, 1_080)], hours(0)),
            (vec![window(&[Day::Mon], 960, 1_080)], hours(23)),
            (vec![window(&[Day::Sat], 1_380, 1_100)], hours(0)),
            (vec![window(&[Day::Fri], 1_380, 1_100)], hours(5 * 24 + 6)),
            (vec![window(&[Day::Mon], 0, 60), window(&[], 1_140, 1_200)], hours(2)),
        ] {
            assert_eq!(opens_in(&windows, now), expected, "{windows:?}");
        }
        let half = Stamp(now.0 + 1_500);
        assert_eq!(opens_in(&[window(&[], 1_080, 1_140)], half), Duration::from_millis(3_598_500));
    }
}
