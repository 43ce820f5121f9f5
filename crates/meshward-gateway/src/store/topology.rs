//! The tree, each time that it had changed.

use jiff::Timestamp;

use super::database::Write;
use super::value::{Row, values};
use super::{Store, StoreError};

/// The whole tree as it was from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyRow {
    /// Rises with each change.
    pub revision: u64,
    /// Since when.
    pub at: Timestamp,
    /// The tree, JSON that the store does not read.
    pub tree: String,
}

impl Store {
    /// The tree as it was at a moment; nothing if that is before the first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn topology_at(&self, at: Timestamp) -> Result<Option<TopologyRow>, StoreError> {
        let sql =
            "SELECT revision, at, tree FROM topology WHERE at <= $1 ORDER BY at DESC, revision DESC LIMIT 1";
        let row = self.database.read_one("read the tree of a moment", sql, values![at]).await?;
        row.map(read).transpose()
    }

    /// The last tree that was kept.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn last_topology(&self) -> Result<Option<TopologyRow>, StoreError> {
        let sql = "SELECT revision, at, tree FROM topology ORDER BY revision DESC LIMIT 1";
        self.database.read_one("read the last tree", sql, Vec::new()).await?.map(read).transpose()
    }

    /// When the tree changed in a time, the newest first, at most `limit`: revisions and times.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn topology_changes(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<(u64, Timestamp)>, StoreError> {
        let sql =
            "SELECT revision, at FROM topology WHERE at >= $1 AND at < $2 ORDER BY revision DESC LIMIT $3";
        let rows = self.database.read("read when the tree changed", sql, values![from, to, limit]).await?;
        rows.into_iter().map(|mut row| Ok((row.u64()?, row.time()?))).collect()
    }

    /// The trees of a time, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn topologies(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<TopologyRow>, StoreError> {
        let sql =
            "SELECT revision, at, tree FROM topology WHERE at >= $1 AND at < $2 ORDER BY revision LIMIT $3";
        let rows = self.database.read("read the trees of a time", sql, values![from, to, limit]).await?;
        rows.into_iter().map(read).collect()
    }
}

pub(super) async fn put(
    transaction: &mut Write,
    rows: impl Iterator<Item = &TopologyRow>,
) -> Result<(), StoreError> {
    let rows = rows.map(|row| values![row.revision, row.at, row.tree.clone()]).collect();
    let tail = "ON CONFLICT (revision) DO UPDATE SET at = excluded.at, tree = excluded.tree";
    transaction.insert("INSERT INTO topology (revision, at, tree)", rows, tail).await
}

fn read(mut row: Row) -> Result<TopologyRow, StoreError> {
    Ok(TopologyRow { revision: row.u64()?, at: row.time()?, tree: row.text()? })
}
