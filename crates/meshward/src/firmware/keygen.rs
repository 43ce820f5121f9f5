//! `meshward firmware keygen`.

use std::path::PathBuf;

use anyhow::Context as _;
use meshward_core::ota::trust::{GroupKey, KeyKind};
use meshward_fleet::sealing::group_key_to_text;
use meshward_fleet::signing::{SigningKey, public_to_text};

use super::{Readers, ensure_new, with_suffix, write_file};

/// What a key is for.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Manifests of images; for whoever builds them.
    Author,
    /// Descriptors of payloads, and orders; for a gateway.
    Operator,
    /// Changes of nodes' keys; for a safe.
    Recovery,
    /// Signs nothing: payloads are sealed with it, and it has no public half; for a gateway and its nodes.
    Group,
}

/// Options of `meshward firmware keygen`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the key is for.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The file for the secret key; the public one, if there is one, goes beside it, with `.pub` at the end.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a key that is there. What it signed stays signed, and it cannot sign again; what a group's sealed
    /// cannot be opened with the new one.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let kind = match args.kind {
        Kind::Author => KeyKind::Author,
        Kind::Operator => KeyKind::Operator,
        Kind::Recovery => KeyKind::Recovery,
        Kind::Group => return group(args),
    };
    let public = with_suffix(&args.output, ".pub");
    // Both before either is written: half a pair is of no use.
    ensure_new(&args.output, args.force)?;
    ensure_new(&public, args.force)?;
    let key = SigningKey::from_seed(kind, random()?)?;
    write_file(&args.output, key.to_text().as_bytes(), args.force, Readers::Owner)?;
    write_file(&public, public_to_text(&key.key()).as_bytes(), args.force, Readers::Everybody)?;
    println!("{kind} key {}: {} (secret), {} (public)", key.id(), args.output.display(), public.display());
    Ok(true)
}

fn group(args: &Args) -> anyhow::Result<bool> {
    ensure_new(&args.output, args.force)?;
    let key = GroupKey::new(random()?).context("the system's random bytes are all the same")?;
    write_file(&args.output, group_key_to_text(&key).as_bytes(), args.force, Readers::Owner)?;
    println!("group key {}: {} (secret)", key.id(), args.output.display());
    Ok(true)
}

pub(crate) fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no random bytes")?;
    Ok(bytes)
}
