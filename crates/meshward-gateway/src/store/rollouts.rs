//! Roll-outs: what was asked for, where they are, and what came of them.

use jiff::Timestamp;

use super::audit::{self, NewAudit};
use super::meta;
use super::value::{Row, values};
use super::{Store, StoreError};

/// A roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRow {
    /// Counts from 1.
    pub id: u64,
    /// What was asked for, JSON that the store does not read.
    pub request: String,
    /// Where it is, by its name in interfaces.
    pub state: String,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    pub finished: Option<Timestamp>,
    /// What is said of it, JSON.
    pub report: Option<String>,
}

/// One node of a roll-out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutNodeRow {
    /// Which.
    pub node: u32,
    /// Where it is, by its name in interfaces.
    pub state: String,
    /// The rest, JSON.
    pub detail: String,
}

/// Something that the waves of a roll-out have decided: a row of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveDecision {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub actor: String,
    /// What and from what, JSON.
    pub detail: String,
}

/// What the audit calls a decision of waves.
const DECISION: &str = "rollout.decision";

impl Store {
    /// Keeps what the waves of a roll-out have come to, and what they have decided since: both or neither.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then nobody may start an image by it.
    pub async fn keep_waves(
        &self,
        rollout: u64,
        memory: &str,
        decisions: &[WaveDecision],
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin("keep what waves decided").await?;
        let subject = rollout.to_string();
        for WaveDecision { at, actor, detail } in decisions {
            let new = NewAudit { at: *at, actor, action: DECISION, subject: &subject, detail };
            audit::append(&mut transaction, &new).await?;
        }
        let sql = "INSERT INTO rollout_waves (rollout, memory) VALUES ($1, $2) \
                   ON CONFLICT (rollout) DO UPDATE SET memory = excluded.memory";
        transaction.write(sql, values![rollout, memory]).await?;
        transaction.commit().await
    }

    /// What the waves of a roll-out had come to, JSON; none of one without.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn rollout_waves(&self, rollout: u64) -> Result<Option<String>, StoreError> {
        let sql = "SELECT memory FROM rollout_waves WHERE rollout = $1";
        let row = self.database.read_one("read the waves of a roll-out", sql, values![rollout]).await?;
        row.map(|mut row| row.text()).transpose()
    }

    /// Roll-outs that had waves, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn rollouts_in_waves(&self, limit: u32) -> Result<Vec<u64>, StoreError> {
        let sql = "SELECT rollout FROM rollout_waves ORDER BY rollout DESC LIMIT $1";
        let rows = self.database.read("read the roll-outs in waves", sql, values![limit]).await?;
        rows.into_iter().map(|mut row| row.u64()).collect()
    }

    /// Keeps a roll-out before it begins; its id.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then it must not begin.
    pub async fn add_rollout(
        &self,
        request: &str,
        state: &str,
        started: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin("keep a new roll-out").await?;
        let id = meta::count_up(&mut transaction, "rollouts", 1).await?;
        let sql = "INSERT INTO rollouts (id, request, state, started) VALUES ($1, $2, $3, $4)";
        transaction.write(sql, values![id, request, state, started]).await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Keeps where a roll-out is, and of `nodes` where they are; other nodes stay as they were kept.
    /// Whether there is such a roll-out.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then everything is as it was.
    pub async fn update_rollout(
        &self,
        rollout: &RolloutRow,
        nodes: &[RolloutNodeRow],
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin("keep how a roll-out goes").await?;
        let sql = "UPDATE rollouts SET state = $2, finished = $3, report = $4 WHERE id = $1";
        let row = values![rollout.id, rollout.state.clone(), rollout.finished, rollout.report.clone()];
        if transaction.write(sql, row).await? == 0 {
            return Ok(false);
        }
        let rows = nodes
            .iter()
            .map(|node| values![rollout.id, node.node, node.state.clone(), node.detail.clone()])
            .collect();
        let tail =
            "ON CONFLICT (rollout, node) DO UPDATE SET state = excluded.state, detail = excluded.detail";
        transaction.insert("INSERT INTO rollout_nodes (rollout, node, state, detail)", rows, tail).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Roll-outs, the newest first, at most `limit`, with ids below `before` if that is given.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn rollouts(&self, before: Option<u64>, limit: u32) -> Result<Vec<RolloutRow>, StoreError> {
        let sql = "SELECT id, request, state, started, finished, report FROM rollouts \
                   WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let found = values![before.unwrap_or(u64::MAX), limit];
        let rows = self.database.read("read the roll-outs", sql, found).await?;
        rows.into_iter().map(read).collect()
    }

    /// Those that are not over, the oldest first: what a gateway takes up again after a restart.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn open_rollouts(&self) -> Result<Vec<RolloutRow>, StoreError> {
        let sql = "SELECT id, request, state, started, finished, report FROM rollouts \
                   WHERE finished IS NULL ORDER BY id";
        let rows = self.database.read("read the open roll-outs", sql, Vec::new()).await?;
        rows.into_iter().map(read).collect()
    }

    /// The nodes of a roll-out, by id.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn rollout_nodes(&self, rollout: u64) -> Result<Vec<RolloutNodeRow>, StoreError> {
        let sql = "SELECT node, state, detail FROM rollout_nodes WHERE rollout = $1 ORDER BY node";
        let rows = self.database.read("read the nodes of a roll-out", sql, values![rollout]).await?;
        let node =
            |mut row: Row| Ok(RolloutNodeRow { node: row.u32()?, state: row.text()?, detail: row.text()? });
        rows.into_iter().map(node).collect()
    }
}

fn read(mut row: Row) -> Result<RolloutRow, StoreError> {
    Ok(RolloutRow {
        id: row.u64()?,
        request: row.text()?,
        state: row.text()?,
        started: row.time()?,
        finished: row.maybe_time()?,
        report: row.maybe_text()?,
    })
}
