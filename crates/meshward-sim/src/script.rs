//! What is done to a world from outside, as data: a script is a list of steps with their times.

use std::sync::Arc;

use meshward_core::mesh::Limits;
use meshward_core::node::Node;
use meshward_core::ota::ImagePlan;
use meshward_core::time::{Duration, Instant};
use meshward_fleet::deployment::Plan;
use meshward_fleet::fleet::Settings;

use crate::stock::StockOffer;
use crate::update::UpdateStory;
use crate::world::{Rule, Seat};

/// Which way a link goes silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// What the first host sends vanishes; the other way works.
    OneWay,
    /// Both ways.
    Both,
}

/// One thing done to the world.
#[derive(Clone, Debug)]
pub enum Step {
    /// Power comes on; nothing if it is on.
    Join(Seat),
    /// Power goes; neighbours see their links close.
    Leave(Seat),
    /// Power goes in the middle of whatever it is doing, and comes back this much later. Neighbours notice
    /// nothing.
    PowerCut(Seat, Duration),
    /// The program crashes and starts again; its links close.
    Crash(Seat),
    /// The first host leaves its parent for the second.
    Reparent(Seat, Seat),
    /// Every link between the two closes; the dialler dials again.
    Cut(Seat, Seat),
    /// Every link between the two goes silent without closing.
    HalfOpen(Seat, Seat, Silence),
    /// These hosts can no longer be heard by the others, nor hear them. Links go silent.
    Partition(Vec<Seat>),
    /// All hosts hear each other again.
    Rejoin,
    /// The second host is the root from now on, the first is not; both restart.
    ChangeRoot(Seat, Seat),
    /// A fault begins.
    Fault(Rule),
    /// All faults and partitions end, everybody has power.
    Heal,
    /// One bit turns over in the image slot that a host does not run: offset in the slot, bit.
    FlipBit(Seat, u32, u8),
    /// An application sends this text to one host, or to all.
    Send(Seat, Option<Seat>, Vec<u8>),
    /// A stock node offers an image, as its library does.
    Offer(Seat, Box<StockOffer>),
    /// A node of ours starts a roll-out.
    Rollout(Seat, Arc<ImagePlan>),
    /// Its targets among these hosts may restart.
    Activate(Seat, Vec<Seat>),
    /// It ends where it is.
    Abort(Seat),
    /// The gateway on this host brings a signed update; over restarts of the host too.
    Update(Seat, Arc<UpdateStory>),
    /// The gateway on this host brings an image to nodes of both families, until its host restarts.
    Deploy(Seat, Arc<Plan>),
    /// The gateway on this host keeps a fleet from now on, over restarts of the host too, when it begins anew. One that
    /// has a fleet already begins anew without its node.
    Watch(Seat, Arc<Settings>),
    /// The gateway on this host loses its database, and knows of no update any more.
    Forget(Seat),
}

/// A step and its time.
pub type Timed = (Instant, Step);

/// Limits for a host that may have as many links as there are nodes, as the shapes of the benchmark need.
pub fn roomy(nodes: usize) -> Limits {
    Limits { links: nodes + 8, nodes: (2 * nodes).max(640), ..Limits::NODE }
}

/// Whether a node's own roll-out, if it has one, has come to its end.
pub fn rollout_done(node: &Node) -> bool {
    !node.distributors().is_active()
}
