//! Whatever a mesh says to a gateway's fleet: nothing is fatal, nothing grows without bound, and no storm of alerts.

use meshward_core::mesh::{LinkId, LinkRole, MeshConfig};
use meshward_core::node::{Event as Happening, Node, NodeConfig};
use meshward_core::rng::Rng;
use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, NodeSync, Tree, peek};
use meshward_fleet::Fleet;
use meshward_fleet::findings::Kind;
use meshward_fleet::fleet::{Event, Settings};
use meshward_fleet::registry::Record;

const GATEWAY: NodeId = NodeId(1);
const FIRST: u32 = 10;
const NODES: u32 = 100;

/// A gateway's fleet, beside a node with one neighbour.
struct Bench {
    now: Instant,
    node: Node,
    link: LinkId,
    fleet: Fleet,
    notifications: usize,
    transitions: usize,
}

impl Bench {
    fn new() -> Self {
        let mut node = Node::new(NodeConfig::new(MeshConfig::gateway(GATEWAY, 1)));
        let now = Instant::ORIGIN;
        let link = node.handle_link_up(now, LinkRole::Listener).unwrap();
        while node.poll_event().is_some() {}
        let fleet = Fleet::new(now, GATEWAY, 1, Settings::default()).unwrap();
        Self { now, node, link, fleet, notifications: 0, transitions: 0 }
    }

    /// The neighbour says this is its tree.
    fn tree(&mut self, tree: Tree) {
        let mut frame = NodeSync { reply: false, dest: GATEWAY, from: NodeId(FIRST), tree }.encode();
        frame.push(0);
        self.node.handle_data(self.now, self.link, &frame);
        while let Some(event) = self.node.poll_event() {
            self.fleet.handle_event(self.now, self.node.mesh(), &event);
        }
        self.drain();
    }

    fn package(&mut self, text: &str) {
        let Some(envelope) = peek(text.as_bytes()) else { return };
        let event = Happening::Package { envelope, bytes: text.as_bytes().to_vec() };
        self.fleet.handle_event(self.now, self.node.mesh(), &event);
        self.drain();
    }

    fn text(&mut self, from: u32, text: &[u8]) {
        let event = Happening::Message { from: NodeId(from), broadcast: false, text: text.to_vec() };
        self.fleet.handle_event(self.now, self.node.mesh(), &event);
        self.drain();
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.fleet.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.fleet.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while self.fleet.poll_transmit().is_some() {}
        while let Some(event) = self.fleet.poll_event() {
            self.notifications += usize::from(matches!(event, Event::Notification(_)));
            self.transitions += usize::from(matches!(event, Event::Alert(_)));
        }
    }
}

/// Node 10 with all the others below it, but for one that hangs below another.
fn tree(moved: Option<(u32, u32)>) -> Tree {
    let mut top = Tree::leaf(NodeId(FIRST));
    for id in FIRST + 1..FIRST + NODES {
        if moved.is_some_and(|(child, _)| child == id) {
            continue;
        }
        let mut branch = Tree::leaf(NodeId(id));
        if let Some((child, _)) = moved.filter(|(_, parent)| *parent == id) {
            branch.graft(&Tree::leaf(NodeId(child)));
        }
        top.graft(&branch);
    }
    top
}

/// What a node may say that means no good, or nothing.
fn nonsense(from: u32, rng: &mut Rng) -> String {
    let head = format!("{{\"from\":{from},\"dest\":1,\"routing\":1,\"type\":");
    let odd = ["null", "\"many\"", "-5", "1e300", "[1,2]", "{}", "4294967296", "0", "true", "\"\""];
    let value = odd[rng.below(odd.len() as u64) as usize];
    match rng.below(9) {
        0 => format!("{head}604,\"uptime\":{value},\"mem\":{value},\"msgDrop\":{value},\"fw\":{value}}}"),
        1 => format!("{head}204,\"heap\":{value},\"pktsDrop\":{},\"rssi\":{value}}}", rng.below(65_536)),
        2 => format!("{head}605,\"uptime\":{},\"temp\":{value},\"problems\":{value}}}", rng.below(1 << 32)),
        3 => format!("{head}200,\"temp\":{value},\"hum\":{value},\"bat\":{value}}}"),
        4 => format!("{head}602,\"alerts\":[{{\"type\":{value},\"nodeId\":{value}}},{value}]}}"),
        5 => format!(
            "{head}{},\"b\":\"{}\"}}",
            210 + rng.below(6),
            "EAcFAQBjQAiQ".repeat(rng.below(9) as usize)
        ),
        6 => format!("{head}202,\"uptime\":7,\"fw\":\"{}\"}}", "x".repeat(8_000)),
        7 => format!("{head}{}}}", rng.below(2_000)),
        _ => format!(
            "{head}202,\"uptime\":{},\"organization\":{{\"device_name\":\"sensor\"}}}}",
            rng.below(1 << 20)
        ),
    }
}

#[test]
fn nonsense_is_neither_fatal_nor_a_storm() {
    for seed in 0..4 {
        let (mut bench, mut rng) = (Bench::new(), Rng::new(seed));
        bench.tree(tree(None));
        for _ in 0..240 {
            for from in FIRST..FIRST + NODES {
                let text = nonsense(from, &mut rng);
                if rng.below(2) == 0 { bench.package(&text) } else { bench.text(from, text.as_bytes()) }
            }
            bench.pass(Duration::from_secs(15));
        }
        // An hour of 100 nodes, every one of which contradicts itself four times a minute.
        assert!(bench.notifications < 200, "seed {seed}: {} messages", bench.notifications);
        let fleet = &bench.fleet;
        assert!(fleet.alerts().alerts().count() <= 12 * NODES as usize, "seed {seed}");
        assert_eq!(fleet.dropped().events + fleet.dropped().transmits, 0, "seed {seed}: all was taken");
        for (node, _) in fleet.topology().places() {
            let told = fleet.series().told(node);
            assert!(told.into_iter().all(|(metric, last)| {
                let scale = 10_f64.powi(metric.decimals() as i32);
                last.value.is_finite() && metric.range().contains(&((last.value * scale).round() as i64))
            }));
            assert!(fleet.facts(node).all(|fact| fact.text.len() <= 1_024));
        }
        let named = |record: &Record| record.name.as_deref() == Some("sensor");
        let alike = fleet.registry().iter().filter(|(_, record)| named(record)).count();
        assert!(
            alike > 90 && fleet.registry().iter().count() == NODES as usize,
            "seed {seed}: {alike} of one name"
        );
    }
}

#[test]
fn a_node_that_moves_ten_times_a_minute_is_one_finding() {
    let mut bench = Bench::new();
    bench.tree(tree(None));
    for turn in 0..100 {
        bench.tree(tree(Some((20, 30 + turn % 2))));
        bench.pass(Duration::from_secs(6));
    }
    let findings: Vec<_> = bench.fleet.findings().iter().collect();
    assert!(
        matches!(&findings[..], [one] if one.kind == Kind::Flapping && one.subject.0 == 20),
        "{findings:?}"
    );
    assert!(
        bench.transitions < 12 && bench.notifications <= 4,
        "{} {}",
        bench.transitions,
        bench.notifications
    );
}

#[test]
fn uptimes_that_go_back_are_restarts_and_absurd_ones_are_not() {
    let mut bench = Bench::new();
    bench.tree(tree(None));
    let status =
        |uptime: &str| format!("{{\"from\":12,\"dest\":1,\"routing\":1,\"type\":604,\"uptime\":{uptime}}}");
    let restarts = |bench: &Bench| {
        let history = bench.fleet.topology().history();
        history.filter(|event| event.what == meshward_fleet::topology::What::Rebooted).count()
    };
    for (uptime, expected) in
        [("5000", 0), ("5030", 0), ("-3", 0), ("1e300", 0), ("\"x\"", 0), ("5090", 0), ("12", 1), ("42", 1)]
    {
        bench.package(&status(uptime));
        bench.pass(Duration::from_secs(30));
        assert_eq!(restarts(&bench), expected, "after {uptime}");
    }
    assert_eq!(bench.fleet.series().last(NodeId(12), Metric::Uptime).map(|last| last.value), Some(42.0));
}
