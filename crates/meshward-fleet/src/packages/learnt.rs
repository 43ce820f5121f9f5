//! What a package says, in one vocabulary, whatever its type.
//!
//! Numbers that have a metric are [`Reading`]s; words are [`Fact`]s; what a node makes of itself and of others is a
//! [`Finding`]. Nothing of it is believed here: who sent it may lie, and says so only with its name.

use meshward_core::telemetry::Metric;
use meshward_core::time::{Instant, UnixTime};
use meshward_core::wire::NodeId;
use meshward_core::wire::status::Answer;

use crate::reading::{Doubt, Reading, Source};

/// How a package came to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// As a package of its own type.
    Frame,
    /// As text in a message of type 8 or 9.
    Text,
    /// From a broker, where the same numbers mean other things.
    Broker,
}

/// What a package is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The node that sent it, as with every package of a C++ node.
    Node,
    /// The whole mesh, as 604 and 605 are in Alteriom's MQTT schema: it says nothing of its sender.
    Mesh,
}

/// Most odd fields of one package that are told one by one.
pub const ODD_MAX: usize = 32;

/// Everything that one package says.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// Who sent it.
    pub from: NodeId,
    /// When it came.
    pub at: Instant,
    /// Its type, as a source.
    pub source: Source,
    /// How it came.
    pub via: Via,
    /// Whether it went to all nodes, and so cost a message on every link.
    pub broadcast: bool,
    /// What it is about. There are no readings and facts where that is the mesh.
    pub scope: Scope,
    /// Numbers, all of the sender.
    pub readings: Vec<Reading>,
    /// Words, all of the sender.
    pub facts: Vec<Fact>,
    /// What it says of nodes, the sender too.
    pub findings: Vec<Finding>,
    /// What is not as it should be, at most [`ODD_MAX`].
    pub odd: Vec<OddField>,
    /// How much more of that there was.
    pub odd_left_out: u32,
    /// What it answers.
    pub answer: Option<Answer>,
}

impl Learnt {
    /// The reading of a metric, if there is one.
    pub fn reading(&self, metric: Metric) -> Option<&Reading> {
        self.readings.iter().find(|reading| reading.metric == metric)
    }

    /// The words on a topic, if there are any.
    pub fn fact(&self, topic: Topic) -> Option<&str> {
        self.facts.iter().find(|fact| fact.topic == topic).map(|fact| fact.text.as_str())
    }
}

/// A field that was not as it should be, and what stood there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddField {
    /// Its name on the wire.
    pub field: &'static str,
    /// Why it is not to be believed; `None` when it was only too long.
    pub doubt: Option<Doubt>,
    /// The JSON text that came, or how much of it was left out.
    pub raw: String,
}

/// What words are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The version of its firmware.
    Version,
    /// The MD5 of the image that it runs, in lower case.
    FirmwareMd5,
    /// What it is built on.
    Hardware,
    /// What it is called, which others may be too.
    Name,
    /// Where it is.
    Location,
    /// Which group it belongs to.
    Group,
    /// Which organization it belongs to.
    Organization,
    /// Which customer it belongs to.
    Customer,
    /// What it complained of last.
    LastError,
    /// What it thinks should be done.
    Advice,
    /// The name of the mesh.
    MeshId,
    /// The address of a bridge's gateway.
    GatewayAddress,
    /// The name of a bridge's router.
    RouterName,
    /// What a bridge is among bridges.
    BridgeRole,
    /// Where a bridge has the time from.
    TimeSource,
    /// One of its settings, by its name on the wire.
    Setting(&'static str),
}

/// Words that a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The node.
    pub node: NodeId,
    /// What about.
    pub topic: Topic,
    /// The words.
    pub text: String,
    /// When it came.
    pub at: Instant,
    /// Where from.
    pub source: Source,
    /// Why it is not to be believed.
    pub doubt: Option<Doubt>,
}

/// Something that a node says of a node, or of the mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The node that it is about; the sender where it is about the mesh.
    pub node: NodeId,
    /// What.
    pub what: What,
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// At once.
    Critical,
}

/// What a node says of another's presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// Off line.
    Offline,
    /// On line.
    Online,
    /// Known, and not reached.
    Unreachable,
}

/// What a node is, as Alteriom's MQTT schema has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceType {
    /// It measures.
    Sensor,
    /// It joins the mesh to something else: `gateway`, and `mesh_gateway`, which is not in the schema and is sent.
    Gateway,
    /// It carries messages.
    Repeater,
    /// Another word.
    Other,
}

impl DeviceType {
    /// The type of that name.
    pub fn of(name: &str) -> Self {
        match name {
            "sensor" => Self::Sensor,
            "gateway" | "mesh_gateway" | "bridge" => Self::Gateway,
            "repeater" => Self::Repeater,
            _ => Self::Other,
        }
    }
}

/// What is found, see [`Finding`].
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The node has restarted since it was heard last.
    Restarted,
    /// So many packages of the node did not come since the last one.
    PackagesLost(u32),
    /// How the node finds itself (605): `Info` is well.
    Health(Level),
    /// The node finds that it has a problem: a bit of 605, with its name.
    Problem {
        /// The bit.
        bit: u16,
        /// Its name; empty when it has none.
        name: &'static str,
    },
    /// The node sleeps, this long at a time, in ms.
    Sleeps(u32),
    /// What it is.
    Device(DeviceType),
    /// A line of its log.
    Logged {
        /// When, in its own reckoning.
        when: Option<u32>,
        /// What it says.
        text: String,
    },
    /// An alert (602).
    Alert {
        /// 0 low memory, 1 node off line, 2 connection lost, and others.
        kind: Option<u8>,
        /// How bad; `None` when that was none of the three.
        level: Option<Level>,
        /// In words.
        text: String,
        /// What was measured.
        value: Option<f64>,
        /// What it should have stayed on the right side of.
        threshold: Option<f64>,
        /// Its number.
        id: Option<u32>,
    },
    /// What the sender sees of a node (600).
    Seen {
        /// Whether it is there; `None` when that was none of the three.
        presence: Option<Presence>,
        /// When it heard of it last, by the sender's clock.
        last_seen: Option<UnixTime>,
        /// How it hears it, dBm.
        rssi: Option<i8>,
    },
    /// What the sender sees of a link (601).
    Link {
        /// The other end.
        to: NodeId,
        /// 0 to 1.
        quality: Option<f64>,
        /// What is doubtful about that.
        doubt: Option<Doubt>,
        /// ms.
        latency_ms: Option<u16>,
        /// How long the way is.
        hops: Option<u8>,
    },
    /// The sender finds that this is the root (601).
    Root,
    /// A bridge is there (610).
    Bridge {
        /// Whether it reaches the Internet; `None` when it does not say.
        internet: Option<bool>,
    },
    /// The node would be the bridge (611).
    Candidate,
    /// The node is the bridge now (612).
    Takeover {
        /// Who was.
        previous: Option<NodeId>,
        /// In words.
        reason: String,
    },
    /// A bridge among bridges (613).
    Coordination {
        /// 10 highest, 1 lowest.
        priority: Option<u8>,
        /// The bridges that it knows.
        peers: Vec<NodeId>,
    },
    /// Civil time, as the node has it (614). Not to be trusted with anything.
    Civil {
        /// The time.
        time: UnixTime,
        /// By how much it may be wrong, ms.
        accuracy_ms: Option<u16>,
    },
    /// A message of another mesh came by (603).
    Bridged {
        /// Its type there; 0 when it does not say.
        mesh_type: u16,
        /// What that is, where it is this mesh's protocol.
        name: &'static str,
        /// Bytes of its text.
        bytes: usize,
    },
    /// The node wants something brought to the Internet (620).
    Outbound {
        /// The message's number.
        id: Option<u32>,
        /// Where to.
        destination: String,
        /// Bytes of it.
        bytes: usize,
    },
    /// What became of such a message (621).
    Delivered {
        /// The message's number.
        id: Option<u32>,
        /// Whether it arrived.
        success: bool,
        /// The HTTP status, where there was one.
        http: Option<u16>,
        /// What went wrong.
        error: String,
    },
    /// A gateway is there (622).
    Gateway,
    /// Something about the whole mesh, in one package (604 or 605 of the MQTT schema).
    MeshStatus {
        /// In words.
        words: Option<String>,
        /// Nodes that it has.
        nodes: Option<u16>,
        /// %.
        loss: Option<u8>,
    },
}
