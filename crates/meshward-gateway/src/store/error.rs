//! What can go wrong with the database, and what was being done.

use jiff::Timestamp;
use thiserror::Error;

/// Why something could not be read or kept.
///
/// [`is_transient`](Self::is_transient) tells what may go by itself from what will not.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another program holds the database, for longer than we wait.
    #[error("cannot {doing}: the database is locked by another program")]
    Busy {
        /// What we were doing.
        doing: String,
        /// What the database said.
        source: Box<sqlx::Error>,
    },
    /// There is no room: the disk is full, or the database has the size that it may have.
    #[error("cannot {doing}: the disk is full, or the database has reached its greatest size")]
    Full {
        /// What we were doing.
        doing: String,
        /// What the database said.
        source: Box<sqlx::Error>,
    },
    /// The file, its disk or the server takes no writes.
    #[error("cannot {doing}: the database can only be read")]
    ReadOnly {
        /// What we were doing.
        doing: String,
        /// What the database said.
        source: Box<sqlx::Error>,
    },
    /// The server does not answer, or the connection broke.
    #[error("cannot {doing}: the database does not answer")]
    Unreachable {
        /// What we were doing.
        doing: String,
        /// What the database said.
        source: Box<sqlx::Error>,
    },
    /// A newer program has been here; this one would not understand what it left.
    #[error(
        "the database has schema {found}, and this program knows schemas up to {known}: use the program that wrote it, or a backup from before"
    )]
    Newer {
        /// The schema's number.
        found: i64,
        /// The highest number that this program knows.
        known: i64,
    },
    /// Another gateway uses the database.
    #[error(
        "another gateway uses this database: {holder}; stop it first, or wait until its lease ends at {until}"
    )]
    Held {
        /// Which, in words.
        holder: String,
        /// When its lease ends unless it is renewed.
        until: Timestamp,
    },
    /// What is there is not what was kept.
    #[error("cannot {doing}: {what}")]
    Damaged {
        /// What we were doing.
        doing: String,
        /// What is wrong, where.
        what: String,
    },
    /// What was to be kept is against a rule: something else has its name, or what it belongs to is not there.
    #[error("cannot {doing}: it is there already, or what it belongs to is not")]
    Conflict {
        /// What we were doing.
        doing: String,
        /// What the database said.
        source: Box<sqlx::Error>,
    },
    /// A file of a backup could not be read or written.
    #[error("cannot {doing}")]
    File {
        /// What we were doing, with which file.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else.
    #[error("cannot {doing}")]
    Other {
        /// What we were doing.
        doing: String,
        /// What the database said.
        source: Box<sqlx::Error>,
    },
}

impl StoreError {
    /// The same error of the database, with what we were doing.
    pub(crate) fn from_database(doing: &str, source: sqlx::Error) -> Self {
        let kind = kind(&source);
        let (doing, source) = (doing.to_owned(), Box::new(source));
        match kind {
            Kind::Busy => Self::Busy { doing, source },
            Kind::Full => Self::Full { doing, source },
            Kind::ReadOnly => Self::ReadOnly { doing, source },
            Kind::Unreachable => Self::Unreachable { doing, source },
            Kind::Conflict => Self::Conflict { doing, source },
            Kind::Other => Self::Other { doing, source },
        }
    }

    pub(crate) fn damaged(doing: &str, what: impl Into<String>) -> Self {
        Self::Damaged { doing: doing.to_owned(), what: what.into() }
    }

    /// Whether the same may succeed later, without anybody changing what was asked.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Full { .. } | Self::ReadOnly { .. } | Self::Unreachable { .. }
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Busy,
    Full,
    ReadOnly,
    Unreachable,
    Conflict,
    Other,
}

fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::PoolTimedOut => Kind::Busy,
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Kind::Unreachable,
        sqlx::Error::Database(database) => {
            if database.is_unique_violation() || database.is_foreign_key_violation() {
                return Kind::Conflict;
            }
            database.code().map_or(Kind::Other, |code| kind_of_code(&code))
        }
        _ => Kind::Other,
    }
}

/// SQLite says a number, whose low byte is the primary result code (<https://sqlite.org/rescode.html>);
/// PostgreSQL five characters (Appendix A of its manual).
fn kind_of_code(code: &str) -> Kind {
    if code.len() == 5 {
        return match code {
            // Locks, serialisation, deadlocks, too many connections.
            "55P03" | "40001" | "40P01" | "53300" => Kind::Busy,
            "53100" => Kind::Full,
            "25006" => Kind::ReadOnly,
            "57P01" | "57P02" | "57P03" => Kind::Unreachable,
            _ if code.starts_with("08") => Kind::Unreachable,
            _ => Kind::Other,
        };
    }
    match code.parse::<i32>().map(|number| number & 0xFF) {
        Ok(5 | 6) => Kind::Busy,
        Ok(8) => Kind::ReadOnly,
        Ok(13) => Kind::Full,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_have_a_meaning() {
        for (code, expected) in [
            ("5", Kind::Busy),
            ("6", Kind::Busy),
            ("261", Kind::Busy),
            ("8", Kind::ReadOnly),
            ("1032", Kind::ReadOnly),
            ("13", Kind::Full),
            ("11", Kind::Other),
            ("55P03", Kind::Busy),
            ("40001", Kind::Busy),
            ("53100", Kind::Full),
            ("25006", Kind::ReadOnly),
            ("57P01", Kind::Unreachable),
            ("08006", Kind::Unreachable),
            ("42P01", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(kind_of_code(code), expected, "{code}");
        }
    }
}
