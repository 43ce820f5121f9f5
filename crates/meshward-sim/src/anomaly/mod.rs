//! How well anomalies are found: histories of nodes that are known to be well or not, and a score.
//!
//! [`History`] makes what a node would tell in a day, from a seed, with noise, restarts that mean nothing, lost
//! reports and wild values; [`score`] runs the real [`Store`](meshward_fleet::series::Store) and
//! [`Detector`](meshward_fleet::anomaly::Detector) on it and counts what was found and what was made up. The
//! settings were chosen with seeds below 200; [`SEEDS`] are others.

mod history;
mod score;

pub(crate) use history::normal;
pub use history::{Fault, History, Noise};
pub use score::{Count, Row, Score, markdown, score};

/// Seeds that no setting was chosen with.
pub const SEEDS: [u64; 2] = [201, 202];
