//! Nodes of the demonstration that behave as the unmodified C++ library does: the simulator's executable model
//! of it, driven over real sockets.
//!
//! The model has no flash of its own; here its images go into a flash file as the library's go into a
//! partition, so that the same proof by hashing holds for all nodes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meshward_core::flash::{Completion, FlashOp, Layout, Slot};
use meshward_core::mesh::{LinkId, LinkRole, MeshConfig, Outgoing};
use meshward_core::time::Instant;
use meshward_gateway::boot;
use meshward_gateway::flash_file::FlashFile;
use meshward_gateway::host::{self, Booted, HostError, HostStatus};
use meshward_gateway::shell::{Application, Machine, ShellConfig, Traffic};
use meshward_sim::stock::{StockConfig, StockEvent, StockNode, StockReceiverConfig};
use tokio::sync::watch;

/// A stock node as a shell drives it.
#[derive(Debug)]
pub(super) struct StockMachine(StockNode);

impl Machine for StockMachine {
    type Event = StockEvent;

    fn handle_link_up(&mut self, now: Instant, role: LinkRole) -> Option<LinkId> {
        self.0.handle_link_up(now, role)
    }

    fn handle_link_down(&mut self, now: Instant, link: LinkId) {
        self.0.handle_link_down(now, link);
    }

    fn handle_data(&mut self, now: Instant, link: LinkId, data: &[u8]) {
        self.0.handle_data(now, link, data);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn handle_flash(&mut self, now: Instant, completion: Completion<'_>) {
        self.0.handle_flash(now, completion);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout().map(|(due, _)| due)
    }

    fn poll_flash(&mut self) -> Option<FlashOp> {
        self.0.poll_flash()
    }

    fn poll_event(&mut self) -> Option<StockEvent> {
        self.0.poll_event()
    }

    fn outgoing(&self, link: LinkId) -> Outgoing<'_> {
        self.0.outgoing(link)
    }

    fn sent(&mut self, link: LinkId, count: usize) {
        self.0.sent(link, count);
    }

    fn is_restart(event: &StockEvent) -> bool {
        *event == StockEvent::Restart
    }
}

/// The sketch around the library: puts what the library installs where the boot loader finds it.
#[derive(Debug)]
struct Sketch {
    flash: FlashFile,
    layout: Layout,
}

impl Application for Sketch {
    type Machine = StockMachine;

    fn on_event(&mut self, _now: Instant, node: &mut StockMachine, event: &StockEvent) {
        if let StockEvent::Installed { image, .. } = event
            && let Err(error) = boot::install(&self.flash, &self.layout, image)
        {
            tracing::error!(node = %node.0.id(), %error, "cannot write the flash file");
        }
    }
}

/// A stock node on this machine.
#[derive(Clone)]
pub(super) struct StockHost {
    pub(super) mesh: MeshConfig,
    pub(super) shell: ShellConfig,
    pub(super) role: String,
    pub(super) hardware: String,
    pub(super) flash: PathBuf,
    pub(super) layout: Layout,
    pub(super) boot_time: Duration,
}

/// As [`host::run`], for a stock node.
pub(super) async fn run(
    config: StockHost,
    traffic: Arc<Traffic>,
    status: watch::Sender<HostStatus>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let StockHost { mesh, shell, role, hardware, flash, layout, boot_time } = config;
    let boot = move |_now| {
        let flash = FlashFile::open(&flash, layout.size)?;
        let running = boot::select(&flash, &layout)?;
        // The library writes the file with the MD5 when it installs; a node from the factory has none.
        let updated = running.filter(|record| record.sequence > 1);
        let receiver = StockReceiverConfig {
            role: role.clone().into_bytes(),
            hardware: hardware.clone().into_bytes(),
            current_md5: updated.map_or_else(Vec::new, |record| record.md5.to_string().into_bytes()),
            slot_bytes: layout.slot(Slot::B).len as usize,
        };
        let config = StockConfig {
            mesh: mesh.clone(),
            receiver: Some(receiver),
            loop_delay: meshward_core::time::Duration::ZERO,
            loop_lag: 1,
        };
        let machine = StockMachine(StockNode::new(config));
        Ok(Booted { machine, app: Sketch { flash, layout }, flash: None, running })
    };
    host::run_machine(shell, boot_time, traffic, status, shutdown, boot).await
}
