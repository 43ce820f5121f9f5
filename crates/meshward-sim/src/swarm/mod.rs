//! Whole runs from one number: knobs, safety, liveness, verdict.
//!
//! The seed decides everything ([`Knobs`]): the mesh, the channel, the faults, the image and the traffic.
//! First *safety*: faults are on, and nothing wrong may ever happen. Then all heals, and *liveness*: the
//! roll-out ends, the mesh settles, and a new message from anybody to anybody arrives, each within a bound.
//! The checkers judge throughout. Crash, wrong and stuck are told apart.

mod knobs;
mod run;
mod story;

use core::fmt;

use meshward_core::time::Duration;

pub use knobs::Knobs;
pub use run::run;

use crate::capture::Line;
use crate::check::Finding;
use crate::plant::Plant;

/// How to run a seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A bug on purpose.
    pub plant: Option<Plant>,
    /// Keep what is on the wires.
    pub capture: bool,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Pass,
    /// The program panicked.
    Crash(String),
    /// Something happened that must not.
    Wrong,
    /// Something that must happen did not within its bound.
    Stuck(String),
}

impl Verdict {
    /// The exit code of a program that ends with this verdict.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Crash(_) => 2,
            Self::Wrong => 3,
            Self::Stuck(_) => 4,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Crash(what) => write!(f, "crash: {what}"),
            Self::Wrong => f.write_str("wrong"),
            Self::Stuck(what) => write!(f, "stuck: {what}"),
        }
    }
}

/// A run, told.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its number.
    pub seed: u64,
    /// What the seed decided.
    pub knobs: Knobs,
    /// What became of it.
    pub verdict: Verdict,
    /// What the checkers found.
    pub findings: Vec<Finding>,
    /// The hash over all that happened.
    pub trace_hash: u64,
    /// How long it lasted, in the world's time.
    pub lasted: Duration,
    /// Frames that travelled.
    pub frames: u64,
    /// What was on the wires, if that was asked for.
    pub lines: Vec<Line>,
}

impl Report {
    /// The shortest command that repeats this run.
    pub fn command(&self, options: Options) -> String {
        let plant = options.plant.map_or_else(String::new, |plant| format!(" --plant {}", plant.name()));
        format!("meshward sim replay {}{plant}", self.seed)
    }
}
