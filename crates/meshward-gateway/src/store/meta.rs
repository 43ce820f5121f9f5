//! Small things that the store or its users keep by name, and numbers that never come twice.

use super::database::Write;
use super::value::values;
use super::{Store, StoreError};

impl Store {
    /// What is kept under a name.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = $1";
        let row = self.database.read_one("read a setting of the store", sql, values![key]).await?;
        row.map(|mut row| row.text()).transpose()
    }

    /// Keeps something under a name.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then what was there is still there.
    pub async fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let mut transaction = self.database.begin("keep a setting of the store").await?;
        set(&mut transaction, key, value).await?;
        transaction.commit().await
    }

    /// Reserves `count` numbers of a kind for good and gives the first: whoever counts in memory starts here,
    /// and after a crash nothing is numbered twice. Numbers begin with 1.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn reserve(&self, name: &str, count: u32) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin("reserve numbers").await?;
        let last = count_up(&mut transaction, name, count).await?;
        transaction.commit().await?;
        Ok(last - u64::from(count) + 1)
    }
}

pub(super) async fn get(transaction: &mut Write, key: &str) -> Result<Option<String>, StoreError> {
    let row = transaction.read_one("SELECT value FROM meta WHERE key = $1", values![key]).await?;
    row.map(|mut row| row.text()).transpose()
}

pub(super) async fn set(transaction: &mut Write, key: &str, value: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (key, value) VALUES ($1, $2) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    transaction.write(sql, values![key, value]).await.map(drop)
}

/// Adds `count` to a counter and gives the last number; until the transaction ends nobody else can.
pub(super) async fn count_up(transaction: &mut Write, name: &str, count: u32) -> Result<u64, StoreError> {
    let sql = "INSERT INTO counters (name, value) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value";
    match transaction.read_one(sql, values![name, count]).await? {
        Some(mut row) => row.u64(),
        None => Err(StoreError::damaged("count up", format!("the counter {name} gave nothing"))),
    }
}
