//! When an alert is raised, as data.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use meshward_core::time::{Duration, UnixTime};
use thiserror::Error;

use super::gate::Look;
use crate::anomaly::{Side, span};
use crate::signal::Signal;

/// Most rules of an engine.
pub const RULES_MAX: usize = 200;
/// Longest name, label or runbook, in bytes.
pub const TEXT_MAX: usize = 512;

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be read some time.
    Info,
    /// To be looked at today.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|one| one.name() == name)
    }
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A value of each node.
    Measure {
        /// What is read.
        signal: Signal,
        /// Which side is bad.
        side: Side,
        /// Beyond this it is bad.
        raise: f64,
        /// Beyond this, to the other side, it is good again; what lies between changes nothing.
        clear: f64,
    },
    /// A state that somebody found: see [`kind`](crate::condition::kind).
    State(String),
}

impl What {
    /// What a value is for this rule.
    pub(super) fn look(&self, value: f64) -> Look {
        match self {
            Self::Measure { side, raise, .. } if side.beyond(value, *raise) => Look::Bad,
            Self::Measure { side, clear, .. } if side.beyond(*clear, value) => Look::Good,
            Self::Measure { .. } | Self::State(_) => Look::Between,
        }
    }
}

/// When a rule raises: days of the week, and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Bit 0 is Monday. The day is that on which the time begins.
    pub days: u8,
    /// From this minute of the day on.
    pub from: u16,
    /// Until this minute; when it is not after `from`, until that of the next day.
    pub to: u16,
    /// How far the clock on the wall is ahead of UTC, in minutes.
    pub ahead_min: i16,
}

impl Schedule {
    /// Whether it is that time.
    pub fn covers(&self, now: UnixTime) -> bool {
        let minutes = i64::try_from(now.0 / 60).unwrap_or(i64::MAX).saturating_add(i64::from(self.ahead_min));
        let (day, minute) = (minutes.div_euclid(1_440), minutes.rem_euclid(1_440));
        // 1970-01-01 was a Thursday.
        let on = |day: i64| self.days >> (day + 3).rem_euclid(7) & 1 == 1;
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to {
            on(day) && (from..to).contains(&minute)
        } else {
            (on(day) && minute >= from) || (on(day - 1) && minute < to)
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, in snake case: part of every alert's fingerprint.
    pub name: String,
    /// What it looks at.
    pub what: What,
    /// How long it must be bad (`for`).
    pub hold_for: Duration,
    /// How long it must be good again.
    pub recover_for: Duration,
    /// A value that is older says nothing: it neither raises nor clears.
    pub fresh_for: Duration,
    /// When it raises; `None` is always, and so is any schedule while the date is unknown.
    pub schedule: Option<Schedule>,
    /// How much it matters.
    pub severity: Severity,
    /// What receivers sort by.
    pub labels: BTreeMap<String, String>,
    /// What to do, or an address where that is written.
    pub runbook: String,
    /// Whether it is in force.
    pub enabled: bool,
}

/// What is wrong with rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// There are more than [`RULES_MAX`].
    #[error("{0} rules; at most {RULES_MAX} are allowed")]
    TooMany(usize),
    /// A name is empty or taken.
    #[error("rule `{0}`: a name is one word, and of one rule only")]
    Name(String),
    /// A text is longer than [`TEXT_MAX`].
    #[error("rule `{0}`: a text is longer than {TEXT_MAX} bytes")]
    Text(String),
    /// The thresholds are not numbers, or the wrong way round.
    #[error("rule `{0}`: `clear` is on the good side of `raise`, or the same, and both are numbers")]
    Thresholds(String),
    /// The schedule has no day, or minutes beyond a day.
    #[error("rule `{0}`: a schedule has days, and minutes from 0 to 1440")]
    Schedule(String),
}

impl Rule {
    /// What is wrong with the rule, if anything is.
    pub fn check(&self) -> Result<(), RuleError> {
        let name = || self.name.clone();
        if self.name.is_empty() || self.name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(RuleError::Name(name()));
        }
        let texts =
            self.labels.iter().flat_map(|(key, value)| [key, value]).chain([&self.name, &self.runbook]);
        if texts.into_iter().any(|text| text.len() > TEXT_MAX) {
            return Err(RuleError::Text(name()));
        }
        if let What::Measure { side, raise, clear, .. } = self.what
            && (!raise.is_finite() || !clear.is_finite() || side.beyond(clear, raise))
        {
            return Err(RuleError::Thresholds(name()));
        }
        let wrong =
            |schedule: Schedule| schedule.days & 0x7f == 0 || schedule.from > 1_440 || schedule.to > 1_440;
        if self.schedule.is_some_and(wrong) {
            return Err(RuleError::Schedule(name()));
        }
        Ok(())
    }
}

/// What is wrong with a set of rules, if anything is.
pub(super) fn check_all(rules: &[Rule]) -> Result<(), RuleError> {
    if rules.len() > RULES_MAX {
        return Err(RuleError::TooMany(rules.len()));
    }
    for (at, rule) in rules.iter().enumerate() {
        rule.check()?;
        if rules.iter().take(at).any(|before| before.name == rule.name) {
            return Err(RuleError::Name(rule.name.clone()));
        }
    }
    Ok(())
}

/// Rules as a table for people.
pub fn markdown(rules: &[Rule]) -> String {
    let mut out = String::from(
        "| rule | raised when | for | cleared when | for | severity | what to do |\n| --- | --- | ---: | --- | ---: | --- | --- |\n",
    );
    for rule in rules {
        let (raised, cleared) = match &rule.what {
            What::State(kind) => (format!("state `{kind}`"), "it ends".to_owned()),
            What::Measure { signal, side, raise, clear } => {
                let (bad, good) = match side {
                    Side::Below => ("below", "above"),
                    Side::Above => ("above", "below"),
                };
                let raise = signal.shown(*raise);
                (format!("`{signal}` {bad} {raise}"), format!("{good} {}", signal.shown(*clear)))
            }
        };
        let time = |time: Duration| if time == Duration::ZERO { "–".to_owned() } else { span(time) };
        let (hold, recover) = (time(rule.hold_for), time(rule.recover_for));
        let (name, severity, runbook) = (&rule.name, rule.severity.name(), &rule.runbook);
        // Writing to a string cannot fail.
        let _always_ok = writeln!(
            out,
            "| `{name}` | {raised} | {hold} | {cleared} | {recover} | {severity} | {runbook} |"
        );
    }
    out
}
