//! `meshward firmware delta`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meshward_core::hash::Sha256Sum;
use meshward_core::ota::trust::{GroupKey, KeyStore};
use meshward_fleet::payload::{Options, Payload, build};
use meshward_fleet::sealing::group_key_from_text;
use meshward_fleet::signing::SigningKey;
use serde_json::json;

use super::sign::read_key;
use super::{CodecArg, Readers, ensure_new, hex, percent, read_image, with_suffix, write_file};

/// Options of `meshward firmware delta`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image that nodes run.
    old: PathBuf,
    /// The image that they are to run.
    new: PathBuf,
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

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let described = with_suffix(&args.output, ".descriptor");
    ensure_new(&args.output, args.force)?;
    if args.key.is_some() {
        ensure_new(&described, args.force)?;
    }
    let (old, new) = (read_image(&args.old)?, read_image(&args.new)?);
    let operator = args.key.as_deref().map(read_key).transpose()?;
    let options = Options {
        codec: args.codec.into(),
        level: args.level,
        chunk_size: args.chunk_size,
        group_key: args.encrypt.as_deref().map(read_group_key).transpose()?,
    };
    let payload = build(&new, Some(&old), &options)?;
    let signed = operator.as_ref().map(|key| sign(&payload, key)).transpose();
    let signed = signed.with_context(|| args.key.clone().unwrap_or_default().display().to_string())?;
    write_file(&args.output, &payload.bytes, args.force, Readers::Everybody)?;
    if let Some(signed) = signed {
        write_file(&described, &signed, args.force, Readers::Everybody)?;
    }
    if args.json {
        print_json(args, &old, &new, &payload)
    } else {
        print(args, &new, &payload)
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

fn print_json(args: &Args, old: &[u8], new: &[u8], payload: &Payload) {
    let descriptor = payload.descriptor();
    let report = json!({
        "payload": args.output,
        "codec": payload.recipe.codec.to_string(),
        "size": payload.bytes.len(),
        "sha256": descriptor.sha256.to_string(),
        "ratio": payload.ratio(),
        "chunk_size": payload.chunk_size,
        "chunks": descriptor.chunks(),
        "group_key": payload.seal.map(|seal| seal.key.to_string()),
        "salt": payload.seal.map(|seal| hex(&seal.salt)),
        "base_sha256": Sha256Sum::of(old).to_string(),
        "image_sha256": payload.image.to_string(),
        "image_size": new.len(),
    });
    println!("{report:#}");
}

fn print(args: &Args, new: &[u8], payload: &Payload) {
    let sealed = payload.seal.map_or_else(String::new, |seal| format!(" and have group key {}", seal.key));
    println!(
        "{}: {} bytes in {} chunks, {} of {} ({} bytes), for nodes that run {}{sealed}",
        args.output.display(),
        payload.bytes.len(),
        payload.descriptor().chunks(),
        percent(payload),
        args.new.display(),
        new.len(),
        args.old.display(),
    );
}
