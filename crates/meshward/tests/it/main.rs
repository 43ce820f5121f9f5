//! The program as its users run it: processes, exit codes, output.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod bad_input;
mod bench;
mod beside;
mod captures;
mod channels;
mod configuration;
mod demo;
mod doctor;
mod firmware;
mod kept;
mod mqtt;
mod processes;
mod profiles;
mod program;
mod service;
mod setup;
mod signed;
mod sim;
mod status;
mod tools;
mod waves;
