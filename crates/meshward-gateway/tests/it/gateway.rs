//! A gateway that nodes can join, without any interface.

use std::net::SocketAddr;
use std::sync::Arc;

use meshward_core::mesh::MeshConfig;
use meshward_core::ota::trust::KeyKind;
use meshward_core::wire::NodeId;
use meshward_fleet::fleet::Settings;
use meshward_fleet::signing::SigningKey;
use meshward_gateway::service::{self, Gateway};
use meshward_gateway::shell::{NodeHandle, ShellConfig, Traffic};

/// Runs one with the id 1 until the test ends; where it accepts nodes.
pub(crate) async fn gateway(settings: Settings) -> (SocketAddr, NodeHandle<Gateway>) {
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let shell = ShellConfig { listen, ..ShellConfig::default() };
    let operator = SigningKey::from_seed(KeyKind::Operator, [1; 32]).unwrap();
    let (mesh, traffic) = (MeshConfig::gateway(NodeId(1), 1), Arc::new(Traffic::default()));
    let (allowed, remembered) = (service::Allowed::default(), service::Remembered::default());
    let joined = service::join(mesh, shell, traffic, operator, settings, allowed, remembered);
    let (shell, handle) = joined.await.unwrap();
    let address = shell.local_addr().unwrap();
    tokio::spawn(shell.run(std::future::pending()));
    (address, handle)
}
