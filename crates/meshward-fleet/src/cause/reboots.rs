//! Restarts, told from losses, from clocks that jump and from counters that wrap; and restarts again and again.
//!
//! Three signs: an uptime that went backwards, a count of starts that went up, and a new session. Several signs of one
//! restart count once. An uptime is believed when it fits what was believed before, and a jump when a second one fits
//! it; packages that come late are neither.

use std::collections::BTreeMap;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use crate::findings::{Change, Evidence, Findings, Kind, Repeated, Repeats};

/// How exact uptimes are, and how late a package may be.
const SLACK: u64 = 60;
/// A new uptime may be longer than the time since the last one by this, in seconds.
const START_SLACK: u64 = 5;
/// Two signs within this time are of one restart.
const ONE_RESTART: Duration = Duration::from_secs(60);
/// An uptime that is sent in milliseconds wraps after so many seconds, one in seconds never.
const MILLIS_WRAP: u64 = 4_294_967;
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
    /// The newest believed uptime in seconds, and when.
    uptime: Option<(u64, Instant)>,
    /// One that did not fit.
    odd: Option<(u64, Instant)>,
    boots: Option<u32>,
    session: Option<u64>,
    reason: Option<u8>,
    /// The last restart, and the signs of it.
    last: Option<(Instant, Vec<Sign>)>,
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

enum Judgement {
    Fits,
    Restarted,
    Late,
    Odd,
}

/// What an uptime is, after `old` so many seconds ago.
fn judge(old: u64, elapsed: u64, new: u64) -> Judgement {
    let expected = old.saturating_add(elapsed);
    let fits = |expected: u64| {
        new.saturating_add(SLACK) >= expected && new <= expected.saturating_add(SLACK + elapsed / 20)
    };
    let began_since = new <= elapsed.saturating_add(START_SLACK);
    let wrapped = expected >= MILLIS_WRAP && old < MILLIS_WRAP && fits(expected.saturating_sub(MILLIS_WRAP));
    if (new >= old && fits(expected)) || wrapped {
        Judgement::Fits
    } else if new < old && began_since {
        Judgement::Restarted
    } else if new < old && new.saturating_add(2 * SLACK) >= old {
        Judgement::Late
    } else {
        Judgement::Odd
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

    /// A node has told its uptime, observed at this time.
    pub fn uptime(&mut self, now: Instant, node: NodeId, seconds: u64) -> Option<Reboot> {
        let memory = self.memory(node)?;
        let since = |at: Instant| now.since(at).as_micros() / 1_000_000;
        let Some((old, at)) = memory.uptime.filter(|(_, at)| *at <= now) else {
            memory.uptime.get_or_insert((seconds, now));
            return None;
        };
        match judge(old, since(at), seconds) {
            Judgement::Fits => {
                (memory.uptime, memory.odd) = (Some((seconds, now)), None);
                None
            }
            Judgement::Late => None,
            Judgement::Restarted => {
                (memory.uptime, memory.odd) = (Some((seconds, now)), None);
                self.sign(now, node, Sign::Uptime)
            }
            Judgement::Odd => {
                // A second one that fits the first means that the clock was set, or was wrong before.
                let before = memory
                    .odd
                    .filter(|(odd, at)| matches!(judge(*odd, since(*at), seconds), Judgement::Fits));
                match before {
                    Some(_) => (memory.uptime, memory.odd) = (Some((seconds, now)), None),
                    None => memory.odd = Some((seconds, now)),
                }
                self.doubtful = self.doubtful.saturating_add(1);
                None
            }
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
            |memory: &Memory| Start { uptime: memory.uptime, boots: memory.boots, reason: memory.reason };
        memory.map(start).unwrap_or_default()
    }

    /// What a node had said before the gateway's start, so that a restart between is found. Nothing changes where it
    /// has said something since.
    pub fn restore(&mut self, node: NodeId, start: Start) {
        if start == Start::default() || self.nodes.contains_key(&node) {
            return;
        }
        if let Some(memory) = self.memory(node) {
            (memory.uptime, memory.boots, memory.reason) = (start.uptime, start.boots, start.reason);
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
        let started = memory.uptime.filter(|_| sign == Sign::Uptime);
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

    /// Uptimes at seconds; how many restarts that is, and how many were doubtful.
    fn check(uptimes: &[(u64, u64)], restarts: usize, doubtful: u64) {
        let mut reboots = Reboots::default();
        let told =
            uptimes.iter().filter_map(|(second, uptime)| reboots.uptime(at(*second), NodeId(2), *uptime));
        assert_eq!((told.count(), reboots.doubtful()), (restarts, doubtful), "{uptimes:?}");
    }

    #[test]
    fn uptimes_that_go_backwards_are_restarts_and_nothing_else_is() {
        check(&[(0, 100), (30, 130), (60, 160)], 0, 0);
        check(&[(0, 100), (30, 12)], 1, 0);
        check(&[(0, 100), (30, 12), (60, 42), (90, 3)], 2, 0);
        check(&[(0, 10), (30, 8), (60, 7), (90, 6)], 3, 0);
        // A day of silence, and up for an hour.
        check(&[(0, 5_000_000), (86_400, 3_600)], 1, 0);
        // A package that was held up, and one that is the same as before.
        check(&[(0, 100), (30, 130), (31, 101), (32, 130)], 0, 0);
        // Milliseconds that wrap after 49.7 days are no restart.
        check(&[(0, 4_294_950), (30, 13)], 0, 0);
        // One absurd value, and back again; a clock that is set for good.
        check(&[(0, 100), (30, 4_000_000_000), (60, 160)], 0, 1);
        check(&[(0, 100), (30, 900_000), (60, 900_030), (90, 900_060), (120, 5)], 1, 2);
        check(&[(0, 100), (10, 5_000), (20, 77_000), (30, 1_000), (40, 140)], 0, 3);
        check(&[(50, 100), (20, 70), (80, 130)], 0, 0);
    }

    #[test]
    fn several_signs_of_one_restart_count_once() {
        let mut reboots = Reboots::default();
        let node = NodeId(2);
        reboots.uptime(at(0), node, 100);
        reboots.boots(at(0), node, 7);
        reboots.session(at(0), node, 1);
        reboots.reset_reason(node, 4);
        let reboot = reboots.session(at(30), node, 2).unwrap();
        assert_eq!((reboot.sign, reboot.reason, reboot.started), (Sign::Session, Some(4), None));
        assert_eq!((reboots.boots(at(31), node, 8), reboots.uptime(at(33), node, 6)), (None, None));
        let reboot = reboots.uptime(at(50), node, 2).unwrap();
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
