//! The store's contract, on SQLite in a temporary folder and on a PostgreSQL server that the tests start.

mod accounts;
mod backup;
pub(crate) mod kit;
mod lease;
mod open;
mod recorder;
mod records;
pub(crate) mod server;
mod telemetry;
