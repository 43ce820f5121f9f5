//! What comes in: types 220 to 223 from anybody.

use alloc::vec::Vec;

use super::message::{Chunk, Head, News, Offer, Record, Want};
use super::peers::Near;
use super::{
    CHUNKS_MAX, Exchange, ExchangeEvent, HEADS_MAX, MEMBERS_MAX, Member, ORDERED_MAX, ORDERS_MAX,
    SURVEY_ONCE, Stage, WAITING_MAX,
};
use crate::mesh::LinkId;
use crate::ota::Tag;
use crate::ota::receiver::{ChunkOutcome, State};
use crate::ota::trust::Refusal;
use crate::time::Instant;
use crate::wire::{NodeId, Parcel, To, kind};

impl Exchange {
    pub(crate) fn handle_parcel(&mut self, now: Instant, link: LinkId, parcel: Parcel) {
        self.stir(now);
        let Parcel { kind, from, to, body } = parcel;
        let understood = match kind {
            kind::OFFER => Offer::decode(&body).map(|offer| self.handle_offer(now, link, (from, to), &offer)),
            kind::WANT => Want::decode(&body).map(|want| self.handle_want(now, from, want)),
            kind::CHUNK => self.handle_chunk(now, link, to == To::All, body),
            _ => {
                self.handle_order(link, to, body);
                Some(())
            }
        };
        self.dropped.malformed += u64::from(understood.is_none());
    }

    fn handle_offer(&mut self, now: Instant, link: LinkId, (from, to): (NodeId, To), offer: &Offer) {
        let (tag, source) = (offer.tag, offer.source);
        self.peers.heard(from);
        if to == To::Neighbour {
            self.peers.hello(link, Near { id: from, tag });
            self.neighbour_heard |= tag.is_some() && tag == self.tag();
            if source == NodeId::NONE && self.peers.source() != NodeId::NONE {
                self.hello(link);
            }
        }
        if offer.thanks {
            // Those for a question of chunks say which payload that was about.
            return if tag.is_none() {
                self.reports.thanked(from)
            };
        }
        if source != NodeId::NONE && source != self.id && (from == source || !self.source_heard) {
            // Neighbours that came up before this was known hear of it.
            self.tells_neighbours |= self.peers.set_source(source);
            if from == source && !self.source_heard {
                (self.source_heard, self.health_due) = (true, now);
            }
        }
        if let Some(head) = &offer.head {
            self.take(head);
        } else if let Some(tag) = tag.filter(|tag| self.wants_to_know(*tag)) {
            self.single(kind::WANT, from, Want { tag: Some(tag), head: true, ..Want::default() }.encode());
        }
        // Who was offered something says what it makes of that.
        if offer.head.is_some() && to != To::All {
            self.told = None;
        }
        if offer.ask {
            self.asked(now, link, to, offer);
        }
    }

    /// Somebody wants to know how far this node is. What all are asked goes on to the neighbours: where relays lose
    /// messages, those behind one have not heard it.
    fn asked(&mut self, now: Instant, link: LinkId, to: To, offer: &Offer) {
        let first = match offer.tag.filter(|_| !offer.ask_about) {
            Some(tag) => {
                let asker = self.askers.iter_mut().find(|(asked, _)| *asked == tag);
                asker.is_some_and(|(_, asker)| asker.pass_is_over())
            }
            None => self.surveyed.is_none_or(|at| now.since(at) >= SURVEY_ONCE),
        };
        let to_one = matches!(to, To::One(_));
        if !first && !to_one {
            return;
        }
        // What all are asked about a payload is for those who have not told, and who lacks little has it soon.
        if to_one || offer.ask_about {
            self.told = None;
        } else {
            self.told_at = now;
        }
        if offer.ask_about {
            self.surveyed = Some(now);
            self.tell_about(now);
        }
        if !to_one {
            self.pass_on(link, |this, link| this.hello_and_ask(link, true, offer.ask_about));
        }
    }

    /// Whether this payload is worth asking what signs it.
    fn wants_to_know(&self, tag: Tag) -> bool {
        let Some(receiver) = &self.receiver else { return false };
        !self.refused.contains(&tag)
            && receiver.held().is_none_or(|held| held.tag != tag)
            && !matches!(receiver.state(), State::Starting)
    }

    /// Takes a payload that is offered, if it is for this node.
    fn take(&mut self, head: &Head) {
        let Some(receiver) = &mut self.receiver else { return };
        let running = receiver.running().map(crate::ota::ImageId::from);
        if running.is_some_and(|running| head.except.contains(&running)) {
            return;
        }
        let tag = Tag::of(&head.descriptor);
        let has_it = receiver.held().is_some_and(|held| held.tag == tag);
        if has_it && !matches!(receiver.state(), State::Failed(_) | State::Reverted { .. }) {
            self.told = None;
            return;
        }
        let answer = receiver.offer(&head.manifest, &head.descriptor);
        if answer.is_err() {
            self.told = None;
        }
        match answer {
            Ok(()) => self.refused.retain(|refused| *refused != tag),
            // Later perhaps.
            Err(Refusal::Occupied) => {}
            Err(_) => {
                if self.refused.len() >= HEADS_MAX {
                    self.refused.remove(0);
                }
                if !self.refused.contains(&tag) {
                    self.refused.push(tag);
                }
            }
        }
    }

    fn handle_want(&mut self, now: Instant, from: NodeId, want: Want) {
        self.peers.heard(from);
        if want.thanks {
            self.single(
                kind::OFFER,
                from,
                Offer { thanks: true, tag: want.tag, source: self.peers.source(), ..Offer::default() }
                    .encode(),
            );
        }
        if let Some(head) = want.tag.filter(|_| want.head).map(|tag| (from, tag))
            && !self.heads.contains(&head)
            && self.heads.len() < HEADS_MAX
        {
            self.heads.push(head);
        }
        if let Some(tag) = want.tag.filter(|_| !want.head && want.missing.first < CHUNKS_MAX) {
            self.clients.want(from, tag, want.missing);
        }
        want.records.into_iter().for_each(|record| self.handle_record(now, record));
    }

    /// News of a node: it goes on towards the source, or has come there.
    fn handle_record(&mut self, now: Instant, record: Record) {
        if self.peers.source() != self.id {
            self.reports.note(now, &record, false);
            return;
        }
        let Record { node, news } = record;
        if node == NodeId::NONE || (self.members.len() >= MEMBERS_MAX && !self.members.contains_key(&node)) {
            return;
        }
        let member = self.members.entry(node).or_insert(Member { about: None, line: None, heard: now });
        member.heard = now;
        match news {
            News::About(about) => member.about = Some(about),
            News::Line(line) => {
                member.line = Some(line);
                if line.stage == Stage::Trial {
                    self.note_trial(now);
                }
                if let Some(source) = &mut self.source {
                    source.heard(now, node, line);
                }
            }
        }
        self.event(ExchangeEvent::Member(node));
    }

    fn handle_chunk(&mut self, now: Instant, link: LinkId, to_all: bool, mut body: Vec<u8>) -> Option<()> {
        let chunk = Chunk::decode(&body)?;
        let Chunk { tag, index, .. } = chunk;
        if let Some((_, asker)) = self.askers.iter_mut().find(|(asked, _)| *asked == tag) {
            if to_all { asker.passed(now, index) } else { asker.came(now, index) }
        }
        if to_all {
            // Those behind this node get it as this node did.
            self.clients.passed(tag, index);
        }
        if self.tag() != Some(tag) {
            if !to_all {
                self.hand_on(&chunk);
            }
            return Some(());
        }
        let receiver = self.receiver.as_mut()?;
        // There is no room for it twice.
        body.drain(..Chunk::HEAD);
        let waits = !self.waiting.is_empty();
        if waits || receiver.handle_chunk_in(link, index, &mut body) == ChunkOutcome::Busy {
            if self.waiting.len() >= WAITING_MAX {
                self.dropped.chunks += 1;
            } else if !receiver.has(index) {
                self.waiting.push_back((link, index, body));
            }
        }
        Some(())
    }

    fn handle_order(&mut self, link: LinkId, to: To, signed: Vec<u8>) {
        // Who is told alone is told again, perhaps because it could not obey before.
        if !matches!(to, To::One(_)) {
            let name = Tag::of(&signed);
            if self.ordered.contains(&name) {
                return;
            }
            if self.ordered.len() >= ORDERED_MAX {
                self.ordered.remove(0);
            }
            self.ordered.push(name);
            self.pass_on(link, |this, link| this.hand_order(link, &signed));
        }
        if self.receiver.is_some() {
            if self.orders.len() >= ORDERS_MAX {
                self.orders.pop_front();
                self.dropped.orders += 1;
            }
            self.orders.push_back(signed);
        }
    }
}
