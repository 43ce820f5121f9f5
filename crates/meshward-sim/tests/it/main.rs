//! All tests of the virtual world that go through more than one of its parts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod anomalies;
mod bench;
mod captures;
mod exchange;
mod grid;
mod powercut;
mod quirks;
mod receiver;
mod rollouts;
mod sealed;
mod status;
mod swarm;
mod tools;
mod turbo;
mod updates;
mod world;
