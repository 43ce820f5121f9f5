//! The gateway's ports, its neighbours, the gateway itself, and what it sees of the mesh.

use std::net::SocketAddr;
use std::time::Duration;

use meshward_core::wire::NodeId;
use meshward_gateway::rest::model::NodeState;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Check;
use crate::client::{Client, GatewayArgs};
use crate::config::Config;

/// How long a neighbour, or a gateway, has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the ports can be had, or a gateway has them.
pub(super) async fn ports(config: &Config) -> Vec<Check> {
    let http = config.http.listen;
    let serving = serves(http, config.http.certificate.is_some()).await;
    let mut checks = vec![port("REST port", http, serving).await];
    if let Some(listen) = config.mesh.listen {
        checks.push(port("mesh port", listen, serving).await);
    }
    checks
}

/// Whether a gateway answers there.
async fn serves(address: SocketAddr, tls: bool) -> bool {
    // Served on all addresses, it is on this one.
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{host}:{}/healthz", address.port());
    // Whose certificate it is does not matter here: nothing is told, and nothing but the answer's code is believed.
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build();
    let Ok(client) = client else { return false };
    let answer = timeout(PATIENCE, client.get(url).send()).await;
    matches!(answer, Ok(Ok(response)) if response.status().is_success())
}

async fn port(check: &'static str, address: SocketAddr, serving: bool) -> Check {
    let Err(error) = TcpListener::bind(address).await else {
        return Check::ok(check, format!("{address} is free"));
    };
    match error.kind() {
        std::io::ErrorKind::AddrInUse if serving => {
            Check::ok(check, format!("{address} is in use, as a gateway runs"))
        }
        std::io::ErrorKind::AddrInUse => {
            let advice = format!(
                "see who has it: `ss -ltnp 'sport = :{}'`; end that, or take another",
                address.port()
            );
            Check::fail(check, format!("{address} is in use by another program"), advice)
        }
        std::io::ErrorKind::AddrNotAvailable => {
            Check::fail(check, format!("{address} is no address of this machine"), "take one of `ip address`")
        }
        std::io::ErrorKind::PermissionDenied => {
            Check::fail(check, format!("{address} needs privileges"), "take a port above 1023")
        }
        _ => Check::fail(check, format!("{address} cannot be had: {error}"), "take another"),
    }
}

/// Whether the nodes to be dialled answer.
pub(super) async fn peers(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for name in &config.mesh.peers {
        let peer = match name.resolve() {
            Ok(peer) => peer,
            Err(error) => {
                checks.push(Check::fail(
                    "peer",
                    error.to_string(),
                    "connect the machine's Wi-Fi to the mesh",
                ));
                continue;
            }
        };
        let address = peer.address();
        let found = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_stream)) => {
                checks.push(Check::ok("peer", format!("{address} answers")));
                continue;
            }
            Ok(Err(error)) => format!("{address} cannot be reached: {error}"),
            Err(_late) => format!("{address} does not answer within {} s", PATIENCE.as_secs()),
        };
        let advice = "see whether the node is on and in reach, and whether its address is still that";
        checks.push(Check::fail("peer", found, advice));
    }
    checks
}

/// Whether the gateway answers, and what it sees.
pub(super) async fn gateway(args: &GatewayArgs) -> Vec<Check> {
    let client = match Client::new(args) {
        Ok(client) => client,
        Err(error) => {
            return vec![Check::fail(
                "gateway",
                error.to_string(),
                "name it by --url, or put the profiles right",
            )];
        }
    };
    let asked = timeout(PATIENCE, client.status()).await;
    let status = match asked {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            let found = format!("{:#}", anyhow::Error::from(error));
            let advice =
                "start it (`systemctl start meshward`), and look at its log (`journalctl -u meshward`)";
            return vec![Check::fail("gateway", found, advice)];
        }
        Err(_late) => {
            let found = format!("{} does not answer within {} s", client.url(), PATIENCE.as_secs());
            return vec![Check::fail("gateway", found, "look at its log (`journalctl -u meshward`)")];
        }
    };
    let mut checks = vec![Check::ok("gateway", format!("{} answers", client.url())), version(&client).await];
    let count: usize = status.states.values().map(|count| *count as usize).sum();
    let online = status.states.get(&NodeState::Online).map_or(0, |count| *count as usize);
    let found = format!("{online} of {count} nodes are online");
    let advice = "see `meshward nodes` and `meshward alerts` for which and why";
    checks.push(match (count, online) {
        (0, _) => Check::fail(
            "mesh",
            "no node has been seen",
            "see whether a peer answers, and the log of the gateway",
        ),
        (_, 0) if !status.learning => Check::fail("mesh", found, advice),
        (count, online) if online < count => Check::warn("mesh", found, advice),
        _ => Check::ok("mesh", found),
    });
    checks
}

/// Whether the gateway and this program are of one version.
async fn version(client: &Client) -> Check {
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let advice = "install the same on both sides: commands may mean something else there";
    match timeout(PATIENCE, client.version()).await {
        Ok(Ok(version)) if version == OWN => Check::ok("version", OWN),
        Ok(Ok(version)) => {
            Check::warn("version", format!("the gateway has {version}, this is {OWN}"), advice)
        }
        Ok(Err(_)) | Err(_) => Check::warn("version", "the gateway does not say which it has", advice),
    }
}

/// Whether the broker lets the gateway in, by a name of this check's own.
pub(super) async fn broker(config: &Config) -> Option<Check> {
    const CHECK: &str = "broker";
    let address = config.mqtt.broker.as_ref()?;
    let place = match crate::broker::of(config, NodeId(1)) {
        Ok(place) => place?.0,
        Err(error) => {
            return Some(Check::fail(CHECK, format!("{error:#}"), "put that right in the configuration"));
        }
    };
    Some(match meshward_gateway::mqtt::probe(&place).await {
        Ok(()) => Check::ok(CHECK, format!("{address} lets us in")),
        Err(error) => {
            let advice = "see whether it runs, and whether mqtt.user, mqtt.password_file and mqtt.ca are right; the \
                          gateway goes on without it and tries again";
            Check::fail(CHECK, format!("{address}: {:#}", anyhow::Error::from(error)), advice)
        }
    })
}
