//! A whole node on this machine: boot loader, node, restarts.
//!
//! [`run`] does that for a [`Node`] of ours, [`run_machine`] for anything that a shell can drive.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use meshward_core::flash::{Books, Layout};
use meshward_core::hash::Md5Sum;
use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Firmware, Node, NodeConfig};
use meshward_core::ota::exchange::ExchangeEvent;
use meshward_core::ota::receiver;
use meshward_core::ota::trial::{Choice, ResetReason, TrialRules};
use meshward_core::ota::trust::GroupKeys;
use meshward_core::ota::{BootRecord, ReceiverConfig, ReceiverEvent};
use meshward_core::telemetry::{self, Metric};
use meshward_core::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::watch;

use crate::boot;
use crate::flash_file::{FlashError, FlashFile};
use crate::shell::{Application, Clock, Exit, Shell, ShellConfig, Traffic};

/// The Meshward protocol that these nodes speak.
const PROTOCOL: (u16, u16) = (1, 1);

/// Between two looks at a node's sensors.
pub const SENSORS_EVERY: Duration = Duration::from_secs(5);

/// Whose updates a node takes.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Anybody's, by the stock protocol, as C++ nodes do.
    Stock {
        /// The books beside the layout, if the boot loader is to know trials.
        books: Option<Books>,
    },
    /// What those have signed whose keys are on the chip: see [`boot::provision_keys`].
    Signed(SignedConfig),
}

impl Manner {
    const fn books(&self) -> Option<&Books> {
        match self {
            Self::Stock { books } => books.as_ref(),
            Self::Signed(signed) => Some(&signed.books),
        }
    }
}

/// How a node takes signed updates.
#[derive(Clone, Debug)]
pub struct SignedConfig {
    /// The books beside the layout.
    pub books: Books,
    /// What it can open of sealed payloads.
    pub group_keys: GroupKeys,
    /// How long trials take, unless a policy says otherwise.
    pub rules: TrialRules,
    /// Images that fail their self-test: none is executed here, so this is how one is bad.
    pub faulty: Vec<Md5Sum>,
}

/// How a node takes firmware.
#[derive(Clone, Debug)]
pub struct FirmwareConfig {
    /// Which images it takes.
    pub role: String,
    /// `ESP32` or `ESP8266`.
    pub hardware: String,
    /// The file that is its flash chip.
    pub flash: PathBuf,
    /// The board's layout.
    pub layout: Layout,
    /// Whose updates it takes.
    pub manner: Manner,
}

/// Reads the metrics of a node that are measured outside of it, in their whole numbers ([`Metric::decimals`]).
#[derive(Clone)]
pub struct Sensors(Arc<dyn Fn() -> Vec<(Metric, i64)> + Send + Sync>);

impl Sensors {
    /// Read so, every [`SENSORS_EVERY`]. Whatever reads must not wait: it is called in the node's task.
    pub fn new(read: impl Fn() -> Vec<(Metric, i64)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl core::fmt::Debug for Sensors {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sensors")
    }
}

/// A node on this machine.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its membership of the mesh.
    pub mesh: MeshConfig,
    /// Its links.
    pub shell: ShellConfig,
    /// How it takes firmware, if it does.
    pub firmware: Option<FirmwareConfig>,
    /// What it tells about itself, and to whom, if it does; the image's MD5 is filled in.
    pub telemetry: Option<telemetry::Config>,
    /// What it cannot know by itself.
    pub sensors: Option<Sensors>,
    /// How long a restart takes.
    pub boot_time: std::time::Duration,
}

/// Why a node could not run.
#[derive(Debug, Error)]
pub enum HostError {
    /// Its flash.
    #[error("the node's flash cannot be used")]
    Flash(#[from] FlashError),
    /// Its port.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
}

/// What a host says about its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostStatus {
    /// How often it has booted.
    pub boots: u32,
    /// What it runs; `None` without a valid image.
    pub running: Option<BootRecord>,
    /// Where it accepts neighbours, once it is up.
    pub listen: Option<SocketAddr>,
    /// When a signed update was installed last.
    pub ready: Option<SystemTime>,
}

/// Logs what a person at the node's console would want to see, publishes when an update is installed, and reads the
/// sensors.
#[derive(Debug)]
struct Console {
    status: watch::Sender<HostStatus>,
    sensors: Option<Sensors>,
    /// When they are read next.
    due: Instant,
}

impl Application for Console {
    type Machine = Node;

    fn on_event(&mut self, now: Instant, node: &mut Node, event: &Event) {
        let id = node.id();
        match event {
            Event::Mesh(event) => tracing::debug!(node = %id, ?event),
            Event::Message { from, text, .. } => {
                tracing::info!(node = %id, %from, text = %String::from_utf8_lossy(text), "message");
            }
            Event::Package { envelope, .. } => tracing::debug!(node = %id, kind = envelope.kind, "package"),
            Event::Update(ReceiverEvent::Failed(error)) => {
                tracing::warn!(node = %id, %error, "update failed")
            }
            Event::Update(event) => tracing::info!(node = %id, ?event, "update"),
            Event::Rollout(event) => tracing::debug!(node = %id, ?event),
            Event::Exchange(ExchangeEvent::Receiver(receiver::Event::Failed(failure))) => {
                tracing::warn!(node = %id, %failure, "update failed");
            }
            Event::Exchange(ExchangeEvent::Receiver(event)) => {
                tracing::info!(node = %id, ?event, "update");
                if matches!(event, receiver::Event::Ready(_)) {
                    self.status.send_modify(|status| status.ready = Some(SystemTime::now()));
                }
            }
            Event::Exchange(event) => tracing::debug!(node = %id, ?event),
            Event::Telemetry(telemetry::Event::Command(command)) => {
                tracing::info!(node = %id, from = %command.from, code = command.code.number(), "unknown command");
                node.answer_command(now, command, "this node does not know that command");
            }
            Event::Telemetry(event) => tracing::info!(node = %id, ?event, "telemetry"),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.sensors.as_ref().map(|_| self.due)
    }

    fn handle_timeout(&mut self, now: Instant, node: &mut Node) {
        if let Some(Sensors(read)) = self.sensors.as_ref().filter(|_| self.due <= now) {
            self.due = now + SENSORS_EVERY;
            for (metric, value) in read() {
                node.set_metric(now, metric, value);
            }
        }
    }
}

/// What a boot loader has started.
#[derive(Debug)]
pub struct Booted<A: Application> {
    /// The program.
    pub machine: A::Machine,
    /// What runs beside it.
    pub app: A,
    /// The chip on which the machine's flash commands are executed.
    pub flash: Option<FlashFile>,
    /// The image that it is.
    pub running: Option<BootRecord>,
}

/// Boots and runs a node, again after every restart, until `shutdown` changes. Its state is published to
/// `status`.
///
/// # Errors
/// [`HostError`] when its flash or its port cannot be had.
pub async fn run(
    config: HostConfig,
    traffic: Arc<Traffic>,
    status: watch::Sender<HostStatus>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let HostConfig { mesh, shell, firmware, telemetry, sensors, boot_time } = config;
    let tap = shell.tap.clone();
    let console = status.clone();
    // Whatever ended the program before this one, the power came.
    let mut reset = ResetReason::PowerOn;
    let boot = move |now| {
        let reset = core::mem::replace(&mut reset, ResetReason::Software);
        let (flash, choice) = match &firmware {
            Some(firmware) => {
                let flash = FlashFile::open(&firmware.flash, firmware.layout.size)?.remembering();
                let choice = boot::boot(&flash, &firmware.layout, firmware.manner.books())?;
                (Some(flash), choice)
            }
            None => (None, None),
        };
        let receiver = match (&firmware, &flash) {
            (Some(firmware), Some(flash)) => receiver(firmware, flash, choice.as_ref(), &mesh, reset)?,
            _ => None,
        };
        if let Some(tap) = &tap {
            tap.booted(now, &mesh);
        }
        let passes = choice.as_ref().zip(firmware.as_ref()).is_none_or(|(choice, firmware)| {
            !matches!(&firmware.manner, Manner::Signed(signed) if signed.faulty.contains(&choice.start.md5))
        });
        let signed = matches!(receiver, Some(Firmware::Signed(_)));
        let md5 = choice.as_ref().map(|choice| choice.start.md5.to_string());
        let telemetry = telemetry.clone().map(|mut config| {
            config.identity.md5 = md5.unwrap_or(config.identity.md5);
            config
        });
        let config = NodeConfig { telemetry, ..NodeConfig::new(mesh.clone()).with_firmware(receiver) };
        let mut machine = Node::new(config);
        if signed {
            machine.handle_self_test(now, passes);
        }
        let app = Console { status: console.clone(), sensors: sensors.clone(), due: now };
        Ok(Booted { machine, app, flash, running: choice.map(|choice| choice.start) })
    };
    run_machine(shell, boot_time, traffic, status, shutdown, boot).await
}

/// How a node that was booted takes firmware.
fn receiver(
    config: &FirmwareConfig,
    flash: &FlashFile,
    choice: Option<&Choice>,
    mesh: &MeshConfig,
    reset: ResetReason,
) -> Result<Option<Firmware>, FlashError> {
    let FirmwareConfig { role, hardware, layout, .. } = config;
    let (id, layout) = (mesh.id, *layout);
    match (&config.manner, choice) {
        (Manner::Stock { .. }, choice) => Ok(Some(Firmware::Stock(ReceiverConfig {
            id,
            role: role.clone().into_bytes(),
            hardware: hardware.clone().into_bytes(),
            root: mesh.root,
            layout,
            running: choice.map(|choice| choice.start),
        }))),
        (Manner::Signed(_), None) => {
            tracing::warn!(node = %id, "the chip has no valid image: the node takes no updates");
            Ok(None)
        }
        (Manner::Signed(signed), Some(choice)) => {
            let previous = boot::previous(flash, &layout, &choice.committed)?;
            Ok(Some(Firmware::Signed(Box::new(receiver::Config {
                id,
                hardware: hardware.clone(),
                role: role.clone(),
                protocol: PROTOCOL,
                chip: None,
                layout,
                books: signed.books,
                running: choice.start,
                committed: choice.committed,
                previous,
                reset,
                group_keys: signed.group_keys.clone(),
                rollback: true,
                rules: signed.rules,
                supply_least: None,
            }))))
        }
    }
}

/// As [`run`], for whatever `boot` makes each time. `boot_time` is how long a restart takes.
///
/// # Errors
/// [`HostError`] when the port cannot be had, or from `boot`.
pub async fn run_machine<A: Application>(
    mut config: ShellConfig,
    boot_time: std::time::Duration,
    traffic: Arc<Traffic>,
    status: watch::Sender<HostStatus>,
    mut shutdown: watch::Receiver<bool>,
    mut boot: impl FnMut(Instant) -> Result<Booted<A>, HostError>,
) -> Result<(), HostError> {
    let clock = Clock::start();
    loop {
        let Booted { machine, app, flash, running } = boot(clock.now())?;
        let bound = Shell::bind(config.clone(), machine, app, flash, clock, Arc::clone(&traffic)).await;
        let (shell, _handle) = bound.map_err(|source| HostError::Listen {
            address: config.listen.map_or_else(String::new, |address| address.to_string()),
            source,
        })?;
        // A port that was free at the first boot is this node's for good.
        config.listen = shell.local_addr();
        let listen = config.listen;
        status.send_modify(|status| {
            *status = HostStatus { boots: status.boots + 1, running, listen, ..*status }
        });
        let mut stop = shutdown.clone();
        // An error means that nobody can ask for a shutdown any more, which is one.
        let exit = shell.run(async move { drop(stop.wait_for(|stop| *stop).await) }).await;
        if exit == Exit::Shutdown {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(boot_time) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
        }
        config.seed = config.seed.wrapping_add(1);
    }
}
