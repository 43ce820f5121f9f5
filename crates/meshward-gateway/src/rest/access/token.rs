//! Tokens of programs: a secret that is shown once, with a name, a role, and an end.

use jiff::Timestamp;

use super::role::Role;
use super::secret::Digest;
use super::user::UserName;

/// Longest name of a token, in characters.
pub const TOKEN_NAME_MAX: usize = 64;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What is kept of its secret.
    pub digest: Digest,
    /// What it is for, in its owner's words.
    pub name: String,
    /// Whose it is: it can do no more than they, and goes with them. Without one it is the gateway's own, and an admin
    /// looks after it.
    pub user: Option<UserName>,
    /// The most that it may do.
    pub role: Role,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends; never, if there is no end.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl Token {
    /// Whether it is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

/// Whether a name is something that people can read: not empty, not long, no control characters.
pub fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    !name.trim().is_empty() && length <= TOKEN_NAME_MAX && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::access::secret::Secret;

    #[test]
    fn a_token_ends_when_it_says() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (expires, now, over) in
            [(None, 5, false), (Some(6), 5, false), (Some(5), 5, true), (Some(4), 5, true)]
        {
            let token = Token {
                digest: Secret::new().unwrap().digest(),
                name: "prometheus".to_owned(),
                user: None,
                role: Role::Viewer,
                created_at: at(0),
                expires_at: expires.map(at),
                last_used_at: None,
            };
            assert_eq!(token.is_over(at(now)), over, "{expires:?}");
        }
    }

    #[test]
    fn a_name_can_be_read() {
        for (name, right) in [
            ("x", true),
            ("Büro 2", true),
            ("", false),
            (" ", false),
            ("a\nb", false),
            (&"é".repeat(65), false),
        ] {
            assert_eq!(is_name(name), right, "{name:?}");
        }
    }
}
