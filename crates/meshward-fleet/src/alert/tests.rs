use std::collections::BTreeSet;

use super::*;
use crate::anomaly::{Detector, Side};
use crate::condition::kind;
use crate::reading::{Reading, Source};
use crate::series::{Point, Store};
use crate::signal::Signal;
use meshward_core::telemetry::Metric;

pub(super) fn at(second: u64) -> Instant {
    Instant::from_micros(second * 1_000_000)
}

/// A rule on the RSSI, with times in seconds.
pub(super) fn weak(hold: u64, recover: u64) -> Rule {
    let rule = default_rules().into_iter().find(|rule| rule.name == "weak_link").unwrap();
    Rule { hold_for: Duration::from_secs(hold), recover_for: Duration::from_secs(recover), ..rule }
}

/// A rule on a state.
pub(super) fn state(kind: &str, severity: Severity) -> Rule {
    Rule { name: kind.to_owned(), what: What::State(kind.to_owned()), severity, ..weak(0, 0) }
}

/// An engine with its readings, past its learning.
pub(super) struct Bench {
    pub(super) engine: Engine,
    store: Store,
    detector: Detector,
    pub(super) now: u64,
}

impl Bench {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let engine = Engine::new(at(0), Config::new("home"), rules).unwrap();
        Self { engine, store: Store::default(), detector: Detector::default(), now: 1_000 }
    }

    pub(super) fn tell(&mut self, node: u32, metric: Metric, value: f64) {
        let reading = Reading::new(NodeId(node), metric, value, at(self.now), Source::Telemetry);
        self.store.handle(at(self.now), &[reading]);
        let view = View { store: &self.store, detector: &self.detector };
        self.engine.handle_node(at(self.now), view, NodeId(node));
    }

    pub(super) fn found(&mut self, kind: &'static str, node: u32) {
        let subject = Subject::Node(NodeId(node));
        self.engine
            .handle_condition(at(self.now), &Condition::found(kind, subject, at(self.now), "so it is"));
    }

    pub(super) fn ended(&mut self, kind: &'static str, node: u32) {
        let subject = Subject::Node(NodeId(node));
        self.engine.handle_condition(at(self.now), &Condition::ended(kind, subject, at(self.now)));
    }

    /// Time goes on, and every timer is kept. What was sent.
    pub(super) fn pass(&mut self, seconds: u64) -> Vec<Notification> {
        let end = self.now + seconds;
        let mut turns = 0;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= at(end)) {
            self.now = self.now.max(due.as_micros().div_ceil(1_000_000));
            self.engine.handle_timeout(at(self.now));
            turns += 1;
            assert!(turns < 10_000, "the engine wants to be called again and again");
        }
        self.now = end;
        self.engine.handle_timeout(at(end));
        std::iter::from_fn(|| self.engine.poll_notification()).collect()
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.engine.alerts().map(|alert| alert.state).collect()
    }

    pub(super) fn first(&self) -> &Alert {
        self.engine.alerts().next().unwrap()
    }
}

/// How many are raised and cleared in each message.
pub(super) fn sizes(sent: &[Notification]) -> Vec<(usize, usize)> {
    sent.iter().map(|one| (one.firing.len(), one.cleared.len())).collect()
}

#[test]
fn an_alert_lives_from_pending_to_forgotten() {
    let mut bench = Bench::new(vec![weak(60, 60)]);
    let mut seen = Vec::new();
    for (rssi, state) in [
        (-90.0, Some(State::Pending)),
        (-90.0, Some(State::Pending)),
        (-90.0, Some(State::ActiveUnack)),
        // Between the thresholds nothing changes.
        (-82.0, Some(State::ActiveUnack)),
        (-82.0, Some(State::ActiveUnack)),
        (-70.0, Some(State::ActiveUnack)),
        (-70.0, Some(State::ActiveUnack)),
        (-70.0, Some(State::ActiveUnack)),
        (-70.0, Some(State::ClearedUnack)),
    ] {
        bench.pass(30);
        bench.tell(2, Metric::Rssi, rssi);
        assert_eq!(bench.engine.alerts().next().map(|alert| alert.state), state, "{rssi} at {}", bench.now);
    }
    seen.extend(std::iter::from_fn(|| bench.engine.poll_transition()).map(|one| one.to));
    assert_eq!(seen, [Some(State::Pending), Some(State::ActiveUnack), Some(State::ClearedUnack)]);
    let fingerprint = bench.first().fingerprint;
    bench.engine.acknowledge(at(bench.now), fingerprint, "ann").unwrap();
    assert_eq!(bench.states(), [State::ClearedAck]);
    bench.pass(3_700);
    assert_eq!(bench.states(), []);
    let by: Vec<Option<String>> = bench.engine.history().map(|one| one.by.clone()).collect();
    assert_eq!(by, [None, None, Some("ann".to_owned()), None]);
}

#[test]
fn what_was_bad_for_too_short_never_was() {
    let mut bench = Bench::new(vec![weak(60, 60)]);
    for rssi in [-90.0, -90.0, -70.0, -70.0, -90.0] {
        bench.pass(20);
        bench.tell(2, Metric::Rssi, rssi);
    }
    bench.tell(2, Metric::Rssi, -70.0);
    assert_eq!(bench.pass(600), []);
    assert_eq!(bench.engine.history().count(), 0);
}

#[test]
fn silence_raises_nothing() {
    let mut bench = Bench::new(vec![weak(60, 60)]);
    bench.tell(2, Metric::Rssi, -95.0);
    // Bad once, then nothing: it stays pending, however long.
    assert_eq!(bench.pass(86_400), []);
    assert_eq!(bench.states(), [State::Pending]);
    // A value that was old when it came says nothing either.
    let mut bench = Bench::new(vec![weak(0, 0)]);
    bench.now = 10_000;
    let old = Reading::new(NodeId(2), Metric::Rssi, -95.0, at(100), Source::Package(204));
    bench.store.handle(at(10_000), &[old]);
    let view = View { store: &bench.store, detector: &bench.detector };
    bench.engine.handle_node(at(10_000), view, NodeId(2));
    assert_eq!(bench.states(), []);
}

#[test]
fn nothing_is_raised_while_it_learns() {
    let mut bench = Bench::new(vec![state(kind::OFFLINE, Severity::Critical)]);
    bench.now = 5;
    for node in 0..50 {
        bench.found(kind::OFFLINE, node);
    }
    assert_eq!(bench.pass(60), []);
    // Most were there all along.
    for node in 1..50 {
        bench.ended(kind::OFFLINE, node);
    }
    assert_eq!(sizes(&bench.pass(600)), [(1, 0)]);
}

#[test]
fn messages_come_in_groups() {
    let mut bench = Bench::new(vec![state(kind::LEAK, Severity::Warning)]);
    bench.found(kind::LEAK, 2);
    assert_eq!(bench.pass(29), [], "a group waits 30 s");
    bench.found(kind::LEAK, 3);
    assert_eq!(sizes(&bench.pass(2)), [(2, 0)]);
    bench.found(kind::LEAK, 4);
    bench.ended(kind::LEAK, 2);
    assert_eq!(bench.pass(250), [], "and is quiet for 5 minutes");
    assert_eq!(sizes(&bench.pass(60)), [(1, 1)]);
    // After four hours what nobody knows of is said again.
    let known =
        bench.engine.alerts().find(|alert| alert.subject == Subject::Node(NodeId(3))).unwrap().fingerprint;
    bench.engine.acknowledge(at(bench.now), known, "ann").unwrap();
    assert_eq!(bench.pass(4 * 3_600 - 60), []);
    let again = bench.pass(120);
    assert_eq!((sizes(&again), again[0].notice), (vec![(1, 0)], Notice::Reminder));
    assert_eq!(sizes(&bench.pass(4 * 3_600)), [(1, 0)]);
}

#[test]
fn what_was_over_before_it_was_said_is_not_said() {
    let mut bench = Bench::new(vec![state(kind::LEAK, Severity::Warning)]);
    bench.found(kind::LEAK, 2);
    bench.pass(10);
    bench.ended(kind::LEAK, 2);
    assert_eq!(bench.pass(3_600), []);
}

#[test]
fn critical_does_not_wait() {
    let mut bench = Bench::new(vec![state(kind::REBOOT_LOOP, Severity::Critical)]);
    bench.found(kind::REBOOT_LOOP, 2);
    assert_eq!(sizes(&bench.pass(0)), [(1, 0)]);
    bench.found(kind::REBOOT_LOOP, 3);
    assert_eq!(bench.pass(5), []);
    assert_eq!(sizes(&bench.pass(6)), [(1, 0)]);
}

#[test]
fn quiet_is_kept_and_what_is_left_comes_after() {
    let mut bench = Bench::new(vec![state(kind::OFFLINE, Severity::Warning)]);
    let matcher = Matcher { field: "node".to_owned(), value: "1*".to_owned(), equal: true };
    let window = Window {
        purpose: Purpose::Silence,
        matchers: vec![matcher],
        nodes: BTreeSet::new(),
        from: at(0),
        until: at(3_000),
        by: "ann".to_owned(),
        why: "moving them".to_owned(),
    };
    bench.engine.open(at(bench.now), window).unwrap();
    for node in [10, 11, 20] {
        bench.found(kind::OFFLINE, node);
    }
    let update = bench.engine.open_for_update(
        at(bench.now),
        BTreeSet::from([NodeId(20)]),
        Duration::from_secs(100),
        "roll-out 7",
    );
    assert_eq!(bench.pass(60), []);
    let quiet: Vec<Option<Suppression>> = bench.engine.alerts().map(|alert| alert.suppressed_by).collect();
    let silence = Some(Suppression::Window(Purpose::Silence, 1));
    let maintenance = Some(Suppression::Window(Purpose::Maintenance, update.unwrap()));
    assert_eq!(quiet, [silence, silence, maintenance]);
    bench.ended(kind::OFFLINE, 11);
    let sent = bench.pass(300);
    assert_eq!(sizes(&sent), [(1, 0)], "the update is over and node 20 is not back");
    assert_eq!(sizes(&bench.pass(3_000)), [(1, 0)], "node 10, when the silence is over; 11 came back in it");
    assert_eq!(bench.engine.windows().count(), 0);
}

#[test]
fn what_an_incident_explains_is_not_said() {
    let rules = vec![state(kind::OFFLINE, Severity::Warning), state(kind::INCIDENT, Severity::Critical)];
    let mut bench = Bench::new(rules);
    for node in 3..17 {
        bench.engine.handle_cause(at(bench.now), Subject::Node(NodeId(node)), Some(5));
        bench.found(kind::OFFLINE, node);
    }
    bench.found(kind::INCIDENT, 2);
    let sent = bench.pass(3_600);
    assert_eq!(sizes(&sent), [(1, 0)], "one message for a branch of fourteen");
    assert_eq!(sent[0].rule, kind::INCIDENT);
    // The incident is over, and one is still not there: by its own fault now.
    for node in 3..17 {
        if node != 9 {
            bench.ended(kind::OFFLINE, node);
        }
        bench.engine.handle_cause(at(bench.now), Subject::Node(NodeId(node)), None);
    }
    let sent = bench.pass(60);
    assert_eq!(sizes(&sent), [(1, 0)]);
    assert_eq!(sent[0].firing[0].subject, Subject::Node(NodeId(9)));
}

#[test]
fn people_do_things() {
    let mut bench = Bench::new(vec![state(kind::LEAK, Severity::Warning)]);
    bench.found(kind::LEAK, 2);
    let fingerprint = bench.first().fingerprint;
    assert_eq!(fingerprint, Fingerprint::of("home", kind::LEAK, Subject::Node(NodeId(2))));
    assert_ne!(fingerprint, Fingerprint::of("away", kind::LEAK, Subject::Node(NodeId(2))));
    let now = at(bench.now);
    bench.engine.acknowledge(now, fingerprint, "ann").unwrap();
    assert_eq!(bench.engine.acknowledge(now, fingerprint, "ann"), Err(VerbError::State(State::ActiveAck)));
    bench.engine.unacknowledge(now, fingerprint, "ann").unwrap();
    bench.engine.assign(fingerprint, Some("bob")).unwrap();
    for turn in 0..COMMENTS_MAX + 5 {
        bench.engine.comment(now, fingerprint, "ann", &turn.to_string()).unwrap();
    }
    assert_eq!(
        bench.engine.comment(now, fingerprint, "ann", &"x".repeat(TEXT_MAX + 1)),
        Err(VerbError::Text)
    );
    assert_eq!(bench.engine.assign(Fingerprint(1), None), Err(VerbError::Unknown));
    let alert = bench.first();
    assert_eq!((alert.comments.len(), alert.comments[0].text.as_str()), (COMMENTS_MAX, "5"));
    assert_eq!((alert.assigned.as_deref(), &alert.known_by), (Some("bob"), &None));
    bench.pass(60);
    // Cleared by hand: it comes again only after it was good.
    bench.engine.clear(at(bench.now), fingerprint, "ann").unwrap();
    bench.found(kind::LEAK, 2);
    assert_eq!(bench.states(), [State::ClearedAck]);
    assert_eq!(sizes(&bench.pass(600)), [(0, 1)]);
    bench.ended(kind::LEAK, 2);
    bench.found(kind::LEAK, 2);
    assert_eq!(bench.states(), [State::ActiveUnack]);
}

#[test]
fn rules_are_checked_and_changed() {
    let rule = weak(0, 0);
    let measure =
        |raise, clear| What::Measure { signal: Signal::Level(Metric::Rssi), side: Side::Below, raise, clear };
    let day = |days, from, to| Some(Schedule { days, from, to, ahead_min: 0 });
    for bad in [
        Rule { name: String::new(), ..rule.clone() },
        Rule { name: "two words".to_owned(), ..rule.clone() },
        Rule { runbook: "x".repeat(TEXT_MAX + 1), ..rule.clone() },
        Rule { what: measure(-85.0, -90.0), ..rule.clone() },
        Rule { what: measure(f64::NAN, -80.0), ..rule.clone() },
        Rule { schedule: day(0, 0, 60), ..rule.clone() },
        Rule { schedule: day(1, 0, 1_441), ..rule.clone() },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
    let mut bench = Bench::new(vec![rule.clone(), state(kind::LEAK, Severity::Info)]);
    assert!(bench.engine.set_rules(at(1_000), vec![rule.clone(), rule.clone()]).is_err());
    bench.found(kind::LEAK, 2);
    bench.tell(3, Metric::Rssi, -95.0);
    // In another order, and one is gone.
    let other = vec![state(kind::DRIFT, Severity::Info), state(kind::LEAK, Severity::Warning)];
    bench.engine.set_rules(at(1_001), other).unwrap();
    let kept: Vec<(String, Severity)> =
        bench.engine.alerts().map(|alert| (alert.rule.clone(), alert.severity)).collect();
    assert_eq!(kept, [(kind::LEAK.to_owned(), Severity::Warning)]);
    assert_eq!(sizes(&bench.pass(60)), [(1, 0)]);
}

#[test]
fn a_schedule_is_kept() {
    // Monday to Friday, 22:00 to 06:00, an hour ahead of UTC.
    let night = Schedule { days: 0b1_1111, from: 1_320, to: 360, ahead_min: 60 };
    // 2026-11-23 is a Monday; 00:00 UTC of it in days since 1970.
    let monday = 20_780 * 86_400;
    for (hour, expected) in [
        (20, false),
        (21, true),
        (24 + 4, true),
        (24 + 5, false),
        (3, false),
        (5 * 24 + 4, true),
        (5 * 24 + 22, false),
    ] {
        assert_eq!(night.covers(UnixTime(monday + hour * 3_600)), expected, "hour {hour}");
    }
    let rule = Rule { schedule: Some(night), ..state(kind::LEAK, Severity::Warning) };
    let mut bench = Bench::new(vec![rule]);
    bench.engine.set_civil(at(bench.now), UnixTime(monday + 20 * 3_600));
    bench.found(kind::LEAK, 2);
    assert_eq!(bench.pass(3_000), []);
    assert_eq!(bench.states(), [State::Pending]);
    assert_eq!(sizes(&bench.pass(1_200)), [(1, 0)], "the night has begun, and it is still so");
}

#[test]
fn a_rehearsal_says_what_would_have_been() {
    let points = |values: &[f64]| -> Vec<Point> {
        values
            .iter()
            .enumerate()
            .map(|(minute, value)| Point { at: at(minute as u64 * 60), value: *value })
            .collect()
    };
    let history = [
        (
            Subject::Node(NodeId(2)),
            points(&[-60.0, -90.0, -90.0, -90.0, -60.0, -90.0, -90.0, -90.0, f64::NAN]),
        ),
        (Subject::Node(NodeId(3)), points(&[-60.0; 30])),
    ];
    let said = rehearse(&weak(120, 0), None, &history);
    assert_eq!(said.to_string(), "would have fired 2 times in 29 min");
    let node = Subject::Node(NodeId(2));
    let first = Firing { subject: node, from: at(180), until: Some(at(240)) };
    assert_eq!(said.firings, [first, Firing { subject: node, from: at(420), until: None }]);
    assert_eq!(rehearse(&weak(600, 0), None, &history).to_string(), "would not have fired in 29 min");
    let found = [
        Condition::found(kind::LEAK, node, at(0), ""),
        Condition::ended(kind::LEAK, node, at(50)),
        Condition::found(kind::LEAK, node, at(100), ""),
    ];
    let rule = Rule { hold_for: Duration::from_secs(60), ..state(kind::LEAK, Severity::Info) };
    let said = rehearse_states(&rule, None, &found, at(500));
    assert_eq!(said.firings, [Firing { subject: node, from: at(160), until: None }]);
}

#[test]
fn the_page_has_the_rules() {
    assert_eq!(rule::check_all(&default_rules()), Ok(()));
    let page = include_str!("../../../../docs/health.md");
    assert!(
        page.contains(&markdown(&default_rules())),
        "docs/health.md lacks:\n{}",
        markdown(&default_rules())
    );
}
