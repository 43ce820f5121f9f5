//! What is to be sent to somebody outside, until it has been; and what became of it.
//!
//! A message is in the outbox from before it is first tried until it is delivered or given up; the same transaction
//! that takes it out writes down which. So one whose sender is killed is sent again: at least once, never lost.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::meta;
use super::value::{Row, values};
use super::{Store, StoreError};

/// The most messages that wait; beyond it new ones are refused.
pub const OUTBOX_MAX: u64 = 10_000;
/// The most that wait for one channel, so that one that is dead leaves room for the others.
pub const OUTBOX_CHANNEL_MAX: u64 = 500;
/// Messages of a channel that are remembered after their end, dead letters included; the oldest go first.
pub const DELIVERIES_MAX: u64 = 500;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Rises.
    pub id: u64,
    /// By which channel.
    pub channel: String,
    /// What, JSON that the store does not read.
    pub payload: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it may be tried next.
    pub next_at: Timestamp,
    /// Why it was not delivered at the last attempt; empty before the first.
    pub why: String,
    /// When it might be tried for the first time.
    pub first_at: Timestamp,
}

/// A message that was delivered, or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The one that it had in the outbox.
    pub id: u64,
    /// By which channel.
    pub channel: String,
    /// When it ended.
    pub at: Timestamp,
    /// Whether it was delivered; otherwise it is a dead letter.
    pub delivered: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was given up, or what the receiver said.
    pub why: String,
    /// What it was.
    pub payload: String,
}

/// How a message ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// When.
    pub at: Timestamp,
    /// Whether it was delivered.
    pub delivered: bool,
    /// Why not, or what the receiver said.
    pub why: &'a str,
}

const COLUMNS: &str = "id, channel, payload, attempts, next_at, why, first_at";
const DELIVERY_COLUMNS: &str = "id, channel, at, delivered, attempts, why, payload";

impl Store {
    /// Puts a message in; its id, or nothing when [`OUTBOX_MAX`] wait already, or [`OUTBOX_CHANNEL_MAX`] for this
    /// channel.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn add_outbox(
        &self,
        channel: &str,
        payload: &str,
        next_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let added = self.add_outbox_all(&[(channel.to_owned(), payload.to_owned(), next_at)]).await?;
        Ok(added.into_iter().next().flatten())
    }

    /// Puts several in, all or nothing but for those that have no room: channel, what, and when it may be tried.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then none is in.
    pub async fn add_outbox_all(
        &self,
        rows: &[(String, String, Timestamp)],
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let mut transaction = self.database.begin("put a message into the outbox").await?;
        let counts = transaction.read(COUNTS, Vec::new()).await?;
        let mut waiting = BTreeMap::new();
        for mut row in counts {
            waiting.insert(row.text()?, row.u64()?);
        }
        let mut ids = Vec::new();
        for (channel, payload, next_at) in rows {
            let all: u64 = waiting.values().sum();
            let mine = waiting.entry(channel.clone()).or_default();
            if all >= OUTBOX_MAX || *mine >= OUTBOX_CHANNEL_MAX {
                ids.push(None);
                continue;
            }
            *mine += 1;
            let id = meta::count_up(&mut transaction, "outbox", 1).await?;
            let sql = "INSERT INTO outbox (id, channel, payload, attempts, next_at, first_at) \
                       VALUES ($1, $2, $3, 0, $4, $4)";
            transaction.write(sql, values![id, channel.as_str(), payload.as_str(), *next_at]).await?;
            ids.push(Some(id));
        }
        transaction.commit().await?;
        Ok(ids)
    }

    /// How many wait, by channel; a channel for which none does is not there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn count_outbox(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self.database.read("count the outbox", COUNTS, Vec::new()).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.u64()?))).collect()
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
        const SQL: &str = "SELECT id, channel, payload, attempts, next_at, why, first_at FROM outbox \
                           WHERE channel = $1 AND next_at <= $2 ORDER BY next_at, id LIMIT $3";
        let rows = self.database.read("read the outbox", SQL, values![channel, now, limit]).await?;
        rows.into_iter().map(waiting).collect()
    }

    /// All that wait for a channel, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn outbox(&self, channel: &str, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM outbox WHERE channel = $1 ORDER BY id DESC LIMIT $2");
        let sql = sqlx::AssertSqlSafe(sql);
        let rows = self.database.read("read the outbox", sql, values![channel, limit]).await?;
        rows.into_iter().map(waiting).collect()
    }

    /// When the next message of a channel may be tried.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn next_outbox(&self, channel: &str) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT next_at FROM outbox WHERE channel = $1 ORDER BY next_at LIMIT 1";
        let row = self.database.read_one("read the outbox", sql, values![channel]).await?;
        row.map(|mut row| row.time()).transpose()
    }

    /// An attempt failed: the message waits until `next_at`. Whether it is there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn postpone_outbox(&self, id: u64, next_at: Timestamp, why: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE outbox SET attempts = attempts + 1, next_at = $2, why = $3 WHERE id = $1";
        let doing = "postpone a message of the outbox";
        Ok(self.database.write(doing, sql, values![id, next_at, why]).await? > 0)
    }

    /// A channel works again: what was tried and waits may be tried at once. How many that are.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn hurry_outbox(&self, channel: &str, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "UPDATE outbox SET next_at = $2 WHERE channel = $1 AND attempts > 0 AND next_at > $2";
        self.database.write("hurry the outbox", sql, values![channel, now]).await
    }

    /// Messages were sent, or given up: they go out of the outbox and into the list of deliveries, all or nothing.
    /// How many were there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn end_outbox(&self, rows: &[OutboxRow], end: &End<'_>) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin("take messages out of the outbox").await?;
        let mut gone = 0;
        for row in rows {
            if transaction.write("DELETE FROM outbox WHERE id = $1", values![row.id]).await? == 0 {
                continue;
            }
            gone += 1;
            write(&mut transaction, row, end).await?;
        }
        for row in rows.iter().take(1) {
            prune(&mut transaction, &row.channel).await?;
        }
        transaction.commit().await?;
        Ok(gone)
    }

    /// Writes down what became of a message that was never in the outbox; its id.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn add_delivery(&self, channel: &str, payload: &str, end: &End<'_>) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin("keep what became of a message").await?;
        let id = meta::count_up(&mut transaction, "outbox", 1).await?;
        let row = OutboxRow {
            id,
            channel: channel.to_owned(),
            payload: payload.to_owned(),
            attempts: 0,
            next_at: end.at,
            why: String::new(),
            first_at: end.at,
        };
        write(&mut transaction, &row, end).await?;
        prune(&mut transaction, channel).await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// What became of a channel's messages, newest first, with ids below `before`; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn deliveries(
        &self,
        channel: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let before = before.unwrap_or(i64::MAX.unsigned_abs());
        let sql = format!(
            "SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE channel = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        let sql = sqlx::AssertSqlSafe(sql);
        let rows = self.database.read("read deliveries", sql, values![channel, before, limit]).await?;
        rows.into_iter().map(ended).collect()
    }

    /// A dead letter goes back into the outbox, as if it had never been tried. Whether there is such a one, and room.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn retry_delivery(&self, channel: &str, id: u64, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin("try a dead letter again").await?;
        let sql = "SELECT COUNT(*) FROM outbox WHERE channel = $1";
        let waiting = transaction.read_one(sql, values![channel]).await?;
        if waiting.map(|mut row| row.u64()).transpose()?.unwrap_or_default() >= OUTBOX_CHANNEL_MAX {
            return Ok(false);
        }
        let sql = "INSERT INTO outbox (id, channel, payload, attempts, next_at, first_at) \
                   SELECT id, channel, payload, 0, $3, $3 FROM deliveries \
                   WHERE id = $1 AND channel = $2 AND delivered = 0";
        let there = transaction.write(sql, values![id, channel, now]).await? > 0;
        if there {
            transaction.write("DELETE FROM deliveries WHERE id = $1", values![id]).await?;
        }
        transaction.commit().await?;
        Ok(there)
    }

    /// Forgets all messages of a channel that is no more.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn forget_channel(&self, channel: &str) -> Result<(), StoreError> {
        let mut transaction = self.database.begin("forget a channel's messages").await?;
        transaction.write("DELETE FROM outbox WHERE channel = $1", values![channel]).await?;
        transaction.write("DELETE FROM deliveries WHERE channel = $1", values![channel]).await?;
        transaction.commit().await
    }
}

const COUNTS: &str = "SELECT channel, COUNT(*) FROM outbox GROUP BY channel";

async fn write(
    transaction: &mut super::database::Write,
    row: &OutboxRow,
    end: &End<'_>,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO deliveries (id, channel, at, delivered, attempts, why, payload) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = values![
        row.id,
        row.channel.as_str(),
        end.at,
        end.delivered,
        row.attempts.saturating_add(1),
        end.why,
        row.payload.as_str(),
    ];
    transaction.write(sql, values).await.map(drop)
}

async fn prune(transaction: &mut super::database::Write, channel: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM deliveries WHERE channel = $1 AND id <= \
               (SELECT id FROM deliveries WHERE channel = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
    transaction.write(sql, values![channel, DELIVERIES_MAX]).await.map(drop)
}

fn waiting(mut row: Row) -> Result<OutboxRow, StoreError> {
    Ok(OutboxRow {
        id: row.u64()?,
        channel: row.text()?,
        payload: row.text()?,
        attempts: row.u32()?,
        next_at: row.time()?,
        why: row.text()?,
        first_at: row.time()?,
    })
}

fn ended(mut row: Row) -> Result<DeliveryRow, StoreError> {
    Ok(DeliveryRow {
        id: row.u64()?,
        channel: row.text()?,
        at: row.time()?,
        delivered: row.bool()?,
        attempts: row.u32()?,
        why: row.text()?,
        payload: row.text()?,
    })
}
