//! One download of what the gateway knows: rows out of a [`source`], as lines of JSON or as a table ([`csv`]).
//!
//! Rows are fetched some hundred at a time, and no more before these are on their way: however long a download is, it
//! needs little memory. Only a few may run at once, for each reads a good part of the database.

pub(super) mod csv;
pub(super) mod source;

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shell::Stopped;
use crate::store::StoreError;
use source::Source;

/// Downloads at once.
pub(super) const EXPORTS_MAX: usize = 2;

/// Places for downloads.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(EXPORTS_MAX)))
    }
}

impl Places {
    /// One of them, if there is one left.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON object a line.
    Ndjson,
    /// A table with a head (RFC 4180).
    Csv,
}

impl Format {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    pub(super) const fn ending(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// Why a download breaks off.
#[derive(Debug, Error)]
pub(super) enum ExportError {
    /// The database.
    #[error("the database cannot be read")]
    Store(#[from] StoreError),
    /// The gateway.
    #[error("the gateway is shutting down")]
    Stopped,
}

impl From<Stopped> for ExportError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// What is under way.
struct Download {
    source: Source,
    format: Format,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Download {
    /// The next bytes; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ExportError> {
        let mut text = String::new();
        if !self.begun && self.format == Format::Csv {
            csv::head(&mut text, &self.source.columns());
        }
        self.begun = true;
        while text.is_empty() {
            let Some(rows) = self.source.next().await? else { return Ok(None) };
            self.write(&mut text, &rows);
        }
        Ok(Some(text.into()))
    }

    fn write(&self, text: &mut String, rows: &[Value]) {
        let columns = self.source.columns();
        for row in rows {
            match self.format {
                Format::Ndjson => {
                    text.push_str(&row.to_string());
                    text.push('\n');
                }
                Format::Csv => csv::line(text, &columns, &self.source.flat(row)),
            }
        }
    }
}

/// The body of an answer that is a download.
pub(super) fn body(source: Source, format: Format, place: OwnedSemaphorePermit) -> Body {
    let download = Download { source, format, begun: false, _place: place };
    Body::from_stream(stream::unfold(Some(download), async |download| {
        let mut download = download?;
        match download.next().await {
            Ok(bytes) => bytes.map(|bytes| (Ok(bytes), Some(download))),
            Err(error) => {
                // The status has been sent: whoever reads sees that the rest is missing.
                tracing::warn!(error = &error as &dyn std::error::Error, "a download breaks off");
                Some((Err(io::Error::other(error)), None))
            }
        }
    }))
}
