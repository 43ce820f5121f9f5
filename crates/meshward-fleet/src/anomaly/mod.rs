//! What is not as it should be on a node: fixed limits, values far from the node's own usual ones, slow falls
//! with the time that is left, sudden changes that stay, and restarts one after the other.
//!
//! A [`Detector`] is handed what a [`Store`] took ([`Sample`]s), and says when a [`Finding`] begins and ends.
//! Nothing is said before enough has been seen, and every finding ends at another threshold than it began. What
//! counts is data ([`Settings`]). Silence is no finding: whoever watches liveness says that.

mod check;
mod finding;
mod settings;
mod slope;
mod usual;

use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of;

use meshward_core::telemetry::{Metric, Shape};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::memory::UsualMemory;
use crate::series::{BUCKET, Bucket, NODES_MAX, Sample, Store};
use crate::setting::BadSetting;
pub use finding::{Finding, Forecast, Kind, shown, span};
pub use settings::{Limit, Loops, Settings, Side, Spread, Steps, Trend};
pub use slope::{POINTS_MAX, Slope};
pub use usual::{Usual, deviation, median};

/// Most events that wait to be taken; the oldest go first, and are counted.
pub const EVENTS_MAX: usize = 10_000;
/// Values in a row that must be beyond a fixed limit.
const LIMIT_ROW: u8 = 3;
/// With how many standard errors the interval of a forecast is given. 1.96 would do for independent values; on
/// generated histories that held the truth for four of five leaks, because noise that lasts longer than a bucket
/// looks like a slope.
const INTERVAL: f64 = 2.8;

/// A finding began or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Whether it began.
    pub began: bool,
    /// What was found; at the end as it was last.
    pub finding: Finding,
}

/// What is known of one node.
#[derive(Clone, Debug, Default)]
struct Watched {
    usual: Vec<(Metric, Usual)>,
    /// Values in a row beyond each limit.
    rows: Vec<u8>,
    findings: Vec<Finding>,
    /// The restart after which the memory's usual values were learnt.
    restarted: Option<Instant>,
}

/// What a look at a value says of a finding.
enum Verdict {
    Begins(Finding),
    Goes,
    Ends,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Detector {
    settings: Settings,
    nodes: BTreeMap<NodeId, Watched>,
    events: VecDeque<Event>,
    dropped: u64,
}

impl Default for Detector {
    fn default() -> Self {
        Self::checked(Settings::default())
    }
}

impl Detector {
    /// A detector that knows nothing yet.
    ///
    /// # Errors
    /// When a setting makes no sense.
    pub fn new(settings: Settings) -> Result<Self, BadSetting> {
        settings.check()?;
        Ok(Self::checked(settings))
    }

    fn checked(settings: Settings) -> Self {
        Self { settings, nodes: BTreeMap::new(), events: VecDeque::new(), dropped: 0 }
    }

    /// What counts.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the store took of readings, right after it took them.
    pub fn handle(&mut self, now: Instant, store: &Store, samples: &[Sample]) {
        let mut last = None;
        for sample in samples {
            if last != Some(sample.node) {
                last = Some(sample.node);
                self.begin(now, store, sample.node);
            }
            let Some(value) = sample.value else { continue };
            let per_minute = if sample.metric.shape() == Shape::Counter { 60.0 } else { 1.0 };
            self.look_at_limits(sample, value * per_minute);
            self.look_at_usual(sample, value * per_minute);
            if sample.closed {
                self.look_at_trends(now, store, sample);
                self.look_at_steps(store, sample);
            }
        }
    }

    /// The next finding that began or ended.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is found now, in the order of nodes.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.nodes.values().flat_map(|watched| &watched.findings)
    }

    /// What is found on a node now.
    pub fn of(&self, node: NodeId) -> impl Iterator<Item = &Finding> {
        self.nodes.get(&node).into_iter().flat_map(|watched| &watched.findings)
    }

    /// What is usual for a node, once enough has been seen: mean and spread in the metric's unit, of counters per
    /// minute.
    pub fn usual(&self, node: NodeId, metric: Metric) -> Option<(f64, f64)> {
        let spread = self.settings.spreads.iter().find(|spread| spread.metric == metric)?;
        let usual = &self.nodes.get(&node)?.usual.iter().find(|(of, _)| *of == metric)?.1;
        let (mean, scale) = usual.baseline(spread)?;
        Some((spread.plain(mean), spread.plain(mean + scale) - spread.plain(mean)))
    }

    /// What is usual for a node, of those metrics of which enough has been seen, as it is kept over a restart.
    pub fn kept(&self, node: NodeId) -> impl Iterator<Item = UsualMemory> {
        let usual = self.nodes.get(&node).into_iter().flat_map(|watched| &watched.usual);
        usual.filter_map(|(metric, usual)| usual.kept(*metric))
    }

    /// What was usual for a node before the gateway's start. Returns false, and nothing is changed, where it is not
    /// looked at, makes no sense, or is known already.
    pub fn restore(&mut self, node: NodeId, kept: &UsualMemory) -> bool {
        let spread = self.settings.spreads.iter().find(|spread| spread.metric == kept.metric);
        let room = self.nodes.len() < NODES_MAX || self.nodes.contains_key(&node);
        let Some(usual) = spread.filter(|_| room).and_then(|spread| Usual::restored(spread, kept)) else {
            return false;
        };
        let watched = self.nodes.entry(node).or_default();
        let new = watched.usual.iter().all(|(metric, _)| *metric != kept.metric);
        if new {
            watched.usual.push((kept.metric, usual));
        }
        new
    }

    /// Forgets a node; what was found there ends.
    pub fn forget(&mut self, node: NodeId) {
        for finding in self.nodes.remove(&node).into_iter().flat_map(|watched| watched.findings) {
            self.push(Event { began: false, finding });
        }
    }

    /// Events that nobody took in time.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes of memory, without what the map of nodes and the allocator need.
    pub fn bytes(&self) -> usize {
        let bytes = |watched: &Watched| {
            size_of::<(NodeId, Watched)>()
                + watched.usual.capacity() * size_of::<(Metric, Usual)>()
                + watched.usual.iter().map(|(_, usual)| usual.bytes()).sum::<usize>()
                + watched.rows.capacity()
                + watched.findings.capacity() * size_of::<Finding>()
        };
        self.nodes.values().map(bytes).sum()
    }

    fn push(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }

    /// News of a node: makes room for it, looks at its restarts, and learns anew after one what a restart changes.
    fn begin(&mut self, now: Instant, store: &Store, node: NodeId) {
        if !self.nodes.contains_key(&node) && self.nodes.len() >= NODES_MAX {
            let gone: Vec<NodeId> = self.nodes.keys().copied().filter(|node| !store.knows(*node)).collect();
            for node in gone {
                self.forget(node);
            }
        }
        let watched = self.nodes.entry(node).or_default();
        let restarted = store.restarted(node);
        if watched.restarted < restarted {
            watched.restarted = restarted;
            for (metric, usual) in &mut watched.usual {
                let anew = |spread: &&Spread| spread.metric == *metric && spread.anew;
                if self.settings.spreads.iter().any(|spread| anew(&spread)) {
                    *usual = Usual::default();
                }
            }
        }
        self.look_at_restarts(now, store, node);
    }

    fn look_at_restarts(&mut self, now: Instant, store: &Store, node: NodeId) {
        let loops = self.settings.loops;
        let restarts = store.restarts(node, now - loops.window);
        let verdict = if restarts > loops.most {
            let finding = Finding::new(node, Kind::RebootLoop, Metric::Boots, restarts as f64, now);
            Verdict::Begins(Finding { threshold: loops.most as f64, ..finding })
        } else if restarts <= loops.clear {
            Verdict::Ends
        } else {
            Verdict::Goes
        };
        self.settle(node, Kind::RebootLoop, Metric::Boots, verdict);
    }

    fn look_at_limits(&mut self, sample: &Sample, value: f64) {
        for at in 0..self.settings.limits.len() {
            let Some(limit) = self.settings.limits.get(at).copied() else { return };
            if limit.metric != sample.metric {
                continue;
            }
            let beyond = limit.side.beyond(value, limit.raise);
            let watched = self.nodes.entry(sample.node).or_default();
            watched.rows.resize(self.settings.limits.len(), 0);
            let Some(row) = watched.rows.get_mut(at) else { return };
            *row = if beyond { row.saturating_add(1) } else { 0 };
            let verdict = if *row >= LIMIT_ROW {
                let finding = Finding::new(sample.node, Kind::Limit, limit.metric, value, sample.at);
                Verdict::Begins(Finding { threshold: limit.raise, ..finding })
            } else if limit.side.beyond(limit.clear, value) {
                Verdict::Ends
            } else {
                Verdict::Goes
            };
            self.settle(sample.node, Kind::Limit, limit.metric, verdict);
        }
    }

    fn look_at_usual(&mut self, sample: &Sample, value: f64) {
        let found = self.settings.spreads.iter().find(|spread| spread.metric == sample.metric);
        let Some(spread) = found.copied() else { return };
        let watched = self.nodes.entry(sample.node).or_default();
        let raised = watched.findings.iter().any(|finding| finding.is(Kind::Unusual, sample.metric));
        let place = watched.usual.iter().position(|(metric, _)| *metric == sample.metric);
        let place = place.unwrap_or_else(|| {
            watched.usual.push((sample.metric, Usual::default()));
            watched.usual.len() - 1
        });
        let Some((_, usual)) = watched.usual.get_mut(place) else { return };
        let Some(seen) = usual.take(&spread, value, raised) else { return };
        let verdict = if seen.score > spread.raise {
            let finding = Finding::new(sample.node, Kind::Unusual, sample.metric, seen.value, sample.at);
            Verdict::Begins(Finding { baseline: Some(seen.mean), threshold: seen.threshold, ..finding })
        } else if seen.score < spread.clear {
            Verdict::Ends
        } else {
            Verdict::Goes
        };
        self.settle(sample.node, Kind::Unusual, sample.metric, verdict);
    }

    fn look_at_trends(&mut self, now: Instant, store: &Store, sample: &Sample) {
        for trend in self.settings.trends.clone() {
            if trend.metric == sample.metric {
                let verdict = verdict_of_trend(&trend, now, store, sample);
                self.settle(sample.node, trend.kind, trend.metric, verdict);
            }
        }
    }

    fn look_at_steps(&mut self, store: &Store, sample: &Sample) {
        for steps in self.settings.steps.clone() {
            if steps.metric == sample.metric {
                let verdict = verdict_of_step(&steps, store, sample);
                self.settle(sample.node, Kind::Step, steps.metric, verdict);
            }
        }
    }

    fn settle(&mut self, node: NodeId, kind: Kind, metric: Metric, verdict: Verdict) {
        let watched = self.nodes.entry(node).or_default();
        let place = watched.findings.iter().position(|finding| finding.is(kind, metric));
        match (verdict, place) {
            (Verdict::Begins(finding), None) => {
                watched.findings.push(finding.clone());
                self.push(Event { began: true, finding });
            }
            (Verdict::Begins(finding), Some(place)) => {
                if let Some(known) = watched.findings.get_mut(place) {
                    *known = Finding { since: known.since, ..finding };
                }
            }
            (Verdict::Ends, Some(place)) => {
                let finding = watched.findings.remove(place);
                self.push(Event { began: false, finding });
            }
            (Verdict::Ends, None) | (Verdict::Goes, _) => {}
        }
    }
}

/// The whole buckets that a trend or step may look at; the one that fills now says nothing yet.
fn whole(store: &Store, node: NodeId, metric: Metric, from: Instant) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = store.buckets(node, metric).collect();
    buckets.pop();
    buckets.retain(|bucket| bucket.start() >= from && bucket.count() >= 2);
    buckets
}

fn verdict_of_trend(trend: &Trend, now: Instant, store: &Store, sample: &Sample) -> Verdict {
    let from = store.restarted(sample.node).filter(|_| trend.anew).unwrap_or_default();
    let buckets = whole(store, sample.node, trend.metric, from);
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { return Verdict::Goes };
    if buckets.len() < trend.points_min || last.start().since(first.start()) < trend.span_min {
        return Verdict::Goes;
    }
    // A mean is that of the middle of its bucket.
    let half = BUCKET.as_secs_f64() / 7_200.0;
    let hours = |at: Instant| half - now.since(at).as_secs_f64() / 3_600.0;
    let points: Vec<(f64, f64)> =
        buckets.iter().map(|bucket| (hours(bucket.start()), bucket.mean())).collect();
    let Some(slope) = Slope::of(&points) else { return Verdict::Goes };
    let (middle, level) = slope.middle;
    let left =
        |per_hour: f64| (per_hour < 0.0).then(|| (middle + (level - trend.limit) / -per_hour).max(0.0));
    let fall = -slope.per_hour * last.start().since(first.start()).as_secs_f64() / 3_600.0;
    let least = trend.fall_min.max(trend.fall_share_min * slope.level.abs());
    let falls = |sure: f64| slope.bounds(sure).is_some_and(|(_, high)| high < 0.0);
    let horizon = trend.horizon.as_secs_f64() / 3_600.0;
    let Some(time) = left(slope.per_hour) else { return Verdict::Ends };
    if falls(trend.raise) && fall >= least && time <= horizon {
        let (low, high) = slope.bounds(INTERVAL).unwrap_or((slope.per_hour, slope.per_hour));
        let span = |hours: f64| Duration::from_secs((hours * 3_600.0) as u64);
        let forecast = Forecast {
            per_hour: slope.per_hour,
            interval: (low, high),
            left: span(time),
            earliest: left(low).map_or(Duration::ZERO, span),
            latest: left(high).map(span),
        };
        let baseline = points.first().map(|(hours, _)| slope.level + slope.per_hour * hours);
        let found = Finding::new(sample.node, trend.kind, trend.metric, slope.level, now);
        let since = first.start();
        Verdict::Begins(Finding {
            baseline,
            threshold: trend.limit,
            forecast: Some(forecast),
            since,
            ..found
        })
    } else if !falls(trend.clear) || time > 2.0 * horizon {
        Verdict::Ends
    } else {
        Verdict::Goes
    }
}

fn verdict_of_step(steps: &Steps, store: &Store, sample: &Sample) -> Verdict {
    let buckets = whole(store, sample.node, steps.metric, Instant::ORIGIN);
    let earlier = buckets.len().saturating_sub(steps.recent);
    if earlier < steps.earlier_min {
        return Verdict::Goes;
    }
    let means: Vec<f64> = buckets.iter().map(|bucket| steps.working(bucket.mean())).collect();
    let (before, after) = means.split_at(earlier);
    let (Some(usual), Some(now)) = (median(&mut before.to_vec()), median(&mut after.to_vec())) else {
        return Verdict::Goes;
    };
    let scale = deviation(before, usual).max(steps.floor);
    let least = if steps.ratios { steps.least.ln() } else { steps.least };
    let threshold = least.max(steps.raise * scale);
    let worse = steps.side.sign() * (now - usual);
    if worse > threshold {
        let since = buckets.get(earlier).map_or(sample.at, Bucket::start);
        let found = Finding::new(sample.node, Kind::Step, steps.metric, steps.plain(now), sample.at);
        let threshold = steps.plain(usual + steps.side.sign() * threshold);
        Verdict::Begins(Finding { baseline: Some(steps.plain(usual)), threshold, since, ..found })
    } else if worse < threshold / 2.0 {
        Verdict::Ends
    } else {
        Verdict::Goes
    }
}

#[cfg(test)]
mod tests;
