//! Meshes of many nodes in this process: how fast they find together, and what a node holds.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use meshward_core::mesh::{MeshConfig, MeshEvent};
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::rng::Rng;
use meshward_core::wire::NodeId;
use meshward_gateway::shell::{Application, Clock, Exit, Shell, ShellConfig, Traffic};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::spread;

/// Nodes in a mesh.
const NODES: usize = 100;
/// Most children of a node in a random tree.
const FAN_OUT: usize = 4;
/// Runs of each shape.
const RUNS: usize = 5;
/// A mesh that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts the nodes that see all others.
struct Watcher {
    seeing: Arc<AtomicUsize>,
    all: Arc<Notify>,
    sees: bool,
}

impl Application for Watcher {
    type Machine = Node;

    fn on_event(&mut self, _now: meshward_core::time::Instant, node: &mut Node, event: &Event) {
        if !matches!(event, Event::Mesh(MeshEvent::TopologyChanged { .. })) {
            return;
        }
        let sees = node.mesh().tree().len() == NODES;
        if sees && !self.sees && self.seeing.fetch_add(1, Ordering::SeqCst) + 1 == NODES {
            self.all.notify_one();
        } else if self.sees && !sees {
            self.seeing.fetch_sub(1, Ordering::SeqCst);
        }
        self.sees = sees;
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Chain,
    Random,
}

impl Shape {
    fn parents(self, seed: u64) -> Vec<Option<usize>> {
        let mut rng = Rng::new(seed);
        let mut children = [0; NODES];
        let mut parent = |index: usize| match self {
            _ if index == 0 => None,
            Self::Chain => Some(index - 1),
            Self::Random => loop {
                let candidate = rng.below(index as u64) as usize;
                if children[candidate] < FAN_OUT {
                    children[candidate] += 1;
                    return Some(candidate);
                }
            },
        };
        (0..NODES).map(&mut parent).collect()
    }
}

/// A mesh that stands.
struct Mesh {
    tasks: JoinSet<Exit>,
    stop: watch::Sender<bool>,
    traffic: Arc<Traffic>,
    took: Duration,
}

impl Mesh {
    /// Binds all ports, starts all nodes, and waits until every one of them sees all.
    async fn form(shape: Shape, seed: u64) -> Self {
        let (seeing, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let traffic = Arc::new(Traffic::default());
        let (stop, stopped) = watch::channel(false);
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut shells = Vec::new();
        for (index, parent) in shape.parents(seed).into_iter().enumerate() {
            let mesh = MeshConfig::node(NodeId(2_000_000_000 + index as u32), seed + index as u64);
            let node = Node::new(NodeConfig::new(mesh));
            let config = ShellConfig {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
                dial: parent
                    .map(|parent| addresses[parent].to_string().parse().unwrap())
                    .into_iter()
                    .collect(),
                seed: seed + index as u64,
                ..ShellConfig::default()
            };
            let watcher = Watcher { seeing: Arc::clone(&seeing), all: Arc::clone(&all), sees: false };
            let traffic = Arc::clone(&traffic);
            let (shell, _) = Shell::bind(config, node, watcher, None, Clock::start(), traffic).await.unwrap();
            addresses.push(shell.local_addr().unwrap());
            shells.push(shell);
        }
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for shell in shells {
            let mut stopped = stopped.clone();
            tasks.spawn(shell.run(async move { drop(stopped.wait_for(|stop| *stop).await) }));
        }
        tokio::time::timeout(PATIENCE, all.notified()).await.expect("the mesh does not form");
        Self { tasks, stop, traffic, took: started.elapsed() }
    }

    fn megabytes(&self) -> f64 {
        self.traffic.sent.load(Ordering::Relaxed) as f64 / 1e6
    }

    async fn end(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The table of the page.
pub(crate) fn table() -> String {
    let mut text = String::from(
        "| 100 nodes | until all see all | on links | wanted | the C++ library |\n\
         | --- | ---: | ---: | --- | --- |\n",
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shapes = [
        (Shape::Chain, "chain", 2.0, "25 s, 75 MB"),
        (Shape::Random, "random tree, at most 4 children", 0.5, "0.6 s, 4.6 MB"),
    ];
    for (shape, name, wanted, library) in shapes {
        let (mut seconds, mut megabytes) = (Vec::new(), Vec::new());
        for seed in 0..RUNS as u64 {
            let mesh = runtime.block_on(Mesh::form(shape, seed));
            seconds.push(mesh.took.as_secs_f64());
            megabytes.push(mesh.megabytes());
            runtime.block_on(mesh.end());
        }
        let (median, least, most) = spread(seconds);
        let kept = if median < wanted { "kept" } else { "**missed**" };
        // Writing to a string cannot fail.
        let _always_ok = writeln!(
            text,
            "| {name} | {median:.2} s ({least:.2} to {most:.2}) | {:.1} MB | < {wanted} s: {kept} | {library} |",
            spread(megabytes).0,
        );
    }
    text
}

/// Resident bytes of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells what a process holds");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

/// What a node holds in a mesh of 100, as a sentence.
pub(crate) fn memory() -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = resident();
    let first = runtime.block_on(Mesh::form(Shape::Random, 0));
    let middle = resident();
    // What the program needs once (code, the runtime) is there now.
    let second = runtime.block_on(Mesh::form(Shape::Random, 1));
    let end = resident();
    runtime.block_on(async {
        first.end().await;
        second.end().await;
    });
    let each = |from: usize, to: usize| to.saturating_sub(from) as f64 / NODES as f64 / 1e3;
    let (marginal, with_program) = (each(middle, end), each(start, middle));
    let kept = if marginal <= 34.0 { "kept" } else { "**missed**" };
    format!(
        "Memory, flash apart: a second mesh of 100 nodes (random tree) made the process {marginal:.1} KB a node \
         larger in resident memory; wanted ≤ 34 KB, what the C++ library needs: {kept}. The first mesh, with \
         what the program itself touches for the first time, {with_program:.1} KB a node."
    )
}
