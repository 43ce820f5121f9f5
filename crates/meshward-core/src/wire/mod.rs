//! What travels on a painlessMesh link: frames, their JSON, and the packages inside.
//!
//! A frame is the JSON text of one package and a NUL. [`Splitter`] cuts the byte stream of a link into
//! frames; [`read`] finds out who a frame is for and whether it may be forwarded as the bytes it is; the
//! packages ([`NodeSync`], [`Clock`], [`User`], [`Announce`], [`DataRequest`], [`Data`]) decode what is
//! ours.
//!
//! The oracle for every reading is ArduinoJson 7, which the C++ nodes use, not RFC 8259: it takes single
//! quotes and garbage after the object, and it writes control characters raw. A frame in *canonical* form
//! (see [`peek`]) reads the same to everybody and is forwarded untouched; any other is read as ArduinoJson
//! reads and written as it writes ([`normalise`]), or refused.
//!
//! Nothing here recurses on input, indexes without a check, or panics on anything a peer can send.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod clock;
mod envelope;
mod error;
mod firmware;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod json;
mod normal;
mod number;
mod parcel;
mod plain;
mod scan;
mod sync;
mod text;
mod tree;
mod user;
mod write;

pub use clock::{Clock, Stamp};
pub use envelope::{Envelope, Message, Routing, peek, read};
pub use error::DecodeError;
pub use firmware::{Announce, Data, DataRequest, Offer};
pub use frame::{Oversize, Splitter};
pub use id::NodeId;
pub use json::{Elements, Fields, Key, Value, elements, fields};
pub use normal::{Normal, Refusal, normalise};
pub use parcel::{Parcel, To};
pub use plain::PlainSync;
pub use sync::NodeSync;
pub use tree::{Depths, Tree, TreeNode};
pub use user::User;
pub use write::{Object, write_i64, write_string, write_u64};

/// The longest string, key or value, that a C++ node takes, in bytes after decoding its escapes. It
/// refuses the whole package otherwise.
pub const MAX_STRING_BYTES: usize = 65_535;

/// The deepest nesting of objects and arrays that a C++ node takes; the package itself is level 1.
pub const MAX_DEPTH: usize = 255;

/// Package types, the number in the field `type`.
pub mod kind {
    /// A measurement of the delay to one node, see [`Clock`](super::Clock).
    pub const TIME_DELAY: i32 = 3;
    /// Clock synchronisation between neighbours, see [`Clock`](super::Clock).
    pub const TIME_SYNC: i32 = 4;
    /// "This is my tree; send me yours", see [`NodeSync`](super::NodeSync).
    pub const NODE_SYNC_REQUEST: i32 = 5;
    /// The answer to [`NODE_SYNC_REQUEST`], and the only sign of life that counts.
    pub const NODE_SYNC_REPLY: i32 = 6;
    /// No longer used by anybody.
    pub const CONTROL: i32 = 7;
    /// Application text for every node, see [`User`](super::User).
    pub const BROADCAST: i32 = 8;
    /// Application text for one node, see [`User`](super::User).
    pub const SINGLE: i32 = 9;
    /// A firmware is offered, see [`Announce`](super::Announce).
    pub const OTA_ANNOUNCE: i32 = 10;
    /// A node asks for one part of a firmware, see [`DataRequest`](super::DataRequest).
    pub const OTA_REQUEST: i32 = 11;
    /// One part of a firmware, see [`Data`](super::Data).
    pub const OTA_DATA: i32 = 12;
    /// Alteriom: what a node is and how it fares.
    pub const STATUS: i32 = 202;
    /// Meshward: somebody wants to know how a node fares, see [`Parcel`](super::Parcel).
    pub const STATUS_QUERY: i32 = 210;
    /// Meshward: the answer to that.
    pub const STATUS_ANSWER: i32 = 211;
    /// Meshward: how a node fares, whole.
    pub const TELEMETRY_KEYFRAME: i32 = 212;
    /// Meshward: how a node fares, against its last keyframe; or that of several nodes.
    pub const TELEMETRY_DELTA: i32 = 213;
    /// Meshward: what a node is to tell by itself, and when.
    pub const TELEMETRY_POLICY: i32 = 214;
    /// Meshward: a keyframe is wanted, or a policy was taken.
    pub const TELEMETRY_ACK: i32 = 215;
    /// Alteriom: a command to a node.
    pub const COMMAND: i32 = 400;
    /// Alteriom: how a node fares, in one package.
    pub const ENHANCED_STATUS: i32 = 604;
    /// Meshward: an update is offered, see [`Parcel`](super::Parcel).
    pub const OFFER: i32 = 220;
    /// Meshward: what a node wants of an update, and how far it is.
    pub const WANT: i32 = 221;
    /// Meshward: one chunk of an update.
    pub const CHUNK: i32 = 222;
    /// Meshward: what an operator orders.
    pub const ORDER: i32 = 223;
}
