//! What a checker or a report may look at, without a hand in it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meshward_core::flash::Layout;
use meshward_core::ota::{BootRecord, Md5Sum, TargetReport};
use meshward_core::wire::NodeId;

use super::host::HostSpec;
use super::machine::Machine;
use super::{Seat, World};
use crate::flash::Chip;
use crate::image::{Behaviour, Image};
use crate::plant::Plant;
use crate::update::Outcome;

impl World {
    /// All hosts, in the order in which they came.
    pub fn seats(&self) -> impl Iterator<Item = Seat> + use<> {
        (0..self.hosts.len()).map(Seat)
    }

    /// The host with this id.
    pub fn seat_of(&self, id: NodeId) -> Option<Seat> {
        self.seats.get(&id).copied()
    }

    /// What a host is.
    pub fn spec(&self, seat: Seat) -> &HostSpec {
        &self.hosts[seat.0].spec
    }

    /// A host's id in the mesh.
    pub fn id(&self, seat: Seat) -> NodeId {
        self.hosts[seat.0].spec.id
    }

    /// A host's program, while it runs.
    pub fn machine(&self, seat: Seat) -> Option<&Machine> {
        self.hosts[seat.0].machine.as_ref()
    }

    /// Whether a host's power is on.
    pub fn is_powered(&self, seat: Seat) -> bool {
        self.hosts[seat.0].powered
    }

    /// How often a host has booted.
    pub fn boots(&self, seat: Seat) -> u32 {
        self.hosts[seat.0].boots
    }

    /// What the boot loader started last.
    pub fn running(&self, seat: Seat) -> Option<BootRecord> {
        self.hosts[seat.0].running
    }

    /// How the image behaves that a host runs.
    pub fn behaviour(&self, seat: Seat) -> Behaviour {
        self.hosts[seat.0].behaviour
    }

    /// A host's chip and where things are on it.
    pub fn chip(&self, seat: Seat) -> Option<(&Chip, &Layout)> {
        let host = &self.hosts[seat.0];
        host.chip.as_ref().map(|chip| (chip, &host.layout))
    }

    /// The image with this MD5, if anybody ever made one.
    pub fn image(&self, md5: &Md5Sum) -> Option<&Arc<Image>> {
        self.images.get(md5)
    }

    /// The report of the roll-out that a host runs.
    pub fn rollout_report(&self, seat: Seat) -> Vec<TargetReport> {
        let node = self.machine(seat).and_then(Machine::node);
        let mut report = node.map(|node| node.rollout_report()).unwrap_or_default();
        if self.config.plant == Some(Plant::ForgottenTarget) && !report.is_empty() {
            report.remove(0);
        }
        report
    }

    /// What the gateway on this host knows of the targets of the signed update that it brings; whether that is over.
    pub fn update_report(&self, seat: Seat) -> Option<(Vec<(NodeId, Outcome)>, bool)> {
        let host = &self.hosts[seat.0];
        let driver = host.driver.as_ref()?;
        let node = host.machine.as_ref().and_then(Machine::node)?;
        Some((driver.report(host.local(self.now), node), driver.is_over()))
    }

    /// The most bytes that waited on one of a host's links, and how many may.
    pub fn queued(&self, seat: Seat) -> (usize, usize) {
        let host = &self.hosts[seat.0];
        let limit = match self.config.plant {
            Some(Plant::Unbounded) => meshward_core::mesh::Limits::NODE.queue,
            _ => host.spec.limits.queue,
        };
        (host.queued_max, limit)
    }

    /// From now on what hosts hold is measured at every frame that leaves one, when it is most.
    pub fn watch_relays(&mut self) {
        self.watched = true;
    }

    /// The most bytes that a host has held for all its links at once since [`World::watch_relays`], and the most of
    /// them that were firmware.
    pub fn held(&self, seat: Seat) -> (usize, usize) {
        self.hosts[seat.0].held_max
    }

    /// Looks at every host's queues.
    pub fn measure_queues(&mut self) {
        for host in &mut self.hosts {
            let now = host.machine.as_ref().map_or(0, Machine::queued);
            host.queued_max = host.queued_max.max(now);
        }
    }

    /// The edges of the mesh as a host sees it, each by its two ends in order of id.
    pub fn edges_seen_by(&self, seat: Seat) -> BTreeSet<(NodeId, NodeId)> {
        let Some(machine) = self.machine(seat) else { return BTreeSet::new() };
        let tree = machine.mesh().tree();
        let mut edges: Vec<_> = tree
            .depths()
            .filter_map(|(id, _, above)| above.map(|above| (id.min(above), id.max(above))))
            .collect();
        if self.config.plant == Some(Plant::ShortTree) && seat.0 == 1 {
            edges.pop();
        }
        edges.into_iter().collect()
    }

    /// The wires that really stand, with running programs at both ends: who is joined to whom.
    pub fn real_edges(&self) -> BTreeSet<(NodeId, NodeId)> {
        let whole = self.wires.iter().map(|(_, wire)| wire).filter(|wire| wire.is_whole());
        whole
            .map(|wire| {
                let [a, b] = [self.id(wire.ends[0].seat), self.id(wire.ends[1].seat)];
                (a.min(b), a.max(b))
            })
            .collect()
    }

    /// The edges that there will be when every host that can is linked to the parent that it wants.
    pub fn wanted_edges(&self) -> BTreeSet<(NodeId, NodeId)> {
        let able = |seat: Seat| {
            let host = &self.hosts[seat.0];
            host.powered && !matches!(host.behaviour, Behaviour::CannotJoin | Behaviour::CrashesAtBoot)
        };
        self.seats()
            .filter_map(|seat| {
                let parent = self.spec(seat).parent.filter(|parent| able(seat) && able(*parent))?;
                let [a, b] = [self.id(seat), self.id(parent)];
                Some((a.min(b), a.max(b)))
            })
            .collect()
    }

    /// Whether every host is linked as it wants to be, and sees all of its part of the mesh as it is.
    pub fn is_settled(&self) -> bool {
        let wanted = self.wanted_edges();
        self.real_edges() == wanted && self.first_wrong_tree(&wanted).is_none()
    }

    /// A host whose tree is not its part of `edges`.
    pub fn first_wrong_tree(&self, edges: &BTreeSet<(NodeId, NodeId)>) -> Option<Seat> {
        let parts = self.parts(edges);
        self.seats().filter(|seat| self.machine(*seat).is_some()).find(|seat| {
            let part = parts[&self.id(*seat)];
            let seen = self.edges_seen_by(*seat);
            let real = edges.iter().filter(|(a, _)| parts[a] == part);
            !real.eq(&seen)
        })
    }

    /// The parts that `edges` make of all hosts: each host's part, by a number.
    pub fn parts(&self, edges: &BTreeSet<(NodeId, NodeId)>) -> BTreeMap<NodeId, usize> {
        let mut neighbours: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for (a, b) in edges {
            neighbours.entry(*a).or_default().push(*b);
            neighbours.entry(*b).or_default().push(*a);
        }
        let mut part = BTreeMap::new();
        for seat in self.seats() {
            let mut open = vec![self.id(seat)];
            while let Some(id) = open.pop() {
                if let Entry::Vacant(place) = part.entry(id) {
                    place.insert(seat.0);
                    open.extend(neighbours.get(&id).into_iter().flatten());
                }
            }
        }
        part
    }
}
