//! All tests of the core that need recorded data or go through more than one module.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod codec;
mod corpus;
mod exchange;
mod hostile;
mod json;
mod net;
mod plain;
mod properties;
mod seal;
mod status;
mod telemetry;
mod together;
mod transcript;
mod transcripts;
mod trust;
mod unpack;
