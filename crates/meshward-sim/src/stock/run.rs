//! How a stock node works through what has come: message by message, task by task, pass by pass.

use meshward_core::mesh::{Inbound, LinkId, Outgoing, Priority};
use meshward_core::time::Instant;
use meshward_core::wire::{User, kind};

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
        let queued = self.mesh.counters().frames_queued;
        if std::mem::replace(&mut self.collected, queued) == queued {
            return;
        }
        for (link, port) in &mut self.ports {
            while matches!(self.mesh.outgoing(*link), Outgoing::Bytes(_)) {
                let mut bytes = self.mesh.take_outgoing(*link);
                // Nearly always one message: it is passed on as it is.
                while let Some(nul) = memchr::memchr(0, &bytes) {
                    let rest = if nul + 1 < bytes.len() { bytes.split_off(nul + 1) } else { Vec::new() };
                    let message = std::mem::replace(&mut bytes, rest);
                    let priority = priority.unwrap_or_else(|| priority_of(&message));
                    port.push(message, priority);
                }
            }
        }
    }
}

/// High for types 4 and 6, which only the mesh itself writes: the one begins with its type, the other ends
/// with it and two ids.
fn priority_of(message: &[u8]) -> Priority {
    let frame = message.strip_suffix(&[0]).unwrap_or(message);
    let urgent = frame.starts_with(b"{\"type\":4,") || is_sync_reply(frame);
    if urgent { Priority::High } else { Priority::Normal }
}

/// Whether a frame is a type 6 as [`NodeSync::encode`](meshward_core::wire::NodeSync::encode) writes it.
fn is_sync_reply(frame: &[u8]) -> bool {
    let without_id =
        |text: &[u8]| text.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
    let tail = |frame: &[u8]| {
        let rest = frame.strip_suffix(b"}")?;
        let rest = rest[..without_id(rest)].strip_suffix(b",\"from\":")?;
        Some(rest[..without_id(rest)].ends_with(b",\"type\":6,\"dest\":"))
    };
    frame.starts_with(b"{\"nodeId\":") && tail(frame) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::wire::{Clock, NodeId, NodeSync, Stamp, Tree, User, peek};

    #[test]
    fn priorities_are_those_of_the_types() {
        let (dest, from) = (NodeId(0), NodeId(4_294_967_295));
        let mut tree = Tree::leaf(from);
        let mut frames = Vec::new();
        for _ in 0..2 {
            for reply in [false, true] {
                frames.push(NodeSync { reply, dest, from, tree: tree.clone() }.encode());
            }
            tree.graft(&Tree::leaf(NodeId(6)));
        }
        for (delay, stamp) in [(false, Stamp::Ask), (true, Stamp::Ask)] {
            frames.push(Clock { delay, dest, from, stamp }.encode());
        }
        frames.push(
            User { broadcast: false, dest, from, msg: b",\"type\":6,\"dest\":1,\"from\":2}"[..].into() }
                .encode(),
        );
        frames.push(
            b"{\"nodeId\":1,\"type\":9,\"dest\":1,\"x\":[{\"type\":6,\"dest\":1,\"from\":2}]}".to_vec(),
        );
        for frame in frames {
            let kind = peek(&frame).unwrap().kind;
            let want = if matches!(kind, 4 | 6) { Priority::High } else { Priority::Normal };
            let message = [&frame[..], &[0]].concat();
            assert_eq!(priority_of(&message), want, "{}", String::from_utf8_lossy(&frame));
        }
    }
}
