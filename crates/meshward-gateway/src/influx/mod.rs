//! Values, events and alerts for InfluxDB: line protocol over HTTP, by the write interface of version 2 or 1.
//!
//! Once a period what is known is taken in the node's task (`take`), written as [`line`](mod@line)s in batches of at most
//! [`LINES_MAX`], and put into a [`queue`] on the disk; a second task sends the oldest batch (`send`) until the
//! server has it. So neither the mesh nor the taking waits for a server, and a restart of either side loses nothing
//! but what the queue has no room for, which is counted. A server that says when to come again is obeyed; a batch that
//! it will never take is dropped and said, so that one bad value does not stop the rest.
//!
//! Times are in nanoseconds, the one precision that all interfaces call the same; they are milliseconds with the number of
//! the event behind them, since of two points of a series with one time only the second is kept. Driven by the program;
//! decides nothing about the mesh.

pub mod line;
pub mod queue;
mod send;
mod take;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::Notify;

use crate::notify::delay;
use crate::service::Gateway;
use crate::shell::NodeHandle;
pub use line::{Field, Kind};
use queue::{Queue, QueueError};
pub use send::{Api, Sender, Sent, Server};
pub use take::{TAGS, names};

/// Most lines of a batch: what InfluxDB recommends.
pub const LINES_MAX: usize = 5_000;
/// How long nothing is tried when the disk takes nothing.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// What is written where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// How often values are taken.
    pub interval: Duration,
    /// Whether nodes' names are a tag: a renamed node is then a new series.
    pub names: bool,
    /// The queue's folder.
    pub folder: PathBuf,
    /// The most bytes in it.
    pub bytes_max: u64,
}

/// Why nothing is written.
#[derive(Debug, Error)]
pub enum InfluxError {
    /// The queue cannot be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// There is no HTTP client.
    #[error("cannot set up the HTTP client of InfluxDB")]
    Http(#[source] reqwest::Error),
}

/// See the module's page.
#[derive(Debug)]
pub struct Writer {
    interval: Duration,
    names: bool,
    sender: Sender,
    queue: Arc<Queue>,
}

impl Writer {
    /// Takes up what is in the queue.
    ///
    /// # Errors
    /// [`InfluxError`]: the queue or the HTTP client cannot be had.
    pub fn open(settings: Settings) -> Result<Self, InfluxError> {
        let Settings { server, interval, names, folder, bytes_max } = settings;
        let queue = Arc::new(Queue::open(&folder, bytes_max)?);
        let sender = Sender::new(server).map_err(InfluxError::Http)?;
        Ok(Self { interval, names, sender, queue })
    }

    /// What waits.
    pub fn queue(&self) -> Arc<Queue> {
        self.queue.clone()
    }

    /// Takes and sends until `shutdown` is ready; then what is new is put into the queue, for the next start.
    pub async fn run(self, gateway: NodeHandle<Gateway>, shutdown: impl Future<Output = ()>) {
        let Self { interval, names, sender, queue } = self;
        let counted = queue.clone();
        // Without a gateway there is nobody who asks.
        drop(
            gateway.with(move |_, _, gateway| gateway.set_writing(Arc::new(move || counted.written()))).await,
        );
        let news = Arc::new(Notify::new());
        let sending = tokio::spawn(drain(sender, queue.clone(), news.clone()));
        let mut taking = take::Taking::new(names);
        let mut shutdown = std::pin::pin!(shutdown);
        let mut timer = tokio::time::interval(interval);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let ends = tokio::select! {
                () = &mut shutdown => true,
                _ = timer.tick() => false,
            };
            match taking.round(&gateway).await {
                // The node's task has ended.
                None => break,
                Some(lines) => put(&queue, lines).await,
            }
            news.notify_one();
            if ends {
                break;
            }
        }
        sending.abort();
    }
}

/// Puts lines into the queue, in batches.
async fn put(queue: &Arc<Queue>, lines: Vec<String>) {
    for batch in lines.chunks(LINES_MAX) {
        let (queue, batch) = (queue.clone(), batch.to_vec());
        let put = tokio::task::spawn_blocking(move || queue.put(&batch)).await;
        match put {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "values for InfluxDB are lost: they cannot be queued"
            ),
            Err(error) => tracing::error!(%error, "queueing values ended abnormally"),
        }
    }
}

/// Sends what is in the queue, oldest first, for ever.
pub async fn drain(mut sender: Sender, queue: Arc<Queue>, news: Arc<Notify>) {
    let mut failures = 0_u32;
    loop {
        let batch = match queue.oldest() {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                news.notified().await;
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "the queue for InfluxDB cannot be read");
                tokio::time::sleep(DISK_PAUSE).await;
                continue;
            }
        };
        match sender.send(&batch.body).await {
            Sent::Taken => {
                if failures > 0 {
                    tracing::info!(waiting = queue.len(), "InfluxDB takes values again");
                }
                failures = 0;
                queue.fares(Ok(Timestamp::now()));
                said(queue.done(&batch));
            }
            Sent::Refused(why) => {
                tracing::warn!(why, lines = batch.lines, "InfluxDB refuses a batch for good: it is dropped");
                queue.fares(Err(&why));
                said(queue.give_up(&batch));
            }
            Sent::Later { why, after } => {
                if failures == 0 {
                    tracing::warn!(why, "InfluxDB takes nothing: values are queued");
                }
                failures = failures.saturating_add(1);
                queue.fares(Err(&why));
                tokio::time::sleep(delay(failures, after)).await;
            }
        }
    }
}

fn said(done: Result<(), QueueError>) {
    if let Err(error) = done {
        tracing::warn!(error = &error as &dyn std::error::Error, "a batch for InfluxDB stays in the queue");
    }
}

/// A time as lines have it. Events of the same millisecond are told apart by their numbers, which rise by one: a
/// millisecond has room for a million.
fn nanos(at: Timestamp, event: u64) -> i64 {
    const MILLISECOND: i64 = 1_000_000;
    let apart = i64::try_from(event % MILLISECOND.unsigned_abs()).unwrap_or_default();
    at.as_millisecond().saturating_mul(MILLISECOND).saturating_add(apart)
}
