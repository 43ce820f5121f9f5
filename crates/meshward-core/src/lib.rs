//! Everything a painlessMesh node does, without IO.
//!
//! # The driving contract
//!
//! A [`node::Node`] never sees a clock, a socket, a flash chip or a random generator. A shell (Tokio on
//! Linux, a simulator, a microcontroller) tells it what has happened, and then asks what to do:
//!
//! 1. **In**: one `handle_*` call per happening, always with `now`: a link came up or went down, bytes
//!    arrived, a timer is due, a flash command is done.
//! 2. **Out**, after every input: [`poll_event`](node::Node::poll_event) until `None` (a debug assertion
//!    catches a shell that forgets), then for every link [`outgoing`](node::Node::outgoing), and
//!    [`poll_flash`](node::Node::poll_flash), whose completion is the next input.
//! 3. **Sleep** until [`poll_timeout`](node::Node::poll_timeout), or until something happens.
//!
//! The loop of a shell, with two nodes joined by a wire that loses nothing:
//!
//! ```
//! use meshward_core::mesh::{LinkId, LinkRole, MeshConfig, Outgoing};
//! use meshward_core::node::{Node, NodeConfig};
//! use meshward_core::time::{Duration, Instant};
//! use meshward_core::wire::NodeId;
//!
//! let node = |id| Node::new(NodeConfig::new(MeshConfig::node(NodeId(id), 1)));
//! let drain = |node: &mut Node| while node.poll_event().is_some() {};
//! let (mut a, mut b) = (node(1), node(2));
//! let mut now = Instant::ORIGIN;
//! let at_a = a.handle_link_up(now, LinkRole::Listener).expect("a has room for a link");
//! let at_b = b.handle_link_up(now, LinkRole::Dialler).expect("b has room for a link");
//! drain(&mut a);
//! drain(&mut b);
//!
//! // Carries what one node has for a link to the other end; whether there was anything.
//! let carry = |from: (&mut Node, LinkId), to: (&mut Node, LinkId), now: Instant| {
//!     let Outgoing::Bytes(bytes) = from.0.outgoing(from.1) else { return false };
//!     let bytes = bytes.to_vec();
//!     from.0.sent(from.1, bytes.len());
//!     to.0.handle_data(now, to.1, &bytes);
//!     drain(to.0);
//!     true
//! };
//! while now < Instant::ORIGIN + Duration::from_secs(5) {
//!     while carry((&mut b, at_b), (&mut a, at_a), now) || carry((&mut a, at_a), (&mut b, at_b), now) {}
//!     let due = [a.poll_timeout(), b.poll_timeout()].into_iter().flatten().map(|(due, _)| due).min();
//!     now = due.expect("a link always has a timer");
//!     for node in [&mut a, &mut b] {
//!         node.handle_timeout(now);
//!         drain(node);
//!     }
//! }
//! assert!(a.mesh().knows(NodeId(2)) && b.mesh().knows(NodeId(1)));
//! ```
//!
//! # For authors of firmware
//!
//! [`guide`] says what the calls of the C++ library become, with examples that run.
//!
//! # Modules, lowest first
//!
//! [`time`], [`rng`] and [`hash`]; [`wire`], what travels on a link; [`mesh`], links, tree, routing and clock;
//! [`flash`], commands to flash; [`codec`], what payloads are packed with; [`ota`], firmware;
//! [`telemetry`], what a node tells about itself; [`node`], their sum. A module imports only from those before it.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod flash;
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
pub mod hash;
pub mod mesh;
pub mod node;
pub mod ota;
pub mod rng;
pub mod telemetry;
pub mod time;
pub mod wire;
