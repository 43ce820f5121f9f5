//! What nodes tell while a wave is watched: where each value lay before the update, and where it lies since.
//!
//! Of each node and measure only two numbers are kept, how many values there were and where they lie, so that it can
//! be written down and taken up again. All nodes of the roll-out are watched: those of the wave, and those that have
//! not been updated, which say what happens to everybody.

use std::collections::BTreeMap;

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use serde::{Deserialize, Serialize};

use super::choose::Shape;
use super::measure::Measure;
use super::stats;
use crate::fleet::Fleet;
use crate::series::{Point, Store};

/// What is known of how nodes fare. The fleet knows it; tests make it up.
pub trait Evidence {
    /// The last values of a node, oldest first.
    fn recent(&self, node: NodeId, measure: Measure) -> Vec<Point>;
    /// How often it has restarted since then.
    fn restarts(&self, node: NodeId, since: Instant) -> usize;
}

impl Evidence for Store {
    fn recent(&self, node: NodeId, measure: Measure) -> Vec<Point> {
        self.recent(node, measure.metric()).collect()
    }

    fn restarts(&self, node: NodeId, since: Instant) -> usize {
        self.restarts(node, since)
    }
}

impl Evidence for Fleet {
    fn recent(&self, node: NodeId, measure: Measure) -> Vec<Point> {
        Evidence::recent(self.series(), node, measure)
    }

    fn restarts(&self, node: NodeId, since: Instant) -> usize {
        self.series().restarts(node, since)
    }
}

/// Where the values of a node lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lie {
    /// How many there were.
    pub count: u32,
    /// On [`Measure::place`]'s scale.
    pub at: f64,
}

impl Lie {
    fn add(&mut self, values: &mut [f64]) {
        let Some(at) = stats::location(values) else { return };
        let more = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let all = self.count.saturating_add(more);
        self.at += (at - self.at) * f64::from(more) / f64::from(all);
        self.count = all;
    }
}

/// A node that is watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Whether it is in the wave; otherwise it is one to compare with.
    pub wave: bool,
    /// The node one hop nearer to the gateway when the wave began; `None` for who was not there.
    pub parent: Option<u32>,
    /// Values before.
    pub before: BTreeMap<Measure, Lie>,
    /// Values since.
    pub after: BTreeMap<Measure, Lie>,
    /// How often it has restarted since.
    pub restarts: u32,
}

impl Watched {
    /// By how much a value has changed, worse being more; `None` without so many values on both sides.
    pub fn change(&self, measure: Measure, least: u32) -> Option<f64> {
        let (before, after) = (self.before.get(&measure)?, self.after.get(&measure)?);
        (before.count >= least && after.count >= least).then_some(after.at - before.at)
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Everybody who is watched.
    pub nodes: BTreeMap<NodeId, Watched>,
    /// From when the values since the update are; `None` before.
    pub since: Option<Instant>,
    /// Until when they were taken in.
    pub gathered: Instant,
}

impl Watch {
    /// A wave is about to begin: what its nodes and `others` have told since `from` is what they are held against.
    pub fn begin(
        wave: &[NodeId],
        others: impl Iterator<Item = NodeId>,
        measures: &[Measure],
        from: Instant,
        shape: &Shape,
        evidence: &dyn Evidence,
    ) -> Self {
        let all = wave.iter().map(|id| (*id, true)).chain(others.map(|id| (id, false)));
        let watched = |(id, wave): (NodeId, bool)| {
            let mut node = Watched { wave, parent: shape.parent(id).map(|id| id.0), ..Watched::default() };
            for measure in measures {
                let mut values = places(*measure, evidence.recent(id, *measure), |at| at >= from);
                node.before.entry(*measure).or_default().add(&mut values);
            }
            (id, node)
        };
        Self { nodes: all.map(watched).collect(), since: None, gathered: from }
    }

    /// The wave runs the image: from now on values are of it.
    pub fn start(&mut self, now: Instant) {
        (self.since, self.gathered) = (Some(now), now);
    }

    /// Takes in what nodes have told since the last time.
    pub fn gather(&mut self, now: Instant, measures: &[Measure], evidence: &dyn Evidence) {
        if self.since.is_none() {
            return;
        }
        let from = self.gathered;
        for (id, node) in &mut self.nodes {
            for measure in measures {
                let mut values =
                    places(*measure, evidence.recent(*id, *measure), |at| at > from && at <= now);
                node.after.entry(*measure).or_default().add(&mut values);
            }
            // Of the time since the last look: what was before may be forgotten by a restart of the gateway.
            let more = evidence.restarts(*id, from + core_tick()) as u32;
            node.restarts = node.restarts.saturating_add(more);
        }
        self.gathered = now;
    }

    /// The changes of a value at nodes of the wave, and at those to compare with.
    pub fn changes(&self, measure: Measure, least: u32) -> (Vec<f64>, Vec<f64>) {
        let of = |wave: bool| {
            let nodes = self.nodes.values().filter(move |node| node.wave == wave);
            nodes.filter_map(|node| node.change(measure, least)).collect()
        };
        (of(true), of(false))
    }

    /// How many nodes of the wave told a value so often before.
    pub fn told(&self, measure: Measure, least: u32) -> usize {
        let often = |lie: &Lie| lie.count >= least;
        let told = |node: &&Watched| node.wave && node.before.get(&measure).is_some_and(often);
        self.nodes.values().filter(told).count()
    }

    /// Nodes to compare with, and how many of them are gone for a reason of their own: who hangs behind one that
    /// is gone does not count.
    pub fn others(&self, is_there: impl Fn(NodeId) -> bool) -> (u64, u64) {
        let (mut gone, mut all) = (0, 0);
        for (id, node) in self.nodes.iter().filter(|(_, node)| !node.wave) {
            let Some(parent) = node.parent else { continue };
            if is_there(*id) {
                all += 1;
            } else if is_there(NodeId(parent)) {
                (gone, all) = (gone + 1, all + 1);
            }
        }
        (gone, all)
    }

    /// Nodes that have restarted, of how many, and all their restarts, at most `most` each.
    pub fn restarts(&self, wave: bool, most: u32) -> (u64, u64, u64) {
        let nodes = || self.nodes.values().filter(|node| node.wave == wave && node.parent.is_some());
        let restarted = nodes().filter(|node| node.restarts > 0).count() as u64;
        (restarted, nodes().count() as u64, nodes().map(|node| u64::from(node.restarts.min(most))).sum())
    }
}

/// The smallest step of time: what was at the last look was looked at.
const fn core_tick() -> meshward_core::time::Duration {
    meshward_core::time::Duration::from_micros(1)
}

fn places(measure: Measure, points: Vec<Point>, within: impl Fn(Instant) -> bool) -> Vec<f64> {
    let told = points.into_iter().filter(|point| within(point.at));
    told.filter_map(|point| measure.place(point.value)).collect()
}
