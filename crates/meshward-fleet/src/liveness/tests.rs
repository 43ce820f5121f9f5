use super::*;
use crate::topology::Topology;
use crate::topology::tests::tree;

const PERIOD: u64 = 30;

/// A gateway with node 1, and what it came to think.
struct Story {
    liveness: Liveness,
    topology: Topology,
    now: Instant,
    /// `second node state`, since the last time it was asked.
    told: Vec<String>,
    probed: Vec<u32>,
    /// Who answers probes, and who reports each [`PERIOD`] at his id's second.
    answers: Vec<u32>,
    reports: Vec<u32>,
}

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

impl Story {
    /// After the time of learning, at second 100; all report and answer.
    fn new(links: &[(u32, u32)]) -> Self {
        let mut story = Self::starting(links);
        story.until(100);
        story.told.clear();
        story
    }

    fn starting(links: &[(u32, u32)]) -> Self {
        let ids: Vec<u32> = links.iter().map(|(id, _)| *id).collect();
        let mut story = Self {
            liveness: Liveness::new(NodeId(1), Config::default()),
            topology: Topology::new(NodeId(1)),
            now: at(0),
            told: Vec::new(),
            probed: Vec::new(),
            answers: ids.clone(),
            reports: ids.clone(),
        };
        story.links(links);
        for id in ids {
            story.liveness.expect(at(0), NodeId(id), Some(Duration::from_secs(PERIOD)));
        }
        story
    }

    fn links(&mut self, links: &[(u32, u32)]) {
        self.topology.handle_tree(self.now, &tree(links));
        self.liveness.handle_topology(self.now, &self.topology);
        self.note();
    }

    fn silent(&mut self, ids: &[u32]) {
        self.answers.retain(|id| !ids.contains(id));
        self.reports.retain(|id| !ids.contains(id));
    }

    fn note(&mut self) {
        while let Some(change) = self.liveness.poll_event() {
            let second = change.at.as_micros() / 1_000_000;
            let through = match change.to {
                State::Unreachable { through } => format!(" {through}"),
                _ => String::new(),
            };
            self.told.push(format!("{second} {} {}{through}", change.node, change.to.name()));
        }
    }

    /// Whether all on the way to a node answer.
    fn answers(&self, id: NodeId) -> bool {
        let mut at = id;
        while at != NodeId(1) {
            let Some(place) = self.topology.place(at).filter(|_| self.answers.contains(&at.0)) else {
                return false;
            };
            at = place.parent;
        }
        true
    }

    fn until(&mut self, second: u64) {
        while self.now < at(second) {
            self.now = self.now + Duration::from_millis(250);
            let millis = self.now.as_micros() / 1_000;
            for id in self.reports.clone() {
                if millis % (1_000 * PERIOD) == 1_000 * u64::from(id) % (1_000 * PERIOD)
                    && self.answers(NodeId(id))
                {
                    self.liveness.heard(self.now, NodeId(id));
                }
            }
            self.liveness.handle_timeout(self.now);
            while let Some(probe) = self.liveness.poll_probe() {
                let id = probe.node;
                self.probed.push(id.0);
                if self.answers(id) {
                    self.liveness.probe_answered(self.now, id);
                }
            }
            self.note();
        }
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    fn state(&self, id: u32) -> State {
        self.liveness.get(NodeId(id)).unwrap().state
    }
}

/// 1 over 2 and 9; 2 over 3 and 4, 3 over 5.
const SIX: [(u32, u32); 5] = [(2, 1), (9, 1), (3, 2), (4, 2), (5, 3)];

#[test]
fn a_node_that_falls_silent_is_suspect_then_offline() {
    let mut story = Story::new(&SIX);
    story.silent(&[5]);
    story.until(200);
    let told = story.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "128 5 suspect", "heard at 95, each 30 s, 3 s of grace");
    assert!(told[1].ends_with(" 5 offline"), "{told:?}");
    let after: u64 = told[1].split(' ').next().unwrap().parse().unwrap();
    assert!((136..=145).contains(&after), "{told:?}");
    let others: Vec<u32> = story.probed.iter().copied().filter(|id| *id != 5).collect();
    assert_eq!(others, [3], "whether the one above lives must be known, and of that only");
    story.answers.push(5);
    story.reports.push(5);
    story.until(220);
    assert_eq!(story.told(), ["215 5 online"]);
}

#[test]
fn an_answer_or_a_frame_from_behind_it_proves_life() {
    // 3 says nothing by itself, but 5 behind it does.
    let mut story = Story::new(&SIX);
    story.reports.retain(|id| *id != 3);
    story.until(1_000);
    assert_eq!((story.told(), story.probed.len()), (vec![], 0));
    // 4 and 9 say nothing and have nobody below, but they answer.
    story.reports.retain(|id| *id != 4);
    story.until(1_200);
    assert!(story.told().iter().all(|told| told.ends_with("4 suspect") || told.ends_with("4 online")));
    assert!((4..=8).contains(&story.probed.len()), "one each time: {:?}", story.probed);
}

#[test]
fn a_lost_branch_has_one_cause_and_the_rest_inherits() {
    for silent in [vec![2], vec![2, 3, 4, 5]] {
        let mut story = Story::new(&SIX);
        story.silent(&silent);
        story.until(200);
        let told = story.told();
        assert_eq!(story.state(2), State::Offline, "{told:?}");
        for id in [3, 4, 5] {
            assert_eq!(story.state(id), State::Unreachable { through: NodeId(2) }, "{told:?}");
        }
        assert_eq!(told.iter().filter(|told| told.ends_with("offline")).count(), 1, "{told:?}");
        let before = story.probed.len();
        story.links(&[(9, 1)]);
        story.until(1_000);
        assert_eq!((story.told(), story.probed.len()), (vec![], before), "they are not asked for any more");
        story.answers = vec![2, 3, 4, 5, 9];
        story.links(&SIX);
        let mut told = story.told();
        told.sort();
        assert_eq!(told, ["1000 2 online", "1000 3 online", "1000 4 online", "1000 5 online"]);
    }
}

#[test]
fn the_one_in_the_middle_is_the_cause() {
    let mut story = Story::new(&SIX);
    story.silent(&[3]);
    story.until(200);
    assert_eq!(story.state(3), State::Offline);
    assert_eq!(story.state(5), State::Unreachable { through: NodeId(3) });
    assert!([2, 4, 9].iter().all(|id| story.state(*id) == State::Online), "{:?}", story.told());
}

#[test]
fn who_is_behind_one_that_is_asked_is_asked_no_more() {
    // The last of a chain is the first that is missed when the first is lost: the others have just reported.
    let mut story = Story::new(&[(20, 1), (22, 20), (24, 22), (5, 24)]);
    story.until(115);
    story.silent(&[20]);
    story.until(146);
    let count = |id: u32| story.probed.iter().filter(|probed| **probed == id).count();
    assert_eq!([count(5), count(24), count(22)], [1, 1, 1], "{:?}", story.probed);
    assert!(count(20) > 2, "it takes more to be sure");
    let told = story.told();
    assert!(told.iter().any(|told| told.ends_with(" 20 offline")), "before its report is due: {told:?}");
    for id in [22, 24, 5] {
        assert_eq!(story.state(id), State::Unreachable { through: NodeId(20) }, "{told:?}");
    }
}

#[test]
fn who_leaves_the_tree_is_offline_at_once() {
    let mut story = Story::new(&SIX);
    story.links(&[(9, 1)]);
    assert_eq!(
        story.told(),
        ["100 2 offline", "100 3 unreachable 2", "100 4 unreachable 2", "100 5 unreachable 2"]
    );
    // 2 returns without 5, which has its time to follow.
    story.links(&[(9, 1), (2, 1), (3, 2), (4, 2)]);
    story.told();
    story.silent(&[5]);
    story.until(400);
    assert_eq!(story.told(), ["175 5 offline"], "the one that it was lost for is back");
    // Another parent is as good as the same one.
    story.links(&[(9, 1), (2, 1), (3, 9), (4, 2), (5, 3)]);
    assert_eq!(story.told(), ["400 5 online"]);
    story.links(&[]);
    assert!([2, 3, 4, 5, 9].iter().all(|id| story.state(*id) == State::Unreachable { through: NodeId(1) }));
}

#[test]
fn who_does_not_follow_its_parent_is_offline_by_itself() {
    let mut story = Story::new(&[(2, 1), (3, 2), (9, 1)]);
    story.links(&[(9, 1)]);
    story.links(&[(2, 1), (9, 1)]);
    story.told();
    story.silent(&[3]);
    story.until(200);
    assert_eq!(story.told(), ["175 3 offline"]);
}

#[test]
fn after_a_start_nobody_is_offline_before_the_mesh_has_shown_itself() {
    let mut story = Story::starting(&[(2, 1)]);
    story.liveness.restore(at(0), NodeId(3), Kept::default());
    story.liveness.restore(at(0), NodeId(4), Kept::default());
    assert!(story.liveness.is_learning());
    story.until(20);
    story.links(&[]);
    story.links(&[(2, 1), (3, 2)]);
    story.until(70);
    assert_eq!(story.told(), ["0 2 online", "20 2 learning", "20 2 online", "20 3 online"]);
    story.answers.push(3);
    story.until(80);
    assert_eq!(story.told(), ["75 4 offline"], "only who is not there");
    // A gateway without a mesh learns for ever.
    let mut alone = Story::starting(&[]);
    alone.liveness.restore(at(0), NodeId(3), Kept::default());
    alone.until(1_000);
    assert_eq!((alone.told(), alone.state(3)), (vec![], State::Learning));
}

#[test]
fn what_was_lost_before_a_start_is_lost_as_it_was() {
    let mut story = Story::starting(&[(2, 1)]);
    let below = |parent: u32| Kept { parent: Some(NodeId(parent)), ..Kept::default() };
    let kept = [
        (3, below(2)),
        (4, below(3)),
        (5, Kept { lost: Some(Instant::ORIGIN), ..below(4) }),
        // Two that hang below each other, which nobody can.
        (7, below(8)),
        (8, below(7)),
        (9, Kept { sleep: Some(Some(at(10))), ..Kept::default() }),
    ];
    for (id, kept) in kept {
        assert!(story.liveness.restore(at(0), NodeId(id), kept));
        assert_eq!(story.liveness.kept(NodeId(id)).map(|kept| kept.parent), Some(kept.parent));
    }
    assert!(!story.liveness.restore(at(0), NodeId(3), below(9)), "it is known");
    story.links(&[(2, 1)]);
    story.until(160);
    let told = story.told();
    assert_eq!(
        told,
        [
            "0 2 online",
            "75 3 offline",
            "75 4 unreachable 3",
            "75 5 unreachable 3",
            "75 7 offline",
            "75 8 offline",
            "150 9 offline"
        ]
    );
    assert_eq!(story.state(5), State::Unreachable { through: NodeId(3) });
    assert_eq!(story.liveness.get(NodeId(5)).map(|status| status.since), Some(Instant::ORIGIN));
}

#[test]
fn sleepers_are_not_offline_until_they_oversleep() {
    let mut story = Story::new(&SIX);
    story.liveness.sleeps(at(100), NodeId(5), Some(Duration::from_secs(600)));
    story.silent(&[5]);
    story.links(&[(2, 1), (9, 1), (3, 2), (4, 2)]);
    story.until(834);
    assert_eq!(story.told(), ["100 5 sleeping"]);
    story.until(900);
    assert_eq!(story.told(), ["835 5 offline"], "600 s, a tenth, and the time to be taken in again");
    let mut back = Story::new(&SIX);
    back.liveness.sleeps(at(100), NodeId(5), None);
    back.silent(&[5]);
    back.until(10_000);
    back.answers.push(5);
    back.reports.push(5);
    back.until(10_040);
    assert_eq!(back.told(), ["100 5 sleeping", "10025 5 online"]);
}

#[test]
fn nodes_that_report_nothing_are_swept_the_deepest_first() {
    let mut story = Story::new(&SIX);
    SIX.iter().for_each(|(id, _)| story.liveness.expect(at(100), NodeId(*id), None));
    story.reports.clear();
    story.until(100 + 3_600);
    assert_eq!(story.told(), [""; 0]);
    let count = |id: u32| story.probed.iter().filter(|probed| **probed == id).count();
    assert_eq!((count(2), count(3)), (0, 0), "their leaves prove them");
    assert!([4, 5, 9].iter().all(|id| (11..=13).contains(&count(*id))), "{:?}", story.probed);
    story.silent(&[5]);
    story.until(100 + 3_600 + 330);
    assert!(story.told().last().unwrap().ends_with("5 offline"));
    story.answers.push(5);
    story.until(100 + 3_600 + 1_000);
    assert!(story.told().last().unwrap().ends_with("5 online"), "it is asked now and then all the same");
}

#[test]
fn without_a_budget_nobody_is_judged() {
    let mut story = Story::new(&SIX);
    story.silent(&[5]);
    for quarter in 0..1_200 {
        let now = at(100) + Duration::from_millis(250 * quarter);
        for id in [2, 3, 4, 9] {
            story.liveness.heard(now, NodeId(id));
        }
        story.liveness.handle_timeout(now);
        while let Some(probe) = story.liveness.poll_probe() {
            story.liveness.probe_refused(now, probe.node);
        }
    }
    assert_eq!(story.state(5), State::Suspect);
}

#[test]
fn clocks_that_jump_and_strangers_do_nothing() {
    let mut story = Story::new(&SIX);
    story.liveness.heard(at(5), NodeId(5));
    story.liveness.heard(at(100), NodeId(77));
    story.liveness.probe_answered(at(100), NodeId(77));
    story.liveness.sleeps(at(100), NodeId(77), None);
    assert_eq!(story.liveness.get(NodeId(77)), None);
    assert_eq!(story.liveness.get(NodeId(5)).unwrap().heard, Some(at(100)), "time does not go back");
    story.liveness.forget(at(100), NodeId(5));
    story.note();
    assert_eq!(story.told(), ["100 5 forgotten"]);
}

#[test]
fn a_thousand_moves_are_no_alarm() {
    let mut story = Story::new(&SIX);
    for second in (100..700).step_by(6) {
        story.links(&[(2, 1), (9, 1), (3, if second % 12 == 4 { 9 } else { 2 }), (4, 2), (5, 3)]);
        story.until(second + 6);
    }
    assert_eq!(story.told(), [""; 0]);
}
