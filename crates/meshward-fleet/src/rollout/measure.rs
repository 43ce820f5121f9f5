//! What gates compare, and which way is worse.
//!
//! Shares are compared as logarithms, so that a half and a double are equally far away; a strength in dB is one
//! already.

use meshward_core::telemetry::Metric;
use serde::{Deserialize, Serialize};

/// A value that nodes tell, or that the gateway measures of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Measure {
    /// Free heap; less is worse.
    #[serde(rename = "free_heap_bytes")]
    FreeHeap,
    /// What a probe takes, there and back; more is worse.
    #[serde(rename = "round_trip_ms")]
    RoundTrip,
    /// How strong the parent is heard; less is worse.
    #[serde(rename = "rssi_dbm")]
    Rssi,
    /// The longest turn of the main loop; more is worse.
    #[serde(rename = "loop_time_ms")]
    LoopTime,
    /// Messages that the node sends, per second; more is worse.
    #[serde(rename = "messages_tx")]
    MessagesSent,
    /// Messages that it receives, per second; less is worse.
    #[serde(rename = "messages_rx")]
    MessagesReceived,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::FreeHeap,
        Self::RoundTrip,
        Self::Rssi,
        Self::LoopTime,
        Self::MessagesSent,
        Self::MessagesReceived,
    ];

    /// The metric of which it is read.
    pub const fn metric(self) -> Metric {
        match self {
            Self::FreeHeap => Metric::FreeHeap,
            Self::RoundTrip => Metric::RoundTrip,
            Self::Rssi => Metric::Rssi,
            Self::LoopTime => Metric::LoopTime,
            Self::MessagesSent => Metric::MessagesTx,
            Self::MessagesReceived => Metric::MessagesRx,
        }
    }

    /// Its name in interfaces: the metric's.
    pub const fn name(self) -> &'static str {
        self.metric().name()
    }

    /// Whether more is worse.
    pub const fn more_is_worse(self) -> bool {
        matches!(self, Self::RoundTrip | Self::LoopTime | Self::MessagesSent)
    }

    /// Whether it is a number of decibels, whose differences count.
    pub const fn is_decibel(self) -> bool {
        matches!(self, Self::Rssi)
    }

    /// Below this a value is as good as nothing: its logarithm would say too much.
    const fn least(self) -> f64 {
        match self {
            Self::FreeHeap => 64.0,
            Self::RoundTrip | Self::LoopTime => 0.1,
            Self::MessagesSent | Self::MessagesReceived => 0.01,
            Self::Rssi => f64::MIN,
        }
    }

    /// Where a value stands on the scale on which differences are compared, worse being more; `None` if it is no
    /// number.
    pub fn place(self, value: f64) -> Option<f64> {
        let at = if self.is_decibel() { value } else { value.max(self.least()).ln() };
        let at = if self.more_is_worse() { at } else { -at };
        at.is_finite().then_some(at)
    }

    /// How much worse, in per cent or dB, so much on that scale is.
    pub fn worse(self, distance: f64) -> f64 {
        match self {
            Self::Rssi => distance,
            _ if self.more_is_worse() => (distance.exp() - 1.0) * 100.0,
            _ => (1.0 - (-distance).exp()) * 100.0,
        }
    }

    /// What people are told: "15 % less" or "4 dB less".
    pub fn words(self, distance: f64) -> String {
        let worse = self.worse(distance);
        let unit = if self.is_decibel() { "dB" } else { "%" };
        let more = self.more_is_worse() == (worse >= 0.0);
        format!("{:.1} {unit} {}", worse.abs(), if more { "more" } else { "less" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_is_more_on_every_scale() {
        for (measure, before, after, worse, words) in [
            (Measure::FreeHeap, 100_000.0, 85_000.0, 15.0, "15.0 % less"),
            (Measure::RoundTrip, 50.0, 65.0, 30.0, "30.0 % more"),
            (Measure::RoundTrip, 50.0, 40.0, -20.0, "20.0 % less"),
            (Measure::Rssi, -60.0, -66.0, 6.0, "6.0 dB less"),
            (Measure::Rssi, -60.0, -57.0, -3.0, "3.0 dB more"),
            (Measure::MessagesSent, 1.0, 3.0, 200.0, "200.0 % more"),
        ] {
            let distance = measure.place(after).unwrap() - measure.place(before).unwrap();
            assert!(
                (measure.worse(distance) - worse).abs() < 1e-9,
                "{measure:?}: {}",
                measure.worse(distance)
            );
            assert_eq!(measure.words(distance), words);
        }
        assert_eq!(Measure::RoundTrip.place(f64::NAN), Some(0.1_f64.ln()));
        assert_eq!(Measure::Rssi.place(f64::NAN), None);
    }

    #[test]
    fn names_are_those_of_metrics() {
        for measure in Measure::ALL {
            assert_eq!(serde_json::to_value(measure).unwrap(), measure.name());
        }
    }
}
