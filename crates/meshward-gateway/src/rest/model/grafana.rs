//! The rows of Grafana's Node Graph panel, by the names that it looks for.
#![allow(non_snake_case, reason = "the panel parts its words so")]

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GrafanaNode {
    /// Its id, decimal.
    pub id: String,
    /// What people call it, else its id.
    pub title: String,
    /// Its id where the title is a name.
    pub subtitle: String,
    /// Its score.
    pub mainstat: String,
    /// Its state.
    pub secondarystat: String,
    /// The part of its ring that its score fills.
    pub arc__good: f64,
    /// The other part.
    pub arc__lost: f64,
    /// By its state.
    pub color: String,
}

/// What joins two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrafanaEdge {
    /// Both ids.
    pub id: String,
    /// The upper node.
    pub source: String,
    /// The lower node.
    pub target: String,
    /// How strong the lower node hears the upper one.
    pub mainstat: String,
}
