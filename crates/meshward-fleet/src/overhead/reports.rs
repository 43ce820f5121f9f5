//! What one round of reports takes of the channel, by the tree and by who packs.

use std::collections::BTreeMap;

use meshward_core::telemetry::{BODY_MAX, BUNDLE_MAX};
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;

use crate::forecast::Channel;
use crate::topology::Topology;

/// JSON around the base64 text of a report, with its NUL and ids of ten digits: 20 bytes make 96, 57 make 144.
pub(crate) const ENVELOPE_BYTES: usize = 68;
/// Around a report in a message of others: whose it is, and its length, but no sum.
const ENTRY_BYTES: usize = 3;
/// So many bytes of reports go in one message, as a relay packs them.
const PACKED_BYTES: usize = BUNDLE_MAX - BODY_MAX - 8;

/// One round of reports: what each node's report once takes of the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// Nodes that report.
    pub nodes: u32,
    /// Links crossed by their messages.
    pub crossings: u32,
    /// Bytes times hops, all messages together.
    pub hop_bytes: u64,
}

impl Reports {
    /// One round of reports with `payload` bytes each, of those nodes in the tree that `reports` says. A node whose
    /// report meets a relay that `aggregates` goes on in that one's message, or in one of several where a large branch
    /// takes more than one.
    pub fn of(
        topology: &Topology,
        payload: usize,
        reports: impl Fn(NodeId) -> bool,
        aggregates: impl Fn(NodeId) -> bool,
    ) -> Self {
        let mut sum = Self::default();
        let encoded = |bytes: usize| (bytes.div_ceil(3) * 4) as u64;
        let mut packed: BTreeMap<NodeId, usize> = BTreeMap::new();
        let packs = |id| aggregates(id) && reports(id);
        for (id, place) in topology.places().filter(|(id, _)| reports(*id)) {
            let mut alone = 0;
            let mut at = Some((id, *place));
            // No way is longer than its depth.
            for _ in 0..place.hops {
                let Some((_, place)) = at else { break };
                alone += 1;
                if packs(place.parent) {
                    break;
                }
                at = topology.place(place.parent).map(|above| (place.parent, *above));
            }
            let above = std::iter::successors(Some((id, *place)), |(_, place)| {
                topology.place(place.parent).map(|above| (place.parent, *above))
            });
            for (relay, _) in above.take(place.hops as usize).filter(|(relay, _)| packs(*relay)) {
                *packed.entry(relay).or_default() += payload + ENTRY_BYTES;
            }
            sum.nodes += 1;
            sum.crossings = sum.crossings.saturating_add(alone);
            let around = u64::from(alone) * ENVELOPE_BYTES as u64;
            let within = encoded(payload + ENTRY_BYTES) * u64::from(place.hops.saturating_sub(alone));
            let itself = encoded(payload) * u64::from(alone);
            sum.hop_bytes = sum.hop_bytes.saturating_add(around + itself + within);
        }
        for bytes in packed.into_values() {
            let more = (bytes.div_ceil(PACKED_BYTES) as u32).saturating_sub(1);
            sum.crossings = sum.crossings.saturating_add(more);
            sum.hop_bytes = sum.hop_bytes.saturating_add(u64::from(more) * ENVELOPE_BYTES as u64);
        }
        sum
    }

    /// What a round takes of the channel, in nanoseconds.
    pub const fn nanos(&self, channel: &Channel) -> u64 {
        let messages = channel.frame_nanos.saturating_mul(self.crossings as u64);
        messages.saturating_add(channel.byte_nanos.saturating_mul(self.hop_bytes))
    }

    /// The share of the channel when a round takes `period`, in percent.
    pub fn percent(&self, channel: &Channel, period: Duration) -> f64 {
        self.nanos(channel) as f64 / (period.as_micros().max(1) as f64 * 10.0)
    }
}

#[cfg(test)]
mod tests {
    use meshward_core::time::Instant;

    use super::*;
    use crate::topology::tests::tree;

    #[test]
    fn aggregation_makes_messages_cross_one_link() {
        let mut topology = Topology::new(NodeId(1));
        // A chain of four, and a leaf at its second.
        topology.handle_tree(Instant::ORIGIN, &tree(&[(2, 1), (3, 2), (4, 3), (5, 4), (6, 3)]));
        let of = |aggregates: &[u32]| {
            let reports = Reports::of(&topology, 16, |_| true, |id| aggregates.contains(&id.0));
            (reports.crossings, reports.hop_bytes)
        };
        let (hops, encoded) = (1 + 2 + 3 + 4 + 3, 24);
        assert_eq!(of(&[]), (hops, u64::from(hops) * (68 + encoded)));
        assert_eq!(of(&[2, 3, 4]), (5, 5 * 68 + 5 * encoded + 8 * 28));
        assert_eq!(of(&[3]), (1 + 2 + 1 + 2 + 1, 7 * 68 + 7 * encoded + 6 * 28));
        // A relay with forty behind it has more to tell than goes in one message.
        let many: Vec<(u32, u32)> = [(2, 1)].into_iter().chain((3..43).map(|id| (id, 2))).collect();
        let mut large = Topology::new(NodeId(1));
        large.handle_tree(Instant::ORIGIN, &tree(&many));
        let reports = Reports::of(&large, 16, |_| true, |id| id.0 == 2);
        assert_eq!((reports.crossings, (41 * 19_usize).div_ceil(PACKED_BYTES)), (42, 2));
        assert_eq!(reports.hop_bytes, 42 * 68 + 41 * encoded + 40 * 28);
        let none = Reports::of(&topology, 16, |id| id.0 == 4, |_| true);
        assert_eq!((none.nodes, none.crossings), (1, 3), "who does not report does not carry");
    }
}
