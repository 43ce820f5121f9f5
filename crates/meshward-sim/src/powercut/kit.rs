//! What an update needs: images, keys, a payload, a small chip.

use meshward_core::codec::Codec;
use meshward_core::flash::{Books, Layout, Marks, Region, SECTOR, Slot};
use meshward_core::hash::{Md5Sum, Sha256Sum};
use meshward_core::ota::trust::{GroupKey, GroupKeys, Manifest, Verb};
use meshward_core::ota::{BootRecord, write_record};
use meshward_core::time::UnixTime;
use meshward_fleet::payload::{self, Options};

use crate::flash::{Chip, sectors};
use crate::signed::{self, REAL, Setup, Signers, image, successor};

/// How the image travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole and uncoded, staged and copied.
    Full,
    /// The same into a slot that is too small for both: written in place.
    InPlace,
    /// Whole, by LZMA.
    Lzma,
    /// A patch, by LZMA.
    Delta,
    /// The same patch, sealed.
    Sealed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Full, Self::InPlace, Self::Lzma, Self::Delta, Self::Sealed];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::InPlace => "in-place",
            Self::Lzma => "lzma",
            Self::Delta => "delta",
            Self::Sealed => "sealed delta",
        }
    }
}

/// All that one update needs.
pub struct Kit {
    /// The image that the node runs.
    pub old: Vec<u8>,
    /// The image that it is to run.
    pub new: Vec<u8>,
    /// What travels.
    pub payload: payload::Payload,
    /// An author's word for the image.
    pub manifest: Vec<u8>,
    /// An operator's word for the payload.
    pub descriptor: Vec<u8>,
    /// The board.
    pub setup: Setup,
    /// Whether the boot loader starts what a record names without looking at it.
    pub trusting: bool,
    /// Images whose sums need not be taken at every boot.
    known: [(Vec<u8>, Md5Sum, Sha256Sum); 2],
    /// Who signs.
    pub signers: Signers,
}

/// The key of the group that the node belongs to.
pub fn group_key(seed: u8) -> GroupKey {
    let bytes = core::array::from_fn(|at| seed.wrapping_add(at as u8));
    GroupKey::new(bytes).unwrap_or_else(|| panic!("not all bytes are the same"))
}

/// A chip with slots of this length, and its books behind them.
fn board(slot: u32) -> (Layout, Books) {
    let sector = |index: u32, count: u32| Region { start: index * SECTOR, len: count * SECTOR };
    let len = slot / SECTOR;
    let books = 2 + 2 * len;
    let layout = Layout {
        size: (books + 6) * SECTOR,
        slots: [sector(2, len), sector(2 + len, len)],
        boot: [sector(0, 1), sector(1, 1)],
    };
    let pair = |at| [sector(books + at, 1), sector(books + at + 1, 1)];
    (layout, Books { journal: pair(0), marks: Marks::Words, trial: pair(2), memory: pair(4) })
}

impl Kit {
    /// An update of an image of `len` bytes.
    pub fn new(kind: Kind, len: usize) -> Self {
        Self::with_seed(kind, len, 2)
    }

    /// Another image of the same size, by the same people.
    pub fn variant(kind: Kind, len: usize) -> Self {
        Self::with_seed(kind, len, 3)
    }

    /// An update from one real image to the next.
    pub fn real(kind: Kind) -> Self {
        let [old, new, _] = REAL.map(<[u8]>::to_vec);
        Self::of(kind, old, new)
    }

    fn with_seed(kind: Kind, len: usize, seed: u64) -> Self {
        let old = image(len, 1);
        let new = successor(&old, 10, seed);
        Self::of(kind, old, new)
    }

    fn of(kind: Kind, old: Vec<u8>, new: Vec<u8>) -> Self {
        let rounded = (new.len().max(old.len()) as u32).next_multiple_of(SECTOR);
        let slot = if kind == Kind::InPlace { rounded + SECTOR } else { 2 * rounded };
        let (layout, books) = board(slot);
        let codec = if matches!(kind, Kind::Full | Kind::InPlace) { Codec::None } else { Codec::Lzma };
        let group_key = (kind == Kind::Sealed).then(|| group_key(1));
        let options = Options { codec, group_key, ..Options::default() };
        let base = matches!(kind, Kind::Delta | Kind::Sealed).then_some(old.as_slice());
        let payload =
            payload::build(&new, base, &options).unwrap_or_else(|error| panic!("our own image: {error}"));
        let signers = Signers::default();
        let setup = Setup {
            layout,
            books,
            group_keys: GroupKeys::new(&[self::group_key(1)]).unwrap_or_default(),
            ..Setup::new(&signers)
        };
        let mut kit = Self {
            known: [&old, &new].map(|image| (image.clone(), Md5Sum::of(image), Sha256Sum::of(image))),
            old,
            new,
            payload,
            manifest: vec![],
            descriptor: vec![],
            setup,
            trusting: false,
            signers,
        };
        kit.manifest = kit.sign_manifest(|_| {});
        kit.descriptor = kit.sign_descriptor(&kit.payload);
        kit
    }

    /// What the author says of the image.
    pub fn image_manifest(&self) -> Manifest {
        signed::manifest(&self.new, 2)
    }

    /// The manifest after a change, signed by the author.
    pub fn sign_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
        let mut manifest = self.image_manifest();
        change(&mut manifest);
        self.signers.manifest(&manifest)
    }

    /// Another payload's descriptor, signed by the operator.
    pub fn sign_descriptor(&self, payload: &payload::Payload) -> Vec<u8> {
        self.signers.descriptor(payload)
    }

    /// An order for every node, signed by whom it needs.
    pub fn order(&self, counter: u64, verb: Verb) -> Vec<u8> {
        self.order_at(counter, verb, None)
    }

    /// The same with a time.
    pub fn order_at(&self, counter: u64, verb: Verb, issued_at: Option<UnixTime>) -> Vec<u8> {
        self.signers.order(counter, verb, issued_at)
    }

    /// The new image's name.
    pub fn image(&self) -> Sha256Sum {
        self.sha256(&self.new)
    }

    /// The MD5 of what stands in a slot.
    pub fn md5(&self, content: &[u8]) -> Md5Sum {
        let known = self.known.iter().find(|(image, ..)| image == content);
        known.map_or_else(|| Md5Sum::of(content), |(_, md5, _)| *md5)
    }

    fn sha256(&self, content: &[u8]) -> Sha256Sum {
        let known = self.known.iter().find(|(image, ..)| image == content);
        known.map_or_else(|| Sha256Sum::of(content), |(.., sha256)| *sha256)
    }

    /// The old image's name.
    pub fn old_image(&self) -> Sha256Sum {
        self.sha256(&self.old)
    }

    /// Chunk `index` as it travels; `None` behind the last one.
    pub fn chunk(&self, index: u32) -> Option<Vec<u8>> {
        let size = usize::from(self.payload.chunk_size);
        let table = self.payload.table();
        let tables = table.len().div_ceil(size);
        let index = index as usize;
        let chunk = if index < tables {
            table.chunks(size).nth(index)
        } else {
            self.payload.bytes.chunks(size).nth(index - tables)
        };
        chunk.map(<[u8]>::to_vec)
    }

    /// A chip from the factory: the old image, both boot records, the keys.
    pub fn chip(&self) -> Chip {
        let layout = &self.setup.layout;
        let mut chip = Chip::erased(layout.size);
        chip.place(layout.slot(Slot::A).start, &sectors(&self.old));
        let (size, md5) = (self.old.len() as u32, Md5Sum::of(&self.old));
        let records = [1, 2].map(|sequence| BootRecord { sequence, slot: Slot::A, size, md5 });
        for op in records.iter().flat_map(|record| write_record(layout, record)) {
            // The layout is inside the chip.
            let _always_done = chip.execute(&op);
        }
        self.setup.provision(&mut chip);
        chip
    }
}
