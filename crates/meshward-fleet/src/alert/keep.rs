//! What an engine must still know after a restart: alerts that were raised once, windows that somebody asked for,
//! rules that people wrote.
//!
//! An alert of a value is cleared by the node's next values. One of a state is *unconfirmed*: whoever finds states
//! finds this one again within a time that he knows, or it is over, as if its end had been told then. What was
//! pending is not kept, for it takes no longer to see it again; nor is maintenance that an update opened, for who goes
//! on with the update opens it again. Nothing is sent because of a restart.

use std::collections::VecDeque;

use meshward_core::time::{Duration, Instant};

use super::gate::{Gate, Look};
use super::one::FLAPS;
use super::rule::TEXT_MAX;
use super::{
    ALERTS_MAX, Alert, COMMENTS_MAX, Comment, Engine, Fingerprint, Key, Rule, RuleError, State, WINDOWS_MAX,
    What, Window,
};
use crate::memory::{AlertMemory, Changed, CommentMemory, Moment, Restored, WindowMemory};
use crate::registry::cut;

/// What has changed of what is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) alerts: Changed<Fingerprint>,
    pub(crate) windows: Changed<u32>,
    pub(crate) rules: bool,
}

/// At most [`TEXT_MAX`] bytes of a text, and whether that is less than it was.
fn short(text: &str, put: &mut Restored) -> String {
    put.corrected += u64::from(text.len() > TEXT_MAX);
    cut(text.to_owned(), TEXT_MAX)
}

impl Engine {
    /// What has changed.
    pub(crate) fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// The numbers of the next message and of the next window.
    pub(crate) fn numbers(&self) -> (u64, u32) {
        (self.groups.number(), self.next_window)
    }

    /// These numbers were given before the engine's start.
    pub(crate) fn restore_numbers(&mut self, notifications: u64, windows: u32) {
        self.groups.restore_number(notifications);
        self.next_window = self.next_window.max(windows);
    }

    /// The rules, if people wrote them.
    pub(crate) fn kept_rules(&self) -> Option<&[Rule]> {
        self.by_people.then_some(&*self.rules)
    }

    /// The rules that people wrote before the start.
    pub(crate) fn restore_rules(&mut self, now: Instant, rules: Vec<Rule>) -> Result<(), RuleError> {
        self.set_rules(now, rules)
    }

    /// What is kept of an alert: nothing before it was raised once.
    pub(crate) fn kept(&self, moment: Moment, fingerprint: Fingerprint) -> Option<AlertMemory> {
        let alert = self.alerts.values().find(|alert| alert.fingerprint == fingerprint)?;
        kept(moment, alert)
    }

    /// What is kept of all alerts.
    pub(crate) fn all_kept(&self, moment: Moment) -> impl Iterator<Item = AlertMemory> {
        self.alerts.values().filter_map(move |alert| kept(moment, alert))
    }

    /// An alert from before the start. `within` says how long it takes at most to find a state again.
    pub(crate) fn restore_alert(
        &mut self,
        moment: Moment,
        kept: &AlertMemory,
        within: impl Fn(&str) -> Duration,
        put: &mut Restored,
    ) {
        let place = self.rules.iter().position(|rule| rule.name == kept.rule && rule.enabled);
        let Some((place, rule)) = place.and_then(|place| Some((place, self.rules.get(place)?))) else {
            put.over += 1;
            return;
        };
        let key: Key = (place, kept.subject);
        if kept.state == State::Pending || self.alerts.contains_key(&key) || self.alerts.len() >= ALERTS_MAX {
            put.skipped += 1;
            return;
        }
        let now = moment.now;
        let fingerprint = Fingerprint::of(&self.config.mesh, &rule.name, key.1);
        let mut alert = Alert::new(fingerprint, rule, key.1, now);
        if let What::State(kind) = &rule.what
            && kept.state.is_active()
        {
            alert.confirm_by = Some(now + within(kind));
        }
        fill(&mut alert, moment, kept, put);
        let unsure = alert.confirm_by.is_some();
        let repeat = alert.told && alert.state == State::ActiveUnack;
        self.alerts.insert(key, alert);
        put.alerts += 1;
        if kept.news && !unsure {
            self.groups.news(now, place, false, &self.config);
        } else if repeat {
            self.groups.remind(now, place, &self.config);
        }
        self.refresh_one(now, key);
    }

    /// What is kept of a window: nothing of one that an update opened.
    pub(crate) fn kept_window(&self, moment: Moment, number: u32) -> Option<WindowMemory> {
        let window = self.windows.get(&number).filter(|_| !self.for_updates.contains(&number))?;
        Some(WindowMemory {
            number,
            purpose: window.purpose,
            matchers: window.matchers.clone(),
            nodes: window.nodes.clone(),
            from: moment.stamp(window.from),
            until: moment.stamp(window.until),
            by: window.by.clone(),
            why: window.why.clone(),
        })
    }

    /// A window from before the start, with its number.
    pub(crate) fn restore_window(&mut self, moment: Moment, kept: &WindowMemory, put: &mut Restored) {
        if kept.until <= moment.civil {
            put.over += 1;
            return;
        }
        let (by, why) = (short(&kept.by, put), short(&kept.why, put));
        let (matchers, nodes) = (kept.matchers.clone(), kept.nodes.clone());
        let long = matchers.iter().any(|one| one.field.len() > TEXT_MAX || one.value.len() > TEXT_MAX);
        let odd = kept.until <= kept.from || long || nodes.len() > crate::registry::Registry::NODES_MAX;
        // A matcher that was cut would match something else.
        if odd
            || kept.number == 0
            || self.windows.contains_key(&kept.number)
            || self.windows.len() >= WINDOWS_MAX
        {
            put.skipped += 1;
            return;
        }
        let (from, until) = (moment.any(kept.from), moment.any(kept.until));
        let purpose = kept.purpose;
        self.windows.insert(kept.number, Window { purpose, matchers, nodes, from, until, by, why });
        self.next_window = self.next_window.max(kept.number.wrapping_add(1).max(1));
        put.windows += 1;
    }

    /// The state of an alert from before the start was not found again in time: it is over.
    pub(super) fn give_up(&mut self, now: Instant, key: Key) {
        if let Some(alert) = self.alerts.get_mut(&key) {
            alert.confirm_by = None;
            self.look(now, key, Look::Good, now, None, String::new());
        }
    }
}

fn kept(moment: Moment, alert: &Alert) -> Option<AlertMemory> {
    // Pending again it is as it was before.
    let state = if alert.state == State::Pending { alert.before? } else { alert.state };
    let comment = |comment: &Comment| CommentMemory {
        at: moment.stamp(comment.at),
        by: comment.by.clone(),
        text: comment.text.clone(),
    };
    Some(AlertMemory {
        fingerprint: alert.fingerprint,
        rule: alert.rule.clone(),
        subject: alert.subject,
        severity: alert.severity,
        state,
        since: moment.stamp(alert.since),
        raised: alert.raised.map(|raised| moment.stamp(raised)),
        times: alert.times,
        value: alert.value,
        evidence: alert.evidence.clone(),
        at: moment.stamp(alert.at),
        known_by: alert.known_by.clone(),
        assigned: alert.assigned.clone(),
        comments: alert.comments.iter().map(comment).collect(),
        flapping: alert.flapping,
        changes: alert.changes.iter().map(|at| moment.stamp(*at)).collect(),
        news: alert.news,
        told: alert.told,
        muted: alert.muted,
    })
}

fn fill(alert: &mut Alert, moment: Moment, kept: &AlertMemory, put: &mut Restored) {
    let stamps = [kept.since, kept.at].into_iter().chain(kept.raised).chain(kept.changes.iter().copied());
    put.corrected += stamps.filter(|stamp| moment.is_ahead(*stamp)).count() as u64;
    alert.state = kept.state;
    alert.since = moment.past(kept.since);
    alert.raised = kept.raised.map(|raised| moment.past(raised));
    alert.times = kept.times;
    alert.value = kept.value.filter(|value| value.is_finite());
    alert.evidence = short(&kept.evidence, put);
    alert.at = moment.past(kept.at);
    alert.known_by = kept.known_by.as_deref().map(|by| short(by, put));
    alert.assigned = kept.assigned.as_deref().map(|to| short(to, put));
    let newest = kept.comments.len().saturating_sub(COMMENTS_MAX);
    let comments = kept.comments.iter().skip(newest);
    alert.comments = comments
        .map(|comment| Comment {
            at: moment.past(comment.at),
            by: short(&comment.by, put),
            text: short(&comment.text, put),
        })
        .collect();
    let newest = kept.changes.len().saturating_sub(FLAPS);
    let mut changes: Vec<Instant> = kept.changes.iter().skip(newest).map(|at| moment.past(*at)).collect();
    changes.sort_unstable();
    alert.changes = VecDeque::from(changes);
    (alert.flapping, alert.news, alert.told, alert.muted) = (kept.flapping, kept.news, kept.told, kept.muted);
    alert.gate = if kept.state.is_active() { Gate::raised(alert.at) } else { Gate::default() };
}
