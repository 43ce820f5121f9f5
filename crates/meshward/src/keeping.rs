//! Where this program keeps what outlives it: which database, and whether there is one.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use etcetera::BaseStrategy as _;
use meshward_gateway::keep::Keeper;
use meshward_gateway::store::{Retention, Store, StoreUrl, UrlError};

use crate::config;

/// A database, or none, as an operator writes it.
#[derive(Clone, Debug)]
pub(crate) enum StorePlace {
    /// Nothing is kept.
    None,
    /// It is kept there.
    At(String, StoreUrl),
}

impl FromStr for StorePlace {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text == "none" {
            return Ok(Self::None);
        }
        Ok(Self::At(text.to_owned(), text.parse()?))
    }
}

/// Equal when they are written alike, but for what may be left out.
impl PartialEq for StorePlace {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::At(one, _), Self::At(other, _)) => bare(one) == bare(other),
            _ => false,
        }
    }
}

fn bare(text: &str) -> &str {
    text.strip_prefix("sqlite:").unwrap_or(text)
}

/// Without a password.
impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::At(_, url) => url.fmt(f),
        }
    }
}

/// The database that is meant; `None` when nothing is to be kept.
pub(crate) fn place(store: &config::Store) -> anyhow::Result<Option<StoreUrl>> {
    if let Some(file) = &store.url_file {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {} (store.url_file)", file.display()))?;
        let line = text.lines().next().unwrap_or_default().trim();
        return Ok(Some(line.parse().with_context(|| format!("{} (store.url_file)", file.display()))?));
    }
    match &store.url {
        Some(StorePlace::None) => Ok(None),
        Some(StorePlace::At(_, url)) => Ok(Some(url.clone())),
        None => Ok(Some(StoreUrl::Sqlite(usual()?))),
    }
}

/// The file that is used when nobody names one.
fn usual() -> anyhow::Result<PathBuf> {
    Ok(folder()?.join("meshward.db"))
}

/// The folder of what is kept when nobody names another. It is made.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("STATE_DIRECTORY") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => {
            let base = etcetera::choose_base_strategy();
            let base =
                base.context("there is no folder for data: name a database by store.url, or --store")?;
            base.data_dir().join("meshward")
        }
    };
    make(&folder)?;
    Ok(folder)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make the folder {} for the database", folder.display()))
}

/// Opens the database of the configuration, and takes it for this process.
pub(crate) async fn open(store: &config::Store) -> anyhow::Result<Option<Keeper>> {
    let Some(url) = place(store)? else {
        tracing::warn!(
            "nothing is kept (store.url is none): users, history and roll-outs end with the program"
        );
        return Ok(None);
    };
    let store = Store::open(&url).await.with_context(|| format!("cannot use the database {url}"))?;
    let keeper = Keeper::open(store, Retention::default()).await;
    let keeper = keeper.with_context(|| format!("cannot use the database {url}"))?;
    tracing::info!(database = %url, "kept");
    Ok(Some(keeper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_shown_without_passwords() {
        let shown = |text: &str| text.parse::<StorePlace>().map(|place| place.to_string()).ok();
        assert_eq!(shown("none").as_deref(), Some("none"));
        assert_eq!(shown("/var/lib/a.db").as_deref(), Some("sqlite:/var/lib/a.db"));
        let server = shown("postgres://mesh:secret@db.example/ward").unwrap();
        assert!(!server.contains("secret") && server.contains("db.example"), "{server}");
        assert_eq!(shown("mysql://a/b"), None);
        assert_eq!(shown(""), None);
    }
}
