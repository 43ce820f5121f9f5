//! A roll-out on a terminal: one bar for all, and one for every node that is busy.
//!
//! A window has fewer lines than a mesh has nodes, so at most [`BARS_MAX`] nodes have a bar at one time; the
//! others are in the overall count. Where standard error is no terminal, a line is printed per finished node.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use meshward_gateway::rest::model::{Rollout, RolloutNode, RolloutNodeState, RolloutPhase, RolloutState};

use crate::deploy::state_text;
use crate::forecast::{duration, sentence};

/// Bars of single nodes at one time.
const BARS_MAX: usize = 20;

/// See the module's page.
pub(crate) struct Progress {
    bars: MultiProgress,
    overall: ProgressBar,
    nodes: BTreeMap<u32, ProgressBar>,
    /// Nodes whose end has been printed.
    ended: BTreeMap<u32, RolloutNodeState>,
    terminal: bool,
    /// Whether the forecast has been said.
    forecast: bool,
}

fn style(template: &str) -> ProgressStyle {
    // A template is a constant of this file: should one be wrong, a plain bar does as well.
    ProgressStyle::with_template(template).unwrap_or_else(|_wrong| ProgressStyle::default_bar())
}

impl Progress {
    pub(crate) fn new(rollout: &Rollout) -> Self {
        let bars = MultiProgress::new();
        let overall = bars.add(ProgressBar::new(parts(rollout)));
        overall.set_style(style("{prefix:>12} {bar:40.green} {percent:>3} %  {msg}"));
        overall.set_prefix("all nodes");
        let terminal = std::io::stderr().is_terminal();
        let (nodes, ended) = (BTreeMap::new(), BTreeMap::new());
        Self { bars, overall, nodes, ended, terminal, forecast: false }
    }

    /// Draws the roll-out as it is now.
    pub(crate) fn show(&mut self, rollout: &Rollout) {
        let done: u64 = rollout.nodes.iter().map(parts_done).sum();
        let updated = rollout.count(RolloutNodeState::Updated);
        // It is not known before nodes have said what they are.
        self.overall.set_length(parts(rollout).max(1));
        self.overall.set_position(done);
        let left = rollout.eta_seconds.map(|left| format!(", {} left", duration(left))).unwrap_or_default();
        let doing = if rollout.state == RolloutState::Paused { "paused" } else { phase_text(rollout.phase) };
        self.overall.set_message(format!("{doing}: {updated} of {} updated{left}", rollout.nodes.len()));
        if let Some(forecast) =
            rollout.forecast.as_ref().filter(|_| !core::mem::replace(&mut self.forecast, true))
        {
            self.say(sentence(forecast));
        }
        for node in &rollout.nodes {
            if node.state.is_final() {
                self.end(node);
            } else if node.state != RolloutNodeState::Waiting {
                self.busy(node);
            }
        }
    }

    fn busy(&mut self, node: &RolloutNode) {
        if !self.terminal || (self.nodes.len() >= BARS_MAX && !self.nodes.contains_key(&node.id)) {
            return;
        }
        let bars = &self.bars;
        let bar = self.nodes.entry(node.id).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(u64::from(node.parts)));
            bar.set_style(style("{prefix:>12} {bar:40} {pos:>5}/{len} {msg}"));
            bar.set_prefix(node.id.to_string());
            bar
        });
        bar.set_position(u64::from(node.done));
        bar.set_message(state_text(node.state));
    }

    fn end(&mut self, node: &RolloutNode) {
        if self.ended.insert(node.id, node.state).is_some() {
            return;
        }
        if let Some(bar) = self.nodes.remove(&node.id) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let reason = node.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let line = format!("node {} {}{reason}", node.id, state_text(node.state));
        if !self.terminal || node.state == RolloutNodeState::Failed {
            self.say(line);
        }
    }

    fn say(&self, line: String) {
        if self.terminal {
            // The line is lost where the bars cannot be drawn, and then it is in the closing table.
            drop(self.bars.println(line));
        } else {
            eprintln!("{line}");
        }
    }

    /// Leaves the terminal as it was, the overall bar in place.
    pub(crate) fn finish(self) {
        for bar in self.nodes.values() {
            bar.finish_and_clear();
        }
        self.overall.abandon();
    }
}

const fn phase_text(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Surveying => "asking nodes what they are",
        RolloutPhase::Queued => "waiting for its turn to send",
        RolloutPhase::Packing => "packing",
        RolloutPhase::Delivering => "sending to Meshward nodes",
        RolloutPhase::Sending => "sending to stock nodes",
        RolloutPhase::Held => "waiting to be activated",
        RolloutPhase::Activating => "restarting",
        RolloutPhase::Finished => "finished",
    }
}

fn parts(rollout: &Rollout) -> u64 {
    rollout.nodes.iter().map(|node| u64::from(node.parts)).sum()
}

fn parts_done(node: &RolloutNode) -> u64 {
    u64::from(if node.state.is_final() { node.parts } else { node.done })
}
