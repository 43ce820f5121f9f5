//! `meshward firmware inspect`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use meshward_core::codec::Codec;
use meshward_core::hash::Sha256Sum;
use meshward_core::ota::trust::{KeyStore, Manifest, Signed};
use meshward_core::time::UnixTime;
use meshward_fleet::firmware::{self, IMAGE_MAX, ImageInfo};
use meshward_fleet::payload::{Options, Payload, build};
use meshward_fleet::signing::public_from_text;
use serde_json::{Value, json};

use super::{percent, read_image};
use crate::list::table;

/// Options of `meshward firmware inspect`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image: a .bin or .bin.gz file.
    image: PathBuf,
    /// Show patches from this image, too.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Check this manifest of the image.
    #[arg(long, value_name = "FILE", requires = "key")]
    manifest: Option<PathBuf>,
    /// The public key of whoever signed the manifest.
    #[arg(long, value_name = "FILE", requires = "manifest")]
    key: Option<PathBuf>,
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
    payloads: Vec<Payload>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let image = read_image(&args.image)?;
    let base = args.base.as_deref().map(read_image).transpose()?;
    let manifest = match (&args.manifest, &args.key) {
        (Some(manifest), Some(key)) => Some(read_manifest(manifest, key, &image)?),
        _ => None,
    };
    let judged = firmware::inspect(&image, &args.hardware, IMAGE_MAX as u32);
    let problem = judged.as_ref().err().map(ToString::to_string);
    let info = judged.unwrap_or_else(|_| ImageInfo::of(&image));
    let payloads = payloads(&image, base.as_deref())?;
    let findings = Findings { info, problem, manifest, payloads };
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

/// Reads a manifest as a node does that knows this key, and holds it against the image.
fn read_manifest(path: &Path, key: &Path, image: &[u8]) -> anyhow::Result<Signed<Manifest>> {
    let text =
        std::fs::read_to_string(key).with_context(|| format!("cannot read the key {}", key.display()))?;
    let key = public_from_text(&text).with_context(|| key.display().to_string())?;
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read the manifest {}", path.display()))?;
    let now = u64::try_from(Timestamp::now().as_second()).ok().map(UnixTime);
    let opened = KeyStore::new(&[key]).and_then(|store| store.manifest(&bytes, now));
    let signed = opened.with_context(|| format!("the manifest {} is refused", path.display()))?;
    let (said, is) = (signed.content.sha256, Sha256Sum::of(image));
    anyhow::ensure!(said == is, "the manifest {} is of image {said}, and this is {is}", path.display());
    Ok(signed)
}

fn kind(payload: &Payload) -> &'static str {
    if payload.base.is_some() { "patch" } else { "full" }
}

fn report(path: &Path, findings: &Findings) -> Value {
    let Findings { info, problem, manifest, payloads } = findings;
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
        "payloads": payloads.iter().map(payload).collect::<Vec<_>>(),
    })
}

fn print(path: &Path, findings: &Findings) {
    let Findings { info, problem, manifest, payloads } = findings;
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
