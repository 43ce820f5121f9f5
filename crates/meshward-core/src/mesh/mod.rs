//! One node's part in a painlessMesh network: links, tree, routing, clock.
//!
//! [`Mesh`] is a machine without IO. A shell tells it what happened to the TCP links and what time it is
//! (`handle_*`), and asks what to do (`poll_*`, [`Mesh::outgoing`]). It answers node syncs, keeps the tree,
//! forwards what is for others, synchronises the clock and measures delays. What is addressed to this node
//! and is not its own business (types 8 and up) goes to the caller's `local` function.
//!
//! It never trusts a peer: every queue and table is bounded by [`Limits`], every refusal is counted in
//! [`Counters`] and named by a [`CloseReason`].
//!
//! Source of the rules: the painlessMesh C++ library 1.x as recorded in `testdata/wire`; deliberate
//! differences are listed in `docs/protocol.md`.

mod clock;
mod config;
mod counters;
mod link;
mod outbox;
mod send;
mod sync;
mod timing;
mod view;

use alloc::collections::{BTreeMap, VecDeque};

pub use config::{Limits, MeshConfig, timers};
pub use counters::Counters;
pub use link::{CloseReason, LinkId, LinkInfo, LinkRole};
pub use outbox::Priority;
pub use send::SendError;

use crate::rng::Rng;
use crate::time::{Duration, Instant, MeshTime};
use crate::wire::{self, Envelope, NodeId, Routing, Splitter, Tree, kind};
use clock::MeshClock;
use link::Link;
use timing::Probes;

/// Something that the application or the gateway may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshEvent {
    /// A neighbour has synced for the first time on this link.
    LinkUp {
        /// The link.
        link: LinkId,
        /// Who is at its other end.
        peer: NodeId,
    },
    /// A link has ended or is being closed; `peer` is `None` when it never synced.
    LinkDown {
        /// The link.
        link: LinkId,
        /// Who was at its other end.
        peer: Option<NodeId>,
        /// Why.
        reason: CloseReason,
    },
    /// The tree has changed; [`Mesh::tree`] shows the new one.
    TopologyChanged {
        /// Counts up by one with every change.
        revision: u64,
    },
    /// The mesh clock was stepped by `offset` microseconds.
    TimeAdjusted {
        /// The step, in microseconds.
        offset: i32,
    },
    /// The answer to a [`Mesh::probe`].
    Delay {
        /// Who answered.
        from: NodeId,
        /// Time to it and back, its own part left out.
        round_trip: Duration,
    },
}

/// Why [`Mesh::poll_timeout`] wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The next node sync request on a link is due.
    NodeSync(LinkId),
    /// The answer to a node sync request is overdue: the link will be closed.
    SyncOverdue(LinkId),
    /// The next time sync on a link is due.
    TimeSync(LinkId),
    /// A time answer was held back on purpose and may go now.
    HeldAnswer(LinkId),
}

/// A frame for this node that the mesh itself does not handle.
#[derive(Debug)]
pub struct Inbound<'a> {
    /// The link it came over.
    pub link: LinkId,
    /// Its type, destination, sender and routing.
    pub envelope: Envelope,
    /// Its canonical JSON text.
    pub bytes: &'a [u8],
}

/// What a shell should do with a link next.
#[derive(Debug, PartialEq, Eq)]
pub enum Outgoing<'a> {
    /// Nothing to send.
    Idle,
    /// Write these bytes, then say how many went by [`Mesh::sent`].
    Bytes(&'a [u8]),
    /// Close the TCP connection, then say so by [`Mesh::handle_link_down`].
    Close(CloseReason),
}

/// A painlessMesh node's state: see the module's page.
#[derive(Debug)]
pub struct Mesh {
    config: MeshConfig,
    links: BTreeMap<LinkId, Link>,
    next_link: u32,
    revision: u64,
    clock: MeshClock,
    probes: Probes,
    rng: Rng,
    events: VecDeque<MeshEvent>,
    counters: Counters,
    /// Telemetry for this node is not passed on but handed to the caller, who packs it with its own.
    held_for: Option<NodeId>,
}

impl Mesh {
    /// A node without links.
    pub fn new(config: MeshConfig) -> Self {
        Self {
            links: BTreeMap::new(),
            next_link: 1,
            revision: 0,
            clock: MeshClock::new(config.clock_offset),
            probes: Probes::default(),
            rng: Rng::new(config.seed),
            events: VecDeque::new(),
            counters: Counters::default(),
            held_for: None,
            config,
        }
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// A TCP connection stands. `None`, and counted, when there are [`Limits::links`] already: the shell
    /// closes it.
    pub fn handle_link_up(&mut self, now: Instant, role: LinkRole) -> Option<LinkId> {
        if self.links.len() >= self.config.limits.links {
            self.counters.links_refused += 1;
            return None;
        }
        let id = LinkId(self.next_link);
        self.next_link = self.next_link.wrapping_add(1);
        self.links.insert(id, Link::new(role, now, &self.config.limits));
        if role == LinkRole::Dialler {
            self.send_sync_request(now, id);
        }
        Some(id)
    }

    /// A TCP connection is gone, whoever closed it.
    pub fn handle_link_down(&mut self, now: Instant, id: LinkId) {
        self.close(now, id, CloseReason::ConnectionLost);
        self.links.remove(&id);
    }

    /// Bytes arrived on a link, cut anywhere. Frames for this node that the mesh does not handle itself are
    /// handed to `local` one by one.
    pub fn handle_data(
        &mut self,
        now: Instant,
        id: LinkId,
        mut data: &[u8],
        local: &mut dyn FnMut(Inbound<'_>),
    ) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.closing.is_none()) else { return };
        // The splitter is lent to this loop because a frame borrows from it while the links change.
        let mut splitter = core::mem::replace(&mut link.splitter, Splitter::new(self.config.limits.frame));
        self.counters.bytes_received += data.len() as u64;
        loop {
            match splitter.split(&mut data) {
                Ok(None) => break,
                Ok(Some(frame)) => self.handle_frame(now, id, frame, local),
                Err(_oversize) => {
                    self.counters.oversize_frames += 1;
                    self.close(now, id, CloseReason::FrameTooLong);
                }
            }
            match self.links.get(&id) {
                Some(link) if link.closing.is_none() => {}
                _ => return,
            }
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.splitter = splitter;
        }
    }

    fn handle_frame(&mut self, now: Instant, id: LinkId, frame: &[u8], local: &mut dyn FnMut(Inbound<'_>)) {
        self.counters.frames_received += 1;
        if self.handle_plain_sync(now, id, frame) || self.handle_plain_clock(now, id, frame) {
            return;
        }
        let Ok(message) = wire::read(frame) else {
            self.counters.frames_unreadable += 1;
            return;
        };
        let envelope = message.envelope;
        if matches!(envelope.kind, kind::TIME_SYNC | kind::NODE_SYNC_REQUEST | kind::NODE_SYNC_REPLY) {
            return self.handle_neighbour(now, id, &envelope, &message.bytes);
        }
        match envelope.routing {
            Routing::Single if envelope.dest != self.config.id => {
                if self.is_held(&envelope) {
                    return local(Inbound { link: id, envelope, bytes: &message.bytes });
                }
                return self.forward_single(id, &envelope, &message.bytes);
            }
            Routing::Broadcast => self.forward_broadcast(id, &envelope, &message.bytes),
            _ => {}
        }
        self.counters.frames_delivered += 1;
        if envelope.kind == kind::TIME_DELAY {
            self.handle_time_delay(now, &message.bytes);
        } else {
            local(Inbound { link: id, envelope, bytes: &message.bytes });
        }
    }

    /// Types 4, 5 and 6 are between neighbours: one that asks to be routed is a forgery.
    fn handle_neighbour(&mut self, now: Instant, id: LinkId, envelope: &Envelope, bytes: &[u8]) {
        if envelope.routing != Routing::Neighbour {
            self.counters.frames_misrouted += 1;
            return;
        }
        match envelope.kind {
            kind::TIME_SYNC => self.handle_time_sync(now, id, bytes),
            _ => self.handle_node_sync(now, id, bytes),
        }
    }

    /// Fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut last = None;
        // Links are found one by one, not collected: what is done for one may change what the next has to do.
        while let Some((id, timer)) = self.next_due(now, last) {
            last = Some(id);
            match timer {
                Timer::SyncOverdue(_) => self.close(now, id, CloseReason::NoSyncReply),
                Timer::NodeSync(_) => self.send_sync_request(now, id),
                Timer::TimeSync(_) => self.start_time_sync(now, id),
                Timer::HeldAnswer(_) => self.send_held_answers(now, id),
            }
        }
    }

    /// The first link after `last` with a timer that is due, and which.
    fn next_due(&self, now: Instant, last: Option<LinkId>) -> Option<(LinkId, Timer)> {
        self.links_after(last).find_map(|(id, link)| {
            let (due, timer) = link.next_timer(*id)?;
            (due <= now).then_some((*id, timer))
        })
    }

    /// The links after this one, in order of connection.
    fn links_after(&self, link: Option<LinkId>) -> impl Iterator<Item = (&LinkId, &Link)> {
        use core::ops::Bound::{Excluded, Unbounded};
        self.links.range((link.map_or(Unbounded, Excluded), Unbounded))
    }

    /// When to call [`Mesh::handle_timeout`] next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.links.iter().filter_map(|(id, link)| link.next_timer(*id)).min_by_key(|(due, _)| *due)
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<MeshEvent> {
        self.events.pop_front()
    }

    /// What to do with a link now. [`Outgoing::Idle`] for a link that is not known.
    pub fn outgoing(&self, id: LinkId) -> Outgoing<'_> {
        let Some(link) = self.links.get(&id) else { return Outgoing::Idle };
        if let Some(reason) = link.closing {
            return Outgoing::Close(reason);
        }
        match link.outbox.next() {
            [] => Outgoing::Idle,
            bytes => Outgoing::Bytes(bytes),
        }
    }

    /// Why a link is to be closed, if it is: what [`Mesh::outgoing`] says besides bytes, for a shell that has taken
    /// those.
    pub fn closing(&self, id: LinkId) -> Option<CloseReason> {
        self.links.get(&id).and_then(|link| link.closing)
    }

    /// The first `count` bytes of what [`Mesh::outgoing`] showed for a link have been written.
    pub fn sent(&mut self, id: LinkId, count: usize) {
        if let Some(link) = self.links.get_mut(&id) {
            link.outbox.sent(count);
            self.counters.bytes_sent += count as u64;
        }
    }

    /// Takes what [`Mesh::outgoing`] shows for a link, as [`Mesh::sent`] of all of it does: for a shell that keeps what
    /// waits itself. Nothing for a link that is to be closed.
    pub fn take_outgoing(&mut self, id: LinkId) -> alloc::vec::Vec<u8> {
        let link = self.links.get_mut(&id).filter(|link| link.closing.is_none());
        let bytes = link.map(|link| link.outbox.take()).unwrap_or_default();
        self.counters.bytes_sent += bytes.len() as u64;
        bytes
    }

    /// Ends a link because the application wants it so.
    pub fn disconnect(&mut self, now: Instant, id: LinkId) {
        self.close(now, id, CloseReason::Requested);
    }

    /// Marks a link for closing and takes its branch out of the tree.
    fn close(&mut self, now: Instant, id: LinkId, reason: CloseReason) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.closing.is_none()) else { return };
        link.closing = Some(reason);
        link.outbox.clear();
        let peer = link.branch.take().map(|branch| branch.tree().top().id);
        self.counters.links_closed += 1;
        self.push_event(MeshEvent::LinkDown { link: id, peer, reason });
        if peer.is_some() {
            self.tree_changed(now, id);
        }
    }

    /// Mesh time at `now`.
    pub fn mesh_time(&self, now: Instant) -> MeshTime {
        self.clock.at(now)
    }

    /// Counts tree changes.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether `id` is this node or can be reached.
    pub fn knows(&self, id: NodeId) -> bool {
        id == self.config.id || self.link_to(id).is_some()
    }

    /// What this node has seen, sent and refused.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The links, in order of connection.
    pub fn links(&self) -> impl Iterator<Item = LinkInfo> + '_ {
        self.links.iter().map(|(id, link)| link.info(*id))
    }

    /// Whether the root of the mesh is known: this node or one in its tree.
    pub fn is_rooted(&self) -> bool {
        self.config.root || self.links.values().filter_map(Link::tree).any(Tree::is_rooted)
    }

    /// This node's own generator, for jitter that a shell wants.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn push_event(&mut self, event: MeshEvent) {
        if self.events.len() >= self.config.limits.events {
            self.counters.events_dropped += 1;
            return;
        }
        self.events.push_back(event);
    }
}
