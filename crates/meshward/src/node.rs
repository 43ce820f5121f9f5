//! `meshward node`: one real node on this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use meshward_core::flash::{Books, Layout};
use meshward_core::mesh::MeshConfig;
use meshward_core::ota::trial::TrialRules;
use meshward_core::ota::trust::GroupKeys;
use meshward_core::telemetry;
use meshward_core::wire::NodeId;
use meshward_gateway::boot;
use meshward_gateway::flash_file::FlashFile;
use meshward_gateway::host::{self, FirmwareConfig, HostConfig, HostStatus, Manner, SignedConfig};
use meshward_gateway::peer::Peer;
use meshward_gateway::shell::{ShellConfig, Traffic};
use tokio::sync::watch;

use crate::capture::Capture;
use crate::firmware::inspect::read_keys;
use crate::{machine, shutdown};

/// Options of `meshward node`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node's id: on an ESP the last four bytes of its MAC.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    id: u32,
    /// Accept neighbours on this address; port 0 takes a free one, which is printed.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Dial this neighbour: HOST:PORT, HOST (port 5555), or auto.
    #[arg(long, value_name = "PEER")]
    connect: Option<Peer>,
    /// Which images the node takes; needs --flash.
    #[arg(long, requires = "flash")]
    role: Option<String>,
    /// The hardware it says it is: ESP32 or ESP8266.
    #[arg(long, default_value = "ESP32", value_parser = ["ESP32", "ESP8266"])]
    hardware: String,
    /// The file that is its 4 MB flash chip; made, erased, when it is not there.
    #[arg(long, value_name = "FILE", requires = "role")]
    flash: Option<PathBuf>,
    /// Put this image on a flash chip that has none, as a factory would.
    #[arg(long, value_name = "FILE", requires = "flash")]
    image: Option<PathBuf>,
    /// The public key of an author, an operator or a recovery key, from `meshward firmware keygen`; several times. The
    /// chip is given them once, as a factory would, and the node takes what they sign and nothing else from then on.
    #[arg(long = "key", value_name = "FILE", requires = "flash")]
    keys: Vec<PathBuf>,
    /// Call this node the root of the mesh.
    #[arg(long)]
    root: bool,
    /// Write all that passes over this node's links to this file; `meshward capture ladder` shows it.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    anyhow::ensure!(
        args.listen.is_some() || args.connect.is_some(),
        "the node has no links: give it --listen ADDRESS:PORT, --connect HOST:PORT, or both"
    );
    let layout = Layout::FOUR_MEGABYTES;
    if let (Some(flash), Some(image)) = (&args.flash, &args.image) {
        provision(flash, image, &layout)?;
    }
    let manner = args.flash.as_deref().map(|flash| manner(flash, &args.keys, &layout)).transpose()?;
    let capture = args.capture.as_deref().map(Capture::start).transpose()?;
    let id = NodeId(args.id);
    let firmware = args.flash.zip(args.role).zip(manner).map(|((flash, role), manner)| FirmwareConfig {
        role,
        hardware: args.hardware,
        flash,
        layout,
        manner,
    });
    let config = HostConfig {
        mesh: MeshConfig { root: args.root, ..MeshConfig::node(id, u64::from(args.id)) },
        shell: ShellConfig {
            listen: args.listen,
            dial: args.connect.into_iter().collect(),
            shape: None,
            seed: u64::from(args.id),
            tap: capture.as_ref().map(Capture::tap),
        },
        firmware,
        telemetry: Some(telemetry::Config::default()),
        // What a capture holds can be replayed; a thermometer is not in it.
        sensors: capture.is_none().then(machine::sensors),
        boot_time: Duration::from_millis(300),
    };
    let (status, mut changes) = watch::channel(HostStatus::default());
    let (stop, stopped) = watch::channel(false);
    let host = tokio::spawn(host::run(config, Arc::new(Traffic::default()), status, stopped));
    let say = tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            announce(id, &changes.borrow_and_update());
        }
    });
    let stop_on_signal = tokio::spawn(async move {
        shutdown::requested().await;
        stop.send_replace(true);
    });
    host.await.context("the node ended abnormally")??;
    stop_on_signal.abort();
    say.await.context("the console ended abnormally")?;
    if let Some(capture) = capture {
        capture.finish().await?;
    }
    Ok(true)
}

/// One line per boot, on standard output, for people and scripts.
fn announce(id: NodeId, status: &HostStatus) {
    let listen = status.listen.map_or_else(|| "no port".to_owned(), |address| address.to_string());
    let image = match status.running {
        Some(record) => format!("image {} ({} bytes, {:?})", record.md5, record.size, record.slot),
        None => "no image".to_owned(),
    };
    println!("node {id}: boot {}, listening on {listen}, {image}", status.boots);
}

/// Whose updates the node takes: those of the keys that its chip has been given, now or before.
fn manner(flash: &Path, keys: &[PathBuf], layout: &Layout) -> anyhow::Result<Manner> {
    let books = Books::FOUR_MEGABYTES;
    let store = read_keys(keys)?;
    let chip = FlashFile::open(flash, layout.size)?;
    if !keys.is_empty() {
        boot::provision_keys(&chip, &books, &store)?;
    }
    Ok(if boot::has_keys(&chip, &books)? {
        let (group_keys, rules) = (GroupKeys::default(), TrialRules::default());
        Manner::Signed(SignedConfig { books, group_keys, rules, faulty: Vec::new() })
    } else {
        Manner::Stock { books: Some(books) }
    })
}

fn provision(flash: &Path, image: &Path, layout: &Layout) -> anyhow::Result<()> {
    let chip = FlashFile::open(flash, layout.size)?;
    if boot::select(&chip, layout)?.is_some() {
        return Ok(());
    }
    let bytes = std::fs::read(image).with_context(|| format!("cannot read the image {}", image.display()))?;
    anyhow::ensure!(!bytes.is_empty(), "the image {} is empty", image.display());
    let slot = layout.slots[0].len as usize;
    anyhow::ensure!(
        bytes.len() <= slot,
        "the image {} has {} bytes and a slot holds {slot}",
        image.display(),
        bytes.len()
    );
    boot::provision(&chip, layout, &bytes)?;
    Ok(())
}
