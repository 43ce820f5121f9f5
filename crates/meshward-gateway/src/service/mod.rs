//! A gateway's membership of a mesh: a node, what it knows of the others, and the roll-outs it runs.
//!
//! [`Gateway`] is the [`Application`] beside the node: it keeps the [`Fleet`], the uploaded images and the history of
//! roll-outs, all bounded, and is read and driven through a [`NodeHandle`]. Several roll-outs may be `under_way`, of
//! which one [`Deployment`] at a time sends; forecasts only ask. Payloads are packed by a task of its own, so that the node's is never held up. What the fleet
//! wants sent and told goes through `status`.

mod asked;
mod control;
mod outside;
mod preview;
mod remembered;
mod request;
mod resume;
mod rollout;
mod share;
mod status;
mod steer;
mod tally;
mod under_way;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

pub use asked::{ASKED_MAX, Asked};
pub use control::{Control, ControlError};
use meshward_core::mesh::{MeshConfig, MeshEvent};
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::ota::DistributorEvent;
use meshward_core::ota::exchange::ImageId;
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::Fleet;
use meshward_fleet::deployment::{
    Deployment, Job, OrderCounter, PackError, Packed, Plan, SignedManifest, State,
};
use meshward_fleet::firmware::ImageInfo;
use meshward_fleet::fleet::{Settings, SettingsError};
use meshward_fleet::forecast::Forecast;
use meshward_fleet::memory::Restored;
use meshward_fleet::registry::Registry;
use meshward_fleet::signing::SigningKey;
use meshward_fleet::topology::Topology;
use outside::Outside;
pub use outside::{Slow, Writing, Written};
pub use preview::Previewed;
pub use remembered::Remembered;
pub use request::{Allowed, Firmware, RolloutError, RolloutRequest};
pub use resume::{RETURN_MAX, Unfinished};
pub use rollout::Rollout;
use status::Status;
pub use status::{EVENTS_KEPT_MAX, Told};
use steer::Keeping;
pub use steer::{Decided, ENDED_MAX};
pub use tally::{BOUNDS, QUERY_RESULTS, Tally};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
pub use under_way::ROLLOUTS_AT_ONCE;
use under_way::{Course, UnderWay};

use crate::shell::{Application, Clock, NodeHandle, Shell, ShellConfig, Traffic};

/// Uploaded images kept at once; the oldest goes first.
pub const IMAGES_MAX: usize = 8;
/// Roll-outs remembered; the oldest goes first.
const ROLLOUTS_MAX: usize = 50;
/// Forecasts that are being reckoned at once.
const FORECASTS_MAX: usize = 4;

/// What a gateway's clock shows when it starts: what happened in the five years before has a place on it, so that
/// times which were kept over a restart can be told.
const BEFORE: Instant = Instant::from_micros(5 * 366 * 86_400 * 1_000_000);

/// Who waits for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Rollout(u64),
    Forecast(u64),
}

/// What somebody waits for who asked for a forecast: or why there is none.
pub type Answer = Result<Forecast, String>;

/// A forecast that is being reckoned.
#[derive(Debug)]
struct Reckoning {
    id: u64,
    deployment: Deployment,
    answer: Option<oneshot::Sender<Answer>>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Gateway {
    /// Civil time at the origin of the node's clock.
    origin: SystemTime,
    began: SystemTime,
    fleet: Fleet,
    status: Status,
    images: VecDeque<Firmware>,
    /// Images of which the operator has said that they take updates themselves; of those that are kept.
    confirmed: BTreeSet<[u8; 32]>,
    rollouts: VecDeque<Rollout>,
    next_rollout: u64,
    /// At most [`ROLLOUTS_AT_ONCE`], the oldest first.
    under_way: Vec<UnderWay>,
    keeping: Keeping,
    /// Those in waves that are over and may still be taken back.
    ended: VecDeque<Unfinished>,
    reckonings: Vec<Reckoning>,
    next_reckoning: u64,
    operator: Arc<SigningKey>,
    allowed: Allowed,
    /// Of the orders that are signed here.
    counter: OrderCounter,
    jobs: mpsc::Sender<(Owner, Job)>,
    outside: Outside,
}

impl Gateway {
    fn new(clock: &Clock, fleet: Fleet, operator: SigningKey, jobs: mpsc::Sender<(Owner, Job)>) -> Self {
        let running = std::time::Duration::from_micros(clock.now().as_micros());
        let began = SystemTime::now();
        Self {
            origin: began - running,
            began,
            fleet,
            status: Status::default(),
            images: VecDeque::new(),
            confirmed: BTreeSet::new(),
            rollouts: VecDeque::new(),
            next_rollout: 1,
            under_way: Vec::new(),
            keeping: Keeping::default(),
            ended: VecDeque::new(),
            reckonings: Vec::new(),
            next_reckoning: 1,
            operator: Arc::new(operator),
            allowed: Allowed::default(),
            counter: OrderCounter::default(),
            jobs,
            outside: Outside::default(),
        }
    }

    /// What roll-outs may do from here on; one that is under way goes on as it was.
    pub fn allow(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }

    /// The nodes that the mesh has shown.
    pub fn registry(&self) -> &Registry {
        self.fleet.registry()
    }

    /// Where they are.
    pub fn topology(&self) -> &Topology {
        self.fleet.topology()
    }

    /// When it was started: what was before is not known here but from a memory.
    pub const fn began(&self) -> SystemTime {
        self.began
    }

    /// Civil time at an instant.
    pub fn civil(&self, at: Instant) -> SystemTime {
        self.origin + std::time::Duration::from_micros(at.as_micros())
    }

    /// The instant of a civil time; what was before the start is the start.
    pub fn instant(&self, at: SystemTime) -> Instant {
        let since = at.duration_since(self.origin).unwrap_or_default();
        Instant::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Keeps an image; uploading one twice keeps it once, with the manifest that it had.
    pub fn add_firmware(&mut self, name: String, image: Arc<[u8]>, info: ImageInfo) -> Firmware {
        let manifest = self.find_image(&info.sha256).and_then(|known| known.manifest.clone());
        self.images.retain(|known| known.info.sha256 != info.sha256);
        if self.images.len() >= IMAGES_MAX {
            self.images.pop_front();
        }
        let firmware = Firmware { name, info, image, manifest };
        self.images.push_back(firmware.clone());
        firmware
    }

    /// Keeps the manifest of an image; `None` when there is no such image.
    pub fn add_manifest(&mut self, sha256: &[u8; 32], manifest: SignedManifest) -> Option<Firmware> {
        let known = self.images.iter_mut().find(|known| known.info.sha256 == *sha256)?;
        known.manifest = Some(manifest);
        Some(known.clone())
    }

    /// The uploaded images, oldest first.
    pub fn firmware(&self) -> impl Iterator<Item = &Firmware> {
        self.images.iter()
    }

    fn find_image(&self, sha256: &[u8; 32]) -> Option<&Firmware> {
        self.images.iter().find(|known| known.info.sha256 == *sha256)
    }

    /// The name of the uploaded image that nodes call so.
    pub fn image_name(&self, id: ImageId) -> Option<&str> {
        let is = |known: &&Firmware| known.info.sha256.starts_with(&id.0);
        self.images.iter().find(is).map(|known| &*known.name)
    }

    /// Starts a roll-out in somebody's name, and returns it.
    ///
    /// # Errors
    /// [`RolloutError`], and nothing was sent.
    pub fn start(
        &mut self,
        now: Instant,
        node: &mut Node,
        request: &RolloutRequest,
        by: &str,
    ) -> Result<Rollout, RolloutError> {
        if !self.allowed.rollouts {
            return Err(RolloutError::SwitchedOff);
        }
        let (firmware, mut plan) = self.plan(request)?;
        self.has_room_for(&plan.role, &plan.hardware)?;
        let taken = self.taken(now, node);
        self.are_free(request.nodes.as_deref().unwrap_or_default(), &taken)?;
        // Only stock nodes take an unsigned image.
        if plan.manifest.is_none() && !plan.confirmed {
            return Err(RolloutError::Unconfirmed);
        }
        let ahead = self.choose_targets(now, node, request, &mut plan, &taken)?;
        let confirmed = plan.confirmed;
        let mut rollout =
            Rollout::begun((self.next_rollout, request.clone()), (firmware, &plan), SystemTime::now());
        let deployment = Deployment::start(now, node, plan).map_err(RolloutError::Start)?;
        if confirmed {
            self.confirmed.insert(request.firmware);
        }
        self.confirmed.retain(|known| self.images.iter().any(|image| image.info.sha256 == *known));
        let waves = request.plan.as_ref().map(|waves| self.begin_waves(now, waves.clone(), by, ahead));
        let steering = waves.transpose()?;
        rollout.refresh(now, node, &deployment);
        self.next_rollout += 1;
        tracing::info!(rollout = rollout.id, nodes = rollout.nodes.len(), by, "roll-out started");
        let id = rollout.id;
        self.set_out(UnderWay::new(id, Course::Running(Box::new(deployment)), steering));
        self.remember(rollout.clone());
        self.note_decisions(id);
        self.tend(now, node);
        Ok(self.rollout(now, node, id).unwrap_or(rollout))
    }

    /// The number of the next roll-out; those before it are some gateway's of this name before this one.
    pub fn number_rollouts_from(&mut self, next: u64) {
        self.next_rollout = self.next_rollout.max(next);
    }

    /// Reckons what a roll-out would take. The answer comes when the nodes have been asked; if this is dropped
    /// before, nobody waits any more.
    ///
    /// # Errors
    /// [`RolloutError`], and nobody was asked.
    pub fn forecast(
        &mut self,
        now: Instant,
        node: &mut Node,
        request: &RolloutRequest,
    ) -> Result<oneshot::Receiver<Answer>, RolloutError> {
        let (_, plan) = self.plan(request)?;
        self.reckon(now, node, plan)
    }

    fn reckon(
        &mut self,
        now: Instant,
        node: &mut Node,
        plan: Plan,
    ) -> Result<oneshot::Receiver<Answer>, RolloutError> {
        if self.reckonings.len() >= FORECASTS_MAX {
            return Err(RolloutError::Crowded);
        }
        let plan = Plan { forecast_only: true, takes_turns: false, ..plan };
        let deployment = Deployment::start(now, node, plan).map_err(RolloutError::Start)?;
        let (sender, receiver) = oneshot::channel();
        let id = self.next_reckoning;
        self.next_reckoning += 1;
        self.reckonings.push(Reckoning { id, deployment, answer: Some(sender) });
        self.tend(now, node);
        Ok(receiver)
    }

    /// All remembered roll-outs as they are now, newest first.
    pub fn rollouts(&mut self, now: Instant, node: &Node) -> Vec<Rollout> {
        self.refresh(now, node);
        let mut rollouts: Vec<Rollout> = self.rollouts.iter().cloned().collect();
        // One that was taken back after its end is the one under way, and not the newest.
        rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.id));
        rollouts
    }

    /// The roll-out with this number as it is now.
    pub fn rollout(&mut self, now: Instant, node: &Node, id: u64) -> Option<Rollout> {
        self.refresh(now, node);
        self.rollouts.iter().find(|rollout| rollout.id == id).cloned()
    }

    /// A job is done, or could not be.
    fn packed(
        &mut self,
        now: Instant,
        node: &mut Node,
        owner: Owner,
        packed: Option<Result<Packed, PackError>>,
    ) {
        let deployment = match owner {
            Owner::Rollout(id) => self.under_way_mut(id).and_then(UnderWay::deployment_mut),
            Owner::Forecast(id) => {
                let mine = self.reckonings.iter_mut().find(|reckoning| reckoning.id == id);
                mine.map(|reckoning| &mut reckoning.deployment)
            }
        };
        if let Some(deployment) = deployment {
            match packed {
                Some(packed) => deployment.handle_packed(now, node, packed),
                None => deployment.abort(now, node),
            }
        }
        self.tend(now, node);
    }

    /// Hands out what is to be packed, and notes what has finished.
    fn tend(&mut self, now: Instant, node: &mut Node) {
        self.try_resume(now, node);
        self.steer(now, node);
        self.take_turns(now, node);
        let running = self.under_way.iter_mut();
        let running = running.filter_map(|one| Some((Owner::Rollout(one.id), one.deployment_mut()?)));
        let reckonings = self.reckonings.iter_mut();
        let reckonings =
            reckonings.map(|reckoning| (Owner::Forecast(reckoning.id), &mut reckoning.deployment));
        for (owner, deployment) in running.chain(reckonings) {
            if let Some(job) = deployment.poll_job()
                && self.jobs.try_send((owner, job)).is_err()
            {
                tracing::error!("there is nobody who packs payloads: the roll-out ends");
                deployment.abort(now, node);
            }
        }
        self.note_ends(now, node);
        self.reckonings.retain_mut(|reckoning| !answered(reckoning, node));
        self.maintain(now);
        self.watch(now, node);
    }

    /// Roll-outs under way may be over: their deployments, and their waves, whose last word is written.
    fn note_ends(&mut self, now: Instant, node: &mut Node) {
        let over = self.under_way.iter().filter(|one| one.is_over()).map(|one| one.id);
        for id in over.collect::<Vec<u64>>() {
            if self.under_way(id).is_some_and(|one| one.deployment().is_none()) {
                self.end_unresumed(id);
            }
            self.refresh(now, node);
            let Some(place) = self.under_way.iter().position(|one| one.id == id) else { continue };
            let UnderWay { steering, window, .. } = self.under_way.remove(place);
            self.close_window(now, window);
            if let Some(steering) = steering {
                self.end_waves(now, id, &steering);
            }
            let Some(rollout) = self.told_mut(id) else { continue };
            (rollout.finished, rollout.eta) = (Some(SystemTime::now()), None);
            let updated = rollout.count(|state| *state == State::Updated);
            tracing::info!(rollout = id, updated, of = rollout.nodes.len(), "roll-out finished");
        }
    }

    fn deployments(&mut self) -> impl Iterator<Item = &mut Deployment> {
        let reckonings = self.reckonings.iter_mut().map(|reckoning| &mut reckoning.deployment);
        self.under_way.iter_mut().filter_map(UnderWay::deployment_mut).chain(reckonings)
    }
}

/// Whether a forecast is not waited for any more: it was given, or whoever asked has gone.
fn answered(reckoning: &mut Reckoning, node: &Node) -> bool {
    if reckoning.answer.as_ref().is_none_or(oneshot::Sender::is_closed) {
        return true;
    }
    let deployment = &reckoning.deployment;
    if !deployment.is_finished() {
        return false;
    }
    let failed = || {
        let lines = deployment.report(node);
        let why = lines.into_iter().find_map(|line| match line.state {
            State::Failed(why) => Some(why.to_string()),
            _ => None,
        });
        why.unwrap_or_else(|| "nothing was reckoned".to_owned())
    };
    let answer = deployment.forecast().cloned().ok_or_else(failed);
    if let Some(sender) = reckoning.answer.take() {
        // Whoever asked may have gone just now.
        drop(sender.send(answer));
    }
    true
}

impl Application for Gateway {
    type Machine = Node;

    fn on_event(&mut self, now: Instant, node: &mut Node, event: &Event) {
        note(event);
        self.pass_on(event);
        self.fleet.handle_event(now, node.mesh(), event);
        self.deployments().for_each(|deployment| deployment.handle_event(now, node, event));
        self.tend(now, node);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let reckonings = self.reckonings.iter().map(|reckoning| &reckoning.deployment);
        let rollouts = self.under_way.iter().filter_map(UnderWay::poll_timeout);
        rollouts.chain(reckonings.filter_map(Deployment::poll_timeout)).chain(self.fleet.poll_timeout()).min()
    }

    fn handle_timeout(&mut self, now: Instant, node: &mut Node) {
        let due = |deployment: &Deployment| deployment.poll_timeout().is_some_and(|due| due <= now);
        let deployments = self.deployments().filter(|deployment| due(deployment));
        deployments.for_each(|deployment| deployment.handle_timeout(now, node));
        if self.fleet.poll_timeout().is_some_and(|due| due <= now) {
            self.fleet.handle_timeout(now);
        }
        self.tend(now, node);
    }
}

/// Logs what comes from the node; what it means is logged where the fleet says so.
fn note(event: &Event) {
    match event {
        Event::Mesh(MeshEvent::LinkDown { peer, reason, .. }) => {
            let peer = peer.unwrap_or(NodeId::NONE);
            tracing::info!(%peer, %reason, "a link to the mesh ended");
        }
        Event::Mesh(event) => tracing::debug!(?event),
        Event::Message { from, text, .. } => {
            tracing::debug!(%from, text = %String::from_utf8_lossy(text), "message");
        }
        Event::Package { envelope, .. } => tracing::debug!(kind = envelope.kind, "package"),
        Event::Update(_) => {}
        Event::Rollout(DistributorEvent::ForeignSender(sender)) => {
            tracing::warn!(%sender, "another node sends firmware for the same role: the roll-out waits");
        }
        Event::Rollout(event) => tracing::debug!(?event),
        Event::Exchange(event) => tracing::debug!(?event),
        Event::Telemetry(event) => tracing::debug!(?event),
    }
}

/// Packs what is to be packed, one job after the other, until the gateway has gone.
async fn pack(mut jobs: mpsc::Receiver<(Owner, Job)>, gateway: NodeHandle<Gateway>) {
    while let Some((owner, job)) = jobs.recv().await {
        let packed = tokio::task::spawn_blocking(move || job.run()).await;
        if let Err(error) = &packed {
            tracing::error!(%error, "packing ended abnormally");
        }
        let told =
            gateway.with(move |now, node, gateway| gateway.packed(now, node, owner, packed.ok())).await;
        if told.is_err() {
            return;
        }
    }
}

/// Why a gateway did not join.
#[derive(Debug, Error)]
pub enum JoinError {
    /// A rule for alerts, or another setting of how the mesh is looked after, makes no sense.
    #[error("the mesh cannot be looked after with these settings")]
    Settings(#[from] SettingsError),
    /// The listening address cannot be had.
    #[error("cannot accept nodes")]
    Listen(#[from] std::io::Error),
}

/// Joins a mesh: the shell to be run, and the way to the gateway inside. `operator` signs what it sends, `settings`
/// say how the mesh is looked after, and `allowed` what roll-outs may do, those too that are taken up again.
///
/// # Errors
/// [`JoinError`], and nothing was sent.
pub async fn join(
    mesh: MeshConfig,
    shell: ShellConfig,
    traffic: Arc<Traffic>,
    operator: SigningKey,
    settings: Settings,
    allowed: Allowed,
    remembered: Remembered,
) -> Result<(Shell<Gateway>, NodeHandle<Gateway>), JoinError> {
    let clock = Clock::starting_at(BEFORE);
    if let Some(tap) = &shell.tap {
        tap.booted(clock.now(), &mesh);
    }
    let node = Node::new(NodeConfig::new(mesh));
    let (sender, jobs) = mpsc::channel(ROLLOUTS_AT_ONCE + FORECASTS_MAX);
    // Another number after each start, so that no late answer is taken for one to a new command.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let first_command = (since.as_millis() as u32).max(1);
    let fleet = Fleet::new(clock.now(), node.id(), first_command, settings)?;
    let mut gateway = Gateway::new(&clock, fleet, operator, sender);
    gateway.allow(allowed);
    let restored = gateway.take_up(clock.now(), remembered);
    if restored != Restored::default() {
        tracing::info!(?restored, "the gateway remembers");
    }
    let (shell, handle) = Shell::bind(shell, node, gateway, None, clock, traffic).await?;
    tokio::spawn(pack(jobs, handle.clone()));
    Ok((shell, handle))
}

#[cfg(test)]
pub(crate) mod tests {
    use meshward_core::ota::trust::KeyKind;

    use super::*;

    /// A gateway without nodes, which runs until the test ends.
    pub(crate) async fn gateway() -> NodeHandle<Gateway> {
        let operator = SigningKey::from_seed(KeyKind::Operator, [7; 32]).unwrap();
        let (mesh, traffic) = (MeshConfig::gateway(NodeId(1), 1), Arc::new(Traffic::default()));
        let (shell, settings) = (ShellConfig::default(), Settings::default());
        let (shell, handle) =
            join(mesh, shell, traffic, operator, settings, Allowed::default(), Remembered::default())
                .await
                .unwrap();
        tokio::spawn(shell.run(std::future::pending()));
        handle
    }
}
