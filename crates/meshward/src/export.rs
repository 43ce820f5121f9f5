//! `meshward export`: one download of what the gateway knows, into a file or to standard output.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use reqwest::Response;

use crate::client::{Client, GatewayArgs};
use crate::firmware::with_suffix;

/// Options of `meshward export`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What: nodes as they are, what they measured, events, alerts, or who did what (for admins).
    #[arg(value_enum)]
    what: What,
    /// A JSON object a line, or a table for spreadsheets.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// Not before this time, as 2026-03-01T00:00:00Z; of telemetry a day before --to by default, else the beginning.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Before this time; now by default.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Of telemetry only these metrics; all by default.
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    metrics: Vec<String>,
    /// Into this file, which is there only when all has come; to standard output by default.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Nodes,
    Telemetry,
    Events,
    Alerts,
    Audit,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

/// A word as it is typed.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

pub(crate) async fn run(args: Args) -> anyhow::Result<bool> {
    let client = Client::new(&args.gateway)?;
    let mut query = vec![("what", word(args.what)), ("format", word(args.format))];
    query.extend(args.from.map(|from| ("from", from.to_string())));
    query.extend(args.to.map(|to| ("to", to.to_string())));
    if !args.metrics.is_empty() {
        query.push(("metrics", args.metrics.join(",")));
    }
    let response = client.download("export", &query).await?;
    match &args.output {
        Some(path) => into_file(response, path).await,
        None => match copy(response, &mut io::stdout().lock()).await {
            // Whoever reads has read enough.
            Err(Broken::Written(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
            ended => Ok(ended.map(|()| true)?),
        },
    }
}

/// Why it is not whole.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the download broke off: what has come is not all")]
    Read(#[from] reqwest::Error),
    #[error("cannot write what has come")]
    Written(#[from] io::Error),
}

async fn into_file(response: Response, path: &Path) -> anyhow::Result<bool> {
    let part = with_suffix(path, ".part");
    let mut file = File::create(&part).with_context(|| format!("cannot make {}", part.display()))?;
    if let Err(broken) = copy(response, &mut file).await {
        // What is not whole must not be taken for it.
        drop(fs::remove_file(&part));
        return Err(broken.into());
    }
    fs::rename(&part, path)
        .with_context(|| format!("cannot make {} of {}", path.display(), part.display()))?;
    Ok(true)
}

async fn copy(mut response: Response, to: &mut impl Write) -> Result<(), Broken> {
    while let Some(bytes) = response.chunk().await? {
        to.write_all(&bytes)?;
    }
    Ok(to.flush()?)
}
