//! What may be late by a second: records go into a queue, and a task writes many of them at once.
//!
//! [`Recorder::record`] never waits. When the database takes nothing (locked, full, only readable, away), the
//! task keeps what it has and tries again with growing pauses, up to [`BACKLOG_MAX`] records; what does not fit is
//! dropped, counted by kind, and said once a minute. What must not be lost is not for here: it is awaited.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::telemetry::{Sample, log};
use super::{AlertRow, EventRow, NodeRow, Store, StoreError, TopologyRow, alerts, events, nodes, topology};

/// Records that wait for the task to take them.
pub const QUEUE_MAX: usize = 65_536;
/// Records that the task keeps while the database takes nothing.
pub const BACKLOG_MAX: usize = 200_000;
/// So many records are written without waiting for the time.
const BATCH: usize = 10_000;
/// Room for so many records stays when there are none; what a burst took goes back.
const ROOM: usize = 1_024;
/// How long a record waits at most, while the database takes what it is given.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// The pauses after errors: doubled from the first to the last.
const BACK_OFF_FIRST: Duration = Duration::from_millis(250);
const BACK_OFF_LAST: Duration = Duration::from_secs(30);
/// What was dropped is said so often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What can be recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A value that was measured.
    Sample(Sample),
    /// Something that happened.
    Event(EventRow),
    /// The tree has changed.
    Topology(TopologyRow),
    /// A node as it is now.
    Node(NodeRow),
    /// An alert as it is now.
    Alert(AlertRow),
}

/// The kinds of records, in the order of [`Dropped`].
const KINDS: [&str; 5] = ["samples", "events", "topology", "nodes", "alerts"];

impl Record {
    const fn kind(&self) -> usize {
        match self {
            Self::Sample(_) => 0,
            Self::Event(_) => 1,
            Self::Topology(_) => 2,
            Self::Node(_) => 3,
            Self::Alert(_) => 4,
        }
    }
}

/// How many records of each kind were dropped since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Values that were measured.
    pub samples: u64,
    /// Things that happened.
    pub events: u64,
    /// Changes of the tree.
    pub topology: u64,
    /// Nodes.
    pub nodes: u64,
    /// Alerts.
    pub alerts: u64,
}

#[derive(Debug, Default)]
struct Counters([AtomicU64; KINDS.len()]);

impl Counters {
    fn count(&self, record: &Record) {
        if let Some(counter) = self.0.get(record.kind()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|kind| self.0.get(kind).map_or(0, |counter| counter.load(Ordering::Relaxed)))
    }
}

#[derive(Debug)]
enum Order {
    Record(Record),
    Flush(oneshot::Sender<Result<(), StoreError>>),
}

/// The way into the queue. A clone is the same one; when the last is dropped the task writes what it has and ends.
#[derive(Clone, Debug)]
pub struct Recorder {
    orders: mpsc::Sender<Order>,
    dropped: Arc<Counters>,
}

impl Recorder {
    /// Starts the task on the Tokio runtime of the caller.
    pub fn start(store: Store) -> Self {
        let (orders, queue) = mpsc::channel(QUEUE_MAX);
        let dropped = Arc::new(Counters::default());
        let writer = Writer { store, queue, dropped: Arc::clone(&dropped), backlog: Vec::new() };
        tokio::spawn(writer.run());
        Self { orders, dropped }
    }

    /// Records something, now or never: a full queue drops it and counts.
    pub fn record(&self, record: Record) {
        if let Err(error) = self.orders.try_send(Order::Record(record))
            && let Order::Record(record) = error.into_inner()
        {
            self.dropped.count(&record);
        }
    }

    /// Waits until everything that was recorded before is in the database.
    ///
    /// # Errors
    /// The [`StoreError`] of the attempt; what was not written is still tried again later.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let gone = || StoreError::damaged("write what was recorded", "its task has ended");
        let (done, wait) = oneshot::channel();
        self.orders.send(Order::Flush(done)).await.map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?
    }

    /// What was dropped since the start.
    pub fn dropped(&self) -> Dropped {
        let [samples, events, topology, nodes, alerts] = self.dropped.read();
        Dropped { samples, events, topology, nodes, alerts }
    }
}

struct Writer {
    store: Store,
    queue: mpsc::Receiver<Order>,
    dropped: Arc<Counters>,
    backlog: Vec<Record>,
}

impl Writer {
    async fn run(mut self) {
        let mut due: Option<Instant> = None;
        let mut pause = None;
        let mut said = ([0; KINDS.len()], Instant::now());
        loop {
            let order = match due {
                // While it fails the pause counts, and not how much there is.
                Some(_) if pause.is_none() && self.backlog.len() >= BATCH => Wake::Due,
                Some(at) => tokio::select! {
                    biased;
                    order = self.queue.recv() => Wake::of(order),
                    () = tokio::time::sleep_until(at) => Wake::Due,
                },
                None => Wake::of(self.queue.recv().await),
            };
            let mut waits = None;
            match order {
                Wake::Order(Order::Record(record)) => {
                    self.keep(record);
                    due.get_or_insert_with(|| Instant::now() + COMMIT_EVERY);
                    if due.is_some_and(|at| at > Instant::now()) {
                        continue;
                    }
                }
                Wake::Order(Order::Flush(done)) => waits = Some(done),
                Wake::Due => {}
                Wake::Ended => {
                    if let Err(error) = self.write().await {
                        tracing::warn!(records = self.backlog.len(), "lost at the end: {}", chain(&error));
                    }
                    return;
                }
            }
            let done = self.write().await;
            pause = match &done {
                Ok(()) => None,
                Err(error) => {
                    if pause.is_none() {
                        tracing::warn!("{}; tried again", chain(error));
                    }
                    Some(pause.map_or(BACK_OFF_FIRST, |pause: Duration| (pause * 2).min(BACK_OFF_LAST)))
                }
            };
            due = pause.map(|pause| Instant::now() + pause);
            if let Some(waits) = waits {
                // Who waited may be gone.
                let _ = waits.send(done);
            }
            said = self.say(said);
        }
    }

    fn keep(&mut self, record: Record) {
        if self.backlog.len() < BACKLOG_MAX {
            self.backlog.push(record);
        } else {
            self.dropped.count(&record);
        }
    }

    /// Writes all that is there in one transaction, or keeps it. What no retry can bring in is dropped.
    async fn write(&mut self) -> Result<(), StoreError> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        match self.store.write_records(&self.backlog).await {
            Ok(()) => self.empty(),
            Err(error) => {
                if !error.is_transient() {
                    self.backlog.iter().for_each(|record| self.dropped.count(record));
                    self.empty();
                }
                return Err(error);
            }
        }
        let due = self.store.telemetry.log.lock().await.is_due();
        if due && let Err(error) = self.store.compact().await {
            // It is all in the log, and is tried again after the next write.
            tracing::warn!("{}", chain(&error));
        }
        Ok(())
    }

    fn empty(&mut self) {
        self.backlog.clear();
        self.backlog.shrink_to(ROOM);
    }

    fn say(&self, said: ([u64; KINDS.len()], Instant)) -> ([u64; KINDS.len()], Instant) {
        let now = self.dropped.read();
        if now == said.0 || said.1.elapsed() < SAY_EVERY && said.0 != [0; KINDS.len()] {
            return said;
        }
        let lost: Vec<String> = KINDS
            .iter()
            .zip(now.iter().zip(&said.0))
            .filter(|(_, (now, before))| now > before)
            .map(|(kind, (now, before))| format!("{} {kind}", now - before))
            .collect();
        tracing::warn!("not kept, because the database does not take so much: {}", lost.join(", "));
        (now, Instant::now())
    }
}

/// Why the task goes on.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum Wake {
    Order(Order),
    Due,
    Ended,
}

impl Wake {
    fn of(order: Option<Order>) -> Self {
        order.map_or(Self::Ended, Self::Order)
    }
}

/// An error and what it comes from.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

impl Store {
    /// Writes records in one transaction.
    pub(super) async fn write_records(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut log = self.telemetry.log.lock().await;
        let done = self.write_all(records, &mut log).await;
        if done.is_err() {
            log.forget_open();
        }
        done
    }

    async fn write_all(&self, records: &[Record], log: &mut log::Log) -> Result<(), StoreError> {
        let mut transaction = self.database.begin("keep what was recorded").await?;
        let samples: Vec<Sample> = records
            .iter()
            .filter_map(|record| match record {
                Record::Sample(sample) => Some(*sample),
                _ => None,
            })
            .collect();
        log::append(&mut transaction, log, &samples).await?;
        let found = records.iter().filter_map(|record| match record {
            Record::Event(row) => Some(row),
            _ => None,
        });
        events::put(&mut transaction, found).await?;
        // One statement may name a node or a tree once: of each the last.
        let (mut trees, mut last) = (BTreeMap::new(), BTreeMap::new());
        for record in records {
            match record {
                Record::Topology(row) => drop(trees.insert(row.revision, row)),
                Record::Node(row) => drop(last.insert(row.id, row)),
                Record::Alert(row) => alerts::put(&mut transaction, row).await?,
                _ => {}
            }
        }
        topology::put(&mut transaction, trees.into_values()).await?;
        nodes::put(&mut transaction, last.into_values()).await?;
        transaction.commit().await
    }
}
