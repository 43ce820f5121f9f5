//! A mesh of fifty nodes in one memory, of which one is on the account: what a node takes without updates.

use alloc::boxed::Box;
use alloc::vec::Vec;

use meshward_core::mesh::{LinkId, LinkRole, MeshConfig, Outgoing, Priority};
use meshward_core::node::{Firmware, Node, NodeConfig};
use meshward_core::ota::Tempo;
use meshward_core::ota::exchange::UpdatePlan;
use meshward_core::ota::receiver::State;
use meshward_core::telemetry::{self, Metric, Policy};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::machine::on_account;
use crate::receive::World;

/// Nodes in the mesh.
pub(crate) const NODES: usize = 50;
/// The node that is looked at: a relay with a parent and three children.
pub(crate) const WATCHED: usize = 1;
/// Another child of its parent.
pub(crate) const SIBLING: usize = 2;
/// Its parent, which brings an update.
const GATEWAY: usize = 0;
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

struct Mesh<'w> {
    nodes: Vec<Node>,
    wires: Vec<(End, End)>,
    /// The flash of the one node that takes an update, and which node that is.
    taker: Option<(&'w mut World, usize)>,
}

/// Runs `work` on the account if it is the watched node's.
fn as_node<T>(node: usize, work: impl FnOnce() -> T) -> T {
    if node == WATCHED { on_account(work) } else { work() }
}

/// Lets the mesh form and talk; how many nodes the watched one knows in the end. A `taker` gets an update meanwhile:
/// if it has not got it in the end, nobody is known. With `tell` all nodes tell the gateway about themselves, and the
/// watched one packs what those behind it tell with its own.
pub(crate) fn watch(taker: Option<(&mut World, usize)>, tell: bool) -> usize {
    let mut mesh = Mesh::new(taker, tell);
    let mut begin = mesh.taker.is_some().then_some(Instant::ORIGIN + Duration::from_secs(60));
    let (mut now, end) = (Instant::ORIGIN, Instant::ORIGIN + WATCH);
    let (mut talk, mut turn) = (Instant::ORIGIN + Duration::from_secs(15), 0);
    while now < end {
        if now >= talk {
            mesh.talk(turn);
            (turn, talk) = (turn + 7, talk + TALK);
        }
        if begin.is_some_and(|begin| begin <= now) {
            begin = None;
            mesh.begin(now);
        }
        let busy = mesh.carry(now);
        let next = mesh.nodes.iter().filter_map(|node| node.poll_timeout().map(|(due, _)| due)).min();
        let idle = next.unwrap_or(end).min(talk).max(now + Duration::from_micros(1));
        now = if busy { now + STEP } else { idle };
        mesh.wake(now);
    }
    let receivers = mesh.nodes.iter().filter_map(|node| node.exchange().receiver());
    let ready = receivers.into_iter().all(|receiver| receiver.state() == State::Ready);
    if ready { mesh.nodes[WATCHED].mesh().tree().len() } else { 0 }
}

fn id(node: usize) -> NodeId {
    NodeId(3_000_000_000 + node as u32)
}

/// Everything that a node can tell, four times as often as by default.
fn telling() -> telemetry::Config {
    let policy = Policy { pmin_s: 5, pmax_s: 15, enhanced_s: 60, ..Policy::default() };
    telemetry::Config { collector: Some(id(GATEWAY)), policy, ..telemetry::Config::default() }
}

impl<'w> Mesh<'w> {
    fn new(taker: Option<(&'w mut World, usize)>, tell: bool) -> Self {
        let config = |node: usize| {
            let taker = taker.as_ref().filter(|(_, taker)| node == *taker);
            let firmware = taker.map(|(world, _)| Firmware::Signed(Box::new(world.config(id(node)))));
            let config = NodeConfig::new(MeshConfig::node(id(node), node as u64)).with_firmware(firmware);
            NodeConfig { telemetry: (tell && node != GATEWAY).then(telling), ..config }
        };
        let new = |node| {
            let mut node = Node::new(config(node));
            for metric in Metric::ALL {
                node.set_metric(Instant::ORIGIN, *metric, *metric.range().end());
            }
            node
        };
        let nodes = (0..NODES).map(|node| as_node(node, || new(node))).collect();
        let mut mesh = Self { nodes, wires: Vec::new(), taker };
        mesh.settle(Instant::ORIGIN);
        for child in 1..NODES {
            let parent = (child - 1) / 3;
            let above = mesh.link(parent, LinkRole::Listener);
            let below = mesh.link(child, LinkRole::Dialler);
            mesh.wires.push((above, below));
        }
        mesh
    }

    /// The gateway begins to bring the image.
    fn begin(&mut self, now: Instant) {
        let Some((world, taker)) = &self.taker else { return };
        let plan = UpdatePlan {
            offerings: alloc::vec![world.offering()],
            targets: alloc::vec![id(*taker)],
            tempo: Tempo::default(),
            broadcast: true,
        };
        assert!(self.nodes[GATEWAY].start_update(now, plan).is_ok());
        drain(&mut self.nodes[GATEWAY]);
    }

    /// Executes what the taker wants of its flash.
    fn settle(&mut self, now: Instant) {
        if let Some((world, taker)) = &mut self.taker {
            let taker = *taker;
            let own = |work: &mut dyn FnMut()| as_node(taker, work);
            assert!(world.settle_node(now, &mut self.nodes[taker], &own).is_some());
        }
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
        self.settle(now);
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
        self.settle(now);
    }
}

fn drain(node: &mut Node) {
    while node.poll_event().is_some() {}
}
