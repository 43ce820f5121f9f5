//! COSE_Sign1 (RFC 9052, §4.2) in the one shape that we send.
//!
//! By hand, because that shape is a byte pattern: an untagged array of the protected header {1: −8 (EdDSA),
//! 4: key id}, an empty unprotected one, the content, and 64 bytes of signature. A general COSE library would
//! take many more shapes, and bring a second CBOR library with it.

use alloc::vec::Vec;

use ed25519_compact::{PublicKey, Signature};

use super::{KeyId, Refusal};

/// The longest signed message, in bytes: an order for the most nodes, and some.
pub const SIGNED_MAX: usize = 640;

/// What is signed; it goes into the signature as its external data, so that no message can be taken for one of
/// another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A [`Manifest`](super::Manifest).
    Manifest,
    /// A [`Descriptor`](super::Descriptor).
    Descriptor,
    /// An [`Order`](super::Order).
    Order,
}

impl Domain {
    /// The external data (`external_aad` in RFC 9052).
    pub const fn external_data(self) -> &'static [u8] {
        match self {
            Self::Manifest => b"meshward manifest",
            Self::Descriptor => b"meshward payload",
            Self::Order => b"meshward order",
        }
    }
}

/// An array of four, and the protected header up to the key id.
const BEGINNING: [u8; 7] = [0x84, 0x4D, 0xA2, 0x01, 0x27, 0x04, 0x48];
/// The unprotected header: an empty map.
const UNPROTECTED: u8 = 0xA0;
/// A byte string of 64 bytes follows.
const SIGNATURE: [u8; 2] = [0x58, 0x40];
/// An array of four, and the text "Signature1".
const CONTEXT: &[u8] = b"\x84\x6ASignature1";

/// The parts of a signed message.
pub(super) struct Parts<'b> {
    pub(super) key: KeyId,
    pub(super) content: &'b [u8],
    signature: [u8; Signature::BYTES],
}

/// Takes a signed message apart.
pub(super) fn split(bytes: &[u8]) -> Result<Parts<'_>, Refusal> {
    if bytes.len() > SIGNED_MAX {
        return Err(Refusal::Malformed);
    }
    let rest = expect(bytes, &BEGINNING)?;
    let (key, rest) = rest.split_first_chunk::<{ KeyId::LEN }>().ok_or(Refusal::Truncated)?;
    let rest = expect(rest, &[UNPROTECTED])?;
    let (content_len, rest) = byte_string(rest)?;
    let (content, rest) = rest.split_at_checked(content_len).ok_or(Refusal::Truncated)?;
    let rest = expect(rest, &SIGNATURE)?;
    let (signature, rest) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
    if !rest.is_empty() {
        return Err(Refusal::Malformed);
    }
    Ok(Parts { key: KeyId(*key), content, signature: *signature })
}

fn expect<'b>(bytes: &'b [u8], wanted: &[u8]) -> Result<&'b [u8], Refusal> {
    match bytes.strip_prefix(wanted) {
        Some(rest) => Ok(rest),
        None if wanted.starts_with(bytes) => Err(Refusal::Truncated),
        None => Err(Refusal::Malformed),
    }
}

/// The length of a byte string in its shortest form.
fn byte_string(bytes: &[u8]) -> Result<(usize, &[u8]), Refusal> {
    match bytes {
        [] | [0x58] | [0x59] | [0x59, _] => Err(Refusal::Truncated),
        [short @ 0x40..=0x57, rest @ ..] => Ok((usize::from(short & 0x1F), rest)),
        [0x58, len @ (24..), rest @ ..] => Ok((usize::from(*len), rest)),
        [0x59, high @ (1..), low, rest @ ..] => Ok((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        _ => Err(Refusal::Malformed),
    }
}

fn put_byte_string(message: &mut Vec<u8>, len: usize) {
    let len = len.min(usize::from(u16::MAX)) as u16;
    match len {
        0..24 => message.push(0x40 | len as u8),
        24..256 => message.extend_from_slice(&[0x58, len as u8]),
        _ => {
            message.push(0x59);
            message.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// All of what is signed that comes before the content.
fn before_content(domain: Domain, key: KeyId, content_len: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(CONTEXT);
    message.extend(BEGINNING.iter().skip(1));
    message.extend_from_slice(&key.0);
    put_byte_string(&mut message, domain.external_data().len());
    message.extend_from_slice(domain.external_data());
    put_byte_string(&mut message, content_len);
    message
}

/// What a key signs for `content` (`Sig_structure` in RFC 9052).
pub fn to_be_signed(domain: Domain, key: KeyId, content: &[u8]) -> Vec<u8> {
    let mut message = before_content(domain, key, content.len());
    message.extend_from_slice(content);
    message
}

/// Puts a signed message together.
pub fn assemble(key: KeyId, content: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut message = Vec::with_capacity(content.len().saturating_add(96));
    message.extend_from_slice(&BEGINNING);
    message.extend_from_slice(&key.0);
    message.push(UNPROTECTED);
    put_byte_string(&mut message, content.len());
    message.extend_from_slice(content);
    message.extend_from_slice(&SIGNATURE);
    message.extend_from_slice(signature);
    message
}

impl Parts<'_> {
    /// Whether the key with these bytes signed it. The crate refuses weak keys, points of small order, and a
    /// second form of the same signature.
    pub(super) fn is_signed_by(&self, public: &[u8; 32], domain: Domain) -> bool {
        let signature = Signature::new(self.signature);
        let Ok(mut state) = PublicKey::new(*public).verify_incremental(&signature) else { return false };
        state.absorb(before_content(domain, self.key, self.content.len()));
        state.absorb(self.content);
        state.verify().is_ok()
    }
}
