//! What must hold for any body, and for an exchange at any time: shared by a fuzz target, the tests that replay
//! its corpus, and the story of a whole node (`crate::fuzzing`). It panics when it does not hold; nothing else
//! calls it.

use super::{
    Chunk, EVENTS_MAX, Exchange, FOREIGN_MAX, HEADS_MAX, MEMBERS_MAX, ORDERED_MAX, ORDERS_MAX, Offer,
    WAITING_MAX, Want,
};
use crate::wire::{Parcel, To, kind};

/// Clients that are served at once, as `clients.rs` has it.
const CLIENTS: usize = 64;

/// What is understood survives being written again, in as many bytes; and a parcel carries any body.
pub fn messages(body: &[u8]) {
    if let Some(offer) = Offer::decode(body) {
        let written = offer.encode();
        assert_eq!((Offer::decode(&written), written.len()), (Some(offer), body.len()));
    }
    if let Some(want) = Want::decode(body) {
        let written = want.encode();
        assert!(want.missing.iter().all(|chunk| want.missing.contains(chunk)));
        assert_eq!((Want::decode(&written), written.len()), (Some(want), body.len()));
    }
    if let Some(chunk) = Chunk::decode(body) {
        assert_eq!(chunk.encode(), body);
    }
    let from = crate::wire::NodeId(u32::MAX);
    for to in [To::Neighbour, To::One(from), To::All] {
        let parcel = Parcel { kind: kind::WANT, from, to, body: body.to_vec() };
        assert_eq!(Parcel::decode(&parcel.encode()), Ok(parcel));
    }
    // And any text is a parcel or none.
    let _parcel = Parcel::decode(body);
}

/// Everything that an exchange holds is bounded, whatever it was sent.
pub(crate) fn bounds(exchange: &Exchange) {
    let Exchange {
        members, clients, askers, waiting, orders, ordered, heads, refused, packages, events, ..
    } = exchange;
    assert!(members.len() <= MEMBERS_MAX && clients.tags().count() <= CLIENTS);
    // The own, and one more of others' where there was no own one when they were asked for.
    assert!(askers.len() <= 2 + FOREIGN_MAX, "payloads asked for: {}", askers.len());
    assert!(waiting.len() <= WAITING_MAX && orders.len() <= ORDERS_MAX && ordered.len() <= ORDERED_MAX);
    assert!(heads.len() <= HEADS_MAX && refused.len() <= HEADS_MAX);
    assert!(packages.is_empty() && events.len() <= EVENTS_MAX, "what is to go out has gone to the node");
}
