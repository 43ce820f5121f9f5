//! Signed updates from node to node, in the world: what counts is what the chips hold and what the channel carried.

mod peers;

use std::sync::Arc;

use meshward_core::ota::Tempo;
use meshward_core::ota::exchange::ExchangeEvent;
use meshward_core::ota::receiver;
use meshward_core::rng::Rng;
use meshward_core::time::Duration;
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{OrderCounter, Plan, SignedManifest, State};
use meshward_fleet::forecast::Scheme;
use meshward_fleet::payload::Options;
use meshward_sim::image::Behaviour;
use meshward_sim::script::{Step, roomy};
use meshward_sim::signed::{HARDWARE, Packing, ROLE, Release, Setup, Signers};
use meshward_sim::topology::Topology;
use meshward_sim::update::{Outcome, UpdateStory};
use meshward_sim::world::{
    Act, Channel, Happening, HostSpec, Medium, Record, Rule, Seat, World, WorldConfig,
};

use crate::tools::{seconds, settle};

/// Bytes of the images: 36 chunks, the block table's included.
const IMAGE: usize = 32 * 1024;

/// What a host of a mesh is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A node of ours without firmware of its own.
    Gateway,
    /// A node that takes signed updates.
    Signed,
    /// A C++ node, which only passes on what it gets.
    Stock,
    /// A C++ node that takes the image too.
    StockTarget,
}

/// A mesh whose hosts have these parents and kinds, quiet on its one channel.
fn mesh(seed: u64, parents: &[Option<usize>], release: &Release, kind: impl Fn(usize) -> Kind) -> World {
    mesh_on(WorldConfig { seed, ..WorldConfig::default() }, parents, release, kind)
}

fn mesh_on(
    config: WorldConfig,
    parents: &[Option<usize>],
    release: &Release,
    kind: impl Fn(usize) -> Kind,
) -> World {
    let mut world = World::new(config);
    let setup = Arc::new(release.setup());
    for (index, parent) in parents.iter().enumerate() {
        let (id, parent) = (1001 + index as u32, parent.map(Seat));
        let mut spec = match kind(index) {
            Kind::Gateway => HostSpec::node(id, parent),
            Kind::Signed => signed(id, parent, &setup, release),
            Kind::Stock => HostSpec::stock(id, parent),
            Kind::StockTarget => HostSpec::stock(id, parent).with_firmware(ROLE, &release.base),
        };
        spec.limits = roomy(parents.len());
        spec.root = index == 0;
        let seat = world.add_host(spec);
        world.perform(Step::Join(seat));
    }
    world.add_image(&release.image);
    settle(&mut world, seconds(300));
    world.run_for(seconds(30));
    world
}

fn signed(id: u32, parent: Option<Seat>, setup: &Arc<Setup>, release: &Release) -> HostSpec {
    HostSpec::node(id, parent).with_signed_firmware(setup, &release.base)
}

/// A release of a small image.
fn release() -> Release {
    Release::made(IMAGE, 10, Behaviour::Healthy)
}

fn story(world: &World, release: &Release, packings: &[Packing]) -> Arc<UpdateStory> {
    let targets = world.seats().filter(|seat| world.spec(*seat).firmware.is_some());
    let targets: Vec<NodeId> = targets.map(|seat| world.id(seat)).collect();
    Arc::new(UpdateStory::new(release.clone(), packings, targets))
}

fn runs(world: &World, seat: Seat, release: &Release) -> bool {
    world.running(seat).is_some_and(|record| record.md5 == release.image.md5)
}

/// Hosts with firmware, and how many of them run the new image.
fn updated(world: &World, release: &Release) -> (usize, usize) {
    let takers: Vec<Seat> = world.seats().filter(|seat| world.spec(*seat).firmware.is_some()).collect();
    (takers.iter().filter(|seat| runs(world, **seat, release)).count(), takers.len())
}

/// Where a roll-out is, for somebody who wonders.
fn state(world: &World, gateway: Seat) -> String {
    let node = world.machine(gateway).and_then(|machine| machine.node()).unwrap();
    let mut text = format!("{:?}", node.exchange().phase());
    for seat in world.seats() {
        let Some(node) = world.machine(seat).and_then(|machine| machine.node()) else { continue };
        let heard = world.machine(gateway).and_then(|machine| machine.node()).unwrap();
        let member = heard.exchange().members().get(&world.id(seat));
        let state = node.exchange().receiver().map(|receiver| receiver.state());
        let line = member.and_then(|member| member.line);
        text += &format!(
            "\n{} of {:?}: {state:?}; the gateway knows {line:?}",
            world.id(seat),
            world.spec(seat).parent
        );
    }
    text
}

/// Runs until the gateway's service is done; what could be seen meanwhile.
fn bring(world: &mut World, gateway: Seat, within: Duration) -> Vec<Record> {
    let (start, mut seen) = (world.now(), Vec::new());
    while !world.update_report(gateway).is_some_and(|(_, over)| over) {
        assert!(world.now().since(start) <= within, "no end: {}", state(world, gateway));
        world.run_for(Duration::from_millis(100));
        assert!(!world.is_spinning(), "a node answers itself: {}", state(world, gateway));
        seen.extend(world.records());
    }
    seen
}

fn ready(records: &[Record]) -> usize {
    let ready = |record: &&Record| {
        matches!(&record.what, Happening::Exchange(ExchangeEvent::Receiver(receiver::Event::Ready(_))))
    };
    records.iter().filter(ready).count()
}

fn random(seed: u64, nodes: usize) -> Vec<Option<usize>> {
    Topology::Random(3).parents(nodes, &mut Rng::new(seed))
}

#[test]
fn a_small_mesh_is_updated_by_every_packing() {
    let release = release();
    for packings in
        [&[Packing::Full][..], &[Packing::Lzma], &[Packing::Delta], &[Packing::Delta, Packing::Full]]
    {
        let mut world = mesh(1, &random(1, 10), &release, |index| match index {
            0 => Kind::Gateway,
            _ => Kind::Signed,
        });
        world.perform(Step::Update(Seat(0), story(&world, &release, packings)));
        let start = world.now();
        let records = bring(&mut world, Seat(0), seconds(600));
        println!("{packings:?} {:?}", world.now().since(start));
        assert_eq!(updated(&world, &release), (9, 9), "{packings:?}");
        assert_eq!(ready(&records), 9);
        let (report, _) = world.update_report(Seat(0)).unwrap();
        assert!(report.iter().all(|(_, outcome)| *outcome == Outcome::Updated), "{report:?}");
    }
}

#[test]
fn a_node_behind_stock_relays_answers_as_soon_as_others() {
    let release = release();
    // Which of the nodes between passes news on cannot be known: none of them does.
    let parents = [None, Some(0), Some(1), Some(2), Some(3)];
    let mut world = mesh(5, &parents, &release, |index| match index {
        0 => Kind::Gateway,
        4 => Kind::Signed,
        _ => Kind::Stock,
    });
    world.perform(Step::Update(Seat(0), story(&world, &release, &[Packing::Lzma])));
    world.run_for(seconds(2));
    let gateway = world.machine(Seat(0)).and_then(|machine| machine.node()).unwrap();
    let member = gateway.exchange().members().get(&world.id(Seat(4)));
    assert!(member.is_some_and(|member| member.about.is_some()), "{member:?}");
}

#[test]
fn a_lossy_mesh_is_updated_with_stock_relays_in_between() {
    let release = release();
    for (loss, seed) in [(0, 1), (100_000, 2), (200_000, 3), (200_000, 4)] {
        let mut world = mesh(seed, &random(seed, 20), &release, |index| match index {
            0 => Kind::Gateway,
            _ if index % 4 == 2 => Kind::Stock,
            _ => Kind::Signed,
        });
        let delay = Act::Delay(Duration::from_millis(50));
        for (act, ppm) in [(Act::Lose, loss), (Act::Duplicate, loss / 4), (delay, loss)] {
            world.perform(Step::Fault(Rule::everywhere(act, ppm)));
        }
        world.perform(Step::Update(Seat(0), story(&world, &release, &[Packing::Lzma])));
        let start = world.now();
        bring(&mut world, Seat(0), seconds(1_800));
        println!("{loss} {:?}", world.now().since(start));
        assert_eq!(updated(&world, &release), (14, 14), "{loss} ppm");
    }
}

/// A roll-out of a release to nodes of both families.
fn plan(world: &World, release: &Release) -> Plan {
    Plan {
        image: Arc::from(&release.image.bytes[..]),
        manifest: Some(SignedManifest::read(release.manifest.clone(), release.sha256).unwrap()),
        bases: vec![Arc::from(&release.base.bytes[..])],
        operator: Arc::new(Signers::default().operator),
        counter: OrderCounter::default(),
        targets: Some(world.seats().skip(1).map(|seat| world.id(seat)).collect()),
        scheme: Scheme::Auto,
        packing: Options::default(),
        role: ROLE.to_owned(),
        hardware: HARDWARE.to_owned(),
        part_size: 1_024,
        concurrency: 12,
        hold: false,
        tempo: Tempo::default(),
        broadcast: true,
        confirmed: true,
        forecast_only: false,
        takes_turns: false,
        named: false,
    }
}

fn deploy(world: &mut World, plan: Plan, within: Duration) {
    world.perform(Step::Deploy(Seat(0), Arc::new(plan)));
    let start = world.now();
    while let Some((deployment, node)) = world.deployment(Seat(0), 0)
        && !deployment.is_finished()
    {
        let report = deployment.report(node);
        assert!(world.now().since(start) <= within, "{:?}: {report:?}", deployment.phase());
        world.run_for(Duration::from_millis(100));
        assert!(!world.is_spinning(), "a node answers itself");
    }
}

/// One mesh in the usual run; `MESHWARD_SEEDS` asks for more.
#[test]
fn a_large_mesh_of_both_families_is_updated_in_one_roll_out() {
    let count = std::env::var("MESHWARD_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    for seed in 8..8 + count {
        println!("seed {seed}: {:?}", update_large_mesh_of_both_families(seed));
    }
}

/// How long it took.
fn update_large_mesh_of_both_families(seed: u64) -> Duration {
    let release = release();
    let nodes = 200;
    // Syncs of so many nodes fill the channel by themselves.
    let medium = Medium::Shared(Channel { free_sync: true, ..Channel::default() });
    let config = WorldConfig { seed, medium, ..WorldConfig::default() };
    let parents = Topology::Random(4).parents(nodes + 1, &mut Rng::new(seed));
    let mut world = mesh_on(config, &parents, &release, |index| match index {
        0 => Kind::Gateway,
        _ if index % 4 == 3 => Kind::StockTarget,
        _ => Kind::Signed,
    });
    let dead = Seat(nodes);
    world.perform(Step::Leave(dead));
    let delay = Act::Delay(Duration::from_millis(50));
    for (act, ppm) in [(Act::Lose, 50_000), (Act::Duplicate, 20_000), (delay, 100_000)] {
        world.perform(Step::Fault(Rule::everywhere(act, ppm)));
    }
    world.watch_relays();
    let start = world.now();
    let plan = plan(&world, &release);
    deploy(&mut world, plan, seconds(7_200));
    let took = world.now().since(start);
    let (deployment, node) = world.deployment(Seat(0), 0).unwrap();
    for line in deployment.report(node) {
        let seat = world.seat_of(line.node).unwrap();
        if seat == dead {
            assert!(matches!(line.state, State::Failed(_)), "the unreachable is named: {line:?}");
        } else {
            assert!(runs(&world, seat, &release), "seed {seed}: {line:?}");
            assert_eq!(line.state, State::Updated, "seed {seed}: {}", line.node);
        }
    }
    let held = world.seats().skip(1).map(|seat| world.held(seat).0).max().unwrap();
    assert!(held < 48 * 1024, "seed {seed}: {held} bytes in one relay");
    took
}

#[test]
fn a_large_lossy_mesh_is_updated_and_relays_stay_small() {
    let release = release();
    let nodes = 200;
    // Syncs of so many nodes fill the channel by themselves.
    let medium = Medium::Shared(Channel { free_sync: true, ..Channel::default() });
    let config = WorldConfig { seed: 6, medium, ..WorldConfig::default() };
    let parents = Topology::Random(4).parents(nodes + 1, &mut Rng::new(6));
    let mut world = mesh_on(config, &parents, &release, |index| match index {
        0 => Kind::Gateway,
        _ if index % 20 == 7 => Kind::Stock,
        _ => Kind::Signed,
    });
    let delay = Act::Delay(Duration::from_millis(50));
    for (act, ppm) in [(Act::Lose, 200_000), (Act::Duplicate, 20_000), (delay, 100_000)] {
        world.perform(Step::Fault(Rule::everywhere(act, ppm)));
    }
    world.watch_relays();
    world.perform(Step::Update(Seat(0), story(&world, &release, &[Packing::Full])));
    let start = world.now();
    bring(&mut world, Seat(0), seconds(3_600));
    println!("{:?}", world.now().since(start));
    assert_eq!(updated(&world, &release), (190, 190));
    let held = world.seats().skip(1).map(|seat| world.held(seat).0).max().unwrap();
    assert!(held < 48 * 1024, "{held} bytes in one relay");
}
