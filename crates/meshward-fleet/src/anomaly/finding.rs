//! An anomaly that explains itself: what, how much, against what, since when, how long it still goes, and what to do.

use core::fmt;
use std::borrow::Cow;

use meshward_core::telemetry::{Metric, Shape};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::condition::{Condition, Subject, kind};

/// What sort of anomaly it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Beyond a fixed limit.
    Limit,
    /// Far from what is usual for this node.
    Unusual,
    /// Free memory falls, and will not suffice.
    Leak,
    /// A link gets weaker, and will break.
    LinkDecay,
    /// A battery gets empty.
    Drain,
    /// A sudden change that stays.
    Step,
    /// Restarts one after the other.
    RebootLoop,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Limit, Self::Unusual, Self::Leak, Self::LinkDecay, Self::Drain, Self::Step, Self::RebootLoop];

    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => kind::LIMIT,
            Self::Unusual => kind::UNUSUAL,
            Self::Leak => kind::LEAK,
            Self::LinkDecay => kind::LINK_DECAY,
            Self::Drain => kind::DRAIN,
            Self::Step => kind::STEP,
            Self::RebootLoop => kind::REBOOT_LOOP,
        }
    }
}

/// When something that falls will be used up, if it goes on so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// How fast, in the metric's unit per hour.
    pub per_hour: f64,
    /// Between what that is, with 95 %.
    pub interval: (f64, f64),
    /// The time that is left.
    pub left: Duration,
    /// By the faster bound.
    pub earliest: Duration,
    /// By the slower bound; `None` when that does not fall.
    pub latest: Option<Duration>,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The node.
    pub node: NodeId,
    /// What sort.
    pub kind: Kind,
    /// What was measured.
    pub metric: Metric,
    /// The value, in the metric's unit; of counters per minute, of restarts their number.
    pub value: f64,
    /// What it was, or usually is.
    pub baseline: Option<f64>,
    /// What it should not pass.
    pub threshold: f64,
    /// When it began.
    pub since: Instant,
    /// When the last evidence was observed.
    pub at: Instant,
    /// When it will be used up.
    pub forecast: Option<Forecast>,
}

impl Finding {
    pub(super) fn new(node: NodeId, kind: Kind, metric: Metric, value: f64, at: Instant) -> Self {
        Self { node, kind, metric, value, baseline: None, threshold: 0.0, since: at, at, forecast: None }
    }

    pub(super) fn is(&self, kind: Kind, metric: Metric) -> bool {
        self.kind == kind && self.metric == metric
    }

    /// What to do, to follow a colon.
    pub const fn advice(&self) -> &'static str {
        match (self.kind, self.metric) {
            (Kind::Leak, _) => {
                "look for what is allocated and never freed since the last update; restart it before the time is over"
            }
            (Kind::LinkDecay, _) => {
                "look at its antenna, its supply and what stands between, or move it nearer"
            }
            (Kind::Drain, _) => "charge or change its battery",
            (Kind::RebootLoop, _) => {
                "look at its supply and the reset reason, and go back to the image before"
            }
            (Kind::Step, Metric::Rssi) => "see what has come between it and its parent, or move it nearer",
            (Kind::Step, _) => "see whether it hangs below another parent now, or a node fills the channel",
            (_, Metric::FreeHeap | Metric::Fragmentation) => "reduce its queues and buffers, or restart it",
            (_, Metric::MessagesTx) => "send less often, or more at once",
            (_, Metric::Rssi) => "move it nearer to its parent, or put a node between",
            (_, Metric::LoopTime) => "shorten what its loop does between two updates of the mesh",
            (_, Metric::RoundTrip | Metric::Latency) => "look at the load of the nodes on its way",
            (_, Metric::ChipTemperature) => "give it air and shade",
            _ => "look at the node",
        }
    }

    /// The same as a state for health and alerts.
    pub fn condition(&self, holds: bool) -> Condition {
        let kind = match self.kind {
            // One node can have several of those.
            Kind::Limit | Kind::Unusual | Kind::Step => {
                Cow::Owned(format!("{}_{}", self.kind.name(), self.metric.name()))
            }
            kind => Cow::Borrowed(kind.name()),
        };
        let subject = Subject::Node(self.node);
        Condition { kind, subject, holds, since: self.since, evidence: self.to_string() }
    }
}

/// A value of a metric for people: its decimals, its unit.
pub fn shown(metric: Metric, value: f64) -> String {
    let places = if value.abs() < 10.0 { metric.decimals().max(1) } else { metric.decimals() } as usize;
    let whole = value.fract() == 0.0;
    let per = if metric.shape() == Shape::Counter && metric != Metric::Uptime { "/min" } else { "" };
    let unit = metric.unit();
    let space = if unit.is_empty() { "" } else { " " };
    format!("{value:.*}{space}{unit}{per}", if whole { 0 } else { places }).replace('-', "−")
}

/// A span for people: its two greatest units.
pub fn span(span: Duration) -> String {
    let seconds = span.as_micros() / 1_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric.name();
        let value = shown(self.metric, self.value);
        let threshold = shown(self.metric, self.threshold);
        match (self.kind, self.forecast, self.baseline) {
            (Kind::RebootLoop, ..) => {
                write!(f, "{:.0} restarts in an hour, more than {:.0}", self.value, self.threshold)?;
            }
            (_, Some(forecast), _) => {
                let rate = shown(self.metric, forecast.per_hour);
                let since = span(self.at.since(self.since));
                let left = span(forecast.left);
                write!(f, "{name} falls by {rate} per hour since {since}, and is {value}; ")?;
                write!(f, "{threshold} in {left} ({} to ", span(forecast.earliest))?;
                match forecast.latest {
                    Some(latest) => write!(f, "{})", span(latest))?,
                    None => f.write_str("never)")?,
                }
            }
            (_, None, Some(usual)) => {
                let usual = shown(self.metric, usual);
                write!(f, "{name} is {value}, usually {usual}; unusual from {threshold} on")?;
            }
            (_, None, None) => write!(f, "{name} is {value}; the limit is {threshold}")?,
        }
        write!(f, ": {}", self.advice())
    }
}
