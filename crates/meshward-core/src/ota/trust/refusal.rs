//! Why a signed message is not obeyed.

use core::fmt;

use super::{GroupKeyId, KeyId, KeyKind};
use crate::hash::Sha256Sum;

/// The reason, with what an operator needs to mend it. [`code`](Self::code) is what nodes report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It ends too early.
    Truncated,
    /// It is not what such a message looks like, or not in the one encoding that counts.
    Malformed,
    /// It has a format that this node does not know.
    Format(u64),
    /// Nobody that this node knows signed it.
    UnknownKey(KeyId),
    /// Its key has been revoked.
    RevokedKey(KeyId),
    /// Its key may not sign such a message.
    WrongKind {
        /// The key.
        key: KeyId,
        /// What it is for.
        has: KeyKind,
        /// What would be needed.
        needs: KeyKind,
    },
    /// The signature does not fit: it was changed on the way, or forged.
    BadSignature(KeyId),
    /// Its time is over.
    Expired {
        /// Until when it was good, in seconds since 1970.
        not_after: u64,
        /// What the node knows the time to be at least.
        now: u64,
    },
    /// An image that is not newer.
    Sequence {
        /// The image's.
        offered: u64,
        /// That of the running one.
        running: u64,
    },
    /// An image for other hardware.
    Hardware,
    /// An image for another role.
    Role,
    /// An image that does not fit.
    TooLarge {
        /// Its length in bytes.
        size: u32,
        /// What the slot holds.
        slot: u32,
    },
    /// An image that would not understand this mesh, or the mesh not it.
    Protocol {
        /// The lowest and highest version that the image speaks.
        image: (u16, u16),
        /// Those of this node.
        node: (u16, u16),
    },
    /// A payload of another image.
    OtherImage(Sha256Sum),
    /// A patch of another image than the running one.
    OtherBase(Sha256Sum),
    /// A payload that does not fit.
    Staging {
        /// Its length in bytes.
        size: u32,
        /// Room for it.
        staging: u32,
    },
    /// A counter that this node has seen, or a lower one: the order is old.
    Replayed {
        /// The order's.
        counter: u64,
        /// The last one of that key.
        last: u64,
    },
    /// An order for other nodes.
    OtherNodes,
    /// A change of keys that would leave no recovery key, or more keys than fit, or that names a key that is
    /// none.
    KeyChange,
    /// More chunks than the node's journal has marks for, or chunks that do not divide blocks of 4 096 bytes.
    Chunks {
        /// Chunks in all.
        chunks: u32,
    },
    /// The image is in quarantine on this node.
    Quarantined(Sha256Sum),
    /// The node is at something else: an update that is as new, a trial, a restart.
    Occupied,
    /// There is no image to go back to, or it has been written over.
    NoWayBack(Sha256Sum),
    /// A payload that was sealed in a way that this node does not know.
    Cipher(u64),
    /// A payload that was sealed for those who hold another key.
    UnknownGroupKey(GroupKeyId),
    /// The supply is too weak for an update, or nobody has measured it.
    Supply {
        /// What was measured last, in millivolts.
        millivolts: Option<u16>,
        /// What it takes.
        least: u16,
    },
    /// An operator's policy: this node takes no updates.
    SwitchedOff,
}

impl Refusal {
    /// The number that a node reports. Numbers are never given twice.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Truncated => 1,
            Self::Malformed => 2,
            Self::Format(_) => 3,
            Self::UnknownKey(_) => 4,
            Self::RevokedKey(_) => 5,
            Self::WrongKind { .. } => 6,
            Self::BadSignature(_) => 7,
            Self::Expired { .. } => 8,
            Self::Sequence { .. } => 9,
            Self::Hardware => 10,
            Self::Role => 11,
            Self::TooLarge { .. } => 12,
            Self::Protocol { .. } => 13,
            Self::OtherImage(_) => 14,
            Self::OtherBase(_) => 15,
            Self::Staging { .. } => 16,
            Self::Replayed { .. } => 17,
            Self::OtherNodes => 18,
            Self::KeyChange => 19,
            Self::Chunks { .. } => 20,
            Self::Quarantined(_) => 21,
            Self::Occupied => 22,
            Self::NoWayBack(_) => 23,
            Self::Cipher(_) => 24,
            Self::UnknownGroupKey(_) => 25,
            Self::Supply { .. } => 26,
            Self::SwitchedOff => 27,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the signed message is cut off"),
            Self::Malformed => f.write_str("the signed message is malformed"),
            Self::Format(format) => write!(f, "format {format} is not known to this version"),
            Self::UnknownKey(key) => write!(f, "key {key} is not known"),
            Self::RevokedKey(key) => write!(f, "key {key} has been revoked"),
            Self::WrongKind { key, has, needs } => {
                write!(f, "key {key} is of kind {has}, and kind {needs} must sign this")
            }
            Self::BadSignature(key) => write!(f, "the signature is not one of key {key}"),
            Self::Expired { not_after, now } => {
                write!(f, "it was good until {not_after} (seconds since 1970), and it is {now} at least")
            }
            Self::Sequence { offered, running } => {
                write!(f, "sequence {offered} is not above that of the running image, {running}")
            }
            Self::Hardware => f.write_str("the image is for other hardware"),
            Self::Role => f.write_str("the image is for another role"),
            Self::TooLarge { size, slot } => {
                write!(f, "the image has {size} bytes and the slot holds {slot}")
            }
            Self::Protocol { image: (low, high), node: (from, to) } => {
                write!(f, "the image speaks protocol {low} to {high}, this node {from} to {to}")
            }
            Self::OtherImage(image) => write!(f, "the payload is of image {image}"),
            Self::OtherBase(base) => write!(f, "the payload is a patch of image {base}, which does not run"),
            Self::Staging { size, staging } => {
                write!(f, "the payload has {size} bytes and there is room for {staging}")
            }
            Self::Replayed { counter, last } => {
                write!(f, "counter {counter} is not above the last one of that key, {last}")
            }
            Self::OtherNodes => f.write_str("the order is for other nodes"),
            Self::KeyChange => f.write_str("the keys cannot be changed so"),
            Self::Chunks { chunks } => {
                write!(
                    f,
                    "this node cannot keep account of {chunks} chunks of that size: 128, 256, 512 or 1024 bytes, and fewer"
                )
            }
            Self::Quarantined(image) => write!(f, "image {image} is in quarantine here"),
            Self::Occupied => f.write_str("another update, a trial or a restart is under way"),
            Self::NoWayBack(image) => write!(f, "there is no way back from image {image}"),
            Self::Cipher(cipher) => write!(f, "cipher {cipher} is not known to this version"),
            Self::UnknownGroupKey(key) => {
                write!(f, "the payload is sealed by group key {key}, which is not here")
            }
            Self::Supply { millivolts: Some(found), least } => {
                write!(f, "the supply has {found} mV and an update takes {least} mV at least")
            }
            Self::Supply { millivolts: None, least } => {
                write!(f, "an update takes a supply of {least} mV at least, and it has not been measured")
            }
            Self::SwitchedOff => {
                f.write_str("updates are switched off on this node, by an operator's policy")
            }
        }
    }
}

impl core::error::Error for Refusal {}
