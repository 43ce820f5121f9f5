//! Whether nodes live: on which evidence, and how sure that is.
//!
//! Evidence of life is any frame from a node *or through it*: a frame from a leaf proves all that it passed. A node
//! that is expected to report and does not is *suspect* and probed (type 3), until it shows itself or so many probes
//! stayed unanswered that they prove something: at 5 % loss a hop, a probe over four hops is lost one time in three, so
//! two would prove nothing. How many it takes follows from the loss that was measured, the depth, and
//! [`Config::days_per_mistake`]. Who leaves the tree is offline at once, since its neighbour has seen the link end; what
//! was below it is *unreachable* and never probed. Nodes that report nothing are probed now and then, the deepest first,
//! so that inner nodes need no probe.
//!
//! There is no input for a broker or a database: losing them makes no node offline. After a start everything is
//! *learning* until the mesh has shown itself, so a restart of the gateway makes nobody offline either.

mod inquiry;
mod kept;
mod life;
mod loss;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use inquiry::GAP_MIN;
pub use kept::Kept;
use life::Life;
use loss::{PROBES_MAX, Trials};

use crate::setting::{BadSetting, want};

/// Whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Known from before, and the mesh has not shown itself yet.
    Learning,
    /// It lives.
    Online,
    /// It has not been heard when it should; it is being asked.
    Suspect,
    /// It is lost, and whatever it is reached through is not.
    Offline,
    /// It said that it would sleep.
    Sleeping,
    /// Nothing can be known of it, for this node is lost; the gateway itself, when it has no link any more.
    Unreachable {
        /// The topmost that is missing.
        through: NodeId,
    },
    /// An operator wants to hear nothing more of it; told once.
    Forgotten,
}

impl State {
    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Online => "online",
            Self::Suspect => "suspect",
            Self::Offline => "offline",
            Self::Sleeping => "sleeping",
            Self::Unreachable { .. } => "unreachable",
            Self::Forgotten => "forgotten",
        }
    }

    /// Whether nothing comes from it and something should.
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Offline | Self::Unreachable { .. })
    }
}

/// Why a state is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The tree shows it.
    InTree,
    /// Something came from it or through it.
    Heard,
    /// Its report is overdue.
    Overdue,
    /// It did not answer a probe.
    NoAnswer {
        /// How many in a row.
        probes: u32,
    },
    /// It is not in the tree any more.
    LeftTree,
    /// The node that it is reached through is lost.
    Inherited,
    /// It said so.
    Announced,
    /// The mesh, or the node above it, came back without it.
    DidNotReturn,
    /// An operator said so.
    Ordered,
}

/// A node's state is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub node: NodeId,
    /// Before.
    pub from: State,
    /// Now.
    pub to: State,
    /// Since when.
    pub at: Instant,
    /// Why.
    pub why: Why,
}

/// A node that is to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which.
    pub node: NodeId,
    /// How many probes before this one it has not answered.
    pub unanswered: u32,
}

/// What somebody may want to know of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it lives.
    pub state: State,
    /// Since when that is so.
    pub since: Instant,
    /// When something came from it or through it last; `None` when nothing ever has.
    pub heard: Option<Instant>,
    /// How often it is to report.
    pub period: Option<Duration>,
}

/// What a mesh's keeper may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How late a report may be.
    pub grace: Duration,
    /// How long the answer to a probe may take.
    pub answer: Duration,
    /// Fewest probes before a node is lost.
    pub probes_min: u32,
    /// How often nodes are probed that report nothing.
    pub sweep: Duration,
    /// How long the mesh, or a branch that returns, has to show itself. At least one round of node syncs with its
    /// time-out: 60 s and 10 s.
    pub learning: Duration,
    /// One node may be called offline by mistake once in so many days.
    pub days_per_mistake: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(3),
            answer: Duration::from_secs(4),
            probes_min: 2,
            sweep: Duration::from_secs(300),
            learning: Duration::from_secs(75),
            days_per_mistake: 2_000,
        }
    }
}

impl Config {
    /// Nobody waits longer for a report, an answer or a round of node syncs.
    const LONGEST: Duration = Duration::from_secs(86_400);

    /// Whether this makes sense.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), BadSetting> {
        // The deepest are asked up to a minute before the others.
        let minute = Duration::from_secs(60);
        for (field, value, least) in [
            ("grace", self.grace, Duration::ZERO),
            ("answer", self.answer, GAP_MIN),
            ("sweep", self.sweep, minute + minute),
            ("learning", self.learning, Duration::ZERO),
        ] {
            let seconds = |span: Duration| span.as_secs_f64();
            let right = format!("{} to {} s", seconds(least), seconds(Self::LONGEST));
            let good = least <= value && value <= Self::LONGEST;
            want(good, field, format!("{} s", seconds(value)), right)?;
        }
        let probes = 1..=PROBES_MAX;
        want(probes.contains(&self.probes_min), "probes_min", self.probes_min, format!("1 to {PROBES_MAX}"))?;
        want(self.days_per_mistake > 0, "days_per_mistake", self.days_per_mistake, "1 or more")
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Liveness {
    config: Config,
    own: NodeId,
    nodes: BTreeMap<NodeId, Life>,
    /// When to look at which node; a node's own entry may be too early, never too late.
    timers: BTreeSet<(Instant, NodeId)>,
    /// Until when, once the mesh has shown its first node.
    learning: Option<Instant>,
    learnt: bool,
    loss: Trials,
    events: VecDeque<Change>,
    probes: VecDeque<Probe>,
    dropped: u64,
    now: Instant,
}

impl Liveness {
    /// Most nodes that are watched; those of the tree come first.
    pub const NODES_MAX: usize = 10_000;
    /// Most changes that wait to be taken.
    pub const EVENTS_MAX: usize = 40_000;
    /// Most probes that wait to be taken.
    pub const PROBES_MAX: usize = 1_000;

    /// Nobody is known.
    pub fn new(own: NodeId, config: Config) -> Self {
        Self {
            config,
            own,
            nodes: BTreeMap::new(),
            timers: BTreeSet::new(),
            learning: None,
            learnt: false,
            loss: Trials::default(),
            events: VecDeque::new(),
            probes: VecDeque::new(),
            dropped: 0,
            now: Instant::ORIGIN,
        }
    }

    /// A node is to report at least so often, or not at all. Both count from now on.
    pub fn expect(&mut self, now: Instant, node: NodeId, period: Option<Duration>) {
        self.advance(now);
        if let Some(life) = self.nodes.get_mut(&node)
            && life.period != period
        {
            life.period = period;
            life.base = life.base.max(self.now);
            self.arm(node);
        }
    }

    /// Any frame of `origin` came: it lives, and so does everybody on the way.
    pub fn heard(&mut self, now: Instant, origin: NodeId) {
        self.advance(now);
        let mut at = Some(origin);
        // No way is longer than there are nodes; parents that made a ring would be one.
        for _ in 0..=self.nodes.len() {
            let Some(node) = at.filter(|node| *node != self.own) else { return };
            at = self.alive(node);
        }
    }

    /// A probe of ours was answered.
    pub fn probe_answered(&mut self, now: Instant, node: NodeId) {
        self.advance(now);
        if let Some(life) = self.nodes.get_mut(&node)
            && let Some(hops) = life.round_trip_hops()
        {
            life.path.message(hops, true);
            self.loss.message(hops, true);
            if let Some(inquiry) = &mut life.inquiry {
                inquiry.answered();
            }
        }
        self.heard(now, node);
    }

    /// A report of a node came over all links of its way, and so many before it did not: what that says of the loss. To be
    /// told of those only that relays forward as they are, like probes.
    pub fn report_came(&mut self, node: NodeId, missing: u32) {
        let Some(life) = self.nodes.get_mut(&node).filter(|life| life.place.is_some()) else { return };
        let hops = life.hops();
        for came in std::iter::repeat_n(false, missing as usize).chain([true]) {
            life.path.message(hops, came);
            self.loss.message(hops, came);
        }
    }

    /// A probe was not sent, for want of budget or of a way: it is asked for again a little later.
    pub fn probe_refused(&mut self, now: Instant, node: NodeId) {
        self.advance(now);
        if let Some(life) = self.nodes.get_mut(&node)
            && let Some(inquiry) = &mut life.inquiry
        {
            inquiry.refused(self.now);
            self.arm(node);
        }
    }

    /// A node says that it sleeps, and maybe for how long.
    pub fn sleeps(&mut self, now: Instant, node: NodeId, span: Option<Duration>) {
        self.advance(now);
        let Some(life) = self.nodes.get_mut(&node) else { return };
        // Clocks of chips that sleep are a few percent wrong, and the mesh has to take the node in again.
        let late =
            |span: Duration| span + Duration::from_micros(span.as_micros() / 10) + self.config.learning;
        life.wakes = span.map(|span| self.now + late(span));
        life.inquiry = None;
        self.set(node, State::Sleeping, Why::Announced);
        self.arm(node);
    }

    /// Nothing more is to be heard of a node; if it shows itself it is a new one.
    pub fn forget(&mut self, now: Instant, node: NodeId) {
        self.advance(now);
        self.set(node, State::Forgotten, Why::Ordered);
        if let Some(timer) = self.nodes.remove(&node).and_then(|life| life.timer) {
            self.timers.remove(&(timer, node));
        }
    }

    /// Looks at whoever is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if !self.learnt && self.learning.is_some_and(|until| until <= self.now) {
            self.learnt = true;
            self.miss();
        }
        while let Some((due, node)) = self.timers.first().copied()
            && due <= self.now
        {
            self.timers.pop_first();
            let Some(life) = self.nodes.get_mut(&node) else { continue };
            life.timer = None;
            if life.due(&self.config).is_some_and(|due| due <= self.now) {
                self.look_at(node);
            }
            self.arm(node);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let learning = self.learning.filter(|_| !self.learnt);
        self.timers.first().map(|(due, _)| *due).into_iter().chain(learning).min()
    }

    /// The next change.
    pub fn poll_event(&mut self) -> Option<Change> {
        self.events.pop_front()
    }

    /// The next node that is to be probed now, if the budget allows; else [`probe_refused`](Self::probe_refused). Those
    /// that did not answer before come first.
    pub fn poll_probe(&mut self) -> Option<Probe> {
        self.probes.pop_front()
    }

    /// What is known of a node.
    pub fn get(&self, node: NodeId) -> Option<Status> {
        self.nodes.get(&node).map(Life::status)
    }

    /// All nodes, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Status)> {
        self.nodes.iter().map(|(node, life)| (*node, life.status()))
    }

    /// Whether the mesh has had its time to show itself since the start.
    pub const fn is_learning(&self) -> bool {
        !self.learnt
    }

    /// The share of messages that a hop loses, as probes and reports showed: 0.02 to 0.5.
    pub fn loss(&self) -> f64 {
        self.loss.shared()
    }

    /// How many changes, probes and nodes there was no room for.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Time does not go back.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// There is evidence that a node lives. Returns the node above it, if it is in the tree.
    fn alive(&mut self, node: NodeId) -> Option<NodeId> {
        let now = self.now;
        let life = self.nodes.get_mut(&node)?;
        let (parent, _) = life.place?;
        life.heard = Some(now);
        life.base = now;
        if let Some(inquiry) = life.inquiry.take()
            && let Some(hops) = life.round_trip_hops()
        {
            for _ in 0..inquiry.unanswered(now) {
                life.path.message(hops, false);
                self.loss.message(hops, false);
            }
        }
        let state = life.state;
        if state != State::Online {
            life.wakes = None;
            self.set(node, State::Online, Why::Heard);
            if state.is_lost() || state == State::Sleeping {
                self.release(node);
            }
            self.arm(node);
        }
        Some(parent)
    }

    fn set(&mut self, node: NodeId, to: State, why: Why) {
        let Some(life) = self.nodes.get_mut(&node) else { return };
        let from = life.state;
        if from == to {
            return;
        }
        life.state = to;
        life.since = self.now;
        if self.events.len() >= Self::EVENTS_MAX {
            self.dropped = self.dropped.saturating_add(1);
            self.events.pop_front();
        }
        self.events.push_back(Change { node, from, to, at: self.now, why });
    }

    /// Makes sure that somebody looks at a node in time.
    fn arm(&mut self, node: NodeId) {
        let Some(life) = self.nodes.get_mut(&node) else { return };
        let Some(due) = life.due(&self.config) else { return };
        if life.timer.is_none_or(|timer| due < timer) {
            if let Some(timer) = life.timer.replace(due) {
                self.timers.remove(&(timer, node));
            }
            self.timers.insert((due, node));
        }
    }

    fn ask(&mut self, node: NodeId) {
        let inquiry = self.nodes.get(&node).and_then(|life| life.inquiry.as_ref());
        let unanswered = inquiry.map_or(0, |inquiry| inquiry.before());
        if self.probes.len() < Self::PROBES_MAX {
            let probe = Probe { node, unanswered };
            if unanswered > 0 {
                self.probes.push_front(probe);
            } else {
                self.probes.push_back(probe);
            }
        } else {
            self.dropped = self.dropped.saturating_add(1);
            let now = self.now;
            self.probe_refused(now, node);
        }
    }
}
