//! One node of a deployment: where it is, and what its own words make of that.

use meshward_core::ota::exchange::{Line, Member, Stage, Tag};
use meshward_core::ota::{TargetReport as StockReport, TargetState as StockState};
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;

use super::reasons::Why;
use super::revert::{Revert, Way};

/// A node that has the image and was ordered to start it is ordered again for so long.
pub(super) const OBEY_MAX: Duration = Duration::from_secs(5 * 60);
/// A node that left to start the image is waited for so long.
pub(super) const RETURN_MAX: Duration = Duration::from_secs(5 * 60);
/// A node that is back has so long to say that it runs the image.
pub(super) const VERIFY_MAX: Duration = Duration::from_secs(3 * 60);
/// All of that together, for a node that comes and goes.
pub(super) const ACTIVATION_MAX: Duration = Duration::from_secs(20 * 60);

/// How a node takes updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Signed ones, by types 220 to 223.
    Meshward,
    /// As the C++ library does, by types 10 to 12.
    Stock,
}

impl Family {
    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meshward => "meshward",
            Self::Stock => "stock",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Meshward, Self::Stock].into_iter().find(|one| one.name() == name)
    }
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its turn has not come.
    Waiting,
    /// The image was offered to it.
    Announced,
    /// It takes what is broadcast, silently.
    Listening,
    /// It gets what it lacks.
    Receiving,
    /// It has all, looks at it and unpacks it.
    Installing,
    /// It waits for the order, or the last part, to start the image.
    Ready,
    /// That is on its way.
    Finishing,
    /// It has left the mesh to restart.
    Restarting,
    /// It is back, and has to say, or to show, what it runs.
    Verifying,
    /// It runs the image. A Meshward node may still have it on trial.
    Updated,
    /// It has no use for the image.
    Declined(Option<Why>),
    /// It was not updated.
    Failed(Why),
}

impl State {
    /// Whether nothing more will happen.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Updated | Self::Declined(_) | Self::Failed(_))
    }

    /// Its name in interfaces.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Announced => "announced",
            Self::Listening => "listening",
            Self::Receiving => "receiving",
            Self::Installing => "installing",
            Self::Ready => "ready",
            Self::Finishing => "finishing",
            Self::Restarting => "restarting",
            Self::Verifying => "verifying",
            Self::Updated => "updated",
            Self::Declined(_) => "declined",
            Self::Failed(_) => "failed",
        }
    }

    /// The one of that name, as it was written down with its reason in words.
    pub fn recorded(name: &str, reason: Option<String>) -> Option<Self> {
        let why = reason.map(Why::Recorded);
        let all = [
            Self::Waiting,
            Self::Announced,
            Self::Listening,
            Self::Receiving,
            Self::Installing,
            Self::Ready,
            Self::Finishing,
            Self::Restarting,
            Self::Verifying,
            Self::Updated,
            Self::Failed(why.clone().unwrap_or(Why::Recorded("failed".to_owned()))),
            Self::Declined(why),
        ];
        all.into_iter().find(|one| one.name() == name)
    }
}

/// A node as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetReport {
    /// The node.
    pub node: NodeId,
    /// How it takes updates; `None` while that is not known.
    pub family: Option<Family>,
    /// Where it is.
    pub state: State,
    /// Chunks, or parts, that it has.
    pub done: u32,
    /// Chunks, or parts, in all; 0 while that is not known.
    pub parts: u32,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) family: Option<Family>,
    pub(super) state: State,
    /// Since when it is in that state.
    pub(super) since: Instant,
    pub(super) done: u32,
    pub(super) parts: u32,
    /// Whether it may start the image.
    pub(super) released: bool,
    /// When it was first told to, and by which order.
    pub(super) ordered: Option<(Instant, usize)>,
    /// Its way back to the image before.
    pub(super) revert: Option<Way>,
}

impl Target {
    pub(super) fn new(now: Instant) -> Self {
        let (family, state) = (None, State::Waiting);
        Self { family, state, since: now, done: 0, parts: 0, released: false, ordered: None, revert: None }
    }

    pub(super) fn set(&mut self, now: Instant, state: State) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }

    pub(super) fn fail(&mut self, now: Instant, why: Why) {
        self.set(now, State::Failed(why));
    }

    pub(super) fn is_open(&self, family: Family) -> bool {
        self.family == Some(family) && !self.state.is_final()
    }

    /// Whether it was ordered back, and has not shown what came of that.
    pub(super) fn goes_back(&self) -> bool {
        self.revert.as_ref().is_some_and(|way| way.state == Revert::Ordered)
    }

    /// Whether what became of it was made of a stock node's silence.
    pub(super) fn is_judged_by_silence(&self) -> bool {
        matches!(self.state, State::Declined(None) | State::Failed(Why::Stock(_)))
    }

    pub(super) fn report(&self, node: NodeId) -> TargetReport {
        let Self { family, state, done, parts, .. } = self;
        TargetReport { node, family: *family, state: state.clone(), done: *done, parts: *parts }
    }

    /// What the distributor says of it.
    pub(super) fn take_stock(&mut self, now: Instant, report: &StockReport) {
        let state = match report.state {
            StockState::Waiting => State::Waiting,
            StockState::Announced => State::Announced,
            StockState::Listening => State::Listening,
            StockState::Receiving => State::Receiving,
            StockState::Ready => State::Ready,
            StockState::Finishing => State::Finishing,
            StockState::Restarting => State::Restarting,
            StockState::Verifying => State::Verifying,
            StockState::Updated => State::Updated,
            StockState::Declined => State::Declined(None),
            StockState::Failed(reason) => State::Failed(Why::Stock(reason)),
        };
        (self.done, self.parts) = (report.done, report.parts);
        self.set(now, state);
    }

    /// What the node says while payloads are under way. Only the end decides: who refused one may take another.
    pub(super) fn take_line(&mut self, now: Instant, line: &Line, ours: &[Tag]) {
        if !line.tag.is_some_and(|tag| ours.contains(&tag)) {
            return;
        }
        let state = match line.stage {
            Stage::Offered => State::Announced,
            Stage::Receiving | Stage::Paused => State::Receiving,
            Stage::Verifying | Stage::Installing => State::Installing,
            Stage::Ready | Stage::Activating | Stage::Trial | Stage::Confirmed => State::Ready,
            _ => return,
        };
        self.done = if matches!(state, State::Installing | State::Ready) { self.parts } else { line.done };
        self.set(now, state);
    }

    /// Nothing more is sent: where the node is. `line` is what it said since the beginning.
    pub(super) fn judge_delivery(&mut self, now: Instant, line: Option<Line>, present: bool, ours: &[Tag]) {
        let has = |line: &Line| line.tag.is_some_and(|tag| ours.contains(&tag));
        let why = match line {
            Some(line) if has(&line) && self.state == State::Ready => return,
            Some(Line { stage: Stage::Refused, reason, .. }) => Why::Refused(reason),
            Some(Line { stage: Stage::Failed, reason, .. }) => Why::Ended(reason),
            Some(Line { stage: Stage::Reverted, reason, .. }) => Why::Reverted(reason),
            Some(Line { stage: Stage::Paused, .. }) => Why::Paused,
            _ if !present => Why::Unfit(crate::forecast::Unfit::Absent),
            _ => Why::Silent,
        };
        self.fail(now, why);
    }

    /// One that was given up because it said nothing has said that it has the image.
    pub(super) fn hear_late(&mut self, now: Instant, member: &Member, ours: &[Tag]) {
        let line = member.line.filter(|line| member.heard >= self.since && line.stage == Stage::Ready);
        let has = line.and_then(|line| line.tag).is_some_and(|tag| ours.contains(&tag));
        if has && self.state == State::Failed(Why::Silent) {
            self.done = self.parts;
            self.set(now, State::Ready);
        }
    }

    /// What becomes of a node that was ordered to start the image: `runs` is whether it said that it runs it.
    pub(super) fn follow(&mut self, now: Instant, member: Option<&Member>, present: bool, runs: bool) {
        let Some((ordered, _)) = self.ordered else { return };
        let line = member.filter(|member| member.heard >= ordered).and_then(|member| member.line);
        let stage = line.map(|line| line.stage);
        let reason = line.map_or(0, |line| line.reason);
        match stage {
            Some(Stage::Reverted) => return self.fail(now, Why::Reverted(reason)),
            // On trial, confirmed, or asked for something else by now.
            _ if runs => return self.set(now, State::Updated),
            Some(Stage::Failed) => return self.fail(now, Why::Ended(reason)),
            // It held the image when it was ordered, and holds it no more: it will not start it.
            Some(Stage::Refused) => return self.fail(now, Why::Refused(reason)),
            _ => {}
        }
        let fresh = member.is_some_and(|member| member.heard >= self.since);
        let unheard = matches!(stage, None | Some(Stage::Ready | Stage::Activating));
        let state = match self.state {
            _ if !present => State::Restarting,
            // It was reset before it obeyed.
            State::Restarting | State::Verifying if fresh && stage == Some(Stage::Ready) => State::Finishing,
            State::Finishing if unheard => State::Finishing,
            _ => State::Verifying,
        };
        self.set(now, state);
        let waited = now.since(self.since);
        let (most, why) = match self.state {
            State::Finishing => (OBEY_MAX, Why::Disobeyed),
            State::Restarting => (RETURN_MAX, Why::DidNotReturn),
            _ => (VERIFY_MAX, Why::Unproven),
        };
        if waited >= most || now.since(ordered) >= ACTIVATION_MAX {
            self.fail(now, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_ordered_and_holds_the_image_no_more_is_not_waited_for() {
        let at = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        let mut target = Target { state: State::Finishing, ..Target::new(at(0)) };
        target.ordered = Some((at(10), 0));
        let line = |stage, reason| Line { tag: None, stage, reason, done: 0 };
        let said = |heard, line| Member { about: None, line: Some(line), heard: at(heard) };
        target.follow(at(11), Some(&said(9, line(Stage::Refused, 21))), true, false);
        assert_eq!(target.state, State::Finishing, "that was before the order");
        target.follow(at(12), Some(&said(12, line(Stage::Refused, 21))), true, false);
        assert_eq!(target.state, State::Failed(Why::Refused(21)));
    }
}
