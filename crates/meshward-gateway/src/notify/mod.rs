//! Telling people: from the fleet's notifications to mail, webhooks and brokers.
//!
//! The fleet decides what is worth a message and groups it ([`meshward_fleet::alert`]); here is decided who is told
//! and when (`route`, `timing`: values in, values out), and it is delivered. A message is written into the store's
//! outbox, one row per channel, before anything is sent and before the database learns that it was told, and is taken
//! out when it was delivered or given up: whoever kills the gateway loses nothing, and may see a message twice.
//! *At least once* is the promise; receivers tell copies by the id that comes with each.
//!
//! Each `channel` has a worker of its own with time-outs and a [`Circuit`], so that a receiver
//! that hangs, refuses or answers nonsense holds up nobody else. What is refused for good, and what could not be
//! delivered for a day, becomes a dead letter, which people see and can send again. A [`heartbeat`] tells a watchdog
//! elsewhere that the gateway lives; it never waits in the outbox. Nothing here ever blocks the mesh.
//!
//! Driven by the keeper ([`crate::keep`]), which hands over what is new twice a second, and by the REST interface.

mod backoff;
mod body;
mod channel;
pub mod heartbeat;
mod mail;
mod message;
mod notifier;
mod route;
mod send;
mod timing;
mod worker;

pub use backoff::{Circuit, GIVE_UP_AFTER, delay};
pub use body::signature;
pub use channel::{CHANNELS_MAX, Channel, ChannelError, Hook, Kind, Mail, Security, Template};
pub use message::{Item, Message, Notice, digest};
pub use notifier::{Health, Notifier, NotifierError, PENDING_MAX, Tested};
pub use route::{Chosen, DEPTH_MAX, ROUTES_MAX, Route, RouteError, choose};
pub(crate) use send::retry_after;
pub use send::{Publisher, Publishing, SEND_MAX, SendError};
pub use timing::{Quiet, due, next_digest};

use meshward_fleet::alert::Notification;

use crate::service::Gateway;

/// The fleet's notifications as messages, with civil times and the names of nodes.
pub(crate) fn messages(gateway: &mut Gateway) -> Vec<Message> {
    let taken: Vec<Notification> = gateway.take_notifications();
    taken.into_iter().map(|told| message::of(gateway, told)).collect()
}
