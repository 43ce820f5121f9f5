//! A neighbour's tree together with its text: what a node keeps of each link.
//!
//! A node tells each neighbour what all others have told it, so nearly all that it writes are texts that it has
//! read: they are kept and passed on as they are. And of a text that differs little from the last one only what
//! differs has to be read, see [`PlainSync`](super::PlainSync). Driven by the link, with every sync that says
//! something new.

use super::tree::Tree;
use alloc::vec::Vec;

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    tree: Tree,
    /// The tree as [`NodeSync::encode`](super::NodeSync::encode) writes it: a whole object.
    text: Vec<u8>,
}

impl Branch {
    /// A branch that came in another form than we would write it.
    pub fn new(tree: Tree) -> Self {
        let mut text = Vec::new();
        tree.write(&mut text);
        text.shrink_to_fit();
        Self { tree, text }
    }

    /// A branch that was read by [`PlainSync`](super::PlainSync), with the text that it tells. It takes the memory of
    /// what was known before.
    pub fn of_plain(tree: Tree, open_text: &[u8], known: Option<Self>) -> Self {
        let mut text = known.map(|known| known.text).unwrap_or_default();
        let len = open_text.len().saturating_add(1);
        if !(len..=len.saturating_mul(2)).contains(&text.capacity()) {
            // The old memory goes before the new one comes: on a microcontroller there may be no room for both.
            text = Vec::new();
        }
        text.clear();
        text.reserve_exact(len);
        text.extend_from_slice(open_text);
        text.push(b'}');
        Self { tree, text }
    }

    /// What it is.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How it is written.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The text as it stands in a sync, where more fields follow: without its last `}`.
    pub(super) fn open_text(&self) -> &[u8] {
        self.text.split_last().map_or(&[], |(_, open)| open)
    }
}
