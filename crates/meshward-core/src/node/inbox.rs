//! Where frames for this node go while the mesh reads a link.

use alloc::collections::VecDeque;

use super::{EVENTS_MAX, Event};
use crate::mesh::Inbound;
use crate::ota::exchange::Exchange;
use crate::ota::{Distributors, StockReceiver};
use crate::telemetry::Telemetry;
use crate::time::Instant;
use crate::wire::{Announce, Data, DataRequest, NodeId, Parcel, Routing, User, kind};

pub(super) fn push_bounded(events: &mut VecDeque<Event>, dropped: &mut u64, event: Event) {
    if events.len() >= EVENTS_MAX {
        *dropped += 1;
    } else {
        events.push_back(event);
    }
}

/// See the module's page.
pub(super) struct Inbox<'a> {
    pub(super) now: Instant,
    pub(super) receiver: &'a mut Option<StockReceiver>,
    pub(super) distributors: &'a mut Distributors,
    pub(super) exchange: &'a mut Exchange,
    pub(super) id: NodeId,
    pub(super) telemetry: &'a mut Option<alloc::boxed::Box<Telemetry>>,
    pub(super) events: &'a mut VecDeque<Event>,
    pub(super) events_dropped: &'a mut u64,
    pub(super) malformed: &'a mut u64,
}

impl Inbox<'_> {
    pub(super) fn take(&mut self, inbound: &Inbound<'_>) {
        let envelope = &inbound.envelope;
        if envelope.routing == Routing::Single && envelope.dest != self.id {
            return self.passing(inbound);
        }
        let understood = match inbound.envelope.kind {
            kind::BROADCAST | kind::SINGLE => self.message(inbound),
            kind::OTA_ANNOUNCE => self.announce(inbound),
            kind::OTA_REQUEST => self.request(inbound),
            kind::OTA_DATA => self.data(inbound),
            kind if Parcel::is_update(kind) => self.parcel(inbound),
            _ => self.package(inbound),
        };
        if understood.is_none() {
            *self.malformed += 1;
        }
    }

    fn message(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let user = User::decode(inbound.bytes).ok()?;
        self.push(Event::Message { from: user.from, broadcast: user.broadcast, text: user.msg.into_owned() })
    }

    fn announce(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let announce = Announce::decode(inbound.bytes).ok()?;
        let offer = &announce.offer;
        self.distributors.handle_sender(self.now, announce.from, &offer.role, &offer.hardware);
        if let Some(receiver) = self.receiver {
            receiver.handle_announce(self.now, &announce);
        }
        Some(())
    }

    fn request(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let request = DataRequest::decode(inbound.bytes).ok()?;
        self.distributors.handle_request(self.now, &request);
        Some(())
    }

    fn data(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        // Most relays neither send nor receive: they need not decode what they pass on.
        let wanted = self.receiver.as_ref().is_some_and(StockReceiver::wants_data);
        if !wanted && !self.distributors.is_active() {
            return Some(());
        }
        let data = Data::decode(inbound.bytes).ok()?;
        self.distributors.handle_sender(self.now, data.from, &data.offer.role, &data.offer.hardware);
        if let Some(receiver) = self.receiver {
            receiver.handle_data(self.now, &data);
        }
        Some(())
    }

    fn parcel(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        let parcel = Parcel::decode(inbound.bytes).ok()?;
        self.exchange.handle_parcel(self.now, inbound.link, parcel);
        Some(())
    }

    /// Telemetry of others, which the mesh hands out only while this node packs it with its own.
    fn passing(&mut self, inbound: &Inbound<'_>) {
        if let Some(telemetry) = self.telemetry {
            telemetry.handle_passing(self.now, inbound.link, inbound.envelope.kind, inbound.bytes);
        }
    }

    fn package(&mut self, inbound: &Inbound<'_>) -> Option<()> {
        if let Some(telemetry) = self.telemetry
            && telemetry.handle_package(self.now, &inbound.envelope, inbound.bytes)
        {
            return Some(());
        }
        self.push(Event::Package { envelope: inbound.envelope, bytes: inbound.bytes.to_vec() })
    }

    fn push(&mut self, event: Event) -> Option<()> {
        push_bounded(self.events, self.events_dropped, event);
        Some(())
    }
}
