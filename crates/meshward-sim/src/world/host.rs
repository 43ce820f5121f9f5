//! One host: a chip, a boot loader, a machine while the power is on, and the wish for a parent.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshward_core::flash::{Books, FlashOp, Layout, Slot};
use meshward_core::mesh::{Limits, LinkId, MeshConfig};
use meshward_core::node::{Node, NodeConfig};
use meshward_core::ota::trial::{Choice, ResetReason};
use meshward_core::ota::{BootRecord, ReceiverConfig};
use meshward_core::rng::Rng;
use meshward_core::telemetry;
use meshward_core::time::{Duration, Instant};
use meshward_core::wire::NodeId;
use meshward_fleet::deployment::Deployment;

use super::Seat;
use super::machine::Machine;
use super::queue::Life;
use super::vitals::Vitals;
use super::watch::Watcher;
use super::wire::WireId;
use crate::flash::Chip;
use crate::image::{Behaviour, Image};
use crate::signed::{ROLE, Setup};
use crate::stock::{StockConfig, StockNode, StockReceiverConfig};
use crate::update::Driver;

/// Pause before the first redial, and the longest, as in `meshward-gateway`.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A link that lived this long was a good one: the next pause is short again.
const GOOD_LINK: Duration = Duration::from_secs(5);

/// Which program a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A node of ours.
    Meshward,
    /// The unmodified C++ node, whose sketch sleeps this long in each pass of its loop.
    Stock(Duration),
}

/// How a host takes firmware.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// Which images it takes.
    pub role: String,
    /// `ESP32` or `ESP8266`.
    pub hardware: String,
    /// What it leaves the factory with.
    pub image: Arc<Image>,
    /// It takes only what was signed for a board like this; by the stock protocol, whatever fits, when `None`.
    pub signed: Option<Arc<Setup>>,
}

/// What a host is.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// Its id in the mesh.
    pub id: NodeId,
    /// What runs on it.
    pub program: Program,
    /// Whether it calls itself the root.
    pub root: bool,
    /// Whom it dials.
    pub parent: Option<Seat>,
    /// How it takes firmware, if it does.
    pub firmware: Option<Firmware>,
    /// What a node of ours tells about itself, and to whom; nothing when `None`.
    pub telemetry: Option<telemetry::Config>,
    /// Bounds of a node of ours.
    pub limits: Limits,
    /// From a reset to the start of the program.
    pub boot_time: Duration,
}

impl HostSpec {
    /// A node of ours without firmware.
    pub fn node(id: u32, parent: Option<Seat>) -> Self {
        Self {
            id: NodeId(id),
            program: Program::Meshward,
            root: false,
            parent,
            firmware: None,
            telemetry: None,
            limits: Limits::NODE,
            boot_time: Duration::from_millis(800),
        }
    }

    /// The unmodified C++ node, without firmware.
    pub fn stock(id: u32, parent: Option<Seat>) -> Self {
        Self { program: Program::Stock(Duration::ZERO), ..Self::node(id, parent) }
    }

    /// The same host, which tells about itself what its chip would measure.
    #[must_use]
    pub fn with_telemetry(self, config: telemetry::Config) -> Self {
        Self { telemetry: Some(config), ..self }
    }

    /// The same host with firmware of this role.
    #[must_use]
    pub fn with_firmware(mut self, role: &str, image: &Arc<Image>) -> Self {
        let (role, hardware) = (role.to_owned(), "ESP32".to_owned());
        self.firmware = Some(Firmware { role, hardware, image: Arc::clone(image), signed: None });
        self
    }

    /// The same host with firmware that takes only signed updates.
    #[must_use]
    pub fn with_signed_firmware(self, setup: &Arc<Setup>, image: &Arc<Image>) -> Self {
        let mut spec = self.with_firmware(ROLE, image);
        spec.firmware.iter_mut().for_each(|firmware| firmware.signed = Some(Arc::clone(setup)));
        spec
    }
}

/// The way to a parent.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    /// Tells a newer wish from an older.
    pub(super) wish: u32,
    pub(super) wire: Option<WireId>,
    pause: Duration,
}

impl Dial {
    /// A link to the parent has ended after `lived`, or never stood: how long to wait.
    pub(super) fn again(&mut self, lived: Duration, rng: &mut Rng) -> Duration {
        self.wire = None;
        if lived >= GOOD_LINK {
            self.pause = PAUSE_MIN;
        }
        // From half to one and a half times the pause, so that a whole branch does not dial in step.
        let pause = self.pause.as_micros();
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        Duration::from_micros(pause / 2 + rng.below(pause))
    }

    pub(super) fn afresh(&mut self) {
        *self = Self { wish: self.wish + 1, wire: None, pause: PAUSE_MIN };
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) spec: HostSpec,
    pub(super) chip: Option<Chip>,
    pub(super) layout: Layout,
    pub(super) books: Books,
    /// The program, while it runs.
    pub(super) machine: Option<Machine>,
    /// Power is on, though the program may not have started yet.
    pub(super) powered: bool,
    pub(super) life: Life,
    /// The world's time at the program's start: its own clock began then.
    pub(super) born: Instant,
    pub(super) boots: u32,
    /// What the boot loader started last.
    pub(super) running: Option<BootRecord>,
    /// What counted then: the same unless `running` was on trial.
    pub(super) committed: Option<BootRecord>,
    /// Why it went down last.
    pub(super) reset: ResetReason,
    pub(super) behaviour: Behaviour,
    pub(super) links: BTreeMap<LinkId, (WireId, usize)>,
    pub(super) dial: Dial,
    /// The earliest wake-up that is planned.
    pub(super) wake: Option<Instant>,
    /// The flash command under way.
    pub(super) flash_op: Option<FlashOp>,
    /// [`Machine::output_mark`] when the links were last looked at.
    pub(super) mark: Option<u64>,
    /// What a stock node's `/ota_fw.json` says.
    pub(super) md5_file: Vec<u8>,
    /// Partitioned hosts of one zone hear each other.
    pub(super) zone: u8,
    /// The signed update that a gateway's service on this host brings.
    pub(super) driver: Option<Driver>,
    /// What its chip measures.
    pub(super) vitals: Vitals,
    /// The fleet that a gateway's service on this host keeps.
    pub(super) watcher: Option<Box<Watcher>>,
    /// The deployments that a gateway's service on this host runs.
    pub(super) deployments: Vec<Deployment>,
    /// The most bytes that waited on one link, at any look.
    pub(super) queued_max: usize,
    /// The most bytes that it held at once for all its links, and of firmware alone.
    pub(super) held_max: (usize, usize),
    pub(super) rng: Rng,
}

impl Host {
    pub(super) fn new(spec: HostSpec, rng: Rng) -> Self {
        let setup = spec.firmware.as_ref().and_then(|firmware| firmware.signed.as_ref());
        let (layout, books) = setup
            .map_or((Layout::FOUR_MEGABYTES, Books::FOUR_MEGABYTES), |setup| (setup.layout, setup.books));
        let chip = spec.firmware.as_ref().map(|firmware| {
            let mut chip = Chip::erased(layout.size);
            firmware.image.provision(&mut chip, &layout);
            setup.iter().for_each(|setup| setup.provision(&mut chip));
            chip
        });
        Self {
            vitals: Vitals::of(spec.id),
            spec,
            chip,
            layout,
            books,
            machine: None,
            powered: false,
            life: 0,
            born: Instant::ORIGIN,
            boots: 0,
            running: None,
            committed: None,
            reset: ResetReason::PowerOn,
            behaviour: Behaviour::Healthy,
            links: BTreeMap::new(),
            dial: Dial { wish: 0, wire: None, pause: PAUSE_MIN },
            wake: None,
            flash_op: None,
            mark: None,
            md5_file: Vec::new(),
            zone: 0,
            driver: None,
            watcher: None,
            deployments: Vec::new(),
            queued_max: 0,
            held_max: (0, 0),
            rng,
        }
    }

    /// The time on the host's own clock, which starts at each boot.
    pub(super) fn local(&self, now: Instant) -> Instant {
        Instant::ORIGIN + now.since(self.born)
    }

    /// The world's time when the host's clock shows `local`.
    pub(super) fn global(&self, local: Instant) -> Instant {
        self.born + local.since(Instant::ORIGIN)
    }

    /// Whether its program lets it take part in a mesh.
    pub(super) fn can_join(&self) -> bool {
        self.machine.is_some() && self.behaviour != Behaviour::CannotJoin
    }

    /// The receiver of a host that takes only signed updates.
    fn signed_receiver(&self) -> Option<meshward_core::node::Firmware> {
        let firmware = self.spec.firmware.as_ref()?;
        let (setup, chip) = (firmware.signed.as_ref()?, self.chip.as_ref()?);
        let choice = Choice { write: None, start: self.running?, committed: self.committed? };
        let config = setup.receiver(self.spec.id, &firmware.role, chip, &choice, self.reset);
        Some(meshward_core::node::Firmware::Signed(Box::new(config)))
    }

    /// Makes the program for the boot loader's choice.
    pub(super) fn make_machine(&mut self) -> Machine {
        let spec = &self.spec;
        let mesh = MeshConfig {
            root: spec.root,
            limits: spec.limits.clone(),
            ..MeshConfig::node(spec.id, self.rng.next_u64())
        };
        let receiver = spec.firmware.as_ref().map(|firmware| ReceiverConfig {
            id: spec.id,
            role: firmware.role.clone().into_bytes(),
            hardware: firmware.hardware.clone().into_bytes(),
            root: spec.root,
            layout: self.layout,
            running: self.running,
        });
        match spec.program {
            Program::Meshward => {
                let stock = || receiver.map(meshward_core::node::Firmware::Stock);
                let firmware = self.signed_receiver().or_else(stock);
                let config = NodeConfig::new(mesh).with_firmware(firmware);
                let config = NodeConfig { telemetry: spec.telemetry.clone(), ..config };
                Machine::Node(Box::new(Node::new(config)))
            }
            Program::Stock(loop_delay) => {
                let receiver = receiver.map(|receiver| StockReceiverConfig {
                    role: receiver.role,
                    hardware: receiver.hardware,
                    current_md5: self.md5_file.clone(),
                    slot_bytes: self.layout.slot(Slot::B).len as usize,
                });
                let config = StockConfig { mesh, receiver, loop_delay, loop_lag: 1 };
                Machine::Stock(Box::new(StockNode::new(config)), loop_delay > Duration::ZERO)
            }
        }
    }
}
