//! Brings one image to many stock nodes (types 10, 11, 12).
//!
//! Every target gets an Announce of its own (`routing: 1`), so only who is meant takes part. Then, by scheme,
//!
//! - *turbo*: all parts but the last go to everybody at once ([`pass`]), paced by what relays can hold
//!   ([`pacing`]), in the manner that costs least at what relays lose ([`loss`]);
//! - *unicast*: each node asks for one part after the other ([`stream`]).
//!
//! When the parts are out, each node is *questioned*: it says by what it asks for next that it lacks nothing
//! but the last part, or what else. Then the mesh restarts in one go: the deepest nodes get their last part
//! first, a relay when nobody behind it lacks anything. The shorter that takes, the fewer node syncs it makes.
//! With [`ImagePlan::hold`] this waits for [`Distributor::activate`]: one pass serves canaries and waves.
//!
//! A stock node never says that it is updated. After the restarts each gets a *verdict*: its last part again,
//! in case that was lost, an Announce, and a delay probe. If the probe comes back and no request does, it runs
//! the image, or restarts into it. Where relays lose messages it takes several such silences. One that may be in
//! the middle minds no Announce, and is woken by the part at which it stands.
//!
//! A second sender for the same role ruins every stock receiver's update, so an Announce or Data of somebody
//! else's stops this one until it has been silent for [`FOREIGN_QUIET`].
//!
//! Refused: images without bytes, plans without targets, a second plan while one runs.

pub(super) mod loss;
pub(super) mod pacing;
mod parents;
mod pass;
mod report;
mod session;
pub(super) mod shape;
mod stream;
mod target;
mod trip;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

pub use report::{FailReason, TargetReport, TargetState};

use super::{Md5Sum, Package, Tempo};
use crate::time::{Duration, Instant};
use crate::wire::{DataRequest, NodeId, Offer, Tree};
use loss::Loss;
use parents::Parents;
use pass::Pass;
use session::{Crowd, Session};
use target::{Seen, Step, Target};
use trip::Trip;

/// How long a foreign sender must have been silent; the C++ library announces every 60 s.
const FOREIGN_QUIET: Duration = Duration::from_secs(90);
/// Who asks in our name does so every 30 s: after this long nobody does any more.
const NAMELESS_QUIET: Duration = Duration::from_secs(40);
/// A check of the broadcast pass takes no longer: a C++ node that gets no part for 300 s gives up.
const CHECK_MAX: Duration = Duration::from_secs(240);
/// Bytes of a Data around its payload, at most: for pacing.
const DATA_OVERHEAD: u64 = 256;

/// How the parts travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// One broadcast per part for all nodes.
    #[default]
    Turbo,
    /// Every node asks for every part.
    Unicast,
}

/// What to bring to whom.
#[derive(Clone, Debug)]
pub struct ImagePlan {
    /// How the parts travel.
    pub scheme: Scheme,
    /// The image.
    pub image: Vec<u8>,
    /// The receivers' role.
    pub role: Vec<u8>,
    /// The receivers' hardware, `ESP32` or `ESP8266`.
    pub hardware: Vec<u8>,
    /// Who should run it.
    pub targets: Vec<NodeId>,
    /// Bytes in a part; the C++ examples use 1 024.
    pub part_size: u32,
    /// Nodes to which a part of their own may be under way. The C++ relay next to the sender holds them all:
    /// 12 parts of 1.6 KB keep it below 20 KB.
    pub concurrency: usize,
    /// Whether nodes are given their last part, and so restart, only after [`Distributor::activate`].
    pub hold: bool,
    /// How fast the broadcast pass goes.
    pub tempo: Tempo,
}

impl ImagePlan {
    /// Part sizes that stock nodes take: with base64 the longest is 1 870 B of text.
    pub const PART_SIZES: core::ops::RangeInclusive<u32> = 256..=1400;
}

/// Why a plan was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Another roll-out is under way.
    Busy,
    /// The image has no bytes.
    EmptyImage,
    /// There is nobody to update.
    NoTargets,
    /// [`ImagePlan::part_size`] is outside [`ImagePlan::PART_SIZES`].
    PartSize(u32),
    /// [`Tempo::airtime`] is not 1 to 100.
    Airtime(u8),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another roll-out is under way"),
            Self::EmptyImage => f.write_str("the image is empty"),
            Self::NoTargets => f.write_str("there is no node to update"),
            Self::Airtime(share) => write!(f, "an airtime of {share} % makes no sense: take 1 to 100"),
            Self::PartSize(size) => write!(f, "parts of {size} bytes are not supported: take 256 to 1400"),
        }
    }
}

impl core::error::Error for StartError {}

/// What a distributor reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DistributorEvent {
    /// A target has moved on.
    Target(TargetReport),
    /// Somebody else sends firmware for the same role: the roll-out waits until that has ended.
    ForeignSender(NodeId),
    /// Every target is updated, has declined, or has failed.
    Finished,
}

/// See the module's page.
#[derive(Debug)]
pub struct Distributor {
    id: NodeId,
    session: Option<Session>,
    packages: VecDeque<Package>,
    events: VecDeque<DistributorEvent>,
    /// Requests that made no sense: unknown image, part out of range.
    bad_requests: u64,
}

impl Distributor {
    /// An idle distributor on node `id`.
    pub fn new(id: NodeId) -> Self {
        Self { id, session: None, packages: VecDeque::new(), events: VecDeque::new(), bad_requests: 0 }
    }

    /// Starts a plan; `tree` is the mesh as this node sees it.
    ///
    /// # Errors
    /// [`StartError`], and nothing has changed.
    pub fn start(&mut self, now: Instant, plan: ImagePlan, tree: &Tree) -> Result<(), StartError> {
        if self.session.as_ref().is_some_and(|session| !session.finished()) {
            return Err(StartError::Busy);
        }
        if plan.image.is_empty() {
            return Err(StartError::EmptyImage);
        }
        if !ImagePlan::PART_SIZES.contains(&plan.part_size) {
            return Err(StartError::PartSize(plan.part_size));
        }
        if !plan.tempo.is_sound() {
            return Err(StartError::Airtime(plan.tempo.airtime));
        }
        let targets: BTreeSet<NodeId> = plan.targets.iter().copied().filter(|id| *id != self.id).collect();
        if targets.is_empty() {
            return Err(StartError::NoTargets);
        }
        let md5 = Md5Sum::of(&plan.image);
        let parts = (plan.image.len() as u64).div_ceil(u64::from(plan.part_size));
        let offer = Offer {
            md5: md5.to_string().into_bytes().into(),
            hardware: plan.hardware.clone().into(),
            role: plan.role.clone().into(),
            forced: false,
            parts: u32::try_from(parts).unwrap_or(u32::MAX),
            broadcasted: false,
            compressed: false,
        };
        let targets: BTreeMap<NodeId, Target> =
            targets.into_iter().map(|id| (id, Target::new(now, !plan.hold))).collect();
        let pass = (plan.scheme == Scheme::Turbo).then(|| {
            let bytes = u64::from(plan.part_size).div_ceil(3) * 4 + DATA_OVERHEAD;
            Pass::new(offer.parts, bytes, plan.tempo, tree, |id| targets.contains_key(&id))
        });
        let session = Session {
            plan,
            md5,
            offer,
            targets,
            parents: Parents::default(),
            pass,
            checking: None,
            needed: Vec::new(),
            loss: Loss::default(),
            trip: Trip::new(),
            gaps: false,
            nameless: None,
            paused: false,
            told: false,
            foreign: None,
        };
        self.session = Some(session);
        self.handle_topology(now, tree);
        Ok(())
    }

    /// Stops sending until [`Distributor::resume`]; nodes keep what they have.
    pub fn pause(&mut self) {
        if let Some(session) = &mut self.session {
            session.paused = true;
        }
    }

    /// Goes on after [`Distributor::pause`].
    pub fn resume(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.paused = false;
        }
        self.work(now);
    }

    /// Lets these nodes have their last part and restart, as soon as they have all others. Nodes that are not
    /// targets are passed over; without [`ImagePlan::hold`] it changes nothing.
    pub fn activate(&mut self, now: Instant, nodes: &[NodeId]) {
        if let Some(session) = &mut self.session {
            let named = session.targets.iter_mut().filter(|(id, _)| nodes.contains(id));
            named.for_each(|(_, target)| target.release(now));
        }
        self.work(now);
    }

    /// Ends the session: whoever is not finished is reported as aborted.
    pub fn abort(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.paused = false;
            session.foreign = None;
            session.pass = None;
        }
        self.for_each_open(|target| target.fail(FailReason::Aborted));
        self.work(now);
    }

    /// The image under way or done last.
    pub fn image(&self) -> Option<Md5Sum> {
        self.session.as_ref().map(|session| session.md5)
    }

    /// Whether what it brings, or brought last, is for this role and hardware.
    pub fn is_for(&self, role: &[u8], hardware: &[u8]) -> bool {
        let plan = self.session.as_ref().map(|session| &session.plan);
        plan.is_some_and(|plan| *plan.role == *role && *plan.hardware == *hardware)
    }

    /// Whether a node is one of its targets.
    pub fn has_target(&self, node: NodeId) -> bool {
        self.session.as_ref().is_some_and(|session| session.targets.contains_key(&node))
    }

    /// Whether a session exists that has not finished.
    pub fn is_active(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.finished())
    }

    /// Whether the session is paused.
    pub fn is_paused(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.paused)
    }

    /// Requests that named another image or a part that does not exist.
    pub fn bad_requests(&self) -> u64 {
        self.bad_requests
    }

    /// A line per target, in order of id.
    pub fn report(&self) -> Vec<TargetReport> {
        let Some(session) = &self.session else { return Vec::new() };
        session.targets.iter().map(|(id, target)| session.report(*id, target)).collect()
    }

    /// The tree has changed.
    pub fn handle_topology(&mut self, now: Instant, tree: &Tree) {
        let Some(session) = &mut self.session else { return };
        session.parents = Parents::of(tree);
        for (id, target) in &mut session.targets {
            target.seen(now, session.parents.place(*id));
        }
        if let Some(pass) = &mut session.pass {
            pass.handle_topology(now, tree, |id| session.targets.contains_key(&id));
        }
        self.work(now);
    }

    /// An Announce or Data for `role` and `hardware` was seen, whoever it is for.
    pub fn handle_sender(&mut self, now: Instant, from: NodeId, role: &[u8], hardware: &[u8]) {
        let own = self.id;
        let Some(session) = self.session.as_mut().filter(|session| !session.finished()) else { return };
        if from == own || *session.plan.role != *role || *session.plan.hardware != *hardware {
            return;
        }
        let known = session.foreign.is_some();
        session.foreign = Some((now + FOREIGN_QUIET, from));
        if !known {
            self.events.push_back(DistributorEvent::ForeignSender(from));
        }
    }

    /// Who else sends firmware for the same role just now.
    pub fn foreign_sender(&self) -> Option<NodeId> {
        self.session.as_ref().and_then(|session| session.foreign).map(|(_, from)| from)
    }

    /// A type 11 arrived.
    pub fn handle_request(&mut self, now: Instant, request: &DataRequest<'_>) {
        let Some(session) = self.session.as_mut().filter(|session| !session.told) else {
            self.bad_requests += 1;
            return;
        };
        let known = Md5Sum::parse(&request.offer.md5) == Some(session.md5);
        if request.part >= session.offer.parts {
            self.bad_requests += 1;
            return;
        }
        if known && request.from == self.id {
            // The stock library's bug: whoever left broadcast mode asks in our name.
            return self.handle_nameless(now, request);
        }
        let (last, reached) = (session.last(), session.pass.as_ref().map(Pass::sent));
        let Some(target) = session.targets.get_mut(&request.from).filter(|_| known) else {
            self.bad_requests += 1;
            return;
        };
        let first = !target.is_heard();
        if target.is_receiving() {
            session.loss.probe(target.depth(), true);
        }
        target.asked(now, request.part, last, reached);
        if let Some(pass) = session.pass.as_mut().filter(|_| !request.offer.broadcasted)
            && request.part < pass.sent()
            && (first || pass.has_gone_by(request.part))
            && pass.gap(now, &mut session.loss)
        {
            target.catch_up(pass.sent());
        }
        // A part more changes nothing for the others.
        let goes_on = target.wants_part();
        self.go_on(now, request.from, !goes_on);
    }

    /// Lets a target take its steps, and the others too if there is room for them or it has moved on.
    fn go_on(&mut self, now: Instant, id: NodeId, room: bool) {
        let Some(session) = &self.session else { return };
        let mut crowd = if room { Crowd::default() } else { session.crowd(now) };
        if room || self.serve(now, id, &mut crowd) { self.work(now) } else { self.shoot(now) }
    }

    /// Somebody who left broadcast mode asks for a part, in our name. During the pass that is a loss to be
    /// repaired; afterwards the part goes to one node after the other that may be it: whoever takes it asks
    /// for the next one in its own name.
    fn handle_nameless(&mut self, now: Instant, request: &DataRequest<'_>) {
        let Some(session) = &mut self.session else { return };
        if let Some(pass) = &mut session.pass {
            if !request.offer.broadcasted {
                pass.missed(now, request.part, &mut session.loss);
                session.targets.values_mut().for_each(|target| target.may_stand_at(request.part));
            }
            return self.shoot(now);
        }
        session.nameless = Some(now);
        if session.is_held() {
            return;
        }
        let (step, last) = (Step::Part { part: request.part, probed: false }, request.part >= session.last());
        let suspects = if last { session.suspect_of_last(now) } else { session.suspects() };
        for id in suspects {
            for frame in session.frames(self.id, id, &step) {
                self.packages.push_back(Package::Single { dest: id, chunk: true, frame });
            }
            session.targets.entry(id).and_modify(|target| target.test(now, request.part, last));
        }
    }

    /// A delay probe came back.
    pub fn handle_delay(&mut self, now: Instant, from: NodeId, round_trip: Duration) {
        let Some(session) = &mut self.session else { return };
        let passing = session.pass.is_some();
        if let Some(pass) = &mut session.pass {
            pass.answered(now, from, round_trip, &mut session.loss);
        }
        let loss = &mut session.loss;
        let target = session.targets.get_mut(&from);
        if target.is_some() {
            session.trip.measure(round_trip);
        }
        let free = target.is_some_and(|target| target.probe_answered(now, round_trip, passing, loss));
        self.go_on(now, from, free);
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(session) = self.session.as_mut().filter(|session| session.foreign.is_some()) {
            session.foreign = session.foreign.filter(|(until, _)| *until > now);
        }
        if self.session.as_ref().is_some_and(Session::is_held) {
            return;
        }
        let Some(session) = &mut self.session else { return };
        let low = session.pass.as_ref().is_some_and(|pass| pass.low().is_some());
        let stragglers = low || session.nameless.is_some_and(|last| now.since(last) < NAMELESS_QUIET);
        let reached = session.pass.as_ref().map_or(0, Pass::sent);
        if let Some((part, until)) = session.checking.filter(|(_, until)| *until <= now) {
            // What else holds the pass up has deadlines of its own: this one must not fire at once again.
            session.checking = Some((part, until.max(now) + CHECK_MAX));
            session.targets.values_mut().for_each(|target| target.leave_behind(now, &session.loss));
        }
        let mut seen = Seen { stragglers, gaps: session.gaps, loss: session.loss, reached };
        for target in session.targets.values_mut().filter(|target| !target.is_final()) {
            target.overdue(now, &mut seen);
        }
        session.loss = seen.loss;
        self.work(now);
    }

    fn for_each_open(&mut self, act: impl FnMut(&mut Target)) {
        let Some(session) = &mut self.session else { return };
        session.targets.values_mut().filter(|target| !target.is_final()).for_each(act);
    }

    /// When to call [`Distributor::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.session.as_ref().filter(|session| !session.paused && !session.finished())?;
        if let Some((until, _)) = session.foreign {
            return Some(until);
        }
        let pass = session.pass.as_ref().filter(|_| session.pass_may_run()).and_then(Pass::overdue);
        let check = session.checking.map(|(_, until)| until);
        session.targets.values().filter_map(Target::deadline).chain(pass).chain(check).min()
    }

    /// The next frame to be sent.
    pub fn poll_transmit(&mut self) -> Option<Package> {
        self.packages.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DistributorEvent> {
        self.events.pop_front()
    }

    /// Lets every target take the steps that it may take now.
    fn work(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        session.find_needed();
        let mut crowd = session.crowd(now);
        for id in session.turns() {
            self.serve(now, id, &mut crowd);
        }
        self.shoot(now);
    }

    /// Lets one target take its steps, among this crowd; whether it has moved on.
    fn serve(&mut self, now: Instant, id: NodeId, crowd: &mut Crowd) -> bool {
        let Some(session) = self.session.as_mut().filter(|session| !session.is_held()) else { return false };
        let (terms, mut steps) = (session.terms(), Vec::new());
        let Some(target) = session.targets.get_mut(&id) else { return false };
        let needed = target.place().is_some_and(|place| session.needed.get(place) == Some(&true));
        loop {
            crowd.remove(now, target);
            let step = target.next_step(now, crowd.leave(&terms, needed));
            crowd.add(now, target);
            let Some(step) = step else { break };
            steps.push(step);
        }
        let moved = target.take_changed();
        for step in steps {
            let chunk = !matches!(step, Step::Announce { .. });
            let probed = !matches!(step, Step::Part { probed: false, .. } | Step::Rescue(_));
            let frames = session.frames(self.id, id, &step).into_iter();
            self.packages.extend(frames.map(|frame| Package::Single { dest: id, chunk, frame }));
            self.packages.extend(probed.then_some(Package::Probe(id)));
        }
        if moved {
            let report = session.targets.get(&id).map(|target| session.report(id, target));
            self.events.extend(report.map(DistributorEvent::Target));
            if session.finished() && !session.told {
                session.told = true;
                session.plan.image = Vec::new();
                session.pass = None;
                self.events.push_back(DistributorEvent::Finished);
            }
        }
        moved
    }

    /// Sends what the broadcast pass may send now, and ends it when it has sent everything.
    fn shoot(&mut self, now: Instant) {
        self.repeat();
        let Some(session) = self.session.as_mut().filter(|session| !session.is_held()) else { return };
        if !session.pass_may_run() {
            return;
        }
        let Some(mut pass) = session.pass.take() else { return };
        if !session.targets.values().any(Target::is_listening) {
            // Nobody listens: whoever wants the image asks for it.
            session.checking = None;
            return self.work(now);
        }
        while let Some(shot) = pass.next_shot(now, &mut session.loss) {
            let frame = session.shot(self.id, &shot);
            self.packages.push_back(Package::Broadcast { chunk: true, frame });
            self.packages.extend(shot.probe.map(Package::Probe));
        }
        self.packages.extend(pass.ask_again(now).map(Package::Probe));
        session.gaps |= pass.has_gaps();
        let over = pass.is_done();
        if over {
            let last = session.last();
            session.targets.values_mut().for_each(|target| target.pass_over(now, last));
        } else {
            session.pass = Some(pass);
        }
        if over || self.check(now) {
            self.work(now);
        }
    }

    /// Goes back before a check that too many have not answered.
    fn repeat(&mut self) {
        let Some(session) = &mut self.session else { return };
        let Some((lost, low)) = session.lost() else { return };
        if session.pass.as_mut().is_some_and(|pass| pass.repeat(lost, low)) {
            session.checking = None;
            session.targets.values_mut().for_each(Target::wait_for_repeat);
        }
    }

    /// Begins or ends a check of the pass; whether the targets have something to do now.
    fn check(&mut self, now: Instant) -> bool {
        let Some(session) = &mut self.session else { return false };
        let Some(pass) = &mut session.pass else { return false };
        let Some(part) = pass.check() else { return false };
        if session.checking.is_none_or(|(checked, _)| checked != part) {
            session.checking = Some((part, now + CHECK_MAX));
            let (low, last) = (pass.low(), session.offer.parts.saturating_sub(1));
            session.targets.values_mut().for_each(|target| target.begin_check(part, last, low));
            return true;
        }
        session.checking = None;
        pass.checked(&session.loss);
        self.shoot(now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_has_taken_too_long_does_not_fire_for_ever() {
        let mut tree = Tree::leaf(NodeId(1));
        tree.graft(&Tree::leaf(NodeId(2)));
        let plan = ImagePlan {
            scheme: Scheme::Turbo,
            image: Vec::from([7; 5_000]),
            role: b"r".to_vec(),
            hardware: b"ESP32".to_vec(),
            targets: Vec::from([NodeId(2)]),
            part_size: 1_024,
            concurrency: 12,
            hold: false,
            tempo: Tempo::default(),
        };
        let mut distributor = Distributor::new(NodeId(1));
        distributor.start(Instant::ORIGIN, plan, &tree).unwrap();
        let now = Instant::ORIGIN + Duration::from_secs(1);
        if let Some(session) = &mut distributor.session {
            session.checking = Some((0, now));
        }
        assert_eq!(distributor.poll_timeout(), Some(now));
        distributor.handle_timeout(now);
        assert!(distributor.poll_timeout().is_none_or(|next| next > now), "{:?}", distributor.poll_timeout());
    }
}
