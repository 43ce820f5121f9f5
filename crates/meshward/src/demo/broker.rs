//! A broker for the demonstration: one of its own on a free port of this machine, which keeps everything in memory, or
//! one that is there.

use std::net::SocketAddr;

use anyhow::Context as _;
use meshward_gateway::mqtt::{Broker, BrokerAddress, Settings, Version};
use meshward_gateway::rest::access::Role;
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, MqttBroker};

/// What `--mqtt` says when it names no broker.
pub(super) const OWN: &str = "own";
/// Where the broker of its own is: a port that the system chooses.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Clients that it lets in at once, and its longest packet in bytes.
const CLIENTS_MAX: usize = 64;
const PACKET_MAX: usize = 1 << 20;

/// A broker in this process.
pub(super) struct OwnBroker {
    broker: MqttBroker,
    pub(super) port: u16,
}

impl OwnBroker {
    pub(super) async fn bind() -> anyhow::Result<Self> {
        // By default it would keep what is retained in the folder where this program was started.
        let storage = StorageConfig { backend: StorageBackend::Memory, ..StorageConfig::default() };
        let config = BrokerConfig {
            bind_addresses: vec![ANY],
            max_clients: CLIENTS_MAX,
            max_packet_size: PACKET_MAX,
            storage_config: storage,
            ..BrokerConfig::default()
        };
        let broker =
            MqttBroker::with_config(config).await.context("cannot start the demonstration's broker")?;
        let port = broker.local_addr().context("the demonstration's broker has no address")?.port();
        Ok(Self { broker, port })
    }

    /// Serves until `stop` is ready.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let handle = self.broker.shutdown_handle();
        let serving = self.broker.run();
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended.context("the demonstration's broker failed"),
            () = stop => handle.shutdown(),
        }
        serving.await.context("the demonstration's broker did not end well")
    }
}

/// How the demonstration's gateway is at a broker: whoever gets there may do everything.
pub(super) fn place(address: &BrokerAddress, seed: u64) -> (Broker, Settings) {
    let broker = Broker {
        host: address.host.clone(),
        port: address.port,
        version: Version::V5,
        client_id: format!("meshward-demo-{}", std::process::id()),
        user: None,
        password: None,
        tls: address.tls.then(Default::default),
        keep_alive_s: 30,
    };
    let settings = Settings {
        role: Some(Role::Operator),
        home_assistant: "homeassistant".parse().ok(),
        interval_s: 10,
        seed,
        ..Settings::default()
    };
    (broker, settings)
}
