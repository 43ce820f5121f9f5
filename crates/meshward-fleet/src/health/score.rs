//! A score, with every point that is missing explained.

use core::fmt;
use std::collections::BTreeMap;

use meshward_core::time::Duration;
use meshward_core::wire::NodeId;

use crate::anomaly::span;

/// From so many points on all is well.
const OK_FROM: u8 = 80;
/// Below so many somebody must look at once.
const CRITICAL_BELOW: u8 = 50;
/// How often the mean loss of nodes counts for the mesh: with a tenth of the nodes gone it is no longer well.
const MESH_FACTOR: f64 = 2.0;

/// What a score means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is known that would allow for a score.
    Unknown,
    /// 80 points or more.
    Ok,
    /// 50 to 79 points.
    Warning,
    /// Fewer than 50 points.
    Critical,
}

impl Level {
    fn of(points: u8) -> Self {
        match points {
            OK_FROM.. => Self::Ok,
            CRITICAL_BELOW.. => Self::Warning,
            _ => Self::Critical,
        }
    }

    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where something went within the last hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trend {
    /// It is more now.
    Up,
    /// It is less now.
    Down,
    /// It is as it was, or nobody knows.
    #[default]
    Steady,
}

impl Trend {
    pub(super) fn of(change: f64, least: f64) -> Self {
        if change >= least {
            Self::Up
        } else if change <= -least {
            Self::Down
        } else {
            Self::Steady
        }
    }

    /// An arrow.
    pub const fn arrow(self) -> char {
        match self {
            Self::Up => '↑',
            Self::Down => '↓',
            Self::Steady => '→',
        }
    }
}

/// Points that a rule takes away.
#[derive(Clone, Debug, PartialEq)]
pub struct Deduction {
    /// The rule's name.
    pub rule: String,
    /// How many.
    pub points: u8,
    /// Why, in words.
    pub evidence: String,
    /// The signal's value; `None` for a state.
    pub value: Option<f64>,
    /// How old the evidence is; of a state since when it holds.
    pub age: Duration,
    /// Where the value went within the last hour.
    pub trend: Trend,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Deduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "−{} {} ({} ago): {}", self.points, self.evidence, span(self.age), self.advice)
    }
}

/// A value that is too old to count.
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// The rule that would look at it.
    pub rule: String,
    /// What it was.
    pub evidence: String,
    /// How old it is.
    pub age: Duration,
    /// What it would take away.
    pub points: u8,
}

/// How well a node is.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// 0 to 100; `None` when nothing is known.
    pub points: Option<u8>,
    /// What that means.
    pub level: Level,
    /// Whether it gets better or worse.
    pub trend: Trend,
    /// What is missing to 100, the most first; together they can be more than 100.
    pub deductions: Vec<Deduction>,
    /// What is too old to count.
    pub stale: Vec<Stale>,
}

impl Score {
    pub(super) fn of(known: bool, mut deductions: Vec<Deduction>, stale: Vec<Stale>) -> Self {
        deductions.sort_by_key(|deduction| core::cmp::Reverse(deduction.points));
        let lost: u32 = deductions.iter().map(|deduction| u32::from(deduction.points)).sum();
        let points = known.then(|| 100 - lost.min(100) as u8);
        let level = points.map_or(Level::Unknown, Level::of);
        Self { points, level, trend: Trend::Steady, deductions, stale }
    }
}

/// Points that a rule takes away from the mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshDeduction {
    /// The rule's name.
    pub rule: String,
    /// How many.
    pub points: f64,
    /// Nodes that lose points by it; 0 when it is about the mesh itself.
    pub nodes: usize,
    /// The node that loses most, and why; or what is known of the mesh.
    pub worst: Option<NodeId>,
    /// Its evidence.
    pub evidence: String,
    /// What to do there.
    pub advice: String,
}

/// How well a mesh is.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshScore {
    /// 0 to 100.
    pub points: u8,
    /// What that means.
    pub level: Level,
    /// Whether it gets better or worse.
    pub trend: Trend,
    /// Nodes with a score.
    pub nodes: usize,
    /// Nodes at each level.
    pub levels: BTreeMap<Level, usize>,
    /// What is missing to 100, the most first.
    pub deductions: Vec<MeshDeduction>,
}

impl MeshScore {
    pub(super) fn of(scores: &[(NodeId, Score)], states: Vec<Deduction>) -> Self {
        let mut levels = BTreeMap::new();
        for (_, score) in scores {
            *levels.entry(score.level).or_insert(0) += 1;
        }
        let known = scores.iter().filter(|(_, score)| score.points.is_some()).count();
        let mut rules: BTreeMap<&str, (f64, usize, NodeId, &Deduction)> = BTreeMap::new();
        for (node, score) in scores {
            // A node cannot lose more than all it has: what is beyond is shared out among its rules.
            let all: u32 = score.deductions.iter().map(|deduction| u32::from(deduction.points)).sum();
            let share = 100.0 / f64::from(all.max(100));
            for deduction in &score.deductions {
                let sum = rules.entry(&deduction.rule).or_insert((0.0, 0, *node, deduction));
                sum.0 += f64::from(deduction.points) * share;
                sum.1 += 1;
                if deduction.points > sum.3.points {
                    (sum.2, sum.3) = (*node, deduction);
                }
            }
        }
        let mut deductions: Vec<MeshDeduction> = rules
            .into_iter()
            .map(|(rule, (lost, nodes, worst, deduction))| MeshDeduction {
                rule: rule.to_owned(),
                points: MESH_FACTOR * lost / known.max(1) as f64,
                nodes,
                worst: Some(worst),
                evidence: deduction.evidence.clone(),
                advice: deduction.advice.clone(),
            })
            .collect();
        deductions.extend(states.into_iter().map(|state| MeshDeduction {
            rule: state.rule,
            points: f64::from(state.points),
            nodes: 0,
            worst: None,
            evidence: state.evidence,
            advice: state.advice,
        }));
        deductions.sort_by(|one, other| other.points.total_cmp(&one.points));
        let lost: f64 = deductions.iter().map(|deduction| deduction.points).sum();
        let points = (100.0 - lost).round().clamp(0.0, 100.0) as u8;
        let level = if known == 0 { Level::Unknown } else { Level::of(points) };
        Self { points, level, trend: Trend::Steady, nodes: known, levels, deductions }
    }
}
