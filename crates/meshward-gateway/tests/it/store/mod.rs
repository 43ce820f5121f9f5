//! The store's contract, on SQLite in a temporary folder and on a PostgreSQL server that the tests start.

mod kit;
mod open;
pub(crate) mod server;
