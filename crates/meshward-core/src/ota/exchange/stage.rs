//! A receiver's state as it travels: a number.

use crate::ota::receiver::State;

/// Where a receiver is: the names of [`State`], without what goes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reads its books after a reset.
    Starting,
    /// Nothing to do.
    Idle,
    /// Took an offer and makes room for it.
    Offered,
    /// Did not take the last offer.
    Refused,
    /// Wants chunks.
    Receiving,
    /// Wants none for the moment.
    Paused,
    /// Compares sums of the payload or of the slot.
    Verifying,
    /// Unpacks.
    Installing,
    /// The image is in its slot.
    Ready,
    /// The machine restarts.
    Activating,
    /// The image is on trial.
    Trial,
    /// The image counts, and was the last update.
    Confirmed,
    /// The last update was taken back.
    Reverted,
    /// The last update ended.
    Failed,
}

impl Stage {
    /// All of them; a stage's number is its place.
    pub const ALL: [Self; 14] = [
        Self::Starting,
        Self::Idle,
        Self::Offered,
        Self::Refused,
        Self::Receiving,
        Self::Paused,
        Self::Verifying,
        Self::Installing,
        Self::Ready,
        Self::Activating,
        Self::Trial,
        Self::Confirmed,
        Self::Reverted,
        Self::Failed,
    ];

    /// Whether it usually passes by itself within seconds.
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Starting | Self::Offered | Self::Verifying | Self::Installing)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The stage of a number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The stage of a state.
    pub const fn of(state: &State) -> Self {
        match state {
            State::Starting => Self::Starting,
            State::Idle => Self::Idle,
            State::Offered => Self::Offered,
            State::Refused(_) => Self::Refused,
            State::Receiving { .. } => Self::Receiving,
            State::Wary { .. } | State::Paused => Self::Paused,
            State::Verifying => Self::Verifying,
            State::Installing { .. } => Self::Installing,
            State::Ready => Self::Ready,
            State::Activating => Self::Activating,
            State::Trial => Self::Trial,
            State::Confirmed => Self::Confirmed,
            State::Reverted { .. } => Self::Reverted,
            State::Failed(_) => Self::Failed,
        }
    }

    /// Whether the node has done all that it can without an order, or for good.
    pub const fn is_at_rest(self) -> bool {
        matches!(
            self,
            Self::Refused | Self::Ready | Self::Trial | Self::Confirmed | Self::Reverted | Self::Failed
        )
    }

    /// Its name, as [`State::name`] has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Offered => "offered",
            Self::Refused => "refused",
            Self::Receiving => "receiving",
            Self::Paused => "paused",
            Self::Verifying => "verifying",
            Self::Installing => "installing",
            Self::Ready => "ready",
            Self::Activating => "activating",
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (number, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!((stage.number() as usize, Stage::from_number(number as u8)), (number, Some(stage)));
        }
        assert_eq!(Stage::from_number(14), None);
    }
}
