//! Secrets that the gateway gives out: 256 random bits, shown once, kept as their SHA-256.
//!
//! Tokens, sessions and the set-up link are such secrets. A plain hash is enough for them, and a slow one would be
//! paid for on every request: nobody guesses 256 bits. What is kept cannot be turned back into what was shown.

use std::fmt;

use meshward_core::hash::Sha256Sum;

/// Random bytes in a secret.
pub const SECRET_LEN: usize = 32;
/// Before the digits of a token: so that people, and scanners for leaked secrets, see what it is.
pub const TOKEN_PREFIX: &str = "mw_";

/// A secret as it is given out. It has no `Display`, and its `Debug` is silent, so that no log holds one by accident.
#[derive(Clone)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_LEN];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads 64 lower-case hexadecimal digits, with or without [`TOKEN_PREFIX`]; everything else is no secret of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(TOKEN_PREFIX).unwrap_or(text);
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        Sha256Sum::parse(digits.as_bytes()).map(|Sha256Sum(bytes)| Self(bytes))
    }

    /// Its digits, to be shown once.
    pub fn reveal(&self) -> String {
        hex(&self.0)
    }

    /// Its digits with [`TOKEN_PREFIX`], to be shown once.
    pub fn reveal_token(&self) -> String {
        format!("{TOKEN_PREFIX}{}", self.reveal())
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest(Sha256Sum::of(&self.0).0)
    }

    /// Another secret that follows from this one, and from which this one does not follow.
    pub fn derive(&self, purpose: &str) -> Self {
        Self(Sha256Sum::of(&[purpose.as_bytes(), &[0], &self.0].concat()).0)
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn is(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a [`Secret`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Whether both are the same, in a time that does not tell where they differ.
    pub fn is(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }

    /// What it is called in lists, paths and logs: its first 16 digits. That lets nobody in.
    pub fn id(&self) -> String {
        hex(self.0.first_chunk::<8>().unwrap_or(&[0; 8]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.id())
    }
}

fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    // The black box keeps the compiler from leaving the loop early.
    let differing = a.iter().zip(b).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
    differing == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_and_nothing_else() {
        let secret = Secret::new().unwrap();
        for shown in [secret.reveal(), secret.reveal_token()] {
            assert!(Secret::parse(&shown).unwrap().is(&secret), "{shown}");
        }
        let token = secret.reveal_token();
        let odd = [
            String::new(),
            TOKEN_PREFIX.to_owned(),
            token[..token.len() - 1].to_owned(),
            format!("{token}0"),
            format!("{TOKEN_PREFIX}{token}"),
            format!("mw_{}", "A".repeat(64)),
            format!("mw_{}", "g".repeat(64)),
            format!("{}é", &token[..token.len() - 2]),
        ];
        for text in odd {
            assert!(Secret::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_kept_form_is_sha256_and_names_no_secret() {
        let secret = Secret([0x61; SECRET_LEN]);
        // sha256sum of 32 letters a.
        assert_eq!(
            hex(&secret.digest().0),
            "3ba3f5f43b92602683c19aee62a20342b084dd5971ddd33808d81a328879a547"
        );
        assert_eq!(secret.digest().id(), "3ba3f5f43b926026");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn every_bit_counts() {
        let secret = Secret([7; SECRET_LEN]);
        assert!(secret.is(&secret.clone()) && secret.digest().is(&secret.digest()));
        for bit in 0..256 {
            let mut other = [7; SECRET_LEN];
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!secret.is(&Secret(other)), "bit {bit}");
            assert!(!secret.digest().is(&Digest(other)), "bit {bit}");
        }
        assert!(!Secret::new().unwrap().is(&Secret::new().unwrap()), "they are random");
        assert!(!secret.derive("csrf").is(&secret) && !secret.derive("csrf").is(&secret.derive("other")));
    }
}
