//! Which metrics travel in telemetry, how finely, and which go first: one table for nodes and gateways.
//!
//! A metric's place in the table is its bit in a packet, so a row is never moved or taken out, only added. On the
//! wire a value is a *number*: how many steps of [`Field::step`] it is above the lowest that can be, modulo 2^32.

use super::{Metric, Shape};

/// How many metrics travel.
pub const FIELDS: usize = FIELDS_TABLE.len();

/// A packet has a bit for each of the first 24 rows; one that tells of more has another byte.
pub(super) const NARROW: usize = 24;

/// How a metric travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The metric.
    pub metric: Metric,
    /// What one step on the wire is, in the metric's whole numbers.
    pub step: i64,
    /// By how many steps it must differ from what was told last before that is a reason to tell; 0 for what only
    /// rides along.
    pub band: u32,
    /// What has no room waits: the highest rank first.
    pub rank: u8,
    /// How it is written.
    pub form: Form,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a varint; in deltas as the signed distance to the keyframe's.
    Distance,
    /// As [`Form::Distance`], in keyframes only: the receiver can reckon what it is in between.
    Keyframe,
    /// As a varint, whole in deltas too: it names something.
    Name,
    /// As four bytes, whole in deltas too.
    Word,
}

const fn field(metric: Metric, step: i64, band: u32, rank: u8) -> Field {
    let form = match metric {
        Metric::Uptime => Form::Keyframe,
        Metric::Parent | Metric::Firmware => Form::Word,
        _ if matches!(metric.shape(), Shape::Name) => Form::Name,
        _ => Form::Distance,
    };
    Field { metric, step, band, rank, form }
}

/// The table. Steps are as coarse as who reads the values can bear, because each varint byte holds seven bits of
/// them; bands are a few times what the noise of a healthy node is.
const FIELDS_TABLE: [Field; 30] = [
    field(Metric::Uptime, 1, 0, 2),
    field(Metric::FreeHeap, 64, 128, 4),
    field(Metric::MinHeap, 64, 64, 7),
    field(Metric::Fragmentation, 1, 10, 14),
    field(Metric::Cpu, 1, 20, 15),
    field(Metric::Rssi, 1, 8, 6),
    field(Metric::Links, 1, 1, 9),
    field(Metric::MessagesRx, 1, 0, 16),
    field(Metric::MessagesTx, 1, 0, 17),
    field(Metric::MessagesDropped, 1, 10, 8),
    field(Metric::BytesRx, 256, 0, 20),
    field(Metric::BytesTx, 256, 0, 21),
    field(Metric::Latency, 1, 50, 18),
    field(Metric::Loss, 5, 10, 13),
    field(Metric::Parent, 1, 1, 5),
    field(Metric::Firmware, 1, 1, 1),
    field(Metric::Battery, 1, 5, 11),
    field(Metric::ChipTemperature, 10, 5, 12),
    field(Metric::Boots, 1, 1, 3),
    field(Metric::Alerts, 1, 1, 0),
    field(Metric::ResetReason, 1, 1, 10),
    field(Metric::LoopTime, 1, 100, 19),
    field(Metric::Queue, 64, 64, 22),
    field(Metric::LinksLost, 1, 5, 23),
    // From here on a packet takes another byte.
    field(Metric::Supply, 10, 10, 24),
    field(Metric::UpdateChunks, 1, 0, 29),
    field(Metric::WifiQuality, 1, 10, 25),
    field(Metric::Temperature, 1, 5, 26),
    field(Metric::Humidity, 10, 3, 27),
    field(Metric::Pressure, 10, 3, 28),
];

impl Field {
    /// All of them, each at its bit.
    pub const ALL: &'static [Self; FIELDS] = &FIELDS_TABLE;

    /// The bit of a metric; `None` for one that does not travel.
    pub fn bit(metric: Metric) -> Option<usize> {
        Self::ALL.iter().position(|field| field.metric == metric)
    }

    /// The bits of some metrics.
    pub fn mask(metrics: &[Metric]) -> u32 {
        metrics.iter().filter_map(|metric| Self::bit(*metric)).fold(0, |mask, bit| mask | 1 << bit)
    }

    /// The number that says a value.
    pub fn number(&self, value: i64) -> u32 {
        value.saturating_sub(*self.metric.range().start()).div_euclid(self.step) as u32
    }

    /// The value that a number says: the lowest of those that have this number.
    pub fn value(&self, number: u32) -> i64 {
        self.metric.range().start().saturating_add(i64::from(number).saturating_mul(self.step))
    }
}

/// Numbers of some of the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// A bit for each that is known.
    known: u32,
    numbers: [u32; FIELDS],
}

impl Default for Numbers {
    fn default() -> Self {
        Self { known: 0, numbers: [0; FIELDS] }
    }
}

impl Numbers {
    /// A bit for each metric that is known.
    pub fn known(&self) -> u32 {
        self.known
    }

    /// The number at a bit.
    pub fn get(&self, bit: usize) -> Option<u32> {
        if bit < FIELDS && self.known & (1 << bit) != 0 { self.numbers.get(bit).copied() } else { None }
    }

    /// Sets the number at a bit.
    pub fn set(&mut self, bit: usize, number: u32) {
        if let Some(place) = self.numbers.get_mut(bit) {
            *place = number;
            self.known |= 1 << bit;
        }
    }

    /// The bits at which this differs from `other`, or knows what `other` does not.
    pub fn differing(&self, other: &Self) -> u32 {
        bits(self.known).filter(|bit| self.get(*bit) != other.get(*bit)).fold(0, |mask, bit| mask | 1 << bit)
    }

    /// The values at some bits, of those that are known.
    pub fn values(&self, mask: u32) -> impl Iterator<Item = (Metric, i64)> + '_ {
        let fields = Field::ALL.iter().enumerate().filter(move |(bit, _)| mask & (1 << bit) != 0);
        fields.filter_map(|(bit, field)| Some((field.metric, field.value(self.get(bit)?))))
    }
}

/// The places of the bits in a mask, the lowest first.
pub(super) fn bits(mask: u32) -> impl Iterator<Item = usize> {
    (0..FIELDS).filter(move |bit| mask & (1 << bit) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_gateways_own_metric_travel_each_with_its_rank() {
        let own = Metric::ALL.iter().filter(|metric| **metric < Metric::StatusByte);
        let missing: alloc::vec::Vec<_> = own.filter(|metric| Field::bit(**metric).is_none()).collect();
        assert_eq!(missing, [&Metric::RoundTrip]);
        for (bit, field) in Field::ALL.iter().enumerate() {
            assert_eq!(Field::bit(field.metric), Some(bit), "{:?} is there twice", field.metric);
            let equals = Field::ALL.iter().filter(|other| other.rank == field.rank).count();
            assert_eq!(equals, 1, "{:?} shares its rank", field.metric);
        }
    }

    #[test]
    fn numbers_say_values_to_a_step() {
        for (metric, value, number, back) in [
            (Metric::FreeHeap, 182_344, 2_849, 182_336),
            (Metric::Rssi, -67, 60, -67),
            (Metric::ChipTemperature, -12, 58, -20),
            (Metric::Parent, 2_748_091_201, 2_748_091_201, 2_748_091_201),
            (Metric::Pressure, 10_132, 913, 10_130),
            // What no longer fits begins anew, as counters do.
            (Metric::MessagesRx, (1 << 32) + 5, 5, 5),
        ] {
            let field = &Field::ALL[Field::bit(metric).unwrap()];
            assert_eq!((field.number(value), field.value(number)), (number, back), "{metric:?}");
        }
    }
}
