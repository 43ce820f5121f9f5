//! The mesh clock: local time plus an offset that neighbours agree on, by SNTP arithmetic.

use crate::time::{Duration, Instant, MeshTime};

/// A reply counts only if the round trip is at most this many times what the answerer took
/// (`MAX_CPU_TRIP_RATIO` of the C++ library).
const TRIP_RATIO: u32 = 85;
/// Steps below this many microseconds are taken by a quarter.
const LARGE_STEP: i32 = 500;
/// Below this many microseconds two clocks count as equal enough.
pub(super) const ACCURACY: i32 = 5_000;

/// Local monotonic time to mesh time.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeshClock {
    offset: u32,
}

/// The four stamps of an exchange: asked, received, answered, back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) t0: MeshTime,
    pub(super) t1: MeshTime,
    pub(super) t2: MeshTime,
    pub(super) t3: MeshTime,
}

impl Exchange {
    /// Whether a stock node would use this reply. Unsigned and wrapping, as it computes.
    pub(super) fn within_ratio(&self) -> bool {
        let trip = self.t3.0.wrapping_sub(self.t0.0);
        trip <= self.t2.0.wrapping_sub(self.t1.0).wrapping_mul(TRIP_RATIO)
    }

    /// From the question to the answer's arrival, the answerer's own part included.
    pub(super) fn trip(&self) -> Duration {
        Duration::from_micros(u64::from(self.t3.0.wrapping_sub(self.t0.0)))
    }

    /// How far our clock is behind the answerer's, in microseconds; small differences by a quarter.
    pub(super) fn step(&self) -> i32 {
        let there = self.t1.signed_since(self.t0) / 2;
        let back = self.t2.signed_since(self.t3) / 2;
        let offset = there.wrapping_add(back);
        match offset.unsigned_abs() {
            5..500 => offset / 4,
            _ => offset,
        }
    }
}

impl MeshClock {
    pub(super) fn new(offset: u32) -> Self {
        Self { offset }
    }

    pub(super) fn at(self, now: Instant) -> MeshTime {
        MeshTime((now.as_micros() as u32).wrapping_add(self.offset))
    }

    pub(super) fn step(&mut self, offset: i32) {
        self.offset = self.offset.wrapping_add_signed(offset);
    }
}

const _: () = assert!(LARGE_STEP == 500, "the match in Exchange::step names the bound");

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(t0: u32, t1: u32, t2: u32, t3: u32) -> Exchange {
        Exchange { t0: MeshTime(t0), t1: MeshTime(t1), t2: MeshTime(t2), t3: MeshTime(t3) }
    }

    #[test]
    fn steps_as_the_library_computes_them() {
        // (t0, t1, t2, t3, step)
        let rows = [
            (1_000, 101_000, 101_010, 1_110, 99_950), // halves are cut down separately
            (1_000, 1_104, 1_114, 1_010, 26),         // 104: a quarter
            (1_000, 1_009, 1_013, 1_014, 4),          // 4 and less: whole
            (4_294_967_290, 200_000, 200_010, 100, 199_958), // over the wrap
            (200_000, 1_000, 1_010, 200_110, -199_050),
        ];
        for (t0, t1, t2, t3, step) in rows {
            assert_eq!(exchange(t0, t1, t2, t3).step(), step, "{t0} {t1} {t2} {t3}");
        }
    }

    #[test]
    fn the_85_times_rule() {
        assert!(exchange(0, 500, 510, 850).within_ratio());
        assert!(!exchange(0, 500, 510, 851).within_ratio());
        assert!(!exchange(0, 500, 500, 1).within_ratio());
    }
}
