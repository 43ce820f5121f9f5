//! What has happened, one line each, with ids that rise for ever.
//!
//! The gateway numbers events itself, because they are told before they are kept: it reserves ids by
//! [`Store::reserve`] under [`EVENT_IDS`] and never uses one twice, so a reader who knows an id that a crash has
//! swallowed will not be told something else under it.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::database::Write;
use super::value::{Row, Value, values};
use super::{Store, StoreError};

/// The name under which ids of events are reserved.
pub const EVENT_IDS: &str = "events";

/// The most events that one page has.
pub const EVENTS_PER_PAGE_MAX: u32 = 1000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Rises, with gaps.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// What, by its name in interfaces.
    pub kind: String,
    /// To which node, if to one.
    pub node: Option<u32>,
    /// The rest, JSON that the store does not read.
    pub detail: String,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only of this node.
    pub node: Option<u32>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Only those with an id below this one: the cursor of the page before.
    pub before: Option<u64>,
    /// Only those with an id above this one.
    pub after: Option<u64>,
}

impl Store {
    /// A page of events, the newest first; with `after` alone the oldest first, so that a reader can catch up.
    /// At most `limit`, and never more than [`EVENTS_PER_PAGE_MAX`].
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn events(&self, filter: &EventFilter, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let conditions: [(&str, Option<Value>); 6] = [
            ("node =", filter.node.map(Value::from)),
            ("kind =", filter.kind.clone().map(Value::from)),
            ("at >=", filter.from.map(Value::from)),
            ("at <", filter.to.map(Value::from)),
            ("id <", filter.before.map(Value::from)),
            ("id >", filter.after.map(Value::from)),
        ];
        let mut sql = String::from("SELECT id, at, kind, node, detail FROM events");
        let mut found = Vec::new();
        for (condition, value) in conditions {
            let Some(value) = value else { continue };
            found.push(value);
            let word = if found.len() == 1 { "WHERE" } else { "AND" };
            sql.push_str(&format!(" {word} {condition} ${}", found.len()));
        }
        let order = if filter.after.is_some() && filter.before.is_none() { "ASC" } else { "DESC" };
        found.push(Value::from(limit.min(EVENTS_PER_PAGE_MAX)));
        sql.push_str(&format!(" ORDER BY id {order} LIMIT ${}", found.len()));
        let rows = self.database.read("read events", AssertSqlSafe(sql), found).await?;
        rows.into_iter().map(read).collect()
    }
}

pub(super) async fn put(
    transaction: &mut Write,
    rows: impl Iterator<Item = &EventRow>,
) -> Result<(), StoreError> {
    let rows =
        rows.map(|row| values![row.id, row.at, row.kind.clone(), row.node, row.detail.clone()]).collect();
    let head = "INSERT INTO events (id, at, kind, node, detail)";
    transaction.insert(head, rows, "ON CONFLICT (id) DO NOTHING").await
}

fn read(mut row: Row) -> Result<EventRow, StoreError> {
    Ok(EventRow {
        id: row.u64()?,
        at: row.time()?,
        kind: row.text()?,
        node: row.maybe_u32()?,
        detail: row.text()?,
    })
}
