//! The state of the mesh: nodes, what they tell, what people call them, scores, alerts, events.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AnyOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::Link;

/// Whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Known from before, and the mesh has not shown itself yet.
    Learning,
    /// It lives.
    Online,
    /// It has not been heard when it should, and is being asked.
    Suspect,
    /// It is lost, by its own fault.
    Offline,
    /// It said that it would sleep.
    Sleeping,
    /// It is behind a node that is lost.
    Unreachable,
    /// An operator wants to hear nothing more of it.
    Forgotten,
}

impl NodeState {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Online => "online",
            Self::Suspect => "suspect",
            Self::Offline => "offline",
            Self::Sleeping => "sleeping",
            Self::Unreachable => "unreachable",
            Self::Forgotten => "forgotten",
        }
    }
}

/// A word that mostly is one of the program's own: a list of nodes has thousands of them.
type Word = Cow<'static, str>;

/// A value that a node told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Metric {
    /// The metric, with its unit last.
    #[schema(value_type = String)]
    pub name: Word,
    /// In its unit.
    pub value: f64,
    /// Its unit; empty for a number of something and for names.
    #[schema(value_type = String)]
    pub unit: Word,
    /// When it was observed.
    pub observed_at: Timestamp,
    /// Where it comes from: `tree`, `probe`, `package_202`, `telemetry`, `answer`, `update`.
    #[schema(value_type = String)]
    pub source: Word,
    /// Why it is to be taken with care.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub doubt: Option<Word>,
}

/// Words that a node told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fact {
    /// What about.
    pub topic: String,
    /// The words.
    pub text: String,
    /// When they came.
    pub observed_at: Timestamp,
    /// Where from, as with metrics.
    pub source: String,
}

/// Points that are missing to 100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Deduction {
    /// The rule.
    pub rule: String,
    /// How many.
    pub points: f64,
    /// The node that loses most; absent in a node's own score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// Why, in words.
    pub evidence: String,
    /// What to do.
    pub advice: String,
}

/// How well a node or the mesh is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Score {
    /// 0 to 100; absent when nothing is known.
    pub points: Option<u8>,
    /// `unknown`, `ok`, `warning` or `critical`.
    pub level: String,
    /// Within the last hour: `up`, `down` or `steady`.
    pub trend: String,
    /// What is missing, the most first.
    pub deductions: Vec<Deduction>,
}

/// A node that the mesh has shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id.
    pub id: u32,
    /// What people call it; where they call it nothing, what it calls itself.
    pub name: Option<String>,
    /// Whether it lives.
    pub state: NodeState,
    /// Since when that is so.
    pub since: Timestamp,
    /// When something came from it, or through it, last.
    pub last_heard_at: Option<Timestamp>,
    /// How often it reports by itself.
    pub period_seconds: Option<f64>,
    /// Whose protocol it speaks: `unknown`, `stock`, `alteriom` or `meshward`.
    pub family: String,
    /// How often it has joined since the gateway's start.
    pub joins: u32,
    /// The node one hop nearer to the gateway, while in the tree.
    pub parent: Option<u32>,
    /// Hops from the gateway, while in the tree.
    pub hops: Option<u32>,
    /// Whether it calls itself the root of the mesh.
    pub root: bool,
    /// Whether the others adopt its clock.
    pub time_authority: bool,
    /// Words by which people choose nodes.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How well it is.
    pub score: Score,
    /// What it told, in numbers.
    pub metrics: Vec<Metric>,
    /// What it told, in words.
    pub facts: Vec<Fact>,
}

/// A node of which only some fields were asked for: these, and its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeFields {
    /// Its id.
    pub id: u32,
}

/// What a list of nodes has in it: whole nodes, or with `fields` parts of them. For the description only.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NodeOrFields;

impl PartialSchema for NodeOrFields {
    fn schema() -> RefOr<Schema> {
        let either = AnyOfBuilder::new().item(Ref::from_schema_name("Node"));
        RefOr::T(Schema::AnyOf(either.item(Ref::from_schema_name("NodeFields")).build()))
    }
}

impl ToSchema for NodeOrFields {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("Node".to_owned(), Node::schema()));
        schemas.push(("NodeFields".to_owned(), NodeFields::schema()));
        <Node as ToSchema>::schemas(schemas);
    }
}

impl Node {
    /// The value of a metric, if the node has told it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }
}

/// The tree as the gateway sees it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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

/// What keeping an eye on the mesh costs its channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overhead {
    /// What status took lately, in percent of the channel's time, by the model of one channel.
    pub share_percent: f64,
    /// What it may take.
    pub budget_percent: f64,
    /// How often nodes report.
    pub period_seconds: f64,
    /// Whether the budget makes that less often than it was wished.
    pub period_bound: bool,
    /// Everything by what it was for, in percent of the channel's time.
    pub classes: BTreeMap<String, f64>,
}

/// Nodes that are lost for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// Its number.
    pub id: u64,
    /// The topmost node that is missing.
    pub cause: u32,
    /// When the first node was lost.
    pub opened_at: Timestamp,
    /// When the last one was back.
    pub closed_at: Option<Timestamp>,
    /// Who is lost now.
    pub missing: Vec<u32>,
    /// How many were at the most.
    pub missing_max: u32,
    /// Whether it was the restart of its cause.
    pub rebooted: bool,
}

/// Something that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What it is.
    pub kind: String,
    /// The node that it is about.
    pub node: u32,
    /// On what it rests.
    pub evidence: String,
    /// What to do.
    pub advice: String,
    /// When it was raised.
    pub since: Timestamp,
}

/// Something that somebody wrote on an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comment {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    pub text: String,
}

/// Something that somebody must hear of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// Its name: the same for the same rule and subject, in every run.
    pub fingerprint: String,
    /// The rule that raised it.
    pub rule: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Whom it is about, in words.
    pub subject: String,
    /// The node, if it is about one.
    pub node: Option<u32>,
    /// `pending`, `active_unack`, `active_ack`, `cleared_unack` or `cleared_ack`.
    pub state: String,
    /// Whether it is raised.
    pub active: bool,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it was raised last.
    pub raised_at: Option<Timestamp>,
    /// How often it was raised.
    pub times: u32,
    /// The value, where it is about one.
    pub value: Option<f64>,
    /// By what it is known.
    pub evidence: String,
    /// Who knows of it.
    pub known_by: Option<String>,
    /// Whose it is.
    #[serde(default)]
    pub assigned_to: Option<String>,
    /// Why nobody is told: `silence`, `maintenance`, `cause` or `flapping`.
    pub suppressed_by: Option<String>,
    /// What people wrote.
    pub comments: Vec<Comment>,
}

/// The mesh in one look.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The gateway's own id.
    pub gateway: u32,
    /// Whether the gateway is still learning what is so.
    pub learning: bool,
    /// How many nodes are in each state.
    pub states: BTreeMap<NodeState, u32>,
    /// How well the mesh is.
    pub score: Score,
    /// What looking costs.
    pub overhead: Overhead,
    /// Losses that are not over.
    pub incidents: Vec<Incident>,
    /// Alerts that are raised.
    pub alerts: Vec<Alert>,
    /// What was dropped for want of room, by what it was.
    pub dropped: BTreeMap<String, u64>,
    /// How the writing to InfluxDB fares; absent where nothing is written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub influx: Option<Influx>,
}

/// How the writing to InfluxDB fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Influx {
    /// Batches that wait for the server.
    pub batches_waiting: u64,
    /// Bytes in them, packed.
    pub bytes_waiting: u64,
    /// Lines that had no room, or that the server will never take, since the gateway's start.
    pub lines_dropped: u64,
    /// When the server has taken something last.
    pub written_at: Option<Timestamp>,
    /// Why it took nothing after that.
    pub failure: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Counts from 1 since the gateway's start.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// `topology`, `liveness`, `incident`, `finding`, `anomaly`, `alert`, `command`, `log` or `period`.
    pub kind: String,
    /// What of that kind: `join`, `offline`, `opened` …
    pub name: String,
    /// The node, if it is about one.
    pub node: Option<u32>,
    /// In words.
    pub text: String,
}

/// Events of the ring.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The oldest first.
    pub items: Vec<Event>,
    /// Where to go on: `after` of the next request.
    pub next: u64,
    /// How many events between `after` and the first item have had to make room.
    pub lost: u64,
}

/// What people call a node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewName {
    /// The name; null takes it away.
    #[schema(min_length = 1, max_length = 64)]
    pub name: Option<String>,
}

/// Who acts on an alert, and what he writes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertAct {
    /// Who.
    #[schema(max_length = 512)]
    pub by: Option<String>,
    /// The comment.
    #[schema(max_length = 512)]
    pub text: Option<String>,
    /// Whose it is from now on; only for `assign`, where null is nobody's.
    #[schema(max_length = 512)]
    pub to: Option<String>,
}

/// How well the mesh is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether the gateway is still learning what is so.
    pub learning: bool,
    /// Its score, with what it lacks.
    pub score: Score,
    /// How many nodes are in each state.
    pub states: BTreeMap<NodeState, u32>,
    /// How many alerts are raised.
    pub alerts: u32,
}

/// A mesh that this gateway looks after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mesh {
    /// Its name, which is in paths.
    pub id: String,
    /// The gateway's own node id.
    pub gateway: u32,
    /// How many nodes are in the tree.
    pub nodes: u32,
    /// Whether the gateway is still learning what is so.
    pub learning: bool,
}

/// Whether the service can be relied on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// It has found nodes, or has learnt that there are none.
    pub ready: bool,
    /// Whether the gateway is still learning what is so.
    pub learning: bool,
    /// How many nodes are in the tree.
    pub nodes: u32,
}

/// The tree of a while ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastTopology {
    /// The gateway's own id: the top of the tree.
    pub gateway: u32,
    /// Its revision.
    pub revision: u64,
    /// What joined the nodes.
    pub links: Vec<Link>,
    /// Nodes that changed their places all the time: they may have been elsewhere, or nowhere. Nobody of a tree from
    /// the database, which has every change.
    #[serde(default)]
    pub uncertain: Vec<u32>,
}

/// What people say of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Label {
    /// What people call it; where they call it nothing, what it calls itself.
    pub name: Option<String>,
    /// Words by which they choose nodes.
    pub tags: Vec<String>,
    /// What they have written down.
    pub notes: String,
}

/// What is to be changed of it (RFC 7396): what is absent stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LabelPatch {
    /// One line of 1 to 64 bytes; null takes it away.
    #[serde(deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    pub name: Option<Option<String>>,
    /// All tags that it has then: at most 16, each one line of 1 to 32 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 16)]
    pub tags: Option<Vec<String>>,
    /// At most 2 048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub notes: Option<String>,
}

/// Tells null from what is absent.
fn there<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(reader).map(Some)
}
