//! What people do with alerts: know of them, end them, take them on, write on them, and ask for quiet.

use std::collections::BTreeSet;

use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use thiserror::Error;

use super::rule::TEXT_MAX;
use super::{
    COMMENTS_MAX, Comment, Engine, Fingerprint, KEPT, KEPT_UNKNOWN, Key, Purpose, Severity, State,
    Suppression, WINDOWS_MAX, What, Window,
};
use crate::condition::{Subject, kind};

/// Why a verb did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VerbError {
    /// There is no such alert.
    #[error("there is no alert of that fingerprint; it may have been forgotten since")]
    Unknown,
    /// It is not in a state for that.
    #[error("the alert is {}, where that means nothing", .0.name())]
    State(State),
    /// The text is too long.
    #[error("a text is at most {TEXT_MAX} bytes")]
    Text,
    /// There are too many windows.
    #[error("{WINDOWS_MAX} silences and maintenance windows are open; end one of them first")]
    Windows,
    /// The window would never be open.
    #[error("a silence or maintenance window ends after it begins, and after now")]
    Times,
    /// There is no such window.
    #[error("there is no silence or maintenance window of that number")]
    Window,
}

impl Engine {
    fn key(&self, fingerprint: Fingerprint) -> Result<Key, VerbError> {
        let found = self.alerts.iter().find(|(_, alert)| alert.fingerprint == fingerprint);
        found.map(|(key, _)| *key).ok_or(VerbError::Unknown)
    }

    fn change(
        &mut self,
        now: Instant,
        fingerprint: Fingerprint,
        by: &str,
        to: impl Fn(State) -> Option<State>,
    ) -> Result<Key, VerbError> {
        let key = self.key(fingerprint)?;
        let alert = self.alerts.get_mut(&key).ok_or(VerbError::Unknown)?;
        let from = alert.state;
        let state = to(from).ok_or(VerbError::State(from))?;
        alert.state = state;
        alert.since = now;
        let alert = alert.clone();
        self.note(now, &alert, Some(from), Some(state), Some(by.to_owned()));
        Ok(key)
    }

    /// Somebody knows of an alert: reminders end.
    pub fn acknowledge(&mut self, now: Instant, fingerprint: Fingerprint, by: &str) -> Result<(), VerbError> {
        let key = self.change(now, fingerprint, by, |state| match state {
            State::ActiveUnack => Some(State::ActiveAck),
            State::ClearedUnack => Some(State::ClearedAck),
            State::Pending | State::ActiveAck | State::ClearedAck => None,
        })?;
        if let Some(alert) = self.alerts.get_mut(&key) {
            alert.known_by = Some(by.to_owned());
        }
        Ok(())
    }

    /// He does not after all.
    pub fn unacknowledge(
        &mut self,
        now: Instant,
        fingerprint: Fingerprint,
        by: &str,
    ) -> Result<(), VerbError> {
        let key = self.change(now, fingerprint, by, |state| match state {
            State::ActiveAck => Some(State::ActiveUnack),
            State::ClearedAck => Some(State::ClearedUnack),
            State::Pending | State::ActiveUnack | State::ClearedUnack => None,
        })?;
        if let Some(alert) = self.alerts.get_mut(&key) {
            alert.known_by = None;
        }
        Ok(())
    }

    /// Ends an alert by hand. It is raised again only after it was good once.
    pub fn clear(&mut self, now: Instant, fingerprint: Fingerprint, by: &str) -> Result<(), VerbError> {
        let active = |state: State| state.is_active().then_some(State::ClearedAck);
        let key = self.change(now, fingerprint, by, active)?;
        if let Some(alert) = self.alerts.get_mut(&key) {
            (alert.gate, alert.muted, alert.news) = (Default::default(), true, true);
            alert.known_by = Some(by.to_owned());
        }
        self.groups.news(now, key.0, false, &self.config);
        Ok(())
    }

    /// Says whose an alert is, or that it is nobody's.
    pub fn assign(&mut self, fingerprint: Fingerprint, to: Option<&str>) -> Result<(), VerbError> {
        if to.is_some_and(|to| to.len() > TEXT_MAX) {
            return Err(VerbError::Text);
        }
        let key = self.key(fingerprint)?;
        let alert = self.alerts.get_mut(&key).ok_or(VerbError::Unknown)?;
        alert.assigned = to.map(str::to_owned);
        self.changes.alerts.insert(fingerprint);
        Ok(())
    }

    /// Writes on an alert.
    pub fn comment(
        &mut self,
        now: Instant,
        fingerprint: Fingerprint,
        by: &str,
        text: &str,
    ) -> Result<(), VerbError> {
        if text.len() > TEXT_MAX || by.len() > TEXT_MAX {
            return Err(VerbError::Text);
        }
        let key = self.key(fingerprint)?;
        let alert = self.alerts.get_mut(&key).ok_or(VerbError::Unknown)?;
        if alert.comments.len() == COMMENTS_MAX {
            alert.comments.pop_front();
        }
        alert.comments.push_back(Comment { at: now, by: by.to_owned(), text: text.to_owned() });
        self.changes.alerts.insert(fingerprint);
        Ok(())
    }

    /// Opens a silence or maintenance window. Its number.
    pub fn open(&mut self, now: Instant, window: Window) -> Result<u32, VerbError> {
        if window.until <= window.from || window.until <= now {
            return Err(VerbError::Times);
        }
        let texts = [&window.by, &window.why].into_iter();
        let matched = window.matchers.iter().flat_map(|matcher| [&matcher.field, &matcher.value]);
        if texts.chain(matched).any(|text| text.len() > TEXT_MAX) {
            return Err(VerbError::Text);
        }
        if self.windows.len() >= WINDOWS_MAX {
            return Err(VerbError::Windows);
        }
        let number = self.next_window;
        self.next_window = self.next_window.wrapping_add(1).max(1);
        self.windows.insert(number, window);
        self.changes.windows.insert(number);
        self.refresh(now, None);
        Ok(number)
    }

    /// An update is going to restart these nodes: they are in maintenance for so long. Its number.
    pub fn open_for_update(
        &mut self,
        now: Instant,
        nodes: BTreeSet<NodeId>,
        lasts: Duration,
        what: &str,
    ) -> Result<u32, VerbError> {
        // No nodes would mean all of them.
        if nodes.is_empty() {
            return Err(VerbError::Window);
        }
        let number = self.open(
            now,
            Window {
                purpose: Purpose::Maintenance,
                matchers: Vec::new(),
                nodes,
                from: now,
                until: now + lasts,
                by: "an update".to_owned(),
                why: what.to_owned(),
            },
        )?;
        self.for_updates.insert(number);
        Ok(number)
    }

    /// Ends a window.
    pub fn close(&mut self, now: Instant, number: u32) -> Result<(), VerbError> {
        self.windows.remove(&number).ok_or(VerbError::Window)?;
        self.for_updates.remove(&number);
        self.changes.windows.insert(number);
        self.refresh(now, None);
        Ok(())
    }

    /// All windows that are not over.
    pub fn windows(&self) -> impl Iterator<Item = (u32, &Window)> {
        self.windows.iter().map(|(number, window)| (*number, window))
    }

    /// Looks again at what is suppressed: of one subject, or of all.
    pub(super) fn refresh(&mut self, now: Instant, subject: Option<Subject>) {
        let concerned = |key: &&Key| subject.is_none_or(|subject| key.1 == subject);
        let keys: Vec<Key> = self.alerts.keys().filter(concerned).copied().collect();
        for key in keys {
            self.refresh_one(now, key);
        }
    }

    /// Looks at what suppresses an alert. That one begins to flap is said once.
    pub(super) fn refresh_one(&mut self, now: Instant, key: Key) {
        let (Some(rule), Some(alert)) = (self.rules.get(key.0), self.alerts.get(&key)) else { return };
        let mut windows = self.windows.iter();
        let window = windows.find(|(_, window)| window.covers(now, rule, key.1));
        let is_cause = matches!(&rule.what, What::State(state) if state == kind::INCIDENT);
        let cause = self.causes.get(&key.1).filter(|_| !is_cause);
        let flapping = (alert.flapping && !alert.announce).then_some(Suppression::Flapping);
        let suppressed = window
            .map(|(number, window)| Suppression::Window(window.purpose, *number))
            .or_else(|| cause.map(|cause| Suppression::Cause(*cause)))
            .or(flapping);
        let lifted = alert.suppressed_by.is_some() && suppressed.is_none();
        let news = alert.news;
        let critical = alert.severity == Severity::Critical && alert.state.is_active();
        if let Some(alert) = self.alerts.get_mut(&key) {
            alert.suppressed_by = suppressed;
        }
        if lifted && news {
            self.groups.news(now, key.0, critical, &self.config);
        }
    }

    /// Ends windows and flapping, forgets old alerts.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = self.windows.iter().filter(|(_, window)| window.until <= now);
        for number in over.map(|(number, _)| *number).collect::<Vec<u32>>() {
            self.windows.remove(&number);
            self.for_updates.remove(&number);
            self.changes.windows.insert(number);
        }
        let old = |state: State, since: Instant| match state {
            State::ClearedAck => now.since(since) >= KEPT,
            State::ClearedUnack => now.since(since) >= KEPT_UNKNOWN,
            _ => false,
        };
        let gone: Vec<Key> = self
            .alerts
            .iter()
            .filter(|(_, alert)| old(alert.state, alert.since) && !alert.muted)
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.remove(now, key);
        }
        for alert in self.alerts.values_mut() {
            alert.settle(now);
        }
        self.refresh(now, None);
    }
}
