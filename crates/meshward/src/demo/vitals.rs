//! What the demonstration's nodes tell of heap, signal and temperature: made up, for nothing here has a radio or a
//! heap of its own. Seeded, around values of its own for each node, with the noise that real ones have; a node may leak,
//! or hear its parent badly.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use meshward_core::rng::Rng;
use meshward_core::telemetry::Metric;
use meshward_gateway::host::Sensors;

/// The usual free heap of an ESP32 that runs a mesh, in bytes.
const HEAP: f64 = 180_000.0;
/// The usual strength of a link, in dBm.
const RSSI: f64 = -62.0;
/// The usual temperature of a chip, in °C.
const TEMPERATURE: f64 = 41.0;

/// How strong a weak link is, in dBm: messages get through, and not all at once.
const WEAK: f64 = -88.0;
/// What a node that leaks has left when it is first seen: it has leaked for days.
const LEAKED: f64 = 70_000.0;
/// What it loses between two looks, in bytes.
const LEAK: f64 = 1_250.0;
/// With less free heap than this it cannot go on.
const EXHAUSTED: f64 = 9_000.0;

/// What a node is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Character {
    /// As most are.
    #[default]
    Well,
    /// It hears its parent badly.
    Weak,
    /// It loses heap, until it has none and must restart.
    Leaking,
}

/// About a standard normal: the sum of twelve even numbers, less six.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.below(1 << 20) as f64 / f64::from(1 << 20)).sum::<f64>() - 6.0
}

struct Vitals {
    rng: Rng,
    character: Character,
    heap: f64,
    /// What was lost since the restart.
    lost: f64,
    least: f64,
    rssi: f64,
    temperature: f64,
}

impl Vitals {
    fn new(seed: u64, character: Character) -> Self {
        let mut rng = Rng::new(seed ^ 0x7175);
        let heap = HEAP * (1.0 + 0.1 * normal(&mut rng).clamp(-2.5, 2.5));
        let rssi = RSSI + 8.0 * normal(&mut rng).clamp(-2.0, 2.0);
        let rssi = if character == Character::Weak { WEAK } else { rssi };
        let temperature = TEMPERATURE + 4.0 * normal(&mut rng);
        let lost = if character == Character::Leaking { heap - LEAKED } else { 0.0 };
        Self { rng, character, heap, lost, least: heap - lost, rssi, temperature }
    }

    fn read(&mut self) -> Vec<(Metric, i64)> {
        if self.character == Character::Leaking {
            self.lost += LEAK;
        }
        let free = (self.heap - self.lost).max(0.0);
        let heap = free * (1.0 + 0.03 * normal(&mut self.rng));
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

    fn is_exhausted(&self) -> bool {
        self.heap - self.lost < EXHAUSTED
    }

    /// A restart gives all heap back.
    fn restart(&mut self) {
        self.lost = 0.0;
        self.least = self.heap;
    }
}

/// Those of one node, and what its owner sees of them.
#[derive(Clone)]
pub(super) struct Body {
    character: Character,
    vitals: Arc<Mutex<Vitals>>,
    exhausted: Arc<AtomicBool>,
}

impl Body {
    pub(super) fn new(seed: u64, character: Character) -> Self {
        let vitals = Arc::new(Mutex::new(Vitals::new(seed, character)));
        Self { character, vitals, exhausted: Arc::default() }
    }

    pub(super) const fn character(&self) -> Character {
        self.character
    }

    /// As the node reads it.
    pub(super) fn sensors(&self) -> Sensors {
        let Self { vitals, exhausted, .. } = self.clone();
        Sensors::new(move || {
            let mut vitals = vitals.lock().unwrap_or_else(PoisonError::into_inner);
            let told = vitals.read();
            exhausted.store(vitals.is_exhausted(), Ordering::Relaxed);
            told
        })
    }

    /// Whether the node has no heap to go on with.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    pub(super) fn restart(&self) {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner).restart();
        self.exhausted.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_possible_repeatable_and_each_nodes_own() {
        let row = |seed| {
            let mut vitals = Vitals::new(seed, Character::Well);
            (0..200).flat_map(|_| vitals.read()).collect::<Vec<_>>()
        };
        for seed in 0..50 {
            assert!(row(seed).iter().all(|(metric, value)| metric.range().contains(value)), "{seed}");
            assert_eq!(row(seed), row(seed));
            assert_ne!(row(seed), row(seed + 1));
        }
    }

    #[test]
    fn a_leak_ends_in_a_restart_and_a_weak_link_stays_weak() {
        let body = Body::new(3, Character::Leaking);
        let mut vitals = Vitals::new(3, Character::Leaking);
        let looks = (0..1_000).take_while(|_| {
            vitals.read();
            !vitals.is_exhausted()
        });
        let looks = looks.count();
        assert!((30..100).contains(&looks), "{looks}");
        assert!(vitals.read().iter().all(|(metric, value)| metric.range().contains(value)));
        vitals.restart();
        assert!(!vitals.is_exhausted() && !body.is_exhausted());
        for (character, weak) in [(Character::Well, false), (Character::Weak, true)] {
            let told = Vitals::new(4, character).read();
            let rssi = told.iter().find(|(metric, _)| *metric == Metric::Rssi).unwrap().1;
            assert_eq!(rssi < -78, weak, "{character:?} {rssi}");
        }
    }
}
