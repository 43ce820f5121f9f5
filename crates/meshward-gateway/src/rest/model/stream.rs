//! What comes over a stream.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Alert, Node, Rollout, Status};

/// The data of a stream's `snapshot`: everything of the topics that were chosen.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The revision that it is of.
    pub revision: u64,
    /// Of topic `nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<Node>>,
    /// Of topic `alerts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Vec<Alert>>,
    /// Of topic `rollouts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<Vec<Rollout>>,
    /// Of topic `mesh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Status>,
}
