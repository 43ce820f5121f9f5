//! The group's key as a file holds it: what seals payloads, and what nodes have in their settings.
//!
//! Where it comes from and where it is kept is the caller's business, as with the keys that sign.

use meshward_core::hash::Sha256Sum;
use meshward_core::ota::trust::GroupKey;
use thiserror::Error;

/// Begins the line; 64 hexadecimal digits follow.
const BEGINNING: &str = "meshward-group-key";

/// Why there is no key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealingError {
    /// Not what a key looks like in a file.
    #[error("not a group key: expected one line `{BEGINNING}:64 hexadecimal digits`")]
    Text,
    /// All bytes are the same.
    #[error("32 equal bytes are no key")]
    NoKey,
}

/// The line that a file holds: whoever reads it can open all that is sealed for the group.
pub fn group_key_to_text(key: &GroupKey) -> String {
    let digits: String = key.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{BEGINNING}:{digits}\n")
}

/// Reads [`group_key_to_text`]'s line.
///
/// # Errors
/// [`SealingError`].
pub fn group_key_from_text(text: &str) -> Result<GroupKey, SealingError> {
    let digits = text.trim().strip_prefix(BEGINNING).and_then(|rest| rest.strip_prefix(':'));
    // Any 32 bytes in hexadecimal, a sum or not.
    let Sha256Sum(bytes) =
        digits.and_then(|digits| Sha256Sum::parse(digits.as_bytes())).ok_or(SealingError::Text)?;
    GroupKey::new(bytes).ok_or(SealingError::NoKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_other_files_are_none() {
        let key = GroupKey::new(core::array::from_fn(|at| at as u8)).unwrap();
        let text = group_key_to_text(&key);
        assert_eq!(group_key_from_text(&text), Ok(key));
        for other in ["", "x", &text[1..], &text[..text.len() - 2], &text.replace(':', ":author:")] {
            assert_eq!(group_key_from_text(other), Err(SealingError::Text), "{other}");
        }
        let erased = format!("{BEGINNING}:{}", "ff".repeat(32));
        assert_eq!(group_key_from_text(&erased), Err(SealingError::NoKey));
    }
}
