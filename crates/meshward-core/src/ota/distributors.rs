//! The roll-outs to stock nodes that one node runs at the same time: a [`Distributor`] each, told apart by the role
//! and hardware that they are for. Every stock node has one role, so its words belong to one of them.
//!
//! Who has the channel is for their driver to say: two broadcast passes at once would take each other for congestion.
//! Refused: a second roll-out for a role and hardware, and more than [`Distributors::MOST`]. One that has finished
//! makes room for the next that starts, whatever its role.

use alloc::vec::Vec;

use super::Package;
use super::distributor::{Distributor, DistributorEvent, ImagePlan, StartError, TargetReport};
use crate::time::{Duration, Instant};
use crate::wire::{DataRequest, NodeId, Tree};

/// A roll-out to stock nodes, on the node that runs it: as long as it is kept, and never another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId(u32);

/// See the module's page.
#[derive(Debug)]
pub struct Distributors {
    id: NodeId,
    all: Vec<(SessionId, Distributor)>,
    last: u32,
    /// Requests that made no sense to anybody, or to one that has made room.
    bad_requests: u64,
}

impl Distributors {
    /// Roll-outs to stock nodes at once.
    pub const MOST: usize = 4;

    /// Of a node that brings nothing to anybody.
    pub(crate) const fn new(id: NodeId) -> Self {
        Self { id, all: Vec::new(), last: 0, bad_requests: 0 }
    }

    /// As [`Distributor::start`]; the name of what has begun.
    ///
    /// # Errors
    /// [`StartError`], and nothing has changed.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        plan: ImagePlan,
        tree: &Tree,
    ) -> Result<SessionId, StartError> {
        let same = self.active().any(|one| one.is_for(&plan.role, &plan.hardware));
        if same || self.active().count() >= Self::MOST {
            return Err(StartError::Busy);
        }
        let mut distributor = Distributor::new(self.id);
        distributor.start(now, plan, tree)?;
        let over = self.all.iter().filter(|(_, one)| !one.is_active());
        self.bad_requests += over.map(|(_, one)| one.bad_requests()).sum::<u64>();
        self.all.retain(|(_, one)| one.is_active());
        self.last = self.last.wrapping_add(1);
        let session = SessionId(self.last);
        self.all.push((session, distributor));
        Ok(session)
    }

    /// Those that are kept: under way, and finished since the last one started.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Distributor)> {
        self.all.iter().map(|(session, one)| (*session, one))
    }

    fn active(&self) -> impl Iterator<Item = &Distributor> {
        self.all.iter().map(|(_, one)| one).filter(|one| one.is_active())
    }

    /// The one of this name, if it is kept.
    pub fn get(&self, session: SessionId) -> Option<&Distributor> {
        self.all.iter().find(|(one, _)| *one == session).map(|(_, one)| one)
    }

    pub(crate) fn get_mut(&mut self, session: SessionId) -> Option<&mut Distributor> {
        self.all.iter_mut().find(|(one, _)| *one == session).map(|(_, one)| one)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Distributor> {
        self.all.iter_mut().map(|(_, one)| one)
    }

    /// Whether any is under way.
    pub fn is_active(&self) -> bool {
        self.active().next().is_some()
    }

    /// Requests that named another image, a part that does not exist, or a role that nobody serves here.
    pub fn bad_requests(&self) -> u64 {
        self.all.iter().fold(self.bad_requests, |sum, (_, one)| sum.saturating_add(one.bad_requests()))
    }

    /// A line per target of all of them, in order of id.
    pub fn report(&self) -> Vec<TargetReport> {
        let mut lines: Vec<TargetReport> = self.all.iter().flat_map(|(_, one)| one.report()).collect();
        lines.sort_by_key(|line| line.node);
        lines
    }

    pub(crate) fn activate(&mut self, now: Instant, nodes: &[NodeId]) {
        self.each().for_each(|one| one.activate(now, nodes));
    }

    pub(crate) fn handle_topology(&mut self, now: Instant, tree: &Tree) {
        self.each().filter(|one| one.is_active()).for_each(|one| one.handle_topology(now, tree));
    }

    pub(crate) fn handle_sender(&mut self, now: Instant, from: NodeId, role: &[u8], hardware: &[u8]) {
        self.each().for_each(|one| one.handle_sender(now, from, role, hardware));
    }

    pub(crate) fn handle_request(&mut self, now: Instant, request: &DataRequest<'_>) {
        let offer = &request.offer;
        let meant = self.all.iter().position(|(_, one)| one.is_for(&offer.role, &offer.hardware));
        // What it says may be anything; who it is tells as well.
        let meant = meant.or_else(|| self.all.iter().position(|(_, one)| one.has_target(request.from)));
        match meant.and_then(|place| self.all.get_mut(place)) {
            Some((_, one)) => one.handle_request(now, request),
            None => self.bad_requests = self.bad_requests.saturating_add(1),
        }
    }

    pub(crate) fn handle_delay(&mut self, now: Instant, from: NodeId, round_trip: Duration) {
        self.each().for_each(|one| one.handle_delay(now, from, round_trip));
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.each().for_each(|one| one.handle_timeout(now));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.all.iter().filter_map(|(_, one)| one.poll_timeout()).min()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Package> {
        self.each().find_map(Distributor::poll_transmit)
    }

    pub(crate) fn poll_event(&mut self) -> Option<DistributorEvent> {
        self.each().find_map(Distributor::poll_event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ota::{Scheme, TargetState, Tempo};
    use crate::wire::{Data, Offer};
    use alloc::string::ToString;

    fn plan(role: &str, node: u32) -> ImagePlan {
        ImagePlan {
            scheme: Scheme::Unicast,
            image: Vec::from([7; 2_000]),
            role: role.as_bytes().to_vec(),
            hardware: b"ESP32".to_vec(),
            targets: Vec::from([NodeId(node)]),
            part_size: 1_000,
            concurrency: 12,
            hold: true,
            tempo: Tempo::default(),
        }
    }

    fn tree() -> Tree {
        let mut tree = Tree::leaf(NodeId(1));
        (2..9).for_each(|id| tree.graft(&Tree::leaf(NodeId(id))));
        tree
    }

    fn offer<'a>(role: &'a str, md5: &'a str) -> Offer<'a> {
        Offer {
            md5: md5.as_bytes().into(),
            hardware: (&b"ESP32"[..]).into(),
            role: role.as_bytes().into(),
            forced: false,
            parts: 2,
            broadcasted: false,
            compressed: false,
        }
    }

    /// The nodes to which Data goes now.
    fn served(all: &mut Distributors) -> Vec<NodeId> {
        let packages = core::iter::from_fn(|| all.poll_transmit());
        let singles = packages.filter_map(|package| match package {
            Package::Single { dest, frame, .. } if Data::decode(&frame).is_ok() => Some(dest),
            _ => None,
        });
        singles.collect()
    }

    #[test]
    fn each_role_is_served_by_itself_and_ends_by_itself() {
        let (now, tree) = (Instant::ORIGIN, tree());
        let mut all = Distributors::new(NodeId(1));
        let pumps = all.start(now, plan("pump", 2), &tree).unwrap();
        let valves = all.start(now, plan("valve", 3), &tree).unwrap();
        assert_eq!(all.start(now, plan("pump", 4), &tree), Err(StartError::Busy), "two for one role");
        assert!(served(&mut all).is_empty());
        // The same image, so that only the role tells them apart.
        let md5 = all.get(pumps).and_then(Distributor::image).unwrap().to_string();
        for (node, role) in [(2, "pump"), (3, "valve")] {
            let request =
                DataRequest { from: NodeId(node), dest: NodeId(1), offer: offer(role, &md5), part: 0 };
            all.handle_request(now, &request);
            assert_eq!(served(&mut all), [NodeId(node)], "{role}");
        }
        let stray = DataRequest { from: NodeId(5), dest: NodeId(1), offer: offer("door", &md5), part: 0 };
        all.handle_request(now, &stray);
        assert_eq!(all.bad_requests(), 1);
        all.get_mut(pumps).unwrap().abort(now);
        let states: Vec<bool> =
            all.report().iter().map(|line| matches!(line.state, TargetState::Failed(_))).collect();
        assert_eq!(states, [true, false], "the other goes on");
        assert!(all.get(valves).unwrap().is_active());
        // What has finished makes room, and its name is not given again.
        let again = all.start(now, plan("pump", 2), &tree).unwrap();
        assert!(again != pumps && all.get(pumps).is_none());
        assert_eq!(all.bad_requests(), 1);
    }

    #[test]
    fn no_more_than_so_many_at_once() {
        let (now, tree) = (Instant::ORIGIN, tree());
        let mut all = Distributors::new(NodeId(1));
        for (place, role) in ["a", "b", "c", "d"].into_iter().enumerate() {
            all.start(now, plan(role, 2 + place as u32), &tree).unwrap();
        }
        assert_eq!(all.start(now, plan("e", 7), &tree), Err(StartError::Busy));
        assert_eq!(all.iter().count(), Distributors::MOST);
    }
}
