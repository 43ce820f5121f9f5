//! Users, tokens and sessions, as [`access`](crate::rest::access) changes them.
//!
//! They are read once at the start; from then on this only writes. The changes of one verb are kept all or not at all.

use futures_util::future::BoxFuture;
use serde_json::json;

use super::audit::NewAudit;
use super::database::Write;
use super::value::{Row, values};
use super::{Store, StoreError};
use crate::rest::access::book::{Book, Change};
use crate::rest::access::keeper::{KeepError, Keeper, Line};
use crate::rest::access::secret::Digest;
use crate::rest::access::session::Session;
use crate::rest::access::token::Token;
use crate::rest::access::user::{User, UserName};

const READING: &str = "read the users";

impl Store {
    /// Everybody there is, with tokens and sessions.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read, or holds what no gateway has written.
    pub async fn accounts(&self) -> Result<Book, StoreError> {
        let mut snapshot = self.database.snapshot(READING).await?;
        let users = "SELECT name, role, password, created_at FROM users";
        let tokens = "SELECT digest, name, user_name, role, created_at, expires_at, last_used_at FROM tokens";
        let sessions = "SELECT digest, user_name, created_at, last_used_at FROM sessions";
        let users = snapshot.read(users, Vec::new()).await?.into_iter().map(user);
        let users = users.collect::<Result<_, _>>()?;
        let tokens = snapshot.read(tokens, Vec::new()).await?.into_iter().map(token);
        let tokens = tokens.collect::<Result<_, _>>()?;
        let sessions = snapshot.read(sessions, Vec::new()).await?.into_iter().map(session);
        Ok(Book::load(users, tokens, sessions.collect::<Result<_, _>>()?))
    }

    /// Keeps changes, all or none.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then nothing has changed.
    pub async fn keep_accounts(&self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut transaction = self.database.begin("keep users, tokens and sessions").await?;
        for change in changes {
            keep(&mut transaction, change).await?;
        }
        transaction.commit().await
    }
}

impl From<StoreError> for KeepError {
    fn from(error: StoreError) -> Self {
        Self { transient: error.is_transient(), source: Box::new(error) }
    }
}

impl Keeper for Store {
    fn load(&self) -> BoxFuture<'_, Result<Book, KeepError>> {
        Box::pin(async { Ok(self.accounts().await?) })
    }

    fn keep<'a>(&'a self, changes: &'a [Change]) -> BoxFuture<'a, Result<(), KeepError>> {
        Box::pin(async { Ok(self.keep_accounts(changes).await?) })
    }

    fn note(&self, line: Line) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move {
            let detail = json!({ "from": line.from, "text": line.text }).to_string();
            let (actor, action, subject) = (&line.who, line.act, &line.subject);
            self.add_audit(&NewAudit { at: line.at, actor, action, subject, detail: &detail }).await?;
            Ok(())
        })
    }
}

async fn keep(transaction: &mut Write, change: &Change) -> Result<(), StoreError> {
    let (sql, values) = match change {
        Change::PutUser(user) => (
            "INSERT INTO users (name, role, password, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password",
            values![user.name.as_str(), user.role.word(), user.password.as_str(), user.created_at],
        ),
        Change::DropUser(name) => ("DELETE FROM users WHERE name = $1", values![name.as_str()]),
        Change::PutToken(token) => (
            "INSERT INTO tokens (digest, name, user_name, role, created_at, expires_at, last_used_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (digest) DO UPDATE SET last_used_at = excluded.last_used_at",
            values![
                &token.digest.0[..],
                token.name.as_str(),
                token.user.as_ref().map(UserName::as_str),
                token.role.word(),
                token.created_at,
                token.expires_at,
                token.last_used_at,
            ],
        ),
        Change::DropToken(digest) => ("DELETE FROM tokens WHERE digest = $1", values![&digest.0[..]]),
        Change::PutSession(session) => (
            "INSERT INTO sessions (digest, user_name, created_at, last_used_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (digest) DO UPDATE SET last_used_at = excluded.last_used_at",
            values![&session.digest.0[..], session.user.as_str(), session.created_at, session.last_used_at,],
        ),
        Change::DropSession(digest) => ("DELETE FROM sessions WHERE digest = $1", values![&digest.0[..]]),
    };
    transaction.write(sql, values).await.map(drop)
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::damaged(READING, what.to_string())
}

fn digest(row: &mut Row) -> Result<Digest, StoreError> {
    let bytes = row.blob()?;
    let wrong = || damaged(format!("a digest has {} bytes and should have 32", bytes.len()));
    bytes.as_slice().try_into().map(Digest).map_err(|_| wrong())
}

fn user(mut row: Row) -> Result<User, StoreError> {
    let name = row.text()?.parse().map_err(damaged)?;
    let role = row.text()?.parse().map_err(damaged)?;
    Ok(User { name, role, password: row.text()?, created_at: row.time()? })
}

fn token(mut row: Row) -> Result<Token, StoreError> {
    Ok(Token {
        digest: digest(&mut row)?,
        name: row.text()?,
        user: row.maybe_text()?.map(|name| name.parse().map_err(damaged)).transpose()?,
        role: row.text()?.parse().map_err(damaged)?,
        created_at: row.time()?,
        expires_at: row.maybe_time()?,
        last_used_at: row.maybe_time()?,
    })
}

fn session(mut row: Row) -> Result<Session, StoreError> {
    Ok(Session {
        digest: digest(&mut row)?,
        user: row.text()?.parse().map_err(damaged)?,
        created_at: row.time()?,
        last_used_at: row.time()?,
    })
}
