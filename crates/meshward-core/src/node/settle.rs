//! What the parts of a node want from each other and from the mesh, carried until nobody wants anything.

use super::{Event, Node};
use crate::mesh::{MeshEvent, Priority};
use crate::ota::exchange::Exchange;
use crate::ota::{Package, StockReceiver};
use crate::telemetry::{Own, Passing, Transmit};
use crate::time::Instant;

impl Node {
    /// Carries what one part of the node wants to the others, until nobody wants anything.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            self.exchange.work(now, &self.mesh);
            self.work_telemetry(now);
            let packages = self.move_packages(now);
            let events = self.move_events(now);
            if !packages && !events {
                break;
            }
        }
    }

    fn move_packages(&mut self, now: Instant) -> bool {
        let mut moved = false;
        // A probe that comes back says that what went before it has arrived.
        let mut refused = None;
        loop {
            let own = self.receiver.as_mut().and_then(StockReceiver::poll_transmit);
            let own = own.or_else(|| self.exchange.poll_transmit());
            let Some(package) = own.or_else(|| self.distributors.poll_transmit()) else { return moved };
            moved = true;
            // A package that cannot be sent is lost like one that a relay drops: every sender repeats.
            let _lost = match package {
                Package::Single { dest, chunk, frame } => {
                    let priority = if chunk { Priority::Chunk } else { Priority::Normal };
                    let sent = self.mesh.send_single_frame(dest, &frame, priority);
                    refused = sent.is_err().then_some(dest).or(refused);
                    sent
                }
                Package::Probe(dest) if refused == Some(dest) => {
                    refused = None;
                    Ok(())
                }
                Package::Neighbour { link, behind, frame } => {
                    let priority = if behind { Priority::Chunk } else { Priority::Normal };
                    self.mesh.send_neighbour_frame(link, &frame, priority);
                    Ok(())
                }
                Package::Broadcast { chunk, frame } => {
                    let priority = if chunk { Priority::Chunk } else { Priority::Normal };
                    self.mesh.send_broadcast_frame(&frame, priority);
                    Ok(())
                }
                Package::Probe(dest) => self.mesh.probe(now, dest, Priority::Chunk),
            };
        }
    }

    fn move_events(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(event) = self.mesh.poll_event() {
            moved = true;
            match &event {
                MeshEvent::LinkUp { link, .. } => self.exchange.handle_link_up(now, *link),
                MeshEvent::LinkDown { link, .. } => self.exchange.handle_link_down(now, *link),
                MeshEvent::TopologyChanged { .. } => {
                    if self.distributors.is_active() {
                        self.distributors.handle_topology(now, &self.mesh.tree());
                    }
                    self.exchange.handle_topology(now, &self.mesh);
                    if let Some(telemetry) = &mut self.telemetry {
                        telemetry.handle_topology(now, &self.mesh, &|| own(&self.exchange));
                    }
                }
                MeshEvent::Delay { from, round_trip } => {
                    self.distributors.handle_delay(now, *from, *round_trip);
                    self.exchange.handle_delay(now, *from, *round_trip);
                }
                MeshEvent::TimeAdjusted { .. } => {}
            }
            self.push(Event::Mesh(event));
        }
        while let Some(event) = self.receiver.as_mut().and_then(StockReceiver::poll_event) {
            self.push(Event::Update(event));
        }
        while let Some(event) = self.distributors.poll_event() {
            self.push(Event::Rollout(event));
        }
        while let Some(event) = self.exchange.poll_event() {
            self.push(Event::Exchange(event));
        }
        while let Some(event) = self.telemetry.as_mut().and_then(|telemetry| telemetry.poll_event()) {
            self.push(Event::Telemetry(event));
        }
        moved
    }

    fn work_telemetry(&mut self, now: Instant) {
        let Some(telemetry) = &mut self.telemetry else { return };
        telemetry.work(now, &self.mesh, &|| own(&self.exchange));
        self.mesh.hold_for(telemetry.holds_for());
        while let Some(Transmit { dest, frame }) = telemetry.poll_transmit() {
            // What cannot be sent is lost as on the way: the next packet says the same.
            let _lost = self.mesh.send_single_frame(dest, &frame, Priority::Normal);
        }
        while let Some((collector, passing)) = telemetry.collector().zip(telemetry.poll_passing()) {
            let Passing { link, kind, frame } = passing;
            self.mesh.pass_on(link, collector, kind, &frame);
        }
    }
}

/// What a node's update receiver knows of itself.
fn own(exchange: &Exchange) -> Own {
    let Some(receiver) = exchange.receiver() else { return Own::default() };
    let running = receiver.capabilities().running;
    let firmware = running.map(|running| {
        let [first, second, third, fourth, ..] = running.sha256.0;
        u32::from_be_bytes([first, second, third, fourth])
    });
    let chunks = receiver.held().map_or(0, |held| held.chunks.saturating_sub(held.missing));
    Own { firmware, chunks }
}
