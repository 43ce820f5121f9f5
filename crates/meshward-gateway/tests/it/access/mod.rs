//! Who gets what from the real sockets, and what bad clients get.

mod abuse;
pub(crate) mod kit;
mod pages;
mod people;
mod table;
mod tls;
