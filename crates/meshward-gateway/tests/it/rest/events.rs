//! The ring of events: the oldest go first, and whoever reads is told how many it has missed.

use meshward_core::wire::{NodeId, Tree};
use meshward_gateway::service::EVENTS_KEPT_MAX;

use super::Service;
use crate::peer::Peer;

/// Lines in one package of a node's log.
const LINES: usize = 50;
/// More than are kept.
const TOLD: usize = EVENTS_KEPT_MAX + 404;

/// A node logs so many lines, each another one.
fn talk(peer: &mut Peer) {
    for package in 0..TOLD / LINES {
        let line = |line: usize| format!(r#"{{"first":{line},"second":"line {line}"}}"#);
        let lines: Vec<String> = (package * LINES..(package + 1) * LINES).map(line).collect();
        let text = format!(r#"{{"type":14,"from":7,"dest":1,"routing":1,"log":[{}]}}"#, lines.join(","));
        peer.write(&[text.as_bytes(), &[0]].concat());
        // The gateway takes so much at a time.
        peer.settle();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ring_drops_the_oldest_events_and_says_how_many() {
    let service = Service::start().await;
    let first = service.ok("/api/v1/events").await;
    assert_eq!((&first["lost"], &first["items"][0]["id"]), (&0.into(), &1.into()), "nothing is missing yet");
    let mesh = service.mesh;
    let told = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::join(mesh, Tree::leaf(NodeId(7)));
        talk(&mut peer);
        peer
    });
    let _stays_open = told.await.unwrap();
    let last_line = format!("line {}", TOLD / LINES * LINES - 1);
    let newest = |events: &serde_json::Value| {
        events["items"].as_array().unwrap().iter().any(|event| event["text"] == last_line.as_str())
    };
    service.until("/api/v1/events?last=20", newest).await;

    let (mut after, mut ids, mut lost) = (0, Vec::new(), 0);
    loop {
        let page = service.ok(&format!("/api/v1/events?after={after}")).await;
        let items = page["items"].as_array().unwrap();
        lost += page["lost"].as_u64().unwrap();
        if items.is_empty() {
            break;
        }
        ids.extend(items.iter().map(|event| event["id"].as_u64().unwrap()));
        after = page["next"].as_u64().unwrap();
    }
    let newest = *ids.last().unwrap();
    assert_eq!(ids.len(), EVENTS_KEPT_MAX);
    assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]), "those that are kept have no gap");
    assert_eq!(
        (lost, ids[0]),
        (newest - EVENTS_KEPT_MAX as u64, lost + 1),
        "the oldest are gone, and counted"
    );
    let dropped = service.gateway.with(|_, _, gateway| gateway.events_dropped()).await.unwrap();
    assert_eq!(dropped, lost);
    service.stop().await;
}
