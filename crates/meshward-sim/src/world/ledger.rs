//! What the one channel was used for, as a stranger with a receiver would book it: every frame on every link, by class
//! and by time. What a gateway's own meter says is compared with it.

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{Routing, peek};
use meshward_fleet::overhead::Class;

/// Frames of so much time are booked together.
const SLICE: Duration = Duration::from_secs(10);

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    slices: BTreeMap<u64, BTreeMap<&'static str, Duration>>,
}

impl Ledger {
    /// The classes that are there for the sake of knowing how the mesh is.
    pub const STATUS: [Class; 2] = [Class::Reports, Class::Questions];

    pub(super) fn record(&mut self, now: Instant, frame: &[u8], span: Duration) {
        let Some(envelope) = frame.split_last().and_then(|(_nul, frame)| peek(frame)) else { return };
        let class = Class::of(envelope.kind, envelope.routing == Routing::Broadcast);
        *self.slices.entry(number(now)).or_default().entry(class.name()).or_default() += span;
    }

    /// What these classes took of the channel between two times, in percent; each to the 10 s.
    pub fn percent(&self, classes: &[Class], from: Instant, until: Instant) -> f64 {
        let sums = self.slices.range(number(from)..number(until)).flat_map(|(_, slice)| {
            classes.iter().filter_map(|class| slice.get(class.name())).map(|span| span.as_secs_f64())
        });
        let slices = number(until).saturating_sub(number(from)).max(1);
        100.0 * sums.sum::<f64>() / (slices as f64 * SLICE.as_secs_f64())
    }

    /// The most that these classes took within any `window` of that time, in percent; the windows begin each 10 s.
    pub fn worst(&self, classes: &[Class], window: Duration, from: Instant, until: Instant) -> f64 {
        let begins = std::iter::successors(Some(from), |begin| Some(*begin + SLICE));
        let windows = begins.take_while(|begin| *begin + window <= until);
        windows.map(|begin| self.percent(classes, begin, begin + window)).fold(0.0, f64::max)
    }
}

fn number(at: Instant) -> u64 {
    at.as_micros() / SLICE.as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_window_is_found_wherever_it_is() {
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let mut ledger = Ledger::default();
        let probe = b"{\"dest\":1,\"from\":2,\"type\":3,\"msg\":{\"type\":0}}\0";
        let text = b"{\"dest\":1,\"from\":2,\"type\":9,\"msg\":\"x\"}\0";
        for second in 0..100 {
            let span = if (40..60).contains(&second) { 30 } else { 10 };
            ledger.record(at(second), probe, Duration::from_millis(span));
            ledger.record(at(second), text, Duration::from_millis(500));
        }
        let close = |is: f64, wanted: f64| assert!((is - wanted).abs() < 1e-9, "{is} {wanted}");
        close(ledger.percent(&Ledger::STATUS, at(0), at(100)), 1.4);
        close(ledger.worst(&Ledger::STATUS, Duration::from_secs(20), at(0), at(100)), 3.0);
        close(ledger.worst(&Ledger::STATUS, Duration::from_secs(40), at(0), at(100)), 2.0);
        close(ledger.worst(&Ledger::STATUS, Duration::from_secs(40), at(60), at(100)), 1.0);
        close(ledger.percent(&[Class::User], at(0), at(100)), 50.0);
    }
}
