//! The boot loader of a Linux node: picks what to run, as the one in a chip's ROM would.
//!
//! The newest boot record whose image in its slot has the recorded MD5 wins; a record whose image is damaged
//! is passed over, so that the image before it starts.

use meshward_core::flash::{FlashOp, Layout, NorError, Region, SECTOR, Slot};
use meshward_core::ota::{BootRecord, Md5Sum, write_record};

use crate::flash_file::{FlashError, FlashFile};

/// What the boot loader starts; `None` on a chip without a valid image.
///
/// # Errors
/// [`FlashError`] when the chip cannot be read.
pub fn select(flash: &FlashFile, layout: &Layout) -> Result<Option<BootRecord>, FlashError> {
    let mut records = Vec::new();
    for sector in layout.boot {
        records.extend(BootRecord::decode(&flash.read(sector.start, BootRecord::LEN)?));
    }
    records.sort_by_key(|record| core::cmp::Reverse(record.sequence));
    for record in records {
        let image = image(flash, layout, &record)?;
        if image.is_some_and(|image| Md5Sum::of(&image) == record.md5) {
            return Ok(Some(record));
        }
        tracing::warn!(sequence = record.sequence, "the image of a boot record is damaged: passed over");
    }
    Ok(None)
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
}
