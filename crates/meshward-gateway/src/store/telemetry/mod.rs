//! What nodes measure, for five years: raw values, minutes and hours.
//!
//! Never row by row. What comes goes into a [`log`] that is written often; from there into [`block`]s, one for each
//! node and span of time with all its metrics, whose [`column`]s take a byte or two per value. [`merge`] is the
//! arithmetic, [`history`] the questions. A metric is known by its name; blocks have a small number for it.

mod block;
mod column;
mod history;
pub(super) mod log;
mod merge;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::value::values;
use super::{Store, StoreError};

pub use history::{Aggregate, History, HistoryQuery, POINTS_MAX, Point};
pub use merge::Resolution;

/// The most metrics that are ever known.
pub const METRICS_MAX: usize = 4096;

/// The number of a metric in this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricId(pub(crate) u16);

/// One value of one metric of one node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Whose.
    pub node: u32,
    /// Of which metric.
    pub metric: MetricId,
    /// When it was measured.
    pub at: Timestamp,
    /// In the metric's unit; what is no number is not kept.
    pub value: f64,
}

/// What the store knows of telemetry besides the database.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    pub(crate) log: Mutex<log::Log>,
    /// Held by who moves the log into blocks.
    compacting: Mutex<()>,
    names: Mutex<BTreeMap<String, MetricId>>,
    late: AtomicU64,
}

impl Telemetry {
    /// Another database is there: its metrics have other numbers.
    pub(crate) async fn forget_names(&self) {
        self.names.lock().await.clear();
    }

    fn count_late(&self, count: u64) {
        self.late.fetch_add(count, Ordering::Relaxed);
    }
}

const RAW_FROM: &str = "telemetry.raw_from";
const MINUTES_FROM: &str = "telemetry.minutes_from";

impl Store {
    /// The number of a metric, given when it is new.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for more than [`METRICS_MAX`]; another when the database cannot be written.
    pub async fn metric(&self, name: &str) -> Result<MetricId, StoreError> {
        const DOING: &str = "number a metric";
        if let Some(id) = self.metric_names().await?.get(name) {
            return Ok(*id);
        }
        let mut names = self.telemetry.names.lock().await;
        if names.len() >= METRICS_MAX {
            let what = format!("{METRICS_MAX} are known already, and `{name}` is not among them");
            return Err(StoreError::damaged(DOING, what));
        }
        let mut transaction = self.database.begin(DOING).await?;
        let sql = "INSERT INTO metrics (id, name) SELECT COALESCE(MAX(id), 0) + 1, $1 FROM metrics WHERE 1 = 1 \
                   ON CONFLICT (name) DO NOTHING";
        transaction.write(sql, values![name]).await?;
        let row = transaction.read_one("SELECT id FROM metrics WHERE name = $1", values![name]).await?;
        let id = row.map(|mut row| row.int()).transpose()?.and_then(|id| u16::try_from(id).ok());
        let Some(id) = id.map(MetricId) else {
            return Err(StoreError::damaged(DOING, format!("`{name}` got no number")));
        };
        transaction.commit().await?;
        names.insert(name.to_owned(), id);
        Ok(id)
    }

    /// How many samples came so late that raw values of their time are not kept any more. They are not kept.
    pub fn late_samples(&self) -> u64 {
        self.telemetry.late.load(Ordering::Relaxed)
    }

    /// Keeps samples at once; through a [`Recorder`](super::Recorder) many go together.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then none is kept.
    pub async fn add_samples(&self, samples: &[Sample]) -> Result<(), StoreError> {
        let mut log = self.telemetry.log.lock().await;
        let done = async {
            let mut transaction = self.database.begin("keep telemetry").await?;
            log::append(&mut transaction, &mut log, samples).await?;
            transaction.commit().await
        };
        let done = done.await;
        if done.is_err() {
            log.forget_open();
        }
        let due = log.is_due();
        drop(log);
        done?;
        if due { self.compact().await } else { Ok(()) }
    }

    async fn metric_names(&self) -> Result<BTreeMap<String, MetricId>, StoreError> {
        const DOING: &str = "read the names of metrics";
        let mut names = self.telemetry.names.lock().await;
        if names.is_empty() {
            for mut row in self.database.read(DOING, "SELECT id, name FROM metrics", Vec::new()).await? {
                let id = row.u32()?;
                let Ok(id) = u16::try_from(id) else {
                    return Err(StoreError::damaged(DOING, format!("a metric has the number {id}")));
                };
                names.insert(row.text()?, MetricId(id));
            }
        }
        Ok(names.clone())
    }

    /// Since when raw values are kept, in milliseconds: what is older may have minutes that know more.
    async fn raw_from(&self) -> Result<i64, StoreError> {
        self.watermark(RAW_FROM).await
    }

    async fn minutes_from(&self) -> Result<i64, StoreError> {
        self.watermark(MINUTES_FROM).await
    }

    async fn watermark(&self, key: &str) -> Result<i64, StoreError> {
        Ok(self.meta(key).await?.and_then(|text| text.parse().ok()).unwrap_or(i64::MIN))
    }

    /// Forgets blocks that end before these times.
    pub(super) async fn forget_telemetry(
        &self,
        raw: Timestamp,
        minutes: Timestamp,
        hours: Timestamp,
    ) -> Result<u64, StoreError> {
        // Nobody moves the log meanwhile: he would reckon minutes from raw values that go.
        let _turn = self.telemetry.compacting.lock().await;
        let mut transaction = self.database.begin("forget old telemetry").await?;
        let mut gone = 0;
        let kept = [
            (Resolution::Raw, raw, Some(RAW_FROM)),
            (Resolution::Minute, minutes, Some(MINUTES_FROM)),
            (Resolution::Hour, hours, None),
        ];
        for (resolution, from, key) in kept {
            // Blocks that begin before this one end before `from`.
            let first = resolution.start(from.as_millisecond());
            let sql = "DELETE FROM telemetry_blocks WHERE resolution = $1 AND start < $2";
            gone += transaction.write(sql, values![resolution.number(), first]).await?;
            let Some(key) = key else { continue };
            let before = super::meta::get(&mut transaction, key).await?;
            // A clock that was set back brings nothing back.
            if before.and_then(|text| text.parse::<i64>().ok()).is_none_or(|before| before < first) {
                super::meta::set(&mut transaction, key, &first.to_string()).await?;
            }
        }
        transaction.commit().await?;
        Ok(gone)
    }
}
