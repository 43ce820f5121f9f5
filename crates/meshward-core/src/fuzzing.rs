//! What must hold for a whole node that takes signed updates, whatever its neighbours send it: the body of a fuzz
//! target, shared with the test that replays its corpus. It panics when it does not hold; nothing else calls it.
//!
//! The input is a story of parcels (types 220 to 223) from two neighbours, well-formed and not, of the flash, time,
//! orders, roll-outs of the node's own, links that go and resets. The node may refuse what it likes, but it never
//! panics, never turns in circles, holds no more than its limits allow, sends nothing that it does not understand
//! itself, gives nobody a wrong chunk of what it holds, and never touches the running image.

mod tell;

pub use tell::telemetry;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::flash::{Completion, Marks, Slot};
use crate::hash::Sha256Sum;
use crate::mesh::{LinkId, LinkRole, MeshConfig, Outgoing};
use crate::node::{Firmware, Node, NodeConfig};
use crate::ota::exchange::fuzzing::bounds;
use crate::ota::exchange::{
    Chunk, Chunks, Head, Line, News, Offer, Offering, Record, Stage, UpdatePlan, Want,
};
use crate::ota::receiver::fuzzing::{CHUNK, COMMANDS, Chip, Release, Story, order, release};
use crate::ota::trial::ResetReason;
use crate::ota::{Tag, Tempo};
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, NodeSync, Parcel, Splitter, To, Tree, kind, read};

/// Steps of a story; the rest is not heard.
const STEPS: usize = 300;
/// Timers that fire at one instant; more is a circle.
const TIMERS: usize = 200;
const OWN: NodeId = NodeId(1);
/// The neighbours, and who is behind each.
const NEAR: [(u32, &[u32]); 2] = [(2, &[4, 5, 6]), (3, &[7])];
/// Who says to have sent something: nobody, those, or one who is not there. Not the node itself, because what it
/// passes on could not be told from its own words.
const SENDERS: [u32; 8] = [0, 2, 3, 4, 5, 6, 7, u32::MAX];

struct World {
    chip: Chip,
    releases: [Release; 2],
    tags: [Tag; 2],
    node: Node,
    running: Slot,
    links: [Option<LinkId>; 2],
    now: Instant,
}

/// Tells a node a story; before that, all of it is taken for a body.
pub fn exchange(input: &[u8]) {
    crate::ota::exchange::fuzzing::messages(input);
    let mut story = Story(input);
    let Some(mut world) = World::new() else { return };
    for _ in 0..STEPS {
        let Some(step) = story.next() else { break };
        world.step(step, &mut story);
        world.go_on(0);
        bounds(world.node.exchange());
    }
    world.go_on(COMMANDS);
}

fn node(chip: &mut Chip, releases: &[Release], reason: ResetReason) -> Option<(Node, Slot)> {
    let config = chip.boot(reason, releases)?;
    let running = config.running.slot;
    let firmware = Some(Firmware::Signed(Box::new(config)));
    Some((Node::new(NodeConfig::new(MeshConfig::node(OWN, 1)).with_firmware(firmware)), running))
}

impl World {
    fn new() -> Option<Self> {
        let mut chip = Chip::new(Marks::Words)?;
        let releases = [release(2, 2), release(3, 3)];
        let tags = releases.each_ref().map(|release| Tag::of(&release.descriptor));
        let (node, running) = node(&mut chip, &releases, ResetReason::PowerOn)?;
        let mut world = Self { chip, releases, tags, node, running, links: [None; 2], now: Instant::ORIGIN };
        world.join();
        world.go_on(COMMANDS);
        Some(world)
    }

    fn step(&mut self, step: u8, story: &mut Story<'_>) {
        let near = usize::from(step / 16 % 2);
        match step % 16 {
            0 => self.offer(near, story.byte(), story.byte()),
            1 => self.parcel(near, story.byte(), kind::OFFER, story.bytes()),
            2 => self.hello(near, story.byte(), story.byte()),
            3 => self.chunk(near, story.byte(), story.byte()),
            4 => self.all_chunks(near, story.byte()),
            5 => self.wrong_chunk(near, story),
            6 => self.want(near, story),
            7 => self.parcel(near, story.byte(), kind::WANT, story.bytes()),
            8 => self.order(near, story.byte(), story.byte()),
            9 => self.parcel(near, story.byte(), kind::ORDER, story.bytes()),
            10 => self.go_on(usize::from(story.byte())),
            11 => self.go_on(COMMANDS),
            12 => self.wait(story.byte()),
            13 => self.lead(story.byte()),
            14 => self.leave_or_reset(near, story.byte()),
            _ => self.text(near, story.bytes()),
        }
    }

    fn release(&self, which: u8) -> (&Release, Tag) {
        let [first, second] = &self.releases;
        let [tag, other] = self.tags;
        if which & 1 == 0 { (first, tag) } else { (second, other) }
    }

    /// A payload of the releases, another one, or none.
    fn tag(&self, which: u8) -> Option<Tag> {
        match which % 4 {
            3 => Some(which / 4).filter(|tag| *tag > 0).map(|tag| Tag(tag.into())),
            which => Some(self.release(which).1),
        }
    }

    /// Sends a parcel over the link of a neighbour: `how` says from whom, and for whom.
    fn parcel(&mut self, near: usize, how: u8, kind: i32, body: &[u8]) {
        let from = NodeId(SENDERS[usize::from(how / 4 % 8)]);
        let to = match how % 4 {
            0 => To::Neighbour,
            1 => To::All,
            _ => To::One(OWN),
        };
        let frame = Parcel { kind, from, to, body: body.to_vec() }.encode();
        self.raw(near, &frame);
        self.raw(near, &[0]);
    }

    /// Sends what may be no parcel: its body is any text.
    fn text(&mut self, near: usize, text: &[u8]) {
        let mut frame = b"{\"type\":221,\"from\":2,\"b\":\"".to_vec();
        frame.extend(text.iter().filter(|byte| !matches!(byte, b'"' | b'\\' | 0)));
        frame.extend_from_slice(b"\"}\0");
        self.raw(near, &frame);
    }

    fn raw(&mut self, near: usize, bytes: &[u8]) {
        if let Some(link) = self.links.get(near).copied().flatten() {
            self.node.handle_data(self.now, link, bytes);
            self.drain();
        }
    }

    fn offer(&mut self, near: usize, how: u8, which: u8) {
        let (release, tag) = self.release(which);
        let except = (which & 2 != 0).then(|| Sha256Sum::of(&self.chip.old).into());
        let head = Head {
            manifest: release.manifest.clone(),
            // Now and then the other image's descriptor.
            descriptor: self.release(which ^ u8::from(which & 0xF0 == 0xF0)).0.descriptor.clone(),
            except: except.into_iter().collect(),
        };
        let source = NodeId(u32::from(which / 4 % 4));
        let offer = Offer { tag: Some(tag), source, head: Some(head), ..Offer::default() };
        self.parcel(near, how, kind::OFFER, &offer.encode());
    }

    fn hello(&mut self, near: usize, how: u8, which: u8) {
        let bit = |index: u8| which & (1 << index) != 0;
        let offer = Offer {
            tag: self.tag(which),
            source: NodeId(u32::from(which / 4 % 4)),
            held: which.into(),
            ask: bit(5),
            ask_about: bit(6),
            thanks: bit(7),
            head: None,
        };
        self.parcel(near, how, kind::OFFER, &offer.encode());
    }

    fn chunk(&mut self, near: usize, how: u8, which: u8) {
        let (release, tag) = self.release(which);
        let index = usize::from(which / 2);
        let Some(bytes) = release.chunk(index) else { return };
        let body = Chunk { tag, index: index as u32, bytes }.encode();
        self.parcel(near, how, kind::CHUNK, &body);
    }

    fn all_chunks(&mut self, near: usize, how: u8) {
        for index in 0..=self.chip.old.len().div_ceil(CHUNK) as u8 {
            self.chunk(near, how, index * 2 + how % 2);
            self.go_on(COMMANDS);
        }
    }

    fn wrong_chunk(&mut self, near: usize, story: &mut Story<'_>) {
        let (how, which, index) = (story.byte(), story.byte(), story.byte());
        let Some(tag) = self.tag(which) else { return };
        let index = u32::from(index) << (which / 8 % 24);
        // As long as a chunk ought to be, unless it is one of the even ones.
        let mut bytes = story.bytes().to_vec();
        bytes.resize(if which & 128 == 0 { CHUNK } else { bytes.len() }, 0);
        self.parcel(near, how, kind::CHUNK, &Chunk { tag, index, bytes: &bytes }.encode());
    }

    fn want(&mut self, near: usize, story: &mut Story<'_>) {
        let (how, which, first) = (story.byte(), story.byte(), story.byte());
        let bits = story.bytes();
        let bits = bits.get(..Chunks::BYTES_MAX).unwrap_or(bits).to_vec();
        let stage = Stage::from_number(first % 16).unwrap_or(Stage::Receiving);
        let line = Line { tag: self.tag(which), stage, reason: 0, done: (first / 16).into() };
        let record = |node| Record { node: NodeId(node), news: News::Line(line) };
        let want = Want {
            tag: self.tag(which),
            head: which & 64 != 0,
            thanks: which & 128 != 0,
            missing: Chunks { first: u32::from(first) << (which / 4 % 16), bits },
            records: (2..2 + u32::from(how / 32)).map(record).collect(),
        };
        self.parcel(near, how, kind::WANT, &want.encode());
    }

    fn order(&mut self, near: usize, verb: u8, counter: u8) {
        let old = verb & 0x40 != 0;
        let image = Sha256Sum::of(if old { &self.chip.old } else { &self.release(verb / 16).0.image });
        let keys = self.node.exchange().receiver().map(|receiver| receiver.keys().clone());
        let signed = order(&keys.unwrap_or_default(), image, verb, counter);
        self.parcel(near, 1 << 2 | 1, kind::ORDER, &signed);
    }

    /// The node begins or ends a roll-out of its own.
    fn lead(&mut self, what: u8) {
        let offering = |release: &Release| Offering {
            manifest: release.manifest.clone(),
            descriptor: release.descriptor.clone(),
            table: release.table.clone(),
            payload: release.image.clone(),
        };
        match what % 4 {
            0 => self.node.survey(self.now),
            1 => self.node.stop_update(self.now),
            _ => {
                let targets = (2..8).filter(|id| what & (1 << id) != 0).map(NodeId).collect();
                let offerings = Vec::from([offering(self.release(what / 2).0)]);
                let plan = UpdatePlan { offerings, targets, tempo: Tempo::default(), broadcast: true };
                let _refused = self.node.start_update(self.now, plan);
            }
        }
        self.drain();
    }

    fn wait(&mut self, bits: u8) {
        self.now = self.now + Duration::from_millis(100 << (bits % 16).min(12));
        match bits / 16 {
            0..4 => self.node.handle_self_test(self.now, bits & 16 == 0),
            4 => self.node.handle_supply(self.now, u16::from(bits) * 32),
            5 if self.node.poll_flash().is_some() => self.node.handle_flash(self.now, Completion::Failed),
            _ => {}
        }
        self.drain();
    }

    fn leave_or_reset(&mut self, near: usize, how: u8) {
        if how & 3 == 0 {
            return self.boot(if how & 4 == 0 { ResetReason::PowerOn } else { ResetReason::Panic });
        }
        if let Some(link) = self.links.get_mut(near).and_then(Option::take) {
            self.node.handle_link_down(self.now, link);
            self.drain();
        }
        if how & 3 == 1 {
            self.join();
        }
    }

    fn boot(&mut self, reason: ResetReason) {
        let Some((node, running)) = node(&mut self.chip, &self.releases, reason) else {
            panic!("no image boots");
        };
        (self.node, self.running, self.links) = (node, running, [None; 2]);
        self.join();
    }

    /// The neighbours that are not there come and say who they are.
    fn join(&mut self) {
        for (near, role) in [(0, LinkRole::Dialler), (1, LinkRole::Listener)] {
            if self.links[near].is_none() {
                self.links[near] = self.node.handle_link_up(self.now, role);
                self.drain();
                self.sync(near, false);
            }
        }
    }

    fn sync(&mut self, near: usize, reply: bool) {
        let (id, behind) = NEAR[near];
        let mut tree = Tree::leaf(NodeId(id));
        behind.iter().for_each(|id| tree.graft(&Tree::leaf(NodeId(*id))));
        let frame = NodeSync { reply, dest: OWN, from: NodeId(id), tree }.encode();
        self.raw(near, &frame);
        self.raw(near, &[0]);
    }

    /// Fires timers that are due, executes up to `count` commands of the flash, and restarts when it is wanted.
    fn go_on(&mut self, count: usize) {
        let mut timers = 0;
        while self.node.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
            assert!(timers < TIMERS, "timers without end: {:?}", self.node.poll_timeout());
            timers += 1;
            self.node.handle_timeout(self.now);
            self.drain();
        }
        for _ in 0..count {
            let Some(op) = self.node.poll_flash() else { return };
            assert_eq!(self.node.poll_flash(), None, "one command at a time");
            self.chip.check(self.running, &op);
            match self.chip.run(&op) {
                Some(completion) => self.node.handle_flash(self.now, completion),
                None => panic!("the flash refuses {op:?}"),
            }
            self.drain();
        }
        assert!(count < COMMANDS, "the receiver turns in circles");
    }

    /// Takes what the node has to say, and looks at what it sends.
    fn drain(&mut self) {
        let mut restart = false;
        while let Some(event) = self.node.poll_event() {
            restart |= event.is_restart();
        }
        if restart {
            return self.boot(ResetReason::Software);
        }
        for near in 0..self.links.len() {
            let Some(link) = self.links[near] else { continue };
            match self.node.outgoing(link) {
                Outgoing::Idle => {}
                Outgoing::Bytes(bytes) => {
                    let bytes = bytes.to_vec();
                    self.node.sent(link, bytes.len());
                    self.hear(near, &bytes);
                }
                Outgoing::Close(_) => {
                    self.links[near] = None;
                    self.node.handle_link_down(self.now, link);
                    self.drain();
                }
            }
        }
    }

    /// A neighbour answers a sync, and finds sense in everything else.
    fn hear(&mut self, near: usize, bytes: &[u8]) {
        let (mut splitter, mut rest, mut asked) = (Splitter::new(bytes.len()), bytes, false);
        while let Ok(Some(frame)) = splitter.split(&mut rest) {
            let Ok(message) = read(frame) else { panic!("{}", frame.escape_ascii()) };
            asked |= message.envelope.kind == kind::NODE_SYNC_REQUEST;
            if message.envelope.from == OWN && Parcel::is_kind(message.envelope.kind) {
                let Ok(parcel) = Parcel::decode(frame) else { panic!("{}", frame.escape_ascii()) };
                self.judge(&parcel);
            }
        }
        if asked {
            self.sync(near, true);
        }
    }

    fn judge(&self, parcel: &Parcel) {
        let body = &parcel.body;
        let understood = match parcel.kind {
            kind::OFFER => Offer::decode(body).is_some(),
            kind::WANT => Want::decode(body).is_some(),
            kind::CHUNK => Chunk::decode(body).is_some_and(|chunk| {
                let held = self.node.exchange().receiver().and_then(|receiver| receiver.held());
                let held = held.is_some_and(|held| held.tag == chunk.tag);
                let release = self.tags.iter().zip(&self.releases).find(|(tag, _)| **tag == chunk.tag);
                release.is_none_or(|(_, release)| {
                    !held || release.chunk(chunk.index as usize) == Some(chunk.bytes)
                })
            }),
            _ => true,
        };
        assert!(understood, "the node sends {parcel:?}");
    }
}
