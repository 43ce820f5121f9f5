//! What readers of a roll-out see: where each node is, and why it was not updated.

use core::fmt;

use crate::wire::NodeId;

/// Why a node was not updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// It is not in the mesh.
    Absent,
    /// It answers neither Announces nor probes.
    Silent,
    /// It stopped asking for parts.
    Stalled,
    /// It got every part, restarted, and did not come back.
    DidNotReturn,
    /// It got every part twice and still asks for the image.
    StillAsks,
    /// It came back but does not answer probes, so nobody knows what it runs.
    Unverified,
    /// The operator ended the roll-out.
    Aborted,
}

impl FailReason {
    /// Whether that was made of its silence, and is wrong if it asks after all.
    pub(super) const fn is_silence(self) -> bool {
        !matches!(self, Self::StillAsks | Self::Aborted)
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "is not in the mesh",
            Self::Silent => "answers neither announces nor probes",
            Self::Stalled => "stopped asking for parts",
            Self::DidNotReturn => "restarted after the last part and did not come back in 3 minutes",
            Self::StillAsks => "got the whole image twice and still asks for it",
            Self::Unverified => "came back but does not answer, so its image is unknown",
            Self::Aborted => "the roll-out was aborted",
        })
    }
}

/// Where a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Its turn has not come.
    Waiting,
    /// The image was announced to it.
    Announced,
    /// It takes the broadcast pass, silently.
    Listening,
    /// It asks for parts.
    Receiving,
    /// It waits for the last part, which is held back until all behind it are done.
    Ready,
    /// The last part is on its way.
    Finishing,
    /// It has left the mesh to restart.
    Restarting,
    /// It is back and is asked whether it wants the image again.
    Verifying,
    /// It runs the image.
    Updated,
    /// It did not ask for the image: another role or hardware, or it runs it already.
    Declined,
    /// It was not updated.
    Failed(FailReason),
}

impl TargetState {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Updated | Self::Declined | Self::Failed(_))
    }
}

/// A target as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetReport {
    /// The node.
    pub node: NodeId,
    /// Where it is.
    pub state: TargetState,
    /// Parts that it has.
    pub done: u32,
    /// Parts in all.
    pub parts: u32,
}
