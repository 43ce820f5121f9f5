//! What goes out to single nodes: pieces of payloads, and this node's frames in general.

use alloc::vec::Vec;

use super::message::{Chunk, Head, Offer};
use super::source::Wish;
use super::{Exchange, Tag};
use crate::mesh::{LinkId, Mesh};
use crate::ota::Package;
use crate::ota::journal;
use crate::ota::receiver::Piece;
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, Parcel, To, kind};

/// Bytes on a link above which nothing is given over it.
const ROOM: usize = 4 * 1024;
/// A piece that the receiver does not come to read in this time is given up.
pub(super) const FETCH: Duration = Duration::from_secs(30);

impl Exchange {
    /// The payload that the receiver holds.
    pub(super) fn tag(&self) -> Option<Tag> {
        self.receiver.as_ref().and_then(|receiver| receiver.held()).map(|held| held.tag)
    }

    pub(super) fn single(&mut self, kind: i32, dest: NodeId, body: Vec<u8>) {
        let frame = Parcel { kind, from: self.id, to: To::One(dest), body }.encode();
        self.packages.push_back(Package::Single { dest, chunk: kind == kind::CHUNK, frame });
    }

    pub(super) fn broadcast(&mut self, kind: i32, chunk: bool, body: Vec<u8>) {
        let frame = Parcel { kind, from: self.id, to: To::All, body }.encode();
        self.packages.push_back(Package::Broadcast { chunk, frame });
    }

    pub(super) fn broadcast_offer(&mut self, offer: &Offer) {
        self.broadcast(kind::OFFER, false, offer.encode());
    }

    /// Tells a neighbour what this node holds.
    pub(super) fn hello(&mut self, link: LinkId) {
        self.hello_and_ask(link, false, false);
    }

    /// The neighbours hear from here what came over another link, in case they have not heard it themselves.
    pub(super) fn pass_on(&mut self, from: LinkId, mut send: impl FnMut(&mut Self, LinkId)) {
        let links: Vec<LinkId> =
            self.peers.near().map(|(link, _)| link).filter(|link| *link != from).collect();
        links.into_iter().for_each(|link| send(self, link));
    }

    /// Hands a neighbour a signed order.
    pub(super) fn hand_order(&mut self, link: LinkId, signed: &[u8]) {
        let frame =
            Parcel { kind: kind::ORDER, from: self.id, to: To::Neighbour, body: signed.to_vec() }.encode();
        self.packages.push_back(Package::Neighbour { link, behind: false, frame });
    }

    /// Tells a neighbour what this node holds, and asks how far it is, or also what it is.
    pub(super) fn hello_and_ask(&mut self, link: LinkId, ask: bool, ask_about: bool) {
        let held = self.receiver.as_ref().and_then(|receiver| receiver.held());
        let offer = Offer {
            tag: held.map(|held| held.tag),
            held: held.map_or(0, |held| held.chunks - held.missing),
            source: self.peers.source(),
            ask,
            ask_about,
            ..Offer::default()
        };
        let frame =
            Parcel { kind: kind::OFFER, from: self.id, to: To::Neighbour, body: offer.encode() }.encode();
        // Who hears that no more chunks will come has what came before.
        self.packages.push_back(Package::Neighbour { link, behind: true, frame });
    }

    /// Does what the source wants.
    pub(super) fn grant(&mut self, wish: Wish) {
        let Some(source) = &self.source else { return };
        match wish {
            Wish::Offer(to, place) | Wish::Ask(to, place) => {
                let Some(payload) = source.payloads.get(place) else { return };
                let head = matches!(wish, Wish::Offer(..)).then(|| payload.head.clone());
                let ask = head.is_none();
                let (tag, held) = (Some(payload.tag), payload.chunks);
                let offer = Offer { tag, source: self.id, held, ask, head, ..Offer::default() };
                match to {
                    To::One(dest) => self.single(kind::OFFER, dest, offer.encode()),
                    _ => self.broadcast(kind::OFFER, ask, offer.encode()),
                }
            }
            Wish::Chunk(tag, index, probe) => {
                let Some(bytes) = source.payload(tag).and_then(|payload| payload.chunk(index)) else {
                    return;
                };
                let body = Chunk { tag, index, bytes }.encode();
                self.broadcast(kind::CHUNK, true, body);
                self.clients.passed(tag, index);
                self.packages.extend(probe.map(Package::Probe));
            }
            Wish::Probe(leaf) => self.packages.push_back(Package::Probe(leaf)),
        }
    }

    /// Gives a chunk that has come to those clients for whom it was asked.
    pub(super) fn hand_on(&mut self, chunk: &Chunk<'_>) {
        let takers: Vec<NodeId> = self.clients.takers(chunk.tag, chunk.index).collect();
        for taker in takers {
            self.clients.served(taker, chunk.tag, chunk.index);
            self.single(kind::CHUNK, taker, chunk.encode());
        }
    }

    /// Gives what is wanted, as far as there is room.
    pub(super) fn serve(&mut self, now: Instant, mesh: &Mesh) {
        self.fetched(now);
        self.give_heads(now);
        // What is put into queues here shows there only afterwards.
        let mut given: usize = 0;
        while given < 4 && self.fetching.is_none() {
            let Self { clients, source, receiver, .. } = self;
            let held = receiver.as_ref().and_then(|receiver| receiver.held()).map(|held| held.tag);
            // Those who have chunks get them from one another first.
            let giving = source.as_ref().filter(|source| source.serves());
            let in_source = |tag| giving.is_some_and(|source| source.payload(tag).is_some());
            let stored = |tag, chunk| {
                held == Some(tag) && receiver.as_ref().is_some_and(|receiver| receiver.can_give(chunk))
            };
            let next = clients.next(
                |tag, chunk| in_source(tag) || stored(tag, chunk),
                |node| mesh.queued_to(node).is_some_and(|queued| queued < ROOM),
            );
            let Some((tag, chunk)) = next else { return };
            if in_source(tag) {
                self.give_of_source(mesh, tag, chunk);
                given += 1;
            } else if let Some(receiver) = &mut self.receiver {
                self.fetching = Some((Piece::Chunk(chunk), now));
                receiver.fetch(Piece::Chunk(chunk));
            }
        }
    }

    /// A chunk of the roll-out: to those who want it, or to all when they are most of the mesh.
    fn give_of_source(&mut self, mesh: &Mesh, tag: Tag, index: u32) {
        let takers: Vec<NodeId> = self.clients.takers(tag, index).collect();
        let reached: usize = takers.iter().map(|id| mesh.reached_through(*id)).sum();
        let Some(source) = &mut self.source else { return };
        if takers.len() > 1 && source.is_for_all(reached) {
            let wanted = self.clients.wanted(tag);
            let most = wanted.iter().filter(|chunk| {
                let takers = self.clients.takers(tag, *chunk);
                source.is_for_all(takers.map(|id| mesh.reached_through(id)).sum())
            });
            let most: Vec<u32> = most.collect();
            source.repeat(tag, most.iter().copied());
            most.into_iter().for_each(|chunk| self.clients.passed(tag, chunk));
            return;
        }
        let Some(bytes) = source.payload(tag).and_then(|payload| payload.chunk(index)) else {
            return self.clients.passed(tag, index);
        };
        let body = Chunk { tag, index, bytes }.encode();
        for taker in takers {
            self.clients.served(taker, tag, index);
            self.single(kind::CHUNK, taker, body.clone());
        }
    }

    /// Gives those who wait for signed messages those of the roll-out, and asks the receiver for its own.
    fn give_heads(&mut self, now: Instant) {
        let own = self.tag();
        for (id, tag) in core::mem::take(&mut self.heads) {
            let payload = self.source.as_ref().and_then(|source| source.payload(tag));
            if let Some(payload) = payload {
                let (head, held) = (Some(payload.head.clone()), payload.chunks);
                let offer = Offer { tag: Some(tag), source: self.id, held, head, ..Offer::default() };
                self.single(kind::OFFER, id, offer.encode());
            } else if own == Some(tag) {
                self.heads.push((id, tag));
            }
        }
        if let Some(receiver) = self.receiver.as_mut().filter(|_| !self.heads.is_empty())
            && self.fetching.is_none()
        {
            self.fetching = Some((Piece::Head, now));
            receiver.fetch(Piece::Head);
        }
    }

    /// Takes what the receiver has found.
    fn fetched(&mut self, now: Instant) {
        let Some((piece, since)) = self.fetching else { return };
        let found = self.receiver.as_mut().and_then(|receiver| receiver.poll_fetched());
        let Some((_, bytes)) = found.filter(|(found, _)| *found == piece) else {
            if now.since(since) >= FETCH {
                self.fetching = None;
            }
            return;
        };
        self.fetching = None;
        let Some(tag) = self.tag() else { return };
        match (piece, bytes) {
            (Piece::Chunk(index), Some(bytes)) => self.hand_on(&Chunk { tag, index, bytes: &bytes }),
            // What is wrong is not given to anybody.
            (Piece::Chunk(index), None) => self.clients.passed(tag, index),
            (Piece::Head, bytes) => self.give_own_head(tag, &bytes.unwrap_or_default()),
        }
    }

    /// Gives the receiver's signed messages, as they stand in its journal, to those who wait for them.
    fn give_own_head(&mut self, tag: Tag, journal: &[u8]) {
        let waiting = core::mem::take(&mut self.heads);
        let Some(journal::Head { manifest, descriptor }) = journal::Head::decode(journal) else { return };
        let (manifest, descriptor) = (manifest.to_vec(), descriptor.to_vec());
        let head = Some(Head { manifest, descriptor, except: Vec::new() });
        let offer = Offer { tag: Some(tag), source: self.peers.source(), head, ..Offer::default() };
        let body = offer.encode();
        waiting.into_iter().for_each(|(id, _)| self.single(kind::OFFER, id, body.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::offering;
    use super::super::{Exchange, UpdatePlan, Want};
    use super::*;
    use crate::hash::Sha256Sum;
    use crate::mesh::MeshConfig;
    use crate::ota::Tempo;
    use alloc::vec;

    #[test]
    fn who_asks_what_signs_a_payload_is_told_of_that_one() {
        let (gateway, node, now) = (NodeId(1), NodeId(5), Instant::ORIGIN);
        let mesh = Mesh::new(MeshConfig::gateway(gateway, 1));
        let offerings = vec![offering(None), offering(Some(Sha256Sum([7; 32])))];
        let tags: Vec<Tag> = offerings.iter().map(|offering| Tag::of(&offering.descriptor)).collect();
        let mut exchange = Exchange::new(gateway, None);
        let plan = UpdatePlan { offerings, targets: vec![node], tempo: Tempo::default(), broadcast: true };
        exchange.start(now, plan, &mesh).unwrap();
        while exchange.poll_transmit().is_some() {}
        for tag in tags.into_iter().chain([Tag(1)]) {
            let body = Want { tag: Some(tag), head: true, ..Want::default() }.encode();
            let parcel = Parcel { kind: kind::WANT, from: node, to: To::One(gateway), body };
            exchange.handle_parcel(now, LinkId(1), parcel);
            exchange.work(now, &mesh);
            let told = match exchange.poll_transmit() {
                Some(Package::Single { dest, frame, .. }) if dest == node => Parcel::decode(&frame).ok(),
                _ => None,
            };
            let head = told.and_then(|parcel| Offer::decode(&parcel.body)).and_then(|offer| offer.head);
            let known = (tag != Tag(1)).then_some(tag);
            assert_eq!(head.map(|head| Tag::of(&head.descriptor)), known);
            assert_eq!(exchange.poll_transmit(), None);
        }
    }
}
