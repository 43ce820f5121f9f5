//! How well a node is, and a mesh: 100 points, less what rules take away, each with its evidence and advice.
//!
//! A [`Health`] is told [`Condition`]s, and asked for scores: of a node
//! ([`Health::node`]), and of all ([`Health::mesh`]). The rules are data ([`Table`]). A value that is too old takes
//! nothing away, and is named with its age. Of whom nothing is known has no score, and not 100.

mod rules;
mod score;

use std::collections::{BTreeMap, VecDeque};

use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::condition::{Condition, Subject};
use crate::signal::{Signal, View};
pub use rules::{Cause, RULES_MAX, Rule, RuleError, Table, markdown};
pub use score::{Deduction, Level, MeshDeduction, MeshScore, Score, Stale, Trend};

/// Most states that are kept; what comes beyond is dropped and counted.
pub const CONDITIONS_MAX: usize = 20_000;
/// Most nodes whose scores of the last hour are kept.
pub const NODES_MAX: usize = crate::series::NODES_MAX;
/// How often a score is kept for the trend.
const STEP: Duration = Duration::from_secs(300);
/// Scores that are kept for the trend: an hour.
const PAST_MAX: usize = 12;
/// By so many points a score must have changed within the hour to be more than steady.
const TREND_POINTS: i16 = 5;
/// By what share of a rule's ramp a value must have changed within the hour.
const TREND_SHARE: f64 = 0.1;

/// The scores of the last hour.
#[derive(Clone, Debug, Default)]
struct Past {
    scores: VecDeque<(Instant, u8)>,
}

impl Past {
    fn note(&mut self, now: Instant, points: u8) -> Trend {
        if self.scores.back().is_none_or(|(at, _)| now.since(*at) >= STEP) {
            if self.scores.len() == PAST_MAX {
                self.scores.pop_front();
            }
            self.scores.push_back((now, points));
        }
        let first = self.scores.front().map_or(points, |(_, first)| *first);
        Trend::of(f64::from(i16::from(points) - i16::from(first)), f64::from(TREND_POINTS))
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Health {
    table: Table,
    /// What holds, by whom and what it is.
    conditions: BTreeMap<(Subject, String), Condition>,
    past: BTreeMap<Subject, Past>,
    dropped: u64,
}

impl Health {
    /// With these rules.
    pub fn new(table: Table) -> Self {
        Self { table, ..Self::default() }
    }

    /// The rules.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A state began, changed or ended.
    pub fn handle_condition(&mut self, condition: &Condition) {
        let key = (condition.subject, condition.kind.clone().into_owned());
        if !condition.holds {
            self.conditions.remove(&key);
        } else if self.conditions.len() < CONDITIONS_MAX || self.conditions.contains_key(&key) {
            self.conditions.insert(key, condition.clone());
        } else {
            self.dropped += 1;
        }
    }

    /// Forgets a node and its states.
    pub fn forget(&mut self, node: NodeId) {
        self.past.remove(&Subject::Node(node));
        self.conditions.retain(|(subject, _), _| *subject != Subject::Node(node));
    }

    /// States that were not kept.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The score of a node.
    pub fn node(&mut self, now: Instant, view: View<'_>, node: NodeId) -> Score {
        let mut score = self.judge(now, view, node);
        if let Some(points) = score.points {
            score.trend = self.note(Subject::Node(node), now, points);
        }
        score
    }

    /// The score of all: of every node of which something is known.
    pub fn mesh(&mut self, now: Instant, view: View<'_>) -> MeshScore {
        self.all(now, view).0
    }

    /// The score of all, and that of each, in order of id: what both need is reckoned once.
    pub fn all(&mut self, now: Instant, view: View<'_>) -> (MeshScore, Vec<(NodeId, Score)>) {
        let told = self.conditions.keys().filter_map(|(subject, _)| subject.node());
        let mut nodes: Vec<NodeId> = view.store.nodes().chain(told).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let scores: Vec<(NodeId, Score)> =
            nodes.into_iter().map(|node| (node, self.node(now, view, node))).collect();
        let states = self.table.rules.iter().flat_map(|rule| self.state(now, view, rule, Subject::Mesh));
        let mut score = MeshScore::of(&scores, states.collect());
        score.trend = self.note(Subject::Mesh, now, score.points);
        (score, scores)
    }

    fn note(&mut self, subject: Subject, now: Instant, points: u8) -> Trend {
        if self.past.len() >= NODES_MAX && !self.past.contains_key(&subject) {
            return Trend::Steady;
        }
        self.past.entry(subject).or_default().note(now, points)
    }

    fn judge(&self, now: Instant, view: View<'_>, node: NodeId) -> Score {
        let (mut deductions, mut stale, mut known) = (Vec::new(), Vec::new(), false);
        for rule in &self.table.rules {
            match &rule.cause {
                Cause::State(_) => deductions.extend(self.state(now, view, rule, Subject::Node(node))),
                Cause::Signal { signal, from, to } => {
                    let Some(point) = signal.read(view, node, now) else { continue };
                    let points = rule.cost(ramp(point.value, *from, *to));
                    let age = now.since(point.at);
                    // Mostly nothing is to be said: a list of nodes has thousands of values that are well.
                    let evidence = || evidence(rule, *signal, point.value, view, node, now);
                    if age > rule.fresh_for {
                        stale.push(Stale { rule: rule.name.clone(), evidence: evidence(), age, points });
                        continue;
                    }
                    known = true;
                    if points > 0 {
                        deductions.push(Deduction {
                            rule: rule.name.clone(),
                            points,
                            evidence: evidence(),
                            value: Some(point.value),
                            age,
                            trend: direction(view, node, *signal, to - from),
                            advice: advice(rule, view, node),
                        });
                    }
                }
            }
        }
        known |= !deductions.is_empty();
        Score::of(known, deductions, stale)
    }

    /// What a rule on a state takes away from a subject.
    fn state(&self, now: Instant, view: View<'_>, rule: &Rule, subject: Subject) -> Option<Deduction> {
        let Cause::State(kind) = &rule.cause else { return None };
        let condition = self.conditions.get(&(subject, kind.clone()))?;
        let age = now.since(condition.since);
        let evidence = if condition.evidence.is_empty() { kind.clone() } else { condition.evidence.clone() };
        let advice = subject.node().map_or_else(|| rule.advice.clone(), |node| advice(rule, view, node));
        let (points, rule) = (rule.points, rule.name.clone());
        Some(Deduction { rule, points, evidence, value: None, age, trend: Trend::Steady, advice })
    }
}

/// How far a value is from where it costs nothing to where it costs all.
fn ramp(value: f64, from: f64, to: f64) -> f64 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}

fn evidence(rule: &Rule, signal: Signal, value: f64, view: View<'_>, node: NodeId, now: Instant) -> String {
    let mut said = format!("{signal} {}", signal.shown(value));
    for beside in &rule.beside {
        if let Some(point) = beside.read(view, node, now).filter(|point| point.value > 0.0) {
            said.push_str(&format!(" and {beside} {}", beside.shown(point.value)));
        }
    }
    said
}

fn advice(rule: &Rule, view: View<'_>, node: NodeId) -> String {
    let parent = view.store.last(node, Metric::Parent).filter(|last| last.value > 0.0);
    let parent = parent.map_or_else(|| "its parent".to_owned(), |last| format!("node {:.0}", last.value));
    rule.advice.replace("{parent}", &parent)
}

/// Where a signal's metric went within the last hour.
fn direction(view: View<'_>, node: NodeId, signal: Signal, ramp: f64) -> Trend {
    if !matches!(signal, Signal::Level(_) | Signal::Change(_)) {
        return Trend::Steady;
    }
    let means: Vec<f64> =
        view.store.buckets(node, signal.metric()).rev().take(10).map(|bucket| bucket.mean()).collect();
    let Some((late, early)) = means.split_at_checked(means.len() / 2).filter(|(late, _)| late.len() >= 2)
    else {
        return Trend::Steady;
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Trend::of(mean(late) - mean(early), ramp.abs() * TREND_SHARE)
}

#[cfg(test)]
mod tests;
