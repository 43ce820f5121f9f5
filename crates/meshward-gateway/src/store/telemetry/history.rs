//! What a node measured over a time, in the resolution that suits.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::block::{Block, Bucket};
use super::log::block_row;
use super::merge::{Blocks, HOUR_MS, MINUTE_MS, Measured, Resolution, sum, touched};
use crate::store::database::Write;
use crate::store::value::{Row, Value, values};
use crate::store::{Store, StoreError};

/// The most points of one metric that an answer has; longer steps are taken where they would be more.
pub const POINTS_MAX: i64 = 5_000;

/// So long a time is shown in raw values if no step is named, in milliseconds.
const RAW_SPAN_MS: i64 = 2 * HOUR_MS;
/// And so long in minutes.
const MINUTE_SPAN_MS: i64 = 48 * HOUR_MS;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Of which node.
    pub node: u32,
    /// Which metrics, by name; those that nobody knows have no points.
    pub metrics: Vec<String>,
    /// From when.
    pub from: Timestamp,
    /// To before when.
    pub to: Timestamp,
    /// How long a point is, in seconds; 0 leaves the choice to the store.
    pub step_s: u32,
}

/// How values of a step become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean of all values.
    Avg,
    /// The last, which is what counters want.
    Last,
}

/// A step of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it begins, or of a raw value when that was.
    pub at: Timestamp,
    /// The least value.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The mean.
    pub avg: f64,
    /// The last.
    pub last: f64,
    /// Of how many.
    pub count: u64,
}

impl Point {
    /// One number of it.
    pub const fn value(&self, aggregate: Aggregate) -> f64 {
        match aggregate {
            Aggregate::Min => self.min,
            Aggregate::Max => self.max,
            Aggregate::Avg => self.avg,
            Aggregate::Last => self.last,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// What the points were made from.
    pub resolution: Resolution,
    /// How long a point is, in seconds; 0 for raw values.
    pub step_s: u32,
    /// Of each metric that was asked for its points, in the order of time; steps without a value have none.
    pub series: BTreeMap<String, Vec<Point>>,
}

impl Store {
    /// What a node measured, also what came just now.
    ///
    /// The resolution is the coarsest that is no coarser than the step, or coarser where finer is not kept any
    /// more; the step at least that of the resolution, and so long that there are no more than
    /// [`POINTS_MAX`] points.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn history(&self, query: &HistoryQuery) -> Result<History, StoreError> {
        let (from, to) = (query.from.as_millisecond(), query.to.as_millisecond());
        let (resolution, step) = self.choose(from, to, query.step_s).await?;
        let known = self.metric_names().await?;
        let mut wanted = BTreeMap::new();
        for name in &query.metrics {
            wanted.insert(name.clone(), known.get(name).map(|id| id.number()));
        }
        let ids: Vec<u16> = wanted.values().flatten().copied().collect();
        // The log first: what is moved into blocks meanwhile is then read twice, and not never.
        let mut samples =
            self.logged(Some(query.node), u64::MAX).await?.remove(&query.node).unwrap_or_default();
        let raw_from = self.raw_from().await?;
        samples.retain(|(metric, at, _)| ids.contains(metric) && *at >= raw_from);
        let mut starts = touched(&samples);
        let mut start = resolution.start(from);
        while start < to {
            starts.insert((resolution, start));
            start += resolution.span();
        }
        let blocks = self.blocks(query.node, &starts, &ids, &samples).await?;
        let points = |id: Option<u16>| match id {
            Some(id) => points(&blocks, resolution, id, from, to, step),
            None => Vec::new(),
        };
        let series = wanted.into_iter().map(|(name, id)| (name, points(id))).collect();
        Ok(History { resolution, step_s: u32::try_from(step / 1000).unwrap_or(u32::MAX), series })
    }

    async fn choose(&self, from: i64, to: i64, step_s: u32) -> Result<(Resolution, i64), StoreError> {
        let span = (to - from).max(0);
        let step = i64::from(step_s) * 1000;
        let wanted = match step {
            0 if span <= RAW_SPAN_MS => Resolution::Raw,
            0 if span <= MINUTE_SPAN_MS => Resolution::Minute,
            0 => Resolution::Hour,
            _ if step < MINUTE_MS => Resolution::Raw,
            _ if step < HOUR_MS => Resolution::Minute,
            _ => Resolution::Hour,
        };
        let mut resolution = wanted;
        if resolution == Resolution::Raw && from < self.raw_from().await? {
            resolution = Resolution::Minute;
        }
        if resolution == Resolution::Minute && from < self.minutes_from().await? {
            resolution = Resolution::Hour;
        }
        let bucket = resolution.number() * 1000;
        let least = match (resolution, step) {
            (Resolution::Raw, 0) => return Ok((resolution, 0)),
            _ => step.max(span / POINTS_MAX).max(bucket).max(1000),
        };
        // Whole buckets, or whole seconds of raw values.
        let unit = bucket.max(1000);
        Ok((resolution, (least + unit - 1) / unit * unit))
    }

    async fn blocks(
        &self,
        node: u32,
        starts: &BTreeSet<(Resolution, i64)>,
        ids: &[u16],
        samples: &[Measured],
    ) -> Result<Blocks, StoreError> {
        const DOING: &str = "read the history of a node";
        let mut blocks = Blocks::default();
        for resolution in Resolution::ALL {
            if let Some(range) = range(starts, resolution, node) {
                let rows = self.database.read(DOING, SELECT_BLOCKS, range).await?;
                load(DOING, &mut blocks, resolution, rows, Some(ids))?;
            }
        }
        blocks.merge(samples);
        Ok(blocks)
    }
}

const SELECT_BLOCKS: &str = "SELECT start, data FROM telemetry_blocks \
                             WHERE resolution = $1 AND node = $2 AND start >= $3 AND start <= $4";

/// The values of [`SELECT_BLOCKS`] for the blocks of one resolution, if there are any.
fn range(starts: &BTreeSet<(Resolution, i64)>, resolution: Resolution, node: u32) -> Option<Vec<Value>> {
    let mut own = starts.range((resolution, i64::MIN)..=(resolution, i64::MAX)).map(|(_, start)| *start);
    let first = own.next()?;
    let last = own.next_back().unwrap_or(first);
    Some(values![resolution.number(), node, first, last])
}

fn load(
    doing: &'static str,
    blocks: &mut Blocks,
    resolution: Resolution,
    rows: Vec<Row>,
    wanted: Option<&[u16]>,
) -> Result<(), StoreError> {
    for mut row in rows {
        let start = row.int()?;
        if !blocks.load(resolution, start, &row.blob()?, wanted) {
            let what =
                format!("the block of {} s that begins at {start} cannot be read", resolution.number());
            return Err(StoreError::damaged(doing, what));
        }
    }
    Ok(())
}

/// The blocks of a node with new samples in them, as rows: those that have changed.
pub(super) async fn merged(
    transaction: &mut Write,
    node: u32,
    samples: &[Measured],
) -> Result<Vec<Vec<Value>>, StoreError> {
    let starts = touched(samples);
    let mut blocks = Blocks::default();
    for resolution in Resolution::ALL {
        if let Some(range) = range(&starts, resolution, node) {
            let rows = transaction.read(SELECT_BLOCKS, range).await?;
            load("move telemetry into blocks", &mut blocks, resolution, rows, None)?;
        }
    }
    blocks.merge(samples);
    let row = |(resolution, start): (Resolution, i64)| {
        let data = blocks.encoded(resolution, start)?;
        Some(block_row(resolution.number(), node, start, data))
    };
    Ok(starts.into_iter().filter_map(row).collect())
}

fn points(blocks: &Blocks, resolution: Resolution, id: u16, from: i64, to: i64, step: i64) -> Vec<Point> {
    let buckets: Vec<(i64, Bucket)> = match resolution {
        Resolution::Raw => {
            let cells = blocks.raw.values().flat_map(|block| block.range(id, from, to));
            cells.map(|(at, value)| (*at, Bucket::of(*value))).collect()
        }
        Resolution::Minute => within(&blocks.minutes, id, from, to, MINUTE_MS),
        Resolution::Hour => within(&blocks.hours, id, from, to, HOUR_MS),
    };
    if step == 0 {
        return buckets.into_iter().filter_map(|(at, bucket)| point(at, bucket)).collect();
    }
    let of_step = |at: i64| at.div_euclid(step);
    buckets
        .chunk_by(|(a, _), (b, _)| of_step(*a) == of_step(*b))
        .filter_map(|own| {
            let at = of_step(own.first()?.0) * step;
            point(at, sum(own.iter().map(|(_, bucket)| *bucket))?)
        })
        .collect()
}

/// Buckets that begin within a time, by milliseconds. The first may have begun before `from`: it belongs to it.
fn within(
    blocks: &BTreeMap<i64, Block<Bucket>>,
    id: u16,
    from: i64,
    to: i64,
    bucket_ms: i64,
) -> Vec<(i64, Bucket)> {
    let (first, end) = (from.div_euclid(bucket_ms), (to + bucket_ms - 1).div_euclid(bucket_ms));
    let cells = blocks.values().flat_map(|block| block.range(id, first, end));
    cells.map(|(bucket, cell)| (bucket * bucket_ms, *cell)).collect()
}

fn point(at: i64, bucket: Bucket) -> Option<Point> {
    Some(Point {
        at: Timestamp::from_millisecond(at).ok()?,
        min: bucket.min,
        max: bucket.max,
        avg: bucket.sum / bucket.count as f64,
        last: bucket.last,
        count: bucket.count,
    })
}
