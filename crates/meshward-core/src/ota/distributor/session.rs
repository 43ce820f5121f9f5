//! One roll-out: its plan, its targets, and what each of them may do now.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::pass::Pass;
use super::report::TargetReport;
use super::target::{Leave, Step, Target};
use super::{ImagePlan, Md5Sum};
use crate::time::Instant;
use crate::wire::{Announce, Data, NodeId, Offer};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) plan: ImagePlan,
    pub(super) md5: Md5Sum,
    pub(super) offer: Offer<'static>,
    pub(super) targets: BTreeMap<NodeId, Target>,
    /// Each node's parent, from the last tree that showed it.
    pub(super) parents: BTreeMap<NodeId, NodeId>,
    /// Targets in order of service: the deepest first.
    pub(super) order: Vec<NodeId>,
    /// The broadcast pass, until it is over.
    pub(super) pass: Option<Pass>,
    /// Whether messages have been lost.
    pub(super) lossy: bool,
    /// When somebody asked last in our name, after the pass.
    pub(super) nameless: Option<Instant>,
    pub(super) paused: bool,
    /// Whether its end has been reported.
    pub(super) told: bool,
    /// Until when somebody else's roll-out stops this one, and whose.
    pub(super) foreign: Option<(Instant, NodeId)>,
}

/// What a Data says besides its part.
pub(super) struct Flags {
    pub(super) broadcasted: bool,
    pub(super) to_all: bool,
    pub(super) parts: u32,
}

impl Session {
    pub(super) fn finished(&self) -> bool {
        self.targets.values().all(Target::is_final)
    }

    /// Whether everybody who is there is known to listen, or not to.
    pub(super) fn pass_may_run(&self) -> bool {
        let begun = self.pass.as_ref().is_some_and(|pass| pass.sent() > 0);
        begun || !self.targets.values().any(Target::holds_up_pass)
    }

    /// Whether nothing may be sent.
    pub(super) fn is_held(&self) -> bool {
        self.paused || self.foreign.is_some()
    }

    pub(super) fn report(&self, id: NodeId, target: &Target) -> TargetReport {
        let passed = self.pass.as_ref().map_or(0, Pass::sent);
        target.report(id, self.offer.parts, passed)
    }

    /// What a target may do now.
    pub(super) fn leave(&self, id: NodeId) -> Leave {
        let listen = self.pass.as_ref().is_some_and(|pass| pass.sent() == 0);
        let waits = self.targets.get(&id).is_some_and(Target::waits_for_leave);
        if !waits {
            return Leave { listen, ..Leave::default() };
        }
        let receiving = self.targets.values().filter(|target| target.is_receiving()).count();
        // A late comer waits until the pass is over: parts sent to it alone would hold up all others.
        let start = receiving < self.plan.concurrency && (listen || self.pass.is_none());
        // Last parts of a whole level at once would fill the relays' queues.
        let loading = self.targets.values().filter(|target| target.loads_relays()).count();
        let finish = loading < self.plan.concurrency && self.nothing_open_below(id);
        Leave { start, finish, listen }
    }

    /// Whether no open target is behind `id`.
    pub(super) fn nothing_open_below(&self, id: NodeId) -> bool {
        let behind = |node: NodeId| {
            let mut at = node;
            // A tree in transit may be inconsistent: never walk further than there are nodes.
            for _ in 0..self.parents.len() {
                match self.parents.get(&at) {
                    Some(parent) if *parent == id => return true,
                    Some(parent) => at = *parent,
                    None => return false,
                }
            }
            false
        };
        !self
            .targets
            .iter()
            .any(|(other, target)| *other != id && target.holds_up_parents() && behind(*other))
    }

    pub(super) fn frame(&self, from: NodeId, to: NodeId, step: Step) -> Vec<u8> {
        let single = Flags { broadcasted: false, to_all: false, parts: self.offer.parts };
        match step {
            Step::Announce { broadcasted } => {
                let offer = Offer { broadcasted, ..self.offer.clone() };
                Announce { from, to: Some(to), offer }.encode()
            }
            Step::Part(part) | Step::Test(part) => self.data(from, to, part, single),
            Step::Last { part, broadcasted } => self.data(from, to, part, Flags { broadcasted, ..single }),
            Step::Rescue(part) => {
                self.data(from, to, part, Flags { parts: part.saturating_add(1), ..single })
            }
        }
    }

    pub(super) fn data(&self, from: NodeId, dest: NodeId, part: u32, flags: Flags) -> Vec<u8> {
        let size = self.plan.part_size as usize;
        let start = (part as usize).saturating_mul(size);
        let end = start.saturating_add(size).min(self.plan.image.len());
        let bytes = self.plan.image.get(start..end).unwrap_or_default();
        let offer = Offer { broadcasted: flags.broadcasted, parts: flags.parts, ..self.offer.clone() };
        Data { from, dest, routing_broadcast: flags.to_all, offer, part, data: bytes.into() }.encode()
    }
}
