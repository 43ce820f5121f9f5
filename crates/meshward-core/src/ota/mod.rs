//! Firmware updates: who sends an image, who takes it, and what the boot loader starts.
//!
//! [`StockReceiver`] takes an image by the stock protocol (types 10, 11, 12) into the inactive slot;
//! [`Distributor`] brings an image to many nodes, and [`Distributors`] several to nodes of several roles; [`BootRecord`] tells the boot loader what to run; [`trust`] is
//! whom a node believes. All are machines without IO: flash is commanded through [`crate::flash::FlashOp`], frames go out through
//! [`Package`].

mod boot;
mod distributor;
mod distributors;
pub mod exchange;
pub mod journal;
mod pair;
pub mod receiver;
mod stock;
mod tag;
mod tempo;
pub mod trial;
pub mod trust;

use alloc::vec::Vec;

pub use boot::{BootRecord, write_record};
pub use distributor::{
    Distributor, DistributorEvent, FailReason, ImagePlan, Scheme, StartError, TargetReport, TargetState,
};
pub use distributors::{Distributors, SessionId};
pub use stock::{ReceiverConfig, ReceiverEvent, ReceiverState, StockReceiver, UpdateError};
pub use tag::{ImageId, Tag};
pub use tempo::Tempo;

pub use crate::hash::Md5Sum;
use crate::mesh::LinkId;
use crate::wire::NodeId;

/// A frame that a firmware machine wants sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Package {
    /// An encoded frame for one node.
    Single {
        /// For whom.
        dest: NodeId,
        /// Whether it is a firmware chunk, which other traffic overtakes.
        chunk: bool,
        /// The JSON text.
        frame: Vec<u8>,
    },
    /// An encoded frame for the neighbour at the other end of a link.
    Neighbour {
        /// Over which link.
        link: LinkId,
        /// Whether it goes behind firmware chunks.
        behind: bool,
        /// The JSON text.
        frame: Vec<u8>,
    },
    /// An encoded frame for everybody.
    Broadcast {
        /// Whether it is a firmware chunk, which other traffic overtakes.
        chunk: bool,
        /// The JSON text.
        frame: Vec<u8>,
    },
    /// A delay probe (type 3) to this node, behind what was sent to it before.
    Probe(NodeId),
}
