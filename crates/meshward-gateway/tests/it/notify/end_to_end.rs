//! A whole gateway: a node tells that it is in need, and somebody is told; and the dead man's switch.

use std::time::{Duration, Instant};

use meshward_core::time::Duration as Span;
use meshward_core::wire::status::{Metrics, Package};
use meshward_core::wire::{NodeId, To, Tree};
use meshward_fleet::alert::{Severity, default_rules};
use meshward_fleet::fleet::Settings;
use meshward_gateway::keep::Keeper;
use meshward_gateway::notify::{Hook, Kind, heartbeat, signature};
use meshward_gateway::store::Retention;
use tokio::sync::oneshot;

use super::{Kit, hook};
use crate::gateway::gateway;
use crate::peer::Peer;
use crate::sink::{Reply, Sink};

/// Those of a gateway that raises an alert at once when a node is short of memory.
fn settings() -> Settings {
    let mut rules = default_rules();
    rules.retain(|rule| rule.name == "low_heap");
    rules.iter_mut().for_each(|rule| rule.hold_for = Span::ZERO);
    Settings { mesh: "home".to_owned(), rules, quiet: Span::ZERO, ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_alert_is_with_the_receiver_within_five_seconds() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| Reply::Say(200, "", "")).await);
    let secret = "0123456789abcdef";
    let signed = Hook { secret: Some(secret.to_owned()), ..hook(&sink.url("/")) };
    kit.add("ops", Kind::Webhook(signed)).await;
    let (address, handle) = gateway(settings()).await;
    let keeper = Keeper::open(kit.store.clone(), Retention::default()).await.unwrap();
    let keeper = keeper.telling(kit.notifier.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let keep = tokio::spawn(keeper.run(handle.clone(), async move { drop(stopped.await) }));
    let talk = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::join(address, Tree::leaf(NodeId(7)));
        peer.settle();
        let need = Package::from(Metrics { heap: 4_000.into(), ..Metrics::default() });
        let begun = Instant::now();
        peer.write(&[need.encode(NodeId(7), To::One(NodeId(1))), vec![0]].concat());
        peer.settle();
        (peer, begun)
    });
    let (_stays_open, begun) = talk.await.unwrap();
    let got = sink.wait(1).await.remove(0);
    let took = got.at.duration_since(begun);
    println!("a critical alert was with the webhook {} ms after the node's message", took.as_millis());
    assert!(took < Duration::from_secs(5), "{took:?}");
    let body = got.json();
    assert_eq!((&body["status"], &body["commonLabels"]["alertname"]), (&"firing".into(), &"low_heap".into()));
    assert_eq!(body["alerts"][0]["labels"]["severity"], Severity::Critical.name());
    assert_eq!(got.header("x-signature-256"), Some(&*signature(secret, &got.body)));
    let row = kit.until_ended("ops", |row| row.delivered).await;
    assert_eq!(row.attempts, 1);
    stop.send(()).unwrap();
    keep.await.unwrap().unwrap();
    kit.notifier.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_well_says_so_and_one_that_hangs_does_not() {
    let (kit, sink) = (Kit::new().await, Sink::start(|_| Reply::Say(200, "", "OK")).await);
    let (_, handle) = gateway(settings()).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let beats =
        heartbeat::run(sink.url("/ping/uuid"), 1, handle.clone(), Some(kit.store.clone()), async move {
            drop(stopped.await);
        });
    let beating = tokio::spawn(beats);
    let got = sink.wait(2).await;
    assert_eq!((&*got[0].path, got[0].body.len()), ("/ping/uuid", 0));
    assert!(got[1].at.duration_since(got[0].at) > Duration::from_millis(800));
    // Its node hangs: no beat, however long it is waited for.
    let (begun, hangs) = std::sync::mpsc::channel();
    let (free, held) = std::sync::mpsc::channel::<()>();
    let hung = handle.clone();
    let hang = tokio::spawn(async move {
        hung.with(move |_, _, _| {
            begun.send(()).unwrap();
            tokio::task::block_in_place(|| held.recv()).unwrap();
        })
        .await
    });
    tokio::task::spawn_blocking(move || hangs.recv().unwrap()).await.unwrap();
    let before = sink.got().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // One may have been under way already.
    assert!(sink.got().len() <= before + 1, "a gateway that hangs is silent");
    free.send(()).unwrap();
    hang.await.unwrap().unwrap();
    sink.wait(before + 2).await;
    stop.send(()).unwrap();
    beating.await.unwrap();
}
