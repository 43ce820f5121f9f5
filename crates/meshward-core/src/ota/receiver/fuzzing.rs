//! What must hold for a receiver whatever is done to it: the body of a fuzz target, shared with the test that
//! replays its corpus. It panics when it does not hold; nothing else calls it. The board, the releases and the
//! boot loader also serve the story of a whole node (`crate::fuzzing`).
//!
//! The input is a story: offers, chunks, orders, answers of the flash, health, resets, flipped bits. The node may
//! refuse what it likes, but it never panics, never touches the running image, never breaks a rule of the flash,
//! and the boot loader never starts an image that nobody signed.

use alloc::vec;
use alloc::vec::Vec;

use ed25519_compact::{KeyPair, Noise, Seed};

use super::{Config, Event, Receiver, State};
use crate::codec::{Codec, Sizes};
use crate::flash::{
    Books, Completion, ERASED, FlashOp, Layout, Marks, Region, SECTOR, Slot, UNIT, erase, program,
};
use crate::hash::{BLOCK, BlockHash, Md5Sum, Sha256Sum};
use crate::mesh::LinkId;
use crate::ota::trial::{Choice, Health, ResetReason, TrialCopies, TrialRules, choose};
use crate::ota::trust::{
    Descriptor, Domain, GroupKeys, Key, KeyChange, KeyKind, KeyStore, Manifest, Order, Policy, PublicKey,
    Verb, assemble, to_be_signed,
};
use crate::ota::{BootRecord, write_record};
use crate::time::{Duration, Instant};
use crate::wire::NodeId;

/// Steps of a story; the rest is not heard.
const STEPS: usize = 400;
/// Commands to the flash after which somebody turns in circles.
pub(crate) const COMMANDS: usize = 4_000;
pub(crate) const CHUNK: usize = 512;
const IMAGE: usize = 5_000;

const fn sectors(first: u32, count: u32) -> Region {
    Region { start: first * SECTOR, len: count * SECTOR }
}

pub(crate) const LAYOUT: Layout =
    Layout { size: 16 * SECTOR, slots: [sectors(2, 4), sectors(6, 4)], boot: [sectors(0, 1), sectors(1, 1)] };

pub(crate) fn books(marks: Marks) -> Books {
    let journal = [sectors(10, 1), sectors(11, 1)];
    Books {
        journal,
        marks,
        trial: [sectors(12, 1), sectors(13, 1)],
        memory: [sectors(14, 1), sectors(15, 1)],
    }
}

fn image(seed: u8) -> Vec<u8> {
    (0..IMAGE).map(|at| (at % 251) as u8 ^ (at / 300) as u8 ^ seed).collect()
}

/// The story, byte by byte; nothing at its end.
pub(crate) struct Story<'a>(pub(crate) &'a [u8]);

impl<'a> Story<'a> {
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}

/// A release: the image, and how it is offered.
pub(crate) struct Release {
    pub(crate) image: Vec<u8>,
    pub(crate) table: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) descriptor: Vec<u8>,
}

impl Release {
    /// A chunk of its payload, the block table's first.
    pub(crate) fn chunk(&self, index: usize) -> Option<&[u8]> {
        match index.checked_sub(self.table.len().div_ceil(CHUNK)) {
            None => self.table.chunks(CHUNK).nth(index),
            Some(index) => self.image.chunks(CHUNK).nth(index),
        }
    }
}

/// A chip with an image in slot A that counts, and the keys of a factory.
pub(crate) struct Chip {
    pub(crate) books: Books,
    pub(crate) cells: Vec<u8>,
    pub(crate) old: Vec<u8>,
}

struct World {
    chip: Chip,
    releases: [Release; 2],
    receiver: Receiver,
    running: Slot,
    now: Instant,
    /// Whether a bit was turned over: then the flash may refuse a command.
    flipped: bool,
}

fn pair(kind: KeyKind) -> KeyPair {
    KeyPair::from_seed(Seed::new([0xF0 | kind.number(); 32]))
}

fn public(pair: &KeyPair) -> Option<PublicKey> {
    PublicKey::new(*pair.pk)
}

fn sign(kind: KeyKind, domain: Domain, content: &[u8]) -> Vec<u8> {
    let pair = pair(kind);
    let Some(id) = public(&pair).map(|key| key.id()) else { return Vec::new() };
    let signature = pair.sk.sign(to_be_signed(domain, id, content), None::<Noise>);
    assemble(id, content, &signature)
}

pub(crate) fn release(seed: u8, sequence: u64) -> Release {
    let image = image(seed);
    let table: Vec<u8> = image.chunks(BLOCK).flat_map(|block| BlockHash::of(block).0).collect();
    let (sha256, size) = (Sha256Sum::of(&image), image.len() as u32);
    let manifest = Manifest {
        sha256,
        md5: Md5Sum::of(&image),
        size,
        hardware: "fuzz".into(),
        role: "fuzz".into(),
        version: "1".into(),
        sequence,
        protocol: (1, 1),
        not_after: None,
    };
    let descriptor = Descriptor {
        seal: None,
        image: sha256,
        base: None,
        codec: Codec::None,
        sizes: Sizes { packed: size, plain: size },
        sha256,
        chunk_size: CHUNK as u16,
        table: Sha256Sum::of(&table),
    };
    let manifest = sign(KeyKind::Author, Domain::Manifest, &manifest.encode());
    let descriptor = sign(KeyKind::Operator, Domain::Descriptor, &descriptor.encode());
    Release { image, table, manifest, descriptor }
}

/// Tells the receiver a story.
pub fn operations(input: &[u8]) {
    let mut story = Story(input);
    let marks = if story.byte() & 1 == 0 { Marks::Words } else { Marks::Units };
    let Some(mut world) = World::new(marks) else { return };
    for _ in 0..STEPS {
        let Some(step) = story.next() else { break };
        if world.step(step, &mut story).is_none() {
            return;
        }
        world.look();
    }
}

impl Chip {
    pub(crate) fn new(marks: Marks) -> Option<Self> {
        let books = books(marks);
        let old = image(1);
        let mut cells = vec![ERASED; LAYOUT.size as usize];
        let start = LAYOUT.slot(Slot::A).start as usize;
        cells.get_mut(start..start + old.len())?.copy_from_slice(&old);
        let kinds = [KeyKind::Author, KeyKind::Operator, KeyKind::Recovery];
        let keys: Option<Vec<Key>> =
            kinds.iter().map(|kind| Some(Key::new(*kind, public(&pair(*kind))?))).collect();
        let keys = KeyStore::new(&keys?).ok()?;
        let record = BootRecord { sequence: 1, slot: Slot::A, size: old.len() as u32, md5: Md5Sum::of(&old) };
        for op in write_record(&LAYOUT, &record).iter().chain(&Receiver::provision(&books, &keys)) {
            run(&mut cells, op)?;
        }
        Some(Self { books, cells, old })
    }

    fn read(&self, start: u32, len: u32) -> Option<&[u8]> {
        self.cells.get(start as usize..(start + len) as usize)
    }

    fn content(&self, record: &BootRecord) -> Option<&[u8]> {
        let slot = LAYOUT.slot(record.slot);
        (record.size <= slot.len).then(|| self.read(slot.start, record.size)).flatten()
    }

    /// The boot loader, and what the receiver of the image is told that it starts; `None` when no image boots.
    pub(crate) fn boot(&mut self, reason: ResetReason, releases: &[Release]) -> Option<Config> {
        let records = LAYOUT.boot.map(|sector| BootRecord::decode(self.read(sector.start, BootRecord::LEN)?));
        let [first, second] =
            self.books.trial.map(|sector| self.read(sector.start, TrialCopies::LEN).unwrap_or_default());
        let whole =
            |record: &BootRecord| self.content(record).is_some_and(|image| Md5Sum::of(image) == record.md5);
        let Choice { write, start, committed } =
            choose(Some(&self.books), records, TrialCopies::read(first, second), whole)?;
        let image = self.content(&start)?;
        let mut signed = releases.iter().map(|release| &release.image).chain([&self.old]);
        assert!(signed.any(|own| own == image), "an image that nobody signed is started");
        for op in write.into_iter().flatten() {
            run(&mut self.cells, &op);
        }
        let previous = records.into_iter().flatten().find(|record| record.sequence != committed.sequence);
        Some(config(self.books, start, committed, previous, reason))
    }

    /// Holds a command against what the board allows while the image in slot `running` runs.
    pub(crate) fn check(&self, running: Slot, op: &FlashOp) {
        let (address, len) = match op {
            FlashOp::Erase { address } => (*address, SECTOR),
            FlashOp::Program { address, data } => {
                let len = data.len() as u32;
                let whole = (*address | len).is_multiple_of(UNIT);
                assert!(whole || self.books.marks == Marks::Words, "a part of a unit: {op:?}");
                (*address, len)
            }
            FlashOp::Read { .. } => return,
        };
        let slot = LAYOUT.slot(running);
        let apart = address + len <= slot.start || slot.start + slot.len <= address;
        assert!(apart, "the running image is written over: {op:?}");
    }

    /// Executes a command, and says what became of it; `None` when the flash refuses it.
    pub(crate) fn run(&mut self, op: &FlashOp) -> Option<Completion<'_>> {
        run(&mut self.cells, op)?;
        match op {
            FlashOp::Read { address, len } => self.read(*address, *len).map(Completion::Data),
            _ => Some(Completion::Done),
        }
    }
}

/// An order of this verb, signed by whom it takes. It mostly has a counter that has not been used.
pub(crate) fn order(keys: &KeyStore, image: Sha256Sum, verb: u8, counter: u8) -> Vec<u8> {
    let added = public(&KeyPair::from_seed(Seed::new([counter | 1; 32])));
    let verb = match (verb % 11, added) {
        (0, _) => Verb::Activate(image),
        (1, _) => Verb::Revert(image),
        (2, _) => Verb::Cancel(image),
        (3, _) => Verb::Pause(image),
        (4, _) => Verb::Resume(image),
        (5, _) => Verb::Quarantine(image),
        (6, _) => Verb::Unquarantine(image),
        (7, Some(public)) => Verb::Keys(KeyChange::Add { kind: KeyKind::Operator, public }),
        (8, Some(public)) => Verb::Keys(KeyChange::Revoke(public.id())),
        _ => Verb::Policy(Policy { updates: verb & 16 == 0, soak: 9, limit: 60 }),
    };
    let last = keys.keys().map(|(_, key)| key.counter).max().unwrap_or(0);
    let counter = if counter & 0x80 == 0 { last + 1 } else { u64::from(counter & 0x7F) };
    let order = Order { counter, verb, issued_at: None, not_after: None, nodes: None };
    sign(verb.needs(), Domain::Order, &order.encode())
}

impl World {
    fn new(marks: Marks) -> Option<Self> {
        let mut chip = Chip::new(marks)?;
        let releases = [release(2, 2), release(3, 3)];
        let config = chip.boot(ResetReason::PowerOn, &releases)?;
        let (running, now) = (config.running.slot, Instant::ORIGIN);
        let receiver = Receiver::new(config);
        let mut world = Self { chip, releases, receiver, running, now, flipped: false };
        world.settle(COMMANDS)?;
        Some(world)
    }

    /// One step; `None` when the story is over, because a flipped bit has hit the only image.
    fn step(&mut self, step: u8, story: &mut Story<'_>) -> Option<()> {
        let link = LinkId(u32::from(step / 16 % 4));
        match step % 16 {
            0 => self.offer(story.byte()),
            1 => drop(self.receiver.offer(story.bytes(), story.bytes())),
            2 | 3 => self.chunk(link, story.byte()),
            4 => drop(self.receiver.handle_chunk(link, story.byte().into(), story.bytes())),
            5 => self.all_chunks(link, story.byte()),
            6 => self.order(story.byte(), story.byte()),
            7 => drop(self.receiver.handle_order(self.now, story.bytes())),
            8 => self.settle(usize::from(story.byte()))?,
            9 => self.settle(COMMANDS)?,
            10 => self.health(story.byte()),
            11 => self.reset(story.byte())?,
            12 => self.tear(story.byte())?,
            13 => self.flip(story.byte(), story.byte()),
            14 => {
                if self.receiver.poll_flash().is_some() {
                    self.receiver.handle_flash(self.now, Completion::Failed);
                }
            }
            _ => {
                self.receiver.handle_supply(u16::from(story.byte()) * 32);
                self.receiver.handle_link_down(link);
                self.receiver.handle_timeout(self.now);
            }
        }
        Some(())
    }

    fn release(&self, which: u8) -> &Release {
        let [first, second] = &self.releases;
        if which & 1 == 0 { first } else { second }
    }

    fn offer(&mut self, which: u8) {
        let manifest = self.release(which).manifest.clone();
        // Now and then the other image's descriptor.
        let descriptor = self.release(which ^ u8::from(which & 0xF0 == 0xF0)).descriptor.clone();
        let _refused = self.receiver.offer(&manifest, &descriptor);
    }

    fn chunk(&mut self, link: LinkId, which: u8) {
        let index = usize::from(which / 2);
        if let Some(chunk) = self.release(which).chunk(index).map(<[u8]>::to_vec) {
            self.receiver.handle_chunk(link, index as u32, &chunk);
        }
    }

    fn all_chunks(&mut self, link: LinkId, which: u8) {
        for index in 0..=IMAGE.div_ceil(CHUNK) as u8 {
            self.chunk(link, index * 2 + which % 2);
            if self.settle(COMMANDS).is_none() {
                return;
            }
        }
    }

    fn order(&mut self, verb: u8, counter: u8) {
        let old = verb & 0x40 != 0;
        let image = if old { &self.chip.old } else { &self.release(verb / 16).image };
        let signed = order(self.receiver.keys(), Sha256Sum::of(image), verb, counter);
        let _refused = self.receiver.handle_order(self.now, &signed);
    }

    fn health(&mut self, bits: u8) {
        self.now = self.now + Duration::from_secs(1 << (bits / 32));
        let bit = |index: u8| bits & (1 << index) != 0;
        let self_test = bit(0).then_some(bit(1) || bits & 0xF0 != 0);
        let health = Health {
            self_test,
            joined: bit(2),
            gateway_in_tree: bit(3),
            gateway_reached: bit(4),
            neighbour_reached: true,
        };
        self.receiver.handle_health(self.now, health);
    }

    /// Executes up to `count` commands, and restarts when the node wants it.
    fn settle(&mut self, count: usize) -> Option<()> {
        for _ in 0..count {
            let Some(op) = self.receiver.poll_flash() else {
                return self.events();
            };
            assert_eq!(self.receiver.poll_flash(), None, "one command at a time");
            self.chip.check(self.running, &op);
            match self.chip.run(&op) {
                Some(completion) => self.receiver.handle_flash(self.now, completion),
                None => {
                    assert!(self.flipped, "the flash refuses {op:?}");
                    self.receiver.handle_flash(self.now, Completion::Failed);
                }
            }
        }
        assert!(count < COMMANDS, "the receiver turns in circles");
        Some(())
    }

    fn events(&mut self) -> Option<()> {
        let mut restart = false;
        for _ in 0..64 {
            match self.receiver.poll_event() {
                Some(event) => restart |= event == Event::Restart,
                None if restart => return self.boot(ResetReason::Software),
                None => return Some(()),
            }
        }
        panic!("events without end");
    }

    fn reset(&mut self, reason: u8) -> Option<()> {
        self.boot(match reason % 6 {
            0 => ResetReason::PowerOn,
            1 => ResetReason::BrownOut,
            2 => ResetReason::Software,
            3 => ResetReason::Panic,
            4 => ResetReason::Watchdog,
            _ => ResetReason::Sleep,
        })
    }

    /// The power goes within the next command.
    fn tear(&mut self, how: u8) -> Option<()> {
        if let Some(FlashOp::Program { address, mut data }) = self.receiver.poll_flash() {
            let kept = data.len() * usize::from(how) / 256;
            data.truncate(kept & !3);
            run(&mut self.chip.cells, &FlashOp::Program { address, data });
        }
        self.boot(ResetReason::PowerOn)
    }

    fn flip(&mut self, sector: u8, at: u8) {
        let address = usize::from(sector % 16) * SECTOR as usize + usize::from(at) * 7;
        if let Some(cell) = self.chip.cells.get_mut(address) {
            *cell ^= 1 << (at % 8);
            self.flipped = true;
        }
    }

    fn boot(&mut self, reason: ResetReason) -> Option<()> {
        let config = self.chip.boot(reason, &self.releases);
        assert!(config.is_some() || self.flipped, "no image boots");
        let config = config?;
        self.running = config.running.slot;
        self.receiver = Receiver::new(config);
        Some(())
    }

    /// What it shows of itself, at any time.
    fn look(&self) {
        let state = self.receiver.state();
        if let State::Receiving { done, chunks } = state {
            let bits = self.receiver.bitmap().unwrap_or_default();
            let there: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
            assert!(there == done && done <= chunks);
        }
        let told = self.receiver.capabilities();
        assert!(told.counters.len() <= crate::ota::trust::KEYS_MAX && !state.name().is_empty());
        assert!(self.receiver.poll_timeout().is_none() || state == State::Trial);
    }
}

fn config(
    books: Books,
    running: BootRecord,
    committed: BootRecord,
    previous: Option<BootRecord>,
    reset: ResetReason,
) -> Config {
    Config {
        group_keys: GroupKeys::default(),
        id: NodeId(1),
        hardware: "fuzz".into(),
        role: "fuzz".into(),
        protocol: (1, 1),
        chip: None,
        layout: LAYOUT,
        books,
        running,
        committed,
        previous,
        reset,
        rollback: true,
        rules: TrialRules::default(),
        supply_least: None,
    }
}

/// Executes a command; `None` when the flash refuses it.
fn run(cells: &mut [u8], op: &FlashOp) -> Option<()> {
    match op {
        FlashOp::Erase { address } => erase(cells, *address).ok(),
        FlashOp::Program { address, data } => program(cells, *address, data).ok(),
        FlashOp::Read { address, len } => cells.get(*address as usize..(*address + *len) as usize).map(drop),
    }
}
