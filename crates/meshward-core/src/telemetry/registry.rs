//! A node's metrics: those that its application sets, and those that the node knows by itself.
//!
//! One place per metric, so memory is fixed. Refuses values outside of what can be ([`Metric::range`]): the last
//! good one stays, and the refusal is counted.

use super::field::{FIELDS, Field, Numbers};
use super::{Flags, Metric};
use crate::mesh::Mesh;
use crate::time::Instant;
use crate::wire::NodeId;

/// What the node's other machines know of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own {
    /// The first four bytes of the running image's SHA-256.
    pub(crate) firmware: Option<u32>,
    /// Chunks of updates on the flash.
    pub(crate) chunks: u32,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Registry {
    known: u32,
    values: [i64; FIELDS],
    /// When the node was first driven.
    started: Option<Instant>,
    /// Values that were refused.
    refused: u32,
}

impl Default for Registry {
    fn default() -> Self {
        Self { known: 0, values: [0; FIELDS], started: None, refused: 0 }
    }
}

impl Registry {
    /// Sets a metric, in its whole numbers ([`Metric::decimals`]). False, and counted, for what cannot be and for
    /// what does not travel as telemetry.
    pub fn set(&mut self, metric: Metric, value: i64) -> bool {
        let place = Field::bit(metric).filter(|_| metric.range().contains(&value));
        let Some((bit, place)) = place.and_then(|bit| Some((bit, self.values.get_mut(bit)?))) else {
            self.refused = self.refused.saturating_add(1);
            return false;
        };
        *place = value;
        self.known |= 1 << bit;
        true
    }

    /// What was set last.
    pub fn get(&self, metric: Metric) -> Option<i64> {
        let bit = Field::bit(metric).filter(|bit| self.known & (1 << bit) != 0)?;
        self.values.get(bit).copied()
    }

    /// As a counter of 32 bits in C++ would have it; 0 for what is not known.
    pub(super) fn word(&self, metric: Metric) -> u32 {
        self.get(metric).unwrap_or(0) as u32
    }

    /// How many values were refused.
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// The node is driven: its uptime counts from the first time.
    pub(super) fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
    }

    /// Looks at the node: uptime, links, counters, queues, the way to the collector.
    pub(super) fn look(&mut self, now: Instant, mesh: &Mesh, own: Own, collector: Option<NodeId>) {
        let counters = mesh.counters();
        let dropped = counters.messages_dropped.saturating_add(counters.chunks_dropped);
        let uptime = now.since(self.started.unwrap_or(now)).as_millis() / 1_000;
        let parent = collector.and_then(|collector| mesh.path_to(collector).first().copied());
        for (metric, value) in [
            (Metric::Uptime, uptime),
            (Metric::Links, mesh.neighbours().count() as u64),
            (Metric::MessagesRx, counters.frames_received),
            (Metric::MessagesTx, counters.frames_queued),
            (Metric::MessagesDropped, dropped),
            (Metric::BytesRx, counters.bytes_received),
            (Metric::BytesTx, counters.bytes_sent),
            (Metric::Queue, mesh.queued() as u64),
            (Metric::LinksLost, counters.links_closed),
            (Metric::UpdateChunks, u64::from(own.chunks)),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX).min(*metric.range().end());
            self.set(metric, value);
        }
        if let Some(parent) = parent {
            self.set(Metric::Parent, i64::from(parent.0));
        }
        if let Some(firmware) = own.firmware {
            self.set(Metric::Firmware, i64::from(firmware));
        }
    }

    /// All of them as they travel.
    pub(super) fn numbers(&self) -> Numbers {
        let mut numbers = Numbers::default();
        for (bit, (field, value)) in Field::ALL.iter().zip(&self.values).enumerate() {
            if self.known & (1 << bit) != 0 {
                numbers.set(bit, field.number(*value));
            }
        }
        numbers
    }

    /// Whether less heap is free than `limit`.
    pub(super) fn is_low(&self, limit: u32) -> bool {
        self.get(Metric::FreeHeap).is_some_and(|free| free < i64::from(limit))
    }

    /// What packets say of memory.
    pub(super) fn flags(&self, limit: u32) -> Flags {
        Flags::default().with(Flags::LOW_MEMORY, self.is_low(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        let mut registry = Registry::default();
        for (metric, value, taken) in [
            (Metric::FreeHeap, 180_000, true),
            (Metric::FreeHeap, -1, false),
            (Metric::Rssi, 12, false),
            (Metric::ChipTemperature, -125, true),
            (Metric::RoundTrip, 12, false),
        ] {
            assert_eq!(registry.set(metric, value), taken, "{metric:?} {value}");
        }
        assert_eq!((registry.get(Metric::FreeHeap), registry.get(Metric::Rssi)), (Some(180_000), None));
        assert_eq!(registry.refused(), 3);
        assert!(registry.is_low(200_000) && !registry.is_low(10_000));
    }
}
