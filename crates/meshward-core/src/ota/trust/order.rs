//! What an operator, or a recovery key, tells nodes to do.

use alloc::vec::Vec;

use super::cbor::{Reader, Writer};
use super::{KeyId, KeyKind, PublicKey, Refusal};
use crate::hash::Sha256Sum;
use crate::time::UnixTime;

const FORMAT: u64 = 1;
/// Nodes that one order can name.
pub const NODES_MAX: usize = 64;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start this image, which is installed: number 1.
    Activate(Sha256Sum),
    /// Go back from this image to the one before: number 2.
    Revert(Sha256Sum),
    /// Forget the update to this image: number 3.
    Cancel(Sha256Sum),
    /// Stop receiving it: number 4.
    Pause(Sha256Sum),
    /// Go on receiving it: number 5.
    Resume(Sha256Sum),
    /// Never run this image again: number 6.
    Quarantine(Sha256Sum),
    /// It may be run after all: number 7.
    Unquarantine(Sha256Sum),
    /// Change the key store: numbers 8 (add) and 9 (revoke). A recovery key must sign it.
    Keys(KeyChange),
    /// How the node is to treat updates from now on: number 10.
    Policy(Policy),
    /// The time is this, whatever was said before: number 11. The only way back for a node that was told a time
    /// far ahead, for which everything with an end of validity is over. A recovery key must sign it.
    Time(UnixTime),
}

/// How a node treats updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether it takes offers. What it is receiving already is finished all the same.
    pub updates: bool,
    /// Seconds that all must be well before an image under trial is confirmed: up to a day.
    pub soak: u32,
    /// Seconds that it may be unwell, the gateway's absence not counted: a minute to a day.
    pub limit: u32,
}

impl Policy {
    const DAY: u32 = 86_400;

    const fn is_sound(&self) -> bool {
        self.soak <= Self::DAY && 60 <= self.limit && self.limit <= Self::DAY
    }
}

/// A change of a node's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// Believe this key from now on.
    Add {
        /// What it may sign.
        kind: KeyKind,
        /// Its public half.
        public: PublicKey,
    },
    /// Never believe this key again.
    Revoke(KeyId),
}

impl Verb {
    /// Its number in orders.
    const fn number(&self) -> u64 {
        match self {
            Self::Activate(_) => 1,
            Self::Revert(_) => 2,
            Self::Cancel(_) => 3,
            Self::Pause(_) => 4,
            Self::Resume(_) => 5,
            Self::Quarantine(_) => 6,
            Self::Unquarantine(_) => 7,
            Self::Keys(KeyChange::Add { .. }) => 8,
            Self::Keys(KeyChange::Revoke(_)) => 9,
            Self::Policy(_) => 10,
            Self::Time(_) => 11,
        }
    }

    /// Who must sign it.
    pub const fn needs(&self) -> KeyKind {
        match self {
            Self::Keys(_) | Self::Time(_) => KeyKind::Recovery,
            _ => KeyKind::Operator,
        }
    }
}

/// An order. As CBOR: a map of the numbers in brackets; key 0 is the format, 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// \[1] Rises with every order of that key, over reboots and gateways.
    pub counter: u64,
    /// \[2] the verb's number; \[3] its image, or key, or key id, or time; \[4] the kind of a key that is added.
    pub verb: Verb,
    /// \[5] When it was given: what the node then knows the time to be at least.
    pub issued_at: Option<UnixTime>,
    /// \[6] Until when it may be obeyed; `None` is for ever.
    pub not_after: Option<UnixTime>,
    /// \[7] The nodes that it is for, their ids rising; `None` is every node. What is signed for the nodes of
    /// one wave cannot be played to those of the next.
    pub nodes: Option<Vec<u32>>,
    // [8] to [10] are a policy's: whether updates are taken, soak, limit.
}

impl Order {
    /// What a node knows the time to be at least, once it has obeyed this, and knew `known` before. It only moves
    /// forward, but for the verb whose purpose is to move it back.
    pub fn time_after(&self, known: Option<UnixTime>) -> Option<UnixTime> {
        match self.verb {
            Verb::Time(time) => Some(time),
            _ => known.max(self.issued_at),
        }
    }

    /// Its one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let add = matches!(self.verb, Verb::Keys(KeyChange::Add { .. }));
        let optional = [add, self.issued_at.is_some(), self.not_after.is_some(), self.nodes.is_some()];
        let present = optional.into_iter().filter(|present| *present).count() as u64;
        let policy = if let Verb::Policy(policy) = self.verb { Some(policy) } else { None };
        let always = if policy.is_some() { 5 } else { 3 };
        let mut writer = Writer::open(present.saturating_add(always), FORMAT);
        writer.u64(1, self.counter);
        writer.u64(2, self.verb.number());
        match &self.verb {
            Verb::Activate(image)
            | Verb::Revert(image)
            | Verb::Cancel(image)
            | Verb::Pause(image)
            | Verb::Resume(image)
            | Verb::Quarantine(image)
            | Verb::Unquarantine(image) => writer.bytes(3, &image.0),
            Verb::Keys(KeyChange::Add { kind, public }) => {
                writer.bytes(3, public.bytes());
                writer.u64(4, kind.number().into());
            }
            Verb::Keys(KeyChange::Revoke(id)) => writer.bytes(3, &id.0),
            Verb::Policy(_) => {}
            Verb::Time(UnixTime(seconds)) => writer.u64(3, *seconds),
        }
        for (key, time) in [(5, self.issued_at), (6, self.not_after)] {
            if let Some(UnixTime(seconds)) = time {
                writer.u64(key, seconds);
            }
        }
        if let Some(nodes) = &self.nodes {
            writer.numbers(7, nodes);
        }
        if let Some(Policy { updates, soak, limit }) = policy {
            writer.u64(8, updates.into());
            writer.u64(9, soak.into());
            writer.u64(10, limit.into());
        }
        writer.close()
    }

    /// Reads an order's content.
    ///
    /// # Errors
    /// [`Refusal::Truncated`], [`Refusal::Malformed`], [`Refusal::Format`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::open(bytes, FORMAT)?;
        let counter = reader.u64(1)?;
        let verb = decode_verb(&mut reader)?;
        let issued_at = reader.optional_u64(5)?.map(UnixTime);
        let not_after = reader.optional_u64(6)?.map(UnixTime);
        let nodes = reader.numbers(7, NODES_MAX)?;
        let verb = match verb {
            Some(verb) => verb,
            None => Verb::Policy(decode_policy(&mut reader)?),
        };
        reader.close()?;
        let order = Self { counter, verb, issued_at, not_after, nodes };
        let rising = order.nodes.as_ref().is_none_or(|nodes| nodes.is_sorted_by(|one, next| one < next));
        if rising && order.encode() == bytes { Ok(order) } else { Err(Refusal::Malformed) }
    }
}

fn decode_policy(reader: &mut Reader<'_>) -> Result<Policy, Refusal> {
    let updates = match reader.u64(8)? {
        0 => false,
        1 => true,
        _ => return Err(Refusal::Malformed),
    };
    let policy = Policy { updates, soak: reader.u32(9)?, limit: reader.u32(10)? };
    if policy.is_sound() { Ok(policy) } else { Err(Refusal::Malformed) }
}

/// What is to be done; `None` is a policy, which stands at the order's end.
fn decode_verb(reader: &mut Reader<'_>) -> Result<Option<Verb>, Refusal> {
    let of_image: fn(Sha256Sum) -> Verb = match reader.u64(2)? {
        1 => Verb::Activate,
        2 => Verb::Revert,
        3 => Verb::Cancel,
        4 => Verb::Pause,
        5 => Verb::Resume,
        6 => Verb::Quarantine,
        7 => Verb::Unquarantine,
        8 => {
            let public = PublicKey::new(reader.array(3)?).ok_or(Refusal::KeyChange)?;
            let kind = u8::try_from(reader.u64(4)?).ok().and_then(KeyKind::from_number);
            let kind = kind.ok_or(Refusal::Malformed)?;
            return Ok(Some(Verb::Keys(KeyChange::Add { kind, public })));
        }
        9 => return Ok(Some(Verb::Keys(KeyChange::Revoke(KeyId(reader.array(3)?))))),
        10 => return Ok(None),
        11 => return Ok(Some(Verb::Time(UnixTime(reader.u64(3)?)))),
        _ => return Err(Refusal::Malformed),
    };
    Ok(Some(of_image(Sha256Sum(reader.array(3)?))))
}
