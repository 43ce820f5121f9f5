//! What a world tells those who watch it.

use meshward_core::flash::NorError;
use meshward_core::mesh::{CloseReason, SendError};
use meshward_core::ota::exchange::ExchangeEvent;
use meshward_core::ota::trial::ResetReason;
use meshward_core::ota::{BootRecord, DistributorEvent, ReceiverEvent};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::Seat;

/// Why a host went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// An update wanted it.
    Restart,
    /// Its program crashed.
    Crash,
    /// Its power went.
    Power,
    /// Its role in the mesh changed.
    Reborn,
}

impl Down {
    /// What the chip says at the next boot.
    pub const fn reset_reason(self) -> ResetReason {
        match self {
            Self::Restart | Self::Reborn => ResetReason::Software,
            Self::Crash => ResetReason::Panic,
            Self::Power => ResetReason::PowerOn,
        }
    }
}

/// What a stock node's receiver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockUpdate {
    /// It took an Announce.
    Started,
    /// It will start a new image.
    Installed,
    /// What it has written has not the MD5.
    Md5Failed,
    /// It could not write.
    WriteFailed,
    /// Nobody answered its requests.
    GaveUp,
}

/// Something that can be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A host's program has started; with what, if the host has flash.
    Booted(Option<BootRecord>),
    /// A host's boot loader found nothing to start.
    Bricked,
    /// A host's program has ended.
    Down(Down),
    /// An application wanted to send a text to one node, or to all.
    Sent {
        /// To whom.
        dest: Option<NodeId>,
        /// What.
        text: Vec<u8>,
        /// Whether the mesh took it.
        result: Result<(), SendError>,
    },
    /// An application got a text.
    Message {
        /// Who sent it.
        from: NodeId,
        /// Whether it was for everybody.
        broadcast: bool,
        /// What.
        text: Vec<u8>,
    },
    /// A neighbour has synced.
    LinkUp(NodeId),
    /// A link has ended.
    LinkDown(Option<NodeId>, CloseReason),
    /// The tree has changed.
    TopologyChanged,
    /// A host's own update.
    Update(ReceiverEvent),
    /// A stock node's update: what of [`crate::stock::StockEvent`] concerns it.
    Stock(StockUpdate),
    /// The roll-out that a host runs.
    Rollout(DistributorEvent),
    /// Meshward updates: the host's own, and what it knows of others.
    Exchange(ExchangeEvent),
    /// A flash command broke the rules of NOR flash.
    FlashRefused(NorError),
}

/// A happening, its time and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Instant,
    /// Where.
    pub seat: Seat,
    /// What.
    pub what: Happening,
}
