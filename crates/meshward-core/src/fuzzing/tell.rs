//! What must hold for a whole node that tells about itself and packs what those behind it tell, whatever its
//! neighbours send it. The node may refuse what it likes, but it never panics, never turns in circles, holds no more
//! than its limits allow, sends nothing that it does not understand itself, and broadcasts none of it.

use super::{OWN, SENDERS, TIMERS};
use crate::mesh::{LinkId, LinkRole, MeshConfig, Outgoing};
use crate::node::{Node, NodeConfig};
use crate::ota::receiver::fuzzing::Story;
use crate::telemetry::fuzzing::{bodies, bounds};
use crate::telemetry::{Body, Config, Flags, Head, Metric, Numbers, Packet, Policy, Query};
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, NodeSync, Parcel, Routing, Splitter, To, Tree, kind, read};

const STEPS: usize = 300;
/// The neighbours, and who is behind each. The first is the gateway.
const NEAR: [(u32, &[u32]); 2] = [(2, &[]), (3, &[4, 5, 6, 7])];

struct World {
    node: Node,
    links: [Option<LinkId>; 2],
    now: Instant,
}

/// Tells a node a story; before that, all of it is taken for a body.
pub fn telemetry(input: &[u8]) {
    bodies(input);
    let mut story = Story(input);
    let first = story.byte();
    let config = Config {
        collector: (first & 1 == 0).then_some(NodeId(2)),
        reset_allowed: first & 2 != 0,
        answers: first & 4 == 0,
        ..Config::default()
    };
    let node = Node::new(NodeConfig::new(MeshConfig::node(OWN, 1)).with_telemetry(config));
    let mut world = World { node, links: [None; 2], now: Instant::ORIGIN };
    (0..NEAR.len()).for_each(|near| world.join(near));
    for _ in 0..STEPS {
        let Some(step) = story.next() else { break };
        world.step(step, &mut story);
        if let Some(telemetry) = world.node.telemetry() {
            bounds(telemetry);
        }
    }
}

impl World {
    fn step(&mut self, step: u8, story: &mut Story<'_>) {
        let near = usize::from(step / 16 % 2);
        match step % 16 {
            0 | 1 => {
                let (how, which) = (story.byte(), story.byte());
                self.parcel(near, how, 210 + i32::from(which % 6), story.bytes());
            }
            2..=5 => self.packet(near, story),
            6 => {
                let (how, q, window) = (story.byte(), story.byte(), story.byte());
                let query = Query { q: q.into(), mask: u32::from(how), window_ms: u16::from(window) * 16 };
                self.body(near, how, &Body::Query(query));
            }
            7 => self.policy(near, story),
            8 => self.body(near, story.byte(), &Body::Resync { generation: 0 }),
            9 => self.command(near, story),
            10 | 11 => {
                let (metric, value) = (story.byte(), story.byte());
                let metric = Metric::ALL[usize::from(metric) % Metric::ALL.len()];
                let value = i64::from(value) << (step / 16 * 3);
                self.node.set_metric(self.now, metric, value);
                self.drain();
            }
            12 | 13 => self.wait(story.byte()),
            14 => self.leave(near),
            _ => match story.byte() % 3 {
                0 => self.node.tell_now(self.now),
                which => self.node.set_sleeping(self.now, which == 1),
            },
        }
        self.drain();
    }

    fn parcel(&mut self, near: usize, how: u8, kind: i32, body: &[u8]) {
        let from = NodeId(SENDERS[usize::from(how / 4 % 8)]);
        let to = match how % 4 {
            0 => To::One(OWN),
            1 => To::All,
            _ => To::One(NodeId(2)),
        };
        let mut frame = Parcel { kind, from, to, body: body.to_vec() }.encode();
        frame.push(0);
        self.raw(near, &frame);
    }

    fn body(&mut self, near: usize, how: u8, body: &Body) {
        self.parcel(near, how, body.kind(), &body.encode());
    }

    /// What nodes behind this one tell.
    fn packet(&mut self, near: usize, story: &mut Story<'_>) {
        let (how, flags, seq) = (story.byte(), story.byte(), story.byte());
        let mut numbers = Numbers::default();
        for (bit, number) in story.bytes().iter().enumerate() {
            numbers.set(bit, u32::from(*number) << (seq % 24));
        }
        let head =
            Head { keyframe: flags & 64 != 0, seq, generation: seq, flags: Flags(flags & 31), age: seq };
        let (packet, _) = Packet::build(head, &numbers, None, u32::MAX, 0, 200);
        if flags & 128 == 0 {
            self.body(near, how, &Body::Packet(packet));
        } else {
            let entry = |id: u8| (NodeId(u32::from(id)), packet.clone());
            self.body(near, how, &Body::Bundle((0..=how % 16).map(entry).collect()));
        }
    }

    fn policy(&mut self, near: usize, story: &mut Story<'_>) {
        let (how, flags, number) = (story.byte(), story.byte(), story.byte());
        let policy = Policy {
            number,
            on: flags & 1 == 0,
            aggregate: flags & 2 == 0,
            pmin_s: u16::from(story.byte()),
            pmax_s: u16::from(story.byte()),
            keyframe_s: u16::from(story.byte()) * 8,
            enhanced_s: u16::from(story.byte()),
            bands: story.bytes().iter().take(30).map(|band| (band % 30, u32::from(*band))).collect(),
        };
        self.body(near, how, &Body::Policy(policy));
    }

    fn command(&mut self, near: usize, story: &mut Story<'_>) {
        let (code, from, id) = (story.byte(), story.byte(), story.byte());
        let from = SENDERS[usize::from(from % 8)];
        let frame = alloc::format!(
            "{{\"from\":{from},\"dest\":1,\"routing\":1,\"type\":400,\"cmd\":{code},\"target\":0,\"params\":\"\",\"cid\":{id}}}\0"
        );
        self.raw(near, frame.as_bytes());
    }

    fn raw(&mut self, near: usize, bytes: &[u8]) {
        if let Some(link) = self.links[near] {
            self.node.handle_data(self.now, link, bytes);
            self.drain();
        }
    }

    fn join(&mut self, near: usize) {
        self.links[near] = self.node.handle_link_up(self.now, LinkRole::Listener);
        self.drain();
        self.sync(near, false);
    }

    fn sync(&mut self, near: usize, reply: bool) {
        let (id, behind) = NEAR[near];
        let mut tree = Tree::leaf(NodeId(id));
        behind.iter().for_each(|id| tree.graft(&Tree::leaf(NodeId(*id))));
        let mut frame = NodeSync { reply, dest: OWN, from: NodeId(id), tree }.encode();
        frame.push(0);
        self.raw(near, &frame);
    }

    fn leave(&mut self, near: usize) {
        match self.links[near].take() {
            Some(link) => {
                self.node.handle_link_down(self.now, link);
                self.drain();
            }
            None => self.join(near),
        }
    }

    /// Lets time pass, with every timer.
    fn wait(&mut self, byte: u8) {
        let until = self.now + Duration::from_millis(u64::from(byte) * 400);
        for turn in 0.. {
            let Some((due, timer)) = self.node.poll_timeout().filter(|(due, _)| *due <= until) else { break };
            // At one instant or over all of the time: more is a circle.
            assert!(turn < TIMERS * 4, "the node turns in circles: {timer:?}");
            self.now = self.now.max(due);
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while self.node.poll_event().is_some() {}
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

    fn hear(&mut self, near: usize, bytes: &[u8]) {
        let (mut splitter, mut rest, mut asked) = (Splitter::new(bytes.len()), bytes, false);
        while let Ok(Some(frame)) = splitter.split(&mut rest) {
            let Ok(message) = read(frame) else { panic!("{}", frame.escape_ascii()) };
            let envelope = message.envelope;
            asked |= envelope.kind == kind::NODE_SYNC_REQUEST;
            if envelope.from == OWN && Parcel::is_telemetry(envelope.kind) {
                assert_eq!(envelope.routing, Routing::Single, "nothing of this is broadcast");
                let body = Parcel::decode(frame).ok().map(|parcel| Body::decode(parcel.kind, &parcel.body));
                assert!(matches!(body, Some(Ok(_))), "the node sends {}: {body:?}", frame.escape_ascii());
            }
        }
        if asked {
            self.sync(near, true);
        }
    }
}
