//! `meshward firmware add`, `list` and `watch`: images at the gateway.
//!
//! `watch` takes a file when a compiler has written it to its end: when its length and time have not changed for a
//! while, and it is an image by its own checksums. A file is offered once for each content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use meshward_core::hash::Sha256Sum;
use meshward_fleet::firmware::{ImageInfo, inspect};
use meshward_gateway::rest::model::Firmware;

use super::{read_image, with_suffix};
use crate::client::{Client, GatewayArgs};
use crate::follow::dash;
use crate::list::table;
use crate::what::{Options, What};
use crate::{deploy, shutdown};

/// Between two looks at the folder.
const LOOK: Duration = Duration::from_millis(250);
/// Files of a folder that are watched.
const FILES_MAX: usize = 1_024;

/// Options of `meshward firmware add`.
#[derive(clap::Args)]
pub(crate) struct AddArgs {
    /// The image: a .bin or .bin.gz file.
    image: PathBuf,
    /// Its manifest, from `meshward firmware sign`; without this IMAGE.manifest, if it is there.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Print the image as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Options of `meshward firmware list`.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Print JSON: an array of images.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Options of `meshward firmware watch`.
#[derive(clap::Args)]
pub(crate) struct WatchArgs {
    /// The folder in which a compiler leaves its .bin or .bin.gz files.
    folder: PathBuf,
    /// Offer what is in it already, too.
    #[arg(long)]
    existing: bool,
    /// How long a file must not have changed, in milliseconds.
    #[arg(long, default_value_t = 1_000, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    settle: u64,
    /// Start a roll-out of each, and follow it to its end, with these options.
    #[arg(long)]
    deploy: bool,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) async fn add(args: AddArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let firmware = give(&client, &args.image, args.manifest).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&firmware)?);
    } else {
        println!("{}", sentence(&firmware));
    }
    Ok(true)
}

/// Gives the gateway an image, and its manifest if there is one.
async fn give(client: &Client, image: &Path, manifest: Option<PathBuf>) -> anyhow::Result<Firmware> {
    let bytes = read_image(image)?;
    let beside = with_suffix(image, ".manifest");
    let manifest = manifest.or_else(|| beside.exists().then_some(beside));
    let read = |path: PathBuf| {
        std::fs::read(&path).with_context(|| format!("cannot read the manifest {}", path.display()))
    };
    // Both before either is sent.
    let manifest = manifest.map(read).transpose()?;
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let firmware = client.upload(&name, bytes).await?;
    match manifest {
        Some(manifest) => Ok(client.manifest(&firmware.sha256, manifest).await?),
        None => Ok(firmware),
    }
}

fn sentence(firmware: &Firmware) -> String {
    let signed = match &firmware.manifest {
        Some(manifest) => format!("version {} for {} {}", manifest.version, manifest.hardware, manifest.role),
        None => "not signed".to_owned(),
    };
    format!("{}: {} bytes, {}, SHA-256 {}", firmware.name, firmware.size, signed, firmware.sha256)
}

pub(crate) async fn list(args: ListArgs) -> anyhow::Result<bool> {
    let images = Client::new(&args.gateway)?.firmware().await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&images)?);
        return Ok(true);
    }
    if images.is_empty() {
        println!("no images: `meshward firmware add IMAGE` gives the gateway one");
        return Ok(true);
    }
    let mut rows = table(&["image", "bytes", "chip", "version", "for", "sequence", "SHA-256"]);
    for image in &images {
        let manifest = image.manifest.as_ref();
        rows.add_row([
            image.name.clone(),
            image.size.to_string(),
            image.chip.clone().unwrap_or_else(dash),
            manifest.map(|told| told.version.clone()).or_else(|| image.version.clone()).unwrap_or_else(dash),
            manifest.map_or_else(dash, |told| format!("{} {}", told.hardware, told.role)),
            manifest.map_or_else(dash, |told| told.sequence.to_string()),
            image.sha256.chars().take(16).collect(),
        ]);
    }
    println!("{rows}");
    Ok(true)
}

/// A file as it was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    modified: SystemTime,
}

/// The files of a folder, and which of them are ready.
#[derive(Debug, Default)]
struct Watch {
    /// As they are, since when, and whether they have been given out so.
    files: BTreeMap<PathBuf, (Seen, Duration, bool)>,
}

impl Watch {
    /// Takes what there is now, `at` some time that rises. Returns what has been as it is for `settle`, once.
    fn handle(&mut self, at: Duration, settle: Duration, found: BTreeMap<PathBuf, Seen>) -> Vec<PathBuf> {
        self.files.retain(|path, _| found.contains_key(path));
        let mut ready = Vec::new();
        for (path, seen) in found {
            let known = self.files.entry(path.clone()).or_insert((seen, at, false));
            if known.0 != seen {
                *known = (seen, at, false);
            }
            if !known.2 && seen.bytes > 0 && at.saturating_sub(known.1) >= settle {
                known.2 = true;
                ready.push(path);
            }
        }
        ready
    }

    /// What there is now is not news.
    fn know(&mut self, found: BTreeMap<PathBuf, Seen>) {
        self.files = found.into_iter().map(|(path, seen)| (path, (seen, Duration::ZERO, true))).collect();
    }
}

/// The images in a folder.
fn scan(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Seen>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)?.take(FILES_MAX) {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".bin") && !name.ends_with(".bin.gz") {
            continue;
        }
        // A compiler may have taken it away meanwhile.
        if let Ok(metadata) = std::fs::metadata(&path)
            && metadata.is_file()
            && let Ok(modified) = metadata.modified()
        {
            found.insert(path, Seen { bytes: metadata.len(), modified });
        }
    }
    Ok(found)
}

pub(crate) async fn watch(args: WatchArgs) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let (begun, settle) = (std::time::Instant::now(), Duration::from_millis(args.settle));
    let mut watch = Watch::default();
    let mut offered = BTreeMap::new();
    let there = scan(&args.folder)?;
    if !args.existing {
        watch.know(there);
    }
    println!("watching {}; Ctrl-C ends it", args.folder.display());
    let stop = shutdown::requested();
    tokio::pin!(stop);
    loop {
        for path in watch.handle(begun.elapsed(), settle, scan(&args.folder)?) {
            // One that cannot be offered does not keep the next from it.
            if let Err(error) = offer(&client, &path, &args, &mut offered).await {
                eprintln!("{}: {error:#}", path.display());
            }
        }
        tokio::select! {
            () = &mut stop => return Ok(true),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Gives the gateway a file that has settled, if it is an image that it was not given last.
async fn offer(
    client: &Client,
    path: &Path,
    args: &WatchArgs,
    offered: &mut BTreeMap<PathBuf, Sha256Sum>,
) -> anyhow::Result<()> {
    let image = read_image(path)?;
    let sum = Sha256Sum(ImageInfo::of(&image).sha256);
    if offered.get(path) == Some(&sum) {
        return Ok(());
    }
    inspect(&image, args.options.hardware(), args.options.slot_size())?;
    if args.deploy {
        let what = What::new(path.to_owned(), args.options.clone());
        deploy::once(client, &what, false, false).await?;
    } else {
        println!("{}", sentence(&give(client, path, None).await?));
    }
    offered.insert(path.to_owned(), sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: u64, seconds: u64) -> Seen {
        Seen { bytes, modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) }
    }

    /// What is ready after each look, a second apart, where two seconds make a file ready.
    fn looks(known: Option<Seen>, files: &[Option<Seen>]) -> Vec<bool> {
        let path = PathBuf::from("a.bin");
        let folder = |file: &Option<Seen>| file.iter().map(|seen| (path.clone(), *seen)).collect();
        let mut watch = Watch::default();
        watch.know(folder(&known));
        let settle = Duration::from_secs(2);
        let look = |(at, file)| !watch.handle(Duration::from_secs(at), settle, folder(file)).is_empty();
        (1..).zip(files).map(look).collect()
    }

    #[test]
    fn a_file_is_ready_when_it_has_not_changed_for_a_while() {
        let (a, b, c) = (Some(seen(5, 1)), Some(seen(9, 1)), Some(seen(9, 2)));
        let empty = Some(seen(0, 1));
        for (known, files, ready) in [
            // It grows, stands still, is ready once.
            (None, &[a, b, b, b, b][..], &[false, false, false, true, false][..]),
            // It was there before; written anew it is news, by its time alone.
            (b, &[b, b, b, c, c, c], &[false, false, false, false, false, true]),
            // It goes, and comes back.
            (None, &[a, a, None, a, a, a], &[false, false, false, false, false, true]),
            (None, &[empty, empty, empty, empty], &[false, false, false, false]),
        ] {
            assert_eq!(looks(known, files), ready, "{files:?}");
        }
    }
}
