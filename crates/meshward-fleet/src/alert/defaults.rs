//! The rules that are in force when nobody has written any.

use std::collections::BTreeMap;

use meshward_core::telemetry::Metric;
use meshward_core::time::Duration;

use super::rule::{Rule, Severity, What};
use crate::anomaly::Side;
use crate::condition::kind;
use crate::signal::Signal;
use Look::{Above, Below, State};
use Severity::{Critical, Info, Warning};

/// What a rule looks at: a state, or a level with where it raises and clears.
#[derive(Clone, Copy)]
enum Look {
    State(&'static str),
    Below(Metric, f64, f64),
    Above(Metric, f64, f64),
}

impl Look {
    fn what(self) -> What {
        let level =
            |metric, side, raise, clear| What::Measure { signal: Signal::Level(metric), side, raise, clear };
        match self {
            State(kind) => What::State(kind.to_owned()),
            Below(metric, raise, clear) => level(metric, Side::Below, raise, clear),
            Above(metric, raise, clear) => level(metric, Side::Above, raise, clear),
        }
    }
}

/// Name, what it looks at, minutes until it is raised and until it is cleared, severity, what to do.
type Row = (&'static str, Look, (u64, u64), Severity, &'static str);

const ROWS: &[Row] = &[
    (
        "node_offline",
        State(kind::OFFLINE),
        (0, 1),
        Warning,
        "look at its supply, then at what stands between it and its parent",
    ),
    ("branch_lost", State(kind::INCIDENT), (0, 1), Critical, "bring back the node that the incident names"),
    ("mesh_parted", State(kind::PARTITION), (1, 2), Critical, "bring back a node between the parts"),
    (
        "low_heap",
        Below(Metric::FreeHeap, 10_000.0, 12_000.0),
        (2, 5),
        Critical,
        "restart the node; reduce its queues and buffers",
    ),
    (
        "reboot_loop",
        State(kind::REBOOT_LOOP),
        (0, 10),
        Critical,
        "look at its supply and the reset reason; go back to the image before",
    ),
    (
        "memory_leak",
        State(kind::LEAK),
        (0, 30),
        Warning,
        "restart the node before the time is over; look for what is never freed",
    ),
    (
        "link_decay",
        State(kind::LINK_DECAY),
        (0, 30),
        Warning,
        "look at its antenna, its supply and what stands between",
    ),
    (
        "weak_link",
        Below(Metric::Rssi, -85.0, -80.0),
        (10, 10),
        Warning,
        "move it nearer to its parent, or put a node between",
    ),
    (
        "high_round_trip",
        Above(Metric::RoundTrip, 1_000.0, 700.0),
        (10, 10),
        Warning,
        "look at the load of the nodes on its way",
    ),
    (
        "message_loss",
        Above(Metric::Loss, 10.0, 5.0),
        (10, 10),
        Warning,
        "look at the links on its way, and send less",
    ),
    ("low_battery", Below(Metric::Battery, 15.0, 25.0), (10, 10), Warning, "charge or change its battery"),
    (
        "node_flapping",
        State(kind::FLAPPING),
        (0, 10),
        Warning,
        "move it nearer to its parent, or put a node between",
    ),
    (
        "overhead",
        State(kind::OVERHEAD),
        (5, 10),
        Warning,
        "report less often, aggregate, or raise the budget",
    ),
    (
        "noisy_node",
        State(kind::NOISY_NODE),
        (1, 10),
        Warning,
        "have its sketch send status to the gateway alone, or less often",
    ),
    ("drift", State(kind::DRIFT), (5, 5), Info, "deploy the image that the others of its version run"),
];

/// See the module's page.
pub fn default_rules() -> Vec<Rule> {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let rule = |(name, look, (hold, recover), severity, runbook): &Row| Rule {
        name: (*name).to_owned(),
        what: look.what(),
        hold_for: minutes(*hold),
        recover_for: minutes(*recover),
        fresh_for: minutes(10),
        schedule: None,
        severity: *severity,
        labels: BTreeMap::new(),
        runbook: (*runbook).to_owned(),
        enabled: true,
    };
    ROWS.iter().map(rule).collect()
}
