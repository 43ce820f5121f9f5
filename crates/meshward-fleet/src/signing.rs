//! Keys that sign: what authors, operators and recovery keys write, and nodes believe.
//!
//! Where the secret half comes from and where it is kept is the caller's business; [`SigningKey::to_text`] is
//! how it looks in a file.

use ed25519_compact::{KeyPair, Noise, Seed};
use meshward_core::hash::Sha256Sum;
use meshward_core::ota::trust::{
    Descriptor, Domain, Key, KeyId, KeyKind, Manifest, Order, PublicKey, assemble, to_be_signed,
};
use thiserror::Error;

/// Begins a secret key in a file; its kind and 64 hexadecimal digits follow.
const SECRET: &str = "meshward-secret-key";
/// Begins a public key in a file.
const PUBLIC: &str = "meshward-public-key";

/// Why there is no key, or no signature.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SigningError {
    /// 32 zeros, or what is no secret key for another reason.
    #[error("these bytes cannot be a key")]
    NoKey,
    /// Not what a key looks like in a file.
    #[error(
        "not a key: expected one line `{expected}:KIND:64 hexadecimal digits`, KIND being author, operator or recovery"
    )]
    Text {
        /// How the line begins.
        expected: &'static str,
    },
    /// A key of another kind than what it is to sign.
    #[error("key {key} is of kind {has}, and nodes want kind {needs} for this")]
    WrongKind {
        /// The key.
        key: KeyId,
        /// What it is for.
        has: KeyKind,
        /// What it would have to be for.
        needs: KeyKind,
    },
}

/// A key with its secret half.
pub struct SigningKey {
    kind: KeyKind,
    pair: KeyPair,
    public: PublicKey,
}

/// Only what everybody may know.
impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigningKey({} {})", self.kind, self.id())
    }
}

impl SigningKey {
    /// The key that these 32 random bytes stand for.
    ///
    /// # Errors
    /// [`SigningError::NoKey`].
    pub fn from_seed(kind: KeyKind, seed: [u8; 32]) -> Result<Self, SigningError> {
        let pair = KeyPair::try_from_seed(Seed::new(seed)).map_err(|_| SigningError::NoKey)?;
        let public = PublicKey::new(*pair.pk).ok_or(SigningError::NoKey)?;
        Ok(Self { kind, pair, public })
    }

    /// Its public half, as nodes keep it.
    pub fn key(&self) -> Key {
        Key::new(self.kind, self.public)
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// The line that a file holds: whoever reads it can sign.
    pub fn to_text(&self) -> String {
        let seed = self.pair.sk.seed();
        let seed: &[u8] = seed.as_ref();
        line(SECRET, self.kind, seed)
    }

    /// Reads [`to_text`](Self::to_text)'s line.
    ///
    /// # Errors
    /// [`SigningError::Text`], [`SigningError::NoKey`].
    pub fn from_text(text: &str) -> Result<Self, SigningError> {
        let (kind, seed) = parse(SECRET, text)?;
        Self::from_seed(kind, seed)
    }

    /// Signs an image's manifest.
    ///
    /// # Errors
    /// [`SigningError::WrongKind`]: nodes would not believe it.
    pub fn manifest(&self, manifest: &Manifest) -> Result<Vec<u8>, SigningError> {
        self.sign(KeyKind::Author, Domain::Manifest, &manifest.encode())
    }

    /// Signs a payload's descriptor.
    ///
    /// # Errors
    /// [`SigningError::WrongKind`]: nodes would not believe it.
    pub fn descriptor(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SigningError> {
        self.sign(KeyKind::Operator, Domain::Descriptor, &descriptor.encode())
    }

    /// Signs an order.
    ///
    /// # Errors
    /// [`SigningError::WrongKind`]: nodes would not believe it.
    pub fn order(&self, order: &Order) -> Result<Vec<u8>, SigningError> {
        self.sign(order.verb.needs(), Domain::Order, &order.encode())
    }

    fn sign(&self, needs: KeyKind, domain: Domain, content: &[u8]) -> Result<Vec<u8>, SigningError> {
        if self.kind != needs {
            return Err(SigningError::WrongKind { key: self.id(), has: self.kind, needs });
        }
        // Deterministic, as RFC 8032 has it.
        let signature = self.pair.sk.sign(to_be_signed(domain, self.id(), content), None::<Noise>);
        Ok(assemble(self.id(), content, &signature))
    }
}

/// The line that a public key's file holds.
pub fn public_to_text(key: &Key) -> String {
    line(PUBLIC, key.kind, key.public.bytes())
}

/// Reads [`public_to_text`]'s line.
///
/// # Errors
/// [`SigningError::Text`], [`SigningError::NoKey`].
pub fn public_from_text(text: &str) -> Result<Key, SigningError> {
    let (kind, bytes) = parse(PUBLIC, text)?;
    PublicKey::new(bytes).map(|public| Key::new(kind, public)).ok_or(SigningError::NoKey)
}

fn line(beginning: &str, kind: KeyKind, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{beginning}:{kind}:{digits}\n")
}

fn parse(beginning: &'static str, text: &str) -> Result<(KeyKind, [u8; 32]), SigningError> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let found = match parts[..] {
        [first, kind, digits] if first == beginning => {
            // Any 32 bytes in hexadecimal, a sum or not.
            KeyKind::parse(kind).zip(Sha256Sum::parse(digits.as_bytes()))
        }
        _ => None,
    };
    found.map(|(kind, Sha256Sum(bytes))| (kind, bytes)).ok_or(SigningError::Text { expected: beginning })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meshward_core::hash::Md5Sum;
    use meshward_core::ota::trust::KeyStore;

    fn manifest() -> Manifest {
        Manifest {
            sha256: Sha256Sum::of(b"image"),
            md5: Md5Sum::of(b"image"),
            size: 5,
            hardware: "ESP32".to_owned(),
            role: "sensor".to_owned(),
            version: "1".to_owned(),
            sequence: 1,
            protocol: (1, 1),
            not_after: None,
        }
    }

    #[test]
    fn a_key_survives_its_file_and_nodes_believe_it() {
        let key = SigningKey::from_seed(KeyKind::Author, [7; 32]).unwrap();
        let again = SigningKey::from_text(&key.to_text()).unwrap();
        assert_eq!(again.key(), key.key());
        assert_eq!(public_from_text(&public_to_text(&key.key())), Ok(key.key()));
        let store = KeyStore::new(&[key.key()]).unwrap();
        let signed = again.manifest(&manifest()).unwrap();
        assert_eq!(store.manifest(&signed, None).map(|signed| signed.content), Ok(manifest()));
    }

    #[test]
    fn a_key_signs_only_what_nodes_believe_it() {
        let key = SigningKey::from_seed(KeyKind::Operator, [7; 32]).unwrap();
        let error = key.manifest(&manifest()).unwrap_err();
        assert!(error.to_string().ends_with("is of kind operator, and nodes want kind author for this"));
        assert!(SigningKey::from_seed(KeyKind::Author, [0; 32]).is_err());
    }

    #[test]
    fn other_files_are_no_keys() {
        let key = SigningKey::from_seed(KeyKind::Author, [7; 32]).unwrap();
        let public = public_to_text(&key.key());
        let secret = key.to_text();
        for text in ["", "x", &public, &secret.replace("author", "owner"), &secret[..secret.len() - 3]] {
            let error = SigningKey::from_text(text).err().unwrap().to_string();
            assert!(error.contains("meshward-secret-key:KIND"), "{error}");
        }
        assert!(public_from_text(&secret).is_err());
    }
}
