//! Whether a wave may be followed by the next.
//!
//! Gates without chance in them (`faults`, `success`) are looked at all the time. The others look at set times, and
//! each look spends a part of what chance is allowed ([`stats::spend`]): one minus the plan's confidence, divided
//! among all statistical gates of all waves, so that a healthy image is stopped by chance with no more than that
//! in a whole roll-out. A value must be both: worse than the plan allows, and improbably so. Nodes are held against
//! their own past, and that against what became of nodes not yet updated; where there are too few of those,
//! against their own past alone. Where groups are so small that no order of ranks could be improbable enough, their
//! spread decides, by Student's test.

use serde::{Deserialize, Serialize};

use super::evidence::Watch;
use super::measure::Measure;
use super::plan::Gate;
use super::stats;

/// Fewer to compare with than this say nothing about everybody.
pub const OTHERS_LEAST: usize = 5;
/// So many restarts of one node count at most, so that one loop does not speak for all.
const RESTARTS_EACH: u32 = 3;

/// What a gate makes of a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds, as far as was looked.
    Holds,
    /// It cannot tell: too little has been told.
    Undecided,
    /// It is broken.
    Broken,
}

/// What a gate found, with all that it was found by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its name.
    pub gate: String,
    /// What it makes of it.
    pub verdict: Verdict,
    /// The same in words.
    pub words: String,
    /// How probable that, or worse, is by chance.
    pub chance: Option<f64>,
    /// Less than this breaks the gate at this look.
    pub limit: Option<f64>,
    /// Nodes of the wave that failed, restarted or told the value; and all of them.
    pub wave: (u64, u64),
    /// The same of those to compare with.
    pub others: (u64, u64),
    /// How much worse, in per cent or dB.
    pub worse: Option<f64>,
}

/// How the nodes of a wave stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Who were told to start the image, or would have been.
    pub nodes: u64,
    /// Who run it, for good or still on trial, and are there.
    pub updated: u64,
    /// Of those, who are on trial.
    pub on_trial: u64,
    /// Who did not come to run it, or are gone.
    pub failed: u64,
    /// Of those, who went back by themselves, because of the image.
    pub faults: u64,
}

/// What a gate looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// How the wave's nodes stand.
    pub tally: Tally,
    /// What they tell.
    pub watch: &'a Watch,
    /// Others that are gone, of how many.
    pub gone: (u64, u64),
    /// What this look may spend of chance; `None` outside of looks.
    pub limit: Option<f64>,
    /// Whether the wave is over: everybody has shown what became of it.
    pub over: bool,
}

fn finding(gate: &Gate, verdict: Verdict, words: String, tally: Tally) -> Finding {
    Finding {
        gate: gate.name(),
        verdict,
        words,
        chance: None,
        limit: None,
        wave: (tally.failed, tally.nodes),
        others: (0, 0),
        worse: None,
    }
}

/// What a gate makes of a wave now.
pub(super) fn judge(gate: &Gate, view: View<'_>) -> Finding {
    let tally = view.tally;
    match gate {
        Gate::Faults { most } => {
            let broken = tally.faults > u64::from(*most);
            let verdict = if broken { Verdict::Broken } else { open(view) };
            let words =
                format!("{} of {} went back because of the image; {most} may", tally.faults, tally.nodes);
            Finding { wave: (tally.faults, tally.nodes), ..finding(gate, verdict, words, tally) }
        }
        Gate::Success { percent_least, failures_least } => {
            let percent = 100.0 * (tally.nodes - tally.failed) as f64 / tally.nodes.max(1) as f64;
            let broken = tally.failed >= u64::from(*failures_least) && percent < *percent_least;
            let verdict = if broken { Verdict::Broken } else { open(view) };
            let words = format!(
                "{} of {} failed or are gone, which leaves {percent:.0} %; {percent_least} % must be left, once {} have",
                tally.failed, tally.nodes, failures_least
            );
            finding(gate, verdict, words, tally)
        }
        Gate::Failures {} => {
            let (wave, others) = ((tally.failed, tally.nodes), view.gone);
            let words = format!(
                "{} of {} failed or are gone, and {} of {} not yet updated",
                wave.0, wave.1, others.0, others.1
            );
            let chance = stats::fisher(wave, others);
            decide(gate, view, Found { chance, enough: true, words, wave, others })
        }
        Gate::Restarts {} => restarts(gate, view),
        Gate::Value { measure, worse_most, nodes_least, samples_least } => {
            value(gate, view, *measure, *worse_most, (*nodes_least, *samples_least))
        }
    }
}

/// What is not broken holds when the wave is over.
fn open(view: View<'_>) -> Verdict {
    if view.over && view.tally.on_trial == 0 { Verdict::Holds } else { Verdict::Undecided }
}

struct Found {
    chance: f64,
    /// Whether it is so much that it matters.
    enough: bool,
    words: String,
    wave: (u64, u64),
    others: (u64, u64),
}

fn decide(gate: &Gate, view: View<'_>, found: Found) -> Finding {
    let Found { chance, enough, words, wave, others } = found;
    let verdict = match view.limit {
        None => Verdict::Undecided,
        Some(limit) if enough && chance <= limit => Verdict::Broken,
        Some(_) => Verdict::Holds,
    };
    Finding {
        chance: Some(chance),
        limit: view.limit,
        wave,
        others,
        ..finding(gate, verdict, words, view.tally)
    }
}

fn restarts(gate: &Gate, view: View<'_>) -> Finding {
    let (a, m, mine) = view.watch.restarts(true, RESTARTS_EACH);
    let (b, n, theirs) = view.watch.restarts(false, RESTARTS_EACH);
    let limit = view.limit.unwrap_or(0.0);
    // Whether Fisher's test could find it improbable at all.
    let by_nodes = stats::fisher((m, m), (0, n)) <= limit;
    let chance = if by_nodes { stats::fisher((a, m), (b, n)) } else { stats::events((mine, m), (theirs, n)) };
    let words =
        format!("{a} of {m} restarted unasked, {mine} times; and {b} of {n} not yet updated, {theirs} times");
    decide(gate, view, Found { chance, enough: true, words, wave: (a, m), others: (b, n) })
}

fn value(gate: &Gate, view: View<'_>, measure: Measure, most: f64, least: (u32, u32)) -> Finding {
    let (nodes_least, samples_least) = least;
    let (wave, others) = view.watch.changes(measure, samples_least);
    let counts = ((wave.len() as u64, view.tally.nodes), others.len() as u64);
    let undecided = |verdict, words: String| Finding {
        wave: counts.0,
        others: (counts.1, counts.1),
        ..finding(gate, verdict, words, view.tally)
    };
    if view.tally.nodes < u64::from(nodes_least) {
        let words =
            format!("the wave has {} of {nodes_least} nodes that it takes to judge", view.tally.nodes);
        return undecided(open(View { tally: Tally::default(), ..view }), words);
    }
    let told = view.watch.told(measure, samples_least);
    if told < nodes_least as usize {
        let open = open(View { tally: Tally::default(), ..view });
        let words = format!(
            "{told} nodes told {} often enough before: there is nothing to hold it against",
            measure.name()
        );
        return undecided(open, words);
    }
    if wave.len() < nodes_least as usize {
        let words = format!(
            "{} of {nodes_least} nodes have told {samples_least} values before and since",
            wave.len()
        );
        return undecided(Verdict::Undecided, words);
    }
    let limit = view.limit.unwrap_or(0.0);
    let against = others.len() >= OTHERS_LEAST;
    let control: &[f64] = if against { &others } else { &[] };
    let usual = stats::median(&mut control.to_vec()).unwrap_or(0.0);
    let distance = stats::median(&mut wave.clone()).unwrap_or(0.0) - usual;
    let by_ranks = if against {
        stats::ranks_least(wave.len(), control.len()) <= limit
    } else {
        0.5_f64.powi(i32::try_from(wave.len()).unwrap_or(i32::MAX)) <= limit
    };
    let chance = match (by_ranks, against) {
        (true, true) => stats::ranks(&wave, control),
        (true, false) => stats::signed_ranks(&wave),
        (false, _) => stats::student(&wave, control),
    };
    let than =
        if against { format!("than {} not yet updated", others.len()) } else { "than before".to_owned() };
    let words = format!("{} nodes have {} {than}", wave.len(), measure.words(distance));
    let enough = measure.worse(distance) >= most;
    let found = Found { chance, enough, words, wave: counts.0, others: (counts.1, counts.1) };
    Finding { worse: Some(measure.worse(distance)), ..decide(gate, view, found) }
}
