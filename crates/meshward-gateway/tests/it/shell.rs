//! One node of ours between two neighbours.

use std::net::SocketAddr;
use std::sync::Arc;

use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::time::Instant;
use meshward_core::wire::{NodeId, Tree, User};
use meshward_gateway::shell::{Application, Clock, Shell, ShellConfig, Traffic};

use crate::peer::Peer;

#[derive(Debug)]
struct Nothing;

impl Application for Nothing {
    type Machine = Node;

    fn on_event(&mut self, _now: Instant, _node: &mut Node, _event: &Event) {}
}

/// Runs a node on a thread of its own until the test ends; where it listens.
fn node(id: u32) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mesh = MeshConfig::node(NodeId(id), 1);
            let node = Node::new(NodeConfig::new(mesh));
            let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            let config = ShellConfig { listen, ..ShellConfig::default() };
            let traffic = Arc::new(Traffic::default());
            let bound = Shell::bind(config, node, Nothing, None, Clock::start(), traffic).await;
            // Nobody keeps the handle: the node lives on without calls.
            let (shell, _) = bound.unwrap();
            tell.send(shell.local_addr().unwrap()).unwrap();
            shell.run(std::future::pending()).await
        })
    });
    told.recv().unwrap()
}

/// A socket may hold more than a node queues for a link: the shell must not hand it over at once, or the
/// node would drop what the next link has room for.
#[test]
fn a_burst_longer_than_the_queue_is_forwarded_whole() {
    let address = node(50);
    let mut from = Peer::join(address, Tree::leaf(NodeId(1)));
    let mut to = Peer::join(address, Tree::leaf(NodeId(2)));
    from.settle();
    to.settle();
    let message = |number: usize| {
        let msg = format!("{number:0500}").into_bytes().into();
        User { broadcast: false, dest: NodeId(2), from: NodeId(1), msg }.encode()
    };
    let count = 200;
    let burst: Vec<u8> = (0..count).flat_map(|number| [message(number), vec![0]].concat()).collect();
    assert!(burst.len() > 4 * meshward_core::mesh::Limits::NODE.queue);
    from.write(&burst);
    let mut got = 0;
    while got < count {
        to.read(|frame| {
            if frame.len() > 500 {
                assert!(frame == message(got), "message {got} is missing");
                got += 1;
            }
        });
    }
}
