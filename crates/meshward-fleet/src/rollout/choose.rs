//! Who is in which wave, and why.
//!
//! The canary stands for all: a node of each kind of board, role and depth, as far as its size goes; of those
//! the ones behind which the fewest hang, the healthiest first, and those that can go back. Never a node together
//! with one behind it, and never the only way of many, unless it was named. In waves leaves come before relays.
//! The choice is the same for the same mesh, and says of each node why.

use std::collections::{BTreeMap, BTreeSet};

use meshward_core::wire::{NodeId, Tree};

use super::check::Mistake;
use super::plan::{RolloutPlan, Selector, Size};
use crate::deployment::Family;

/// Nobody is a canary of its own accord behind whom more hang than this share of the mesh.
const BEHIND_SHARE: usize = 20;

/// What is known of a node when waves are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// How it takes updates; `None` while that is not known.
    pub family: Option<Family>,
    /// What its firmware is for.
    pub role: Option<String>,
    /// Its board.
    pub hardware: Option<String>,
    /// What its firmware calls itself.
    pub version: Option<String>,
    /// Words by which people choose nodes.
    pub tags: BTreeSet<String>,
    /// Its health, of 100.
    pub health: Option<u8>,
    /// What is left in its battery, in per cent.
    pub battery_percent: Option<f64>,
    /// The voltage of its supply, in mV.
    pub supply_mv: Option<f64>,
}

impl Selector {
    /// Whether it means this node.
    pub fn matches(&self, node: NodeId, facts: &Facts) -> bool {
        let one_of = |names: &[String], told: &Option<String>| {
            names.is_empty() || told.as_ref().is_some_and(|told| names.contains(told))
        };
        one_of(&self.roles, &facts.role)
            && one_of(&self.hardware, &facts.hardware)
            && one_of(&self.versions, &facts.version)
            && self.tags.iter().all(|tag| facts.tags.contains(tag))
            && (self.nodes.is_empty() || self.nodes.contains(&node.0))
            && !self.except.contains(&node.0)
    }
}

/// How nodes hang together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    parents: BTreeMap<NodeId, NodeId>,
    depths: BTreeMap<NodeId, u32>,
    below: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

impl Shape {
    /// Of this tree, the gateway at its top.
    pub fn of(tree: &Tree) -> Self {
        let mut shape = Self::default();
        for (id, depth, above) in tree.depths() {
            shape.depths.insert(id, depth);
            shape.below.entry(id).or_default();
            // The first time counts: in a tree that makes no sense a node may stand twice.
            if let Some(above) = above.filter(|above| *above != id)
                && !shape.parents.contains_key(&id)
            {
                shape.parents.insert(id, above);
            }
        }
        let parents = shape.parents.clone();
        for id in parents.keys() {
            for above in ancestors(&parents, *id) {
                shape.below.entry(above).or_default().insert(*id);
            }
        }
        shape
    }

    /// Whether it is in the mesh.
    pub fn knows(&self, node: NodeId) -> bool {
        self.depths.contains_key(&node)
    }

    /// How many nodes there are, the gateway included.
    pub fn len(&self) -> usize {
        self.depths.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.depths.is_empty()
    }

    /// Who hangs behind it, at any distance.
    pub fn below(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.below.get(&node).into_iter().flatten().copied()
    }

    /// How many hang behind it.
    pub fn below_count(&self, node: NodeId) -> usize {
        self.below.get(&node).map_or(0, BTreeSet::len)
    }

    /// Hops from the gateway; 0 for who is not there.
    pub fn depth(&self, node: NodeId) -> u32 {
        self.depths.get(&node).copied().unwrap_or(0)
    }

    /// The node one hop nearer to the gateway.
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        self.parents.get(&node).copied()
    }

    /// Whether one hangs behind the other.
    fn related(&self, one: NodeId, other: NodeId) -> bool {
        let behind = |node, of| self.below.get(&of).is_some_and(|below| below.contains(&node));
        behind(one, other) || behind(other, one)
    }
}

fn ancestors(parents: &BTreeMap<NodeId, NodeId>, node: NodeId) -> Vec<NodeId> {
    let mut above = Vec::new();
    let mut at = node;
    while let Some(next) = parents.get(&at).copied().filter(|next| !above.contains(next)) {
        above.push(next);
        at = next;
    }
    above
}

/// A node in a wave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub node: NodeId,
    /// Why it is there, in words that follow its id.
    pub why: String,
}

/// Nodes of one kind stand for one another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    hardware: Option<String>,
    role: Option<String>,
    /// 1, 2 to 3, or more hops.
    depth: u8,
}

impl Class {
    fn of(node: NodeId, facts: &Facts, shape: &Shape) -> Self {
        let depth = match shape.depth(node) {
            0..=1 => 0,
            2..=3 => 1,
            _ => 2,
        };
        Self { hardware: facts.hardware.clone(), role: facts.role.clone(), depth }
    }

    fn words(&self) -> String {
        let depth = match self.depth {
            0 => "next to the gateway",
            1 => "two or three hops away",
            _ => "four hops away or more",
        };
        let named = [&self.hardware, &self.role].into_iter().flatten().map(String::as_str);
        let named: Vec<&str> = named.collect();
        if named.is_empty() { depth.to_owned() } else { format!("{} {depth}", named.join(" ")) }
    }
}

/// The order in which nodes of a class are taken.
fn rank(node: NodeId, facts: &Facts, shape: &Shape) -> (bool, usize, u8, NodeId) {
    let stays = facts.family != Some(Family::Meshward);
    // Of whom nothing is known is neither well nor ill.
    (stays, shape.below_count(node), 100 - facts.health.unwrap_or(50).min(100), node)
}

/// The first nodes of a roll-out among these.
fn canaries(size: usize, nodes: &BTreeMap<NodeId, &Facts>, shape: &Shape) -> Vec<Chosen> {
    let most_behind = shape.len() / BEHIND_SHARE;
    let mut classes: BTreeMap<Class, Vec<NodeId>> = BTreeMap::new();
    for (id, facts) in nodes {
        classes.entry(Class::of(*id, facts, shape)).or_default().push(*id);
    }
    let mut classes: Vec<(Class, Vec<NodeId>)> = classes.into_iter().collect();
    for (_, ids) in &mut classes {
        ids.sort_by_key(|id| nodes.get(id).map(|facts| rank(*id, facts, shape)));
    }
    // The largest first, so that a small canary stands for as many as it can.
    classes.sort_by_key(|(class, ids)| (std::cmp::Reverse(ids.len()), class.clone()));
    let mut taken: Vec<Chosen> = Vec::new();
    // First without those on whom many depend; then, if there is nobody else, with them.
    for most in [most_behind, usize::MAX] {
        loop {
            let before = taken.len();
            for (class, ids) in &classes {
                let free = |id: &&NodeId| {
                    !taken.iter().any(|one| one.node == **id || shape.related(one.node, **id))
                        && shape.below_count(**id) <= most
                };
                if taken.len() < size
                    && let Some(id) = ids.iter().find(free)
                {
                    taken.push(Chosen { node: *id, why: explain(*id, class, ids.len(), nodes, shape) });
                }
            }
            if taken.len() == before {
                break;
            }
        }
    }
    taken
}

fn explain(
    node: NodeId,
    class: &Class,
    of: usize,
    nodes: &BTreeMap<NodeId, &Facts>,
    shape: &Shape,
) -> String {
    let behind = match shape.below_count(node) {
        0 => "a leaf".to_owned(),
        count => format!("a relay of {count}"),
    };
    let health = nodes.get(&node).and_then(|facts| facts.health);
    let health = health.map_or("of unknown health".to_owned(), |health| format!("health {health}"));
    format!("stands for {of} ({}); {behind}, {health}", class.words())
}

/// What becomes of a plan in a mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// The canary, then the waves; none is empty.
    pub waves: Vec<Vec<Chosen>>,
    /// Who was meant and is in no wave, and why.
    pub left_out: Vec<Chosen>,
    /// What somebody should know before it starts.
    pub notes: Vec<String>,
}

impl Roster {
    /// Who is in which wave.
    pub fn wave_of(&self, node: NodeId) -> Option<usize> {
        self.waves.iter().position(|wave| wave.iter().any(|one| one.node == node))
    }
}

/// Puts nodes into waves. `facts` are those who may be chosen; a plan that makes no sense for them is refused.
pub(super) fn roster(
    plan: &RolloutPlan,
    facts: &BTreeMap<NodeId, Facts>,
    shape: &Shape,
) -> Result<Roster, Vec<Mistake>> {
    let mut roster = Roster::default();
    let mut nodes: BTreeMap<NodeId, &Facts> = BTreeMap::new();
    for (id, facts) in facts.iter().filter(|(id, facts)| plan.select.matches(**id, facts)) {
        match too_weak(plan, facts) {
            Some(why) => roster.left_out.push(Chosen { node: *id, why }),
            None => drop(nodes.insert(*id, facts)),
        }
    }
    if nodes.is_empty() {
        return Err(vec![Mistake::new("select", &"nobody", "at least one node that can take the image")]);
    }
    let all = nodes.len();
    let canary = if plan.canary.nodes.is_empty() {
        // Somebody must be left to compare with, and to be spared.
        canaries(plan.canary.size.of(all, all).min(all.div_ceil(2)).max(1), &nodes, shape)
    } else {
        let named = plan.canary.nodes.iter().map(|id| NodeId(*id)).filter(|id| nodes.contains_key(id));
        let named: BTreeSet<NodeId> = named.collect();
        named.into_iter().map(|node| Chosen { node, why: "was named".to_owned() }).collect()
    };
    let mut left: BTreeMap<NodeId, &Facts> = nodes.clone();
    left.retain(|id, _| !canary.iter().any(|one| one.node == *id));
    roster.waves.push(canary);
    let (owners, mut mistakes) = owners(plan, &nodes);
    fill(plan, (all, &owners), &mut left, shape, &mut roster, &mut mistakes);
    for id in left.keys() {
        let why = "is in no wave of the plan".to_owned();
        roster.left_out.push(Chosen { node: *id, why });
    }
    if mistakes.is_empty() { Ok(roster) } else { Err(mistakes) }
}

/// Puts those into waves who can take the image. What the plan says of nodes that cannot counts no more.
///
/// # Errors
/// What makes no sense then: nobody is left, or selectors mean nobody.
pub fn place(
    plan: &RolloutPlan,
    ready: &BTreeMap<NodeId, Facts>,
    shape: &Shape,
) -> Result<Roster, Vec<Mistake>> {
    let mut plan = plan.clone();
    let known = |id: &u32| ready.contains_key(&NodeId(*id));
    let selectors = plan.waves.iter_mut().map(|wave| &mut wave.select);
    for list in selectors.chain([&mut plan.select]).map(|select| &mut select.nodes) {
        let named = !list.is_empty();
        list.retain(known);
        if named && list.is_empty() {
            // It means nobody, and not everybody.
            list.push(u32::MAX);
        }
    }
    plan.canary.nodes.retain(known);
    roster(&plan, ready, shape)
}

/// Who is meant by the selector of which wave. Who is meant by several is a mistake.
fn owners(plan: &RolloutPlan, nodes: &BTreeMap<NodeId, &Facts>) -> (BTreeMap<NodeId, usize>, Vec<Mistake>) {
    let (mut owners, mut mistakes) = (BTreeMap::new(), Vec::new());
    for (id, facts) in nodes {
        let choosy = plan.waves.iter().enumerate().filter(|(_, wave)| !wave.select.is_empty());
        let mut meant = choosy.filter(|(_, wave)| wave.select.matches(*id, facts)).map(|(at, _)| at);
        let Some(one) = meant.next() else { continue };
        owners.insert(*id, one);
        if let Some(other) = meant.next() {
            let wanted = format!("nodes that waves[{one}].select does not choose too");
            let field = format!("waves[{other}].select");
            mistakes.push(Mistake::new(&field, &format!("node {id}"), &wanted));
        }
    }
    (owners, mistakes)
}

/// The waves after the canary.
fn fill(
    plan: &RolloutPlan,
    (all, owners): (usize, &BTreeMap<NodeId, usize>),
    left: &mut BTreeMap<NodeId, &Facts>,
    shape: &Shape,
    roster: &mut Roster,
    mistakes: &mut Vec<Mistake>,
) {
    for (at, wave) in plan.waves.iter().enumerate() {
        let choosy = !wave.select.is_empty();
        let mut mine: Vec<NodeId> = left.keys().copied().collect();
        mine.retain(|id| if choosy { owners.get(id) == Some(&at) } else { !owners.contains_key(id) });
        mine.sort_by_key(|id| (shape.below_count(*id), std::cmp::Reverse(shape.depth(*id)), *id));
        let of = if choosy { mine.len() } else { all };
        mine.truncate(wave.size.of(of, mine.len()));
        if mine.is_empty() {
            if choosy && mistakes.is_empty() {
                let wanted = "a selector that means somebody who is not in the canary";
                mistakes.push(Mistake::new(&format!("waves[{at}].select"), &"nobody", wanted));
            } else if wave.size != Size::Rest {
                roster.notes.push(format!("waves[{at}] has no node left, and is passed over"));
            }
            continue;
        }
        let why = |id: NodeId| match shape.below_count(id) {
            0 => format!("a leaf at depth {}", shape.depth(id)),
            count => format!("a relay of {count} at depth {}", shape.depth(id)),
        };
        left.retain(|id, _| !mine.contains(id));
        roster.waves.push(mine.into_iter().map(|node| Chosen { node, why: why(node) }).collect());
    }
}

/// Why a node has too little power for the plan.
pub(super) fn too_weak(plan: &RolloutPlan, facts: &Facts) -> Option<String> {
    let below = |told: Option<f64>, least: Option<u32>, what: &str, unit: &str| {
        let (told, least) = (told?, least?);
        (told < f64::from(least))
            .then(|| format!("has {told:.0} {unit} of {what}, and the plan wants {least} at least"))
    };
    below(facts.battery_percent, plan.power.battery_percent_least, "battery", "%")
        .or_else(|| below(facts.supply_mv, plan.power.supply_mv_least, "supply", "mV"))
}
