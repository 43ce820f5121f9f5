//! What a gateway decides, on real images.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

mod deployments;
mod deployments_beside;
mod hostile;
mod liveness;
mod memory;
mod net;
mod payloads;
mod rollouts;
