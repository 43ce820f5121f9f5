//! Rules and windows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::alert::{self, RuleError, What};
use meshward_fleet::anomaly::Side;
use meshward_fleet::condition::{self, Subject};
use meshward_fleet::series::Point;
use meshward_fleet::signal::Signal;

use super::super::model::{AlertRule, Firing, Matcher, Purpose, Rehearsal, Schedule, Window};
use super::{seconds, timestamp};
use crate::service::Gateway;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

pub(in super::super) const fn purpose(purpose: Purpose) -> alert::Purpose {
    match purpose {
        Purpose::Silence => alert::Purpose::Silence,
        Purpose::Maintenance => alert::Purpose::Maintenance,
    }
}

pub(in super::super) fn matcher(matcher: Matcher) -> alert::Matcher {
    alert::Matcher { field: matcher.field, value: matcher.value, equal: matcher.equal }
}

pub(in super::super) fn window(gateway: &Gateway, now: Instant, id: u32, window: &alert::Window) -> Window {
    let at = |at: Instant| -> Timestamp { timestamp(gateway.civil(at)) };
    let matcher = |matcher: &alert::Matcher| Matcher {
        field: matcher.field.clone(),
        value: matcher.value.clone(),
        equal: matcher.equal,
    };
    Window {
        id,
        purpose: match window.purpose {
            alert::Purpose::Silence => Purpose::Silence,
            alert::Purpose::Maintenance => Purpose::Maintenance,
        },
        matchers: window.matchers.iter().map(matcher).collect(),
        nodes: window.nodes.iter().map(|node| node.0).collect(),
        from: at(window.from),
        until: at(window.until),
        active: window.from <= now,
        by: window.by.clone(),
        why: window.why.clone(),
    }
}

/// Those of one purpose that are not over, in order of their numbers.
pub(in super::super) fn windows(gateway: &Gateway, now: Instant, wanted: Purpose) -> Vec<Window> {
    let open = gateway.fleet().alerts().windows().filter(|(_, window)| window.until > now);
    let open = open.filter(|(_, window)| window.purpose == purpose(wanted));
    open.map(|(id, each)| window(gateway, now, id, each)).collect()
}

/// Longest time of a rule, in seconds: a week.
const RULE_SECONDS_MAX: f64 = 604_800.0;

/// A field of a rule that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {detail}")]
pub(crate) struct WrongRule {
    pub(crate) field: &'static str,
    pub(crate) detail: String,
}

fn wrong<T>(field: &'static str, detail: impl Into<String>) -> Result<T, WrongRule> {
    Err(WrongRule { field, detail: detail.into() })
}

/// What a rule looks at.
fn what(rule: &AlertRule) -> Result<What, WrongRule> {
    let kinds = condition::kind::ALL;
    let (signal, kind) = match (&rule.signal, &rule.state) {
        (Some(signal), None) => (signal, None),
        (None, Some(kind)) if kinds.contains(&&**kind) => (kind, Some(kind)),
        (None, Some(kind)) => {
            return wrong("state", format!("there is no state `{kind}`: take one of {}", kinds.join(", ")));
        }
        _ => return wrong("signal", "a rule looks at a signal or at a state: give one of both"),
    };
    if let Some(kind) = kind {
        let stray =
            [("side", rule.side.is_some()), ("raise", rule.raise.is_some()), ("clear", rule.clear.is_some())];
        return match stray.iter().find(|(_, there)| *there) {
            Some((field, _)) => wrong(field, "belongs to rules on a signal; a state is there or not"),
            None => Ok(What::State(kind.clone())),
        };
    }
    let Some(read) = Signal::named(signal) else {
        return wrong(
            "signal",
            format!(
                "there is no signal `{signal}`: take a metric, as `free_heap_bytes`, also with _per_minute, _per_day, _over_usual or _change behind it, or restarts_per_hour"
            ),
        );
    };
    let side = match rule.side.as_deref() {
        Some("above") => Side::Above,
        Some("below") => Side::Below,
        _ => return wrong("side", "say which side of `raise` is bad: above or below"),
    };
    let Some(raise) = rule.raise else { return wrong("raise", "say beyond which value it is bad") };
    Ok(What::Measure { signal: read, side, raise, clear: rule.clear.unwrap_or(raise) })
}

fn schedule(given: &Schedule) -> Result<alert::Schedule, WrongRule> {
    let mut days = 0;
    for day in &given.days {
        match DAYS.iter().position(|known| known == day) {
            Some(bit) => days |= 1 << bit,
            None => return wrong("schedule", format!("there is no day `{day}`: take {}", DAYS.join(", "))),
        }
    }
    let (from, to) = (given.from_minute, given.to_minute);
    Ok(alert::Schedule { days, from, to, ahead_min: given.ahead_minutes })
}

/// The rule that people wrote.
///
/// # Errors
/// The field that makes no sense.
pub(crate) fn written_rule(given: &AlertRule) -> Result<alert::Rule, WrongRule> {
    let time = |field: &'static str, seconds: f64| {
        if (0.0..=RULE_SECONDS_MAX).contains(&seconds) {
            Ok(Duration::from_micros((seconds * 1e6) as u64))
        } else {
            wrong(field, format!("{seconds} is out of range: take 0 to {RULE_SECONDS_MAX} seconds"))
        }
    };
    let Some(severity) = alert::Severity::named(&given.severity) else {
        return wrong("severity", format!("`{}` is none: take info, warning or critical", given.severity));
    };
    let rule = alert::Rule {
        name: given.name.clone(),
        what: what(given)?,
        hold_for: time("hold_seconds", given.hold_seconds)?,
        recover_for: time("recover_seconds", given.recover_seconds)?,
        fresh_for: time("fresh_seconds", given.fresh_seconds)?,
        schedule: given.schedule.as_ref().map(schedule).transpose()?,
        severity,
        labels: given.labels.clone(),
        runbook: given.runbook.clone(),
        enabled: given.enabled,
    };
    match rule.check() {
        Ok(()) => Ok(rule),
        Err(error) => {
            let field = match &error {
                RuleError::Thresholds(_) => "clear",
                RuleError::Schedule(_) => "schedule",
                RuleError::Text(_) => "runbook",
                RuleError::Name(_) | RuleError::TooMany(_) => "name",
            };
            wrong(field, error.to_string())
        }
    }
}

pub(crate) fn rule(rule: &alert::Rule) -> AlertRule {
    let (mut signal, mut state, mut side, mut levels) = (None, None, None, None);
    match &rule.what {
        What::State(kind) => state = Some(kind.clone()),
        What::Measure { signal: read, side: bad, raise, clear } => {
            signal = Some(read.name());
            side = Some(if *bad == Side::Above { "above" } else { "below" });
            levels = Some((*raise, *clear));
        }
    }
    let schedule = rule.schedule.map(|schedule| Schedule {
        days: DAYS
            .iter()
            .zip(0..)
            .filter(|(_, bit)| schedule.days >> bit & 1 == 1)
            .map(|(day, _)| (*day).to_owned())
            .collect(),
        from_minute: schedule.from,
        to_minute: schedule.to,
        ahead_minutes: schedule.ahead_min,
    });
    let (raise, clear) = levels.unzip();
    AlertRule {
        name: rule.name.clone(),
        signal,
        state,
        side: side.map(str::to_owned),
        raise,
        clear,
        hold_seconds: seconds(rule.hold_for),
        recover_seconds: seconds(rule.recover_for),
        fresh_seconds: seconds(rule.fresh_for),
        schedule,
        severity: rule.severity.name().to_owned(),
        labels: rule.labels.clone(),
        runbook: rule.runbook.clone(),
        enabled: rule.enabled,
    }
}

/// All rules, in their own order.
pub(in super::super) fn rules(gateway: &Gateway) -> Vec<AlertRule> {
    gateway.fleet().alerts().rules().iter().map(rule).collect()
}

/// What a rule on levels would have done within a time; `None` of a rule on what is not kept.
pub(in super::super) fn rehearsal(
    gateway: &Gateway,
    now: Instant,
    tried: &alert::Rule,
    window: Duration,
) -> Option<Rehearsal> {
    let What::Measure { signal: Signal::Level(metric), .. } = &tried.what else { return None };
    let store = gateway.fleet().series();
    let since = now - window;
    let points = |node: NodeId| -> Vec<Point> {
        store.points(node, *metric).into_iter().filter(|point| point.at >= since).collect()
    };
    let history: BTreeMap<NodeId, Vec<Point>> = store.nodes().map(|node| (node, points(node))).collect();
    let history: Vec<(Subject, Vec<Point>)> =
        history.into_iter().map(|(node, points)| (Subject::Node(node), points)).collect();
    let civil = gateway.civil(now).duration_since(std::time::SystemTime::UNIX_EPOCH).ok();
    let civil = civil.map(|since| (now, meshward_core::time::UnixTime(since.as_secs())));
    let said = alert::rehearse(tried, civil, &history);
    let firing = |firing: &alert::Firing| Firing {
        node: firing.subject.node().map(|node| node.0),
        from: timestamp(gateway.civil(firing.from)),
        until: firing.until.map(|until| timestamp(gateway.civil(until))),
    };
    Some(Rehearsal {
        rule: tried.name.clone(),
        span_seconds: seconds(said.span),
        count: said.count as u64,
        firings: said.firings.iter().map(firing).collect(),
        text: said.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> AlertRule {
        use super::super::super::model::NewAlertRule;
        let mut rule: serde_json::Value =
            serde_json::from_str(r#"{"name": "mine", "severity": "warning"}"#).unwrap();
        let more: serde_json::Value = serde_json::from_str(text).unwrap();
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<NewAlertRule>(rule).unwrap().into()
    }

    #[test]
    fn rules_go_there_and_back() {
        for known in alert::default_rules() {
            assert_eq!(written_rule(&rule(&known)).unwrap(), known);
        }
        let heap = r#"{"signal": "free_heap_bytes", "side": "below", "raise": 9000, "schedule":
            {"days": ["mon", "sun"], "from_minute": 60, "to_minute": 0, "ahead_minutes": -90}}"#;
        let mine = written_rule(&given(heap)).unwrap();
        assert_eq!(written_rule(&rule(&mine)).unwrap(), mine);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, field) in [
            ("{}", "signal"),
            (r#"{"signal": "free_heap_bytes", "state": "offline"}"#, "signal"),
            (r#"{"signal": "luck", "side": "below", "raise": 1}"#, "signal"),
            (r#"{"signal": "rssi_dbm", "raise": 1}"#, "side"),
            (r#"{"signal": "rssi_dbm", "side": "left", "raise": 1}"#, "side"),
            (r#"{"signal": "rssi_dbm", "side": "below"}"#, "raise"),
            (r#"{"signal": "rssi_dbm", "side": "below", "raise": -80, "clear": -90}"#, "clear"),
            (r#"{"state": "sad"}"#, "state"),
            (r#"{"state": "offline", "raise": 1}"#, "raise"),
            (r#"{"state": "offline", "severity": "loud"}"#, "severity"),
            (r#"{"state": "offline", "hold_seconds": -1}"#, "hold_seconds"),
            (r#"{"state": "offline", "recover_seconds": 1e9}"#, "recover_seconds"),
            (r#"{"state": "offline", "name": "two words"}"#, "name"),
            (
                r#"{"state": "offline", "schedule": {"days": ["Monday"], "from_minute": 0, "to_minute": 9, "ahead_minutes": 0}}"#,
                "schedule",
            ),
            (
                r#"{"state": "offline", "schedule": {"days": [], "from_minute": 0, "to_minute": 9, "ahead_minutes": 0}}"#,
                "schedule",
            ),
        ] {
            assert_eq!(written_rule(&given(text)).unwrap_err().field, field, "{text}");
        }
    }
}
