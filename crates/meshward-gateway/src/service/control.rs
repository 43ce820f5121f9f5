//! What operators do with a roll-out that has begun: a closed list, so that each can be written down.

use meshward_core::node::Node;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use thiserror::Error;

use super::{Gateway, Rollout};

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
}

impl Control {
    /// The verb, as paths and the audit have it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Activate(_) => "activate",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
        }
    }
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ControlError {
    /// There is none of this number.
    #[error("there is no roll-out {0}")]
    Unknown(u64),
    /// It is over.
    #[error("roll-out {0} has finished")]
    Finished(u64),
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
    /// Acts on the roll-out under way, and returns it.
    ///
    /// # Errors
    /// [`ControlError`], and nothing has changed.
    pub fn control(
        &mut self,
        now: Instant,
        node: &mut Node,
        id: u64,
        control: &Control,
    ) -> Result<Rollout, ControlError> {
        let rollout = self.rollout(now, node, id).ok_or(ControlError::Unknown(id))?;
        if rollout.finished.is_some() {
            return Err(ControlError::Finished(id));
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
        if let Some(deployment) = &mut self.running {
            match control {
                Control::Activate(_) => deployment.activate(now, node, &nodes),
                Control::Pause => deployment.pause(now, node),
                Control::Resume => deployment.resume(now, node),
                Control::Abort => deployment.abort(now, node),
            }
        } else {
            self.control_resuming(control, &nodes);
        }
        self.tend(now, node);
        self.rollout(now, node, id).ok_or(ControlError::Unknown(id))
    }

    /// The same for one that waits for its nodes.
    fn control_resuming(&mut self, control: &Control, nodes: &[NodeId]) {
        let Some(resuming) = &mut self.resuming else { return };
        match control {
            Control::Activate(_) => resuming.activated.extend(nodes),
            Control::Pause => resuming.paused = true,
            Control::Resume => resuming.paused = false,
            Control::Abort => return self.end_unresumed(),
        }
        let (paused, activated) = (resuming.paused, resuming.activated.clone());
        if let Some(rollout) = self.rollouts.back_mut() {
            (rollout.paused, rollout.activated) = (paused, activated);
        }
    }
}
