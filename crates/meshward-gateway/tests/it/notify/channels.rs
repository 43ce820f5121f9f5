//! What channels do with receivers of every kind.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use meshward_fleet::alert::Severity;
use meshward_gateway::notify::{
    Hook, Kind, Notifier, Publisher, Publishing, Quiet, Route, SendError, Template, signature,
};
use meshward_gateway::store::{OUTBOX_CHANNEL_MAX, Store};

use super::{Kit, hook, message, until, url};
use crate::sink::{Reply, Sink};

const OK: Reply = Reply::Say(200, "", "");

#[tokio::test]
async fn a_webhook_gets_a_signed_body_of_alertmanager() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| OK).await);
    let secret = "0123456789abcdef";
    let signed = Hook {
        secret: Some(secret.to_owned()),
        token: Some("pass".to_owned()),
        ..hook(&sink.url("/hook?a=1"))
    };
    kit.add("ops", Kind::Webhook(signed)).await;
    kit.notifier.accept(vec![message(Severity::Warning, 7)]).await;
    let got = sink.wait(1).await.remove(0);
    assert_eq!(got.path, "/hook?a=1");
    assert_eq!(got.header("x-signature-256"), Some(&*signature(secret, &got.body)));
    assert_eq!(got.header("authorization"), Some("Bearer pass"));
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert!(got.header("x-timestamp").unwrap().parse::<Timestamp>().is_ok());
    let body = got.json();
    assert_eq!((&body["version"], &body["receiver"]), (&"4".into(), &"ops".into()));
    assert_eq!(body["alerts"][0]["labels"]["node"], "7");
    let row = kit.until_ended("ops", |_| true).await;
    assert!(row.delivered && row.why == "200 OK", "{row:?}");
    assert_eq!(got.header("idempotency-key"), Some(&*format!("home-{}", row.id)));
    kit.until_waiting("ops", <[_]>::is_empty).await;
}

#[tokio::test]
async fn chats_are_asked_in_their_own_way_and_must_answer_so() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| OK).await);
    let ntfy = Hook { template: Template::Ntfy, token: Some("tk_1".to_owned()), ..hook(&sink.url("/mesh")) };
    let telegram = Hook {
        template: Template::Telegram,
        token: Some("12:ab".to_owned()),
        chat: Some("-100".to_owned()),
        ..hook(&sink.url(""))
    };
    kit.add("phone", Kind::Webhook(ntfy)).await;
    kit.add("chat", Kind::Webhook(telegram)).await;
    let test = async |id| kit.notifier.test(id, "ann").await.unwrap();
    // Somebody in between says yes.
    for id in ["phone", "chat"] {
        let tested = test(id).await;
        assert!(!tested.delivered && tested.detail.contains("not the receiver's"), "{tested:?}");
    }
    sink.answer(|got| match &*got.path {
        "/" => Reply::Say(200, "", r#"{"id":"x1","event":"message"}"#),
        _ => Reply::Say(200, "", r#"{"ok":true,"result":{}}"#),
    });
    assert!(test("phone").await.delivered && test("chat").await.delivered);
    let got = sink.got();
    let (phone, chat) = (&got[2], &got[3]);
    assert_eq!((&*phone.path, phone.json()["topic"].as_str()), ("/", Some("mesh")));
    assert_eq!(phone.header("authorization"), Some("Bearer tk_1"));
    assert_eq!((&*chat.path, chat.json()["chat_id"].as_str()), ("/bot12:ab/sendMessage", Some("-100")));
    assert_eq!(chat.header("authorization"), None);
    assert!(chat.json()["text"].as_str().unwrap().starts_with("[test] home"));
    sink.answer(|_| Reply::Say(429, "", r#"{"ok":false,"parameters":{"retry_after":7}}"#));
    let refused = test("chat").await;
    assert!(!refused.delivered && !refused.detail.contains("12:ab"), "no secret: {refused:?}");
}

/// One receiver hangs, one talks nonsense, one never ends, one is not there, one breaks off; the last one is well.
#[tokio::test]
async fn a_receiver_that_misbehaves_holds_up_nobody() {
    let kit = Kit::new().await;
    let (hang, nonsense) = (Sink::start(|_| Reply::Hang).await, Sink::start(|_| Reply::Nonsense).await);
    let (endless, close) = (Sink::start(|_| Reply::Endless).await, Sink::start(|_| Reply::Close).await);
    let well = Sink::start(|_| OK).await;
    let gone = Sink::start(|_| OK).await;
    let nobody = gone.url("/");
    drop(gone);
    for (id, url) in [
        ("hang", hang.url("/")),
        ("nonsense", nonsense.url("/")),
        ("endless", endless.url("/")),
        ("close", close.url("/")),
        ("nobody", nobody),
        ("well", well.url("/")),
    ] {
        kit.hook(id, &url).await;
    }
    let begun = Instant::now();
    for node in 1..=3 {
        kit.notifier.accept(vec![message(Severity::Critical, node)]).await;
        well.wait(node as usize).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // An endless answer is cut off and is a delivery all the same: the receiver has said 200.
    kit.until_ended("endless", |row| row.delivered).await;
    for id in ["nonsense", "close", "nobody", "hang"] {
        let rows = kit.until_waiting(id, |rows| rows.iter().any(|row| row.attempts > 0)).await;
        assert_eq!(rows.len(), 3, "{id} has lost nothing");
        let health = kit.notifier.health(id);
        assert!(health.error.is_some() && health.delivered == 0, "{id}: {health:?}");
    }
    assert_eq!(kit.notifier.waiting().await.unwrap()["hang"], 3);
    kit.notifier.close().await;
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_rests_wakes_up() {
    let kit = Kit::new().await;
    let mut fails = 1;
    let sink = Sink::start(move |_| {
        fails -= 1;
        if fails >= 0 { Reply::Say(503, "", "later") } else { OK }
    })
    .await;
    kit.hook("ops", &sink.url("/")).await;
    kit.notifier.accept(vec![message(Severity::Warning, 1)]).await;
    let got = sink.wait(2).await;
    let pause = got[1].at.duration_since(got[0].at);
    assert!(pause >= Duration::from_millis(1_900), "{pause:?}");
    assert_eq!(got[0].header("idempotency-key"), got[1].header("idempotency-key"));
    let row = kit.until_ended("ops", |row| row.delivered).await;
    assert_eq!(row.attempts, 2);
    // A receiver may want more time than usual.
    sink.answer(|_| Reply::Say(429, "Retry-After: 600\r\n", "slow down"));
    kit.notifier.accept(vec![message(Severity::Warning, 2)]).await;
    let waiting = kit.until_waiting("ops", |rows| rows.iter().any(|row| row.attempts == 1)).await;
    let wait = waiting[0].next_at.duration_since(Timestamp::now());
    assert!(wait > SignedDuration::from_secs(590) && wait <= SignedDuration::from_secs(600), "{wait:?}");
    assert_eq!(waiting[0].why, "429 Too Many Requests: slow down");
}

#[tokio::test]
async fn what_is_refused_for_good_is_a_dead_letter_that_can_be_sent_again() {
    let kit = Kit::new().await;
    let sink = Sink::start(|_| Reply::Say(410, "", "gone\u{7}fishing")).await;
    kit.hook("ops", &sink.url("/secret-path")).await;
    kit.notifier.accept(vec![message(Severity::Warning, 1)]).await;
    let dead = kit.until_ended("ops", |row| !row.delivered).await;
    assert_eq!((&*dead.why, dead.attempts), ("410 Gone: gone fishing", 1));
    assert!(!dead.why.contains("secret-path"));
    assert_eq!(sink.got().len(), 1);
    sink.answer(|_| OK);
    assert!(kit.notifier.retry("ops", dead.id).await.unwrap());
    let row = kit.until_ended("ops", |row| row.delivered).await;
    assert_eq!(row.id, dead.id);
    assert!(!kit.notifier.retry("ops", dead.id).await.unwrap(), "it is delivered");
    // A redirect could lead a token to somebody else.
    sink.answer(|_| Reply::Say(302, "Location: http://127.0.0.1:9/\r\n", ""));
    kit.notifier.accept(vec![message(Severity::Warning, 2)]).await;
    kit.until_ended("ops", |row| !row.delivered && row.why == "302 Found").await;
}

/// The gateway's process ends while a receiver hangs and while another is not there; the next one delivers all.
#[test]
fn a_kill_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    crate::sink::provider();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sinks = runtime();
    let sink = sinks.block_on(Sink::start(|_| Reply::Hang));
    let first = runtime();
    first.block_on(async {
        let store = Store::open(&url(&folder)).await.unwrap();
        let notifier = Notifier::open(store, "home", "").await.unwrap();
        let channel = meshward_gateway::notify::Channel {
            id: "ops".to_owned(),
            enabled: true,
            kind: Kind::Webhook(hook(&sink.url("/"))),
        };
        notifier.create(channel).await.unwrap();
        notifier.accept(vec![message(Severity::Critical, 1), message(Severity::Warning, 2)]).await;
        sink.wait(1).await;
    });
    // Nothing is finished, nothing is closed.
    first.shutdown_background();
    sink.answer(|_| OK);
    let before = sink.got().len();
    runtime().block_on(async {
        let store = Store::open(&url(&folder)).await.unwrap();
        let notifier = Notifier::open(store.clone(), "home", "").await.unwrap();
        let got = sink.wait(before + 2).await.split_off(before);
        let nodes: Vec<String> = got
            .iter()
            .map(|got| got.json()["alerts"][0]["labels"]["node"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(nodes, ["1", "2"], "in order, and the one that hung again");
        until(async || store.outbox("ops", 9).await.unwrap().is_empty().then_some(())).await;
        notifier.close().await;
    });
}

#[tokio::test]
async fn quiet_hours_and_digests_hold_back_what_is_not_critical() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| OK).await);
    kit.hook("ops", &sink.url("/")).await;
    let always = Quiet { days: 0b111_1111, from: 0, to: 1_440, ahead_min: 0 };
    let routes = Route { quiet: Some(always), digest_seconds: Some(3_600), ..Route::default() };
    kit.notifier.set_routes(routes).await.unwrap();
    kit.notifier.accept(vec![message(Severity::Warning, 1), message(Severity::Critical, 2)]).await;
    let got = sink.wait(1).await;
    assert_eq!(got[0].json()["alerts"][0]["labels"]["node"], "2");
    kit.until_waiting("ops", |rows| rows.len() == 1 && rows[0].next_at > Timestamp::now()).await;
    // The same two held back until one time go as one; it is still to come, so that both are before it does.
    kit.notifier.accept(vec![message(Severity::Info, 3)]).await;
    let held = kit.until_waiting("ops", |rows| rows.len() == 2).await;
    let due = Timestamp::now() + SignedDuration::from_secs(2);
    for row in &held {
        kit.store.postpone_outbox(row.id, due, "").await.unwrap();
    }
    assert!(Timestamp::now() < due, "this took longer than two seconds");
    kit.notifier.accept(vec![message(Severity::Critical, 4)]).await;
    let got = sink.wait(3).await;
    let digest = got.iter().find(|got| got.json()["alerts"].as_array().unwrap().len() == 2);
    assert!(digest.is_some(), "{got:?}");
    kit.until_waiting("ops", <[_]>::is_empty).await;
}

#[tokio::test]
async fn a_channel_that_is_full_drops_and_counts() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| Reply::Hang).await);
    kit.hook("ops", &sink.url("/")).await;
    let many = (0..OUTBOX_CHANNEL_MAX as u32 + 3).map(|node| message(Severity::Warning, node)).collect();
    kit.notifier.accept(many).await;
    // What a queue before the outbox could not hold is counted there.
    let dropped = kit.notifier.dropped() + kit.notifier.health("ops").dropped;
    assert_eq!(dropped, 3);
    assert_eq!(kit.notifier.waiting().await.unwrap()["ops"], OUTBOX_CHANNEL_MAX);
}

/// A channel is changed while its receiver hangs: what waits, and what comes meanwhile, goes the new way.
#[tokio::test]
async fn a_change_takes_what_waits_with_it() {
    let (kit, hang) = (Kit::new().await, Sink::start(|_| Reply::Hang).await);
    let well = Sink::start(|_| OK).await;
    kit.hook("ops", &hang.url("/")).await;
    kit.notifier.accept(vec![message(Severity::Critical, 1)]).await;
    hang.wait(1).await;
    let (mut channel, version) = kit.notifier.channel("ops").unwrap();
    channel.kind = Kind::Webhook(hook(&well.url("/")));
    let (edited, ()) = tokio::join!(
        kit.notifier.edit(channel.clone(), version),
        kit.notifier.accept(vec![message(Severity::Critical, 2)])
    );
    assert_eq!(edited.unwrap(), version + 1);
    well.wait(2).await;
    kit.until_waiting("ops", <[_]>::is_empty).await;
    assert!(kit.notifier.edit(channel, version).await.is_err(), "somebody has changed it since");
}

#[derive(Default)]
struct Broker(Mutex<Vec<(Option<String>, String)>>);

impl Publisher for Broker {
    fn publish<'a>(&'a self, topic: Option<&'a str>, payload: &'a str) -> Publishing<'a> {
        Box::pin(async move {
            if topic == Some("closed") {
                let what = "the broker refuses the topic".to_owned();
                return Err(SendError::Never { what });
            }
            self.0.lock().unwrap().push((topic.map(str::to_owned), payload.to_owned()));
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_broker_gets_messages_once_there_is_one() {
    let kit = Kit::new().await;
    kit.add("bus", Kind::Mqtt { topic: Some("mesh/alerts".to_owned()) }).await;
    let test = kit.notifier.test("bus", "ann").await.unwrap();
    assert_eq!((test.delivered, &*test.detail), (false, "the gateway is connected to no broker"));
    let broker = Arc::new(Broker::default());
    kit.notifier.set_publisher(broker.clone());
    kit.notifier.accept(vec![message(Severity::Warning, 7)]).await;
    kit.until_ended("bus", |row| row.delivered).await;
    let got = broker.0.lock().unwrap().clone();
    assert_eq!(got[0].0.as_deref(), Some("mesh/alerts"));
    let payload: serde_json::Value = serde_json::from_str(&got[0].1).unwrap();
    assert_eq!(payload["message"]["firing"][0]["node"], 7);
    kit.add("shut", Kind::Mqtt { topic: Some("closed".to_owned()) }).await;
    assert!(!kit.notifier.test("shut", "ann").await.unwrap().delivered);
}
