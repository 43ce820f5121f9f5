//! How fast chunks go to all: as fast as the mesh takes them, or slower, because somebody wants it so.

use core::num::NonZeroU16;

use super::distributor::pacing::hop_time;
use crate::time::Duration;

/// The pace of a broadcast pass. Neither figure makes it faster than relays have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    /// How much of the time the pass may fill one channel that all share, in per cent, 1 to 100: the rest is for others.
    pub airtime: u8,
    /// So many chunks a second, whatever the delays of the mesh are; `None` goes by these.
    pub chunks_per_second: Option<NonZeroU16>,
}

impl Default for Tempo {
    /// As fast as the mesh takes it.
    fn default() -> Self {
        Self::with_airtime(100)
    }
}

impl Tempo {
    /// As fast as the mesh takes it in this share of the time.
    pub const fn with_airtime(airtime: u8) -> Self {
        Self { airtime, chunks_per_second: None }
    }

    /// Whether it makes sense.
    pub(super) fn is_sound(&self) -> bool {
        (1..=100).contains(&self.airtime)
    }

    /// How long nothing goes to all after a chunk of `bytes` on the wire went over `links` links.
    pub(super) fn rest(&self, bytes: u64, links: u32) -> Option<Duration> {
        let takes = hop_time(bytes).saturating_mul(u64::from(links));
        let share = (self.airtime < 100).then(|| self.stretched(takes, 0));
        share.max(self.chunks_per_second.map(|_| self.stretched(Duration::ZERO, 1)))
    }

    /// How long so many chunks take, which need so much channel time.
    pub fn stretched(&self, channel: Duration, chunks: u64) -> Duration {
        let share = u64::from(self.airtime.clamp(1, 100));
        let fixed =
            self.chunks_per_second.map_or(0, |rate| chunks.saturating_mul(1_000_000) / u64::from(rate.get()));
        Duration::from_micros((channel.as_micros().saturating_mul(100) / share).max(fixed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_both_figures_holds() {
        let takes = hop_time(1_600).saturating_mul(10);
        for (airtime, rate, rest) in [
            (100, 0, None),
            (50, 0, Some(takes.saturating_mul(2))),
            (100, 20, Some(Duration::from_millis(50))),
            (50, 1_000, Some(takes.saturating_mul(2))),
            (99, 1, Some(Duration::from_secs(1))),
        ] {
            let tempo = Tempo { airtime, chunks_per_second: NonZeroU16::new(rate) };
            assert_eq!(tempo.rest(1_600, 10), rest, "{tempo:?}");
        }
        let tempo = Tempo { chunks_per_second: NonZeroU16::new(4), ..Tempo::with_airtime(50) };
        assert_eq!(tempo.stretched(Duration::from_secs(1), 4), Duration::from_secs(2));
        assert_eq!(tempo.stretched(Duration::from_secs(1), 400), Duration::from_secs(100));
        assert!(Tempo::default().is_sound() && !Tempo::with_airtime(0).is_sound());
    }
}
