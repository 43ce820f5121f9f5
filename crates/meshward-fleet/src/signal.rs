//! A number that rules compare with thresholds: of one node, now, with the time of its evidence.
//!
//! Health and alerts both read their metrics through it, so that a page and an alert never disagree on a value.

use core::fmt;

use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::anomaly::Detector;
use crate::series::{Point, Store};

/// Values of which the middle one counts: one wild value is none.
const ROW: usize = 3;
/// What an hour is.
const HOUR: Duration = Duration::from_secs(3_600);

/// What is known of the nodes.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What they told.
    pub store: &'a Store,
    /// What is usual for each.
    pub detector: &'a Detector,
}

/// See the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// The middle one of the last three values.
    Level(Metric),
    /// A counter's rise per minute, the middle one of the last three.
    PerMinute(Metric),
    /// A counter's rise in the last 24 hours.
    PerDay(Metric),
    /// The level as a multiple of what is usual for this node.
    OverUsual(Metric),
    /// The level less what is usual for this node.
    Change(Metric),
    /// Restarts in the last hour.
    RestartsPerHour,
}

impl Signal {
    /// The metric behind it.
    pub const fn metric(self) -> Metric {
        match self {
            Self::Level(metric)
            | Self::PerMinute(metric)
            | Self::PerDay(metric)
            | Self::OverUsual(metric)
            | Self::Change(metric) => metric,
            Self::RestartsPerHour => Metric::Uptime,
        }
    }

    /// Its value for a node; `None` where that is not known. Never a number that is none.
    pub fn read(self, view: View<'_>, node: NodeId, now: Instant) -> Option<Point> {
        let metric = self.metric();
        let last = view.store.last(node, metric);
        let level = || {
            let told = last.map(|last| Point { at: last.at, value: last.value });
            view.store.median(node, metric, ROW).or(told)
        };
        let usual = || view.detector.usual(node, metric).map(|(mean, _)| mean);
        let point = match self {
            Self::Level(_) => level()?,
            Self::PerMinute(_) => {
                let rate = view.store.median(node, metric, ROW)?;
                Point { value: rate.value * 60.0, ..rate }
            }
            Self::PerDay(_) => Point { at: last?.at, value: view.store.day(node, metric, now)? },
            Self::OverUsual(_) => {
                let (level, usual) = (level()?, usual()?);
                Point { value: level.value / usual, ..level }
            }
            Self::Change(_) => {
                let (level, usual) = (level()?, usual()?);
                Point { value: level.value - usual, ..level }
            }
            Self::RestartsPerHour => {
                Point { at: last?.at, value: view.store.restarts(node, now - HOUR) as f64 }
            }
        };
        point.value.is_finite().then_some(point)
    }

    /// A value of it for people.
    pub fn shown(self, value: f64) -> String {
        let number = |places: usize| format!("{value:.places$}").replace('-', "−");
        let unit = self.metric().unit();
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let places = if value.fract() == 0.0 { 0 } else { self.metric().decimals() as usize };
        match self {
            Self::Level(_) => format!("{}{unit}", number(places)),
            Self::PerMinute(_) => format!("{}{unit}/min", number(usize::from(value < 10.0))),
            Self::PerDay(_) => format!("{}{unit}", number(0)),
            Self::OverUsual(_) => format!("{} ×", number(1)),
            Self::Change(_) => format!("{}{}{unit}", if value > 0.0 { "+" } else { "" }, number(places)),
            Self::RestartsPerHour => number(0),
        }
    }

    /// Its name in tables and configurations.
    pub fn name(self) -> String {
        self.to_string()
    }

    /// The signal of that name.
    pub fn named(name: &str) -> Option<Self> {
        type Make = fn(Metric) -> Signal;
        const ENDS: [(&str, Make); 4] = [
            ("_per_minute", Signal::PerMinute),
            ("_per_day", Signal::PerDay),
            ("_over_usual", Signal::OverUsual),
            ("_change", Signal::Change),
        ];
        if name == "restarts_per_hour" {
            return Some(Self::RestartsPerHour);
        }
        let made = |(end, make): &(&str, Make)| name.strip_suffix(end).and_then(Metric::named).map(make);
        Metric::named(name).map(Self::Level).or_else(|| ENDS.iter().find_map(made))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric().name();
        match self {
            Self::Level(_) => f.write_str(name),
            Self::PerMinute(_) => write!(f, "{name}_per_minute"),
            Self::PerDay(_) => write!(f, "{name}_per_day"),
            Self::OverUsual(_) => write!(f, "{name}_over_usual"),
            Self::Change(_) => write!(f, "{name}_change"),
            Self::RestartsPerHour => f.write_str("restarts_per_hour"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for metric in Metric::ALL {
            let makes = [Signal::Level, Signal::PerMinute, Signal::PerDay, Signal::OverUsual, Signal::Change];
            for make in makes {
                assert_eq!(Signal::named(&make(*metric).name()), Some(make(*metric)));
            }
        }
        assert_eq!(Signal::named("restarts_per_hour"), Some(Signal::RestartsPerHour));
        assert_eq!(Signal::named("rssi_dbm_per_year"), None);
    }
}
