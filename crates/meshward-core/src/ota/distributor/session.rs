//! One roll-out: its plan, its targets, and what each of them may do now.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use super::loss::Loss;
use super::parents::Parents;
use super::pass::{NOBODY, Pass, Shot};
use super::report::TargetReport;
use super::target::{Leave, PROBE_TIMEOUT, PROBE_TIMEOUT_FIRST, Step, Target};
use super::trip::Trip;
use super::{ImagePlan, Md5Sum};
use crate::time::{Duration, Instant};
use crate::wire::{Announce, Data, NodeId, Offer};

/// See the module's page.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) plan: ImagePlan,
    pub(super) md5: Md5Sum,
    pub(super) offer: Offer<'static>,
    pub(super) targets: BTreeMap<NodeId, Target>,
    /// Each node's parent, in the tree as it is.
    pub(super) parents: Parents,
    /// The broadcast pass, until it is over.
    pub(super) pass: Option<Pass>,
    /// The part of its check that is under way, and until when it may take.
    pub(super) checking: Option<(u32, Instant)>,
    /// Nodes with an open target behind them, whose restart would cost that something, by their places.
    pub(super) needed: Vec<bool>,
    /// What relays lose.
    pub(super) loss: Loss,
    /// What delay probes take.
    pub(super) trip: Trip,
    /// Whether somebody has missed a part of the broadcast pass.
    pub(super) gaps: bool,
    /// When somebody asked last in our name, after the pass.
    pub(super) nameless: Option<Instant>,
    pub(super) paused: bool,
    /// Whether its end has been reported.
    pub(super) told: bool,
    /// Until when somebody else's roll-out stops this one, and whose.
    pub(super) foreign: Option<(Instant, NodeId)>,
}

/// Who is busy just now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowd {
    /// Nodes that take up one of the plan's places.
    receiving: usize,
    /// Parts, or what takes their place, that may be on their way to single nodes.
    loading: usize,
    /// Nodes that may still answer a check.
    checked: usize,
    /// Nodes to which a check has not come yet.
    unchecked: usize,
    /// Nodes of which it is being found out whether they have all parts but the last.
    questioned: usize,
    /// Nodes that may be given their last part, or are being given it.
    finishing: usize,
}

impl Crowd {
    pub(super) fn add(&mut self, now: Instant, target: &Target) {
        self.receiving += usize::from(target.is_receiving());
        self.loading += target.load(now);
        self.checked += usize::from(target.is_checked());
        self.unchecked += usize::from(target.awaits_check());
        self.questioned += usize::from(target.is_questioned());
        self.finishing += usize::from(target.is_finishing());
    }

    pub(super) fn remove(&mut self, now: Instant, target: &Target) {
        self.receiving -= usize::from(target.is_receiving());
        self.loading -= target.load(now);
        self.checked -= usize::from(target.is_checked());
        self.unchecked -= usize::from(target.awaits_check());
        self.questioned -= usize::from(target.is_questioned());
        self.finishing -= usize::from(target.is_finishing());
    }

    /// What a target may do now, among this crowd; it is `needed` by who is behind it, if its restart would cost
    /// those something.
    pub(super) fn leave(&self, terms: &Terms, needed: bool) -> Leave {
        // More for single nodes at once would fill the relays' queues.
        let send = self.loading < terms.concurrency;
        Leave {
            // A late comer waits until the pass is over: parts sent to it alone would hold up all others.
            start: self.receiving < terms.concurrency && (terms.listen || terms.passed),
            send,
            serve: self.unchecked == 0,
            search: self.checked == 0,
            // The shorter the time in which the mesh restarts, the fewer syncs that makes: questions come
            // before it, and verdicts after it.
            finish: send && self.questioned == 0 && !needed,
            judge: send && self.finishing == 0,
            listen: terms.listen,
            last: terms.last,
            patience: terms.patience,
        }
    }
}

/// What holds for every target of a session at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Nodes that may be served at once.
    concurrency: usize,
    /// The broadcast pass has not begun.
    listen: bool,
    /// It is over, or there was none.
    passed: bool,
    last: u32,
    patience: Duration,
}

/// How a Data goes out.
#[derive(Clone, Copy)]
struct Manner {
    from: NodeId,
    to_all: bool,
    broadcasted: bool,
}

impl Session {
    pub(super) fn finished(&self) -> bool {
        self.targets.values().all(Target::is_final)
    }

    /// Whether everybody who is there is known to listen, or not to, and keeps up.
    pub(super) fn pass_may_run(&self) -> bool {
        if self.pass.as_ref().is_none_or(|pass| pass.sent() == 0) {
            return !self.targets.values().any(Target::holds_up_pass);
        }
        // Behind broadcasts a part to one node takes so long that it would not catch up.
        !self.targets.values().any(Target::lags)
    }

    /// Whether nothing may be sent.
    pub(super) fn is_held(&self) -> bool {
        self.paused || self.foreign.is_some()
    }

    pub(super) fn report(&self, id: NodeId, target: &Target) -> TargetReport {
        let passed = self.pass.as_ref().map_or(0, Pass::sent);
        target.report(id, self.offer.parts, passed)
    }

    /// The number of the last part.
    pub(super) fn last(&self) -> u32 {
        self.offer.parts.saturating_sub(1)
    }

    /// When all who answer a check have answered: how many have not, and the first part that one of them may
    /// lack.
    pub(super) fn lost(&self) -> Option<(usize, u32)> {
        if self.checking.is_none() || self.targets.values().any(Target::is_checked) {
            return None;
        }
        let lost: Vec<u32> = self.targets.values().filter_map(Target::lost_since).collect();
        lost.iter().min().map(|low| (lost.len(), *low))
    }

    /// Who may be the one that asks for a part in our name.
    pub(super) fn suspects(&self) -> Vec<NodeId> {
        self.targets.iter().filter(|(_, target)| target.may_straggle()).map(|(id, _)| *id).collect()
    }

    /// Who is given its last part when somebody asks for that in our name: one at a time, so that the mesh does not
    /// restart at once; the deepest first, and nobody again before all others.
    pub(super) fn suspect_of_last(&self, now: Instant) -> Vec<NodeId> {
        if self.targets.values().any(|target| target.is_tested_for_last(now)) {
            return Vec::new();
        }
        let fair = |(id, target): (&NodeId, &Target)| Some((target.may_want_last()?, target.turn(), *id));
        let first = self.targets.iter().filter_map(fair).min();
        first.map(|(.., id)| id).into_iter().collect()
    }

    /// Who is busy at `now`.
    pub(super) fn crowd(&self, now: Instant) -> Crowd {
        let mut crowd = Crowd::default();
        self.targets.values().for_each(|target| crowd.add(now, target));
        crowd
    }

    /// What holds for every target.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            concurrency: self.plan.concurrency,
            listen: self.pass.as_ref().is_some_and(|pass| pass.sent() == 0),
            passed: self.pass.is_none(),
            last: self.last(),
            patience: self.patience(),
        }
    }

    /// Who has a turn, in the order of service. Who is away or has finished, and has been reported so, does nothing
    /// with one.
    pub(super) fn turns(&self) -> Vec<NodeId> {
        let waiting = self.targets.iter().filter(|(_, target)| !target.rests());
        let mut turns: Vec<_> = waiting.map(|(id, target)| (target.turn(), *id)).collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, id)| id).collect()
    }

    /// How long a node may take to answer a probe.
    fn patience(&self) -> Duration {
        let (least, most) = PROBE_TIMEOUT.into_inner();
        self.trip.overdue().map_or(PROBE_TIMEOUT_FIRST, |overdue| overdue.clamp(least, most))
    }

    /// Finds out anew who is needed by whom is behind it.
    pub(super) fn find_needed(&mut self) {
        self.needed.clear();
        self.needed.resize(self.parents.len(), false);
        for target in self.targets.values().filter(|target| target.holds_up_parents()) {
            let mut at = target.place();
            while let Some(parent) = at.and_then(|at| self.parents.above(at)) {
                match self.needed.get_mut(parent) {
                    Some(needed) if !*needed => *needed = true,
                    // Somebody has been here before.
                    _ => break,
                }
                at = Some(parent);
            }
        }
    }

    /// The frames of a step.
    pub(super) fn frames(&self, own: NodeId, to: NodeId, step: &Step) -> Vec<Vec<u8>> {
        let single = Manner { from: own, to_all: false, broadcasted: false };
        let announce = |broadcasted| {
            let offer = Offer { broadcasted, ..self.offer.clone() };
            Announce { from: own, to: Some(to), offer }.encode()
        };
        // An Announce, what goes before it, and what wakes the node before that.
        let announced = |wakes: &Range<u32>, then: Vec<u8>| {
            let wakes = wakes.clone().filter(|part| *part < self.last());
            let wakes = wakes.map(|part| self.part(to, part, self.offer.parts, single));
            wakes.chain([then, announce(false)]).collect()
        };
        match step {
            Step::Announce { broadcasted } => Vec::from([announce(*broadcasted)]),
            Step::Question { wakes } => announced(wakes, self.question(own, to)),
            Step::Part { part, .. } => Vec::from([self.part(to, *part, self.offer.parts, single)]),
            Step::Last => Vec::from([self.part(to, self.last(), self.offer.parts, single)]),
            Step::Verdict { wakes } => announced(wakes, self.part(to, self.last(), self.offer.parts, single)),
            Step::Rescue(part) => Vec::from([self.part(to, *part, part.saturating_add(1), single)]),
        }
    }

    /// The frame of a broadcast.
    pub(super) fn shot(&self, own: NodeId, shot: &Shot) -> Vec<u8> {
        let from = if shot.silent { NOBODY } else { own };
        let manner = Manner { from, to_all: true, broadcasted: shot.tells };
        self.part(own, shot.part, self.offer.parts, manner)
    }

    fn part(&self, dest: NodeId, part: u32, parts: u32, manner: Manner) -> Vec<u8> {
        let size = self.plan.part_size as usize;
        let start = (part as usize).saturating_mul(size);
        let end = start.saturating_add(size).min(self.plan.image.len());
        let bytes = self.plan.image.get(start..end).unwrap_or_default();
        let offer = Offer { broadcasted: manner.broadcasted, parts, ..self.offer.clone() };
        let (from, routing_broadcast) = (manner.from, manner.to_all);
        Data { from, dest, routing_broadcast, offer, part, data: bytes.into() }.encode()
    }

    /// A Data beyond the end, with a byte that nobody writes.
    fn question(&self, from: NodeId, dest: NodeId) -> Vec<u8> {
        let offer = Offer { broadcasted: true, ..self.offer.clone() };
        let part = self.offer.parts;
        Data { from, dest, routing_broadcast: false, offer, part, data: [0][..].into() }.encode()
    }
}
