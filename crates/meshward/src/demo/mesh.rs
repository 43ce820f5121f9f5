//! The nodes of the demonstration: each with its own port, flash file and boot loader.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use meshward_core::flash::{Books, Layout, Marks, Region, SECTOR};
use meshward_core::hash::Md5Sum;
use meshward_core::mesh::{Limits, MeshConfig};
use meshward_core::ota::BootRecord;
use meshward_core::ota::journal::HEAD;
use meshward_core::ota::trial::TrialRules;
use meshward_core::ota::trust::{GroupKeys, KeyStore};
use meshward_core::rng::Rng;
use meshward_core::telemetry;
use meshward_core::wire::NodeId;
use meshward_gateway::boot;
use meshward_gateway::flash_file::FlashFile;
use meshward_gateway::host::{self, FirmwareConfig, HostConfig, HostError, HostStatus, Manner, SignedConfig};
use meshward_gateway::shell::{Shape, ShellConfig, Traffic};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::stock::{self, StockHost};
use super::vitals::{Body, Character};
use super::{Args, GATEWAY, LOOK, ROLE, shape};

/// How long a virtual node takes to boot.
const BOOT_TIME: Duration = Duration::from_millis(300);

/// How long a new image is on trial: a demonstration is not waited for a minute.
const SOAK: meshward_core::time::Duration = meshward_core::time::Duration::from_secs(1);

/// A link that is weak: what is sent over it takes a while.
const WEAK_LINK: Shape =
    Shape { latency: meshward_core::time::Duration::from_millis(60), bytes_per_second: 30_000 };

/// What all nodes say they are.
pub(super) const HARDWARE: &str = "ESP32";

/// Bytes of a mark in a journal, and of a block's sum in a block table.
const MARK: u32 = 4;
const SUM: u32 = 16;

/// A node, as its owner sees it.
struct VirtualNode {
    id: NodeId,
    flash: PathBuf,
    layout: Layout,
    /// Whom it dials, by the place in the list.
    parent: Option<usize>,
    host: Host,
    body: Body,
    status: watch::Receiver<HostStatus>,
    stop: watch::Sender<bool>,
    /// What runs it; nothing while it is away.
    task: Option<JoinHandle<Result<(), HostError>>>,
}

/// What a node is, for it to be started again.
#[derive(Clone)]
enum Host {
    Meshward(Box<HostConfig>),
    Stock(Box<StockHost>),
}

impl Host {
    const fn is_stock(&self) -> bool {
        matches!(self, Self::Stock(_))
    }

    fn shell(&mut self) -> &mut ShellConfig {
        match self {
            Self::Meshward(host) => &mut host.shell,
            Self::Stock(host) => &mut host.shell,
        }
    }

    /// Starts it.
    fn start(self, traffic: Arc<Traffic>) -> Running {
        let (sender, status) = watch::channel(HostStatus::default());
        let (stop, stopped) = watch::channel(false);
        let task = match self {
            Self::Meshward(host) => tokio::spawn(host::run(*host, traffic, sender, stopped)),
            Self::Stock(host) => tokio::spawn(stock::run(*host, traffic, sender, stopped)),
        };
        Running { status, stop, task }
    }
}

/// A node that was started.
struct Running {
    status: watch::Receiver<HostStatus>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), HostError>>,
}

/// What a node's flash proved at the end.
pub(super) struct NodeOutcome {
    pub(super) id: NodeId,
    /// It behaves as the C++ library.
    pub(super) stock: bool,
    /// How often it has booted.
    pub(super) boots: u32,
    /// SHA-256 of the image that its boot loader starts.
    pub(super) sha256: Option<[u8; 32]>,
    /// Whether that is the new image, byte for byte, and runs.
    pub(super) updated: bool,
    /// When a signed update was installed.
    pub(super) ready: Option<SystemTime>,
}

/// All nodes.
pub(super) struct VirtualMesh {
    nodes: Vec<VirtualNode>,
    entry: SocketAddr,
    traffic: Arc<Traffic>,
    /// Removed with everything in it when the mesh is gone.
    folder: tempfile::TempDir,
}

/// A chip with two slots that just hold the images, so that a hundred of them are quickly made.
fn compact_layout(longest: usize) -> Layout {
    let len = (longest as u32).div_ceil(SECTOR).max(1) * SECTOR;
    let at = |start| Region { start, len };
    let boot = |start| Region { start, len: SECTOR };
    let slots = [at(2 * SECTOR), at(2 * SECTOR + len)];
    Layout { size: 2 * SECTOR + 2 * len, slots, boot: [boot(0), boot(SECTOR)] }
}

/// A chip whose slots hold an image and a packed one beside it, with the books of a signed receiver behind them.
fn signed_layout(longest: usize) -> (Layout, Books) {
    let image = (longest as u32).div_ceil(SECTOR).max(1);
    let mut layout = compact_layout(((image + image * 7 / 10 + 1) * SECTOR) as usize);
    // As many chunks as the longest image has, however long its payloads are, in the smallest chunks that are made.
    let chunks = (image + 1) * SECTOR / 1_024 + 8;
    let mut next = layout.size;
    let mut take = |sectors: u32| {
        let region = Region { start: next, len: sectors * SECTOR };
        next += region.len;
        region
    };
    let journal = [take((HEAD + MARK * chunks).div_ceil(SECTOR)), take((SUM * (image + 1)).div_ceil(SECTOR))];
    let books = Books { journal, marks: Marks::Words, trial: [take(1), take(1)], memory: [take(1), take(1)] };
    layout.size = next;
    (layout, books)
}

/// The chip of a node, and whose updates the node takes. `keys` are those of signed nodes, `faulty` images that fail on
/// them.
fn board(longest: usize, keys: Option<&KeyStore>, faulty: &[Md5Sum]) -> (Layout, Manner) {
    if keys.is_none() {
        return (compact_layout(longest), Manner::Stock { books: None });
    }
    let (layout, books) = signed_layout(longest);
    let rules = TrialRules { soak: SOAK, ..TrialRules::default() };
    let (group_keys, faulty) = (GroupKeys::default(), faulty.to_vec());
    (layout, Manner::Signed(SignedConfig { books, group_keys, rules, faulty }))
}

/// Ids as MACs give them: spread over all 32 bits, never the gateway's.
fn ids(nodes: usize, seed: u64) -> Vec<NodeId> {
    let mut rng = Rng::new(seed).fork();
    let mut ids = std::collections::BTreeSet::new();
    while ids.len() < nodes {
        let id = NodeId(rng.next_u64() as u32);
        if id != NodeId::NONE && id != GATEWAY {
            ids.insert(id);
        }
    }
    ids.into_iter().collect()
}

/// `stock` of `nodes` places, anywhere in the tree.
fn chosen(nodes: usize, stock: usize, seed: u64) -> Vec<bool> {
    let mut rng = Rng::new(seed ^ 0x570C);
    let mut left = stock;
    // Each place is taken with the share of those that are still to be taken.
    (0..nodes)
        .map(|index| {
            let taken = rng.below((nodes - index) as u64) < left as u64;
            left -= usize::from(taken);
            taken
        })
        .collect()
}

/// Who is weak and who leaks, in a mesh that lives on: one of each, at the ends of the tree, where nothing hangs on them.
fn characters(parents: &[Option<usize>], stock: &[bool], seed: u64) -> Vec<Character> {
    let mut characters = vec![Character::Well; parents.len()];
    let mut leaves: Vec<usize> = (1..parents.len())
        .filter(|index| !parents.contains(&Some(*index)) && stock.get(*index) == Some(&false))
        .collect();
    let mut rng = Rng::new(seed ^ 0xC4A2);
    for character in [Character::Weak, Character::Leaking] {
        if leaves.is_empty() {
            break;
        }
        let chosen = leaves.swap_remove(rng.below(leaves.len() as u64) as usize);
        if let Some(place) = characters.get_mut(chosen) {
            *place = character;
        }
    }
    characters
}

impl VirtualMesh {
    /// Makes the chips and starts the nodes, parents first. With `keys` those that are not stock take signed updates.
    pub(super) async fn start(
        args: &Args,
        base: &[u8],
        image: &[u8],
        keys: Option<&KeyStore>,
    ) -> anyhow::Result<Self> {
        let faulty: Vec<Md5Sum> = args.story.iter().map(|_bad| Md5Sum::of(image)).collect();
        let quiet = args.once || args.story.is_some();
        let count = args.nodes() as usize;
        let folder = tempfile::tempdir().context("cannot make a temporary folder for the flash files")?;
        let traffic = Arc::new(Traffic::default());
        let mut nodes: Vec<VirtualNode> = Vec::with_capacity(count);
        let parents = args.topology.parents(count, args.seed);
        let stock = chosen(count, args.stock as usize, args.seed);
        let characters =
            if quiet { vec![Character::Well; count] } else { characters(&parents, &stock, args.seed) };
        let mut entry = None;
        for (((id, parent), stock), character) in
            ids(count, args.seed).into_iter().zip(parents).zip(stock).zip(characters)
        {
            let flash = folder.path().join(format!("{id}.flash"));
            let (layout, manner) = board(base.len().max(image.len()), keys.filter(|_| !stock), &faulty);
            let chip = FlashFile::open(&flash, layout.size)?;
            boot::provision(&chip, &layout, base)?;
            if let (Manner::Signed(signed), Some(keys)) = (&manner, keys) {
                boot::provision_keys(&chip, &signed.books, keys)?;
            }
            let dial = parent.and_then(|parent| nodes.get(parent)).and_then(VirtualNode::listens);
            let seed = args.seed ^ u64::from(id.0);
            let limits = Limits { links: count + 2, ..Limits::NODE };
            let mesh = MeshConfig { limits, ..MeshConfig::node(id, seed) };
            let shape = if character == Character::Weak { WEAK_LINK } else { args.shape() };
            let shell = ShellConfig {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
                dial: dial.map(|address| address.to_string().parse()).transpose()?.into_iter().collect(),
                shape: Some(shape),
                seed,
                tap: None,
            };
            let (role, hardware) = (ROLE.to_owned(), HARDWARE.to_owned());
            let body = Body::new(seed, character);
            let host = if stock {
                let flash = flash.clone();
                let host = StockHost { mesh, shell, role, hardware, flash, layout, boot_time: BOOT_TIME };
                Host::Stock(Box::new(host))
            } else {
                let firmware = Some(FirmwareConfig { role, hardware, flash: flash.clone(), layout, manner });
                let telemetry = Some(telemetry::Config::default());
                let sensors = Some(body.sensors());
                let host = HostConfig { mesh, shell, firmware, telemetry, sensors, boot_time: BOOT_TIME };
                Host::Meshward(Box::new(host))
            };
            let Running { mut status, stop, task } = host.clone().start(Arc::clone(&traffic));
            let up = status.wait_for(|status| status.listen.is_some()).await;
            let listen = up.context("a node did not start")?.listen.context("a node has no port")?;
            entry.get_or_insert(listen);
            nodes.push(VirtualNode { id, flash, layout, parent, host, body, status, stop, task: Some(task) });
        }
        let entry = entry.context("a mesh needs a node")?;
        Ok(Self { nodes, entry, traffic, folder })
    }

    /// The nodes' ids, in the order in which they were made.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().map(|node| node.id)
    }

    /// Where there is room for files that end with the mesh.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Nodes that are there, that nothing hangs on, and that are as most are.
    pub(super) fn leaves(&self) -> Vec<usize> {
        let hangs_on = |index| self.nodes.iter().any(|node| node.parent == Some(index));
        let plain = |node: &VirtualNode| node.task.is_some() && node.body.character() == Character::Well;
        let all = self.nodes.iter().enumerate().skip(1);
        all.filter(|(index, node)| plain(node) && !hangs_on(*index)).map(|(index, _)| index).collect()
    }

    /// Nodes that `index` could hang on instead: they are there, and have room.
    pub(super) fn other_parents(&self, index: usize) -> Vec<usize> {
        let own = self.nodes.get(index).and_then(|node| node.parent);
        let children = |of| self.nodes.iter().filter(|node| node.parent == Some(of)).count();
        let fits = |other: usize, node: &VirtualNode| {
            other != index && Some(other) != own && node.task.is_some() && children(other) < shape::FAN_OUT
        };
        let all = self.nodes.iter().enumerate();
        // Whoever has children already is near the middle: the tree gets no deeper by much.
        let fitting = all.filter(|(other, node)| fits(*other, node) && children(*other) > 0);
        fitting.map(|(other, _)| other).collect()
    }

    /// Nodes that have no heap to go on with.
    pub(super) fn exhausted(&self) -> Vec<usize> {
        let exhausted = |node: &VirtualNode| node.task.is_some() && node.body.is_exhausted();
        let all = self.nodes.iter().enumerate();
        all.filter(|(_, node)| exhausted(node)).map(|(index, _)| index).collect()
    }

    /// Takes a node's power away; it is gone when this returns.
    pub(super) async fn leave(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        node.stop.send_replace(true);
        // Its port is taken again: it stays the same over restarts.
        node.host.shell().listen = node.listens();
        if let Some(task) = node.task.take() {
            task.await.context("a node ended abnormally")??;
        }
        Ok(())
    }

    /// Gives a node that is away its power again; with `parent` it hangs on another one than before.
    pub(super) fn come(&mut self, index: usize, parent: Option<usize>) -> anyhow::Result<()> {
        let at = parent.and_then(|parent| self.nodes.get(parent)).and_then(VirtualNode::listens);
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        if let Some(address) = at {
            node.host.shell().dial = vec![address.to_string().parse()?];
            node.parent = parent;
        }
        node.body.restart();
        let Running { status, stop, task } = node.host.clone().start(Arc::clone(&self.traffic));
        (node.status, node.stop, node.task) = (status, stop, Some(task));
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The port of the first node.
    pub(super) fn entry(&self) -> SocketAddr {
        self.entry
    }

    /// Bytes that all nodes have written to sockets.
    pub(super) fn bytes(&self) -> u64 {
        self.traffic.sent.load(Ordering::Relaxed)
    }

    /// Reads and hashes every node's flash, waiting up to `patience` for nodes that are still booting, or have their
    /// image on trial.
    pub(super) async fn outcome(&self, image: &[u8], patience: Duration) -> anyhow::Result<Vec<NodeOutcome>> {
        use sha2::{Digest as _, Sha256};
        let deadline = Instant::now() + patience;
        let mut outcomes = Vec::new();
        for node in &self.nodes {
            let flash = FlashFile::open(&node.flash, node.layout.size)?;
            let (stored, updated) = loop {
                let counts = boot::select(&flash, &node.layout)?;
                let stored = match counts {
                    Some(record) => boot::image(&flash, &node.layout, &record)?,
                    None => None,
                };
                let what = |record: BootRecord| (record.slot, record.md5);
                let runs = node.status.borrow().running.map(what) == counts.map(what);
                let updated = runs && stored.as_deref() == Some(image);
                if updated || Instant::now() >= deadline {
                    break (stored, updated);
                }
                tokio::time::sleep(LOOK).await;
            };
            outcomes.push(NodeOutcome {
                id: node.id,
                stock: node.host.is_stock(),
                boots: node.status.borrow().boots,
                sha256: stored.map(|stored| Sha256::digest(&stored).into()),
                updated,
                ready: node.status.borrow().ready,
            });
        }
        Ok(outcomes)
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.stop.send_replace(true);
        }
        for task in self.nodes.into_iter().filter_map(|node| node.task) {
            task.await.context("a node ended abnormally")??;
        }
        Ok(())
    }
}

impl VirtualNode {
    /// Where it takes neighbours, once it has been up.
    fn listens(&self) -> Option<SocketAddr> {
        self.status.borrow().listen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_chip_holds_both_images() {
        for longest in [0, 1, 4_096, 4_097, 569_296] {
            let layout = compact_layout(longest);
            let [a, b] = layout.slots;
            assert!(a.len as usize >= longest && a.start + a.len == b.start, "{longest}");
            assert_eq!(layout.size, b.start + b.len);
        }
    }

    #[test]
    fn a_signed_chip_holds_an_image_and_a_packed_one() {
        for longest in [1, 4_097, 569_296, 1_900_000] {
            let (layout, books) = signed_layout(longest);
            let room = layout.slots[0].len as usize - longest.next_multiple_of(SECTOR as usize);
            assert!(room >= longest * 6 / 10, "{longest}");
            let mut regions = [layout.boot, layout.slots, books.journal, books.trial, books.memory].concat();
            regions.sort_by_key(|region| region.start);
            assert!(regions.windows(2).all(|pair| pair[0].start + pair[0].len == pair[1].start));
            assert_eq!(regions.last().map(|last| last.start + last.len), Some(layout.size));
        }
    }

    #[test]
    fn ids_are_distinct_and_repeatable() {
        assert_eq!(ids(100, 7), ids(100, 7));
        assert_ne!(ids(100, 7), ids(100, 8));
        assert_eq!(ids(500, 1).len(), 500);
    }

    #[test]
    fn as_many_are_stock_as_were_asked_for() {
        for stock in [0, 1, 30, 50] {
            let chosen = chosen(50, stock, 3);
            assert_eq!((chosen.len(), chosen.iter().filter(|stock| **stock).count()), (50, stock));
        }
        assert_ne!(chosen(50, 25, 1), chosen(50, 25, 2));
    }

    #[test]
    fn one_leaf_is_weak_and_another_leaks() {
        for seed in 0..20 {
            let parents = shape::Topology::Random.parents(40, seed);
            let characters = characters(&parents, &[false; 40], seed);
            for character in [Character::Weak, Character::Leaking] {
                let which: Vec<usize> = (0..40).filter(|index| characters[*index] == character).collect();
                assert!(which.len() == 1 && !parents.contains(&Some(which[0])), "{seed} {character:?}");
            }
        }
        // Where there is no such leaf nobody is.
        assert_eq!(characters(&[None], &[false], 1), [Character::Well]);
        assert_eq!(characters(&[None, Some(0)], &[false, true], 1), [Character::Well; 2]);
        assert_eq!(characters(&[None, Some(0)], &[false, false], 1)[1], Character::Weak);
    }
}
