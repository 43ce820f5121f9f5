//! What a node is told at its birth, and the limits it keeps.

use crate::time::Duration;
use crate::wire::NodeId;

/// The protocol's timers, as the C++ library has them (`mesh.hpp`, `ntp.hpp`, `configuration.hpp`).
pub mod timers {
    use super::Duration;

    /// Between two node sync requests on a link that does not change.
    pub const NODE_SYNC: Duration = Duration::from_secs(60);
    /// How long a listener waits before it sends its own first request.
    pub const FIRST_NODE_SYNC: Duration = Duration::from_secs(10);
    /// How long the answer to a node sync request may take; nothing else counts as life.
    pub const NODE_TIMEOUT: Duration = Duration::from_secs(10);
    /// Between two change-driven requests on one link: bursts of changes become one message.
    pub const SYNC_SPACING: Duration = Duration::from_millis(5);
    /// Between two time syncs that did their work.
    pub const TIME_SYNC: Duration = Duration::from_secs(60);
    /// Until a time sync that got no answer is tried again, and a listener's wait before its first.
    pub const TIME_SYNC_RETRY: Duration = Duration::from_secs(10);
    /// Until a time sync that stepped the clock far is repeated.
    pub const TIME_SYNC_AGAIN: Duration = Duration::from_millis(200);
}

/// Bounds on what the network can make a node hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame taken, in bytes without the NUL; a longer one closes its link.
    pub frame: usize,
    /// Most nodes in one neighbour's tree; more close the link.
    pub nodes: usize,
    /// Most links at once.
    pub links: usize,
    /// Bytes queued per link before user data is dropped; chunks go first, protocol messages may use as
    /// much again.
    pub queue: usize,
    /// Longest message that a user may send, in bytes of JSON; C++ nodes take no more than this safely.
    pub message: usize,
    /// Events kept for a shell that does not ask.
    pub events: usize,
}

impl Limits {
    /// For a microcontroller: 16 KB frames (a tree of about 600 nodes), 24 KB queued per link.
    pub const NODE: Self =
        Self { frame: 16 * 1024, nodes: 640, links: 11, queue: 24 * 1024, message: 4_400, events: 512 };

    /// For a gateway on Linux: 64 KB frames, 1 MB queued per link.
    pub const GATEWAY: Self =
        Self { frame: 64 * 1024, nodes: 2_500, links: 64, queue: 1024 * 1024, message: 4_400, events: 8_192 };
}

/// What a node is told at its birth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// This node's id: on an ESP the last four bytes of its MAC. Never 0.
    pub id: NodeId,
    /// Whether this node calls itself the root of the mesh. Only a flag: it changes no routing.
    pub root: bool,
    /// Whether this node's clock is better than the others' (RTC, Internet): they adopt it.
    pub time_authority: bool,
    /// Mesh time at the origin of the shell's clock, in microseconds.
    pub clock_offset: u32,
    /// Seed of the node's generator.
    pub seed: u64,
    /// Bounds on memory.
    pub limits: Limits,
}

impl MeshConfig {
    /// An ordinary node: no root, no authority, limits of a microcontroller.
    pub fn node(id: NodeId, seed: u64) -> Self {
        Self { id, root: false, time_authority: false, clock_offset: 0, seed, limits: Limits::NODE }
    }

    /// A gateway's membership: as [`MeshConfig::node`], with the limits of a Linux machine.
    pub fn gateway(id: NodeId, seed: u64) -> Self {
        Self { limits: Limits::GATEWAY, ..Self::node(id, seed) }
    }
}
