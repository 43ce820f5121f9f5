//! The unmodified C++ painlessMesh node as an executable model, bugs included: the baseline that Meshward is
//! measured against, and the peer that it must get along with.
//!
//! [`StockNode`] is driven like [`Node`](meshward_core::node::Node), by the same shell. Its firmware layer
//! follows `ota.hpp` of the library (Alteriom/painlessMesh `68e0599`) statement by statement: unicast
//! stop-and-wait, broadcast mode with its fall-back that asks in the root's name, 30 s × 10 tries, 60
//! announces 60 s apart, a part counter that survives what it should not. Links, tree, routing and clock are
//! the core's [`Mesh`], which behaves the same on the wire (`docs/protocol.md`, section 10, lists where it
//! does not: node sync and time sync, never types 8 to 12); its bounds are lifted, since the library has none,
//! and its queue is replaced by one like the library's.
//!
//! The model refuses nothing that the library takes. It has no flash: [`StockEvent::Installed`] carries the
//! image. RAM is lost at a restart: whoever drives the node makes a new one, told by
//! [`StockReceiverConfig::current_md5`] what its file would say.
//!
//! The tests play the real nodes' parts in recordings 10 to 16b, 24 and 25.

mod flash;
mod package;
mod port;
mod receiver;
mod run;
mod sender;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_recording;
#[cfg(test)]
mod tests_replay;
#[cfg(test)]
mod tests_sender;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use meshward_core::flash::{Completion, FlashOp, Layout};
use meshward_core::mesh::{
    self, Limits, LinkId, LinkRole, Mesh, MeshConfig, MeshEvent, Outgoing, Priority, SendError,
};
use meshward_core::ota::Md5Sum;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{Envelope, NodeId};

use port::Port;
use receiver::Receiver;
use sender::Sender;

/// The library has no bounds; these are beyond anything a simulation does.
const UNBOUNDED: Limits =
    Limits { frame: 1 << 24, nodes: 1 << 20, links: 64, queue: 1 << 30, message: 1 << 24, events: 1 << 20 };

/// What a stock node is told at its birth.
#[derive(Clone, Debug)]
pub struct StockConfig {
    /// Its membership of the mesh. `root` is `setRoot`: only a root asks in broadcast mode.
    pub mesh: MeshConfig,
    /// `initOTAReceive`; `None` for a sketch without it.
    pub receiver: Option<StockReceiverConfig>,
    /// How long the sketch sleeps in each pass of its loop; zero for one that does not.
    pub loop_delay: Duration,
    /// With a `loop_delay`: how many passes after it came a message is handled. 1 is a board, whose network
    /// stack does not sleep; [`StockConfig::LAG_LINUX`] is the recorded Linux build.
    pub loop_lag: u32,
}

/// What `initOTAReceive` knows.
#[derive(Clone, Debug)]
pub struct StockReceiverConfig {
    /// Which images it takes.
    pub role: Vec<u8>,
    /// `ESP32` or `ESP8266`.
    pub hardware: Vec<u8>,
    /// The MD5 in `/ota_fw.json`, in hexadecimal digits; empty when there is no such file.
    pub current_md5: Vec<u8>,
    /// The longest image.
    pub slot_bytes: usize,
}

/// What a sender offers: the arguments of `offerOTA`, and the file behind `initOTASend`.
#[derive(Clone, Debug)]
pub struct StockOffer {
    /// The image.
    pub image: Arc<[u8]>,
    /// Bytes in a part; 1 024 in the library's example.
    pub part_size: usize,
    /// The role of the nodes it is for.
    pub role: Vec<u8>,
    /// `ESP32` or `ESP8266`.
    pub hardware: Vec<u8>,
    /// To be taken even by nodes that have it.
    pub forced: bool,
    /// The mesh's root asks, and everybody gets the answers.
    pub broadcasted: bool,
    /// Copied along, and that is all.
    pub compressed: bool,
}

/// Something that happened on a stock node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockEvent {
    /// Links, tree, clock, probes.
    Mesh(MeshEvent),
    /// Text from an application (types 8 and 9).
    Message {
        /// Who sent it.
        from: NodeId,
        /// Whether everybody got it.
        broadcast: bool,
        /// The text's bytes.
        text: Vec<u8>,
    },
    /// A package of a plug-in that this sketch does not have.
    Package {
        /// Its type, destination, sender and routing.
        envelope: Envelope,
        /// Its canonical JSON text.
        bytes: Vec<u8>,
    },
    /// An Announce was taken. The next part may still be another image's.
    UpdateStarted,
    /// The last part is written and the MD5 right: the boot loader will start `image`.
    Installed {
        /// What was written since part 0.
        image: Vec<u8>,
        /// What the file says from now on: [`StockReceiverConfig::current_md5`] after the restart. Another
        /// image's when one was announced in mid-update.
        md5: Vec<u8>,
    },
    /// The last part is written and the MD5 wrong; back to part 0.
    Md5Failed,
    /// A part could not be written: nothing had begun, or the slot is full.
    WriteFailed,
    /// Ten requests without an answer: the MD5 is forgotten, the part number not.
    GaveUp,
    /// `ESP.restart()`: whoever drives the node replaces it by a new one.
    Restart,
}

/// Why [`StockNode::poll_timeout`] wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockTimer {
    /// The mesh protocol.
    Mesh(mesh::Timer),
    /// A task of the firmware layer.
    Firmware,
    /// The sketch's loop wakes from its sleep.
    Loop,
}

/// See the module's page.
#[derive(Debug)]
pub struct StockNode {
    mesh: Mesh,
    receiver: Option<Receiver>,
    sender: Sender,
    ports: BTreeMap<LinkId, Port>,
    loop_delay: Duration,
    loop_lag: u64,
    /// When the loop wakes next; `None` before the first input.
    next_pass: Option<Instant>,
    passes: u64,
    events: VecDeque<StockEvent>,
    /// How many frames the mesh had queued when they were last collected.
    collected: u64,
    /// Set by every input, cleared when the shell has drained the events.
    undrained: bool,
}

impl StockConfig {
    /// `loop_lag` of the recorded Linux build, where a sleeping loop also keeps the sockets waiting.
    pub const LAG_LINUX: u32 = 4;

    /// A node that does not sleep and takes no firmware.
    pub fn node(id: NodeId, seed: u64) -> Self {
        let mesh = MeshConfig { limits: UNBOUNDED, ..MeshConfig::node(id, seed) };
        Self { mesh, receiver: None, loop_delay: Duration::ZERO, loop_lag: 1 }
    }

    /// A node that takes firmware for `role` on `hardware` and has never been updated.
    pub fn receiver(id: NodeId, seed: u64, role: &[u8], hardware: &[u8]) -> Self {
        let receiver = StockReceiverConfig {
            role: role.to_vec(),
            hardware: hardware.to_vec(),
            current_md5: Vec::new(),
            slot_bytes: Layout::FOUR_MEGABYTES.slots.first().map_or(0, |slot| slot.len as usize),
        };
        Self { receiver: Some(receiver), ..Self::node(id, seed) }
    }
}

impl StockNode {
    /// A node without links. The bounds in `config.mesh.limits` do not count, but for the number of links.
    pub fn new(config: StockConfig) -> Self {
        let StockConfig { mesh, receiver, loop_delay, loop_lag } = config;
        let limits = Limits { links: mesh.limits.links, ..UNBOUNDED };
        Self {
            receiver: receiver.map(|receiver| Receiver::new(mesh.id, mesh.root, receiver)),
            sender: Sender::new(mesh.id),
            mesh: Mesh::new(MeshConfig { limits, ..mesh }),
            ports: BTreeMap::new(),
            loop_delay,
            loop_lag: u64::from(loop_lag.max(1)),
            next_pass: None,
            passes: 0,
            events: VecDeque::new(),
            collected: 0,
            undrained: false,
        }
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.mesh.id()
    }

    /// The mesh, for reading. Its queues are always empty: see [`StockNode::queued`].
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Bytes that wait to be written to a link.
    pub fn queued(&self, link: LinkId) -> usize {
        self.ports.get(&link).map_or(0, Port::queued)
    }

    /// Bytes that wait to be written to all links, and those of them that are firmware.
    pub fn held(&self) -> (usize, usize) {
        let ports = || self.ports.values();
        (ports().map(Port::queued).sum(), ports().map(Port::firmware).sum())
    }

    /// The part that the receiver would take next: in RAM, and not always that of the image it is at.
    pub fn part(&self) -> Option<u32> {
        self.receiver.as_ref().map(Receiver::part)
    }

    /// The image that the receiver is at, or has installed since its start.
    pub fn update_md5(&self) -> Option<&[u8]> {
        self.receiver.as_ref().map(Receiver::md5).filter(|md5| !md5.is_empty())
    }

    /// Bytes in the slot that is being written.
    pub fn written(&self) -> Option<usize> {
        self.receiver.as_ref().and_then(Receiver::written)
    }

    /// As [`Mesh::handle_link_up`].
    pub fn handle_link_up(&mut self, now: Instant, role: LinkRole) -> Option<LinkId> {
        self.input(now);
        let link = self.mesh.handle_link_up(now, role);
        if let Some(link) = link {
            self.ports.insert(link, Port::new(self.is_slow()));
        }
        self.settle(now, None);
        link
    }

    /// As [`Mesh::handle_link_down`].
    pub fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        self.input(now);
        self.mesh.handle_link_down(now, link);
        self.ports.remove(&link);
        self.settle(now, None);
    }

    /// Bytes arrived on a link, cut anywhere. A node with a slow loop only keeps them.
    pub fn handle_data(&mut self, now: Instant, link: LinkId, mut data: &[u8]) {
        self.input(now);
        let (slow, due) = (self.is_slow(), self.passes + self.loop_lag);
        let begun = self.ports.get(&link).is_none_or(|port| port.splitter.buffered() > 0);
        if !slow && !begun && data.len() > 1 && memchr::memchr(0, data) == Some(data.len() - 1) {
            // One whole message, as nearly all come: nothing to cut or to keep.
            return self.handle_message(now, link, data);
        }
        while let Some(port) = self.ports.get_mut(&link) {
            let Ok(Some(frame)) = port.splitter.split(&mut data) else { break };
            let message = [frame, &[0]].concat();
            if slow {
                port.inbox.push_back((due, message));
            } else {
                self.handle_message(now, link, &message);
            }
        }
        self.settle(now, None);
    }

    /// Fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.input(now);
        if self.is_slow() {
            while let Some(at) = self.next_pass.filter(|at| *at <= now) {
                self.next_pass = Some(at + self.loop_delay);
                self.pass(at);
            }
        } else {
            self.mesh.handle_timeout(now);
            self.settle(now, None);
        }
    }

    /// A flash command is done: this node gives none.
    pub fn handle_flash(&mut self, now: Instant, _completion: Completion<'_>) {
        self.input(now);
    }

    /// When to call [`StockNode::handle_timeout`] next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, StockTimer)> {
        if self.is_slow() {
            return self.next_pass.map(|at| (at, StockTimer::Loop));
        }
        let mesh = self.mesh.poll_timeout().map(|(due, timer)| (due, StockTimer::Mesh(timer)));
        let task = self.receiver.as_ref().and_then(Receiver::poll_timeout);
        let offer = self.sender.poll_timeout();
        let firmware = task.map_or(offer, |task| Some(offer.map_or(task, |offer| offer.min(task))));
        // Of two at once the mesh's counts.
        let sooner = firmware.filter(|due| mesh.is_none_or(|(first, _)| *due < first));
        sooner.map(|due| (due, StockTimer::Firmware)).or(mesh)
    }

    /// The next flash command: never one.
    pub fn poll_flash(&mut self) -> Option<FlashOp> {
        None
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<StockEvent> {
        let event = self.events.pop_front();
        self.undrained = event.is_some();
        event
    }

    /// What to do with a link now: at most one message, and of a node with a slow loop one write per pass.
    pub fn outgoing(&self, link: LinkId) -> Outgoing<'_> {
        if let Some(reason) = self.mesh.closing(link) {
            return Outgoing::Close(reason);
        }
        match self.ports.get(&link).map_or(&[][..], Port::next) {
            [] => Outgoing::Idle,
            bytes => Outgoing::Bytes(bytes),
        }
    }

    /// As [`Mesh::sent`].
    pub fn sent(&mut self, link: LinkId, count: usize) {
        if let Some(port) = self.ports.get_mut(&link) {
            port.sent(count);
        }
    }

    /// The next message for a link, whole, as [`StockNode::outgoing`] and [`StockNode::sent`] would give it
    /// piece by piece; `None` where they must be asked.
    pub(crate) fn take_message(&mut self, link: LinkId) -> Option<Vec<u8>> {
        if self.mesh.closing(link).is_some() {
            return None;
        }
        self.ports.get_mut(&link)?.take_whole()
    }

    /// As [`Mesh::disconnect`].
    pub fn disconnect(&mut self, now: Instant, link: LinkId) {
        self.mesh.disconnect(now, link);
        self.settle(now, None);
    }

    /// As [`Mesh::send_single`].
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn send_single(&mut self, dest: NodeId, text: &[u8], priority: Priority) -> Result<(), SendError> {
        self.mesh.send_single(dest, text, priority)?;
        self.collect(Some(priority));
        Ok(())
    }

    /// As [`Mesh::send_broadcast`].
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn send_broadcast(&mut self, text: &[u8], priority: Priority) -> Result<usize, SendError> {
        let links = self.mesh.send_broadcast(text, priority)?;
        self.collect(Some(priority));
        Ok(links)
    }

    /// As [`Mesh::probe`].
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn probe(&mut self, now: Instant, dest: NodeId) -> Result<(), SendError> {
        self.mesh.probe(now, dest, Priority::Normal)?;
        self.collect(None);
        Ok(())
    }

    /// `initOTASend` and `offerOTA`: one announce at once, then every 60 s, 60 in all. A second offer answers
    /// the requests of the first as well.
    pub fn offer(&mut self, now: Instant, offer: StockOffer) {
        let md5 = Md5Sum::of(&offer.image).to_string();
        self.offer_as(now, offer, md5.as_bytes());
    }

    /// As [`StockNode::offer`], by another name than the image's MD5: `offerOTA` believes the application.
    pub fn offer_as(&mut self, now: Instant, offer: StockOffer, md5: &[u8]) {
        self.sender.offer(now, offer, md5);
        self.start_loop(now);
        self.settle(now, None);
    }

    fn is_slow(&self) -> bool {
        self.loop_delay > Duration::ZERO
    }

    fn input(&mut self, now: Instant) {
        debug_assert!(!self.undrained, "the shell must call poll_event until None after every input");
        self.undrained = true;
        self.start_loop(now);
    }

    /// A slow loop begins with the first thing that happens to the node.
    fn start_loop(&mut self, now: Instant) {
        if self.is_slow() {
            self.next_pass.get_or_insert(now);
        }
    }
}
