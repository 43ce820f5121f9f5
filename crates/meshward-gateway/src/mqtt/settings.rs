//! What the operator of a gateway has decided about its broker.

use std::path::PathBuf;

use super::topics::Base;
use crate::rest::access::Role;

/// Which version of the protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V4,
    /// 5.
    V5,
}

/// Shapes of messages that other programs and older documents expect, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// `mesh/status/…` with its envelope.
    MeshStatus,
    /// `alteriom/mesh/{mesh_id}/…`.
    Alteriom,
    /// `painlessMesh/to/…` and `painlessMesh/from/…`, as the library's `mqttBridge` example has them.
    MqttBridge,
    /// `mesh/ota/…`, the proposal's own names.
    MeshOta,
    /// `mesh/command/…`, `mesh/config/…` and `mesh/ota/ID/start`, as the library's command bridge has them.
    MeshCommand,
    /// `mesh/sensor/…`, `mesh/metrics/…`, `mesh/health/…`, `mesh/aggregated/…`, as its enhanced bridge has them.
    MeshData,
}

/// Where the broker is, and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Which version is spoken.
    pub version: Version,
    /// Our name there; two with one name push each other out.
    pub client_id: String,
    /// Who we are to it, if it asks.
    pub user: Option<String>,
    /// What we prove that with.
    pub password: Option<String>,
    /// By TLS, and how; without it in the clear.
    pub tls: Option<Tls>,
    /// Between two signs of life, in seconds, 5 to 65535.
    pub keep_alive_s: u16,
}

/// Without the password.
impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Whom we believe, and how we prove who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates in PEM of those whom we believe; this machine's own list without it.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What is told, what is taken, and in which shape.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where topics begin.
    pub base: Base,
    /// What somebody may do who can send to the broker; `None`: nothing, and requests are not listened to.
    pub role: Option<Role>,
    /// Between two messages about numbers, in seconds.
    pub interval_s: u64,
    /// Whether the tree is told.
    pub topology: bool,
    /// Whether the mesh's numbers are told.
    pub metrics: bool,
    /// Whether alerts are told.
    pub alerts: bool,
    /// Whether each node has topics of its own.
    pub nodes: bool,
    /// Whether these have the nodes' names in them.
    pub names: bool,
    /// Home Assistant's prefix, if it is to know the nodes.
    pub home_assistant: Option<Base>,
    /// Shapes for others.
    pub shapes: Vec<Shape>,
    /// Tells one configuration from another.
    pub config_hash: String,
    /// Where the dashboard is, for links.
    pub url: Option<String>,
    /// Of everything that is spread.
    pub seed: u64,
}

/// Of these what a running gateway takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Between two messages about numbers, in seconds.
    pub interval_s: u64,
    /// Whether the tree is told.
    pub topology: bool,
    /// Whether the mesh's numbers are told.
    pub metrics: bool,
    /// Whether alerts are told.
    pub alerts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base: Base::default(),
            role: Some(Role::Viewer),
            interval_s: 30,
            topology: true,
            metrics: true,
            alerts: true,
            nodes: true,
            names: false,
            home_assistant: None,
            shapes: Vec::new(),
            config_hash: String::new(),
            url: None,
            seed: 1,
        }
    }
}

impl Settings {
    /// Whether somebody may do things.
    pub(crate) fn may_act(&self) -> bool {
        self.role.is_some_and(|role| role >= Role::Operator)
    }

    /// What holds from now on.
    pub(crate) fn switch(&mut self, switches: Switches) {
        let Switches { interval_s, topology, metrics, alerts } = switches;
        (self.interval_s, self.topology, self.metrics, self.alerts) = (interval_s, topology, metrics, alerts);
    }

    /// Whether a shape is wanted.
    pub(crate) fn has(&self, shape: Shape) -> bool {
        self.shapes.contains(&shape)
    }
}

/// A text that names no broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write mqtt://HOST, mqtt://HOST:PORT, or mqtts:// for TLS; user and password have keys of their own")]
pub struct AddressError;

/// Where a broker is: `mqtt://HOST:PORT`, or `mqtts://` for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Its name or address.
    pub host: String,
    /// Its port: 1883, or 8883 for TLS, where none is said.
    pub port: u16,
    /// Whether it is spoken to by TLS.
    pub tls: bool,
}

impl std::str::FromStr for BrokerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError)?;
        let (tls, usual) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return Err(AddressError),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed.split_once(']').ok_or(AddressError)?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(AddressError)?) })
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#[]".contains(c);
        let port = port.map_or(Ok(usual), str::parse).map_err(|_| AddressError)?;
        if host.is_empty() || host.len() > 253 || host.contains(odd) || port == 0 {
            return Err(AddressError);
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl std::fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker.example:1", "mqtts://broker.example:1"),
            ("mqtts://10.0.0.2", "mqtts://10.0.0.2:8883"),
            ("mqtt://[::1]:77", "mqtt://[::1]:77"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
        ] {
            assert_eq!(text.parse::<BrokerAddress>().unwrap().to_string(), shown);
        }
        let bad = [
            "",
            "broker",
            "http://broker",
            "mqtt://",
            "mqtt://:1",
            "mqtt://a:b",
            "mqtt://a:0",
            "mqtt://a:70000",
            "mqtt://u:p@a",
            "mqtt://a/b",
            "mqtt://a b",
            "mqtt://[::1",
            "mqtt://[::1]7",
        ];
        for text in bad {
            assert!(text.parse::<BrokerAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let broker = Broker {
            host: "h".to_owned(),
            port: 1,
            version: Version::V5,
            client_id: "c".to_owned(),
            user: Some("u".to_owned()),
            password: Some("secret".to_owned()),
            tls: None,
            keep_alive_s: 30,
        };
        assert!(!format!("{broker:?}").contains("secret"));
    }
}
