//! Passwords of people: argon2id, checked away from the tasks that serve, a few at a time.
//!
//! One check is meant to be slow and to need much memory; so [`Hasher`] lets a few run at once and a few wait, and
//! refuses the rest. Somebody who tries to log in as nobody waits as long as for a real user.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use tokio::sync::Semaphore;

/// Shortest password, in characters.
pub const PASSWORD_MIN: usize = 12;
/// Longest password, in bytes: whatever is longer is a file.
pub const PASSWORD_MAX: usize = 256;
/// Checks at the same time; each takes 19 MB.
pub const CHECKS_MAX: usize = 2;
/// Checks under way and waiting; more are refused.
pub const QUEUE_MAX: usize = 16;

/// What one check costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// What OWASP's Password Storage Cheat Sheet recommends for argon2id with one lane: 19 MiB, two passes.
    pub const OWASP: Self = Self { memory_kib: 19 * 1024, passes: 2 };
}

/// Why a password was not taken or not checked.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// Too short.
    #[error("password is too short: take at least {PASSWORD_MIN} characters")]
    Short,
    /// Too long.
    #[error("password is too long: take at most {PASSWORD_MAX} bytes")]
    Long,
    /// It is the name.
    #[error("password is the user's name: take another")]
    Name,
    /// Too many people log in at once.
    #[error("too many passwords are being checked: try again in a moment")]
    Crowded,
    /// The hash could not be reckoned.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

/// A password that may be used: long enough, and not the name of its user.
#[derive(Clone)]
pub struct NewPassword(String);

impl NewPassword {
    /// Takes one for a user.
    ///
    /// # Errors
    /// [`PasswordError`] says what would be right.
    pub fn new(user: &str, text: String) -> Result<Self, PasswordError> {
        if text.len() > PASSWORD_MAX {
            return Err(PasswordError::Long);
        }
        if text.chars().count() < PASSWORD_MIN {
            return Err(PasswordError::Short);
        }
        if text.eq_ignore_ascii_case(user) {
            return Err(PasswordError::Name);
        }
        Ok(Self(text))
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

/// Hashes and checks passwords, a few at a time.
#[derive(Clone, Debug)]
pub struct Hasher {
    cost: Cost,
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Hasher {
    /// One of this cost.
    pub fn new(cost: Cost) -> Self {
        let (queue, running) = (Semaphore::new(QUEUE_MAX), Semaphore::new(CHECKS_MAX));
        Self { cost, queue: Arc::new(queue), running: Arc::new(running) }
    }

    /// What is kept of a password: a PHC string with its own salt and cost.
    ///
    /// # Errors
    /// [`PasswordError::Crowded`] and [`PasswordError::Hash`].
    pub async fn hash(&self, password: NewPassword) -> Result<String, PasswordError> {
        let cost = self.cost;
        self.run(move || hash(cost, password.0.as_bytes())).await?
    }

    /// Whether a password is the one that was kept. With nothing kept the answer is no, after the same time.
    ///
    /// # Errors
    /// [`PasswordError::Crowded`] and [`PasswordError::Hash`].
    pub async fn check(&self, kept: Option<String>, password: String) -> Result<bool, PasswordError> {
        if password.len() > PASSWORD_MAX {
            return Ok(false);
        }
        let cost = self.cost;
        self.run(move || match kept {
            Some(kept) => {
                let kept =
                    PasswordHash::new(&kept).map_err(|error| PasswordError::Hash(error.to_string()))?;
                Ok(Argon2::default().verify_password(password.as_bytes(), &kept).is_ok())
            }
            None => hash(cost, password.as_bytes()).map(|_| false),
        })
        .await?
    }

    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, PasswordError> {
        let crowded = |_| PasswordError::Crowded;
        let queued = Arc::clone(&self.queue).try_acquire_owned().map_err(crowded)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|closed| PasswordError::Hash(closed.to_string()))?;
        let done = tokio::task::spawn_blocking(move || {
            // Whoever asked may have gone: the places are free when the work is done, not before.
            let _places = (queued, running);
            work()
        });
        done.await.map_err(|error| PasswordError::Hash(error.to_string()))
    }
}

fn hash(cost: Cost, password: &[u8]) -> Result<String, PasswordError> {
    let unusable = |error: String| PasswordError::Hash(error);
    let params = Params::new(cost.memory_kib, cost.passes, 1, None);
    let params = params.map_err(|error| unusable(error.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password).map(|hash| hash.to_string()).map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 16, passes: 1 };
    const RIGHT: &str = "correct horse battery";

    #[test]
    fn a_password_is_long_and_not_the_name() {
        let long = "é".repeat(PASSWORD_MAX / 2);
        for text in [RIGHT, "twelve chars", "éééééééééééé", &long] {
            assert!(NewPassword::new("anna", text.to_owned()).is_ok(), "{text}");
        }
        let longer = format!("{long}x");
        for (user, text, needle) in [
            ("anna", "", "12"),
            ("anna", "éleven char", "at least 12 characters"),
            ("anna", longer.as_str(), "at most 256"),
            ("anna.longname", "Anna.LongName", "the user's name"),
        ] {
            let error = NewPassword::new(user, text.to_owned()).unwrap_err().to_string();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn only_the_right_password_passes() {
        let hasher = Hasher::new(CHEAP);
        let new = || NewPassword::new("anna", RIGHT.to_owned()).unwrap();
        let kept = hasher.hash(new()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=16,t=1,p=1$"), "{kept}");
        assert_ne!(kept, hasher.hash(new()).await.unwrap(), "every one has its own salt");
        let check = |kept: Option<&str>, text: &str| hasher.check(kept.map(str::to_owned), text.to_owned());
        assert!(check(Some(&kept), RIGHT).await.unwrap());
        for wrong in ["", "correct horse batterz", &RIGHT.repeat(20)] {
            assert!(!check(Some(&kept), wrong).await.unwrap(), "{wrong}");
        }
        assert!(!check(None, RIGHT).await.unwrap(), "nobody has no password");
        let spoilt = check(Some("$argon2id$nonsense"), RIGHT).await.unwrap_err();
        assert!(matches!(spoilt, PasswordError::Hash(_)));
    }

    #[tokio::test]
    async fn more_than_the_queue_is_refused_and_the_places_come_back() {
        let hasher = Hasher::new(CHEAP);
        let waiting = hasher.queue.clone().acquire_many_owned(QUEUE_MAX as u32).await.unwrap();
        let crowded = hasher.check(None, RIGHT.to_owned()).await.unwrap_err();
        assert!(matches!(crowded, PasswordError::Crowded));
        drop(waiting);
        assert!(!hasher.check(None, RIGHT.to_owned()).await.unwrap());
        assert_eq!(hasher.queue.available_permits(), QUEUE_MAX);
    }

    #[test]
    fn the_usual_cost_is_that_of_owasp() {
        let hash = hash(Cost::OWASP, RIGHT.as_bytes()).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    }
}
