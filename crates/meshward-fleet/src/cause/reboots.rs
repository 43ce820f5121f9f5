//! Restarts, told from losses; and restarts again and again.
//!
//! Three signs: an uptime that says so ([`uptime`](crate::uptime)), a count of starts that went up, and a new session.
//! Several signs of one restart count once.

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::findings::{Change, Evidence, Findings, Kind, Repeated, Repeats};
use crate::uptime::{Told, Uptimes};

/// Two signs within this time are of one restart.
const ONE_RESTART: Duration = Duration::from_secs(60);
/// More than three restarts an hour, as the library's proposal for health checks has it.
const LOOP_REBOOTS: usize = 4;
const LOOP_WINDOW: Duration = Duration::from_secs(3_600);

/// How a restart was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// Its uptime went backwards.
    Uptime,
    /// It counted one more start.
    Boots,
    /// It began a new session.
    Session,
}

/// What a node has said of its starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The newest believed uptime in seconds, and when it was observed.
    pub uptime: Option<(u64, Instant)>,
    /// How often it has started.
    pub boots: Option<u32>,
    /// Why it started last, by ESP-IDF's `esp_reset_reason_t`.
    pub reason: Option<u8>,
}

/// A node has restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reboot {
    /// Which.
    pub node: NodeId,
    /// When it was noticed.
    pub at: Instant,
    /// When it restarted, as far as its uptime says.
    pub started: Option<Instant>,
    /// By which sign it was noticed first.
    pub sign: Sign,
    /// Why, by ESP-IDF's `esp_reset_reason_t`, if it has told by then.
    pub reason: Option<u8>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    uptimes: Uptimes,
    boots: Option<u32>,
    session: Option<u64>,
    reason: Option<u8>,
    /// The last restart, and the signs of it.
    last: Option<(Instant, Vec<Sign>)>,
}

impl Memory {
    fn uptime(&self) -> Option<(u64, Instant)> {
        self.uptimes.last().map(|(millis, at)| (millis / 1_000, at))
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Reboots {
    nodes: BTreeMap<NodeId, Memory>,
    repeats: Repeats,
    doubtful: u64,
    dropped: u64,
}

impl Default for Reboots {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            repeats: Repeats::new(LOOP_REBOOTS, LOOP_WINDOW, LOOP_WINDOW),
            doubtful: 0,
            dropped: 0,
        }
    }
}

impl Reboots {
    /// Most nodes that are remembered.
    pub const NODES_MAX: usize = 10_000;

    fn memory(&mut self, node: NodeId) -> Option<&mut Memory> {
        if self.nodes.len() >= Self::NODES_MAX && !self.nodes.contains_key(&node) {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        Some(self.nodes.entry(node).or_default())
    }

    /// A node has told its uptime, as it was at the time `observed`.
    pub fn uptime(&mut self, now: Instant, node: NodeId, seconds: u64, observed: Instant) -> Option<Reboot> {
        match self.memory(node)?.uptimes.handle(seconds.saturating_mul(1_000), observed.min(now)) {
            Told::Restarted(_) => self.sign(now, node, Sign::Uptime),
            Told::Doubtful => {
                self.doubtful = self.doubtful.saturating_add(1);
                None
            }
            Told::First | Told::Ran | Told::Late => None,
        }
    }

    /// A node has told how often it has started. A smaller number than before means that its memory was erased.
    pub fn boots(&mut self, now: Instant, node: NodeId, count: u32) -> Option<Reboot> {
        let old = self.memory(node)?.boots.replace(count);
        if old.is_some_and(|old| old != count) { self.sign(now, node, Sign::Boots) } else { None }
    }

    /// A node has named the session that it is in; a new one begins with each start.
    pub fn session(&mut self, now: Instant, node: NodeId, session: u64) -> Option<Reboot> {
        let old = self.memory(node)?.session.replace(session);
        if old.is_some_and(|old| old != session) { self.sign(now, node, Sign::Session) } else { None }
    }

    /// A node has told why it started last: kept for the restart that follows or was just noticed.
    pub fn reset_reason(&mut self, node: NodeId, reason: u8) {
        if let Some(memory) = self.memory(node) {
            memory.reason = Some(reason);
        }
    }

    /// What a node has said of its starts.
    pub fn start(&self, node: NodeId) -> Start {
        let memory = self.nodes.get(&node);
        let start =
            |memory: &Memory| Start { uptime: memory.uptime(), boots: memory.boots, reason: memory.reason };
        memory.map(start).unwrap_or_default()
    }

    /// What a node had said before the gateway's start, so that a restart between is found. Nothing changes where it
    /// has said something since.
    pub fn restore(&mut self, node: NodeId, start: Start) {
        if start == Start::default() || self.nodes.contains_key(&node) {
            return;
        }
        if let Some(memory) = self.memory(node) {
            let known =
                |(seconds, at): (u64, Instant)| Uptimes::before_start(seconds.saturating_mul(1_000), at);
            memory.uptimes = start.uptime.map(known).unwrap_or_default();
            (memory.boots, memory.reason) = (start.boots, start.reason);
        }
    }

    /// The reason that a node has told last.
    pub fn reason(&self, node: NodeId) -> Option<u8> {
        self.nodes.get(&node)?.reason
    }

    fn sign(&mut self, now: Instant, node: NodeId, sign: Sign) -> Option<Reboot> {
        let memory = self.nodes.get_mut(&node)?;
        if let Some((at, signs)) = &mut memory.last
            && now.since(*at) < ONE_RESTART
            && !signs.contains(&sign)
        {
            signs.push(sign);
            return None;
        }
        memory.last = Some((now, vec![sign]));
        let started = memory.uptime().filter(|_| sign == Sign::Uptime);
        let started = started.map(|(uptime, at)| at - Duration::from_secs(uptime));
        Some(Reboot { node, at: now, started, sign, reason: memory.reason })
    }

    /// A restart was noticed: whether that makes a loop.
    pub fn watch(&mut self, reboot: &Reboot, findings: &mut Findings) -> Option<Change> {
        let evidence = match self.repeats.happened(reboot.at, reboot.node) {
            Repeated::Seldom => return None,
            Repeated::Began { count } => Evidence::Repeated { count, within: LOOP_WINDOW },
            Repeated::GoesOn { count, since } => Evidence::Repeated { count, within: reboot.at.since(since) },
        };
        findings.raise(reboot.at, Kind::RebootLoop, reboot.node, evidence)
    }

    /// Which loops have ended: no restart for an hour.
    pub fn handle_timeout(&mut self, now: Instant, findings: &mut Findings) -> Vec<Change> {
        let ended = self.repeats.ended(now).into_iter();
        ended.filter_map(|node| findings.clear(Kind::RebootLoop, node)).collect()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.repeats.poll_timeout()
    }

    /// A node was forgotten.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.repeats.forget(node);
    }

    /// How many uptimes did not fit, and were not believed.
    pub const fn doubtful(&self) -> u64 {
        self.doubtful
    }

    /// How often there was no room for a node.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn an_uptime_that_says_so_is_a_restart_and_a_doubtful_one_is_counted() {
        let mut reboots = Reboots::default();
        let rows = [(0, 100, false), (30, 12, true), (60, 900_000, false), (90, 72, false), (120, 3, true)];
        for (second, uptime, restarted) in rows {
            let reboot = reboots.uptime(at(second), NodeId(2), uptime, at(second));
            assert_eq!(reboot.is_some(), restarted, "{uptime} at {second}");
            assert!(reboot.is_none_or(|reboot| reboot.started == Some(at(second - uptime))));
        }
        assert_eq!(reboots.doubtful(), 1);
        let mut after = Reboots::default();
        after.restore(NodeId(2), reboots.start(NodeId(2)));
        assert!(after.uptime(at(150), NodeId(2), 33, at(150)).is_none());
        assert!(after.uptime(at(180), NodeId(2), 5, at(180)).is_some(), "what was known before counts");
    }

    #[test]
    fn several_signs_of_one_restart_count_once() {
        let mut reboots = Reboots::default();
        let node = NodeId(2);
        reboots.uptime(at(0), node, 100, at(0));
        reboots.boots(at(0), node, 7);
        reboots.session(at(0), node, 1);
        reboots.reset_reason(node, 4);
        let reboot = reboots.session(at(30), node, 2).unwrap();
        assert_eq!((reboot.sign, reboot.reason, reboot.started), (Sign::Session, Some(4), None));
        assert_eq!((reboots.boots(at(31), node, 8), reboots.uptime(at(33), node, 6, at(33))), (None, None));
        let reboot = reboots.uptime(at(50), node, 2, at(50)).unwrap();
        assert_eq!(reboot.started, Some(at(48)), "the same sign again is another restart");
        assert_eq!(reboots.boots(at(51), node, 9), None);
        assert!(reboots.boots(at(200), node, 10).is_some());
        assert_eq!(reboots.boots(at(201), node, 10), None);
    }

    #[test]
    fn restarts_again_and_again_are_one_finding() {
        let (mut reboots, mut findings) = (Reboots::default(), Findings::default());
        let mut raised = 0;
        for start in 0..50 {
            let reboot = reboots.boots(at(30 * start), NodeId(2), start as u32);
            let change = reboot.and_then(|reboot| reboots.watch(&reboot, &mut findings));
            raised += usize::from(change.is_some());
        }
        assert_eq!((raised, findings.iter().count()), (1, 1));
        let finding = *findings.of(NodeId(2)).next().unwrap();
        assert_eq!(finding.evidence, Evidence::Repeated { count: 49, within: Duration::from_secs(1_440) });
        assert!(reboots.handle_timeout(at(2_000), &mut findings).is_empty());
        let due = reboots.poll_timeout().unwrap();
        assert_eq!(reboots.handle_timeout(due, &mut findings).len(), 1);
        assert_eq!(findings.iter().count(), 0);
        // Three in an hour are none.
        for (second, count) in [(0, 60), (60, 61), (120, 62), (4_000, 63)] {
            if let Some(reboot) = reboots.boots(at(10_000 + second), NodeId(3), count) {
                assert_eq!(reboots.watch(&reboot, &mut findings), None);
            }
        }
    }
}
