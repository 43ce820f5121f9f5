//! The shell around a real node, plain sockets beside it, and the REST interface of a real gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod peer;
mod rest;
mod shell;
