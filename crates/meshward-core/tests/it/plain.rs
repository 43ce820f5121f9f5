//! Node syncs that are read in one pass and compared with what is known: nobody can tell the difference.
//!
//! Two nodes are told the same; one in the form that everybody writes, the other with a field more, which
//! means nothing and is read the general way.

use meshward_core::mesh::{CloseReason, LinkId, LinkRole, Mesh, MeshConfig, MeshEvent, Outgoing};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{Branch, NodeId, NodeSync, PlainSync, Tree};
use proptest::collection::vec;
use proptest::prelude::*;

const US: u32 = 7;

/// A mesh and its time.
struct Party {
    mesh: Mesh,
    now: Instant,
}

/// All that can be seen of it from outside after something happened.
#[derive(Debug, PartialEq)]
struct Seen {
    events: Vec<MeshEvent>,
    written: Vec<(LinkId, Vec<u8>, Option<CloseReason>)>,
    due: Option<Instant>,
    tree: Tree,
}

impl Party {
    fn new() -> Self {
        let config = MeshConfig { time_authority: true, ..MeshConfig::node(NodeId(US), 1) };
        Self { mesh: Mesh::new(config), now: Instant::from_micros(1) }
    }

    fn hears(&mut self, link: LinkId, frame: &[u8]) {
        let mut nothing = |_: meshward_core::mesh::Inbound<'_>| panic!("a sync is the mesh's own business");
        self.mesh.handle_data(self.now, link, &[frame, &[0]].concat(), &mut nothing);
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some((due, _)) = self.mesh.poll_timeout().filter(|(due, _)| *due <= until) {
            self.now = self.now.max(due);
            self.mesh.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn seen(&mut self) -> Seen {
        let links: Vec<LinkId> = self.mesh.links().map(|info| info.link).collect();
        let mut written = Vec::new();
        for link in links {
            let (mut all, mut closes) = (Vec::new(), None);
            loop {
                match self.mesh.outgoing(link) {
                    Outgoing::Idle => break,
                    Outgoing::Bytes(bytes) => {
                        let count = bytes.len();
                        all.extend_from_slice(bytes);
                        self.mesh.sent(link, count);
                    }
                    Outgoing::Close(reason) => {
                        closes = Some(reason);
                        break;
                    }
                }
            }
            if closes.is_some() {
                self.mesh.handle_link_down(self.now, link);
            }
            written.push((link, all, closes));
        }
        let events = std::iter::from_fn(|| self.mesh.poll_event()).collect();
        Seen { events, written, due: self.mesh.poll_timeout().map(|(due, _)| due), tree: self.mesh.tree() }
    }
}

/// Something that happens to both.
#[derive(Clone, Debug)]
enum Act {
    Connect(LinkRole),
    Sync { link: u32, reply: bool, tree: usize },
    Wait(u64),
    Down(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let sync = || (1_u32..5, any::<bool>(), 0_usize..6);
    prop_oneof![
        1 => any::<bool>().prop_map(|dials| {
            Act::Connect(if dials { LinkRole::Dialler } else { LinkRole::Listener })
        }),
        8 => sync().prop_map(|(link, reply, tree)| Act::Sync { link, reply, tree }),
        2 => (0_u64..20_000).prop_map(Act::Wait),
        1 => (1_u32..5).prop_map(Act::Down),
    ]
}

/// A neighbour's tree of few ids, ours among them.
fn tree() -> impl Strategy<Value = Tree> {
    let leaf = |ids: std::ops::Range<u32>| {
        (ids, 0_u8..8).prop_map(|(id, flags)| Tree::leaf(NodeId(id)).flagged(flags == 1, flags == 2))
    };
    let branch = (leaf(4..12), vec(leaf(4..12), 0..3)).prop_map(grown);
    (leaf(1..4), vec(branch, 0..3)).prop_map(grown)
}

fn grown((mut top, branches): (Tree, Vec<Tree>)) -> Tree {
    branches.iter().for_each(|branch| top.graft(branch));
    top
}

/// Any tree of few ids: two of these have much in common, and what they have stands at several places.
fn any_tree() -> impl Strategy<Value = Tree> {
    let leaf = (prop_oneof![1_u32..4, 2_000_000_001_u32..2_000_000_004], 0_u8..12)
        .prop_map(|(id, flags)| Tree::leaf(NodeId(id)).flagged(flags == 1, flags == 2));
    leaf.clone().prop_recursive(6, 40, 4, move |inner| (leaf.clone(), vec(inner, 0..4)).prop_map(grown))
}

/// The same sync in the form that everybody writes, and with one field more.
fn spellings(reply: bool, tree: &Tree) -> (Vec<u8>, Vec<u8>) {
    let from = tree.top().id;
    let plain = NodeSync { reply, dest: NodeId(US), from, tree: tree.clone() }.encode();
    let longer = [plain.strip_suffix(b"}").unwrap(), b",\"also\":1}"].concat();
    assert!(PlainSync::read(&plain, 100, None).is_some() && PlainSync::read(&longer, 100, None).is_none());
    (plain, longer)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_known_makes_no_difference(
        known in any_tree(), new in any_tree(), twice in any::<bool>(), reply: bool, spoilt in any::<bool>(),
        at: prop::sample::Index, byte in prop::sample::select(&b"{}[],:\"0129subt"[..]),
    ) {
        // Also a tree that the known one is a part of.
        let new = if twice { grown((new, vec![known.clone()])) } else { new };
        let mut frame = NodeSync { reply, dest: NodeId(US), from: new.top().id, tree: new }.encode();
        if spoilt {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let known = Branch::new(known);
        let with = PlainSync::read(&frame, 60, Some(&known)).map(|mut sync| {
            sync.tree.get_or_insert_with(|| known.tree().clone());
            sync
        });
        prop_assert_eq!(with, PlainSync::read(&frame, 60, None));
    }

    #[test]
    fn a_mesh_does_the_same_either_way(trees in vec(tree(), 6), acts in vec(act(), 1..40)) {
        let (mut plain, mut longer) = (Party::new(), Party::new());
        for party in [&mut plain, &mut longer] {
            party.mesh.handle_link_up(party.now, LinkRole::Listener);
            party.mesh.handle_link_up(party.now, LinkRole::Dialler);
        }
        for act in acts {
            match &act {
                Act::Connect(role) => {
                    let links = [&mut plain, &mut longer].map(|p| p.mesh.handle_link_up(p.now, *role));
                    prop_assert_eq!(links[0], links[1]);
                }
                Act::Sync { link, reply, tree } => {
                    let (one, other) = spellings(*reply, &trees[*tree]);
                    plain.hears(LinkId(*link), &one);
                    longer.hears(LinkId(*link), &other);
                }
                Act::Wait(millis) => {
                    plain.wait(Duration::from_millis(*millis));
                    longer.wait(Duration::from_millis(*millis));
                }
                Act::Down(link) => {
                    plain.mesh.handle_link_down(plain.now, LinkId(*link));
                    longer.mesh.handle_link_down(longer.now, LinkId(*link));
                }
            }
            prop_assert_eq!(plain.seen(), longer.seen(), "after {:?}", act);
            let mut counters = [&plain, &longer].map(|party| *party.mesh.counters());
            counters.iter_mut().for_each(|counters| counters.bytes_received = 0);
            prop_assert_eq!(counters[0], counters[1], "after {:?}", act);
        }
    }
}

/// A node with one neighbour, 1, behind which this is.
fn with_neighbour(below: &[u32]) -> (Party, LinkId, Tree) {
    let mut party = Party::new();
    let link = party.mesh.handle_link_up(party.now, LinkRole::Listener).unwrap();
    let tree = grown((Tree::leaf(NodeId(1)), below.iter().map(|id| Tree::leaf(NodeId(*id))).collect()));
    party.hears(link, &spellings(false, &tree).0);
    party.seen();
    (party, link, tree)
}

fn written(seen: &Seen, link: LinkId) -> String {
    let bytes = seen.written.iter().find(|(id, ..)| *id == link).map(|(_, bytes, _)| bytes.clone());
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}

#[test]
fn a_request_that_says_nothing_new_is_answered_with_what_we_are_now() {
    let (mut party, link, tree) = with_neighbour(&[20, 21]);
    let request = spellings(false, &tree).0;
    party.hears(link, &request);
    let answer = "{\"nodeId\":7,\"hasTimeAuthority\":true,\"type\":6,\"dest\":1,\"from\":7}\0";
    assert_eq!(written(&party.seen(), link), answer);
    let other = party.mesh.handle_link_up(party.now, LinkRole::Listener).unwrap();
    party.hears(other, &spellings(false, &Tree::leaf(NodeId(30))).0);
    party.wait(Duration::from_secs(1));
    party.hears(link, &spellings(true, &tree).0);
    party.seen();
    party.hears(link, &request);
    let answer = "{\"nodeId\":7,\"hasTimeAuthority\":true,\"subs\":[{\"nodeId\":30}],\"type\":6,\"dest\":1,\"from\":7}\0";
    assert_eq!(written(&party.seen(), link), answer);
}

#[test]
fn one_digit_of_a_long_sync_is_noticed() {
    let (mut party, link, tree) = with_neighbour(&[2_000_000_001, 2_000_000_002, 2_000_000_003]);
    let frame = String::from_utf8(spellings(true, &tree).0).unwrap();
    for (old, new) in [("2000000002", "2000000004"), ("2000000003", "2000000009")] {
        let changed = frame.replace(old, new);
        assert_eq!(changed.len(), frame.len());
        party.hears(link, changed.as_bytes());
        let ids: Vec<u32> = party.seen().tree.ids().map(|id| id.0).collect();
        let new = new.parse().unwrap();
        assert!(ids.contains(&new) && party.mesh.knows(NodeId(new)), "{ids:?}");
        assert!(!party.mesh.knows(NodeId(old.parse().unwrap())));
    }
}

#[test]
fn a_known_tree_that_has_us_in_it_is_a_ring_once_its_link_is_the_youngest() {
    let mut party = Party::new();
    let [old, young] = [1, 2].map(|id| {
        let link = party.mesh.handle_link_up(party.now, LinkRole::Listener).unwrap();
        party.hears(link, &spellings(false, &Tree::leaf(NodeId(id))).0);
        link
    });
    let ring = spellings(false, &grown((Tree::leaf(NodeId(1)), vec![Tree::leaf(NodeId(US))]))).0;
    party.hears(old, &ring);
    party.hears(old, &ring);
    assert!(party.seen().written.iter().all(|(_, _, closes)| closes.is_none()), "the other end sees to it");
    party.mesh.handle_link_down(party.now, young);
    party.hears(old, &ring);
    assert_eq!(party.seen().written[0].2, Some(CloseReason::Ring));
}

#[test]
fn a_reply_without_authority_takes_none_away_but_a_request_does() {
    let (mut party, link, _) = with_neighbour(&[20]);
    let leaf = || vec![Tree::leaf(NodeId(20))];
    let with = grown((Tree::leaf(NodeId(1)).flagged(false, true), leaf()));
    let without = grown((Tree::leaf(NodeId(1)), leaf()));
    for (reply, tree, authority) in
        [(true, &with, true), (true, &without, true), (false, &without, false), (true, &with, true)]
    {
        party.hears(link, &spellings(reply, tree).0);
        let seen = party.seen();
        let neighbour = seen.tree.nodes()[1];
        assert_eq!((neighbour.id, neighbour.time_authority), (NodeId(1), authority), "{reply} {tree:?}");
    }
}
