//! Every node accounted for: a finished roll-out names each target once, with an outcome that is true.
//!
//! *Updated* means that the node runs the image; *declined* that it ran it before, or that it is not of the
//! image's role. In a run without faults nothing fails.

use std::collections::BTreeSet;

use meshward_core::ota::{Md5Sum, TargetState};
use meshward_core::wire::NodeId;

use super::{Charges, Checker, Findings};
use crate::world::{Seat, World};

/// What a roll-out is to do.
#[derive(Clone, Debug)]
pub struct Promise {
    /// Who runs it.
    pub source: Seat,
    /// The image.
    pub md5: Md5Sum,
    /// Its role.
    pub role: String,
    /// Who is to be updated.
    pub targets: BTreeSet<NodeId>,
    /// Who has the image already.
    pub had_it: BTreeSet<NodeId>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Accounts {
    charges: Charges,
    promise: Option<Promise>,
}

impl Accounts {
    pub(super) fn new(charges: Charges) -> Self {
        Self { charges, promise: None }
    }

    /// A roll-out begins.
    pub fn promised(&mut self, promise: Promise) {
        self.promise = Some(promise);
    }
}

impl Checker for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn end(&mut self, world: &World, findings: &mut Findings) {
        let Some(promise) = &self.promise else { return };
        let report = world.rollout_report(promise.source);
        let named: Vec<NodeId> = report.iter().map(|target| target.node).collect();
        if !named.iter().eq(&promise.targets) {
            findings.add(format!("the report names {} targets of {}", named.len(), promise.targets.len()));
        }
        for target in report {
            let id = target.node;
            let Some(seat) = world.seat_of(id) else { continue };
            let runs = world.running(seat).is_some_and(|record| record.md5 == promise.md5);
            let firmware = world.spec(seat).firmware.as_ref();
            let takes = firmware.is_some_and(|firmware| firmware.role == promise.role);
            // A stock node whose new image was damaged after its MD5 was right boots the old one and believes,
            // by its file, that it runs the new one.
            let damaged = self.charges.flipped_bits;
            match target.state {
                TargetState::Updated if !runs && !damaged => {
                    findings.add(format!("node {id} is said to be updated and runs something else"));
                }
                TargetState::Updated => {}
                // One that was not seen restarting, because its parent did too, runs it and says nothing.
                TargetState::Declined if takes && !runs && !damaged && !promise.had_it.contains(&id) => {
                    findings.add(format!("node {id} is said to have declined, but it wanted the image"));
                }
                TargetState::Declined => {}
                TargetState::Failed(reason) if self.charges.is_free_of_faults() => {
                    findings.add(format!("node {id} {reason}, in a run without faults"));
                }
                TargetState::Failed(_) => {}
                state => findings.add(format!("node {id} is still {state:?}")),
            }
        }
    }
}
