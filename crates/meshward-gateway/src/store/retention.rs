//! For how long things are kept. Whoever runs a gateway calls [`Store::maintain`] every minute or so.

use jiff::{SignedDuration, Timestamp};

use super::value::values;
use super::{Store, StoreError};

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Raw telemetry.
    pub raw: SignedDuration,
    /// Minutes of telemetry.
    pub minutes: SignedDuration,
    /// Hours of telemetry.
    pub hours: SignedDuration,
    /// Events, changes of alerts, the tree as it was, and commands that have ended.
    pub history: SignedDuration,
    /// The most events; the oldest go first.
    pub events_max: u64,
}

impl Default for Retention {
    /// 48 hours, 90 days, 5 years; 90 days and a million events.
    fn default() -> Self {
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        Self {
            raw: SignedDuration::from_hours(48),
            minutes: days(90),
            hours: days(5 * 365),
            history: days(90),
            events_max: 1_000_000,
        }
    }
}

impl Store {
    /// Moves telemetry into blocks if some has come, and forgets what is too old at `now`; how many rows that
    /// were. Accounts, nodes, images, rules, roll-outs and the audit are never forgotten by themselves.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; what has been forgotten before stays so.
    pub async fn maintain(&self, retention: &Retention, now: Timestamp) -> Result<u64, StoreError> {
        let due = self.telemetry.log.lock().await.is_due();
        if due {
            self.compact().await?;
        }
        let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let (raw, minutes) = (before(retention.raw), before(retention.minutes));
        let mut gone = self.forget_telemetry(raw, minutes, before(retention.hours)).await?;
        let mut transaction = self.database.begin("forget what is too old").await?;
        let old = before(retention.history);
        for sql in [
            "DELETE FROM events WHERE at < $1",
            "DELETE FROM alert_transitions WHERE at < $1",
            // The last one of before is how it was at the beginning of what is kept.
            "DELETE FROM topology WHERE revision < \
             (SELECT MAX(revision) FROM topology WHERE at < $1)",
            "DELETE FROM commands WHERE accepted_at < $1 AND ended IS NOT NULL",
        ] {
            gone += transaction.write(sql, values![old]).await?;
        }
        let sql = "DELETE FROM events WHERE id <= \
                   (SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET $1)";
        gone += transaction.write(sql, values![retention.events_max]).await?;
        gone += transaction.write("DELETE FROM idempotency WHERE expires <= $1", values![now]).await?;
        transaction.commit().await?;
        Ok(gone)
    }
}
