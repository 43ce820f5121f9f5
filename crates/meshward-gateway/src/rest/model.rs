//! What travels over HTTP: one vocabulary for the service and its clients.
//!
//! Times are RFC 3339 in UTC, node ids decimal 32-bit numbers, hashes lower-case hexadecimal.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items, in the list's own order.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next_cursor: Option<String>,
}

/// Whether a node is in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It is in the tree.
    Online,
    /// It was, and is not now.
    Offline,
}

/// A node that the mesh has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: u32,
    /// Whether it is in the mesh.
    pub state: NodeState,
    /// When it came or went last.
    pub since: Timestamp,
    /// How often it has joined since the gateway's start.
    pub joins: u32,
    /// The node one hop nearer to the gateway, while online.
    pub parent: Option<u32>,
    /// Hops from the gateway, while online.
    pub hops: Option<u32>,
    /// Whether it calls itself the root of the mesh.
    pub root: bool,
    /// Whether the others adopt its clock.
    pub time_authority: bool,
}

/// A connection between two nodes of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The end nearer to the gateway.
    pub from: u32,
    /// The other end.
    pub to: u32,
}

/// The tree as the gateway sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Topology {
    /// The gateway's own id: the top of the tree.
    pub gateway: u32,
    /// Counts the changes of the tree.
    pub revision: u64,
    /// The nodes in it.
    pub nodes: Vec<Node>,
    /// What joins them.
    pub links: Vec<Link>,
}

/// An uploaded image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// How the parts of an image travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// The best that the nodes understand.
    #[default]
    Auto,
    /// Every part goes out once for all nodes.
    Turbo,
    /// Every node asks for every part.
    Unicast,
}

/// A roll-out to be started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// SHA-256 of an uploaded image.
    pub firmware: String,
    /// The receivers' role.
    pub role: String,
    /// The receivers' hardware: `ESP32` or `ESP8266`.
    #[serde(default = "default_hardware")]
    pub hardware: String,
    /// How the parts travel.
    #[serde(default)]
    pub scheme: Scheme,
    /// Whom; every node in the mesh when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<u32>>,
    /// Send the image even though it does not look like one that the receivers can run.
    #[serde(default)]
    pub force_image: bool,
    /// The image takes updates itself. Nobody can see that from outside, and a node that runs one which does not
    /// is lost to updates over the air; so it must be said, once per image.
    #[serde(default)]
    pub confirm_receiver: bool,
    /// Bytes that a receiver's slot holds.
    #[serde(default = "default_slot_size")]
    pub slot_size: u32,
    /// Bytes in a part, 256 to 1400.
    #[serde(default = "default_part_size")]
    pub part_size: u32,
    /// Nodes that receive at the same time, 1 to 64.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// Nodes get everything but the last part, and restart only when they are activated.
    #[serde(default)]
    pub hold: bool,
    /// How much of the time the broadcast pass may fill the radio channel, in per cent, 1 to 100.
    #[serde(default = "default_airtime")]
    pub airtime: u8,
}

/// Which nodes of a held roll-out may restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// Them; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<u32>>,
}

impl NewRollout {
    /// A roll-out of `firmware` to all nodes of `role`, everything else by default.
    pub fn new(firmware: String, role: String) -> Self {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutNodeState {
    /// Its turn has not come.
    Waiting,
    /// The image was announced to it.
    Announced,
    /// It takes the broadcast pass, silently.
    Listening,
    /// It asks for parts.
    Receiving,
    /// It has all but the last part, which is held back until the nodes behind it are done, and it is activated.
    Ready,
    /// The last part is on its way.
    Finishing,
    /// It has left the mesh to restart.
    Restarting,
    /// It is back, and is being asked whether it wants the image again.
    Verifying,
    /// It runs the image.
    Updated,
    /// It did not ask for the image: another role or hardware, or it runs it already.
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

/// A node of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutNode {
    /// Its id.
    pub id: u32,
    /// Where it is.
    pub state: RolloutNodeState,
    /// Parts that it has.
    pub done: u32,
    /// Parts in all.
    pub parts: u32,
    /// Why it failed, to follow its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A roll-out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rollout {
    /// Its number.
    pub id: u64,
    /// Where it is.
    pub state: RolloutState,
    /// What is brought.
    pub firmware: Firmware,
    /// To which role.
    pub role: String,
    /// To which hardware.
    pub hardware: String,
    /// How the parts travel; never `auto`.
    pub scheme: Scheme,
    /// Whether nodes restart only when they are activated.
    pub hold: bool,
    /// A node that sends firmware for the same role; this roll-out waits until it has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_sender: Option<u32>,
    /// When it began.
    pub started_at: Timestamp,
    /// When the last node was done.
    pub finished_at: Option<Timestamp>,
    /// A line per node.
    pub nodes: Vec<RolloutNode>,
}

impl Rollout {
    /// How many nodes are in a state.
    pub fn count(&self, state: RolloutNodeState) -> usize {
        self.nodes.iter().filter(|node| node.state == state).count()
    }
}
