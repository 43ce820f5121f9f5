//! What is told of a roll-out: before it starts, while it runs, and at its end, every node by name.

use core::fmt::Write;

use meshward_core::wire::NodeId;
use serde::{Deserialize, Serialize};

use super::order::{batches, most_away};
use super::{
    Facts, Family, Finding, Outcome, Phase, Rollout, RolloutPlan, Roster, Shape, WaveState, wave_name,
};

/// A batch takes about so long: a restart, the way back into the mesh, and the word of it. In seconds.
pub(super) const BATCH_S: u64 = 60;

/// About how long a wave takes that restarts in so many batches, in seconds.
pub(super) fn takes(plan: &RolloutPlan, wave: usize, batches: usize) -> u64 {
    let calm = if wave == 0 { u64::from(plan.soak.baseline_s) } else { 0 };
    calm + batches as u64 * BATCH_S + u64::from(plan.soak_s(wave))
}

/// What somebody should know before a roll-out starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// Nodes of the canary and of each wave, with why.
    pub waves: Vec<Vec<(u32, String)>>,
    /// How many batches each has.
    pub batches: Vec<usize>,
    /// About how long each takes, in seconds, windows and approvals not counted.
    pub seconds: Vec<u64>,
    /// Nodes that are meant and in no wave, with why.
    pub left_out: Vec<(u32, String)>,
    /// Nodes that have no way back but another update.
    pub no_way_back: Vec<u32>,
    /// What is odd about it, in words.
    pub notes: Vec<String>,
}

/// What a plan comes to in a mesh.
pub fn preview(
    plan: &RolloutPlan,
    roster: &Roster,
    facts: &std::collections::BTreeMap<NodeId, Facts>,
    shape: &Shape,
) -> Preview {
    let family = |id: NodeId| facts.get(&id).and_then(|facts| facts.family);
    let mut preview = Preview { notes: roster.notes.clone(), ..Preview::default() };
    let most = most_away(shape, plan.restart.away_percent_most);
    for (wave, chosen) in roster.waves.iter().enumerate() {
        let ids: Vec<NodeId> = chosen.iter().map(|one| one.node).collect();
        let count =
            batches(&ids, shape, plan.restart.away_percent_most, |id| family(id) == Some(Family::Stock))
                .len();
        preview.seconds.push(takes(plan, wave, count));
        preview.batches.push(count);
        preview.waves.push(chosen.iter().map(|one| (one.node.0, one.why.clone())).collect());
        for id in ids {
            if family(id) == Some(Family::Stock) {
                preview.no_way_back.push(id.0);
            }
            let behind = shape.below_count(id) + 1;
            if behind > most {
                let note = format!(
                    "{id} takes {behind} nodes away when it restarts, and {most} may be: it restarts alone"
                );
                preview.notes.push(note);
            }
        }
    }
    preview.left_out = roster.left_out.iter().map(|one| (one.node.0, one.why.clone())).collect();
    if !preview.no_way_back.is_empty() {
        let note = format!(
            "{} stock nodes cannot be taken back from the image, except by another update",
            preview.no_way_back.len()
        );
        preview.notes.push(note);
    }
    preview
}

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its id.
    pub node: u32,
    /// Its wave; 0 is the canary.
    pub wave: Option<usize>,
    /// Why it is in that wave.
    pub why: String,
    /// `meshward` or `stock`.
    pub family: Option<String>,
    /// [`Outcome::name`].
    pub outcome: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// How often it was told to start the image.
    pub tries: u32,
}

/// A wave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaveReport {
    /// Its place; 0 is the canary.
    pub wave: usize,
    /// How many are in it.
    pub nodes: usize,
    /// How many of them run the image.
    pub updated: usize,
    /// Whether it has begun.
    pub begun: bool,
    /// Who starts it together.
    pub batches: Vec<Vec<u32>>,
    /// What gates found last.
    pub findings: Vec<Finding>,
}

/// How a roll-out stands, or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutReport {
    /// The plan's name.
    pub name: String,
    /// Where it is.
    pub phase: Phase,
    /// Whether it is paused.
    pub paused: bool,
    /// The wave that is under way or next.
    pub wave: usize,
    /// Why it waits for somebody, goes back or has ended.
    pub why: String,
    /// Its waves.
    pub waves: Vec<WaveReport>,
    /// Every node.
    pub nodes: Vec<NodeReport>,
}

impl Rollout {
    /// How it stands: every node, and why.
    pub fn report(&self) -> RolloutReport {
        let nodes = self.nodes.iter().map(|(id, one)| NodeReport {
            node: id.0,
            wave: one.wave,
            why: one.why.clone(),
            family: one.family.map(|family| family.name().to_owned()),
            outcome: one.outcome.name().to_owned(),
            reason: one.outcome.reason().map(str::to_owned),
            tries: one.tries,
        });
        let wave = |(at, state): (usize, &WaveState)| WaveReport {
            wave: at,
            nodes: self.of_wave(at).count(),
            updated: self.of_wave(at).filter(|(_, one)| one.outcome.runs()).count(),
            begun: state.began.is_some(),
            batches: state.batches.iter().map(|ids| ids.iter().map(|id| id.0).collect()).collect(),
            findings: state.findings.clone(),
        };
        RolloutReport {
            name: self.plan.name.clone(),
            phase: self.phase,
            paused: self.paused.is_some(),
            wave: self.wave,
            why: self.why.clone(),
            waves: self.waves.iter().enumerate().map(wave).collect(),
            nodes: nodes.collect(),
        }
    }
}

impl RolloutReport {
    /// How many nodes have this outcome.
    pub fn count(&self, outcome: &str) -> usize {
        self.nodes.iter().filter(|node| node.outcome == outcome).count()
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut page = format!("# Roll-out {}: {}\n\n", cell(&self.name), self.phase.name());
        if !self.why.is_empty() {
            page.push_str(&format!("{}\n\n", cell(&self.why)));
        }
        for wave in &self.waves {
            let name = wave_name(wave.wave);
            // Writing into a string does not fail.
            let _written = writeln!(page, "## {name}: {} of {} run the image\n", wave.updated, wave.nodes);
            if !wave.findings.is_empty() {
                page.push_str("| gate | verdict | found | chance | limit |\n|--|--|--|--|--|\n");
            }
            for one in &wave.findings {
                let share = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2e}"));
                let verdict = format!("{:?}", one.verdict).to_lowercase();
                let _written = writeln!(
                    page,
                    "| {} | {verdict} | {} | {} | {} |",
                    one.gate,
                    cell(&one.words),
                    share(one.chance),
                    share(one.limit)
                );
            }
            page.push('\n');
        }
        page.push_str("## Nodes\n\n| node | wave | outcome | reason |\n|--|--|--|--|\n");
        for node in &self.nodes {
            let wave = node.wave.map_or_else(|| "none".to_owned(), wave_name);
            let reason = node.reason.as_deref().unwrap_or(&node.why);
            let _written = writeln!(page, "| {} | {wave} | {} | {} |", node.node, node.outcome, cell(reason));
        }
        page
    }
}

impl Outcome {
    /// Whether the report should make somebody look.
    pub const fn is_trouble(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Fault(_) | Self::Kept(_))
    }
}
