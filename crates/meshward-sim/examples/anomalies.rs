//! How well anomalies are found, for the seeds that are given: the usual noise, and twice as much.
//!
//!     cargo run --package meshward-sim --example anomalies -- 201 202
#![allow(clippy::print_stdout, reason = "an example shows something")]

use meshward_fleet::anomaly::Settings;
use meshward_sim::anomaly::{Count, Noise, SEEDS, markdown, score};

fn main() {
    let named: Vec<u64> = std::env::args().skip(1).filter_map(|seed| seed.parse().ok()).collect();
    for seed in if named.is_empty() { SEEDS.to_vec() } else { named } {
        for (name, noise) in [("usual noise", Noise::USUAL), ("noise doubled", Noise::DOUBLED)] {
            println!(
                "{name}, seed {seed}\n\n{}",
                markdown(&score(seed, noise, Count::default(), &Settings::default()))
            );
        }
    }
}
