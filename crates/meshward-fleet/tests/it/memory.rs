//! A gateway that restarts: what it knew it knows again, and nobody is told of anything because of the restart.

use meshward_core::mesh::{LinkId, LinkRole, MeshConfig, MeshEvent};
use meshward_core::node::{Event as Happening, Node, NodeConfig};
use meshward_core::telemetry::{BODY_MAX, Body, Field, Flags, Head, Metric, Numbers, Packet};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, NodeSync, To, Tree, kind, peek};
use meshward_fleet::Fleet;
use meshward_fleet::alert::{Alert, Purpose, Severity, State, Window};
use meshward_fleet::condition::Subject;
use meshward_fleet::fleet::{Event, Settings, Transmit};
use meshward_fleet::liveness;
use meshward_fleet::memory::{Dirty, Memory, Moment, Restored, Stamp};
use meshward_fleet::topology::What;

const GATEWAY: NodeId = NodeId(1);
/// Long after the origin of the clock, so that what was before has a place on it.
const START_S: u64 = 400 * 86_400;
const CIVIL: u64 = 1_800_000_000_000;
/// Two branches: 10 with 11 to 14 in a row, 20 with 21 and 22.
const TREE: &[(u32, u32)] = &[(10, 1), (11, 10), (12, 11), (13, 12), (14, 13), (20, 10), (21, 20), (22, 20)];
const WITHOUT_BRANCH: &[(u32, u32)] = &[(10, 1), (11, 10), (12, 11), (13, 12), (14, 13)];

fn second(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A gateway's fleet beside a node with one neighbour, and nodes that report each 30 s.
struct Story {
    now: Instant,
    /// Civil time at the start.
    civil: u64,
    node: Node,
    link: LinkId,
    fleet: Fleet,
    /// Nodes that send a keyframe each 30 s.
    reports: Vec<u32>,
    seq: u8,
    /// When the story began, for uptimes.
    began: u64,
    told: Vec<String>,
    policies: Vec<NodeId>,
}

impl Story {
    /// A gateway that starts at this civil time, in milliseconds.
    fn start(civil: u64, memory: Option<&Memory>) -> (Self, Restored) {
        let mut node = Node::new(NodeConfig::new(MeshConfig::gateway(GATEWAY, 1)));
        let now = Instant::ORIGIN + second(START_S);
        let link = node.handle_link_up(now, LinkRole::Listener).unwrap();
        while node.poll_event().is_some() {}
        let mut fleet = Fleet::new(now, GATEWAY, 1, Settings::default()).unwrap();
        let moment = Moment { now, civil: Stamp(civil) };
        let put = memory.map(|memory| fleet.restore(moment, memory)).unwrap_or_default();
        let (reports, told, policies) = (Vec::new(), Vec::new(), Vec::new());
        (Self { now, civil, node, link, fleet, reports, seq: 0, began: civil, told, policies }, put)
    }

    /// The same mesh after the gateway was away for so long; its clock is ahead of the true one by `clock`.
    fn restart(&self, away: Duration, clock_s: i64) -> (Self, Restored) {
        let memory = self.fleet.memory(self.moment());
        let civil = self.moment().civil.0 + away.as_millis();
        let (mut story, put) = Self::start(civil.saturating_add_signed(clock_s * 1_000), Some(&memory));
        (story.reports, story.seq, story.began) = (self.reports.clone(), self.seq, self.began);
        story.began = story.began.saturating_add_signed(clock_s * 1_000);
        (story, put)
    }

    fn moment(&self) -> Moment {
        let since = self.now.since(Instant::ORIGIN + second(START_S));
        Moment { now: self.now, civil: Stamp(self.civil + since.as_millis()) }
    }

    fn tree(&mut self, links: &[(u32, u32)]) {
        fn branch(top: u32, links: &[(u32, u32)]) -> Tree {
            let mut tree = Tree::leaf(NodeId(top));
            links
                .iter()
                .filter(|(_, parent)| *parent == top)
                .for_each(|(id, _)| tree.graft(&branch(*id, links)));
            tree
        }
        let tree = branch(10, links);
        let mut frame = NodeSync { reply: false, dest: GATEWAY, from: NodeId(10), tree }.encode();
        frame.push(0);
        self.node.handle_data(self.now, self.link, &frame);
        while let Some(event) = self.node.poll_event() {
            self.fleet.handle_event(self.now, self.node.mesh(), &event);
        }
        self.drain();
    }

    fn package(&mut self, bytes: Vec<u8>) {
        let envelope = peek(&bytes).unwrap();
        self.fleet.handle_event(self.now, self.node.mesh(), &Happening::Package { envelope, bytes });
        self.drain();
    }

    /// A keyframe: the node has run since the story began, and has this much heap.
    fn keyframe(&mut self, node: u32, uptime_s: u64, heap: i64) {
        let mut numbers = Numbers::default();
        for (metric, value) in [
            (Metric::Uptime, uptime_s as i64),
            (Metric::FreeHeap, heap),
            (Metric::Boots, 3),
            (Metric::Rssi, -60),
        ] {
            let bit = Field::bit(metric).unwrap();
            numbers.set(bit, Field::ALL[bit].number(value));
        }
        self.seq = self.seq.wrapping_add(1);
        let head =
            Head { keyframe: true, seq: self.seq, generation: self.seq, flags: Flags::default(), age: 0 };
        let (packet, _) = Packet::build(head, &numbers, None, u32::MAX, 0, BODY_MAX - 2);
        self.package(Body::Packet(packet).frame(NodeId(node), To::One(GATEWAY)));
    }

    fn uptime(&self) -> u64 {
        5_000 + self.moment().civil.0.saturating_sub(self.began) / 1_000
    }

    /// Time passes, nodes report and answer.
    fn pass(&mut self, span_s: u64) {
        for _ in 0..span_s / 30 {
            for node in self.reports.clone() {
                self.keyframe(node, self.uptime(), 150_000);
            }
            let until = self.now + second(30);
            while let Some(due) = self.fleet.poll_timeout().filter(|due| *due <= until) {
                self.now = self.now.max(due);
                self.fleet.handle_timeout(self.now);
                self.drain();
            }
            self.now = until;
        }
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.fleet.poll_transmit() {
            match transmit {
                Transmit::One(node, frame)
                    if peek(&frame).is_some_and(|e| e.kind == kind::TELEMETRY_POLICY) =>
                {
                    self.policies.push(node);
                    // Those that report take their policy.
                    let number = self.fleet.memory_of_mesh().policies;
                    if self.reports.contains(&node.0) {
                        self.package(Body::Ack { number, taken: true }.frame(node, To::One(GATEWAY)));
                    }
                }
                Transmit::Probe(node) if self.fleet.topology().place(node).is_some() => {
                    let answer = MeshEvent::Delay { from: node, round_trip: Duration::from_millis(40) };
                    self.fleet.handle_event(self.now, self.node.mesh(), &Happening::Mesh(answer));
                }
                _ => {}
            }
        }
        while let Some(event) = self.fleet.poll_event() {
            match event {
                Event::Notification(message) => self.told.push(format!("message {}", message.rule)),
                Event::Alert(change) if change.to != Some(State::Pending) => {
                    let to = change.to.map_or("gone", State::name);
                    self.told.push(format!("{} {} {to}", change.rule, change.subject));
                }
                Event::Topology(event) if event.what == What::Rebooted => {
                    self.told.push(format!("reboot {}", event.node));
                }
                _ => {}
            }
        }
    }

    fn alert(&self, rule: &str, node: u32) -> Option<Alert> {
        let about = |alert: &&Alert| alert.rule == rule && alert.subject == Subject::Node(NodeId(node));
        self.fleet.alerts().alerts().find(about).cloned()
    }

    fn state(&self, node: u32) -> liveness::State {
        self.fleet.liveness().get(NodeId(node)).unwrap().state
    }
}

/// A mesh that has gone on for half an hour: a lost branch, weak memory that is known of, labels, a silence, rules.
fn busy() -> Story {
    let (mut story, _) = Story::start(CIVIL, None);
    story.reports = vec![10, 11, 12, 13, 14];
    story.tree(TREE);
    story.pass(180);
    story.tree(WITHOUT_BRANCH);
    for _ in 0..10 {
        story.keyframe(11, story.uptime(), 5_000);
        story.reports = vec![10, 12, 13, 14];
        story.pass(30);
    }
    let low = story.alert("low_heap", 11).unwrap();
    assert_eq!(low.state, State::ActiveUnack);
    let now = story.now;
    story.fleet.alerts_mut(now, |engine| {
        engine.acknowledge(now, low.fingerprint, "ann").unwrap();
        engine.comment(now, low.fingerprint, "ann", "I look at it").unwrap();
        engine.assign(low.fingerprint, Some("bob")).unwrap();
        let window = Window {
            purpose: Purpose::Silence,
            matchers: Vec::new(),
            nodes: [NodeId(14)].into(),
            from: now,
            until: now + second(7_200),
            by: "ann".into(),
            why: "painting".into(),
        };
        engine.open(now, window).unwrap();
        engine.open_for_update(now, [NodeId(13)].into(), second(7_200), "roll-out 1").unwrap();
    });
    let registry = story.fleet.registry_mut();
    registry.set_name(NodeId(12), "kitchen").unwrap();
    registry.add_tag(NodeId(12), "indoor").unwrap();
    registry.set_notes(NodeId(12), "behind the oven").unwrap();
    story.reports = vec![10, 11, 12, 13, 14];
    story.told.clear();
    story
}

#[test]
fn a_busy_fleet_goes_there_and_back() {
    let story = busy();
    let before = story.fleet.memory(story.moment());
    let (after, put) = story.restart(Duration::ZERO, 0);
    assert_eq!((put.nodes, put.windows, put.skipped, put.corrected, put.over), (8, 1, 0, 0, 0), "{put:?}");
    assert_eq!(put.alerts, before.alerts.len());
    let mut again = after.fleet.memory(after.moment());
    // Nobody is in the tree yet, and coming back is no joining.
    for (node, was) in again.nodes.iter_mut().zip(&before.nodes) {
        assert!(!node.present && node.joins == was.joins - u32::from(was.present));
        (node.present, node.joins) = (was.present, was.joins);
    }
    // What a window of an update muted is not muted by it now.
    assert_eq!(again.nodes, before.nodes);
    assert_eq!(again.alerts, before.alerts);
    assert_eq!((again.windows, again.mesh, again.rules), (before.windows, before.mesh, before.rules));
    let kitchen = after.fleet.registry().get(NodeId(12)).unwrap();
    assert!(kitchen.named_by_people && kitchen.tags.contains("indoor") && kitchen.joins == 0);
}

#[test]
fn a_restart_raises_nothing_and_greets_nobody_again() {
    let story = busy();
    let (mut after, _) = story.restart(second(600), 0);
    assert_eq!(
        after.state(20),
        liveness::State::Learning,
        "nobody is offline before the mesh has shown itself"
    );
    let heard = after.fleet.liveness().get(NodeId(12)).unwrap().heard.unwrap();
    assert!((600..700).contains(&(after.now.since(heard).as_micros() / 1_000_000)), "the age goes on");
    after.tree(WITHOUT_BRANCH);
    // Meanwhile node 11 has memory again.
    after.pass(900);
    let unexpected: Vec<&String> = after.told.iter().filter(|line| !line.contains("low_heap")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert_eq!(after.told, ["low_heap node 11 cleared_ack", "message low_heap"], "its cause has gone");
    assert!(after.policies.iter().all(|node| node.0 >= 20), "told again: {:?}", after.policies);
    // The branch is still one loss with one cause, and was found again before it was given up.
    let branch = after.fleet.alerts().alerts().find(|alert| alert.rule == "branch_lost").unwrap().clone();
    assert_eq!((branch.state, branch.times), (State::ActiveUnack, 1));
    assert_eq!(after.state(21), liveness::State::Unreachable { through: NodeId(20) });
    assert_eq!(after.fleet.incidents().open().map(|incident| incident.id).collect::<Vec<_>>(), [2]);
    // It comes back: everything is over.
    after.told.clear();
    after.tree(TREE);
    after.pass(300);
    assert!(after.told.iter().any(|line| line.starts_with("branch_lost") && line.ends_with("cleared_unack")));
    assert!(after.fleet.alerts().alerts().all(|alert| !alert.state.is_active()));
}

#[test]
fn what_is_known_of_stays_known_of_while_it_lasts() {
    let mut story = busy();
    story.reports = vec![10, 12, 13, 14];
    let (mut after, _) = story.restart(second(60), 0);
    after.tree(WITHOUT_BRANCH);
    for _ in 0..20 {
        after.keyframe(11, after.uptime(), 5_000);
        after.pass(30);
    }
    let low = after.alert("low_heap", 11).unwrap();
    assert_eq!((low.state, low.times), (State::ActiveAck, 1));
    assert_eq!((low.known_by.as_deref(), low.assigned.as_deref()), (Some("ann"), Some("bob")));
    assert_eq!(low.comments.front().map(|comment| comment.text.as_str()), Some("I look at it"));
    assert!(after.told.is_empty(), "{:?}", after.told);
    assert_eq!(after.fleet.alerts().windows().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
    // The twin: without a memory the same mesh raises it all again.
    let (mut without, _) = Story::start(CIVIL + 3_600_000, None);
    without.reports = story.reports.clone();
    without.tree(WITHOUT_BRANCH);
    for _ in 0..20 {
        without.keyframe(11, without.uptime(), 5_000);
        without.pass(30);
    }
    assert_eq!(without.alert("low_heap", 11).unwrap().state, State::ActiveUnack);
    assert!(!without.told.is_empty() && without.policies.iter().any(|node| node.0 < 20));
}

#[test]
fn a_state_that_nobody_finds_again_is_over() {
    let story = busy();
    let (mut after, _) = story.restart(second(60), 0);
    // The branch was back before the gateway was.
    after.tree(TREE);
    after.pass(120);
    let active = |story: &Story| {
        let alerts = story.fleet.alerts().alerts().filter(|alert| alert.state.is_active());
        alerts.map(|alert| alert.rule.clone()).collect::<Vec<_>>()
    };
    assert!(
        !active(&after).contains(&"node_offline".to_owned()),
        "the tree shows them: {:?}",
        active(&after)
    );
    after.pass(720);
    assert_eq!(active(&after), Vec::<String>::new(), "{:?}", after.told);
    assert!(after.told.iter().all(|line| !line.ends_with("active_unack")), "{:?}", after.told);
}

#[test]
fn a_clock_that_was_set_makes_no_restarts_and_no_times_to_come() {
    for clock_s in [-86_400, -1, 0, 1, 86_400] {
        let story = busy();
        let (mut after, put) = story.restart(second(60), clock_s);
        assert_eq!(put.skipped, 0, "{clock_s}");
        assert_eq!(put.corrected > 0, clock_s < -60, "{clock_s}: {put:?}");
        let now = after.now;
        for (node, status) in after.fleet.liveness().iter() {
            assert!(status.heard.is_none_or(|at| at <= now) && status.since <= now, "{clock_s}: {node}");
        }
        assert!(
            after.fleet.registry().iter().all(|(_, record)| record.first_seen <= now && record.since <= now)
        );
        after.tree(WITHOUT_BRANCH);
        after.pass(600);
        assert!(!after.told.iter().any(|line| line.starts_with("reboot")), "{clock_s}: {:?}", after.told);
        assert!(!after.told.iter().any(|line| line.ends_with("active_unack")), "{clock_s}: {:?}", after.told);
    }
}

#[test]
fn a_restart_of_a_node_while_the_gateway_was_away_is_found() {
    let story = busy();
    let (mut after, _) = story.restart(second(7_200), 0);
    after.tree(WITHOUT_BRANCH);
    after.reports.clear();
    after.keyframe(12, 1_200, 150_000);
    after.keyframe(13, after.uptime(), 150_000);
    assert_eq!(after.told, ["reboot 12"]);
}

#[test]
fn what_changes_is_told_once_and_bounded() {
    let mut story = busy();
    let drain = |story: &mut Story| std::iter::from_fn(|| story.fleet.poll_dirty()).collect::<Vec<_>>();
    let all = drain(&mut story);
    assert!(all.contains(&Dirty::Mesh) && all.contains(&Dirty::Window(1)), "{all:?}");
    for id in [10, 11, 12, 13, 14, 20, 21, 22] {
        assert!(all.contains(&Dirty::Node(NodeId(id))), "{id}");
    }
    assert_eq!(drain(&mut story), []);
    story.fleet.registry_mut().add_tag(NodeId(12), "oven").unwrap();
    story.fleet.registry_mut().add_tag(NodeId(12), "oven").unwrap();
    assert_eq!(drain(&mut story), [Dirty::Node(NodeId(12))]);
    let low = story.alert("low_heap", 11).unwrap().fingerprint;
    let now = story.now;
    story.fleet.alerts_mut(now, |engine| engine.comment(now, low, "bob", "done")).unwrap();
    story.fleet.alerts_mut(now, |engine| engine.close(now, 1)).unwrap();
    assert_eq!(drain(&mut story), [Dirty::Alert(low), Dirty::Window(1)]);
    assert_eq!(story.fleet.memory_of_window(story.moment(), 1), None, "it is over");
    assert!(story.fleet.forget(now, NodeId(22)));
    assert!(drain(&mut story).contains(&Dirty::Node(NodeId(22))));
    assert_eq!(story.fleet.memory_of_node(story.moment(), NodeId(22)), None);
    // Heard each 30 s, written each minute.
    story.pass(60);
    let nodes = drain(&mut story).iter().filter(|dirty| matches!(dirty, Dirty::Node(_))).count();
    assert_eq!(nodes, 5);
    let rules = story.fleet.alerts().rules().to_vec();
    story.fleet.alerts_mut(now, |engine| engine.set_rules(now, rules)).unwrap();
    assert!(drain(&mut story).contains(&Dirty::Rules) && story.fleet.memory_of_rules().is_some());
}

#[test]
fn a_memory_that_makes_no_sense_is_bounded_and_counted() {
    let story = busy();
    let mut memory = story.fleet.memory(story.moment());
    let one = memory.nodes[0].clone();
    let alert = memory.alerts[0].clone();
    let window = memory.windows[0].clone();
    let (nodes, alerts) = (memory.nodes.len(), memory.alerts.len());
    memory.nodes.push(one.clone());
    for id in [0, GATEWAY.0] {
        memory.nodes.push(meshward_fleet::memory::NodeMemory { node: NodeId(id), ..one.clone() });
    }
    let mut odd = meshward_fleet::memory::NodeMemory { node: NodeId(99), ..one.clone() };
    (odd.first_seen, odd.last_seen, odd.since) = (Stamp(u64::MAX), Some(Stamp(u64::MAX)), Stamp(0));
    (odd.name, odd.notes) = (Some("a\u{7}".into()), "ä".repeat(9_000));
    odd.tags = (0..99).map(|n| format!("t{n}")).collect();
    odd.identity.version = Some("v".repeat(9_000));
    (odd.parent, odd.joins, odd.firmware_md5) = (Some(NodeId(99)), u32::MAX, Some("no sum".into()));
    odd.start.uptime_s = Some((u64::MAX, Stamp(u64::MAX)));
    for usual in &mut odd.usual {
        (usual.mean, usual.scale) = (f32::NAN, -1.0);
    }
    odd.reporting = Some(meshward_fleet::memory::Reporting { period_ms: 0, told: Stamp(u64::MAX) });
    memory.nodes.push(odd);
    // Twice the same, a rule that is no more, a node that nobody knows, a text without end.
    memory.alerts.push(alert.clone());
    let other = |rule: &str, node: u32| meshward_fleet::memory::AlertMemory {
        rule: rule.into(),
        subject: Subject::Node(NodeId(node)),
        evidence: "e".repeat(9_000),
        value: Some(f64::NAN),
        severity: Severity::Critical,
        changes: vec![Stamp(u64::MAX); 99],
        ..alert.clone()
    };
    memory.alerts.extend([other("nonsense", 10), other("low_heap", 12_345), other("low_heap", 99)]);
    let mut windows = vec![window.clone(), window.clone(), window.clone()];
    (windows[0].number, windows[1].until, windows[2].number) = (0, Stamp(5), 7);
    windows[2].until = windows[2].from;
    memory.windows.extend(windows);
    memory.windows.extend((100..2_000).map(|number| meshward_fleet::memory::WindowMemory {
        number,
        until: Stamp(u64::MAX),
        ..window.clone()
    }));
    memory.rules = story.fleet.alerts().rules().first().map(|rule| vec![rule.clone(), rule.clone()]);
    let (mut after, put) = Story::start(CIVIL + 3_600_000, Some(&memory));
    assert_eq!((put.nodes, put.rules), (nodes + 1, false));
    assert_eq!((put.alerts, put.over), (alerts + 1, 3), "{put:?}");
    assert_eq!((put.windows, after.fleet.alerts().windows().count()), (500, 500));
    assert!(put.skipped > 1_400 && put.corrected >= 90, "{put:?}");
    let record = after.fleet.registry().get(NodeId(99)).unwrap();
    assert!(record.name.is_none() && record.notes.len() <= 2_048 && record.tags.len() == 16);
    assert!(record.first_seen <= after.now && record.identity.version.as_ref().unwrap().len() == 64);
    after.reports = vec![10, 99];
    after.tree(&[(10, 1), (99, 10)]);
    after.pass(3_600);
    assert_eq!(after.state(99), liveness::State::Online);
}
