//! What a node does about updates when something has happened: one round after the other, until nothing changes.

use alloc::vec::Vec;

use super::asker::Asker;
use super::message::{Line, News, Offer, Record, Want};
use super::peers::Server;
use super::reports::Reports;
use super::serve::FETCH;
use super::{About, Exchange, ExchangeEvent, FOREIGN_MAX, RESTART, RESTART_LOOK, Stage, Tag};
use crate::mesh::Mesh;
use crate::ota::Package;
use crate::ota::receiver::{self, ChunkOutcome, State};
use crate::ota::trial::Health;
use crate::ota::trust::Refusal;
use crate::time::{Duration, Instant};
use crate::wire::{NodeId, To, kind};

/// Between two looks at the node's own health, and while it is on trial and has not reached the source.
const HEALTH: Duration = Duration::from_secs(30);
const HEALTH_ON_TRIAL: Duration = Duration::from_secs(5);
/// The source tells all who are on trial that it hears them, so long after the first of them has told.
const GREETING: Duration = Duration::from_secs(8);
/// Who has not heard the source by itself for so long, though it is in the tree, probes it.
const UNHEARD: Duration = Duration::from_secs(20);
/// Between two words about chunks that come one by one.
const PROGRESS: Duration = Duration::from_secs(5);
/// A stage that usually passes is told when it has lasted so long, or somebody asks.
const LASTS: Duration = Duration::from_secs(2);

impl Exchange {
    /// Does what there is to do.
    pub(crate) fn work(&mut self, now: Instant, mesh: &Mesh) {
        let due = self.stirred || self.poll_timeout().is_some_and(|due| due <= now);
        if !due {
            return;
        }
        (self.stirred, self.now) = (false, now);
        self.feed();
        self.obey(now);
        self.receiver_events(now, mesh);
        self.look_after_health(now, mesh);
        self.run_source(now);
        self.greet(now);
        self.serve(now, mesh);
        self.tell_neighbours();
        self.ask(now, mesh);
        self.tell(now, mesh);
        self.report(now, mesh);
        self.restart(now, mesh);
    }

    /// Gives the receiver chunks that waited.
    fn feed(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        while let Some((link, index, bytes)) = self.waiting.front_mut() {
            if receiver.handle_chunk_in(*link, *index, bytes) == ChunkOutcome::Busy {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Gives the receiver orders that came.
    fn obey(&mut self, now: Instant) {
        let Some(receiver) = &mut self.receiver else { return };
        while let Some(order) = self.orders.front() {
            match receiver.handle_order(now, order) {
                Err(Refusal::Occupied) => return,
                Err(_) => self.dropped.orders += 1,
                Ok(()) => {}
            }
            self.orders.pop_front();
        }
    }

    fn receiver_events(&mut self, now: Instant, mesh: &Mesh) {
        while let Some(event) = self.receiver.as_mut().and_then(|receiver| receiver.poll_event()) {
            match event {
                receiver::Event::Restart => {
                    self.restart = Some(now + RESTART);
                    continue;
                }
                receiver::Event::Wanted(_) => self.pass_on_offer(now, mesh),
                _ => {}
            }
            self.event(ExchangeEvent::Receiver(event));
        }
    }

    /// The receiver has taken an offer: the neighbours that are not on the way to the source hear of it from here.
    fn pass_on_offer(&mut self, now: Instant, mesh: &Mesh) {
        let Some(tag) = self.tag() else { return };
        self.waiting.clear();
        self.askers.retain(|(asked, _)| *asked != tag);
        self.askers.insert(0, (tag, Asker::new(now)));
        let upstream = self.peers.upstream(mesh).map(|server| server.id);
        let links: Vec<_> =
            self.peers.near().filter(|(_, near)| Some(near.id) != upstream).map(|(link, _)| link).collect();
        links.into_iter().for_each(|link| self.hello(link));
    }

    fn look_after_health(&mut self, now: Instant, mesh: &Mesh) {
        let Some(receiver) = self.receiver.as_mut().filter(|_| self.health_due <= now) else { return };
        let (source, on_trial) = (self.peers.source(), receiver.state() == State::Trial);
        let health = Health {
            self_test: self.self_test,
            joined: mesh.neighbours().next().is_some(),
            gateway_in_tree: source != NodeId::NONE && mesh.knows(source),
            gateway_reached: self.source_heard,
            neighbour_reached: self.neighbour_heard,
        };
        receiver.handle_health(now, health);
        let unsure = on_trial && health.gateway_in_tree && !self.source_heard;
        self.health_due = now + if unsure { HEALTH_ON_TRIAL } else { HEALTH };
        let unsure_since = unsure.then(|| *self.unsure.get_or_insert(now));
        self.unsure = unsure_since;
        if unsure_since.is_some_and(|since| now.since(since) >= UNHEARD) {
            self.packages.push_back(Package::Probe(source));
        }
    }

    /// Somebody who is on trial has told: it is to know that the source hears it, and others may tell as well.
    pub(super) fn note_trial(&mut self, now: Instant) {
        self.greeting.get_or_insert(now + GREETING);
    }

    /// Tells all who are on trial that they have been heard.
    fn greet(&mut self, now: Instant) {
        if self.greeting.is_some_and(|due| due <= now) {
            self.greeting = None;
            self.broadcast_offer(&Offer { source: self.id, ..Offer::default() });
        }
    }

    fn run_source(&mut self, now: Instant) {
        let Some(before) = self.phase() else { return };
        while let Some(wish) = self.source.as_mut().and_then(|source| source.next(now)) {
            self.grant(wish);
        }
        let Some(source) = &self.source else { return };
        let phase = source.phase();
        if core::mem::discriminant(&phase) != core::mem::discriminant(&before) {
            let over = source.is_repairing() && !matches!(before, super::Phase::Delivered);
            let places = 0..if over && phase == super::Phase::Repairing { source.payloads.len() } else { 0 };
            places.for_each(|place| self.grant(super::source::Wish::Ask(To::All, place)));
            self.event(ExchangeEvent::Phase(phase));
        }
    }

    /// Asks for what is missing, of the own payload and of others' for clients.
    fn ask(&mut self, now: Instant, mesh: &Mesh) {
        // Whoever is not in the tree wants nothing.
        self.clients.retain(|id| mesh.knows(id));
        let own = self.tag();
        let holds = |tag: Tag| {
            Some(tag) == own || self.source.as_ref().is_some_and(|source| source.payload(tag).is_some())
        };
        let foreign: Vec<Tag> = self.clients.tags().filter(|tag| !holds(*tag)).collect();
        self.askers.retain(|(tag, _)| Some(*tag) == own || foreign.contains(tag));
        for tag in own.into_iter().chain(foreign) {
            let known = self.askers.iter().any(|(asked, _)| *asked == tag);
            let others = self.askers.iter().filter(|(asked, _)| Some(*asked) != own).count();
            if !known && (Some(tag) == own || others < FOREIGN_MAX) {
                let mut asker = Asker::new(now);
                if Some(tag) != own {
                    // Clients have waited for their own.
                    asker.pass_is_over();
                }
                self.askers.push((tag, asker));
            }
        }
        self.ask_due = None;
        for place in 0..self.askers.len() {
            let due = self.ask_for(now, mesh, place);
            self.ask_due = self.ask_due.into_iter().chain(due).min();
        }
    }

    /// Asks for what is missing of one payload; when to ask again.
    fn ask_for(&mut self, now: Instant, mesh: &Mesh, place: usize) -> Option<Instant> {
        let Self { askers, receiver, clients, peers, .. } = self;
        let (tag, asker) = askers.get_mut(place)?;
        let server = peers.server(mesh, *tag)?;
        let manner = server.manner(peers.upstream(mesh).is_some());
        let held = receiver.as_ref().filter(|receiver| receiver.held().is_some_and(|held| held.tag == *tag));
        let asked = match held {
            Some(receiver) if receiver.bitmap().is_none() => return None,
            Some(receiver) => {
                let chunks = receiver.held().map_or(0, |held| held.chunks);
                asker.ask(now, chunks, manner, |chunk| !receiver.has(chunk))
            }
            None => {
                let wanted = clients.wanted(*tag);
                let end = wanted.iter().last().map_or(0, |last| last + 1);
                asker.ask(now, end, manner, |chunk| wanted.contains(chunk))
            }
        };
        let (due, tag) = (asker.poll_timeout(), *tag);
        let Some((missing, failed)) = asked else { return due };
        let server = if failed {
            peers.next_server();
            peers.server(mesh, tag).unwrap_or(server)
        } else {
            server
        };
        self.send_want(now, server, Want { tag: Some(tag), missing, ..Want::default() }, &[]);
        due
    }

    fn send_want(&mut self, now: Instant, server: Server, want: Want, records: &[u8]) {
        let want = Want { thanks: !server.near, ..want };
        let mut body = want.encode();
        body.extend_from_slice(records);
        self.peers.asked(now, server);
        self.single(kind::WANT, server.id, body);
    }

    /// Neighbours hear who began the roll-out when that has become known here.
    fn tell_neighbours(&mut self) {
        if core::mem::take(&mut self.tells_neighbours) && self.receiver.is_some() {
            let links: Vec<_> = self.peers.near().map(|(link, _)| link).collect();
            links.into_iter().for_each(|link| self.hello(link));
        }
    }

    /// Notes what is new of this node itself.
    fn tell(&mut self, now: Instant, mesh: &Mesh) {
        self.tell_due = None;
        // Without anybody to tell, what is new is told later.
        if self.peers.upstream(mesh).is_none() {
            return;
        }
        let Some(receiver) = &self.receiver else { return };
        let (state, held) = (receiver.state(), receiver.held());
        let (stage, reason) = (Stage::of(&state), state.reason());
        let same =
            |told: &Line| (told.stage, told.reason, told.tag) == (stage, reason, held.map(|held| held.tag));
        if self.entered.0 != stage {
            self.entered = (stage, now);
        }
        let done = held.map_or(0, |held| held.chunks - held.missing);
        // Who gets chunks one by one says so now and then: a new gateway waits for those who still do.
        let moves = self.askers.first().is_some_and(|(_, asker)| asker.is_over())
            && self.told.is_some_and(|told| told.done != done)
            && now.since(self.told_at) >= PROGRESS;
        if stage == Stage::Starting || (self.told.as_ref().is_some_and(same) && !moves) {
            return;
        }
        // What passes within seconds is nobody's business.
        let lasts = self.entered.1 + LASTS;
        if stage.is_passing() && self.told.is_some() && now < lasts {
            self.tell_due = Some(lasts);
            return;
        }
        self.told_at = now;
        let line = Line { tag: held.map(|held| held.tag), stage, reason, done };
        self.told = Some(line);
        // There is nobody behind a leaf whose news could go with its own.
        let soon = stage == Stage::Activating || self.is_leaf();
        self.reports.note(now, &Record { node: self.id, news: News::Line(line) }, soon);
    }

    /// Notes what this node is.
    pub(super) fn tell_about(&mut self, now: Instant) {
        let Some(receiver) = &self.receiver else { return };
        let about = About::new(&receiver.capabilities(), &self.hardware, &self.role);
        let soon = self.is_leaf();
        self.reports.note(now, &Record { node: self.id, news: News::About(about) }, soon);
    }

    fn is_leaf(&self) -> bool {
        self.peers.near().nth(1).is_none()
    }

    /// Sends news on.
    fn report(&mut self, now: Instant, mesh: &Mesh) {
        if self.reports.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        let Some(server) = self.peers.reporter(mesh) else {
            // Nobody to tell: whoever is back asks.
            (self.reports, self.told) = (Reports::after(&self.reports), None);
            return;
        };
        self.send_reports(now, server);
    }

    /// Sends the reports that are due.
    pub(super) fn send_reports(&mut self, now: Instant, server: Server) {
        while let Some(records) = self.reports.take(now) {
            self.send_want(now, server, Want::default(), &records);
            self.reports.sent(now, (!server.near).then_some((server.id, records)));
        }
    }

    /// Restarts the machine once what was to be sent has gone.
    fn restart(&mut self, now: Instant, mesh: &Mesh) {
        let Some(due) = self.restart else { return };
        if now >= due
            || (mesh.queued() == 0 && self.packages.is_empty() && self.reports.poll_timeout().is_none())
        {
            self.restart = None;
            self.event(ExchangeEvent::Receiver(receiver::Event::Restart));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.stirred {
            return Some(self.now);
        }
        let receiver = self.receiver.as_ref().and_then(|receiver| receiver.poll_timeout());
        let health = self.receiver.as_ref().map(|_| self.health_due);
        let source = self.source.as_ref().and_then(|source| source.poll_timeout());
        let restart = self.restart.map(|due| due.min(self.now + RESTART_LOOK));
        let fetch = self.fetching.map(|(_, since)| since + FETCH);
        [
            receiver,
            health,
            source,
            self.greeting,
            self.ask_due,
            self.tell_due,
            self.reports.poll_timeout(),
            restart,
            fetch,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::UpdatePlan;
    use super::super::source::tests::offering;
    use super::*;
    use crate::mesh::{LinkId, MeshConfig};
    use crate::ota::Tempo;
    use crate::wire::Parcel;
    use alloc::vec;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    #[test]
    fn all_who_are_on_trial_are_told_together_that_they_are_heard() {
        let gateway = NodeId(1);
        let mesh = Mesh::new(MeshConfig::gateway(gateway, 1));
        let mut exchange = Exchange::new(gateway, None);
        let plan = UpdatePlan {
            offerings: vec![offering(None)],
            targets: vec![NodeId(5)],
            tempo: Tempo::default(),
            broadcast: true,
        };
        exchange.start(at(0), plan, &mesh).unwrap();
        let greetings = |exchange: &mut Exchange, now: Instant| {
            exchange.work(now, &mesh);
            let packages = core::iter::from_fn(|| exchange.poll_transmit());
            let frames = packages.filter_map(|package| match package {
                Package::Broadcast { frame, .. } => Parcel::decode(&frame).ok(),
                _ => None,
            });
            let offers = frames.filter_map(|parcel| Offer::decode(&parcel.body));
            offers.filter(|offer| offer.source == gateway && offer.tag.is_none()).count()
        };
        assert_eq!(greetings(&mut exchange, at(1)), 0);
        for (second, node) in [(2, 5), (4, 6)] {
            let line = Line { tag: None, stage: Stage::Trial, reason: 0, done: 0 };
            let mut body = Want::default().encode();
            Record { node: NodeId(node), news: News::Line(line) }.encode(&mut body);
            let parcel = Parcel { kind: kind::WANT, from: NodeId(node), to: To::One(gateway), body };
            exchange.handle_parcel(at(second), LinkId(1), parcel);
            assert_eq!(greetings(&mut exchange, at(second)), 0, "others may follow");
        }
        assert_eq!(greetings(&mut exchange, at(10)), 1);
        assert_eq!(greetings(&mut exchange, at(60)), 0, "once");
    }
}
