//! Somebody with a password.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use thiserror::Error;

use super::role::Role;

/// Longest name of a user, in bytes.
pub const NAME_MAX: usize = 64;
/// Names that are not to be had: they stand in the audit for what is no user.
pub const RESERVED: [&str; 3] = ["gateway", "local", "setup"];

/// The name of a user: lower-case letters, digits, and `. _ - @`, so that two users never look alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName(String);

/// Why a name cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UserNameError {
    /// Too short, too long, or other signs.
    #[error("`{0}` is no user's name: take 1 to {NAME_MAX} lower-case letters, digits, or . _ - @")]
    Form(String),
    /// It means something else.
    #[error("`{0}` is the gateway's own name for something: take another")]
    Reserved(String),
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-@".contains(&byte);
        if text.is_empty() || text.len() > NAME_MAX || !text.bytes().all(sign) {
            return Err(UserNameError::Form(text.chars().take(NAME_MAX).collect()));
        }
        if RESERVED.contains(&text) {
            return Err(UserNameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl UserName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// What it is called.
    pub name: UserName,
    /// What it may do.
    pub role: Role,
    /// Its password as a PHC string.
    pub password: String,
    /// When it was created.
    pub created_at: Timestamp,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({}, {})", self.name, self.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_alike() {
        let longest = "a".repeat(NAME_MAX);
        for text in ["anna", "a.b-c_d@mesh.example", "7", &longest] {
            assert_eq!(text.parse::<UserName>().unwrap().as_str(), text);
        }
        let longer = format!("{longest}a");
        for text in ["", "Anna", "an na", "anna\n", "änna", "a/b", &longer] {
            assert!(matches!(text.parse::<UserName>(), Err(UserNameError::Form(_))), "{text:?}");
        }
        for text in RESERVED {
            assert!(matches!(text.parse::<UserName>(), Err(UserNameError::Reserved(_))), "{text}");
        }
    }
}
