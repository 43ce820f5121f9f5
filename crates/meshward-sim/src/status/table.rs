//! Rows of figures on freshness, detection and overhead, and the table that they make.

use std::fmt::Write as _;

use serde::Serialize;

use super::bound::{Tree, least};
use super::{Case, Nodes, Run};

/// Stands above the table.
pub const MODEL: &str = "\
**The model.** The one radio channel of the update tables: a frame of L bytes, its NUL included, occupies it for t(L) = 2.09 ms + 7.64 µs · L, \
constants fitted to a published measurement of ESP8266 nodes; no figure here comes from a radio. Node and time syncs take no channel time and do \
not count. *Loss* is the share of forwarded frames that die at a relay; what a relay packs into a message of its own is not forwarded. Each seed \
is a tree of its own that has grown at random with at most 4 children a node, below a gateway with the budget of 2 % that it has by default; \
nodes measure free heap (CV 3 % within a node, 10 % between nodes) and RSSI (± 3 dB, ± 12 dB) each 5 s. The gateway begins with a mesh that runs \
already, and is watched for half an hour and then an hour; then nodes lose their power without closing a connection, one after the other, \
and have it again 4 minutes later; then others close their connections and go.

*Age* is that of the newest value of a node, sampled each 5 s of the hour over all nodes. *Share* is what status (types 3 and 210 to 215 here) took \
of the channel in the hour, by every frame on every link, and by the gateway's own meter, which sees only its own links; *worst* the most of any ten \
minutes from the gateway's start to the end, deaths included. *Period* is what the governor chose, over the seeds. *Death* and *leave* run from the \
power's end until the gateway calls the node lost. *Wrong* counts nodes that were called lost and were not, nor anybody above them, and alerts of the \
quiet hour. *Least* is what the whole budget allows by the model of the channel, with nothing kept back (ADR 12); where more than that was wanted, \
the budget wins.
";

/// One row: all seeds of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Nodes below the gateway.
    pub n: usize,
    /// What they are.
    pub nodes: &'static str,
    /// Mean distance from the gateway, in links.
    pub mean_depth: f64,
    /// Whether relays pack the reports of others with their own.
    pub aggregate: bool,
    /// Forwarded frames that die at a relay, in per cent.
    pub loss: u32,
    /// Seeds.
    pub seeds: usize,
    /// How often nodes reported: the shortest and the longest period of all seeds, in seconds.
    pub period_s: (f64, f64),
    /// p50 and p95 of the age of a node's newest value, in seconds.
    pub age_p50_s: f64,
    /// See `age_p50_s`.
    pub age_p95_s: f64,
    /// What is wanted of it.
    pub age_wanted_s: f64,
    /// The least that the budget allows, of nodes that all report.
    pub age_least_s: Option<f64>,
    /// Channel time for status by the frames on the links, in percent.
    pub share_percent: f64,
    /// The same by the gateway's meter.
    pub metered_percent: f64,
    /// The most within any ten minutes of any seed.
    pub worst_percent: f64,
    /// The most that the gateway's meter showed.
    pub metered_worst_percent: f64,
    /// Silent deaths.
    pub deaths: usize,
    /// Those that nobody saw.
    pub deaths_missed: usize,
    /// p50 and p95 of their detection, in seconds.
    pub death_p50_s: f64,
    /// See `death_p50_s`.
    pub death_p95_s: f64,
    /// What is wanted of it.
    pub death_wanted_s: f64,
    /// The least that the budget allows, of nodes that all report.
    pub death_least_s: Option<f64>,
    /// Clean leaves.
    pub leaves: usize,
    /// p95 of their detection, in seconds.
    pub leave_p95_s: f64,
    /// Nodes that were called lost and were not.
    pub false_losses: usize,
    /// Alerts without a reason.
    pub false_alerts: usize,
    /// Times when the mesh did not find together again within ten minutes.
    pub stuck: usize,
}

impl Row {
    /// Whether everything is as wanted.
    pub fn is_kept(&self) -> bool {
        self.ages_kept() && self.deaths_kept() && self.others_kept()
    }

    /// Whether what is not as wanted is what the budget does not allow.
    pub fn budget_wins(&self) -> bool {
        let forbidden = |least: Option<f64>, wanted| least.is_some_and(|least| least > wanted);
        !self.is_kept()
            && self.others_kept()
            && (self.ages_kept() || forbidden(self.age_least_s, self.age_wanted_s))
            && (self.deaths_kept() || forbidden(self.death_least_s, self.death_wanted_s))
    }

    fn ages_kept(&self) -> bool {
        self.age_p95_s <= self.age_wanted_s
    }

    fn deaths_kept(&self) -> bool {
        self.death_p95_s <= self.death_wanted_s
    }

    fn others_kept(&self) -> bool {
        self.leave_p95_s <= 2.0
            && self.worst_percent <= 2.0
            && self.false_losses + self.false_alerts + self.stuck == 0
    }

    /// What is said of it in one word.
    const fn verdict(is_kept: bool, budget_wins: bool) -> &'static str {
        match (is_kept, budget_wins) {
            (true, _) => "kept",
            (false, true) => "the budget wins",
            (false, false) => "missed",
        }
    }
}

/// The row of a case.
pub fn row(case: &Case, runs: &[Run]) -> Row {
    let mean = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
    let most = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).fold(0.0, f64::max);
    let count = |of: &dyn Fn(&Run) -> usize| runs.iter().map(of).sum::<usize>();
    let all =
        |of: &dyn Fn(&Run) -> &Vec<f64>| runs.iter().flat_map(|run| of(run).clone()).collect::<Vec<_>>();
    // What nobody saw took longer than anything.
    let seen = |of: &dyn Fn(&Run) -> &Vec<Option<f64>>| {
        let times = runs.iter().flat_map(|run| of(run).iter().map(|time| time.unwrap_or(f64::INFINITY)));
        times.collect::<Vec<_>>()
    };
    let (ages, deaths, leaves) = (all(&|run| &run.ages), seen(&|run| &run.deaths), seen(&|run| &run.leaves));
    let (age_wanted_s, death_wanted_s) = case.wanted();
    let trees: Vec<Tree> = runs.iter().map(|run| run.tree.clone()).collect();
    // Others are not told to report, so the budget does not bound how fresh they are.
    let least = (case.nodes == Nodes::Meshward).then(|| least(case, &trees));
    let shortest = runs.iter().map(|run| run.period).fold(f64::INFINITY, f64::min);
    Row {
        n: case.n,
        nodes: case.nodes.name(),
        mean_depth: rounded(mean(&|run| run.tree.mean_depth())),
        aggregate: case.aggregate,
        loss: case.loss,
        seeds: runs.len(),
        period_s: (rounded(shortest), rounded(most(&|run| run.period))),
        age_p50_s: rounded(quantile(&ages, 0.50)),
        age_p95_s: rounded(quantile(&ages, 0.95)),
        age_wanted_s,
        age_least_s: least.map(|least| rounded(least.age_s)),
        share_percent: rounded(mean(&|run| run.share)),
        metered_percent: rounded(mean(&|run| run.metered)),
        worst_percent: rounded(most(&|run| run.worst)),
        metered_worst_percent: rounded(most(&|run| run.metered_worst)),
        deaths: deaths.len(),
        deaths_missed: deaths.iter().filter(|time| time.is_infinite()).count(),
        death_p50_s: rounded(quantile(&deaths, 0.50)),
        death_p95_s: rounded(quantile(&deaths, 0.95)),
        death_wanted_s,
        death_least_s: least.map(|least| rounded(least.death_s)),
        leaves: leaves.len(),
        leave_p95_s: rounded(quantile(&leaves, 0.95)),
        false_losses: count(&|run| run.false_losses),
        false_alerts: count(&|run| run.false_alerts),
        stuck: count(&|run| run.stuck),
    }
}

/// The value that so large a part of all does not exceed; 0 of nothing.
fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Two decimals: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The table for people.
pub fn markdown(rows: &[Row]) -> String {
    let mut out = String::from(
        "| N | nodes (mean depth) | loss | aggregated | period | age p50 / p95 (wanted; least) | share by frames / by the meter | worst 10 min by frames / by the meter | deaths | death p50 / p95 (wanted; least) | leave p95 | wrong | |\n\
         | ---: | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    for row in rows {
        let (short, long) = row.period_s;
        let bound = |least: Option<f64>| least.map_or_else(String::new, |least| format!("; {least:.1}"));
        let period =
            if short == long { format!("{long:.0} s") } else { format!("{short:.0} to {long:.0} s") };
        // Writing to a string cannot fail.
        let _always_ok = writeln!(
            out,
            "| {} | {} ({:.1}) | {} % | {} | {period} | {:.1} / {:.1} s ({:.0}{}) | {:.2} / {:.2} % | {:.2} / {:.2} % | {} | {:.1} / {:.1} s ({:.0}{}) | {:.1} s | {} | {} |",
            row.n,
            row.nodes,
            row.mean_depth,
            row.loss,
            if row.aggregate { "yes" } else { "no" },
            row.age_p50_s,
            row.age_p95_s,
            row.age_wanted_s,
            bound(row.age_least_s),
            row.share_percent,
            row.metered_percent,
            row.worst_percent,
            row.metered_worst_percent,
            row.deaths,
            row.death_p50_s,
            row.death_p95_s,
            row.death_wanted_s,
            bound(row.death_least_s),
            row.leave_p95_s,
            row.false_losses + row.false_alerts,
            Row::verdict(row.is_kept(), row.budget_wins()),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_saw_counts_as_longest() {
        let run =
            Run { deaths: [vec![Some(5.0); 9], vec![None]].concat(), ages: vec![1.0, 9.0], ..Run::default() };
        let row = row(&Case::of(25, true), &[run]);
        assert_eq!((row.death_p50_s, row.deaths_missed, row.age_p50_s, row.age_p95_s), (5.0, 1, 1.0, 9.0));
        assert!(row.death_p95_s.is_infinite() && !row.is_kept());
    }

    #[test]
    fn the_budget_wins_only_where_it_forbids_what_is_wanted() {
        let run = |depth: u32, age, death| {
            let tree = Tree { depths: vec![depth; 50], round_s: 0.002_8 * 50.0 * f64::from(depth) };
            Run { tree, ages: vec![age], deaths: vec![Some(death)], ..Run::default() }
        };
        let verdict = |run: Run| {
            let row = row(&Case::of(50, false), &[run]);
            Row::verdict(row.is_kept(), row.budget_wins())
        };
        assert_eq!(verdict(run(4, 29.0, 44.0)), "kept");
        assert_eq!(verdict(run(4, 31.0, 44.0)), "missed", "27 s were possible");
        assert_eq!(verdict(run(5, 34.0, 44.0)), "the budget wins", "33 s were not");
        assert_eq!(verdict(run(5, 34.0, 46.0)), "missed", "its deaths could be seen in time");
        assert_eq!(verdict(Run { worst: 2.1, ..run(5, 34.0, 44.0) }), "missed");
    }
}
