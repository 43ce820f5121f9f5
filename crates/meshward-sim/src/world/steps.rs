//! Performs the steps of a script.

use meshward_core::flash::Slot;
use meshward_core::time::Duration;

use super::happening::{Down, Happening};
use super::{Machine, Seat, World};
use crate::script::{Silence, Step};
use crate::update::Driver;

impl World {
    /// Does a step now.
    pub fn perform(&mut self, step: Step) {
        match step {
            Step::Join(seat) => self.power_on(seat, Duration::ZERO),
            Step::Leave(seat) => self.go_down(seat, Down::Power, false),
            Step::PowerCut(seat, dark) if self.hosts[seat.0].powered => {
                self.reset(seat, Down::Power, true, dark);
            }
            Step::Crash(seat) if self.hosts[seat.0].machine.is_some() => {
                self.reset(seat, Down::Crash, false, Duration::ZERO);
            }
            Step::PowerCut(..) | Step::Crash(_) => {}
            Step::Reparent(seat, parent) => self.reparent(seat, parent),
            Step::Cut(a, b) => self.cut(a, b),
            Step::HalfOpen(a, b, silence) => self.half_open(a, b, silence),
            Step::Partition(seats) => self.partition(&seats),
            Step::Rejoin => self.hosts.iter_mut().for_each(|host| host.zone = 0),
            Step::ChangeRoot(old, new) => self.change_root(old, new),
            Step::Fault(rule) => self.rules.add(rule),
            Step::Heal => self.heal(),
            Step::FlipBit(seat, offset, bit) => self.flip_bit(seat, offset, bit),
            Step::Send(from, to, text) => self.send(from, to, text),
            Step::Offer(seat, offer) => {
                let host = &mut self.hosts[seat.0];
                let local = host.local(self.now);
                if let Some(machine) = &mut host.machine {
                    machine.offer(local, *offer);
                    self.after_input(seat);
                }
            }
            Step::Activate(seat, seats) => {
                let nodes: Vec<_> = seats.iter().map(|seat| self.hosts[seat.0].spec.id).collect();
                let host = &mut self.hosts[seat.0];
                let local = host.local(self.now);
                if let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) {
                    node.activate_rollout(local, &nodes);
                    self.after_input(seat);
                }
            }
            Step::Abort(seat) => {
                let host = &mut self.hosts[seat.0];
                let local = host.local(self.now);
                if let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) {
                    let all: Vec<_> = node.distributors().iter().map(|(session, _)| session).collect();
                    all.into_iter().for_each(|session| node.abort_rollout(local, session));
                    self.after_input(seat);
                }
            }
            Step::Update(seat, story) => {
                let host = &mut self.hosts[seat.0];
                host.driver = Some(Driver::new(&story));
                self.drive(seat, self.hosts[seat.0].life);
            }
            Step::Forget(seat) => self.hosts[seat.0].driver = None,
            Step::Deploy(seat, plan) => self.deploy(seat, &plan),
            Step::Watch(seat, settings) => self.watch(seat, &settings),
            Step::Rollout(seat, plan) => {
                let host = &mut self.hosts[seat.0];
                let local = host.local(self.now);
                if let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) {
                    // A node that is busy with another roll-out says so to its operator; there is none here.
                    let _refused = node.start_rollout(local, (*plan).clone());
                    self.after_input(seat);
                }
            }
        }
    }

    /// A bit of the slot that does not run turns over.
    fn flip_bit(&mut self, seat: Seat, offset: u32, bit: u8) {
        let host = &mut self.hosts[seat.0];
        let idle = host.running.map_or(Slot::A, |record| record.slot).other();
        let region = host.layout.slot(idle);
        if let Some(chip) = &mut host.chip {
            chip.flip(region.start + offset % region.len, bit);
        }
    }

    fn half_open(&mut self, a: Seat, b: Seat, silence: Silence) {
        for id in self.wires_between(a, b) {
            let first = usize::from(self.wires.get(id).is_some_and(|wire| wire.ends[0].seat != a));
            match silence {
                Silence::OneWay => self.swallow(id, &[first]),
                Silence::Both => self.swallow(id, &[0, 1]),
            }
        }
    }

    fn partition(&mut self, seats: &[Seat]) {
        for seat in seats {
            self.hosts[seat.0].zone = 1;
        }
        let zone = |seat: Seat| self.hosts[seat.0].zone;
        let split = |ends: [Seat; 2]| zone(ends[0]) != zone(ends[1]);
        let across: Vec<_> = self
            .wires
            .iter()
            .filter(|(_, wire)| split([wire.ends[0].seat, wire.ends[1].seat]))
            .map(|(id, _)| id)
            .collect();
        for id in across {
            self.swallow(id, &[0, 1]);
        }
    }

    fn change_root(&mut self, old: Seat, new: Seat) {
        for (seat, root) in [(old, false), (new, true)] {
            self.hosts[seat.0].spec.root = root;
            if self.hosts[seat.0].powered {
                self.reset(seat, Down::Reborn, false, Duration::ZERO);
            }
        }
    }

    fn heal(&mut self) {
        self.rules.clear();
        for index in 0..self.hosts.len() {
            self.hosts[index].zone = 0;
            self.power_on(Seat(index), Duration::ZERO);
        }
    }

    fn send(&mut self, from: Seat, to: Option<Seat>, text: Vec<u8>) {
        let dest = to.map(|seat| self.hosts[seat.0].spec.id);
        let Some(machine) = self.hosts[from.0].machine.as_mut() else { return };
        let result = machine.send(dest, &text);
        self.tell(from, Happening::Sent { dest, text, result });
        self.after_input(from);
    }
}
