//! Meshward on Linux.
//!
//! [`shell`] runs a [`meshward_core::node::Node`] on Tokio sockets; [`flash_file`] is its flash chip and
//! [`boot`] its boot loader; [`host`] runs a whole node with restarts; [`service`] is a gateway's membership
//! of a mesh, [`rest`] its HTTP face, [`mqtt`] its place at a broker and [`prometheus`] what monitoring reads;
//! [`notify`] tells people, [`influx`] InfluxDB. What a node or a gateway *decides* is not here but in
//! `meshward-core` and `meshward-fleet`.

pub mod boot;
pub mod flash_file;
pub mod host;
pub mod influx;
pub mod keep;
pub mod mqtt;
pub mod notify;
pub mod peer;
pub mod prometheus;
pub mod rest;
pub mod service;
pub mod shell;
pub mod store;
