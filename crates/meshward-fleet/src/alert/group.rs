//! Few messages of many alerts: one group per rule, with pauses, and a limit over all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::time::{Duration, Instant};

use super::{Alert, Config, Engine, Fingerprint, Key, Severity, State};
use crate::condition::Subject;

/// Most alerts that a message lists; the others are a number.
pub const SNAPSHOTS_MAX: usize = 50;
/// Most messages that wait to be taken; the oldest go first, and are counted.
pub const NOTIFICATIONS_MAX: usize = 1_000;
/// Messages that may be sent at once. What is beyond goes into one summary.
pub const TOKENS_MAX: u64 = 20;
/// In which time one more message may be sent.
const REFILL: Duration = Duration::from_secs(30);
/// How long even a critical group is quiet after a message, so that a hundred nodes that go at once are one or two.
const CRITICAL_PAUSE: Duration = Duration::from_secs(10);

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Alerts of one rule were raised or cleared.
    News,
    /// Alerts of one rule are still raised, and nobody has said that he knows.
    Reminder,
    /// Alerts of many rules, because there would be too many messages otherwise.
    Summary,
}

/// An alert as it was when the message was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// Its rule.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whom it is about.
    pub subject: Subject,
    /// Where it is in its life.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// The value; `None` of a state.
    pub value: Option<f64>,
    /// By what it is known.
    pub evidence: String,
    /// How often it was raised.
    pub times: u32,
    /// Whether it comes and goes, so that no more is sent of it until it is still.
    pub flapping: bool,
}

impl From<&Alert> for Snapshot {
    fn from(alert: &Alert) -> Self {
        Self {
            fingerprint: alert.fingerprint,
            rule: alert.rule.clone(),
            severity: alert.severity,
            subject: alert.subject,
            state: alert.state,
            since: alert.since,
            value: alert.value,
            evidence: alert.evidence.clone(),
            times: alert.times,
            flapping: alert.flapping,
        }
    }
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Counts messages; with the mesh's name it names this one.
    pub number: u64,
    /// What it is.
    pub notice: Notice,
    /// The rule; empty in a summary.
    pub rule: String,
    /// The worst severity in it.
    pub severity: Severity,
    /// The rule's labels.
    pub labels: BTreeMap<String, String>,
    /// What to do.
    pub runbook: String,
    /// When it was made.
    pub at: Instant,
    /// What is raised.
    pub firing: Vec<Snapshot>,
    /// What was cleared since the last message.
    pub cleared: Vec<Snapshot>,
    /// How many more there are than are listed.
    pub more: usize,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    due: Instant,
    /// The last message.
    last: Option<Instant>,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    groups: BTreeMap<usize, Group>,
    out: VecDeque<Notification>,
    tokens: u64,
    refilled: Instant,
    number: u64,
    dropped: u64,
    summarised: u64,
}

impl Groups {
    pub(super) fn new(now: Instant) -> Self {
        let (groups, out) = (BTreeMap::new(), VecDeque::new());
        Self { groups, out, tokens: TOKENS_MAX, refilled: now, number: 0, dropped: 0, summarised: 0 }
    }

    /// Something is to be said of a rule's alerts.
    pub(super) fn news(&mut self, now: Instant, rule: usize, critical: bool, config: &Config) {
        let group = self.groups.get(&rule).copied();
        let last = group.and_then(|group| group.last);
        let pause = if critical { CRITICAL_PAUSE } else { config.group_interval };
        let due = match last {
            Some(last) => now.max(last + pause),
            None if critical => now,
            None => now + config.group_wait,
        };
        let due = group.map_or(due, |group| group.due.min(due));
        self.groups.insert(rule, Group { due, last });
    }

    /// Nothing is new of a rule's alerts that were sent before the start: a reminder is due some time.
    pub(super) fn remind(&mut self, now: Instant, rule: usize, config: &Config) {
        self.groups.entry(rule).or_insert(Group { due: now + config.repeat, last: Some(now) });
    }

    /// The next message's number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Numbers below this one were given before the start.
    pub(super) fn restore_number(&mut self, number: u64) {
        self.number = self.number.max(number);
    }

    /// When the next message is due, and may be sent.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.groups.values().map(|group| group.due).min()?;
        Some(if self.tokens == 0 { due.max(self.refilled + REFILL) } else { due })
    }

    pub(super) fn poll(&mut self) -> Option<Notification> {
        self.out.pop_front()
    }

    /// Rules have other places now.
    pub(super) fn forget(&mut self) {
        self.groups.clear();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn summarised(&self) -> u64 {
        self.summarised
    }

    fn refill(&mut self, now: Instant) {
        let more = now.since(self.refilled).as_micros() / REFILL.as_micros();
        self.tokens = self.tokens.saturating_add(more).min(TOKENS_MAX);
        self.refilled = self.refilled + REFILL.saturating_mul(more);
    }

    fn push(&mut self, notification: Notification) {
        self.tokens = self.tokens.saturating_sub(1);
        if self.out.len() == NOTIFICATIONS_MAX {
            self.out.pop_front();
            self.dropped += 1;
        }
        self.out.push_back(notification);
    }
}

/// What a group has to say.
#[derive(Default)]
struct Said {
    firing: Vec<Key>,
    cleared: Vec<Key>,
    reminder: bool,
}

impl Engine {
    /// Every rule with a raised alert has a group again, from now on.
    pub(super) fn renew_groups(&mut self, now: Instant) {
        let rules: BTreeSet<usize> = self
            .alerts
            .iter()
            .filter(|(_, alert)| alert.news || alert.told)
            .map(|((rule, _), _)| *rule)
            .collect();
        for rule in rules {
            self.groups.news(now, rule, false, &self.config);
        }
    }

    /// Sends what is due, as far as the rate allows.
    pub(super) fn flush(&mut self, now: Instant) {
        self.groups.refill(now);
        if self.groups.tokens == 0 {
            return;
        }
        let due: Vec<usize> =
            self.groups.groups.iter().filter(|(_, group)| group.due <= now).map(|(rule, _)| *rule).collect();
        let mut said: Vec<(usize, Said)> = Vec::new();
        for rule in due {
            let what = self.said(now, rule);
            if what.firing.is_empty() && what.cleared.is_empty() {
                self.after(now, rule, false);
            } else {
                said.push((rule, what));
            }
        }
        if said.is_empty() {
            return;
        }
        if said.len() as u64 > self.groups.tokens {
            self.groups.summarised += said.len() as u64;
            let mut all = Said::default();
            for (rule, what) in said {
                all.firing.extend(&what.firing);
                all.cleared.extend(&what.cleared);
                self.send_marks(&what);
                self.after(now, rule, true);
            }
            return self.send(now, None, Notice::Summary, &all);
        }
        for (rule, what) in said {
            let notice = if what.reminder { Notice::Reminder } else { Notice::News };
            self.send(now, Some(rule), notice, &what);
            self.send_marks(&what);
            self.after(now, rule, true);
        }
    }

    /// What a group has to say now. What was cleared before anybody heard of it is nothing.
    fn said(&mut self, now: Instant, rule: usize) -> Said {
        let mut said = Said::default();
        for (key, alert) in self.of_rule(rule) {
            let quiet = alert.suppressed_by.is_some() || alert.confirm_by.is_some();
            match (alert.state.is_active() || alert.announce, alert.told) {
                _ if !alert.news => {}
                (false, false) => alert.news = false,
                _ if quiet => {}
                (true, _) => said.firing.push(*key),
                (false, true) => said.cleared.push(*key),
            }
        }
        let last = self.groups.groups.get(&rule).and_then(|group| group.last);
        let repeat = self.config.repeat;
        if said.firing.is_empty()
            && said.cleared.is_empty()
            && last.is_some_and(|last| now.since(last) >= repeat)
        {
            said.reminder = true;
            let due = |alert: &Alert| alert.state == State::ActiveUnack && alert.suppressed_by.is_none();
            said.firing = self.of_rule(rule).filter(|(_, alert)| due(alert)).map(|(key, _)| *key).collect();
        }
        said
    }

    fn of_rule(&mut self, rule: usize) -> impl Iterator<Item = (&Key, &mut Alert)> {
        // Subjects begin with the mesh.
        self.alerts.range_mut((rule, Subject::Mesh)..(rule + 1, Subject::Mesh))
    }

    fn send_marks(&mut self, said: &Said) {
        for key in &said.firing {
            if let Some(alert) = self.alerts.get_mut(key) {
                (alert.news, alert.told, alert.announce) = (false, true, false);
                self.changes.alerts.insert(alert.fingerprint);
            }
        }
        for key in &said.cleared {
            if let Some(alert) = self.alerts.get_mut(key) {
                (alert.news, alert.told) = (false, false);
                self.changes.alerts.insert(alert.fingerprint);
            }
        }
    }

    /// When the group is due again.
    fn after(&mut self, now: Instant, rule: usize, sent: bool) {
        let active = self.of_rule(rule).any(|(_, alert)| alert.state.is_active());
        let repeat = self.config.repeat;
        let interval = self.config.group_interval;
        let Some(group) = self.groups.groups.get_mut(&rule) else { return };
        if sent {
            group.last = Some(now);
        }
        let recent = group.last.is_some_and(|last| now.since(last) < interval);
        match group.last {
            // While nothing is raised the group is kept only so long that the next message does not come too early.
            Some(last) if active => {
                group.due = if last + repeat > now { last + repeat } else { now + repeat }
            }
            Some(last) if recent => group.due = last + interval,
            _ => {
                self.groups.groups.remove(&rule);
            }
        }
    }

    fn send(&mut self, now: Instant, rule: Option<usize>, notice: Notice, said: &Said) {
        let rule = rule.and_then(|rule| self.rules.get(rule));
        let all = said.firing.iter().chain(&said.cleared);
        let severity = all.filter_map(|key| self.alerts.get(key)).map(|alert| alert.severity).max();
        let listed = |keys: &[Key]| {
            let mut alerts: Vec<&Alert> = keys.iter().filter_map(|key| self.alerts.get(key)).collect();
            // The worst first, then the newest.
            alerts.sort_by_key(|alert| std::cmp::Reverse((alert.severity, alert.since)));
            alerts.into_iter().take(SNAPSHOTS_MAX).map(Snapshot::from).collect::<Vec<_>>()
        };
        let (firing, cleared) = (listed(&said.firing), listed(&said.cleared));
        let more = said.firing.len() + said.cleared.len() - firing.len() - cleared.len();
        let notification = Notification {
            number: self.groups.number,
            notice,
            rule: rule.map(|rule| rule.name.clone()).unwrap_or_default(),
            severity: severity.unwrap_or(Severity::Info),
            labels: rule.map(|rule| rule.labels.clone()).unwrap_or_default(),
            runbook: rule.map(|rule| rule.runbook.clone()).unwrap_or_default(),
            at: now,
            firing,
            cleared,
            more,
        };
        self.groups.number += 1;
        self.groups.push(notification);
    }
}
