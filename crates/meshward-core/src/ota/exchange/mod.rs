//! Meshward updates between nodes (types 220 to 223): offered, asked for, given, ordered.
//!
//! [`Exchange`] is what a node does about updates beside receiving one: it holds the node's own [`Receiver`], says
//! what that needs, gives others what it holds, and merges the news of the nodes behind it. On a gateway it runs
//! the roll-out as well ([`Exchange::start`]). Every node has the same rules, so a relay, a peer and a gateway
//! serve alike: whoever holds a payload gives it to whoever asks over one hop, and only what was found right.
//!
//! A node takes what its receiver believes, whoever brought it; the messages themselves are trusted in nothing.
//! Refused and counted: bodies that make no sense, more clients or news than there is room for.

mod about;
mod asker;
mod clients;
#[doc(hidden)]
pub mod fuzzing;
mod inbox;
mod message;
mod payload;
mod peers;
mod plan;
mod reports;
mod serve;
mod source;
mod stage;
mod work;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

pub use about::{About, key_prefix};
pub use message::{Chunk, Chunks, Head, Line, News, Offer, Record, Want};
pub use plan::{ExchangeEvent, Member, Offering, Phase, PlanError, UpdatePlan};
pub use stage::Stage;

pub use super::{ImageId, Tag};

use super::Package;
use super::receiver::{self, Piece, Receiver};
use crate::flash::{Completion, FlashOp};
use crate::mesh::{LinkId, Mesh};
use crate::ota::trust::{CHUNK_SIZES, PAYLOAD_MAX};
use crate::time::{Duration, Instant};
use crate::wire::NodeId;
use asker::Asker;
use clients::Clients;
use peers::Peers;
use reports::Reports;
use source::{OFFERINGS_MAX, Source};

/// Members that are kept; more are not heard.
const MEMBERS_MAX: usize = 2_500;
/// Chunks that wait for the flash; what comes when they are so many is asked for again.
const WAITING_MAX: usize = 2;
/// No payload has so many chunks: whoever wants one beyond wants nothing.
const CHUNKS_MAX: u32 = PAYLOAD_MAX.div_ceil(*CHUNK_SIZES.start() as u32);
/// Orders that wait for the receiver.
const ORDERS_MAX: usize = 2;
/// Orders that are known from those heard last: each is passed on once.
const ORDERED_MAX: usize = 4;
/// A survey that comes again within this time is the same one.
const SURVEY_ONCE: Duration = Duration::from_secs(5);
/// Payloads of others for which this node asks on behalf of its clients.
const FOREIGN_MAX: usize = 2;
/// Nodes that wait for a payload's signed beginning.
const HEADS_MAX: usize = 8;
/// Events kept for a shell that does not ask.
const EVENTS_MAX: usize = 512;
/// How long a restart waits for what is still to be sent.
const RESTART: Duration = Duration::from_secs(10);
/// Between two looks at whether that has gone.
const RESTART_LOOK: Duration = Duration::from_millis(50);

/// See the module's page.
#[derive(Debug)]
pub struct Exchange {
    id: NodeId,
    receiver: Option<Box<Receiver>>,
    /// What the node calls itself.
    hardware: alloc::string::String,
    role: alloc::string::String,
    source: Option<Box<Source>>,
    members: BTreeMap<NodeId, Member>,
    peers: Peers,
    clients: Clients,
    reports: Reports,
    /// What is asked for: of the own payload, and of others' for clients.
    askers: Vec<(Tag, Asker)>,
    /// Chunks that wait for the flash.
    waiting: VecDeque<(LinkId, u32, Vec<u8>)>,
    orders: VecDeque<Vec<u8>>,
    ordered: Vec<Tag>,
    /// When everybody was asked last what it is.
    surveyed: Option<Instant>,
    /// Who waits for the head of which payload.
    heads: Vec<(NodeId, Tag)>,
    /// The piece that the receiver looks for, since when.
    fetching: Option<(Piece, Instant)>,
    /// Payloads that the receiver has refused: not asked for again.
    refused: Vec<Tag>,
    /// The line that was told last.
    told: Option<Line>,
    told_at: Instant,
    /// Where the receiver is, since when, and when that is told if it lasts.
    entered: (Stage, Instant),
    tell_due: Option<Instant>,
    /// Whether the shell has said that the node works.
    self_test: Option<bool>,
    /// Whether the source has been heard since the reset, and a neighbour that holds the image's manifest.
    source_heard: bool,
    neighbour_heard: bool,
    health_due: Instant,
    /// Since when the node is on trial, and has not heard the source that is in the tree.
    unsure: Option<Instant>,
    /// When nodes on trial are to be told that the source hears them.
    greeting: Option<Instant>,
    /// When the machine restarts at the latest.
    restart: Option<Instant>,
    /// Whether the neighbours are to hear who began the roll-out.
    tells_neighbours: bool,
    /// When something is to be asked for again.
    ask_due: Option<Instant>,
    /// Something has come that may change what is to be done.
    stirred: bool,
    now: Instant,
    packages: VecDeque<Package>,
    events: VecDeque<ExchangeEvent>,
    dropped: Dropped,
}

/// What was refused for want of room or sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Bodies that made no sense.
    pub malformed: u64,
    /// Chunks that came while too many waited for the flash.
    pub chunks: u64,
    /// Orders that were refused.
    pub orders: u64,
    /// Events that the shell did not ask for.
    pub events: u64,
    /// Wants of more clients than are served at once.
    pub wants: u64,
    /// News for which there was no room.
    pub news: u64,
}

impl Exchange {
    /// Payloads of one roll-out: a whole image and patches.
    pub const OFFERINGS_MAX: usize = OFFERINGS_MAX;

    /// Of a node that takes updates, if it has a receiver, and can bring them to others.
    pub fn new(id: NodeId, receiver: Option<receiver::Config>) -> Self {
        let names = receiver.as_ref().map(|config| (config.hardware.clone(), config.role.clone()));
        let (hardware, role) = names.unwrap_or_default();
        Self {
            id,
            receiver: receiver.map(|config| Box::new(Receiver::new(config))),
            hardware,
            role,
            source: None,
            members: BTreeMap::new(),
            peers: Peers::default(),
            clients: Clients::default(),
            reports: Reports::default(),
            askers: Vec::new(),
            waiting: VecDeque::new(),
            orders: VecDeque::new(),
            ordered: Vec::new(),
            surveyed: None,
            heads: Vec::new(),
            fetching: None,
            refused: Vec::new(),
            told: None,
            told_at: Instant::ORIGIN,
            entered: (Stage::Starting, Instant::ORIGIN),
            tell_due: None,
            self_test: None,
            source_heard: false,
            neighbour_heard: false,
            health_due: Instant::ORIGIN,
            unsure: None,
            greeting: None,
            restart: None,
            tells_neighbours: false,
            ask_due: None,
            stirred: false,
            now: Instant::ORIGIN,
            packages: VecDeque::new(),
            events: VecDeque::new(),
            dropped: Dropped::default(),
        }
    }

    /// The node's own receiver.
    pub fn receiver(&self) -> Option<&Receiver> {
        self.receiver.as_deref()
    }

    /// What is known of other Meshward nodes.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// What was refused.
    pub fn dropped(&self) -> Dropped {
        Dropped { wants: self.clients.dropped, news: self.reports.dropped, ..self.dropped }
    }

    /// Asks every Meshward node what it is and how far: they become members.
    pub fn survey(&mut self, now: Instant) {
        self.peers.set_source(self.id);
        let offer = Offer { source: self.id, ask: true, ask_about: true, ..Offer::default() };
        self.broadcast_offer(&offer);
        self.stir(now);
    }

    /// Asks one node what it is and how far, whatever it has told before.
    pub fn survey_one(&mut self, now: Instant, node: NodeId) {
        self.peers.set_source(self.id);
        let offer = Offer { source: self.id, ask: true, ask_about: true, ..Offer::default() };
        self.single(crate::wire::kind::OFFER, node, offer.encode());
        self.stir(now);
    }

    /// Starts a roll-out.
    ///
    /// # Errors
    /// [`PlanError`], and nothing has changed.
    pub fn start(&mut self, now: Instant, plan: UpdatePlan, mesh: &Mesh) -> Result<(), PlanError> {
        if self.source.as_ref().is_some_and(|source| source.phase() != Phase::Delivered) {
            return Err(PlanError::Busy);
        }
        let source = Source::new(now, plan, mesh)?;
        self.peers.set_source(self.id);
        let opening: Vec<_> = source.opening().collect();
        self.source = Some(Box::new(source));
        opening.into_iter().for_each(|wish| self.grant(wish));
        self.event(ExchangeEvent::Phase(Phase::Offering));
        self.stir(now);
        Ok(())
    }

    /// Where the roll-out is; `None` when there is none.
    pub fn phase(&self) -> Option<Phase> {
        self.source.as_ref().map(|source| source.phase())
    }

    /// Whether the roll-out under way brings this payload.
    pub fn brings(&self, tag: Tag) -> bool {
        self.source.as_ref().is_some_and(|source| source.payload(tag).is_some())
    }

    /// Ends the roll-out where it is; nodes keep what they have and serve each other.
    pub fn stop(&mut self) {
        self.source = None;
    }

    /// Sends an operator's signed order: to everybody, or to these nodes, one by one.
    pub fn order(&mut self, signed: &[u8], nodes: Option<&[NodeId]>) {
        match nodes {
            None => self.broadcast(crate::wire::kind::ORDER, false, signed.to_vec()),
            Some(nodes) => {
                nodes.iter().for_each(|node| self.single(crate::wire::kind::ORDER, *node, signed.to_vec()));
            }
        }
    }

    /// What the application found out about itself: whether it works. A trial does not pass without it.
    pub fn handle_self_test(&mut self, now: Instant, works: bool) {
        self.self_test = Some(works);
        self.health_due = now;
        self.stir(now);
    }

    /// The supply was measured, in millivolts.
    pub fn handle_supply(&mut self, millivolts: u16) {
        self.receiver.iter_mut().for_each(|receiver| receiver.handle_supply(millivolts));
    }

    /// A neighbour has synced on a link.
    pub(crate) fn handle_link_up(&mut self, now: Instant, link: LinkId) {
        if self.receiver.is_some() || self.peers.source() == self.id {
            self.hello(link);
        }
        self.stir(now);
    }

    pub(crate) fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        self.peers.link_down(link);
        self.receiver.iter_mut().for_each(|receiver| receiver.handle_link_down(link));
        self.askers.iter_mut().for_each(|(_, asker)| asker.forget());
        self.stir(now);
    }

    pub(crate) fn handle_topology(&mut self, now: Instant, mesh: &Mesh) {
        self.peers.handle_topology();
        self.clients.retain(|id| mesh.knows(id));
        if let Some(source) = &mut self.source {
            source.handle_topology(mesh);
        }
        self.health_due = self.health_due.min(now);
        self.stir(now);
    }

    /// A delay probe has come back.
    pub(crate) fn handle_delay(&mut self, now: Instant, from: NodeId, round_trip: Duration) {
        if from == self.peers.source() && !self.source_heard {
            (self.source_heard, self.health_due) = (true, now);
        }
        if let Some(source) = &mut self.source {
            source.handle_delay(now, from, round_trip);
        }
        self.stir(now);
    }

    pub(crate) fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        let Some(receiver) = &mut self.receiver else { return };
        let before = Stage::of(&receiver.state());
        receiver.handle_flash(now, completion);
        // Of the thousands of pieces of an image that are read and written, only the last changes anything for others.
        let long = matches!(before, Stage::Verifying | Stage::Installing);
        if !long || self.fetching.is_some() || Stage::of(&receiver.state()) != before {
            self.stir(now);
        }
    }

    pub(crate) fn poll_flash(&mut self) -> Option<FlashOp> {
        self.receiver.as_mut()?.poll_flash()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now);
        }
        self.stir(now);
    }

    /// Bytes have left a link: there may be room for more.
    pub(crate) fn handle_room(&mut self) {
        self.stirred |= !self.clients.is_empty();
    }

    fn stir(&mut self, now: Instant) {
        (self.stirred, self.now) = (true, now);
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Package> {
        self.packages.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<ExchangeEvent> {
        self.events.pop_front()
    }

    fn event(&mut self, event: ExchangeEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.dropped.events += 1;
        } else {
            self.events.push_back(event);
        }
    }
}
