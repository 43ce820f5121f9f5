//! A virtual world for the real machines: seeded, single-threaded, in virtual time.
//!
//! [`world`] runs the nodes of [`meshward_core`] on hosts with flash chips and boot loaders, joined by wires
//! over one radio channel. [`script`] is what is done to it; [`check`] judges what could be seen from
//! outside; [`swarm`] draws a whole run from one number; [`mod@bench`] measures updates; [`anomaly`]
//! scores what is found in the days of nodes; [`rollout`] rolls bad images out in waves; [`status`] measures how well a gateway knows its mesh; [`capture`] writes and
//! replays what was on the wires; [`powercut`] cuts the power of one node at every flash command. [`plant`]
//! holds bugs on purpose, so that every checker can be seen to fail.
//!
//! No sockets, threads, clocks or files, and no hash maps: one seed is one run, byte for byte.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod anomaly;
pub mod bench;
pub mod capture;
pub mod check;
pub mod flash;
pub mod grid;
pub mod image;
pub mod plant;
pub mod powercut;
pub mod rollout;
pub mod script;
pub mod signed;
pub mod status;
pub mod stock;
pub mod swarm;
pub mod topology;
pub mod trace;
pub mod update;
pub mod world;
