//! How long an update takes, by scheme, mesh and loss: the table of `docs/benchmarks.md`.
//!
//! A [`Case`] is one row, [`run_one`] one seed of it, [`row`] their mean and spread, [`markdown`] the page.
//! [`MODEL`] says what the figures hold for and stands above them. The mesh of a case has grown and is quiet
//! when the update begins: it is built over fast lines, and then put on the one channel.

pub mod latency;
mod model;
mod signed;
pub mod speed;
mod table;

use std::sync::Arc;

use meshward_core::mesh::Limits;
use meshward_core::ota::{ImagePlan, Scheme as Means, Tempo};
use meshward_core::rng::Rng;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::{Data, NodeId, Offer};

pub use model::{MODEL, standard_cases};
pub use table::{Row, markdown, row};

use crate::image::{Behaviour, Image};
use crate::script::{Step, roomy};
use crate::signed::Release;
use crate::stock::StockOffer;
use crate::topology::{self, Topology};
use crate::update::UpdateStory;
use crate::world::{Act, Channel, HostSpec, Machine, Medium, Record, Rule, Seat, World, WorldConfig};

/// An update that has not ended by then has failed.
const HORIZON: Duration = Duration::from_secs(8 * 3_600);
/// So has one in which no Data has been seen for this long.
const SILENCE: Duration = Duration::from_secs(900);
/// Bytes in a part, as the C++ examples have them.
const PART: usize = 1_024;
/// Nodes that the unicast distributor serves at a time.
const CONCURRENCY: usize = 12;
/// From a reset until an ESP is back on its access point.
const BOOT: Duration = Duration::from_secs(2);
const ROLE: &str = "sensor";
const HARDWARE: &str = "ESP32";

/// Who sends, and how. The receivers are stock nodes, or nodes of ours with signed updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The C++ library's own sender, one request per part.
    StockUnicast,
    /// The C++ library's own broadcast mode, with a receiver as the root that asks for all.
    StockBroadcast,
    /// Our sender, one request per part.
    MeshwardUnicast,
    /// Our sender, one broadcast per part.
    MeshwardTurbo,
    /// A signed update of nodes of ours: the image as it is.
    MeshwardFull,
    /// The same, packed by LZMA.
    MeshwardLzma,
    /// The same, as a patch of the release before a feature release.
    MeshwardFeature,
    /// The same, as a patch of the release before a patch release.
    MeshwardPatch,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::StockUnicast,
        Self::StockBroadcast,
        Self::MeshwardUnicast,
        Self::MeshwardTurbo,
        Self::MeshwardFull,
        Self::MeshwardLzma,
        Self::MeshwardFeature,
        Self::MeshwardPatch,
    ];

    /// Those whose receivers are stock nodes.
    pub const STOCK: [Self; 4] =
        [Self::StockUnicast, Self::StockBroadcast, Self::MeshwardUnicast, Self::MeshwardTurbo];

    /// Its name on the command line and in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StockUnicast => "stock-unicast",
            Self::StockBroadcast => "stock-broadcast",
            Self::MeshwardUnicast => "meshward-unicast",
            Self::MeshwardTurbo => "meshward-turbo",
            Self::MeshwardFull => "meshward-full",
            Self::MeshwardLzma => "meshward-lzma",
            Self::MeshwardFeature => "meshward-feature",
            Self::MeshwardPatch => "meshward-patch",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == text)
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Nodes to be updated; the sender comes on top.
    pub n: usize,
    /// How they hang together; the sender is at the top.
    pub topology: Topology,
    /// Bytes of the image.
    pub image: usize,
    /// Who sends, and how.
    pub scheme: Scheme,
    /// Forwarded frames that die at a relay, in per cent.
    pub loss: u32,
    /// The one channel.
    pub channel: Channel,
    /// How much of it our sender may fill, in per cent.
    pub airtime: u8,
}

/// One seed of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Mean distance from the sender.
    pub mean_depth: f64,
    /// Bytes of the image.
    pub image: usize,
    /// K · a · N.
    pub bound_seconds: f64,
    /// From the start to the boot of the last node, and with signed updates until all are back in the sender's
    /// tree; `None` when not all were updated.
    pub seconds: Option<f64>,
    /// From the start until the last node had the image in its slot, with signed updates.
    pub transfer_seconds: Option<f64>,
    /// The share of that time, or of the horizon, in which the channel was busy.
    pub channel_busy: f64,
    /// Bytes on links, each link counted.
    pub link_bytes: u64,
    /// Those of them that are not Data.
    pub control_bytes: u64,
    /// Nodes that run the image in the end.
    pub completed: usize,
}

/// Runs one seed of a case.
pub fn run_one(case: &Case, seed: u64) -> Run {
    update(case, &mut ready(case, seed), &mut |_, _| {})
}

/// A world in which the update of a case can begin.
struct Ground {
    world: World,
    /// The image that it is to.
    image: Arc<Image>,
    /// What a gateway is to bring, when it is signed.
    story: Option<Arc<UpdateStory>>,
}

/// The ground of a case.
fn ready(case: &Case, seed: u64) -> Ground {
    let mut rng = Rng::new(seed);
    let parents = case.topology.parents(case.n + 1, &mut rng);
    let release = case.scheme.packing().map(|packing| (signed::release(case), packing));
    let specs = match &release {
        Some((release, _)) => signed_specs(&parents, release),
        None => specs(case, &parents, &Image::synthetic("old", 4_096, 1, Behaviour::Healthy)),
    };
    let mut world = grown(&specs, case.channel, rng.next_u64());
    let synthetic = || Image::synthetic("new", case.image, 2, Behaviour::Healthy);
    let image = release.as_ref().map_or_else(synthetic, |(release, _)| Arc::clone(&release.image));
    world.add_image(&image);
    if case.loss > 0 {
        world.perform(Step::Fault(Rule::everywhere(Act::Lose, case.loss * 10_000)));
    }
    let story = release.map(|(release, packing)| signed::story(case, &world, &release, packing));
    Ground { world, image, story }
}

/// Runs the update to its end, one way or the other; `look` sees ten times a second what has happened.
fn update(case: &Case, ground: &mut Ground, look: &mut dyn FnMut(&mut World, &[Record])) -> Run {
    let Ground { world, image: new, story } = ground;
    let (start, before) = (world.now(), world.totals());
    match story {
        Some(story) => world.perform(Step::Update(Seat(0), Arc::clone(story))),
        None => begin(case, world, new),
    }
    let (mut ready, mut transfer) = (0, None);
    let mut left: Vec<Seat> = world.seats().skip(1).collect();
    let mut last_data = (start, before.firmware_bytes);
    while !(left.is_empty() && (story.is_none() || is_together(world)))
        && world.now().since(start) < HORIZON
        && !world.is_spinning()
    {
        let data = world.totals().firmware_bytes;
        if data > last_data.1 {
            last_data = (world.now(), data);
        } else if world.now().since(last_data.0) > SILENCE {
            break;
        }
        // A tenth of a second is the resolution of all times.
        world.run_for(Duration::from_millis(100));
        let records: Vec<Record> = world.records().collect();
        look(world, &records);
        ready += signed::ready(&records);
        if ready == case.n && transfer.is_none() {
            transfer = Some(world.now().since(start).as_secs_f64());
        }
        left.retain(|seat| world.running(*seat).is_none_or(|record| record.md5 != new.md5));
    }
    let (time, used) = (world.now().since(start).as_secs_f64(), world.totals().since(&before));
    let parents: Vec<Option<usize>> =
        world.seats().map(|seat| world.spec(seat).parent.map(|parent| parent.0)).collect();
    Run {
        mean_depth: topology::mean_depth(&parents),
        image: new.bytes.len(),
        bound_seconds: story.as_ref().map_or(bound_seconds(case), |story| signed::bound_seconds(case, story)),
        seconds: left.is_empty().then_some(time),
        transfer_seconds: transfer,
        channel_busy: used.busy.as_secs_f64() / time,
        link_bytes: used.bytes,
        control_bytes: used.bytes - used.firmware_bytes,
        completed: case.n - left.len(),
    }
}

/// Whether the first host sees all others in its tree.
fn is_together(world: &World) -> bool {
    let mesh = world.machine(Seat(0)).map(Machine::mesh);
    mesh.is_some_and(|mesh| world.seats().skip(1).all(|seat| mesh.knows(world.id(seat))))
}

/// A gateway, and nodes that take signed updates.
fn signed_specs(parents: &[Option<usize>], release: &Release) -> Vec<HostSpec> {
    let (setup, room) = (Arc::new(release.setup()), roomy(parents.len()));
    let spec = |(index, parent): (usize, &Option<usize>)| {
        let spec = HostSpec { boot_time: BOOT, ..HostSpec::node(id(index), parent.map(Seat)) };
        if index == 0 {
            let limits = Limits { links: room.links, ..Limits::GATEWAY };
            return HostSpec { root: true, limits, ..spec };
        }
        HostSpec { limits: room.clone(), ..spec }.with_signed_firmware(&setup, &release.base)
    };
    parents.iter().enumerate().map(spec).collect()
}

/// The sender and the receivers of a case.
fn specs(case: &Case, parents: &[Option<usize>], image: &Arc<Image>) -> Vec<HostSpec> {
    let ours = matches!(case.scheme, Scheme::MeshwardUnicast | Scheme::MeshwardTurbo);
    let room = roomy(parents.len());
    let spec = |(index, parent): (usize, &Option<usize>)| {
        let sender = index == 0;
        let mut spec = if sender && ours {
            HostSpec::node(id(index), None)
        } else {
            HostSpec::stock(id(index), parent.map(Seat))
        };
        spec.limits = if sender { Limits { links: room.links, ..Limits::GATEWAY } } else { room.clone() };
        // Broadcast mode needs a root that is a receiver; ours does not mind which node it is.
        spec.root = if case.scheme == Scheme::StockBroadcast { index == 1 } else { sender };
        spec.boot_time = BOOT;
        if sender { spec } else { spec.with_firmware(ROLE, image) }
    };
    parents.iter().enumerate().map(spec).collect()
}

/// The id of the host in this place.
pub(crate) fn id(index: usize) -> u32 {
    1_000_000_007 + 7_919 * index as u32
}

/// A mesh that has settled and is on the one channel.
pub(crate) fn grown(specs: &[HostSpec], channel: Channel, seed: u64) -> World {
    let fast = Medium::Independent { latency: Duration::from_millis(1), byte_nanos: 80 };
    let mut world = World::new(WorldConfig { seed, medium: fast, ..WorldConfig::default() });
    for (index, spec) in specs.iter().enumerate() {
        let seat = world.add_host(spec.clone());
        // One after the other, as a mesh grows.
        world.plan(Instant::ORIGIN + Duration::from_millis(20 * index as u64), Step::Join(seat));
    }
    while !world.is_settled() && world.now().since(Instant::ORIGIN) < Duration::from_secs(600) {
        world.run_for(Duration::from_secs(1));
    }
    world.run_for(Duration::from_secs(20));
    world.set_medium(Medium::Shared(channel));
    world.run_for(Duration::from_secs(5));
    world
}

fn begin(case: &Case, world: &mut World, image: &Arc<Image>) {
    let means = match case.scheme {
        Scheme::MeshwardUnicast => Means::Unicast,
        Scheme::MeshwardTurbo => Means::Turbo,
        _ => {
            let offer = StockOffer {
                image: Arc::clone(&image.bytes),
                part_size: PART,
                role: ROLE.into(),
                hardware: HARDWARE.into(),
                forced: false,
                broadcasted: case.scheme == Scheme::StockBroadcast,
                compressed: false,
            };
            return world.perform(Step::Offer(Seat(0), Box::new(offer)));
        }
    };
    let targets: Vec<NodeId> = world.seats().skip(1).map(|seat| world.id(seat)).collect();
    let plan = ImagePlan {
        scheme: means,
        image: image.bytes.to_vec(),
        role: ROLE.into(),
        hardware: HARDWARE.into(),
        targets,
        part_size: PART as u32,
        concurrency: CONCURRENCY,
        hold: false,
        tempo: Tempo::with_airtime(case.airtime),
    };
    world.perform(Step::Rollout(Seat(0), Arc::new(plan)));
}

/// K · a · N of an update of stock nodes: each of K parts crosses each of N links once, and nothing else is on the
/// channel.
pub fn bound_seconds(case: &Case) -> f64 {
    let parts = case.image.div_ceil(PART) as u64;
    case.channel.time(part_bytes()).saturating_mul(parts * case.n as u64).as_secs_f64()
}

/// A whole part on the wire, with its NUL.
fn part_bytes() -> usize {
    let offer = Offer {
        md5: [b'0'; 32][..].into(),
        hardware: HARDWARE.as_bytes().into(),
        role: ROLE.as_bytes().into(),
        forced: false,
        parts: 64,
        broadcasted: false,
        compressed: false,
    };
    let (from, dest) = (NodeId(1_000_000_007), NodeId(1_000_007_926));
    let data = Data { from, dest, routing_broadcast: false, offer, part: 10, data: vec![0; PART].into() };
    data.encode().len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_what_one_copy_per_link_takes() {
        let case = Case {
            n: 10,
            topology: Topology::Star,
            image: 64 * 1024,
            scheme: Scheme::MeshwardTurbo,
            loss: 0,
            channel: Channel::default(),
            airtime: 100,
        };
        assert_eq!(part_bytes(), 1_558);
        assert!((bound_seconds(&case) - 64.0 * 10.0 * 0.013_993).abs() < 0.01, "{}", bound_seconds(&case));
    }
}
