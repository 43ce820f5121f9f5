//! What came lately, as it came: a few rows that are written often, so that blocks need not be.
//!
//! A row grows until it has a few kilobytes, because a page of the database is written whole anyway. Every few
//! minutes, or when much has come, all rows go into the blocks of their nodes and are forgotten.

use std::collections::BTreeMap;

use super::block::Block;
use super::column::{Reader, put_number};
use super::merge::Measured;
use super::{MetricId, Sample};
use crate::store::database::Write;
use crate::store::value::{Value, values};
use crate::store::{Store, StoreError, meta};

/// A row that has so many bytes does not grow any more.
const ROW_BYTES: usize = 8 * 1024;
/// The most samples of one row.
const ROW_SAMPLES_MAX: usize = 20_000;
/// So many samples in the log are a reason to move them.
const SAMPLES_DUE: u64 = 150_000;
/// So much time in the log is a reason too, in milliseconds.
const TIME_DUE_MS: i64 = 600_000;
/// Nodes whose blocks are written in one transaction, so that others get their turn.
const NODES_PER_TRANSACTION: usize = 50;

/// What is known of the log besides the database.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The row that grows.
    open: Option<(u64, Vec<Sample>)>,
    /// Samples since the blocks were written.
    samples: u64,
    /// The latest sample, and the latest when the blocks were written.
    latest_ms: i64,
    moved_ms: i64,
}

impl Log {
    /// Whether it is time to move what is there.
    pub(crate) fn is_due(&self) -> bool {
        self.samples >= SAMPLES_DUE || (self.samples > 0 && self.latest_ms - self.moved_ms >= TIME_DUE_MS)
    }

    /// Nothing is known of what the last transaction did: the next row is a new one.
    pub(crate) fn forget_open(&mut self) {
        self.open = None;
    }
}

/// Adds samples within a transaction; what is no number is left out. The caller holds the log until it has committed, and lets it forget its
/// open row if that fails.
pub(crate) async fn append(
    transaction: &mut Write,
    log: &mut Log,
    samples: &[Sample],
) -> Result<(), StoreError> {
    let samples: Vec<Sample> = samples.iter().filter(|sample| sample.value.is_finite()).copied().collect();
    for piece in samples.chunks(ROW_SAMPLES_MAX) {
        let (id, mut row) = match log.open.take() {
            Some((id, row)) if row.len() + piece.len() <= ROW_SAMPLES_MAX => (id, row),
            _ => (meta::count_up(transaction, "telemetry_log", 1).await?, Vec::new()),
        };
        row.extend_from_slice(piece);
        let data = encode(&mut row);
        let len = data.len();
        let sql = "INSERT INTO telemetry_log (id, samples, data) VALUES ($1, $2, $3) \
                   ON CONFLICT (id) DO UPDATE SET samples = excluded.samples, data = excluded.data";
        transaction.write(sql, values![id, row.len() as u64, data]).await?;
        if len < ROW_BYTES {
            log.open = Some((id, row));
        }
        log.samples += piece.len() as u64;
        let latest = piece.iter().map(|sample| sample.at.as_millisecond()).max().unwrap_or_default();
        log.latest_ms = log.latest_ms.max(latest);
        if log.moved_ms == 0 {
            log.moved_ms = latest;
        }
    }
    Ok(())
}

impl Store {
    /// Moves what came lately into the blocks of the nodes, and reckons their minutes and hours. A recorder does
    /// so when it is due. A crash in between loses nothing: it is done again.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then the rest is moved next time.
    pub async fn compact(&self) -> Result<(), StoreError> {
        const DOING: &str = "move telemetry into blocks";
        let _turn = self.telemetry.compacting.lock().await;
        let (through, moved) = {
            // From here on no row that we read grows.
            let mut log = self.telemetry.log.lock().await;
            log.open = None;
            let sql = "SELECT COALESCE(MAX(id), 0) FROM telemetry_log";
            let row = self.database.read_one(DOING, sql, Vec::new()).await?;
            (row.map(|mut row| row.u64()).transpose()?.unwrap_or_default(), log.samples)
        };
        let mut nodes = self.logged(None, through).await?.into_iter().peekable();
        let raw_from = self.raw_from().await?;
        while nodes.peek().is_some() {
            let mut transaction = self.database.begin(DOING).await?;
            let mut rows = Vec::new();
            for (node, mut samples) in nodes.by_ref().take(NODES_PER_TRANSACTION) {
                let all = samples.len();
                samples.retain(|(_, at, _)| *at >= raw_from);
                self.telemetry.count_late((all - samples.len()) as u64);
                rows.extend(super::history::merged(&mut transaction, node, &samples).await?);
            }
            let head = "INSERT INTO telemetry_blocks (resolution, node, start, data)";
            let tail = "ON CONFLICT (resolution, node, start) DO UPDATE SET data = excluded.data";
            transaction.insert(head, rows, tail).await?;
            transaction.commit().await?;
        }
        self.database.write(DOING, "DELETE FROM telemetry_log WHERE id <= $1", values![through]).await?;
        let mut log = self.telemetry.log.lock().await;
        log.samples = log.samples.saturating_sub(moved);
        log.moved_ms = log.latest_ms;
        Ok(())
    }

    /// What the log has of one node or of all.
    pub(super) async fn logged(
        &self,
        node: Option<u32>,
        through: u64,
    ) -> Result<BTreeMap<u32, Vec<Measured>>, StoreError> {
        const DOING: &str = "read the log of telemetry";
        let sql = "SELECT id, data FROM telemetry_log WHERE id <= $1 ORDER BY id";
        let mut found = BTreeMap::new();
        for mut row in self.database.read(DOING, sql, values![through]).await? {
            let id = row.u64()?;
            if decode(&row.blob()?, node, &mut found).is_none() {
                return Err(StoreError::damaged(DOING, format!("row {id} cannot be read")));
            }
        }
        Ok(found)
    }
}

/// A row: of each node its number, the length of its block, and the block.
fn encode(samples: &mut [Sample]) -> Vec<u8> {
    samples.sort_by_key(|sample| (sample.node, sample.metric, sample.at));
    let mut out = Vec::with_capacity(samples.len() * 4);
    for of_node in samples.chunk_by(|a, b| a.node == b.node) {
        let mut block = Block::default();
        for sample in of_node {
            block.put(sample.metric.0, sample.at.as_millisecond(), sample.value);
        }
        let data = block.encode();
        put_number(&mut out, of_node.first().map_or(0, |sample| u64::from(sample.node)));
        put_number(&mut out, data.len() as u64);
        out.extend_from_slice(&data);
    }
    out
}

fn decode(data: &[u8], wanted: Option<u32>, found: &mut BTreeMap<u32, Vec<Measured>>) -> Option<()> {
    let mut reader = Reader::new(data);
    while !reader.is_empty() {
        let node = u32::try_from(reader.number()?).ok()?;
        let len = reader.len(data.len())?;
        let bytes = reader.take(len)?;
        if wanted.is_some_and(|wanted| wanted != node) {
            continue;
        }
        let block = Block::<f64>::decode(bytes, None)?;
        let samples = found.entry(node).or_default();
        for (metric, cells) in block.metrics {
            samples.extend(cells.into_iter().map(|(at, value)| (metric, at, value)));
        }
    }
    Some(())
}

/// A row of a block for the database.
pub(super) fn block_row(resolution: i64, node: u32, start: i64, data: Vec<u8>) -> Vec<Value> {
    values![resolution, node, start, data]
}

impl MetricId {
    pub(super) const fn number(self) -> u16 {
        self.0
    }
}
