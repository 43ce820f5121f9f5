//! A gateway's fleet beside its node, and the measurements of nodes that report to it.
//!
//! The [`Watcher`] only drives: events of the node in, messages out, timers. What the fleet says is kept with the
//! world's time for whoever judges it. A restart of the host takes the fleet's memory away, as that of any program.

use std::collections::VecDeque;
use std::sync::Arc;

use meshward_core::mesh::{Mesh, Priority};
use meshward_core::node::{self, Node};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::fleet::{Event, Fleet, Settings, Transmit};

use super::deploy;
use super::ledger::Ledger;
use super::machine::{Machine, Said};
use super::queue::{Life, What};
use super::vitals::MEASURE_EVERY;
use super::{Seat, World};

/// Events that wait for whoever judges; the oldest go first.
const HEARD_MAX: usize = 200_000;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Watcher {
    settings: Arc<Settings>,
    fleet: Fleet,
    /// Fleets so far on this host.
    lives: u32,
    heard: VecDeque<(Instant, Event)>,
}

impl Watcher {
    fn new(now: Instant, own: NodeId, settings: &Arc<Settings>) -> Option<Self> {
        let fleet = Fleet::new(now, own, 1, (**settings).clone()).ok()?;
        Some(Self { settings: Arc::clone(settings), fleet, lives: 1, heard: VecDeque::new() })
    }

    /// The program starts again: nothing is remembered.
    fn restarted(&mut self, now: Instant, own: NodeId, settings: Arc<Settings>) {
        self.lives += 1;
        if let Ok(fleet) = Fleet::new(now, own, self.lives * 10_000, (*settings).clone()) {
            (self.fleet, self.settings) = (fleet, settings);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.fleet.poll_timeout()
    }

    /// What it knows.
    pub(super) fn fleet_mut(&mut self) -> &mut Fleet {
        &mut self.fleet
    }

    fn handle_event(&mut self, now: Instant, mesh: &Mesh, event: &node::Event) {
        self.fleet.handle_event(now, mesh, event);
    }

    /// Sends what the fleet wants sent; whether there was anything.
    fn send(&mut self, now: Instant, node: &mut Node) -> bool {
        let mut any = false;
        while let Some(transmit) = self.fleet.poll_transmit() {
            any = true;
            // Who is not there any more is not reached; the fleet will hear of it by the tree.
            let _sent = match transmit {
                Transmit::One(dest, frame) => node.send_package(dest, &frame, Priority::Normal),
                Transmit::All(frame) => {
                    node.send_package_to_all(&frame, Priority::Normal);
                    Ok(())
                }
                Transmit::Probe(dest) => node.probe(now, dest),
            };
        }
        any
    }

    fn gather(&mut self, at: Instant) {
        while let Some(event) = self.fleet.poll_event() {
            if self.heard.len() >= HEARD_MAX {
                self.heard.pop_front();
            }
            self.heard.push_back((at, event));
        }
    }
}

impl World {
    /// The gateway on a host keeps a fleet from now on; one that has one begins anew.
    pub(super) fn watch(&mut self, seat: Seat, settings: &Arc<Settings>) {
        let host = &mut self.hosts[seat.0];
        let (local, own) = (host.local(self.now), host.spec.id);
        match &mut host.watcher {
            Some(watcher) => watcher.restarted(local, own, Arc::clone(settings)),
            none => *none = Watcher::new(local, own, settings).map(Box::new),
        }
        let mesh = host.machine.as_ref().map(Machine::mesh);
        if let (Some(watcher), Some(mesh)) = (&mut host.watcher, mesh) {
            watcher.fleet.handle_tree(local, mesh);
            self.after_input(seat);
        }
    }

    /// A host's program has started: its chip measures, its gateway's service starts with it.
    pub(super) fn begin_watching(&mut self, seat: Seat, life: Life) {
        let host = &mut self.hosts[seat.0];
        host.deployments.clear();
        if host.spec.telemetry.is_some() {
            self.queue.plan(self.now, What::Measure(seat, life));
        }
        let (local, own) = (host.local(self.now), host.spec.id);
        if let Some(watcher) = &mut host.watcher {
            let settings = Arc::clone(&watcher.settings);
            watcher.restarted(local, own, settings);
        }
    }

    /// A host's sketch sets its metrics.
    pub(super) fn measure(&mut self, seat: Seat, life: Life) {
        if !self.lives(seat, life) {
            return;
        }
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let left = host.behaviour.heap_left(local.since(Instant::ORIGIN));
        let Some(node) = host.machine.as_mut().and_then(Machine::node_mut) else { return };
        for (metric, value) in host.vitals.measure(left) {
            node.set_metric(local, metric, value);
        }
        self.queue.plan(self.now + MEASURE_EVERY, What::Measure(seat, life));
        self.after_input(seat);
    }

    /// The next event of a host's machine, which a fleet and deployments hear first. When there are no more, what
    /// those want goes out, which may cause others.
    pub(super) fn next_said(&mut self, seat: Seat) -> Option<Said> {
        let now = self.now;
        let host = &mut self.hosts[seat.0];
        let local = host.local(now);
        let machine = host.machine.as_mut()?;
        let Machine::Node(node) = &mut *machine else { return machine.poll_event() };
        loop {
            if let Some(event) = node.poll_event() {
                if let Some(watcher) = &mut host.watcher {
                    watcher.handle_event(local, node.mesh(), &event);
                }
                deploy::hear(local, node, &mut host.deployments, &event);
                return Some(Said::of_node(event));
            }
            let sent = host.watcher.as_mut().is_some_and(|watcher| watcher.send(local, node));
            let packed = deploy::pack(local, node, &mut host.deployments);
            if !sent && !packed {
                host.watcher.iter_mut().for_each(|watcher| watcher.gather(now));
                return None;
            }
        }
    }

    /// A fleet's timer may be due; whether it was.
    pub(super) fn wake_watcher(&mut self, seat: Seat) -> bool {
        let host = &mut self.hosts[seat.0];
        let local = host.local(self.now);
        let Some(watcher) = &mut host.watcher else { return false };
        let due = watcher.poll_timeout().is_some_and(|due| due <= local);
        if due {
            watcher.fleet.handle_timeout(local);
        }
        due
    }

    /// The fleet that a gateway on this host keeps, and the time on its clock.
    pub fn fleet(&self, seat: Seat) -> Option<(&Fleet, Instant)> {
        let host = &self.hosts[seat.0];
        host.watcher.as_ref().map(|watcher| (&watcher.fleet, host.local(self.now)))
    }

    /// What that fleet has said since the last call, oldest first, each with the world's time.
    pub fn fleet_events(&mut self, seat: Seat) -> Vec<(Instant, Event)> {
        let watcher = self.hosts[seat.0].watcher.as_mut();
        watcher.map(|watcher| watcher.heard.drain(..).collect()).unwrap_or_default()
    }

    /// From now on every frame is booked by what it is for.
    pub fn keep_ledger(&mut self) {
        self.air.ledger.get_or_insert_default();
    }

    /// What was booked since [`World::keep_ledger`].
    pub fn ledger(&self) -> Option<&Ledger> {
        self.air.ledger.as_ref()
    }
}
