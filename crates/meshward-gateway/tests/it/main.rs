//! The shell around a real node, and plain sockets beside it; the REST interface of a real gateway, and who gets what over it;
//! the store on both databases; receivers of messages and values that take them, refuse them or misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod access;
mod broker;
mod contrib;
mod gateway;
mod influx;
mod notify;
mod peer;
mod rest;
mod service;
mod shell;
mod sink;
mod store;
