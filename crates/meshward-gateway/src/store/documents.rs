//! What people write and change: alert rules, silences, channels and routes, JSON by id, each with a version.
//!
//! A change names the version that it is of, so that two people do not undo each other's without knowing.

use super::value::{Row, values};
use super::{Store, StoreError};

/// What kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A rule of the alerts.
    Rule,
    /// A silence, which is a maintenance window too.
    Silence,
    /// A channel by which people are told.
    Channel,
    /// Who is told of what: the tree of routes.
    Routes,
}

impl DocumentKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Silence => "silence",
            Self::Channel => "channel",
            Self::Routes => "routes",
        }
    }
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its id.
    pub id: String,
    /// 1 at first, one more with each change.
    pub version: u64,
    /// It, JSON that the store does not read.
    pub body: String,
}

/// What a change is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: there must be no such document.
    New,
    /// This version alone.
    Version(u64),
    /// Whatever is there, or nothing.
    Any,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made; the document's version now.
    Done(u64),
    /// It was not: the document has this version, or is not there.
    Otherwise(Option<u64>),
}

impl Store {
    /// All documents of a kind, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn documents(&self, kind: DocumentKind) -> Result<Vec<DocumentRow>, StoreError> {
        let sql = "SELECT id, version, body FROM documents WHERE kind = $1 ORDER BY id";
        let rows = self.database.read("read rules or silences", sql, values![kind.name()]).await?;
        rows.into_iter().map(read).collect()
    }

    /// One document.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn document(&self, kind: DocumentKind, id: &str) -> Result<Option<DocumentRow>, StoreError> {
        let sql = "SELECT id, version, body FROM documents WHERE kind = $1 AND id = $2";
        let row = self.database.read_one("read a rule or silence", sql, values![kind.name(), id]).await?;
        row.map(read).transpose()
    }

    /// Keeps a document, if what is there is what is expected.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn put_document(
        &self,
        kind: DocumentKind,
        id: &str,
        body: &str,
        expected: Expected,
    ) -> Result<Changed, StoreError> {
        let mut transaction = self.database.begin("keep a rule or silence").await?;
        let name = kind.name();
        let row = match expected {
            Expected::New => {
                let sql = "INSERT INTO documents (kind, id, version, body) VALUES ($1, $2, 1, $3) \
                           ON CONFLICT (kind, id) DO NOTHING RETURNING version";
                transaction.read_one(sql, values![name, id, body]).await?
            }
            Expected::Version(version) => {
                let sql = "UPDATE documents SET version = version + 1, body = $3 \
                           WHERE kind = $1 AND id = $2 AND version = $4 RETURNING version";
                transaction.read_one(sql, values![name, id, body, version]).await?
            }
            Expected::Any => {
                let sql = "INSERT INTO documents (kind, id, version, body) VALUES ($1, $2, 1, $3) \
                           ON CONFLICT (kind, id) DO UPDATE SET version = documents.version + 1, \
                           body = excluded.body RETURNING version";
                transaction.read_one(sql, values![name, id, body]).await?
            }
        };
        let Some(mut row) = row else {
            let sql = "SELECT version FROM documents WHERE kind = $1 AND id = $2";
            let found = transaction.read_one(sql, values![name, id]).await?;
            return Ok(Changed::Otherwise(found.map(|mut row| row.u64()).transpose()?));
        };
        let version = row.u64()?;
        transaction.commit().await?;
        Ok(Changed::Done(version))
    }

    /// Removes a document, if what is there is what is expected. `Done` has the version that it had.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn remove_document(
        &self,
        kind: DocumentKind,
        id: &str,
        expected: Expected,
    ) -> Result<Changed, StoreError> {
        let mut transaction = self.database.begin("remove a rule or silence").await?;
        let sql = "SELECT version FROM documents WHERE kind = $1 AND id = $2";
        let found = transaction.read_one(sql, values![kind.name(), id]).await?;
        let found = found.map(|mut row| row.u64()).transpose()?;
        match (found, expected) {
            (Some(version), Expected::Any) => self.removed(transaction, kind, id, version).await,
            (Some(version), Expected::Version(wanted)) if version == wanted => {
                self.removed(transaction, kind, id, version).await
            }
            (found, _) => Ok(Changed::Otherwise(found)),
        }
    }

    async fn removed(
        &self,
        mut transaction: super::database::Write,
        kind: DocumentKind,
        id: &str,
        version: u64,
    ) -> Result<Changed, StoreError> {
        let sql = "DELETE FROM documents WHERE kind = $1 AND id = $2 AND version = $3";
        let gone = transaction.write(sql, values![kind.name(), id, version]).await?;
        transaction.commit().await?;
        Ok(if gone > 0 { Changed::Done(version) } else { Changed::Otherwise(None) })
    }
}

fn read(mut row: Row) -> Result<DocumentRow, StoreError> {
    Ok(DocumentRow { id: row.text()?, version: row.u64()?, body: row.text()? })
}
