//! The channels, the routes, and a worker for each channel: what the keeper and the REST interface speak to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::backoff::Circuit;
use super::channel::{CHANNELS_MAX, Channel, ChannelError};
use super::message::Message;
use super::route::{Route, RouteError, choose};
use super::send::{self, Publisher, SEND_MAX};
use super::timing;
use super::worker::{Letter, Out, Worker};
use crate::store::{Changed, DocumentKind, End, Expected, Store, StoreError};

/// Messages that wait while the database takes nothing; the oldest go first, and are counted.
pub const PENDING_MAX: usize = 500;
/// Under which id the tree of routes is kept.
const TREE: &str = "root";
/// How long workers may take to finish what is under way at the end.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Why something was not done.
#[derive(Debug, Error)]
pub enum NotifierError {
    /// The database does not take or give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A field of the channel makes no sense.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The routes make no sense.
    #[error(transparent)]
    Routes(#[from] RouteError),
    /// The name is taken.
    #[error("there is a channel `{0}` already: take another name, or change that one")]
    Exists(String),
    /// There is no such channel.
    #[error("there is no channel `{0}`: take one of /api/v1/notification-channels")]
    Unknown(String),
    /// It is the configuration's.
    #[error(
        "channel `{0}` is in the gateway's configuration ([[notify.channel]]): change it there, and start the gateway again"
    )]
    Configured(String),
    /// There are too many.
    #[error("there are {CHANNELS_MAX} channels already, the most there may be: remove one first")]
    Full,
    /// Somebody else changed it at the same time.
    #[error("somebody has changed it at the same time: read it again")]
    Changed,
    /// It is in use.
    #[error("the routes name channel `{0}`: take it out of /api/v1/notification-routes first")]
    Used(String),
    /// There is no HTTP client.
    #[error("cannot set up the HTTP client of webhooks")]
    Http(#[source] reqwest::Error),
}

/// How a channel fares.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Whether it is tried or left alone.
    pub circuit: Circuit,
    /// Messages that were delivered since the start.
    pub delivered: u64,
    /// When the last one was.
    pub delivered_at: Option<Timestamp>,
    /// The last failure.
    pub error: Option<(Timestamp, String)>,
    /// Messages that had no room since the start.
    pub dropped: u64,
}

/// What came of trying a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// What it said, or what went wrong.
    pub detail: String,
    /// How long it took.
    pub took: Duration,
}

struct Running {
    stop: watch::Sender<bool>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

struct Entry {
    channel: Channel,
    version: u64,
    /// Whether it is the configuration's, and not to be changed by anybody else.
    configured: bool,
    health: Arc<Mutex<Health>>,
    worker: Option<Running>,
}

#[derive(Default)]
struct Book {
    channels: BTreeMap<String, Entry>,
    routes: Route,
    closed: bool,
}

struct Inner {
    store: Store,
    out: Arc<Out>,
    book: Mutex<Book>,
    pending: tokio::sync::Mutex<VecDeque<Message>>,
    /// Changes are made one at a time, so that the database and the book agree.
    changing: tokio::sync::Mutex<()>,
    dropped: AtomicU64,
}

/// See the module's page. A clone is the same one.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notifier {
    /// Reads channels and routes, and starts to deliver what is in the outbox. Must be called within a Tokio runtime.
    /// A document that makes no sense is said and passed over.
    ///
    /// # Errors
    /// [`NotifierError`]: the database cannot be read, or there is no HTTP client.
    pub async fn open(store: Store, mesh: &str, public_url: &str) -> Result<Self, NotifierError> {
        Self::open_with(store, mesh, public_url, Vec::new()).await
    }

    /// The same with channels of the configuration. One of these goes before a kept one of the same name.
    ///
    /// # Errors
    /// [`NotifierError`]: as [`open`](Self::open), or a channel of the configuration cannot be used.
    pub async fn open_with(
        store: Store,
        mesh: &str,
        public_url: &str,
        configured: Vec<Channel>,
    ) -> Result<Self, NotifierError> {
        for (at, channel) in configured.iter().enumerate() {
            channel.check()?;
            if configured.iter().take(at).any(|other| other.id == channel.id) {
                return Err(NotifierError::Exists(channel.id.clone()));
            }
        }
        if configured.len() > CHANNELS_MAX {
            return Err(NotifierError::Full);
        }
        let http = send::client().map_err(NotifierError::Http)?;
        let out = Arc::new(Out {
            http,
            mqtt: OnceLock::new(),
            public_url: public_url.to_owned(),
            mesh: mesh.to_owned(),
        });
        let mut book = Book::default();
        if let Some(row) = store.document(DocumentKind::Routes, TREE).await? {
            book.routes = said("the routes", &row.id, &row.body).unwrap_or_default();
        }
        let rows = store.documents(DocumentKind::Channel).await?;
        let inner = Inner {
            store,
            out,
            book: Mutex::new(book),
            pending: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            dropped: AtomicU64::new(0),
        };
        let notifier = Self(Arc::new(inner));
        let ours = |id: &str| configured.iter().any(|channel| channel.id == id);
        for channel in notifier.0.store.count_outbox().await?.into_keys() {
            // Somebody removed it just when a message came, or from the configuration.
            if !rows.iter().any(|row| row.id == channel) && !ours(&channel) {
                notifier.0.store.forget_channel(&channel).await?;
            }
        }
        for row in rows.into_iter().take(CHANNELS_MAX - configured.len()) {
            if ours(&row.id) {
                tracing::warn!(
                    id = row.id,
                    "the configuration has a channel of this name: the kept one is passed over"
                );
            } else if let Some(channel) = said::<Channel>("a channel", &row.id, &row.body) {
                notifier.enter(channel, row.version, false).await;
            }
        }
        for channel in configured {
            notifier.enter(channel, 1, true).await;
        }
        Ok(notifier)
    }

    /// There is a broker now: channels of kind MQTT go by it. Only the first one counts.
    pub fn set_publisher(&self, publisher: Arc<dyn Publisher>) {
        if self.0.out.mqtt.set(publisher).is_err() {
            tracing::warn!("there is a publisher already: the second one is not used");
        }
    }

    /// All channels, by name, each with its version.
    pub fn channels(&self) -> Vec<(Channel, u64)> {
        let book = locked(&self.0.book);
        book.channels.values().map(|entry| (entry.channel.clone(), entry.version)).collect()
    }

    /// One channel.
    ///
    /// # Errors
    /// [`NotifierError::Unknown`].
    pub fn channel(&self, id: &str) -> Result<(Channel, u64), NotifierError> {
        let book = locked(&self.0.book);
        let entry = book.channels.get(id).ok_or_else(|| NotifierError::Unknown(id.to_owned()))?;
        Ok((entry.channel.clone(), entry.version))
    }

    /// Whether a channel is the configuration's, where alone it can be changed.
    pub fn is_configured(&self, id: &str) -> bool {
        locked(&self.0.book).channels.get(id).is_some_and(|entry| entry.configured)
    }

    fn changeable(&self, id: &str) -> Result<(), NotifierError> {
        self.channel(id)?;
        if self.is_configured(id) { Err(NotifierError::Configured(id.to_owned())) } else { Ok(()) }
    }

    /// How a channel fares; of one that is not there, as of a new one.
    pub fn health(&self, id: &str) -> Health {
        let book = locked(&self.0.book);
        book.channels.get(id).map(|entry| locked(&entry.health).clone()).unwrap_or_default()
    }

    /// Keeps a new channel and starts it.
    ///
    /// # Errors
    /// [`NotifierError`], and nothing has changed.
    pub async fn create(&self, channel: Channel) -> Result<u64, NotifierError> {
        channel.check()?;
        let _alone = self.0.changing.lock().await;
        {
            let book = locked(&self.0.book);
            if book.channels.contains_key(&channel.id) {
                return Err(NotifierError::Exists(channel.id));
            }
            if book.channels.len() >= CHANNELS_MAX {
                return Err(NotifierError::Full);
            }
        }
        self.keep(channel, Expected::New).await
    }

    /// Keeps a channel as it is now; what waits for it goes the new way.
    ///
    /// # Errors
    /// [`NotifierError`], and nothing has changed.
    pub async fn edit(&self, channel: Channel, version: u64) -> Result<u64, NotifierError> {
        channel.check()?;
        let _alone = self.0.changing.lock().await;
        self.changeable(&channel.id)?;
        self.keep(channel, Expected::Version(version)).await
    }

    async fn keep(&self, channel: Channel, expected: Expected) -> Result<u64, NotifierError> {
        // Texts and numbers always become JSON.
        let body = serde_json::to_string(&channel).unwrap_or_default();
        match self.0.store.put_document(DocumentKind::Channel, &channel.id, &body, expected).await? {
            Changed::Done(version) => {
                self.enter(channel, version, false).await;
                Ok(version)
            }
            Changed::Otherwise(_) => Err(NotifierError::Changed),
        }
    }

    /// Removes a channel with everything that waits for it.
    ///
    /// # Errors
    /// [`NotifierError`], and nothing has changed.
    pub async fn remove(&self, id: &str) -> Result<(), NotifierError> {
        let _alone = self.0.changing.lock().await;
        self.changeable(id)?;
        if names(&locked(&self.0.book).routes, id) {
            return Err(NotifierError::Used(id.to_owned()));
        }
        self.0.store.remove_document(DocumentKind::Channel, id, Expected::Any).await?;
        let gone = locked(&self.0.book).channels.remove(id);
        if let Some(running) = gone.and_then(|entry| entry.worker) {
            stopped(running).await;
        }
        self.0.store.forget_channel(id).await?;
        Ok(())
    }

    /// The tree of routes.
    pub fn routes(&self) -> Route {
        locked(&self.0.book).routes.clone()
    }

    /// Whether a tree could be set.
    ///
    /// # Errors
    /// [`NotifierError::Routes`].
    pub fn check_routes(&self, routes: &Route) -> Result<(), NotifierError> {
        Ok(routes.check(&|name| locked(&self.0.book).channels.contains_key(name))?)
    }

    /// Another tree, for messages from now on.
    ///
    /// # Errors
    /// [`NotifierError`], and nothing has changed.
    pub async fn set_routes(&self, routes: Route) -> Result<(), NotifierError> {
        let _alone = self.0.changing.lock().await;
        self.check_routes(&routes)?;
        let body = serde_json::to_string(&routes).unwrap_or_default();
        self.0.store.put_document(DocumentKind::Routes, TREE, &body, Expected::Any).await?;
        locked(&self.0.book).routes = routes;
        Ok(())
    }

    /// Takes messages: each is in the outbox of every channel that is to tell it before this returns, but for what the
    /// database does not take, which is tried again at the next call, even one with nothing new.
    pub async fn accept(&self, messages: Vec<Message>) {
        let mut pending = self.0.pending.lock().await;
        for message in messages {
            if pending.len() >= PENDING_MAX {
                pending.pop_front();
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
            pending.push_back(message);
        }
        while let Some(message) = pending.front() {
            if let Err(error) = self.put(message).await {
                tracing::warn!(%error, waiting = pending.len(), "messages cannot be put into the outbox");
                return;
            }
            pending.pop_front();
        }
    }

    async fn put(&self, message: &Message) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let chosen = {
            let book = locked(&self.0.book);
            let enabled = book.channels.values().filter(|entry| entry.channel.enabled);
            let enabled: Vec<String> = enabled.map(|entry| entry.channel.id.clone()).collect();
            choose(&book.routes, message, &enabled)
        };
        let rows: Vec<(String, String, Timestamp)> = chosen
            .into_iter()
            .map(|one| {
                let (at, held) = timing::due(now, message.severity, one.digest_seconds, one.quiet.as_ref());
                let letter = Letter { held, message: message.clone() };
                (one.channel, serde_json::to_string(&letter).unwrap_or_default(), at)
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let added = self.0.store.add_outbox_all(&rows).await?;
        let book = locked(&self.0.book);
        for ((channel, _, _), id) in rows.iter().zip(added) {
            let Some(entry) = book.channels.get(channel) else { continue };
            match (id, &entry.worker) {
                (Some(_), Some(worker)) => worker.wake.notify_one(),
                (Some(_), None) => {}
                (None, _) => locked(&entry.health).dropped += 1,
            }
        }
        Ok(())
    }

    /// Messages that had no room before they were in the outbox, since the start.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// How many messages wait, by channel: every channel is there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn waiting(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut waiting = self.0.store.count_outbox().await?;
        let book = locked(&self.0.book);
        waiting.retain(|name, _| book.channels.contains_key(name));
        for name in book.channels.keys() {
            waiting.entry(name.clone()).or_default();
        }
        Ok(waiting)
    }

    /// The database, for who reads what became of messages.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// Tries a channel, enabled or not, with a message that says so; past the outbox, and at once.
    ///
    /// # Errors
    /// [`NotifierError`]: there is no such channel, or what came of it cannot be kept.
    pub async fn test(&self, id: &str, by: &str) -> Result<Tested, NotifierError> {
        let (channel, _) = self.channel(id)?;
        let message = Message::test(&self.0.out.mesh, by, Timestamp::now());
        let number = self.0.store.reserve("outbox", 1).await?;
        let begun = Instant::now();
        let done = self.0.out.deliver(&channel, number, &message).await;
        let took = begun.elapsed().min(SEND_MAX);
        let (delivered, detail) = match done {
            Ok(said) => (true, said),
            Err(error) => (false, error.to_string()),
        };
        let letter = Letter { held: false, message };
        let end = End { at: Timestamp::now(), delivered, why: &detail };
        self.0.store.add_delivery(id, &serde_json::to_string(&letter).unwrap_or_default(), &end).await?;
        Ok(Tested { delivered, detail, took })
    }

    /// Sends a dead letter again. Whether there was such a one, and room.
    ///
    /// # Errors
    /// [`NotifierError`]: there is no such channel, or the database cannot be written.
    pub async fn retry(&self, id: &str, delivery: u64) -> Result<bool, NotifierError> {
        self.channel(id)?;
        let there = self.0.store.retry_delivery(id, delivery, Timestamp::now()).await?;
        let book = locked(&self.0.book);
        if let Some(worker) = book.channels.get(id).and_then(|entry| entry.worker.as_ref()) {
            worker.wake.notify_one();
        }
        Ok(there)
    }

    /// Ends all workers: an attempt under way has 3 s to be finished; what was not delivered is in the outbox.
    pub async fn close(&self) {
        let workers: Vec<Running> = {
            let mut book = locked(&self.0.book);
            book.closed = true;
            book.channels.values_mut().filter_map(|entry| entry.worker.take()).collect()
        };
        for worker in &workers {
            worker.stop.send_replace(true);
        }
        for worker in workers {
            stopped(worker).await;
        }
    }

    /// A channel is as it is now: its worker begins anew. It is in the book all the while, so that no message that
    /// comes meanwhile passes it by; the new worker finds it in the outbox.
    async fn enter(&self, channel: Channel, version: u64, configured: bool) {
        let before = locked(&self.0.book).channels.get_mut(&channel.id).and_then(|entry| entry.worker.take());
        if let Some(running) = before {
            stopped(running).await;
        }
        let mut book = locked(&self.0.book);
        let health = book.channels.get(&channel.id).map(|entry| locked(&entry.health).clone());
        // What failed may have been mended.
        let health = Health { circuit: Circuit::default(), error: None, ..health.unwrap_or_default() };
        let health = Arc::new(Mutex::new(health));
        let worker = (channel.enabled && !book.closed).then(|| self.start(&channel, &health));
        book.channels.insert(channel.id.clone(), Entry { channel, version, configured, health, worker });
    }

    fn start(&self, channel: &Channel, health: &Arc<Mutex<Health>>) -> Running {
        let (stop, stopped) = watch::channel(false);
        let wake = Arc::new(Notify::new());
        let worker = Worker {
            store: self.0.store.clone(),
            channel: channel.clone(),
            out: self.0.out.clone(),
            wake: wake.clone(),
            stop: stopped,
            health: health.clone(),
            circuit: Circuit::default(),
        };
        Running { stop, wake, task: tokio::spawn(worker.run()) }
    }
}

/// Waits for a worker's end, not for ever: a message that is cut off is sent again.
async fn stopped(mut worker: Running) {
    worker.stop.send_replace(true);
    if tokio::time::timeout(CLOSE_MAX, &mut worker.task).await.is_err() {
        worker.task.abort();
    }
}

/// Whether a tree names a channel.
fn names(route: &Route, id: &str) -> bool {
    route.channels.iter().any(|name| name == id) || route.routes.iter().any(|below| names(below, id))
}

/// A document; one that makes no sense is said.
fn said<T: serde::de::DeserializeOwned>(what: &str, id: &str, body: &str) -> Option<T> {
    let read = serde_json::from_str(body);
    read.map_err(|error| tracing::warn!(id, %error, "{what} makes no sense and is passed over")).ok()
}
