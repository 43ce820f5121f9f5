//! Nodes whose broadcasts take more of the channel than the whole budget.
//!
//! A sketch that broadcasts its status each few seconds is harmless at ten nodes and fills the channel at fifty. A node
//! is noisy when its status broadcasts took more than the limit over ten minutes, and no longer when they took less
//! than half of it. Ten minutes are counted in two halves, so a finding comes up to five minutes late.

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::meter::{Class, Frame};
use crate::findings::{Change, Evidence, Findings, Kind};
use crate::forecast::Channel;

/// Half of what is looked back on.
const HALF: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, Default)]
struct Sum {
    now: u64,
    before: u64,
    /// Types and what they took of the half under way: the first four.
    kinds: Vec<(i32, u64)>,
    worst: Option<i32>,
    /// There is a finding.
    found: bool,
}

/// Types that are told apart per node.
const KINDS_MAX: usize = 4;

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Noise {
    /// In percent of the channel.
    limit: f64,
    nodes: BTreeMap<NodeId, Sum>,
    half: u64,
    /// Whether the half before was watched from its beginning.
    whole: bool,
    dropped: u64,
}

impl Noise {
    /// Most nodes that are watched.
    pub const NODES_MAX: usize = 2_000;

    /// `limit` in percent of the channel.
    pub const fn new(limit: f64) -> Self {
        Self { limit, nodes: BTreeMap::new(), half: 0, whole: false, dropped: 0 }
    }

    /// A message of `origin` was seen.
    pub fn record(&mut self, channel: &Channel, origin: NodeId, frame: &Frame) {
        if frame.class() != Class::Chatter {
            return;
        }
        if self.nodes.len() >= Self::NODES_MAX && !self.nodes.contains_key(&origin) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let nanos = frame.nanos(channel);
        let sum = self.nodes.entry(origin).or_default();
        sum.now = sum.now.saturating_add(nanos);
        if let Some((_, of_kind)) = sum.kinds.iter_mut().find(|(kind, _)| *kind == frame.kind) {
            *of_kind = of_kind.saturating_add(nanos);
        } else if sum.kinds.len() < KINDS_MAX {
            sum.kinds.push((frame.kind, nanos));
        }
    }

    /// Looks at all nodes each five minutes; calls between do nothing.
    pub fn handle_timeout(&mut self, now: Instant, findings: &mut Findings) -> Vec<Change> {
        let half = now.as_micros() / HALF.as_micros();
        if half <= self.half {
            return Vec::new();
        }
        // After a pause there is no half before.
        let (follows, first) = (half == self.half.saturating_add(1), self.half == 0);
        self.half = half;
        let whole = std::mem::replace(&mut self.whole, !first || follows) && follows;
        let span = HALF.as_micros() as f64 * if whole { 2.0 } else { 1.0 };
        let mut changes = Vec::new();
        for (node, sum) in &mut self.nodes {
            let taken = sum.now.saturating_add(if whole { sum.before } else { 0 });
            let percent = taken as f64 / (span * 10.0);
            sum.worst = sum.kinds.iter().max_by_key(|(_, nanos)| *nanos).map(|(kind, _)| *kind).or(sum.worst);
            if percent > self.limit {
                let evidence = Evidence::Share { percent, kind: sum.worst.unwrap_or_default() };
                sum.found = true;
                changes.extend(findings.raise(now, Kind::NoisyNode, *node, evidence));
            } else if percent < self.limit / 2.0 {
                sum.found = false;
                changes.extend(findings.clear(Kind::NoisyNode, *node));
            }
            (sum.before, sum.now) = (sum.now, 0);
            sum.kinds.clear();
        }
        self.nodes.retain(|_, sum| sum.before > 0 || sum.found);
        changes
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub const fn poll_timeout(&self) -> Instant {
        Instant::from_micros(self.half.saturating_add(1).saturating_mul(HALF.as_micros()))
    }

    /// How many messages came of nodes that there was no room for.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::super::meter::Crossings;
    use super::*;

    /// Node 7 broadcasts `kind` with so many bytes each so often in a mesh of 50 for half an hour, then for half an hour
    /// nothing; how often it was found noisy, the percentage, and whether that was taken back.
    fn check(kind: i32, bytes: usize, each: u64, single: bool, expected: Option<f64>) {
        let mut noise = Noise::new(2.0);
        let mut findings = Findings::default();
        let channel = Channel::default();
        let (mut raised, mut cleared) = (Vec::new(), 0);
        for second in 1..3_600 {
            let now = Instant::ORIGIN + Duration::from_secs(second);
            let crossings = if single { Crossings::Hops(3) } else { Crossings::Everywhere(50) };
            if second % each == 0 && second < 1_800 {
                noise.record(&channel, NodeId(7), &Frame { kind, bytes, crossings });
            }
            for change in noise.handle_timeout(now, &mut findings) {
                match change {
                    Change::Raised(finding) => raised.push(finding),
                    Change::Cleared(_) => cleared += 1,
                }
            }
        }
        let Some(expected) = expected else {
            assert_eq!((raised.len(), cleared), (0, 0), "{kind} each {each} s");
            return;
        };
        assert_eq!((raised.len(), cleared), (1, 1), "{kind} each {each} s");
        let Evidence::Share { percent, kind: told } = raised[0].evidence else { panic!() };
        assert!((percent - expected).abs() < 0.05 * expected && told == kind, "{percent}");
        assert!(noise.nodes.is_empty());
    }

    #[test]
    fn a_node_that_fills_the_channel_has_its_name_on_it() {
        check(604, 273, 10, false, Some(2.05));
        check(202, 920, 2, false, Some(22.3));
        check(604, 273, 60, false, None);
        check(202, 920, 2, true, None);
        check(8, 920, 2, false, None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut noise = Noise::new(2.0);
        let frame = Frame { kind: 604, bytes: 273, crossings: Crossings::Everywhere(50) };
        (0..3_000).for_each(|id| noise.record(&Channel::default(), NodeId(id), &frame));
        assert_eq!((noise.nodes.len(), noise.dropped()), (Noise::NODES_MAX, 1_000));
    }
}
