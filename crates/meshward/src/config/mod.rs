//! `meshward.toml`: what the operator of a gateway has decided.
//!
//! [`keys`] is the list of all keys, each with its meaning, unit, range and default, and the one place where a key is
//! added: types, reader, reference and example come from it. A value is given by the first of: an option of the
//! command line, an environment variable (`MESHWARD_MESH__LISTEN` for `mesh.listen`), the file, the default. What is
//! read is plain data ([`Config`]); what it comes to is for the command that uses it.
//!
//! It refuses what it does not know: an unknown key, a value of another type or out of range, each with its line and
//! column, all of them at once, and nothing is used of a file with a mistake in it.

mod channel;
mod command;
mod keys;
mod kind;
mod layers;
mod mistake;
mod raw;
pub(crate) mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use thiserror::Error;

pub(crate) use channel::Channel;
pub(crate) use command::{Command, run};
pub(crate) use keys::{Config, Http, LogFormat, Mqtt, Ota, Store};
pub(crate) use kind::PeerName;
use layers::Layers;
use mistake::Mistake;

/// The variable that names the file.
pub(crate) const FILE_VARIABLE: &str = "MESHWARD_CONFIG";
/// The file's own name.
pub(crate) const FILE_NAME: &str = "meshward.toml";
/// Where a service looks for it.
const SYSTEM_FILE: &str = "/etc/meshward/meshward.toml";
/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// The file cannot be had.
    #[error("cannot read the configuration {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is none.
    #[error("the configuration {} has {bytes} bytes, and at most {FILE_BYTES_MAX} are read: is it the right file?", .path.display())]
    Long {
        /// Which.
        path: PathBuf,
        /// How long.
        bytes: u64,
    },
    /// What it says cannot be used.
    #[error("{}", mistake::list(.0))]
    Mistakes(Vec<Mistake>),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody has said anything.
    Default,
    /// A line of the file.
    File(usize),
    /// A variable.
    Environment(String),
}

/// A configuration and where it comes from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The file, if there is one.
    pub(crate) path: Option<PathBuf>,
    /// What it comes to, with the environment and the defaults.
    pub(crate) config: Config,
    /// Where each key has its value from.
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// Where the file is: as named, or in the first of the usual places that has one.
pub(crate) fn find(named: Option<&Path>) -> Option<PathBuf> {
    let named = named.map(Path::to_owned);
    named.or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from)).or_else(|| {
        let mut places = vec![PathBuf::from(FILE_NAME)];
        places.extend(folder().map(|folder| folder.join(FILE_NAME)));
        places.push(PathBuf::from(SYSTEM_FILE));
        places.into_iter().find(|place| place.exists())
    })
}

/// The folder of this user's own settings.
pub(crate) fn folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("meshward"))
}

/// Whether a running gateway takes up a change of this key, `section.key`.
pub(crate) fn is_live(path: &str) -> bool {
    let named = |section: &keys::Section, key: &keys::Key| path == format!("{}.{}", section.name, key.name);
    keys::sections().iter().any(|section| section.keys.iter().any(|key| key.live && named(section, key)))
}

/// Reads the configuration: of this file, or of the usual one, or what there is without any.
///
/// # Errors
/// [`ConfigError`], which says everything that is wrong.
pub(crate) fn load(named: Option<&Path>) -> Result<Loaded, ConfigError> {
    let path = find(named);
    let text = path.as_deref().map(read).transpose()?;
    // A variable that is no text is none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    parse(path, text.as_deref(), variables.collect())
}

/// Whether a text is a configuration, whatever the environment says.
///
/// # Errors
/// [`ConfigError`], with everything that is wrong.
pub(crate) fn check_text(path: &Path, text: &str) -> Result<(), ConfigError> {
    parse(Some(path.to_owned()), Some(text), BTreeMap::new()).map(|_config| ())
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let cannot = |source| ConfigError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(ConfigError::Long { path: path.to_owned(), bytes });
    }
    std::fs::read_to_string(path).map_err(cannot)
}

/// Reads a configuration from its text and the environment.
fn parse(
    path: Option<PathBuf>,
    text: Option<&str>,
    variables: BTreeMap<String, String>,
) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::new(path.as_deref(), text.unwrap_or_default(), variables);
    let config = Config::read(&mut layers);
    let origins = layers.finish().map_err(ConfigError::Mistakes)?;
    Ok(Loaded { path, config, origins })
}

#[cfg(test)]
mod tests;
