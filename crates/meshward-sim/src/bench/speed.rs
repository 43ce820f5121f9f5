//! What the simulator itself costs: courses for somebody with a clock to time.
//!
//! A [`Course`] is a mesh and what it does. [`Course::ready`] grows the mesh, which is not timed, and
//! [`Ready::run`] is what to time; [`markdown`] is the table. Nothing here knows the real time.

use std::fmt::Write as _;

use meshward_core::rng::Rng;
use meshward_core::time::Duration;
use serde::Serialize;

use super::model::{IMAGE, WHOLE_IMAGE};
use super::{Case, Ground, Scheme};
use crate::script::roomy;
use crate::topology::Topology;
use crate::world::{Channel, HostSpec, Seat, World};

/// How the meshes hang together.
const TOPOLOGY: Topology = Topology::Random(4);
/// How long an idle mesh is watched.
const IDLE: Duration = Duration::from_secs(4 * 3_600);

/// What a mesh does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing but the syncs of its nodes, for four hours. All nodes are ours.
    Idle,
    /// An update by our sender, scheme turbo, to an image of this many bytes. The other nodes are stock nodes.
    Update(usize),
}

impl Load {
    /// Its name on the command line and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Update(_) => "update",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Nodes; in an update the sender comes on top.
    pub n: usize,
    /// What they do.
    pub load: Load,
    /// Node and time syncs take no channel time.
    pub free_sync: bool,
}

/// The rows of `docs/benchmarks.md`. Idle syncs alone fill the channel of 500 nodes, so there they are free.
pub fn standard() -> Vec<Course> {
    let course = |n, load, free_sync| Course { n, load, free_sync };
    let (small, whole) = (Load::Update(IMAGE), Load::Update(WHOLE_IMAGE));
    vec![
        course(100, Load::Idle, false),
        course(100, Load::Idle, true),
        course(100, small, false),
        course(100, small, true),
        course(100, whole, false),
        course(100, whole, true),
        course(500, small, true),
        course(500, whole, true),
    ]
}

/// A course whose mesh has grown and is quiet.
pub struct Ready(Road);

enum Road {
    Idle(Box<World>),
    Update(Case, Box<Ground>),
}

/// What a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lap {
    /// Its time in the world.
    pub span: Duration,
    /// Planned things that happened.
    pub steps: u64,
    /// Of all that happened, the growth included: equal for equal courses and seeds.
    pub trace_hash: u64,
    /// Nodes that run the new image, in an update.
    pub updated: Option<usize>,
}

impl Course {
    /// Grows the mesh.
    pub fn ready(&self, seed: u64) -> Ready {
        let channel = Channel { free_sync: self.free_sync, ..Channel::default() };
        match self.load {
            Load::Idle => Ready(Road::Idle(Box::new(self.idle(channel, seed)))),
            Load::Update(image) => {
                let (n, scheme) = (self.n, Scheme::MeshwardTurbo);
                let case = Case { n, topology: TOPOLOGY, image, scheme, loss: 0, channel, airtime: 100 };
                let ground = super::ready(&case, seed);
                Ready(Road::Update(case, Box::new(ground)))
            }
        }
    }

    fn idle(&self, channel: Channel, seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let parents = TOPOLOGY.parents(self.n, &mut rng);
        let spec = |(index, parent): (usize, &Option<usize>)| HostSpec {
            root: index == 0,
            limits: roomy(self.n),
            ..HostSpec::node(super::id(index), parent.map(Seat))
        };
        let specs: Vec<HostSpec> = parents.iter().enumerate().map(spec).collect();
        super::grown(&specs, channel, rng.next_u64())
    }

    /// What is wanted, in times of real time.
    fn wanted(&self) -> Option<f64> {
        match (self.load, self.n) {
            (Load::Idle, 100) => Some(20_000.0),
            (Load::Update(_), 100) => Some(500.0),
            (Load::Update(_), 500) => Some(300.0),
            _ => None,
        }
    }

    /// The row of this course, from its laps. The memory is the most that the process has held so far.
    pub fn row(&self, laps: &[Timed], memory_bytes: Option<u64>) -> Row {
        let count = laps.len().max(1);
        let mean = |of: &dyn Fn(&Timed) -> f64| laps.iter().map(of).sum::<f64>() / count as f64;
        let mut ratios: Vec<f64> = laps.iter().map(Timed::ratio).collect();
        ratios.sort_by(f64::total_cmp);
        Row {
            n: self.n,
            load: self.load.name(),
            image: if let Load::Update(image) = self.load { Some(image) } else { None },
            sync: !self.free_sync,
            laps: laps.len(),
            virtual_seconds: mean(&|timed| timed.lap.span.as_secs_f64()),
            processor_seconds: mean(&|timed| timed.processor_seconds),
            elapsed_seconds: mean(&|timed| timed.elapsed_seconds),
            steps: mean(&|timed| timed.lap.steps as f64).round() as u64,
            ratio: ratios.get(ratios.len() / 2).copied().unwrap_or(0.0),
            ratio_least: ratios.first().copied().unwrap_or(0.0),
            ratio_most: ratios.last().copied().unwrap_or(0.0),
            wanted: self.wanted(),
            updated: laps.iter().map(|timed| timed.lap.updated).sum(),
            memory_bytes,
        }
    }
}

/// A lap and what it took, by somebody else's clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// The lap.
    pub lap: Lap,
    /// Time that its thread had a processor.
    pub processor_seconds: f64,
    /// Time on the wall.
    pub elapsed_seconds: f64,
}

impl Timed {
    /// Times of real time: what one processor does when it has nothing else to do.
    fn ratio(&self) -> f64 {
        self.lap.span.as_secs_f64() / self.processor_seconds.max(1e-9)
    }
}

impl Ready {
    fn world(&self) -> &World {
        match &self.0 {
            Road::Idle(world) => world,
            Road::Update(_, ground) => &ground.world,
        }
    }

    /// Runs the course.
    pub fn run(mut self) -> Lap {
        let (start, steps) = (self.world().now(), self.world().steps());
        let updated = match &mut self.0 {
            Road::Idle(world) => {
                world.run_for(IDLE);
                None
            }
            Road::Update(case, ground) => Some(super::update(case, ground, &mut |_, _| {}).completed),
        };
        let world = self.world();
        let (span, steps) = (world.now().since(start), world.steps() - steps);
        Lap { span, steps, trace_hash: world.trace_hash(), updated }
    }
}

/// One row; means over the laps where nothing else is said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Nodes.
    pub n: usize,
    /// `idle` or `update`.
    pub load: &'static str,
    /// Bytes of the image, in an update.
    pub image: Option<usize>,
    /// Whether the mesh's own syncs take channel time.
    pub sync: bool,
    /// How often it was run, each time with another seed.
    pub laps: usize,
    /// Time in the world.
    pub virtual_seconds: f64,
    /// Time that the simulator's thread had a processor.
    pub processor_seconds: f64,
    /// Time on the wall.
    pub elapsed_seconds: f64,
    /// Planned things that happened.
    pub steps: u64,
    /// `virtual_seconds` over `processor_seconds`: the median.
    pub ratio: f64,
    /// The slowest lap's.
    pub ratio_least: f64,
    /// The fastest lap's.
    pub ratio_most: f64,
    /// What is wanted of it.
    pub wanted: Option<f64>,
    /// Nodes that run the new image in the end, over all laps of an update.
    pub updated: Option<usize>,
    /// The most that the process has held in memory so far; `None` where the system does not tell.
    pub memory_bytes: Option<u64>,
}

/// The table for people.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| nodes | what | syncs | updated | in the world | processor | × real time (least to most) | wanted | memory so far |\n\
         | ---: | --- | --- | --- | ---: | ---: | ---: | --- | ---: |\n",
    );
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    for row in rows {
        let what =
            row.image.map_or_else(|| "idle".to_owned(), |image| format!("update, {} KB", image / 1024));
        let updated = row.updated.map(|updated| format!("{updated} of {}", row.n * row.laps));
        let all = row.updated.is_none_or(|updated| updated == row.n * row.laps);
        let kept = |wanted| match row.ratio >= wanted {
            true if all => "kept",
            true => "kept, but not all were updated",
            false => "missed",
        };
        let wanted = row.wanted.map(|wanted| format!("≥ {wanted:.0}: {}", kept(wanted)));
        let memory = row.memory_bytes.map(|bytes| format!("{} MB", bytes / 1_000_000));
        // Writing to a string cannot fail.
        let _always_ok = writeln!(
            out,
            "| {} | {what} | {} | {} | {:.0} s | {:.2} s | {:.0} ({:.0} to {:.0}) | {} | {} |",
            row.n,
            if row.sync { "count" } else { "free" },
            or_dash(updated),
            row.virtual_seconds,
            row.processor_seconds,
            row.ratio,
            row.ratio_least,
            row.ratio_most,
            or_dash(wanted),
            or_dash(memory),
        );
    }
    out
}
