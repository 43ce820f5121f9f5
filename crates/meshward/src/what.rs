//! What an operator wants brought to whom: the options that `meshward ota deploy` and `ota forecast` share.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meshward_fleet::firmware::ImageInfo;
use meshward_gateway::rest::model::{Firmware, NewRollout, Scheme};

use crate::client::Client;
use crate::firmware::sign::{self, Release};
use crate::firmware::{read_image, with_suffix};

/// What is sent of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SchemeArg {
    /// To each node what takes least channel time.
    Auto,
    /// To Meshward nodes the image as it is; to stock nodes, as with the next three, the cheaper of their ways.
    Full,
    /// To Meshward nodes the image packed by heatshrink.
    Heatshrink,
    /// To Meshward nodes the image packed by LZMA.
    Lzma,
    /// To Meshward nodes a patch of what they run.
    Delta,
    /// To stock nodes alone: every part goes out once for all nodes.
    Turbo,
    /// To stock nodes alone: every node asks for every part, as with the C++ library's sender.
    Unicast,
}

impl SchemeArg {
    /// Whether it serves stock nodes alone.
    pub(crate) const fn is_stock(self) -> bool {
        matches!(self, Self::Turbo | Self::Unicast)
    }
}

impl From<SchemeArg> for Scheme {
    fn from(scheme: SchemeArg) -> Self {
        match scheme {
            SchemeArg::Auto => Self::Auto,
            SchemeArg::Full => Self::Full,
            SchemeArg::Heatshrink => Self::Heatshrink,
            SchemeArg::Lzma => Self::Lzma,
            SchemeArg::Delta => Self::Delta,
            SchemeArg::Turbo => Self::Turbo,
            SchemeArg::Unicast => Self::Unicast,
        }
    }
}

/// How a scheme is called in reports.
pub(crate) const fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Auto => "auto",
        Scheme::Full => "full",
        Scheme::Heatshrink => "heatshrink",
        Scheme::Lzma => "lzma",
        Scheme::Delta => "delta",
        Scheme::Turbo => "turbo",
        Scheme::Unicast => "unicast",
    }
}

/// See the module's page.
#[derive(clap::Args)]
pub(crate) struct What {
    /// The image: a .bin or .bin.gz file.
    image: PathBuf,
    #[command(flatten)]
    options: Options,
}

/// To whom, and how.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// The role of the nodes that it is for; that of its manifest, if it has one.
    #[arg(long, value_parser = sign::text)]
    role: Option<String>,
    /// The nodes' hardware; ESP32 covers every chip of that family.
    #[arg(long, default_value = "ESP32", value_parser = ["ESP32", "ESP8266"])]
    hardware: String,
    /// Only this node; may be given several times.
    #[arg(long = "node", value_name = "ID")]
    nodes: Vec<u32>,
    /// The image's manifest, from `meshward firmware sign`; without this IMAGE.manifest, if it is there. Meshward
    /// nodes take no image without one.
    #[arg(long, value_name = "FILE", conflicts_with = "author")]
    manifest: Option<PathBuf>,
    /// Sign the image now, with this author's secret key.
    #[arg(long, value_name = "FILE", requires_all = ["sequence", "role"])]
    author: Option<PathBuf>,
    /// With --author: rises with every release; nodes take no image whose sequence is not above their own.
    #[arg(long, requires = "author", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: Option<u64>,
    /// An image that nodes run, to make a patch of; may be given several times. The gateway knows those that it was
    /// given before.
    #[arg(long = "base", value_name = "FILE")]
    bases: Vec<PathBuf>,
    /// Send the image even though it does not look like one that the nodes can run.
    #[arg(long)]
    force_image: bool,
    /// Say that this image takes updates itself (`initOTAReceive`); needed once per image for stock nodes, for one
    /// that runs an image which does not can never be updated over the air again.
    #[arg(long)]
    confirm_receiver: bool,
    /// What is sent.
    #[arg(long, value_enum, default_value_t = SchemeArg::Auto)]
    scheme: SchemeArg,
    /// Bytes that a stock node's slot holds; Arduino's default partitions have 1310720.
    #[arg(long, default_value_t = 0x1E_0000, value_name = "BYTES")]
    slot_size: u32,
    /// Bytes in a part for stock nodes, 256 to 1400.
    #[arg(long, default_value_t = 1024)]
    part_size: u32,
    /// Stock nodes that receive at the same time, 1 to 64.
    #[arg(long, default_value_t = 12)]
    concurrency: u32,
    /// How much of the time the update may fill the radio channel, in per cent: less is slower, and leaves more to
    /// the nodes' own messages.
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    airtime: u8,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let image = std::fs::read(path).with_context(|| format!("cannot read the image {shown}"))?;
    anyhow::ensure!(!image.is_empty(), "the image {shown} is empty");
    Ok(image)
}

impl Options {
    /// The nodes' hardware.
    pub(crate) fn hardware(&self) -> &str {
        &self.hardware
    }

    /// Bytes that a stock node's slot holds.
    pub(crate) const fn slot_size(&self) -> u32 {
        self.slot_size
    }
}

impl What {
    pub(crate) const fn new(image: PathBuf, options: Options) -> Self {
        Self { image, options }
    }

    /// The image's file name.
    pub(crate) fn name(&self) -> String {
        name(&self.image)
    }

    /// The manifest that goes with the image, if there is one.
    fn manifest(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(((author, sequence), role)) =
            self.options.author.as_ref().zip(self.options.sequence).zip(self.options.role.as_ref())
        else {
            let beside = with_suffix(&self.image, ".manifest");
            let path = self.options.manifest.clone().or_else(|| beside.exists().then_some(beside));
            let read = |path: PathBuf| {
                std::fs::read(&path).with_context(|| format!("cannot read the manifest {}", path.display()))
            };
            return path.map(read).transpose();
        };
        let info = ImageInfo::of(&read_image(&self.image)?);
        let own = info.description.clone().map(|(_, version)| version);
        let release = Release {
            role: role.clone(),
            hardware: self.options.hardware.clone(),
            sequence,
            version: own.filter(|own| !own.is_empty()).unwrap_or_else(|| sequence.to_string()),
            protocol: (1, 1),
            not_after: None,
        };
        let (signed, ..) = sign::manifest(&info, release, author)?;
        Ok(Some(signed))
    }

    /// Gives the gateway all that it needs; what it has then, and what to ask of it.
    pub(crate) async fn prepare(&self, client: &Client) -> anyhow::Result<(Firmware, NewRollout)> {
        let image = read(&self.image)?;
        let manifest = self.manifest()?;
        let bases = self.options.bases.iter().map(|base| Ok((name(base), read(base)?)));
        for (name, base) in bases.collect::<anyhow::Result<Vec<_>>>()? {
            client.upload(&name, base).await?;
        }
        let mut firmware = client.upload(&self.name(), image).await?;
        if let Some(manifest) = manifest {
            firmware = client.manifest(&firmware.sha256, manifest).await?;
        }
        let new = NewRollout {
            hardware: self.options.hardware.clone(),
            scheme: self.options.scheme.into(),
            nodes: (!self.options.nodes.is_empty()).then(|| self.options.nodes.clone()),
            force_image: self.options.force_image,
            confirm_receiver: self.options.confirm_receiver,
            slot_size: self.options.slot_size,
            part_size: self.options.part_size,
            concurrency: self.options.concurrency,
            airtime: self.options.airtime,
            ..NewRollout::new(firmware.sha256.clone(), self.options.role.clone())
        };
        Ok((firmware, new))
    }
}
