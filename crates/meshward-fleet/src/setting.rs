//! Settings that make no sense are refused before anything works by them: which, what it is, what would be right.

use std::fmt::Display;

use thiserror::Error;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} is {value}: it should be {right}")]
pub struct BadSetting {
    /// Which one, as a path.
    pub field: String,
    /// What it is.
    pub value: String,
    /// What would be right.
    pub right: String,
}

impl BadSetting {
    /// The same of a part of something larger.
    #[must_use]
    pub(crate) fn within(self, part: &str) -> Self {
        Self { field: format!("{part}.{}", self.field), ..self }
    }
}

/// Refuses `field` where it is not `good`.
pub(crate) fn want(
    good: bool,
    field: impl Into<String>,
    value: impl Display,
    right: impl Into<String>,
) -> Result<(), BadSetting> {
    if good {
        return Ok(());
    }
    Err(BadSetting { field: field.into(), value: value.to_string(), right: right.into() })
}
