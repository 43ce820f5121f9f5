//! From a stored payload to the pages of an image: codec, patch and sums in one machine.
//!
//! [`Unpacker`] is driven by whoever owns the flash. It says what it [`needs`](Unpacker::needs): bytes of the
//! payload, bytes of the base image, or that a page be written; it is given them, and asks again. What it was
//! given is not kept, except a piece of the base, and of a sealed payload what fits a window: an installer that lost power simply begins again.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::seal::{Opener, PayloadKey, opened_len};
use super::{Codec, CodecError, Decoder, Lent, Patch, PatchNeeds, Sizes, Step};
use crate::hash::{Summing, Sums};

/// Bytes of a page of the image: what NOR flash programs at once.
pub const PAGE: usize = 256;
/// Bytes of the patch that wait between codec and patch.
const PATCH_BUFFER: usize = 64;
/// Bytes of the base that are asked for at once.
const BASE_BUFFER: usize = 128;

/// What a payload is made of, as its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// How it is packed.
    pub codec: Codec,
    /// The payload as it is stored, sealed or not, and what comes out of the codec: the image, or a patch.
    pub sizes: Sizes,
    /// Bytes of the image.
    pub image_len: u32,
    /// Bytes of the image that the patch is for; `None` when the payload is the whole image.
    pub base_len: Option<u32>,
}

/// What an [`Unpacker`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Up to `len` bytes of the payload from `offset` on, for [`Unpacker::payload`]; fewer will do.
    Payload {
        /// First byte.
        offset: u32,
        /// All that are left.
        len: u32,
    },
    /// Up to `len` bytes of the base image from `offset` on, for [`Unpacker::base`]; fewer will do.
    Base {
        /// First byte.
        offset: u32,
        /// At most 128.
        len: u32,
    },
    /// [`Unpacker::page`] is to be written, then [`Unpacker::page_written`] be called.
    Write,
    /// Nothing: the image is complete, and has these sums.
    Nothing(Sums),
}

/// A piece of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// Where in the image it begins: a multiple of [`PAGE`].
    pub offset: u32,
    /// Its bytes: [`PAGE`] of them, fewer in the last page.
    pub bytes: &'a [u8],
}

/// The patch, and what it waits with.
#[derive(Debug)]
struct Patching {
    patch: Patch,
    base_len: u32,
    /// Bytes of the patch; those from `at` to `end` have not been applied.
    stream: Vec<u8>,
    at: usize,
    end: usize,
    /// A piece of the base.
    lent: Vec<u8>,
    lent_at: u32,
}

/// See the module's page.
#[derive(Debug)]
pub struct Unpacker {
    recipe: Recipe,
    decoder: Decoder,
    patching: Option<Patching>,
    /// What opens a sealed payload.
    opener: Option<Box<Opener>>,
    /// Bytes taken of a payload that is not sealed.
    read: u32,
    page: Vec<u8>,
    /// Bytes in the page.
    filled: usize,
    /// Where in the image the page begins.
    offset: u32,
    summing: Summing,
    sums: Option<Sums>,
}

impl Patching {
    fn new(base_len: u32, image_len: u32) -> Self {
        Self {
            patch: Patch::new(base_len, image_len),
            base_len,
            stream: vec![0; PATCH_BUFFER],
            at: 0,
            end: 0,
            lent: Vec::with_capacity(BASE_BUFFER),
            lent_at: 0,
        }
    }

    /// What is wanted of the base and not at hand: where, and how much of it.
    fn wants(&self) -> Option<(u32, u32)> {
        let PatchNeeds::Base { offset, .. } = self.patch.needs() else { return None };
        let lent = Lent { offset: self.lent_at, bytes: &self.lent };
        let wanted = self.base_len.saturating_sub(offset).min(BASE_BUFFER as u32);
        lent.from(offset).is_empty().then_some((offset, wanted))
    }

    /// One step of codec and patch: what was read and written, and whether anything moved at all.
    fn advance(
        &mut self,
        decoder: &mut Decoder,
        payload: &[u8],
        room: &mut [u8],
    ) -> Result<(Step, bool), CodecError> {
        let mut read = 0;
        if self.at == self.end {
            let step = decoder.decode(payload, &mut self.stream)?;
            (read, self.at, self.end) = (step.read, 0, step.written);
        }
        let lent = Lent { offset: self.lent_at, bytes: &self.lent };
        let waiting = self.stream.get(self.at..self.end).unwrap_or_default();
        let step = self.patch.apply(waiting, lent, room)?;
        self.at = self.at.wrapping_add(step.read);
        Ok((Step { read, written: step.written }, read > 0 || step != Step::default()))
    }
}

impl Unpacker {
    /// An unpacker at the beginning of a payload, which is sealed if there is a `key`; on the heap, because its half a kilobyte would be on an
    /// installer's stack several times while it is passed on.
    ///
    /// # Errors
    /// [`CodecError::Sizes`] when the recipe's sizes contradict each other, or no sealed payload has that length.
    // Inlined, what it needs for a moment would stay on an installer's stack.
    #[inline(never)]
    pub fn new(recipe: Recipe, key: Option<&PayloadKey>) -> Result<Box<Self>, CodecError> {
        let whole = recipe.base_len.is_none();
        let empty = recipe.image_len == 0 || recipe.sizes.packed == 0;
        if empty || (whole && recipe.sizes.plain != recipe.image_len) {
            return Err(CodecError::Sizes);
        }
        let stored = recipe.sizes.packed;
        let opener = key.map(|key| Opener::new(key, stored));
        let packed = if key.is_some() { opened_len(stored).ok_or(CodecError::Sizes)? } else { stored };
        Ok(Box::new(Self {
            decoder: Decoder::new(recipe.codec, Sizes { packed, ..recipe.sizes })?,
            opener,
            patching: recipe.base_len.map(|base_len| Patching::new(base_len, recipe.image_len)),
            read: 0,
            page: vec![0; PAGE],
            filled: 0,
            offset: 0,
            summing: Summing::default(),
            sums: None,
            recipe,
        }))
    }

    /// Bytes of the image that have been made.
    pub fn made(&self) -> u32 {
        self.offset.wrapping_add(self.filled as u32)
    }

    /// What it waits for.
    pub fn needs(&self) -> Need {
        if let Some(sums) = self.sums {
            return Need::Nothing(sums);
        }
        if self.is_page_ready() {
            return Need::Write;
        }
        if let Some((offset, len)) = self.patching.as_ref().and_then(Patching::wants) {
            return Need::Base { offset, len };
        }
        let (offset, len) = match &self.opener {
            None => (self.read, self.recipe.sizes.packed.wrapping_sub(self.read)),
            Some(opener) => opener.needs(),
        };
        Need::Payload { offset, len }
    }

    /// Takes bytes of the payload that begin where [`Need::Payload`] says; how many were taken. The rest is
    /// asked for again.
    ///
    /// # Errors
    /// [`CodecError`]: the payload is not what its descriptor says.
    pub fn payload(&mut self, bytes: &[u8]) -> Result<usize, CodecError> {
        if !matches!(self.needs(), Need::Payload { .. }) {
            return Ok(0);
        }
        self.advance(bytes)
    }

    /// Takes bytes of the base image that begin where [`Need::Base`] says.
    ///
    /// # Errors
    /// [`CodecError`]: the payload is not what its descriptor says.
    pub fn base(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let Need::Base { offset, len } = self.needs() else { return Ok(()) };
        if let Some(patching) = &mut self.patching {
            patching.lent.clear();
            patching.lent.extend_from_slice(bytes.get(..len as usize).unwrap_or(bytes));
            patching.lent_at = offset;
        }
        self.advance(&[]).map(drop)
    }

    /// The page that is to be written, while the need is [`Need::Write`]; else an empty one.
    pub fn page(&self) -> Page<'_> {
        let filled = if self.is_page_ready() { self.filled } else { 0 };
        Page { offset: self.offset, bytes: self.page.get(..filled).unwrap_or_default() }
    }

    /// The page has been written: the next one begins.
    ///
    /// # Errors
    /// [`CodecError`]: the payload is not what its descriptor says.
    pub fn page_written(&mut self) -> Result<(), CodecError> {
        if !self.is_page_ready() {
            return Ok(());
        }
        self.summing.update(self.page.get(..self.filled).unwrap_or_default());
        self.offset = self.made();
        self.filled = 0;
        self.advance(&[]).map(drop)
    }

    fn is_page_ready(&self) -> bool {
        self.filled == PAGE || (self.filled > 0 && self.made() == self.recipe.image_len)
    }

    /// Moves bytes through codec and patch until something is missing, and ends if nothing is; how many were taken
    /// of the payload.
    fn advance(&mut self, payload: &[u8]) -> Result<usize, CodecError> {
        let mut rest = payload;
        loop {
            let room = self.page.get_mut(self.filled..).unwrap_or_default();
            let open = self.opener.as_ref().map_or(rest, |opener| opener.window());
            let (step, moved) = match &mut self.patching {
                None => {
                    let step = self.decoder.decode(open, room)?;
                    (step, step != Step::default())
                }
                Some(patching) => patching.advance(&mut self.decoder, open, room)?,
            };
            self.filled = self.filled.wrapping_add(step.written);
            let taken = match &mut self.opener {
                None => step.read,
                Some(opener) => opener.advance(step.read, rest)?,
            };
            rest = rest.get(taken..).unwrap_or_default();
            self.read = self.read.wrapping_add(taken as u32);
            if !moved && taken == 0 {
                break;
            }
        }
        if self.offset == self.recipe.image_len && self.decoder.is_done() {
            self.sums = Some(self.summing.finish());
        } else if matches!(self.needs(), Need::Payload { len: 0, .. }) {
            return Err(CodecError::Truncated);
        }
        Ok(payload.len().wrapping_sub(rest.len()))
    }
}
