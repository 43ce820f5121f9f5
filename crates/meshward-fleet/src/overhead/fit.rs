//! What a hop takes on this mesh, from probes that were answered.
//!
//! The constants of [`Channel`] come from one published measurement of ESP8266 nodes. A probe's round trip, by its
//! hops, over what the model says it takes is how much slower this mesh is. Waiting in queues only adds, so the
//! lower quartile of the newest counts. Probes have one size, so the two constants can only be scaled together.

use std::collections::VecDeque;

use meshward_core::time::Duration;

use crate::forecast::Channel;

/// Round trips that are remembered.
const SAMPLES_MAX: usize = 64;
/// Fewer say nothing.
const SAMPLES_MIN: usize = 16;
/// Bytes of a probe and of its answer on a link, with the NUL: type 3, ids and times of ten digits. The answer bears three
/// times, the question one: who took both for answers would find every mesh 4 % faster than it is.
pub const PROBE_BYTES: [usize; 2] = [80, 112];
/// A mesh is not believed to be faster or slower by more: what is not radio, or is full, would say so.
const SCALE: std::ops::RangeInclusive<f64> = 0.5..=4.0;

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Fit {
    base: Channel,
    ratios: VecDeque<f64>,
}

impl Fit {
    /// Begins with these constants.
    pub const fn new(base: Channel) -> Self {
        Self { base, ratios: VecDeque::new() }
    }

    /// A probe over so many hops was answered after this time.
    pub fn probe_answered(&mut self, round_trip: Duration, hops: u32) {
        let both: u64 = PROBE_BYTES.iter().map(|bytes| self.base.nanos(*bytes)).sum();
        let model = both.saturating_mul(u64::from(hops.max(1)));
        if self.ratios.len() >= SAMPLES_MAX {
            self.ratios.pop_front();
        }
        self.ratios.push_back(round_trip.as_micros() as f64 * 1_000.0 / model.max(1) as f64);
    }

    /// How many times what the constants say a hop takes: 1 until enough was measured.
    pub fn scale(&self) -> f64 {
        if self.ratios.len() < SAMPLES_MIN {
            return 1.0;
        }
        let mut sorted: Vec<f64> = self.ratios.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let quartile = sorted.get(sorted.len() / 4).copied().unwrap_or(1.0);
        quartile.clamp(*SCALE.start(), *SCALE.end())
    }

    /// The channel as measured.
    pub fn channel(&self) -> Channel {
        let scaled = |nanos: u64| (nanos as f64 * self.scale()).round() as u64;
        Channel { frame_nanos: scaled(self.base.frame_nanos), byte_nanos: scaled(self.base.byte_nanos) }
    }
}

#[cfg(test)]
mod tests {
    use meshward_core::time::MeshTime;
    use meshward_core::wire::{Clock, NodeId, Stamp};

    use super::*;

    /// The scale when hops take so many times the model, a third of them with some waiting.
    fn check(times: f64, waiting_ms: u64, expected: f64) {
        let mut fit = Fit::default();
        let both: u64 = PROBE_BYTES.iter().map(|bytes| Channel::default().nanos(*bytes)).sum();
        let hop = both as f64 * times;
        for probe in 0..200u64 {
            let hops = 1 + (probe % 4) as u32;
            let wait = if probe % 3 == 0 { waiting_ms } else { 0 };
            let micros = (hop * f64::from(hops) / 1e3) as u64;
            fit.probe_answered(Duration::from_micros(micros) + Duration::from_millis(wait), hops);
        }
        assert!((fit.scale() - expected).abs() < 0.01, "{times}: {}", fit.scale());
        assert_eq!(fit.ratios.len(), SAMPLES_MAX);
        assert_eq!(fit.channel().byte_nanos, (7_640.0 * fit.scale()).round() as u64);
    }

    #[test]
    fn a_probe_has_the_bytes_that_nodes_write() {
        let time = MeshTime(4_000_000_000);
        let frame = |stamp| {
            let (dest, from) = (NodeId(2_000_000_001), NodeId(3_000_000_002));
            Clock { delay: true, dest, from, stamp }.encode().len() + 1
        };
        let reply = Stamp::Reply { t0: time, t1: time, t2: time };
        assert_eq!([frame(Stamp::Request { t0: time }), frame(reply)], PROBE_BYTES);
    }

    #[test]
    fn a_faster_or_slower_mesh_is_measured() {
        check(1.0, 0, 1.0);
        check(0.6, 500, 0.6);
        check(2.5, 500, 2.5);
        check(0.01, 0, 0.5);
        check(100.0, 0, 4.0);
        let mut few = Fit::default();
        (0..15).for_each(|_| few.probe_answered(Duration::from_secs(1), 1));
        assert_eq!(few.scale(), 1.0);
    }
}
