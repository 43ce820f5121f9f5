//! A day of one node, as it would tell it.
//!
//! Around a level of its own every value has noise: a quarter of the variance is slow (it forgets half in seven
//! minutes), the rest is new each time. Every node also restarts now and then for no bad reason, loses one report
//! in fifty, is silent for a while, and has one round trip in a hundred that takes five times as long.

use meshward_core::rng::Rng;
use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::reading::{Reading, Source};

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    None,
    /// It loses memory until it restarts: in 6 to 30 hours.
    Leak,
    /// It restarts each 1 to 10 minutes.
    Loop,
    /// Its link loses 15 to 30 dB in 2 to 6 hours.
    Decay,
    /// Its round trips take 3 to 8 times as long from one moment to the next.
    Step,
}

impl Fault {
    /// Those that are faults.
    pub const ALL: [Self; 4] = [Self::Leak, Self::Loop, Self::Decay, Self::Step];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Leak => "leak",
            Self::Loop => "reboot loop",
            Self::Decay => "link decay",
            Self::Step => "round-trip step",
        }
    }
}

/// How much values vary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Free heap, as a share of the node's own level, and between nodes.
    pub heap: (f64, f64),
    /// Round trips, as a share.
    pub round_trip: (f64, f64),
    /// How strong the parent is heard, in dB.
    pub rssi: (f64, f64),
}

impl Noise {
    /// What simulated statistics are made with.
    pub const USUAL: Self = Self { heap: (0.03, 0.10), round_trip: (0.25, 0.40), rssi: (3.0, 12.0) };
    /// Twice as much.
    pub const DOUBLED: Self = Self { heap: (0.06, 0.20), round_trip: (0.50, 0.80), rssi: (6.0, 24.0) };
}

/// How long a history is.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// In which time slow noise forgets all but 37 %, in seconds.
const SLOW_S: f64 = 600.0;
/// What free heap, round trips and RSSI are around, before the differences between nodes.
const LEVELS: (f64, f64, f64) = (160_000.0, 60.0, -68.0);
/// With less memory than this a node restarts, in bytes.
const EXHAUSTED: f64 = 4_000.0;
/// No link is weaker, or stronger, in dBm.
const RSSI_ENDS: (f64, f64) = (-97.0, -25.0);

/// A number from the normal distribution, by Box and Muller.
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    let one = (1.0 + rng.below(1 << 53) as f64) / (1_u64 << 53) as f64;
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * share(rng)).cos()
}

/// From 0 to 1.
fn share(rng: &mut Rng) -> f64 {
    rng.below(1 << 53) as f64 / (1_u64 << 53) as f64
}

fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * share(rng)
}

/// Noise of variance 1: some of it slow.
#[derive(Clone, Debug, Default)]
struct Wander {
    slow: f64,
}

impl Wander {
    fn next(&mut self, rng: &mut Rng, seconds: f64) -> f64 {
        let kept = (-seconds / SLOW_S).exp();
        self.slow = kept * self.slow + (1.0 - kept * kept).sqrt() * normal(rng);
        0.5 * self.slow + 0.75_f64.sqrt() * normal(rng)
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct History {
    rng: Rng,
    fault: Fault,
    onset: Duration,
    noise: Noise,
    interval: Duration,
    levels: (f64, f64, f64),
    wanders: [Wander; 3],
    /// How bad the fault is: bytes per second, seconds between restarts, dB per second, a ratio.
    size: f64,
    /// For how long a decay goes on, in seconds.
    lasts: f64,
    started: f64,
    /// Restarts for no bad reason, in seconds.
    restarts: Vec<f64>,
    silence: (f64, f64),
    turn: u64,
}

impl History {
    /// The day of a node, from a seed. Its fault begins after a sixth to half of it.
    pub fn new(seed: u64, fault: Fault, noise: Noise) -> Self {
        let mut rng = Rng::new(seed);
        let day = DAY.as_secs_f64();
        let onset = Duration::from_secs(between(&mut rng, day / 6.0, day / 2.0) as u64);
        let heap = (LEVELS.0 * (1.0 + noise.heap.1 * normal(&mut rng))).max(50_000.0);
        let round_trip = LEVELS.1 * (noise.round_trip.1 * normal(&mut rng)).exp();
        let rssi = (LEVELS.2 + noise.rssi.1 * normal(&mut rng)).clamp(-80.0, -40.0);
        let lasts = between(&mut rng, 2.0, 6.0) * 3_600.0;
        let size = match fault {
            Fault::None => 0.0,
            Fault::Leak => heap / (between(&mut rng, 6.0, 30.0) * 3_600.0),
            Fault::Loop => between(&mut rng, 60.0, 600.0),
            Fault::Decay => between(&mut rng, 15.0, 30.0) / lasts,
            Fault::Step => between(&mut rng, 3.0_f64.ln(), 8.0_f64.ln()).exp(),
        };
        let restarts = (0..rng.below(3)).map(|_| between(&mut rng, 0.0, day)).collect();
        let from = between(&mut rng, 0.0, day);
        let silence = if rng.below(5) == 0 { (from, from + 1_800.0) } else { (day, day) };
        Self {
            fault,
            onset,
            noise,
            interval: Duration::from_secs(30 * (1 + rng.below(2))),
            levels: (heap, round_trip, rssi),
            wanders: Default::default(),
            size,
            lasts,
            started: -between(&mut rng, 3_600.0, 1_000_000.0),
            restarts,
            silence,
            turn: 0,
            rng,
        }
    }

    /// When the fault begins.
    pub fn onset(&self) -> Instant {
        Instant::ORIGIN + self.onset
    }

    /// When memory will be used up down to `limit` bytes, if nothing else happens: only of leaks.
    pub fn exhausted(&self, limit: f64) -> Option<Instant> {
        let from = self.started.max(self.onset.as_secs_f64());
        let at = from + (self.levels.0 - limit) / self.size;
        (self.fault == Fault::Leak).then(|| Instant::from_micros((at * 1e6) as u64))
    }

    /// The next report, with its time; empty if it got lost. `None` when the day is over.
    pub fn report(&mut self, node: NodeId) -> Option<(Instant, Vec<Reading>)> {
        self.turn += 1;
        let at = Instant::ORIGIN + self.interval.saturating_mul(self.turn);
        if at.since(Instant::ORIGIN) > DAY {
            return None;
        }
        let now = at.since(Instant::ORIGIN).as_secs_f64();
        let ill = (now - self.onset.as_secs_f64()).max(0.0);
        self.restart(now, ill);
        let seconds = self.interval.as_secs_f64();
        let [heap, round_trip, rssi] =
            self.wanders.each_mut().map(|wander| wander.next(&mut self.rng, seconds));
        let leaked = if self.fault == Fault::Leak { self.size * ill.min(now - self.started) } else { 0.0 };
        let heap = self.levels.0 * (1.0 + self.noise.heap.0 * heap) - leaked;
        if heap < EXHAUSTED {
            self.started = now;
        }
        let slower = if self.fault == Fault::Step && ill > 0.0 { self.size } else { 1.0 };
        let wild = if self.rng.below(100) == 0 { 5.0 } else { 1.0 };
        let round_trip = self.levels.1 * (self.noise.round_trip.0 * round_trip).exp() * slower * wild;
        let lost = if self.fault == Fault::Decay { self.size * ill.min(self.lasts) } else { 0.0 };
        let rssi = (self.levels.2 + self.noise.rssi.0 * rssi - lost).clamp(RSSI_ENDS.0, RSSI_ENDS.1);
        if self.rng.below(50) == 0 || (self.silence.0..self.silence.1).contains(&now) {
            return Some((at, Vec::new()));
        }
        let told = [
            (Metric::Uptime, (now - self.started).floor()),
            (Metric::FreeHeap, heap.max(0.0).round()),
            (Metric::Rssi, rssi.round()),
            (Metric::RoundTrip, (round_trip * 10.0).round() / 10.0),
        ];
        let reading = |(metric, value)| Reading::new(node, metric, value, at, Source::Telemetry);
        Some((at, told.map(reading).to_vec()))
    }

    fn restart(&mut self, now: f64, ill: f64) {
        let by_chance = self.restarts.iter().copied().filter(|at| *at <= now).fold(self.started, f64::max);
        self.started = by_chance;
        if self.fault == Fault::Loop && ill > 0.0 {
            // The last one of those that were due by now.
            let last = self.onset.as_secs_f64() + (ill / self.size).floor() * self.size;
            self.started = self.started.max(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_what_it_says() {
        let (mut values, mut rng, mut wander) = (Vec::new(), Rng::new(5), Wander::default());
        for _ in 0..50_000 {
            values.push(wander.next(&mut rng, 30.0));
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.06 && (variance - 1.0).abs() < 0.08, "{mean}, {variance}");
    }

    #[test]
    fn equal_seeds_make_equal_days() {
        let day = |seed| {
            let mut history = History::new(seed, Fault::Leak, Noise::USUAL);
            std::iter::from_fn(move || history.report(NodeId(2))).collect::<Vec<_>>()
        };
        assert_eq!(day(7), day(7));
        assert_ne!(day(7), day(8));
        assert!(day(7).len() >= 1_440);
    }
}
