//! `meshward gateway`: joins a mesh as an ordinary node and serves the REST interface.
//!
//! What the options, the environment and the file say is resolved into one [`Config`] first; then the parts are
//! started, and kept until somebody wants them to end or one of them ends by itself. `manager` talks to the service
//! manager, `reload` takes up what changes.

mod channels;
mod manager;
mod reload;
mod telling;

use std::net::SocketAddr;
use std::num::NonZeroU16;
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
use meshward_gateway::keep::KeepError;
use meshward_gateway::mqtt::{self, Post};
use meshward_gateway::rest::listen::Limits;
use meshward_gateway::rest::listen::tls::TlsFiles;
use meshward_gateway::service::{Allowed, Gateway, Remembered};
use meshward_gateway::shell::{NodeHandle, Shell, ShellConfig, Traffic};
use meshward_gateway::{rest, service};
use tokio::sync::watch;

use crate::broker;
use crate::capture::Capture;
use crate::config::{self, Config, Loaded, Ota, PeerName};
use crate::door::Door;
use crate::firmware::{Readers, keygen, sign, with_suffix, write_file};
use crate::journal::Journal;
use crate::keeping::{self, StorePlace};
use crate::shutdown;
use reload::Reloader;
use telling::Telling;

/// Options of `meshward gateway`. They go before the environment and the configuration.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration; without this the usual one, if there is one. docs/configuration.md lists its keys.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A node to dial: HOST:PORT, HOST (port 5555), or auto, this machine's default gateway.
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<PeerName>,
    /// Accept nodes on this address, as an access point's host does.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to serve the REST interface; this machine only. [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
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
    /// allows. [default: 2]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    status_budget: Option<f64>,
    /// How often nodes that can report do so at the oftenest, in seconds. [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=3_600))]
    status_interval: Option<u64>,
    /// How long the gateway learns what is so after the start, in seconds: no alert is raised, and for the first 75 of
    /// them nobody is called offline. [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3_600))]
    learning: Option<u64>,
    /// The database: a file of SQLite, postgres://USER:PASSWORD@HOST/NAME, or none. [default: meshward.db in
    /// $STATE_DIRECTORY or the user's folder for data]
    #[arg(long, value_name = "URL")]
    store: Option<StorePlace>,
    /// Write all that passes over this node's links to this file; `meshward capture ladder` shows it.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

impl Args {
    /// What holds: these options, then the environment, then the file, then the defaults.
    fn load(&self) -> Result<Loaded, config::ConfigError> {
        let mut loaded = config::load(self.config.as_deref())?;
        self.apply(&mut loaded.config);
        Ok(loaded)
    }

    fn apply(&self, config: &mut Config) {
        if !self.peers.is_empty() {
            config.mesh.peers.clone_from(&self.peers);
        }
        config.mesh.listen = self.listen.or(config.mesh.listen);
        config.mesh.id = self.id.or(config.mesh.id);
        config.mesh.root |= self.root;
        config.mesh.capture = self.capture.clone().or(config.mesh.capture.take());
        if let Some(store) = &self.store {
            config.store = config::Store { url: Some(store.clone()), url_file: None };
        }
        config.http.listen = self.http.unwrap_or(config.http.listen);
        config.ota.operator_key = self.operator_key.clone().or(config.ota.operator_key.take());
        config.status.budget_percent = self.status_budget.unwrap_or(config.status.budget_percent);
        config.status.query_interval = self.status_interval.unwrap_or(config.status.query_interval);
        config.status.learning = self.learning.unwrap_or(config.status.learning);
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let asked = shutdown::listen();
    let loaded = args.load()?;
    let journal = Journal::start(&loaded.config.log.level, loaded.config.log.format);
    if let Some(path) = &loaded.path {
        tracing::info!(path = %path.display(), "configuration");
    }
    let config = loaded.config;
    anyhow::ensure!(
        config.mesh.has_a_way(),
        "the gateway has no way into a mesh: name a node by --peer HOST:PORT (or --peer auto), or accept \
         nodes by --listen 0.0.0.0:5555; in the configuration these are mesh.peers and mesh.listen"
    );
    let capture = config.mesh.capture.as_deref().map(Capture::start).transpose()?;
    let (running, handle) = start(&config, capture.as_ref()).await?;
    let patience = std::time::Duration::from_secs(config.service.stop_timeout);
    let reloader = Reloader::new(args, config, journal, handle.clone(), running.post.clone());
    manager::ready(&running.greeting);
    let watchdog = tokio::spawn(manager::watch(handle));
    let reloads = tokio::spawn(reloader.run());
    let ended = running.finish(asked, patience).await;
    reloads.abort();
    watchdog.abort();
    ended?;
    if let Some(capture) = capture {
        capture.finish().await?;
    }
    Ok(true)
}

/// The parts of a gateway while they run.
struct Running {
    /// In one line, who it is and where it answers.
    greeting: String,
    /// Stops what serves, and what keeps.
    stop: watch::Sender<bool>,
    /// Stops the node, when everything of it is kept.
    stop_node: watch::Sender<bool>,
    node: tokio::task::JoinHandle<meshward_gateway::shell::Exit>,
    http: tokio::task::JoinHandle<std::io::Result<()>>,
    keep: tokio::task::JoinHandle<Result<(), KeepError>>,
    mqtt: tokio::task::JoinHandle<anyhow::Result<()>>,
    telling: Telling,
    /// The way to the broker.
    post: Post,
    _door: Door,
}

/// Joins the mesh and serves.
async fn start(config: &Config, capture: Option<&Capture>) -> anyhow::Result<(Running, NodeHandle<Gateway>)> {
    let operator = operator_key(config.ota.operator_key.as_deref())?;
    let bound = rest::bind(&http(config)?).await?;
    let id = config.mesh.id.map_or_else(machine_id, NodeId);
    let place = broker::of(config, id)?;
    let keeper = keeping::open(&config.store).await?;
    let remembered = match &keeper {
        Some(keeper) => keeper.remembered().await.context("cannot read what was kept")?,
        None => Remembered::default(),
    };
    let history = keeper.is_some();
    let (shell, handle) = join(config, id, operator, capture, (remembered, history)).await?;
    let (keeper, telling) = Telling::start(config, keeper, &handle).await?;
    let store = keeper.as_ref().map(|keeper| keeper.store().clone());
    let accounts = store.clone().map(|store| Arc::new(store) as Arc<dyn rest::access::Keeper>);
    let door = Door::open(&bound, accounts).await?;
    let url = bound.url().context("the REST listener has no address")?;
    // For people and scripts: the port may have been chosen by the system.
    let greeting = format!("gateway {id}: REST interface at {url}");
    println!("{greeting}");
    let (stop, stopped) = watch::channel(false);
    let (stop_node, node_stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that nobody can ask any more, which is a request to stop.
        drop(stopped.wait_for(|stop| *stop).await);
    };
    let node = tokio::spawn(shell.run(until(node_stopped)));
    let api = rest::Api::new(handle.clone(), door.access.clone())
        .with_store(store)
        .with_notifier(telling.notifier());
    let (post, posts) = mqtt::post();
    let served =
        broker::serve(place, api.clone(), (post.clone(), posts), telling.notifier(), until(stopped.clone()));
    let mqtt = tokio::spawn(served);
    let http = tokio::spawn(rest::serve(bound, api, until(stopped.clone())));
    let (kept, ends) = (handle.clone(), until(stopped));
    let keep = tokio::spawn(async move {
        match keeper {
            Some(keeper) => keeper.run(kept, ends).await,
            None => {
                ends.await;
                Ok(())
            }
        }
    });
    Ok((Running { greeting, stop, stop_node, node, http, keep, mqtt, telling, post, _door: door }, handle))
}

/// Where and how the interface is served.
fn http(config: &Config) -> anyhow::Result<rest::Http> {
    let http = &config.http;
    let tls = match (&http.certificate, &http.certificate_key) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
        }
        (None, None) => None,
        (Some(_), None) => {
            anyhow::bail!("http.certificate is given and http.certificate_key is not: TLS needs both")
        }
        (None, Some(_)) => {
            anyhow::bail!("http.certificate_key is given and http.certificate is not: TLS needs both")
        }
    };
    let (proxies, allow_insecure) = (http.proxies.clone(), http.allow_insecure);
    // Whoever waits for the end has the patience, and says what was cut off.
    let stop_timeout = std::time::Duration::from_secs(config.service.stop_timeout + 5);
    let limits = Limits { stop_timeout, ..Limits::default() };
    Ok(rest::Http { tls, proxies, allow_insecure, limits, ..rest::Http::at(http.listen) })
}

async fn join(
    config: &Config,
    id: NodeId,
    operator: SigningKey,
    capture: Option<&Capture>,
    (remembered, history): (Remembered, bool),
) -> anyhow::Result<(Shell<Gateway>, NodeHandle<Gateway>)> {
    let seed =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    anyhow::ensure!(id != NodeId::NONE, "node id 0 means nobody: take another");
    let mesh = MeshConfig { root: config.mesh.root, ..MeshConfig::gateway(id, seed) };
    let dial = config.mesh.peers.iter().map(PeerName::resolve).collect::<Result<_, _>>()?;
    let tap = capture.map(Capture::tap);
    let shell = ShellConfig { listen: config.mesh.listen, dial, shape: None, seed, tap };
    let quiet = Duration::from_secs(config.status.learning);
    let usual = liveness::Config::default();
    let settings = Settings {
        mesh: config.mesh.name.clone(),
        telemetry: config.status.reports,
        aggregate: config.status.aggregate,
        budget_percent: config.status.budget_percent,
        period: Duration::from_secs(config.status.query_interval),
        liveness: liveness::Config { learning: usual.learning.min(quiet), ..usual },
        quiet,
        history,
        ..Settings::default()
    };
    let allowed = allowed(&config.ota);
    service::join(mesh, shell, Arc::new(Traffic::default()), operator, settings, allowed, remembered)
        .await
        .with_context(|| format!("cannot join the mesh (accepting nodes on {:?})", config.mesh.listen))
}

/// What roll-outs may do.
fn allowed(ota: &Ota) -> Allowed {
    // The keys have narrower ranges than these numbers.
    Allowed {
        rollouts: ota.rollouts,
        compression: ota.compression,
        compression_level: ota.compression_level as u8,
        chunk_size_max: ota.max_chunk_size as u16,
        airtime_max: ota.airtime_percent as u8,
        fixed_rate: ota.fixed_rate.and_then(|rate| NonZeroU16::new(rate as u16)),
        broadcast: ota.broadcast,
    }
}

impl Running {
    /// Waits until somebody wants the gateway to end, or a part of it has ended by itself; then ends it in good order,
    /// within `patience`. Whoever asks twice does not want to wait.
    async fn finish(
        mut self,
        asked: impl Future<Output = ()>,
        patience: std::time::Duration,
    ) -> anyhow::Result<()> {
        tokio::select! {
            () = asked => {}
            ended = &mut self.node => anyhow::bail!("the node ended by itself: {ended:?}"),
            ended = &mut self.http => {
                ended.context("the REST service ended abnormally")?.context("the REST service failed")?;
                anyhow::bail!("the REST service ended by itself");
            }
            ended = &mut self.keep => {
                ended.context("what keeps the gateway's knowledge ended abnormally")??;
                anyhow::bail!("what keeps the gateway's knowledge ended by itself");
            }
            ended = &mut self.mqtt => {
                ended.context("what serves the broker ended abnormally")??;
                anyhow::bail!("what serves the broker ended by itself");
            }
        }
        tracing::info!(seconds = patience.as_secs(), "stopping");
        manager::stopping();
        self.stop.send_replace(true);
        let ends = async {
            self.http
                .await
                .context("the REST service ended abnormally")?
                .context("the REST service failed")?;
            self.mqtt.await.context("what serves the broker ended abnormally")??;
            self.keep.await.context("what keeps the gateway's knowledge ended abnormally")??;
            self.telling.stop().await;
            self.stop_node.send_replace(true);
            self.node.await.context("the node ended abnormally")?;
            anyhow::Ok(())
        };
        tokio::select! {
            ended = ends => ended,
            () = tokio::time::sleep(patience) => {
                tracing::warn!("requests were still under way when the time to stop was over: they are cut off");
                Ok(())
            }
            () = shutdown::requested() => {
                tracing::warn!("asked to stop again: what was under way is cut off");
                Ok(())
            }
        }
    }
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
