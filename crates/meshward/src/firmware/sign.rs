//! `meshward firmware sign`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use meshward_core::hash::Sha256Sum;
use meshward_core::ota::trust::{KeyId, KeyStore, Manifest, TEXT_MAX};
use meshward_core::time::UnixTime;
use meshward_fleet::firmware::{self, IMAGE_MAX, ImageInfo};
use meshward_fleet::signing::SigningKey;

use super::{Readers, read_image, with_suffix, write_file};

/// Options of `meshward firmware sign`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image: a .bin or .bin.gz file.
    image: PathBuf,
    /// An author's secret key, from `meshward firmware keygen`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The role of the nodes that it is for.
    #[arg(long, value_parser = text)]
    role: String,
    /// The nodes' hardware; ESP32 covers every chip of that family.
    #[arg(long, default_value = "ESP32", value_parser = ["ESP32", "ESP8266"])]
    hardware: String,
    /// Rises with every release; nodes take no image whose sequence is not above their own.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    sequence: u64,
    /// What people call this version, if the image does not say so itself.
    #[arg(long, value_name = "VERSION", value_parser = text)]
    image_version: Option<String>,
    /// The Meshward protocol versions that it speaks: LOWEST-HIGHEST.
    #[arg(long, default_value = "1-1", value_name = "RANGE", value_parser = range)]
    protocol: (u16, u16),
    /// Until when nodes may take it, such as 2030-12-31T00:00:00Z; for ever without this.
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_after: Option<UnixTime>,
    /// Where the manifest goes; without this beside the image, with `.manifest` at the end.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a manifest that is there.
    #[arg(long)]
    force: bool,
}

pub(crate) fn text(text: &str) -> Result<String, String> {
    let sound = (1..=TEXT_MAX).contains(&text.len());
    sound
        .then(|| text.to_owned())
        .ok_or_else(|| format!("1 to {TEXT_MAX} bytes, and this has {}", text.len()))
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let parse = || {
        let (low, high) = text.split_once('-')?;
        Some((low.parse().ok()?, high.parse().ok()?)).filter(|(low, high): &(u16, u16)| low <= high)
    };
    parse().ok_or_else(|| "LOWEST-HIGHEST, such as 1-1".to_owned())
}

fn time(text: &str) -> Result<UnixTime, String> {
    let time = text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_second()).ok());
    time.map(UnixTime).ok_or_else(|| "a time after 1970 such as 2030-12-31T00:00:00Z".to_owned())
}

/// Reads a secret key.
pub(crate) fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the key {}", path.display()))?;
    SigningKey::from_text(&text).with_context(|| path.display().to_string())
}

/// What an author says of an image beside what the image says itself.
pub(crate) struct Release {
    /// The role of the nodes that it is for.
    pub(crate) role: String,
    /// The nodes' hardware.
    pub(crate) hardware: String,
    /// Rises with every release.
    pub(crate) sequence: u64,
    /// What people call this version.
    pub(crate) version: String,
    /// The Meshward protocol versions that it speaks.
    pub(crate) protocol: (u16, u16),
    /// Until when nodes may take it.
    pub(crate) not_after: Option<UnixTime>,
}

/// Signs an image, which `info` is of; its manifest, and what that says.
pub(crate) fn manifest(
    info: &ImageInfo,
    release: Release,
    key: &Path,
) -> anyhow::Result<(Vec<u8>, Manifest, KeyId)> {
    let manifest = Manifest {
        sha256: Sha256Sum(info.sha256),
        md5: info.md5,
        size: u32::try_from(info.size)?,
        hardware: release.hardware,
        role: release.role,
        version: release.version,
        sequence: release.sequence,
        protocol: release.protocol,
        not_after: release.not_after,
    };
    let author = read_key(key)?;
    let signed = author.manifest(&manifest).with_context(|| key.display().to_string())?;
    // Read as a node reads it, before anybody relies on it.
    KeyStore::new(&[author.key()]).and_then(|store| store.manifest(&signed, None))?;
    Ok((signed, manifest, author.id()))
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let image = read_image(&args.image)?;
    let path = args.image.display();
    let info =
        firmware::inspect(&image, &args.hardware, IMAGE_MAX as u32).with_context(|| path.to_string())?;
    let own = info.description.clone().map(|(_, version)| version).filter(|version| !version.is_empty());
    let version = args.image_version.clone().or(own).with_context(|| {
        format!("the image {path} does not say its version: give it by --image-version, such as 1.4.3")
    })?;
    let release = Release {
        role: args.role.clone(),
        hardware: args.hardware.clone(),
        sequence: args.sequence,
        version,
        protocol: args.protocol,
        not_after: args.not_after,
    };
    let (signed, manifest, author) = manifest(&info, release, &args.key)?;
    let output = args.output.clone().unwrap_or_else(|| with_suffix(&args.image, ".manifest"));
    write_file(&output, &signed, args.force, Readers::Everybody)?;
    println!(
        "{}: {} {} for {} {}, sequence {}, signed by {author}",
        output.display(),
        path,
        manifest.version,
        manifest.hardware,
        manifest.role,
        manifest.sequence,
    );
    Ok(true)
}
