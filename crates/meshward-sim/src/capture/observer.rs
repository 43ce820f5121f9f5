//! Lines out of what a shell saw on the links of one node: a stream of bytes each way, cut anywhere.
//!
//! Whoever is at the other end is called by the address of the connection until the first node sync tells who
//! it is, and by its name from then on; the connection keeps the name that it got when it opened. Bytes that
//! the shell could not spare time for leave a gap, which is noted; what is left of a frame beside a gap is
//! passed over. It refuses nothing, and holds no more than one unfinished frame per link and direction.

use std::collections::BTreeMap;

use meshward_core::mesh::{LinkId, LinkRole, MeshConfig};
use meshward_core::time::Instant;
use meshward_core::wire::{NodeId, NodeSync, Splitter, kind, read};

use super::{Line, Recorder, What};

/// The longest frame that is kept: four times what a gateway takes.
const FRAME_MAX: usize = 256 * 1024;
/// Neighbours that get a name; further ones are called by their addresses.
const NAMES_MAX: usize = 10_000;
/// Trees beyond this name nobody.
const NODES_MAX: usize = 100_000;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the neighbour to the node.
    In,
    /// From the node to the neighbour.
    Out,
}

/// One direction of a link.
#[derive(Debug)]
struct Stream {
    splitter: Splitter,
    /// Where the next bytes begin.
    at: u64,
    /// Bytes are missing: up to the next NUL it is half a frame.
    torn: bool,
}

impl Stream {
    fn new() -> Self {
        Self { splitter: Splitter::new(FRAME_MAX), at: 0, torn: false }
    }

    /// How many bytes are missing before `offset`; then goes on there.
    fn go_to(&mut self, offset: u64) -> u64 {
        let missing = offset.saturating_sub(self.at);
        if offset != self.at {
            *self = Self { at: offset, torn: true, ..Self::new() };
        }
        missing
    }
}

/// One link.
#[derive(Debug)]
struct Link {
    conn: String,
    /// The address, then the name.
    peer: String,
    known: bool,
    streams: [Stream; 2],
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Observer {
    recorder: Recorder,
    me: String,
    id: NodeId,
    links: BTreeMap<LinkId, Link>,
    connections: u64,
}

impl Observer {
    /// Has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lines so far.
    pub fn take_lines(&mut self) -> Vec<Line> {
        self.recorder.take_lines()
    }

    /// The node was made with `config`, which is all that a replay needs, its flash apart.
    pub fn booted(&mut self, at: Instant, config: &MeshConfig) {
        self.links.clear();
        self.id = config.id;
        self.me = self.recorder.name(at, config.id);
        let (node, config) = (self.me.clone(), Box::new(config.clone()));
        self.recorder.push(at, What::Boot { node, config });
    }

    /// A connection with `address` stands.
    pub fn link_up(&mut self, at: Instant, link: LinkId, role: LinkRole, address: &str) {
        self.connections += 1;
        let (dialler, listener) = match role {
            LinkRole::Dialler => (self.me.clone(), address.to_owned()),
            LinkRole::Listener => (address.to_owned(), self.me.clone()),
        };
        let conn = format!("{dialler}-{listener}#{}", self.connections);
        self.recorder.push(at, What::Open { dialler, listener, conn: conn.clone() });
        let streams = [Stream::new(), Stream::new()];
        self.links.insert(link, Link { conn, peer: address.to_owned(), known: false, streams });
    }

    /// The node's end of a link is closed; `lost` when the other end was first.
    pub fn link_down(&mut self, at: Instant, link: LinkId, lost: bool) {
        let Some(Link { conn, peer, .. }) = self.links.remove(&link) else { return };
        if lost {
            let (by, peer, conn) = (peer.clone(), self.me.clone(), conn.clone());
            self.recorder.push(at, What::Closed { by, peer, conn });
        }
        self.recorder.push(at, What::Closed { by: self.me.clone(), peer, conn });
    }

    /// The node's timers were fired.
    pub fn timers(&mut self, at: Instant) {
        self.recorder.push(at, What::Timers { node: self.me.clone() });
    }

    /// The node's flash commands were executed.
    pub fn flash(&mut self, at: Instant) {
        self.recorder.push(at, What::Flash { node: self.me.clone() });
    }

    /// Something in words.
    pub fn note(&mut self, at: Instant, words: &str) {
        self.recorder.note(at, words);
    }

    /// Bytes were read or written; `offset` bytes went this way before.
    pub fn bytes(&mut self, at: Instant, link: LinkId, direction: Direction, offset: u64, mut bytes: &[u8]) {
        let Self { recorder, me, id, links, .. } = self;
        let Some(link) = links.get_mut(&link) else { return };
        let Link { conn, peer, known, streams: [inwards, outwards] } = link;
        let stream = if direction == Direction::In { inwards } else { outwards };
        let missing = stream.go_to(offset);
        if missing > 0 {
            recorder.note(at, &format!("{missing} bytes {} {conn} were not captured", way(direction)));
        }
        stream.at += bytes.len() as u64;
        if stream.torn {
            let Some(nul) = memchr::memchr(0, bytes) else { return };
            bytes = bytes.get(nul + 1..).unwrap_or_default();
            stream.torn = false;
        }
        loop {
            match stream.splitter.split(&mut bytes) {
                Ok(Some(frame)) => {
                    if direction == Direction::In && !*known {
                        *known = introduce(recorder, at, *id, peer, frame);
                    }
                    let (from, to) = match direction {
                        Direction::In => (peer.clone(), me.clone()),
                        Direction::Out => (me.clone(), peer.clone()),
                    };
                    let (conn, bytes) = (conn.clone(), frame.to_vec());
                    recorder.push(at, What::Message { from, to, conn, bytes, withheld: false });
                }
                Ok(None) => return,
                Err(_oversize) => {
                    let words = format!("a frame {} {conn} was too long to be captured", way(direction));
                    recorder.note(at, &words);
                    stream.torn = true;
                    return;
                }
            }
        }
    }
}

fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "read from",
        Direction::Out => "written to",
    }
}

/// Gives a neighbour its name, if `frame` is its node sync; whether it has one now.
fn introduce(recorder: &mut Recorder, at: Instant, me: NodeId, peer: &mut String, frame: &[u8]) -> bool {
    let Ok(message) = read(frame) else { return false };
    if !matches!(message.envelope.kind, kind::NODE_SYNC_REQUEST | kind::NODE_SYNC_REPLY) {
        return false;
    }
    let Ok(sync) = NodeSync::decode(&message.bytes, NODES_MAX) else { return false };
    let id = sync.tree.top().id;
    if id == me || id == NodeId::NONE || recorder.names.len() >= NAMES_MAX {
        return false;
    }
    let name = recorder.name(at, id);
    recorder.note(at, &format!("{peer} is {name}"));
    *peer = name;
    true
}

#[cfg(test)]
mod tests {
    use super::super::ladder;
    use super::*;

    const SYNC: &[u8] = b"{\"nodeId\":7,\"type\":6,\"dest\":5,\"from\":7}\0";
    const LINK: LinkId = LinkId(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn seen(act: impl FnOnce(&mut Observer)) -> Vec<String> {
        let mut observer = Observer::new();
        observer.booted(at(0), &MeshConfig::node(NodeId(5), 9));
        observer.link_up(at(1), LINK, LinkRole::Dialler, "10.0.0.1:5555");
        act(&mut observer);
        let text = ladder(&observer.take_lines());
        text.lines().skip(3).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_neighbour_has_its_address_until_it_says_who_it_is() {
        let lines = seen(|observer| {
            observer.bytes(at(2), LINK, Direction::Out, 0, b"[1]\0");
            let (head, tail) = SYNC.split_at(10);
            observer.bytes(at(3), LINK, Direction::In, 0, head);
            observer.bytes(at(4), LINK, Direction::In, 10, tail);
            observer.link_down(at(5), LINK, true);
            observer.bytes(at(6), LINK, Direction::In, 99, b"nobody's");
        });
        assert_eq!(
            lines,
            [
                "2.000000 A ─▶ 10.0.0.1:5555 3 B (unreadable)",
                "4.000000 (B is node 7)",
                "4.000000 (10.0.0.1:5555 is B)",
                "4.000000 B ─▶ A 39 B 6 node sync reply, 1 nodes",
                "5.000000 A-10.0.0.1:5555#1 closed by B",
                "5.000000 A-10.0.0.1:5555#1 closed by A",
            ]
        );
    }

    #[test]
    fn a_gap_is_noted_and_half_a_frame_passed_over() {
        let lines = seen(|observer| {
            observer.bytes(at(2), LINK, Direction::In, 0, b"[1");
            observer.bytes(at(3), LINK, Direction::In, 100, b"lost]");
            observer.bytes(at(4), LINK, Direction::In, 105, b"\0[3]\0");
        });
        assert_eq!(
            lines,
            [
                "3.000000 (98 bytes read from A-10.0.0.1:5555#1 were not captured)",
                "4.000000 10.0.0.1:5555 ─▶ A 3 B (unreadable)",
            ]
        );
    }

    #[test]
    fn an_endless_frame_is_not_kept() {
        let lines = seen(|observer| {
            let much = vec![b'x'; FRAME_MAX];
            observer.bytes(at(2), LINK, Direction::In, 0, &much);
            observer.bytes(at(3), LINK, Direction::In, FRAME_MAX as u64, &much);
            observer.bytes(at(4), LINK, Direction::In, 2 * FRAME_MAX as u64, b"xx\0[3]\0");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("too long") && lines[1].contains("3 B"), "{lines:?}");
    }
}
