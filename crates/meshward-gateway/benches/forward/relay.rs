//! One node between two sockets: what it costs to pass a message on.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;

use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::time::Instant;
use meshward_core::wire::{Data, NodeId, Offer, Tree, User};
use meshward_gateway::shell::{Application, Clock, NodeHandle, Shell, ShellConfig, Traffic};

use crate::peer::Peer;
use crate::spread;

/// Bytes written at once, and the least that waits for the node under backlog.
const BATCH: usize = 64 * 1024;
const FROM: NodeId = NodeId(1_093_410_022);
const RELAY: NodeId = NodeId(2_748_091_201);
/// The receiver's neighbour of the relay, and with a chain behind it the first of these.
const TO: u32 = 3_000_000_000;
/// Runs of each case.
const RUNS: usize = 5;

/// The two messages of the page.
#[derive(Clone, Copy)]
enum Message {
    /// A text for one node, 154 bytes.
    Short,
    /// A part of an image for one node, 1 589 bytes.
    Part,
}

impl Message {
    fn len(self) -> usize {
        match self {
            Self::Short => 154,
            Self::Part => 1_589,
        }
    }

    /// What is wanted, in microseconds of processor time.
    fn target(self) -> f64 {
        match self {
            Self::Short => 1.0,
            Self::Part => 5.0,
        }
    }

    fn encode(self, dest: NodeId) -> Vec<u8> {
        let padded = |padding: usize| match self {
            Self::Short => {
                let msg = vec![b'x'; padding].into();
                User { broadcast: false, dest, from: FROM, msg }.encode()
            }
            Self::Part => {
                let offer = Offer {
                    md5: b"4639cc6276c15e1cc31cda3b69b09ad2".into(),
                    hardware: b"ESP32".into(),
                    role: vec![b'r'; padding].into(),
                    forced: false,
                    parts: 517,
                    broadcasted: false,
                    compressed: false,
                };
                let data = (0..1_024_u32).map(|byte| (byte * 167) as u8).collect::<Vec<u8>>().into();
                Data { from: FROM, dest, routing_broadcast: false, offer, part: 100, data }.encode()
            }
        };
        let message = padded(self.len() - padded(0).len());
        assert_eq!(message.len(), self.len());
        message
    }

    /// How many make a measurement.
    fn count(self, batched: bool) -> usize {
        match (self, batched) {
            (Self::Short, true) => 800_000,
            (Self::Part, true) => 120_000,
            (_, false) => 20_000,
        }
    }
}

#[derive(Debug)]
struct Nothing;

impl Application for Nothing {
    type Machine = Node;

    fn on_event(&mut self, _now: Instant, _node: &mut Node, _event: &Event) {}
}

/// Processor time that the calling thread has used.
fn thread_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells what threads use");
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// A node on a thread of its own.
struct Relay {
    address: SocketAddr,
    handle: NodeHandle<Nothing>,
    caller: tokio::runtime::Runtime,
}

impl Relay {
    fn start() -> Self {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let node = Node::new(NodeConfig::new(MeshConfig::node(RELAY, 1)));
                let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
                let config = ShellConfig { listen, ..ShellConfig::default() };
                let traffic = Arc::new(Traffic::default());
                let bound = Shell::bind(config, node, Nothing, None, Clock::start(), traffic).await;
                let (shell, handle) = bound.unwrap();
                tell.send((shell.local_addr().unwrap(), handle)).unwrap();
                // Ends with the process: its neighbours have gone by then.
                shell.run(std::future::pending()).await
            })
        });
        let (address, handle) = told.recv().unwrap();
        let caller = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { address, handle, caller }
    }

    fn cpu_ns(&self) -> u64 {
        self.caller.block_on(self.handle.with(|_, _, _| thread_cpu_ns())).unwrap()
    }

    /// Frames passed on, and frames dropped.
    fn counted(&self) -> (u64, u64) {
        let counters = self.caller.block_on(self.handle.with(|_, node, _| *node.mesh().counters())).unwrap();
        (counters.frames_forwarded, counters.messages_dropped + counters.chunks_dropped)
    }
}

/// A chain of nodes from [`TO`] on.
fn chain(nodes: u32) -> Tree {
    let mut tree = Tree::leaf(NodeId(TO + nodes - 1));
    for index in (0..nodes - 1).rev() {
        let mut above = Tree::leaf(NodeId(TO + index));
        above.graft(&tree);
        tree = above;
    }
    tree
}

/// Microseconds that the node needs per message; `behind` nodes are behind it, and the last gets them.
fn node_us(message: Message, behind: u32, batched: bool) -> f64 {
    let relay = Relay::start();
    let mut from = Peer::join(relay.address, Tree::leaf(FROM));
    let mut to = Peer::join(relay.address, chain(behind));
    from.settle();
    to.settle();
    let count = message.count(batched);
    let bytes = message.encode(NodeId(TO + behind - 1));
    let before = relay.cpu_ns();
    send(&mut from.stream, &mut to.stream, &bytes, count, batched);
    let used = relay.cpu_ns() - before;
    let (forwarded, dropped) = relay.counted();
    assert!(forwarded >= count as u64 && dropped == 0, "{forwarded} forwarded, {dropped} dropped");
    used as f64 / 1e3 / count as f64
}

/// Microseconds that a thread needs which only reads and writes the same bytes.
fn bare_us(message: Message, batched: bool) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dial = || {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    };
    let accept = || listener.accept().unwrap().0;
    let (mut from, mut source) = (dial(), accept());
    let (mut to, mut sink) = (dial(), accept());
    sink.set_nodelay(true).unwrap();
    let count = message.count(batched);
    let total = count * (message.len() + 1);
    let copying = std::thread::spawn(move || {
        let mut buffer = vec![0; BATCH];
        let mut copied = 0;
        let before = thread_cpu_ns();
        while copied < total {
            let read = source.read(&mut buffer).unwrap();
            sink.write_all(&buffer[..read]).unwrap();
            copied += read;
        }
        thread_cpu_ns() - before
    });
    send(&mut from, &mut to, &message.encode(NodeId(TO)), count, batched);
    copying.join().unwrap() as f64 / 1e3 / count as f64
}

/// Sends `count` messages and waits until all have come out: with a backlog of one to two [`BATCH`]es, or one
/// by one.
fn send(from: &mut TcpStream, to: &mut TcpStream, message: &[u8], count: usize, batched: bool) {
    let mut buffer = vec![0; 4 * BATCH];
    let one = [message, &[0]].concat();
    let batch = if batched { BATCH / one.len() } else { 1 };
    let batch = one.repeat(batch);
    let total = count * one.len();
    let (mut sent, mut received) = (0, 0);
    while received < total {
        let ahead = if batched { BATCH } else { 0 };
        if sent < total && sent <= received + ahead {
            let piece = &batch[..batch.len().min(total - sent)];
            from.write_all(piece).unwrap();
            sent += piece.len();
        } else {
            let read = to.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the connection was closed");
            received += read;
        }
    }
}

/// The table of the page.
pub(crate) fn table() -> String {
    let mut text = String::from(
        "| message | how | nodes behind | processor time per message | bare read + write | wanted |\n\
         | ---: | --- | ---: | ---: | ---: | --- |\n",
    );
    for message in [Message::Short, Message::Part] {
        for (how, batched) in [("backlog", true), ("one by one", false)] {
            let bare = spread((0..RUNS).map(|_| bare_us(message, batched)).collect()).0;
            for behind in [1, 100] {
                let runs = (0..RUNS).map(|_| node_us(message, behind, batched)).collect();
                let (median, least, most) = spread(runs);
                let wanted = match (batched, message.target()) {
                    (true, target) if median <= target => format!("≤ {target} µs: kept"),
                    (true, target) => format!("≤ {target} µs: **missed**"),
                    (false, _) => "–".to_owned(),
                };
                // Writing to a string cannot fail.
                let _always_ok = writeln!(
                    text,
                    "| {} B | {how} | {behind} | {median:.2} µs ({least:.2} to {most:.2}) | {bare:.2} µs | {wanted} |",
                    message.len(),
                );
            }
        }
    }
    text
}
