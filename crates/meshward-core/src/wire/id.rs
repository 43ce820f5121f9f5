//! The name of a node: 32 bits that C++ nodes take from their MAC address.
//!
//! Nothing is checked here; that an id is new to the mesh is for the link layer to find out.

use core::fmt;

/// A node's id. Written in decimal everywhere: on the wire, in logs, on the command line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Nobody: the other end of a link that has not synced yet, or the `dest` of a broadcast.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
