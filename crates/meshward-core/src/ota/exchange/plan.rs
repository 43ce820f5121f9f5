//! What a roll-out of Meshward updates is told, and what it shows.

use alloc::vec::Vec;
use core::fmt;

use super::source::OFFERINGS_MAX;
use super::{About, Line};
use crate::ota::{Tempo, receiver};
use crate::time::Instant;
use crate::wire::NodeId;

/// A payload that a roll-out brings, and what signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offering {
    /// The image's manifest, signed by an author.
    pub manifest: Vec<u8>,
    /// The payload's descriptor, signed by an operator.
    pub descriptor: Vec<u8>,
    /// Its block table: what the descriptor has the hash of.
    pub table: Vec<u8>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What to bring to whom.
#[derive(Clone, Debug)]
pub struct UpdatePlan {
    /// The payloads, all of one image: patches for those that run their base, and one for all others.
    pub offerings: Vec<Offering>,
    /// Who is to have it.
    pub targets: Vec<NodeId>,
    /// How fast chunks go to all.
    pub tempo: Tempo,
    /// Whether chunks go to all at all. If not, each node gets them over its own link, from the nearest that has them.
    pub broadcast: bool,
}

/// Why a plan was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Another one is under way.
    Busy,
    /// There is nobody to update.
    NoTargets,
    /// No payload, or more than [`Exchange::OFFERINGS_MAX`](super::Exchange::OFFERINGS_MAX).
    Offerings(usize),
    /// The payload of this place does not fit its descriptor, or the descriptor cannot be read.
    Payload(usize),
    /// [`Tempo::airtime`] is not 1 to 100.
    Airtime(u8),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another roll-out is under way"),
            Self::NoTargets => f.write_str("there is no node to update"),
            Self::Offerings(count) => {
                write!(f, "{count} payloads: take 1 to {OFFERINGS_MAX}")
            }
            Self::Payload(index) => write!(f, "payload {index} does not fit its descriptor"),
            Self::Airtime(share) => write!(f, "an airtime of {share} % makes no sense: take 1 to 100"),
        }
    }
}

impl core::error::Error for PlanError {}

/// Where a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nodes are told of it and make room.
    Offering,
    /// Chunks go to all.
    Passing {
        /// Chunks sent.
        sent: u32,
        /// Chunks in all payloads.
        chunks: u32,
    },
    /// Nodes get what they lack from their neighbours.
    Repairing,
    /// Every target is at rest, or was given up.
    Delivered,
}

/// What is known of a Meshward node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is; `None` until it has told.
    pub about: Option<About>,
    /// How far it is; `None` until it has told.
    pub line: Option<Line>,
    /// When it was heard last.
    pub heard: Instant,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeEvent {
    /// There is news of a member.
    Member(NodeId),
    /// The roll-out that this node runs has come to its next phase.
    Phase(Phase),
    /// The node's own update.
    Receiver(receiver::Event),
}
