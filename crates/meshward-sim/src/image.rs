//! Firmware images, and how a node behaves that runs one.
//!
//! The bytes are arbitrary; what an image does to its node stands in a table of the world, by its MD5, so
//! that roll-outs have something to catch.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshward_core::flash::{Books, Layout, Slot};
use meshward_core::ota::trial::{self, Choice, TrialCopies};
use meshward_core::ota::{BootRecord, Md5Sum, write_record};
use meshward_core::rng::Rng;
use meshward_core::time::Duration;

use crate::flash::{Chip, Sector, sectors};

/// How a node behaves that runs an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Healthy,
    /// It crashes before it has started its radio, again and again.
    CrashesAtBoot,
    /// It runs, but finds no neighbour and accepts none.
    CannotJoin,
    /// It runs out of memory and crashes this long after each boot.
    Leaks(Duration),
    /// It looks at what it has received only after this time.
    Slow(Duration),
    /// It broadcasts a status this often.
    Chatty(Duration),
    /// It runs, and finds out that it does not work.
    FailsSelfTest,
}

impl Behaviour {
    /// What the application finds out about itself, if it comes to that. A leak, a deaf radio and a slow loop are
    /// not found by it.
    pub const fn self_test(self) -> bool {
        !matches!(self, Self::FailsSelfTest)
    }

    /// The share of the heap that is left so long after a boot: a leak takes all by its crash.
    pub fn heap_left(self, up: Duration) -> f64 {
        match self {
            Self::Leaks(lifetime) => 1.0 - (up.as_secs_f64() / lifetime.as_secs_f64().max(1.0)).min(1.0),
            _ => 1.0,
        }
    }
}

/// An image.
#[derive(Clone, Debug)]
pub struct Image {
    /// What people call it.
    pub name: String,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// Its MD5.
    pub md5: Md5Sum,
    /// What it does to its node.
    pub behaviour: Behaviour,
    sectors: Vec<Arc<Sector>>,
}

impl Image {
    /// The image with these bytes.
    pub fn new(name: &str, bytes: &[u8], behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            bytes: bytes.into(),
            md5: Md5Sum::of(bytes),
            behaviour,
            sectors: sectors(bytes),
        })
    }

    /// An image of `size` bytes that nothing can compress.
    pub fn synthetic(name: &str, size: usize, seed: u64, behaviour: Behaviour) -> Arc<Self> {
        let mut rng = Rng::new(seed);
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
        }
        bytes.truncate(size);
        Self::new(name, &bytes, behaviour)
    }

    /// Puts the image on a chip as a factory would: into slot A, with the first boot record.
    pub fn provision(&self, chip: &mut Chip, layout: &Layout) {
        self.install(chip, layout, Slot::A, 1);
    }

    /// Puts the image into a slot and tells the boot loader, in no time and without any wear.
    pub fn install(&self, chip: &mut Chip, layout: &Layout, slot: Slot, sequence: u32) {
        chip.place(layout.slot(slot).start, &self.sectors);
        let size = self.bytes.len() as u32;
        for op in write_record(layout, &BootRecord { sequence, slot, size, md5: self.md5 }) {
            // The boot sectors are on every chip as large as its layout.
            let _always_done = chip.execute(&op);
        }
    }
}

/// What the boot loader would do, by the one rule of [`trial::choose`]; `is_whole` tells whether the image that a
/// record names stands in its slot. `None` on a chip without a valid image. Nothing is written.
pub fn choose(
    chip: &Chip,
    layout: &Layout,
    books: Option<&Books>,
    is_whole: impl FnMut(&BootRecord) -> bool,
) -> Option<Choice> {
    let read = |start, len| chip.read(start, len).unwrap_or_default();
    let records = layout.boot.map(|sector| BootRecord::decode(&read(sector.start, BootRecord::LEN)));
    let copies = books.map(|books| books.trial.map(|sector| read(sector.start, TrialCopies::LEN)));
    let trial = copies.map_or_else(TrialCopies::default, |[one, two]| TrialCopies::read(&one, &two));
    trial::choose(books, records, trial, is_whole)
}

/// Images by their MD5.
pub type Known = BTreeMap<Md5Sum, Arc<Image>>;

/// Whether the image that a record names stands in its slot.
fn is_whole(chip: &Chip, layout: &Layout, record: &BootRecord) -> bool {
    content(chip, layout, record).is_some_and(|image| Md5Sum::of(&image) == record.md5)
}

/// What counts, and would be started if nothing were on trial. `None` on a chip without a valid image.
pub fn select(chip: &Chip, layout: &Layout) -> Option<BootRecord> {
    choose(chip, layout, None, |record| is_whole(chip, layout, record)).map(|choice| choice.start)
}

/// Boots: says on the chip what it does, and then does it. An image of `known` that the chip shares with it has the
/// MD5 by which it is known; any other is hashed.
pub fn boot(chip: &mut Chip, layout: &Layout, books: &Books, known: &Known) -> Option<Choice> {
    let shares = |record: &BootRecord| {
        let slot = layout.slot(record.slot);
        let same_size = |image: &&Arc<Image>| image.bytes.len() == record.size as usize;
        let image = known.get(&record.md5).filter(same_size).filter(|_| record.size <= slot.len);
        image.is_some_and(|image| chip.shares(slot.start, &image.sectors))
    };
    let whole = |record: &BootRecord| shares(record) || is_whole(chip, layout, record);
    let choice = choose(chip, layout, Some(books), whole)?;
    for op in choice.write.iter().flatten() {
        // The books are on every chip as large as its layout.
        let _always_done = chip.execute(op);
    }
    Some(choice)
}

/// The boot records that are whole, the newest first; nobody has looked at their images.
pub fn newest_first(chip: &Chip, layout: &Layout) -> Vec<BootRecord> {
    let read = |start| chip.read(start, BootRecord::LEN).ok().and_then(|bytes| BootRecord::decode(&bytes));
    let mut records: Vec<BootRecord> = layout.boot.iter().filter_map(|sector| read(sector.start)).collect();
    records.sort_by_key(|record| core::cmp::Reverse(record.sequence));
    records
}

/// What stands in the slot that a record names; `None` when it cannot be in there.
pub fn content(chip: &Chip, layout: &Layout, record: &BootRecord) -> Option<Vec<u8>> {
    let slot = layout.slot(record.slot);
    if record.size > slot.len {
        return None;
    }
    chip.read(slot.start, record.size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::flash::FlashOp;

    #[test]
    fn the_newest_whole_image_starts() {
        let layout = Layout::FOUR_MEGABYTES;
        let mut chip = Chip::erased(layout.size);
        assert_eq!(select(&chip, &layout), None);
        let old = Image::synthetic("old", 5_000, 1, Behaviour::Healthy);
        old.provision(&mut chip, &layout);
        let old_record = select(&chip, &layout).unwrap();
        assert_eq!(content(&chip, &layout, &old_record).unwrap(), &*old.bytes);

        let new = Image::synthetic("new", 9_001, 2, Behaviour::Healthy);
        chip.place(layout.slot(Slot::B).start, &new.sectors);
        let record = BootRecord { sequence: 2, slot: Slot::B, size: 9_001, md5: new.md5 };
        for op in write_record(&layout, &record) {
            chip.execute(&op).unwrap();
        }
        assert_eq!(select(&chip, &layout), Some(record));
        chip.execute(&FlashOp::Erase { address: layout.slot(Slot::B).start + 4096 }).unwrap();
        assert_eq!(select(&chip, &layout), Some(old_record), "a damaged image is passed over");
    }

    #[test]
    fn an_image_that_is_known_is_looked_at_all_the_same() {
        let (layout, books) = (Layout::FOUR_MEGABYTES, Books::FOUR_MEGABYTES);
        let image = Image::synthetic("new", 9_001, 2, Behaviour::Healthy);
        let known = Known::from([(image.md5, Arc::clone(&image))]);
        let mut chip = Chip::erased(layout.size);
        image.provision(&mut chip, &layout);
        assert_eq!(boot(&mut chip, &layout, &books, &known).map(|choice| choice.start.md5), Some(image.md5));
        let own = Arc::new(Image { sectors: sectors(&image.bytes), ..(*image).clone() });
        own.provision(&mut chip, &layout);
        assert!(boot(&mut chip, &layout, &books, &known).is_some(), "the same bytes in sectors of its own");
        chip.flip(layout.slot(Slot::A).start + 8_999, 3);
        assert_eq!(boot(&mut chip, &layout, &books, &known), None);
    }

    #[test]
    fn an_image_on_trial_is_started_once() {
        use meshward_core::hash::Sha256Sum;
        use trial::{TrialRecord, TrialState};
        let (layout, books) = (Layout::FOUR_MEGABYTES, Books::FOUR_MEGABYTES);
        let mut chip = Chip::erased(layout.size);
        let old = Image::synthetic("old", 5_000, 1, Behaviour::Healthy);
        old.provision(&mut chip, &layout);
        let committed = select(&chip, &layout);
        let start = |chip: &mut Chip| boot(chip, &layout, &books, &Known::new()).map(|choice| choice.start);
        assert_eq!(start(&mut chip), committed, "nothing is on trial");
        let new = Image::synthetic("new", 9_001, 2, Behaviour::Healthy);
        chip.place(layout.slot(Slot::B).start, &new.sectors);
        let (state, slot, md5, sha256) = (TrialState::New, Slot::B, new.md5, Sha256Sum::of(&new.bytes));
        let record =
            TrialRecord { state, attempts: 0, gateway: false, slot, size: 9_001, md5, sha256, ended: None };
        for op in TrialCopies::default().write(&books, record) {
            chip.execute(&op).unwrap();
        }
        assert_eq!(select(&chip, &layout), committed, "it does not count yet");
        assert_eq!(start(&mut chip).unwrap().md5, new.md5);
        assert_eq!(start(&mut chip), committed, "it was reset before it was confirmed");
        assert_eq!(start(&mut chip), committed, "and stays so");
    }
}
