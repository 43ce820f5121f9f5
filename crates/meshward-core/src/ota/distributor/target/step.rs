//! What a target is sent, and what the rest of the session lets it do and has seen.

use core::ops::Range;

use super::Loss;
use crate::time::Duration;

/// What the distributor should send to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Step {
    /// An Announce and a probe.
    Announce {
        /// For the broadcast pass: the node listens instead of asking.
        broadcasted: bool,
    },
    /// A part that no image has, and an Announce and a probe: a node in broadcast mode takes it for a gap, and
    /// asks for what it lacks; one that does not know of the image asks for its first part.
    Question {
        /// What goes first, none as a rule: [`Step::Verdict`] has why.
        wakes: Range<u32>,
    },
    /// This part; with a probe when nobody knows whether it is the one that the node lacks.
    Part {
        /// Its number.
        part: u32,
        /// Whether there is a probe behind it.
        probed: bool,
    },
    /// The last part, and a probe.
    Last,
    /// The last part again, in case it was lost, and an Announce and a probe: silence means updated.
    Verdict {
        /// What goes first, none as a rule: a node in the middle of the image minds no Announce and asks by itself only
        /// after 30 s; the part at which it stands makes it ask for the next.
        wakes: Range<u32>,
    },
    /// A part that makes the node forget what it has: its counter is left over from another image.
    Rescue(u32),
}

/// What the rest of the session allows a target now.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Leave {
    /// To begin.
    pub(in super::super) start: bool,
    /// To have a part of its own under way.
    pub(in super::super) send: bool,
    /// To have another one after it has answered a check: first that comes to everybody.
    pub(in super::super) serve: bool,
    /// To be searched for, if it has not answered a check.
    pub(in super::super) search: bool,
    /// To take the last part.
    pub(in super::super) finish: bool,
    /// To be asked what it runs.
    pub(in super::super) judge: bool,
    /// The number of the last part.
    pub(in super::super) last: u32,
    /// To listen to the broadcast pass instead of asking.
    pub(in super::super) listen: bool,
    /// How long it may take to answer a probe.
    pub(in super::super) patience: Duration,
}

/// What the session has seen of the mesh.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Seen {
    /// Somebody unknown still asks for parts.
    pub(in super::super) stragglers: bool,
    /// Somebody has missed a part of the broadcast pass.
    pub(in super::super) gaps: bool,
    /// What relays lose.
    pub(in super::super) loss: Loss,
    /// The part that a broadcast pass has reached.
    pub(in super::super) reached: u32,
}
