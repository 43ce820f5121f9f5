//! How well anomalies are found: a day of 800 nodes, and again with the noise doubled.

use meshward_fleet::anomaly::Settings;
use meshward_sim::anomaly::{Count, Noise, SEEDS, Score, markdown, score};

const WANTED: f64 = 0.95;

fn run(noise: Noise, settings: &Settings, seed: u64) -> Score {
    score(seed, noise, Count::default(), settings)
}

#[test]
fn faults_are_found_and_not_made_up() {
    for (name, noise) in [("usual noise", Noise::USUAL), ("noise doubled", Noise::DOUBLED)] {
        for seed in SEEDS {
            let score = run(noise, &Settings::default(), seed);
            println!("{name}, seed {seed}\n\n{}", markdown(&score));
            for row in &score.rows {
                let (precision, recall) = (row.precision(), row.recall());
                assert!(
                    precision >= WANTED && recall >= WANTED,
                    "{name}, {}: {precision}, {recall}",
                    row.fault
                );
            }
        }
    }
}

#[test]
fn the_score_sees_bad_settings() {
    let mut nervous = Settings::default();
    nervous.spreads.iter_mut().for_each(|spread| spread.raise = 2.1);
    let count = Count { healthy: 50, faulty: 10 };
    let score_of = |settings: &Settings| score(SEEDS[0], Noise::USUAL, count, settings);
    assert!(score_of(&nervous).rows.iter().any(|row| row.precision() < WANTED));
    let mut deaf = Settings::default();
    deaf.trends.clear();
    deaf.spreads.clear();
    deaf.limits.clear();
    assert!(score_of(&deaf).rows.iter().any(|row| row.recall() < WANTED));
}
