//! Values and rows that both databases have: whole numbers, reals, text, bytes, and nothing of one of these.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use super::StoreError;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Real,
    Text,
    Blob,
}

/// One value. Nothing has a kind too, because PostgreSQL wants to know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null(Kind),
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

macro_rules! into_value {
    ($($type:ty => $kind:ident, $value:ident: $convert:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self { Self::$kind($convert) }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self { value.map_or(Self::Null(Kind::$kind), Self::from) }
        }
    )*};
}

into_value! {
    i64 => Int, value: value;
    u32 => Int, value: i64::from(value);
    bool => Int, value: i64::from(value);
    Timestamp => Int, value: value.as_millisecond();
    f64 => Real, value: value;
    &str => Text, value: value.to_owned();
    String => Text, value: value;
    &[u8] => Blob, value: value.to_vec();
    Vec<u8> => Blob, value: value;
}

impl From<u64> for Value {
    /// Ids and counts; those beyond 2⁶³ do not occur, and are kept as the greatest.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// A list of values from things of any kind.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::value::Value::from($value)),*] };
}
pub(crate) use values;

/// A row that was read, column by column in the order of the query.
#[derive(Debug)]
pub(crate) struct Row {
    doing: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Row {
    pub(crate) fn new(doing: &'static str, values: Vec<Value>) -> Self {
        Self { doing, values: values.into_iter() }
    }

    /// All columns that are left.
    pub(crate) fn rest(self) -> Vec<Value> {
        self.values.collect()
    }

    fn wrong(&self, expected: &str, found: Option<&Value>) -> StoreError {
        StoreError::damaged(self.doing, format!("a column is {found:?} and should be {expected}"))
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        match self.values.next() {
            Some(Value::Int(value)) => Ok(value),
            other => Err(self.wrong("a whole number", other.as_ref())),
        }
    }

    pub(crate) fn maybe_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.values.next() {
            Some(Value::Int(value)) => Ok(Some(value)),
            Some(Value::Null(_)) => Ok(None),
            other => Err(self.wrong("a whole number or nothing", other.as_ref())),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64, StoreError> {
        let value = self.int()?;
        u64::try_from(value).map_err(|_| self.wrong("0 or more", Some(&Value::Int(value))))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, StoreError> {
        let value = self.int()?;
        u32::try_from(value).map_err(|_| self.wrong("a 32-bit number", Some(&Value::Int(value))))
    }

    pub(crate) fn maybe_u32(&mut self) -> Result<Option<u32>, StoreError> {
        match self.maybe_int()? {
            None => Ok(None),
            Some(value) => match u32::try_from(value) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.wrong("a 32-bit number", Some(&Value::Int(value)))),
            },
        }
    }

    pub(crate) fn bool(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        let value = self.int()?;
        Timestamp::from_millisecond(value).map_err(|_| self.wrong("a time", Some(&Value::Int(value))))
    }

    pub(crate) fn maybe_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        match self.maybe_int()? {
            None => Ok(None),
            Some(value) => match Timestamp::from_millisecond(value) {
                Ok(time) => Ok(Some(time)),
                Err(_) => Err(self.wrong("a time", Some(&Value::Int(value)))),
            },
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        match self.values.next() {
            Some(Value::Text(value)) => Ok(value),
            other => Err(self.wrong("text", other.as_ref())),
        }
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.values.next() {
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(Value::Null(_)) => Ok(None),
            other => Err(self.wrong("text or nothing", other.as_ref())),
        }
    }

    pub(crate) fn maybe_blob(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.values.next() {
            Some(Value::Blob(value)) => Ok(Some(value)),
            Some(Value::Null(_)) => Ok(None),
            other => Err(self.wrong("bytes or nothing", other.as_ref())),
        }
    }

    pub(crate) fn blob(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.values.next() {
            Some(Value::Blob(value)) => Ok(value),
            other => Err(self.wrong("bytes", other.as_ref())),
        }
    }
}

/// What SQLite read. Its columns have no fixed type: what counts is the value's own.
pub(super) fn from_sqlite(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    let mut values = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let raw = row.try_get_raw(index)?;
        let is_null = raw.is_null();
        let kind = raw.type_info().name().to_owned();
        values.push(match kind.as_str() {
            _ if is_null => Value::Null(Kind::Int),
            "INTEGER" => Value::Int(row.try_get_unchecked(index)?),
            "REAL" => Value::Real(row.try_get_unchecked(index)?),
            "BLOB" => Value::Blob(row.try_get_unchecked(index)?),
            _ => Value::Text(row.try_get_unchecked(index)?),
        });
    }
    Ok(values)
}

/// What PostgreSQL read. The schema uses these types alone.
pub(super) fn from_postgres(row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    fn value<T>(kind: Kind, found: Option<T>) -> Value
    where
        Value: From<T>,
    {
        found.map_or(Value::Null(kind), Value::from)
    }
    let mut values = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let kind = row.try_get_raw(index)?.type_info().name().to_owned();
        values.push(match kind.as_str() {
            "INT8" => value(Kind::Int, row.try_get::<Option<i64>, _>(index)?),
            "INT4" => value(Kind::Int, row.try_get::<Option<i32>, _>(index)?.map(i64::from)),
            "FLOAT8" => value(Kind::Real, row.try_get::<Option<f64>, _>(index)?),
            "BYTEA" => value(Kind::Blob, row.try_get::<Option<Vec<u8>>, _>(index)?),
            _ => value(Kind::Text, row.try_get_unchecked::<Option<String>, _>(index)?),
        });
    }
    Ok(values)
}
