//! All keys of `meshward.toml`.
//!
//! A key is one entry here. Its comment is its text in the reference, so it is written for operators: what it does,
//! and why somebody would change it; unit and range are said by its kind. `live` keys are taken up by a running
//! gateway when it is told to reload, `start` keys when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;

use meshward_gateway::influx::Api;
use meshward_gateway::mqtt::{Base, BrokerAddress, Shape, Version};
use meshward_gateway::notify::CHANNELS_MAX;
use meshward_gateway::rest::access::{Network, Role};

use super::channel::{Channel, Channels};
use super::kind::{
    Choice, File, Kind, List, Number, Optional, Parsed, PeerName, Span, Switch, Text, Whole, log_level,
};
use super::layers::Layers;
use crate::keeping::StorePlace;

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// A section as it stands in the reference.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) keys: Vec<Key>,
}

/// A key as it stands in the reference.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    /// What may be written.
    pub(crate) what: String,
    /// As it would be written; `None` when nothing is.
    pub(crate) default: Option<String>,
    /// What may stand there where there is no default.
    pub(crate) example: String,
    /// Whether a running gateway takes up a change.
    pub(crate) live: bool,
}

/// The lines of a comment as one.
fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// What a browser could be pointed at.
fn web_address(text: &str) -> Result<String, String> {
    let is_url = reqwest::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if is_url && text.len() <= 2_048 { Ok(text.to_owned()) } else { Err(String::new()) }
}

macro_rules! sections {
    (@live live) => { true };
    (@live start) => { false };
    ($(
        $(#[doc = $about:literal])*
        $section:ident: $name:ident {
            $( $(#[doc = $doc:literal])* $change:ident $key:ident: $type:ty = $default:expr, $kind:expr; )*
        }
    )*) => {
        $(
            $(#[doc = $about])*
            #[derive(Clone, Debug, PartialEq)]
            pub(crate) struct $name {
                $( $(#[doc = $doc])* pub(crate) $key: $type, )*
            }
        )*

        /// A whole configuration.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct Config {
            $( $(#[doc = $about])* pub(crate) $section: $name, )*
        }

        impl Config {
            /// What was given, and the default of everything else.
            pub(super) fn read(layers: &mut Layers<'_>) -> Self {
                Self { $( $section: $name { $(
                    $key: layers.take(stringify!($section), stringify!($key), &$kind).unwrap_or_else(|| $default),
                )* }, )* }
            }

            /// Every key, `section.key`, with its value as it would be written.
            pub(crate) fn shown(&self) -> Vec<(String, Option<String>)> {
                vec![ $( $( (
                    concat!(stringify!($section), ".", stringify!($key)).to_owned(),
                    $kind.show(&self.$section.$key),
                ), )* )* ]
            }
        }

        /// Everything that there is to be set.
        pub(crate) fn sections() -> Vec<Section> {
            vec![ $( Section {
                name: stringify!($section),
                about: joined(&[$($about),*]),
                keys: vec![ $( Key {
                    name: stringify!($key),
                    about: joined(&[$($doc),*]),
                    what: $kind.what(),
                    default: $kind.show(&$default),
                    example: $kind.example(),
                    live: sections!(@live $change),
                }, )* ],
            }, )* ]
        }
    };
}

sections! {
    /// How the gateway is a node of the mesh. It needs at least one of `peers` and `listen`.
    mesh: Mesh {
        /// What the mesh is called. It goes into the fingerprints of alerts: another name makes other alerts of them.
        start name: String = "mesh".to_owned(), Text { max: 64, like: "mesh" };
        /// Nodes that the gateway dials: `HOST:PORT`, `HOST` (port 5555), `[IPv6]:PORT`, or `auto`, the default
        /// gateway of this machine, which on a Wi-Fi station in a mesh is the node whose access point it is connected
        /// to. Several are spare ways into the same mesh.
        start peers: Vec<PeerName> = Vec::new(),
            List { of: Parsed::by("HOST:PORT, HOST or auto", "192.168.1.50", |text| {
                text.parse::<PeerName>().map_err(|error| error.to_string())
            }), max: 64 };
        /// Accept nodes on this address, as an access point's host does.
        start listen: Option<SocketAddr> = None,
            Optional(Parsed::<SocketAddr>::new("ADDRESS:PORT", "0.0.0.0:5555"));
        /// The gateway's node id. Without it, one that is made of `/etc/machine-id` and stays the same on this
        /// machine; cloned machines need one each.
        start id: Option<u32> = None, Optional(Whole { range: 1..=u32::MAX, multiple: 1, unit: "" });
        /// Call the gateway the root of the mesh. For sketches that rely on `setContainsRoot(true)` where no other
        /// node is the root.
        start root: bool = false, Switch;
        /// Write all that passes over this node's links to this file; `meshward capture ladder` shows it. It grows
        /// without end.
        start capture: Option<PathBuf> = None, Optional(File("mesh.ndjson"));
    }

    /// The REST interface.
    http: Http {
        /// Where it is served. Port 0 takes a free one.
        start listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
            Parsed::<SocketAddr>::new("ADDRESS:PORT", "127.0.0.1:8080");
        /// The certificate, and those above it, in PEM, to serve by TLS and nothing else. It is read again when the
        /// file changes, and at SIGHUP.
        start certificate: Option<PathBuf> = None, Optional(File("meshward.pem"));
        /// The certificate's secret key in PEM.
        start certificate_key: Option<PathBuf> = None, Optional(File("meshward.key"));
        /// Reverse proxies in front of the gateway, which do TLS: single addresses and whole networks. What they say in
        /// `X-Forwarded-For` and `X-Forwarded-Proto` is believed, what anybody else says there is not.
        start proxies: Vec<Network> = Vec::new(),
            List { of: Parsed::by("ADDRESS or NETWORK/BITS", "127.0.0.1", |text| {
                text.parse::<Network>().map_err(|error| error.to_string())
            }), max: 16 };
        /// Let other machines in without TLS all the same. Everybody in between can then read every token and password.
        start allow_insecure: bool = false, Switch;
    }

    /// How the gateway looks after the mesh, and what that may cost.
    status: Status {
        /// What looking after the mesh may take of its channel. Nodes are told to report as often as that allows, and
        /// questions wait.
        live budget_percent: f64 = 2.0, Number { range: 0.1..=50.0, unit: "percent of the channel" };
        /// How often nodes that can report do so at the oftenest; the budget may make it less often.
        live query_interval: u64 = 30, Span { seconds: 10..=3_600 };
        /// Whether nodes that can are told to report by themselves. Without it they are asked.
        start reports: bool = true, Switch;
        /// Whether relays pack the reports of nodes behind them with their own, which saves most of what reports cost.
        start aggregate: bool = true, Switch;
        /// How long the gateway learns what is so after the start: no alert is raised, and for the first 75 s nobody
        /// is called offline.
        start learning: u64 = 120, Span { seconds: 0..=3_600 };
    }

    /// Firmware updates over the air. What a roll-out asks for may be less than what is allowed here, never more.
    ota: Ota {
        /// Whether roll-outs may be started at all. Forecasts always may.
        live rollouts: bool = true, Switch;
        /// The secret key of an operator that signs what this gateway sends to Meshward nodes. It is made when it is
        /// not there, with its public half, for the nodes, in a file beside it whose name ends in `.pub`. Without this
        /// key in the configuration, the signing key lasts as long as the program, and no node knows it.
        start operator_key: Option<PathBuf> = None, Optional(File("operator.key"));
        /// The largest chunk of an image that is sent in one message, to both kinds of nodes. Smaller ones are for
        /// relays that are short of memory, and cost more channel time.
        live max_chunk_size: u32 = 1_024, Whole { range: 256..=1_400, multiple: 4, unit: "bytes" };
        /// Whether Meshward nodes may be sent packed payloads and patches. Without it they get images as they are.
        live compression: bool = true, Switch;
        /// How hard LZMA tries, 1 quick to 9 small. The slowest takes a tenth of a second for 500 KB.
        live compression_level: u32 = 6, Whole { range: 1..=9, multiple: 1, unit: "" };
        /// How much of the time an update may fill the radio channel. Less is slower, and leaves more to the nodes'
        /// own messages.
        live airtime_percent: u32 = 100, Whole { range: 1..=100, multiple: 1, unit: "percent" };
        /// How many chunks a second go to all nodes, whatever their answers say of the channel. Without it the gateway
        /// goes as fast as these answers allow. What relays have no room for waits either way, and `airtime_percent`
        /// still holds. A mesh whose channel is too slow for the rate loses messages.
        live fixed_rate: Option<u32> = None, Optional(Whole { range: 1..=1_000, multiple: 1, unit: "chunks a second" });
        /// Whether chunks go to all nodes at once. Without it each node gets its own: Meshward nodes from the nearest
        /// that has them, C++ nodes from the gateway, which takes far more channel time in large meshes. `fixed_rate`
        /// is then without effect: nodes ask for what they can take.
        live broadcast: bool = true, Switch;
    }

    /// A broker for everybody who speaks MQTT: status, requests, Home Assistant. Topics and payloads are in
    /// [integrations](integrations.md).
    mqtt: Mqtt {
        /// Where the broker is: `mqtt://HOST:PORT`, or `mqtts://HOST:PORT` for TLS (ports 1883 and 8883 where none is
        /// said). Without it there is none.
        start broker: Option<BrokerAddress> = None,
            Optional(Parsed::by("mqtt://HOST:PORT or mqtts://HOST:PORT", "mqtt://192.168.1.2", |text| {
                text.parse::<BrokerAddress>().map_err(|error| error.to_string())
            }));
        /// Which version of the protocol is spoken. With 5 the broker is told how long our packets may be and how long it
        /// keeps what is sent to us while we are away, and requests may name a response topic.
        start version: Version = Version::V5, Choice(&[("5", Version::V5), ("3.1.1", Version::V4)]);
        /// The gateway's name at the broker. Two clients of one name push each other out. Without it one that is made of
        /// mesh and node id.
        start client_id: Option<String> = None, Optional(Text { max: 64, like: "meshward-roof" });
        /// Who the gateway is to the broker, if it asks.
        start user: Option<String> = None, Optional(Text { max: 128, like: "meshward" });
        /// A file with the password in its first line.
        start password_file: Option<PathBuf> = None, Optional(File("mqtt.password"));
        /// Certificates, in PEM, of those who are believed to know the broker. Without it this machine's own list.
        start ca: Option<PathBuf> = None, Optional(File("broker-ca.pem"));
        /// The gateway's own certificate in PEM, for brokers that want one. Needs `ca`.
        start certificate: Option<PathBuf> = None, Optional(File("mqtt.pem"));
        /// Its secret key in PEM.
        start certificate_key: Option<PathBuf> = None, Optional(File("mqtt.key"));
        /// How often the broker hears of the gateway at the least. One that is silent for longer is given up.
        start keep_alive: u64 = 30, Span { seconds: 5..=3_600 };
        /// Where all topics begin, with `{mesh_id}` for the mesh's name.
        start base_topic: Base = Base::default(),
            Parsed::by("levels parted by slashes", "painlessmesh/{mesh_id}", |text| {
                text.parse::<Base>().map_err(|error| error.to_string())
            });
        /// What those may do who can send to the broker: `viewer` may ask what is known, `operator` may also ask nodes,
        /// tell them what to do and bring them firmware, with `none` nobody is listened to. The broker says who that is:
        /// give this only to one that lets nobody in unasked.
        start role: Option<Role> = Some(Role::Viewer),
            Choice(&[("none", None), ("viewer", Some(Role::Viewer)), ("operator", Some(Role::Operator))]);
        /// Between two messages with numbers, of the mesh and of each node, and between two changes of the list of nodes
        /// and of the tree that the broker keeps; what has changed in between is told by small messages at once.
        live publish_interval: u64 = 30, Span { seconds: 5..=3_600 };
        /// Whether the tree is told.
        live topology: bool = true, Switch;
        /// Whether the mesh's numbers are told.
        live metrics: bool = true, Switch;
        /// Whether alerts are told.
        live alerts: bool = true, Switch;
        /// Whether each node has topics of its own. Home Assistant needs them.
        start nodes: bool = true, Switch;
        /// Whether these have the nodes' names in them, where a name is one node's alone, and not their ids.
        start names_in_topics: bool = false, Switch;
        /// Whether Home Assistant is told of every node.
        start home_assistant: bool = false, Switch;
        /// Home Assistant's prefix.
        start discovery_prefix: Base = "homeassistant".parse().unwrap_or_default(),
            Parsed::by("levels parted by slashes", "homeassistant", |text| {
                text.parse::<Base>().map_err(|error| error.to_string())
            });
        /// Where people find the dashboard, for links in Home Assistant.
        start dashboard_url: Option<String> = None, Optional(Text { max: 256, like: "http://192.168.1.9:8080" });
        /// Shapes of messages that other programs expect, beside the usual ones: `mesh_status` (`mesh/status/…`),
        /// `alteriom` (`alteriom/mesh/…`), `mqtt_bridge` (`painlessMesh/…`), `mesh_ota` (`mesh/ota/…`), `mesh_command`
        /// (`mesh/command/…`, `mesh/config/…`) and `mesh_data` (`mesh/sensor/…`, `mesh/aggregated/…` and others).
        start compat: Vec<Shape> = Vec::new(), List { of: Choice(&[
            ("mesh_status", Shape::MeshStatus),
            ("alteriom", Shape::Alteriom),
            ("mqtt_bridge", Shape::MqttBridge),
            ("mesh_ota", Shape::MeshOta),
            ("mesh_command", Shape::MeshCommand),
            ("mesh_data", Shape::MeshData),
        ]), max: 6 };
    }

    /// What outlives the program: nodes, history, alerts, images, roll-outs, users.
    store: Store {
        /// The database: a file of SQLite, which is made when it is not there, or a PostgreSQL server. A path is
        /// relative to the folder in which the gateway is started. `none` keeps nothing. By default the file
        /// `meshward.db` in `$STATE_DIRECTORY`, which systemd sets, else in the user's folder for data.
        start url: Option<StorePlace> = None,
            Optional(Parsed::by("PATH, sqlite:PATH, postgres://USER:PASSWORD@HOST/NAME or none", "/var/lib/meshward/meshward.db", |text| {
                text.parse::<StorePlace>().map_err(|error| error.to_string())
            }));
        /// A file that holds the database's URL in its first line, for one with a password. It goes before `url`.
        start url_file: Option<PathBuf> = None, Optional(File("store.url"));
    }

    /// How people are told. Channels and routes are made over the REST interface, or by `meshward channels`, and are
    /// kept in the database.
    notify: Notify {
        /// Where people find this gateway, for links in messages.
        start public_url: Option<String> = None,
            Optional(Parsed::by("an http:// or https:// URL", "https://mesh.example.org/", web_address));
        /// A file whose first line is a URL that the gateway asks as long as it is well. Whoever is behind it, such as
        /// a service that watches over jobs, raises the alarm when nobody asks any more.
        start heartbeat_url_file: Option<PathBuf> = None, Optional(File("heartbeat.url"));
        /// How often that URL is asked. Whoever is behind it must wait for longer than this.
        start heartbeat_interval: u64 = 60, Span { seconds: 10..=3_600 };
        /// Channels by which people are told, each as a table `[[notify.channel]]`, beside those that are made by REST
        /// or `meshward channels`; over REST these can be seen and tried, and not changed. `id` and `kind` (`webhook`,
        /// `ntfy`, `telegram`, `email`, `mqtt`), and what the kind needs: `enabled`; `url`, or `url_file` where it is
        /// secret, `secret_file`, `token_file`, `chat`; `server`, `port`, `security` (`starttls`, `tls`, `none`), `user`,
        /// `password_file`, `ca_file`, `from`, `to` (a list); `topic`. Files hold a secret in their first line;
        /// `ca_file` has certificates in PEM. [integrations](integrations.md) has examples.
        start channel: Vec<Channel> = Vec::new(), Channels { max: CHANNELS_MAX };
    }

    /// Values, alerts and events for InfluxDB. Nothing is written without `url`.
    influx: Influx {
        /// The server, as `http://127.0.0.1:8086`.
        start url: Option<String> = None,
            Optional(Parsed::by("an http:// or https:// URL", "http://127.0.0.1:8086", web_address));
        /// By which interface: `v2`, `v1`, or `auto`, which takes version 1 where there is no version 2.
        start api: Api = Api::Auto, Choice(&[("auto", Api::Auto), ("v2", Api::V2), ("v1", Api::V1)]);
        /// The organisation. Version 1 has none.
        start org: String = "meshward".to_owned(), Text { max: 256, like: "meshward" };
        /// The bucket; of version 1 the database.
        start bucket: String = "meshward".to_owned(), Text { max: 256, like: "meshward" };
        /// A file that holds the token in its first line; for version 1 `USER:PASSWORD`.
        start token_file: Option<PathBuf> = None, Optional(File("influx.token"));
        /// How often values are written.
        start interval: u64 = 30, Span { seconds: 5..=3_600 };
        /// Whether the nodes' names are a tag. A node that is renamed is then a new series.
        start names: bool = false, Switch;
        /// The folder in which values wait while the server takes none. By default `influx` beside the database's file,
        /// in `$STATE_DIRECTORY` or the user's folder for data.
        start queue: Option<PathBuf> = None, Optional(File("/var/lib/meshward/influx"));
        /// How much may wait, packed. When it is full the oldest values go.
        start queue_size: u32 = 64, Whole { range: 1..=4_096, multiple: 1, unit: "MiB" };
    }

    /// What the gateway writes to standard error.
    log: Log {
        /// From which level on: `off`, `error`, `warn`, `info`, `debug` or `trace`; or by module, as
        /// `warn,meshward_gateway::shell=debug`. The variable `RUST_LOG` goes before it.
        live level: String = "info".to_owned(), Parsed::by("off, error, warn, info, debug or trace", "info", log_level);
        /// Lines for people, or one JSON object a line for programs.
        start format: LogFormat = LogFormat::Text,
            Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    }

    /// The program as a service.
    service: Service {
        /// How long the gateway may take to stop after SIGTERM or Ctrl-C: requests under way are answered until then,
        /// and cut off after it.
        start stop_timeout: u64 = 10, Span { seconds: 1..=300 };
    }
}

impl Mesh {
    /// Whether it says how the gateway comes into a mesh.
    pub(crate) fn has_a_way(&self) -> bool {
        !self.peers.is_empty() || self.listen.is_some()
    }
}
