//! A mesh of fifty nodes in one memory, of which one is on the account: what a node takes without updates.

use alloc::vec::Vec;

use meshward_core::mesh::{LinkId, LinkRole, MeshConfig, Outgoing, Priority};
use meshward_core::node::{Node, NodeConfig};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::machine::on_account;

/// Nodes in the mesh.
pub(crate) const NODES: usize = 50;
/// The node that is looked at: a relay with a parent and three children.
const WATCHED: usize = 1;
/// How long the mesh is watched.
const WATCH: Duration = Duration::from_secs(150);
/// Bytes that a link carries in one step, in each direction: a segment of TCP.
const SEGMENT: usize = 1_460;
/// While there is something to carry.
const STEP: Duration = Duration::from_millis(5);
/// Between two broadcasts, each by another node.
const TALK: Duration = Duration::from_millis(500);

/// One end of a link: whose, and which of its links.
type End = (usize, LinkId);

struct Mesh {
    nodes: Vec<Node>,
    wires: Vec<(End, End)>,
}

/// Runs `work` on the account if it is the watched node's.
fn as_node<T>(node: usize, work: impl FnOnce() -> T) -> T {
    if node == WATCHED { on_account(work) } else { work() }
}

/// Lets the mesh form and talk; how many nodes the watched one knows in the end.
pub(crate) fn watch() -> usize {
    let mut mesh = Mesh::new();
    let (mut now, end) = (Instant::ORIGIN, Instant::ORIGIN + WATCH);
    let (mut talk, mut turn) = (Instant::ORIGIN + Duration::from_secs(15), 0);
    while now < end {
        if now >= talk {
            mesh.talk(turn);
            (turn, talk) = (turn + 7, talk + TALK);
        }
        let busy = mesh.carry(now);
        let next = mesh.nodes.iter().filter_map(|node| node.poll_timeout().map(|(due, _)| due)).min();
        let idle = next.unwrap_or(end).min(talk).max(now + Duration::from_micros(1));
        now = if busy { now + STEP } else { idle };
        mesh.wake(now);
    }
    mesh.nodes[WATCHED].mesh().tree().len()
}

impl Mesh {
    fn new() -> Self {
        let config = |node: usize| NodeConfig {
            mesh: MeshConfig::node(NodeId(3_000_000_000 + node as u32), node as u64),
            firmware: None,
        };
        let nodes = (0..NODES).map(|node| as_node(node, || Node::new(config(node)))).collect();
        let mut mesh = Self { nodes, wires: Vec::new() };
        for child in 1..NODES {
            let parent = (child - 1) / 3;
            let above = mesh.link(parent, LinkRole::Listener);
            let below = mesh.link(child, LinkRole::Dialler);
            mesh.wires.push((above, below));
        }
        mesh
    }

    fn link(&mut self, node: usize, role: LinkRole) -> End {
        let machine = &mut self.nodes[node];
        let link = as_node(node, || {
            let link = machine.handle_link_up(Instant::ORIGIN, role);
            drain(machine);
            link
        });
        (node, link.expect("fewer links than a node takes"))
    }

    fn talk(&mut self, turn: usize) {
        let node = turn % NODES;
        let machine = &mut self.nodes[node];
        as_node(node, || {
            let sent = machine.send_broadcast(&[b'x'; 200], Priority::Normal);
            assert!(sent.is_ok());
            drain(machine);
        });
    }

    /// Carries a segment over every link, both ways; whether there was anything.
    fn carry(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for wire in 0..self.wires.len() {
            let (above, below) = self.wires[wire];
            busy |= self.carry_one(above, below, now);
            busy |= self.carry_one(below, above, now);
        }
        busy
    }

    fn carry_one(&mut self, from: End, to: End, now: Instant) -> bool {
        let Outgoing::Bytes(bytes) = self.nodes[from.0].outgoing(from.1) else { return false };
        let segment = bytes[..bytes.len().min(SEGMENT)].to_vec();
        let sender = &mut self.nodes[from.0];
        as_node(from.0, || sender.sent(from.1, segment.len()));
        let receiver = &mut self.nodes[to.0];
        as_node(to.0, || {
            receiver.handle_data(now, to.1, &segment);
            drain(receiver);
        });
        true
    }

    fn wake(&mut self, now: Instant) {
        for (node, machine) in self.nodes.iter_mut().enumerate() {
            if machine.poll_timeout().is_some_and(|(due, _)| due <= now) {
                as_node(node, || {
                    machine.handle_timeout(now);
                    drain(machine);
                });
            }
        }
    }
}

fn drain(node: &mut Node) {
    while node.poll_event().is_some() {}
}
