//! `meshward firmware …`: keys, manifests, images and payloads as files, without a gateway or a mesh; and images at a
//! gateway (`offer`).

pub(crate) mod inspect;
pub(crate) mod keygen;
mod offer;
mod pack;
pub(crate) mod sign;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meshward_core::codec::Codec;
use meshward_fleet::firmware;
use meshward_fleet::payload::Payload;

/// Commands for firmware files.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key: a pair for signing, or a group's.
    Keygen(keygen::Args),
    /// Sign an image: write its manifest.
    Sign(sign::Args),
    /// Show what an image is, and how small it travels.
    Inspect(inspect::Args),
    /// Write the payload of a whole image, for nodes that run anything.
    Pack(pack::WholeArgs),
    /// Write the payload that turns one image into another.
    Delta(pack::PatchArgs),
    /// Give the gateway an image, and its manifest if there is one.
    Add(offer::AddArgs),
    /// List the images that the gateway has.
    List(offer::ListArgs),
    /// Give the gateway each new build as soon as the compiler has written it, and roll it out if that is wanted.
    Watch(offer::WatchArgs),
}

/// Whether what was asked for has been done.
pub(crate) async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Keygen(args) => keygen::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Pack(args) => pack::whole(&args),
        Command::Delta(args) => pack::patch(&args),
        Command::Add(args) => offer::add(args).await,
        Command::List(args) => offer::list(args).await,
        Command::Watch(args) => offer::watch(args).await,
    }
}

/// Who may read a file that is written.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    Everybody,
    Owner,
}

/// Reads an image from a `.bin` or `.bin.gz` file.
pub(crate) fn read_image(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = std::fs::read(path).with_context(|| format!("cannot read the image {}", path.display()))?;
    let image = firmware::plain(&file).with_context(|| path.display().to_string())?;
    anyhow::ensure!(!image.is_empty(), "the image {} is empty", path.display());
    Ok(image.into_owned())
}

/// Refuses to write over a file, unless that is wanted.
fn ensure_new(path: &Path, force: bool) -> anyhow::Result<()> {
    let taken = path.symlink_metadata().is_ok();
    anyhow::ensure!(force || !taken, "{} is there already: --force replaces it", path.display());
    Ok(())
}

/// Writes a file that is not there, or that is to be replaced: beside it first, so that there is always a
/// whole one, and nobody else can read a secret for even a moment.
pub(crate) fn write_file(path: &Path, bytes: &[u8], force: bool, readers: Readers) -> anyhow::Result<()> {
    ensure_new(path, force)?;
    let beside = with_suffix(path, &format!(".{}.new", std::process::id()));
    let cannot = || format!("cannot write {}", path.display());
    let mode = match readers {
        Readers::Everybody => 0o644,
        Readers::Owner => 0o600,
    };
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).with_context(cannot)?;
    let moved = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| {
        if force { std::fs::rename(&beside, path) } else { std::fs::hard_link(&beside, path) }
    });
    if !force || moved.is_err() {
        // What could not be removed is only left over.
        drop(std::fs::remove_file(&beside));
    }
    moved.with_context(cannot)
}

/// `node.bin` with `.manifest` is `node.bin.manifest`.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A codec, as it is named on the command line.
#[derive(Clone, Copy, clap::ValueEnum)]
enum CodecArg {
    /// As it is.
    None,
    /// For nodes short of memory.
    Heatshrink,
    /// The smallest.
    Lzma,
}

impl From<CodecArg> for Codec {
    fn from(codec: CodecArg) -> Self {
        match codec {
            CodecArg::None => Self::None,
            CodecArg::Heatshrink => Self::Heatshrink,
            CodecArg::Lzma => Self::Lzma,
        }
    }
}

/// A payload's length in percent of the image's.
fn percent(payload: &Payload) -> String {
    format!("{:.1} %", payload.ratio() * 100.0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
