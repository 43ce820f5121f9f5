//! The nodes of the demonstration: each with its own port, flash file and boot loader.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use meshward_core::flash::{Books, Layout, Marks, Region, SECTOR};
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
use tokio::task::JoinSet;

use super::stock::{self, StockHost};
use super::{Args, GATEWAY, LOOK, ROLE, vitals};

/// How long a virtual node takes to boot.
const BOOT_TIME: Duration = Duration::from_millis(300);

/// How long a new image is on trial: a demonstration is not waited for a minute.
const SOAK: meshward_core::time::Duration = meshward_core::time::Duration::from_secs(1);

/// What all nodes say they are.
pub(super) const HARDWARE: &str = "ESP32";

/// Bytes of a mark in a journal, and of a block's sum in a block table.
const MARK: u32 = 4;
const SUM: u32 = 16;

/// A node, as its owner sees it.
struct VirtualNode {
    id: NodeId,
    stock: bool,
    flash: PathBuf,
    layout: Layout,
    status: watch::Receiver<HostStatus>,
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
    stop: watch::Sender<bool>,
    tasks: JoinSet<Result<(), HostError>>,
    /// Removed with everything in it when the mesh is gone.
    _folder: tempfile::TempDir,
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

/// The chip of a node, and whose updates the node takes. `keys` are those of signed nodes.
fn board(longest: usize, keys: Option<&KeyStore>) -> (Layout, Manner) {
    if keys.is_none() {
        return (compact_layout(longest), Manner::Stock { books: None });
    }
    let (layout, books) = signed_layout(longest);
    let rules = TrialRules { soak: SOAK, ..TrialRules::default() };
    (layout, Manner::Signed(SignedConfig { books, group_keys: GroupKeys::default(), rules }))
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

impl VirtualMesh {
    /// Makes the chips and starts the nodes, parents first. With `keys` those that are not stock take signed updates.
    pub(super) async fn start(
        args: &Args,
        shape: Shape,
        base: &[u8],
        image: usize,
        keys: Option<&KeyStore>,
    ) -> anyhow::Result<Self> {
        let count = args.nodes as usize;
        let folder = tempfile::tempdir().context("cannot make a temporary folder for the flash files")?;
        let traffic = Arc::new(Traffic::default());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut nodes: Vec<VirtualNode> = Vec::with_capacity(count);
        let mut addresses: Vec<SocketAddr> = Vec::with_capacity(count);
        let parents = args.topology.parents(count, args.seed);
        let stock = chosen(count, args.stock as usize, args.seed);
        for ((id, parent), stock) in ids(count, args.seed).into_iter().zip(parents).zip(stock) {
            let flash = folder.path().join(format!("{id}.flash"));
            let (layout, manner) = board(base.len().max(image), keys.filter(|_| !stock));
            let chip = FlashFile::open(&flash, layout.size)?;
            boot::provision(&chip, &layout, base)?;
            if let (Manner::Signed(signed), Some(keys)) = (&manner, keys) {
                boot::provision_keys(&chip, &signed.books, keys)?;
            }
            let dial = parent.and_then(|parent| addresses.get(parent));
            let seed = args.seed ^ u64::from(id.0);
            let limits = Limits { links: count + 2, ..Limits::NODE };
            let mesh = MeshConfig { limits, ..MeshConfig::node(id, seed) };
            let shell = ShellConfig {
                listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
                dial: dial.map(|address| address.to_string().parse()).transpose()?.into_iter().collect(),
                shape: Some(shape),
                seed,
                tap: None,
            };
            let (role, hardware) = (ROLE.to_owned(), HARDWARE.to_owned());
            let (sender, mut status) = watch::channel(HostStatus::default());
            let (traffic, stopped) = (Arc::clone(&traffic), stopped.clone());
            if stock {
                let flash = flash.clone();
                let host = StockHost { mesh, shell, role, hardware, flash, layout, boot_time: BOOT_TIME };
                tasks.spawn(stock::run(host, traffic, sender, stopped));
            } else {
                let flash = flash.clone();
                let firmware = Some(FirmwareConfig { role, hardware, flash, layout, manner });
                let telemetry = Some(telemetry::Config::default());
                let sensors = Some(vitals::sensors(seed));
                let host = HostConfig { mesh, shell, firmware, telemetry, sensors, boot_time: BOOT_TIME };
                tasks.spawn(host::run(host, traffic, sender, stopped));
            }
            let up = status.wait_for(|status| status.listen.is_some()).await;
            let listen = up.context("a node did not start")?.listen.context("a node has no port")?;
            addresses.push(listen);
            nodes.push(VirtualNode { id, stock, flash, layout, status });
        }
        let entry = *addresses.first().context("a mesh needs a node")?;
        Ok(Self { nodes, entry, traffic, stop, tasks, _folder: folder })
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
                stock: node.stock,
                boots: node.status.borrow().boots,
                sha256: stored.map(|stored| Sha256::digest(&stored).into()),
                updated,
                ready: node.status.borrow().ready,
            });
        }
        Ok(outcomes)
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a node ended abnormally")??;
        }
        Ok(())
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
}
