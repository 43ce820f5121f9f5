//! Boards that take signed updates, the people who sign, and a release as it travels.
//!
//! A [`Setup`] is what such a board is told at its birth; [`Signers`] are an author, an operator and a recovery key
//! from constant seeds; a [`Release`] is an image upon the one before it, with its author's word, and packs itself
//! as [`Offering`]s. The world's hosts and the board of [`powercut`](crate::powercut) are made of the same. What the
//! receiver decides is its own business.

use std::sync::Arc;

use meshward_core::codec::Codec;
use meshward_core::flash::{Books, Layout};
use meshward_core::hash::{Md5Sum, Sha256Sum};
use meshward_core::ota::exchange::Offering;
use meshward_core::ota::receiver::{Config, Receiver};
use meshward_core::ota::trial::{Choice, ResetReason, TrialRules};
use meshward_core::ota::trust::{GroupKeys, KeyKind, KeyStore, Manifest, Order, Verb};
use meshward_core::rng::Rng;
use meshward_core::time::UnixTime;
use meshward_core::wire::NodeId;
use meshward_fleet::payload::{self, Options, Payload};
use meshward_fleet::signing::SigningKey;

use crate::flash::Chip;
use crate::image::{Behaviour, Image, newest_first};

/// The hardware of all boards here.
pub const HARDWARE: &str = "ESP32";
/// Their role.
pub const ROLE: &str = "sensor";
/// The chip id of an ESP32-C3.
pub const CHIP: u16 = 5;

/// Three releases of a real program, as `testdata/firmware` has them: 1.4.2, the patch release 1.4.3, and the
/// feature release 1.5.0.
pub const REAL: [&[u8]; 3] = [
    include_bytes!("../../../testdata/firmware/node-c3-v1.4.2.bin"),
    include_bytes!("../../../testdata/firmware/node-c3-v1.4.3.bin"),
    include_bytes!("../../../testdata/firmware/node-c3-v1.5.0.bin"),
];

/// What a board that takes signed updates is told at its birth.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its flash.
    pub layout: Layout,
    /// The receiver's books on it.
    pub books: Books,
    /// Whom it believes.
    pub keys: KeyStore,
    /// What it can open of sealed payloads.
    pub group_keys: GroupKeys,
    /// The chip id that images must name; `None` takes any image.
    pub chip: Option<u16>,
    /// Whether its boot loader knows trials.
    pub rollback: bool,
    /// How long trials take.
    pub rules: TrialRules,
    /// The supply that an update takes, in millivolts.
    pub supply_least: Option<u16>,
}

impl Setup {
    /// A board of 4 MB with an ESP32-C3 that believes these people.
    pub fn new(signers: &Signers) -> Self {
        Self {
            layout: Layout::FOUR_MEGABYTES,
            books: Books::FOUR_MEGABYTES,
            keys: signers.store(),
            group_keys: GroupKeys::default(),
            chip: Some(CHIP),
            rollback: true,
            rules: TrialRules::default(),
            supply_least: None,
        }
    }

    /// Gives a chip its first keys, as a factory does.
    pub fn provision(&self, chip: &mut Chip) {
        for op in Receiver::provision(&self.books, &self.keys) {
            // The books are inside the chip.
            let _always_done = chip.execute(&op);
        }
    }

    /// The receiver of a node with this id, after a boot loader that did what `choice` says.
    pub fn receiver(
        &self,
        id: NodeId,
        role: &str,
        chip: &Chip,
        choice: &Choice,
        reset: ResetReason,
    ) -> Config {
        let mut records = newest_first(chip, &self.layout).into_iter();
        Config {
            id,
            hardware: HARDWARE.to_owned(),
            role: role.to_owned(),
            protocol: (1, 1),
            chip: self.chip,
            layout: self.layout,
            books: self.books,
            running: choice.start,
            committed: choice.committed,
            previous: records.find(|record| record.sequence != choice.committed.sequence),
            reset,
            group_keys: self.group_keys.clone(),
            rollback: self.rollback,
            rules: self.rules,
            supply_least: self.supply_least,
        }
    }
}

/// Everybody whose word counts.
pub struct Signers {
    /// Signs manifests.
    pub author: SigningKey,
    /// Signs descriptors and orders.
    pub operator: SigningKey,
    /// Signs changes of keys.
    pub recovery: SigningKey,
}

impl Default for Signers {
    fn default() -> Self {
        let key = |kind, seed| {
            let key = SigningKey::from_seed(kind, [seed; 32]);
            key.unwrap_or_else(|error| panic!("a constant seed: {error}"))
        };
        Self {
            author: key(KeyKind::Author, 1),
            operator: key(KeyKind::Operator, 2),
            recovery: key(KeyKind::Recovery, 3),
        }
    }
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret halves are nobody's business, constant or not.
        f.debug_struct("Signers").field("operator", &self.operator.id()).finish_non_exhaustive()
    }
}

/// What the right kind of key has signed.
fn signed<E: std::fmt::Display>(signed: Result<Vec<u8>, E>) -> Vec<u8> {
    signed.unwrap_or_else(|error| panic!("the right kind of key: {error}"))
}

impl Signers {
    /// Their public halves, as nodes keep them.
    pub fn store(&self) -> KeyStore {
        let keys = [&self.author, &self.operator, &self.recovery].map(SigningKey::key);
        KeyStore::new(&keys).unwrap_or_default()
    }

    /// An author's word for an image.
    pub fn manifest(&self, manifest: &Manifest) -> Vec<u8> {
        signed(self.author.manifest(manifest))
    }

    /// An operator's word for a payload.
    pub fn descriptor(&self, payload: &Payload) -> Vec<u8> {
        signed(self.operator.descriptor(&payload.descriptor()))
    }

    /// An order for every node, signed by whom it needs.
    pub fn order(&self, counter: u64, verb: Verb, issued_at: Option<UnixTime>) -> Vec<u8> {
        let key = if verb.needs() == KeyKind::Recovery { &self.recovery } else { &self.operator };
        signed(key.order(&Order { counter, verb, issued_at, not_after: None, nodes: None }))
    }
}

/// What an author says of an image.
pub fn manifest(image: &[u8], sequence: u64) -> Manifest {
    Manifest {
        sha256: Sha256Sum::of(image),
        md5: Md5Sum::of(image),
        size: image.len() as u32,
        hardware: HARDWARE.to_owned(),
        role: ROLE.to_owned(),
        version: sequence.to_string(),
        sequence,
        protocol: (1, 1),
        not_after: None,
    }
}

/// An image whose half compresses, with the header of an ESP32-C3's.
pub fn image(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        let word = rng.next_u64() & 0x0F0F_0F0F_0000_FFFF;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    if let Some(head) = bytes.get_mut(..14) {
        head[0] = 0xE9;
        head[12..14].copy_from_slice(&CHIP.to_le_bytes());
    }
    bytes
}

/// The release after `old`: one part in `parts` of it is changed, and it is longer. A patch of it has something of
/// everything.
pub fn successor(old: &[u8], parts: usize, seed: u64) -> Vec<u8> {
    let mut new = old.to_vec();
    let changed = old.len() / parts;
    let other = image(changed + 300, seed);
    let at = old.len() / 3;
    new.splice(at..at + changed, other[16..].iter().copied());
    new
}

/// How an image travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Whole, as it is.
    Full,
    /// Whole, by LZMA.
    Lzma,
    /// A patch of the image before, by LZMA.
    Delta,
}

/// A release: an image, the one that nodes run before, and an author's word for the new one.
#[derive(Clone, Debug)]
pub struct Release {
    /// What nodes run before.
    pub base: Arc<Image>,
    /// What they are to run.
    pub image: Arc<Image>,
    /// Its SHA-256.
    pub sha256: Sha256Sum,
    /// The author's word.
    pub manifest: Vec<u8>,
    /// Who signs.
    pub signers: Arc<Signers>,
}

impl Release {
    /// An image upon another.
    pub fn new(base: &Arc<Image>, image: &Arc<Image>, sequence: u64) -> Self {
        let signers = Arc::new(Signers::default());
        let manifest = manifest(&image.bytes, sequence);
        Self {
            base: Arc::clone(base),
            image: Arc::clone(image),
            sha256: manifest.sha256,
            manifest: signers.manifest(&manifest),
            signers,
        }
    }

    /// A release of our own making: the new image has one part in `parts` changed, and behaves so.
    pub fn made(len: usize, parts: usize, behaviour: Behaviour) -> Self {
        let old = image(len, 1);
        let new = successor(&old, parts, 2);
        let base = Image::new("base", &old, Behaviour::Healthy);
        Self::new(&base, &Image::new("new", &new, behaviour), 2)
    }

    /// One for boards of a role, upon the same base as all of them.
    pub fn for_role(role: &str, len: usize, seed: u64, behaviour: Behaviour) -> Self {
        let old = image(len, 1);
        let (base, new) = (Image::new("base", &old, Behaviour::Healthy), successor(&old, 10, 2 + seed));
        let release = Self::new(&base, &Image::new(role, &new, behaviour), 2);
        let manifest = Manifest { role: role.to_owned(), ..manifest(&new, 2) };
        Self { manifest: release.signers.manifest(&manifest), ..release }
    }

    /// What boards that run the base are told at their birth.
    pub fn setup(&self) -> Setup {
        Setup::new(&self.signers)
    }

    /// What travels.
    ///
    /// # Panics
    /// When an image is too long for any node.
    pub fn offering(&self, packing: Packing) -> Offering {
        let codec = if packing == Packing::Full { Codec::None } else { Codec::Lzma };
        let base = (packing == Packing::Delta).then_some(&*self.base.bytes);
        let payload = payload::build(&self.image.bytes, base, &Options { codec, ..Options::default() });
        let payload = payload.unwrap_or_else(|error| panic!("an image of a release: {error}"));
        Offering {
            manifest: self.manifest.clone(),
            descriptor: self.signers.descriptor(&payload),
            table: payload.table(),
            payload: payload.bytes,
        }
    }
}

/// Chunks of an offering, the block table's included.
pub fn chunks(offering: &Offering) -> usize {
    let size = usize::from(Options::default().chunk_size);
    offering.table.len().div_ceil(size) + offering.payload.len().div_ceil(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_packs_itself_smaller_and_smaller() {
        let release = Release::made(64 * 1024, 10, Behaviour::Healthy);
        let len = |packing| release.offering(packing).payload.len();
        let [full, lzma, delta] = [Packing::Full, Packing::Lzma, Packing::Delta].map(len);
        assert_eq!(full, release.image.bytes.len());
        assert!(lzma < full * 8 / 10 && delta < full / 5, "{full} {lzma} {delta}");
        let offering = release.offering(Packing::Full);
        assert_eq!((offering.table.len(), chunks(&offering)), (17 * 16, 1 + 65));
        let store = release.signers.store();
        assert!(store.manifest(&offering.manifest, None).is_ok());
        assert!(store.descriptor(&offering.descriptor).is_ok());
    }

    #[test]
    fn an_order_is_signed_by_whom_it_needs() {
        let release = Release::made(4_096, 10, Behaviour::Healthy);
        for verb in [Verb::Activate(release.sha256), Verb::Time(UnixTime(1))] {
            let order = release.signers.order(7, verb, None);
            let read = release.signers.store().order(&order, NodeId(1), None).unwrap();
            assert_eq!((read.content.counter, read.content.verb), (7, verb));
        }
    }
}
