//! The shell around a real node, and plain sockets beside it; the REST interface of a real gateway, and who gets what of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod access;
mod peer;
mod rest;
mod shell;
