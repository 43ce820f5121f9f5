//! `meshward firmware keygen`.

use std::path::PathBuf;

use anyhow::Context as _;
use meshward_core::ota::trust::KeyKind;
use meshward_fleet::signing::{SigningKey, public_to_text};

use super::{Readers, ensure_new, with_suffix, write_file};

/// What a key may sign.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Manifests of images; for whoever builds them.
    Author,
    /// Descriptors of payloads, and orders; for a gateway.
    Operator,
    /// Changes of nodes' keys; for a safe.
    Recovery,
}

/// Options of `meshward firmware keygen`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the key may sign.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The file for the secret key; the public one goes beside it, with `.pub` at the end.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a key that is there. What it signed stays signed, and it cannot sign again.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let kind = match args.kind {
        Kind::Author => KeyKind::Author,
        Kind::Operator => KeyKind::Operator,
        Kind::Recovery => KeyKind::Recovery,
    };
    let public = with_suffix(&args.output, ".pub");
    // Both before either is written: half a pair is of no use.
    ensure_new(&args.output, args.force)?;
    ensure_new(&public, args.force)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system has no random bytes")?;
    let key = SigningKey::from_seed(kind, seed)?;
    write_file(&args.output, key.to_text().as_bytes(), args.force, Readers::Owner)?;
    write_file(&public, public_to_text(&key.key()).as_bytes(), args.force, Readers::Everybody)?;
    println!("{kind} key {}: {} (secret), {} (public)", key.id(), args.output.display(), public.display());
    Ok(true)
}
