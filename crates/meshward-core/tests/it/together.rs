//! Several nodes together: trees, messages, clocks, updates.

use crate::net::{Net, plain, receiving};
use meshward_core::mesh::{CloseReason, MeshEvent, Priority, SendError};
use meshward_core::node::Event;
use meshward_core::ota::{DistributorEvent, ImagePlan, Scheme, TargetState, Tempo};
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;

const MS: Duration = Duration::from_millis(1);

/// Nodes 1 … n, each dialling the one before it.
fn chain(nodes: u32, delay: Duration) -> Net {
    let mut net = Net::default();
    for id in 1..=nodes {
        let index = net.add(plain(id));
        if index > 0 {
            net.dial(index, index - 1, delay);
        }
    }
    net
}

fn all_know_all(net: &Net) -> bool {
    net.hosts.iter().all(|host| host.node.mesh().tree().len() == net.hosts.len())
}

#[test]
fn a_chain_of_a_hundred_settles_without_a_storm() {
    let mut net = chain(100, MS);
    assert!(net.run(Duration::from_secs(2), all_know_all), "settled in 2 s");
    let bytes: u64 = net.hosts.iter().map(|host| host.node.mesh().counters().bytes_sent).sum();
    assert!(bytes < 20_000_000, "the C++ library takes 75 MB, ours took {bytes} bytes");
}

#[test]
fn messages_reach_whom_they_are_for() {
    let mut net = chain(5, MS);
    assert!(net.run(Duration::from_secs(5), all_know_all));
    net.hosts[0].node.send_single(NodeId(5), b"to five", Priority::Normal).unwrap();
    net.hosts[2].node.send_broadcast(b"to all", Priority::Normal).unwrap();
    let texts = |net: &Net, index: usize| -> Vec<Vec<u8>> {
        let texts = net.hosts[index].events.iter().filter_map(|event| match event {
            Event::Message { text, .. } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    };
    let done = |net: &Net| texts(net, 4).len() == 2 && texts(net, 0).len() == 1;
    assert!(net.run(Duration::from_secs(30), done));
    assert_eq!(texts(&net, 0), [b"to all".to_vec()]);
    assert!(texts(&net, 4).contains(&b"to five".to_vec()));
    assert_eq!(texts(&net, 2), Vec::<Vec<u8>>::new(), "nobody hears itself");
    let node = &mut net.hosts[0].node;
    assert_eq!(node.send_single(NodeId(9), b"x", Priority::Normal), Err(SendError::NoRoute(NodeId(9))));
    assert_eq!(node.send_single(NodeId(1), b"x", Priority::Normal), Err(SendError::ToSelf));
    let too_long = node.send_broadcast(&[b'x'; 5_000], Priority::Normal);
    assert!(matches!(too_long, Err(SendError::TooLong { max: 4_400, .. })));
}

#[test]
fn clocks_meet_over_slow_links_and_no_reply_is_thrown_away() {
    for round_trip in [0, 1, 5, 20, 50, 80] {
        let mut net = Net::default();
        for (id, offset) in [(1, 0), (2, 900_000_000), (3, 4_000_000_000)] {
            let mut config = plain(id);
            config.mesh.clock_offset = offset;
            net.add(config);
        }
        let delay = Duration::from_micros(round_trip * 500);
        net.dial(1, 0, delay);
        net.dial(2, 1, delay);
        let spread = |net: &Net| {
            let time = |index: usize| net.hosts[index].node.mesh().mesh_time(net.now);
            (1..3).map(|index| time(index).signed_since(time(0)).unsigned_abs()).max().unwrap()
        };
        assert!(
            net.run(Duration::from_secs(5), |net| all_know_all(net) && spread(net) < 5_000),
            "{round_trip} ms: the clocks are {} µs apart",
            spread(&net)
        );
        let discarded =
            net.hosts.iter().map(|host| host.node.mesh().counters().time_replies_discarded).sum::<u64>();
        assert_eq!(discarded, 0, "a stock node would have thrown replies away at {round_trip} ms");
    }
}

#[test]
fn delays_are_measured_through_relays() {
    let mut net = chain(4, Duration::from_millis(3));
    assert!(net.run(Duration::from_secs(5), all_know_all));
    let now = net.now;
    net.hosts[0].node.probe(now, NodeId(4)).unwrap();
    let answer = |net: &Net| {
        net.hosts[0].events.iter().find_map(|event| match event {
            Event::Mesh(MeshEvent::Delay { from, round_trip }) => Some((*from, *round_trip)),
            _ => None,
        })
    };
    // The test's wires take what is queued only when something happens: at the latest with the next timer.
    assert!(net.run(Duration::from_secs(70), |net| answer(net).is_some()));
    assert_eq!(answer(&net).unwrap().0, NodeId(4));
    assert!(answer(&net).unwrap().1 >= Duration::from_millis(18));
}

#[test]
fn second_links_and_rings_are_refused() {
    let mut net = chain(3, MS);
    assert!(net.run(Duration::from_secs(5), all_know_all));
    let refused = |net: &Net, index: usize| {
        net.hosts[index].events.iter().any(|event| {
            let reason = CloseReason::AlreadyConnected;
            matches!(event, Event::Mesh(MeshEvent::LinkDown { reason: why, .. }) if *why == reason)
        })
    };
    net.dial(2, 0, MS);
    assert!(net.run(Duration::from_secs(1), |net| refused(net, 0)), "a ring of three");
    net.dial(1, 0, MS);
    assert!(net.run(Duration::from_secs(1), |net| !net.is_joined(2, 0)), "the old link stays");
    assert!(net.is_joined(1, 0) && all_know_all(&net));
}

#[test]
fn a_ring_that_formed_in_one_instant_is_opened() {
    // Two pairs that dial each other twice at the same time: every first sync looks harmless.
    let mut net = Net::default();
    for id in 1..=4 {
        net.add(plain(id));
    }
    net.dial(1, 0, MS);
    net.dial(3, 2, MS);
    assert!(net.run(Duration::from_secs(1), |net| net.hosts.iter().all(|h| h.node.mesh().tree().len() == 2)));
    net.dial(0, 2, Duration::from_millis(40));
    net.dial(1, 3, Duration::from_millis(40));
    let open = |net: &Net| !(net.is_joined(0, 2) && net.is_joined(1, 3));
    assert!(net.run(Duration::from_secs(3), open), "one link of the ring goes");
    assert!(
        net.run(Duration::from_secs(200), |_| false)
            || net.hosts.iter().all(|h| h.node.mesh().tree().len() <= 4)
    );
}

#[test]
fn a_whole_chain_is_updated_leaves_first() {
    let image: Vec<u8> = (0..50_001u32).flat_map(|word| word.to_le_bytes()).collect();
    let mut net = Net::default();
    net.add(plain(1));
    for id in 2..=5 {
        let index = net.add(receiving(id, None));
        net.dial(index, index - 1, MS);
    }
    assert!(net.run(Duration::from_secs(5), all_know_all));
    let plan = ImagePlan {
        scheme: Scheme::Unicast,
        image: image.clone(),
        role: b"demo".to_vec(),
        hardware: b"ESP32".to_vec(),
        targets: (2..=5).map(NodeId).collect(),
        part_size: 1_000,
        concurrency: 3,
        hold: false,
        tempo: Tempo::default(),
    };
    let now = net.now;
    net.hosts[0].node.start_rollout(now, plan.clone()).unwrap();
    assert!(net.hosts[0].node.start_rollout(now, plan).is_err(), "one at a time");
    let mut order = Vec::new();
    for _ in 0..4 {
        let wants = |net: &Net| (1..5).any(|index| wants_restart(net, index));
        assert!(net.run(Duration::from_secs(120), wants), "somebody restarts");
        let index = (1..5).find(|index| net.reboot_if_wanted(*index)).unwrap();
        order.push(index);
        let redials: Vec<usize> = if index < 4 { vec![index, index + 1] } else { vec![index] };
        for child in redials {
            net.dial(child, child - 1, MS);
        }
    }
    assert_eq!(order, [4, 3, 2, 1], "nobody restarts below whom somebody still receives");
    let finished = |net: &Net| net.hosts[0].events.contains(&Event::Rollout(DistributorEvent::Finished));
    assert!(net.run(Duration::from_secs(60), finished));
    let report = net.hosts[0].node.rollout_report();
    assert!(report.iter().all(|target| target.state == TargetState::Updated), "{report:?}");
    for index in 1..5 {
        assert_eq!(net.image(index), Some(&image[..]), "the image on node {}", index + 1);
    }
}

fn wants_restart(net: &Net, index: usize) -> bool {
    use meshward_core::ota::ReceiverEvent;
    net.hosts[index].events.contains(&Event::Update(ReceiverEvent::Restart))
}
