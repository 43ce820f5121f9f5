//! A maintenance window over REST: what it silences, and that it silences nothing else.

use std::time::{Duration, Instant};

use meshward_core::time::Duration as Span;
use meshward_core::wire::status::{Metrics, Package};
use meshward_core::wire::{NodeId, To, Tree};
use meshward_fleet::alert::default_rules;
use meshward_fleet::fleet::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{PATIENCE, Service};
use crate::peer::Peer;

/// A node that is worked on, and one that is not.
const WORKED_ON: u32 = 8;
const OTHER: u32 = 9;

/// Alerts at once, and none but those of memory that runs short.
fn settings() -> Settings {
    let mut rules = default_rules();
    rules.retain(|rule| rule.name == "low_heap");
    rules.iter_mut().for_each(|rule| rule.hold_for = Span::ZERO);
    Settings { rules, quiet: Span::ZERO, ..Settings::default() }
}

/// Both say that they are short of memory.
fn in_need(peer: &mut Peer) {
    for node in [WORKED_ON, OTHER] {
        let need = Package::from(Metrics { heap: 4_000.into(), ..Metrics::default() });
        peer.write(&[need.encode(NodeId(node), To::One(NodeId(1))), vec![0]].concat());
    }
    peer.settle();
}

/// By what the alert of a node is suppressed.
fn suppressed(alerts: &Value, node: u32) -> Value {
    let mut items = alerts["items"].as_array().unwrap().iter();
    let alert = items.find(|alert| alert["node"] == node && alert["active"] == true);
    alert.unwrap_or_else(|| panic!("node {node} has an alert in {alerts}"))["suppressed_by"].clone()
}

/// The nodes that people are told of, until this one is among them.
async fn told_of(service: &Service, node: u32) -> Vec<u32> {
    let (mut told, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while !told.contains(&node) {
        assert!(Instant::now() < deadline, "nobody was told of node {node}, but of {told:?}");
        let messages = service.gateway.with(|_, _, gateway| gateway.take_notifications()).await.unwrap();
        let alerts = messages.iter().flat_map(|message| &message.firing);
        told.extend(alerts.filter_map(|alert| alert.subject.node()).map(|node| node.0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maintenance_window_silences_its_nodes_and_nothing_else() {
    let service = Service::start_with(settings(), None).await;
    let mesh = service.mesh;
    let join = tokio::task::spawn_blocking(move || {
        let mut tree = Tree::leaf(NodeId(7));
        [WORKED_ON, OTHER].iter().for_each(|node| tree.graft(&Tree::leaf(NodeId(*node))));
        let mut peer = Peer::join(mesh, tree);
        peer.settle();
        peer
    });
    let mut peer = join.await.unwrap();
    let path = "/api/v1/maintenance-windows";
    let window = json!({"nodes": [WORKED_ON], "lasts_seconds": 3_600, "why": "it gets another antenna"});
    let opened = service.post(path, window).await;
    assert_eq!(opened.status, 201, "{}", opened.text);
    let place = opened.header("location").unwrap().to_owned();
    assert_eq!(service.ok(path).await["items"][0]["nodes"], json!([WORKED_ON]));
    assert_eq!(service.ok("/api/v1/silences").await["items"], json!([]), "it is no silence");

    let peer = tokio::task::spawn_blocking(move || {
        in_need(&mut peer);
        peer
    });
    let _stays_open = peer.await.unwrap();
    let both = |alerts: &Value| alerts["items"].as_array().is_some_and(|alerts| alerts.len() == 2);
    let alerts = service.until("/api/v1/alerts", both).await;
    assert_eq!(suppressed(&alerts, WORKED_ON), "maintenance");
    assert_eq!(suppressed(&alerts, OTHER), Value::Null, "nobody works on it");
    assert_eq!(told_of(&service, OTHER).await, [OTHER], "people hear of the one and not of the other");

    let closed = service.send(service.request(Method::DELETE, &place)).await;
    assert_eq!((closed.status, service.get(&place).await.status), (204, 404));
    let alerts = service.ok("/api/v1/alerts").await;
    assert_eq!(suppressed(&alerts, WORKED_ON), Value::Null, "what still is bad is no secret any more");
    assert!(told_of(&service, WORKED_ON).await.contains(&WORKED_ON), "and people hear of it");
    service.stop().await;
}
