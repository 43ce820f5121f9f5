//! What travels over HTTP: one vocabulary for the service and its clients.
//!
//! Times are RFC 3339 in UTC, node ids decimal 32-bit numbers, hashes lower-case hexadecimal.

mod ask;
mod grafana;
mod history;
mod notify;
mod problem;
mod rules;
mod state;
mod stream;
mod waves;

use jiff::Timestamp;
use meshward_fleet::rollout::RolloutPlan;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use ask::{
    CommandEnd, CommandOutcome, NewCommand, NewQuery, QueryAnswer, QueryLine, QueryOutcome, QueryProgress,
    Value,
};
pub use grafana::{GrafanaEdge, GrafanaNode};
pub use history::{Audit, AuditLine, History, PastEvents, Point, TopologyChange, TopologyChanges};
pub use notify::{
    ChannelKind, ChannelSettings, ChannelTest, Delivery, DeliveryState, MailSecurity, NewNotificationChannel,
    NotificationChannel, NotificationRoute, RouteChoice, RouteQuestion,
};
pub use problem::{Problem, ProblemPart};
pub use rules::{AlertRule, Firing, Matcher, NewAlertRule, NewWindow, Purpose, Rehearsal, Schedule, Window};
pub use state::{
    Alert, AlertAct, Comment, Deduction, Event, Events, Fact, Finding, Health, Incident, Influx, Label,
    LabelPatch, Mesh, Metric, NewName, Node, NodeFields, NodeOrFields, NodeState, Overhead, PastTopology,
    Ready, Score, Status, Topology,
};

pub use stream::Snapshot;
pub use waves::{GateFinding, PreviewNode, PreviewWave, Progress, RolloutPreview, Wave, WaveNode};

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items, in the list's own order.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next_cursor: Option<String>,
}

/// A connection between two nodes of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// The end nearer to the gateway.
    pub from: u32,
    /// The other end.
    pub to: u32,
}

/// An uploaded image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Firmware {
    /// Its SHA-256, which names it here.
    pub sha256: String,
    /// Its MD5, which names it to stock nodes.
    pub md5: String,
    /// Its length in bytes.
    pub size: u64,
    /// What the file was called.
    pub name: String,
    /// What it was built for.
    pub chip: Option<String>,
    /// The project of its application description.
    pub project: Option<String>,
    /// The version of its application description.
    pub version: Option<String>,
    /// What its author says of it; absent while nobody has signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// What an author says of an image. The nodes judge whether that is signed as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// The hardware that it runs on.
    pub hardware: String,
    /// The role that it is for.
    pub role: String,
    /// What people call this version.
    pub version: String,
    /// Rises with every release.
    pub sequence: u64,
}

/// What is sent of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// To each node what takes least channel time.
    #[default]
    Auto,
    /// To Meshward nodes the image as it is; to stock nodes, as with the next three, the cheaper of their ways.
    Full,
    /// To Meshward nodes the image packed by heatshrink.
    Heatshrink,
    /// To Meshward nodes the image packed by LZMA.
    Lzma,
    /// To Meshward nodes a patch of what they run.
    Delta,
    /// To stock nodes alone: every part goes out once for all nodes.
    Turbo,
    /// To stock nodes alone: every node asks for every part.
    Unicast,
}

/// How a node takes updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Signed ones.
    Meshward,
    /// As the C++ library does.
    Stock,
}

/// An image that nodes run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Running {
    /// The first 16 digits of its SHA-256.
    pub id: String,
    /// What the file was called, if it has been uploaded.
    pub name: Option<String>,
}

/// Nodes that are alike and are served alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// They.
    pub nodes: Vec<u32>,
    /// How they take updates.
    pub family: Family,
    /// Their hardware, where they tell.
    pub hardware: Option<String>,
    /// Their role, where they tell.
    pub role: Option<String>,
    /// What they run, where they tell.
    pub running: Option<Running>,
    /// What they are sent: never `auto`, and absent where that is nothing.
    pub scheme: Option<Scheme>,
    /// Why they are sent nothing, to follow their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes of the payload or the image.
    pub bytes: u32,
    /// In so many chunks or parts.
    pub chunks: u32,
    /// The place of the pass that serves them: groups with the same one share its channel time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<u32>,
    /// Channel time of what they are sent.
    pub channel_seconds: f64,
    /// Until they have it all, at the roll-out's airtime; what is sent at the same time included.
    pub transfer_seconds: f64,
    /// Making room, and writing the image.
    pub install_seconds: f64,
    /// Until they are back.
    pub restart_seconds: f64,
    /// All three: until they run the image, if they waited for nobody.
    pub eta_seconds: f64,
}

/// What a roll-out takes, by the model of one channel that all links share: without what is lost and repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Forecast {
    /// Groups, those that are served first.
    pub groups: Vec<Group>,
    /// Channel time of all that is sent.
    pub channel_seconds: f64,
    /// Until all have it installed, and then all restart; the trial that follows is not in it.
    pub eta_seconds: f64,
}

/// A roll-out to be started.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// SHA-256 of an uploaded image.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub firmware: String,
    /// The receivers' role; that of the image's manifest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub role: Option<String>,
    /// The receivers' hardware: `ESP32` or `ESP8266`.
    #[serde(default = "default_hardware")]
    #[schema(max_length = 64)]
    pub hardware: String,
    /// What is sent.
    #[serde(default)]
    pub scheme: Scheme,
    /// Whom; every node in the mesh when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<u32>>,
    /// Send the image even though it does not look like one that the receivers can run.
    #[serde(default)]
    pub force_image: bool,
    /// The image takes updates itself. Nobody can see that from outside, and a stock node that runs one which does
    /// not is lost to updates over the air; so it must be said, once per image.
    #[serde(default)]
    pub confirm_receiver: bool,
    /// Bytes that a receiver's slot holds.
    #[serde(default = "default_slot_size")]
    pub slot_size: u32,
    /// Bytes in a part, 256 to 1400.
    #[serde(default = "default_part_size")]
    #[schema(minimum = 256, maximum = 1400)]
    pub part_size: u32,
    /// Nodes that receive at the same time, 1 to 64.
    #[serde(default = "default_concurrency")]
    #[schema(minimum = 1, maximum = 64)]
    pub concurrency: u32,
    /// Nodes get everything but the last part, and restart only when they are activated.
    #[serde(default)]
    pub hold: bool,
    /// How much of the time the update may fill the radio channel, in per cent, 1 to 100.
    #[serde(default = "default_airtime")]
    #[schema(minimum = 1, maximum = 100)]
    pub airtime: u8,
    /// In which waves nodes start it, as docs/rollouts.md says; `{}` is the default plan. Absent, all start it at once,
    /// or as they are activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub plan: Option<RolloutPlan>,
}

/// Which nodes of a held roll-out may restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Them; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<u32>>,
}

impl NewRollout {
    /// A roll-out of `firmware` to all nodes of `role`, everything else by default.
    pub fn new(firmware: String, role: Option<String>) -> Self {
        Self {
            firmware,
            role,
            hardware: default_hardware(),
            scheme: Scheme::Auto,
            nodes: None,
            force_image: false,
            confirm_receiver: false,
            slot_size: default_slot_size(),
            part_size: default_part_size(),
            concurrency: default_concurrency(),
            hold: false,
            airtime: default_airtime(),
            plan: None,
        }
    }
}

fn default_hardware() -> String {
    "ESP32".to_owned()
}

fn default_slot_size() -> u32 {
    0x1E_0000
}

fn default_part_size() -> u32 {
    1_024
}

fn default_airtime() -> u8 {
    100
}

fn default_concurrency() -> u32 {
    12
}

/// Where a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Under way.
    Running,
    /// Stopped until it is resumed.
    Paused,
    /// Every node is updated, has declined or has failed.
    Finished,
}

/// Where a node of a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutNodeState {
    /// Its turn has not come.
    Waiting,
    /// The image was announced to it.
    Announced,
    /// It takes the broadcast pass, silently.
    Listening,
    /// It asks for what it lacks.
    Receiving,
    /// It has all, looks at it and unpacks it.
    Installing,
    /// It waits for the order, or the last part, to start the image.
    Ready,
    /// That is on its way.
    Finishing,
    /// It has left the mesh to restart.
    Restarting,
    /// It is back, and has to say, or to show, what it runs.
    Verifying,
    /// It runs the image. A Meshward node may still have it on trial.
    Updated,
    /// It has no use for the image: another role or hardware, or it runs it already.
    Declined,
    /// It was not updated; `reason` says why.
    Failed,
}

impl RolloutNodeState {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Updated | Self::Declined | Self::Failed)
    }
}

/// What a roll-out is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// Nodes are asked what they are.
    Surveying,
    /// It waits until another roll-out has sent what it has to send.
    Queued,
    /// Payloads are made.
    Packing,
    /// Payloads go to Meshward nodes.
    Delivering,
    /// The image goes to stock nodes.
    Sending,
    /// Nodes wait to be activated.
    Held,
    /// Nodes start the image.
    Activating,
    /// Nothing more.
    Finished,
}

/// What the transfers of a roll-out took, of those that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Transfers {
    /// When the first chunk went to Meshward nodes.
    pub first_chunk_at: Option<Timestamp>,
    /// From the offer until the last Meshward node had the image installed, or was given up.
    pub meshward_seconds: Option<f64>,
    /// From the announcement until the last stock node had all but the last part, or was given up.
    pub stock_seconds: Option<f64>,
}

/// A node of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutNode {
    /// Its id.
    pub id: u32,
    /// How it takes updates; absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// What it is sent; absent while that is not known, and where it is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Where it is.
    pub state: RolloutNodeState,
    /// Chunks or parts that it has.
    pub done: u32,
    /// Chunks or parts in all; 0 while that is not known.
    pub parts: u32,
    /// Why it failed or declined, to follow its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A roll-out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// Its number.
    pub id: u64,
    /// Where it is.
    pub state: RolloutState,
    /// What it is doing.
    pub phase: RolloutPhase,
    /// How long is left until the nodes run the image, while anybody can say.
    pub eta_seconds: Option<f64>,
    /// What was reckoned; absent until it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// What the transfers took.
    pub transfers: Transfers,
    /// What is brought.
    pub firmware: Firmware,
    /// To which role.
    pub role: String,
    /// To which hardware.
    pub hardware: String,
    /// What is sent, as it was asked for.
    pub scheme: Scheme,
    /// Whether nodes restart only when they are activated.
    pub hold: bool,
    /// The number of the roll-out that sends now, while this one waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<u64>,
    /// A node that sends firmware for the same role; this roll-out waits until it has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_sender: Option<u32>,
    /// When it began.
    pub started_at: Timestamp,
    /// When the last node was done.
    pub finished_at: Option<Timestamp>,
    /// A line per node.
    pub nodes: Vec<RolloutNode>,
    /// In which waves they start it, with every default; absent where they do at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub plan: Option<RolloutPlan>,
    /// Where its waves are; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl Rollout {
    /// How many nodes are in a state.
    pub fn count(&self, state: RolloutNodeState) -> usize {
        self.nodes.iter().filter(|node| node.state == state).count()
    }
}
