//! What is known of each node for good.

use jiff::Timestamp;

use super::database::Write;
use super::value::{Row, Value, values};
use super::{Store, StoreError};

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub id: u32,
    /// What people call it.
    pub name: Option<String>,
    /// Tags, a JSON array of text.
    pub tags: String,
    /// What people have written down.
    pub notes: String,
    /// Its hardware, where it tells.
    pub hardware: Option<String>,
    /// Its role, where it tells.
    pub role: Option<String>,
    /// What it runs, where it tells.
    pub firmware: Option<String>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// What the fleet remembers of it, JSON that the store does not read.
    pub memory: Option<String>,
}

const COLUMNS: &str = "id, name, tags, notes, hardware, role, firmware, first_seen, last_seen, memory";

impl Store {
    /// All nodes, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM nodes ORDER BY id");
        let rows = self.database.read("read the nodes", sqlx::AssertSqlSafe(sql), Vec::new()).await?;
        rows.into_iter().map(read).collect()
    }

    /// One node.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn node(&self, id: u32) -> Result<Option<NodeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM nodes WHERE id = $1");
        let row = self.database.read_one("read a node", sqlx::AssertSqlSafe(sql), values![id]).await?;
        row.map(read).transpose()
    }

    /// Keeps a node as it is now.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn put_node(&self, node: &NodeRow) -> Result<(), StoreError> {
        let mut transaction = self.database.begin("keep a node").await?;
        put(&mut transaction, std::iter::once(node)).await?;
        transaction.commit().await
    }

    /// Forgets a node and all that it has measured; what has happened stays. Whether it was known.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn forget_node(&self, id: u32) -> Result<bool, StoreError> {
        // What is still in the log would bring its blocks back.
        self.compact().await?;
        let mut transaction = self.database.begin("forget a node").await?;
        let known = transaction.write("DELETE FROM nodes WHERE id = $1", values![id]).await? > 0;
        transaction.write("DELETE FROM telemetry_blocks WHERE node = $1", values![id]).await?;
        transaction.commit().await?;
        Ok(known)
    }
}

pub(super) async fn put(
    transaction: &mut Write,
    nodes: impl Iterator<Item = &NodeRow>,
) -> Result<(), StoreError> {
    let head = format!("INSERT INTO nodes ({COLUMNS})");
    let tail = "ON CONFLICT (id) DO UPDATE SET name = excluded.name, tags = excluded.tags, \
                notes = excluded.notes, hardware = excluded.hardware, role = excluded.role, \
                firmware = excluded.firmware, first_seen = excluded.first_seen, \
                last_seen = excluded.last_seen, memory = excluded.memory";
    let rows: Vec<Vec<Value>> = nodes.map(written).collect();
    transaction.insert(&head, rows, tail).await
}

fn written(node: &NodeRow) -> Vec<Value> {
    values![
        node.id,
        node.name.clone(),
        node.tags.clone(),
        node.notes.clone(),
        node.hardware.clone(),
        node.role.clone(),
        node.firmware.clone(),
        node.first_seen,
        node.last_seen,
        node.memory.clone(),
    ]
}

fn read(mut row: Row) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        id: row.u32()?,
        name: row.maybe_text()?,
        tags: row.text()?,
        notes: row.text()?,
        hardware: row.maybe_text()?,
        role: row.maybe_text()?,
        firmware: row.maybe_text()?,
        first_seen: row.time()?,
        last_seen: row.time()?,
        memory: row.maybe_text()?,
    })
}
