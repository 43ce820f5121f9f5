//! The gateway's database: a file of SQLite, or a PostgreSQL server, with the same contract.
//!
//! A [`Store`] is opened once and cloned freely. One file has one question: [`meta`](Store::meta) small things
//! by name, and so on below. What must not be lost is awaited; what may be late by a second goes through a
//! recorder. No clock is hidden here: whoever asks says what time it is. The store refuses a database that a
//! newer program has written, and keeps nothing that another program may change beside it.
//!
//! Times are kept in milliseconds since 1970, UTC; JSON as text; ids of nodes as decimal numbers.

mod database;
mod error;
mod meta;
mod migrate;
mod url;
mod value;

use std::time::Duration;

use database::Database;

pub use error::StoreError;
pub use url::{StoreUrl, UrlError};

/// How a database is used.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// How long one waits while another program holds the database, before it is
    /// [`Busy`](StoreError::Busy). 5 s by default.
    pub busy: Duration,
    /// The greatest size of a database file in bytes, counted in pages of 4 KB; beyond it the store is
    /// [`Full`](StoreError::Full). Not for PostgreSQL, where the server decides.
    pub size_max: Option<u64>,
    /// Whether it is only read, as beside a running gateway.
    pub read_only: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { busy: Duration::from_secs(5), size_max: None, read_only: false }
    }
}

/// The database. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens a database, makes the file if it is not there, and brings it to the schema of this program.
    ///
    /// # Errors
    /// [`StoreError`]: the file cannot be made, the server not reached, or a newer program was here.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::open_with(url, &StoreOptions::default()).await
    }

    /// The same with options of one's own. One that is only read must have the schema already.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        let database = Database::connect(url, options).await?;
        if options.read_only {
            migrate::check(&database).await?;
        } else {
            migrate::migrate(&database).await?;
        }
        Ok(Self { database })
    }

    /// The schema that this program writes.
    pub fn schema() -> i64 {
        migrate::known()
    }

    /// Ends all connections, after what is under way; of a file, what is in its log is moved into it.
    /// Without this the same happens in the background when the last clone is dropped.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
