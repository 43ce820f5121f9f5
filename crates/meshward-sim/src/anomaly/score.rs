//! What was found, what was made up, what was missed.

use std::fmt::Write as _;

use meshward_core::rng::Rng;
use meshward_core::telemetry::Metric;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::anomaly::{Detector, Finding, Kind};
use meshward_fleet::series::Store;
use serde::Serialize;

use super::history::{Fault, History, Noise};

/// The node that every history is of.
const NODE: NodeId = NodeId(2);
/// When a leak's forecast is compared with the truth, after it began: the window then has nothing else in it.
const JUDGED_AFTER: Duration = Duration::from_secs(6 * 3_600 + 600);

/// How many nodes of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Nodes that are well.
    pub healthy: u64,
    /// Nodes with each fault.
    pub faulty: u64,
}

impl Default for Count {
    fn default() -> Self {
        Self { healthy: 400, faulty: 100 }
    }
}

/// One fault's row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// The fault.
    pub fault: &'static str,
    /// Nodes with it.
    pub nodes: u64,
    /// Those of which it was said, after it began.
    pub found: u64,
    /// How often it was said of a node that did not have it, or not yet.
    pub wrong: u64,
    /// From its begin to the finding, in minutes: the middle one.
    pub delay_min: Option<f64>,
    #[serde(skip)]
    delays: Vec<f64>,
}

impl Row {
    /// Of what was said, how much was so. Several findings on one node count once, wrong ones each.
    pub fn precision(&self) -> f64 {
        self.found as f64 / (self.found + self.wrong).max(1) as f64
    }

    /// Of what was so, how much was said.
    pub fn recall(&self) -> f64 {
        self.found as f64 / self.nodes.max(1) as f64
    }
}

/// All rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// One per fault.
    pub rows: Vec<Row>,
    /// Leaks that had a forecast six hours after they began, before memory was used up.
    pub forecasts: u64,
    /// Those in whose interval the truth was.
    pub forecasts_right: u64,
}

/// Which fault a finding speaks of.
fn speaks_of(finding: &Finding) -> Option<Fault> {
    match (finding.kind, finding.metric) {
        (Kind::RebootLoop, _) => Some(Fault::Loop),
        (_, Metric::FreeHeap) => Some(Fault::Leak),
        (_, Metric::Rssi) => Some(Fault::Decay),
        (_, Metric::RoundTrip) => Some(Fault::Step),
        _ => None,
    }
}

/// Runs a day of all nodes, each watched by a copy of a detector that knows nothing yet.
pub fn score(seed: u64, noise: Noise, count: Count, detector: &Detector) -> Score {
    let row = |fault: Fault| Row { fault: fault.name(), nodes: count.faulty, ..Row::default() };
    let mut score = Score { rows: Fault::ALL.into_iter().map(row).collect(), ..Score::default() };
    let mut rng = Rng::new(seed);
    let kinds =
        [(Fault::None, count.healthy)].into_iter().chain(Fault::ALL.map(|fault| (fault, count.faulty)));
    for (fault, nodes) in kinds {
        for _ in 0..nodes {
            day(&mut score, fault, History::new(rng.next_u64(), fault, noise), detector.clone());
        }
    }
    for row in &mut score.rows {
        row.delay_min = meshward_fleet::anomaly::median(&mut row.delays);
    }
    score
}

fn day(score: &mut Score, fault: Fault, mut history: History, mut detector: Detector) {
    let mut store = Store::default();
    let (onset, mut found, mut judged) = (history.onset(), false, false);
    while let Some((now, readings)) = history.report(NODE) {
        let samples = store.handle(now, &readings);
        detector.handle(now, &store, &samples);
        while let Some(event) = detector.poll_event() {
            if event.began {
                found |= count(score, fault, onset, found, now, &event.finding);
            }
        }
        if fault == Fault::Leak && !judged && now >= onset + JUDGED_AFTER {
            judged = true;
            judge_forecast(score, &history, &detector, now);
        }
    }
}

/// Counts a finding. Whether it is the first right one.
fn count(
    score: &mut Score,
    fault: Fault,
    onset: Instant,
    found: bool,
    now: Instant,
    finding: &Finding,
) -> bool {
    let spoken = speaks_of(finding);
    let name = spoken.map(Fault::name);
    let Some(row) = score.rows.iter_mut().find(|row| Some(row.fault) == name) else { return false };
    if spoken != Some(fault) || now < onset {
        row.wrong += 1;
        return false;
    }
    if !found {
        row.found += 1;
        row.delays.push(now.since(onset).as_secs_f64() / 60.0);
    }
    true
}

fn judge_forecast(score: &mut Score, history: &History, detector: &Detector, now: Instant) {
    let leak = detector.findings().find(|finding| finding.kind == Kind::Leak);
    let trend = detector.settings().trends.iter().find(|trend| trend.kind == Kind::Leak);
    let (Some(leak), Some(trend)) = (leak, trend) else { return };
    let Some((forecast, truth)) = leak.forecast.zip(history.exhausted(trend.limit)) else { return };
    if truth > now {
        let left = truth.since(leak.at);
        let in_time = forecast.latest.is_none_or(|latest| left <= latest);
        score.forecasts += 1;
        score.forecasts_right += u64::from(in_time && left >= forecast.earliest);
    }
}

/// The table for people.
pub fn markdown(score: &Score) -> String {
    let mut out = String::from(
        "| fault | nodes | found | missed | made up | precision | recall | found after (median) |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for row in &score.rows {
        let delay = row.delay_min.map_or_else(|| "–".to_owned(), |delay| format!("{delay:.0} min"));
        // Writing to a string cannot fail.
        let _always_ok = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:.3} | {:.3} | {delay} |",
            row.fault,
            row.nodes,
            row.found,
            row.nodes - row.found,
            row.wrong,
            row.precision(),
            row.recall(),
        );
    }
    let Score { forecasts, forecasts_right, .. } = score;
    let _always_ok = writeln!(
        out,
        "\nSix hours after a leak began, the time at which memory would be used up was in the forecast's interval for {forecasts_right} of {forecasts} nodes."
    );
    out
}
