//! What travels over HTTP about users, tokens and sessions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::role::Role;

/// Who logs in.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user.
    pub name: String,
    /// The password.
    pub password: String,
}

/// The first admin.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What stands behind the `#` of the set-up link.
    pub token: String,
    /// The admin's name: lower-case letters, digits, or `. _ - @`, at most 64.
    pub name: String,
    /// The admin's password: at least 12 characters.
    pub password: String,
}

/// By what somebody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// The token of a program.
    Token,
    /// The session of a person.
    Session,
    /// The token that the gateway leaves for its own user on its machine.
    Local,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct Session {
    /// What the audit calls them.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// By what they were let in.
    pub means: Means,
    /// When that ends, if nothing is done before; absent where it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What requests with this session that change something have to bring as `X-CSRF-Token`; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csrf_token: Option<String>,
}

/// Another password for oneself.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The one that holds.
    pub old: String,
    /// The one that is to hold: at least 12 characters.
    pub new: String,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct User {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A new user.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Lower-case letters, digits, or `. _ - @`, at most 64.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// At least 12 characters.
    pub password: String,
}

/// What is to change of a user.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    /// Another role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Another password, at least 12 characters. It ends all sessions of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct Token {
    /// What it is called in paths; lets nobody in.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is; absent for the gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The most that it may do; never more than its user.
    pub role: Role,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute; absent before it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// A token to be created.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for, 1 to 64 characters.
    pub name: String,
    /// The most that it may do.
    pub role: Role,
    /// Whose it is to be: oneself when absent. An admin may name another user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it ends; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A token that was just created.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct CreatedToken {
    /// It.
    pub token: Token,
    /// What its program sends as `Authorization: Bearer …`. It is shown this once, and kept nowhere.
    pub secret: String,
}
