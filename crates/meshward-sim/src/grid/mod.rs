//! The grid: every failure in every phase of a signed update, and what has become of each target.
//!
//! A [`Cell`] is a phase and a failure. Its run brings an update to a small mesh of relays, leaves and a C++ node,
//! waits until the phase has come to the host that will be hit, hits it to the microsecond, heals what heals, and
//! lets a gateway finish. Every target must then run the new image for good, or be named by the gateway with the
//! truth; nothing may ever be started that is neither image, and nobody may be without one.

mod run;

use std::fmt::Write as _;

use serde::Serialize;

pub use run::run;

use crate::image::Behaviour;
use crate::plant::Plant;
use crate::signed::Packing;

/// Where an update is, as the host that is hit sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has taken the offer and makes room.
    Offer,
    /// The block table has come and nothing else.
    Table,
    /// Half of the chunks have come.
    Transfer,
    /// It compares sums.
    Verify,
    /// It unpacks.
    Install,
    /// It was ordered to restart.
    Activate,
    /// It tries the image.
    Trial,
    /// It has just confirmed it.
    Confirm,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Offer,
        Self::Table,
        Self::Transfer,
        Self::Verify,
        Self::Install,
        Self::Activate,
        Self::Trial,
        Self::Confirm,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Table => "table",
            Self::Transfer => "transfer",
            Self::Verify => "verify",
            Self::Install => "install",
            Self::Activate => "activate",
            Self::Trial => "trial",
            Self::Confirm => "confirm",
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The gateway loses its power for good; another one takes over a minute later.
    KillSource,
    /// A relay loses its power in the middle of a flash command, for three seconds.
    KillRelay,
    /// A leaf does.
    KillTarget,
    /// All targets do.
    KillAllTargets,
    /// The gateway's link goes silent.
    CutSource,
    /// The link of a relay to its parent does.
    CutRelay,
    /// That of a leaf does.
    CutTarget,
    /// A relay takes another parent, with all that is behind it.
    Reparent,
    /// Another node becomes the root; both restart.
    RootChange,
    /// A part of the mesh cannot be heard for two minutes.
    Partition,
    /// The gateway restarts, and its database knows of the update.
    RestartGateway,
    /// The gateway restarts without its database; an operator begins anew.
    ForgetfulGateway,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::KillSource,
        Self::KillRelay,
        Self::KillTarget,
        Self::KillAllTargets,
        Self::CutSource,
        Self::CutRelay,
        Self::CutTarget,
        Self::Reparent,
        Self::RootChange,
        Self::Partition,
        Self::RestartGateway,
        Self::ForgetfulGateway,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillSource => "kill source",
            Self::KillRelay => "kill relay",
            Self::KillTarget => "kill target",
            Self::KillAllTargets => "kill all targets",
            Self::CutSource => "cut off source",
            Self::CutRelay => "cut off relay",
            Self::CutTarget => "cut off target",
            Self::Reparent => "re-parent",
            Self::RootChange => "root change",
            Self::Partition => "partition",
            Self::RestartGateway => "restart gateway",
            Self::ForgetfulGateway => "restart without database",
        }
    }
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// When.
    pub phase: Phase,
    /// What.
    pub failure: Failure,
    /// As what the image travels.
    pub packing: Packing,
    /// Forwarded frames that die at a relay meanwhile, in per cent.
    pub loss: u32,
    /// The seed of all that is left to chance.
    pub seed: u64,
    /// What the image does.
    pub behaviour: Behaviour,
    /// A bug on purpose, to see it found.
    pub plant: Option<Plant>,
}

impl Cell {
    /// A healthy image, packed by LZMA, without losses.
    pub const fn new(phase: Phase, failure: Failure) -> Self {
        let behaviour = Behaviour::Healthy;
        Self { phase, failure, packing: Packing::Lzma, loss: 0, seed: 0, behaviour, plant: None }
    }
}

/// All cells, for each of these seeds: half of the seeds without losses, and each packing in its turn.
pub fn cells(seeds: u64) -> Vec<Cell> {
    let mut cells = Vec::new();
    for seed in 0..seeds {
        let packing = [Packing::Lzma, Packing::Full, Packing::Delta][(seed % 3) as usize];
        let loss = if seed % 2 == 0 { 0 } else { 10 };
        for phase in Phase::ALL {
            cells.extend(Failure::ALL.map(|failure| Cell {
                packing,
                loss,
                seed,
                ..Cell::new(phase, failure)
            }));
        }
    }
    cells
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All is as it must be.
    Green,
    /// Something happened that must not; what.
    Wrong(String),
    /// Something did not happen in time; what.
    Stuck(String),
}

/// What has become of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The phase.
    pub phase: &'static str,
    /// The failure.
    pub failure: &'static str,
    /// The seed.
    pub seed: u64,
    /// Targets.
    pub targets: usize,
    /// Those that run the new image for good.
    pub updated: usize,
    /// Those that do not, and are named with a reason.
    pub named: usize,
    /// From the failure until the last word was said, in whole seconds.
    pub seconds: u64,
    /// What to think of it.
    pub verdict: Verdict,
}

/// The table for people: in each cell how many targets are updated, and how long it took at most after the failure;
/// what is not as it must be stands in capitals, and below in words.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let mut out = String::from("| |");
    Phase::ALL.iter().for_each(|phase| out += &format!(" {} |", phase.name()));
    out += "\n| --- |";
    Phase::ALL.iter().for_each(|_| out += " ---: |");
    out.push('\n');
    for failure in Failure::ALL {
        out += &format!("| {} |", failure.name());
        for phase in Phase::ALL {
            let cell = (phase.name(), failure.name());
            let runs: Vec<&Outcome> =
                outcomes.iter().filter(|outcome| (outcome.phase, outcome.failure) == cell).collect();
            out += &format!(" {} |", summary(&runs));
        }
        out.push('\n');
    }
    for outcome in outcomes {
        if let Verdict::Wrong(words) | Verdict::Stuck(words) = &outcome.verdict {
            let Outcome { phase, failure, seed, .. } = outcome;
            // Writing to a string cannot fail.
            let _always_ok = writeln!(out, "\n{failure} in {phase}, seed {seed}: {words}");
        }
    }
    out
}

/// All runs of one cell in a few words.
fn summary(runs: &[&Outcome]) -> String {
    let sum = |of: fn(&Outcome) -> usize| runs.iter().map(|run| of(run)).sum::<usize>();
    let (updated, targets, named) = (sum(|run| run.updated), sum(|run| run.targets), sum(|run| run.named));
    let seconds = runs.iter().map(|run| run.seconds).max().unwrap_or(0);
    let bad = |of: fn(&Verdict) -> bool| runs.iter().any(|run| of(&run.verdict));
    if runs.is_empty() {
        return "–".to_owned();
    }
    if bad(|verdict| matches!(verdict, Verdict::Wrong(_))) {
        return "WRONG".to_owned();
    }
    if bad(|verdict| matches!(verdict, Verdict::Stuck(_))) {
        return "STUCK".to_owned();
    }
    let named = if named > 0 { format!(", {named} named") } else { String::new() };
    format!("{updated}/{targets}{named}, {seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_every_cell_and_says_what_is_wrong() {
        assert_eq!(cells(2).len(), 2 * 8 * 12);
        let outcome = |verdict, named| Outcome {
            phase: "trial",
            failure: "re-parent",
            seed: 3,
            targets: 6,
            updated: 6 - named,
            named,
            seconds: 70,
            verdict,
        };
        let row = |outcomes: &[Outcome]| {
            let text = markdown(outcomes);
            text.lines().find(|line| line.starts_with("| re-parent |")).unwrap().to_owned()
        };
        let green = [outcome(Verdict::Green, 0), outcome(Verdict::Green, 1)];
        assert!(row(&green).ends_with("| 11/12, 1 named, 70 s | – |"));
        let wrong = [outcome(Verdict::Green, 0), outcome(Verdict::Wrong("node 7 is bricked".to_owned()), 0)];
        assert!(row(&wrong).ends_with("| WRONG | – |"));
        assert!(markdown(&wrong).ends_with("re-parent in trial, seed 3: node 7 is bricked\n"));
    }
}
