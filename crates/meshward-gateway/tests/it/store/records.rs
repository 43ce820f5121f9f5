//! What is known, what has happened, and what people asked for.

use meshward_gateway::store::{
    AlertRow, AuditVerdict, Changed, Claim, DocumentKind, End, EventFilter, EventRow, Expected,
    IMAGE_BYTES_MAX, NewAudit, NewCommand, NewFirmware, NodeRow, OUTBOX_CHANNEL_MAX, Record, Recorder,
    Retention, RolloutNodeRow, Store, StoreError, TopologyRow,
};

use super::kit::{at, on_both};

fn node(id: u32) -> NodeRow {
    NodeRow {
        id,
        name: None,
        tags: "[]".to_owned(),
        notes: String::new(),
        hardware: Some("ESP32".to_owned()),
        role: None,
        firmware: None,
        first_seen: at(0),
        last_seen: at(i64::from(id % 1000)),
        memory: None,
    }
}

fn event(id: u64, kind: &str, of: Option<u32>) -> EventRow {
    EventRow { id, at: at(id as i64), kind: kind.to_owned(), node: of, detail: format!("{{\"n\":{id}}}") }
}

async fn record(store: &Store, records: Vec<Record>) {
    let recorder = Recorder::start(store.clone());
    records.into_iter().for_each(|record| recorder.record(record));
    recorder.flush().await.unwrap();
}

#[test]
fn nodes_are_kept_changed_and_forgotten() {
    on_both(async |kit| {
        let store = &kit.store;
        let mut named = node(u32::MAX);
        store.put_node(&named).await.unwrap();
        store.put_node(&node(7)).await.unwrap();
        named.name = Some("Dach 'Süd'".to_owned());
        named.memory = Some("{\"a\":1}".to_owned());
        store.put_node(&named).await.unwrap();
        assert_eq!(store.nodes().await.unwrap(), [node(7), named.clone()]);
        assert_eq!(kit.again().await.node(u32::MAX).await.unwrap(), Some(named));
        assert!(store.forget_node(7).await.unwrap());
        assert!(!store.forget_node(7).await.unwrap());
        assert_eq!(store.node(7).await.unwrap(), None);
    });
}

#[test]
fn the_tree_is_known_as_it_was() {
    on_both(async |kit| {
        let tree = |revision: u64| TopologyRow {
            revision,
            at: at(revision as i64 * 10),
            tree: format!("{{\"nodes\":{revision}}}"),
        };
        record(&kit.store, (1..=5).map(|revision| Record::Topology(tree(revision))).collect()).await;
        let store = &kit.store;
        for (seconds, expected) in [(9, None), (10, Some(1)), (19, Some(1)), (20, Some(2)), (900, Some(5))] {
            let found = store.topology_at(at(seconds)).await.unwrap();
            assert_eq!(found, expected.map(tree), "{seconds}");
        }
        assert_eq!(store.last_topology().await.unwrap(), Some(tree(5)));
        assert_eq!(store.topologies(at(20), at(40), 9).await.unwrap(), [tree(2), tree(3)]);
        assert_eq!(store.topologies(at(20), at(40), 1).await.unwrap(), [tree(2)]);
    });
}

#[test]
fn events_come_in_pages_by_what_is_wanted() {
    on_both(async |kit| {
        let all: Vec<EventRow> = (1..=20)
            .map(|id| {
                event(id, if id % 2 == 0 { "join" } else { "leave" }, (id % 4 != 0).then_some(id as u32 % 3))
            })
            .collect();
        let mut records: Vec<Record> = all.iter().cloned().map(Record::Event).collect();
        // The same again changes nothing.
        records.push(Record::Event(event(3, "forged", None)));
        record(&kit.store, records).await;
        let check = async |filter: EventFilter, limit: u32, expected: &[u64]| {
            let found = kit.store.events(&filter, limit).await.unwrap();
            assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), expected, "{filter:?}");
            for row in found {
                assert_eq!(row, all[row.id as usize - 1]);
            }
        };
        let any = EventFilter::default;
        check(any(), 3, &[20, 19, 18]).await;
        check(EventFilter { before: Some(18), ..any() }, 3, &[17, 16, 15]).await;
        check(EventFilter { after: Some(17), ..any() }, 9, &[18, 19, 20]).await;
        check(EventFilter { after: Some(20), ..any() }, 9, &[]).await;
        check(EventFilter { node: Some(1), ..any() }, 2, &[19, 13]).await;
        check(EventFilter { kind: Some("join".into()), to: Some(at(9)), ..any() }, 2, &[8, 6]).await;
        check(EventFilter { from: Some(at(10)), to: Some(at(12)), ..any() }, 9, &[11, 10]).await;
    });
}

#[test]
fn alerts_have_a_state_and_a_history() {
    on_both(async |kit| {
        let store = &kit.store;
        let row = |fingerprint: &str, state: Option<&str>, transition: Option<&str>, seconds| AlertRow {
            fingerprint: fingerprint.to_owned(),
            at: at(seconds),
            state: state.map(str::to_owned),
            transition: transition.map(str::to_owned),
        };
        store.put_alert(&row("a", Some("{\"s\":1}"), Some("\"raised\""), 1)).await.unwrap();
        record(
            store,
            vec![
                Record::Alert(row("b", Some("{\"s\":1}"), Some("\"raised\""), 2)),
                Record::Alert(row("a", Some("{\"s\":2}"), None, 3)),
                Record::Alert(row("a", Some("{\"s\":3}"), Some("\"acked\""), 4)),
                Record::Alert(row("b", None, Some("\"cleared\""), 5)),
            ],
        )
        .await;
        assert_eq!(store.alerts().await.unwrap(), [("a".to_owned(), "{\"s\":3}".to_owned())]);
        let history = async |of: &str, before, limit| {
            let found = store.alert_history(of, before, limit).await.unwrap();
            found.into_iter().map(|row| (row.id, row.transition)).collect::<Vec<_>>()
        };
        let text = |id: u64, word: &str| (id, format!("\"{word}\""));
        assert_eq!(history("a", None, 9).await, [text(3, "acked"), text(1, "raised")]);
        assert_eq!(history("a", Some(3), 9).await, [text(1, "raised")]);
        assert_eq!(history("b", None, 1).await, [text(4, "cleared")]);
    });
}

#[test]
fn a_document_is_changed_only_by_who_has_read_it() {
    on_both(async |kit| {
        use DocumentKind::{Rule, Silence};
        let store = &kit.store;
        let put = async |id: &str, body: &str, expected| {
            store.put_document(Rule, id, body, expected).await.unwrap()
        };
        assert_eq!(put("r", "1", Expected::New).await, Changed::Done(1));
        assert_eq!(put("r", "x", Expected::New).await, Changed::Otherwise(Some(1)));
        assert_eq!(put("r", "x", Expected::Version(7)).await, Changed::Otherwise(Some(1)));
        assert_eq!(put("q", "x", Expected::Version(1)).await, Changed::Otherwise(None));
        assert_eq!(put("r", "2", Expected::Version(1)).await, Changed::Done(2));
        assert_eq!(put("r", "3", Expected::Any).await, Changed::Done(3));
        let found = store.document(Rule, "r").await.unwrap().unwrap();
        assert_eq!((found.version, found.body.as_str()), (3, "3"));
        assert_eq!(store.document(Silence, "r").await.unwrap(), None);
        let remove = async |expected| store.remove_document(Rule, "r", expected).await.unwrap();
        assert_eq!(remove(Expected::Version(2)).await, Changed::Otherwise(Some(3)));
        assert_eq!(remove(Expected::Version(3)).await, Changed::Done(3));
        assert_eq!(remove(Expected::Any).await, Changed::Otherwise(None));
        assert_eq!(store.documents(Rule).await.unwrap(), []);
    });
}

#[test]
fn images_are_what_their_names_say() {
    on_both(async |kit| {
        let store = &kit.store;
        let data: Vec<u8> =
            (0..1_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let new =
            NewFirmware { name: "a.bin", data: &data, manifest: None, confirmed: false, uploaded_at: at(1) };
        let sha256 = store.put_firmware(&new).await.unwrap();
        let again = NewFirmware { name: "b.bin", manifest: Some(b"signed"), confirmed: true, ..new };
        assert_eq!(store.put_firmware(&again).await.unwrap(), sha256);
        let [row] = &store.firmware().await.unwrap()[..] else { panic!("one image") };
        assert_eq!((row.name.as_str(), row.size, row.confirmed), ("b.bin", 1_000_000, true));
        assert_eq!(row.manifest.as_deref(), Some(&b"signed"[..]));
        assert_eq!(store.firmware_image(&sha256).await.unwrap().as_ref(), Some(&data));
        assert_eq!(store.firmware_image("00").await.unwrap(), None);
        let long = vec![0; IMAGE_BYTES_MAX + 1];
        let error = store.put_firmware(&NewFirmware { data: &long, ..new }).await.unwrap_err();
        assert!(error.to_string().contains("16777217"), "{error}");
        kit.meddle("UPDATE firmware_images SET data = manifest FROM firmware").await;
        let error = store.firmware_image(&sha256).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(store.remove_firmware(&sha256).await.unwrap());
        assert!(!store.remove_firmware(&sha256).await.unwrap());
        assert_eq!(store.firmware_image(&sha256).await.unwrap(), None);
    });
}

#[test]
fn roll_outs_and_commands_are_taken_up_again() {
    on_both(async |kit| {
        let store = &kit.store;
        let first = store.add_rollout("{\"role\":\"lamp\"}", "surveying", at(1)).await.unwrap();
        let second = store.add_rollout("{}", "surveying", at(2)).await.unwrap();
        assert_eq!((first, second), (1, 2));
        let mut row = store.rollouts(None, 1).await.unwrap().remove(0);
        assert_eq!(row.id, 2);
        row.state = "finished".to_owned();
        row.finished = Some(at(9));
        let nodes: Vec<RolloutNodeRow> = (0..600)
            .map(|node| RolloutNodeRow { node, state: "updated".to_owned(), detail: "{}".to_owned() })
            .collect();
        assert!(store.update_rollout(&row, &nodes[..300]).await.unwrap());
        assert!(store.update_rollout(&row, &nodes[200..]).await.unwrap());
        let unknown = meshward_gateway::store::RolloutRow { id: 77, ..row.clone() };
        assert!(!store.update_rollout(&unknown, &nodes).await.unwrap());
        let new = NewCommand { node: 7, code: 4, params: "{}", actor: "anna", accepted_at: at(3) };
        let cid = store.add_command(&new).await.unwrap();
        let other = store.add_command(&new).await.unwrap();
        assert!(store.end_command(other, "\"done\"").await.unwrap());
        assert!(!store.end_command(other, "\"again\"").await.unwrap());
        store.close().await;
        let store = kit.again().await;
        assert_eq!(store.open_rollouts().await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>(), [1]);
        assert_eq!(store.rollouts(Some(3), 9).await.unwrap()[0], row);
        assert_eq!(store.rollout_nodes(2).await.unwrap(), nodes);
        assert_eq!(store.open_commands().await.unwrap().iter().map(|row| row.cid).collect::<Vec<_>>(), [cid]);
        let ended = store.command(other).await.unwrap().unwrap();
        assert_eq!((ended.ended.as_deref(), ended.actor.as_str()), (Some("\"done\""), "anna"));
        assert!(store.add_command(&new).await.unwrap() > other);
    });
}

#[test]
fn the_audit_finds_whoever_meddles_with_it() {
    on_both(async |kit| {
        let store = &kit.store;
        let new =
            |number| NewAudit { at: at(number), actor: "anna", action: "login", subject: "", detail: "{}" };
        assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Whole { rows: 0 });
        let both = [new(1), new(2)];
        let (one, two) = tokio::join!(store.add_audit(&both[0]), store.add_audit(&both[1]));
        assert_eq!(one.unwrap() + two.unwrap(), 3);
        for number in 3..=6 {
            assert_eq!(store.add_audit(&new(number)).await.unwrap(), number as u64);
        }
        assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Whole { rows: 6 });
        let page = store.audit(Some(6), 2).await.unwrap();
        assert_eq!(page.iter().map(|row| row.seq).collect::<Vec<_>>(), [5, 4]);
        for (harm, undo, broken) in [
            (
                "UPDATE audit SET actor = 'eve' WHERE seq = 2",
                "UPDATE audit SET actor = 'anna' WHERE seq = 2",
                2,
            ),
            // The boundary between two texts is not free to move.
            (
                "UPDATE audit SET actor = 'annal', action = 'ogin' WHERE seq = 3",
                "UPDATE audit SET actor = 'anna', action = 'login' WHERE seq = 3",
                3,
            ),
            ("UPDATE audit SET seq = 60 WHERE seq = 4", "UPDATE audit SET seq = 4 WHERE seq = 60", 4),
            ("DELETE FROM audit WHERE seq = 6", "", 6),
        ] {
            kit.meddle(harm).await;
            let verdict = store.verify_audit().await.unwrap();
            assert!(
                matches!(verdict, AuditVerdict::Broken { seq, .. } if seq == broken),
                "{harm}: {verdict:?}"
            );
            if !undo.is_empty() {
                kit.meddle(undo).await;
                assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Whole { rows: 6 });
            }
        }
    });
}

#[test]
fn the_outbox_keeps_what_was_not_sent() {
    on_both(async |kit| {
        let store = &kit.store;
        let first = store.add_outbox("mail", "1", at(10)).await.unwrap().unwrap();
        let second = store.add_outbox("mail", "2", at(5)).await.unwrap().unwrap();
        store.add_outbox("hook", "3", at(5)).await.unwrap().unwrap();
        let due = async |now, limit| {
            let found = store.due_outbox("mail", at(now), limit).await.unwrap();
            found.into_iter().map(|row| (row.id, row.attempts)).collect::<Vec<_>>()
        };
        assert_eq!(due(4, 9).await, []);
        assert_eq!(due(10, 9).await, [(second, 0), (first, 0)]);
        assert!(store.postpone_outbox(second, at(30), "nobody is there").await.unwrap());
        assert_eq!(due(10, 9).await, [(first, 0)]);
        assert_eq!(due(30, 9).await, [(first, 0), (second, 1)]);
        assert_eq!(store.hurry_outbox("mail", at(11)).await.unwrap(), 1, "what was tried, and nothing else");
        let rows = store.due_outbox("mail", at(11), 9).await.unwrap();
        assert_eq!(rows.iter().map(|row| &*row.why).collect::<Vec<_>>(), ["", "nobody is there"]);
        let ended = End { at: at(12), delivered: true, why: "250 OK" };
        assert_eq!(store.end_outbox(&rows[..1], &ended).await.unwrap(), 1);
        assert_eq!(store.end_outbox(&rows[..1], &ended).await.unwrap(), 0, "it is gone, and ends once");
        assert_eq!(due(30, 1).await, [(second, 1)]);
        assert_eq!(
            store.count_outbox().await.unwrap(),
            [("hook".to_owned(), 1), ("mail".to_owned(), 1)].into()
        );
    });
}

#[test]
fn what_became_of_messages_is_kept() {
    on_both(async |kit| {
        let store = &kit.store;
        let given_up = End { at: at(9), delivered: false, why: "410 Gone" };
        for text in ["1", "2"] {
            store.add_outbox("mail", text, at(1)).await.unwrap().unwrap();
        }
        let rows = store.due_outbox("mail", at(1), 9).await.unwrap();
        store.end_outbox(&rows, &given_up).await.unwrap();
        let told =
            store.add_delivery("mail", "3", &End { delivered: true, why: "", ..given_up }).await.unwrap();
        let ids = async |before| {
            let found = store.deliveries("mail", before, 9).await.unwrap();
            found.into_iter().map(|row| (row.id, row.delivered, row.attempts)).collect::<Vec<_>>()
        };
        let [first, second] = [rows[0].id, rows[1].id];
        assert_eq!(ids(None).await, [(told, true, 1), (second, false, 1), (first, false, 1)]);
        assert_eq!(ids(Some(second)).await, [(first, false, 1)]);
        assert!(store.retry_delivery("mail", first, at(20)).await.unwrap());
        assert!(!store.retry_delivery("mail", first, at(20)).await.unwrap(), "it waits already");
        assert!(!store.retry_delivery("mail", told, at(20)).await.unwrap(), "it was delivered");
        assert!(!store.retry_delivery("hook", second, at(20)).await.unwrap(), "it is another channel's");
        assert_eq!(store.outbox("mail", 9).await.unwrap()[0].id, first);
        store.forget_channel("mail").await.unwrap();
        assert_eq!((ids(None).await, store.next_outbox("mail").await.unwrap()), (vec![], None));
    });
}

#[test]
fn a_dead_channel_leaves_room_for_others() {
    on_both(async |kit| {
        let store = &kit.store;
        let many: Vec<_> =
            (0..OUTBOX_CHANNEL_MAX + 2).map(|n| ("dead".to_owned(), n.to_string(), at(1))).collect();
        let added = store.add_outbox_all(&many).await.unwrap();
        assert_eq!(added.iter().filter(|id| id.is_none()).count(), 2);
        assert_eq!(store.add_outbox("dead", "x", at(1)).await.unwrap(), None);
        assert!(store.add_outbox("alive", "x", at(1)).await.unwrap().is_some());
    });
}

#[test]
fn a_request_that_comes_twice_is_answered_once() {
    on_both(async |kit| {
        let store = &kit.store;
        let claim = async |key: &str, hash: &str, now| {
            store.claim_idempotency("anna", key, hash, at(now), at(now + 100)).await.unwrap()
        };
        assert_eq!(claim("k", "h", 0).await, Claim::New);
        assert_eq!(claim("k", "h", 1).await, Claim::UnderWay);
        assert_eq!(claim("k", "other", 1).await, Claim::Other);
        store.finish_idempotency("anna", "k", 202, "{}").await.unwrap();
        assert_eq!(claim("k", "h", 99).await, Claim::Answered { status: 202, body: "{}".to_owned() });
        assert_eq!(claim("k", "other", 100).await, Claim::New);
        store.release_idempotency("anna", "k").await.unwrap();
        assert_eq!(claim("k", "h", 101).await, Claim::New);
        let bert = store.claim_idempotency("bert", "k", "x", at(101), at(200)).await.unwrap();
        assert_eq!(bert, Claim::New);
    });
}

#[test]
fn what_is_too_old_is_forgotten() {
    on_both(async |kit| {
        let store = &kit.store;
        let day = 86_400;
        let mut records: Vec<Record> = (1..=9)
            .map(|id| Record::Event(EventRow { at: at(id as i64 * day), ..event(id, "join", None) }))
            .collect();
        records.extend((1..=4).map(|revision| {
            let at = at(revision as i64 * day);
            Record::Topology(TopologyRow { revision, at, tree: revision.to_string() })
        }));
        record(store, records).await;
        let retention = Retention {
            history: jiff::SignedDuration::from_hours(48),
            events_max: 2,
            ..Retention::default()
        };
        store.maintain(&retention, at(5 * day)).await.unwrap();
        // Of the tree also the one that held at the beginning.
        assert_eq!(store.topology_at(at(3 * day - 1)).await.unwrap().map(|row| row.revision), Some(2));
        assert_eq!(store.topology_at(at(2 * day - 1)).await.unwrap(), None);
        let ids: Vec<u64> =
            store.events(&EventFilter::default(), 9).await.unwrap().iter().map(|row| row.id).collect();
        assert_eq!(ids, [9, 8]);
        // A clock that was set back forgets nothing more.
        assert_eq!(store.maintain(&retention, at(0)).await.unwrap(), 0);
    });
}
