//! Rules and windows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::alert::{self, What};
use meshward_fleet::anomaly::Side;
use meshward_fleet::condition::Subject;
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

pub(in super::super) fn rule(rule: &alert::Rule) -> AlertRule {
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
