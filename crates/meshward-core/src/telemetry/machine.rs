//! A node's telemetry as one machine: see the page of [`telemetry`](super).

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use super::hold::{Hold, Passing};
use super::message::{Body, Policy};
use super::package::{self, Command, Identity};
use super::registry::{Own, Registry};
use super::reporter::{Reporter, URGENT_SPACING, written};
use super::service::{Service, answer};
use super::{Field, Metric};
use crate::mesh::{LinkId, Mesh};
use crate::time::{Duration, Instant};
use crate::wire::status::{Code, Package};
use crate::wire::{Envelope, NodeId, Parcel, To, kind};

/// Frames and events that may wait for the node to take them.
const WAITING_MAX: usize = 8;
/// Commands that are remembered, so that a repeated one is answered and not obeyed again.
const COMMANDS_MAX: usize = 4;
/// Between the answer to a reset and the reset, for the answer to leave.
const RESET_DELAY: Duration = Duration::from_secs(1);
/// Longest text of a last error or an answer, in bytes; the rest is cut.
const TEXT_MAX: usize = 100;

/// What a node is told of its telemetry at its birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who hears it. `None`: nobody, until somebody sends a policy (type 214). With an id, only that node may send
    /// one.
    pub collector: Option<NodeId>,
    /// What is told, and when, until a policy says otherwise.
    pub policy: Policy,
    /// What it says of its firmware.
    pub identity: Identity,
    /// With less heap free than this, in bytes, the node is short of memory.
    pub low_memory: u32,
    /// Whether it answers the status service.
    pub answers: bool,
    /// Whether a command may reset it: commands are not signed.
    pub reset_allowed: bool,
}

impl Default for Config {
    /// No collector, the default policy, answers, no resets; low on memory below 10 000 B, as Alteriom's proposal
    /// has it.
    fn default() -> Self {
        Self {
            collector: None,
            policy: Policy::default(),
            identity: Identity::default(),
            low_memory: 10_000,
            answers: true,
            reset_allowed: false,
        }
    }
}

/// Something that the node's shell or application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another policy holds now, and this node hears what is told.
    Policy {
        /// The collector.
        collector: NodeId,
    },
    /// A command that the node does not obey by itself: answer with
    /// [`Node::answer_command`](crate::node::Node::answer_command).
    Command(Command),
    /// The machine is to be reset now.
    Reset,
}

/// Why things were dropped; all only ever rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Bodies and commands that made no sense.
    pub malformed: u32,
    /// Policies and commands of somebody who may not give them.
    pub refused: u32,
    /// Queries beyond [`ANSWERS_MAX`](super::ANSWERS_MAX).
    pub queries: u32,
    /// Frames and events beyond what may wait.
    pub frames: u32,
    /// Packets of others that had no room or no way.
    pub held: u32,
    /// Own packets that waited because a link was busy.
    pub postponed: u32,
    /// Values that cannot be.
    pub values: u32,
}

/// A frame that the node is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) dest: NodeId,
    pub(crate) frame: Vec<u8>,
}

/// See the page of [`telemetry`](super).
#[derive(Debug)]
pub struct Telemetry {
    id: NodeId,
    config: Config,
    collector: Option<NodeId>,
    registry: Registry,
    reporter: Reporter,
    service: Service,
    hold: Hold,
    last_error: String,
    /// When the next EnhancedStatus goes.
    enhanced: Option<Instant>,
    /// When the last one went.
    enhanced_at: Option<Instant>,
    /// One goes as soon as the last is [`URGENT_SPACING`] old.
    enhanced_now: bool,
    /// Who has asked for one.
    diagnostics: Option<NodeId>,
    reset: Option<Instant>,
    /// The last commands: who, which, and what was answered.
    commands: VecDeque<(NodeId, u32)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    dropped: Dropped,
}

impl Telemetry {
    /// A node that has told nothing yet. `seed` as the mesh's: another one after each restart.
    pub fn new(id: NodeId, seed: u64, config: Config) -> Self {
        Self {
            id,
            collector: config.collector.filter(|collector| *collector != id),
            registry: Registry::default(),
            reporter: Reporter::new(id, seed, config.policy.clone()),
            service: Service::default(),
            hold: Hold::default(),
            last_error: String::new(),
            enhanced: None,
            enhanced_at: None,
            enhanced_now: false,
            diagnostics: None,
            reset: None,
            commands: VecDeque::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            dropped: Dropped::default(),
            config,
        }
    }

    /// The metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Who hears what is told.
    pub fn collector(&self) -> Option<NodeId> {
        self.collector
    }

    /// What holds.
    pub fn policy(&self) -> &Policy {
        self.reporter.policy()
    }

    /// What was dropped, and why.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            queries: self.service.dropped(),
            held: self.hold.dropped(),
            postponed: self.reporter.postponed(),
            values: self.registry.refused(),
            ..self.dropped
        }
    }

    /// Sets a metric, see [`Registry::set`].
    pub(crate) fn set(&mut self, metric: Metric, value: i64) -> bool {
        let taken = self.registry.set(metric, value);
        if let Some(bit) = Field::bit(metric).filter(|_| taken) {
            self.look(bit);
        }
        taken
    }

    fn look(&mut self, bit: usize) {
        let critical = self.reporter.look(&self.registry, bit, self.config.low_memory);
        self.enhanced_now |= critical && self.policy().enhanced_s != 0;
    }

    /// Everything is told at once, as telemetry and, where that is on, as EnhancedStatus.
    pub(crate) fn press(&mut self) {
        self.reporter.press();
        self.enhanced_now |= self.policy().enhanced_s != 0;
    }

    /// The node sleeps from now on, or no more.
    pub(crate) fn set_sleeping(&mut self, sleeping: bool) {
        self.reporter.set_sleeping(sleeping);
    }

    /// What EnhancedStatus says went wrong last.
    pub(crate) fn set_last_error(&mut self, text: &str) {
        self.last_error = cut(text).into();
    }

    /// For whom a relay holds packets; `None` when it holds none.
    pub(crate) fn holds_for(&self) -> Option<NodeId> {
        let policy = self.policy();
        self.collector.filter(|_| policy.on && policy.aggregate)
    }

    /// A frame on its way to the collector.
    pub(crate) fn handle_passing(&mut self, now: Instant, link: LinkId, kind: i32, frame: &[u8]) {
        self.hold.take(now, link, kind, frame);
    }

    /// The tree has changed: so may have links, parent, and when the node's turn is.
    pub(crate) fn handle_topology(&mut self, now: Instant, mesh: &Mesh, own: &dyn Fn() -> Own) {
        self.registry.look(now, mesh, own(), self.collector);
        self.reporter.moved();
        for metric in [Metric::Links, Metric::Parent] {
            if let Some(bit) = Field::bit(metric) {
                self.look(bit);
            }
        }
    }

    /// A package of types 210 to 215 or 400 that came for this node. False for those that are a gateway's.
    pub(crate) fn handle_package(&mut self, now: Instant, envelope: &Envelope, frame: &[u8]) -> bool {
        match envelope.kind {
            kind::COMMAND => self.handle_command(now, frame),
            kind::STATUS_QUERY | kind::TELEMETRY_POLICY => self.handle_parcel(now, frame),
            kind::TELEMETRY_ACK => return self.handle_resync(frame),
            _ => return false,
        }
        true
    }

    fn handle_parcel(&mut self, now: Instant, frame: &[u8]) {
        let parcel = Parcel::decode(frame).ok();
        let parcel =
            parcel.and_then(|parcel| Some((parcel.from, Body::decode(parcel.kind, &parcel.body).ok()?)));
        match parcel {
            Some((from, Body::Query(query))) if self.config.answers => {
                self.service.ask(now, self.id, from, query);
            }
            Some((from, Body::Query(query))) => self.send(from, &Body::Answer { q: query.q, packet: None }),
            Some((from, Body::Policy(policy))) => self.handle_policy(from, policy),
            _ => self.dropped.malformed = self.dropped.malformed.saturating_add(1),
        }
    }

    fn handle_policy(&mut self, from: NodeId, policy: Policy) {
        let taken = self.config.collector.is_none_or(|collector| collector == from) && from != self.id;
        self.send(from, &Body::Ack { number: policy.number, taken });
        if !taken {
            self.dropped.refused = self.dropped.refused.saturating_add(1);
            return;
        }
        if self.collector == Some(from) && *self.policy() == policy.clone().bounded() {
            // Repeated, because the ack was lost.
            return;
        }
        if self.collector.replace(from) != Some(from) {
            self.hold.drop_all();
        }
        self.reporter.set_policy(policy);
        self.enhanced = None;
        self.push(Event::Policy { collector: from });
    }

    /// False for an ack, which is a gateway's.
    fn handle_resync(&mut self, frame: &[u8]) -> bool {
        let Ok(parcel) = Parcel::decode(frame) else { return false };
        let Ok(Body::Resync { .. }) = Body::decode(parcel.kind, &parcel.body) else { return false };
        if Some(parcel.from) == self.collector {
            self.reporter.want_keyframe();
        } else {
            self.dropped.refused = self.dropped.refused.saturating_add(1);
        }
        true
    }

    fn handle_command(&mut self, now: Instant, frame: &[u8]) {
        let Some(command) = Command::decode(self.id, frame) else {
            self.dropped.malformed = self.dropped.malformed.saturating_add(1);
            return;
        };
        let known = (command.from, command.id);
        let repeated = command.id != 0 && self.commands.contains(&known);
        if !repeated {
            if self.commands.len() >= COMMANDS_MAX {
                self.commands.pop_front();
            }
            self.commands.push_back(known);
        }
        let text = match command.code {
            Code::Reset if !self.config.reset_allowed => "refused: resets by command are not allowed",
            Code::Reset => {
                self.reset.get_or_insert(now + RESET_DELAY);
                "resetting"
            }
            Code::GetStatus => "ok",
            Code::GetDiagnostics => {
                self.diagnostics = Some(command.from);
                "ok"
            }
            Code::StartMonitoring | Code::StopMonitoring if Some(command.from) != self.collector => {
                "refused: only the collector may"
            }
            Code::StartMonitoring | Code::StopMonitoring => {
                let on = command.code == Code::StartMonitoring;
                if self.policy().on != on {
                    self.reporter.set_policy(Policy { on, ..self.policy().clone() });
                }
                "ok"
            }
            _ => {
                if !repeated {
                    self.push(Event::Command(command));
                }
                return;
            }
        };
        self.answer_command(command.from, command.id, text);
    }

    /// Answers a command with a Status (type 202).
    pub(crate) fn answer_command(&mut self, dest: NodeId, id: u32, text: &str) {
        let identity = &self.config.identity;
        let status = package::response(&self.registry, identity, id, cut(text));
        self.transmit(dest, Package::from(status).encode(self.id, To::One(dest)));
    }

    /// Does what is due.
    pub(crate) fn work(&mut self, now: Instant, mesh: &Mesh, own: &dyn Fn() -> Own) {
        self.registry.start(now);
        if self.reset.is_some_and(|at| at <= now) {
            self.reset = None;
            self.push(Event::Reset);
        }
        while let Some((asker, query)) = self.service.next(now) {
            self.registry.look(now, mesh, own(), self.collector);
            let body = answer(&self.registry, &query, self.config.low_memory);
            self.send(asker, &body);
        }
        if let Some(asker) = self.diagnostics.take() {
            self.send_enhanced(now, mesh, own, asker);
        }
        let Some(collector) = self.collector.filter(|collector| mesh.knows(*collector)) else {
            if !self.hold.is_empty() {
                self.hold.drop_all();
            }
            return;
        };
        self.reporter.plan(now, mesh, collector);
        self.report(now, mesh, own, collector);
        self.enhance(now, mesh, own, collector);
    }

    fn report(&mut self, now: Instant, mesh: &Mesh, own: &dyn Fn() -> Own, collector: NodeId) {
        let due = self.reporter.due(now).is_some_and(|due| due <= now);
        let due = due && self.reporter.has_room(now, mesh, collector);
        let towards = mesh.link_to(collector);
        while let Some(body) = self.hold.full(now, towards) {
            self.send_bundle(collector, body);
        }
        let release = self.hold.due(now).is_some_and(|due| due <= now);
        let packet = due.then(|| {
            self.registry.look(now, mesh, own(), Some(collector));
            self.reporter.packet(now, &self.registry, self.config.low_memory)
        });
        if packet.is_none() && !release {
            return;
        }
        let bytes = packet.as_ref().map(written);
        let entry = bytes.as_deref().map(|bytes| (self.id, bytes));
        match (self.hold.release(now, towards, entry), packet) {
            (Some(body), _) => self.send_bundle(collector, body),
            (None, Some(packet)) => self.send(collector, &Body::Packet(packet)),
            (None, None) => {}
        }
        self.reporter.plan(now, mesh, collector);
    }

    fn send_bundle(&mut self, collector: NodeId, body: Vec<u8>) {
        let parcel = Parcel { kind: kind::TELEMETRY_DELTA, from: self.id, to: To::One(collector), body };
        self.transmit(collector, parcel.encode());
    }

    fn enhance(&mut self, now: Instant, mesh: &Mesh, own: &dyn Fn() -> Own, collector: NodeId) {
        let seconds = self.policy().enhanced_s;
        let interval = (seconds != 0 && self.policy().on).then(|| Duration::from_secs(seconds.into()));
        match interval {
            Some(interval) => {
                let due = *self.enhanced.get_or_insert(now + interval);
                self.enhanced_now |= due <= now;
            }
            None => (self.enhanced, self.enhanced_now) = (None, false),
        }
        if self.enhanced_now && self.enhanced_at.is_none_or(|at| at + URGENT_SPACING <= now) {
            self.enhanced_now = false;
            self.enhanced = interval.map(|interval| now + interval);
            self.enhanced_at = Some(now);
            self.send_enhanced(now, mesh, own, collector);
        }
    }

    fn send_enhanced(&mut self, now: Instant, mesh: &Mesh, own: &dyn Fn() -> Own, dest: NodeId) {
        self.registry.look(now, mesh, own(), self.collector);
        let status = package::enhanced(&self.registry, &self.config.identity, &self.last_error, mesh);
        let frame = Package::from(status).encode(self.id, To::One(dest));
        self.transmit(dest, frame);
    }

    /// When to call [`Telemetry::work`] next.
    pub(crate) fn poll_timeout(&self, mesh: &Mesh) -> Option<Instant> {
        let soon = Instant::ORIGIN;
        let reached = self.collector.is_some_and(|collector| mesh.knows(collector));
        let critical = self.enhanced_at.filter(|_| self.enhanced_now).map(|at| at + URGENT_SPACING);
        let tells = reached.then(|| [self.reporter.due(soon), self.hold.due(soon), self.enhanced, critical]);
        let other = [self.service.due(), self.reset];
        tells.into_iter().flatten().chain(other).flatten().min()
    }

    fn send(&mut self, dest: NodeId, body: &Body) {
        let frame = body.frame(self.id, To::One(dest));
        self.transmit(dest, frame);
    }

    fn transmit(&mut self, dest: NodeId, frame: Vec<u8>) {
        if self.transmits.len() >= WAITING_MAX {
            self.dropped.frames = self.dropped.frames.saturating_add(1);
        } else {
            self.transmits.push_back(Transmit { dest, frame });
        }
    }

    fn push(&mut self, event: Event) {
        if self.events.len() >= WAITING_MAX {
            self.dropped.frames = self.dropped.frames.saturating_add(1);
        } else {
            self.events.push_back(event);
        }
    }

    /// The next frame of this node's own.
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next frame of others, to be passed on as it came.
    pub(crate) fn poll_passing(&mut self) -> Option<Passing> {
        self.hold.pass()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Everything it holds is bounded.
    pub(crate) fn check(&self) {
        self.hold.check();
        self.service.check();
        assert!(
            self.transmits.is_empty() && self.events.is_empty(),
            "what is to go out has gone to the node"
        );
        assert!(self.commands.len() <= COMMANDS_MAX && self.last_error.len() <= TEXT_MAX);
    }
}

/// A text's beginning, at most [`TEXT_MAX`] bytes.
fn cut(text: &str) -> &str {
    let end = (0..=TEXT_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}
