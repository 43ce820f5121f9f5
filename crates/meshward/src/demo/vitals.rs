//! What the demonstration's nodes tell of heap, signal and temperature: made up, for nothing here has a radio or a
//! heap of its own. Seeded, around values of its own for each node, with the noise that real ones have.

use std::sync::{Mutex, PoisonError};

use meshward_core::rng::Rng;
use meshward_core::telemetry::Metric;
use meshward_gateway::host::Sensors;

/// The usual free heap of an ESP32 that runs a mesh, in bytes.
const HEAP: f64 = 180_000.0;
/// The usual strength of a link, in dBm.
const RSSI: f64 = -62.0;
/// The usual temperature of a chip, in °C.
const TEMPERATURE: f64 = 41.0;

/// About a standard normal: the sum of twelve even numbers, less six.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.below(1 << 20) as f64 / f64::from(1 << 20)).sum::<f64>() - 6.0
}

struct Vitals {
    rng: Rng,
    heap: f64,
    least: f64,
    rssi: f64,
    temperature: f64,
}

impl Vitals {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x7175);
        let heap = HEAP * (1.0 + 0.1 * normal(&mut rng).clamp(-2.5, 2.5));
        let rssi = RSSI + 8.0 * normal(&mut rng).clamp(-2.0, 2.0);
        let temperature = TEMPERATURE + 4.0 * normal(&mut rng);
        Self { rng, heap, least: heap, rssi, temperature }
    }

    fn read(&mut self) -> Vec<(Metric, i64)> {
        let heap = self.heap * (1.0 + 0.03 * normal(&mut self.rng));
        self.least = self.least.min(heap);
        let rssi = (self.rssi + 3.0 * normal(&mut self.rng)).clamp(-95.0, -30.0);
        let temperature = self.temperature + 0.5 * normal(&mut self.rng);
        vec![
            (Metric::FreeHeap, heap as i64),
            (Metric::MinHeap, self.least as i64),
            (Metric::Rssi, rssi as i64),
            (Metric::ChipTemperature, (temperature * 10.0) as i64),
        ]
    }
}

/// Those of one node.
pub(super) fn sensors(seed: u64) -> Sensors {
    let vitals = Mutex::new(Vitals::new(seed));
    Sensors::new(move || vitals.lock().unwrap_or_else(PoisonError::into_inner).read())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_possible_repeatable_and_each_nodes_own() {
        let row = |seed| {
            let mut vitals = Vitals::new(seed);
            (0..200).flat_map(|_| vitals.read()).collect::<Vec<_>>()
        };
        for seed in 0..50 {
            assert!(row(seed).iter().all(|(metric, value)| metric.range().contains(value)), "{seed}");
            assert_eq!(row(seed), row(seed));
            assert_ne!(row(seed), row(seed + 1));
        }
    }
}
