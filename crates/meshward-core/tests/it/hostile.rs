//! What the network can do to a node: every row of the list of bad input, against one real node.
//!
//! Each ends in a clear refusal or a counted drop; never a panic, never unbounded memory.

use meshward_core::mesh::{CloseReason, Limits, LinkId, LinkRole, MeshConfig, MeshEvent, Outgoing};
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::ota::{ImagePlan, Scheme, Tempo};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

const US: u32 = 7;
const PEER: u32 = 100;

/// A node with raw links, to which a test says whatever it likes.
struct Victim {
    node: Node,
    now: Instant,
    events: Vec<Event>,
}

impl Victim {
    fn new(limits: Limits) -> Self {
        let mesh = MeshConfig { limits, ..MeshConfig::node(NodeId(US), 1) };
        let node = Node::new(NodeConfig::new(mesh));
        Self { node, now: Instant::from_micros(1), events: Vec::new() }
    }

    fn accept(&mut self) -> LinkId {
        let link = self.node.handle_link_up(self.now, LinkRole::Listener).unwrap();
        self.drain();
        link
    }

    /// A link whose peer has synced as `id`.
    fn neighbour(&mut self, id: u32) -> LinkId {
        let link = self.accept();
        self.says(link, &format!("{{\"nodeId\":{id},\"type\":5,\"dest\":0,\"from\":{id}}}"));
        self.written(link);
        link
    }

    fn says(&mut self, link: LinkId, frame: &str) {
        self.bytes(link, &[frame.as_bytes(), &[0]].concat());
    }

    fn bytes(&mut self, link: LinkId, bytes: &[u8]) {
        self.node.handle_data(self.now, link, bytes);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.node.poll_event() {
            self.events.push(event);
        }
    }

    /// Takes everything that the node wants to write to a link.
    fn written(&mut self, link: LinkId) -> String {
        let mut all = Vec::new();
        while let Outgoing::Bytes(bytes) = self.node.outgoing(link) {
            let count = bytes.len();
            all.extend_from_slice(bytes);
            self.node.sent(link, count);
        }
        String::from_utf8(all).unwrap()
    }

    fn closes(&self, link: LinkId) -> Option<CloseReason> {
        match self.node.outgoing(link) {
            Outgoing::Close(reason) => Some(reason),
            _ => None,
        }
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some((due, _)) = self.node.poll_timeout().filter(|(due, _)| *due <= until) {
            self.now = due;
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn counters(&self) -> meshward_core::mesh::Counters {
        *self.node.mesh().counters()
    }
}

#[test]
fn an_oversize_frame_closes_its_link_and_no_other() {
    let mut victim = Victim::new(Limits::NODE);
    let (bad, good) = (victim.neighbour(PEER), victim.neighbour(101));
    for _ in 0..40 {
        victim.bytes(bad, &[b'x'; 1_000]);
    }
    assert_eq!(victim.closes(bad), Some(CloseReason::FrameTooLong));
    assert_eq!(victim.closes(good), None);
    assert_eq!(victim.counters().oversize_frames, 1);
    victim.bytes(bad, b"more\0");
    assert!(!victim.node.mesh().knows(NodeId(PEER)), "its branch is gone");
}

#[test]
fn garbage_is_counted_and_the_link_lives() {
    let mut victim = Victim::new(Limits::NODE);
    let link = victim.neighbour(PEER);
    let deep = format!("{{\"type\":8,\"msg\":{}{}}}", "[".repeat(300), "]".repeat(300));
    let bad = ["not json", "{\"type\":9,\"dest\":", "[1,2,3]", "{\"type\":8,\"msg\":\"\\x\"}", &deep];
    for frame in bad {
        victim.says(link, frame);
    }
    victim.bytes(link, b"\0\0\0\xff\xfe\0");
    assert_eq!(victim.counters().frames_unreadable, bad.len() as u64 + 1);
    assert_eq!(victim.closes(link), None);
    victim.says(link, "{\"type\":9,\"dest\":7,\"from\":100,\"msg\":\"still here\"}");
    assert!(
        victim
            .events
            .iter()
            .any(|event| matches!(event, Event::Message { text, .. } if text == b"still here"))
    );
}

#[test]
fn half_a_frame_and_then_silence_ends_after_twenty_seconds() {
    let mut victim = Victim::new(Limits::NODE);
    let link = victim.accept();
    victim.bytes(link, b"{\"nodeId\":100,\"ty");
    victim.wait(Duration::from_millis(19_900));
    assert_eq!(victim.closes(link), None);
    victim.wait(Duration::from_millis(200));
    assert_eq!(victim.closes(link), Some(CloseReason::NoSyncReply));
}

#[test]
fn impostors_and_rings_are_refused_at_their_first_sync() {
    let rows = [
        ("{\"nodeId\":7,\"type\":5,\"dest\":0,\"from\":7}", CloseReason::ClaimsOurId),
        ("{\"nodeId\":0,\"type\":5,\"dest\":0,\"from\":0}", CloseReason::InvalidTree),
        ("{\"type\":5}", CloseReason::InvalidTree),
        ("{\"nodeId\":50,\"subs\":[{\"nodeId\":7}],\"type\":5,\"from\":50}", CloseReason::Ring),
        (
            "{\"nodeId\":50,\"subs\":[{\"nodeId\":9,\"subs\":[{\"nodeId\":50}]}],\"type\":5}",
            CloseReason::InvalidTree,
        ),
        ("{\"nodeId\":100,\"type\":5,\"dest\":0,\"from\":100}", CloseReason::AlreadyConnected),
    ];
    for (frame, reason) in rows {
        let mut victim = Victim::new(Limits::NODE);
        let known = victim.neighbour(PEER);
        let link = victim.accept();
        victim.says(link, frame);
        assert_eq!(victim.closes(link), Some(reason), "{frame}");
        assert_eq!(victim.written(known), "", "nobody else hears of {frame}");
        assert_eq!(victim.closes(known), None);
    }
}

#[test]
fn a_neighbour_that_changes_its_id_is_closed() {
    let mut victim = Victim::new(Limits::NODE);
    let link = victim.neighbour(PEER);
    victim.says(link, "{\"nodeId\":55,\"type\":5,\"dest\":7,\"from\":55}");
    assert_eq!(victim.closes(link), Some(CloseReason::InvalidTree));
}

#[test]
fn a_tree_of_ten_thousand_nodes_closes_its_link() {
    let subs: Vec<String> = (1..10_000).map(|id| format!("{{\"nodeId\":{}}}", 1_000 + id)).collect();
    let sync = format!("{{\"nodeId\":100,\"subs\":[{}],\"type\":5,\"dest\":0,\"from\":100}}", subs.join(","));
    let mut victim = Victim::new(Limits { frame: 1 << 20, ..Limits::GATEWAY });
    let link = victim.accept();
    victim.says(link, &sync);
    assert_eq!(victim.closes(link), Some(CloseReason::TreeTooLarge));
    assert_eq!(victim.node.mesh().tree().len(), 1);
    let mut victim = Victim::new(Limits::GATEWAY);
    let link = victim.accept();
    victim.says(link, &sync);
    assert_eq!(victim.closes(link), Some(CloseReason::FrameTooLong));
}

#[test]
fn neighbour_packages_are_never_routed_however_they_are_spelt() {
    let mut victim = Victim::new(Limits::NODE);
    let (from, to) = (victim.neighbour(PEER), victim.neighbour(101));
    victim.written(from);
    victim.written(to);
    victim.wait(Duration::from_millis(20));
    victim.written(from);
    victim.written(to);
    let forged = [
        "{\"nodeId\":66,\"type\":6,\"routing\":1,\"dest\":101,\"from\":66}",
        "{\"nodeId\":66,\"type\":5,\"routing\":2,\"dest\":101,\"from\":66}",
        "{\"nodeId\":66,\"\\u0074ype\":6,\"routing\":1,\"dest\":101,\"from\":66}",
        "{nodeId:66,'type':'6','rout\\u0069ng':1,dest:101,from:66}",
        "{\"type\":4,\"routing\":1,\"dest\":101,\"from\":100,\"msg\":{\"type\":0}}",
    ];
    for frame in forged {
        victim.says(from, frame);
        assert_eq!(victim.written(to), "", "{frame} was passed on");
    }
    assert_eq!(victim.counters().frames_misrouted, forged.len() as u64);
    assert_eq!((victim.closes(from), victim.closes(to)), (None, None));
}

#[test]
fn numbers_out_of_range_go_nowhere() {
    let mut victim = Victim::new(Limits::NODE);
    let (from, to) = (victim.neighbour(PEER), victim.neighbour(101));
    victim.wait(Duration::from_millis(20));
    victim.written(to);
    for dest in ["4294967296", "-1", "1e300", "101.0", "\"101\"", "null", "18446744073709551717"] {
        victim.says(from, &format!("{{\"type\":9,\"dest\":{dest},\"from\":100,\"msg\":\"x\"}}"));
        victim.says(from, &format!("{{\"type\":4294967305,\"dest\":{dest},\"from\":100,\"msg\":\"x\"}}"));
    }
    assert_eq!(victim.written(to), "");
    assert_eq!(victim.counters().frames_without_route, 7);
}

#[test]
fn a_flood_towards_a_peer_that_does_not_read_stays_within_the_limit() {
    let mut victim = Victim::new(Limits::NODE);
    let (from, to) = (victim.neighbour(PEER), victim.neighbour(101));
    let text = "y".repeat(400);
    let frame = format!("{{\"type\":8,\"dest\":0,\"from\":100,\"msg\":\"{text}\"}}");
    for _ in 0..5_000 {
        victim.says(from, &frame);
        victim.says(from, "{\"type\":3,\"dest\":101,\"from\":100,\"msg\":{\"type\":1,\"t0\":1}}");
    }
    let queued = victim.node.mesh().links().find(|info| info.link == to).unwrap().queued;
    assert!(queued <= 2 * Limits::NODE.queue, "{queued} bytes queued");
    assert!(victim.counters().messages_dropped > 4_000);
    assert_eq!(victim.closes(to), None, "what others flood is no reason to close");
    // Its own protocol messages still find room.
    victim.says(to, "{\"nodeId\":101,\"type\":5,\"dest\":7,\"from\":101}");
    assert!(victim.written(to).contains("\"type\":6"));
}

#[test]
fn a_flood_of_requests_from_a_peer_that_does_not_read_closes_it() {
    let mut victim = Victim::new(Limits::NODE);
    let link = victim.neighbour(PEER);
    for _ in 0..5_000 {
        victim.says(link, "{\"nodeId\":100,\"type\":5,\"dest\":7,\"from\":100}");
        victim.says(link, "{\"type\":4,\"dest\":7,\"from\":100,\"msg\":{\"type\":1,\"t0\":1}}");
    }
    assert_eq!(victim.closes(link), Some(CloseReason::QueueOverflow));
    assert!(victim.counters().answers_dropped > 0);
}

#[test]
fn events_that_nobody_takes_are_bounded_within_one_read() {
    let mut victim = Victim::new(Limits::GATEWAY);
    let link = victim.neighbour(PEER);
    let frames = "{\"type\":99}\0".repeat(60_000);
    victim.bytes(link, frames.as_bytes());
    let packages = victim.events.iter().filter(|event| matches!(event, Event::Package { .. })).count();
    assert!(packages <= 8_192, "{packages} events");
    assert!(victim.node.events_dropped() >= 51_000);
}

#[test]
fn more_links_than_allowed_are_turned_away() {
    let mut victim = Victim::new(Limits::NODE);
    for id in 0..Limits::NODE.links as u32 {
        victim.neighbour(PEER + id);
    }
    assert_eq!(victim.node.handle_link_up(victim.now, LinkRole::Listener), None);
    victim.drain();
    assert_eq!(victim.counters().links_refused, 1);
}

#[test]
fn requests_for_parts_that_do_not_exist_are_counted() {
    let mut victim = Victim::new(Limits::NODE);
    let link = victim.neighbour(PEER);
    let plan = ImagePlan {
        scheme: Scheme::Unicast,
        image: vec![0xE9; 3_000],
        role: b"r".to_vec(),
        hardware: b"ESP32".to_vec(),
        targets: vec![NodeId(PEER)],
        part_size: 1_000,
        concurrency: 1,
        hold: false,
        tempo: Tempo::default(),
    };
    victim.node.start_rollout(victim.now, plan).unwrap();
    victim.drain();
    let announce = victim.written(link);
    let md5 = announce.split("\"md5\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let request = |md5: &str, from: &str, part: &str| {
        format!(
            "{{\"from\":{from},\"routing\":1,\"type\":11,\"md5\":\"{md5}\",\"hardware\":\"ESP32\",\
             \"role\":\"r\",\"noPart\":3,\"broadcasted\":false,\"dest\":7,\"partNo\":{part}}}"
        )
    };
    for (md5, from, part) in [
        (md5.as_str(), "100", "4294967295"),
        (md5.as_str(), "100", "3"),
        (md5.as_str(), "999", "0"),
        ("00000000000000000000000000000000", "100", "0"),
        ("not an md5", "100", "0"),
    ] {
        victim.says(link, &request(md5, from, part));
    }
    assert_eq!(victim.node.distributors().bad_requests(), 5);
    assert!(!victim.written(link).contains("\"type\":12"));
    victim.says(link, "{\"type\":11,\"routing\":1,\"dest\":7,\"from\":100}");
    assert_eq!(victim.node.malformed_packages(), 1);
    victim.says(link, &request(&md5, "100", "0"));
    assert!(victim.written(link).contains("\"type\":12"), "a good one is answered all the same");
}

#[test]
fn the_victim_names_what_it_refused() {
    let mut victim = Victim::new(Limits::NODE);
    let link = victim.accept();
    victim.says(link, "{\"nodeId\":7,\"type\":5,\"dest\":0,\"from\":7}");
    let down = MeshEvent::LinkDown { link, peer: None, reason: CloseReason::ClaimsOurId };
    assert!(victim.events.contains(&Event::Mesh(down)));
    assert!(CloseReason::ClaimsOurId.to_string().contains("our own node id"));
}
