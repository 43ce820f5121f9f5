//! `meshward gateway`: joins a mesh as an ordinary node and serves the REST interface.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use meshward_core::mesh::MeshConfig;
use meshward_core::ota::Md5Sum;
use meshward_core::ota::trust::KeyKind;
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use meshward_fleet::fleet::Settings;
use meshward_fleet::liveness;
use meshward_fleet::signing::{SigningKey, public_to_text};
use meshward_gateway::peer::Peer;
use meshward_gateway::shell::{ShellConfig, Traffic};
use meshward_gateway::{rest, service};
use tokio::sync::watch;

use crate::capture::Capture;
use crate::firmware::{Readers, keygen, sign, with_suffix, write_file};
use crate::shutdown;

/// Options of `meshward gateway`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A node to dial: HOST:PORT, HOST (port 5555), or auto, this machine's default gateway.
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<Peer>,
    /// Accept nodes on this address, as an access point's host does.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to serve the REST interface; this machine only.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    http: SocketAddr,
    /// The gateway's node id; by default one that stays the same on this machine.
    #[arg(long)]
    id: Option<u32>,
    /// Call this node the root of the mesh.
    #[arg(long)]
    root: bool,
    /// The secret key of an operator that signs what this gateway sends to Meshward nodes; made when it is not there,
    /// with its public half, for the nodes, in FILE.pub. Without this option the key lasts as long as the program.
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// What looking after the mesh may take of its channel, in percent: nodes are told to report as often as that
    /// allows.
    #[arg(long, default_value_t = 2.0, value_name = "PERCENT", value_parser = percent)]
    status_budget: f64,
    /// How often nodes that can report do so at the oftenest, in seconds.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=3_600))]
    status_interval: u64,
    /// How long the gateway learns what is so after the start, in seconds: no alert is raised, and for the first 75 of
    /// them nobody is called offline.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3_600))]
    learning: u64,
    /// Write all that passes over this node's links to this file; `meshward capture ladder` shows it.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    anyhow::ensure!(
        !args.peers.is_empty() || args.listen.is_some(),
        "the gateway has no way into a mesh: name a node by --peer HOST:PORT (or --peer auto), or accept \
         nodes by --listen 0.0.0.0:5555"
    );
    let operator = operator_key(args.operator_key.as_deref())?;
    let listener = rest::bind(args.http).await?;
    let seed =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    let id = args.id.map_or_else(machine_id, NodeId);
    anyhow::ensure!(id != NodeId::NONE, "node id 0 means nobody: take another");
    let mesh = MeshConfig { root: args.root, ..MeshConfig::gateway(id, seed) };
    let capture = args.capture.as_deref().map(Capture::start).transpose()?;
    let tap = capture.as_ref().map(Capture::tap);
    let shell = ShellConfig { listen: args.listen, dial: args.peers, shape: None, seed, tap };
    let quiet = Duration::from_secs(args.learning);
    let usual = liveness::Config::default();
    let settings = Settings {
        budget_percent: args.status_budget,
        period: Duration::from_secs(args.status_interval),
        liveness: liveness::Config { learning: usual.learning.min(quiet), ..usual },
        quiet,
        ..Settings::default()
    };
    let (shell, handle) = service::join(mesh, shell, Arc::new(Traffic::default()), operator, settings)
        .await
        .with_context(|| format!("cannot join the mesh (accepting nodes on {:?})", args.listen))?;
    let address = listener.local_addr().context("the REST listener has no address")?;
    // For people and scripts: the port may have been chosen by the system.
    println!("gateway {id}: REST interface at http://{address}");

    let (stop, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that nobody can ask any more, which is a request to stop.
        drop(stopped.wait_for(|stop| *stop).await);
    };
    let node = tokio::spawn(shell.run(until(stopped.clone())));
    let http = tokio::spawn(rest::serve(listener, rest::Api::new(handle), until(stopped)));
    shutdown::requested().await;
    tracing::info!("stopping");
    stop.send_replace(true);
    http.await.context("the REST service ended abnormally")?.context("the REST service failed")?;
    node.await.context("the node ended abnormally")?;
    if let Some(capture) = capture {
        capture.finish().await?;
    }
    Ok(true)
}

/// The key that a file holds; a new one if there is no file, or no name for one.
fn operator_key(path: Option<&Path>) -> anyhow::Result<SigningKey> {
    let new = || anyhow::Ok(SigningKey::from_seed(KeyKind::Operator, keygen::random()?)?);
    let Some(path) = path else { return new() };
    if path.exists() {
        let key = sign::read_key(path)?;
        let kind = key.key().kind;
        anyhow::ensure!(
            kind == KeyKind::Operator,
            "{} is a key of kind {kind}, and a gateway needs one of kind operator",
            path.display()
        );
        return Ok(key);
    }
    let key = new()?;
    write_file(path, key.to_text().as_bytes(), false, Readers::Owner)?;
    let public = with_suffix(path, ".pub");
    write_file(&public, public_to_text(&key.key()).as_bytes(), true, Readers::Everybody)?;
    println!("operator key {}: {} (secret), {} (for the nodes)", key.id(), path.display(), public.display());
    Ok(key)
}

/// A share of the channel that leaves something to the mesh.
fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.1..=50.0).contains(percent));
    percent.ok_or_else(|| "take 0.1 to 50 percent".to_owned())
}

/// A node id that stays the same on this machine and is never 0.
fn machine_id() -> NodeId {
    let name = std::fs::read("/etc/machine-id")
        .or_else(|_none| std::fs::read("/etc/hostname"))
        .unwrap_or_else(|_none| b"meshward".to_vec());
    let [a, b, c, d, ..] = Md5Sum::of(&[b"meshward gateway ", &name[..]].concat()).0;
    NodeId(u32::from_be_bytes([a, b, c, d]).max(1))
}
