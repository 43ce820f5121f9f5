//! How a stock node works through what has come: message by message, task by task, pass by pass.

use meshward_core::mesh::{Inbound, LinkId, Outgoing, Priority};
use meshward_core::time::Instant;
use meshward_core::wire::{User, kind, peek};

use super::{StockEvent, StockNode};

impl StockNode {
    /// One message (with its NUL), as `router::routePackage` takes it.
    pub(super) fn handle_message(&mut self, now: Instant, link: LinkId, message: &[u8]) {
        let Self { mesh, receiver, sender, events, .. } = self;
        mesh.handle_data(now, link, message, &mut |inbound: Inbound<'_>| match inbound.envelope.kind {
            kind::BROADCAST | kind::SINGLE => {
                events.extend(User::decode(inbound.bytes).map(|user| StockEvent::Message {
                    from: user.from,
                    broadcast: user.broadcast,
                    text: user.msg.into_owned(),
                }))
            }
            kind::OTA_ANNOUNCE => {
                if let Some(receiver) = receiver {
                    receiver.handle_announce(now, inbound.bytes);
                }
            }
            kind::OTA_REQUEST => sender.handle_request(inbound.bytes),
            kind::OTA_DATA => {
                if let Some(receiver) = receiver {
                    receiver.handle_data(now, inbound.bytes);
                }
            }
            _ => events
                .push_back(StockEvent::Package { envelope: inbound.envelope, bytes: inbound.bytes.to_vec() }),
        });
        if !self.is_slow() {
            self.settle(now, None);
        }
    }

    /// One pass of a slow loop: a write, a message, and the tasks that are due.
    pub(super) fn pass(&mut self, now: Instant) {
        self.passes += 1;
        let links: Vec<LinkId> = self.ports.keys().copied().collect();
        for link in links {
            let Some(port) = self.ports.get_mut(&link) else { continue };
            port.allow_write();
            if let Some(message) = port.take(self.passes) {
                self.handle_message(now, link, &message);
            }
        }
        // A call fires one timer of each link.
        while self.mesh.poll_timeout().is_some_and(|(due, _)| due <= now) {
            self.mesh.handle_timeout(now);
        }
        self.run_tasks(now);
        self.collect(None);
    }

    /// Does what is to be done at once. A loop that does not sleep runs the tasks until none is due; a slow
    /// one leaves them to its passes.
    pub(super) fn settle(&mut self, now: Instant, priority: Option<Priority>) {
        while !self.is_slow() && self.run_tasks(now) {}
        self.collect(priority);
    }

    fn run_tasks(&mut self, now: Instant) -> bool {
        let received = self.receiver.as_mut().is_some_and(|receiver| receiver.pass(now));
        let offered = self.sender.pass(now);
        self.send_packages();
        received || offered
    }

    /// `PackageHandler::sendPackage`: what finds no way is lost in silence.
    fn send_packages(&mut self) {
        let next = |node: &mut Self| {
            let own = node.receiver.as_mut().and_then(|receiver| receiver.outgoing.pop_front());
            own.or_else(|| node.sender.outgoing.pop_front())
        };
        while let Some(package) = next(self) {
            match package.dest {
                Some(dest) => {
                    let _lost = self.mesh.send_single_frame(dest, &package.frame, Priority::Normal);
                }
                None => {
                    self.mesh.send_broadcast_frame(&package.frame, Priority::Normal);
                }
            }
        }
    }

    /// Takes events and messages from the parts. Messages are the application's, of this priority, or the
    /// library's own: high for types 4 and 6, else normal.
    pub(super) fn collect(&mut self, priority: Option<Priority>) {
        self.send_packages();
        while let Some(event) = self.mesh.poll_event() {
            self.events.push_back(StockEvent::Mesh(event));
        }
        self.events.extend(self.receiver.iter_mut().flat_map(|receiver| receiver.events.drain(..)));
        for (link, port) in &mut self.ports {
            while let Outgoing::Bytes(bytes) = self.mesh.outgoing(*link) {
                for message in bytes.split_inclusive(|byte| *byte == 0) {
                    port.push(message, priority.unwrap_or_else(|| priority_of(message)));
                }
                let count = bytes.len();
                self.mesh.sent(*link, count);
            }
        }
    }
}

fn priority_of(message: &[u8]) -> Priority {
    let frame = message.strip_suffix(&[0]).unwrap_or(message);
    match peek(frame).map(|envelope| envelope.kind) {
        Some(kind::TIME_SYNC | kind::NODE_SYNC_REPLY) => Priority::High,
        _ => Priority::Normal,
    }
}
