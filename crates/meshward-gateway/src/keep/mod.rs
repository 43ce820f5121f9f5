//! What a gateway keeps: the fleet's memory, events, values, the tree, alerts, roll-outs, and images.
//!
//! A [`Keeper`] takes the database for itself, reads at the start what a gateway before it has left
//! ([`remembered`](Keeper::remembered)), and then, in a task of its own, takes copies of what is new in the gateway's
//! task, twice a second, and writes them. It decides nothing, and nobody waits for it: when the database takes
//! nothing, the gateway goes on, and what the queues cannot hold is counted. What operators are promised does not go
//! this way: it is written down and awaited where they ask.

mod alert;
mod load;
mod node;
mod rollout;
mod round;
pub(crate) mod rule;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use meshward_fleet::memory::Stamp;
use thiserror::Error;

use crate::notify::Notifier;
use crate::service::Gateway;
use crate::shell::NodeHandle;
use crate::store::{Holder, Recorder, Retention, Store, StoreError};
pub(crate) use load::{firmware_of, image as stored_firmware};
pub use rollout::REFUSED;
pub(crate) use rollout::{document, report as rollout_report, request, rows as rollout_rows};
use round::Round;

/// Between two rounds: what is younger can be lost in a crash.
pub const ROUND: Duration = Duration::from_millis(500);
/// How often the keeper says that the database is still in use; others may take it after 15 s of silence.
const RENEW: Duration = Duration::from_secs(5);
/// How often what is too old is forgotten.
const MAINTAIN: Duration = Duration::from_secs(60);

/// A row that does not say what it should.
#[derive(Debug, Error)]
pub enum RowError {
    /// It is not the JSON that was written.
    #[error("it is not what was written: {0}")]
    Json(#[from] serde_json::Error),
    /// It names something that this program does not know.
    #[error("`{0}` is not known here")]
    Unknown(String),
}

/// Why a gateway stops to keep.
#[derive(Debug, Error)]
pub enum KeepError {
    /// Another gateway uses the database now.
    #[error("this gateway has lost its database to another one")]
    Lost(#[source] StoreError),
}

/// See the module's page.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    holder: Holder,
    recorder: Recorder,
    retention: Retention,
    notifier: Option<Notifier>,
}

impl Keeper {
    /// Takes the database for this process.
    ///
    /// # Errors
    /// [`StoreError::Held`] when another gateway uses it, or it cannot be written.
    pub async fn open(store: Store, retention: Retention) -> Result<Self, StoreError> {
        let holder = Holder::this_process();
        store.take_lease(&holder, Timestamp::now()).await?;
        let recorder = Recorder::start(store.clone());
        Ok(Self { store, holder, recorder, retention, notifier: None })
    }

    /// The same, and what people are to be told is handed to this one: before it is written down that they were.
    pub fn telling(self, notifier: Notifier) -> Self {
        Self { notifier: Some(notifier), ..self }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps until `shutdown` is ready; then what is new is written, and the database is given back.
    ///
    /// # Errors
    /// [`KeepError::Lost`]: the gateway must end, for another one has taken its place.
    pub async fn run(
        self,
        gateway: NodeHandle<Gateway>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), KeepError> {
        let mut round = Round::new(self.store.clone(), self.recorder.clone(), self.notifier.clone());
        let mut shutdown = std::pin::pin!(shutdown);
        let (mut rounds, mut renewals, mut upkeep) = (every(ROUND), every(RENEW), every(MAINTAIN));
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = rounds.tick() => {
                    if round.go(&gateway).await.is_err() {
                        // The node's task has ended; what it knew was taken before.
                        break;
                    }
                }
                _ = renewals.tick() => self.renew().await?,
                _ = upkeep.tick() => said("forget what is too old", self.store.maintain(&self.retention, Timestamp::now()).await),
            }
        }
        // Whoever stopped it may have stopped the node too.
        drop(round.go(&gateway).await);
        said("write what was recorded", self.recorder.flush().await);
        said("give the database back", self.store.release_lease(&self.holder).await);
        Ok(())
    }

    async fn renew(&self) -> Result<(), KeepError> {
        match self.store.take_lease(&self.holder, Timestamp::now()).await {
            Err(error @ StoreError::Held { .. }) => Err(KeepError::Lost(error)),
            other => {
                said("renew the lease", other);
                Ok(())
            }
        }
    }
}

/// A timer whose first tick comes after a period.
fn every(period: Duration) -> tokio::time::Interval {
    let mut timer = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer
}

/// What the database did not take is said, and tried again by whoever comes next.
fn said<T>(doing: &str, done: Result<T, StoreError>) {
    if let Err(error) = done {
        tracing::warn!(%error, source = ?std::error::Error::source(&error).map(ToString::to_string), "could not {doing}");
    }
}

/// A civil time as the store has it.
fn civil(at: Stamp) -> Timestamp {
    i64::try_from(at.0)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn stamp(at: Timestamp) -> Stamp {
    Stamp(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

/// A SHA-256 from its 64 hexadecimal digits.
fn sum(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.as_bytes().iter().map(|byte| (*byte as char).to_digit(16).map(|digit| digit as u8)).collect();
    let bytes: Vec<u8> =
        digits?.chunks_exact(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | digit)).collect();
    bytes.try_into().ok().filter(|_| text.len() == 64)
}
