//! Who did what, as a chain: each row has the SHA-256 of the row before and of itself, so that a row that was
//! changed, taken out or put in later is found.
//!
//! What this cannot find is somebody who writes the whole chain anew; compare its head with a backup's.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::database::Write;
use super::meta;
use super::value::{Row, values};
use super::{Store, StoreError};

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Counts from 1, without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The rest, JSON.
    pub detail: String,
    /// SHA-256 of the row before (32 zeros before the first) and this one's canonical bytes.
    pub hash: Vec<u8>,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct NewAudit<'a> {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: &'a str,
    /// What.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// The rest, JSON.
    pub detail: &'a str,
}

/// What the chain says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row follows from the one before.
    Whole {
        /// How many rows there are.
        rows: u64,
    },
    /// The first row that does not, or that is not there.
    Broken {
        /// Its number.
        seq: u64,
        /// What is wrong.
        what: &'static str,
    },
}

const COUNTER: &str = "audit";
const COLUMNS: &str = "seq, at, actor, action, subject, detail, hash";
const NO_ROW: [u8; 32] = [0; 32];
/// Rows that are read at a time.
const VERIFY_ROWS_MAX: u32 = 2000;

impl Store {
    /// Keeps what is done; its number.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then it must not be done.
    pub async fn add_audit(&self, new: &NewAudit<'_>) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin("keep a row of the audit").await?;
        let seq = append(&mut transaction, new).await?;
        transaction.commit().await?;
        Ok(seq)
    }

    /// A page, the newest first, at most `limit`, with numbers below `before` if that is given.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2");
        let found = values![before.unwrap_or(u64::MAX), limit];
        let rows = self.database.read("read the audit", sqlx::AssertSqlSafe(sql), found).await?;
        rows.into_iter().map(read).collect()
    }

    /// Follows the whole chain.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read; a broken chain is no error but the answer.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        let mut snapshot = self.database.snapshot("verify the audit").await?;
        let sql = "SELECT value FROM counters WHERE name = $1";
        let count = snapshot.read_one(sql, values![COUNTER]).await?;
        let count = count.map(|mut row| row.u64()).transpose()?.unwrap_or_default();
        let (mut last, mut seq) = (NO_ROW.to_vec(), 0);
        let sql = "SELECT seq, at, actor, action, subject, detail, hash FROM audit \
                   WHERE seq > $1 ORDER BY seq LIMIT $2";
        loop {
            let rows = snapshot.read(sql, values![seq, VERIFY_ROWS_MAX]).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let row = read(row)?;
                if row.seq != seq + 1 {
                    return Ok(AuditVerdict::Broken { seq: seq + 1, what: "it is not there" });
                }
                seq = row.seq;
                let new = NewAudit {
                    at: row.at,
                    actor: &row.actor,
                    action: &row.action,
                    subject: &row.subject,
                    detail: &row.detail,
                };
                if hash(&last, seq, &new) != row.hash {
                    let what = "its hash does not follow from it and the row before";
                    return Ok(AuditVerdict::Broken { seq, what });
                }
                last = row.hash;
            }
        }
        Ok(match seq < count {
            true => AuditVerdict::Broken { seq: seq + 1, what: "it is not there" },
            false => AuditVerdict::Whole { rows: seq },
        })
    }
}

/// Appends a row in a transaction; its number.
pub(super) async fn append(transaction: &mut Write, new: &NewAudit<'_>) -> Result<u64, StoreError> {
    // The counter's row is ours until the end, so nobody else appends meanwhile.
    let seq = meta::count_up(transaction, COUNTER, 1).await?;
    let before = before(transaction, seq).await?;
    let hash = hash(&before, seq, new);
    let sql = "INSERT INTO audit (seq, at, actor, action, subject, detail, hash) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let row = values![seq, new.at, new.actor, new.action, new.subject, new.detail, hash];
    transaction.write(sql, row).await?;
    Ok(seq)
}

async fn before(transaction: &mut Write, seq: u64) -> Result<Vec<u8>, StoreError> {
    let row = transaction.read_one("SELECT hash FROM audit WHERE seq = $1", values![seq - 1]).await?;
    Ok(row.map(|mut row| row.blob()).transpose()?.unwrap_or_else(|| NO_ROW.to_vec()))
}

/// Each text goes in behind its length, so that no two rows have the same bytes.
fn hash(before: &[u8], seq: u64, row: &NewAudit<'_>) -> Vec<u8> {
    let mut sum = Sha256::new();
    sum.update(before);
    sum.update(seq.to_be_bytes());
    sum.update(row.at.as_millisecond().to_be_bytes());
    for text in [row.actor, row.action, row.subject, row.detail] {
        sum.update((text.len() as u64).to_be_bytes());
        sum.update(text.as_bytes());
    }
    sum.finalize().to_vec()
}

fn read(mut row: Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        seq: row.u64()?,
        at: row.time()?,
        actor: row.text()?,
        action: row.text()?,
        subject: row.text()?,
        detail: row.text()?,
        hash: row.blob()?,
    })
}
