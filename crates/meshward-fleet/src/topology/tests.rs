use super::*;

/// A tree of (node, parent); 1 is the gateway, parents come first.
pub(crate) fn tree(links: &[(u32, u32)]) -> Tree {
    fn branch(top: u32, links: &[(u32, u32)]) -> Tree {
        let mut tree = Tree::leaf(NodeId(top));
        for (id, _) in links.iter().filter(|(_, parent)| *parent == top) {
            tree.graft(&branch(*id, links));
        }
        tree
    }
    branch(1, links)
}

fn at(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

/// What is told when one tree follows another after a minute, as `node name`.
fn check(from: &[(u32, u32)], to: &[(u32, u32)], expected: &[&str]) {
    let mut topology = Topology::new(NodeId(1));
    topology.handle_tree(at(0), &tree(from));
    let update = topology.handle_tree(at(60), &tree(to));
    let told: Vec<String> =
        update.events.iter().map(|event| format!("{} {}", event.node, event.what.name())).collect();
    assert_eq!(told, expected, "{from:?} to {to:?}");
}

#[test]
fn a_new_tree_is_told_by_what_is_new() {
    let four = [(2, 1), (3, 2), (4, 2), (5, 1)];
    check(&four, &four, &[]);
    check(&four, &[(5, 1), (2, 1), (4, 2), (3, 2)], &[]);
    check(&four, &[(2, 1), (3, 2), (4, 2)], &["5 leave"]);
    check(&four, &[(5, 1)], &["2 partition", "2 leave", "3 leave", "4 leave"]);
    check(&[(5, 1)], &four, &["2 merged", "2 join", "3 join", "4 join"]);
    check(&four, &[(2, 5), (3, 2), (4, 2), (5, 1)], &["2 parent_changed"]);
    check(&four, &[(2, 1), (3, 2), (5, 1), (4, 5), (6, 4)], &["6 join", "4 parent_changed"]);
    check(&four, &[], &["2 partition", "2 leave", "3 leave", "4 leave", "5 leave"]);
}

#[test]
fn the_first_tree_is_no_merge_and_the_root_is_told() {
    let mut topology = Topology::new(NodeId(1));
    let mut first = tree(&[(2, 1), (3, 2)]);
    first.graft(&Tree::leaf(NodeId(9)).flagged(true, false));
    let names = |update: Update| update.events.iter().map(|event| event.what.name()).collect::<Vec<_>>();
    assert_eq!(names(topology.handle_tree(at(0), &first)), ["join", "join", "join", "root_changed"]);
    assert_eq!((topology.root(), topology.revision()), (Some(NodeId(9)), 1));
    assert_eq!(names(topology.handle_tree(at(1), &first)), [""; 0]);
    assert_eq!(topology.revision(), 1, "the same tree has the same revision");
    let update = topology.handle_tree(at(2), &tree(&[(2, 1), (3, 2), (9, 1)]));
    assert_eq!(
        update.events.last().map(|event| (event.node, event.what)),
        Some((NodeId(1), What::RootChanged { is_root: false }))
    );
    assert_eq!(
        topology.links().map(|link| (link.from.0, link.to.0)).collect::<Vec<_>>(),
        [(1, 2), (2, 3), (1, 9)]
    );
}

#[test]
fn trees_that_make_no_sense_are_counted() {
    let mut topology = Topology::new(NodeId(1));
    let update = topology.handle_tree(at(0), &tree(&[(2, 1), (3, 2), (0, 2), (4, 0), (3, 1)]));
    assert_eq!(update.joined, [NodeId(2), NodeId(3)]);
    assert_eq!(topology.place(NodeId(3)).unwrap().parent, NodeId(2), "the first of two counts");
    assert_eq!(topology.malformed(), 3);
}

#[test]
fn ways_meet_somewhere() {
    let mut topology = Topology::new(NodeId(1));
    topology.handle_tree(at(0), &tree(&[(2, 1), (3, 2), (4, 3), (5, 3), (6, 2), (7, 1)]));
    for (nodes, expected) in [
        (&[4][..], Some(4)),
        (&[4, 5], Some(3)),
        (&[4, 5, 3], Some(3)),
        (&[5, 6, 4], Some(2)),
        (&[2, 4], Some(2)),
        (&[4, 7], None),
        (&[4, 99], None),
        (&[], None),
    ] {
        let nodes: Vec<NodeId> = nodes.iter().map(|id| NodeId(*id)).collect();
        let place = expected.and_then(|id| topology.place(NodeId(id)));
        assert_eq!(topology.meeting(&nodes), place, "{nodes:?}");
    }
}

/// Ten changes a minute for ten minutes are four events, that it flaps, and that it has ended.
#[test]
fn a_node_that_flaps_is_one_finding_and_no_storm() {
    let trees = [
        tree(&[(2, 1), (3, 1), (7, 2), (8, 7)]),
        tree(&[(2, 1), (3, 1), (7, 3), (8, 7)]),
        tree(&[(2, 1), (3, 1)]),
    ];
    for other in [1, 2] {
        let mut topology = Topology::new(NodeId(1));
        topology.handle_tree(at(0), &trees[0]);
        let mut told = Vec::new();
        for change in 1..=100 {
            told.extend(
                topology.handle_tree(at(6 * change), &trees[if change % 2 == 0 { 0 } else { other }]).events,
            );
        }
        let spells: Vec<_> = topology.flapping().map(|f| (f.node.0, f.changes)).collect();
        assert_eq!(spells, [(7, 100)]);
        told.extend(topology.handle_timeout(at(600 + 599)));
        let before = told.len();
        told.extend(topology.handle_timeout(topology.poll_timeout().unwrap()));
        assert_eq!(told.len(), before + 1);
        let count = |name| told.iter().filter(|event| event.what.name() == name).count();
        assert_eq!((count("flapping_began"), count("flapping_ended")), (1, 1));
        let mut findings = Findings::default();
        let changes: Vec<_> = told.iter().filter_map(|event| event.find(&mut findings)).collect();
        assert!(matches!(changes[..], [Change::Raised(_), Change::Cleared(_)]), "{changes:?}");
        assert!(told.len() <= 2 + 4 * 3, "{}", told.len());
        assert_eq!((topology.flapping().count(), topology.poll_timeout()), (0, None));
        assert_eq!(topology.revision(), 101, "every tree has its revision all the same");
    }
}

#[test]
fn the_tree_of_a_while_ago() {
    let trees: [&[(u32, u32)]; 5] = [
        &[(2, 1), (3, 2)],
        &[(2, 1), (3, 2), (4, 3)],
        &[(2, 1), (3, 1), (4, 3)],
        &[(2, 1)],
        &[(2, 1), (4, 1), (3, 4)],
    ];
    let mut topology = Topology::new(NodeId(1));
    for (links, minute) in trees.iter().zip(0..) {
        topology.handle_tree(at(60 * minute), &tree(links));
        topology.note(at(60 * minute + 30), NodeId(2), What::Rebooted);
    }
    let links = |snapshot: Snapshot| {
        let parents = snapshot.parents;
        parents.iter().map(|(id, parent)| (id.0, parent.0)).collect::<BTreeMap<_, _>>()
    };
    for (expected, revision) in trees.iter().zip(1..) {
        let expected: BTreeMap<u32, u32> = expected.iter().copied().collect();
        assert_eq!(links(topology.as_of_revision(revision).unwrap()), expected, "revision {revision}");
        let snapshot = topology.as_of(at(60 * (revision - 1) + 20)).unwrap();
        assert_eq!(snapshot.revision, revision);
        assert_eq!(links(snapshot), expected);
    }
    assert_eq!(topology.as_of_revision(6), None, "still to come");
    assert!(links(topology.as_of_revision(0).unwrap()).is_empty());
}

#[test]
fn within_a_spell_places_are_uncertain_and_before_it_they_are_known() {
    let places = [tree(&[(2, 1), (3, 1), (7, 2)]), tree(&[(2, 1), (3, 1), (7, 3)])];
    let mut topology = Topology::new(NodeId(1));
    for change in 0..40 {
        topology.handle_tree(at(600 + 6 * change), &places[usize::from(change % 2 == 1)]);
    }
    let of = |revision| {
        let snapshot = topology.as_of_revision(revision).unwrap();
        (snapshot.parents[&NodeId(7)].0, snapshot.uncertain.contains(&NodeId(7)))
    };
    assert_eq!((of(1), of(2), of(3)), ((2, false), (3, false), (2, false)));
    assert_eq!((of(40), of(20).1), ((3, false), true));
    assert_eq!(topology.as_of_revision(20).unwrap().uncertain.len(), 1);
}

#[test]
fn memory_is_bounded_and_what_is_lost_is_said() {
    let mut topology = Topology::new(NodeId(1));
    for change in 0..5_000u32 {
        topology.handle_tree(at(u64::from(change)), &tree(&[(2 + change, 1)]));
    }
    assert_eq!(topology.history().count(), Topology::EVENTS_MAX);
    assert_eq!(topology.events_dropped(), 9_999 - 4_096);
    assert_eq!((topology.as_of_revision(2_000), topology.as_of(at(5))), (None, None));
    let snapshot = topology.as_of_revision(4_990).unwrap();
    assert_eq!(snapshot.parents.keys().map(|id| id.0).collect::<Vec<_>>(), [4_991]);
}

#[test]
fn graphs_are_text_whatever_nodes_are_called() {
    let mut topology = Topology::new(NodeId(1));
    topology.handle_tree(at(0), &tree(&[(2, 1), (3, 2)]));
    topology.handle_tree(at(1), &tree(&[(2, 1)]));
    let label = |id: NodeId| if id.0 == 2 { "a\"\\\n".to_owned() } else { id.to_string() };
    let text = "digraph mesh {\n  1 [label=\"1\", shape=house];\n  2 [label=\"a\\\"\\\\ \"];\n  1 -> 2;\n}\n";
    assert_eq!(topology.dot(label), text);
    let before = topology.as_of_revision(1).unwrap().dot(label);
    assert!(before.contains("  3 [label=\"3\"];\n  2 -> 3;\n"), "{before}");
}
