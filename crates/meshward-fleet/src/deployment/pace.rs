//! How long a deployment still takes: what was reckoned, corrected by how fast it went.

use meshward_core::ota::Tempo;
use meshward_core::time::{Duration, Instant};

use super::{Phase, Transfers};
use crate::forecast::Forecast;

/// Before so much is done, what was reckoned is the better guess.
const TELLING: f64 = 0.05;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pub(super) transfers: Transfers,
    /// How many times what was reckoned the payloads took.
    factor: Option<f64>,
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

/// Seconds until the Meshward nodes have their payloads, at this tempo.
fn payloads(forecast: &Forecast, tempo: Tempo) -> f64 {
    seconds(tempo.stretched(forecast.passes_channel(), forecast.passes_chunks()))
}

/// Seconds until the stock nodes have their parts.
fn parts(forecast: &Forecast, tempo: Tempo) -> f64 {
    seconds(tempo.stretched(forecast.stock_channel(), forecast.turbo_parts()))
}

impl Pace {
    /// Payloads are with the nodes.
    pub(super) fn delivered(&mut self, took: Duration, forecast: Option<&Forecast>, tempo: Tempo) {
        self.transfers.meshward = Some(took);
        let reckoned =
            forecast.map_or(0.0, |forecast| payloads(forecast, tempo) + seconds(forecast.install()));
        self.factor = (reckoned > 0.0).then(|| seconds(took) / reckoned);
    }

    /// The image is with the stock nodes.
    pub(super) fn sent(&mut self, took: Duration) {
        self.transfers.stock = Some(took);
    }

    /// What is left at `now` of a phase that began at `since` and of those after it; `done` is how much of the
    /// phase's transfer is.
    pub(super) fn left(
        &self,
        now: Instant,
        phase: Phase,
        since: Instant,
        done: f64,
        forecast: &Forecast,
        tempo: Tempo,
    ) -> Option<Duration> {
        let elapsed = seconds(now.since(since));
        let rest = |reckoned: f64, factor: f64| {
            if done >= TELLING {
                elapsed * (1.0 - done) / done
            } else {
                (reckoned * factor - elapsed).max(0.0)
            }
        };
        let (payloads, parts) = (payloads(forecast, tempo), parts(forecast, tempo));
        let factor = self.factor.unwrap_or(1.0);
        let (install, restart) = (seconds(forecast.install()), seconds(forecast.restart()));
        let left = match phase {
            Phase::Surveying | Phase::Queued | Phase::Packing | Phase::Held => return None,
            Phase::Delivering => {
                let left = rest(payloads, 1.0);
                // The stock nodes' share goes as fast as this did.
                let factor =
                    if done >= TELLING && payloads > 0.0 { (elapsed + left) / payloads } else { factor };
                left + install.min(install * factor) + parts * factor + restart
            }
            Phase::Sending => rest(parts, factor) + restart,
            Phase::Activating => (restart - elapsed).max(0.0),
            Phase::Finished => 0.0,
        };
        Some(Duration::from_micros((left * 1e6) as u64))
    }
}
