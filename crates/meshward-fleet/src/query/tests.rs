use super::*;
use meshward_core::mesh::{LinkRole, MeshConfig, Outgoing};
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::telemetry::{Collector, CollectorEvent, Config};

const GATEWAY: NodeId = NodeId(1);

/// A gateway's node that nodes hang on; their frames are made here.
struct World {
    node: Node,
    queries: Queries,
    now: Instant,
    /// What was sent: to whom (nobody for all), and the query's number; `None` for a probe.
    sent: Vec<(NodeId, Option<Query>)>,
    events: Vec<QueryEvent>,
}

impl World {
    fn new(ids: &[u32]) -> Self {
        let node = Node::new(NodeConfig::new(MeshConfig::gateway(GATEWAY, 1)));
        let (queries, now) = (Queries::new(GATEWAY), Instant::ORIGIN);
        let mut world = Self { node, queries, now, sent: Vec::new(), events: Vec::new() };
        ids.iter().for_each(|id| world.join(*id));
        world
    }

    fn join(&mut self, id: u32) {
        let link = self.node.handle_link_up(self.now, LinkRole::Listener).unwrap();
        while self.node.poll_event().is_some() {}
        let sync = format!("{{\"nodeId\":{id},\"type\":5,\"dest\":0,\"from\":{id}}}\0");
        self.node.handle_data(self.now, link, sync.as_bytes());
        while self.node.poll_event().is_some() {}
        while let Outgoing::Bytes(bytes) = self.node.outgoing(link) {
            let len = bytes.len();
            self.node.sent(link, len);
        }
    }

    fn start(&mut self, nodes: &[u32], metrics: &[Metric], max_age: u64) -> QueryId {
        let nodes = nodes.iter().copied().map(NodeId).collect();
        let (metrics, max_age) = (metrics.to_vec(), Duration::from_secs(max_age));
        let request = Request { nodes, metrics, max_age, timeout: Duration::from_secs(30) };
        let query = self.queries.start(self.now, request, self.node.mesh()).unwrap();
        self.drain();
        query
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.queries.poll_transmit() {
            let (node, frame) = match transmit {
                Transmit::One(node, frame) => (node, Some(frame)),
                Transmit::All(frame) => (NodeId::NONE, Some(frame)),
                Transmit::Probe(node) => (node, None),
            };
            let query = frame.map(|frame| {
                let parcel = meshward_core::wire::Parcel::decode(&frame).unwrap();
                match Body::decode(parcel.kind, &parcel.body) {
                    Ok(Body::Query(query)) => query,
                    other => panic!("{other:?}"),
                }
            });
            self.sent.push((node, query));
        }
        while let Some(event) = self.queries.poll_event() {
            self.events.push(event);
        }
    }

    fn wait(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        for turn in 0.. {
            let Some(due) = self.queries.poll_timeout().filter(|due| *due <= until) else { break };
            assert!(turn < 1_000, "it turns in circles");
            self.now = self.now.max(due);
            self.queries.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// A node answers what it was asked last.
    fn answer(&mut self, id: u32, values: &[(Metric, i64)]) {
        let asked = |(node, query): &&(NodeId, Option<Query>)| {
            (*node == NodeId(id) || *node == NodeId::NONE) && query.is_some()
        };
        let q = self.sent.iter().rev().find(asked).unwrap().1.unwrap().q;
        self.queries.handle_answer(self.now, NodeId(id), q, Some(values));
        self.drain();
    }

    fn outcome(&self, query: QueryId, id: u32) -> Option<Outcome> {
        self.events.iter().find_map(|event| match event {
            QueryEvent::Outcome { query: of, node, outcome } if (*of, node.0) == (query, id) => {
                Some(outcome.clone())
            }
            _ => None,
        })
    }

    fn finished(&self, query: QueryId) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, QueryEvent::Finished { query: of, .. } if *of == query))
    }

    fn asked(&self, id: u32) -> usize {
        self.sent.iter().filter(|(node, query)| node.0 == id && query.is_some()).count()
    }

    fn probed(&self, id: u32) -> usize {
        self.sent.iter().filter(|(node, query)| node.0 == id && query.is_none()).count()
    }
}

const HEAP: (Metric, i64) = (Metric::FreeHeap, 100_000);
const RSSI: (Metric, i64) = (Metric::Rssi, -60);

#[test]
fn every_node_has_its_outcome_by_name() {
    let mut world = World::new(&[2, 3, 4, 5]);
    let report = Report {
        keyframe: true,
        flags: Flags::default(),
        age: Duration::from_secs(3),
        lost: 0,
        values: vec![HEAP, RSSI],
    };
    world.now = Instant::ORIGIN + Duration::from_secs(100);
    world.queries.handle_report(world.now, NodeId(5), &report);
    let query = world.start(&[2, 3, 4, 5, 9], &[], 10);
    let cached = Outcome::Cached { values: vec![HEAP, RSSI], age: Duration::from_secs(3) };
    assert_eq!(world.outcome(query, 5), Some(cached));
    assert_eq!(world.outcome(query, 9), Some(Outcome::Unreachable));
    world.wait(1);
    world.answer(2, &[HEAP]);
    let answered = Outcome::Answered { values: vec![HEAP], after: Duration::from_secs(1) };
    assert_eq!(world.outcome(query, 2), Some(answered));
    assert!(!world.finished(query), "a part of it is known");
    // A stock node comes back from a probe and answers nothing; another one does not even that.
    world.wait(5);
    assert_eq!((world.asked(3), world.probed(3), world.asked(5)), (2, 1, 0));
    let round_trip = Duration::from_millis(12);
    world.queries.handle_delay(world.now, NodeId(3), round_trip);
    world.wait(10);
    assert_eq!(world.outcome(query, 3), Some(Outcome::Probed { round_trip }));
    assert_eq!(world.outcome(query, 4), Some(Outcome::TimedOut));
    assert!(world.finished(query));
    assert_eq!((world.asked(4), world.probed(4)), (2, 1), "twice and no more");
    // The next time the stock node is only probed, until that is forgotten.
    world.sent.clear();
    let query = world.start(&[3], &[], 10);
    assert_eq!((world.asked(3), world.probed(3)), (0, 1));
    world.queries.handle_delay(world.now, NodeId(3), round_trip);
    world.drain();
    assert_eq!(world.outcome(query, 3), Some(Outcome::Probed { round_trip }));
    world.wait(601);
    world.start(&[3], &[], 10);
    assert_eq!(world.asked(3), 1);
}

#[test]
fn equal_queries_fly_once_and_what_is_fresh_is_not_asked() {
    let mut world = World::new(&[2]);
    let all = world.start(&[2], &[], 0);
    let same = world.start(&[2], &[], 0);
    let part = world.start(&[2], &[Metric::Rssi], 0);
    assert_eq!(world.asked(2), 1);
    world.answer(2, &[HEAP, RSSI]);
    for (query, values) in [(all, vec![HEAP, RSSI]), (same, vec![HEAP, RSSI]), (part, vec![RSSI])] {
        assert_eq!(world.outcome(query, 2), Some(Outcome::Answered { values, after: Duration::ZERO }));
        assert!(world.finished(query));
    }
    world.wait(5);
    let cached = world.start(&[2], &[Metric::FreeHeap], 5);
    assert!(matches!(world.outcome(cached, 2), Some(Outcome::Cached { .. })));
    // Too old, not known, or not to be taken from the cache: asked.
    for (metrics, max_age) in [(&[Metric::FreeHeap][..], 4), (&[Metric::Battery], 60), (&[], 0)] {
        let before = world.asked(2);
        let query = world.start(&[2], metrics, max_age);
        assert_eq!(world.asked(2), before + 1, "{metrics:?}");
        assert!(world.queries.cancel(world.now, query));
        world.drain();
        assert_eq!(world.outcome(query, 2), Some(Outcome::Cancelled));
    }
    assert_eq!(world.queries.poll_timeout(), None, "nothing is left of what was cancelled");
    let untold = world.start(&[2], &[Metric::RoundTrip], 0);
    assert_eq!(world.outcome(untold, 2), Some(Outcome::Declined), "what no node tells is not a wish for all");
}

#[test]
fn many_are_asked_by_one_broadcast_and_few_at_a_time() {
    let ids: Vec<u32> = (2..42).collect();
    let mut world = World::new(&ids);
    let query = world.start(&ids, &[Metric::Rssi], 0);
    let [(NodeId::NONE, Some(asked))] = world.sent[..] else { panic!("{:?}", world.sent) };
    assert_eq!((asked.window_ms, asked.mask), (1_000, query_mask(&[Metric::Rssi])));
    ids.iter().take(25).for_each(|id| world.answer(*id, &[RSSI]));
    world.sent.clear();
    world.wait(6);
    let most = world.sent.iter().filter(|(_, query)| query.is_some()).count();
    assert_eq!(most, ASKED_MAX, "fifteen are silent, and asked again a few at a time");
    world.wait(30);
    assert!(world.finished(query));
    assert_eq!(world.outcome(query, 41), Some(Outcome::TimedOut));
    // A few of many: one by one.
    world.sent.clear();
    world.start(&ids[..12], &[], 0);
    assert_eq!(world.sent.len(), ASKED_MAX);
    world.answer(2, &[RSSI]);
    assert_eq!(world.sent.len(), ASKED_MAX + 1, "as soon as one has answered");
}

#[test]
fn who_leaves_is_unreachable_and_there_are_bounds() {
    let mut world = World::new(&[2, 3]);
    let query = world.start(&[2, 3], &[], 0);
    let link = world.node.mesh().link_to(NodeId(2)).unwrap();
    world.node.handle_link_down(world.now, link);
    while world.node.poll_event().is_some() {}
    world.queries.handle_topology(world.now, world.node.mesh());
    world.drain();
    assert_eq!((world.outcome(query, 2), world.outcome(query, 3)), (Some(Outcome::Unreachable), None));
    let request = |count: u32| Request {
        nodes: (0..count).map(|id| NodeId(3 + id)).collect(),
        metrics: Vec::new(),
        max_age: Duration::ZERO,
        timeout: Duration::from_secs(30),
    };
    let start =
        |world: &mut World, count| world.queries.start(world.now, request(count), world.node.mesh()).err();
    assert_eq!(start(&mut world, 2_501), Some(Refused::TooMany));
    let refused = (0..Queries::QUERIES_MAX).filter(|_| start(&mut world, 1) == Some(Refused::Busy)).count();
    assert_eq!(refused, 1, "one was under way");
}

#[test]
fn a_node_of_ours_is_asked_and_answers() {
    // Two real nodes on one wire: what is sent is what is understood.
    let mut world = World::new(&[]);
    let config = NodeConfig::new(MeshConfig::node(NodeId(2), 2)).with_telemetry(Config::default());
    let mut other = Node::new(config);
    other.set_metric(world.now, Metric::Battery, 66);
    let here = world.node.handle_link_up(world.now, LinkRole::Listener).unwrap();
    while world.node.poll_event().is_some() {}
    let there = other.handle_link_up(world.now, LinkRole::Dialler).unwrap();
    while other.poll_event().is_some() {}
    let mut collector = Collector::new(GATEWAY);
    let mut query = None;
    for round in 0..40 {
        world.now = world.now + Duration::from_millis(100);
        if let Outgoing::Bytes(bytes) = world.node.outgoing(here) {
            let bytes = bytes.to_vec();
            world.node.sent(here, bytes.len());
            other.handle_data(world.now, there, &bytes);
            while other.poll_event().is_some() {}
        }
        if let Outgoing::Bytes(bytes) = other.outgoing(there) {
            let bytes = bytes.to_vec();
            other.sent(there, bytes.len());
            world.node.handle_data(world.now, here, &bytes);
            while let Some(event) = world.node.poll_event() {
                if let Event::Package { envelope, bytes } = event {
                    collector.handle_package(world.now, envelope.kind, &bytes);
                }
            }
        }
        for node in [&mut world.node, &mut other] {
            node.handle_timeout(world.now);
            while node.poll_event().is_some() {}
        }
        while let Some(CollectorEvent::Answer { node, q, values }) = collector.poll_event() {
            world.queries.handle_answer(world.now, node, q, values.as_deref());
        }
        if round == 20 {
            let request = Request {
                nodes: vec![NodeId(2)],
                metrics: vec![Metric::Battery],
                max_age: Duration::ZERO,
                timeout: Duration::from_secs(5),
            };
            query = world.queries.start(world.now, request, world.node.mesh()).ok();
            while let Some(Transmit::One(node, frame)) = world.queries.poll_transmit() {
                world.node.send_package(node, &frame, Default::default()).unwrap();
            }
        }
        world.drain();
    }
    let outcome = world.outcome(query.unwrap(), 2);
    assert!(
        matches!(&outcome, Some(Outcome::Answered { values, .. }) if *values == [(Metric::Battery, 66)]),
        "{outcome:?}"
    );
}
