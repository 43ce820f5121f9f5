//! What travels on a painlessMesh link: frames, their JSON, and the packages inside.
//!
//! A frame is the JSON text of one package and a NUL. [`Splitter`] cuts the byte stream of a link into
//! frames; [`read`] finds out who a frame is for and whether it may be forwarded as the bytes it is; the
//! packages ([`NodeSync`], [`Clock`], [`User`], [`Announce`], [`DataRequest`], [`Data`]) decode what is
//! ours, and [`status`] what nodes tell about themselves.
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

mod branch;
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
pub mod status;
mod sync;
mod text;
mod tree;
mod user;
mod write;

pub use branch::Branch;
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
    /// The library's plug-in that tells how nodes fare, see [`Performance`](super::status::Performance).
    pub const PERFORMANCE: i32 = 13;
    /// The library's plug-in that sends what nodes log, see [`RemoteLog`](super::status::RemoteLog).
    pub const REMOTE_LOG: i32 = 14;
    /// Alteriom: sensors, see [`Sensor`](super::status::Sensor).
    pub const SENSOR: i32 = 200;
    /// Alteriom: what [`COMMAND`] was in older versions.
    pub const COMMAND_OLD: i32 = 201;
    /// Alteriom: status and answers, see [`Status`](super::status::Status).
    pub const STATUS: i32 = 202;
    /// Alteriom: measurements of a node, see [`Metrics`](super::status::Metrics).
    pub const METRICS: i32 = 204;
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
    /// Alteriom: do something, see [`Command`](super::status::Command).
    pub const COMMAND: i32 = 400;
    /// Alteriom: nodes, see [`NodeList`](super::status::NodeList).
    pub const NODE_LIST: i32 = 600;
    /// Alteriom: links, see [`Topology`](super::status::Topology).
    pub const TOPOLOGY: i32 = 601;
    /// Alteriom: complaints, see [`Alerts`](super::status::Alerts).
    pub const ALERTS: i32 = 602;
    /// Alteriom: a message of another mesh, see [`Bridged`](super::status::Bridged).
    pub const BRIDGED: i32 = 603;
    /// Alteriom: more status, see [`EnhancedStatus`](super::status::EnhancedStatus).
    pub const ENHANCED_STATUS: i32 = 604;
    /// Alteriom: a node judges itself, see [`HealthCheck`](super::status::HealthCheck).
    pub const HEALTH_CHECK: i32 = 605;
    /// Alteriom: how a bridge fares, see [`BridgeStatus`](super::status::BridgeStatus).
    pub const BRIDGE_STATUS: i32 = 610;
    /// Alteriom: who would be the bridge, see [`Election`](super::status::Election).
    pub const BRIDGE_ELECTION: i32 = 611;
    /// Alteriom: who is the bridge now, see [`Takeover`](super::status::Takeover).
    pub const BRIDGE_TAKEOVER: i32 = 612;
    /// Alteriom: bridges among themselves, see [`Coordination`](super::status::Coordination).
    pub const BRIDGE_COORDINATION: i32 = 613;
    /// Alteriom: civil time, see [`NtpTime`](super::status::NtpTime).
    pub const NTP_TIME: i32 = 614;
    /// Alteriom: something for the Internet, see [`GatewayData`](super::status::GatewayData).
    pub const GATEWAY_DATA: i32 = 620;
    /// Alteriom: what became of it, see [`GatewayAck`](super::status::GatewayAck).
    pub const GATEWAY_ACK: i32 = 621;
    /// Alteriom: a gateway is there, see [`GatewayHeartbeat`](super::status::GatewayHeartbeat).
    pub const GATEWAY_HEARTBEAT: i32 = 622;
    /// Meshward: an update is offered, see [`Parcel`](super::Parcel).
    pub const OFFER: i32 = 220;
    /// Meshward: what a node wants of an update, and how far it is.
    pub const WANT: i32 = 221;
    /// Meshward: one chunk of an update.
    pub const CHUNK: i32 = 222;
    /// Meshward: what an operator orders.
    pub const ORDER: i32 = 223;
}
