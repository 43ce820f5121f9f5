//! What a host's chip would measure: free heap and how strong it hears its parent, with the noise that simulated
//! statistics are made with. Uptime, links and traffic the node counts itself.

use meshward_core::rng::Rng;
use meshward_core::telemetry::Metric;
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;

use crate::anomaly::{Noise, normal};

/// A sketch measures this often.
pub(super) const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// Free heap and signal strength of the average board: B and dBm.
const LEVELS: (f64, f64) = (160_000.0, -60.0);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Vitals {
    rng: Rng,
    heap: f64,
    rssi: f64,
}

impl Vitals {
    /// Those of the board with this id, which differs from others for good.
    pub(super) fn of(id: NodeId) -> Self {
        let mut rng = Rng::new(u64::from(id.0));
        let Noise { heap, rssi, .. } = Noise::USUAL;
        Self {
            heap: LEVELS.0 * (1.0 + heap.1 * normal(&mut rng)),
            rssi: LEVELS.1 + rssi.1 / 2.0 * normal(&mut rng).clamp(-2.0, 2.0),
            rng,
        }
    }

    /// The next measurement; `left` is the share of the heap that a leak has not taken yet.
    pub(super) fn measure(&mut self, left: f64) -> [(Metric, i64); 2] {
        let Noise { heap, rssi, .. } = Noise::USUAL;
        let free = left * self.heap * (1.0 + heap.0 * normal(&mut self.rng));
        let heard = self.rssi + rssi.0 / 2.0 * normal(&mut self.rng);
        [(Metric::FreeHeap, free.max(0.0) as i64), (Metric::Rssi, heard.clamp(-97.0, -25.0) as i64)]
    }
}
