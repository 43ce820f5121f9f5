//! Our node in a real node's place, in virtual time.
//!
//! The node gets what the real one got, at those times; its timers fire when they are due; whatever it
//! sends goes to the [`Judge`]. The one liberty taken is with time replies: they carry stamps of two clocks,
//! one of which is now ours (see [`Part::rebased`]).

use std::collections::{BTreeMap, VecDeque};

use meshward_core::flash::{Completion, ERASED, FlashOp, Layout, erase, program};
use meshward_core::mesh::{Limits, LinkId, LinkRole, MeshConfig, Outgoing, Priority};
use meshward_core::node::{Firmware, Node, NodeConfig};
use meshward_core::ota::{ImagePlan, ReceiverConfig, Tempo};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::cast::Gift;
use super::exceptions::Effect;
use super::judge::{Judge, Report};
use super::script::{Incoming, Script, Step};
use super::text::{self, Kind};
use super::verdicts::Verdict;

/// The recording's beginning on our node's monotonic clock, in microseconds.
const BEGIN: u64 = 1_000_000;
/// An answer that had to wait for its cause comes this long after it, in microseconds.
const ANSWER_AFTER: u64 = 100;
/// A C++ node hands at most this many bytes to TCP at once.
const WRITE: usize = 1_023;
/// A part that has not ended after so many inputs is spinning.
const INPUTS_MAX: usize = 100_000;
/// Offsets that count as settled, in microseconds: below 5 ms, and not 0 after the division by four.
const SETTLED: std::ops::RangeInclusive<i32> = 8..=4_000;

/// What is done to one of the node's messages on purpose, to test the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sabotage {
    /// Which message, counted over all links.
    pub(super) message: usize,
    /// What is done to it.
    pub(super) how: How,
}

/// How a message is spoilt.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// Another digit at the end of its text.
    OtherDigit,
    /// It does not leave.
    Lost,
    /// It leaves after the next one on its link.
    Late,
}

struct Link {
    id: LinkId,
    /// Messages that wait for the cause of the first of them.
    parked: VecDeque<Incoming>,
    /// A spoilt message that waits for the next one.
    held: Option<Vec<u8>>,
}

struct Part<'a> {
    script: &'a Script,
    node: Node,
    flash: Vec<u8>,
    now: Instant,
    /// What happens next, in order of time.
    agenda: BTreeMap<(Instant, usize), Step>,
    steps: usize,
    links: Vec<Option<Link>>,
    judge: Judge<'a>,
    sent: usize,
    sabotage: Option<Sabotage>,
    image: Vec<u8>,
}

/// Lets our node play a part. `image` is the firmware that a sender offers.
pub(super) fn play(script: &Script, image: Vec<u8>, sabotage: Option<Sabotage>) -> Report {
    let mut part = Part::new(script, image, sabotage);
    let end = Instant::from_micros(BEGIN + script.end);
    for _ in 0..INPUTS_MAX {
        let step = part.agenda.first_key_value().map(|((at, _), _)| *at);
        let timer = part.node.poll_timeout().map(|(due, _)| due.max(part.now));
        match (step, timer) {
            (Some(at), due) if at <= end && due.is_none_or(|due| at < due || due >= end) => part.step(),
            (_, Some(due)) if due < end => part.timer(due),
            _ => return part.judge.report(),
        }
    }
    panic!("{} as {} spins", script.file, script.cast.name);
}

fn config(script: &Script) -> NodeConfig {
    let gift = script.cast.gift;
    let id = NodeId(script.cast.id);
    let frame = script.effects().find_map(|(_, effect)| match effect {
        Effect::LongerFrames(bytes) => Some(bytes),
        _ => None,
    });
    let limits = frame.map_or(Limits::NODE, |frame| Limits { frame, ..Limits::GATEWAY });
    let mesh = MeshConfig {
        root: gift == Gift::Root,
        time_authority: gift == Gift::Authority,
        clock_offset: script.clock_at_start.wrapping_sub(BEGIN as u32),
        limits,
        ..MeshConfig::node(id, 1)
    };
    let receiver = (gift == Gift::Receiver).then(|| ReceiverConfig {
        id,
        role: b"sensor".to_vec(),
        hardware: b"ESP32".to_vec(),
        root: false,
        layout: Layout::FOUR_MEGABYTES,
        running: None,
    });
    NodeConfig::new(mesh).with_firmware(receiver.map(Firmware::Stock))
}

impl<'a> Part<'a> {
    fn new(script: &'a Script, image: Vec<u8>, sabotage: Option<Sabotage>) -> Self {
        let steps = script.steps.iter().enumerate();
        let flash = if script.cast.gift == Gift::Receiver { Layout::FOUR_MEGABYTES.size } else { 0 };
        Self {
            node: Node::new(config(script)),
            flash: vec![ERASED; flash as usize],
            now: Instant::ORIGIN,
            agenda: steps
                .map(|(index, (at, step))| {
                    ((Instant::from_micros(BEGIN.saturating_add_signed(*at)), index), step.clone())
                })
                .collect(),
            steps: script.steps.len(),
            links: script.links.iter().map(|_| None).collect(),
            judge: Judge::new(script),
            sent: 0,
            script,
            sabotage,
            image,
        }
    }

    fn timer(&mut self, due: Instant) {
        self.now = due;
        self.node.handle_timeout(due);
        self.drain();
    }

    fn step(&mut self) {
        let Some(((at, _), step)) = self.agenda.pop_first() else { return };
        self.now = self.now.max(at);
        match step {
            Step::Open { link } => self.open(link),
            Step::Closed { link } => self.close(link),
            Step::Incoming(incoming) => self.incoming(incoming),
            Step::Verb { message } => self.verb(&message),
            Step::Empty => self.data(0, &[0, 0]),
        }
    }

    fn open(&mut self, link: usize) {
        let role = if self.script.links[link].dials { LinkRole::Dialler } else { LinkRole::Listener };
        let id = self.node.handle_link_up(self.now, role).expect("there is room for a link");
        self.links[link] = Some(Link { id, parked: VecDeque::new(), held: None });
        self.drain();
    }

    fn close(&mut self, link: usize) {
        let Some(Link { id, .. }) = self.links[link].take() else { return };
        self.node.handle_link_down(self.now, id);
        self.drain();
    }

    /// A message is there: it goes in, unless it or one before it waits for its cause.
    fn incoming(&mut self, incoming: Incoming) {
        let Some(link) = &mut self.links[incoming.link] else { return };
        if !link.parked.is_empty() || !self.judge.has_sent(incoming.link, incoming.cause) {
            link.parked.push_back(incoming);
            return;
        }
        let mut bytes = match incoming.verdict {
            Some(verdict) => self.rebased(&incoming, verdict),
            None if Kind::of(&incoming.bytes) == Kind::DelayReply => self.with_our_t0(&incoming),
            None => incoming.bytes.clone(),
        };
        self.judge.hear(incoming.link, &bytes, self.node.mesh().mesh_time(self.now));
        bytes.push(0);
        self.data(incoming.link, &bytes);
    }

    fn data(&mut self, link: usize, bytes: &[u8]) {
        for piece in bytes.chunks(WRITE) {
            let Some(Link { id, .. }) = &self.links[link] else { return };
            self.node.handle_data(self.now, *id, piece);
            self.drain();
        }
    }

    /// Messages that waited for a cause which is there now come next.
    fn unpark(&mut self) {
        for (index, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            if link.parked.front().is_some_and(|first| self.judge.has_sent(index, first.cause)) {
                for incoming in link.parked.drain(..) {
                    let at = Instant::from_micros(self.now.as_micros() + ANSWER_AFTER);
                    self.agenda.insert((at, self.steps), Step::Incoming(incoming));
                    self.steps += 1;
                }
            }
        }
    }

    /// An answer as it would be to the request that our node has sent.
    fn with_our_t0(&self, incoming: &Incoming) -> Vec<u8> {
        match incoming.cause.and_then(|cause| self.judge.t0(incoming.link, cause)) {
            Some(t0) => text::with_number(&incoming.bytes, "t0", t0),
            None => incoming.bytes.clone(),
        }
    }

    /// A time reply as it would be to our node's request, and such that our node must judge it as the real
    /// one did: its own `t0`; `t1` and `t2` of the recording where possible; but a reply that was thrown
    /// away took its answerer no time, and one that was used took him long enough.
    fn rebased(&mut self, incoming: &Incoming, verdict: Verdict) -> Vec<u8> {
        let bytes = self.with_our_t0(incoming);
        let number = |key| text::number(&bytes, key).expect("a time reply has three times");
        let (t0, mut t1, mut t2) = (number("t0"), number("t1"), number("t2"));
        let t3 = self.node.mesh().mesh_time(self.now).0;
        let trip = t3.wrapping_sub(t0);
        self.judge.rebased(verdict);
        if verdict == Verdict::Discarded {
            t1 = t2;
        } else {
            let took = t2.wrapping_sub(t1).max(trip / 85 + 1);
            t1 = t2.wrapping_sub(took);
        }
        if verdict == Verdict::Near {
            let offset = (t1.wrapping_sub(t0) as i32) / 2 + (t2.wrapping_sub(t3) as i32) / 2;
            let sign = if offset < 0 { -1 } else { 1 };
            let wanted = sign * offset.abs().clamp(*SETTLED.start(), *SETTLED.end());
            t1 = t1.wrapping_add_signed(wanted - offset);
            t2 = t2.wrapping_add_signed(wanted - offset);
        }
        let bytes = text::with_number(&bytes, "t1", t1);
        text::with_number(&bytes, "t2", t2)
    }

    /// The application does what made the real node send this message.
    fn verb(&mut self, message: &[u8]) {
        let dest = NodeId(text::number(message, "dest").unwrap_or(0));
        let done = match Kind::of(message) {
            Kind::DelayRequest => self.node.probe(self.now, dest).is_ok(),
            Kind::Single => {
                let text = text::user_text(message);
                self.node.send_single(dest, &text, priority(&text)).is_ok()
            }
            Kind::Broadcast => self.node.send_broadcast(&text::user_text(message), Priority::Normal).is_ok(),
            _ => self.node.start_rollout(self.now, self.plan()).is_ok(),
        };
        if !done {
            self.judge.fail(&format!("refuses to send {}", text::shown(message)));
        }
        self.drain();
    }

    fn plan(&self) -> ImagePlan {
        ImagePlan {
            scheme: meshward_core::ota::Scheme::Unicast,
            image: self.image.clone(),
            role: b"sensor".to_vec(),
            hardware: b"ESP32".to_vec(),
            targets: vec![NodeId(3_662_815_033)],
            part_size: 1_024,
            concurrency: 1,
            hold: false,
            tempo: Tempo::default(),
        }
    }

    /// Does what the node wants, until it wants nothing.
    fn drain(&mut self) {
        loop {
            while let Some(event) = self.node.poll_event() {
                self.judge.event(event);
            }
            for link in 0..self.links.len() {
                self.drain_link(link);
            }
            let Some(command) = self.node.poll_flash() else { break };
            self.execute(command);
        }
        self.unpark();
    }

    fn drain_link(&mut self, link: usize) {
        while let Some(Link { id, .. }) = &self.links[link] {
            let id = *id;
            match self.node.outgoing(id) {
                Outgoing::Idle => return,
                Outgoing::Close(reason) => {
                    self.judge.closed(link, self.elapsed(), reason);
                    self.links[link] = None;
                    self.node.handle_link_down(self.now, id);
                    while self.node.poll_event().is_some() {}
                }
                Outgoing::Bytes(bytes) => {
                    let bytes = bytes.to_vec();
                    self.node.sent(id, bytes.len());
                    for frame in bytes.split(|byte| *byte == 0).filter(|frame| !frame.is_empty()) {
                        self.leaves(link, frame.to_vec());
                    }
                }
            }
        }
    }

    fn elapsed(&self) -> u64 {
        self.now.as_micros() - BEGIN
    }

    /// A message leaves the node, unless it is spoilt on the way to the judge.
    fn leaves(&mut self, link: usize, mut frame: Vec<u8>) {
        let spoilt = self.sabotage.filter(|sabotage| sabotage.message == self.sent);
        self.sent += 1;
        match spoilt.map(|sabotage| sabotage.how) {
            Some(How::OtherDigit) => {
                let digit = frame.iter_mut().rev().find(|byte| byte.is_ascii_digit());
                *digit.expect("every message has a digit") ^= 1;
            }
            Some(How::Lost) => return,
            Some(How::Late) => {
                self.links[link].as_mut().expect("the link is open").held = Some(frame);
                return;
            }
            None => {}
        }
        let clock = self.node.mesh().mesh_time(self.now);
        self.judge.frame(link, self.elapsed(), clock, &frame);
        if let Some(held) = self.links[link].as_mut().and_then(|link| link.held.take()) {
            self.judge.frame(link, self.elapsed(), clock, &held);
        }
    }

    /// A chip that is done at once.
    fn execute(&mut self, command: FlashOp) {
        let done = match command {
            FlashOp::Erase { address } => erase(&mut self.flash, address),
            FlashOp::Program { address, data } => program(&mut self.flash, address, &data),
            FlashOp::Read { address, len } => {
                let bytes = self.flash[address as usize..(address + len) as usize].to_vec();
                self.node.handle_flash(self.now, Completion::Data(&bytes));
                return;
            }
        };
        done.expect("the receiver keeps the rules of flash");
        self.node.handle_flash(self.now, Completion::Done);
    }
}

/// 09 sends the same text at each priority, and says which.
fn priority(text: &[u8]) -> Priority {
    match text {
        b"prio 0" => Priority::Critical,
        b"prio 1" => Priority::High,
        b"prio 3" => Priority::Low,
        _ => Priority::Normal,
    }
}
