//! `meshward firmware pack` and `delta`: the payload of an image, whole or as a patch.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meshward_core::ota::trust::{GroupKey, KeyStore};
use meshward_fleet::payload::{Options, Payload, build};
use meshward_fleet::sealing::group_key_from_text;
use meshward_fleet::signing::SigningKey;
use serde_json::json;

use super::sign::read_key;
use super::{CodecArg, Readers, ensure_new, hex, percent, read_image, with_suffix, write_file};

/// Options of `meshward firmware pack`.
#[derive(clap::Args)]
pub(crate) struct WholeArgs {
    /// The image that nodes are to run: a .bin or .bin.gz file.
    image: PathBuf,
    #[command(flatten)]
    making: Making,
}

/// Options of `meshward firmware delta`.
#[derive(clap::Args)]
pub(crate) struct PatchArgs {
    /// The image that nodes run.
    old: PathBuf,
    /// The image that they are to run.
    new: PathBuf,
    #[command(flatten)]
    making: Making,
}

/// How a payload is made, and where it goes.
#[derive(clap::Args)]
struct Making {
    /// Where the payload goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How it is packed.
    #[arg(long, value_enum, default_value_t = CodecArg::Lzma)]
    codec: CodecArg,
    /// How hard LZMA tries: 1 (quick) to 9 (small).
    #[arg(long, default_value_t = Options::default().level)]
    level: u8,
    /// Bytes in a chunk: a multiple of 4 from 128 to 1400.
    #[arg(long, default_value_t = Options::default().chunk_size)]
    chunk_size: u16,
    /// Seal it with this group key, from `meshward firmware keygen`: only nodes that have the key can use it.
    #[arg(long, value_name = "FILE")]
    encrypt: Option<PathBuf>,
    /// An operator's secret key: writes the payload's descriptor, too, with `.descriptor` at the end.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The images that a payload is made of, each with its file.
struct Images<'a> {
    new: (&'a Path, Vec<u8>),
    /// What nodes run, if it is to be a patch of that.
    old: Option<(&'a Path, Vec<u8>)>,
}

/// `meshward firmware pack`.
pub(super) fn whole(args: &WholeArgs) -> anyhow::Result<bool> {
    run(&args.image, None, &args.making)
}

/// `meshward firmware delta`.
pub(super) fn patch(args: &PatchArgs) -> anyhow::Result<bool> {
    run(&args.new, Some(&args.old), &args.making)
}

fn run(new: &Path, old: Option<&Path>, making: &Making) -> anyhow::Result<bool> {
    let described = with_suffix(&making.output, ".descriptor");
    ensure_new(&making.output, making.force)?;
    if making.key.is_some() {
        ensure_new(&described, making.force)?;
    }
    let read = |path| anyhow::Ok((path, read_image(path)?));
    let images = Images { old: old.map(read).transpose()?, new: read(new)? };
    let operator = making.key.as_deref().map(read_key).transpose()?;
    let options = Options {
        codec: making.codec.into(),
        level: making.level,
        chunk_size: making.chunk_size,
        group_key: making.encrypt.as_deref().map(read_group_key).transpose()?,
    };
    let payload = build(&images.new.1, images.old.as_ref().map(|(_, old)| &old[..]), &options)?;
    let signed = operator.as_ref().map(|key| sign(&payload, key)).transpose();
    let signed = signed.with_context(|| making.key.clone().unwrap_or_default().display().to_string())?;
    write_file(&making.output, &payload.bytes, making.force, Readers::Everybody)?;
    if let Some(signed) = &signed {
        write_file(&described, signed, making.force, Readers::Everybody)?;
    }
    if making.json {
        print_json(making, &images, &payload);
    } else {
        print(making, &images, &payload);
    }
    if payload.seal.is_some() && signed.is_none() {
        eprintln!(
            "note: no node can open {} yet: only a signed descriptor tells nodes the key's name and the salt, and none \
             was asked for. The same command with --force and --key OPERATOR makes the same payload again, and \
             writes {}",
            making.output.display(),
            described.display(),
        );
    }
    Ok(true)
}

/// Reads a group's key.
fn read_group_key(path: &Path) -> anyhow::Result<GroupKey> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the group key {}", path.display()))?;
    group_key_from_text(&text).with_context(|| path.display().to_string())
}

fn sign(payload: &Payload, key: &SigningKey) -> anyhow::Result<Vec<u8>> {
    let signed = key.descriptor(&payload.descriptor())?;
    // Read as a node reads it, before anybody relies on it.
    KeyStore::new(&[key.key()]).and_then(|store| store.descriptor(&signed))?;
    Ok(signed)
}

fn print_json(making: &Making, images: &Images<'_>, payload: &Payload) {
    let descriptor = payload.descriptor();
    let report = json!({
        "payload": making.output,
        "codec": payload.recipe.codec.to_string(),
        "size": payload.bytes.len(),
        "sha256": descriptor.sha256.to_string(),
        "ratio": payload.ratio(),
        "chunk_size": payload.chunk_size,
        "chunks": descriptor.chunks(),
        "group_key": payload.seal.map(|seal| seal.key.to_string()),
        "salt": payload.seal.map(|seal| hex(&seal.salt)),
        "base_sha256": payload.base.map(|base| base.to_string()),
        "image_sha256": payload.image.to_string(),
        "image_size": images.new.1.len(),
    });
    println!("{report:#}");
}

fn print(making: &Making, images: &Images<'_>, payload: &Payload) {
    let base = images.old.as_ref().map(|(path, _)| format!("run {}", path.display()));
    let seal = payload.seal.map(|seal| format!("have group key {}", seal.key));
    let nodes: Vec<String> = base.into_iter().chain(seal).collect();
    let nodes =
        if nodes.is_empty() { String::new() } else { format!(", for nodes that {}", nodes.join(" and ")) };
    let (path, new) = &images.new;
    println!(
        "{}: {} bytes in {} chunks, {} of {} ({} bytes){nodes}",
        making.output.display(),
        payload.bytes.len(),
        payload.descriptor().chunks(),
        percent(payload),
        path.display(),
        new.len(),
    );
}
