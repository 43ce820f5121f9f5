//! A gateway's service, and a neighbour made of one plain socket.

use meshward_core::wire::{NodeId, Tree};
use meshward_fleet::fleet::{Event, Settings};
use meshward_gateway::service::Gateway;
use meshward_gateway::shell::NodeHandle;

use crate::gateway::gateway;
use crate::peer::Peer;

/// What nodes have logged so far.
async fn logged(gateway: &NodeHandle<Gateway>) -> Vec<(NodeId, Option<u32>, String)> {
    let lines = gateway.with(|_, _, gateway| {
        let line = |event: &Event| match event {
            Event::Log { node, when, text } => Some((*node, *when, text.clone())),
            _ => None,
        };
        gateway.events(0).filter_map(|told| line(&told.event)).collect()
    });
    lines.await.unwrap()
}

/// The library's remote log comes again and again, with the lines of before; each is told once.
#[tokio::test]
async fn a_nodes_log_is_told_line_by_line() {
    let (address, gateway) = gateway(Settings::default()).await;
    let talk = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::join(address, Tree::leaf(NodeId(7)));
        let package = |lines: &str| format!(r#"{{"type":14,"from":7,"dest":1,"routing":1,"log":[{lines}]}}"#);
        let (first, second) = (r#"{"first":5,"second":"door open"}"#, r#"{"first":9,"second":"door shut"}"#);
        for frame in
            [package(first), package(&format!("{first},{second}")), package("7"), "{\"type\":14}".to_owned()]
        {
            peer.write(&[frame.as_bytes(), &[0]].concat());
        }
        peer.settle();
        peer
    });
    let _stays_open = talk.await.unwrap();
    let line = |when, text: &str| (NodeId(7), Some(when), text.to_owned());
    assert_eq!(logged(&gateway).await, [line(5, "door open"), line(9, "door shut")]);
}
