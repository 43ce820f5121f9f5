//! `meshward demo`: a virtual mesh over TCP on this machine, and an update of all of it.
//!
//! Every node is a real node with a flash file, a boot loader and a TCP port of its own, which believes keys that are
//! made for this run; some of them, if asked for, are models of the unmodified C++ library's. The gateway joins the
//! first one, and is driven through its REST interface like any other. Gateway and nodes share nothing but
//! TCP. What the nodes tell of heap, signal and temperature is made up. With `--once` one update is all, and at the end
//! every node's flash is read and hashed: that, and nothing that a node says, is the result. Without it the mesh lives
//! on ([`live`]) for whoever looks at the dashboard.

mod broker;
mod gateway;
mod live;
mod mesh;
mod report;
mod shape;
mod stock;
mod story;
mod trust;
mod vitals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use meshward_core::wire::NodeId;
use meshward_gateway::rest::model::Rollout;
use meshward_gateway::{rest, shell};

use crate::capture::Capture;
use crate::shutdown;
use crate::what::SchemeArg;
use gateway::VirtualGateway;
use mesh::VirtualMesh;
pub(crate) use shape::Topology;
use story::Story;
use trust::{Author, Signers};

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
/// Between two looks at the mesh.
const LOOK: Duration = Duration::from_millis(50);

/// Options of `meshward demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many nodes. [default: 40; with --once 20; with --story 12]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=500))]
    nodes: Option<u32>,
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
    /// Rate of every link in each direction, in kilobytes a second; 0 for no limit. [default: 100; with --once 4000]
    #[arg(long, value_name = "KB/S")]
    rate: Option<u64>,
    /// Where to serve dashboard and REST interface; this machine only. [default: 127.0.0.1:8080 if that is free, else a
    /// free port; with --once a free port]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Let nothing happen by itself: no node goes, and no update starts but yours.
    #[arg(long, conflicts_with = "once")]
    still: bool,
    /// Start the nodes and no gateway, for one of your own: nodes report to the gateway that told them to last, so two
    /// in one mesh take them from each other. Nothing happens by itself then.
    #[arg(long, conflicts_with_all = ["once", "story", "json", "http", "mqtt", "capture"])]
    no_gateway: bool,
    /// Tell a story instead: what becomes of a bad release. With --once the program ends with it, and its exit code says
    /// whether it ended well; else the mesh stays for you to look at.
    #[arg(long, value_enum, value_name = "STORY", conflicts_with_all = ["still", "image", "base"])]
    story: Option<Story>,
    /// Update all nodes once and end; otherwise the mesh lives on for you to look at.
    #[arg(long)]
    once: bool,
    /// Print one JSON object as the last line of standard output, and no progress.
    #[arg(long)]
    json: bool,
    /// Serve MQTT as well: with a broker of this program's own, on a free port of this machine and in memory, or with the
    /// one at mqtt://HOST:PORT. Whoever gets there may do everything to the mesh.
    #[arg(long, value_name = "BROKER", num_args = 0..=1, default_missing_value = broker::OWN)]
    mqtt: Option<String>,
    /// Write all that passes over the gateway's link to this file; `meshward capture ladder` shows it.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

impl Args {
    /// Nodes of the mesh.
    fn nodes(&self) -> u32 {
        let usual = match (self.story, self.once) {
            (Some(_), _) => 12,
            (None, true) => 20,
            (None, false) => 40,
        };
        self.nodes.unwrap_or(usual)
    }

    /// What links are like. In a mesh that stays up they are slow enough for an update to be watched.
    fn shape(&self) -> shell::Shape {
        let fast = self.once || self.story.is_some();
        let rate = self.rate.unwrap_or(if fast { 4_000 } else { 100 });
        shell::Shape {
            latency: meshward_core::time::Duration::from_millis(self.latency),
            bytes_per_second: rate.saturating_mul(1_000),
        }
    }

    /// Says something to whoever is at the terminal.
    fn say(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let asked = shutdown::listen();
    check(&args)?;
    let images = Images::of(&args)?;
    if args.no_gateway {
        return nodes_alone(&args, &images, asked).await;
    }
    let capture = args.capture.as_deref().map(Capture::start).transpose()?;
    let bound = gateway::bind(args.http, !args.once).await?;
    if !args.once {
        // First of all, and for programs that read it.
        println!("dashboard: {}/", bound.url()?);
        if !rest::Dashboard::embedded().is_built() {
            args.say("this program was built without its dashboard: `cargo xtask web`, then build it again");
        }
    }
    let signers = Signers::new()?;
    let mut mesh = start_nodes(&args, &images, &signers).await?;
    let Images { base, new } = images;
    let author = signers.author;
    let plan = gateway::Plan {
        entry: mesh.entry(),
        seed: args.seed,
        tap: capture.as_ref().map(Capture::tap),
        operator: signers.operator,
        bound,
        folder: (!args.once || args.story.is_some()).then(|| mesh.folder()),
        mqtt: args.mqtt.as_deref(),
    };
    let gateway = VirtualGateway::start(plan).await?;
    let good = if let Some(story) = args.story {
        args.say(&format!("gateway at {}, waiting for the mesh to form", gateway.client().url()));
        let scene = story::Scene { args: &args, mesh: &mesh, gateway: &gateway, author: &author };
        scene.tell(story, (&new, &base), asked).await?
    } else if args.once {
        args.say(&format!("gateway at {}, waiting for the mesh to form", gateway.client().url()));
        once(&args, &mesh, &gateway, (&new, &base), &author).await?
    } else {
        let scene = live::Scene { args: &args, gateway: &gateway, author: &author, images: [&new, &base] };
        scene.play(&mut mesh, asked).await?;
        true
    };
    gateway.stop().await?;
    mesh.stop().await?;
    if let Some(capture) = capture {
        capture.finish().await?;
    }
    Ok(good)
}

/// What the nodes run at first, and what they are updated to.
struct Images {
    base: Vec<u8>,
    new: Vec<u8>,
}

impl Images {
    fn of(args: &Args) -> anyhow::Result<Self> {
        Ok(Self { base: image(args.base.as_ref(), BASE)?, new: image(args.image.as_ref(), IMAGE)? })
    }
}

/// Starts the nodes, and says where the first one is.
async fn start_nodes(args: &Args, images: &Images, signers: &Signers) -> anyhow::Result<VirtualMesh> {
    let stock = if args.stock > 0 { format!(", {} of them stock", args.stock) } else { String::new() };
    args.say(&format!(
        "starting {} nodes{stock} ({}, seed {})",
        args.nodes(),
        args.topology.name(),
        args.seed
    ));
    let keys = if args.scheme.is_stock() { None } else { Some(signers.keys()?) };
    let mesh = VirtualMesh::start(args, &images.base, &images.new, keys.as_ref()).await?;
    if !args.once {
        // For whoever wants a gateway of their own in it: `meshward gateway --peer …`.
        println!("mesh: {}", mesh.entry());
    }
    Ok(mesh)
}

/// Only the nodes, until `asked` is ready.
async fn nodes_alone(args: &Args, images: &Images, asked: impl Future<Output = ()>) -> anyhow::Result<bool> {
    let mesh = start_nodes(args, images, &Signers::new()?).await?;
    args.say(&format!(
        "{} nodes wait for `meshward gateway --peer {}`; Ctrl-C ends them",
        mesh.len(),
        mesh.entry()
    ));
    asked.await;
    mesh.stop().await?;
    Ok(true)
}

/// Updates all nodes, and says what came of it; whether all run the new image.
async fn once(
    args: &Args,
    mesh: &VirtualMesh,
    gateway: &VirtualGateway,
    (image, base): (&[u8], &[u8]),
    author: &Author,
) -> anyhow::Result<bool> {
    let manifest = author.manifest(image, ("demo", 1))?;
    gateway.sees(mesh.len()).await?;
    args.say(&format!("updating {} nodes to {} bytes", mesh.len(), image.len()));
    let summary = update(args, mesh, gateway, &Release { image, base, manifest }).await?;
    args.say(&summary.sentence());
    if args.json {
        println!("{}", summary.json());
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
    let deepest = args.topology.depth(args.nodes() as usize, args.seed);
    anyhow::ensure!(
        deepest <= DEPTH_MAX,
        "this mesh would be {deepest} nodes deep; painlessMesh's JSON carries trees of up to {DEPTH_MAX}: take \
         fewer nodes or another topology"
    );
    anyhow::ensure!(
        args.story.is_none() || (args.nodes() >= story::NODES_LEAST && !args.scheme.is_stock()),
        "a story needs {} nodes at least that take signed updates: take more nodes, and scheme auto",
        story::NODES_LEAST
    );
    anyhow::ensure!(
        args.stock <= args.nodes(),
        "--stock {} is more than the {} nodes that there are: take at most --stock {}",
        args.stock,
        args.nodes(),
        args.nodes()
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
