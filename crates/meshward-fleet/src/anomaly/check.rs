//! Which [`Settings`] make sense: those by which something can begin, and what began can end.

use std::collections::BTreeSet;

use meshward_core::telemetry::{Metric, Shape};
use meshward_core::time::Duration;

use super::settings::{Limit, Loops, Settings, Side, Spread, Steps, Trend};
use super::slope::POINTS_MAX;
use crate::series::{BUCKET, BUCKETS_MAX, RESTARTS_MAX};
use crate::setting::{BadSetting, want};

type Checked = Result<(), BadSetting>;

impl Settings {
    /// Whether these make sense.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Checked {
        each("limits", &self.limits, |limit| limit.metric, Limit::check)?;
        each("spreads", &self.spreads, |spread| spread.metric, Spread::check)?;
        each("trends", &self.trends, |trend| trend.metric, Trend::check)?;
        each("steps", &self.steps, |steps| steps.metric, Steps::check)?;
        self.loops.check().map_err(|bad| bad.within("loops"))
    }
}

/// Each row by itself, and no two of one metric: the second would never be looked at.
fn each<T>(list: &str, rows: &[T], metric: impl Fn(&T) -> Metric, check: impl Fn(&T) -> Checked) -> Checked {
    let mut seen = BTreeSet::new();
    for row in rows {
        let metric = metric(row);
        let name = metric.name();
        want(seen.insert(metric), list, format!("two rows of {name}"), "one row a metric")?;
        want(metric.shape() != Shape::Name, list, format!("a row of {name}"), "of metrics that are numbers")?;
        check(row).map_err(|bad| bad.within(&format!("{list}[{name}]")))?;
    }
    Ok(())
}

fn number(field: &str, value: f64) -> Checked {
    want(value.is_finite(), field, value, "a number")
}

fn positive(field: &str, value: f64) -> Checked {
    want(value.is_finite() && value > 0.0, field, value, "a number above 0")
}

fn not_negative(field: &str, value: f64) -> Checked {
    want(value.is_finite() && value >= 0.0, field, value, "a number, 0 or more")
}

fn share(field: &str, value: f64) -> Checked {
    want((0.0..=1.0).contains(&value), field, value, "a share, 0 to 1")
}

/// Where something that begins at `raise` ends: nearer to what is good, or it would begin and end with each value.
fn clear(raise: f64, clear: f64) -> Checked {
    positive("raise", raise)?;
    want((0.0..=raise).contains(&clear), "clear", clear, format!("0 to raise, which is {raise}"))
}

fn count(field: &str, value: usize, range: std::ops::RangeInclusive<usize>) -> Checked {
    want(range.contains(&value), field, value, format!("{} to {}", range.start(), range.end()))
}

fn span(field: &str, value: Duration, most: Duration) -> Checked {
    let good = value > Duration::ZERO && value <= most;
    let seconds = |span: Duration| span.as_secs_f64();
    want(good, field, format!("{} s", seconds(value)), format!("above 0 and at most {} s", seconds(most)))
}

/// All that the store keeps.
const KEPT: Duration = Duration::from_micros(BUCKET.as_micros() * BUCKETS_MAX as u64);
/// Nobody plans for longer.
const HORIZON_MAX: Duration = Duration::from_secs(366 * 86_400);

impl Limit {
    fn check(&self) -> Checked {
        number("raise", self.raise)?;
        number("clear", self.clear)?;
        let right = match self.side {
            Side::Below => format!("raise or more, which is {}", self.raise),
            Side::Above => format!("raise or less, which is {}", self.raise),
        };
        want(!self.side.beyond(self.clear, self.raise), "clear", self.clear, right)
    }
}

impl Spread {
    fn check(&self) -> Checked {
        not_negative("floor", self.floor)?;
        share("floor_share", self.floor_share)?;
        // Values that are all the same have no spread, and any other would be infinitely far from them.
        let some = self.floor > 0.0 || self.floor_share > 0.0;
        want(some, "floor", self.floor, "above 0 where floor_share is 0")?;
        clear(self.raise, self.clear)?;
        count("samples_min", self.samples_min, 2..=100_000)
    }
}

impl Trend {
    fn check(&self) -> Checked {
        number("limit", self.limit)?;
        span("horizon", self.horizon, HORIZON_MAX)?;
        count("points_min", self.points_min, 3..=POINTS_MAX.min(BUCKETS_MAX))?;
        span("span_min", self.span_min, KEPT)?;
        not_negative("fall_min", self.fall_min)?;
        share("fall_share_min", self.fall_share_min)?;
        clear(self.raise, self.clear)
    }
}

impl Steps {
    fn check(&self) -> Checked {
        count("recent", self.recent, 1..=BUCKETS_MAX - 1)?;
        count("earlier_min", self.earlier_min, 1..=BUCKETS_MAX - self.recent)?;
        positive("least", self.least)?;
        want(!self.ratios || self.least > 1.0, "least", self.least, "a ratio above 1")?;
        positive("raise", self.raise)?;
        positive("floor", self.floor)
    }
}

impl Loops {
    fn check(&self) -> Checked {
        span("window", self.window, HORIZON_MAX)?;
        // No more restarts are remembered, so more could never be counted.
        count("most", self.most, 1..=RESTARTS_MAX - 1)?;
        count("clear", self.clear, 0..=self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default with a change: what is said of it.
    fn check(change: impl FnOnce(&mut Settings), field: &str, value: &str, right: &str) {
        let mut settings = Settings::default();
        change(&mut settings);
        let bad = settings.check().unwrap_err();
        assert_eq!((bad.field.as_str(), bad.value.as_str()), (field, value), "{bad}");
        assert!(bad.right.contains(right) && bad.to_string().contains(value), "{bad}");
    }

    #[test]
    fn what_counts_by_default_makes_sense() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        check(|all| all.limits[0].raise = f64::NAN, "limits[free_heap_bytes].raise", "NaN", "a number");
        check(|all| all.limits[0].clear = 9_000.0, "limits[free_heap_bytes].clear", "9000", "which is 10000");
        check(|all| all.limits[1].clear = 2_000.0, "limits[messages_tx].clear", "2000", "raise or less");
        check(
            |all| all.limits[1].metric = Metric::FreeHeap,
            "limits",
            "two rows of free_heap_bytes",
            "one row",
        );
        check(|all| all.limits[1].metric = Metric::Parent, "limits", "a row of parent", "numbers");
        check(|all| all.spreads[0].floor = -1.0, "spreads[free_heap_bytes].floor", "-1", "0 or more");
        check(|all| all.spreads[1].floor = 0.0, "spreads[heap_fragmentation_percent].floor", "0", "above 0");
        check(
            |all| all.spreads[0].floor_share = 1.5,
            "spreads[free_heap_bytes].floor_share",
            "1.5",
            "0 to 1",
        );
        check(|all| all.spreads[0].raise = 0.0, "spreads[free_heap_bytes].raise", "0", "above 0");
        check(|all| all.spreads[0].clear = 5.0, "spreads[free_heap_bytes].clear", "5", "which is 4");
        check(|all| all.spreads[0].samples_min = 1, "spreads[free_heap_bytes].samples_min", "1", "2 to");
        check(|all| all.trends[0].limit = f64::INFINITY, "trends[free_heap_bytes].limit", "inf", "a number");
        check(
            |all| all.trends[0].horizon = Duration::ZERO,
            "trends[free_heap_bytes].horizon",
            "0 s",
            "above 0",
        );
        check(|all| all.trends[0].points_min = 61, "trends[free_heap_bytes].points_min", "61", "3 to 60");
        let day = Duration::from_secs(86_400);
        check(
            |all| all.trends[0].span_min = day,
            "trends[free_heap_bytes].span_min",
            "86400 s",
            "at most 21600 s",
        );
        check(|all| all.trends[0].fall_min = -5.0, "trends[free_heap_bytes].fall_min", "-5", "0 or more");
        check(|all| all.trends[0].clear = 6.0, "trends[free_heap_bytes].clear", "6", "which is 5");
        check(|all| all.steps[0].recent = 0, "steps[round_trip_ms].recent", "0", "1 to 59");
        check(|all| all.steps[0].earlier_min = 51, "steps[round_trip_ms].earlier_min", "51", "1 to 50");
        check(|all| all.steps[0].least = 0.9, "steps[round_trip_ms].least", "0.9", "above 1");
        check(|all| all.steps[1].floor = 0.0, "steps[rssi_dbm].floor", "0", "above 0");
        check(|all| all.loops.window = Duration::ZERO, "loops.window", "0 s", "above 0");
        check(|all| all.loops.most = 32, "loops.most", "32", "1 to 31");
        check(|all| all.loops.clear = 4, "loops.clear", "4", "0 to 3");
    }
}
