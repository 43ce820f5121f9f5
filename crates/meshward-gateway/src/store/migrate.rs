//! Brings a database to the schema of this program, and refuses one that is newer.
//!
//! One set of files for both databases. They are written as PostgreSQL reads them, but for `BLOB`, which is
//! `BYTEA` there; and in SQLite a key that is one whole number is the row's own number if it is an `INTEGER`.
//! A file that has been published is never changed: what comes later gets the next number.

use super::StoreError;
use super::database::Database;
use super::value::values;

/// A step of the schema: its number, and what it does.
struct Migration {
    number: i64,
    sql: &'static str,
}

macro_rules! migrations {
    ($($number:literal $file:literal,)*) => {
        &[$(Migration { number: $number, sql: include_str!(concat!("migrations/", $file)) }),*]
    };
}

const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_meta.sql",
    2 "0002_accounts.sql",
    3 "0003_records.sql",
    4 "0004_telemetry.sql",
    5 "0005_deliveries.sql",
    6 "0006_waves.sql",
};

/// The lock that keeps two programs from doing this at once (a number of our own, for PostgreSQL).
const LOCK: i64 = 0x6D65_7368_7761_7264;

/// The highest number that this program knows.
pub(super) fn known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or_default()
}

/// Looks whether this program understands the database, without changing it.
///
/// # Errors
/// [`StoreError::Newer`], or that it has no schema or an older one.
pub(super) async fn check(database: &Database) -> Result<(), StoreError> {
    const DOING: &str = "read the database's schema";
    let row = database.read_one(DOING, "SELECT MAX(number) FROM migrations", Vec::new()).await?;
    let found = row.map(|mut row| row.maybe_int()).transpose()?.flatten().unwrap_or_default();
    match found {
        _ if found > known() => Err(StoreError::Newer { found, known: known() }),
        _ if found < known() => Err(StoreError::damaged(
            DOING,
            format!("it has schema {found} and not {}; start the gateway on it once", known()),
        )),
        _ => Ok(()),
    }
}

/// Looks whether there is a schema of ours at all.
///
/// # Errors
/// That there is none.
pub(super) async fn require(database: &Database) -> Result<(), StoreError> {
    const DOING: &str = "read a backup";
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'";
    match database.read_one(DOING, sql, Vec::new()).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::damaged(DOING, "the file is a database, and not one of Meshward's")),
    }
}

/// Applies what is missing, all or nothing.
pub(super) async fn migrate(database: &Database) -> Result<(), StoreError> {
    const DOING: &str = "bring the database to this program's schema";
    let mut transaction = database.begin(DOING).await?;
    if !database.is_sqlite() {
        transaction.read("SELECT pg_advisory_xact_lock($1)::TEXT", values![LOCK]).await?;
    }
    let there = if database.is_sqlite() {
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'"
    } else {
        "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'migrations'"
    };
    let mut applied = Vec::new();
    if transaction.read_one(there, Vec::new()).await?.is_some() {
        for mut row in transaction.read("SELECT number FROM migrations ORDER BY number", Vec::new()).await? {
            applied.push(row.int()?);
        }
    }
    if let Some(&found) = applied.iter().find(|found| **found > known()) {
        return Err(StoreError::Newer { found, known: known() });
    }
    for migration in MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.number)) {
        transaction.script(spoken(migration.sql, database.is_sqlite())).await?;
        let number = values![migration.number];
        transaction.write("INSERT INTO migrations (number) VALUES ($1)", number).await?;
    }
    transaction.commit().await
}

/// A migration as the database reads it.
fn spoken(sql: &str, sqlite: bool) -> String {
    if sqlite {
        sql.replace(" BIGINT PRIMARY KEY", " INTEGER PRIMARY KEY")
    } else {
        sql.replace(" BLOB", " BYTEA")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise() {
        let numbers: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for migration in MIGRATIONS {
            assert!(
                migration.sql.starts_with("-- "),
                "migration {} says nothing of itself",
                migration.number
            );
        }
    }

    #[test]
    fn each_database_is_spoken_to_in_its_own_words() {
        let sql = "CREATE TABLE a (id BIGINT PRIMARY KEY, size BIGINT NOT NULL, data BLOB)";
        assert_eq!(
            spoken(sql, true),
            "CREATE TABLE a (id INTEGER PRIMARY KEY, size BIGINT NOT NULL, data BLOB)"
        );
        assert_eq!(
            spoken(sql, false),
            "CREATE TABLE a (id BIGINT PRIMARY KEY, size BIGINT NOT NULL, data BYTEA)"
        );
    }
}
