//! Manners: what would be an error in a log. Nodes of a simulated mesh speak well, so nobody may ever see a
//! frame that makes no sense; flash is used by its rules; and without a fault no link closes for a reason
//! that faults have.

use meshward_core::mesh::CloseReason;
use meshward_core::ota::{ReceiverEvent, UpdateError};

use super::{Charges, Checker, Findings};
use crate::world::{Happening, Record, World};

/// See the module's page.
#[derive(Debug)]
pub struct Manners {
    charges: Charges,
    told: bool,
}

impl Manners {
    pub(super) fn new(charges: Charges) -> Self {
        Self { charges, told: false }
    }

    fn may_close(&self, reason: CloseReason) -> bool {
        match reason {
            CloseReason::ConnectionLost | CloseReason::Requested => true,
            // While nodes change their places, a tree in transit may name one twice, also its own top.
            CloseReason::AlreadyConnected
            | CloseReason::NoSyncReply
            | CloseReason::Ring
            | CloseReason::InvalidTree => self.charges.disturbed,
            CloseReason::ClaimsOurId
            | CloseReason::TreeTooLarge
            | CloseReason::FrameTooLong
            | CloseReason::QueueOverflow => false,
        }
    }

    fn may_fail(&self, error: UpdateError) -> bool {
        match error {
            UpdateError::TooLarge => false,
            UpdateError::Flash | UpdateError::Md5 => self.charges.bad_flash || self.charges.flipped_bits,
        }
    }
}

impl Checker for Manners {
    fn name(&self) -> &'static str {
        "manners"
    }

    fn see(&mut self, world: &World, record: &Record, findings: &mut Findings) {
        let id = world.id(record.seat);
        match &record.what {
            Happening::FlashRefused(error) if !self.charges.flipped_bits => {
                findings.add(format!("node {id} broke the rules of NOR flash: {error:?}"));
            }
            Happening::LinkDown(_, reason) if !self.may_close(*reason) => {
                findings.add(format!("node {id} closed a link: {reason}"));
            }
            Happening::Update(ReceiverEvent::Failed(error)) if !self.may_fail(*error) => {
                findings.add(format!("node {id} failed to take an update: {error}"));
            }
            _ => {}
        }
    }

    fn look(&mut self, world: &World, findings: &mut Findings) {
        for seat in world.seats() {
            let Some(machine) = world.machine(seat).filter(|_| !self.told) else { continue };
            let counters = machine.mesh().counters();
            let malformed = machine.node().map_or(0, meshward_core::node::Node::malformed_packages);
            let odd = [
                ("unreadable frames", counters.frames_unreadable),
                ("oversize frames", counters.oversize_frames),
                ("misrouted frames", counters.frames_misrouted),
                ("malformed packages", counters.packages_malformed + malformed),
            ];
            for (what, count) in odd.into_iter().filter(|(_, count)| *count > 0) {
                self.told = true;
                findings.add(format!("node {} got {count} {what}", world.id(seat)));
            }
        }
    }
}
