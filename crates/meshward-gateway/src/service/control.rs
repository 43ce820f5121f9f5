//! What operators do with a roll-out that has begun: a closed list, so that each can be written down.

use meshward_core::node::Node;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::rollout::{Verb, VerbError};
use thiserror::Error;

use super::under_way::{Course, UnderWay};
use super::{Gateway, Rollout, RolloutError};

/// Something done with a roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// These nodes of a held roll-out may restart; `None` is all of them.
    Activate(Option<Vec<NodeId>>),
    /// Nothing is sent until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// It ends where it is.
    Abort,
    /// The wave that waits may begin.
    Approve,
    /// Whoever was updated goes back.
    RollBack,
}

impl Control {
    /// The verb, as paths and the audit have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Activate(_) => "activate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Approve => "approve",
            Self::RollBack => "rollback",
        }
    }

    /// What it is to one in waves; `None` where waves decide.
    const fn verb(&self) -> Option<Verb> {
        match self {
            Self::Activate(_) => None,
            Self::Pause => Some(Verb::Pause),
            Self::Resume => Some(Verb::Resume),
            Self::Abort => Some(Verb::Abort),
            Self::Approve => Some(Verb::Approve),
            Self::RollBack => Some(Verb::RollBack),
        }
    }
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is none of this number.
    #[error("there is no roll-out {0}")]
    Unknown(u64),
    /// It is over.
    #[error("roll-out {0} has finished")]
    Finished(u64),
    /// It has no waves.
    #[error("roll-out {0} has no plan: there are no waves to {what}", what = .1.name())]
    Unplanned(u64, Control),
    /// Its waves say who starts the image.
    #[error(
        "roll-out {0} has a plan, and its waves say who starts the image: approve lets the next one begin"
    )]
    Planned(u64),
    /// Not now.
    #[error("{0}")]
    Refused(#[from] VerbError),
    /// It cannot be taken up again.
    #[error("roll-out {0} cannot be taken back from here: {1}")]
    Reopened(u64, RolloutError),
    /// A node is not its business.
    #[error("node {node} is not in this roll-out; nothing has been activated")]
    Stranger {
        /// It.
        node: NodeId,
        /// Its place in the list, from 0.
        at: usize,
    },
}

impl Gateway {
    /// Acts on a roll-out under way, or takes one back that is over, and returns it.
    ///
    /// # Errors
    /// [`ControlError`], and nothing has changed.
    pub fn control(
        &mut self,
        now: Instant,
        node: &mut Node,
        id: u64,
        (control, by): (&Control, &str),
    ) -> Result<Rollout, ControlError> {
        if *control == Control::RollBack && self.has_ended(id) {
            self.reopen(now, node, id, by)?;
        } else {
            self.control_open(now, node, id, (control, by))?;
        }
        self.tend(now, node);
        self.rollout(now, node, id).ok_or(ControlError::Unknown(id))
    }

    /// The same for one that is under way.
    fn control_open(
        &mut self,
        now: Instant,
        node: &mut Node,
        id: u64,
        (control, by): (&Control, &str),
    ) -> Result<(), ControlError> {
        let rollout = self.rollout(now, node, id).ok_or(ControlError::Unknown(id))?;
        if rollout.finished.is_some() {
            return Err(ControlError::Finished(id));
        }
        if self.under_way(id).is_some_and(|one| one.steering.is_some()) {
            let verb = control.verb().ok_or(ControlError::Planned(id))?;
            return Ok(self.act(now, id, verb, by)?);
        }
        let targets: Vec<NodeId> = rollout.nodes.iter().map(|line| line.node).collect();
        let nodes = match control {
            Control::Activate(Some(nodes)) => {
                if let Some((at, node)) = nodes.iter().enumerate().find(|(_, id)| !targets.contains(id)) {
                    return Err(ControlError::Stranger { node: *node, at });
                }
                nodes.clone()
            }
            _ => targets,
        };
        if let Some(deployment) = self.under_way_mut(id).and_then(UnderWay::deployment_mut) {
            match control {
                Control::Activate(_) => deployment.activate(now, node, &nodes),
                Control::Pause => deployment.pause(now, node),
                Control::Resume => deployment.resume(now, node),
                Control::Abort => deployment.abort(now, node),
                Control::Approve | Control::RollBack => {
                    return Err(ControlError::Unplanned(id, control.clone()));
                }
            }
            return Ok(());
        }
        self.control_resuming(id, control, &nodes)
    }

    /// The same for one that waits for its nodes.
    fn control_resuming(&mut self, id: u64, control: &Control, nodes: &[NodeId]) -> Result<(), ControlError> {
        let one = self.under_way_mut(id).map(|one| &mut one.course);
        let Some(Course::Resuming(resuming)) = one else { return Ok(()) };
        match control {
            Control::Activate(_) => resuming.activated.extend(nodes),
            Control::Pause => resuming.paused = true,
            Control::Resume => resuming.paused = false,
            Control::Abort => {
                self.end_unresumed(id);
                return Ok(());
            }
            Control::Approve | Control::RollBack => {
                return Err(ControlError::Unplanned(id, control.clone()));
            }
        }
        let (paused, activated) = (resuming.paused, resuming.activated.clone());
        if let Some(rollout) = self.told_mut(id) {
            (rollout.paused, rollout.activated) = (paused, activated);
        }
        Ok(())
    }
}
