//! The gateway of the demonstration: in this process, but it meets the nodes over TCP alone and is driven by its REST
//! interface. One that stays up keeps its history in a database of its own, and lets in whoever is on this machine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use meshward_core::mesh::MeshConfig;
use meshward_core::time::Duration;
use meshward_fleet::fleet::Settings;
use meshward_fleet::signing::SigningKey;
use meshward_gateway::keep::Keeper;
use meshward_gateway::mqtt::{Broker, BrokerAddress};
use meshward_gateway::rest::access::{self, Access};
use meshward_gateway::rest::model::{NewRollout, Rollout};
use meshward_gateway::shell::{ShellConfig, Tap, Traffic};
use meshward_gateway::store::{Retention, Store, StoreUrl};
use meshward_gateway::{rest, service};
use tokio::sync::watch;

use super::{Args, GATEWAY, LOOK, PATIENCE, ROLE, Release, broker};
use crate::client::Client;
use crate::deploy;
use crate::door::Door;
use crate::profile::Target;

/// How long no alert is raised after the start: a demonstration is not waited for two minutes.
const QUIET: Duration = Duration::from_secs(20);
/// How often nodes report in a mesh that stays up, if the budget allows it.
const PERIOD: Duration = Duration::from_secs(10);
/// What looking after a mesh that stays up may take of its channel, in percent: ten times what is usual, for nobody wants
/// to wait minutes until the last node has been told to report, and no radio is busy with it.
const BUDGET_PERCENT: f64 = 20.0;
/// Where it serves when nobody says where: at the gateway's usual port, where that is free.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
/// How long the broker of its own outlives the gateway.
const GOOD_BYE: std::time::Duration = std::time::Duration::from_millis(500);
/// Else at any port of this machine.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// See the module's page.
pub(super) struct VirtualGateway {
    client: Client,
    traffic: Arc<Traffic>,
    stop: watch::Sender<bool>,
    tasks: tokio::task::JoinSet<anyhow::Result<()>>,
    door: Door,
}

/// What a gateway is made of.
pub(super) struct Plan<'a> {
    /// The mesh's first node.
    pub(super) entry: SocketAddr,
    pub(super) seed: u64,
    pub(super) tap: Option<Tap>,
    pub(super) operator: SigningKey,
    /// Where it serves.
    pub(super) bound: rest::Bound,
    /// Where it keeps its history, if it stays up.
    pub(super) folder: Option<&'a Path>,
    /// The broker that it serves, if any.
    pub(super) mqtt: Option<&'a str>,
}

/// Takes the port: the one that was asked for; else of a mesh that stays up the usual one, if it is free; else any.
pub(super) async fn bind(asked: Option<SocketAddr>, stays: bool) -> anyhow::Result<rest::Bound> {
    if asked.is_none()
        && stays
        && let Ok(bound) = rest::bind(&rest::Http::at(USUAL)).await
    {
        return Ok(bound);
    }
    Ok(rest::bind(&rest::Http::at(asked.unwrap_or(ANY))).await?)
}

async fn keeper(folder: Option<&Path>) -> anyhow::Result<Option<Keeper>> {
    let Some(folder) = folder else { return Ok(None) };
    let store = Store::open(&StoreUrl::Sqlite(folder.join("demo.db"))).await;
    let store = store.context("cannot make the demonstration's database")?;
    Ok(Some(Keeper::open(store, Retention::default()).await?))
}

/// Finds the broker, or starts one, which ends a little after the gateway has said good-bye to it; says where it is.
async fn serve_broker(
    named: &str,
    seed: u64,
    stop: impl Future<Output = ()> + Send + 'static,
    tasks: &mut tokio::task::JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<(Broker, meshward_gateway::mqtt::Settings)> {
    let address = if named == broker::OWN {
        let own = broker::OwnBroker::bind().await?;
        let address = BrokerAddress { host: "127.0.0.1".to_owned(), port: own.port, tls: false };
        tasks.spawn(own.run(async {
            stop.await;
            tokio::time::sleep(GOOD_BYE).await;
        }));
        address
    } else {
        named.parse().with_context(|| format!("--mqtt {named} is no broker"))?
    };
    // For people and programs: the port may have been chosen by the system.
    println!("broker: {address}");
    Ok(broker::place(&address, seed))
}

impl VirtualGateway {
    pub(super) async fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let Plan { entry, seed, tap, operator, bound, folder, mqtt } = plan;
        let traffic = Arc::new(Traffic::default());
        let peer = entry.to_string().parse()?;
        let shell = ShellConfig { listen: None, dial: vec![peer], shape: None, seed, tap };
        let mesh = MeshConfig::gateway(GATEWAY, seed);
        let stays = folder.is_some();
        let settings =
            Settings { mesh: "demo".to_owned(), quiet: QUIET, history: stays, ..Settings::default() };
        let settings = if stays {
            Settings { period: PERIOD, budget_percent: BUDGET_PERCENT, ..settings }
        } else {
            settings
        };
        let remembered = service::Remembered { keeps: stays, ..service::Remembered::default() };
        let (shell, handle) = service::join(
            mesh,
            shell,
            Arc::clone(&traffic),
            operator,
            settings,
            service::Allowed::default(),
            remembered,
        )
        .await?;
        let url = bound.url()?;
        let rules = access::Settings { visitors: stays, ..access::Settings::default() };
        let door = Door::with(&bound, Access::open(None, rules).await?)?;
        let keeper = keeper(folder).await?;
        let store = keeper.as_ref().map(|keeper| keeper.store().clone());
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
        if let Some(keeper) = keeper {
            let keeping = keeper.run(handle.clone(), until(stopped.clone()));
            tasks.spawn(async move { Ok(keeping.await?) });
        }
        let api = rest::Api::new(handle, door.access.clone()).with_store(store);
        if let Some(named) = mqtt {
            let place = serve_broker(named, seed, until(stopped.clone()), &mut tasks).await?;
            tasks.spawn(crate::broker::serve(
                Some(place),
                api.clone(),
                meshward_gateway::mqtt::post(),
                None,
                until(stopped.clone()),
            ));
        }
        let http = rest::serve(bound, api, until(stopped));
        tasks.spawn(async move { http.await.context("the REST service failed") });
        let target = Target { url, token: Some(door.access.local().reveal_token()) };
        Ok(Self { client: Client::to(target), traffic, stop, tasks, door })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn bytes(&self) -> u64 {
        self.traffic.sent.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits until the gateway's tree has so many nodes, or more: another gateway may be there as well.
    pub(super) async fn sees(&self, nodes: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.client.topology().await?.nodes.len();
            if seen >= nodes {
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

    pub(super) async fn deploy(
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

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the gateway ended abnormally")??;
        }
        drop(self.door);
        Ok(())
    }
}
