//! One thing learnt of a node: what, when, and from where.
//!
//! Whatever brings it (a package of a C++ node, telemetry, a probe, an answer), it becomes a [`Reading`], and
//! everything behind that (health, alerts, history, pages) knows nothing of packages. What makes no sense is
//! kept and marked, never passed on as a number.

use meshward_core::telemetry::Metric;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

/// Where something learnt of a node comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The tree (types 5 and 6).
    Tree,
    /// A delay probe of the gateway (type 3).
    Probe,
    /// A package of this type that the node sent by itself.
    Package(i32),
    /// Telemetry (types 212 and 213).
    Telemetry,
    /// The answer to a query (type 211).
    Answer,
    /// Meshward updates (types 220 to 223).
    Update,
}

/// Why a value is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is outside of what can be.
    Absurd,
    /// Its field was of another type than it should be.
    Type,
    /// Its field can be read in more than one way, and was read in the likeliest.
    Guessed,
}

/// One value of one metric on one node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The node that it is about.
    pub node: NodeId,
    /// What was measured.
    pub metric: Metric,
    /// In the metric's unit.
    pub value: f64,
    /// When it was observed: when the package came, less its age where it says so.
    pub at: Instant,
    /// Where it comes from.
    pub source: Source,
    /// Why it is not to be believed, or only with care.
    pub doubt: Option<Doubt>,
}

impl Reading {
    /// A reading, marked absurd when the value is outside of what can be.
    pub fn new(node: NodeId, metric: Metric, value: f64, at: Instant, source: Source) -> Self {
        let scale = 10_f64.powi(metric.decimals() as i32);
        let range = metric.range();
        let possible =
            value.is_finite() && (*range.start() as f64..=*range.end() as f64).contains(&(value * scale));
        let doubt = (!possible).then_some(Doubt::Absurd);
        Self { node, metric, value, at, source, doubt }
    }

    /// Whether it may be reckoned with.
    pub fn is_sound(&self) -> bool {
        matches!(self.doubt, None | Some(Doubt::Guessed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_marked() {
        let at = Instant::ORIGIN;
        for (metric, value, sound) in [
            (Metric::ChipTemperature, 23.5, true),
            (Metric::ChipTemperature, 201.0, false),
            (Metric::Rssi, 17.0, false),
            (Metric::FreeHeap, f64::NAN, false),
            (Metric::FreeHeap, f64::INFINITY, false),
        ] {
            let reading = Reading::new(NodeId(2), metric, value, at, Source::Telemetry);
            assert_eq!(reading.is_sound(), sound, "{reading:?}");
        }
    }
}
