//! `meshward firmware delta`.

use std::path::PathBuf;

use meshward_core::hash::Sha256Sum;
use meshward_fleet::payload::{Options, build};
use serde_json::json;

use super::{CodecArg, Readers, ensure_new, percent, read_image, write_file};

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
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    ensure_new(&args.output, args.force)?;
    let (old, new) = (read_image(&args.old)?, read_image(&args.new)?);
    let options = Options {
        codec: args.codec.into(),
        level: args.level,
        chunk_size: args.chunk_size,
        ..Options::default()
    };
    let payload = build(&new, Some(&old), &options)?;
    write_file(&args.output, &payload.bytes, args.force, Readers::Everybody)?;
    let descriptor = payload.descriptor();
    if args.json {
        let report = json!({
            "payload": args.output,
            "codec": payload.recipe.codec.to_string(),
            "size": payload.bytes.len(),
            "sha256": descriptor.sha256.to_string(),
            "ratio": payload.ratio(),
            "chunk_size": payload.chunk_size,
            "chunks": descriptor.chunks(),
            "base_sha256": Sha256Sum::of(&old).to_string(),
            "image_sha256": payload.image.to_string(),
            "image_size": new.len(),
        });
        println!("{report:#}");
    } else {
        println!(
            "{}: {} bytes in {} chunks, {} of {} ({} bytes), for nodes that run {}",
            args.output.display(),
            payload.bytes.len(),
            descriptor.chunks(),
            percent(&payload),
            args.new.display(),
            new.len(),
            args.old.display(),
        );
    }
    Ok(true)
}
