//! What the demonstration says at its end.

use meshward_gateway::rest::model::{Rollout, Scheme};
use sha2::{Digest as _, Sha256};

use super::Topology;
use super::mesh::NodeOutcome;
use crate::deploy::{scheme_name, state_text};
use crate::list::table;

/// The whole run in one line.
pub(super) struct Summary<'a> {
    pub(super) nodes: usize,
    pub(super) updated: usize,
    /// From the start of the roll-out until every node was back.
    pub(super) seconds: f64,
    /// Written to sockets by all nodes and the gateway.
    pub(super) tcp_bytes: u64,
    pub(super) image: &'a [u8],
    /// What was really used.
    pub(super) scheme: Scheme,
    pub(super) topology: Topology,
    pub(super) seed: u64,
}

impl Summary<'_> {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "nodes": self.nodes,
            "updated": self.updated,
            "failed": self.nodes - self.updated,
            "seconds": (self.seconds * 1_000.0).round() / 1_000.0,
            "tcp_bytes": self.tcp_bytes,
            "image_sha256": hex(&Sha256::digest(self.image)),
            "scheme": scheme_name(self.scheme),
            "topology": self.topology.name(),
            "seed": self.seed,
        })
    }

    pub(super) fn sentence(&self) -> String {
        format!(
            "{} of {} nodes run the new image, proved by hashing their flash; {:.1} s, {:.1} MB over TCP",
            self.updated,
            self.nodes,
            self.seconds,
            self.tcp_bytes as f64 / 1e6
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line per node: what the gateway concluded, and what the flash says.
pub(super) fn print_table(outcomes: &[NodeOutcome], rollout: &Rollout) {
    let mut rows = table(&["node", "gateway says", "boots", "image in flash (SHA-256)", "new image"]);
    for outcome in outcomes {
        let reported = rollout.nodes.iter().find(|node| node.id == outcome.id.0);
        let sum = outcome.sha256.as_ref().map_or_else(|| "none".to_owned(), |sum| hex(sum));
        rows.add_row([
            outcome.id.to_string(),
            reported.map_or("not asked", |node| state_text(node.state)).to_owned(),
            outcome.boots.to_string(),
            sum.chars().take(16).collect(),
            if outcome.updated { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    println!("{rows}");
}
