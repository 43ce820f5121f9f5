//! A mesh that is made up: a deployment that does what it is told, nodes that behave as a test says, and values with
//! the noise of simulated statistics. No frames, no image. Round trips are known only of nodes that were probed.
//!
//! Free heap varies by 3 % within a node and 10 % between nodes, round trips by 25 and 40 %, signal strength by 3
//! and 12 dB. A quarter of the variance within a node is slow (it forgets half in seven minutes), one round trip
//! in a hundred takes five times as long, one report in fifty is lost, and nodes restart once a day for no bad reason.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, Tree};
use meshward_fleet::deployment::{Family, Phase, Revert, Standing, State, Why};
use meshward_fleet::memory::{Moment, Stamp};
use meshward_fleet::rollout::{
    Decision, Effect, Evidence, Facts, Measure, NodeSeen, PROBED_MAX, Rollout, RolloutMemory, RolloutPlan,
    Seen, Shape,
};
use meshward_fleet::series::Point;

pub(crate) const TICK: Duration = Duration::from_secs(30);
const MEASURES: [Measure; 4] = [Measure::FreeHeap, Measure::RoundTrip, Measure::Rssi, Measure::MessagesSent];
/// Level, spread between nodes, spread within one. In logarithms but for the strength.
const NOISE: [(f64, f64, f64); 4] =
    [(160_000.0, 0.10, 0.03), (60.0, 0.40, 0.25), (-62.0, 12.0, 3.0), (0.2, 0.3, 0.1)];
/// Civil time at the beginning: a Sunday, 17:00.
const CIVIL: u64 = 1_795_971_600_000;

/// What an image does to a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Image {
    Healthy,
    /// Goes back on trial, for this reason.
    GoesBack(u8),
    /// Cannot join: away until the trial's limit, then back on the old image.
    CannotJoin,
    /// Restarts every so many seconds, once it counts.
    Loops(u64),
    /// A value is this many times what it was.
    Times(Measure, f64),
}

#[derive(Clone, Debug)]
struct Model {
    family: Family,
    state: State,
    standing: Standing,
    released: Option<Instant>,
    revert: Option<(Instant, Revert)>,
    /// Not in the mesh until then.
    away_until: Option<Instant>,
    levels: [f64; 4],
    slow: [f64; 4],
    values: [VecDeque<Point>; 4],
    restarts: Vec<Instant>,
    /// When its round trip was asked for.
    probed: Instant,
    obeys_at: u32,
    told: u32,
}

fn unit(rng: &mut Rng) -> f64 {
    (rng.below(1 << 53) as f64 + 0.5) / (1_u64 << 53) as f64
}

fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * unit(rng).ln()).sqrt() * (std::f64::consts::TAU * unit(rng)).cos()
}

/// See the module's page.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: Instant,
    rng: Rng,
    pub(crate) shape: Shape,
    parents: BTreeMap<NodeId, NodeId>,
    nodes: BTreeMap<NodeId, Model>,
    pub(crate) facts: BTreeMap<NodeId, Facts>,
    pub(crate) phase: Phase,
    /// Another roll-out that restarts nodes of this mesh.
    pub(crate) elsewhere: Option<String>,
    paused: bool,
    quarantined: Option<Instant>,
    pub(crate) image: Image,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) effects: Vec<Effect>,
    /// The most who were away at once, by the shape at the beginning.
    pub(crate) away_most: usize,
    /// Nodes that others took away: until when.
    noisy: bool,
}

/// Nodes 2, 3, … below a gateway 1, each below one before it with room.
pub(crate) fn tree(parents: &[usize]) -> Tree {
    fn branch(of: usize, parents: &[usize]) -> Tree {
        let mut tree = Tree::leaf(NodeId(of as u32 + 1));
        for (child, _) in parents.iter().enumerate().filter(|(_, parent)| **parent == of) {
            tree.graft(&branch(child + 1, parents));
        }
        tree
    }
    branch(0, parents)
}

pub(crate) fn random_parents(nodes: usize, fan_out: usize, rng: &mut Rng) -> Vec<usize> {
    let mut children = vec![0; nodes + 1];
    (0..nodes)
        .map(|index| {
            loop {
                let parent = rng.below(index as u64 + 1) as usize;
                if children[parent] < fan_out {
                    children[parent] += 1;
                    break parent;
                }
            }
        })
        .collect()
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize, image: Image) -> Self {
        let mut rng = Rng::new(seed);
        let parents = random_parents(nodes, 4, &mut rng);
        Self::with_parents(seed, &parents, image)
    }

    pub(crate) fn with_parents(seed: u64, parents: &[usize], image: Image) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let ids: Vec<NodeId> = (0..parents.len()).map(|at| NodeId(at as u32 + 2)).collect();
        let model = |rng: &mut Rng| Model {
            family: Family::Meshward,
            state: State::Ready,
            standing: Standing::Old,
            released: None,
            revert: None,
            away_until: None,
            levels: core::array::from_fn(|at| {
                let (level, between, _) = NOISE[at];
                if at == 2 {
                    level + between / 2.0 * normal(rng)
                } else {
                    level * (between * normal(rng)).exp()
                }
            }),
            slow: [0.0; 4],
            values: Default::default(),
            restarts: Vec::new(),
            probed: Instant::ORIGIN,
            obeys_at: 1,
            told: 0,
        };
        let facts = Facts {
            family: Some(Family::Meshward),
            role: Some("sensor".to_owned()),
            hardware: Some("ESP32".to_owned()),
            ..Facts::default()
        };
        Self {
            now: Instant::ORIGIN + Duration::from_secs(3_600),
            shape: Shape::of(&tree(parents)),
            parents: ids.iter().zip(parents).map(|(id, parent)| (*id, NodeId(*parent as u32 + 1))).collect(),
            nodes: ids.iter().map(|id| (*id, model(&mut rng))).collect(),
            facts: ids.iter().map(|id| (*id, facts.clone())).collect(),
            phase: Phase::Held,
            elsewhere: None,
            paused: false,
            quarantined: None,
            image,
            decisions: Vec::new(),
            effects: Vec::new(),
            away_most: 0,
            noisy: true,
            rng,
        }
    }

    /// Nothing happens by chance.
    pub(crate) fn quiet(mut self) -> Self {
        self.noisy = false;
        self
    }

    pub(crate) fn stock(mut self, ids: impl Iterator<Item = u32>) -> Self {
        for id in ids.map(NodeId) {
            let node = self.nodes.get_mut(&id).unwrap();
            (node.family, node.standing) = (Family::Stock, Standing::Unknown);
            self.facts.get_mut(&id).unwrap().family = Some(Family::Stock);
        }
        self
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now, civil: Stamp(CIVIL + self.now.as_micros() / 1_000) }
    }

    /// A node starts the image only when it is told for the `times`th time.
    pub(crate) fn obeys_at(&mut self, id: u32, times: u32) {
        self.nodes.get_mut(&NodeId(id)).unwrap().obeys_at = times;
    }

    /// A node is out of the mesh for so long.
    pub(crate) fn take_away(&mut self, id: u32, span: Duration) {
        let until = self.now + span;
        self.nodes.get_mut(&NodeId(id)).unwrap().away_until = Some(until);
    }

    pub(crate) fn running(&self, wanted: bool) -> Vec<u32> {
        let runs = |node: &Model| matches!(node.standing, Standing::Trial | Standing::Confirmed);
        self.nodes.iter().filter(|(_, node)| runs(node) == wanted).map(|(id, _)| id.0).collect()
    }

    pub(crate) fn told(&self) -> BTreeSet<u32> {
        self.nodes.iter().filter(|(_, node)| node.told > 0).map(|(id, _)| id.0).collect()
    }

    fn is_there(&self, id: NodeId) -> bool {
        let mut at = id;
        loop {
            match self.nodes.get(&at) {
                None => return true,
                Some(node) if node.away_until.is_some() => return false,
                Some(_) => at = self.parents[&at],
            }
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        let there: BTreeSet<NodeId> = self.nodes.keys().copied().filter(|id| self.is_there(*id)).collect();
        let nodes = self.nodes.iter().map(|(id, node)| {
            let seen = NodeSeen {
                family: Some(node.family),
                state: node.state.clone(),
                released: node.released.is_some(),
                retriable: matches!(node.state, State::Failed(Why::Disobeyed)) && there.contains(id),
                standing: node.standing,
                revert: node.revert.as_ref().map(|(_, revert)| revert.clone()),
            };
            (*id, seen)
        });
        Seen {
            moment: self.moment(),
            phase: self.phase,
            paused: self.paused,
            quarantined: self.quarantined.is_some_and(|at| self.now.since(at) >= Duration::from_secs(20)),
            elsewhere: self.elsewhere.clone(),
            nodes: nodes.collect(),
            shape: self.shape_now(&there),
            facts: self.facts.clone(),
        }
    }

    fn shape_now(&self, there: &BTreeSet<NodeId>) -> Shape {
        if there.len() == self.nodes.len() {
            return self.shape.clone();
        }
        let mut parents = Vec::new();
        let mut place = BTreeMap::from([(NodeId(1), 0)]);
        let mut ids = vec![NodeId(1)];
        for id in self.parents.keys().filter(|id| there.contains(id)) {
            place.insert(*id, ids.len());
            ids.push(*id);
            parents.push(place[&self.parents[id]]);
        }
        fn branch(of: usize, parents: &[usize], ids: &[NodeId]) -> Tree {
            let mut tree = Tree::leaf(ids[of]);
            for (child, _) in parents.iter().enumerate().filter(|(_, parent)| **parent == of) {
                tree.graft(&branch(child + 1, parents, ids));
            }
            tree
        }
        Shape::of(&branch(0, &parents, &ids))
    }

    /// Half a minute passes.
    pub(crate) fn tick(&mut self) {
        self.now = self.now + TICK;
        let (now, image, noisy) = (self.now, self.image, self.noisy);
        for node in self.nodes.values_mut() {
            node.behave(now, image);
            if noisy && self.rng.below(2_880) == 0 {
                node.restarts.push(now);
            }
            // Now and then somebody trips over a plug.
            if noisy && node.away_until.is_none() && self.rng.below(40_000) == 0 {
                node.away_until = Some(now + Duration::from_secs(120));
            }
        }
        let there: Vec<NodeId> = self.nodes.keys().copied().filter(|id| self.is_there(*id)).collect();
        self.away_most = self.away_most.max(self.nodes.len() - there.len());
        for id in there {
            let node = self.nodes.get_mut(&id).unwrap();
            node.tell(now, image, &mut self.rng);
        }
    }

    /// What is to be done is done.
    pub(crate) fn carry_out(&mut self, effect: &Effect) {
        let now = self.now;
        match effect {
            Effect::Activate(ids) | Effect::Retry(ids) => {
                assert!(self.phase != Phase::Finished || matches!(effect, Effect::Retry(_)), "{effect:?}");
                for id in ids {
                    let node = self.nodes.get_mut(id).unwrap();
                    if node.released.is_none() || matches!(effect, Effect::Retry(_)) {
                        (node.released, node.told, node.state) = (Some(now), node.told + 1, State::Finishing);
                    }
                }
            }
            Effect::Probe(ids) => {
                assert!(ids.len() <= PROBED_MAX);
                for id in ids {
                    self.nodes.get_mut(id).unwrap().probed = now;
                }
            }
            Effect::Pause => self.paused = true,
            Effect::Resume => self.paused = false,
            Effect::Stop => {
                self.phase = Phase::Finished;
                for node in self.nodes.values_mut().filter(|node| !node.state.is_final()) {
                    node.state = State::Failed(Why::Aborted);
                }
            }
            Effect::Revert(ids) => {
                for id in ids {
                    self.nodes.get_mut(id).unwrap().revert.get_or_insert((now, Revert::Ordered));
                }
            }
            Effect::Quarantine => drop(self.quarantined.get_or_insert(now)),
        }
        if !matches!(effect, Effect::Probe(_)) {
            self.effects.push(effect.clone());
        }
    }

    /// One look of the controller, and what it wants.
    pub(crate) fn look(&mut self, rollout: &mut Rollout) {
        rollout.handle(&self.seen(), &*self);
        while let Some(decision) = rollout.poll_decision() {
            self.decisions.push(decision);
        }
        while let Some(effect) = rollout.poll_effect() {
            self.carry_out(&effect);
        }
    }

    /// Runs until it is over, or waits for somebody.
    pub(crate) fn run(&mut self, rollout: &mut Rollout, limit: Duration) {
        let end = self.now + limit;
        while self.now < end {
            self.look(rollout);
            if rollout.phase().is_over() || rollout.phase() == meshward_fleet::rollout::Phase::Approval {
                self.look(rollout);
                return;
            }
            self.tick();
        }
        panic!("it does not end: {:?} {:?}", rollout.phase(), self.decisions.last());
    }

    pub(crate) fn start(&self, plan: RolloutPlan) -> Rollout {
        Rollout::start(self.moment(), plan, "ada").unwrap()
    }

    /// The controller is killed, and another takes up what was written.
    pub(crate) fn killed(&self, rollout: &Rollout) -> Rollout {
        let text = serde_json::to_string(&rollout.memory(self.moment())).unwrap();
        let memory: RolloutMemory = serde_json::from_str(&text).unwrap();
        Rollout::restore(self.moment(), memory).unwrap()
    }
}

impl Model {
    /// What becomes of a node half a minute later.
    fn behave(&mut self, now: Instant, image: Image) {
        if self.away_until.is_some_and(|until| until <= now) {
            self.away_until = None;
            if image == Image::CannotJoin && matches!(self.state, State::Failed(Why::DidNotReturn)) {
                self.standing = Standing::WentBack(98);
            }
        }
        if let Some((since, revert @ Revert::Ordered)) = &mut self.revert
            && now.since(*since) >= Duration::from_secs(30)
            && self.away_until.is_none()
        {
            *revert = Revert::Done;
            (self.standing, self.state) = (Standing::Old, State::Failed(Why::Reverted(101)));
        }
        let Some(released) = self.released else { return };
        let since = now.since(released);
        let runs = matches!(self.standing, Standing::Trial | Standing::Confirmed);
        match (&self.state, image) {
            (State::Finishing, _) if self.told < self.obeys_at && since >= Duration::from_secs(300) => {
                self.state = State::Failed(Why::Disobeyed);
            }
            (State::Finishing, _) if self.told < self.obeys_at => {}
            (State::Finishing, _) => {
                self.state = State::Restarting;
                let away = if image == Image::CannotJoin { Duration::from_secs(900) } else { TICK };
                self.away_until = Some(now + away);
            }
            (State::Restarting, Image::CannotJoin) if since >= Duration::from_secs(330) => {
                self.state = State::Failed(Why::DidNotReturn);
            }
            (State::Restarting, image) if image != Image::CannotJoin && self.away_until.is_none() => {
                self.state = State::Updated;
                if self.family == Family::Meshward {
                    self.standing = Standing::Trial;
                }
            }
            (State::Updated, Image::GoesBack(code)) if runs && since >= Duration::from_secs(90) => {
                self.standing = Standing::WentBack(code);
            }
            (State::Updated, Image::Loops(every)) if since.as_micros() / 1_000_000 % every < 30 => {
                self.restarts.push(now);
            }
            (State::Updated, _) if self.standing == Standing::Trial && since >= Duration::from_secs(180) => {
                self.standing = Standing::Confirmed;
            }
            _ => {}
        }
    }

    fn tell(&mut self, now: Instant, image: Image, rng: &mut Rng) {
        let kept = (-TICK.as_secs_f64() / 600.0_f64).exp();
        let lost = rng.below(50) == 0;
        for (at, measure) in MEASURES.into_iter().enumerate() {
            self.slow[at] = kept * self.slow[at] + (1.0 - kept * kept).sqrt() * normal(rng);
            let noise = NOISE[at].2 * (0.5 * self.slow[at] + 0.75_f64.sqrt() * normal(rng));
            let mut value = if at == 2 { self.levels[at] + noise } else { self.levels[at] * noise.exp() };
            if measure == Measure::RoundTrip && rng.below(100) == 0 {
                value *= 5.0;
            }
            if let Image::Times(of, factor) = image
                && of == measure
                && self.state == State::Updated
            {
                value *= factor;
            }
            let asked = measure != Measure::RoundTrip || now.since(self.probed) <= TICK;
            if !lost && asked {
                if self.values[at].len() == 32 {
                    self.values[at].pop_front();
                }
                self.values[at].push_back(Point { at: now, value });
            }
        }
    }
}

impl Evidence for World {
    fn recent(&self, node: NodeId, measure: Measure) -> Vec<Point> {
        let at = MEASURES.iter().position(|one| *one == measure);
        let values = at.zip(self.nodes.get(&node)).map(|(at, node)| &node.values[at]);
        values.into_iter().flatten().copied().collect()
    }

    fn restarts(&self, node: NodeId, since: Instant) -> usize {
        self.nodes.get(&node).map_or(0, |node| node.restarts.iter().filter(|at| **at >= since).count())
    }
}
