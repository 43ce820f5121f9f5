//! Meshward updates between nodes (types 220 to 223).
mod about;
mod message;
mod stage;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

pub use about::{About, key_prefix};
pub use message::{Chunk, Chunks, Head, ImageId, Line, News, Offer, Record, Tag, Want};
pub use stage::Stage;

use super::Package;
use super::receiver::{self, Receiver};
use crate::flash::{Completion, FlashOp};
use crate::mesh::{LinkId, Mesh};
use crate::time::Instant;
use crate::wire::{NodeId, Parcel};

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
    /// How much of the time the broadcast pass may fill one channel that all share, in per cent, 1 to 100.
    pub airtime: u8,
}

/// Why a plan was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Another one is under way.
    Busy,
    /// There is nobody to update.
    NoTargets,
    /// No payload, or more than [`Exchange::OFFERINGS_MAX`].
    Offerings(usize),
    /// The payload of this place does not fit its descriptor, or the descriptor cannot be read.
    Payload(usize),
    /// [`UpdatePlan::airtime`] is not 1 to 100.
    Airtime(u8),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another roll-out is under way"),
            Self::NoTargets => f.write_str("there is no node to update"),
            Self::Offerings(count) => {
                write!(f, "{count} payloads: take 1 to {}", Exchange::OFFERINGS_MAX)
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

/// See the module's page.
#[derive(Debug)]
pub struct Exchange {
    id: NodeId,
    receiver: Option<Receiver>,
    members: BTreeMap<NodeId, Member>,
    packages: VecDeque<Package>,
    events: VecDeque<ExchangeEvent>,
}

impl Exchange {
    /// Payloads of one roll-out: a whole image and patches.
    pub const OFFERINGS_MAX: usize = 8;

    /// Of a node that takes updates, if it has a receiver, and can bring them to others.
    pub fn new(id: NodeId, receiver: Option<receiver::Config>) -> Self {
        Self {
            id,
            receiver: receiver.map(Receiver::new),
            members: BTreeMap::new(),
            packages: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The node's own receiver.
    pub fn receiver(&self) -> Option<&Receiver> {
        self.receiver.as_ref()
    }

    /// What is known of other Meshward nodes.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// Asks every Meshward node what it is and how far: they become members.
    pub fn survey(&mut self, _now: Instant) {}

    /// Starts a roll-out.
    ///
    /// # Errors
    /// [`PlanError`], and nothing has changed.
    pub fn start(&mut self, _now: Instant, _plan: UpdatePlan, _mesh: &Mesh) -> Result<(), PlanError> {
        Ok(())
    }

    /// Where the roll-out is; `None` when there is none.
    pub fn phase(&self) -> Option<Phase> {
        None
    }

    /// Ends the roll-out where it is; nodes keep what they have and serve each other.
    pub fn stop(&mut self) {}

    /// Sends an operator's signed order: to everybody, or to these nodes, one by one.
    pub fn order(&mut self, _signed: &[u8], _nodes: Option<&[NodeId]>) {}

    /// What the application found out about itself: whether it works.
    pub fn handle_self_test(&mut self, _now: Instant, _works: bool) {}

    /// The supply was measured, in millivolts.
    pub fn handle_supply(&mut self, millivolts: u16) {
        self.receiver.iter_mut().for_each(|receiver| receiver.handle_supply(millivolts));
    }

    pub(crate) fn handle_parcel(&mut self, _now: Instant, _link: LinkId, _parcel: &Parcel) {}

    pub(crate) fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_flash(now, completion);
        }
    }

    pub(crate) fn poll_flash(&mut self) -> Option<FlashOp> {
        self.receiver.as_mut()?.poll_flash()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.receiver.as_ref()?.poll_timeout()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Package> {
        self.packages.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<ExchangeEvent> {
        let own = self.receiver.as_mut().and_then(Receiver::poll_event);
        own.map(ExchangeEvent::Receiver).or_else(|| self.events.pop_front())
    }
}
