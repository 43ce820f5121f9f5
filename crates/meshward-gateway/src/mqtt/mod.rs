//! A broker between the gateway and everybody who speaks MQTT: status out, requests in, Home Assistant.
//!
//! What is said and done is decided without a socket and without a clock: `board` is what the broker is to keep,
//! `status`, `update`, `home_assistant` and `compat` say what that is, `firmware` takes images in chunks, `request`
//! turns requests into calls of the REST interface, and `bridge` is their sum. `client` speaks 3.1.1 and 5, and `run`
//! is the task that feeds one with the other. Topics and payloads are in `docs/integrations.md`.
//!
//! It refuses to call a node offline because the broker is: nothing about the mesh depends on the broker. And it does
//! nothing that REST would not do for the configured role.

mod board;
mod bridge;
mod client;
mod compat;
mod firmware;
mod home_assistant;
mod message;
mod post;
mod request;
mod run;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod topics;
mod update;

pub use client::{Problem, probe};
pub use post::{Post, PostBox, PostError, post};
pub use run::{run, run_with};
pub use settings::{AddressError, Broker, BrokerAddress, Settings, Shape, Switches, Tls, Version};
pub use topics::{Base, TopicError};

/// The page's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/integrations.md")]
mod page {}
