//! Bounded memory: no queue of a node of ours outgrows its limit, and no event is dropped.

use super::{Checker, Findings};
use crate::world::{Machine, World};

/// The protocol's own messages may use as much again as all others.
const PROTOCOL_FACTOR: usize = 2;

/// See the module's page.
#[derive(Debug, Default)]
pub struct Memory;

impl Checker for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn look(&mut self, world: &World, findings: &mut Findings) {
        for seat in world.seats() {
            let Some(node) = world.machine(seat).and_then(Machine::node) else { continue };
            let id = world.id(seat);
            let (queued, limit) = world.queued(seat);
            if queued > limit.saturating_mul(PROTOCOL_FACTOR) {
                findings.add(format!("node {id} holds {queued} bytes for one link; {limit} are allowed"));
            }
            let dropped = node.events_dropped() + node.mesh().counters().events_dropped;
            if dropped > 0 {
                findings.add(format!("node {id} dropped {dropped} events"));
            }
        }
    }
}
