//! `meshward store`: copies of a gateway's database, and whether its audit is whole.

use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;
use meshward_gateway::store::{AuditVerdict, Holder, Store, StoreOptions, StoreUrl};

use crate::config;
use crate::keeping::{self, StorePlace};

/// What is done with a database.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Write everything that is kept into one new file, also while the gateway runs.
    Backup(Args),
    /// Replace everything by what a backup has. The gateway must not run; the backup may be of the other kind of
    /// database, or of an older version.
    Restore(Args),
    /// Look whether a line of the audit was changed, removed or put in.
    Verify(Place),
}

/// Which database, and which file.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Which database.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// The gateway's configuration; without this the usual one, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database, if not that of the configuration.
    #[arg(long, value_name = "URL")]
    store: Option<StorePlace>,
}

impl Place {
    fn url(&self) -> anyhow::Result<StoreUrl> {
        let mut store = config::load(self.config.as_deref())?.config.store;
        if let Some(place) = &self.store {
            store = config::Store { url: Some(place.clone()), url_file: None };
        }
        keeping::place(&store)?
            .context("the configuration keeps nothing (store.url is none): name it by --store")
    }

    /// The database, only to be read.
    async fn read(&self) -> anyhow::Result<(Store, StoreUrl)> {
        let url = self.url()?;
        let options = StoreOptions { read_only: true, ..StoreOptions::default() };
        let store = Store::open_with(&url, &options).await;
        Ok((store.with_context(|| format!("cannot read the database {url}"))?, url))
    }
}

pub(crate) async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Backup(args) => backup(args).await,
        Command::Restore(args) => restore(args).await,
        Command::Verify(place) => verify(place).await,
    }
}

async fn backup(args: Args) -> anyhow::Result<bool> {
    let (store, url) = args.place.read().await?;
    store.backup(&args.file).await.context("no backup was made")?;
    println!("{}: everything of {url}", args.file.display());
    Ok(true)
}

async fn restore(args: Args) -> anyhow::Result<bool> {
    let url = args.place.url()?;
    let store = Store::open(&url).await.with_context(|| format!("cannot use the database {url}"))?;
    let holder = Holder::this_process();
    store.take_lease(&holder, Timestamp::now()).await.context("nothing was restored")?;
    let restored = store.restore(&args.file).await;
    store.release_lease(&holder).await.context("the database could not be given back")?;
    restored.context("nothing was restored")?;
    println!("{url}: everything of {}", args.file.display());
    Ok(true)
}

async fn verify(place: Place) -> anyhow::Result<bool> {
    let (store, url) = place.read().await?;
    match store.verify_audit().await.with_context(|| format!("cannot read the audit of {url}"))? {
        AuditVerdict::Whole { rows } => {
            println!("the audit is whole: {rows} lines");
            Ok(true)
        }
        AuditVerdict::Broken { seq, what } => {
            println!("the audit is broken at line {seq}: {what}");
            Ok(false)
        }
    }
}
