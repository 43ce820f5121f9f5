//! The Arduino core's `Update` object, as far as `ota.hpp` uses it: `begin`, `setMD5`, `write`, `end(true)`.
//!
//! It refuses to write before `begin` and beyond the slot, and to end without the MD5 it was told. It looks
//! at no image header: what the mesh brought is what will be started. Driven by the receiver.

use meshward_core::ota::Md5Sum;

/// A slot that is being written.
#[derive(Debug)]
struct Running {
    image: Vec<u8>,
    /// What `setMD5` was told at part 0; it takes nothing but 32 characters, and without it nothing is
    /// checked.
    target: Option<Vec<u8>>,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Update {
    capacity: usize,
    running: Option<Running>,
}

impl Update {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, running: None }
    }

    /// Bytes written since `begin`; `None` when nothing has begun.
    pub(super) fn written(&self) -> Option<usize> {
        self.running.as_ref().map(|running| running.image.len())
    }

    /// `begin` and `setMD5`; what was running is given up.
    pub(super) fn begin(&mut self, md5: &[u8]) {
        let target = (md5.len() == 32).then(|| md5.to_ascii_lowercase());
        self.running = Some(Running { image: Vec::new(), target });
    }

    /// `write`: whether all of `bytes` went in. A write that fails ends the update.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(running) = &mut self.running else { return bytes.is_empty() };
        if running.image.len() + bytes.len() > self.capacity {
            self.running = None;
            return false;
        }
        running.image.extend_from_slice(bytes);
        true
    }

    /// `end(true)`: the image, if it has the MD5.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let Running { image, target } = self.running.take()?;
        let sum = Md5Sum::of(&image).to_string().into_bytes();
        (!image.is_empty() && target.is_none_or(|target| target == sum)).then_some(image)
    }

    /// `end()` after a failed write.
    pub(super) fn abort(&mut self) {
        self.running = None;
    }
}
