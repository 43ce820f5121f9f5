//! What a receiver gives to others: pieces of the payload that it holds, as they came.
//!
//! Only what was found right in this life leaves it: a chunk whose block has its sum by a table that has its own.
//! What was received before a reset is looked at first, when somebody asks. One piece at a time is read, between
//! the commands of the node's own update.

use alloc::vec::Vec;

use super::Receiver;
use super::work::Task;
use crate::flash::{Completion, FlashOp};
use crate::hash::Summing;
use crate::ota::Tag;
use crate::ota::journal::{HEAD, Head};
use crate::ota::trust::Manifest;

/// A part of what a receiver holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The signed messages.
    Head,
    /// A chunk.
    Chunk(u32),
}

/// The payload that a receiver holds, whole or not.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its tag.
    pub tag: Tag,
    /// Chunks in all, the block table's included.
    pub chunks: u32,
    /// Chunks that are not there.
    pub missing: u32,
    /// Whether its image is the running one.
    pub runs: bool,
    /// What its author says of the image.
    pub manifest: &'a Manifest,
}

/// What others have asked for.
#[derive(Debug, Default)]
pub(super) enum Serving {
    /// Nothing.
    #[default]
    Nothing,
    /// This, which has not been looked at.
    Wanted(Piece),
    /// This, which is being read.
    Reading(Piece),
    /// This, and here it is; `None` when it is not there, or is wrong.
    Found(Piece, Option<Vec<u8>>),
}

impl Serving {
    pub(super) const fn is_reading(&self) -> bool {
        matches!(self, Self::Reading(_))
    }

    const fn wanted(&self) -> Option<Piece> {
        if let Self::Wanted(piece) = self { Some(*piece) } else { None }
    }
}

impl Receiver {
    /// The payload that is there, whole or not.
    pub fn held(&self) -> Option<Held<'_>> {
        let session = self.session.as_ref().filter(|_| !matches!(self.task, Task::Clear { .. }))?;
        Some(Held {
            tag: session.tag,
            chunks: session.journal.chunks(),
            missing: session.journal.missing(),
            runs: session.recipe.is_none(),
            manifest: &session.manifest,
        })
    }

    /// Whether a chunk is there.
    pub fn has(&self, chunk: u32) -> bool {
        self.session.as_ref().is_some_and(|session| session.journal.has(chunk))
    }

    /// Whether a chunk could leave this node: it is there, and so is all that it takes to find it right.
    pub fn can_give(&self, chunk: u32) -> bool {
        let Some(session) = self.session.as_ref().filter(|_| self.failed.is_none()) else { return false };
        let block = session.block_of(chunk);
        session.journal.has(chunk)
            && session.has_table()
            && block.is_none_or(|block| session.is_complete(block))
    }

    /// Asks for a piece; [`poll_fetched`](Self::poll_fetched) has it, in a while. One at a time.
    pub fn fetch(&mut self, piece: Piece) {
        self.serving = Serving::Wanted(piece);
        self.proceed();
    }

    /// The piece that was asked for; `None` in it when it is not there, or is wrong.
    pub fn poll_fetched(&mut self) -> Option<(Piece, Option<Vec<u8>>)> {
        match core::mem::take(&mut self.serving) {
            Serving::Found(piece, bytes) => Some((piece, bytes)),
            other => {
                self.serving = other;
                None
            }
        }
    }

    /// Whether a chunk may leave this node.
    fn is_proven(&self, chunk: u32) -> bool {
        let Some(session) = &self.session else { return false };
        let tables = session.descriptor.table_chunks();
        let block = session.block_of(chunk);
        session.table
            && session.journal.has(chunk)
            && (chunk < tables || block.is_some_and(|block| session.is_checked(block)))
    }

    /// What has to be looked at before the piece that is asked for may leave.
    pub(super) fn prove(&mut self) -> Option<Task> {
        let Some(Piece::Chunk(chunk)) = self.serving.wanted() else { return None };
        let nothing = || Serving::Found(Piece::Chunk(chunk), None);
        let session = self.session.as_ref().filter(|session| session.journal.has(chunk));
        let Some(session) = session.filter(|_| self.failed.is_none()) else {
            self.serving = nothing();
            return None;
        };
        if self.is_proven(chunk) || self.wear.spent_until().is_some() {
            return None;
        }
        let sum = Summing::default();
        if !session.table {
            if !session.has_table() {
                self.serving = nothing();
                return None;
            }
            return Some(Task::CheckTable { at: 0, sum });
        }
        let block = session.block_of(chunk).filter(|block| session.is_complete(*block));
        if block.is_none() {
            self.serving = nothing();
        }
        block.map(|block| Task::Check { block, at: 0, sum, found: None })
    }

    /// The command that reads the piece, if it may leave.
    pub(super) fn read_for_others(&mut self) -> Option<FlashOp> {
        let [journal, table] = self.config.books.journal;
        let piece = self.serving.wanted()?;
        let op = match piece {
            Piece::Head => FlashOp::Read { address: journal.start, len: HEAD },
            Piece::Chunk(chunk) if self.is_proven(chunk) => {
                let (address, len, _) = self.session.as_ref()?.place(table, chunk)?;
                FlashOp::Read { address, len }
            }
            Piece::Chunk(_) => return None,
        };
        self.serving = Serving::Reading(piece);
        Some(op)
    }

    pub(super) fn have_read_for_others(&mut self, completion: &Completion<'_>) {
        let Serving::Reading(piece) = self.serving else { return };
        let bytes = match completion {
            Completion::Data(bytes) => Some(bytes.to_vec()),
            Completion::Done | Completion::Failed => None,
        };
        let bytes = bytes.filter(|bytes| piece != Piece::Head || Head::decode(bytes).is_some());
        self.serving = Serving::Found(piece, bytes);
    }
}
