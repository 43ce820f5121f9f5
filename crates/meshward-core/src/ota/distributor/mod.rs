//! Brings one image to many stock nodes (types 10, 11, 12), one request at a time.
//!
//! Every target gets an Announce of its own (`routing: 1`), so only who is meant is asked. Parts are answered
//! as they are requested. The last part is held back until every target below a node in the tree is done:
//! a stock node restarts 2 s after its last part, and whoever is still receiving behind it would wait out a
//! 30 s retry. So the mesh restarts leaves first.
//!
//! A stock node never says that it is updated. After it has restarted and rejoined it gets one more Announce
//! with a delay probe behind it: if the probe's answer comes and no request does, it runs the image.
//!
//! Refused: images without bytes, plans without targets, a second plan while one runs.

mod target;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

pub use target::{FailReason, TargetReport, TargetState};

use super::{Md5Sum, Package};
use crate::time::Instant;
use crate::wire::{Announce, Data, DataRequest, NodeId, Offer, Tree};
use target::{Step, Target};

/// What to bring to whom.
#[derive(Clone, Debug)]
pub struct ImagePlan {
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
    /// Nodes that receive at the same time. Each has one part of 1.6 KB under way, and the C++ relay next to
    /// the sender holds them all: 12 keep it below 20 KB.
    pub concurrency: usize,
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
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another roll-out is under way"),
            Self::EmptyImage => f.write_str("the image is empty"),
            Self::NoTargets => f.write_str("there is no node to update"),
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
    /// Every target is updated, has declined, or has failed.
    Finished,
}

#[derive(Debug)]
struct Session {
    plan: ImagePlan,
    md5: Md5Sum,
    offer: Offer<'static>,
    targets: BTreeMap<NodeId, Target>,
    /// Each node's parent, from the last tree that showed it.
    parents: BTreeMap<NodeId, NodeId>,
    /// Targets in order of service: the deepest first.
    order: Vec<NodeId>,
    paused: bool,
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
        let targets = targets.into_iter().map(|id| (id, Target::new(now))).collect();
        let session =
            Session { plan, md5, offer, targets, parents: BTreeMap::new(), order: Vec::new(), paused: false };
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

    /// Ends the session: whoever is not finished is reported as aborted.
    pub fn abort(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.paused = false;
        }
        self.for_each_open(|target| target.fail(FailReason::Aborted));
        self.work(now);
    }

    /// The image under way or done last.
    pub fn image(&self) -> Option<Md5Sum> {
        self.session.as_ref().map(|session| session.md5)
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
        session.targets.iter().map(|(id, target)| target.report(*id, session.offer.parts)).collect()
    }

    /// The tree has changed.
    pub fn handle_topology(&mut self, now: Instant, tree: &Tree) {
        let Some(session) = &mut self.session else { return };
        // Parents of nodes that are away stay known: a restarting node still holds its parent up.
        let mut depths: BTreeMap<NodeId, u32> = BTreeMap::new();
        for (id, depth, parent) in tree.depths() {
            depths.insert(id, depth);
            session.parents.extend(parent.map(|parent| (id, parent)));
        }
        session.order = session.targets.keys().copied().collect();
        session.order.sort_by_key(|id| core::cmp::Reverse(depths.get(id).copied().unwrap_or(0)));
        for (id, target) in &mut session.targets {
            target.seen(now, depths.contains_key(id));
        }
        self.work(now);
    }

    /// A type 11 arrived.
    pub fn handle_request(&mut self, now: Instant, request: &DataRequest<'_>) {
        let Some(session) = &mut self.session else { return };
        let known = Md5Sum::parse(&request.offer.md5) == Some(session.md5);
        let Some(target) = session.targets.get_mut(&request.from).filter(|_| known) else {
            self.bad_requests += 1;
            return;
        };
        if request.part >= session.offer.parts {
            self.bad_requests += 1;
            return;
        }
        target.asked(now, request.part, request.part + 1 == session.offer.parts);
        // A part more changes nothing for the others; a new state may.
        if self.serve(now, request.from) {
            self.work(now);
        }
    }

    /// A delay probe came back.
    pub fn handle_delay(&mut self, now: Instant, from: NodeId) {
        if let Some(target) = self.session.as_mut().and_then(|session| session.targets.get_mut(&from)) {
            target.probe_answered(now);
        }
        self.work(now);
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.for_each_open(|target| target.overdue(now));
        self.work(now);
    }

    fn for_each_open(&mut self, act: impl FnMut(&mut Target)) {
        let Some(session) = &mut self.session else { return };
        session.targets.values_mut().filter(|target| !target.is_final()).for_each(act);
    }

    /// When to call [`Distributor::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.session.as_ref().filter(|session| !session.paused)?;
        session.targets.values().filter_map(Target::deadline).min()
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
        let Some(session) = &self.session else { return };
        let order = session.order.clone();
        for id in order {
            self.serve(now, id);
        }
    }

    /// Lets one target take its steps; whether it has moved on.
    fn serve(&mut self, now: Instant, id: NodeId) -> bool {
        let Some(session) = self.session.as_mut().filter(|session| !session.paused) else { return false };
        let waits = session.targets.get(&id).is_some_and(Target::waits_for_leave);
        let may_start = waits && session.receiving() < session.plan.concurrency;
        let may_finish = waits && session.nothing_open_below(id);
        let Some(target) = session.targets.get_mut(&id) else { return false };
        let mut steps = Vec::new();
        while let Some(step) = target.next_step(now, may_start, may_finish) {
            steps.push(step);
        }
        let moved = target.take_changed();
        let report = target.report(id, session.offer.parts);
        for step in steps {
            match step {
                Step::Announce => self.packages.extend([
                    Package::Single { dest: id, chunk: false, frame: session.announce(self.id, id) },
                    Package::Probe(id),
                ]),
                Step::Part(part) => {
                    let frame = session.part(self.id, id, part);
                    self.packages.push_back(Package::Single { dest: id, chunk: true, frame });
                }
            }
        }
        if moved {
            self.events.push_back(DistributorEvent::Target(report));
            if session.finished() {
                session.plan.image = Vec::new();
                self.events.push_back(DistributorEvent::Finished);
            }
        }
        moved
    }
}

impl Session {
    fn finished(&self) -> bool {
        self.targets.values().all(Target::is_final)
    }

    fn receiving(&self) -> usize {
        self.targets.values().filter(|target| target.is_receiving()).count()
    }

    /// Whether no open target is behind `id`.
    fn nothing_open_below(&self, id: NodeId) -> bool {
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

    fn announce(&self, from: NodeId, to: NodeId) -> Vec<u8> {
        Announce { from, to: Some(to), offer: self.offer.clone() }.encode()
    }

    fn part(&self, from: NodeId, dest: NodeId, part: u32) -> Vec<u8> {
        let size = self.plan.part_size as usize;
        let start = (part as usize).saturating_mul(size);
        let end = start.saturating_add(size).min(self.plan.image.len());
        let bytes = self.plan.image.get(start..end).unwrap_or_default();
        let data = Data {
            from,
            dest,
            routing_broadcast: false,
            offer: self.offer.clone(),
            part,
            data: bytes.into(),
        };
        data.encode()
    }
}
