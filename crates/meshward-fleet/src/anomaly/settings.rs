//! What counts as an anomaly, as data.

use meshward_core::telemetry::Metric;
use meshward_core::time::Duration;

use super::finding::Kind;

/// Which side of a threshold is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Too little.
    Below,
    /// Too much.
    Above,
}

impl Side {
    /// Whether a value is on the bad side of a threshold.
    pub fn beyond(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Below => value < threshold,
            Self::Above => value > threshold,
        }
    }

    pub(super) fn sign(self) -> f64 {
        match self {
            Self::Below => -1.0,
            Self::Above => 1.0,
        }
    }
}

/// A fixed limit. It takes three values in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// What is measured.
    pub metric: Metric,
    /// Which side is bad.
    pub side: Side,
    /// Where the finding begins; of counters per minute.
    pub raise: f64,
    /// Where it ends.
    pub clear: f64,
}

/// How far a value may be from what is usual for its node: the middle one of the last seven, in spreads of the
/// usual values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// What is measured.
    pub metric: Metric,
    /// Which side is bad.
    pub side: Side,
    /// Whether its values spread by ratios, as those of durations do.
    pub ratios: bool,
    /// The least spread, in the metric's unit, or as a share where it spreads by ratios.
    pub floor: f64,
    /// The least spread as a share of the mean.
    pub floor_share: f64,
    /// Where the finding begins, in spreads.
    pub raise: f64,
    /// Where it ends, in spreads.
    pub clear: f64,
    /// Values that must have been seen before.
    pub samples_min: usize,
    /// Whether all is learnt anew after a restart.
    pub anew: bool,
}

impl Spread {
    pub(super) fn working(&self, value: f64) -> f64 {
        if self.ratios { value.max(0.0).ln_1p() } else { value }
    }

    pub(super) fn plain(&self, value: f64) -> f64 {
        if self.ratios { value.exp_m1() } else { value }
    }
}

/// Something that falls until it is used up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// What it is called.
    pub kind: Kind,
    /// What is measured.
    pub metric: Metric,
    /// Where it fails.
    pub limit: f64,
    /// Only a failure within this time is a finding.
    pub horizon: Duration,
    /// Buckets that must have been seen.
    pub points_min: usize,
    /// The time that they must cover.
    pub span_min: Duration,
    /// The least fall in the time that is looked at, in the metric's unit.
    pub fall_min: f64,
    /// The least fall as a share of the level.
    pub fall_share_min: f64,
    /// Standard errors by which the slope must be below 0 for the finding to begin.
    pub raise: f64,
    /// And for it to stay.
    pub clear: f64,
    /// Whether only what came after the last restart counts.
    pub anew: bool,
}

/// A level that gets worse within an hour or so, and stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// What is measured.
    pub metric: Metric,
    /// Which side is bad.
    pub side: Side,
    /// Whether its values spread by ratios, as those of durations do.
    pub ratios: bool,
    /// The last buckets, whose middle is compared with that of the earlier ones.
    pub recent: usize,
    /// Earlier buckets that must have been seen.
    pub earlier_min: usize,
    /// The least change: a ratio, or a difference in the metric's unit.
    pub least: f64,
    /// The least change in spreads of the earlier buckets.
    pub raise: f64,
    /// The least such spread.
    pub floor: f64,
}

impl Steps {
    pub(super) fn working(&self, value: f64) -> f64 {
        if self.ratios { value.max(0.0).ln_1p() } else { value }
    }

    pub(super) fn plain(&self, value: f64) -> f64 {
        if self.ratios { value.exp_m1() } else { value }
    }
}

/// Restarts one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loops {
    /// The time in which they count.
    pub window: Duration,
    /// More than so many are a finding.
    pub most: usize,
    /// With so many, or fewer, it ends.
    pub clear: usize,
}

/// All that counts. The numbers of [`Settings::default`] are explained in `docs/health.md`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Fixed limits, one per metric.
    pub limits: Vec<Limit>,
    /// What is learnt of each node, one per metric.
    pub spreads: Vec<Spread>,
    /// What falls, one per metric.
    pub trends: Vec<Trend>,
    /// What rises at once, one per metric.
    pub steps: Vec<Steps>,
    /// Restarts.
    pub loops: Loops,
}

impl Default for Settings {
    fn default() -> Self {
        use Side::{Above, Below};
        let spread = |metric, side, ratios, floor, floor_share, anew| {
            let (raise, clear, samples_min) = (4.0, 2.0, 30);
            Spread { metric, side, ratios, floor, floor_share, raise, clear, samples_min, anew }
        };
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        let trend = |kind, metric, limit, horizon, (fall_min, fall_share_min), anew| {
            let (points_min, span_min, raise, clear) = (20, hours(2), 5.0, 2.0);
            Trend {
                kind,
                metric,
                limit,
                horizon,
                points_min,
                span_min,
                fall_min,
                fall_share_min,
                raise,
                clear,
                anew,
            }
        };
        let steps = |metric, side, ratios, least, raise, floor| {
            let (recent, earlier_min) = (10, 30);
            Steps { metric, side, ratios, recent, earlier_min, least, raise, floor }
        };
        let limit = |metric, side, raise, clear| Limit { metric, side, raise, clear };
        Self {
            limits: vec![
                limit(Metric::FreeHeap, Below, 10_000.0, 12_000.0),
                limit(Metric::MessagesTx, Above, 1_000.0, 800.0),
            ],
            spreads: vec![
                spread(Metric::FreeHeap, Below, false, 500.0, 0.01, true),
                spread(Metric::Fragmentation, Above, false, 3.0, 0.0, true),
                spread(Metric::LoopTime, Above, true, 0.2, 0.0, false),
                spread(Metric::Rssi, Below, false, 1.0, 0.0, false),
                spread(Metric::MessagesTx, Above, true, 0.2, 0.0, false),
                spread(Metric::Latency, Above, true, 0.2, 0.0, false),
                spread(Metric::RoundTrip, Above, true, 0.1, 0.0, false),
                spread(Metric::ChipTemperature, Above, false, 1.0, 0.0, false),
            ],
            trends: vec![
                trend(Kind::Leak, Metric::FreeHeap, 10_000.0, hours(72), (1_000.0, 0.08), true),
                trend(Kind::LinkDecay, Metric::Rssi, -90.0, hours(48), (6.0, 0.0), false),
                trend(Kind::Drain, Metric::Battery, 10.0, hours(24), (3.0, 0.0), false),
            ],
            steps: vec![
                steps(Metric::RoundTrip, Above, true, 1.5, 3.1, 0.05),
                steps(Metric::Rssi, Below, false, 8.0, 2.4, 1.0),
            ],
            loops: Loops { window: hours(1), most: 3, clear: 1 },
        }
    }
}
