//! Who may do what at the REST interface.

pub mod book;
pub mod csrf;
pub mod limit;
pub mod password;
pub mod role;
pub mod secret;
pub mod session;
pub mod token;
pub mod user;
