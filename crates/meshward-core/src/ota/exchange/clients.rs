//! Who wants which chunks of us.
//!
//! A client's word replaces its earlier one. What is wanted and not there yet stays wanted until it has come. What
//! goes by for all is wanted by nobody: who loses it there says so again.

use alloc::vec::Vec;

use super::message::Chunks;
use crate::ota::Tag;
use crate::wire::NodeId;

/// Clients at once; more are not heard, and ask again.
const CLIENTS_MAX: usize = 64;

#[derive(Debug)]
struct Client {
    node: NodeId,
    tag: Tag,
    wanted: Chunks,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: Vec<Client>,
    /// Whose turn it is.
    turn: usize,
    /// Wants for which there was no room.
    pub(super) dropped: u64,
}

impl Clients {
    /// A client says what it wants now; nothing is nothing more.
    pub(super) fn want(&mut self, node: NodeId, tag: Tag, wanted: Chunks) {
        self.all.retain(|client| client.node != node || client.tag != tag);
        if wanted.is_empty() {
            return;
        }
        if self.all.len() >= CLIENTS_MAX {
            self.dropped += 1;
            return;
        }
        self.all.push(Client { node, tag, wanted });
    }

    /// Whether anybody wants anything.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Only these nodes are still to be reached.
    pub(super) fn retain(&mut self, is_there: impl Fn(NodeId) -> bool) {
        self.all.retain(|client| is_there(client.node));
    }

    /// A chunk went by for all.
    pub(super) fn passed(&mut self, tag: Tag, chunk: u32) {
        self.all.iter_mut().filter(|client| client.tag == tag).for_each(|client| client.wanted.remove(chunk));
        self.all.retain(|client| !client.wanted.is_empty());
    }

    /// All chunks of a payload that anybody wants.
    pub(super) fn wanted(&self, tag: Tag) -> Chunks {
        let clients = self.all.iter().filter(|client| client.tag == tag);
        let mut all: Vec<u32> = clients.flat_map(|client| client.wanted.iter()).collect();
        all.sort_unstable();
        all.dedup();
        Chunks::of(all.into_iter())
    }

    /// The payloads that somebody wants something of.
    pub(super) fn tags(&self) -> impl Iterator<Item = Tag> + '_ {
        self.all.iter().map(|client| client.tag)
    }

    /// The chunk that goes next: of those that can be had, the lowest that the client wants whose turn it is, and
    /// for whom there is room.
    pub(super) fn next(
        &mut self,
        is_here: impl Fn(Tag, u32) -> bool,
        has_room: impl Fn(NodeId) -> bool,
    ) -> Option<(Tag, u32)> {
        for offset in 0..self.all.len() {
            let turn = (self.turn + offset) % self.all.len();
            let Some(client) = self.all.get(turn).filter(|client| has_room(client.node)) else { continue };
            if let Some(chunk) = client.wanted.iter().find(|chunk| is_here(client.tag, *chunk)) {
                self.turn = turn + 1;
                return Some((client.tag, chunk));
            }
        }
        None
    }

    /// Who wants a chunk.
    pub(super) fn takers(&self, tag: Tag, chunk: u32) -> impl Iterator<Item = NodeId> + '_ {
        let wants = move |client: &&Client| client.tag == tag && client.wanted.contains(chunk);
        self.all.iter().filter(wants).map(|client| client.node)
    }

    /// A chunk was sent to a client.
    pub(super) fn served(&mut self, node: NodeId, tag: Tag, chunk: u32) {
        let client = self.all.iter_mut().find(|client| client.node == node && client.tag == tag);
        client.into_iter().for_each(|client| client.wanted.remove(chunk));
        self.all.retain(|client| !client.wanted.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag(1);

    fn chunks(list: &[u32]) -> Chunks {
        Chunks::of(list.iter().copied())
    }

    #[test]
    fn clients_take_turns_and_a_chunk_serves_all_who_want_it() {
        let mut clients = Clients::default();
        clients.want(NodeId(1), TAG, chunks(&[3, 4]));
        clients.want(NodeId(2), TAG, chunks(&[4, 9]));
        let next = |clients: &mut Clients| clients.next(|_, _| true, |_| true);
        assert_eq!(next(&mut clients), Some((TAG, 3)));
        clients.served(NodeId(1), TAG, 3);
        assert_eq!(next(&mut clients), Some((TAG, 4)));
        assert_eq!(clients.takers(TAG, 4).collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
        clients.served(NodeId(1), TAG, 4);
        clients.served(NodeId(2), TAG, 4);
        assert_eq!(clients.next(|_, chunk| chunk != 9, |_| true), None, "it is not here yet");
        assert_eq!(clients.next(|_, _| true, |_| false), None, "there is no room");
        assert_eq!(clients.wanted(TAG), chunks(&[9]));
        clients.passed(TAG, 9);
        assert!(clients.is_empty());
    }

    #[test]
    fn the_last_word_counts_and_nothing_grows() {
        let mut clients = Clients::default();
        clients.want(NodeId(1), TAG, chunks(&[3]));
        clients.want(NodeId(1), TAG, chunks(&[5]));
        assert_eq!(clients.wanted(TAG), chunks(&[5]));
        clients.want(NodeId(1), TAG, Chunks::default());
        assert!(clients.is_empty());
        (0..100).for_each(|node| clients.want(NodeId(node), TAG, chunks(&[1])));
        assert_eq!((clients.all.len(), clients.dropped), (CLIENTS_MAX, 36));
        clients.retain(|node| node.0 < 2);
        assert_eq!(clients.takers(TAG, 1).count(), 2);
    }
}
