//! A value as somebody wrote it, before anybody knows what it should be.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Raw {
    pub(crate) value: Value,
    /// In the text that it is from, in bytes.
    pub(crate) span: Range<usize>,
    /// What a path in it is relative to: the folder of the file that it is from.
    pub(crate) folder: Option<PathBuf>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Whole(i64),
    Number(f64),
    Switch(bool),
    List(Vec<Raw>),
    /// Keys, where they stand, and their values.
    Table(Vec<(String, Range<usize>, Raw)>),
    /// A date, or a number that none of ours can be.
    Other,
}

impl Raw {
    /// From a file in this folder.
    pub(crate) fn of(value: &Spanned<DeValue<'_>>, folder: Option<&PathBuf>) -> Self {
        let of = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(whole) => {
                i64::from_str_radix(whole.as_str(), whole.radix()).map_or(Value::Other, Value::Whole)
            }
            DeValue::Float(number) => number.as_str().parse().map_or(Value::Other, Value::Number),
            DeValue::Boolean(switch) => Value::Switch(*switch),
            DeValue::Array(items) => Value::List(items.iter().map(|item| Self::of(item, folder)).collect()),
            DeValue::Table(table) => Value::Table(
                table
                    .iter()
                    .map(|(key, value)| (key.get_ref().to_string(), key.span(), Self::of(value, folder)))
                    .collect(),
            ),
            DeValue::Datetime(_) => Value::Other,
        };
        Self { value: of, span: value.span(), folder: folder.cloned() }
    }

    /// From words without quotation marks: a variable, an item of one.
    pub(crate) fn text(words: &str) -> Self {
        Self { value: Value::Text(words.trim().to_owned()), span: 0..words.len(), folder: None }
    }

    /// The same where it may be a number or a switch.
    pub(crate) fn parse(words: &str) -> Self {
        DeValue::parse(words.trim()).map_or_else(|_text| Self::text(words), |value| Self::of(&value, None))
    }
}
