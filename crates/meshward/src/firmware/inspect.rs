//! `meshward firmware inspect`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use meshward_core::codec::Codec;
use meshward_core::hash::Sha256Sum;
use meshward_core::ota::trust::{Descriptor, KeyStore, Manifest, Refusal, Signed};
use meshward_core::time::UnixTime;
use meshward_fleet::firmware::{self, IMAGE_MAX, ImageInfo};
use meshward_fleet::payload::{Options, Payload, build};
use meshward_fleet::signing::public_from_text;
use serde_json::{Value, json};

use super::{percent, read_image};
use crate::list::table;

/// Options of `meshward firmware inspect`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("signed").multiple(true))]
pub(crate) struct Args {
    /// The image: a .bin or .bin.gz file.
    image: PathBuf,
    /// Show patches from this image, too.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Check this manifest of the image.
    #[arg(long, value_name = "FILE", requires = "key", group = "signed")]
    manifest: Option<PathBuf>,
    /// Check this descriptor of a payload of the image.
    #[arg(long, value_name = "FILE", requires = "key", group = "signed")]
    descriptor: Option<PathBuf>,
    /// The public key of whoever signed them; several times.
    #[arg(long, value_name = "FILE", requires = "signed")]
    key: Vec<PathBuf>,
    /// The nodes' hardware; ESP32 covers every chip of that family.
    #[arg(long, default_value = "ESP32", value_parser = ["ESP32", "ESP8266"])]
    hardware: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What there is to say of an image.
struct Findings {
    info: ImageInfo,
    /// What is wrong with it.
    problem: Option<String>,
    manifest: Option<Signed<Manifest>>,
    descriptor: Option<Signed<Descriptor>>,
    payloads: Vec<Payload>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let image = read_image(&args.image)?;
    let base = args.base.as_deref().map(read_image).transpose()?;
    let keys = read_keys(&args.key)?;
    let now = u64::try_from(Timestamp::now().as_second()).ok().map(UnixTime);
    let is = Sha256Sum::of(&image);
    let manifest = |path: &PathBuf| {
        let opened = read_signed("manifest", path, |bytes| keys.manifest(bytes, now))?;
        ensure_same("manifest", path, opened.content.sha256, is).map(|()| opened)
    };
    let manifest = args.manifest.as_ref().map(manifest).transpose()?;
    let descriptor = |path: &PathBuf| {
        let opened = read_signed("descriptor", path, |bytes| keys.descriptor(bytes))?;
        ensure_same("descriptor", path, opened.content.image, is).map(|()| opened)
    };
    let descriptor = args.descriptor.as_ref().map(descriptor).transpose()?;
    let judged = firmware::inspect(&image, &args.hardware, IMAGE_MAX as u32);
    let problem = judged.as_ref().err().map(ToString::to_string);
    let info = judged.unwrap_or_else(|_| ImageInfo::of(&image));
    let payloads = payloads(&image, base.as_deref())?;
    let findings = Findings { info, problem, manifest, descriptor, payloads };
    if args.json {
        println!("{:#}", report(&args.image, &findings));
    } else {
        print(&args.image, &findings);
    }
    Ok(findings.problem.is_none())
}

/// Every way for the image to travel.
fn payloads(image: &[u8], base: Option<&[u8]>) -> anyhow::Result<Vec<Payload>> {
    let bases = [None].into_iter().chain(base.map(Some));
    let ways = bases.flat_map(|base| Codec::ALL.map(|codec| (base, codec)));
    let build = |(base, codec)| build(image, base, &Options { codec, ..Options::default() });
    Ok(ways.map(build).collect::<Result<_, _>>()?)
}

/// What a node knows that has these keys.
pub(crate) fn read_keys(paths: &[PathBuf]) -> anyhow::Result<KeyStore> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the key {}", path.display()))?;
        public_from_text(&text).with_context(|| path.display().to_string())
    };
    let keys = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    KeyStore::new(&keys).context("a key twice, or too many of them")
}

/// Reads a signed message as a node does.
fn read_signed<T>(
    what: &str,
    path: &Path,
    open: impl FnOnce(&[u8]) -> Result<Signed<T>, Refusal>,
) -> anyhow::Result<Signed<T>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the {what} {}", path.display()))?;
    open(&bytes).with_context(|| format!("the {what} {} is refused", path.display()))
}

fn ensure_same(what: &str, path: &Path, said: Sha256Sum, is: Sha256Sum) -> anyhow::Result<()> {
    anyhow::ensure!(said == is, "the {what} {} is of image {said}, and this is {is}", path.display());
    Ok(())
}

fn kind(payload: &Payload) -> &'static str {
    if payload.base.is_some() { "patch" } else { "full" }
}

fn report(path: &Path, findings: &Findings) -> Value {
    let Findings { info, problem, manifest, descriptor, payloads } = findings;
    let (project, version) = info.description.clone().unzip();
    let segment = |segment: &firmware::Segment| json!({ "address": segment.address, "offset": segment.offset, "size": segment.len });
    let payload = |payload: &Payload| {
        json!({
            "kind": kind(payload),
            "codec": payload.recipe.codec.to_string(),
            "size": payload.bytes.len(),
            "ratio": payload.ratio(),
        })
    };
    let manifest = manifest.as_ref().map(|Signed { key, content }| {
        json!({
            "key": key.to_string(),
            "hardware": content.hardware,
            "role": content.role,
            "version": content.version,
            "sequence": content.sequence,
            "protocol": [content.protocol.0, content.protocol.1],
            "not_after": content.not_after.map(date),
        })
    });
    let descriptor = descriptor.as_ref().map(|Signed { key, content }| {
        json!({
            "key": key.to_string(),
            "codec": content.codec.to_string(),
            "size": content.sizes.packed,
            "sha256": content.sha256.to_string(),
            "base_sha256": content.base.map(|base| base.to_string()),
            "chunks": content.chunks(),
            "group_key": content.seal.map(|seal| seal.key.to_string()),
        })
    });
    json!({
        "image": path,
        "size": info.size,
        "sha256": Sha256Sum(info.sha256).to_string(),
        "md5": info.md5.to_string(),
        "chip": info.chip.map(|chip| chip.to_string()),
        "project": project,
        "version": version,
        "segments": info.segments.iter().map(segment).collect::<Vec<_>>(),
        "hash_appended": info.hash_appended,
        "problem": problem,
        "manifest": manifest,
        "descriptor": descriptor,
        "payloads": payloads.iter().map(payload).collect::<Vec<_>>(),
    })
}

fn print(path: &Path, findings: &Findings) {
    let Findings { info, problem, manifest, descriptor, payloads } = findings;
    let chip = info.chip.map_or_else(|| "no chip of the ESP32 family".to_owned(), |chip| chip.to_string());
    println!("{}: {chip}, {} bytes", path.display(), info.size);
    if let Some((project, version)) = &info.description {
        println!("project  {project} {version}");
    }
    println!("sha256   {}", Sha256Sum(info.sha256));
    println!("md5      {}", info.md5);
    println!("appended {}", if info.hash_appended { "SHA-256" } else { "no hash" });
    if let Some(Signed { key, content }) = manifest {
        let until =
            content.not_after.map_or_else(|| "for ever".to_owned(), |time| format!("until {}", date(time)));
        println!(
            "manifest {} for {} {}, sequence {}, {until}, signed by {key}",
            content.version, content.hardware, content.role, content.sequence
        );
    }
    if let Some(Signed { key, content }) = descriptor {
        let base = content.base.map_or_else(String::new, |base| format!(", a patch of image {base}"));
        let sealed = content.seal.map_or_else(
            || "for everybody to read".to_owned(),
            |seal| format!("sealed by group key {}", seal.key),
        );
        let Descriptor { codec, sizes, .. } = content;
        println!("payload  {} bytes, {codec}{base}, {sealed}, signed by {key}", sizes.packed);
    }
    if !info.segments.is_empty() {
        let mut rows = table(&["segment", "address", "offset", "bytes"]);
        for (index, segment) in info.segments.iter().enumerate() {
            let address = format!("0x{:08X}", segment.address);
            rows.add_row([index.to_string(), address, segment.offset.to_string(), segment.len.to_string()]);
        }
        println!("{rows}");
    }
    let mut rows = table(&["payload", "codec", "bytes", "of the image"]);
    for payload in payloads {
        let codec = payload.recipe.codec.to_string();
        rows.add_row([kind(payload).to_owned(), codec, payload.bytes.len().to_string(), percent(payload)]);
    }
    println!("{rows}");
    if let Some(problem) = problem {
        eprintln!("error: {problem}");
    }
}

fn date(UnixTime(seconds): UnixTime) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{seconds} s after 1970"), |time| time.to_string())
}
