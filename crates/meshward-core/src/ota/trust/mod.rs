//! What a node believes: signed manifests, payload descriptors and orders, and the keys behind them.
//!
//! Three kinds of keys, several of each, are in a node's [`KeyStore`]. An *author* signs the [`Manifest`] of an
//! image; an *operator*, which is a gateway, signs the [`Descriptor`] of a payload and [`Order`]s; a *recovery*
//! key, which is in a safe, replaces and revokes keys, and sets the time right. Nobody else can make a node do anything with firmware,
//! and no key can do another kind's work.
//!
//! Each travels as a COSE_Sign1 (RFC 9052) with Ed25519 over deterministic CBOR (RFC 8949, §4.2); what a
//! manifest says follows the information model of RFC 9124. There is exactly one encoding of each content:
//! any other is refused, signed or not. All refusals are a [`Refusal`], which an operator can read.
//!
//! A payload may be sealed for those who hold a [`GroupKey`]: that hides it, and proves nothing about who made it.
//!
//! The expiry of a message counts only against a [`UnixTime`](crate::time::UnixTime) that a signed message
//! carried, which the caller keeps: a node without one is protected by sequences and counters.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod cbor;
mod cose;
mod descriptor;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod keys;
mod manifest;
mod order;
mod refusal;

pub use cose::{Domain, SIGNED_MAX, assemble, to_be_signed};
pub use descriptor::{CHUNK_ALIGN, CHUNK_SIZES, Descriptor, PAYLOAD_MAX, Running};
pub use group::{GROUP_KEYS_MAX, GroupKey, GroupKeyId, GroupKeys, Purpose, SALT, Seal};
pub use keys::{KEYS_MAX, Key, KeyId, KeyKind, KeyStore, PublicKey, Signed};
pub use manifest::{Board, Manifest, TEXT_MAX};
pub use order::{KeyChange, NODES_MAX, Order, Policy, Verb};
pub use refusal::Refusal;
