//! What happened to users, tokens and sessions, for the audit.
//!
//! Every line goes to the log as well, so that it is somewhere when the database takes nothing.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::caller::Caller;
use super::keeper::{Keeper, Line};
use super::role::Role;
use super::token::Token;
use super::user::UserName;

/// One thing that somebody did.
#[derive(Debug)]
pub(super) enum Act<'a> {
    /// With a password.
    LoggedIn,
    /// With a wrong one.
    LoginFailed,
    /// By themselves.
    LoggedOut,
    /// There is a new user.
    UserCreated(&'a UserName, Role),
    /// Another role, and whether there is another password.
    UserChanged(&'a UserName, Option<Role>, bool),
    /// A user is gone.
    UserDropped(&'a UserName),
    /// There is a new token.
    TokenCreated(&'a Token),
    /// The token of this id is gone.
    TokenDropped(&'a str),
}

impl Act<'_> {
    /// Its name in the audit.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::LoggedIn => "session.begin",
            Self::LoginFailed => "session.refuse",
            Self::LoggedOut => "session.end",
            Self::UserCreated(..) => "user.create",
            Self::UserChanged(..) => "user.change",
            Self::UserDropped(_) => "user.delete",
            Self::TokenCreated(_) => "token.create",
            Self::TokenDropped(_) => "token.delete",
        }
    }
}

impl fmt::Display for Act<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedIn => f.write_str("logged in"),
            Self::LoginFailed => f.write_str("wrong password, or no such user"),
            Self::LoggedOut => f.write_str("logged out"),
            Self::UserCreated(user, role) => write!(f, "user {user} created as {role}"),
            Self::UserChanged(user, role, password) => {
                write!(f, "user {user} changed")?;
                if let Some(role) = role {
                    write!(f, ": is {role} now")?;
                }
                if *password { f.write_str("; another password") } else { Ok(()) }
            }
            Self::UserDropped(user) => write!(f, "user {user} deleted"),
            Self::TokenCreated(token) => {
                let whose = token.user.as_ref().map_or("the gateway", UserName::as_str);
                write!(f, "token {} `{}` of {whose} created as {}", token.digest.id(), token.name, token.role)
            }
            Self::TokenDropped(id) => write!(f, "token {id} withdrawn"),
        }
    }
}

/// Where it is written down.
#[derive(Debug)]
pub(super) struct Audit {
    keeper: Option<Arc<dyn Keeper>>,
}

impl Audit {
    pub(super) const fn new(keeper: Option<Arc<dyn Keeper>>) -> Self {
        Self { keeper }
    }

    /// Writes down who did what from where. What was done has been done: when this cannot be kept, the log says so.
    pub(super) async fn note(&self, now: Timestamp, who: &str, caller: &Caller, act: &Act<'_>) {
        let (from, what) = (caller.address, act.to_string());
        if matches!(act, Act::LoginFailed) {
            tracing::warn!(%who, %from, act = act.name(), "{what}");
        } else {
            tracing::info!(%who, %from, act = act.name(), "{what}");
        }
        let Some(keeper) = &self.keeper else { return };
        let line = Line { at: now, who: who.to_owned(), from: from.to_string(), act: act.name(), text: what };
        if let Err(error) = keeper.note(line).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a line of the audit is lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_and_what_and_no_secret() {
        let anna: UserName = "anna".parse().unwrap();
        for (act, name, text) in [
            (Act::UserCreated(&anna, Role::Admin), "user.create", "user anna created as admin"),
            (
                Act::UserChanged(&anna, Some(Role::Viewer), false),
                "user.change",
                "user anna changed: is viewer now",
            ),
            (Act::UserChanged(&anna, None, true), "user.change", "user anna changed; another password"),
            (Act::TokenDropped("0123456789abcdef"), "token.delete", "token 0123456789abcdef withdrawn"),
        ] {
            assert_eq!((act.name(), act.to_string().as_str()), (name, text));
        }
    }
}
