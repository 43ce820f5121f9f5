//! A gateway's membership of a mesh: a node, what it knows of the others, and the roll-outs it runs.
//!
//! [`Gateway`] is the [`Application`] beside the node: it keeps the roster, the uploaded images and the
//! history of roll-outs, all bounded, and is read and driven through a [`NodeHandle`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use meshward_core::mesh::{MeshConfig, MeshEvent};
use meshward_core::node::{Event, Node, NodeConfig};
use meshward_core::ota::{DistributorEvent, ImagePlan, Scheme, StartError, TargetReport, TargetState};
use meshward_core::time::Instant;
use meshward_core::wire::NodeId;
use meshward_fleet::firmware::{ImageError, ImageInfo, inspect};
use meshward_fleet::roster::{Change, Roster};
use thiserror::Error;

use crate::shell::{Application, Clock, NodeHandle, Shell, ShellConfig, Traffic};

/// Uploaded images kept at once; the oldest goes first.
const IMAGES_MAX: usize = 8;
/// Roll-outs remembered; the oldest goes first.
const ROLLOUTS_MAX: usize = 50;

/// An uploaded image.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// What the file was called.
    pub name: String,
    /// What it says of itself.
    pub info: ImageInfo,
    /// Its bytes.
    pub image: Arc<[u8]>,
}

/// What an operator wants brought to whom.
#[derive(Clone, Debug)]
pub struct RolloutRequest {
    /// SHA-256 of an uploaded image.
    pub firmware: [u8; 32],
    /// The receivers' role.
    pub role: String,
    /// The receivers' hardware.
    pub hardware: String,
    /// How the parts travel.
    pub scheme: Scheme,
    /// Whom; `None` for every node in the mesh.
    pub nodes: Option<Vec<NodeId>>,
    /// Send an image even though it is none that the receivers can run.
    pub force_image: bool,
    /// The operator says that the image takes updates itself; needed once per image.
    pub confirm_receiver: bool,
    /// Bytes that a receiver's slot holds.
    pub slot_size: u32,
    /// Bytes in a part.
    pub part_size: u32,
    /// Nodes that receive at the same time.
    pub concurrency: usize,
    /// Nodes restart only when they are activated.
    pub hold: bool,
    /// How much of the time the broadcast pass may fill the radio channel, in per cent.
    pub airtime: u8,
}

/// Why a roll-out was not started.
#[derive(Debug, Error)]
pub enum RolloutError {
    /// No such image was uploaded.
    #[error("no firmware with this SHA-256 has been uploaded")]
    UnknownFirmware,
    /// The image is not what the nodes can run.
    #[error("the image was refused (force_image sends it all the same): {0}")]
    Image(#[from] ImageError),
    /// Nobody has said that the image takes updates itself.
    #[error(
        "a node that runs an image without an update receiver (initOTAReceive) can never be updated over the air \
         again, and nobody can see it from outside: say that this image has one, by --confirm-receiver (confirm_receiver \
         over REST), once per image"
    )]
    Unconfirmed,
    /// The plan makes no sense now.
    #[error("the roll-out cannot start: {0}")]
    Start(StartError),
}

/// A roll-out that has begun.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Counts from 1.
    pub id: u64,
    /// What is brought.
    pub firmware: Firmware,
    /// To which role.
    pub role: String,
    /// To which hardware.
    pub hardware: String,
    /// How the parts travel.
    pub scheme: Scheme,
    /// Whether nodes restart only when they are activated.
    pub hold: bool,
    /// When it began.
    pub started: Instant,
    /// When the last node was done.
    pub finished: Option<Instant>,
    /// A line per node; kept up to date while it runs.
    pub nodes: Vec<TargetReport>,
}

impl Rollout {
    /// How many nodes are in a state.
    pub fn count(&self, state: impl Fn(TargetState) -> bool) -> usize {
        self.nodes.iter().filter(|report| state(report.state)).count()
    }
}

/// See the module's page.
#[derive(Debug)]
pub struct Gateway {
    /// Civil time at the origin of the node's clock.
    origin: SystemTime,
    roster: Roster,
    images: VecDeque<Firmware>,
    /// Images of which the operator has said that they take updates themselves; of those that are kept.
    confirmed: BTreeSet<[u8; 32]>,
    rollouts: VecDeque<Rollout>,
    next_rollout: u64,
}

impl Gateway {
    fn new(clock: &Clock) -> Self {
        let running = std::time::Duration::from_micros(clock.now().as_micros());
        Self {
            origin: SystemTime::now() - running,
            roster: Roster::default(),
            images: VecDeque::new(),
            confirmed: BTreeSet::new(),
            rollouts: VecDeque::new(),
            next_rollout: 1,
        }
    }

    /// The nodes that the mesh has shown.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Civil time at an instant.
    pub fn civil(&self, at: Instant) -> SystemTime {
        self.origin + std::time::Duration::from_micros(at.as_micros())
    }

    /// Keeps an image; uploading one twice keeps it once.
    pub fn add_firmware(&mut self, name: String, image: Arc<[u8]>, info: ImageInfo) -> Firmware {
        self.images.retain(|known| known.info.sha256 != info.sha256);
        if self.images.len() >= IMAGES_MAX {
            self.images.pop_front();
        }
        let firmware = Firmware { name, info, image };
        self.images.push_back(firmware.clone());
        firmware
    }

    /// The uploaded images, oldest first.
    pub fn firmware(&self) -> impl Iterator<Item = &Firmware> {
        self.images.iter()
    }

    /// Starts a roll-out and returns it.
    ///
    /// # Errors
    /// [`RolloutError`], and nothing was sent.
    pub fn start(
        &mut self,
        now: Instant,
        node: &mut Node,
        request: RolloutRequest,
    ) -> Result<Rollout, RolloutError> {
        let known = self.images.iter().find(|known| known.info.sha256 == request.firmware);
        let firmware = known.cloned().ok_or(RolloutError::UnknownFirmware)?;
        if !request.force_image {
            inspect(&firmware.image, &request.hardware, request.slot_size)?;
        }
        if !request.confirm_receiver && !self.confirmed.contains(&request.firmware) {
            return Err(RolloutError::Unconfirmed);
        }
        let everybody = || node.mesh().tree().ids().collect();
        let plan = ImagePlan {
            scheme: request.scheme,
            image: firmware.image.to_vec(),
            role: request.role.clone().into_bytes(),
            hardware: request.hardware.clone().into_bytes(),
            targets: request.nodes.unwrap_or_else(everybody),
            part_size: request.part_size,
            concurrency: request.concurrency.max(1),
            hold: request.hold,
            airtime: request.airtime,
        };
        node.start_rollout(now, plan).map_err(RolloutError::Start)?;
        self.confirmed.insert(request.firmware);
        self.confirmed.retain(|known| self.images.iter().any(|image| image.info.sha256 == *known));
        if self.rollouts.len() >= ROLLOUTS_MAX {
            self.rollouts.pop_front();
        }
        let rollout = Rollout {
            id: self.next_rollout,
            firmware,
            role: request.role,
            hardware: request.hardware,
            scheme: request.scheme,
            hold: request.hold,
            started: now,
            finished: None,
            nodes: node.rollout_report(),
        };
        self.next_rollout += 1;
        tracing::info!(rollout = rollout.id, nodes = rollout.nodes.len(), "roll-out started");
        self.rollouts.push_back(rollout.clone());
        Ok(rollout)
    }

    /// All remembered roll-outs as they are now, newest first.
    pub fn rollouts(&mut self, node: &Node) -> Vec<Rollout> {
        self.refresh(node);
        self.rollouts.iter().rev().cloned().collect()
    }

    /// The roll-out under way.
    pub fn running(&self) -> Option<&Rollout> {
        self.rollouts.back().filter(|rollout| rollout.finished.is_none())
    }

    fn refresh(&mut self, node: &Node) {
        if let Some(rollout) = self.rollouts.back_mut().filter(|rollout| rollout.finished.is_none()) {
            rollout.nodes = node.rollout_report();
        }
    }

    fn topology_changed(&mut self, now: Instant, node: &Node) {
        for change in self.roster.update(now, &node.mesh().tree()) {
            match change {
                Change::Joined(id) => tracing::info!(node = %id, "joined"),
                Change::Left(id) => tracing::info!(node = %id, "left"),
                Change::Moved(id) => tracing::debug!(node = %id, "has another parent"),
            }
        }
    }

    fn rollout_event(&mut self, now: Instant, node: &Node, event: &DistributorEvent) {
        match event {
            DistributorEvent::Target(report) => {
                tracing::debug!(node = %report.node, state = ?report.state, "roll-out");
            }
            DistributorEvent::ForeignSender(sender) => {
                tracing::warn!(%sender, "another node sends firmware for the same role: the roll-out waits");
            }
            DistributorEvent::Finished => {
                self.refresh(node);
                if let Some(rollout) = self.rollouts.back_mut() {
                    rollout.finished = Some(now);
                    let updated = rollout.count(|state| state == TargetState::Updated);
                    tracing::info!(
                        rollout = rollout.id,
                        updated,
                        of = rollout.nodes.len(),
                        "roll-out finished"
                    );
                }
            }
        }
    }
}

impl Application for Gateway {
    type Machine = Node;

    fn on_event(&mut self, now: Instant, node: &mut Node, event: &Event) {
        match event {
            Event::Mesh(MeshEvent::TopologyChanged { .. }) => self.topology_changed(now, node),
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
            Event::Rollout(event) => self.rollout_event(now, node, event),
            Event::Exchange(event) => tracing::debug!(?event),
        }
    }
}

/// Joins a mesh: the shell to be run, and the way to the gateway inside.
///
/// # Errors
/// When the listening address cannot be had.
pub async fn join(
    mesh: MeshConfig,
    shell: ShellConfig,
    traffic: Arc<Traffic>,
) -> std::io::Result<(Shell<Gateway>, NodeHandle<Gateway>)> {
    let clock = Clock::start();
    if let Some(tap) = &shell.tap {
        tap.booted(clock.now(), &mesh);
    }
    let node = Node::new(NodeConfig { mesh, firmware: None });
    Shell::bind(shell, node, Gateway::new(&clock), None, clock, traffic).await
}
