//! A roll-out on a terminal: one bar for all, and one for every node that is busy.
//!
//! A window has fewer lines than a mesh has nodes, so at most [`BARS_MAX`] nodes have a bar at one time; the
//! others are in the overall count. Where standard error is no terminal, a line is printed per finished node.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use meshward_gateway::rest::model::{Rollout, RolloutNode, RolloutNodeState};

use crate::deploy::state_text;

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
}

fn style(template: &str) -> ProgressStyle {
    // A template is a constant of this file: should one be wrong, a plain bar does as well.
    ProgressStyle::with_template(template).unwrap_or_else(|_wrong| ProgressStyle::default_bar())
}

impl Progress {
    pub(crate) fn new(rollout: &Rollout) -> Self {
        let bars = MultiProgress::new();
        let total: u64 = rollout.nodes.iter().map(|node| u64::from(node.parts)).sum();
        let overall = bars.add(ProgressBar::new(total));
        overall.set_style(style("{prefix:>12} {bar:40.green} {percent:>3} %  {msg}"));
        overall.set_prefix("all nodes");
        let terminal = std::io::stderr().is_terminal();
        Self { bars, overall, nodes: BTreeMap::new(), ended: BTreeMap::new(), terminal }
    }

    /// Draws the roll-out as it is now.
    pub(crate) fn show(&mut self, rollout: &Rollout) {
        let done: u64 = rollout.nodes.iter().map(parts_done).sum();
        let updated = rollout.count(RolloutNodeState::Updated);
        self.overall.set_position(done);
        self.overall.set_message(format!("{updated} of {} updated", rollout.nodes.len()));
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
        if !self.terminal {
            eprintln!("{line}");
        } else if node.state == RolloutNodeState::Failed {
            // The line is lost where the bars cannot be drawn, and then it is in the closing table.
            drop(self.bars.println(line));
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

fn parts_done(node: &RolloutNode) -> u64 {
    u64::from(if node.state.is_final() { node.parts } else { node.done })
}
