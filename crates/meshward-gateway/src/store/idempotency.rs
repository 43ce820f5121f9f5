//! Requests that may come twice: the key that a client gave, and what it was answered.

use jiff::Timestamp;

use super::value::values;
use super::{Store, StoreError};

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is new and now ours: answer the request, then [`Store::finish_idempotency`].
    New,
    /// The same request is being answered.
    UnderWay,
    /// The same request was answered so.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The key was used for another request.
    Other,
}

impl Store {
    /// Claims a key of somebody for a request, by the request's hash, until `expires`. One that has expired
    /// at `now` is as good as new.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then the request must not be executed.
    pub async fn claim_idempotency(
        &self,
        actor: &str,
        key: &str,
        request_hash: &str,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Claim, StoreError> {
        const DOING: &str = "claim an idempotency key";
        let mut transaction = self.database.begin(DOING).await?;
        let sql = "INSERT INTO idempotency (actor, key, request_hash, expires) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (actor, key) DO UPDATE SET request_hash = excluded.request_hash, \
                   status = NULL, body = NULL, expires = excluded.expires \
                   WHERE idempotency.expires <= $5";
        if transaction.write(sql, values![actor, key, request_hash, expires, now]).await? > 0 {
            transaction.commit().await?;
            return Ok(Claim::New);
        }
        let sql = "SELECT request_hash, status, body FROM idempotency WHERE actor = $1 AND key = $2";
        let Some(mut row) = transaction.read_one(sql, values![actor, key]).await? else {
            return Err(StoreError::damaged(DOING, "it was there and is not"));
        };
        let (found, status, body) = (row.text()?, row.maybe_int()?, row.maybe_text()?);
        Ok(match (status.and_then(|status| u16::try_from(status).ok()), body) {
            _ if found != request_hash => Claim::Other,
            (Some(status), Some(body)) => Claim::Answered { status, body },
            _ => Claim::UnderWay,
        })
    }

    /// Keeps what the request was answered.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn finish_idempotency(
        &self,
        actor: &str,
        key: &str,
        status: u16,
        body: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE idempotency SET status = $3, body = $4 WHERE actor = $1 AND key = $2";
        let row = values![actor, key, u32::from(status), body];
        self.database.write("keep an answer under its idempotency key", sql, row).await.map(drop)
    }

    /// Gives a key back whose request was not executed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn release_idempotency(&self, actor: &str, key: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM idempotency WHERE actor = $1 AND key = $2 AND status IS NULL";
        self.database.write("release an idempotency key", sql, values![actor, key]).await.map(drop)
    }
}
