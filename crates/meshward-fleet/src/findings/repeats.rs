//! Whether something happens to a node again and again: one rule for flapping and for reboot loops.
//!
//! It begins when so many have come within a window, and ends when none has come for as long as another. Between
//! there is nothing to tell but a growing count, so ten changes a minute are one finding and no storm.

use std::collections::{BTreeMap, VecDeque};

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

/// What came of one more time, or of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// Not often enough to speak of.
    Seldom,
    /// Now it is: it has begun.
    Began {
        /// How often within the window.
        count: u32,
    },
    /// It goes on.
    GoesOn {
        /// How often since the first that counted.
        count: u32,
        /// When that was.
        since: Instant,
    },
}

#[derive(Clone, Debug, Default)]
struct Times {
    recent: VecDeque<Instant>,
    /// Since when, and how often, while it goes on.
    going_on: Option<(Instant, u32)>,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Repeats {
    /// So many within `window` begin it.
    raise: usize,
    window: Duration,
    /// None for so long ends it.
    calm: Duration,
    nodes: BTreeMap<NodeId, Times>,
    dropped: u64,
}

impl Repeats {
    /// Most nodes that are watched at once.
    pub const NODES_MAX: usize = 10_000;

    /// `raise` times within `window` begin it, none for `calm` ends it.
    pub const fn new(raise: usize, window: Duration, calm: Duration) -> Self {
        Self { raise, window, calm, nodes: BTreeMap::new(), dropped: 0 }
    }

    /// The window.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// It has happened to `node` once more.
    pub fn happened(&mut self, now: Instant, node: NodeId) -> Repeated {
        if self.nodes.len() >= Self::NODES_MAX && !self.nodes.contains_key(&node) {
            self.dropped = self.dropped.saturating_add(1);
            return Repeated::Seldom;
        }
        let times = self.nodes.entry(node).or_default();
        times.recent.push_back(now);
        while times.recent.len() > self.raise {
            times.recent.pop_front();
        }
        if let Some((since, count)) = &mut times.going_on {
            *count = count.saturating_add(1);
            return Repeated::GoesOn { count: *count, since: *since };
        }
        match times.recent.front() {
            Some(first) if times.recent.len() >= self.raise && now.since(*first) <= self.window => {
                let count = u32::try_from(times.recent.len()).unwrap_or(u32::MAX);
                times.going_on = Some((*first, count));
                Repeated::Began { count }
            }
            _ => Repeated::Seldom,
        }
    }

    /// Whether it goes on for a node.
    pub fn goes_on(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|times| times.going_on.is_some())
    }

    /// The nodes for which it has ended by now; each is told once. Nodes that are calm are watched no longer.
    pub fn ended(&mut self, now: Instant) -> Vec<NodeId> {
        let (calm, window) = (self.calm, self.window);
        let quiet = |times: &Times, span| times.recent.back().is_none_or(|last| now.since(*last) >= span);
        let over = |times: &&Times| times.going_on.is_some() && quiet(times, calm);
        let ended = self.nodes.iter().filter(|(_, times)| over(times)).map(|(node, _)| *node).collect();
        self.nodes.retain(|_, times| !quiet(times, if times.going_on.is_some() { calm } else { window }));
        ended
    }

    /// When [`ended`](Self::ended) may have something to tell.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let going_on = self.nodes.values().filter(|times| times.going_on.is_some());
        going_on.filter_map(|times| times.recent.back()).map(|last| *last + self.calm).min()
    }

    /// A node was forgotten.
    pub fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// How often a node could not be watched.
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

    /// How often it began and ended when it happens at these seconds.
    fn check(times: &[u64], began: usize, ended: usize) {
        let mut repeats = Repeats::new(4, Duration::from_secs(60), Duration::from_secs(100));
        let (mut begins, mut ends) = (0, 0);
        for second in 0..2_000 {
            ends += repeats.ended(at(second)).len();
            if times.contains(&second) {
                let repeated = repeats.happened(at(second), NodeId(1));
                begins += usize::from(matches!(repeated, Repeated::Began { .. }));
            }
        }
        assert_eq!((begins, ends), (began, ended), "{times:?}");
        assert!(repeats.nodes.is_empty() && repeats.poll_timeout().is_none(), "nothing is left behind");
    }

    #[test]
    fn it_begins_once_and_ends_once() {
        check(&[0, 10, 20], 0, 0);
        check(&[0, 10, 20, 60], 1, 1);
        check(&[0, 10, 20, 61], 0, 0);
        check(&(0..1_000).step_by(6).collect::<Vec<_>>(), 1, 1);
        check(&[0, 1, 2, 3, 102, 201, 300], 1, 1);
        check(&[0, 1, 2, 3, 103, 104, 105, 106], 2, 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeats = Repeats::new(4, Duration::from_secs(60), Duration::from_secs(100));
        for id in 0..12_000 {
            repeats.happened(at(1), NodeId(id));
        }
        assert_eq!((repeats.nodes.len(), repeats.dropped()), (Repeats::NODES_MAX, 2_000));
    }
}
