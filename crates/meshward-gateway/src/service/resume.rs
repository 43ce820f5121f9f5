//! Roll-outs go on after the gateway has restarted, each by itself.
//!
//! What it had come to was written down by whoever keeps it, up to a second late. Nodes whose line was final are left
//! alone; the others are asked anew, and those that hold the image, or run it, say so: so nothing is sent twice that
//! a node already has. It waits until the nodes it is for are back in the tree, for [`RETURN_MAX`] at most. Drives
//! nothing by itself: the gateway asks it whenever something has happened.

use std::collections::BTreeSet;
use std::time::SystemTime;

use meshward_core::node::Node;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::{Deployment, Family, Phase, State, TargetReport, Why};
use meshward_fleet::forecast::Unfit;
use meshward_fleet::rollout::{self, RolloutMemory, Verb};

use super::steer::Steering;
use super::under_way::{Course, UnderWay};
use super::{Gateway, ROLLOUTS_AT_ONCE, Rollout, RolloutError, RolloutRequest};

/// How long nodes of an unfinished roll-out have to come back into the tree after a start of the gateway.
pub const RETURN_MAX: Duration = Duration::from_secs(120);
/// Between two looks whether they have.
const LOOK: Duration = Duration::from_millis(500);

/// A roll-out that had not finished when the gateway ended.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Its number.
    pub id: u64,
    /// What was asked for.
    pub request: RolloutRequest,
    /// When it began.
    pub started: SystemTime,
    /// Whether it was paused.
    pub paused: bool,
    /// Who was let to restart.
    pub activated: Vec<NodeId>,
    /// A line per node, as far as they were written; reasons are [`Why::Recorded`].
    pub nodes: Vec<TargetReport>,
    /// What its waves had come to; `None` where it has none, or nothing was decided yet.
    pub waves: Option<Box<RolloutMemory>>,
}

/// What was known of a roll-out's nodes before the gateway restarted.
#[derive(Clone, Debug, Default)]
pub(super) struct Earlier {
    /// Lines that were final.
    settled: Vec<TargetReport>,
    /// Stock nodes that had all parts but the last, or more: whoever has no use for the image then got that one after
    /// this was written.
    nearly: BTreeSet<NodeId>,
    /// Meshward nodes that did not run the image when they were asked what they run.
    lacked: BTreeSet<NodeId>,
}

impl Earlier {
    fn of(lines: &[TargetReport]) -> Self {
        let is_nearly = |line: &&TargetReport| {
            line.family == Some(Family::Stock)
                && matches!(
                    line.state,
                    State::Ready | State::Finishing | State::Restarting | State::Verifying
                )
        };
        let lacked = |line: &&TargetReport| line.family == Some(Family::Meshward) && !line.state.is_final();
        Self {
            settled: lines.iter().filter(|line| line.state.is_final()).cloned().collect(),
            nearly: lines.iter().filter(is_nearly).map(|line| line.node).collect(),
            lacked: lines.iter().filter(lacked).map(|line| line.node).collect(),
        }
    }

    /// Of one in waves, which asks every node anew: who was updated will have no use for the image either.
    fn of_waves(lines: &[TargetReport]) -> Self {
        let is_open = |line: &&TargetReport| !line.state.is_final() || line.state == State::Updated;
        let of = |family: Family| {
            let lines = lines.iter().filter(move |line| line.family == Some(family));
            lines.filter(is_open).map(|line| line.node).collect()
        };
        Self { settled: Vec::new(), nearly: of(Family::Stock), lacked: of(Family::Meshward) }
    }

    /// What is known in all.
    pub(super) fn merge(&self, mut lines: Vec<TargetReport>) -> Vec<TargetReport> {
        for line in &mut lines {
            // What it runs now it has by this roll-out.
            let is_updated = match &line.state {
                State::Declined(None) => self.nearly.contains(&line.node),
                State::Declined(Some(Why::Unfit(Unfit::Current))) => self.lacked.contains(&line.node),
                _ => false,
            };
            if is_updated {
                line.state = State::Updated;
            }
        }
        lines.extend(self.settled.iter().cloned());
        lines.sort_by_key(|line| line.node);
        lines
    }
}

/// A roll-out that waits for its nodes.
#[derive(Debug)]
pub(super) struct Resuming {
    since: Instant,
    look_at: Instant,
    pub(super) paused: bool,
    pub(super) activated: Vec<NodeId>,
    /// Who is still to be updated; nobody when no line had been written.
    open: Vec<NodeId>,
    /// Who is waited for.
    awaited: Vec<NodeId>,
}

impl Resuming {
    /// When the next look is due.
    pub(super) const fn look_at(&self) -> Instant {
        self.look_at
    }

    /// Whether its nodes are back, or have had long enough.
    fn is_ready(&mut self, now: Instant, node: &Node) -> bool {
        if self.look_at > now {
            return false;
        }
        self.look_at = now + LOOK;
        let back = self.awaited.iter().all(|id| node.mesh().knows(*id)) && node.mesh().tree().len() > 1;
        back || now.since(self.since) >= RETURN_MAX
    }
}

impl Gateway {
    /// Goes on with a roll-out that a gateway before this one had begun, once its nodes are back. Its image must be
    /// known again.
    ///
    /// # Errors
    /// [`RolloutError`], and nothing was taken up.
    pub fn resume(&mut self, now: Instant, unfinished: Unfinished) -> Result<(), RolloutError> {
        let restored = match (&unfinished.request.plan, &unfinished.waves) {
            (None, _) => None,
            (Some(_), Some(memory)) => Some(rollout::Rollout::restore(self.moment(now), (**memory).clone())),
            // It had not decided anything, so nobody was told anything.
            (Some(plan), None) => Some(rollout::Rollout::start(self.moment(now), plan.clone(), "meshward")),
        };
        let engine = restored.transpose().map_err(RolloutError::Plan)?;
        if self.under_way.len() >= ROLLOUTS_AT_ONCE {
            return Err(RolloutError::Full(self.under_way.iter().map(|one| one.id).collect()));
        }
        let id = unfinished.id;
        self.take_up_again(now, unfinished, engine)?;
        self.note_decisions(id);
        Ok(())
    }

    /// Goes on with a roll-out as it was left, once its nodes are back; with an engine in its waves.
    pub(super) fn take_up_again(
        &mut self,
        now: Instant,
        unfinished: Unfinished,
        engine: Option<rollout::Rollout>,
    ) -> Result<(), RolloutError> {
        let (firmware, plan) = self.plan(&unfinished.request)?;
        let Unfinished { id, request, started, paused, activated, nodes, .. } = unfinished;
        let lines = |mine: fn(&State) -> bool| {
            nodes.iter().filter(|line| mine(&line.state)).map(|line| line.node).collect::<Vec<NodeId>>()
        };
        // Waves look after everybody: who was updated may have to go back.
        let open = lines(if engine.is_some() { |_| true } else { |state| !state.is_final() });
        let awaited = lines(|state| !state.is_final() || *state == State::Updated);
        let awaited = if engine.is_some() { awaited } else { open.clone() };
        tracing::info!(rollout = id, waves = engine.is_some(), "a roll-out goes on that had not finished");
        self.next_rollout = self.next_rollout.max(id + 1);
        let mut rollout = Rollout::begun((id, request), (firmware, &plan), started);
        rollout.earlier = if engine.is_some() { Earlier::of_waves(&nodes) } else { Earlier::of(&nodes) };
        (rollout.paused, rollout.activated, rollout.nodes) = (paused, activated.clone(), nodes);
        self.remember(rollout);
        let steering = engine.map(|engine| Steering::new(now, engine, Duration::ZERO));
        let resuming = Resuming { since: now, look_at: now, paused, activated, open, awaited };
        self.set_out(UnderWay::new(id, Course::Resuming(resuming), steering));
        Ok(())
    }

    /// Takes up roll-outs whose nodes are back, or have had long enough.
    pub(super) fn try_resume(&mut self, now: Instant, node: &mut Node) {
        let ready = |one: &mut UnderWay| {
            let Course::Resuming(resuming) = &mut one.course else { return None };
            resuming.is_ready(now, node).then_some(one.id)
        };
        let ready: Vec<u64> = self.under_way.iter_mut().filter_map(ready).collect();
        ready.into_iter().for_each(|id| self.take_on(now, node, id));
    }

    fn take_on(&mut self, now: Instant, node: &mut Node, id: u64) {
        let Some(one) = self.under_way_mut(id) else { return };
        let planned = one.steering.is_some();
        let Course::Resuming(resuming) = std::mem::replace(&mut one.course, Course::Ended) else { return };
        let Some(request) = self.told_mut(id).map(|rollout| rollout.request.clone()) else { return };
        let started = self.plan(&request).and_then(|(_, mut plan)| {
            if !resuming.open.is_empty() {
                plan.targets = Some(resuming.open);
            }
            Deployment::start(now, node, plan).map_err(RolloutError::Start)
        });
        match started {
            Ok(mut deployment) => {
                // In waves the engine says who starts the image, and whether anything is sent.
                if !planned {
                    deployment.activate(now, node, &resuming.activated);
                    if resuming.paused {
                        deployment.pause(now, node);
                    }
                }
                if let Some(one) = self.under_way_mut(id) {
                    one.course = Course::Running(Box::new(deployment));
                }
            }
            Err(error) => {
                tracing::warn!(rollout = id, %error, "a roll-out cannot go on");
                // A rollback has nobody whom it could order.
                let _over = self.act(now, id, Verb::Abort, "meshward");
                self.end_unresumed(id);
            }
        }
    }

    /// Ends a roll-out that waits for its nodes.
    pub(super) fn end_unresumed(&mut self, id: u64) {
        self.under_way_mut(id).into_iter().for_each(|one| one.course = Course::Ended);
        let Some(rollout) = self.told_mut(id) else { return };
        (rollout.finished, rollout.phase) = (Some(SystemTime::now()), Phase::Finished);
        for line in rollout.nodes.iter_mut().filter(|line| !line.state.is_final()) {
            line.state = State::Failed(Why::Aborted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_the_image_by_now_was_updated() {
        let line =
            |node, family, state| TargetReport { node: NodeId(node), family, state, done: 0, parts: 9 };
        let (meshward, stock) = (Some(Family::Meshward), Some(Family::Stock));
        let current = || State::Declined(Some(Why::Unfit(Unfit::Current)));
        let earlier = Earlier::of(&[
            line(1, meshward, State::Ready),
            line(2, stock, State::Finishing),
            line(3, stock, State::Receiving),
            line(4, None, State::Waiting),
            line(5, meshward, State::Updated),
            line(6, stock, State::Ready),
        ]);
        let merged = earlier.merge(vec![
            line(1, meshward, current()),
            line(2, stock, State::Declined(None)),
            line(3, stock, State::Declined(None)),
            // It was not asked before, so it may have run it all the time.
            line(4, meshward, current()),
            line(6, stock, State::Declined(None)),
        ]);
        let states: Vec<State> = merged.into_iter().map(|line| line.state).collect();
        use State::{Declined, Updated};
        assert_eq!(states, [Updated, Updated, Declined(None), current(), Updated, Updated]);
    }
}
