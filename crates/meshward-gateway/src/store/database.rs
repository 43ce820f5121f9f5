//! The two databases behind one face: a query is the same text for both, with `$1`, `$2` for its values.
//!
//! SQLite has one writer and a few readers, as it wants it; PostgreSQL one pool. Every call says what it is
//! for, so that an error can.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr, Transaction};

use super::value::{Kind, Row, Value, from_postgres, from_sqlite};
use super::{StoreError, StoreOptions, StoreUrl};

/// Rows that one statement inserts: more bring nothing, and SQLite takes 32 766 values.
pub(crate) const ROWS_PER_INSERT_MAX: usize = 250;

const READERS_MAX: u32 = 4;
const POSTGRES_CONNECTIONS_MAX: u32 = 6;
/// How long one waits for a connection of ours to be free; only a writer that hangs takes so long.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

impl Database {
    pub(super) async fn connect(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => Self::open_file(path, options).await,
            StoreUrl::Postgres(server) => Self::reach_server(server, options).await,
        }
    }

    async fn open_file(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let doing = format!("open the database {}", path.display());
        if !options.read_only {
            // Ours alone: it holds the hashes of passwords and tokens. SQLite gives its other files the same mode.
            let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
            if let Err(source) = made
                && source.kind() != std::io::ErrorKind::AlreadyExists
            {
                return Err(StoreError::File { doing, source });
            }
        }
        let mut connect = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(options.busy)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .read_only(options.read_only)
            .disable_statement_logging();
        if !options.read_only {
            connect = connect.journal_mode(SqliteJournalMode::Wal);
        }
        let mut write = connect.clone();
        if let Some(bytes) = options.size_max {
            write = write.pragma("max_page_count", (bytes / 4096).max(1).to_string());
        }
        let error = |source| StoreError::from_database(&doing, source);
        let pool =
            SqlitePoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT).after_release(|connection, _| {
                // Ends what was begun and not committed. SQLite has done so already where the disk was full, and
                // then this is refused; sqlx's own transactions would believe themselves inside one for ever.
                Box::pin(async move {
                    let _ = sqlx::query("ROLLBACK").execute(connection).await;
                    Ok(true)
                })
            });
        let writer = pool.clone().max_connections(1).connect_with(write).await.map_err(error)?;
        let readers = pool.max_connections(READERS_MAX).connect_lazy_with(connect.pragma("query_only", "on"));
        Ok(Self::Sqlite { writer, readers })
    }

    async fn reach_server(server: &PgConnectOptions, options: &StoreOptions) -> Result<Self, StoreError> {
        let mut settings = vec![("lock_timeout", options.busy.as_millis().to_string())];
        if options.read_only {
            settings.push(("default_transaction_read_only", "on".to_owned()));
        }
        let connect = server.clone().options(settings).disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(connect)
            .await
            .map_err(|source| StoreError::from_database("reach the PostgreSQL server", source))?;
        Ok(Self::Postgres(pool))
    }

    /// Reads rows.
    pub(crate) async fn read(
        &self,
        doing: &'static str,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match self {
            Self::Sqlite { readers, .. } => {
                let query = bound_sqlite(sql, values);
                query.fetch_all(readers).await.and_then(|rows| rows.iter().map(from_sqlite).collect())
            }
            Self::Postgres(pool) => {
                let query = bound_postgres(sql, values);
                query.fetch_all(pool).await.and_then(|rows| rows.iter().map(from_postgres).collect())
            }
        };
        named(doing, rows)
    }

    /// Reads one row, if there is one.
    pub(crate) async fn read_one(
        &self,
        doing: &'static str,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.read(doing, sql, values).await?.into_iter().next())
    }

    /// Changes something in a transaction of its own; how many rows.
    pub(crate) async fn write(
        &self,
        doing: &'static str,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin(doing).await?;
        let changed = transaction.write(sql, values).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    /// Begins a transaction that will write. Dropped before [`Write::commit`], it changes nothing.
    pub(crate) async fn begin(&self, doing: &'static str) -> Result<Write, StoreError> {
        let inner = match self {
            Self::Sqlite { writer, .. } => begin_sqlite(writer, "BEGIN IMMEDIATE").await,
            Self::Postgres(pool) => pool.begin().await.map(Inner::Postgres),
        };
        match inner {
            Ok(inner) => Ok(Write { doing, inner }),
            Err(source) => Err(StoreError::from_database(doing, source)),
        }
    }

    /// Begins a transaction that only reads, and sees one moment.
    pub(crate) async fn snapshot(&self, doing: &'static str) -> Result<Write, StoreError> {
        let inner = match self {
            Self::Sqlite { readers, .. } => begin_sqlite(readers, "BEGIN").await,
            Self::Postgres(pool) => {
                pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map(Inner::Postgres)
            }
        };
        match inner {
            Ok(inner) => Ok(Write { doing, inner }),
            Err(source) => Err(StoreError::from_database(doing, source)),
        }
    }

    /// A copy of a file of SQLite as it is at one moment, packed, in a file that is empty or not there.
    pub(super) async fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
        let options = SqliteConnectOptions::new().filename(from).disable_statement_logging();
        let copied = async {
            let mut connection = options.connect().await?;
            let to = to.to_string_lossy().into_owned();
            sqlx::query("VACUUM INTO $1").bind(to).execute(&mut connection).await?;
            connection.close().await
        };
        copied.await.map_err(|source| {
            let doing = format!("copy {} to {}", from.display(), to.display());
            StoreError::from_database(&doing, source)
        })
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Write {
    doing: &'static str,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Write {
    /// Changes something; how many rows.
    pub(crate) async fn write(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        self.execute(sql, values, true).await
    }

    /// `again` says whether a statement of this text comes again: then the connection keeps it prepared.
    async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
        again: bool,
    ) -> Result<u64, StoreError> {
        let changed = match &mut self.inner {
            Inner::Sqlite(transaction) => {
                let query = bound_sqlite(sql, values).persistent(again);
                query.execute(&mut **transaction).await.map(|done| done.rows_affected())
            }
            Inner::Postgres(transaction) => {
                let query = bound_postgres(sql, values).persistent(again);
                query.execute(&mut **transaction).await.map(|done| done.rows_affected())
            }
        };
        changed.map_err(|source| StoreError::from_database(self.doing, source))
    }

    /// Reads rows, as the transaction sees them; also of a change that returns some.
    pub(crate) async fn read(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = match &mut self.inner {
            Inner::Sqlite(transaction) => bound_sqlite(sql, values)
                .fetch_all(&mut **transaction)
                .await
                .and_then(|rows| rows.iter().map(from_sqlite).collect()),
            Inner::Postgres(transaction) => bound_postgres(sql, values)
                .fetch_all(&mut **transaction)
                .await
                .and_then(|rows| rows.iter().map(from_postgres).collect()),
        };
        named(self.doing, rows)
    }

    /// Reads one row, if there is one.
    pub(crate) async fn read_one(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.read(sql, values).await?.into_iter().next())
    }

    /// Inserts many rows with few statements. `head` is all before `VALUES`, `tail` all behind the values;
    /// each row has the same number of values.
    pub(crate) async fn insert(
        &mut self,
        head: &str,
        rows: Vec<Vec<Value>>,
        tail: &str,
    ) -> Result<(), StoreError> {
        let mut rows = rows.into_iter().peekable();
        while let Some(first) = rows.peek() {
            let width = first.len();
            let mut sql = format!("{head} VALUES ");
            let (mut values, mut count) = (Vec::new(), 0);
            for (index, row) in rows.by_ref().take(ROWS_PER_INSERT_MAX).enumerate() {
                count += 1;
                sql.push_str(if index == 0 { "(" } else { ",(" });
                for column in 0..width {
                    let comma = if column == 0 { "" } else { "," };
                    sql.push_str(&format!("{comma}${}", index * width + column + 1));
                }
                sql.push(')');
                values.extend(row);
            }
            sql.push(' ');
            sql.push_str(tail);
            // Each number of rows is a text of its own, and prepared takes hundreds of kilobytes: a hundred of them kept
            // would be most of what a gateway has in memory.
            self.execute(AssertSqlSafe(sql), values, count == 1).await?;
        }
        Ok(())
    }

    /// Several statements without values.
    pub(super) async fn script(&mut self, sql: String) -> Result<(), StoreError> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        let done = match &mut self.inner {
            Inner::Sqlite(transaction) => script.execute(&mut **transaction).await.map(drop),
            Inner::Postgres(transaction) => script.execute(&mut **transaction).await.map(drop),
        };
        done.map_err(|source| StoreError::from_database(self.doing, source))
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let done = match self.inner {
            Inner::Sqlite(mut connection) => sqlx::query("COMMIT").execute(&mut *connection).await.map(drop),
            Inner::Postgres(transaction) => transaction.commit().await,
        };
        done.map_err(|source| StoreError::from_database(self.doing, source))
    }
}

async fn begin_sqlite(pool: &SqlitePool, how: &'static str) -> Result<Inner, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    sqlx::query(how).execute(&mut *connection).await?;
    Ok(Inner::Sqlite(connection))
}

fn named(doing: &'static str, rows: Result<Vec<Vec<Value>>, sqlx::Error>) -> Result<Vec<Row>, StoreError> {
    match rows {
        Ok(rows) => Ok(rows.into_iter().map(|values| Row::new(doing, values)).collect()),
        Err(source) => Err(StoreError::from_database(doing, source)),
    }
}

/// A query of one database with its values; the same text twice, because the types of sqlx differ.
macro_rules! bound {
    ($name:ident, $database:ty, $arguments:ty) => {
        fn $name(
            sql: impl SqlSafeStr,
            values: Vec<Value>,
        ) -> sqlx::query::Query<'static, $database, $arguments> {
            let mut query = sqlx::query(sql);
            for value in values {
                query = match value {
                    Value::Int(value) => query.bind(value),
                    Value::Real(value) => query.bind(value),
                    Value::Text(value) => query.bind(value),
                    Value::Blob(value) => query.bind(value),
                    Value::Null(Kind::Int) => query.bind(None::<i64>),
                    Value::Null(Kind::Real) => query.bind(None::<f64>),
                    Value::Null(Kind::Text) => query.bind(None::<String>),
                    Value::Null(Kind::Blob) => query.bind(None::<Vec<u8>>),
                };
            }
            query
        }
    };
}

bound!(bound_sqlite, Sqlite, sqlx::sqlite::SqliteArguments);
bound!(bound_postgres, Postgres, sqlx::postgres::PgArguments);

#[cfg(test)]
mod tests {
    use super::super::value::values;
    use super::*;

    #[tokio::test]
    async fn inserts_of_many_rows_are_not_kept_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.db");
        let database = Database::open_file(&path, &StoreOptions::default()).await.unwrap();
        let mut transaction = database.begin("test").await.unwrap();
        transaction.script("CREATE TABLE rows (number INTEGER NOT NULL)".to_owned()).await.unwrap();
        for count in 1..=40_u64 {
            let rows = (0..count).map(|number| values![number]).collect();
            transaction.insert("INSERT INTO rows (number)", rows, "").await.unwrap();
        }
        let mut row = transaction.read_one("SELECT COUNT(*) FROM rows", Vec::new()).await.unwrap().unwrap();
        assert_eq!(row.u64().unwrap(), 40 * 41 / 2);
        let Inner::Sqlite(connection) = &transaction.inner else { unreachable!() };
        // That of one row, the question, and what began the transaction.
        assert_eq!(connection.cached_statements_size(), 3);
    }
}
