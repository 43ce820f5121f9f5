//! What runs on a host: a node of ours, or a model of the unmodified C++ node, behind the same verbs.

use meshward_core::flash::{Completion, FlashOp};
use meshward_core::mesh::{LinkId, LinkInfo, LinkRole, Mesh, MeshEvent, Outgoing, Priority, SendError};
use meshward_core::node::{Event, Node};
use meshward_core::ota::exchange::ExchangeEvent;
use meshward_core::ota::{DistributorEvent, ReceiverEvent};
use meshward_core::telemetry;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use crate::stock::{StockEvent, StockNode, StockOffer};

/// A machine.
#[derive(Debug)]
pub enum Machine {
    /// A node of ours.
    Node(Box<Node>),
    /// A model of the unmodified C++ node; whether its loop sleeps.
    Stock(Box<StockNode>, bool),
}

/// What a machine reports, as far as the world or a checker cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Links, tree, delays.
    Mesh(MeshEvent),
    /// Text from an application.
    Message {
        /// Who sent it.
        from: NodeId,
        /// Whether everybody got it.
        broadcast: bool,
        /// The text.
        text: Vec<u8>,
    },
    /// The node's own update.
    Update(ReceiverEvent),
    /// The roll-out that this node runs.
    Rollout(DistributorEvent),
    /// Meshward updates.
    Exchange(ExchangeEvent),
    /// What the node tells about itself, and commands to it.
    Telemetry(telemetry::Event),
    /// The machine wants to be reset.
    Restart,
    /// A package of a plug-in.
    Package,
    /// A stock node's update.
    Stock(StockEvent),
}

impl Said {
    pub(super) fn of_node(event: Event) -> Self {
        match event {
            event if event.is_restart() => Self::Restart,
            Event::Mesh(event) => Self::Mesh(event),
            Event::Message { from, broadcast, text } => Self::Message { from, broadcast, text },
            Event::Package { .. } => Self::Package,
            Event::Update(event) => Self::Update(event),
            Event::Rollout(event) => Self::Rollout(event),
            Event::Exchange(event) => Self::Exchange(event),
            Event::Telemetry(event) => Self::Telemetry(event),
        }
    }
}

impl Machine {
    pub(super) fn handle_link_up(&mut self, now: Instant, role: LinkRole) -> Option<LinkId> {
        match self {
            Self::Node(node) => node.handle_link_up(now, role),
            Self::Stock(node, _) => node.handle_link_up(now, role),
        }
    }

    pub(super) fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        match self {
            Self::Node(node) => node.handle_link_down(now, link),
            Self::Stock(node, _) => node.handle_link_down(now, link),
        }
    }

    pub(super) fn handle_data(&mut self, now: Instant, link: LinkId, data: &[u8]) {
        match self {
            Self::Node(node) => node.handle_data(now, link, data),
            Self::Stock(node, _) => node.handle_data(now, link, data),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Node(node) => node.handle_timeout(now),
            Self::Stock(node, _) => node.handle_timeout(now),
        }
    }

    pub(super) fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        match self {
            Self::Node(node) => node.handle_flash(now, completion),
            Self::Stock(node, _) => node.handle_flash(now, completion),
        }
    }

    pub(super) fn poll_flash(&mut self) -> Option<FlashOp> {
        match self {
            Self::Node(node) => node.poll_flash(),
            Self::Stock(node, _) => node.poll_flash(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Node(node) => node.poll_timeout().map(|(due, _)| due),
            Self::Stock(node, _) => node.poll_timeout().map(|(due, _)| due),
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<Said> {
        match self {
            Self::Node(node) => node.poll_event().map(Said::of_node),
            Self::Stock(node, _) => Some(match node.poll_event()? {
                StockEvent::Mesh(event) => Said::Mesh(event),
                StockEvent::Message { from, broadcast, text } => Said::Message { from, broadcast, text },
                StockEvent::Package { .. } => Said::Package,
                StockEvent::Restart => Said::Restart,
                event => Said::Stock(event),
            }),
        }
    }

    pub(super) fn outgoing(&self, link: LinkId) -> Outgoing<'_> {
        match self {
            Self::Node(node) => node.outgoing(link),
            Self::Stock(node, _) => node.outgoing(link),
        }
    }

    /// Takes the next frame for a link, or the piece of it that may go now, as written.
    pub(super) fn take_frame(&mut self, link: LinkId) -> Option<Vec<u8>> {
        if let Self::Stock(node, _) = self
            && let Some(message) = node.take_message(link)
        {
            return Some(message);
        }
        let Outgoing::Bytes(bytes) = self.outgoing(link) else { return None };
        let len = memchr::memchr(0, bytes).map_or(bytes.len(), |nul| nul + 1);
        let frame = bytes[..len].to_vec();
        match self {
            Self::Node(node) => node.sent(link, len),
            Self::Stock(node, _) => node.sent(link, len),
        }
        Some(frame)
    }

    /// A number that changes when [`Machine::outgoing`] may show something new on any link; `None` when
    /// that is not known.
    pub(super) fn output_mark(&self) -> Option<u64> {
        let mesh = match self {
            Self::Node(node) => node.mesh(),
            Self::Stock(node, false) => node.mesh(),
            // Each pass of its loop lets something go.
            Self::Stock(_, true) => return None,
        };
        let counters = mesh.counters();
        Some(counters.frames_queued + (counters.links_closed << 48))
    }

    pub(super) fn send(&mut self, dest: Option<NodeId>, text: &[u8]) -> Result<(), SendError> {
        match (self, dest) {
            (Self::Node(node), Some(dest)) => node.send_single(dest, text, Priority::Normal),
            (Self::Node(node), None) => node.send_broadcast(text, Priority::Normal).map(drop),
            (Self::Stock(node, _), Some(dest)) => node.send_single(dest, text, Priority::Normal),
            (Self::Stock(node, _), None) => node.send_broadcast(text, Priority::Normal).map(drop),
        }
    }

    /// Its part in the mesh.
    pub fn mesh(&self) -> &Mesh {
        match self {
            Self::Node(node) => node.mesh(),
            Self::Stock(node, _) => node.mesh(),
        }
    }

    /// The most bytes that wait on any of its links.
    pub fn queued(&self) -> usize {
        let waiting = |link: LinkInfo| match self {
            Self::Node(_) => link.queued,
            Self::Stock(node, _) => node.queued(link.link),
        };
        self.mesh().links().map(waiting).max().unwrap_or(0)
    }

    /// The bytes that wait on all of its links, and those of them that are firmware of others.
    pub(super) fn held(&self) -> (usize, usize) {
        match self {
            Self::Node(node) => (node.mesh().links().map(|link| link.queued).sum(), 0),
            Self::Stock(node, _) => node.held(),
        }
    }

    /// The node of ours that this is, if it is one.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::Node(node) => Some(node),
            Self::Stock(..) => None,
        }
    }

    pub(super) fn node_mut(&mut self) -> Option<&mut Node> {
        match self {
            Self::Node(node) => Some(node),
            Self::Stock(..) => None,
        }
    }

    /// Offers an image as the library's `offerOTA` does; a node of ours offers nothing this way.
    pub(super) fn offer(&mut self, now: Instant, offer: StockOffer) {
        if let Self::Stock(node, _) = self {
            node.offer(now, offer);
        }
    }
}
