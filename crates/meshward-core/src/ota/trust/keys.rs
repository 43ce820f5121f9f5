//! The keys that a node believes, and what each has said last.

use alloc::vec::Vec;
use core::fmt;

use super::cbor::{Reader, Writer};
use super::cose::{self, Domain};
use super::{Descriptor, KeyChange, Manifest, Order, Refusal, Verb};
use crate::hash::Sha256Sum;
use crate::time::UnixTime;
use crate::wire::NodeId;

/// Keys that a store holds, revoked ones included.
pub const KEYS_MAX: usize = 16;
const FORMAT: u64 = 1;
/// Bytes of the CRC-32 behind a store.
const CRC_LEN: usize = 4;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// Manifests of images.
    Author,
    /// Descriptors of payloads, and orders.
    Operator,
    /// Changes of keys, the time, and nothing else.
    Recovery,
}

impl KeyKind {
    /// Its number in stores and orders.
    pub const fn number(self) -> u8 {
        match self {
            Self::Author => 1,
            Self::Operator => 2,
            Self::Recovery => 3,
        }
    }

    /// The kind with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Author),
            2 => Some(Self::Operator),
            3 => Some(Self::Recovery),
            _ => None,
        }
    }

    /// The kind of this name, as [`Display`](fmt::Display) writes it.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "author" => Some(Self::Author),
            "operator" => Some(Self::Operator),
            "recovery" => Some(Self::Recovery),
            _ => None,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Author => "author",
            Self::Operator => "operator",
            Self::Recovery => "recovery",
        })
    }
}

/// A key's name: the first bytes of the SHA-256 of its public half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; KeyId::LEN]);

impl KeyId {
    /// Bytes of a name.
    pub const LEN: usize = 8;
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The public half of an Ed25519 key (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A key with these bytes; `None` when they are no point on the curve, or a weak one.
    pub fn new(bytes: [u8; 32]) -> Option<Self> {
        ed25519_compact::PublicKey::new(bytes).validate().is_ok().then_some(Self(bytes))
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        let mut id = [0; KeyId::LEN];
        id.iter_mut().zip(Sha256Sum::of(&self.0).0).for_each(|(to, from)| *to = from);
        KeyId(id)
    }
}

/// A key, and what a node remembers of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Its public half.
    pub public: PublicKey,
    /// What it may sign.
    pub kind: KeyKind,
    /// Whether it is not believed any more. It is kept so that it cannot come back.
    pub revoked: bool,
    /// The counter of its last order that was obeyed; 0 if there was none.
    pub counter: u64,
}

impl Key {
    /// A key that has said nothing yet.
    pub const fn new(kind: KeyKind, public: PublicKey) -> Self {
        Self { public, kind, revoked: false, counter: 0 }
    }
}

/// A message whose signature has been checked, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// Who signed it.
    pub key: KeyId,
    /// What it says.
    pub content: T,
}

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStore {
    /// Each with its name, so that no hash is taken to find one.
    keys: Vec<(KeyId, Key)>,
}

impl KeyStore {
    /// A store with these keys.
    ///
    /// # Errors
    /// [`Refusal::KeyChange`]: too many of them, or one twice.
    pub fn new(keys: &[Key]) -> Result<Self, Refusal> {
        let mut store = Self::default();
        keys.iter().try_for_each(|key| store.add(*key))?;
        Ok(store)
    }

    /// All keys, revoked ones included.
    pub fn keys(&self) -> impl Iterator<Item = (KeyId, &Key)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }

    fn find(&self, id: KeyId) -> Option<&Key> {
        self.keys().find(|(found, _)| *found == id).map(|(_, key)| key)
    }

    fn add(&mut self, key: Key) -> Result<(), Refusal> {
        let id = key.public.id();
        if self.keys.len() >= KEYS_MAX || self.find(id).is_some() {
            return Err(Refusal::KeyChange);
        }
        self.keys.push((id, key));
        Ok(())
    }

    /// Opens a manifest: an author signed it, and its time is not over.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn manifest(&self, bytes: &[u8], now: Option<UnixTime>) -> Result<Signed<Manifest>, Refusal> {
        let (key, kind, content) = self.open(bytes, Domain::Manifest)?;
        demand(key, kind, KeyKind::Author)?;
        let manifest = Manifest::decode(content)?;
        check_expiry(manifest.not_after, now)?;
        Ok(Signed { key, content: manifest })
    }

    /// Opens the descriptor of a payload: an operator signed it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn descriptor(&self, bytes: &[u8]) -> Result<Signed<Descriptor>, Refusal> {
        let (key, kind, content) = self.open(bytes, Domain::Descriptor)?;
        demand(key, kind, KeyKind::Operator)?;
        Ok(Signed { key, content: Descriptor::decode(content)? })
    }

    /// Opens an order for this node: somebody signed it who may, it is newer than any before, and its time is
    /// not over. It has been obeyed once [`obeyed`](Self::obeyed) is told so.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn order(&self, bytes: &[u8], node: NodeId, now: Option<UnixTime>) -> Result<Signed<Order>, Refusal> {
        let (key, kind, content) = self.open(bytes, Domain::Order)?;
        let order = Order::decode(content)?;
        demand(key, kind, order.verb.needs())?;
        let last = self.find(key).map_or(0, |key| key.counter);
        if order.counter <= last {
            return Err(Refusal::Replayed { counter: order.counter, last });
        }
        check_expiry(order.not_after, now.max(order.issued_at))?;
        if order.nodes.as_ref().is_some_and(|nodes| !nodes.contains(&node.0)) {
            return Err(Refusal::OtherNodes);
        }
        Ok(Signed { key, content: order })
    }

    /// Remembers the counter of an order that is being obeyed, and changes the keys if that is what it says. The
    /// caller writes the store to flash before anything else happens.
    ///
    /// # Errors
    /// [`Refusal::KeyChange`], and nothing has changed but the counter.
    pub fn obeyed(&mut self, order: &Signed<Order>) -> Result<(), Refusal> {
        if let Some((_, key)) = self.keys.iter_mut().find(|(id, _)| *id == order.key) {
            key.counter = key.counter.max(order.content.counter);
        }
        match order.content.verb {
            Verb::Keys(KeyChange::Add { kind, public }) => self.add(Key::new(kind, public)),
            Verb::Keys(KeyChange::Revoke(id)) => self.revoke(id),
            _ => Ok(()),
        }
    }

    fn revoke(&mut self, id: KeyId) -> Result<(), Refusal> {
        let recovery =
            |(other, key): &(KeyId, Key)| *other != id && key.kind == KeyKind::Recovery && !key.revoked;
        // A node whose last recovery key is gone could never be given another key.
        let recoverable = self.keys.iter().any(recovery);
        let key = self.keys.iter_mut().find(|(other, _)| *other == id).map(|(_, key)| key);
        match key {
            Some(key) if recoverable => {
                key.revoked = true;
                Ok(())
            }
            _ => Err(Refusal::KeyChange),
        }
    }

    /// Checks who signed a message; its key's kind has still to be demanded.
    fn open<'b>(&self, bytes: &'b [u8], domain: Domain) -> Result<(KeyId, KeyKind, &'b [u8]), Refusal> {
        let parts = cose::split(bytes)?;
        let key = self.find(parts.key).ok_or(Refusal::UnknownKey(parts.key))?;
        if key.revoked {
            return Err(Refusal::RevokedKey(parts.key));
        }
        if !parts.is_signed_by(key.public.bytes(), domain) {
            return Err(Refusal::BadSignature(parts.key));
        }
        Ok((parts.key, key.kind, parts.content))
    }

    /// Bytes of [`encode`](Self::encode).
    pub fn encoded_len(&self) -> usize {
        let lens = self.keys.iter().map(|(_, key)| encode_key(key).len().saturating_add(1));
        lens.fold(CRC_LEN, usize::saturating_add)
    }

    /// The store as it is kept: for each key its length and a map in CBOR, one after the other, then a CRC-32.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.encode_into(&mut bytes);
        bytes
    }

    /// The same, behind what is there already.
    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        for (_, key) in &self.keys {
            let entry = encode_key(key);
            // Never: an entry has 53 bytes at most.
            bytes.push(u8::try_from(entry.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(&entry);
        }
        let crc = CRC.checksum(bytes.get(start..).unwrap_or_default());
        bytes.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`Refusal`]: it is damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let (entries, crc) = bytes.split_last_chunk::<CRC_LEN>().ok_or(Refusal::Truncated)?;
        if CRC.checksum(entries) != u32::from_le_bytes(*crc) {
            return Err(Refusal::Malformed);
        }
        // As much memory as it takes, and not what doubling would.
        let mut store = Self { keys: Vec::with_capacity(Entries(entries).count().min(KEYS_MAX)) };
        for entry in Entries(entries) {
            store.add(decode_key(entry?)?)?;
        }
        Ok(store)
    }
}

/// The entries of a store, one after the other.
struct Entries<'b>(&'b [u8]);

impl<'b> Iterator for Entries<'b> {
    type Item = Result<&'b [u8], Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let (len, after) = self.0.split_first()?;
        match after.split_at_checked(usize::from(*len)) {
            Some((entry, rest)) => {
                self.0 = rest;
                Some(Ok(entry))
            }
            None => {
                self.0 = &[];
                Some(Err(Refusal::Truncated))
            }
        }
    }
}

fn encode_key(key: &Key) -> Vec<u8> {
    let mut writer = Writer::open(4, FORMAT);
    writer.bytes(1, key.public.bytes());
    writer.u64(2, key.kind.number().into());
    writer.u64(3, key.revoked.into());
    writer.u64(4, key.counter);
    writer.close()
}

fn decode_key(entry: &[u8]) -> Result<Key, Refusal> {
    let mut reader = Reader::open(entry, FORMAT)?;
    let public = PublicKey::new(reader.array(1)?).ok_or(Refusal::KeyChange)?;
    let kind = u8::try_from(reader.u64(2)?).ok().and_then(KeyKind::from_number);
    let kind = kind.ok_or(Refusal::Malformed)?;
    let revoked = match reader.u64(3)? {
        0 => false,
        1 => true,
        _ => return Err(Refusal::Malformed),
    };
    let counter = reader.u64(4)?;
    reader.close()?;
    let key = Key { public, kind, revoked, counter };
    // There is one encoding of each.
    if encode_key(&key) == entry { Ok(key) } else { Err(Refusal::Malformed) }
}

fn demand(key: KeyId, has: KeyKind, needs: KeyKind) -> Result<(), Refusal> {
    if has == needs { Ok(()) } else { Err(Refusal::WrongKind { key, has, needs }) }
}

fn check_expiry(not_after: Option<UnixTime>, now: Option<UnixTime>) -> Result<(), Refusal> {
    match (not_after, now) {
        (Some(UnixTime(not_after)), Some(UnixTime(now))) if now > not_after => {
            Err(Refusal::Expired { not_after, now })
        }
        _ => Ok(()),
    }
}
