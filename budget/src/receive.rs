//! A receiver and its flash, which is memory: the patch release of the test images, whole, into its slot.
//!
//! What is on the account is the receiver alone: the flash, the messages and the chunks are a shell's, which
//! lends them. The image is written in place, so that the whole of it travels and no decoder takes part.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ed25519_compact::{KeyPair, Noise, Seed};
use meshward_core::codec::{Codec, Sizes};
use meshward_core::flash::{
    Books, Completion, ERASED, FlashOp, Layout, Marks, Region, SECTOR, Slot, erase, program,
};
use meshward_core::hash::{BLOCK, BlockHash, Md5Sum, Sha256Sum};
use meshward_core::mesh::LinkId;
use meshward_core::node::Node;
use meshward_core::ota::BootRecord;
use meshward_core::ota::exchange::Offering;
use meshward_core::ota::receiver::{ChunkOutcome, Config, Event, Receiver, State};
use meshward_core::ota::trial::{Health, ResetReason, TrialRules};
use meshward_core::ota::trust::{
    Descriptor, Domain, GroupKeys, KEYS_MAX, Key, KeyKind, KeyStore, Manifest, Order, PublicKey, Verb,
    assemble, to_be_signed,
};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use crate::install::BASE;
use crate::machine::on_account;

/// Bytes of a chunk, as they travel.
const CHUNK: usize = 1_024;
const NODE: NodeId = NodeId(7);
/// Images that a node never takes.
const QUARANTINED: u8 = 8;
/// Sectors of a slot: the image has 130, so that there is no room for it twice.
const SLOT: u32 = 144;

const fn sectors(first: u32, count: u32) -> Region {
    Region { start: first * SECTOR, len: count * SECTOR }
}

const LAYOUT: Layout = Layout {
    size: (2 * SLOT + 10) * SECTOR,
    slots: [sectors(2, SLOT), sectors(2 + SLOT, SLOT)],
    boot: [sectors(0, 1), sectors(1, 1)],
};
const BEHIND: u32 = 2 + 2 * SLOT;
const BOOKS: Books = Books {
    journal: [sectors(BEHIND, 2), sectors(BEHIND + 2, 1)],
    marks: Marks::Words,
    trial: [sectors(BEHIND + 3, 1), sectors(BEHIND + 4, 1)],
    memory: [sectors(BEHIND + 5, 1), sectors(BEHIND + 6, 1)],
};

/// What the world has: messages, the block table, and the node's flash.
pub(crate) struct World {
    image: &'static [u8],
    manifest: Vec<u8>,
    descriptor: Vec<u8>,
    order: Vec<u8>,
    table: Vec<u8>,
    flash: Vec<u8>,
    running: BootRecord,
}

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([seed + 1; 32]))
}

fn sign(seed: u8, domain: Domain, content: &[u8]) -> Option<Vec<u8>> {
    let pair = pair(seed);
    let id = PublicKey::new(*pair.pk)?.id();
    let signature = pair.sk.sign(to_be_signed(domain, id, content), None::<Noise>);
    Some(assemble(id, content, &signature))
}

fn order(counter: u8, verb: Verb) -> Option<Vec<u8>> {
    let order = Order { counter: counter.into(), verb, issued_at: None, not_after: None, nodes: None };
    sign(1, Domain::Order, &order.encode())
}

impl World {
    /// A node from the factory, with as many keys as it can have, and a release for it.
    pub(crate) fn new(new: &'static [u8]) -> Option<Self> {
        let kinds = [KeyKind::Author, KeyKind::Operator, KeyKind::Recovery];
        let keys: Option<Vec<Key>> = (0..KEYS_MAX)
            .map(|index| Some(Key::new(*kinds.get(index % 3)?, PublicKey::new(*pair(index as u8).pk)?)))
            .collect();
        let keys = KeyStore::new(&keys?).ok()?;
        let table: Vec<u8> = new.chunks(BLOCK).flat_map(|block| BlockHash::of(block).0).collect();
        let image = Sha256Sum::of(new);
        let size = new.len() as u32;
        let manifest = Manifest {
            sha256: image,
            md5: Md5Sum::of(new),
            size,
            hardware: "ESP32".into(),
            role: "sensor".into(),
            version: "1.4.3".into(),
            sequence: 12,
            protocol: (1, 1),
            not_after: None,
        };
        let descriptor = Descriptor {
            seal: None,
            image,
            base: None,
            codec: Codec::None,
            sizes: Sizes { packed: size, plain: size },
            sha256: image,
            chunk_size: CHUNK as u16,
            table: Sha256Sum::of(&table),
        };
        let mut flash = alloc::vec![ERASED; LAYOUT.size as usize];
        let start = LAYOUT.slot(Slot::A).start as usize;
        flash.get_mut(start..start + BASE.len())?.copy_from_slice(BASE);
        let running =
            BootRecord { sequence: 1, slot: Slot::A, size: BASE.len() as u32, md5: Md5Sum::of(BASE) };
        let mut world = Self {
            image: new,
            manifest: sign(0, Domain::Manifest, &manifest.encode())?,
            descriptor: sign(1, Domain::Descriptor, &descriptor.encode())?,
            order: order(QUARANTINED + 1, Verb::Activate(image))?,
            table,
            flash,
            running,
        };
        for op in Receiver::provision(&BOOKS, &keys) {
            world.execute(&op)?;
        }
        // Its quarantine is as full as it gets.
        let mut receiver = world.boot()?;
        for counter in 1..=QUARANTINED {
            let verb = Verb::Quarantine(Sha256Sum([counter; 32]));
            receiver.handle_order(Instant::ORIGIN, &order(counter, verb)?).ok()?;
            world.settle(&mut receiver)?;
        }
        Some(world)
    }

    fn chunk(&self, index: usize) -> Option<&[u8]> {
        let tables = self.table.len().div_ceil(CHUNK);
        if index < tables {
            self.table.chunks(CHUNK).nth(index)
        } else {
            self.image.chunks(CHUNK).nth(index - tables)
        }
    }

    fn chunks(&self) -> usize {
        self.table.len().div_ceil(CHUNK) + self.image.len().div_ceil(CHUNK)
    }

    /// What a gateway brings.
    pub(crate) fn offering(&self) -> Offering {
        Offering {
            manifest: self.manifest.clone(),
            descriptor: self.descriptor.clone(),
            table: self.table.clone(),
            payload: self.image.to_vec(),
        }
    }

    /// Executes what a node wants of the flash; `as_node` runs what is the node's own.
    pub(crate) fn settle_node(
        &mut self,
        now: Instant,
        node: &mut Node,
        as_node: &dyn Fn(&mut dyn FnMut()),
    ) -> Option<()> {
        let poll = |node: &mut Node| {
            let mut op = None;
            as_node(&mut || op = node.poll_flash());
            op
        };
        while let Some(op) = poll(node) {
            let read = if let FlashOp::Read { address, len } = op {
                Some(self.flash.get(address as usize..(address + len) as usize)?)
            } else {
                self.execute(&op)?;
                None
            };
            let mut op = Some(op);
            as_node(&mut || {
                op = None;
                node.handle_flash(now, read.map_or(Completion::Done, Completion::Data));
                while node.poll_event().is_some() {}
            });
        }
        Some(())
    }

    fn execute(&mut self, op: &FlashOp) -> Option<()> {
        match op {
            FlashOp::Erase { address } => erase(&mut self.flash, *address).ok(),
            FlashOp::Program { address, data } => program(&mut self.flash, *address, data).ok(),
            FlashOp::Read { .. } => None,
        }
    }

    /// Executes what the receiver wants of the flash; whether the machine is to be reset.
    fn settle(&mut self, receiver: &mut Receiver) -> Option<bool> {
        while let Some(op) = on_account(|| receiver.poll_flash()) {
            let read = if let FlashOp::Read { address, len } = op {
                Some(self.flash.get(address as usize..(address + len) as usize)?)
            } else {
                self.execute(&op)?;
                None
            };
            let completion = read.map_or(Completion::Done, Completion::Data);
            on_account(|| {
                drop(op);
                receiver.handle_flash(Instant::ORIGIN, completion);
            });
        }
        let mut restart = false;
        while let Some(event) = on_account(|| receiver.poll_event()) {
            restart |= event == Event::Restart;
        }
        Some(restart)
    }

    /// A receiver after a reset, on the account with all it is.
    fn boot(&mut self) -> Option<Box<Receiver>> {
        let mut receiver = on_account(|| Box::new(Receiver::new(self.config(NODE))));
        self.settle(&mut receiver)?;
        Some(receiver)
    }

    /// What a node's receiver is told at its birth.
    pub(crate) fn config(&self, id: NodeId) -> Config {
        Config {
            group_keys: GroupKeys::default(),
            id,
            hardware: "ESP32".into(),
            role: "sensor".into(),
            protocol: (1, 1),
            chip: Some(5),
            layout: LAYOUT,
            books: BOOKS,
            running: self.running,
            committed: self.running,
            previous: None,
            reset: ResetReason::PowerOn,
            rollback: true,
            rules: TrialRules::default(),
            supply_least: None,
        }
    }

    /// The chunks from one to another, the last one first.
    fn send(&mut self, receiver: &mut Receiver, from: usize, to: usize) -> Option<()> {
        for index in (from..to).rev() {
            let chunk = self.chunk(index)?;
            let outcome = on_account(|| receiver.handle_chunk(LinkId(1), index as u32, chunk));
            if outcome != ChunkOutcome::Taken {
                return None;
            }
            self.settle(receiver)?;
        }
        Some(())
    }
}

/// A whole image by way of a reset, until the boot loader is to start it; whether all went well.
#[inline(never)]
pub(crate) fn receive(world: &mut World) -> Option<bool> {
    let mut receiver = world.boot()?;
    let (manifest, descriptor) = (world.manifest.clone(), world.descriptor.clone());
    on_account(|| receiver.offer(&manifest, &descriptor)).ok()?;
    world.settle(&mut receiver)?;
    let half = world.chunks() / 2;
    world.send(&mut receiver, half, world.chunks())?;
    on_account(|| drop(receiver));
    let mut receiver = world.boot()?;
    world.send(&mut receiver, 0, half)?;
    if receiver.state() != State::Ready {
        return Some(false);
    }
    let order = world.order.clone();
    on_account(|| {
        receiver.handle_health(Instant::ORIGIN, Health::default());
        receiver.handle_order(Instant::ORIGIN, &order)
    })
    .ok()?;
    let restart = world.settle(&mut receiver)?;
    on_account(|| drop(receiver));
    Some(restart)
}
