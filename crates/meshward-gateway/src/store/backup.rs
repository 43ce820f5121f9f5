//! Backups: one file that is itself a database of SQLite, whatever the store is, so that what was kept by one
//! database can go on in the other.
//!
//! A backup is of one moment and may be taken while the gateway runs. A restore replaces everything, or changes
//! nothing; who uses the database at the time stays as it is.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::AssertSqlSafe;

use super::database::{Database, Write};
use super::value::{Kind, Value, values};
use super::{Store, StoreError, StoreOptions, StoreUrl, migrate};

/// Rows that are under way at a time.
const ROWS_MAX: u64 = 64;

/// What belongs to the database and not to what it keeps.
const NOT_COPIED: [&str; 2] = ["migrations", "lease"];

impl Store {
    /// Writes a backup to a new file, which is its owner's alone.
    ///
    /// # Errors
    /// [`StoreError::File`] when the file is there already or cannot be made; another when the database cannot be
    /// read, or the file not be written. Then there is no file.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let doing = || format!("write the backup {}", to.display());
        if to.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(StoreError::File { doing: doing(), source });
        }
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = |source| StoreError::File { doing: doing(), source };
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&part).map_err(file)?;
        let written = self.write_backup(&part).await;
        let done = match written {
            Ok(()) => std::fs::rename(&part, to).map_err(file),
            Err(error) => Err(error),
        };
        if done.is_err() {
            remove(&part);
        }
        done
    }

    async fn write_backup(&self, to: &Path) -> Result<(), StoreError> {
        if let Some(path) = self.url.path() {
            return Database::copy_file(path, to).await;
        }
        let copy = Self::open(&StoreUrl::Sqlite(to.to_owned())).await?;
        let mut from = self.database.snapshot("read everything for a backup").await?;
        let mut into = copy.database.begin("write a backup").await?;
        for table in tables(&copy.database).await? {
            table.copy(&mut from, &mut into).await?;
        }
        into.commit().await?;
        copy.close().await;
        Ok(())
    }

    /// Replaces everything by what a backup has, also one of an older program. Nobody else may use the database:
    /// take the lease first.
    ///
    /// # Errors
    /// [`StoreError::Newer`] for a backup of a newer program; another when the file is no backup, or the database
    /// cannot be written. Then everything is as it was.
    pub async fn restore(&self, from: &Path) -> Result<(), StoreError> {
        let file = |source| StoreError::File { doing: format!("read the backup {}", from.display()), source };
        std::fs::metadata(from).map_err(file)?;
        // A copy of our own: an older schema is brought to ours in it, and the backup stays as it is.
        let folder = self.url.path().and_then(Path::parent).map_or_else(std::env::temp_dir, Path::to_owned);
        // `""` is the parent of a name alone.
        let folder = if folder.as_os_str().is_empty() { ".".into() } else { folder };
        let own = tempfile::Builder::new().prefix("meshward-restore-").tempdir_in(&folder);
        let own = own.map_err(|source| StoreError::File {
            doing: format!("make a folder for a copy of the backup in {}", folder.display()),
            source,
        })?;
        let copy = own.path().join("copy.db");
        Database::copy_file(from, &copy).await?;
        self.replace_by(&copy).await
    }

    async fn replace_by(&self, copy: &Path) -> Result<(), StoreError> {
        let copy = Database::connect(&StoreUrl::Sqlite(copy.to_owned()), &StoreOptions::default()).await?;
        migrate::require(&copy).await?;
        migrate::migrate(&copy).await?;
        let mut log = self.telemetry.log.lock().await;
        let tables = tables(&copy).await?;
        let mut from = copy.snapshot("read a backup").await?;
        let mut into = self.database.begin("put a backup in the place of what is kept").await?;
        for table in tables.iter().rev() {
            into.write(AssertSqlSafe(format!("DELETE FROM \"{}\"", table.name)), Vec::new()).await?;
        }
        for table in &tables {
            table.copy(&mut from, &mut into).await?;
        }
        into.commit().await?;
        *log = super::telemetry::log::Log::default();
        self.telemetry.forget_names().await;
        drop(from);
        copy.close().await;
        Ok(())
    }
}

/// A table and what its columns hold.
struct Table {
    name: String,
    columns: Vec<(String, Kind)>,
    key: Vec<String>,
}

/// All tables of a file, those first that others belong to.
async fn tables(database: &Database) -> Result<Vec<Table>, StoreError> {
    const DOING: &str = "read the schema";
    let sql =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid";
    let mut tables = Vec::new();
    for mut row in database.read(DOING, sql, Vec::new()).await? {
        let name = row.text()?;
        if NOT_COPIED.contains(&name.as_str()) {
            continue;
        }
        let sql = "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid";
        let (mut columns, mut key) = (Vec::new(), Vec::new());
        for mut row in database.read(DOING, sql, values![name.clone()]).await? {
            let (column, kind) = (row.text()?, kind(&row.text()?));
            if row.int()? > 0 {
                key.push(quoted(&column));
            }
            columns.push((quoted(&column), kind));
        }
        tables.push(Table { name, columns, key });
    }
    Ok(tables)
}

fn quoted(column: &str) -> String {
    format!("\"{column}\"")
}

fn kind(declared: &str) -> Kind {
    match declared {
        "TEXT" => Kind::Text,
        "BLOB" => Kind::Blob,
        "DOUBLE PRECISION" | "REAL" => Kind::Real,
        _ => Kind::Int,
    }
}

impl Table {
    async fn copy(&self, from: &mut Write, into: &mut Write) -> Result<(), StoreError> {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        let select = format!(
            "SELECT {names} FROM \"{}\" ORDER BY {} LIMIT $1 OFFSET $2",
            self.name,
            self.key.join(", ")
        );
        let head = format!("INSERT INTO \"{}\" ({names})", self.name);
        let mut offset = 0;
        loop {
            let rows = from.read(AssertSqlSafe(select.clone()), values![ROWS_MAX, offset]).await?;
            let count = rows.len() as u64;
            let rows = rows.into_iter().map(|row| self.typed(row.rest())).collect();
            into.insert(&head, rows, "").await?;
            offset += count;
            if count < ROWS_MAX {
                return Ok(());
            }
        }
    }

    /// What is nothing in SQLite has no kind; the column has.
    fn typed(&self, mut row: Vec<Value>) -> Vec<Value> {
        for (value, (_, kind)) in row.iter_mut().zip(&self.columns) {
            if let Value::Null(of) = value {
                *of = *kind;
            }
        }
        row
    }
}

/// Removes a file of ours that may not be there; one that stays is in nobody's way.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), "cannot remove a file of a backup: {error}");
    }
}
