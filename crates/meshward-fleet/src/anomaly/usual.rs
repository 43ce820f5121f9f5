//! What is usual for one metric of one node: a mean that follows slowly, and a spread that outliers don't move.

use std::mem::size_of;

use meshward_core::telemetry::{Metric, Shape};

use super::settings::Spread;
use crate::memory::UsualMemory;

/// Values of which the middle one is judged: three wild ones of a hundred are none, even when they meet.
const ROW: usize = 7;
/// After the warm-up mean and spread are known badly: the spread counts twice at first, and half as much more
/// after so many values.
const UNSURE: f64 = 15.0;
/// How much of a value the mean takes on: half of a step in 140 values, over an hour at one each 30 s.
const FOLLOW: f64 = 1.0 / 200.0;
/// The same while a value is unusual: it becomes usual in the end, but not before somebody has looked.
const FOLLOW_UNUSUAL: f64 = FOLLOW / 8.0;
/// By how much the spread changes with a value.
const LEARN: f64 = 0.01;
/// Beyond so many spreads a value counts as no farther away.
const CLIP: f64 = 3.0;
/// The standard deviation of a normal distribution over its median absolute deviation.
const NORMAL: f64 = 1.4826;

/// The middle value, the mean of the two middle ones if they are even in number; `None` of nothing.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    let lower = *values.get(if values.len().is_multiple_of(2) { half.checked_sub(1)? } else { half })?;
    Some((lower + upper) / 2.0)
}

/// The median absolute deviation from `middle`, scaled so that it is the standard deviation of what is normal.
pub fn deviation(values: &[f64], middle: f64) -> f64 {
    let mut away: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    NORMAL * median(&mut away).unwrap_or(0.0)
}

/// A value beside what is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    /// How many spreads it is away, to the bad side.
    pub(super) score: f64,
    /// The middle one of the last few, in the metric's unit.
    pub(super) value: f64,
    /// What is usual.
    pub(super) mean: f64,
    /// What would be unusual.
    pub(super) threshold: f64,
}

/// See the module's page. Works on the logarithm where the metric's values spread by ratios.
#[derive(Clone, Debug, Default)]
pub struct Usual {
    /// The first values, until they suffice.
    warm: Vec<f32>,
    mean: f32,
    scale: f32,
    last: [f32; ROW],
    /// Values taken since the warm-up.
    taken: u32,
    ready: bool,
}

impl Usual {
    /// Mean and spread, on the metric's working scale, once enough has been seen.
    pub(super) fn baseline(&self, spread: &Spread) -> Option<(f64, f64)> {
        let mean = f64::from(self.mean);
        let floor = spread.floor.max(spread.floor_share * mean.abs());
        let unsure = 1.0 + UNSURE / (UNSURE + f64::from(self.taken));
        self.ready.then(|| (mean, (f64::from(self.scale) * unsure).max(floor)))
    }

    /// What is kept over a restart, once enough has been seen.
    pub(super) fn kept(&self, metric: Metric) -> Option<UsualMemory> {
        let Self { mean, scale, taken, .. } = *self;
        self.ready.then_some(UsualMemory { metric, mean, scale, taken })
    }

    /// What was kept; `None` of what nobody can have seen.
    pub(super) fn restored(spread: &Spread, kept: &UsualMemory) -> Option<Self> {
        let UsualMemory { metric, mean, scale, taken } = *kept;
        let range = metric.range();
        let unit = 10_f64.powi(metric.decimals() as i32);
        // Counters are looked at per minute, of which nobody knows the most.
        let most =
            if metric.shape() == Shape::Gauge { *range.end() as f64 / unit } else { f64::from(f32::MAX) };
        let possible = *range.start() as f64 / unit..=most;
        let plain = spread.plain(f64::from(mean));
        let sound = scale.is_finite() && scale >= 0.0 && plain.is_finite() && possible.contains(&plain);
        sound.then_some(Self { warm: Vec::new(), mean, scale, last: [mean; ROW], taken, ready: true })
    }

    /// Takes a value. What it comes to, if enough has been seen.
    pub(super) fn take(&mut self, spread: &Spread, value: f64, unusual: bool) -> Option<Seen> {
        let value = spread.working(value);
        let Some((mean, scale)) = self.baseline(spread) else {
            self.warm_up(spread, value);
            return None;
        };
        let away = value - mean;
        let follow = if unusual { FOLLOW_UNUSUAL } else { FOLLOW };
        self.mean += (follow * away.clamp(-CLIP * scale, CLIP * scale)) as f32;
        if !unusual {
            let wider = away.abs() * NORMAL > f64::from(self.scale);
            self.scale *= if wider { 1.0 + LEARN } else { 1.0 - LEARN } as f32;
            // Of a metric that stands still the spread must not shrink to nothing, and never grow again.
            self.scale = self.scale.max((scale / 100.0) as f32);
        }
        self.last.rotate_left(1);
        if let Some(newest) = self.last.last_mut() {
            *newest = value as f32;
        }
        self.taken = self.taken.saturating_add(1);
        let middle = median(&mut self.last.map(f64::from))?;
        let sign = spread.side.sign();
        Some(Seen {
            score: sign * (middle - mean) / scale,
            value: spread.plain(middle),
            mean: spread.plain(mean),
            threshold: spread.plain(mean + sign * spread.raise * scale),
        })
    }

    fn warm_up(&mut self, spread: &Spread, value: f64) {
        self.warm.push(value as f32);
        if self.warm.len() < spread.samples_min.max(ROW) {
            return;
        }
        let mut values: Vec<f64> = std::mem::take(&mut self.warm).into_iter().map(f64::from).collect();
        let middle = median(&mut values).unwrap_or(value);
        self.mean = middle as f32;
        self.scale = deviation(&values, middle) as f32;
        self.last = [self.mean; ROW];
        self.ready = true;
    }

    /// What lies behind pointers.
    pub(super) fn bytes(&self) -> usize {
        self.warm.capacity() * size_of::<f32>()
    }
}
