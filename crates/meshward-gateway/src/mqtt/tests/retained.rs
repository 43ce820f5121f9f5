//! What the broker keeps, over everything that can happen to nodes and connections.

use super::*;

use super::super::post::PostError;
use crate::rest::model::Deduction;

#[test]
fn nothing_is_published_before_the_birth_is_acknowledged() {
    let mut table = Table::operator();
    table.bridge.handle_seen(table.now, Vitals::default(), mesh(&[7, 8]));
    assert!(table.bridge.poll_publish().is_none(), "there is no connection");
    table.bridge.handle_up(table.now);
    let (tag, birth) = table.bridge.poll_publish().unwrap();
    assert_eq!((&*birth.topic, birth.retain), (&*of("bridge/state"), true));
    assert_eq!(&*birth.payload, br#"{"state":"online"}"#);
    assert!(table.bridge.poll_publish().is_none(), "it is on its way");
    table.bridge.handle_acknowledged(tag);
    table.drain();
    assert!(table.kept.len() > 10, "{:?}", table.kept.keys());
    assert_eq!(&*table.bridge.will().payload, br#"{"state":"offline"}"#);
    assert!(table.bridge.will().retain);
}

#[test]
fn every_topic_of_the_status_bridge_is_there_and_retained_as_it_should_be() {
    let mut table = Table::operator();
    table.see(&mesh(&[7, 8]));
    let mut table = table.up();
    table.see(&mesh(&[7, 8]));
    table.pass(1_000);
    table.see(&Seen { revision: 2, ..mesh(&[7, 8, 9]) });
    table.bridge.handle_event(&event(1, "topology", "join", Some(7)));
    table.bridge.handle_event(&event(2, "alert", "active_unack", Some(7)));
    table.bridge.handle_event(&event(3, "log", "log", Some(7)));
    table.drain();
    for topic in [
        "bridge/info",
        "bridge/health",
        "nodes",
        "topology",
        "metrics",
        "alerts",
        "node/7/availability",
        "node/7/health",
        "node/7/state",
        "ota/announce",
    ] {
        assert!(table.kept.contains_key(&of(topic)), "{topic}: {:?}", table.kept.keys());
    }
    for topic in ["topology/delta", "bridge/event", "alerts/event", "bridge/logging", "node/7/event"] {
        let message = table.said.iter().find(|message| message.topic == of(topic));
        assert!(message.is_some_and(|message| !message.retain), "{topic}");
    }
    let state = table.kept(&of("node/7/state"));
    assert!(
        state.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()),
        "{state}"
    );
    assert_eq!(
        (&state["rssi_dbm"], &state["hops"], &state["points"]),
        (&json!(-61.0), &json!(1), &json!(97))
    );
    assert_eq!(table.kept(&of("topology"))["update_type"], "full");
    let delta = table.last(&of("topology/delta"));
    assert_eq!((&delta["base_revision"], &delta["revision"]), (&json!(1), &json!(2)));
    assert_eq!(delta["added"]["links"], json!([{ "from": 8, "to": 9 }]));
    assert_eq!(delta["added"]["nodes"][0]["id"], 9);
    assert_eq!(table.kept(&of("nodes"))[0]["device_id"], "ALT-000000000007");
}

#[test]
fn links_that_cost_points_are_counted() {
    let mut table = Table::new(Settings::default()).up();
    let mut seen = mesh(&[7, 8, 9]);
    let lost = |rule: &str| Deduction {
        rule: rule.to_owned(),
        points: 4.0,
        node: None,
        evidence: String::new(),
        advice: String::new(),
    };
    seen.nodes[1].node.score.deductions = vec![lost("heap"), lost("weak_link")];
    seen.nodes[2].node.score.deductions = vec![lost("heap")];
    table.see(&seen);
    assert_eq!(table.kept(&of("metrics"))["weak_links"], 1);
}

#[test]
fn switches_leave_out_what_they_name() {
    for (settings, topic) in [
        (Settings { topology: false, ..Settings::default() }, "topology"),
        (Settings { metrics: false, ..Settings::default() }, "metrics"),
        (Settings { alerts: false, ..Settings::default() }, "alerts"),
        (Settings { nodes: false, ..Settings::default() }, "node/7/state"),
    ] {
        let mut table = Table::new(settings).up();
        table.see(&mesh(&[7]));
        assert!(!table.kept.contains_key(&of(topic)), "{topic}");
        let mut all = Table::new(Settings::default()).up();
        all.see(&mesh(&[7]));
        assert!(all.kept.contains_key(&of(topic)), "{topic}");
    }
}

#[test]
fn what_is_switched_off_while_it_runs_is_taken_away_and_comes_back() {
    let mut table = Table::new(Settings::default()).up();
    let seen = mesh(&[7]);
    table.see(&seen);
    let on = Switches { interval_s: 10, topology: true, metrics: true, alerts: true };
    table.bridge.handle_switches(Switches { topology: false, metrics: false, alerts: false, ..on });
    table.pass(60_000);
    table.see(&seen);
    for topic in ["topology", "metrics", "alerts"] {
        assert!(!table.kept.contains_key(&of(topic)), "{topic}");
    }
    assert!(table.kept.contains_key(&of("nodes")) && table.kept.contains_key(&of("node/7/state")));
    table.bridge.handle_switches(on);
    table.see(&seen);
    table.topics();
    table.pass(10_000);
    table.see(&seen);
    assert_eq!(table.topics(), [of("metrics")], "every ten seconds now");
    assert!(table.kept.contains_key(&of("topology")) && table.kept.contains_key(&of("alerts")));
}

#[test]
fn a_node_is_offline_when_it_is_lost_and_not_when_the_broker_is() {
    let mut table = Table::operator().up();
    let mut seen = mesh(&[7, 8]);
    table.see(&seen);
    let availability = |table: &Table| table.kept(&of("node/8/availability"))["state"].clone();
    assert_eq!(availability(&table), "online");
    // The broker goes and comes, with nothing of what it had.
    table.bridge.handle_down();
    table.kept.clear();
    table.pass(60_000);
    let mut table = table.up();
    table.see(&seen);
    assert_eq!(availability(&table), "online");
    assert!(table.kept.contains_key(&of("node/7/state")), "all is there again");
    for (state, said) in [
        (NodeState::Learning, "online"),
        (NodeState::Suspect, "online"),
        (NodeState::Offline, "offline"),
        (NodeState::Learning, "offline"),
        (NodeState::Sleeping, "online"),
        (NodeState::Unreachable, "offline"),
    ] {
        table.pass(10_000);
        seen.nodes[1].node.state = state;
        table.see(&seen);
        assert_eq!(availability(&table), said, "{state:?}");
    }
}

#[test]
fn a_forgotten_node_leaves_nothing_behind_and_a_renamed_one_only_its_new_name() {
    let settings =
        Settings { names: true, home_assistant: Some("ha".parse().unwrap()), ..Settings::default() };
    let mut table = Table::new(settings).up();
    let mut seen = mesh(&[7, 8]);
    seen.nodes[0].node.name = Some("Pump/House +#".to_owned());
    table.see(&seen);
    let named = of("node/pump_house___/state");
    assert!(table.kept.contains_key(&named), "{:?}", table.kept.keys());
    assert!(table.kept.contains_key("ha/device/pm_garden_7/config"));
    table.pass(1_000);
    seen.nodes[0].node.name = Some("Well".to_owned());
    table.see(&seen);
    assert!(!table.kept.contains_key(&named) && table.kept.contains_key(&of("node/well/state")));
    table.pass(1_000);
    seen.nodes[0].node.state = NodeState::Forgotten;
    table.see(&seen);
    let left: Vec<&String> =
        table.kept.keys().filter(|topic| topic.contains("well") || topic.contains("_7/")).collect();
    assert_eq!(left, Vec::<&String>::new());
    assert!(table.kept.contains_key(&of("node/8/state")));
}

#[test]
fn orphans_are_listed_and_taken_away_when_it_is_known_who_is_there() {
    let mut table = Table::operator().up();
    let old = |topic: &str| Incoming {
        topic: topic.to_owned(),
        payload: b"x".to_vec(),
        retain: true,
        ..Incoming::default()
    };
    let (orphan, own) = (of("node/99/state"), of("node/7/state"));
    for topic in [&*orphan, &*own, "painlessmesh/other/node/5/state", &*of("node/99/other")] {
        table.kept.insert(topic.to_owned(), "x".to_owned());
        table.incoming(old(topic));
    }
    let mut seen = mesh(&[7]);
    seen.status.learning = true;
    table.pass(11_000);
    table.see(&seen);
    assert!(table.kept.contains_key(&orphan), "who is there is not known yet");
    seen.status.learning = false;
    table.pass(61_000);
    table.see(&seen);
    assert_eq!(table.kept(&of("bridge/health"))["mqtt"]["orphans"], json!([orphan]));
    assert!(!table.kept.contains_key(&orphan));
    assert_ne!(table.kept.get(&own).map(String::as_str), Some("x"));
    for topic in ["painlessmesh/other/node/5/state", &*of("node/99/other")] {
        assert!(table.kept.contains_key(topic), "{topic} is not ours");
    }
}

#[test]
fn what_was_under_way_is_sent_again_and_what_piles_up_has_a_limit() {
    let mut table = Table::operator().up();
    table.bridge.handle_event(&event(1, "topology", "join", Some(7)));
    table.bridge.handle_event(&event(2, "topology", "leave", Some(7)));
    let (_, lost) = table.bridge.poll_publish().unwrap();
    assert!(String::from_utf8_lossy(&lost.payload).contains("join"));
    // It never comes to be known that the broker has it.
    table.bridge.handle_down();
    for id in 3..OUTBOX_MAX as u64 + 10 {
        table.bridge.handle_event(&event(id, "topology", "join", None));
    }
    let dropped = table.bridge.counters().outbox_dropped;
    assert_eq!(dropped, 9);
    let mut again = Table::operator().up();
    again.bridge.handle_event(&event(1, "topology", "join", None));
    again.bridge.handle_event(&event(2, "topology", "leave", None));
    let first = again.bridge.poll_publish().unwrap().1;
    again.bridge.handle_down();
    let mut again = again_up(again);
    assert_eq!(again.bridge.poll_publish().unwrap().1, first, "in the same order");
}

/// With a connection, and nothing drained but the birth.
fn again_up(mut table: Table) -> Table {
    table.bridge.handle_up(table.now);
    let (tag, _) = table.bridge.poll_publish().unwrap();
    table.bridge.handle_acknowledged(tag);
    table
}

#[test]
fn a_broker_that_acknowledges_nothing_is_given_no_more_than_a_few_messages() {
    let mut table = again_up(Table::operator());
    table.bridge.handle_seen(table.now, Vitals::default(), mesh(&(2..60).collect::<Vec<_>>()));
    let given = std::iter::from_fn(|| table.bridge.poll_publish()).count();
    assert_eq!(given, IN_FLIGHT_MAX);
}

#[test]
fn good_bye_is_the_last_word() {
    let mut table = Table::operator().up();
    table.see(&mesh(&[7]));
    table.bridge.handle_event(&event(1, "topology", "join", None));
    table.bridge.handle_stop();
    assert!(!table.bridge.has_left());
    table.said.clear();
    table.drain();
    assert_eq!(table.said.len(), 1);
    assert_eq!(table.kept(&of("bridge/state"))["state"], "offline");
    assert!(table.bridge.has_left());
}

#[test]
fn a_quiet_mesh_is_quiet_on_the_broker() {
    let mut table = Table::operator().up();
    let seen = mesh(&[7, 8]);
    table.see(&seen);
    table.topics();
    for _ in 0..29 {
        table.pass(1_000);
        table.see(&seen);
    }
    assert_eq!(table.topics(), Vec::<String>::new());
    table.pass(1_000);
    table.see(&seen);
    assert_eq!(table.topics(), [of("metrics")]);
}

#[test]
fn rows_of_the_audit_are_told_once_and_only_new_ones() {
    let mut table = Table::operator().up();
    let row = |seq| crate::store::AuditRow {
        seq,
        at: Timestamp::UNIX_EPOCH,
        actor: "mqtt".to_owned(),
        action: "rollout.start".to_owned(),
        subject: "x".to_owned(),
        detail: "{\"hold\":true}".to_owned(),
        hash: Vec::new(),
    };
    table.bridge.handle_audit(vec![row(2), row(1)]);
    table.bridge.handle_audit(vec![row(3), row(2), row(1)]);
    table.bridge.handle_audit(vec![row(3), row(2)]);
    table.drain();
    assert_eq!(table.said.len(), 1);
    let said = table.last(&of("ota/audit"));
    assert_eq!((&said["seq"], &said["detail"]["hold"]), (&json!(3), &json!(true)));
}

#[test]
fn other_parts_of_the_program_hear_what_became_of_their_messages() {
    let mut table = Table::operator();
    let posted = |table: &mut Table| std::iter::from_fn(|| table.bridge.poll_posted()).collect::<Vec<_>>();
    table.bridge.handle_post(1, None, "{}".to_owned());
    assert_eq!(posted(&mut table), [(1, Err(PostError::Down))]);
    let mut table = again_up(table);
    table.bridge.handle_post(2, None, "{}".to_owned());
    table.bridge.handle_post(3, Some("other".to_owned()), "{}".to_owned());
    table.bridge.handle_post(4, Some("a/+".to_owned()), "{}".to_owned());
    assert_eq!(posted(&mut table), [(4, Err(PostError::Topic("a/+".to_owned())))]);
    let (first, message) = table.bridge.poll_publish().unwrap();
    assert_eq!((message.topic, message.retain), (of("notification"), false));
    let (second, _) = table.bridge.poll_publish().unwrap();
    table.bridge.handle_acknowledged(second);
    assert_eq!(posted(&mut table), [(3, Ok(()))]);
    table.bridge.handle_refused(first);
    assert_eq!(posted(&mut table), [(2, Err(PostError::NotTaken))]);
    table.bridge.handle_post(5, None, "{}".to_owned());
    table.bridge.handle_down();
    assert_eq!(posted(&mut table), [(5, Err(PostError::NotTaken))]);
}

/// Bytes of topics and payloads, and messages.
fn weight(said: &[Message]) -> (usize, usize) {
    (said.iter().map(|message| message.topic.len() + message.payload.len()).sum(), said.len())
}

/// A table with 50 nodes that report every 30 s, and what it has cost from there on for so many seconds.
fn settled(settings: Settings, seconds: i64) -> (usize, usize) {
    let mut table = Table::new(settings).up();
    let mut seen = mesh(&(2..52).collect::<Vec<_>>());
    table.see(&seen);
    table.topics();
    for second in 1..=seconds {
        table.pass(1_000);
        let at = Timestamp::from_second(1_800_000_000 + second).unwrap();
        seen.at = at;
        for each in seen.nodes.iter_mut().filter(|each| i64::from(each.node.id) % 30 == second % 30) {
            each.node.last_heard_at = Some(at);
            for metric in &mut each.node.metrics {
                metric.observed_at = at;
                metric.value += 1.0;
            }
        }
        table.see(&seen);
    }
    weight(&table.said)
}

fn shaped(home_assistant: Option<&str>, shapes: &[Shape]) -> Settings {
    let home_assistant = home_assistant.map(|prefix| prefix.parse().unwrap());
    Settings { home_assistant, shapes: shapes.to_vec(), ..Settings::default() }
}

/// What 50 nodes that report every 30 s cost a broker: the table of `docs/integrations.md`, printed by
/// `cargo test -p meshward-gateway --lib fifty -- --nocapture`.
#[test]
fn fifty_nodes_cost_a_broker_a_few_messages_a_second() {
    for (what, home_assistant, shapes, most) in [
        ("nothing else", None, &[][..], 50_000),
        ("Home Assistant", Some("ha"), &[], 50_000),
        ("mesh_status", None, &[Shape::MeshStatus], 160_000),
        ("alteriom", None, &[Shape::Alteriom], 65_000),
        ("mesh_data", None, &[Shape::MeshData], 160_000),
    ] {
        let (bytes, messages) = settled(shaped(home_assistant, shapes), 120);
        let (bytes, messages) = (bytes / 2, messages / 2);
        println!("50 nodes, with {what}: {messages} messages and {bytes} bytes a minute");
        assert!(messages <= 600 && bytes <= most, "{what}: {messages} messages, {bytes} bytes");
        assert!(messages > 50, "{what}: something was told");
    }
}

/// A mesh that comes up: a node a second, each of which tells more and more of itself in its first 20 s.
#[test]
fn a_mesh_that_comes_up_is_told_without_telling_everything_again_and_again() {
    let ids: Vec<u32> = (2..52).collect();
    for (what, home_assistant, most) in
        [("nothing else", None, 90_000), ("Home Assistant", Some("ha"), 400_000)]
    {
        let mut table = Table::new(shaped(home_assistant, &[])).up();
        let whole = mesh(&ids);
        for second in 0..60_usize {
            let there = second.min(ids.len());
            let mut seen = mesh(&ids[..there]);
            seen.revision = second as u64;
            seen.at = Timestamp::from_second(1_800_000_000 + second as i64).unwrap();
            for (place, each) in seen.nodes.iter_mut().enumerate() {
                let age = second - place;
                each.node.metrics = whole.nodes[place].node.metrics.iter().take(age / 4).cloned().collect();
                each.node.score.points = Some(60 + (age % 40) as u8);
                each.node.state = if age < 5 { NodeState::Learning } else { NodeState::Online };
            }
            table.see(&seen);
            table.pass(1_000);
        }
        let (bytes, messages) = weight(&table.said);
        println!("50 nodes come up within a minute, with {what}: {messages} messages and {bytes} bytes");
        let times = |topic: &str| table.said.iter().filter(|message| message.topic == topic).count();
        for (topic, most) in
            [("nodes", 2), ("topology", 2), ("metrics", 2), ("node/2/state", 2), ("node/2/health", 2)]
        {
            assert!(times(&of(topic)) <= most, "{topic} was sent {} times", times(&of(topic)));
        }
        assert!(times("ha/device/pm_garden_2/config") <= 2);
        assert!(bytes <= most, "{what}: {bytes} bytes");
        assert_eq!(table.kept(&of("node/2/availability"))["state"], "online");
    }
}
