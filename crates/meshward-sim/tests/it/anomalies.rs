//! How well anomalies are found: a day of 800 nodes, and again with the noise doubled.

use meshward_fleet::anomaly::{Detector, Settings};
use meshward_sim::anomaly::{Count, Noise, SEEDS, markdown, score};

const WANTED: f64 = 0.95;

fn check(name: &str, noise: Noise, seed: u64) {
    let score = score(seed, noise, Count::default(), &Detector::default());
    for row in &score.rows {
        let (precision, recall) = (row.precision(), row.recall());
        assert!(precision >= WANTED && recall >= WANTED, "{name}, {}:\n{}", row.fault, markdown(&score));
    }
}

#[test]
fn faults_are_found_and_not_made_up() {
    check("usual noise", Noise::USUAL, SEEDS[0]);
}

#[test]
fn so_they_are_in_twice_the_noise() {
    check("noise doubled", Noise::DOUBLED, SEEDS[1]);
}

#[test]
fn the_score_sees_bad_settings() {
    let mut nervous = Settings::default();
    nervous.spreads.iter_mut().for_each(|spread| spread.raise = 2.1);
    let count = Count { healthy: 50, faulty: 10 };
    let score_of =
        |settings: &Settings| score(SEEDS[0], Noise::USUAL, count, &Detector::new(settings.clone()).unwrap());
    assert!(score_of(&nervous).rows.iter().any(|row| row.precision() < WANTED));
    let mut deaf = Settings::default();
    deaf.trends.clear();
    deaf.spreads.clear();
    deaf.limits.clear();
    deaf.steps.clear();
    assert!(score_of(&deaf).rows.iter().any(|row| row.recall() < WANTED));
}
