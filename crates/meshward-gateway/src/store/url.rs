//! Where the database is, as an operator writes it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

/// What an operator wrote cannot be a database's place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "store.url: `{value}` {what}; right would be a path, `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`"
)]
pub struct UrlError {
    value: String,
    what: String,
}

/// Where the database is: a file of SQLite, or a PostgreSQL server.
#[derive(Clone, Debug)]
pub enum StoreUrl {
    /// A file, made when it is not there.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

impl StoreUrl {
    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let wrong = |value: &str, what: &str| UrlError { value: value.to_owned(), what: what.to_owned() };
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return match path {
                "" => Err(wrong(text, "names no file")),
                _ if path.contains('?') => Err(wrong(text, "has parameters, which a file does not take")),
                ":memory:" => Err(wrong(text, "would lose everything at the end")),
                _ => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // The value may hold a password: it is not repeated.
            let options = PgConnectOptions::from_str(text)
                .map_err(|error| wrong("postgres://…", &format!("cannot be read ({error})")))?;
            if options.get_database().is_none() {
                return Err(wrong("postgres://…", "names no database"));
            }
            return Ok(Self::Postgres(Box::new(options.application_name("meshward"))));
        }
        match text.split_once("://") {
            Some((scheme, _)) => {
                Err(wrong(&format!("{scheme}://…"), "is of a kind that Meshward does not know"))
            }
            None if text.is_empty() => Err(wrong(text, "is empty")),
            None => Ok(Self::Sqlite(PathBuf::from(text))),
        }
    }
}

/// Without the password, for logs.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(options) => {
                let host = match options.get_socket() {
                    Some(socket) => socket.display().to_string(),
                    None => options.get_host().to_owned(),
                };
                let database = options.get_database().unwrap_or_default();
                write!(f, "postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for (text, shown) in [
            ("meshward.db", "sqlite:meshward.db"),
            ("/var/lib/meshward/meshward.db", "sqlite:/var/lib/meshward/meshward.db"),
            ("sqlite:a.db", "sqlite:a.db"),
            ("sqlite:///a/b.db", "sqlite:/a/b.db"),
            ("sqlite://b.db", "sqlite:b.db"),
            ("postgres://me:secret@db.example:5433/mesh", "postgres://me@db.example:5433/mesh"),
            ("postgresql://me@db.example/mesh", "postgres://me@db.example:5432/mesh"),
            ("postgres:///mesh?host=/run/pg&user=me", "postgres://me@/run/pg:5432/mesh"),
        ] {
            assert_eq!(text.parse::<StoreUrl>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_and_passwords_are_not() {
        for (text, part) in [
            ("", "`` is empty"),
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "would lose everything"),
            ("sqlite:a.db?mode=ro", "has parameters"),
            ("mysql://me:secret@db/mesh", "`mysql://…` is of a kind"),
            ("postgres://me:secret@db", "names no database"),
            ("postgres://me:secret@db:port/mesh", "cannot be read"),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains(part) && error.starts_with("store.url: "), "{text}: {error}");
            assert!(error.contains("sqlite:PATH") && !error.contains("secret"), "{error}");
        }
    }
}
