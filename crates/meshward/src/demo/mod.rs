//! `meshward demo`: a virtual mesh over TCP on this machine, and an update of all of it.
//!
//! Every node is a real node with a flash file, a boot loader and a TCP port of its own, which believes keys that are
//! made for this run; some of them, if asked for, are models of the unmodified C++ library's. The gateway joins the
//! first one, and is driven through its REST interface like any other. Gateway and nodes share nothing but
//! TCP. What the nodes tell of heap, signal and temperature is made up. At the end every node's flash is read and hashed: that, and nothing that a node says, is the result.

mod mesh;
mod report;
mod shape;
mod stock;
mod trust;
mod vitals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use meshward_core::mesh::MeshConfig;
use meshward_core::wire::NodeId;
use meshward_fleet::fleet::Settings;
use meshward_gateway::rest::model::{NewRollout, Rollout};
use meshward_gateway::shell::{self, ShellConfig, Tap, Traffic};
use meshward_gateway::{rest, service};
use tokio::sync::watch;

use crate::capture::Capture;
use crate::client::Client;
use crate::door::Door;
use crate::profile::Target;
use crate::what::SchemeArg;
use crate::{deploy, shutdown};
use mesh::{HARDWARE, VirtualMesh};
pub(crate) use shape::Topology;
use trust::Signers;

/// What the nodes run at first, and what they are updated to.
const BASE: &[u8] = include_bytes!("../../../../testdata/firmware/node-c3-v1.4.2.bin");
const IMAGE: &[u8] = include_bytes!("../../../../testdata/firmware/node-c3-v1.4.3.bin");
/// The role of all nodes.
const ROLE: &str = "demo";
/// The gateway's own node id.
const GATEWAY: NodeId = NodeId(1);
/// How long the mesh may take to form, and the nodes to be back after the update.
const PATIENCE: Duration = Duration::from_secs(60);
/// The deepest tree: every node takes two of the 255 levels of JSON that nodes read.
const DEPTH_MAX: usize = 120;
/// How long no alert is raised after the start.
const QUIET: meshward_core::time::Duration = meshward_core::time::Duration::from_secs(20);
/// Between two looks at the mesh.
const LOOK: Duration = Duration::from_millis(50);

/// Options of `meshward demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many nodes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    nodes: u32,
    /// How many of them behave as the unmodified C++ library, anywhere in the tree.
    #[arg(long, default_value_t = 0, value_name = "NODES")]
    stock: u32,
    /// How they hang together.
    #[arg(long, value_enum, default_value_t = Topology::Random)]
    topology: Topology,
    /// The new image; by default one that this program carries (an ESP32-C3 node, v1.4.3).
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// What the nodes run before; by default one that this program carries (v1.4.2).
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// What is sent. With turbo and unicast all nodes take stock updates.
    #[arg(long, value_enum, default_value_t = SchemeArg::Auto)]
    scheme: SchemeArg,
    /// Seed of the random tree and of every jitter.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Delay of every link, one way, in milliseconds.
    #[arg(long, default_value_t = 1, value_name = "MS")]
    latency: u64,
    /// Rate of every link in each direction, in kilobytes a second; 0 for no limit.
    #[arg(long, default_value_t = 4_000, value_name = "KB/S")]
    rate: u64,
    /// End when the update is done; otherwise the mesh stays up for you to look at.
    #[arg(long)]
    once: bool,
    /// Print one JSON object as the last line of standard output, and no progress.
    #[arg(long)]
    json: bool,
    /// Write all that passes over the gateway's link to this file; `meshward capture ladder` shows it.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    check(&args)?;
    let base = image(args.base.as_ref(), BASE)?;
    let new = image(args.image.as_ref(), IMAGE)?;
    let capture = args.capture.as_deref().map(Capture::start).transpose()?;
    let say = |text: String| {
        if !args.json {
            eprintln!("{text}");
        }
    };
    let stock = if args.stock > 0 { format!(", {} of them stock", args.stock) } else { String::new() };
    say(format!("starting {} nodes{stock} ({}, seed {})", args.nodes, args.topology.name(), args.seed));
    let shape = shell::Shape {
        latency: meshward_core::time::Duration::from_millis(args.latency),
        bytes_per_second: args.rate.saturating_mul(1_000),
    };
    let signers = Signers::new()?;
    let keys = if args.scheme.is_stock() { None } else { Some(signers.keys()?) };
    let mesh = VirtualMesh::start(&args, shape, &base, new.len(), keys.as_ref()).await?;
    let manifest = signers.manifest(&new, HARDWARE, ROLE)?;
    let tap = capture.as_ref().map(Capture::tap);
    let gateway = VirtualGateway::start(mesh.entry(), args.seed, tap, signers).await?;
    say(format!("gateway at {}, waiting for the mesh to form", gateway.url()));
    gateway.sees(mesh.len()).await?;

    say(format!("updating {} nodes to {} bytes", mesh.len(), new.len()));
    let release = Release { image: &new, base: &base, manifest };
    let summary = update(&args, &mesh, &gateway, &release).await?;
    say(summary.sentence());
    if args.json {
        println!("{}", summary.json());
    }
    if !args.once {
        say(format!(
            "the mesh stays up: try `meshward status`, `nodes`, `topology`, `alerts` or `logs -f` with --url {0}; Ctrl-C \
             ends it",
            gateway.url()
        ));
        shutdown::requested().await;
    }
    gateway.stop().await?;
    mesh.stop().await?;
    if let Some(capture) = capture {
        capture.finish().await?;
    }
    Ok(summary.updated == summary.nodes)
}

/// What nodes are to run, and what they run.
struct Release<'a> {
    image: &'a [u8],
    base: &'a [u8],
    manifest: Vec<u8>,
}

/// Refuses what cannot be shown.
fn check(args: &Args) -> anyhow::Result<()> {
    let deepest = args.topology.depth(args.nodes as usize, args.seed);
    anyhow::ensure!(
        deepest <= DEPTH_MAX,
        "this mesh would be {deepest} nodes deep; painlessMesh's JSON carries trees of up to {DEPTH_MAX}: take \
         fewer nodes or another topology"
    );
    anyhow::ensure!(
        args.stock <= args.nodes,
        "--stock {} is more than the {} nodes that there are: take at most --stock {}",
        args.stock,
        args.nodes,
        args.nodes
    );
    Ok(())
}

/// Brings the image to all nodes, and looks at what they have in the end.
async fn update<'a>(
    args: &Args,
    mesh: &VirtualMesh,
    gateway: &VirtualGateway,
    release: &Release<'a>,
) -> anyhow::Result<report::Summary<'a>> {
    let started = Instant::now();
    let mut passed = None;
    let look = |rollout: &Rollout| {
        if report::has_passed(rollout) {
            passed.get_or_insert_with(|| started.elapsed());
        }
    };
    let rollout = gateway.deploy(args, release, look).await?;
    // The nodes have the image; now all must be back in the mesh.
    gateway.sees(mesh.len()).await?;
    let seconds = started.elapsed().as_secs_f64();
    let outcome = mesh.outcome(release.image, PATIENCE).await?;
    if !args.json {
        report::print_table(&outcome, &rollout);
    }
    Ok(report::Summary {
        nodes: mesh.len(),
        stock: args.stock as usize,
        updated: outcome.iter().filter(|node| node.updated).count(),
        seconds,
        pass_seconds: passed.map_or(seconds, |passed| passed.as_secs_f64()),
        tcp_bytes: mesh.bytes() + gateway.bytes(),
        image: release.image,
        scheme: rollout.scheme,
        schemes: report::schemes(&rollout),
        transfers: report::transfers(&rollout, &outcome),
        topology: args.topology,
        seed: args.seed,
    })
}

fn image(path: Option<&PathBuf>, default: &[u8]) -> anyhow::Result<Vec<u8>> {
    let Some(path) = path else { return Ok(default.to_vec()) };
    let image = std::fs::read(path).with_context(|| format!("cannot read the image {}", path.display()))?;
    anyhow::ensure!(!image.is_empty(), "the image {} is empty", path.display());
    Ok(image)
}

/// A demonstration is not waited for two minutes before it raises its first alert.
fn settings() -> Settings {
    Settings { mesh: "demo".to_owned(), quiet: QUIET, ..Settings::default() }
}

/// The gateway of the demonstration, in this process but behind TCP.
struct VirtualGateway {
    client: Client,
    traffic: Arc<Traffic>,
    stop: watch::Sender<bool>,
    tasks: tokio::task::JoinSet<anyhow::Result<()>>,
    door: Door,
}

impl VirtualGateway {
    async fn start(entry: SocketAddr, seed: u64, tap: Option<Tap>, signers: Signers) -> anyhow::Result<Self> {
        let traffic = Arc::new(Traffic::default());
        let peer = entry.to_string().parse()?;
        let shell = ShellConfig { listen: None, dial: vec![peer], shape: None, seed, tap };
        let mesh = MeshConfig::gateway(GATEWAY, seed);
        let (shell, handle) =
            service::join(mesh, shell, Arc::clone(&traffic), signers.operator, settings()).await?;
        let bound = rest::bind(&rest::Http::at(SocketAddr::from(([127, 0, 0, 1], 0)))).await?;
        let url = bound.url()?;
        let door = Door::open(&bound, None).await?;
        let (stop, stopped) = watch::channel(false);
        let until = |mut stopped: watch::Receiver<bool>| async move {
            drop(stopped.wait_for(|stop| *stop).await);
        };
        let mut tasks = tokio::task::JoinSet::new();
        let node = shell.run(until(stopped.clone()));
        tasks.spawn(async move {
            node.await;
            Ok(())
        });
        let http = rest::serve(bound, rest::Api::new(handle, door.access.clone()), until(stopped));
        tasks.spawn(async move { http.await.context("the REST service failed") });
        let target = Target { url, token: Some(door.access.local().reveal_token()) };
        Ok(Self { client: Client::to(target), traffic, stop, tasks, door })
    }

    fn url(&self) -> &str {
        self.client.url()
    }

    fn bytes(&self) -> u64 {
        self.traffic.sent.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits until the gateway's tree has this many nodes.
    async fn sees(&self, nodes: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.client.topology().await?.nodes.len();
            if seen == nodes {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "after {} s the gateway sees {seen} of {nodes} nodes",
                PATIENCE.as_secs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn deploy(
        &self,
        args: &Args,
        release: &Release<'_>,
        look: impl FnMut(&Rollout),
    ) -> anyhow::Result<Rollout> {
        if !args.scheme.is_stock() {
            self.client.upload("base", release.base.to_vec()).await?;
        }
        let firmware = self.client.upload("demo", release.image.to_vec()).await?;
        self.client.manifest(&firmware.sha256, release.manifest.clone()).await?;
        let new = NewRollout {
            scheme: args.scheme.into(),
            confirm_receiver: true,
            ..NewRollout::new(firmware.sha256, Some(ROLE.to_owned()))
        };
        let started = self.client.start(&new).await?;
        deploy::watch(&self.client, started, !args.json, |_| false, look).await
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the gateway ended abnormally")??;
        }
        drop(self.door);
        Ok(())
    }
}
