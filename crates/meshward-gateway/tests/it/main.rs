//! The shell around a real node, and plain sockets beside it; who gets what over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod access;
mod peer;
mod shell;
