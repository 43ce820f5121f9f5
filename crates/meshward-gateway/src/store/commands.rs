//! Commands to nodes: kept before they are sent, so that one that was accepted is never lost.

use jiff::Timestamp;

use super::meta;
use super::value::{Row, values};
use super::{Store, StoreError};

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRow {
    /// Its id, which the node's answer repeats.
    pub cid: u64,
    /// To whom.
    pub node: u32,
    /// What.
    pub code: i64,
    /// With what, JSON that the store does not read.
    pub params: String,
    /// Whose wish it is.
    pub actor: String,
    /// Since when it stands.
    pub accepted_at: Timestamp,
    /// What came of it, JSON; nothing while it is under way.
    pub ended: Option<String>,
}

/// A command that comes.
#[derive(Clone, Copy, Debug)]
pub struct NewCommand<'a> {
    /// To whom.
    pub node: u32,
    /// What.
    pub code: i64,
    /// With what, JSON.
    pub params: &'a str,
    /// Whose wish it is.
    pub actor: &'a str,
    /// When it comes.
    pub accepted_at: Timestamp,
}

const COLUMNS: &str = "cid, node, code, params, actor, accepted_at, ended";

impl Store {
    /// Accepts a command; its id.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then it must not be sent.
    pub async fn add_command(&self, new: &NewCommand<'_>) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin("accept a command").await?;
        let cid = meta::count_up(&mut transaction, "commands", 1).await?;
        let sql = "INSERT INTO commands (cid, node, code, params, actor, accepted_at) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let row = values![cid, new.node, new.code, new.params, new.actor, new.accepted_at];
        transaction.write(sql, row).await?;
        transaction.commit().await?;
        Ok(cid)
    }

    /// Keeps what came of a command; whether it was under way.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn end_command(&self, cid: u64, ended: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE commands SET ended = $2 WHERE cid = $1 AND ended IS NULL";
        Ok(self.database.write("end a command", sql, values![cid, ended]).await? > 0)
    }

    /// Those under way, the oldest first: what a gateway takes up again after a restart.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn open_commands(&self) -> Result<Vec<CommandRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM commands WHERE ended IS NULL ORDER BY cid");
        let rows = self.database.read("read open commands", sqlx::AssertSqlSafe(sql), Vec::new()).await?;
        rows.into_iter().map(read).collect()
    }

    /// One command.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn command(&self, cid: u64) -> Result<Option<CommandRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM commands WHERE cid = $1");
        let row = self.database.read_one("read a command", sqlx::AssertSqlSafe(sql), values![cid]).await?;
        row.map(read).transpose()
    }
}

fn read(mut row: Row) -> Result<CommandRow, StoreError> {
    Ok(CommandRow {
        cid: row.u64()?,
        node: row.u32()?,
        code: row.int()?,
        params: row.text()?,
        actor: row.text()?,
        accepted_at: row.time()?,
        ended: row.maybe_text()?,
    })
}
