//! What takes points away, as data.

use std::fmt::Write as _;

use meshward_core::telemetry::Metric;
use meshward_core::time::Duration;
use thiserror::Error;

use crate::anomaly::span;
use crate::condition::kind;
use crate::signal::Signal;

/// Most rules of a table.
pub const RULES_MAX: usize = 100;

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// A value: it costs nothing at `from`, everything at `to`, and in proportion between. `to` may be below.
    Signal {
        /// What is read.
        signal: Signal,
        /// The tolerance: up to here nothing is lost.
        from: f64,
        /// From here on all points of the rule are lost.
        to: f64,
    },
    /// A state that holds: it costs all points of the rule.
    State(String),
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, in snake case.
    pub name: String,
    /// What it looks at.
    pub cause: Cause,
    /// The most that it takes, 1 to 100.
    pub points: u8,
    /// A value that is older does not count.
    pub fresh_for: Duration,
    /// What is told beside, where it is more than 0.
    pub beside: Vec<Signal>,
    /// What to do. `{parent}` becomes the node's parent.
    pub advice: String,
}

impl Rule {
    /// Whole points for a share of what the rule can take.
    pub(super) fn cost(&self, share: f64) -> u8 {
        (f64::from(self.points) * share).round() as u8
    }
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// It has more rules than [`RULES_MAX`].
    #[error("{0} rules; at most {RULES_MAX} are allowed")]
    TooMany(usize),
    /// Two rules have that name.
    #[error("rule `{0}`: the name is taken by a rule before it")]
    Name(String),
    /// A rule's points are not 1 to 100.
    #[error("rule `{0}`: points are 1 to 100, not {1}")]
    Points(String, u8),
    /// A rule's `from` and `to` are the same, or not numbers.
    #[error("rule `{0}`: `from` and `to` are two different numbers")]
    Ramp(String),
}

/// All rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub(super) rules: Vec<Rule>,
}

impl Table {
    /// A table of these rules.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        if rules.len() > RULES_MAX {
            return Err(RuleError::TooMany(rules.len()));
        }
        for (at, rule) in rules.iter().enumerate() {
            if rules.iter().take(at).any(|before| before.name == rule.name) {
                return Err(RuleError::Name(rule.name.clone()));
            }
            if !(1..=100).contains(&rule.points) {
                return Err(RuleError::Points(rule.name.clone(), rule.points));
            }
            if let Cause::Signal { from, to, .. } = rule.cause
                && !(from.is_finite() && to.is_finite() && from != to)
            {
                return Err(RuleError::Ramp(rule.name.clone()));
            }
        }
        Ok(Self { rules })
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// How long a value counts: three reports of the slowest period, and a keyframe.
const FRESH: Duration = Duration::from_secs(600);

impl Default for Table {
    fn default() -> Self {
        let mut rules = states();
        rules.extend(signals());
        Self { rules }
    }
}

fn states() -> Vec<Rule> {
    let state = |kind: &str, points, advice: &str| Rule {
        name: kind.to_owned(),
        cause: Cause::State(kind.to_owned()),
        points,
        fresh_for: FRESH,
        beside: Vec::new(),
        advice: advice.to_owned(),
    };
    vec![
        state(kind::OFFLINE, 100, "look at its supply, then at what stands between it and {parent}"),
        state(kind::UNREACHABLE, 100, "bring back the node that the incident names"),
        state(kind::SUSPECT, 20, "wait: it is being probed"),
        state(
            kind::REBOOT_LOOP,
            40,
            "look at its supply and the reset reason, and go back to the image before",
        ),
        state(kind::FLAPPING, 15, "move it nearer to {parent}, or put a node between"),
        state(
            kind::LEAK,
            15,
            "look for what is allocated and never freed; restart it before the time is over",
        ),
        state(
            kind::LINK_DECAY,
            10,
            "look at its antenna, its supply and what stands between it and {parent}",
        ),
        state(kind::DRAIN, 10, "charge or change its battery"),
        state(kind::NOISY_NODE, 10, "have its sketch send status to the gateway alone, or less often"),
        state(kind::DRIFT, 5, "deploy the image that the others of its version run"),
        state(kind::PARTITION, 25, "bring back a node between the parts, or put one there"),
        state(kind::OVERHEAD, 15, "report less often, aggregate, or raise the budget"),
    ]
}

fn signals() -> Vec<Rule> {
    let rule = |name: &str, signal, (from, to), points, advice: &str| Rule {
        name: name.to_owned(),
        cause: Cause::Signal { signal, from, to },
        points,
        fresh_for: FRESH,
        beside: Vec::new(),
        advice: advice.to_owned(),
    };
    use Signal::{Change, Level, OverUsual, PerDay, PerMinute, RestartsPerHour};
    let weak = rule("weak_link", Level(Metric::Rssi), (-70.0, -90.0), 25, "move it nearer to {parent}");
    vec![
        Rule { beside: vec![PerDay(Metric::LinksLost)], ..weak },
        rule(
            "weaker_link",
            Change(Metric::Rssi),
            (-6.0, -20.0),
            10,
            "see what has come between it and {parent}",
        ),
        rule("reconnects", PerDay(Metric::LinksLost), (3.0, 20.0), 15, "move it nearer to {parent}"),
        rule("restarts", RestartsPerHour, (1.0, 4.0), 20, "look at its supply and the reset reason"),
        rule(
            "low_memory",
            Level(Metric::FreeHeap),
            (30_000.0, 8_000.0),
            30,
            "reduce its queues and buffers, or restart it",
        ),
        rule(
            "fragmentation",
            Level(Metric::Fragmentation),
            (40.0, 90.0),
            10,
            "restart it, and allocate large blocks once",
        ),
        rule(
            "slow",
            Level(Metric::RoundTrip),
            (500.0, 3_000.0),
            15,
            "look at the load of the nodes on its way",
        ),
        rule(
            "slower",
            OverUsual(Metric::RoundTrip),
            (2.0, 6.0),
            10,
            "look at the load of the nodes on its way",
        ),
        rule("loss", Level(Metric::Loss), (2.0, 20.0), 20, "move it nearer to {parent}, or send less"),
        rule("drops", PerMinute(Metric::MessagesDropped), (1.0, 60.0), 10, "send less, or spread it out"),
        rule("queue", Level(Metric::Queue), (8_000.0, 64_000.0), 10, "send less, or spread it out"),
        rule("busy", Level(Metric::Cpu), (85.0, 100.0), 10, "do less in its loop"),
        rule(
            "long_loop",
            Level(Metric::LoopTime),
            (200.0, 2_000.0),
            10,
            "do less between two updates of the mesh",
        ),
        rule("battery", Level(Metric::Battery), (30.0, 5.0), 20, "charge or change its battery"),
        rule("hot", Level(Metric::ChipTemperature), (70.0, 95.0), 15, "give it air and shade"),
    ]
}

/// The table for people.
pub fn markdown(table: &Table) -> String {
    let mut out = String::from(
        "| rule | looks at | costs nothing at | costs all at | points | not older than |\n| --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for rule in &table.rules {
        let (what, from, to, fresh) = match &rule.cause {
            Cause::State(kind) => (format!("state `{kind}`"), "–".to_owned(), "–".to_owned(), "–".to_owned()),
            Cause::Signal { signal, from, to } => {
                (format!("`{signal}`"), signal.shown(*from), signal.shown(*to), span(rule.fresh_for))
            }
        };
        // Writing to a string cannot fail.
        let _always_ok =
            writeln!(out, "| `{}` | {what} | {from} | {to} | {} | {fresh} |", rule.name, rule.points);
    }
    out
}
