//! The HTTP interface under `/api/v1`: nodes, topology, alerts, events, firmware, roll-outs; described by
//! `docs/openapi.json`.
//!
//! [`listen`] has the sockets, [`access`] says who may do what; nothing is served to whom that does not let in. Errors are
//! RFC 9457 problem details. Beside it is the [`Dashboard`], for people at browsers.

pub mod access;
mod api;
mod conditional;
pub(crate) mod convert;
mod dashboard;
mod export;
mod extract;
mod feed;
mod hub;
mod idempotency;
pub(crate) mod inside;
mod kept;
pub mod listen;
pub mod model;
mod openapi;
mod page;
mod problem;
mod routes;
mod strict;

pub use api::Api;
pub use convert::configured_channel;
pub use dashboard::Dashboard;
pub use listen::{BindError, Bound, Http, bind, serve};
pub use openapi::document;

/// Longest image that may be uploaded, in bytes.
pub const FIRMWARE_MAX: usize = 16 * 1024 * 1024;
