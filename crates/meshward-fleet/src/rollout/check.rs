//! Whether a plan makes sense, by itself and in a mesh, before anything is sent.
//!
//! Each mistake names the field, its value and what would be right. All are found at once.

use core::fmt;
use std::collections::BTreeMap;

use meshward_core::wire::NodeId;

use super::choose::{Facts, Roster, Shape, roster};
use super::plan::{GATES_MAX, Gate, RolloutPlan, SELECTOR_MAX, Selector, Size, WAVES_MAX, WINDOWS_MAX};

/// Most mistakes that are told at once.
const MISTAKES_MAX: usize = 20;
/// How often nodes tell their values, at the oftenest that is usual.
const REPORT_S: u64 = 30;

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The field's path.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// What would be right.
    pub wanted: String,
}

impl Mistake {
    pub(super) fn new(field: &str, value: &dyn fmt::Display, wanted: &str) -> Self {
        Self { field: field.to_owned(), value: value.to_string(), wanted: wanted.to_owned() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: it is {}, and should be {}", self.field, self.value, self.wanted)
    }
}

/// Whether a plan makes sense by itself.
///
/// # Errors
/// What does not.
pub fn check(plan: &RolloutPlan) -> Result<(), Vec<Mistake>> {
    let mut found = Vec::new();
    let mut within = |field: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            found.push(Mistake::new(field, &value, &format!("from {least} to {most}")));
        }
    };
    within("waves", plan.waves.len() as u64, 0, WAVES_MAX as u64);
    within("gates", plan.gates.len() as u64, 0, GATES_MAX as u64);
    within("windows", plan.windows.len() as u64, 0, WINDOWS_MAX as u64);
    within("soak.looks", plan.soak.looks.into(), 1, 50);
    within("soak.soak_s", plan.soak.soak_s.into(), 0, 7 * 86_400);
    within("soak.patience_s", plan.soak.patience_s.into(), 0, 7 * 86_400);
    within("soak.baseline_s", plan.soak.baseline_s.into(), 0, 86_400);
    within("approval_s", plan.approval_s.into(), 60, 90 * 86_400);
    within("restart.away_percent_most", plan.restart.away_percent_most.into(), 1, 100);
    within("restart.away_s_most", plan.restart.away_s_most.into(), 30, 3_600);
    within("retry.attempts", plan.retry.attempts.into(), 1, 5);
    within("retry.pause_s", plan.retry.pause_s.into(), 0, 3_600);
    for (at, wave) in plan.waves.iter().enumerate() {
        within(&format!("waves[{at}].soak_s"), wave.soak_s.unwrap_or(0).into(), 0, 7 * 86_400);
    }
    within("canary.soak_s", plan.canary.soak_s.unwrap_or(0).into(), 0, 7 * 86_400);
    if !(0.5..=0.9999).contains(&plan.confidence) {
        found.push(Mistake::new("confidence", &plan.confidence, "from 0.5 to 0.9999"));
    }
    check_sizes(plan, &mut found);
    check_gates(plan, &mut found);
    for (at, window) in plan.windows.iter().enumerate().filter(|(_, window)| window.from == window.until) {
        let wanted = "later than from; without windows waves begin at any time";
        found.push(Mistake::new(&format!("windows[{at}].until"), &String::from(window.until), wanted));
    }
    found.truncate(MISTAKES_MAX);
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn check_sizes(plan: &RolloutPlan, found: &mut Vec<Mistake>) {
    let is_empty = |size: Size| matches!(size, Size::Count(0) | Size::Percent(0));
    let written = |size: Size| match size {
        Size::Count(count) => count.to_string(),
        Size::Percent(percent) => format!("{percent} %"),
        Size::Rest => "rest".to_owned(),
    };
    if plan.canary.nodes.is_empty() && (is_empty(plan.canary.size) || plan.canary.size == Size::Rest) {
        let wanted = "a number of nodes or a share, more than none and less than all";
        found.push(Mistake::new("canary.size", &written(plan.canary.size), wanted));
    }
    let mut rest = None;
    for (at, wave) in plan.waves.iter().enumerate() {
        let field = format!("waves[{at}].size");
        if is_empty(wave.size) {
            found.push(Mistake::new(&field, &written(wave.size), "at least one node"));
        } else if let Some(before) = rest.filter(|_| wave.select.is_empty()) {
            let wanted = format!("left out: waves[{before}] takes all the rest");
            found.push(Mistake::new(&field, &written(wave.size), &wanted));
        }
        if wave.size == Size::Rest && wave.select.is_empty() {
            rest = rest.or(Some(at));
        }
        check_selector(&format!("waves[{at}].select"), &wave.select, found);
    }
    check_selector("select", &plan.select, found);
    check_ids("canary.nodes", &plan.canary.nodes, found);
}

fn check_selector(field: &str, selector: &Selector, found: &mut Vec<Mistake>) {
    for (name, list) in [
        ("roles", &selector.roles),
        ("hardware", &selector.hardware),
        ("versions", &selector.versions),
        ("tags", &selector.tags),
    ] {
        if list.len() > SELECTOR_MAX {
            let wanted = format!("at most {SELECTOR_MAX}");
            found.push(Mistake::new(&format!("{field}.{name}"), &list.len(), &wanted));
        }
    }
    check_ids(&format!("{field}.nodes"), &selector.nodes, found);
    check_ids(&format!("{field}.except"), &selector.except, found);
    if let Some(both) = selector.nodes.iter().find(|id| selector.except.contains(id)) {
        let wanted = format!("a node that is not in {field}.nodes");
        found.push(Mistake::new(&format!("{field}.except"), both, &wanted));
    }
}

fn check_ids(field: &str, ids: &[u32], found: &mut Vec<Mistake>) {
    if ids.len() > SELECTOR_MAX {
        found.push(Mistake::new(field, &ids.len(), &format!("at most {SELECTOR_MAX}")));
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = ids.iter().find(|id| **id == 0 || !seen.insert(**id)) {
        found.push(Mistake::new(field, twice, "the id of a node, once"));
    }
}

fn check_gates(plan: &RolloutPlan, found: &mut Vec<Mistake>) {
    let mut names = BTreeMap::new();
    for (at, gate) in plan.gates.iter().enumerate() {
        let field = |name: &str| format!("gates[{at}].{name}");
        if let Some(before) = names.insert(gate.name(), at) {
            let wanted = format!("another kind: gates[{before}] is one already");
            found.push(Mistake::new(&field("kind"), &gate.name(), &wanted));
        }
        match gate {
            Gate::Success { percent_least, failures_least } => {
                if !(0.0..=100.0).contains(percent_least) {
                    found.push(Mistake::new(&field("percent_least"), percent_least, "from 0 to 100"));
                }
                if *failures_least == 0 {
                    found.push(Mistake::new(&field("failures_least"), &0, "at least 1"));
                }
            }
            Gate::Value { measure, worse_most, nodes_least, samples_least } => {
                let most = if measure.more_is_worse() { 10_000.0 } else { 95.0 };
                if !(*worse_most > 0.0 && *worse_most <= most) {
                    let wanted = format!("more than 0, and at most {most}");
                    found.push(Mistake::new(&field("worse_most"), worse_most, &wanted));
                }
                if *nodes_least == 0 {
                    found.push(Mistake::new(&field("nodes_least"), &0, "at least 1"));
                }
                check_samples(plan, &field("samples_least"), *samples_least, found);
            }
            Gate::Faults { .. } | Gate::Failures {} | Gate::Restarts {} => {}
        }
    }
}

/// A gate that wants more values than a node can tell never passes.
fn check_samples(plan: &RolloutPlan, field: &str, least: u32, found: &mut Vec<Mistake>) {
    let waves = 0..=plan.waves.len();
    let shortest = waves.map(|wave| plan.soak_s(wave)).min().unwrap_or(plan.soak.soak_s);
    let most = (u64::from(shortest) + u64::from(plan.soak.patience_s)) / REPORT_S;
    if least < 2 || u64::from(least) > most.max(2) {
        let wanted = format!(
            "from 2 to {}: nodes tell a value each {REPORT_S} s, and the shortest soak and its patience last {} s",
            most.max(2),
            u64::from(shortest) + u64::from(plan.soak.patience_s),
        );
        found.push(Mistake::new(field, &least, &wanted));
    }
}

/// Puts a plan's nodes into waves. `facts` are all nodes that are known; `taken` those in another roll-out, by its
/// name.
///
/// # Errors
/// What makes no sense in this mesh: nodes that do not exist, selectors that overlap or mean nobody, gates
/// that no wave can satisfy, nodes of another roll-out.
pub fn resolve(
    plan: &RolloutPlan,
    facts: &BTreeMap<NodeId, Facts>,
    shape: &Shape,
    taken: &BTreeMap<NodeId, String>,
) -> Result<Roster, Vec<Mistake>> {
    check(plan)?;
    let mut found = Vec::new();
    let mut lists = vec![("select.nodes".to_owned(), &plan.select.nodes)];
    lists.push(("canary.nodes".to_owned(), &plan.canary.nodes));
    for (at, wave) in plan.waves.iter().enumerate() {
        lists.push((format!("waves[{at}].select.nodes"), &wave.select.nodes));
    }
    for (field, ids) in lists {
        for id in ids.iter().filter(|id| !facts.contains_key(&NodeId(**id))) {
            found.push(Mistake::new(&field, id, "a node that is known"));
        }
    }
    for id in &plan.canary.nodes {
        let known = facts.get(&NodeId(*id));
        if known.is_some_and(|facts| !plan.select.matches(NodeId(*id), facts)) {
            found.push(Mistake::new("canary.nodes", id, "a node that select means too"));
        }
    }
    let meant = facts.iter().filter(|(id, facts)| plan.select.matches(**id, facts));
    for (id, other) in meant.filter_map(|(id, _)| Some((id, taken.get(id)?))) {
        let wanted =
            format!("nodes that no other roll-out has: {id} is in {other:?}; except would leave it out");
        found.push(Mistake::new("select", &format!("node {id}"), &wanted));
    }
    if !found.is_empty() {
        found.truncate(MISTAKES_MAX);
        return Err(found);
    }
    let mut roster = roster(plan, facts, shape)?;
    let found = hold_against(plan, &mut roster);
    if found.is_empty() { Ok(roster) } else { Err(found) }
}

/// Gates against the waves that came of the plan.
fn hold_against(plan: &RolloutPlan, roster: &mut Roster) -> Vec<Mistake> {
    let largest = roster.waves.iter().map(Vec::len).max().unwrap_or(0);
    let mut found = Vec::new();
    for (at, gate) in plan.gates.iter().enumerate() {
        let (name, least) = match gate {
            Gate::Value { nodes_least, .. } => ("nodes_least", *nodes_least),
            Gate::Success { failures_least, .. } => ("failures_least", *failures_least),
            _ => continue,
        };
        // In a mesh of one there is nothing to compare; whatever a plan says, that is not its mistake.
        if least as usize > largest.max(2) {
            let wanted = format!("at most {largest}: no wave has more nodes, so the gate could never decide");
            found.push(Mistake::new(&format!("gates[{at}].{name}"), &least, &wanted));
            continue;
        }
        for (wave, nodes) in roster.waves.iter().enumerate().filter(|(_, wave)| wave.len() < least as usize) {
            let (gate, count) = (gate.name(), nodes.len());
            let note = format!("{gate} does not judge {}: it has {count} of {least} nodes", wave_name(wave));
            roster.notes.push(note);
        }
    }
    found
}

/// What a wave is called; 0 is the canary.
pub fn wave_name(wave: usize) -> String {
    if wave == 0 { "the canary".to_owned() } else { format!("wave {wave}") }
}
