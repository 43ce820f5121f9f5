//! The gateway's database: a file of SQLite, or a PostgreSQL server, with the same contract.
//!
//! A [`Store`] is opened once and cloned freely. One file has one question, and
//! rows are plain structs. What must not be lost is awaited; what may be late by a second goes through a
//! [`Recorder`]. No clock is hidden here: whoever asks says what time it is. The store refuses a database that a
//! newer program has written, and keeps nothing that another program may change beside it.
//!
//! Times are kept in milliseconds since 1970, UTC; JSON as text; ids of nodes as decimal numbers.

mod accounts;
mod alerts;
mod audit;
mod backup;
mod commands;
mod database;
mod documents;
mod error;
mod events;
mod firmware;
mod idempotency;
mod lease;
mod meta;
mod migrate;
mod nodes;
mod outbox;
mod recorder;
mod retention;
mod rollouts;
mod telemetry;
mod topology;
mod url;
mod value;

use std::sync::Arc;
use std::time::Duration;

use database::Database;
use telemetry::Telemetry;

pub use alerts::{AlertRow, TransitionRow};
pub use audit::{AuditRow, AuditVerdict, NewAudit};
pub use commands::{CommandRow, NewCommand};
pub use documents::{Changed, DocumentKind, DocumentRow, Expected};
pub use error::StoreError;
pub use events::{EVENT_IDS, EVENTS_PER_PAGE_MAX, EventFilter, EventRow};
pub use firmware::{FirmwareRow, IMAGE_BYTES_MAX, NewFirmware};
pub use idempotency::Claim;
pub use lease::{Holder, LEASE_SECONDS};
pub use nodes::NodeRow;
pub use outbox::{DELIVERIES_MAX, DeliveryRow, End, OUTBOX_CHANNEL_MAX, OUTBOX_MAX, OutboxRow};
pub use recorder::{BACKLOG_MAX, Dropped, QUEUE_MAX, Record, Recorder};
pub use retention::Retention;
pub use rollouts::{RolloutNodeRow, RolloutRow, WaveDecision};
pub use telemetry::{
    Aggregate, History, HistoryQuery, METRICS_MAX, MetricId, POINTS_MAX, Point, Resolution, Sample,
};
pub use topology::TopologyRow;
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
    url: Arc<StoreUrl>,
    database: Database,
    telemetry: Arc<Telemetry>,
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
        Ok(Self { url: Arc::new(url.clone()), database, telemetry: Arc::default() })
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
