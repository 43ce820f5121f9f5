//! The roll-out that a gateway runs: who is to have what, and when chunks go to everybody.
//!
//! All targets are offered the payloads and make room. Then each chunk goes to all once, paced as for stock nodes.
//! What got lost is repaired between neighbours; the source sends a chunk to all again only where most lack it.
//! Targets that say nothing are asked, one by one. It ends when every target is at rest; who stays silent or away
//! for too long is not waited for, and is served when it is back.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::message::Line;
use super::payload::Payload;
use super::stage::Stage;
use super::{ImageId, Phase, PlanError, Tag, UpdatePlan};
use crate::mesh::Mesh;
use crate::ota::Tempo;
use crate::ota::distributor::loss::Loss;
use crate::ota::distributor::pacing::Pacer;
use crate::ota::distributor::shape::Shape;
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, To};

/// Payloads of one roll-out, at most.
pub(super) const OFFERINGS_MAX: usize = 8;
/// A target that has said nothing is asked again after so long, and then every so often.
const ASK_FIRST: Duration = Duration::from_secs(6);
const ASK_AGAIN: Duration = Duration::from_secs(20);
/// Twice as long each time, so many times.
const ASK_DOUBLINGS: u32 = 4;
/// Between two questions, so that the channel is not full of them.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// How long the pass waits for targets that have not taken or refused the offer.
const OFFER_PATIENCE: Duration = Duration::from_secs(60);
/// A target that says nothing new, or is away, is not waited for longer.
const SILENCE: Duration = Duration::from_secs(330);
/// While targets of an earlier roll-out get chunks from one another, the source waits for so long without news.
const LEVELLING: Duration = Duration::from_secs(25);
/// Bytes of a chunk's message around its base64.
const CHUNK_OVERHEAD: u64 = 60;

/// A node that is to have the image.
#[derive(Clone, Copy, Debug)]
struct Target {
    line: Option<Line>,
    /// When it said something new, or the roll-out began.
    news: Instant,
    /// When it was asked last, and how often in vain.
    asked: Instant,
    tries: u32,
    /// Whether it is in the tree.
    present: bool,
}

/// What the source wants sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// An offer with its head, of the payload in this place.
    Offer(To, usize),
    /// Tell how far you are with this payload: nothing more goes to all.
    Ask(To, usize),
    /// A chunk to all, and then a probe to a leaf.
    Chunk(Tag, u32, Option<NodeId>),
    /// A probe.
    Probe(NodeId),
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) payloads: Vec<Payload>,
    targets: BTreeMap<NodeId, Target>,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When any target said something new.
    news: Instant,
    /// Chunks that go to all, the last first: each with the place of its payload.
    queue: Vec<(usize, u32)>,
    queued: u32,
    pacer: Pacer,
    links: u32,
    loss: Loss,
    tempo: Tempo,
    broadcast: bool,
    rests: Option<Instant>,
    chunk_bytes: u64,
    /// When the next question may go.
    ask_next: Instant,
    /// When this was looked at last.
    looked: Instant,
}

impl Source {
    pub(super) fn new(now: Instant, plan: UpdatePlan, mesh: &Mesh) -> Result<Self, PlanError> {
        let count = plan.offerings.len();
        if !(1..=OFFERINGS_MAX).contains(&count) {
            return Err(PlanError::Offerings(count));
        }
        if !plan.tempo.is_sound() {
            return Err(PlanError::Airtime(plan.tempo.airtime));
        }
        let targets: BTreeSet<NodeId> =
            plan.targets.into_iter().filter(|id| *id != mesh.id() && *id != NodeId::NONE).collect();
        if targets.is_empty() {
            return Err(PlanError::NoTargets);
        }
        let mut payloads = Vec::new();
        for (index, offering) in plan.offerings.into_iter().enumerate() {
            payloads.push(Payload::new(offering).ok_or(PlanError::Payload(index))?);
        }
        // Patches come first, and whole images are not for those that a patch is for.
        payloads.sort_by_key(|payload| payload.head.except.is_empty());
        let bases: Vec<ImageId> = payloads.iter().flat_map(|payload| payload.head.except.clone()).collect();
        for payload in &mut payloads {
            payload.head.except = if payload.head.except.is_empty() { bases.clone() } else { Vec::new() };
        }
        let target = |id: NodeId| {
            (id, Target { line: None, news: now, asked: now, tries: 0, present: mesh.knows(id) })
        };
        let largest = payloads.iter().map(|payload| payload.size).max().unwrap_or(1) as u64;
        let chunk_bytes = (largest + 7).div_ceil(3) * 4 + CHUNK_OVERHEAD;
        let shape = Shape::of(&mesh.tree(), |_| false);
        Ok(Self {
            payloads,
            targets: targets.into_iter().map(target).collect(),
            phase: Phase::Offering,
            since: now,
            news: now,
            queue: Vec::new(),
            queued: 0,
            pacer: Pacer::new(&shape, chunk_bytes).lenient().at(&plan.tempo),
            links: shape.links,
            loss: Loss::default(),
            tempo: plan.tempo,
            broadcast: plan.broadcast,
            rests: None,
            chunk_bytes,
            ask_next: now,
            looked: now,
        })
    }

    /// The first words: every payload's offer, to all.
    pub(super) fn opening(&self) -> impl Iterator<Item = Wish> + '_ {
        (0..self.payloads.len()).map(|place| Wish::Offer(To::All, place))
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn payload(&self, tag: Tag) -> Option<&Payload> {
        self.payloads.iter().find(|payload| payload.tag == tag)
    }

    /// Whether nothing more goes to all just now.
    pub(super) fn is_repairing(&self) -> bool {
        matches!(self.phase, Phase::Repairing | Phase::Delivered)
    }

    /// Whether chunks may be given to single nodes: not while they can still get them from one another.
    pub(super) fn serves(&self) -> bool {
        self.phase != Phase::Offering
    }

    pub(super) fn handle_topology(&mut self, mesh: &Mesh) {
        let shape = Shape::of(&mesh.tree(), |_| false);
        self.pacer.set_leaves(&shape);
        self.links = shape.links;
        self.targets.iter_mut().for_each(|(id, target)| target.present = mesh.knows(*id));
    }

    pub(super) fn handle_delay(&mut self, now: Instant, from: NodeId, round_trip: Duration) {
        self.pacer.answered(now, from, round_trip, &mut self.loss);
    }

    /// A node has told how far it is.
    pub(super) fn heard(&mut self, now: Instant, id: NodeId, line: Line) {
        let Some(target) = self.targets.get_mut(&id) else { return };
        if target.line != Some(line) {
            (target.news, self.news) = (now, now);
        }
        target.line = Some(line);
        target.tries = 0;
        target.asked = now;
    }

    /// Whether a line says that nothing more has to be done for the node now.
    fn is_at_rest(&self, line: &Line) -> bool {
        let ours = line.tag.is_some_and(|tag| self.payload(tag).is_some());
        match line.stage {
            Stage::Ready | Stage::Activating | Stage::Trial | Stage::Confirmed => ours,
            Stage::Refused | Stage::Failed | Stage::Reverted | Stage::Paused => true,
            _ => false,
        }
    }

    fn is_receiving(&self, line: &Line) -> bool {
        line.tag.is_some_and(|tag| self.payload(tag).is_some())
            && matches!(line.stage, Stage::Receiving | Stage::Verifying | Stage::Installing)
    }

    fn is_settled(&self, target: &Target) -> bool {
        target.line.is_some_and(|line| self.is_at_rest(&line))
    }

    /// What is to be sent now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Wish> {
        self.looked = now;
        self.advance(now);
        self.shoot(now).or_else(|| self.ask(now))
    }

    /// Goes on as many phases as it is time for: nothing else may come that would look again.
    fn advance(&mut self, now: Instant) {
        while let Some(next) = self.following(now) {
            (self.phase, self.since) = (next, now);
            if next == Phase::Repairing {
                // They are asked together, by an Ask to all. While chunks went by they had nothing to say.
                for target in self.targets.values_mut().filter(|target| target.present) {
                    (target.asked, target.news) = (now, now);
                }
            }
        }
        if let Phase::Passing { sent, chunks } = &mut self.phase {
            (*sent, *chunks) = (self.queued - self.queue.len() as u32, self.queued);
        }
    }

    /// The phase that follows, if it is time for it.
    fn following(&mut self, now: Instant) -> Option<Phase> {
        let next = match self.phase {
            Phase::Offering if self.may_begin(now) => {
                self.fill_queue();
                if self.queue.is_empty() {
                    Phase::Repairing
                } else {
                    Phase::Passing { sent: 0, chunks: self.queued }
                }
            }
            Phase::Passing { .. } if self.queue.is_empty() && self.pacer.is_drained() => Phase::Repairing,
            // Nobody hears it: who comes back says what it lacks.
            Phase::Passing { .. } if !self.targets.values().any(|target| target.present) => {
                self.queue.clear();
                Phase::Repairing
            }
            Phase::Repairing if self.is_over(now) => Phase::Delivered,
            // Somebody is back.
            Phase::Delivered if !self.is_over(now) => Phase::Repairing,
            _ => return None,
        };
        Some(next)
    }

    /// Whether all who are there have taken the offer or not, and have levelled what they had.
    fn may_begin(&self, now: Instant) -> bool {
        let ready = |line: &Line| self.is_at_rest(line) || self.is_receiving(line);
        let mut there = self.targets.values().filter(|target| target.present).peekable();
        let some = there.peek().is_some();
        let all = there.all(|target| target.line.as_ref().is_some_and(ready));
        if self.has_chunks() && !self.is_level() && now.since(self.news) < LEVELLING {
            return false;
        }
        (some && all) || now.since(self.since) >= OFFER_PATIENCE
    }

    fn receiving(&self) -> impl Iterator<Item = Line> + '_ {
        self.targets.values().filter_map(|target| target.line).filter(|line| self.is_receiving(line))
    }

    /// Whether somebody had chunks before this began.
    fn has_chunks(&self) -> bool {
        self.receiving().any(|line| line.done > 0)
    }

    /// Whether all who receive a payload have as many chunks of it.
    fn is_level(&self) -> bool {
        let mut done: BTreeMap<Tag, u32> = BTreeMap::new();
        self.receiving().all(|line| {
            let Some(tag) = line.tag else { return true };
            *done.entry(tag).or_insert(line.done) == line.done
        })
    }

    /// Chunks go to all where most lack them: all, unless somebody has had some before, or nothing is to go to all;
    /// the payloads take turns.
    fn fill_queue(&mut self) {
        if self.has_chunks() || !self.broadcast {
            return;
        }
        let mut queue: Vec<(u32, usize)> = Vec::new();
        for (place, payload) in self.payloads.iter().enumerate() {
            let takers = self.receiving().filter(|line| line.tag == Some(payload.tag)).count();
            // To few it goes one by one, over their links only.
            if takers > 0 && (takers * 4 > self.links as usize || takers > 8) {
                queue.extend((0..payload.chunks).map(|chunk| (chunk, place)));
            }
        }
        queue.sort_unstable_by(|one, other| other.cmp(one));
        self.queue = queue.into_iter().map(|(chunk, place)| (place, chunk)).collect();
        self.queued = self.queue.len() as u32;
    }

    /// These chunks go to all again: most lack them.
    pub(super) fn repeat(&mut self, tag: Tag, chunks: impl Iterator<Item = u32>) {
        let Some(place) = self.payloads.iter().position(|payload| payload.tag == tag) else { return };
        for chunk in chunks {
            if !self.queue.contains(&(place, chunk)) {
                self.queue.push((place, chunk));
                self.queued += 1;
            }
        }
        if !self.queue.is_empty() && self.is_repairing() {
            self.phase = Phase::Passing { sent: 0, chunks: self.queued };
        }
    }

    /// Whether what so many lack goes to all.
    pub(super) fn is_for_all(&self, reached: usize) -> bool {
        self.broadcast && reached * 2 > self.links as usize
    }

    fn shoot(&mut self, now: Instant) -> Option<Wish> {
        self.rests = self.rests.filter(|until| *until > now);
        if !matches!(self.phase, Phase::Passing { .. }) {
            return None;
        }
        if let Some(leaf) = self.pacer.ask_again(now, self.queue.is_empty()) {
            return Some(Wish::Probe(leaf));
        }
        if self.rests.is_some() || !self.pacer.may_send() {
            return None;
        }
        let (place, chunk) = self.queue.pop()?;
        let tag = self.payloads.get(place)?.tag;
        self.rests = self.tempo.rest(self.chunk_bytes, self.links).map(|rest| now + rest);
        Some(Wish::Chunk(tag, chunk, self.pacer.sent_one(now)))
    }

    /// Whether every target is at rest, or has been silent or away too long.
    fn is_over(&self, now: Instant) -> bool {
        self.targets.values().all(|target| self.is_settled(target) || now.since(target.news) >= SILENCE)
    }

    /// Asks somebody who is there and has said nothing for long.
    fn ask(&mut self, now: Instant) -> Option<Wish> {
        if matches!(self.phase, Phase::Passing { .. }) || self.ask_next > now {
            return None;
        }
        let due = |target: &Target| {
            target.present && now >= target.asked + Self::patience(target) && !self.is_settled(target)
        };
        let (id, target) =
            self.targets.iter().find(|(_, target)| due(target)).map(|(id, target)| (*id, *target))?;
        self.ask_next = now + ASK_PAUSE;
        if let Some(target) = self.targets.get_mut(&id) {
            (target.asked, target.tries) = (now, target.tries + 1);
        }
        let known = target.line.and_then(|line| line.tag);
        let place = known.and_then(|tag| self.payloads.iter().position(|payload| payload.tag == tag));
        // Who has not told is offered one payload after the other: it takes the one that is for it.
        let turn = (target.tries as usize).checked_rem(self.payloads.len()).unwrap_or(0);
        Some(match place {
            Some(place) => Wish::Ask(To::One(id), place),
            None => Wish::Offer(To::One(id), turn),
        })
    }

    fn patience(target: &Target) -> Duration {
        if target.line.is_none() && target.tries < 2 {
            return ASK_FIRST;
        }
        ASK_AGAIN.saturating_mul(1 << target.tries.min(ASK_DOUBLINGS))
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Passing { .. }) {
            let probe = self.pacer.overdue(self.queue.is_empty());
            return probe.into_iter().chain(self.rests).min();
        }
        let open = || self.targets.values().filter(|target| !self.is_settled(target));
        let asks = open().filter(|target| target.present).map(|target| target.asked + Self::patience(target));
        let asks = asks.min().map(|due| due.max(self.ask_next));
        let later = |due: &Instant| *due > self.looked;
        let begin = [self.news + LEVELLING, self.since + OFFER_PATIENCE];
        let begin = begin.into_iter().filter(|due| self.phase == Phase::Offering && later(due)).min();
        let over = open().map(|target| target.news + SILENCE).filter(later).min();
        [asks, begin, over].into_iter().flatten().min()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::codec::{Codec, Sizes};
    use crate::hash::Sha256Sum;
    use crate::mesh::MeshConfig;
    use crate::ota::exchange::Offering;
    use crate::ota::trust::{Descriptor, KeyId, assemble};
    use alloc::vec;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    /// A payload of three chunks, signed by nobody: a patch of an image, or whole.
    pub(in crate::ota::exchange) fn offering(base: Option<Sha256Sum>) -> Offering {
        let descriptor = Descriptor {
            image: Sha256Sum([1; 32]),
            base,
            codec: Codec::None,
            sizes: Sizes { packed: 2_000, plain: 2_000 },
            sha256: Sha256Sum([1; 32]),
            chunk_size: 1_024,
            table: Sha256Sum([2; 32]),
            seal: None,
        };
        let descriptor = assemble(KeyId([0; KeyId::LEN]), &descriptor.encode(), &[0; 64]);
        Offering { manifest: vec![0; 100], descriptor, table: vec![0; 16], payload: vec![0; 2_000] }
    }

    /// Nodes 2 and 3, both receiving since the first second, in the middle of a pass.
    fn passing(present: bool) -> Source {
        let mesh = Mesh::new(MeshConfig::gateway(NodeId(1), 1));
        let targets = vec![NodeId(2), NodeId(3)];
        let plan =
            UpdatePlan { offerings: vec![offering(None)], targets, tempo: Tempo::default(), broadcast: true };
        let mut source = Source::new(at(0), plan, &mesh).unwrap();
        let tag = Some(source.payloads[0].tag);
        for id in [2, 3] {
            source.heard(at(1), NodeId(id), Line { tag, stage: Stage::Receiving, reason: 0, done: 0 });
            source.targets.get_mut(&NodeId(id)).unwrap().present = present;
        }
        source.phase = Phase::Passing { sent: 0, chunks: 3 };
        source
    }

    #[test]
    fn who_only_listened_for_long_is_not_silent() {
        let mut source = passing(true);
        let end = 1_000;
        while source.next(at(end)).is_some() {}
        assert_eq!(source.phase(), Phase::Repairing, "the pass took longer than anybody may be silent");
        while source.next(at(end + 300)).is_some() {}
        assert_eq!(source.phase(), Phase::Repairing);
        while source.next(at(end + 330)).is_some() {}
        assert_eq!(source.phase(), Phase::Delivered, "now they are");
    }

    #[test]
    fn a_refusal_by_all_ends_it_at_once() {
        let mut source = passing(true);
        source.phase = Phase::Offering;
        for id in [2, 3] {
            let tag = Some(source.payloads[0].tag);
            source.heard(at(2), NodeId(id), Line { tag, stage: Stage::Refused, reason: 4, done: 0 });
        }
        assert_eq!(source.next(at(2)), None);
        assert_eq!(
            source.phase(),
            Phase::Delivered,
            "nobody looks again by itself: {:?}",
            source.poll_timeout()
        );
    }

    #[test]
    fn nothing_is_sent_into_an_empty_mesh() {
        let mut source = passing(false);
        source.queue = vec![(0, 2), (0, 1)];
        assert_eq!(source.next(at(10)), None);
        assert_eq!((source.phase(), source.queue.len()), (Phase::Repairing, 0));
    }
}
