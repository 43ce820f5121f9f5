//! What is asked of nodes and told to them: queries, commands, and what becomes of both.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

fn default_max_age() -> f64 {
    30.0
}

fn default_timeout() -> f64 {
    5.0
}

/// A question to nodes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQuery {
    /// Whom; every node in the tree if absent.
    #[serde(default)]
    pub nodes: Option<Vec<u32>>,
    /// Which metrics; all if empty.
    #[serde(default)]
    pub metrics: Vec<String>,
    /// What was told no longer ago is good enough; 0 asks everybody.
    #[serde(default = "default_max_age")]
    #[schema(minimum = 0, maximum = 86400)]
    pub max_age_seconds: f64,
    /// Who has not answered by then has timed out.
    #[serde(default = "default_timeout")]
    #[schema(minimum = 0.1, maximum = 120)]
    pub timeout_seconds: f64,
}

/// What became of a node that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryOutcome {
    /// It has answered.
    Answered,
    /// It had told it before.
    Cached,
    /// It does not speak the service, but lives: its round trip is known.
    Probed,
    /// It speaks the service and does not answer.
    Declined,
    /// It has said nothing.
    TimedOut,
    /// It is not in the tree.
    Unreachable,
    /// The question was taken back.
    Cancelled,
}

impl QueryOutcome {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Cached => "cached",
            Self::Probed => "probed",
            Self::Declined => "declined",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether something is known of the node now.
    pub const fn is_known(self) -> bool {
        matches!(self, Self::Answered | Self::Cached | Self::Probed)
    }
}

/// A value in an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Value {
    /// The metric.
    pub name: String,
    /// In its unit.
    pub value: f64,
    /// Its unit.
    pub unit: String,
}

/// One node of a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryLine {
    /// The node.
    pub id: u32,
    /// What it is called.
    pub name: Option<String>,
    /// What became of it.
    pub outcome: QueryOutcome,
    /// How long the answer took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_seconds: Option<f64>,
    /// How old the oldest value is that was known before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// What is known.
    pub metrics: Vec<Value>,
}

/// What came of a question.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueryAnswer {
    /// How many nodes had each outcome.
    pub outcomes: BTreeMap<QueryOutcome, u32>,
    /// A line per node.
    pub nodes: Vec<QueryLine>,
}

fn default_patience() -> f64 {
    10.0
}

/// A command to a node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// Its number, 1 to 255.
    #[schema(minimum = 1, maximum = 255)]
    pub command: u16,
    /// Its parameters, by convention JSON.
    #[serde(default)]
    pub params: String,
    /// How long the node has to answer.
    #[serde(default = "default_patience")]
    #[schema(minimum = 0.1, maximum = 120)]
    pub timeout_seconds: f64,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandEnd {
    /// The node has said something to it.
    Answered,
    /// The node has restarted.
    Restarted,
    /// Nothing came in time.
    TimedOut,
    /// It was taken back.
    Cancelled,
}

impl CommandEnd {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Restarted => "restarted",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A command that is over.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CommandOutcome {
    /// The node.
    pub node: u32,
    /// The command's number on the wire.
    pub cid: u32,
    /// What was to be done.
    pub command: u16,
    /// The same in words.
    pub meaning: String,
    /// What became of it.
    pub outcome: CommandEnd,
    /// What the node says; whether it did it is in its words.
    pub text: Option<String>,
    /// The status byte that came with it.
    pub status: Option<u8>,
    /// How long it took.
    pub took_seconds: f64,
}

/// A question that is under way, or has been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryProgress {
    /// Its number.
    pub id: u32,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When the last node had its outcome; absent while it is under way.
    pub finished_at: Option<Timestamp>,
    /// How many nodes have an outcome.
    pub answered: u32,
    /// Nodes that have none yet.
    pub missing: Vec<u32>,
    /// How many nodes had each outcome.
    pub outcomes: BTreeMap<QueryOutcome, u32>,
    /// A line per node that has one.
    pub nodes: Vec<QueryLine>,
}
