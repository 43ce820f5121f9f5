//! Who gives what to whom: peers, late comers, and gateways that are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use meshward_core::ota::exchange::{Chunk, Offer, Phase, Want};
use meshward_core::ota::receiver::State;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{NodeId, Parcel, To, kind};
use meshward_sim::capture::{Recorder, What};
use meshward_sim::image::Behaviour;
use meshward_sim::script::Step;
use meshward_sim::signed::{Packing, Release, chunks};
use meshward_sim::update::{Outcome, UpdateStory};
use meshward_sim::world::{Act, Medium, Rule, Seat, World, WorldConfig};

use super::{Kind, bring, mesh, mesh_on, release, runs, state, story, updated};
use crate::tools::seconds;

/// A parcel on its first link: where it comes from, not where it passes.
#[derive(Debug)]
struct Sent {
    at: Instant,
    parcel: Parcel,
}

impl Sent {
    fn chunk(&self) -> Option<u32> {
        let chunk = (self.parcel.kind == kind::CHUNK).then(|| Chunk::decode(&self.parcel.body))?;
        chunk.map(|chunk| chunk.index)
    }

    fn reports(&self) -> bool {
        let want = (self.parcel.kind == kind::WANT).then(|| Want::decode(&self.parcel.body));
        want.flatten().is_some_and(|want| !want.records.is_empty())
    }
}

/// What nodes have said of updates since the recorder was put in; each parcel once a link on which its maker sent it.
fn sent(world: &mut World) -> Vec<Sent> {
    let mut recorder = world.take_recorder().unwrap();
    let lines = recorder.take_lines();
    let mut all = Vec::new();
    for line in lines {
        let What::Message { from, bytes, .. } = &line.what else { continue };
        let Ok(parcel) = Parcel::decode(bytes) else { continue };
        if *from == recorder.name(line.at, parcel.from) {
            all.push(Sent { at: line.at, parcel });
        }
    }
    all
}

fn chunks_from(sent: &[Sent], node: NodeId) -> Vec<&Sent> {
    sent.iter().filter(|sent| sent.parcel.from == node && sent.chunk().is_some()).collect()
}

/// The last host is a gateway at the edge, so that nobody is cut off when it goes; the one before is another.
fn edge(seed: u64, nodes: usize, release: &Release) -> World {
    mesh(seed, &super::random(seed, nodes), release, |index| match index {
        _ if index + 2 >= nodes => Kind::Gateway,
        _ => Kind::Signed,
    })
}

fn phase(world: &World, gateway: Seat) -> Option<Phase> {
    world.machine(gateway).and_then(|machine| machine.node()).and_then(|node| node.exchange().phase())
}

fn receiver_state(world: &World, seat: Seat) -> Option<State> {
    let node = world.machine(seat).and_then(|machine| machine.node())?;
    node.exchange().receiver().map(|receiver| receiver.state())
}

/// The chunks that a host holds.
fn held(world: &World, seat: Seat, count: u32) -> BTreeSet<u32> {
    let node = world.machine(seat).and_then(|machine| machine.node());
    let receiver = node.and_then(|node| node.exchange().receiver());
    let has = |chunk: &u32| receiver.is_some_and(|receiver| receiver.has(*chunk));
    (0..count).filter(has).collect()
}

/// What some node could give: a chunk whose block is not whole there cannot be found right, and leaves nobody.
fn given_by_any(world: &World, count: u32) -> BTreeSet<u32> {
    let node = |seat| world.machine(seat).and_then(|machine| machine.node());
    let receivers = world.seats().filter_map(node).filter_map(|node| node.exchange().receiver());
    receivers.flat_map(|receiver| (0..count).filter(|chunk| receiver.can_give(*chunk))).collect()
}

/// Runs until it is so.
fn until(world: &mut World, within: Duration, what: &str, mut is: impl FnMut(&World) -> bool) {
    let start = world.now();
    while !is(world) {
        let late = world.now().since(start) > within || world.is_spinning();
        assert!(!late, "{what} does not come: {}", state(world, Seat(0)));
        world.run_for(Duration::from_millis(100));
        let _seen = world.records().count();
    }
}

fn half_way(world: &World, gateway: Seat) -> bool {
    matches!(phase(world, gateway), Some(Phase::Passing { sent, chunks }) if 2 * sent >= chunks)
}

fn all_ready(world: &World) -> bool {
    let takers = world.seats().filter(|seat| world.spec(*seat).firmware.is_some() && world.is_powered(*seat));
    takers.into_iter().all(|seat| receiver_state(world, seat) == Some(State::Ready))
}

#[test]
fn a_late_comer_is_served_by_its_parent() {
    let release = release();
    for gateway_stays in [true, false] {
        // A gateway, a branch and a twig, whose last node comes late.
        let parents = [None, Some(0), Some(1), Some(1), Some(3)];
        let kind = |index| if index == 0 { Kind::Gateway } else { Kind::Signed };
        let mut world = mesh(3, &parents, &release, kind);
        let (gateway, parent, late) = (Seat(0), Seat(3), Seat(4));
        world.perform(Step::Leave(late));
        world.run_for(seconds(20));
        let story = story(&world, &release, &[Packing::Full]);
        let count = chunks(&story.offerings[0]);
        world.perform(Step::Update(gateway, story));
        until(&mut world, seconds(60), "the pass", |world| phase(world, gateway) == Some(Phase::Repairing));
        until(&mut world, seconds(120), "the installed image", all_ready);
        world.run_for(seconds(5));
        if !gateway_stays {
            world.perform(Step::Leave(gateway));
        }
        world.record_to(Recorder::new());
        world.perform(Step::Join(late));
        let is_ready =
            |world: &World| runs(world, late, &release) || receiver_state(world, late) == Some(State::Ready);
        until(&mut world, seconds(120), "what the late one wants", is_ready);
        let sent = sent(&mut world);
        assert_eq!(chunks_from(&sent, world.id(gateway)).len(), 0, "the gateway has better things to do");
        let given: BTreeSet<_> =
            chunks_from(&sent, world.id(parent)).iter().map(|sent| sent.chunk()).collect();
        assert_eq!(given.len(), count, "gateway {gateway_stays}");
        assert!(chunks_from(&sent, world.id(parent)).len() <= count + 2, "hardly any twice");
        let others: usize = [1, 2].map(|seat| chunks_from(&sent, world.id(Seat(seat))).len()).iter().sum();
        assert_eq!(others, 0, "nobody else does");
        if gateway_stays {
            bring(&mut world, gateway, seconds(600));
            assert_eq!(updated(&world, &release), (4, 4));
        }
    }
}

#[test]
fn what_the_mesh_holds_it_completes_without_its_source() {
    let release = release();
    for (seed, loss) in [(1, 0), (2, 100_000), (3, 200_000)] {
        let mut world = edge(seed, 14, &release);
        let (first, second) = (Seat(13), Seat(12));
        world.perform(Step::Fault(Rule::everywhere(Act::Lose, loss)));
        world.perform(Step::Update(first, story(&world, &release, &[Packing::Full])));
        until(&mut world, seconds(300), "the pass", |world| phase(world, first) == Some(Phase::Repairing));
        world.perform(Step::Leave(first));
        until(&mut world, seconds(900), "completion from peers", all_ready);
        // A new gateway has nothing to send but the order.
        world.record_to(Recorder::new());
        world.perform(Step::Update(second, story(&world, &release, &[Packing::Full])));
        bring(&mut world, second, seconds(900));
        assert_eq!(updated(&world, &release), (12, 12));
        assert_eq!(chunks_from(&sent(&mut world), world.id(second)).len(), 0, "{loss} ppm");
    }
}

#[test]
fn a_new_gateway_sends_only_what_nobody_holds() {
    let release = release();
    for (seed, loss) in [(1, 0), (2, 50_000), (3, 200_000), (13, 100_000), (16, 100_000), (20, 200_000)] {
        let mut world = edge(seed, 14, &release);
        let (first, second) = (Seat(13), Seat(12));
        world.perform(Step::Fault(Rule::everywhere(Act::Lose, loss)));
        let story = story(&world, &release, &[Packing::Full]);
        let count = chunks(&story.offerings[0]) as u32;
        world.perform(Step::Update(first, Arc::clone(&story)));
        until(&mut world, seconds(300), "the middle of the pass", |world| half_way(world, first));
        world.perform(Step::Leave(first));
        world.run_for(seconds(60));
        let held = given_by_any(&world, count);
        assert!(!held.is_empty() && held.len() < count as usize, "{} of {count}", held.len());
        world.record_to(Recorder::new());
        world.perform(Step::Update(second, story));
        bring(&mut world, second, seconds(1_200));
        assert_eq!(updated(&world, &release), (12, 12), "{loss} ppm");
        let sent = sent(&mut world);
        let given: BTreeSet<u32> =
            chunks_from(&sent, world.id(second)).iter().filter_map(|sent| sent.chunk()).collect();
        let twice: Vec<_> = given.intersection(&held).collect();
        assert!(twice.is_empty(), "{loss} ppm: nodes had {twice:?} of {count}");
    }
}

#[test]
fn a_factory_image_is_nobodys_offer() {
    let release = release();
    let mut world = edge(5, 8, &release);
    world.record_to(Recorder::new());
    // A gateway looks who is there, and brings an image that the nodes refuse before the first byte.
    let other = Release::made(24 * 1024, 10, Behaviour::Healthy);
    let stale = Release::new(&other.base, &other.image, 0);
    world.perform(Step::Update(Seat(7), story(&world, &stale, &[Packing::Delta])));
    bring(&mut world, Seat(7), seconds(600));
    // A node without anything comes, and finds neighbours.
    world.perform(Step::Leave(Seat(3)));
    world.perform(Step::Join(Seat(3)));
    world.run_for(seconds(300));
    let (report, _) = world.update_report(Seat(7)).unwrap();
    assert!(report.iter().all(|(_, outcome)| matches!(outcome, Outcome::Named(..))), "{report:?}");
    let gateway = world.id(Seat(7));
    let sent = sent(&mut world);
    let by_nodes = |sent: &&Sent| sent.parcel.from != gateway;
    let offers = sent.iter().filter(by_nodes).filter(|sent| sent.parcel.kind == kind::OFFER);
    let offers: Vec<_> = offers.map(|sent| (sent.at, Offer::decode(&sent.parcel.body).unwrap())).collect();
    assert!(!offers.is_empty(), "they say who they are");
    assert!(offers.iter().all(|(_, offer)| offer.held == 0 && offer.head.is_none()), "{offers:?}");
    assert_eq!(sent.iter().filter(by_nodes).filter(|sent| sent.parcel.kind == kind::CHUNK).count(), 0);
}

#[test]
fn a_relay_that_restarts_in_the_middle_loses_nothing() {
    let release = release();
    for packing in [Packing::Full, Packing::Lzma] {
        // A gateway at the end of a chain with twigs: the relay has somebody before it and behind it.
        let parents = [None, Some(0), Some(1), Some(2), Some(3), Some(2), Some(3)];
        let kind = |index| if index == 0 { Kind::Gateway } else { Kind::Signed };
        let mut world = mesh(4, &parents, &release, kind);
        let relay = Seat(2);
        let story = story(&world, &release, &[packing]);
        let count = chunks(&story.offerings[0]) as u32;
        world.perform(Step::Update(Seat(0), story));
        until(&mut world, seconds(60), "the middle of the pass", |world| half_way(world, Seat(0)));
        let before = held(&world, relay, count);
        world.perform(Step::Crash(relay));
        until(&mut world, seconds(30), "its books", |world| {
            !matches!(receiver_state(world, relay), None | Some(State::Starting))
        });
        let after = held(&world, relay, count);
        assert!(after.is_superset(&before) && !before.is_empty(), "{before:?} {after:?}");
        bring(&mut world, Seat(0), seconds(600));
        assert_eq!(updated(&world, &release), (6, 6), "{packing:?}");
    }
}

#[test]
fn the_source_hears_few_reports() {
    let release = release();
    let nodes = 30;
    let parents = super::random(9, nodes);
    let kind = |index| if index == 0 { Kind::Gateway } else { Kind::Signed };
    // On a channel for all, frames of one round wait and meet those of the next.
    let medium = Medium::Independent { latency: Duration::from_millis(2), byte_nanos: 1_000 };
    let config = WorldConfig { seed: 9, medium, ..WorldConfig::default() };
    let mut world = mesh_on(config, &parents, &release, kind);
    world.record_to(Recorder::new());
    let story: Arc<UpdateStory> = story(&world, &release, &[Packing::Full]);
    world.perform(Step::Update(Seat(0), story));
    bring(&mut world, Seat(0), seconds(600));
    assert_eq!(updated(&world, &release), (29, 29));
    let gateway = world.id(Seat(0));
    let children = parents.iter().filter(|parent| **parent == Some(0)).count();
    let sent = sent(&mut world);
    let reports: Vec<&Sent> =
        sent.iter().filter(|sent| sent.parcel.to == To::One(gateway) && sent.reports()).collect();
    let who: BTreeSet<NodeId> = reports.iter().map(|sent| sent.parcel.from).collect();
    assert!(who.len() <= children, "only neighbours report: {who:?}");
    // A round is 100 ms long; a frame may wait a little for the one before it on its link.
    for who in who {
        let times = reports.iter().filter(|sent| sent.parcel.from == who).map(|sent| sent.at);
        let times: Vec<Instant> = times.collect();
        let closest = times.windows(2).map(|pair| pair[1].since(pair[0])).min().unwrap();
        assert!(closest >= Duration::from_millis(90), "{closest:?} between two reports of {who}");
    }
}
