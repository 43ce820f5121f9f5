//! The status service on a node: queries (210) about itself, each answered (211) at its own time.
//!
//! The asker says over how long answers are to be spread; where in that a node's is follows from its id and the
//! query's number, so that equal queries have equal answers at equal times. A query that is being answered already
//! is not answered twice. Refuses more than [`ANSWERS_MAX`] at once: what is dropped is counted, and askers repeat.

use alloc::vec::Vec;

use super::field::Field;
use super::message::{Body, Query};
use super::packet::{Flags, Head, Packet};
use super::registry::Registry;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::NodeId;

/// Queries that may wait for their answer.
pub const ANSWERS_MAX: usize = 4;

#[derive(Debug)]
struct Pending {
    asker: NodeId,
    query: Query,
    due: Instant,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Service {
    pending: Vec<Pending>,
    dropped: u32,
}

impl Service {
    pub(super) fn ask(&mut self, now: Instant, own: NodeId, asker: NodeId, query: Query) {
        if self.pending.iter().any(|pending| pending.asker == asker && pending.query.q == query.q) {
            return;
        }
        if self.pending.len() >= ANSWERS_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let place = Rng::new(u64::from(own.0) << 16 | u64::from(query.q)).below(query.window_ms.into());
        self.pending.push(Pending { asker, query, due: now + Duration::from_millis(place) });
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.due).min()
    }

    /// The next query whose time has come.
    pub(super) fn next(&mut self, now: Instant) -> Option<(NodeId, Query)> {
        let at = self.pending.iter().position(|pending| pending.due <= now)?;
        let Pending { asker, query, .. } = self.pending.swap_remove(at);
        Some((asker, query))
    }

    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }

    pub(super) fn check(&self) {
        assert!(self.pending.len() <= ANSWERS_MAX);
    }
}

/// Everything that a query wants.
pub(super) fn answer(registry: &Registry, query: &Query, low: u32) -> Body {
    let mask = if query.mask == 0 { u32::MAX } else { query.mask };
    let head =
        Head { keyframe: true, flags: registry.flags(low).with(Flags::URGENT, true), ..Head::default() };
    let (packet, _left) = Packet::build(head, &registry.numbers(), None, mask, 0, super::packet::PACKET_MAX);
    Body::Answer { q: query.q, packet: Some(packet) }
}

/// The bits that a list of metrics has, for a query: 0 for an empty list, which wants all.
pub fn query_mask(metrics: &[super::Metric]) -> u32 {
    Field::mask(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_spread_bounded_and_given_once() {
        let mut service = Service::default();
        let query = |q| Query { q, mask: 0, window_ms: 1_000 };
        let ask = |service: &mut Service, q| service.ask(Instant::ORIGIN, NodeId(7), NodeId(1), query(q));
        for q in 0..10 {
            ask(&mut service, q);
            ask(&mut service, q);
            service.check();
        }
        assert_eq!(service.dropped(), 12, "six queries, twice");
        let first = service.due().unwrap();
        assert!(first < Instant::from_micros(1_000_000));
        let end = Instant::from_micros(1_000_000);
        let mut told = Vec::from_iter(core::iter::from_fn(|| service.next(end)).map(|(_, query)| query.q));
        told.sort_unstable();
        assert_eq!(told, [0, 1, 2, 3]);
        // The same query at the same node has the same place; another node has another.
        ask(&mut service, 3);
        let mut other = Service::default();
        other.ask(Instant::ORIGIN, NodeId(8), NodeId(1), query(3));
        assert_ne!(service.due(), other.due());
    }
}
