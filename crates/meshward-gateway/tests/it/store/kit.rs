//! What each test of the store's contract gets: a new database, on SQLite and then on PostgreSQL.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use meshward_gateway::store::{Store, StoreOptions, StoreUrl};
use tempfile::TempDir;

use crate::store::server::Server;

/// A database that belongs to one test.
pub(crate) struct Kit {
    /// Where it is.
    pub(crate) url: StoreUrl,
    /// It, open.
    pub(crate) store: Store,
    folder: TempDir,
}

impl Kit {
    /// A new one in a file.
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url: StoreUrl = format!("sqlite:{}", folder.path().join("mesh.db").display()).parse().unwrap();
        let store = Store::open(&url).await.unwrap();
        Self { url, store, folder }
    }

    /// A new one on the server.
    pub(crate) async fn postgres() -> Self {
        let url: StoreUrl = Server::get().database().await.parse().unwrap();
        let store = Store::open(&url).await.unwrap();
        Self { url, store, folder: tempfile::tempdir().unwrap() }
    }

    /// A path in a folder of the test's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same database, opened once more.
    pub(crate) async fn again(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }

    /// The same database, opened once more in another way.
    pub(crate) async fn again_with(&self, options: &StoreOptions) -> Store {
        Store::open_with(&self.url, options).await.unwrap()
    }

    /// Another program takes the database for itself: all of it, or the tables that a change needs first.
    pub(crate) async fn hold(&self) -> Holder {
        match &self.url {
            StoreUrl::Sqlite(path) => {
                let mut connection = connect(path).await;
                run("BEGIN EXCLUSIVE", &mut connection).await;
                Holder::Sqlite(connection)
            }
            StoreUrl::Postgres(options) => {
                let mut connection = Server::get().connect(options.get_database().unwrap()).await;
                let lock = "BEGIN; LOCK TABLE meta, counters, events, telemetry_log IN ACCESS EXCLUSIVE MODE";
                sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
                Holder::Postgres(connection)
            }
        }
    }

    /// Whether it is a file.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.url.path().is_some()
    }

    /// A number that a query behind the store's back finds.
    pub(crate) async fn count(&self, sql: &str) -> u64 {
        let sql = sqlx::AssertSqlSafe(format!("SELECT CAST(({sql}) AS BIGINT)"));
        let count: i64 = match &self.url {
            StoreUrl::Sqlite(path) => {
                sqlx::query_scalar(sql).fetch_one(&mut connect(path).await).await.unwrap()
            }
            StoreUrl::Postgres(options) => {
                let mut connection = Server::get().connect(options.get_database().unwrap()).await;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
            }
        };
        count as u64
    }

    /// Executes a statement behind the store's back.
    pub(crate) async fn meddle(&self, sql: &str) {
        match &self.url {
            StoreUrl::Sqlite(path) => {
                meddle_with(path, sql).await;
            }
            StoreUrl::Postgres(options) => {
                Server::get().execute(options.get_database().unwrap(), sql).await;
            }
        }
    }
}

/// Another program that holds the database, as far as its kind of database lets it.
pub(crate) enum Holder {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

impl Holder {
    /// Ends its transaction without a change.
    pub(crate) async fn let_go(self) {
        match self {
            Self::Sqlite(mut connection) => run("ROLLBACK", &mut connection).await,
            Self::Postgres(mut connection) => {
                sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.map(drop).unwrap();
            }
        }
    }
}

/// Executes a statement on a file, which is made if it is not there.
pub(crate) async fn meddle_with(path: &Path, sql: &str) {
    run(sql, &mut connect(path).await).await;
}

async fn connect(path: &Path) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap()
}

async fn run(sql: &str, connection: &mut sqlx::SqliteConnection) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

/// A test of the contract: the same on both databases.
pub(crate) fn on_both(test: impl AsyncFn(Kit)) {
    on_sqlite(async |kit| test(kit).await);
    on_postgres(async |kit| test(kit).await);
}

/// A test of what only SQLite does.
pub(crate) fn on_sqlite(test: impl AsyncFn(Kit)) {
    runtime().block_on(async { test(Kit::sqlite().await).await });
}

/// A test of what only PostgreSQL does.
pub(crate) fn on_postgres(test: impl AsyncFn(Kit)) {
    runtime().block_on(async { test(Kit::postgres().await).await });
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A moment, so many seconds after one in the year 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}
