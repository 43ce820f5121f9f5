//! Who may do what at the REST interface.
//!
//! A request goes through [`guard`]: where it comes from ([`caller`]), who sends it ([`gate`], by a token or a session),
//! whether they may ([`table`]), how often ([`limit`]), and, with a session, whether a page of ours sends it ([`csrf`]).
//! Users, tokens and sessions are in the [`book`]; [`local`] lets in the gateway's own user on its machine; `audit` says
//! what happened.

mod audit;
pub mod book;
pub mod caller;
pub mod csrf;
pub mod gate;
pub mod guard;
pub mod keeper;
pub mod limit;
pub mod local;
pub mod model;
pub mod password;
pub mod principal;
pub mod role;
pub(in crate::rest) mod routes;
pub mod secret;
pub mod session;
pub mod table;
pub mod token;
pub mod user;

pub use caller::Network;
pub use gate::{Access, AccessError, Settings};
pub use keeper::{KeepError, Keeper};
pub use principal::Principal;
pub use role::Role;
