//! What a node tells about itself.
//!
//! [`Telemetry`] is the node's part: it keeps the metrics ([`Registry`]), tells them by a policy as keyframes and
//! deltas (types 212 and 213) to one collector, answers the status service (210), takes policies (214) and commands
//! (400), writes EnhancedStatus (604), and as a relay packs what those behind it tell with its own. [`Collector`] is
//! the gateway's: it puts the packets together again. Both are machines without IO, driven by
//! [`Node`](crate::node::Node) and by whoever drives a gateway. The format is in `packet` and `message`.
//!
//! Refuses to broadcast: everything here is for one node. Nothing of it is signed, so nobody should act on it that
//! would not act on a stranger's word: a policy changes what is told, a reset must be allowed
//! ([`Config::reset_allowed`]).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod collector;
mod field;
mod follower;
#[doc(hidden)]
pub mod fuzzing;
mod hold;
mod machine;
mod message;
mod metric;
mod package;
mod packet;
mod registry;
mod reporter;
mod service;
#[cfg(test)]
mod tests;

pub use collector::{Collector, CollectorCounters, CollectorEvent, RESYNC_SPACING};
pub use field::{FIELDS, Field, Form, Numbers};
pub use follower::{Follower, Heard, Report};
pub use hold::HOLD;
pub(crate) use hold::Passing;
pub(crate) use machine::Transmit;
pub use machine::{Config, Dropped, Event, Telemetry};
pub use message::{BODY_MAX, BODY_READ_MAX, BUNDLE_MAX, Body, Malformed, Policy, Query};
pub use metric::{Metric, Shape};
pub use package::{Command, Identity};
pub use packet::{Flags, Head, Packet};
pub(crate) use registry::Own;
pub use registry::Registry;
pub use service::{ANSWERS_MAX, query_mask};
