//! A whole node: mesh, firmware receiver and firmware sender as one machine.
//!
//! [`Node`] is what shells run: a Tokio task on Linux, the simulator, a microcontroller. The driving contract
//! is on the crate's first page.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::flash::{Completion, FlashOp};
use crate::mesh::{
    self, Inbound, LinkId, LinkRole, Mesh, MeshConfig, MeshEvent, Outgoing, Priority, SendError,
};
use crate::ota::exchange::{Exchange, ExchangeEvent, PlanError, UpdatePlan};
use crate::ota::{
    Distributor, DistributorEvent, ImagePlan, Package, ReceiverConfig, ReceiverEvent, ReceiverState,
    StartError, StockReceiver, TargetReport, receiver,
};
use crate::time::Instant;
use crate::wire::{Announce, Data, DataRequest, Envelope, NodeId, Parcel, User, kind};

/// Events kept for a shell that does not ask.
const EVENTS_MAX: usize = 8_192;

/// How a node takes firmware: in one manner only, for whoever may write without a signature needs none.
#[derive(Clone, Debug)]
pub enum Firmware {
    /// By the stock protocol, unsigned, as C++ nodes do.
    Stock(ReceiverConfig),
    /// What an author and an operator have signed.
    Signed(alloc::boxed::Box<receiver::Config>),
}

/// What a node is told at its birth.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its membership of the mesh.
    pub mesh: MeshConfig,
    /// How it takes firmware; `None` for a node without an update receiver.
    pub firmware: Option<Firmware>,
}

/// Something that happened on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Links, tree, clock, probes.
    Mesh(MeshEvent),
    /// Text from an application (types 8 and 9).
    Message {
        /// Who sent it.
        from: NodeId,
        /// Whether everybody got it.
        broadcast: bool,
        /// The text's bytes; a C++ node may send what is not UTF-8.
        text: Vec<u8>,
    },
    /// A package of a plug-in: any type that the core does not handle.
    Package {
        /// Its type, destination, sender and routing.
        envelope: Envelope,
        /// Its canonical JSON text.
        bytes: Vec<u8>,
    },
    /// The node's own update, by the stock protocol.
    Update(ReceiverEvent),
    /// The roll-out to stock nodes that this node runs.
    Rollout(DistributorEvent),
    /// Meshward updates: the node's own, and that of others.
    Exchange(ExchangeEvent),
}

impl Event {
    /// Whether the machine is to be reset now.
    pub fn is_restart(&self) -> bool {
        matches!(
            self,
            Self::Update(ReceiverEvent::Restart)
                | Self::Exchange(ExchangeEvent::Receiver(receiver::Event::Restart))
        )
    }
}

/// Why [`Node::poll_timeout`] wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The mesh protocol.
    Mesh(mesh::Timer),
    /// The node's own update.
    Update,
    /// The roll-out to stock nodes that this node runs.
    Rollout,
    /// Meshward updates.
    Exchange,
}

/// See the module's page.
#[derive(Debug)]
pub struct Node {
    mesh: Mesh,
    receiver: Option<StockReceiver>,
    distributor: Distributor,
    exchange: Exchange,
    events: VecDeque<Event>,
    events_dropped: u64,
    /// Packages whose fields made no sense.
    malformed: u64,
    /// Set by every input, cleared when the shell has drained the events.
    undrained: bool,
}

impl Node {
    /// A node without links.
    pub fn new(config: NodeConfig) -> Self {
        let (stock, signed) = match config.firmware {
            Some(Firmware::Stock(stock)) => (Some(stock), None),
            Some(Firmware::Signed(signed)) => (None, Some(*signed)),
            None => (None, None),
        };
        Self {
            distributor: Distributor::new(config.mesh.id),
            exchange: Exchange::new(config.mesh.id, signed),
            receiver: stock.map(StockReceiver::new),
            mesh: Mesh::new(config.mesh),
            events: VecDeque::new(),
            events_dropped: 0,
            malformed: 0,
            undrained: false,
        }
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.mesh.id()
    }

    /// The mesh, for reading.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The roll-out that this node runs or ran last, for reading.
    pub fn distributor(&self) -> &Distributor {
        &self.distributor
    }

    /// Where the node's own update is.
    pub fn update_state(&self) -> ReceiverState {
        self.receiver.as_ref().map_or(ReceiverState::Idle, StockReceiver::state)
    }

    /// Firmware packages whose fields made no sense.
    pub fn malformed_packages(&self) -> u64 {
        self.malformed
    }

    /// Events that were dropped because the shell did not ask for them.
    pub fn events_dropped(&self) -> u64 {
        self.events_dropped
    }

    /// As [`Mesh::handle_link_up`].
    pub fn handle_link_up(&mut self, now: Instant, role: LinkRole) -> Option<LinkId> {
        self.input();
        let link = self.mesh.handle_link_up(now, role);
        self.settle(now);
        link
    }

    /// As [`Mesh::handle_link_down`].
    pub fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        self.input();
        self.mesh.handle_link_down(now, link);
        self.settle(now);
    }

    /// Bytes arrived on a link, cut anywhere.
    pub fn handle_data(&mut self, now: Instant, link: LinkId, data: &[u8]) {
        self.input();
        let Self { mesh, receiver, distributor, exchange, events, events_dropped, malformed, .. } = self;
        let mut inbox = Inbox { now, receiver, distributor, exchange, events, events_dropped, malformed };
        mesh.handle_data(now, link, data, &mut |inbound| inbox.take(&inbound));
        self.settle(now);
    }

    /// Fires every timer that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.input();
        self.mesh.handle_timeout(now);
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now);
        }
        self.distributor.handle_timeout(now);
        self.exchange.handle_timeout(now);
        self.settle(now);
    }

    /// A flash command is done.
    pub fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        self.input();
        match &mut self.receiver {
            Some(receiver) => receiver.handle_flash(now, completion),
            None => self.exchange.handle_flash(now, completion),
        }
        self.settle(now);
    }

    /// When to call [`Node::handle_timeout`] next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let mesh = self.mesh.poll_timeout().map(|(due, timer)| (due, Timer::Mesh(timer)));
        let update = self.receiver.as_ref().and_then(StockReceiver::poll_timeout);
        let rollout = self.distributor.poll_timeout();
        let exchange = self.exchange.poll_timeout().map(|due| (due, Timer::Exchange));
        [mesh, update.map(|due| (due, Timer::Update)), rollout.map(|due| (due, Timer::Rollout)), exchange]
            .into_iter()
            .flatten()
            .min_by_key(|(due, _)| *due)
    }

    /// The next flash command; the one after it comes when this one is done.
    pub fn poll_flash(&mut self) -> Option<FlashOp> {
        match &mut self.receiver {
            Some(receiver) => receiver.poll_flash(),
            None => self.exchange.poll_flash(),
        }
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        self.undrained = event.is_some();
        event
    }

    /// As [`Mesh::outgoing`].
    pub fn outgoing(&self, link: LinkId) -> Outgoing<'_> {
        self.mesh.outgoing(link)
    }

    /// As [`Mesh::sent`].
    pub fn sent(&mut self, link: LinkId, count: usize) {
        self.mesh.sent(link, count);
        self.exchange.handle_room();
    }

    /// As [`Mesh::disconnect`].
    pub fn disconnect(&mut self, now: Instant, link: LinkId) {
        self.mesh.disconnect(now, link);
        self.settle(now);
    }

    /// As [`Mesh::send_single`].
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn send_single(&mut self, dest: NodeId, text: &[u8], priority: Priority) -> Result<(), SendError> {
        self.mesh.send_single(dest, text, priority)
    }

    /// As [`Mesh::send_broadcast`].
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn send_broadcast(&mut self, text: &[u8], priority: Priority) -> Result<usize, SendError> {
        self.mesh.send_broadcast(text, priority)
    }

    /// As [`Mesh::probe`].
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn probe(&mut self, now: Instant, dest: NodeId) -> Result<(), SendError> {
        self.mesh.probe(now, dest, Priority::Normal)
    }

    /// Starts to bring an image to other nodes.
    ///
    /// # Errors
    /// [`StartError`], and nothing has changed.
    pub fn start_rollout(&mut self, now: Instant, plan: ImagePlan) -> Result<(), StartError> {
        let tree = self.mesh.tree();
        self.distributor.start(now, plan, &tree)?;
        self.settle(now);
        Ok(())
    }

    /// Stops sending until [`Node::resume_rollout`].
    pub fn pause_rollout(&mut self) {
        self.distributor.pause();
    }

    /// Goes on after [`Node::pause_rollout`].
    pub fn resume_rollout(&mut self, now: Instant) {
        self.distributor.resume(now);
        self.settle(now);
    }

    /// Lets these targets of a roll-out with [`ImagePlan::hold`] restart into the image.
    pub fn activate_rollout(&mut self, now: Instant, nodes: &[NodeId]) {
        self.distributor.activate(now, nodes);
        self.settle(now);
    }

    /// Ends the roll-out where it is.
    pub fn abort_rollout(&mut self, now: Instant) {
        self.distributor.abort(now);
        self.settle(now);
    }

    /// A line per target of the roll-out.
    pub fn rollout_report(&self) -> Vec<TargetReport> {
        self.distributor.report()
    }

    /// Meshward updates, for reading: this node's own receiver, what is known of others, the roll-out.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// As [`Exchange::survey`].
    pub fn survey(&mut self, now: Instant) {
        self.exchange.survey(now);
        self.settle(now);
    }

    /// As [`Exchange::start`].
    ///
    /// # Errors
    /// [`PlanError`], and nothing has changed.
    pub fn start_update(&mut self, now: Instant, plan: UpdatePlan) -> Result<(), PlanError> {
        self.exchange.start(now, plan, &self.mesh)?;
        self.settle(now);
        Ok(())
    }

    /// As [`Exchange::stop`].
    pub fn stop_update(&mut self, now: Instant) {
        self.exchange.stop();
        self.settle(now);
    }

    /// As [`Exchange::order`].
    pub fn order(&mut self, now: Instant, signed: &[u8], nodes: Option<&[NodeId]>) {
        self.exchange.order(signed, nodes);
        self.settle(now);
    }

    /// As [`Exchange::handle_self_test`].
    pub fn handle_self_test(&mut self, now: Instant, works: bool) {
        self.exchange.handle_self_test(now, works);
        self.settle(now);
    }

    /// As [`Exchange::handle_supply`].
    pub fn handle_supply(&mut self, now: Instant, millivolts: u16) {
        self.exchange.handle_supply(millivolts);
        self.settle(now);
    }

    fn input(&mut self) {
        debug_assert!(!self.undrained, "the shell must call poll_event until None after every input");
        self.undrained = true;
    }

    /// Carries what one part of the node wants to the others, until nobody wants anything.
    fn settle(&mut self, now: Instant) {
        loop {
            self.exchange.work(now, &self.mesh);
            let packages = self.move_packages(now);
            let events = self.move_events(now);
            if !packages && !events {
                break;
            }
        }
    }

    fn move_packages(&mut self, now: Instant) -> bool {
        let mut moved = false;
        loop {
            let own = self.receiver.as_mut().and_then(StockReceiver::poll_transmit);
            let own = own.or_else(|| self.exchange.poll_transmit());
            let Some(package) = own.or_else(|| self.distributor.poll_transmit()) else { return moved };
            moved = true;
            // A package that cannot be sent is lost like one that a relay drops: every sender repeats.
            let _lost = match package {
                Package::Single { dest, chunk, frame } => {
                    let priority = if chunk { Priority::Chunk } else { Priority::Normal };
                    self.mesh.send_single_frame(dest, &frame, priority)
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
                    if self.distributor.is_active() {
                        self.distributor.handle_topology(now, &self.mesh.tree());
                    }
                    self.exchange.handle_topology(now, &self.mesh);
                }
                MeshEvent::Delay { from, round_trip } => {
                    self.distributor.handle_delay(now, *from, *round_trip);
                    self.exchange.handle_delay(now, *from, *round_trip);
                }
                MeshEvent::TimeAdjusted { .. } => {}
            }
            self.push(Event::Mesh(event));
        }
        while let Some(event) = self.receiver.as_mut().and_then(StockReceiver::poll_event) {
            self.push(Event::Update(event));
        }
        while let Some(event) = self.distributor.poll_event() {
            self.push(Event::Rollout(event));
        }
        while let Some(event) = self.exchange.poll_event() {
            self.push(Event::Exchange(event));
        }
        moved
    }

    fn push(&mut self, event: Event) {
        push_bounded(&mut self.events, &mut self.events_dropped, event);
    }
}

fn push_bounded(events: &mut VecDeque<Event>, dropped: &mut u64, event: Event) {
    if events.len() >= EVENTS_MAX {
        *dropped += 1;
    } else {
        events.push_back(event);
    }
}

/// Where frames for this node go while the mesh reads a link.
struct Inbox<'a> {
    now: Instant,
    receiver: &'a mut Option<StockReceiver>,
    distributor: &'a mut Distributor,
    exchange: &'a mut Exchange,
    events: &'a mut VecDeque<Event>,
    events_dropped: &'a mut u64,
    malformed: &'a mut u64,
}

impl Inbox<'_> {
    fn take(&mut self, inbound: &Inbound<'_>) {
        let understood = match inbound.envelope.kind {
            kind::BROADCAST | kind::SINGLE => self.message(inbound),
            kind::OTA_ANNOUNCE => self.announce(inbound),
            kind::OTA_REQUEST => self.request(inbound),
            kind::OTA_DATA => self.data(inbound),
            kind if Parcel::is_kind(kind) => self.parcel(inbound),
            _ => self.package(inbound),
        };
        if understood.is_none() {
            *self.malformed += 1;
        }
    }

    fn message(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let user = User::decode(inbound.bytes).ok()?;
        self.push(Event::Message { from: user.from, broadcast: user.broadcast, text: user.msg.into_owned() })
    }

    fn announce(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let announce = Announce::decode(inbound.bytes).ok()?;
        let offer = &announce.offer;
        self.distributor.handle_sender(self.now, announce.from, &offer.role, &offer.hardware);
        if let Some(receiver) = self.receiver {
            receiver.handle_announce(self.now, &announce);
        }
        Some(())
    }

    fn request(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let request = DataRequest::decode(inbound.bytes).ok()?;
        self.distributor.handle_request(self.now, &request);
        Some(())
    }

    fn data(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        // Most relays neither send nor receive: they need not decode what they pass on.
        let wanted = self.receiver.as_ref().is_some_and(StockReceiver::wants_data);
        if !wanted && !self.distributor.is_active() {
            return Some(());
        }
        let data = Data::decode(inbound.bytes).ok()?;
        self.distributor.handle_sender(self.now, data.from, &data.offer.role, &data.offer.hardware);
        if let Some(receiver) = self.receiver {
            receiver.handle_data(self.now, &data);
        }
        Some(())
    }

    fn parcel(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let parcel = Parcel::decode(inbound.bytes).ok()?;
        self.exchange.handle_parcel(self.now, inbound.link, parcel);
        Some(())
    }

    fn package(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        self.push(Event::Package { envelope: inbound.envelope, bytes: inbound.bytes.to_vec() })
    }

    fn push(&mut self, event: Event) -> Option<()> {
        push_bounded(self.events, self.events_dropped, event);
        Some(())
    }
}
