//! One metric of one node: its last value, the values before, and six hours in buckets.

use std::collections::VecDeque;
use std::mem::size_of;

use meshward_core::telemetry::{Metric, Shape};
use meshward_core::time::{Duration, Instant};

use super::{Point, Source, Step, step};
use crate::reading::Doubt;

/// Values that are kept as they came: a quarter of an hour at one each 30 s.
pub const RECENT_MAX: usize = 32;
/// How long a bucket is.
pub const BUCKET: Duration = Duration::from_secs(360);
/// Most buckets: six hours.
pub const BUCKETS_MAX: usize = 60;
/// Hours in which a counter's rise is kept.
const HOURS: usize = 24;
/// Microseconds in the unit of [`Spot::tenths`].
const TENTH: u64 = 100_000;
const HOUR: u64 = 3_600_000_000;

/// The last value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Last {
    /// In the metric's unit; of counters their own value.
    pub value: f64,
    /// When it was observed.
    pub at: Instant,
    /// Where it came from.
    pub source: Source,
    /// Why it is to be taken with care.
    pub doubt: Option<Doubt>,
}

/// Six minutes of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    index: u32,
    count: u32,
    mean: f32,
    low: f32,
    high: f32,
}

impl Bucket {
    fn new(index: u32, value: f32) -> Self {
        Self { index, count: 1, mean: value, low: value, high: value }
    }

    fn add(&mut self, value: f32) {
        self.count = self.count.saturating_add(1);
        self.mean += (value - self.mean) / self.count as f32;
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    /// When it began.
    pub fn start(&self) -> Instant {
        Instant::from_micros(u64::from(self.index) * BUCKET.as_micros())
    }

    /// How many values it holds.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Their mean.
    pub fn mean(&self) -> f64 {
        f64::from(self.mean)
    }

    /// The least of them.
    pub fn low(&self) -> f64 {
        f64::from(self.low)
    }

    /// The greatest of them.
    pub fn high(&self) -> f64 {
        f64::from(self.high)
    }
}

/// A value in eight bytes. Tenths of seconds last 13 years.
#[derive(Clone, Copy, Debug)]
struct Spot {
    tenths: u32,
    value: f32,
}

/// A counter's rise per hour.
#[derive(Clone, Debug)]
struct Hours {
    /// The hour of the last one.
    hour: u64,
    rises: VecDeque<f32>,
    /// All that it counted: the first value, and every rise since.
    total: f64,
}

impl Hours {
    fn advance(&mut self, hour: u64) {
        let passed = hour.saturating_sub(self.hour).min(HOURS as u64);
        for _ in 0..passed {
            if self.rises.len() == HOURS {
                self.rises.pop_front();
            }
            self.rises.push_back(0.0);
        }
        self.hour = self.hour.max(hour);
    }
}

#[derive(Clone, Debug)]
pub(super) struct Track {
    last: Last,
    recent: VecDeque<Spot>,
    buckets: VecDeque<Bucket>,
    hours: Option<Box<Hours>>,
}

/// Whether a metric has a history: names only have a last value, and so has the uptime, which is a clock.
fn has_history(metric: Metric) -> bool {
    metric.shape() != Shape::Name && metric != Metric::Uptime
}

impl Track {
    pub(super) fn new(metric: Metric, last: Last) -> Self {
        let counts = metric.shape() == Shape::Counter && has_history(metric);
        let hour = last.at.as_micros() / HOUR;
        let hours = counts.then(|| Box::new(Hours { hour, rises: VecDeque::from([0.0]), total: last.value }));
        let mut track = Self { last, recent: VecDeque::new(), buckets: VecDeque::new(), hours };
        if has_history(metric) && !counts {
            track.push(last.at, last.value);
        }
        track
    }

    pub(super) fn last(&self) -> Last {
        self.last
    }

    /// Takes a value that is newer than the last. What it comes to, and whether a bucket is whole now.
    pub(super) fn take(
        &mut self,
        metric: Metric,
        last: Last,
        restarted: Option<bool>,
    ) -> (Option<f64>, bool) {
        let before = std::mem::replace(&mut self.last, last);
        if !has_history(metric) {
            return (Some(last.value), false);
        }
        let Some(hours) = &mut self.hours else { return (Some(last.value), self.push(last.at, last.value)) };
        let (rise, known) = match step(before.value, last.value, restarted) {
            Step::Rise(rise) | Step::Wrap(rise) => (rise, true),
            Step::Reset(rise) => (rise, false),
            Step::Unclear => (0.0, false),
        };
        hours.total += rise;
        hours.advance(last.at.as_micros() / HOUR);
        if let Some(this) = hours.rises.back_mut() {
            *this += rise as f32;
        }
        let elapsed = last.at.since(before.at).as_secs_f64();
        if known && elapsed > 0.0 {
            let rate = rise / elapsed;
            (Some(rate), self.push(last.at, rate))
        } else {
            (None, false)
        }
    }

    fn push(&mut self, at: Instant, value: f64) -> bool {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        let tenths = u32::try_from(at.as_micros() / TENTH).unwrap_or(u32::MAX);
        self.recent.push_back(Spot { tenths, value: value as f32 });
        let index = u32::try_from(at.as_micros() / BUCKET.as_micros()).unwrap_or(u32::MAX);
        match self.buckets.back_mut() {
            Some(bucket) if bucket.index == index => {
                bucket.add(value as f32);
                return false;
            }
            _ => {}
        }
        let oldest = (index + 1).saturating_sub(BUCKETS_MAX as u32);
        while self.buckets.front().is_some_and(|bucket| bucket.index < oldest) {
            self.buckets.pop_front();
        }
        self.buckets.push_back(Bucket::new(index, value as f32));
        self.buckets.len() > 1
    }

    pub(super) fn recent(&self) -> impl DoubleEndedIterator<Item = Point> {
        self.recent.iter().map(|spot| Point {
            at: Instant::from_micros(u64::from(spot.tenths) * TENTH),
            value: f64::from(spot.value),
        })
    }

    pub(super) fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        self.buckets.iter().copied()
    }

    pub(super) fn day(&self, now: Instant) -> Option<f64> {
        let hours = self.hours.as_ref()?;
        let passed = (now.as_micros() / HOUR).saturating_sub(hours.hour) as usize;
        Some(hours.rises.iter().rev().take(HOURS.saturating_sub(passed)).map(|rise| f64::from(*rise)).sum())
    }

    pub(super) fn total(&self) -> Option<f64> {
        self.hours.as_ref().map(|hours| hours.total)
    }

    /// What lies behind pointers.
    pub(super) fn bytes(&self) -> usize {
        let hours = |hours: &Hours| size_of::<Hours>() + hours.rises.capacity() * size_of::<f32>();
        self.recent.capacity() * size_of::<Spot>()
            + self.buckets.capacity() * size_of::<Bucket>()
            + self.hours.as_deref().map_or(0, hours)
    }
}
