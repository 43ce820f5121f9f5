//! By which other parts of the program say something at the broker, and hear whether it has it.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::settings::Switches;

/// Messages that may wait to be looked at.
const WAITING_MAX: usize = 64;

/// Why a message did not get there. What is tried again later may.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PostError {
    /// There is none now.
    #[error("the gateway is connected to no broker")]
    Down,
    /// More wait already than may.
    #[error("too many messages wait for the broker")]
    Crowded,
    /// The broker does not want it, or nobody knows.
    #[error("the broker has not taken the message")]
    NotTaken,
    /// Nothing can be sent there.
    #[error("`{0}` is no topic: no wildcards, no control characters, no $ at the beginning")]
    Topic(String),
}

/// What another part of the program wants.
pub(super) enum Wish {
    /// Something is to be said.
    Say(Posted),
    /// What is told is another from now on.
    Switch(Switches),
}

/// A message, and who waits for what becomes of it.
pub(super) struct Posted {
    pub(super) topic: Option<String>,
    pub(super) payload: String,
    pub(super) done: oneshot::Sender<Result<(), PostError>>,
}

/// See the module's page. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Post(mpsc::Sender<Wish>);

/// The other end, for [`run`](super::run()).
#[derive(Debug)]
pub struct PostBox(pub(super) mpsc::Receiver<Wish>);

/// A way to the broker, and its other end.
pub fn post() -> (Post, PostBox) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Post(sender), PostBox(receiver))
}

impl Post {
    /// What is told is another from now on, whether there is a broker or not.
    ///
    /// # Errors
    /// [`PostError::Crowded`] or [`PostError::Down`]: nothing has changed.
    pub fn switch(&self, switches: Switches) -> Result<(), PostError> {
        self.0.try_send(Wish::Switch(switches)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PostError::Crowded,
            mpsc::error::TrySendError::Closed(_) => PostError::Down,
        })
    }

    /// Publishes JSON, at QoS 1 and not retained, in this topic, or in `notification` below the base; ready when the
    /// broker has it.
    ///
    /// # Errors
    /// [`PostError`], at once where there is no broker.
    pub async fn publish(&self, topic: Option<&str>, payload: &str) -> Result<(), PostError> {
        let (done, known) = oneshot::channel();
        let posted = Posted { topic: topic.map(str::to_owned), payload: payload.to_owned(), done };
        self.0.try_send(Wish::Say(posted)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PostError::Crowded,
            mpsc::error::TrySendError::Closed(_) => PostError::Down,
        })?;
        known.await.unwrap_or(Err(PostError::NotTaken))
    }
}
