//! The nodes of the demonstration: each with its own port, flash file and boot loader.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use meshward_core::flash::{Layout, Region, SECTOR};
use meshward_core::mesh::{Limits, MeshConfig};
use meshward_core::rng::Rng;
use meshward_core::wire::NodeId;
use meshward_gateway::boot;
use meshward_gateway::flash_file::FlashFile;
use meshward_gateway::host::{self, FirmwareConfig, HostConfig, HostError, HostStatus};
use meshward_gateway::shell::{Shape, ShellConfig, Traffic};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::stock::{self, StockHost};
use super::{Args, GATEWAY, ROLE};

/// How long a virtual node takes to boot.
const BOOT_TIME: Duration = Duration::from_millis(300);

/// What all nodes say they are.
const HARDWARE: &str = "ESP32";

/// A node, as its owner sees it.
struct VirtualNode {
    id: NodeId,
    stock: bool,
    flash: PathBuf,
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
}

/// All nodes.
pub(super) struct VirtualMesh {
    nodes: Vec<VirtualNode>,
    layout: Layout,
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
    /// Makes the chips and starts the nodes, parents first.
    pub(super) async fn start(args: &Args, shape: Shape, base: &[u8], image: usize) -> anyhow::Result<Self> {
        let count = args.nodes as usize;
        let folder = tempfile::tempdir().context("cannot make a temporary folder for the flash files")?;
        let layout = compact_layout(base.len().max(image));
        let traffic = Arc::new(Traffic::default());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut nodes: Vec<VirtualNode> = Vec::with_capacity(count);
        let mut addresses: Vec<SocketAddr> = Vec::with_capacity(count);
        let parents = args.topology.parents(count, args.seed);
        let stock = chosen(count, args.stock as usize, args.seed);
        for ((id, parent), stock) in ids(count, args.seed).into_iter().zip(parents).zip(stock) {
            let flash = folder.path().join(format!("{id}.flash"));
            boot::provision(&FlashFile::open(&flash, layout.size)?, &layout, base)?;
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
                let firmware = Some(FirmwareConfig { role, hardware, flash, layout, books: None });
                let host = HostConfig { mesh, shell, firmware, boot_time: BOOT_TIME };
                tasks.spawn(host::run(host, traffic, sender, stopped));
            }
            let up = status.wait_for(|status| status.listen.is_some()).await;
            let listen = up.context("a node did not start")?.listen.context("a node has no port")?;
            addresses.push(listen);
            nodes.push(VirtualNode { id, stock, flash, status });
        }
        let entry = *addresses.first().context("a mesh needs a node")?;
        Ok(Self { nodes, layout, entry, traffic, stop, tasks, _folder: folder })
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

    /// Reads and hashes every node's flash, waiting up to `patience` for nodes that are still booting.
    pub(super) async fn outcome(&self, image: &[u8], patience: Duration) -> anyhow::Result<Vec<NodeOutcome>> {
        use sha2::{Digest as _, Sha256};
        let deadline = Instant::now() + patience;
        let mut outcomes = Vec::new();
        for node in &self.nodes {
            let flash = FlashFile::open(&node.flash, self.layout.size)?;
            let record = boot::select(&flash, &self.layout)?;
            let stored = match record {
                Some(record) => boot::image(&flash, &self.layout, &record)?,
                None => None,
            };
            let same = stored.as_deref() == Some(image);
            let mut status = node.status.clone();
            if same {
                // The image is there; it counts when the boot loader has started it.
                let left = deadline.saturating_duration_since(Instant::now());
                let runs = status.wait_for(|status| status.running == record);
                drop(tokio::time::timeout(left, runs).await);
            }
            let status = *node.status.borrow();
            outcomes.push(NodeOutcome {
                id: node.id,
                stock: node.stock,
                boots: status.boots,
                sha256: stored.map(|stored| Sha256::digest(&stored).into()),
                updated: same && status.running == record,
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
