//! What the demonstration says at its end.

use jiff::Timestamp;
use meshward_gateway::rest::model::{Rollout, RolloutNodeState, Scheme};
use sha2::{Digest as _, Sha256};

use super::Topology;
use super::mesh::NodeOutcome;
use crate::deploy::state_text;
use crate::list::table;
use crate::what::scheme_name;

/// What transfers took, in seconds; nothing for a family that was not served.
#[derive(Clone, Copy)]
pub(super) struct Transferred {
    /// From the first chunk until the last Meshward node had the image installed, by the nodes' own word.
    pub(super) meshward: Option<f64>,
    /// From the announcement until the last stock node had all but the last part, by the gateway's word.
    pub(super) stock: Option<f64>,
}

/// What the transfers of this roll-out took.
pub(super) fn transfers(rollout: &Rollout, outcomes: &[NodeOutcome]) -> Transferred {
    let ready = outcomes.iter().filter_map(|outcome| Timestamp::try_from(outcome.ready?).ok());
    let took = rollout.transfers.first_chunk_at.zip(ready.max());
    let took = took.map(|(first, last)| (last.as_microsecond() - first.as_microsecond()) as f64 / 1e6);
    let stock = rollout.transfers.stock_seconds;
    Transferred { meshward: took, stock }
}

/// The whole run in one line.
pub(super) struct Summary<'a> {
    pub(super) nodes: usize,
    /// Of them, those that behave as the C++ library.
    pub(super) stock: usize,
    pub(super) updated: usize,
    /// From the start of the roll-out until every node was back.
    pub(super) seconds: f64,
    /// Until every node had all that is sent before it restarts: the rest is restarts.
    pub(super) pass_seconds: f64,
    /// Written to sockets by all nodes and the gateway.
    pub(super) tcp_bytes: u64,
    pub(super) image: &'a [u8],
    /// What was asked for.
    pub(super) scheme: Scheme,
    /// What was really sent.
    pub(super) schemes: Vec<&'static str>,
    /// What the transfers took.
    pub(super) transfers: Transferred,
    pub(super) topology: Topology,
    pub(super) seed: u64,
}

impl Summary<'_> {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "nodes": self.nodes,
            "stock": self.stock,
            "updated": self.updated,
            "failed": self.nodes - self.updated,
            "seconds": milliseconds(self.seconds),
            "pass_seconds": milliseconds(self.pass_seconds),
            "transfer_seconds": {
                "meshward": self.transfers.meshward.map(milliseconds),
                "stock": self.transfers.stock.map(milliseconds),
            },
            "tcp_bytes": self.tcp_bytes,
            "image_sha256": hex(&Sha256::digest(self.image)),
            "scheme": scheme_name(self.scheme),
            "schemes": self.schemes,
            "topology": self.topology.name(),
            "seed": self.seed,
        })
    }

    pub(super) fn sentence(&self) -> String {
        let stock = if self.stock > 0 { format!(" ({} of them stock)", self.stock) } else { String::new() };
        format!(
            "{} of {} nodes{stock} run the new image, proved by hashing their flash; sent as {}; {:.1} s, of which \
             {:.1} s until all had it, the rest for restarts; {:.1} MB over TCP",
            self.updated,
            self.nodes,
            self.schemes.join(" and "),
            self.seconds,
            self.pass_seconds,
            self.tcp_bytes as f64 / 1e6
        )
    }
}

/// What was sent to nodes of this roll-out.
pub(super) fn schemes(rollout: &Rollout) -> Vec<&'static str> {
    let mut names: Vec<&str> = rollout.nodes.iter().filter_map(|node| node.scheme).map(scheme_name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether every node has had all that is sent before it restarts.
pub(super) fn has_passed(rollout: &Rollout) -> bool {
    rollout.nodes.iter().all(|node| {
        !matches!(
            node.state,
            RolloutNodeState::Waiting
                | RolloutNodeState::Announced
                | RolloutNodeState::Listening
                | RolloutNodeState::Receiving
                | RolloutNodeState::Installing
        )
    })
}

/// Seconds with three digits after the point.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line per node: what the gateway concluded, and what the flash says.
pub(super) fn print_table(outcomes: &[NodeOutcome], rollout: &Rollout) {
    let columns = ["node", "program", "gateway says", "boots", "image in flash (SHA-256)", "new image"];
    let mut rows = table(&columns);
    for outcome in outcomes {
        let reported = rollout.nodes.iter().find(|node| node.id == outcome.id.0);
        let sum = outcome.sha256.as_ref().map_or_else(|| "none".to_owned(), |sum| hex(sum));
        rows.add_row([
            outcome.id.to_string(),
            if outcome.stock { "stock" } else { "Meshward" }.to_owned(),
            reported.map_or("not asked", |node| state_text(node.state)).to_owned(),
            outcome.boots.to_string(),
            sum.chars().take(16).collect(),
            if outcome.updated { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    println!("{rows}");
}
