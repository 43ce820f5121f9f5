//! What people do to a roll-out. Whether they may is for others to know.

use meshward_core::time::{Duration, Instant};

use super::{Phase, Rollout, wave_name};
use crate::memory::Moment;

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The wave that waits may begin.
    Approve,
    /// Nothing begins until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// It ends where it is.
    Abort,
    /// Whoever was updated goes back.
    RollBack,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Approve, Self::Pause, Self::Resume, Self::Abort, Self::RollBack];

    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::RollBack => "rollback",
        }
    }
}

/// Why a verb is refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerbError {
    /// It is over.
    #[error("the roll-out is {} already", .0.name())]
    Over(Phase),
    /// Nobody waits for an approval.
    #[error("nothing waits for an approval: the roll-out is {}", .0.name())]
    NothingWaits(Phase),
    /// It goes back.
    #[error(
        "the roll-out goes back, and that is brought to its end: half a mesh on each image is nobody's plan"
    )]
    GoesBack,
    /// It is paused.
    #[error("the roll-out is paused: resume it first")]
    Paused,
    /// It is not paused.
    #[error("the roll-out is not paused")]
    NotPaused,
    /// Nobody has started the image.
    #[error("nobody has started the image: there is nothing to go back from; abort ends the roll-out")]
    NothingToRevert,
}

impl Rollout {
    /// Does what somebody wants. What was wanted before and is not done is wanted anew at the next look: that a node
    /// may start is not said any more to one that somebody has just stopped.
    ///
    /// # Errors
    /// [`VerbError`], and nothing has changed.
    pub fn act(&mut self, moment: Moment, verb: Verb, by: &str) -> Result<(), VerbError> {
        match verb {
            Verb::Approve => self.approve(moment, by),
            Verb::Pause => self.pause(moment, by),
            Verb::Resume => self.resume(moment, by),
            Verb::Abort => self.abort(moment, by),
            Verb::RollBack => self.roll_back(moment, by),
        }?;
        self.effects.clear();
        Ok(())
    }

    /// Whether a verb would be refused now.
    fn may(&self, moment: Moment, verb: Verb) -> bool {
        self.clone().act(moment, verb, "").is_ok()
    }

    /// What people may do now.
    pub fn verbs(&self, moment: Moment) -> Vec<Verb> {
        Verb::ALL.into_iter().filter(|verb| self.may(moment, *verb)).collect()
    }

    /// Somebody lets the wave begin that waits, or go on in spite of what stopped it.
    ///
    /// # Errors
    /// [`VerbError`], of a second approval too.
    pub fn approve(&mut self, moment: Moment, by: &str) -> Result<(), VerbError> {
        match self.phase {
            _ if self.paused.is_some() => return Err(VerbError::Paused),
            Phase::Approval => {}
            phase if phase.is_over() => return Err(VerbError::Over(phase)),
            phase => return Err(VerbError::NothingWaits(phase)),
        }
        let words = format!("approved: {}", std::mem::take(&mut self.why));
        self.decide(moment, by, "approve", words, Vec::new());
        // A wave that was watched, or stopped, is over now; one that waits for its turn has not begun.
        if self.waves.get(self.wave).is_some_and(|wave| wave.began.is_some()) {
            self.wave += 1;
        }
        self.approved = Some(self.wave);
        self.go(moment.now, Phase::Waiting);
        self.due = Some(moment.now);
        Ok(())
    }

    /// Nothing begins until [`resume`](Self::resume); what nodes have begun they finish.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn pause(&mut self, moment: Moment, by: &str) -> Result<(), VerbError> {
        match self.phase {
            phase if phase.is_over() => return Err(VerbError::Over(phase)),
            Phase::RollingBack => return Err(VerbError::GoesBack),
            _ if self.paused.is_some() => return Err(VerbError::Paused),
            _ => {}
        }
        self.paused = Some(moment.now);
        self.due = Some(moment.now);
        self.decide(moment, by, "pause", "paused".to_owned(), Vec::new());
        Ok(())
    }

    /// Goes on where it was.
    ///
    /// # Errors
    /// [`VerbError::NotPaused`].
    pub fn resume(&mut self, moment: Moment, by: &str) -> Result<(), VerbError> {
        if self.paused.is_none() {
            return Err(VerbError::NotPaused);
        }
        self.resume_clock(moment.now);
        self.due = Some(moment.now);
        self.decide(moment, by, "resume", "goes on".to_owned(), Vec::new());
        Ok(())
    }

    /// The time of the pause does not count.
    pub(super) fn resume_clock(&mut self, now: Instant) {
        let Some(paused) = self.paused.take() else { return };
        let span: Duration = now.since(paused);
        self.since = self.since + span;
        self.settled = self.settled.map(|settled| settled + span);
        self.nodes.values_mut().for_each(|member| member.away = member.away.map(|since| since + span));
        self.cut_off.values_mut().for_each(|since| *since = *since + span);
    }

    /// Ends it where it is: nodes keep what they run.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn abort(&mut self, moment: Moment, by: &str) -> Result<(), VerbError> {
        match self.phase {
            phase if phase.is_over() => return Err(VerbError::Over(phase)),
            Phase::RollingBack => return Err(VerbError::GoesBack),
            _ => {}
        }
        self.paused = None;
        self.why = format!("{by} ended it");
        self.decide(moment, by, "abort", format!("ended in {}", wave_name(self.wave)), Vec::new());
        self.go(moment.now, Phase::Aborted);
        self.due = Some(moment.now);
        Ok(())
    }

    /// Whoever was updated goes back, also after the end.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn roll_back(&mut self, moment: Moment, by: &str) -> Result<(), VerbError> {
        match self.phase {
            Phase::RollingBack => return Err(VerbError::GoesBack),
            Phase::RolledBack => return Err(VerbError::Over(self.phase)),
            _ if self.nodes.values().all(|member| member.told.is_none()) => {
                return Err(VerbError::NothingToRevert);
            }
            _ => {}
        }
        self.resume_clock(moment.now);
        self.go_back(moment, by, format!("{by} wants the image before"));
        self.due = Some(moment.now);
        Ok(())
    }
}
