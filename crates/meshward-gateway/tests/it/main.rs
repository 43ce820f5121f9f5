//! The shell around a real node, and plain sockets beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod peer;
mod service;
mod shell;
