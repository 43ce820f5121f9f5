//! Telemetry, the status service and commands through whole nodes: what they tell a gateway, and what that costs.

use std::collections::BTreeMap;

use meshward_core::mesh::{MeshConfig, Priority};
use meshward_core::node::{Event, NodeConfig};
use meshward_core::telemetry::{
    Body, Collector, CollectorEvent, Config, Event as Told, Flags, Metric, Policy, Query, Report, query_mask,
};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::status::Code;
use meshward_core::wire::{Envelope, NodeId, To, fields, kind};

use crate::net::{Net, plain};

const GATEWAY: NodeId = NodeId(1);
const DELAY: Duration = Duration::from_millis(3);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A gateway and its collector, and nodes.
struct World {
    net: Net,
    collector: Collector,
    /// What the collector has heard, and when.
    heard: Vec<(Instant, CollectorEvent)>,
    /// Packages that came to the gateway.
    packages: Vec<(Instant, Envelope, Vec<u8>)>,
}

fn teller(id: u32, config: Config) -> NodeConfig {
    NodeConfig::new(MeshConfig::node(NodeId(id), u64::from(id) * 77)).with_telemetry(config)
}

impl World {
    /// Nodes 1 (the gateway) to the last, each behind the one before.
    fn chain(nodes: impl IntoIterator<Item = NodeConfig>) -> Self {
        let mut net = Net::default();
        net.add(plain(1));
        for config in nodes {
            let index = net.add(config);
            net.dial(index, index - 1, DELAY);
        }
        let mut world =
            Self { net, collector: Collector::new(GATEWAY), heard: Vec::new(), packages: Vec::new() };
        let all = world.net.hosts.len();
        assert!(world.until(seconds(10), |world| world.net.hosts[0].node.mesh().tree().len() == all));
        world
    }

    /// Runs until something came true; whether it did.
    fn until(&mut self, limit: Duration, true_now: impl Fn(&Self) -> bool) -> bool {
        let end = self.net.now + limit;
        while self.net.now < end {
            if true_now(self) {
                return true;
            }
            self.net.run(Duration::from_millis(20), |_| false);
            self.pump();
        }
        true_now(self)
    }

    fn run(&mut self, span: Duration) {
        self.until(span, |_| false);
    }

    /// Carries between the gateway's node and its collector.
    fn pump(&mut self) {
        let now = self.net.now;
        for event in std::mem::take(&mut self.net.hosts[0].events) {
            let Event::Package { envelope, bytes } = event else { continue };
            self.collector.handle_package(now, envelope.kind, &bytes);
            self.packages.push((now, envelope, bytes));
        }
        self.collector.handle_timeout(now);
        while let Some((node, frame)) = self.collector.poll_transmit() {
            self.send(node, &frame);
        }
        while let Some(event) = self.collector.poll_event() {
            self.heard.push((now, event));
        }
    }

    fn send(&mut self, node: NodeId, frame: &[u8]) {
        let _lost = self.net.with(0, |gateway, _| gateway.send_package(node, frame, Priority::Normal));
    }

    fn subscribe(&mut self, policy: &Policy) {
        for id in 2..=self.net.hosts.len() as u32 {
            self.collector.set_policy(self.net.now, NodeId(id), policy.clone());
        }
        let all = self.net.hosts.len() - 1;
        let acks = |world: &Self| {
            let taken =
                |event: &CollectorEvent| matches!(event, CollectorEvent::Policy { taken: Some(true), .. });
            world.heard.iter().filter(|(_, event)| taken(event)).count() == all
        };
        assert!(self.until(seconds(30), acks), "all take the policy");
    }

    fn reports(&self) -> impl Iterator<Item = (Instant, NodeId, &Report)> {
        self.heard.iter().filter_map(|(at, event)| match event {
            CollectorEvent::Report { node, report } => Some((*at, *node, report)),
            _ => None,
        })
    }

    fn count_of(&self, kinds: &[i32]) -> usize {
        self.packages.iter().filter(|(_, envelope, _)| kinds.contains(&envelope.kind)).count()
    }
}

const TELEMETRY: [i32; 2] = [kind::TELEMETRY_KEYFRAME, kind::TELEMETRY_DELTA];

/// What a chain of so many nodes sends in ten minutes: packages at the gateway, frames on all links, and the longest
/// that a node was not heard of.
fn ten_minutes(nodes: u32, aggregate: bool) -> (usize, u64, Duration) {
    let all = 2..nodes + 2;
    let mut world = World::chain(all.clone().map(|id| teller(id, Config::default())));
    world.subscribe(&Policy { aggregate, ..Policy::default() });
    world.run(seconds(180));
    let sent = |world: &World| -> u64 {
        world.net.hosts.iter().map(|host| host.node.mesh().counters().frames_queued).sum()
    };
    let (start, before) = (world.net.now, sent(&world));
    world.packages.clear();
    world.heard.clear();
    world.run(seconds(600));
    let mut last: BTreeMap<NodeId, Instant> = all.map(|id| (NodeId(id), start)).collect();
    let mut longest = Duration::ZERO;
    for (at, node, report) in world.reports() {
        let observed = at - report.age;
        longest = longest.max(at.since(last.insert(node, observed).unwrap()));
    }
    assert!(
        last.values().all(|last| world.net.now.since(*last) < seconds(75)),
        "all are heard of to the end"
    );
    assert_eq!(world.collector.counters().resyncs, 0);
    assert_eq!(world.collector.counters().lost, 0);
    (world.count_of(&TELEMETRY), sent(&world) - before, longest)
}

#[test]
fn a_branch_tells_in_one_message_what_took_five() {
    let (single, single_frames, longest) = ten_minutes(5, false);
    assert!((50..=60).contains(&single), "{single} packages from five nodes in ten minutes");
    assert!(longest <= seconds(63), "{longest:?}");
    let (packed, packed_frames, longest) = ten_minutes(5, true);
    println!("five nodes in a row, 10 min: {single} packages of telemetry, aggregated {packed}");
    println!("frames on all links in that time: {single_frames}, aggregated {packed_frames}");
    assert!(packed <= 13, "one a minute, not {packed}");
    assert!(longest <= seconds(75), "{longest:?}");
    // Five nodes in a row: 15 hops a minute against 5.
    assert!(packed_frames + 85 <= single_frames, "{packed_frames} against {single_frames} frames");
}

#[test]
fn a_branch_that_is_deep_tells_in_one_message_too() {
    let (packed, _, longest) = ten_minutes(14, true);
    assert!(packed <= 11, "one a minute, not {packed}");
    assert!(longest <= seconds(75), "{longest:?}");
}

#[test]
fn what_is_critical_is_heard_within_a_second_through_relays_that_hold() {
    let mut world = World::chain((2..=5).map(|id| teller(id, Config::default())));
    world.subscribe(&Policy { enhanced_s: 3_600, ..Policy::default() });
    world.run(seconds(100));
    world.heard.clear();
    let now = world.net.now;
    assert!(world.net.with(4, |node, now| node.set_metric(now, Metric::Alerts, 5)));
    assert!(!world.net.with(4, |node, now| node.set_metric(now, Metric::Rssi, 5)), "that cannot be");
    let told = |world: &World| {
        world.reports().any(|(_, node, report)| {
            node == NodeId(5)
                && report.flags.has(Flags::URGENT)
                && report.values.contains(&(Metric::Alerts, 5))
        })
    };
    assert!(world.until(seconds(1), told), "in {:?}", world.net.now.since(now));
    assert!(world.until(seconds(1), |world| world.count_of(&[kind::ENHANCED_STATUS]) == 1));
    let (_, envelope, bytes) =
        world.packages.iter().find(|(_, e, _)| e.kind == kind::ENHANCED_STATUS).unwrap();
    assert_eq!((envelope.from, envelope.dest), (NodeId(5), GATEWAY), "for the collector alone");
    assert_eq!(fields(bytes).find(|(key, _)| key.is("alerts")).unwrap().1.as_u32(), 5);
    // The same again is no news, and what flaps is told once a second.
    world.heard.clear();
    for round in 0..100 {
        world.net.with(4, |node, now| node.set_metric(now, Metric::Alerts, round % 2));
        world.run(Duration::from_millis(40));
    }
    let urgent = world.reports().filter(|(_, _, report)| report.flags.has(Flags::URGENT)).count();
    assert!((3..=5).contains(&urgent), "{urgent} urgent packets in 4 s");
    assert!(world.count_of(&[kind::ENHANCED_STATUS]) <= 6);
}

#[test]
fn a_gateway_that_has_lost_its_memory_asks_once_and_knows_all_again() {
    let mut world = World::chain((2..=3).map(|id| teller(id, Config::default())));
    world.subscribe(&Policy { pmin_s: 2, pmax_s: 4, ..Policy::default() });
    world.run(seconds(30));
    world.collector = Collector::new(GATEWAY);
    world.heard.clear();
    world.run(seconds(60));
    let counters = world.collector.counters();
    assert_eq!(counters.resyncs, 2, "one for each node: {counters:?}");
    assert!(counters.unknown <= 6, "{counters:?}");
    let keyframes = world.reports().filter(|(_, _, report)| report.keyframe).count();
    assert_eq!(keyframes, 2, "{:?}", world.heard);
    // Somebody else may not have the node send keyframes.
    let frame = Body::Resync { generation: 0 }.frame(NodeId(3), To::One(NodeId(2)));
    world.net.with(2, |node, _| node.send_package(NodeId(2), &frame, Priority::Normal)).unwrap();
    world.run(seconds(10));
    assert_eq!(world.net.hosts[1].node.telemetry().unwrap().dropped().refused, 1);
}

#[test]
fn a_node_that_restarts_says_so_and_is_known_again() {
    let fixed = Config { collector: Some(GATEWAY), ..Config::default() };
    let mut world = World::chain([teller(2, fixed)]);
    world.run(seconds(90));
    assert!(world.reports().next().unwrap().2.flags.has(Flags::REBOOT));
    world.heard.clear();
    world.net.reboot(1);
    world.net.dial(1, 0, DELAY);
    world.run(seconds(60));
    let (_, _, first) = world.reports().next().unwrap();
    assert!(first.keyframe && first.flags.has(Flags::REBOOT));
    let uptime = first.values.iter().find(|(metric, _)| *metric == Metric::Uptime).unwrap().1;
    assert!(uptime < 20, "{uptime} s");
}

#[test]
fn a_query_is_answered_by_whom_it_is_for_once_and_spread() {
    let silent = Config { answers: false, ..Config::default() };
    let nodes = [teller(2, Config::default()), teller(3, Config::default()), teller(4, silent), plain(5)];
    let mut world = World::chain(nodes);
    world.net.with(2, |node, now| node.set_metric(now, Metric::Battery, 77));
    let mask = query_mask(&[Metric::Battery, Metric::Links]);
    let frame = Body::Query(Query { q: 9, mask, window_ms: 1_000 }).frame(GATEWAY, To::All);
    for _ in 0..3 {
        world.net.with(0, |gateway, _| gateway.send_package_to_all(&frame, Priority::Normal));
    }
    world.run(seconds(3));
    let answers = world.heard.iter().filter_map(|(at, event)| match event {
        CollectorEvent::Answer { node, q: 9, values } => Some((at, node.0, values.clone())),
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    let of =
        |id: u32| answers.iter().filter(move |(_, node, _)| *node == id).map(|(_, _, values)| values.clone());
    assert_eq!(Vec::from_iter(of(2)), [Some(vec![(Metric::Links, 2)])]);
    assert_eq!(Vec::from_iter(of(3)), [Some(vec![(Metric::Links, 2), (Metric::Battery, 77)])]);
    assert_eq!(Vec::from_iter(of(4)), [None, None, None], "it says that it does not");
    assert_eq!(of(5).count(), 0, "a node without telemetry knows nothing of it");
}

#[test]
fn commands_are_answered_obeyed_once_and_only_where_allowed() {
    let allowed = Config { collector: Some(GATEWAY), reset_allowed: true, ..Config::default() };
    let barred = Config { collector: Some(GATEWAY), ..Config::default() };
    let mut world = World::chain([teller(2, allowed), teller(3, barred)]);
    let mut command = |node: u32, code: u8, id: u32| {
        let text = format!(
            "{{\"from\":1,\"dest\":{node},\"routing\":1,\"type\":400,\"cmd\":{code},\"target\":{node},\"params\":\"{{}}\",\"cid\":{id},\"message_type\":400}}"
        );
        world.packages.clear();
        world.send(NodeId(node), text.as_bytes());
        world.send(NodeId(node), text.as_bytes());
        world.run(seconds(2));
        let answers = world.packages.iter().filter(|(_, envelope, _)| envelope.kind == kind::STATUS);
        let answer = |bytes: &[u8]| {
            let field = |name| fields(bytes).find(|(key, _)| key.is(name)).unwrap().1;
            (field("respTo").as_u32(), String::from_utf8_lossy(&field("respMsg").text()).into_owned())
        };
        let answers: Vec<_> = answers.map(|(_, _, bytes)| answer(bytes)).collect();
        let events = std::mem::take(&mut world.net.hosts[node as usize - 1].events);
        let told = events.into_iter().filter_map(|event| match event {
            Event::Telemetry(told) => Some(told),
            _ => None,
        });
        (answers, Vec::from_iter(told))
    };
    let (answers, told) = command(3, 1, 7);
    assert!(answers.len() == 2 && answers[0].0 == 7 && answers[0].1.starts_with("refused"), "{answers:?}");
    assert_eq!(told, []);
    let (answers, told) = command(2, 1, 8);
    assert_eq!(answers, [(8, "resetting".to_owned()), (8, "resetting".to_owned())]);
    assert_eq!(told, [Told::Reset]);
    assert_eq!(command(3, 200, 9).0[0], (9, "ok".to_owned()));
    let (answers, told) = command(3, 10, 10);
    assert!(answers.is_empty(), "the application answers");
    assert!(
        matches!(&told[..], [Told::Command(command)] if (command.code, command.id) == (Code::Led, 10)),
        "{told:?}"
    );
    assert_eq!(command(3, 211, 11).0[0].1, "ok");
    assert!(!world.net.hosts[2].node.telemetry().unwrap().policy().on);
}

#[test]
fn a_policy_is_taken_from_the_collector_alone_where_there_is_one() {
    let fixed = Config { collector: Some(NodeId(3)), ..Config::default() };
    let mut world = World::chain([teller(2, fixed), plain(3)]);
    world.collector.set_policy(world.net.now, NodeId(2), Policy { number: 5, ..Policy::default() });
    world.run(seconds(5));
    let refused = CollectorEvent::Policy { node: NodeId(2), number: 5, taken: Some(false) };
    assert!(world.heard.iter().any(|(_, event)| *event == refused));
    // And one that nobody acknowledges is given up.
    world.collector.set_policy(world.net.now, NodeId(3), Policy { number: 6, ..Policy::default() });
    world.run(seconds(60));
    let silence = CollectorEvent::Policy { node: NodeId(3), number: 6, taken: None };
    assert!(world.heard.iter().any(|(_, event)| *event == silence));
}
