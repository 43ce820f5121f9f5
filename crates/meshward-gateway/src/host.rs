//! A whole node on this machine: boot loader, node, restarts.
//!
//! [`run`] does that for a [`Node`] of ours, [`run_machine`] for anything that a shell can drive.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use meshward_core::flash::{Books, Layout};
use meshward_core::mesh::MeshConfig;
use meshward_core::node::{Event, Firmware, Node, NodeConfig};
use meshward_core::ota::{BootRecord, ReceiverConfig, ReceiverEvent};
use meshward_core::time::Instant;
use thiserror::Error;
use tokio::sync::watch;

use crate::boot;
use crate::flash_file::{FlashError, FlashFile};
use crate::shell::{Application, Clock, Exit, Shell, ShellConfig, Traffic};

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
    /// The books beside it, if the boot loader is to know trials.
    pub books: Option<Books>,
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
}

/// Logs what a person at the node's console would want to see.
#[derive(Debug)]
struct Console;

impl Application for Console {
    type Machine = Node;

    fn on_event(&mut self, _now: Instant, node: &mut Node, event: &Event) {
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
            Event::Exchange(event) => tracing::debug!(node = %id, ?event),
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
    let HostConfig { mesh, shell, firmware, boot_time } = config;
    let tap = shell.tap.clone();
    let boot = move |now| {
        let (flash, running) = match &firmware {
            Some(firmware) => {
                let flash = FlashFile::open(&firmware.flash, firmware.layout.size)?;
                let choice = boot::boot(&flash, &firmware.layout, firmware.books.as_ref())?;
                let running = choice.map(|choice| choice.start);
                (Some(flash), running)
            }
            None => (None, None),
        };
        let receiver = firmware.as_ref().map(|firmware| ReceiverConfig {
            id: mesh.id,
            role: firmware.role.clone().into_bytes(),
            hardware: firmware.hardware.clone().into_bytes(),
            root: mesh.root,
            layout: firmware.layout,
            running,
        });
        if let Some(tap) = &tap {
            tap.booted(now, &mesh);
        }
        let firmware = receiver.map(Firmware::Stock);
        let machine = Node::new(NodeConfig { mesh: mesh.clone(), firmware });
        Ok(Booted { machine, app: Console, flash, running })
    };
    run_machine(shell, boot_time, traffic, status, shutdown, boot).await
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
        status.send_modify(|status| *status = HostStatus { boots: status.boots + 1, running, listen });
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
