//! A whole node: mesh, firmware receiver and firmware sender as one machine.
//!
//! [`Node`] is what shells run: a Tokio task on Linux, the simulator, a microcontroller. The driving contract
//! is on the crate's first page.

mod inbox;
mod settle;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::flash::{Completion, FlashOp};
use crate::mesh::{self, LinkId, LinkRole, Mesh, MeshConfig, MeshEvent, Outgoing, Priority, SendError};
use crate::ota::exchange::{Exchange, ExchangeEvent, PlanError, UpdatePlan};
use crate::ota::{
    DistributorEvent, Distributors, ImagePlan, ReceiverConfig, ReceiverEvent, ReceiverState, SessionId,
    StartError, StockReceiver, TargetReport, receiver,
};
use crate::telemetry::{self, Metric, Telemetry};
use crate::time::Instant;
use crate::wire::{Envelope, NodeId};
use inbox::{Inbox, push_bounded};

/// Events kept for a shell that does not ask.
const EVENTS_MAX: usize = 8_192;

/// How a node takes firmware: in one manner only, for whoever may write without a signature needs none.
#[derive(Clone, Debug)]
pub enum Firmware {
    /// By the stock protocol, unsigned, as C++ nodes do.
    Stock(ReceiverConfig),
    /// What an author and an operator have signed.
    Signed(Box<receiver::Config>),
}

/// What a node is told at its birth.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its membership of the mesh.
    pub mesh: MeshConfig,
    /// How it takes firmware; `None` for a node without an update receiver.
    pub firmware: Option<Firmware>,
    /// What it tells about itself, and to whom; `None` for a node that says nothing.
    pub telemetry: Option<telemetry::Config>,
}

impl NodeConfig {
    /// A member of the mesh that takes no firmware and tells nothing about itself.
    pub fn new(mesh: MeshConfig) -> Self {
        Self { mesh, firmware: None, telemetry: None }
    }

    /// The same, which takes firmware.
    #[must_use]
    pub fn with_firmware(self, firmware: impl Into<Option<Firmware>>) -> Self {
        Self { firmware: firmware.into(), ..self }
    }

    /// The same, which tells about itself.
    #[must_use]
    pub fn with_telemetry(self, telemetry: telemetry::Config) -> Self {
        Self { telemetry: Some(telemetry), ..self }
    }
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
    /// A roll-out to stock nodes that this node runs.
    Rollout(DistributorEvent),
    /// Meshward updates: the node's own, and that of others.
    Exchange(ExchangeEvent),
    /// What the node tells about itself, and commands to it.
    Telemetry(telemetry::Event),
}

impl Event {
    /// Whether the machine is to be reset now.
    pub fn is_restart(&self) -> bool {
        matches!(
            self,
            Self::Update(ReceiverEvent::Restart)
                | Self::Exchange(ExchangeEvent::Receiver(receiver::Event::Restart))
                | Self::Telemetry(telemetry::Event::Reset)
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
    /// A roll-out to stock nodes that this node runs.
    Rollout,
    /// Meshward updates.
    Exchange,
    /// Something is to be told.
    Telemetry,
}

/// See the module's page.
#[derive(Debug)]
pub struct Node {
    mesh: Mesh,
    receiver: Option<StockReceiver>,
    distributors: Distributors,
    exchange: Exchange,
    telemetry: Option<Box<Telemetry>>,
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
        let MeshConfig { id, seed, .. } = config.mesh;
        Self {
            telemetry: config.telemetry.map(|config| Box::new(Telemetry::new(id, seed, config))),
            distributors: Distributors::new(config.mesh.id),
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

    /// The roll-outs to stock nodes that this node runs or ran last, for reading.
    pub fn distributors(&self) -> &Distributors {
        &self.distributors
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
        let id = self.id();
        let Self { mesh, receiver, distributors, exchange, telemetry, events, .. } = self;
        let (events_dropped, malformed) = (&mut self.events_dropped, &mut self.malformed);
        let mut inbox =
            Inbox { now, receiver, distributors, exchange, id, telemetry, events, events_dropped, malformed };
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
        self.distributors.handle_timeout(now);
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
        let mut next = self.mesh.poll_timeout().map(|(due, timer)| (due, Timer::Mesh(timer)));
        // Of two at once the first one here counts.
        let mut sooner = |due: Option<Instant>, timer: Timer| {
            if let Some(due) = due.filter(|due| next.is_none_or(|(first, _)| *due < first)) {
                next = Some((due, timer));
            }
        };
        sooner(self.receiver.as_ref().and_then(StockReceiver::poll_timeout), Timer::Update);
        sooner(self.distributors.poll_timeout(), Timer::Rollout);
        sooner(self.exchange.poll_timeout(), Timer::Exchange);
        let telemetry = self.telemetry.as_ref();
        sooner(telemetry.and_then(|telemetry| telemetry.poll_timeout(&self.mesh)), Timer::Telemetry);
        next
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

    /// As [`Mesh::send_single_frame`]: a package of a plug-in, for one node.
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn send_package(&mut self, dest: NodeId, frame: &[u8], priority: Priority) -> Result<(), SendError> {
        self.mesh.send_single_frame(dest, frame, priority)
    }

    /// As [`Mesh::send_broadcast_frame`]: a package of a plug-in, for every node.
    pub fn send_package_to_all(&mut self, frame: &[u8], priority: Priority) -> usize {
        self.mesh.send_broadcast_frame(frame, priority)
    }

    /// As [`Mesh::probe`].
    ///
    /// # Errors
    /// [`SendError`], and nothing was sent.
    pub fn probe(&mut self, now: Instant, dest: NodeId) -> Result<(), SendError> {
        self.mesh.probe(now, dest, Priority::Normal)
    }

    /// Starts to bring an image to stock nodes of a role; several roles may have one at the same time. Its name, for
    /// what is to be done with it alone.
    ///
    /// # Errors
    /// [`StartError`], and nothing has changed.
    pub fn start_rollout(&mut self, now: Instant, plan: ImagePlan) -> Result<SessionId, StartError> {
        let tree = self.mesh.tree();
        let session = self.distributors.start(now, plan, &tree)?;
        self.settle(now);
        Ok(session)
    }

    /// Stops sending of this roll-out until [`Node::resume_rollout`].
    pub fn pause_rollout(&mut self, session: SessionId) {
        if let Some(distributor) = self.distributors.get_mut(session) {
            distributor.pause();
        }
    }

    /// Goes on after [`Node::pause_rollout`].
    pub fn resume_rollout(&mut self, now: Instant, session: SessionId) {
        if let Some(distributor) = self.distributors.get_mut(session) {
            distributor.resume(now);
        }
        self.settle(now);
    }

    /// Lets these nodes restart into the image, of roll-outs with [`ImagePlan::hold`] that have them as targets.
    pub fn activate_rollout(&mut self, now: Instant, nodes: &[NodeId]) {
        self.distributors.activate(now, nodes);
        self.settle(now);
    }

    /// Ends this roll-out where it is.
    pub fn abort_rollout(&mut self, now: Instant, session: SessionId) {
        if let Some(distributor) = self.distributors.get_mut(session) {
            distributor.abort(now);
        }
        self.settle(now);
    }

    /// A line per target of all roll-outs to stock nodes.
    pub fn rollout_report(&self) -> Vec<TargetReport> {
        self.distributors.report()
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

    /// As [`Exchange::survey_one`].
    pub fn survey_one(&mut self, now: Instant, node: NodeId) {
        self.exchange.survey_one(now, node);
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

    /// What the node tells about itself, for reading; `None` for a node without.
    pub fn telemetry(&self) -> Option<&Telemetry> {
        self.telemetry.as_deref()
    }

    /// Says what a metric is now, in its whole numbers ([`Metric::decimals`]). False when that cannot be, or the node
    /// tells nothing.
    pub fn set_metric(&mut self, now: Instant, metric: Metric, value: i64) -> bool {
        let taken = self.telemetry.as_mut().is_some_and(|telemetry| telemetry.set(metric, value));
        self.settle(now);
        taken
    }

    /// Tells everything at once: the application has met with something critical.
    pub fn tell_now(&mut self, now: Instant) {
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.press();
        }
        self.settle(now);
    }

    /// The node goes to sleep, which is told before, or has woken up.
    pub fn set_sleeping(&mut self, now: Instant, sleeping: bool) {
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.set_sleeping(sleeping);
        }
        self.settle(now);
    }

    /// What EnhancedStatus (type 604) says went wrong last; its first 100 bytes.
    pub fn set_last_error(&mut self, text: &str) {
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.set_last_error(text);
        }
    }

    /// Answers a command ([`telemetry::Event::Command`]) with a Status (type 202).
    pub fn answer_command(&mut self, now: Instant, command: &telemetry::Command, text: &str) {
        if let Some(telemetry) = &mut self.telemetry {
            telemetry.answer_command(command.from, command.id, text);
        }
        self.settle(now);
    }

    fn input(&mut self) {
        debug_assert!(!self.undrained, "the shell must call poll_event until None after every input");
        self.undrained = true;
    }

    fn push(&mut self, event: Event) {
        push_bounded(&mut self.events, &mut self.events_dropped, event);
    }
}
