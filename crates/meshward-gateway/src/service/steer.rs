//! Roll-outs in waves, each beside the deployment that it steers: when it looks, and what is written down before anything
//! is done.
//!
//! What it decides is for whoever keeps it first: [`Gateway::decided`] hands out the memory and the decisions, and
//! [`Gateway::kept`] says that they are written, or that they could not be. Only then it is done, and until then it
//! looks no further. Where nothing can be written nobody is let start an image; the way back stays open. A gateway
//! that nobody keeps does at once what was decided.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use meshward_core::node::Node;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::Fleet;
use meshward_fleet::deployment::{Deployment, State};
use meshward_fleet::memory::Moment;
use meshward_fleet::rollout::{
    self, DECISIONS_MAX, Decision, Effect, Facts, Phase, RolloutMemory, RolloutPlan, RolloutReport, Seen,
    Shape, Verb, VerbError, drive,
};
use tokio::sync::watch;

use super::under_way::UnderWay;
use super::{ControlError, Gateway, Rollout, RolloutError, Unfinished};

/// While nodes start the image or go back they are looked at so often.
const EAGER: Duration = Duration::from_secs(1);
/// What is known of nodes for good is read so often: scores are reckoned for it.
const FACTS: Duration = Duration::from_secs(60);
/// What was watched meanwhile is written so often, decisions or not.
const REMEMBER: Duration = Duration::from_secs(30);
/// Roll-outs in waves that are over and can be taken back; the oldest are forgotten.
pub const ENDED_MAX: usize = 8;

/// A roll-out in waves that is under way.
#[derive(Debug)]
pub(super) struct Steering {
    engine: rollout::Rollout,
    facts: BTreeMap<NodeId, Facts>,
    facts_at: Option<Instant>,
    looked: Instant,
    /// Decisions that are not written yet.
    decisions: VecDeque<Decision>,
    /// The revision that must be written before anything is done, and the one that is.
    wanted: u64,
    written: watch::Sender<u64>,
    written_at: Instant,
    /// The wanted one was refused: nothing waits for it, and nobody starts an image.
    refused: bool,
    /// About how long the waves take, for who asks before there are any.
    ahead: Duration,
}

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The roll-out's number.
    pub rollout: u64,
    /// To be given back.
    pub revision: u64,
    /// All of it.
    pub memory: RolloutMemory,
    /// What was decided since what was written last.
    pub decisions: Vec<Decision>,
}

/// What is kept of decisions, and up to where.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Whether somebody writes them down.
    pub(super) on: bool,
    last: u64,
}

impl Keeping {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Steering {
    pub(super) fn new(now: Instant, engine: rollout::Rollout, ahead: Duration) -> Self {
        Self {
            engine,
            facts: BTreeMap::new(),
            facts_at: None,
            looked: Instant::ORIGIN,
            decisions: VecDeque::new(),
            wanted: 0,
            written: watch::Sender::new(0),
            written_at: now,
            refused: false,
            ahead,
        }
    }

    fn is_written(&self) -> bool {
        *self.written.borrow() >= self.wanted
    }

    /// Whether the image is still on its way to those who never had it.
    pub(super) fn is_staging(&self) -> bool {
        self.engine.phase() == Phase::Staging
    }

    /// Whether nodes restart by it, or are away since they did.
    pub(super) fn restarts(&self, now: Instant, shape: &Shape) -> bool {
        self.engine.restarts(now, shape)
    }

    /// What is told of its waves.
    pub(super) fn refresh(&self, moment: Moment, shape: &Shape, rollout: &mut Rollout) {
        let mut progress = self.engine.progress(moment, shape);
        if progress.phase == Phase::Staging && !progress.paused {
            progress.left = rollout.eta.map(|eta| eta + self.ahead);
        }
        rollout.paused = progress.paused;
        rollout.progress = Some(Arc::new(progress));
    }

    pub(super) fn is_over(&self) -> bool {
        self.engine.phase().is_over() && self.is_written()
    }

    /// When it looks again; `None` while it waits for what it decided to be written.
    pub(super) fn due(&self) -> Option<Instant> {
        if !self.is_written() && !self.refused {
            return None;
        }
        let moves = matches!(self.engine.phase(), Phase::Staging | Phase::Activating | Phase::RollingBack);
        let eager = (moves || self.engine.phase().is_over()).then_some(self.looked + EAGER);
        self.engine.poll_timeout().into_iter().chain(eager).min()
    }

    /// Takes what was decided; whether something must be written before it is done.
    fn take_decisions(&mut self) -> bool {
        while self.decisions.len() < DECISIONS_MAX {
            let Some(decision) = self.engine.poll_decision() else { break };
            tracing::info!(
                by = decision.by,
                what = decision.what,
                wave = decision.wave,
                "{}",
                decision.words
            );
            self.decisions.push_back(decision);
        }
        let matters = |effect: &Effect| !matches!(effect, Effect::Probe(_));
        !self.decisions.is_empty() || self.engine.wanted().any(matters)
    }

    fn look(
        &mut self,
        moment: Moment,
        fleet: &mut Fleet,
        (deployment, node): (&Deployment, &Node),
        elsewhere: Option<u64>,
    ) {
        let now = moment.now;
        if self.facts_at.is_none_or(|at| now.since(at) >= FACTS) {
            (self.facts, self.facts_at) = (drive::facts(now, fleet), Some(now));
        }
        self.looked = now;
        let elsewhere = elsewhere.map(|id| format!("roll-out {id}"));
        let seen = Seen { elsewhere, ..drive::see(moment, deployment, node, &self.facts) };
        self.engine.handle(&seen, &*fleet);
    }
}

impl Gateway {
    /// Roll-outs in waves look at what is, if it is time, and what they want is done or waits to be written.
    pub(super) fn steer(&mut self, now: Instant, node: &mut Node) {
        let looks = |one: &mut UnderWay| {
            let due = one.steered().and_then(|(steering, _)| steering.due());
            due.is_some_and(|due| due <= now).then_some(one.id)
        };
        let due: Vec<u64> = self.under_way.iter_mut().filter_map(looks).collect();
        if due.is_empty() {
            return;
        }
        let (moment, shape) = (self.moment(now), Shape::of(&node.mesh().tree()));
        for id in due {
            // The one before may have let nodes start just now.
            let elsewhere = self.elsewhere(now, &shape, id);
            let Self { under_way, fleet, .. } = self;
            let one = under_way.iter_mut().find(|one| one.id == id);
            let Some((steering, deployment)) = one.and_then(UnderWay::steered) else { continue };
            steering.look(moment, fleet, (&*deployment, &*node), elsewhere);
            self.note_decisions(id);
            self.carry_out(now, node, id);
        }
    }

    /// What was decided waits to be written, where somebody writes.
    pub(super) fn note_decisions(&mut self, id: u64) {
        let Self { under_way, keeping, .. } = self;
        let one = under_way.iter_mut().find(|one| one.id == id);
        let Some(steering) = one.and_then(|one| one.steering.as_mut()) else { return };
        if steering.take_decisions() && keeping.on {
            (steering.wanted, steering.refused) = (keeping.next(), false);
        }
        if !keeping.on {
            steering.decisions.clear();
        }
    }

    /// Does what is wanted, once it is written.
    fn carry_out(&mut self, now: Instant, node: &mut Node, id: u64) {
        let spreads = self.spreads_elsewhere(node, id);
        let steered = self.under_way_mut(id).and_then(UnderWay::steered);
        let Some((steering, deployment)) = steered else { return };
        if !steering.is_written() && !steering.refused {
            return;
        }
        while let Some(effect) = steering.engine.poll_effect() {
            // It wants what is passed over again, at its next look.
            let waits = spreads && effect == Effect::Quarantine;
            if !waits && (steering.is_written() || !effect.starts()) {
                drive::carry_out(now, &effect, deployment, node);
            }
        }
    }

    /// Whether whoever keeps this gateway writes down what is decided before it is done.
    pub fn keep_decisions(&mut self, on: bool) {
        self.keeping.on = on;
    }

    /// What is to be written down before anything more is done, or because it was not for a while, of each roll-out
    /// in waves. The same again until it is [`kept`](Self::kept).
    pub fn decided(&self, now: Instant) -> Vec<Decided> {
        let moment = self.moment(now);
        let of = |one: &UnderWay| {
            let steering = one.steering.as_ref()?;
            if steering.is_written() && now.since(steering.written_at) < REMEMBER {
                return None;
            }
            Some(Decided {
                rollout: one.id,
                revision: steering.wanted,
                memory: steering.engine.memory(moment),
                decisions: steering.decisions.iter().cloned().collect(),
            })
        };
        self.under_way.iter().filter_map(of).collect()
    }

    /// What was [`decided`](Self::decided) is written, or was refused by the database.
    pub fn kept(&mut self, now: Instant, node: &mut Node, decided: &Decided, done: bool) {
        let one = self.under_way_mut(decided.rollout);
        let Some(steering) = one.and_then(|one| one.steering.as_mut()) else { return };
        if done {
            let many = decided.decisions.len().min(steering.decisions.len());
            steering.decisions.drain(..many);
            steering.written_at = now;
            steering.written.send_replace(decided.revision);
        } else {
            steering.refused = true;
        }
        self.carry_out(now, node, decided.rollout);
        self.tend(now, node);
    }

    /// What is to be written of a roll-out before an act is answered for: the number that rises, and the one it must
    /// reach.
    pub fn unwritten(&self, id: u64) -> Option<(watch::Receiver<u64>, u64)> {
        let steering = self.under_way(id)?.steering.as_ref().filter(|steering| !steering.is_written())?;
        Some((steering.written.subscribe(), steering.wanted))
    }

    /// Somebody acts on waves under way.
    pub(super) fn act(&mut self, now: Instant, id: u64, verb: Verb, by: &str) -> Result<(), VerbError> {
        let moment = self.moment(now);
        let one = self.under_way_mut(id);
        let Some(steering) = one.and_then(|one| one.steering.as_mut()) else { return Ok(()) };
        steering.engine.act(moment, verb, by)?;
        self.note_decisions(id);
        Ok(())
    }

    /// A plan begins with its deployment.
    pub(super) fn begin_waves(
        &self,
        now: Instant,
        plan: RolloutPlan,
        by: &str,
        ahead: Duration,
    ) -> Result<Steering, RolloutError> {
        let engine = rollout::Rollout::start(self.moment(now), plan, by).map_err(RolloutError::Plan)?;
        Ok(Steering::new(now, engine, ahead))
    }

    /// The waves are over: what is left of them is what they can be taken back by.
    pub(super) fn end_waves(&mut self, now: Instant, id: u64, steering: &Steering) {
        let moment = self.moment(now);
        let Some(rollout) = self.rollouts.iter().find(|rollout| rollout.id == id) else { return };
        let left = Unfinished {
            id: rollout.id,
            request: rollout.request.clone(),
            started: rollout.started,
            paused: false,
            activated: Vec::new(),
            nodes: rollout.nodes.clone(),
            waves: Some(Box::new(steering.engine.memory(moment))),
        };
        self.remember_ended(left);
    }

    /// A roll-out in waves that is over, the newest last.
    pub(super) fn remember_ended(&mut self, left: Unfinished) {
        self.ended.retain(|known| known.id != left.id);
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(left);
    }

    /// Whether a roll-out in waves is over, and not forgotten.
    pub(super) fn has_ended(&self, id: u64) -> bool {
        self.ended_image(id).is_some()
    }

    /// The SHA-256 of what it brought.
    pub fn ended_image(&self, id: u64) -> Option<[u8; 32]> {
        self.ended.iter().find(|left| left.id == id).map(|left| left.request.firmware)
    }

    /// Takes a roll-out back that is over.
    pub(super) fn reopen(
        &mut self,
        now: Instant,
        node: &Node,
        id: u64,
        by: &str,
    ) -> Result<(), ControlError> {
        let moment = self.moment(now);
        let Some(left) = self.ended.iter().find(|left| left.id == id).cloned() else {
            return Err(ControlError::Unknown(id));
        };
        let unusable = |mistakes| ControlError::Reopened(id, RolloutError::Plan(mistakes));
        let memory = left.waves.as_deref().cloned().ok_or(ControlError::Unknown(id))?;
        // Whether that may be is for the engine to say, before anything changes.
        let mut engine = rollout::Rollout::restore(moment, memory).map_err(unusable)?;
        engine.act(moment, Verb::RollBack, by)?;
        let taken = self.taken(now, node);
        let updated = left.nodes.iter().filter(|line| line.state == State::Updated).map(|line| line.node);
        let updated: Vec<NodeId> = updated.collect();
        let (_, plan) = self.plan(&left.request).map_err(|error| ControlError::Reopened(id, error))?;
        self.has_room_for(&plan.role, &plan.hardware)
            .and_then(|()| self.are_free(&updated, &taken))
            .and_then(|()| self.take_up_again(now, left, Some(engine)))
            .map_err(|error| ControlError::Reopened(id, error))?;
        self.ended.retain(|left| left.id != id);
        self.note_decisions(id);
        Ok(())
    }

    /// How a roll-out in waves stands, or ended.
    pub fn report(&self, now: Instant, id: u64) -> Option<RolloutReport> {
        if let Some(steering) = self.under_way(id).and_then(|one| one.steering.as_ref()) {
            return Some(steering.engine.report());
        }
        let left = self.ended.iter().find(|left| left.id == id)?;
        let memory = left.waves.as_deref().cloned()?;
        Some(rollout::Rollout::restore(self.moment(now), memory).ok()?.report())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::mesh::MeshConfig;
    use meshward_core::node::NodeConfig;
    use meshward_core::ota::trust::KeyKind;
    use meshward_fleet::firmware::ImageInfo;
    use meshward_fleet::fleet::Settings;
    use meshward_fleet::forecast::Scheme;
    use meshward_fleet::signing::SigningKey;

    use crate::service::under_way::Course;
    use crate::service::{Rollout, RolloutRequest};
    use crate::shell::Clock;

    const ONE: NodeId = NodeId(7);

    fn request(firmware: [u8; 32]) -> RolloutRequest {
        RolloutRequest {
            firmware,
            role: Some("sensor".to_owned()),
            hardware: "ESP32".to_owned(),
            scheme: Scheme::Turbo,
            nodes: Some(vec![ONE]),
            force_image: true,
            confirm_receiver: true,
            slot_size: 100_000,
            part_size: 1_024,
            concurrency: 1,
            hold: false,
            airtime: 100,
            plan: Some(RolloutPlan::default()),
        }
    }

    /// A plan whose canary is about to start the image, beside a deployment that holds it back.
    fn activating(gateway: &mut Gateway, now: Instant, node: &mut Node) {
        let image: Arc<[u8]> = vec![0xE9; 2_000].into();
        let info = ImageInfo::of(&image);
        let request = request(info.sha256);
        gateway.add_firmware("x".to_owned(), image, info);
        let (firmware, plan) = gateway.plan(&request).unwrap();
        assert!(plan.hold, "a plan is a deployment that waits");
        gateway.remember(Rollout::begun((1, request), (firmware, &plan), gateway.began));
        let deployment = Deployment::start(now, node, plan).unwrap();
        let moment = gateway.moment(now);
        let mut engine = rollout::Rollout::start(moment, RolloutPlan::default(), "ada").unwrap();
        while engine.poll_decision().is_some() {}
        let mut written = serde_json::to_value(engine.memory(moment)).unwrap();
        written["phase"] = "activating".into();
        written["nodes"] = serde_json::json!([{ "node": ONE.0, "wave": 0, "why": "", "family": null,
            "outcome": "waiting", "told": null, "tries": 0, "away": null }]);
        written["waves"] = serde_json::json!([{ "batches": [[ONE.0]], "behind": [], "findings": [], "began": moment.civil.0 }]);
        let memory: RolloutMemory = serde_json::from_value(written).unwrap();
        let engine = rollout::Rollout::restore(moment, memory).unwrap();
        let steering = Some(Steering::new(now, engine, Duration::ZERO));
        gateway.set_out(UnderWay::new(1, Course::Running(Box::new(deployment)), steering));
    }

    fn activated(gateway: &Gateway) -> usize {
        let deployment = gateway.under_way(1).and_then(UnderWay::deployment);
        deployment.map_or(0, |deployment| deployment.activated().count())
    }

    #[test]
    fn nobody_starts_an_image_before_that_is_written_down() {
        let fleet = Fleet::new(Instant::ORIGIN, NodeId(1), 1, Settings::default()).unwrap();
        let operator = SigningKey::from_seed(KeyKind::Operator, [1; 32]).unwrap();
        let mut gateway = Gateway::new(&Clock::start(), fleet, operator, tokio::sync::mpsc::channel(1).0);
        let mut node = Node::new(NodeConfig::new(MeshConfig::gateway(NodeId(1), 1)));
        let (mut now, later) = (Instant::ORIGIN + Duration::from_secs(1), Duration::from_secs(60));
        gateway.keep_decisions(true);
        activating(&mut gateway, now, &mut node);
        gateway.steer(now, &mut node);
        let decided = gateway.decided(now).pop().expect("it waits to be written");
        assert_eq!((activated(&gateway), decided.rollout), (0, 1));
        // However often it is asked, and whatever time it is.
        now = now + later;
        gateway.steer(now, &mut node);
        assert_eq!((activated(&gateway), gateway.decided(now)[0].revision), (0, decided.revision));
        // A database that takes nothing lets nobody start, and holds nothing else up.
        gateway.kept(now, &mut node, &decided, false);
        assert_eq!(activated(&gateway), 0);
        now = now + later;
        gateway.steer(now, &mut node);
        let decided = gateway.decided(now).pop().expect("it is wanted again");
        assert_eq!(activated(&gateway), 0);
        let (mut written, wanted) = gateway.unwritten(1).unwrap();
        assert!(*written.borrow_and_update() < wanted);
        gateway.kept(now, &mut node, &decided, true);
        assert_eq!((activated(&gateway), *written.borrow()), (1, wanted));
    }

    #[test]
    fn what_somebody_stops_is_not_done_when_it_is_written() {
        let fleet = Fleet::new(Instant::ORIGIN, NodeId(1), 1, Settings::default()).unwrap();
        let operator = SigningKey::from_seed(KeyKind::Operator, [1; 32]).unwrap();
        let mut gateway = Gateway::new(&Clock::start(), fleet, operator, tokio::sync::mpsc::channel(1).0);
        let mut node = Node::new(NodeConfig::new(MeshConfig::gateway(NodeId(1), 1)));
        let now = Instant::ORIGIN + Duration::from_secs(1);
        gateway.keep_decisions(true);
        activating(&mut gateway, now, &mut node);
        gateway.steer(now, &mut node);
        let decided = gateway.decided(now).pop().unwrap();
        gateway.act(now, 1, Verb::Abort, "ada").unwrap();
        gateway.kept(now, &mut node, &decided, true);
        assert_eq!(activated(&gateway), 0);
        let decided = gateway.decided(now).pop().expect("the end is written too");
        assert_eq!(decided.decisions.iter().map(|one| &*one.what).collect::<Vec<_>>(), ["abort"]);
        gateway.kept(now, &mut node, &decided, true);
        assert_eq!(activated(&gateway), 0);
    }
}
