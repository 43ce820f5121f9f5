//! Slows a link down: a rate and a delay between the node's queue and the socket, for demonstrations.
//!
//! Tokio's timers tick in milliseconds, so the line may be filled [`AHEAD`] of time: the rate holds on
//! average, and the delay is at least what was asked for.

use std::collections::VecDeque;

use meshward_core::time::{Duration, Instant};

/// How far the line may be filled in advance.
const AHEAD: Duration = Duration::from_millis(4);

/// What a link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// From one end to the other.
    pub latency: Duration,
    /// Bytes a second in each direction; 0 for no limit.
    pub bytes_per_second: u64,
}

/// Bytes on their way between the queue and the socket.
#[derive(Debug)]
pub(super) struct Line {
    shape: Shape,
    /// When the last byte taken has been put on the line.
    free_at: Instant,
    transit: VecDeque<(Instant, Vec<u8>)>,
}

impl Line {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, free_at: Instant::ORIGIN, transit: VecDeque::new() }
    }

    /// Whether the line takes bytes now; else when.
    pub(super) fn busy_until(&self, now: Instant) -> Option<Instant> {
        (self.free_at > now + AHEAD).then(|| self.free_at - AHEAD)
    }

    /// Puts bytes on the line.
    pub(super) fn take(&mut self, now: Instant, bytes: Vec<u8>) {
        let micros = (bytes.len() as u64 * 1_000_000).checked_div(self.shape.bytes_per_second).unwrap_or(0);
        self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
        self.transit.push_back((self.free_at.max(now) + self.shape.latency, bytes));
    }

    /// The bytes that have arrived at the socket.
    pub(super) fn arrived(&self, now: Instant) -> Option<&[u8]> {
        self.transit.front().filter(|(due, _)| *due <= now).map(|(_, bytes)| &bytes[..])
    }

    /// The first `count` bytes of what has arrived are written.
    pub(super) fn written(&mut self, count: usize) {
        let Some((_, bytes)) = self.transit.front_mut() else { return };
        bytes.drain(..count.min(bytes.len()));
        if bytes.is_empty() {
            self.transit.pop_front();
        }
    }

    /// When the next bytes arrive.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.transit.front().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_delay_hold() {
        let shape = Shape { latency: Duration::from_millis(10), bytes_per_second: 1_000_000 };
        let mut line = Line::new(shape);
        let t0 = Instant::from_micros(1_000_000);
        line.take(t0, vec![1; 4_000]);
        assert_eq!(line.busy_until(t0), None, "4 ms ahead is allowed");
        line.take(t0, vec![2; 4_000]);
        assert_eq!(line.busy_until(t0), Some(t0 + Duration::from_millis(4)));
        assert_eq!(line.arrived(t0 + Duration::from_millis(13)), None);
        assert_eq!(line.arrived(t0 + Duration::from_millis(14)).map(<[u8]>::len), Some(4_000));
        line.written(1_000);
        line.written(3_000);
        assert_eq!(line.next_arrival(), Some(t0 + Duration::from_millis(18)));
    }

    #[test]
    fn no_limit_means_delay_only() {
        let mut line = Line::new(Shape { latency: Duration::from_millis(1), bytes_per_second: 0 });
        line.take(Instant::ORIGIN, vec![0; 1 << 20]);
        assert_eq!(line.busy_until(Instant::ORIGIN), None);
        assert_eq!(line.next_arrival(), Some(Instant::from_micros(1_000)));
    }
}
