//! Dialling, connecting and closing.

use meshward_core::mesh::{LinkId, LinkRole};
use meshward_core::time::{Duration, Instant};

use super::queue::{Life, What};
use super::wire::{Wire, WireId};
use super::{Seat, World};

/// From one end's close to the other's notice.
const FIN: Duration = Duration::from_millis(1);
/// A host that is switched off is found missing after this time.
const ABSENT: Duration = Duration::from_secs(1);
/// A host that cannot be heard is dialled for this long.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    /// A host dials its parent, if it still wants to.
    pub(super) fn dial(&mut self, seat: Seat, life: Life, wish: u32) {
        let host = &self.hosts[seat.0];
        if !self.lives(seat, life) || host.dial.wish != wish || host.dial.wire.is_some() {
            return;
        }
        let Some(parent) = host.spec.parent.filter(|_| host.can_join()) else { return };
        let there = &self.hosts[parent.0];
        if there.zone != host.zone {
            self.redial(seat, Duration::ZERO, DIAL_TIMEOUT);
        } else if there.can_join() {
            self.connect(seat, parent);
        } else {
            self.redial(seat, Duration::ZERO, ABSENT);
        }
    }

    fn redial(&mut self, seat: Seat, lived: Duration, after: Duration) {
        let host = &mut self.hosts[seat.0];
        let pause = host.dial.again(lived, &mut host.rng);
        self.queue.plan(self.now + after + pause, What::Dial(seat, host.life, host.dial.wish));
    }

    fn connect(&mut self, dialler: Seat, listener: Seat) {
        let there = &mut self.hosts[listener.0];
        let local = there.local(self.now);
        // The listener first: it must be there when the dialler speaks.
        let answer = there.machine.as_mut().and_then(|node| node.handle_link_up(local, LinkRole::Listener));
        let Some(at_listener) = answer else {
            // Turned away: the listener has all the links that it may have.
            self.after_input(listener);
            return self.redial(dialler, Duration::ZERO, Duration::ZERO);
        };
        let ends = [self.hosts[dialler.0].spec.id, self.hosts[listener.0].spec.id];
        let name = self.recorder.as_mut().map(|recorder| recorder.opened(self.now, ends));
        let mut wire = Wire::new(dialler, listener, self.now, name.unwrap_or_default());
        wire.ends[1].link = Some(at_listener);
        let id = self.wires.insert(wire);
        self.hosts[listener.0].links.insert(at_listener, (id, 1));
        self.hosts[listener.0].mark = None;
        self.hosts[dialler.0].dial.wire = Some(id);
        self.after_input(listener);
        self.dialled(dialler, id);
    }

    fn dialled(&mut self, seat: Seat, id: WireId) {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let link = host.machine.as_mut().and_then(|node| node.handle_link_up(local, LinkRole::Dialler));
        match (link, self.wires.get_mut(id)) {
            (Some(link), Some(wire)) => {
                wire.ends[0].link = Some(link);
                host.links.insert(link, (id, 0));
                host.mark = None;
            }
            _ => self.end_is_gone(id, 0, false),
        }
        self.after_input(seat);
    }

    /// A machine wants a link closed.
    pub(super) fn close_link(&mut self, seat: Seat, link: LinkId) {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        if let Some(machine) = &mut host.machine {
            machine.handle_link_down(local, link);
        }
        if let Some((wire, end)) = host.links.remove(&link) {
            self.end_is_gone(wire, end, false);
        }
    }

    /// An end of a wire learns that the other has closed.
    pub(super) fn fin(&mut self, id: WireId, end: usize) {
        let Some(wire) = self.wires.get(id) else { return };
        let (seat, link) = (wire.ends[end].seat, wire.ends[end].link);
        let Some(link) = link else { return };
        self.close_link(seat, link);
        self.after_input(seat);
    }

    /// One end of a wire is no more: the other hears of it, a dialler dials again.
    pub(super) fn end_is_gone(&mut self, id: WireId, end: usize, silent: bool) {
        let Some(wire) = self.wires.get_mut(id) else { return };
        wire.ends[end].link = None;
        let (seat, lived) = (wire.ends[end].seat, self.now.since(wire.since));
        if let Some(recorder) = &mut self.recorder {
            let ends = [wire.ends[end].seat, wire.ends[1 - end].seat].map(|seat| self.hosts[seat.0].spec.id);
            recorder.closed(self.now, ends, &wire.name);
        }
        if silent {
            wire.ends.iter_mut().for_each(|end| end.swallowed = true);
        } else if !wire.ends[end].swallowed {
            let at = self.fin_time(id, end);
            self.queue.plan(at, What::Fin(id, 1 - end));
        }
        if self.wires.get(id).is_some_and(|wire| wire.ends.iter().all(|end| end.link.is_none())) {
            self.wires.remove(id);
        }
        let host = &self.hosts[seat.0];
        if end == 0 && host.dial.wire == Some(id) && host.machine.is_some() {
            self.redial(seat, lived, Duration::ZERO);
        }
    }

    /// A close does not overtake what is on its way.
    fn fin_time(&self, id: WireId, end: usize) -> Instant {
        let arrival = self.wires.get(id).map_or(self.now, |wire| wire.ends[end].last_arrival);
        self.now.max(arrival) + FIN
    }

    /// Closes every link between two hosts, at both ends.
    pub(super) fn cut(&mut self, a: Seat, b: Seat) {
        for id in self.wires_between(a, b) {
            for end in [0, 1] {
                self.fin(id, end);
            }
        }
    }

    pub(super) fn wires_between(&self, a: Seat, b: Seat) -> Vec<WireId> {
        self.wires.iter().filter(|(_, wire)| wire.joins(a, b)).map(|(id, _)| id).collect()
    }

    /// What these directions of a wire carry vanishes from now on.
    pub(super) fn swallow(&mut self, id: WireId, ends: &[usize]) {
        if let Some(wire) = self.wires.get_mut(id) {
            for end in ends {
                wire.ends[*end].swallowed = true;
            }
        }
    }

    /// A host leaves its parent for another.
    pub(super) fn reparent(&mut self, seat: Seat, parent: Seat) {
        let host = &mut self.hosts[seat.0];
        host.spec.parent = Some(parent);
        let wire = host.dial.wire;
        host.dial.afresh();
        if let Some(id) = wire {
            self.fin(id, 0);
        }
        let host = &self.hosts[seat.0];
        if host.machine.is_some() {
            self.queue.plan(self.now, What::Dial(seat, host.life, host.dial.wish));
        }
    }
}
