//! How well a gateway knows its mesh, and what that costs: the section on freshness of `docs/benchmarks.md`.
//!
//! A [`Case`] is one row, [`run_one`] one seed of it, [`row`] their sum with what the budget allows at best ([`least`]),
//! [`markdown`] the page; [`MODEL`] says what the figures hold for. The machines are the real ones: nodes that report by themselves, or a model of the
//! unmodified C++ node, and at the top a gateway's node with its [`Fleet`](meshward_fleet::fleet::Fleet). Nothing is
//! asked of the fleet that an operator could not see, and what it says is judged by what the world did.

mod bound;
mod measure;
mod table;

use std::sync::Arc;

use meshward_core::mesh::Limits;
use meshward_core::rng::Rng;
use meshward_core::telemetry;
use meshward_core::time::Duration;
use meshward_fleet::fleet::Settings;

pub use bound::{Least, Tree, least};
pub use measure::{Run, run_one};
pub use table::{MODEL, Row, markdown, row};

use crate::bench::{grown, id};
use crate::script::{Step, roomy};
use crate::topology::Topology;
use crate::world::{Act, Channel, HostSpec, Rule, Seat, World};

/// The gateway's seat.
pub const GATEWAY: Seat = Seat(0);
/// From a reset until a node's program runs.
const BOOT: Duration = Duration::from_secs(2);

/// Which programs the nodes below the gateway run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// Ours, which report.
    Meshward,
    /// The unmodified C++ node.
    Stock,
    /// By turns.
    Mixed,
}

impl Nodes {
    /// Its name on the command line and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meshward => "meshward",
            Self::Stock => "stock",
            Self::Mixed => "mixed",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Meshward, Self::Stock, Self::Mixed].into_iter().find(|nodes| nodes.name() == text)
    }

    /// Whether the node in this place is ours.
    pub const fn is_ours(self, place: usize) -> bool {
        match self {
            Self::Meshward => true,
            Self::Stock => false,
            Self::Mixed => place.is_multiple_of(2),
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Nodes below the gateway.
    pub n: usize,
    /// How they hang together.
    pub topology: Topology,
    /// What they are.
    pub nodes: Nodes,
    /// Whether relays pack the reports of others with their own.
    pub aggregate: bool,
    /// Forwarded frames that die at a relay, in per cent.
    pub loss: u32,
    /// How often nodes report where the budget allows.
    pub period: Duration,
    /// How long the quiet mesh is watched.
    pub watch: Duration,
    /// Nodes that lose their power without a word, one after the other.
    pub deaths: usize,
    /// Nodes that close their links and go.
    pub leaves: usize,
}

impl Case {
    /// Nodes of ours in a tree that has grown at random, without loss: an hour of quiet, 25 deaths, 10 leaves. The
    /// period is what the size's target of freshness wants.
    pub const fn of(n: usize, aggregate: bool) -> Self {
        Self {
            n,
            topology: Topology::Random(4),
            nodes: Nodes::Meshward,
            aggregate,
            loss: 0,
            period: Duration::from_secs(match n {
                0..=25 => 14,
                26..=50 => 28,
                _ => 40,
            }),
            watch: Duration::from_secs(3_600),
            deaths: 25,
            leaves: 10,
        }
    }

    /// What is wanted at this size: p95 of the age of the newest value and of the detection of a silent death, in
    /// seconds.
    pub const fn wanted(&self) -> (f64, f64) {
        match self.n {
            0..=25 => (15.0, 30.0),
            26..=50 => (30.0, 45.0),
            _ => (60.0, 60.0),
        }
    }

    /// What the gateway is set to.
    pub fn settings(&self) -> Settings {
        Settings { aggregate: self.aggregate, period: self.period, ..Settings::default() }
    }

    /// A mesh that has settled on the one channel, with its losses; nobody watches it yet.
    pub fn grown(&self, seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let parents = self.topology.parents(self.n + 1, &mut rng);
        let specs: Vec<HostSpec> =
            parents.iter().enumerate().map(|(place, parent)| self.spec(place, parent.map(Seat))).collect();
        let channel = Channel { free_sync: true, ..Channel::default() };
        let mut world = grown(&specs, channel, rng.next_u64());
        if self.loss > 0 {
            world.perform(Step::Fault(Rule::everywhere(Act::Lose, self.loss * 10_000)));
        }
        world
    }

    /// The same, with a gateway that begins to watch it now.
    pub fn watched(&self, seed: u64) -> World {
        let mut world = self.grown(seed);
        world.keep_ledger();
        world.perform(Step::Watch(GATEWAY, Arc::new(self.settings())));
        world
    }

    fn spec(&self, place: usize, parent: Option<Seat>) -> HostSpec {
        let gateway = place == 0;
        let mut spec = if gateway || self.nodes.is_ours(place) {
            HostSpec::node(id(place), parent)
        } else {
            HostSpec::stock(id(place), parent)
        };
        let room = roomy(self.n + 1);
        spec.limits = if gateway { Limits { links: room.links, ..Limits::GATEWAY } } else { room };
        spec.root = gateway;
        spec.boot_time = BOOT;
        if !gateway && self.nodes.is_ours(place) {
            spec = spec.with_telemetry(telemetry::Config::default());
        }
        spec
    }
}
