//! A copy of what the fleet knows, taken in the node's task and nothing but numbers and names; it is written elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use meshward_core::node::Node;
use meshward_core::telemetry::Metric;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::liveness::State;
use meshward_fleet::overhead::Class;
use meshward_fleet::packages::Topic;

use super::families::{Read, TOLD};
use crate::service::{Gateway, Slow, Tally, Written};

/// A node.
#[derive(Clone, Debug)]
pub(super) struct NodeCopy {
    pub(super) id: String,
    /// Whether it lives, as far as that is known.
    pub(super) up: Option<bool>,
    pub(super) last_seen: Option<f64>,
    /// The rest, while it lives.
    pub(super) live: Option<Live>,
}

/// What is said of a node that lives.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) name: String,
    pub(super) firmware: String,
    pub(super) firmware_md5: String,
    pub(super) hardware: String,
    pub(super) role: String,
    pub(super) score: Option<f64>,
    pub(super) booted: Option<f64>,
    pub(super) hops: Option<f64>,
    pub(super) connections: Option<f64>,
    pub(super) link_rtt: Option<f64>,
    /// By [`TOLD`].
    pub(super) told: [Option<f64>; TOLD.len()],
}

/// Alerts of these severities in these states are counted also where there are none.
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];
const RAISED: [&str; 2] = ["active_unack", "active_ack"];

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) mesh: String,
    pub(super) own: String,
    pub(super) states: BTreeMap<&'static str, u64>,
    pub(super) links: u64,
    pub(super) diameter: u64,
    pub(super) partitions: u64,
    pub(super) score: f64,
    pub(super) changes: u64,
    pub(super) overhead: f64,
    pub(super) byte_ratio: Option<f64>,
    pub(super) status_bytes: Vec<(&'static str, u64)>,
    pub(super) alerts: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) nodes: Vec<NodeCopy>,
    pub(super) parse_errors: [(&'static str, u64); 4],
    pub(super) tally: Tally,
    pub(super) broker: Option<bool>,
    pub(super) slow: [(Slow, u64); 2],
    pub(super) written: Option<Written>,
    /// Messages that wait, by channel: the node's task does not know them.
    pub(super) outbox: BTreeMap<String, u64>,
}

/// All states, so that each has a sample, which may be 0.
const STATES: [&str; 6] = ["learning", "online", "suspect", "offline", "sleeping", "unreachable"];

impl Snapshot {
    pub(super) fn take(gateway: &mut Gateway, now: Instant, node: &Node) -> Self {
        let (score, scores) = gateway.fleet_mut().all_scores(now);
        let (score, scores) =
            (f64::from(score.points) / 100.0, scores.into_iter().collect::<BTreeMap<_, _>>());
        let children = children(gateway);
        let ids: Vec<NodeId> = gateway.registry().iter().map(|(id, _)| id).collect();
        let nodes: Vec<NodeCopy> = ids
            .iter()
            .map(|id| copy(gateway, *id, &children, scores.get(id).and_then(|score| score.points)))
            .collect();
        let fleet = gateway.fleet();
        let mut states: BTreeMap<&'static str, u64> = STATES.iter().map(|state| (*state, 0)).collect();
        for (_, status) in fleet.liveness().iter() {
            *states.entry(status.state.name()).or_default() += 1;
        }
        // A series that is not there while all is well would be "no data" where somebody wants to read 0.
        let mut alerts: BTreeMap<(&str, &str), u64> =
            SEVERITIES.into_iter().flat_map(|severity| RAISED.map(|state| ((severity, state), 0))).collect();
        for alert in fleet.alerts().alerts() {
            *alerts.entry((alert.severity.name(), alert.state.name())).or_default() += 1;
        }
        let shares = fleet.shares(now);
        let status = [Class::Reports, Class::Questions, Class::Chatter];
        let counters = node.mesh().counters();
        Self {
            mesh: fleet.mesh_name().to_owned(),
            own: fleet.topology().own().to_string(),
            states,
            links: fleet.topology().links().count() as u64,
            diameter: diameter(gateway),
            partitions: fleet.incidents().open().filter(|open| open.missing.len() > 1).count() as u64,
            score,
            changes: fleet.topology().revision(),
            overhead: shares.status() / 100.0,
            byte_ratio: shares.byte_ratio(),
            status_bytes: status.map(|class| (class.name(), fleet.bytes_total(class))).to_vec(),
            alerts,
            nodes,
            parse_errors: [
                ("unreadable", counters.frames_unreadable),
                ("oversize", counters.oversize_frames),
                ("misrouted", counters.frames_misrouted),
                ("malformed", counters.packages_malformed),
            ],
            tally: *gateway.tally(),
            broker: gateway.broker(),
            slow: gateway.slow_listeners(),
            written: gateway.written(),
            outbox: BTreeMap::new(),
        }
    }
}

/// How many nodes hang directly below each.
fn children(gateway: &Gateway) -> BTreeMap<NodeId, u64> {
    let mut children = BTreeMap::new();
    for link in gateway.topology().links() {
        *children.entry(link.from).or_default() += 1;
    }
    children
}

/// The longest way between two nodes, in hops: at each node its two longest branches together.
fn diameter(gateway: &Gateway) -> u64 {
    let topology = gateway.topology();
    let mut deepest: Vec<(u32, NodeId, NodeId)> =
        topology.places().map(|(id, place)| (place.hops, id, place.parent)).collect();
    deepest.sort_unstable_by(|one, other| other.cmp(one));
    let (mut below, mut longest) = (BTreeMap::<NodeId, u64>::new(), 0);
    for (_, id, parent) in deepest {
        let branch = below.get(&id).copied().unwrap_or(0) + 1;
        let so_far = below.entry(parent).or_default();
        longest = longest.max(*so_far + branch);
        *so_far = branch.max(*so_far);
    }
    longest
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

fn copy(gateway: &Gateway, id: NodeId, children: &BTreeMap<NodeId, u64>, points: Option<u8>) -> NodeCopy {
    let status = gateway.fleet().liveness().get(id);
    let up = status.and_then(|status| match status.state {
        State::Online | State::Suspect | State::Sleeping => Some(true),
        State::Offline | State::Unreachable { .. } => Some(false),
        State::Learning | State::Forgotten => None,
    });
    let last_seen = status.and_then(|status| status.heard).map(|heard| unix(gateway.civil(heard)));
    let live = (up == Some(true)).then(|| live(gateway, id, children, points));
    NodeCopy { id: id.to_string(), up, last_seen, live }
}

fn live(gateway: &Gateway, id: NodeId, children: &BTreeMap<NodeId, u64>, points: Option<u8>) -> Live {
    let fleet = gateway.fleet();
    let series = fleet.series();
    let told = TOLD.map(|told| match told.read {
        Read::Last(factor) => series.last(id, told.metric).map(|last| last.value * factor),
        Read::Total => series.total(id, told.metric),
    });
    let booted = series.last(id, Metric::Uptime).map(|last| unix(gateway.civil(last.at)) - last.value);
    let place = fleet.topology().place(id).copied();
    let round_trip =
        series.last(id, Metric::RoundTrip).filter(|_| place.is_some_and(|place| place.hops == 1));
    let record = fleet.registry().get(id);
    let word = |text: Option<&String>| text.cloned().unwrap_or_default();
    let identity = record.map(|record| &record.identity);
    let md5 = fleet.facts(id).find(|fact| fact.topic == Topic::FirmwareMd5);
    Live {
        name: word(record.and_then(|record| record.name.as_ref())),
        firmware: word(identity.and_then(|identity| identity.version.as_ref())),
        firmware_md5: word(md5.map(|fact| &fact.text)),
        hardware: word(identity.and_then(|identity| identity.hardware.as_ref())),
        role: word(identity.and_then(|identity| identity.role.as_ref())),
        score: points.map(|points| f64::from(points) / 100.0),
        booted,
        hops: place.map(|place| f64::from(place.hops)),
        connections: place.map(|_| children.get(&id).copied().unwrap_or(0) as f64 + 1.0),
        link_rtt: round_trip.map(|last| last.value / 1_000.0),
        told,
    }
}
