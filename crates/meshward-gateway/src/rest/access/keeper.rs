//! What keeps users, tokens and sessions from one start to the next, and what writes the audit.
//!
//! The gateway's store is one. Access does not know it, so that a demonstration needs none, and a test one that fails.

use std::error::Error;
use std::fmt::Debug;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::book::{Book, Change};

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
#[error("it could not be written to the database")]
pub struct KeepError {
    /// Whether the same may succeed later by itself.
    pub transient: bool,
    /// What the database said.
    pub source: Box<dyn Error + Send + Sync>,
}

/// A line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Who: a user, a token, `local` or `setup`.
    pub who: String,
    /// From which address.
    pub from: String,
    /// What, in one word: `user.create`.
    pub act: &'static str,
    /// What, in words.
    pub text: String,
}

/// See the module's page.
pub trait Keeper: Debug + Send + Sync {
    /// Everybody there is.
    fn load(&self) -> BoxFuture<'_, Result<Book, KeepError>>;

    /// Keeps changes, all or none.
    fn keep<'a>(&'a self, changes: &'a [Change]) -> BoxFuture<'a, Result<(), KeepError>>;

    /// Adds a line to the audit.
    fn note(&self, line: Line) -> BoxFuture<'_, Result<(), KeepError>>;
}
