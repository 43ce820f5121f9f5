//! `meshward profile …`: gateways that somebody goes back to, each by a name, with its address and token.
//!
//! They are in `profiles.toml` in the user's own folder for settings, for its owner alone: a file that others can read
//! is refused, for the sake of the tokens in it. A token goes to no other address than that of its own profile.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config;
use crate::firmware::{Readers, write_file};
use crate::follow::dash;
use crate::list::table;

/// Where a gateway is when nobody says where.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// Profiles that are kept.
const PROFILES_MAX: usize = 256;
/// Longest name, in bytes.
const NAME_MAX: usize = 64;
/// Longest token, in bytes.
const TOKEN_MAX: u64 = 4_096;

/// Why no profile can be used.
#[derive(Debug, Error)]
pub(crate) enum ProfileError {
    /// There is no folder for it.
    #[error("this user has no folder for settings: set HOME or XDG_CONFIG_HOME")]
    NoFolder,
    /// The file cannot be had.
    #[error("cannot read the profiles in {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There may be tokens in it.
    #[error("others can read the profiles in {}, and the tokens in them: chmod 600 {path}", .0.display(), path = .0.display())]
    Open(PathBuf),
    /// It is none.
    #[error("{} holds no profiles: {source}", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why, with line and column.
        source: toml::de::Error,
    },
    /// Nobody has added it.
    #[error("there is no profile `{name}`: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
}

/// A gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// All of them, and the one that is used when nobody says which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default, rename = "profile")]
    profiles: BTreeMap<String, Profile>,
}

/// A gateway that is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
}

/// What options and environment say of the gateway. What is empty is not said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) url: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) url_variable: Option<String>,
    pub(crate) profile_variable: Option<String>,
}

/// Which gateway is meant: that of `--url`, else of `--profile`, `MESHWARD_URL`, `MESHWARD_PROFILE`, the current
/// profile, this machine's. The token is the one that was given, or the profile's.
///
/// # Errors
/// [`ProfileError`] when a profile is needed and cannot be had.
pub(crate) fn resolve(wanted: Wanted) -> Result<Target, ProfileError> {
    // Who names an address has no use for profiles, not even for a file that is broken.
    if wanted.url.is_some() || (wanted.profile.is_none() && wanted.url_variable.is_some()) {
        return target(wanted, &Profiles::default());
    }
    let path = path().ok();
    let profiles = path.as_deref().map(read).transpose()?.unwrap_or_default();
    target(wanted, &profiles)
}

fn target(wanted: Wanted, profiles: &Profiles) -> Result<Target, ProfileError> {
    let Wanted { url, token, profile, url_variable, profile_variable } = wanted;
    let name = match (&url, profile, &url_variable) {
        (Some(_), ..) => None,
        (None, Some(profile), _) => Some(profile),
        (None, None, Some(_)) => None,
        (None, None, None) => profile_variable.or_else(|| profiles.current.clone()),
    };
    Ok(match name {
        Some(name) => {
            let profile = profiles.get(&name)?;
            Target { url: profile.url.clone(), token: token.or_else(|| profile.token.clone()) }
        }
        None => Target { url: url.or(url_variable).unwrap_or_else(|| DEFAULT_URL.to_owned()), token },
    })
}

impl Profiles {
    fn get(&self, name: &str) -> Result<&Profile, ProfileError> {
        self.profiles.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "`meshward profile add NAME --gateway URL` adds one".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            ProfileError::Unknown { name: name.to_owned(), known }
        })
    }
}

fn path() -> Result<PathBuf, ProfileError> {
    Ok(config::folder().ok_or(ProfileError::NoFolder)?.join("profiles.toml"))
}

/// What the file says; nothing when there is none.
fn read(path: &Path) -> Result<Profiles, ProfileError> {
    let cannot = |source| ProfileError::Read { path: path.to_owned(), source };
    let metadata = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Profiles::default()),
        other => other.map_err(cannot)?,
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(ProfileError::Open(path.to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(cannot)?;
    toml::from_str(&text).map_err(|source| ProfileError::Malformed { path: path.to_owned(), source })
}

fn write(path: &Path, profiles: &Profiles) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    write_file(path, toml::to_string(profiles)?.as_bytes(), true, Readers::Owner)
}

/// Commands for profiles.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Add a gateway by a name, or change it.
    Add(AddArgs),
    /// List profiles; tokens are not shown.
    List {
        /// Print JSON: an array of profiles.
        #[arg(long)]
        json: bool,
    },
    /// Make a profile the one that is used when nobody says which.
    Use {
        /// Its name.
        name: String,
    },
    /// Remove a profile, with its token.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Options of `meshward profile add`.
#[derive(clap::Args)]
pub(crate) struct AddArgs {
    /// What it is called.
    #[arg(value_parser = profile_name)]
    name: String,
    /// The gateway's address.
    #[arg(long = "gateway", value_name = "URL", value_parser = address)]
    url: String,
    /// The file that holds its token; `-` is standard input. Without this the profile has none.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Use it from now on; the first profile is used without being told.
    #[arg(long = "use")]
    current: bool,
}

/// A profile as it is listed.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    url: &'a str,
    has_token: bool,
    current: bool,
}

fn profile_name(text: &str) -> Result<String, String> {
    let fits = (1..=NAME_MAX).contains(&text.len());
    let plain = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if fits && plain {
        Ok(text.to_owned())
    } else {
        Err("take letters, digits, -, _ and ., 64 bytes at most".to_owned())
    }
}

fn address(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let plain = url.filter(|url| url.username().is_empty() && url.password().is_none());
    plain
        .map(|_url| text.trim_end_matches('/').to_owned())
        .ok_or_else(|| format!("write a URL, as {DEFAULT_URL}"))
}

pub(crate) fn run(command: Command) -> anyhow::Result<bool> {
    let path = path()?;
    let mut profiles = read(&path)?;
    match command {
        Command::List { json } => {
            list(&profiles, json)?;
            return Ok(true);
        }
        Command::Add(args) => add(&mut profiles, args)?,
        Command::Use { name } => {
            profiles.get(&name)?;
            println!("{name} is used from now on");
            profiles.current = Some(name);
        }
        Command::Remove { name } => {
            profiles.get(&name)?;
            profiles.profiles.remove(&name);
            profiles.current = profiles.current.take_if(|current| *current != name);
            println!("{name} is removed");
        }
    }
    write(&path, &profiles)?;
    Ok(true)
}

fn add(profiles: &mut Profiles, args: AddArgs) -> anyhow::Result<()> {
    let known = profiles.profiles.contains_key(&args.name);
    anyhow::ensure!(
        known || profiles.profiles.len() < PROFILES_MAX,
        "there are {PROFILES_MAX} profiles already: remove one"
    );
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    println!("{}: {}{}", args.name, args.url, if token.is_some() { ", with a token" } else { "" });
    profiles.profiles.insert(args.name.clone(), Profile { url: args.url, token });
    if args.current || profiles.current.is_none() {
        profiles.current = Some(args.name);
    }
    Ok(())
}

/// A token from a file or from standard input, never from the command line, which everybody on the machine can read.
fn read_token(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(TOKEN_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read the token in {}", path.display()))?;
    let token = text.trim();
    let fits = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
    anyhow::ensure!(fits, "{} holds no token: one line of letters, digits and signs", path.display());
    Ok(token.to_owned())
}

fn list(profiles: &Profiles, json: bool) -> anyhow::Result<()> {
    let line = |(name, profile): (&'_ String, &'_ Profile)| (name.clone(), profile.clone());
    let all: Vec<(String, Profile)> = profiles.profiles.iter().map(line).collect();
    let lines: Vec<Line<'_>> = all
        .iter()
        .map(|(name, profile)| Line {
            name,
            url: &profile.url,
            has_token: profile.token.is_some(),
            current: profiles.current.as_ref() == Some(name),
        })
        .collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(());
    }
    if lines.is_empty() {
        println!("no profiles: `meshward profile add NAME --gateway URL` adds one");
        return Ok(());
    }
    let mut rows = table(&["profile", "gateway", "token", "used"]);
    for line in &lines {
        let mark = |set, word: &str| if set { word.to_owned() } else { dash() };
        rows.add_row([
            line.name.to_owned(),
            line.url.to_owned(),
            mark(line.has_token, "yes"),
            mark(line.current, "now"),
        ]);
    }
    println!("{rows}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Profiles {
        let profile = |url: &str, token: &str| Profile { url: url.to_owned(), token: Some(token.to_owned()) };
        let profiles = [("home", profile("http://home", "h")), ("plant", profile("http://plant", "p"))];
        let profiles = profiles.into_iter().map(|(name, profile)| (name.to_owned(), profile)).collect();
        Profiles { current: Some("home".to_owned()), profiles }
    }

    #[test]
    fn what_is_said_nearest_counts_and_tokens_go_to_their_own_gateway() {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        for (url, profile, url_variable, profile_variable, token, target) in [
            ("", "", "", "", "", ("http://home", "h")),
            ("", "", "", "plant", "", ("http://plant", "p")),
            ("", "", "http://v", "plant", "", ("http://v", "")),
            ("", "plant", "http://v", "home", "", ("http://plant", "p")),
            ("http://u", "plant", "http://v", "home", "", ("http://u", "")),
            ("http://u", "", "", "", "t", ("http://u", "t")),
            ("", "plant", "", "", "t", ("http://plant", "t")),
        ] {
            let wanted = Wanted {
                url: some(url),
                token: some(token),
                profile: some(profile),
                url_variable: some(url_variable),
                profile_variable: some(profile_variable),
            };
            let found = super::target(wanted.clone(), &known()).unwrap();
            assert_eq!((&*found.url, found.token.as_deref().unwrap_or_default()), target, "{wanted:?}");
        }
        let nobody = super::target(Wanted::default(), &Profiles::default()).unwrap();
        assert_eq!(nobody, Target { url: DEFAULT_URL.to_owned(), token: None });
        let wanted = Wanted { profile: some("hme"), ..Wanted::default() };
        let error = super::target(wanted, &known()).unwrap_err().to_string();
        assert!(error.contains("`hme`") && error.contains("home, plant"), "{error}");
    }

    #[test]
    fn addresses_and_names_are_plain() {
        for (text, good) in [
            ("http://a:1", true),
            ("https://[::1]/", true),
            ("a:1", false),
            ("ftp://a", false),
            ("http://me:secret@a", false),
        ] {
            assert_eq!(address(text).is_ok(), good, "{text}");
        }
        assert!(
            profile_name("plant-2.x_y").is_ok() && profile_name("a b").is_err() && profile_name("").is_err()
        );
    }
}
