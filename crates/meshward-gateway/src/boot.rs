//! The boot loader of a Linux node: picks what to run, as the one in a chip's ROM would.
//!
//! The newest boot record whose image in its slot has the recorded MD5 wins; a record whose image is damaged
//! is passed over, so that the image before it starts. On a board with [`Books`] an image on trial is started
//! once before it counts.

use meshward_core::flash::{Books, FlashOp, Layout, NorError, Region, SECTOR, Slot};
use meshward_core::ota::receiver::Receiver;
use meshward_core::ota::trial::{self, Choice, TrialCopies};
use meshward_core::ota::trust::KeyStore;
use meshward_core::ota::{BootRecord, Md5Sum, write_record};

use crate::flash_file::{FlashError, FlashFile};

/// What the boot loader would do, by the one rule of [`trial::choose`]; `None` on a chip without a valid image.
/// Nothing is written.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read.
pub fn choose(
    flash: &FlashFile,
    layout: &Layout,
    books: Option<&Books>,
) -> Result<Option<Choice>, FlashError> {
    let record = |sector: Region| flash.read(sector.start, BootRecord::LEN);
    let [first, second] = layout.boot;
    let records = [BootRecord::decode(&record(first)?), BootRecord::decode(&record(second)?)];
    let trial = match books {
        Some(Books { trial: [first, second], .. }) => {
            let copy = |sector: &Region| flash.read(sector.start, TrialCopies::LEN);
            TrialCopies::read(&copy(first)?, &copy(second)?)
        }
        None => TrialCopies::default(),
    };
    let mut unreadable = None;
    let choice = trial::choose(books, records, trial, |record| match image(flash, layout, record) {
        Ok(image) => {
            let whole = image.is_some_and(|image| Md5Sum::of(&image) == record.md5);
            if !whole {
                let sequence = record.sequence;
                tracing::warn!(sequence, "the image of a boot record is damaged: passed over");
            }
            whole
        }
        Err(error) => {
            unreadable.get_or_insert(error);
            false
        }
    });
    unreadable.map_or(Ok(choice), Err)
}

/// What counts, and would be started if nothing were on trial; `None` on a chip without a valid image.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read.
pub fn select(flash: &FlashFile, layout: &Layout) -> Result<Option<BootRecord>, FlashError> {
    Ok(choose(flash, layout, None)?.map(|choice| choice.start))
}

/// Boots: says on the chip what it does, and then does it.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read or written.
pub fn boot(flash: &FlashFile, layout: &Layout, books: Option<&Books>) -> Result<Option<Choice>, FlashError> {
    let choice = choose(flash, layout, books)?;
    for op in choice.iter().flat_map(|choice| &choice.write).flatten() {
        flash.execute(op)?;
    }
    Ok(choice)
}

/// The image that a record names; `None` when it cannot be in the slot.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read.
pub fn image(flash: &FlashFile, layout: &Layout, record: &BootRecord) -> Result<Option<Vec<u8>>, FlashError> {
    let slot = layout.slot(record.slot);
    if record.size > slot.len {
        return Ok(None);
    }
    flash.read(slot.start, record.size).map(Some)
}

/// The boot record beside the one that counts: that of the image before.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read.
pub fn previous(
    flash: &FlashFile,
    layout: &Layout,
    committed: &BootRecord,
) -> Result<Option<BootRecord>, FlashError> {
    let [first, second] = layout.boot;
    let record = |sector: Region| flash.read(sector.start, BootRecord::LEN);
    let records = [BootRecord::decode(&record(first)?), BootRecord::decode(&record(second)?)];
    Ok(records.into_iter().flatten().find(|record| record.sequence != committed.sequence))
}

/// Whether a chip has been given keys: then it takes signed updates, and no others.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read.
pub fn has_keys(flash: &FlashFile, books: &Books) -> Result<bool, FlashError> {
    let [first, second] = books.memory;
    let erased = [meshward_core::flash::ERASED; 4];
    Ok(flash.read(first.start, 4)? != erased || flash.read(second.start, 4)? != erased)
}

/// Gives a chip that has none its first keys, as a factory would.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read or written.
pub fn provision_keys(flash: &FlashFile, books: &Books, keys: &KeyStore) -> Result<(), FlashError> {
    if !has_keys(flash, books)? {
        for op in Receiver::provision(books, keys) {
            flash.execute(&op)?;
        }
    }
    Ok(())
}

/// Puts an image on a chip as a factory would: into slot A, with the first boot record.
///
/// # Errors
/// [`FlashError`] when the image does not fit or the chip cannot be written.
pub fn provision(flash: &FlashFile, layout: &Layout, image: &[u8]) -> Result<BootRecord, FlashError> {
    put(flash, layout, Slot::A, 1, image)
}

/// Puts an image into the slot that does not run, with a boot record that makes it the next to start: for
/// programs whose update does not go through the core's receiver.
///
/// # Errors
/// [`FlashError`] when the image does not fit or the chip cannot be read or written.
pub fn install(flash: &FlashFile, layout: &Layout, image: &[u8]) -> Result<BootRecord, FlashError> {
    let running = select(flash, layout)?;
    let slot = running.map_or(Slot::A, |record| record.slot).other();
    let sequence = running.map_or(0, |record| record.sequence).wrapping_add(1);
    put(flash, layout, slot, sequence, image)
}

fn put(
    flash: &FlashFile,
    layout: &Layout,
    slot: Slot,
    sequence: u32,
    image: &[u8],
) -> Result<BootRecord, FlashError> {
    let region = layout.slot(slot);
    let size = u32::try_from(image.len()).unwrap_or(u32::MAX);
    if size > region.len {
        return Err(FlashError::Nor(NorError::OutOfRange));
    }
    write_image(flash, region, image)?;
    let record = BootRecord { sequence, slot, size, md5: Md5Sum::of(image) };
    for op in write_record(layout, &record) {
        flash.execute(&op)?;
    }
    Ok(record)
}

fn write_image(flash: &FlashFile, slot: Region, image: &[u8]) -> Result<(), FlashError> {
    for (index, block) in image.chunks(SECTOR as usize).enumerate() {
        let address = slot.start + index as u32 * SECTOR;
        let mut data = block.to_vec();
        data.resize(data.len().next_multiple_of(4), meshward_core::flash::ERASED);
        flash.execute(&FlashOp::Erase { address })?;
        flash.execute(&FlashOp::Program { address, data })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_image_starts() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::FOUR_MEGABYTES;
        let flash = FlashFile::open(&folder.path().join("flash"), layout.size).unwrap();
        assert_eq!(select(&flash, &layout).unwrap(), None);
        let old = provision(&flash, &layout, b"the old image").unwrap();
        assert_eq!(select(&flash, &layout).unwrap(), Some(old));

        let image = b"the new image!";
        let new = install(&flash, &layout, image).unwrap();
        assert_eq!(new, BootRecord { sequence: 2, slot: Slot::B, size: 14, md5: Md5Sum::of(image) });
        assert_eq!(select(&flash, &layout).unwrap(), Some(new));
        assert_eq!(super::image(&flash, &layout, &new).unwrap().unwrap(), image);

        flash.execute(&FlashOp::Erase { address: layout.slot(Slot::B).start }).unwrap();
        assert_eq!(select(&flash, &layout).unwrap(), Some(old), "a damaged image is passed over");
        let too_long = vec![0; layout.slot(Slot::B).len as usize + 1];
        assert!(install(&flash, &layout, &too_long).is_err());
        assert_eq!(select(&flash, &layout).unwrap(), Some(old));
    }

    #[test]
    fn keys_are_given_once() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, books) = (Layout::FOUR_MEGABYTES, Books::FOUR_MEGABYTES);
        let flash = FlashFile::open(&folder.path().join("flash"), layout.size).unwrap();
        assert!(!has_keys(&flash, &books).unwrap());
        provision_keys(&flash, &books, &KeyStore::default()).unwrap();
        assert!(has_keys(&flash, &books).unwrap());
        let before = flash.read(books.memory[0].start, 64).unwrap();
        provision_keys(&flash, &books, &KeyStore::default()).unwrap();
        assert_eq!(flash.read(books.memory[0].start, 64).unwrap(), before);
        let old = provision(&flash, &layout, b"the old image").unwrap();
        let new = install(&flash, &layout, b"the new image").unwrap();
        assert_eq!(previous(&flash, &layout, &new).unwrap(), Some(old));
    }

    #[test]
    fn an_image_on_trial_is_started_once() {
        use meshward_core::hash::Sha256Sum;
        use trial::{TrialRecord, TrialState};
        let folder = tempfile::tempdir().unwrap();
        let (layout, books) = (Layout::FOUR_MEGABYTES, Books::FOUR_MEGABYTES);
        let flash = FlashFile::open(&folder.path().join("flash"), layout.size).unwrap();
        let old = provision(&flash, &layout, b"the old image").unwrap();
        let image = b"an image on trial";
        write_image(&flash, layout.slot(Slot::B), image).unwrap();
        let record = TrialRecord {
            state: TrialState::New,
            attempts: 0,
            gateway: false,
            slot: Slot::B,
            size: image.len() as u32,
            md5: Md5Sum::of(image),
            sha256: Sha256Sum::of(image),
            ended: None,
        };
        for op in TrialCopies::default().write(&books, record) {
            flash.execute(&op).unwrap();
        }
        let started = |books| boot(&flash, &layout, books).unwrap().map(|choice| choice.start);
        assert_eq!(started(None), Some(old), "a board without books knows no trials");
        let tried = boot(&flash, &layout, Some(&books)).unwrap().unwrap();
        assert_eq!((tried.start.slot, tried.committed), (Slot::B, old));
        assert_eq!(started(Some(&books)), Some(old), "it was reset before it was confirmed");
        assert_eq!(started(Some(&books)), Some(old), "and stays so");
        assert_eq!(select(&flash, &layout).unwrap(), Some(old));
    }
}
