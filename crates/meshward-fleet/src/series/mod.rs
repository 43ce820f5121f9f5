//! What nodes told lately: bounded, in memory, one track per node and metric.
//!
//! A [`Store`] is handed [`Reading`]s. It keeps the last value with its age and source, the last
//! [`RECENT_MAX`] values as they came, and six hours in buckets of six minutes. Counters become rates: a restart
//! is told from a wrap by the node's uptime, and where neither is known no rate is made up. What makes no
//! sense never becomes a number; it is kept apart, as it came ([`Store::odd`]). A reading older than the last is
//! dropped and counted, one from the future counts as now. The longest silent node goes first when there are
//! too many. Drives nothing, and knows nothing of what is good or bad.

mod counter;
mod restarts;
mod track;

use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of;

use meshward_core::telemetry::{Metric, Shape};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use crate::reading::{Doubt, Reading, Source};
pub use counter::{Step, step};
use restarts::Restarts;
use track::Track;
pub use track::{BUCKET, BUCKETS_MAX, Bucket, Last, RECENT_MAX};

/// Most nodes that are remembered.
pub const NODES_MAX: usize = 10_000;
/// Most readings without sense that are kept per node.
pub const ODD_MAX: usize = 8;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was observed, to a tenth of a second.
    pub at: Instant,
    /// In the metric's unit; for counters per second.
    pub value: f64,
}

/// A reading that was taken into the store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Its node.
    pub node: NodeId,
    /// What was measured.
    pub metric: Metric,
    /// In the metric's unit, for counters per second; `None` for a counter's first value or one across a restart.
    pub value: Option<f64>,
    /// When it was observed.
    pub at: Instant,
    /// Whether it began a new bucket, so that the one before is whole.
    pub closed: bool,
}

/// A reading that made no sense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odd {
    /// What was said to be measured.
    pub metric: Metric,
    /// As it came.
    pub value: f64,
    /// When it was observed.
    pub at: Instant,
    /// Why it is not believed.
    pub doubt: Doubt,
}

/// What was not taken, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Readings without sense.
    pub unsound: u64,
    /// Readings older than the last one of their kind, or of the same instant.
    pub late: u64,
    /// Nodes that made room for others.
    pub nodes: u64,
    /// Uptimes that went back without a restart that could explain it.
    pub uptimes: u64,
}

#[derive(Clone, Debug, Default)]
struct History {
    /// In the order of metrics.
    tracks: Vec<(Metric, Track)>,
    restarts: Restarts,
    odd: VecDeque<Odd>,
    heard: Instant,
}

impl History {
    fn track(&self, metric: Metric) -> Option<&Track> {
        let at = self.tracks.binary_search_by_key(&metric, |(of, _)| *of).ok()?;
        self.tracks.get(at).map(|(_, track)| track)
    }

    fn take(&mut self, now: Instant, reading: &Reading, dropped: &mut Dropped) -> Option<Sample> {
        let Reading { node, metric, value, source, .. } = *reading;
        let at = reading.at.min(now);
        if let Some(doubt) = reading.doubt.filter(|_| !reading.is_sound()) {
            dropped.unsound += 1;
            if self.odd.len() == ODD_MAX {
                self.odd.pop_front();
            }
            self.odd.push_back(Odd { metric, value, at, doubt });
            return None;
        }
        let place = self.tracks.binary_search_by_key(&metric, |(of, _)| *of);
        let known = place.ok().and_then(|place| self.tracks.get(place)).map(|(_, track)| track.last());
        if known.is_some_and(|last| at <= last.at) {
            dropped.late += 1;
            return None;
        }
        self.heard = self.heard.max(at);
        match metric {
            Metric::Uptime => dropped.uptimes += u64::from(!self.restarts.handle_uptime(value, at)),
            Metric::Boots => self.restarts.handle_boots(value, at),
            _ => {}
        }
        let last = Last { value, at, source, doubt: reading.doubt };
        let restarted = known.and_then(|known| self.restarts.between(known.at, at));
        let (value, closed) = match place {
            Ok(place) => self.tracks.get_mut(place).map(|(_, track)| track.take(metric, last, restarted))?,
            Err(place) => {
                self.tracks.insert(place, (metric, Track::new(metric, last)));
                ((metric.shape() != Shape::Counter || metric == Metric::Uptime).then_some(value), false)
            }
        };
        Some(Sample { node, metric, value, at, closed })
    }

    fn bytes(&self) -> usize {
        let tracks: usize = self.tracks.iter().map(|(_, track)| track.bytes()).sum();
        let spare = self.tracks.capacity() - self.tracks.len();
        tracks
            + (self.tracks.len() + spare) * size_of::<(Metric, Track)>()
            + self.restarts.bytes()
            + self.odd.capacity() * size_of::<Odd>()
            + size_of::<(NodeId, Self)>()
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Store {
    nodes: BTreeMap<NodeId, History>,
    dropped: Dropped,
}

impl Store {
    /// Takes readings that came together. Uptimes and boots are looked at first, so that a counter of the same
    /// package is judged with them. What was taken is returned, in the order of nodes and metrics.
    pub fn handle(&mut self, now: Instant, readings: &[Reading]) -> Vec<Sample> {
        let mut order: Vec<&Reading> = readings.iter().collect();
        let first = |metric: Metric| !matches!(metric, Metric::Uptime | Metric::Boots);
        order.sort_by_key(|reading| (reading.node, first(reading.metric), reading.metric, reading.at));
        let mut samples = Vec::with_capacity(order.len());
        for reading in order {
            if !self.nodes.contains_key(&reading.node) {
                self.make_room();
            }
            let history = self.nodes.entry(reading.node).or_default();
            samples.extend(history.take(now, reading, &mut self.dropped));
        }
        samples
    }

    fn make_room(&mut self) {
        while self.nodes.len() >= NODES_MAX {
            let silent = self.nodes.iter().min_by_key(|(_, history)| history.heard).map(|(node, _)| *node);
            let Some(node) = silent else { return };
            self.nodes.remove(&node);
            self.dropped.nodes += 1;
        }
    }

    /// A node had this uptime, in seconds, at that time before the gateway's start: by it the next restart is known.
    /// Nothing changes where something is known of it already.
    pub fn restore(&mut self, node: NodeId, uptime_s: f64, at: Instant) {
        if !self.nodes.contains_key(&node) && self.nodes.len() < NODES_MAX && uptime_s.is_finite() {
            let history = self.nodes.entry(node).or_default();
            history.restarts.restore(uptime_s, at);
            history.heard = at;
        }
    }

    /// Forgets a node.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// The nodes of which something is known.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    /// Whether anything is known of a node.
    pub fn knows(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// When a node was heard of last, by any reading that made sense.
    pub fn heard(&self, node: NodeId) -> Option<Instant> {
        self.nodes.get(&node).map(|history| history.heard)
    }

    fn track(&self, node: NodeId, metric: Metric) -> Option<&Track> {
        self.nodes.get(&node)?.track(metric)
    }

    /// The last value as it came, counters included.
    pub fn last(&self, node: NodeId, metric: Metric) -> Option<Last> {
        self.track(node, metric).map(Track::last)
    }

    /// The metrics that a node has told, with their last values.
    pub fn told(&self, node: NodeId) -> impl Iterator<Item = (Metric, Last)> {
        let tracks = self.nodes.get(&node).into_iter().flat_map(|history| &history.tracks);
        tracks.map(|(metric, track)| (*metric, track.last()))
    }

    /// The last [`RECENT_MAX`] values, oldest first; of counters their rates per second.
    pub fn recent(&self, node: NodeId, metric: Metric) -> impl DoubleEndedIterator<Item = Point> {
        self.track(node, metric).into_iter().flat_map(Track::recent)
    }

    /// The middle one of the last `count` values; of counters of their rates per second. With when the last was.
    pub fn median(&self, node: NodeId, metric: Metric, count: usize) -> Option<Point> {
        let mut values: Vec<f64> = Vec::with_capacity(count);
        let mut at = None;
        for point in self.recent(node, metric).rev().take(count) {
            at = at.max(Some(point.at));
            values.push(point.value);
        }
        Some(Point { at: at?, value: crate::anomaly::median(&mut values)? })
    }

    /// Six hours in buckets, oldest first, the one that fills now included.
    pub fn buckets(&self, node: NodeId, metric: Metric) -> impl DoubleEndedIterator<Item = Bucket> {
        self.track(node, metric).into_iter().flat_map(Track::buckets)
    }

    /// All that is known as points: means of buckets, then the last values themselves.
    pub fn points(&self, node: NodeId, metric: Metric) -> Vec<Point> {
        let recent: Vec<Point> = self.recent(node, metric).collect();
        let from = recent.first().map(|point| point.at);
        let means =
            self.buckets(node, metric).map(|bucket| Point { at: bucket.start(), value: bucket.mean() });
        let older = means.filter(|point| from.is_none_or(|from| point.at + BUCKET <= from));
        older.chain(recent.iter().copied()).collect()
    }

    /// By how much a counter has risen in the last 24 hours, restarts and wraps allowed for; at least that, where
    /// the node was silent or restarted meanwhile. To the hour.
    pub fn day(&self, node: NodeId, metric: Metric, now: Instant) -> Option<f64> {
        self.track(node, metric)?.day(now)
    }

    /// What a counter comes to since the node was first heard of: its first value and every rise since, over wraps and
    /// restarts. It never falls. `None` of what is no counter, and of the uptime.
    pub fn total(&self, node: NodeId, metric: Metric) -> Option<f64> {
        self.track(node, metric)?.total()
    }

    /// Restarts of a node since then, at most [`RESTARTS_MAX`].
    pub fn restarts(&self, node: NodeId, since: Instant) -> usize {
        self.nodes.get(&node).map_or(0, |history| history.restarts.since(since))
    }

    /// When a node started last, if it has restarted since it was first heard of.
    pub fn restarted(&self, node: NodeId) -> Option<Instant> {
        self.nodes.get(&node)?.restarts.last()
    }

    /// The last readings of a node that made no sense, oldest first, as they came.
    pub fn odd(&self, node: NodeId) -> impl Iterator<Item = &Odd> {
        self.nodes.get(&node).into_iter().flat_map(|history| &history.odd)
    }

    /// What was not taken.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Bytes of memory, without what the map of nodes and the allocator need.
    pub fn bytes(&self) -> usize {
        self.nodes.values().map(History::bytes).sum()
    }
}

pub use restarts::RESTARTS_MAX;

#[cfg(test)]
mod tests;
