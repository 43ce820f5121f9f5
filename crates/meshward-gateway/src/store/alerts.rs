//! Alerts as they are, and how they came to be so.

use jiff::Timestamp;

use super::database::Write;
use super::meta;
use super::value::{Row, values};
use super::{Store, StoreError};

/// An alert as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// What makes it the same alert.
    pub fingerprint: String,
    /// Since when it is so.
    pub at: Timestamp,
    /// It, JSON that the store does not read; nothing when the alert is over and not to be listed any more.
    pub state: Option<String>,
    /// How it came to be so, JSON that the store does not read, if that belongs into its history.
    pub transition: Option<String>,
}

/// A change of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionRow {
    /// Rises.
    pub id: u64,
    /// Of which.
    pub fingerprint: String,
    /// When.
    pub at: Timestamp,
    /// What, JSON.
    pub transition: String,
}

impl Store {
    /// All alerts that are listed, by fingerprint: the fingerprint and its JSON.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn alerts(&self) -> Result<Vec<(String, String)>, StoreError> {
        let sql = "SELECT fingerprint, state FROM alerts ORDER BY fingerprint";
        let rows = self.database.read("read the alerts", sql, Vec::new()).await?;
        rows.into_iter().map(|mut row| Ok((row.text()?, row.text()?))).collect()
    }

    /// Keeps an alert as it is now, at once.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn put_alert(&self, alert: &AlertRow) -> Result<(), StoreError> {
        let mut transaction = self.database.begin("keep an alert").await?;
        put(&mut transaction, alert).await?;
        transaction.commit().await
    }

    /// What became of an alert, the newest first, at most `limit`, with ids below `before` if that is given.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn alert_history(
        &self,
        fingerprint: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<TransitionRow>, StoreError> {
        let sql = "SELECT id, fingerprint, at, transition FROM alert_transitions \
                   WHERE fingerprint = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
        let found = values![fingerprint, before.unwrap_or(u64::MAX), limit];
        let rows = self.database.read("read the history of an alert", sql, found).await?;
        rows.into_iter().map(read).collect()
    }
}

pub(super) async fn put(transaction: &mut Write, alert: &AlertRow) -> Result<(), StoreError> {
    if let Some(state) = &alert.state {
        let sql = "INSERT INTO alerts (fingerprint, at, state) VALUES ($1, $2, $3) \
                   ON CONFLICT (fingerprint) DO UPDATE SET at = excluded.at, state = excluded.state";
        transaction.write(sql, values![alert.fingerprint.clone(), alert.at, state.clone()]).await?;
    } else {
        let sql = "DELETE FROM alerts WHERE fingerprint = $1";
        transaction.write(sql, values![alert.fingerprint.clone()]).await?;
    }
    if let Some(transition) = &alert.transition {
        let id = meta::count_up(transaction, "alert_transitions", 1).await?;
        let sql = "INSERT INTO alert_transitions (id, fingerprint, at, transition) VALUES ($1, $2, $3, $4)";
        let found = values![id, alert.fingerprint.clone(), alert.at, transition.clone()];
        transaction.write(sql, found).await?;
    }
    Ok(())
}

fn read(mut row: Row) -> Result<TransitionRow, StoreError> {
    Ok(TransitionRow { id: row.u64()?, fingerprint: row.text()?, at: row.time()?, transition: row.text()? })
}
