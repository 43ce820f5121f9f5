//! What is to be sent to somebody outside, until it has been.

use jiff::Timestamp;

use super::meta;
use super::value::{Row, values};
use super::{Store, StoreError};

/// The most messages that wait; beyond it new ones are refused.
pub const OUTBOX_MAX: u64 = 10_000;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Rises.
    pub id: u64,
    /// By which channel.
    pub channel: String,
    /// What, as the channel wants it.
    pub payload: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it may be tried next.
    pub next_at: Timestamp,
}

impl Store {
    /// Puts a message in; its id, or nothing when [`OUTBOX_MAX`] wait already.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn add_outbox(
        &self,
        channel: &str,
        payload: &str,
        next_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let mut transaction = self.database.begin("put a message into the outbox").await?;
        let waiting = transaction.read_one("SELECT COUNT(*) FROM outbox", Vec::new()).await?;
        if waiting.map(|mut row| row.u64()).transpose()?.unwrap_or_default() >= OUTBOX_MAX {
            return Ok(None);
        }
        let id = meta::count_up(&mut transaction, "outbox", 1).await?;
        let sql = "INSERT INTO outbox (id, channel, payload, attempts, next_at) VALUES ($1, $2, $3, 0, $4)";
        transaction.write(sql, values![id, channel, payload, next_at]).await?;
        transaction.commit().await?;
        Ok(Some(id))
    }

    /// What may be tried now, the longest due first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn due_outbox(
        &self,
        channel: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = "SELECT id, channel, payload, attempts, next_at FROM outbox \
                   WHERE channel = $1 AND next_at <= $2 ORDER BY next_at, id LIMIT $3";
        let rows = self.database.read("read the outbox", sql, values![channel, now, limit]).await?;
        let read = |mut row: Row| {
            Ok(OutboxRow {
                id: row.u64()?,
                channel: row.text()?,
                payload: row.text()?,
                attempts: row.u32()?,
                next_at: row.time()?,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// An attempt failed: the message waits until `next_at`. Whether it is there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn postpone_outbox(&self, id: u64, next_at: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, next_at = $2 WHERE id = $1";
        Ok(self.database.write("postpone a message of the outbox", sql, values![id, next_at]).await? > 0)
    }

    /// The message was sent, or given up. Whether it was there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn remove_outbox(&self, id: u64) -> Result<bool, StoreError> {
        let sql = "DELETE FROM outbox WHERE id = $1";
        Ok(self.database.write("take a message out of the outbox", sql, values![id]).await? > 0)
    }
}
