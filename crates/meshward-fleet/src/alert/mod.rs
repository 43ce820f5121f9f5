//! From values and states to few messages that matter.
//!
//! An [`Engine`] is told of nodes that reported ([`Engine::handle_node`]), of [`Condition`]s, and of incidents that
//! explain others ([`Engine::handle_cause`]). It keeps one [`Alert`] per rule and subject through its life, and
//! gives out [`Transition`]s, and [`Notification`]s in groups. It sends nothing: whoever takes notifications keeps
//! them until they are delivered. Nothing is raised by silence: a value that is too old says nothing; that a
//! node is silent is a state which liveness finds. Nothing is raised while the engine learns what is so, after
//! its start. However bad the input, what it sends is limited.

mod defaults;
mod gate;
mod group;
mod keep;
mod one;
mod rehearse;
mod rule;
mod verbs;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshward_core::time::{Duration, Instant, UnixTime};
use meshward_core::wire::NodeId;

use crate::condition::{Condition, Subject};
use crate::signal::View;
pub use defaults::default_rules;
use gate::{Edge, Gate, Look};
use group::Groups;
pub use group::{NOTIFICATIONS_MAX, Notice, Notification, SNAPSHOTS_MAX, Snapshot, TOKENS_MAX};
pub use one::{Alert, COMMENTS_MAX, Comment, FLAP_WINDOW, FLAPS, Fingerprint, State, Suppression};
pub use rehearse::{FIRINGS_MAX, Firing, Rehearsal, rehearse, rehearse_states};
pub use rule::{RULES_MAX, Rule, RuleError, Schedule, Severity, TEXT_MAX, What, markdown};
pub use verbs::VerbError;
pub use window::{Matcher, Purpose, WINDOWS_MAX, Window};

/// Most alerts at a time, pending and cleared ones included. The oldest cleared one makes room.
pub const ALERTS_MAX: usize = 5_000;
/// Most transitions that are remembered.
pub const HISTORY_MAX: usize = 2_000;
/// Most transitions that wait to be taken; the oldest go first, and are counted.
pub const TRANSITIONS_MAX: usize = 10_000;
/// Most subjects that others explain.
pub const CAUSES_MAX: usize = 20_000;
/// How long a known and cleared alert is kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// How long a cleared alert is kept that nobody knows of.
const KEPT_UNKNOWN: Duration = Duration::from_secs(7 * 86_400);
/// How often it is looked whether a schedule or window has begun or ended.
const TICK: Duration = Duration::from_secs(30);

/// How an engine works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The mesh's name: part of every fingerprint.
    pub mesh: String,
    /// How long a group's first message waits for others. Critical ones don't.
    pub group_wait: Duration,
    /// How long a group is quiet after a message.
    pub group_interval: Duration,
    /// When what is still raised and not known is said again.
    pub repeat: Duration,
    /// How long nothing is raised after the start.
    pub learning: Duration,
}

impl Config {
    /// The usual times for a mesh of this name.
    pub fn new(mesh: impl Into<String>) -> Self {
        Self {
            mesh: mesh.into(),
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(300),
            repeat: Duration::from_secs(4 * 3_600),
            learning: Duration::from_secs(120),
        }
    }
}

/// An alert came into another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Instant,
    /// Of which alert.
    pub fingerprint: Fingerprint,
    /// Its rule.
    pub rule: String,
    /// Whom it is about.
    pub subject: Subject,
    /// The state before; `None` for a new alert.
    pub from: Option<State>,
    /// The state now; `None` when it was forgotten.
    pub to: Option<State>,
    /// Who did it, if it was not the engine.
    pub by: Option<String>,
}

/// What was dropped, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Alerts that had no room.
    pub alerts: u64,
    /// Transitions that nobody took.
    pub transitions: u64,
    /// Notifications that nobody took.
    pub notifications: u64,
    /// Causes that had no room.
    pub causes: u64,
    /// Groups whose message was put into a summary, to keep the rate.
    pub summarised: u64,
}

/// Which alert: the place of its rule, and its subject.
type Key = (usize, Subject);

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Engine {
    config: Config,
    rules: Vec<Rule>,
    alerts: BTreeMap<Key, Alert>,
    windows: BTreeMap<u32, Window>,
    next_window: u32,
    causes: BTreeMap<Subject, u64>,
    groups: Groups,
    history: VecDeque<Transition>,
    transitions: VecDeque<Transition>,
    learnt: Instant,
    civil: Option<(Instant, UnixTime)>,
    /// When windows, schedules and old alerts were looked at last.
    swept: Instant,
    dropped: Dropped,
    /// Whether people wrote the rules.
    by_people: bool,
    /// Windows that updates opened.
    for_updates: BTreeSet<u32>,
    changes: keep::Changes,
}

impl Engine {
    /// An engine that begins to learn now.
    pub fn new(now: Instant, config: Config, rules: Vec<Rule>) -> Result<Self, RuleError> {
        rule::check_all(&rules)?;
        let learnt = now + config.learning;
        Ok(Self {
            config,
            rules,
            alerts: BTreeMap::new(),
            windows: BTreeMap::new(),
            next_window: 1,
            causes: BTreeMap::new(),
            groups: Groups::new(now),
            history: VecDeque::new(),
            transitions: VecDeque::new(),
            learnt,
            civil: None,
            swept: now,
            dropped: Dropped::default(),
            by_people: false,
            for_updates: BTreeSet::new(),
            changes: keep::Changes::default(),
        })
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Other rules, from now on, which are kept over a restart as what people wrote. Alerts of rules that are gone, or look at something else now, are forgotten.
    pub fn set_rules(&mut self, now: Instant, rules: Vec<Rule>) -> Result<(), RuleError> {
        rule::check_all(&rules)?;
        let old = std::mem::replace(&mut self.rules, rules);
        (self.by_people, self.changes.rules) = (true, true);
        self.groups.forget();
        for ((place, subject), mut alert) in std::mem::take(&mut self.alerts) {
            let same = |rule: &&Rule| {
                old.get(place).is_some_and(|old| old.name == rule.name && old.what == rule.what)
            };
            match self.rules.iter().position(|rule| same(&rule) && rule.enabled) {
                Some(place) => {
                    alert.severity = self.rules.get(place).map_or(alert.severity, |rule| rule.severity);
                    self.alerts.insert((place, subject), alert);
                }
                None => self.note(now, &alert, Some(alert.state), None, None),
            }
        }
        self.renew_groups(now);
        Ok(())
    }

    /// What date it is, for schedules.
    pub fn set_civil(&mut self, now: Instant, civil: UnixTime) {
        self.civil = Some((now, civil));
    }

    /// A node reported: its values are compared with the rules.
    pub fn handle_node(&mut self, now: Instant, view: View<'_>, node: NodeId) {
        for place in 0..self.rules.len() {
            let Some(rule) = self.rules.get(place).filter(|rule| rule.enabled) else { continue };
            let What::Measure { signal, .. } = rule.what else { continue };
            let Some(point) = signal.read(view, node, now) else { continue };
            if now.since(point.at) > rule.fresh_for {
                continue;
            }
            let look = rule.what.look(point.value);
            let subject = Subject::Node(node);
            if look != Look::Bad && !self.alerts.contains_key(&(place, subject)) {
                continue;
            }
            let evidence = format!("{signal} {}", signal.shown(point.value));
            self.look(now, (place, subject), look, point.at.min(now), Some(point.value), evidence);
        }
    }

    /// Somebody found a state, or that it ended.
    pub fn handle_condition(&mut self, now: Instant, condition: &Condition) {
        for place in 0..self.rules.len() {
            let watches = |rule: &&Rule| {
                rule.enabled && matches!(&rule.what, What::State(kind) if *kind == condition.kind)
            };
            if self.rules.get(place).filter(watches).is_none() {
                continue;
            }
            let key = (place, condition.subject);
            let look = if condition.holds { Look::Bad } else { Look::Good };
            let known = self.alerts.get_mut(&key);
            if look == Look::Good && known.is_none() {
                continue;
            }
            // What was to be said before a restart is said now that it is known to be so.
            if let Some(alert) = known
                && alert.confirm_by.take().is_some()
                && alert.news
            {
                let critical = alert.severity == Severity::Critical;
                self.groups.news(now, place, critical, &self.config);
            }
            let at = condition.since.min(now);
            self.look(now, key, look, at, None, condition.evidence.clone());
            self.look_again(now, key);
        }
    }

    /// An incident of this number explains what is wrong with a subject, or (`None`) no longer does.
    pub fn handle_cause(&mut self, now: Instant, subject: Subject, incident: Option<u64>) {
        match incident {
            None => {
                self.causes.remove(&subject);
            }
            Some(incident) if self.causes.len() < CAUSES_MAX || self.causes.contains_key(&subject) => {
                self.causes.insert(subject, incident);
            }
            Some(_) => self.dropped.causes += 1,
        }
        self.refresh(now, Some(subject));
    }

    /// Nothing is left to be said of a node: it was forgotten.
    pub fn forget(&mut self, now: Instant, node: NodeId) {
        self.causes.remove(&Subject::Node(node));
        let gone: Vec<Key> =
            self.alerts.keys().copied().filter(|(_, subject)| subject.node() == Some(node)).collect();
        for key in gone {
            let Some(alert) = self.alerts.get_mut(&key) else { continue };
            if !alert.told {
                self.remove(now, key);
                continue;
            }
            // Who was told of it is told that it is over.
            let from = std::mem::replace(&mut alert.state, State::ClearedAck);
            (alert.since, alert.news, alert.gate) = (now, true, Gate::default());
            let alert = alert.clone();
            self.note(now, &alert, Some(from), Some(State::ClearedAck), None);
            self.groups.news(now, key.0, false, &self.config);
        }
    }

    /// What became due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<Key> = self
            .alerts
            .iter()
            .filter(|(key, alert)| self.due(key, alert) <= Some(now))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            match self.alerts.get(&key).and_then(|alert| alert.confirm_by) {
                Some(by) if by <= now => self.give_up(now, key),
                _ => self.look_again(now, key),
            }
        }
        if now.since(self.swept) >= TICK {
            self.swept = now;
            self.sweep(now);
        }
        self.flush(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.alerts.is_empty() && self.windows.is_empty();
        let sweep = (!idle).then(|| self.swept + TICK);
        let gates = self.alerts.iter().filter_map(|(key, alert)| self.due(key, alert));
        gates.chain(sweep).chain(self.groups.due()).min()
    }

    /// The next change of an alert's state.
    pub fn poll_transition(&mut self) -> Option<Transition> {
        self.transitions.pop_front()
    }

    /// The next message to be sent.
    pub fn poll_notification(&mut self) -> Option<Notification> {
        self.groups.poll()
    }

    /// All alerts, in the order of rules and subjects.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// The last changes of alerts' states, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Transition> {
        self.history.iter()
    }

    /// What was dropped.
    pub fn dropped(&self) -> Dropped {
        Dropped { notifications: self.groups.dropped(), summarised: self.groups.summarised(), ..self.dropped }
    }

    /// When a look of a state is due that changes something. Values are looked at when they come.
    fn due(&self, (place, _): &Key, alert: &Alert) -> Option<Instant> {
        let rule = self.rules.get(*place)?;
        if alert.confirm_by.is_some() {
            return alert.confirm_by;
        }
        if !matches!(rule.what, What::State(_)) || alert.look == Look::Between {
            return None;
        }
        let due = alert.gate.due((rule.hold_for, rule.recover_for))?;
        if alert.state != State::Pending {
            return Some(due);
        }
        // What may not be raised yet is looked at again when it may; whether a schedule allows it, every so often.
        let due = due.max(self.learnt);
        Some(if rule.schedule.is_some() { due.max(alert.at + TICK) } else { due })
    }

    /// Looks again at a state that is as it was.
    fn look_again(&mut self, now: Instant, key: Key) {
        let is_state = self.rules.get(key.0).is_some_and(|rule| matches!(rule.what, What::State(_)));
        let Some(alert) = self.alerts.get(&key).filter(|_| is_state) else { return };
        let (look, evidence) = (alert.look, alert.evidence.clone());
        if look != Look::Between {
            self.look(now, key, look, now, None, evidence);
        }
    }

    fn may_raise(&self, now: Instant, rule: &Rule) -> bool {
        let civil =
            |(at, civil): (Instant, UnixTime)| UnixTime(civil.0 + now.since(at).as_micros() / 1_000_000);
        let covered = |schedule: Schedule| self.civil.is_none_or(|known| schedule.covers(civil(known)));
        now >= self.learnt && rule.schedule.is_none_or(covered)
    }

    fn look(
        &mut self,
        now: Instant,
        key: Key,
        look: Look,
        at: Instant,
        value: Option<f64>,
        evidence: String,
    ) {
        let Some(rule) = self.rules.get(key.0) else { return };
        let times = (rule.hold_for, rule.recover_for);
        let may_raise = self.may_raise(now, rule);
        let fingerprint = Fingerprint::of(&self.config.mesh, &rule.name, key.1);
        let new = !self.alerts.contains_key(&key);
        if new {
            let alert = Alert::new(fingerprint, rule, key.1, now);
            if !self.make_room(now) {
                self.dropped.alerts += 1;
                return;
            }
            self.alerts.insert(key, alert);
        }
        let Some(alert) = self.alerts.get_mut(&key) else { return };
        (alert.look, alert.value, alert.at) = (look, value, at);
        if !evidence.is_empty() {
            alert.evidence = evidence;
        }
        alert.muted &= look != Look::Good;
        if alert.muted {
            return;
        }
        let edge = alert.gate.look(at, look, times, may_raise);
        self.follow(now, key, edge, new);
    }

    /// What follows from a gate's edge. `new` is whether the alert was made just now.
    fn follow(&mut self, now: Instant, key: Key, edge: Edge, new: bool) {
        let Some(alert) = self.alerts.get_mut(&key) else { return };
        let from = (!new).then_some(alert.state);
        let to = match edge {
            Edge::None => return,
            Edge::Pending => {
                alert.before = (alert.raised.is_some()).then_some(alert.state);
                State::Pending
            }
            Edge::Dropped => match alert.before.take() {
                Some(before) => before,
                None => return self.remove(now, key),
            },
            Edge::Raised => {
                alert.times = alert.times.saturating_add(1);
                alert.raised = Some(now);
                let known = alert.before.take().unwrap_or(alert.state) == State::ClearedAck && alert.flapping;
                if known { State::ActiveAck } else { State::ActiveUnack }
            }
            Edge::Cleared if alert.state == State::ActiveAck => State::ClearedAck,
            Edge::Cleared => State::ClearedUnack,
        };
        (alert.state, alert.since) = (to, now);
        if matches!(edge, Edge::Raised | Edge::Cleared) {
            alert.note_change(now);
            alert.news = true;
            let critical = alert.severity == Severity::Critical && to.is_active();
            self.groups.news(now, key.0, critical, &self.config);
            self.refresh_one(now, key);
        }
        if let Some(alert) = self.alerts.get(&key).cloned() {
            self.note(now, &alert, from, Some(to), None);
        }
    }

    /// Remembers a transition, and gives it out.
    fn note(
        &mut self,
        now: Instant,
        alert: &Alert,
        from: Option<State>,
        to: Option<State>,
        by: Option<String>,
    ) {
        let (fingerprint, rule, subject) = (alert.fingerprint, alert.rule.clone(), alert.subject);
        let transition = Transition { at: now, fingerprint, rule, subject, from, to, by };
        self.changes.alerts.insert(fingerprint);
        // What was only pending is no history.
        if to != Some(State::Pending) && (from, to) != (Some(State::Pending), None) {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(transition.clone());
        }
        if self.transitions.len() == TRANSITIONS_MAX {
            self.transitions.pop_front();
            self.dropped.transitions += 1;
        }
        self.transitions.push_back(transition);
    }

    fn remove(&mut self, now: Instant, key: Key) {
        if let Some(alert) = self.alerts.remove(&key) {
            self.note(now, &alert, Some(alert.state), None, None);
        }
    }

    fn make_room(&mut self, now: Instant) -> bool {
        if self.alerts.len() < ALERTS_MAX {
            return true;
        }
        let over = self.alerts.iter().filter(|(_, alert)| {
            matches!(alert.state, State::ClearedAck | State::ClearedUnack) && !alert.news
        });
        let oldest = over.min_by_key(|(_, alert)| alert.since).map(|(key, _)| *key);
        oldest.is_some_and(|key| {
            self.remove(now, key);
            true
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_storm;
