//! What the budget allows at best, by the model of the channel alone: the least p95 of age and detection when all of
//! the budget goes to reports, and to the probes that lost ones call for.
//!
//! Nothing is kept back for restarts, other questions or the unevenness of minutes, so no period would do better. What
//! is wanted below that is not to be had: the budget wins.

use meshward_core::time::Duration;
use meshward_fleet::forecast::Channel;
use meshward_fleet::overhead::PROBE_BYTES;

use super::Case;

/// A neighbour notices a dead link after its next node sync, evenly from here to there.
const NEIGHBOUR_S: (f64, f64) = (10.0, 70.0);

/// What matters of a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// How deep each node is.
    pub depths: Vec<u32>,
    /// What one round of reports takes of the channel when nothing gets lost, in seconds.
    pub round_s: f64,
}

impl Tree {
    /// The mean depth.
    pub fn mean_depth(&self) -> f64 {
        f64::from(self.depths.iter().sum::<u32>()) / self.depths.len().max(1) as f64
    }
}

/// The least p95, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Least {
    /// Of the age of a node's newest value.
    pub age_s: f64,
    /// Of the detection of a silent death.
    pub death_s: f64,
}

/// The least of all seeds of a case together.
pub fn least(case: &Case, trees: &[Tree]) -> Least {
    let ways: Vec<Ways> = trees.iter().map(|tree| Ways::of(case, tree)).collect();
    let p95 = |of: &dyn Fn(&Ways, f64) -> f64| {
        crossing(|at| ways.iter().map(|way| of(way, at)).sum::<f64>() / ways.len().max(1) as f64)
    };
    let (reports, probed) = (p95(&Ways::older_by_reports), p95(&Ways::older_when_probed));
    Least { age_s: reports.min(probed), death_s: p95(&Ways::unseen) }
}

/// Where a share that falls with time is one in twenty.
fn crossing(share: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 36_000.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if share(middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The two ways to spend the budget on a tree: reports alone, or a probe for each that did not come.
struct Ways {
    /// How likely the report of each node is to get lost, and how long it takes from one that did not come until the
    /// node is lost, in seconds.
    nodes: Vec<(f64, f64)>,
    /// The period of reports alone, and with probes.
    alone_s: f64,
    probed_s: f64,
    grace_s: f64,
}

impl Ways {
    fn of(case: &Case, tree: &Tree) -> Self {
        // What relays pack is not forwarded.
        let loss = if case.aggregate { 0.0 } else { f64::from(case.loss) / 100.0 };
        let channel = Channel::default();
        let seconds = |bytes| channel.nanos(bytes) as f64 / 1e9;
        let budget = case.settings().budget_percent / 100.0;
        let through = |relays: u32| (1.0 - loss).powi(relays as i32);
        // The links that a message crosses until it has come or is lost.
        let crossed = |depth: u32| (0..depth).map(through).sum::<f64>();
        let (mut links, mut crossings, mut probes) = (0.0, 0.0, 0.0);
        for depth in tree.depths.iter().copied() {
            let relays = depth.saturating_sub(1);
            let there = crossed(depth);
            let [question, answer] = PROBE_BYTES.map(seconds);
            let round_trip = there * (question + through(relays) * answer);
            links += f64::from(depth);
            crossings += there;
            probes += (1.0 - through(relays)) / through(2 * relays) * round_trip;
        }
        let round = tree.round_s * crossings / f64::max(links, 1.0);
        let (alone_s, probed_s) = (round / budget, (round + probes) / budget);
        let (config, period) = (case.settings().liveness, Duration::from_micros((probed_s * 1e6) as u64));
        let node = |depth: &u32| {
            let patience = config.patience(period, f64::from(case.loss) / 100.0, *depth);
            (1.0 - through(depth.saturating_sub(1)), patience.as_secs_f64())
        };
        let nodes = tree.depths.iter().map(node).collect();
        Self { nodes, alone_s, probed_s, grace_s: config.grace.as_secs_f64() }
    }

    fn mean(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        let sum: f64 = self.nodes.iter().map(|(lost, patience)| of(*lost, *patience)).sum();
        sum / self.nodes.len().max(1) as f64
    }

    /// The share of ages above `age` when only reports come.
    fn older_by_reports(&self, age: f64) -> f64 {
        let rounds = (age / self.alone_s).floor();
        let part = age / self.alone_s - rounds;
        self.mean(|lost, _| lost.powf(rounds) * (1.0 - (1.0 - lost) * part))
    }

    /// The same when a probe goes for each report that did not come in time, and is answered.
    fn older_when_probed(&self, age: f64) -> f64 {
        let (period, grace) = (self.probed_s, self.grace_s);
        let within = (period - age).max(0.0) / period;
        let late = (period + grace - age).clamp(0.0, grace) / period;
        self.mean(|lost, _| (within + lost * late).min(1.0))
    }

    /// The share of deaths that nobody has seen after so long: neither the gateway, whose report did not come and
    /// whose probes were not answered, nor the neighbour.
    fn unseen(&self, after: f64) -> f64 {
        let (from, until) = NEIGHBOUR_S;
        let by_neighbour = ((until - after) / (until - from)).clamp(0.0, 1.0);
        let by_report = |patience: f64| (1.0 - (after - patience) / self.probed_s).clamp(0.0, 1.0);
        self.mean(|_, patience| by_report(patience) * by_neighbour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a round of reports takes where each is a message of its own, in seconds.
    fn round_alone(depths: &[u32]) -> f64 {
        let report = Channel::default().nanos(96) as f64 / 1e9;
        f64::from(depths.iter().sum::<u32>()) * report
    }

    /// The least of a tree in which so many nodes have each of these depths.
    fn check(case: &Case, depths: &[(usize, u32)], age: f64, death: f64) {
        let depths: Vec<u32> =
            depths.iter().flat_map(|(count, depth)| std::iter::repeat_n(*depth, *count)).collect();
        let tree = Tree { round_s: round_alone(&depths), depths };
        let least = least(case, &[tree]);
        assert!((least.age_s - age).abs() < 0.1, "{least:?}, not {age}");
        assert!((least.death_s - death).abs() < 0.1, "{least:?}, not {death}");
    }

    #[test]
    fn the_least_is_that_of_the_arithmetic() {
        // 50 nodes of depth 4, 2.8234 ms on each link: 0.5647 s a round, so a period of 28.2 s of which an age has 95 %.
        check(&Case::of(50, false), &[(50, 4)], 26.8, 36.7);
        // 100 nodes of depth 4.5: 1.2705 s, 63.5 s.
        check(&Case::of(100, false), &[(50, 4), (50, 5)], 60.3, 58.3);
        // One node over no relay loses nothing, whatever relays lose.
        let lossy = Case { loss: 5, ..Case::of(25, false) };
        check(&lossy, &[(25, 1)], 3.35, 14.3);
        // Of three relays' messages one in seven is lost: more than one age in twenty is over a period, and what probes for
        // them cost makes the period longer: 0.5237 s a round, and 0.1881 s for 50 times 0.194 probes of 19.39 ms, so
        // 35.6 s.
        check(&Case { loss: 5, ..Case::of(50, false) }, &[(50, 4)], 34.2, 44.4);
    }

    #[test]
    fn several_trees_are_one_row() {
        let case = Case::of(25, false);
        let tree = |depth: u32| Tree { depths: vec![depth; 25], round_s: round_alone(&[depth; 25]) };
        let both = least(&case, &[tree(1), tree(4)]);
        let (flat, deep) = (least(&case, &[tree(1)]), least(&case, &[tree(4)]));
        assert!(flat.age_s < both.age_s && both.age_s < deep.age_s, "{both:?}");
        // One in twenty of both is one in ten of the deep one.
        assert!((both.age_s - deep.age_s / 0.95 * 0.9).abs() < 0.01, "{both:?} {deep:?}");
    }
}
