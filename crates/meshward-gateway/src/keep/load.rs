//! What a gateway before this one has left, from its rows. A row that makes no sense is left where it is, said in the
//! log, and passed over: one bad row must not keep a gateway from its mesh.

use std::sync::Arc;

use meshward_core::hash::Sha256Sum;
use meshward_fleet::alert::{Rule, default_rules};
use meshward_fleet::deployment::SignedManifest;
use meshward_fleet::firmware::ImageInfo;
use meshward_fleet::memory::Memory;

use super::{Keeper, RowError, alert, node, rollout, rule, sum};
use crate::service::{ENDED_MAX, Firmware, Gateway, IMAGES_MAX, ROLLOUTS_AT_ONCE, Remembered, Unfinished};
use crate::store::{DocumentKind, EVENT_IDS, FirmwareRow, RolloutRow, Store, StoreError};

/// How many numbers of events are reserved at a time.
pub(super) const EVENTS_RESERVED: u32 = 1_000_000;
/// Where the fleet's numbers are kept.
pub(super) const MESH: &str = "fleet.mesh";
/// Where the counter of the last order is kept.
pub(super) const COUNTER: &str = "ota.last_counter";

/// What of it could be read.
fn read<T>(what: &str, name: impl std::fmt::Display, row: Result<T, RowError>) -> Option<T> {
    row.map_err(|error| tracing::warn!(%name, %error, "a row of {what} makes no sense and is passed over"))
        .ok()
}

impl Keeper {
    /// Everything that a gateway of this database has left.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn remembered(&self) -> Result<Remembered, StoreError> {
        let store = &self.store;
        let mut images = Vec::new();
        let mut confirmed = std::collections::BTreeSet::new();
        let rows = store.firmware().await?;
        confirmed.extend(rows.iter().filter(|row| row.confirmed).filter_map(|row| sum(&row.sha256)));
        let open = store.open_rollouts().await?;
        for row in rows.iter().skip(rows.len().saturating_sub(IMAGES_MAX)) {
            images.extend(image(store, row).await?);
        }
        let mut unfinished = Vec::new();
        // More than may be under way cannot go on; the newest are what somebody wants.
        for row in open.iter().skip(open.len().saturating_sub(ROLLOUTS_AT_ONCE)) {
            unfinished.extend(left(store, row).await?);
        }
        for Unfinished { request, .. } in &unfinished {
            let row = rows.iter().find(|row| sum(&row.sha256) == Some(request.firmware));
            let known = images.iter().any(|image: &Firmware| image.info.sha256 == request.firmware);
            if let Some(row) = row.filter(|_| !known) {
                images.extend(image(store, row).await?);
            }
        }
        let mut ended = Vec::new();
        for id in store.rollouts_in_waves(ENDED_MAX as u32).await? {
            let row = store.rollouts(Some(id + 1), 1).await?.into_iter().find(|row| row.id == id);
            match row.filter(|row| row.finished.is_some()) {
                Some(row) => ended.extend(left(store, &row).await?),
                None => continue,
            }
        }
        ended.reverse();
        // Nobody knows whether their nodes have heard them: to send them again might do twice what was to be done once.
        for command in store.open_commands().await? {
            let ended = serde_json::json!({ "outcome": "unknown", "text": "the gateway ended before the node answered" });
            store.end_command(command.cid, &ended.to_string()).await?;
        }
        let newest = store.rollouts(None, 1).await?.first().map_or(0, |row| row.id);
        let counter = store.meta(COUNTER).await?.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Remembered {
            memory: self.memory().await?,
            images,
            confirmed,
            last_event: store.reserve(EVENT_IDS, EVENTS_RESERVED).await?.saturating_sub(1),
            next_rollout: newest + 1,
            unfinished,
            last_counter: counter,
            ended,
            keeps: true,
        })
    }

    async fn memory(&self) -> Result<Memory, StoreError> {
        let nodes = self.store.nodes().await?;
        let nodes = nodes.iter().filter_map(|row| read("nodes", row.id, node::memory(row)).flatten());
        let alerts = self.store.alerts().await?;
        let alerts = alerts.iter().filter_map(|(name, state)| read("alerts", name, alert::read(name, state)));
        let windows = self.store.documents(DocumentKind::Silence).await?;
        let windows =
            windows.iter().filter_map(|row| read("windows", &row.id, alert::read_window(&row.id, &row.body)));
        let mesh = self.store.meta(MESH).await?;
        let mesh = mesh.and_then(|text| read("settings", MESH, alert::read_mesh(&text))).unwrap_or_default();
        Ok(Memory {
            mesh,
            nodes: nodes.collect(),
            alerts: alerts.collect(),
            windows: windows.collect(),
            rules: self.rules().await?,
        })
    }

    /// The rules in force, if people wrote any.
    async fn rules(&self) -> Result<Option<Vec<Rule>>, StoreError> {
        let rows = self.store.documents(DocumentKind::Rule).await?;
        let written = rows.iter().filter_map(|row| read("rules", &row.id, rule::read(&row.id, &row.body)));
        let rules = written.fold(default_rules(), rule::with);
        Ok((!rows.is_empty()).then_some(rules))
    }
}

/// A roll-out as it was left; none, and a warning, where its rows make no sense.
async fn left(store: &Store, row: &RolloutRow) -> Result<Option<Unfinished>, StoreError> {
    let nodes = store.rollout_nodes(row.id).await?;
    let waves = store.rollout_waves(row.id).await?;
    Ok(read("roll-outs", row.id, rollout::unfinished(row, &nodes, waves.as_deref())))
}

/// An image with its bytes; none, and a warning, where they are damaged.
pub(crate) async fn image(store: &Store, row: &FirmwareRow) -> Result<Option<Firmware>, StoreError> {
    let bytes = match store.firmware_image(&row.sha256).await {
        Err(error @ StoreError::Damaged { .. }) => {
            tracing::warn!(sha256 = row.sha256, %error, "an image is damaged and is passed over");
            return Ok(None);
        }
        other => other?,
    };
    let Some(bytes) = bytes else { return Ok(None) };
    let info = ImageInfo::of(&bytes);
    let manifest =
        row.manifest.clone().map(|manifest| SignedManifest::read(manifest, Sha256Sum(info.sha256)));
    let manifest = manifest.transpose().unwrap_or_else(|error| {
        tracing::warn!(sha256 = row.sha256, %error, "a manifest makes no sense and is passed over");
        None
    });
    Ok(Some(Firmware { name: row.name.clone(), info, image: Arc::from(bytes), manifest }))
}

/// Sees to it that the gateway has an image at hand that only the database has; whether there is such an image.
pub(crate) async fn firmware_of(
    store: &Store,
    gateway: &crate::shell::NodeHandle<Gateway>,
    sha256: [u8; 32],
) -> Result<bool, StoreError> {
    let known =
        gateway.with(move |_, _, gateway| gateway.firmware().any(|known| known.info.sha256 == sha256)).await;
    if !matches!(known, Ok(false)) {
        return Ok(known.is_ok());
    }
    let rows = store.firmware().await?;
    let Some(row) = rows.iter().find(|row| sum(&row.sha256) == Some(sha256)) else { return Ok(false) };
    let Some(Firmware { name, info, image, manifest }) = image(store, row).await? else { return Ok(false) };
    let put = gateway.with(move |_, _, gateway| {
        gateway.add_firmware(name, image, info);
        if let Some(manifest) = manifest {
            gateway.add_manifest(&sha256, manifest);
        }
    });
    Ok(put.await.is_ok())
}
