//! What operators are promised is written down before it is answered; without a database nothing is, and all goes on.
//!
//! A database that takes nothing is a refusal: 503 where it is busy or cannot be reached, 507 where there is no room.

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use meshward_fleet::rollout::RolloutReport;
use serde_json::json;

use super::access::Principal;
use super::api::Api;
use super::model::Rollout;
use super::problem::{Answer, Problem};
use crate::keep;
use crate::service::{Firmware, RolloutRequest};
use crate::store::{NewAudit, NewCommand, NewFirmware, RolloutRow, StoreError};

/// Roll-outs that are over and read at once.
const HISTORY_MAX: u32 = 200;

/// So long an act on waves waits for the database: some rounds of the keeper.
const WRITTEN_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Changes that a handler does not write into the audit itself, by the beginning of their routes.
const PLAIN: [&str; 4] =
    ["/api/v1/alerts/", "/api/v1/nodes/{id}", "/api/v1/silences", "/api/v1/maintenance-windows"];

/// Writes a change into the audit before it is made; what it was to be is in the path.
pub(super) async fn audited(State(api): State<Api>, request: Request, next: Next) -> Response {
    let parts = (request.extensions().get::<MatchedPath>(), request.extensions().get::<Principal>());
    let (Some(route), Some(who)) = parts else { return next.run(request).await };
    let (method, route) = (request.method(), route.as_str());
    let plain = PLAIN.iter().any(|plain| route.starts_with(plain)) && !route.ends_with("/commands");
    if method.is_safe() || !plain {
        return next.run(request).await;
    }
    let action = format!("{method} {route}");
    let (who, path) = (who.clone(), request.uri().path().to_owned());
    match api.audit(&who, &action, path, json!({})).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            _ if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "the database refused");
        Self::new(status, format!("{error}; nothing was done"))
    }
}

impl From<keep::RowError> for Problem {
    fn from(error: keep::RowError) -> Self {
        tracing::error!(%error, "a row cannot be written or read");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "what is to be kept cannot be written down")
    }
}

impl Api {
    /// Keeps an image with its manifest, and whether somebody has said that it takes updates itself.
    pub(super) async fn keep_firmware(&self, firmware: &Firmware, confirmed: bool) -> Answer<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let new = NewFirmware {
            name: &firmware.name,
            data: &firmware.image,
            manifest: firmware.manifest.as_ref().map(|manifest| manifest.bytes()),
            confirmed,
            uploaded_at: Timestamp::now(),
        };
        store.put_firmware(&new).await?;
        Ok(())
    }

    /// Sees to it that the gateway has an image at hand, if there is such an image.
    pub(super) async fn fetch_firmware(&self, sha256: [u8; 32]) -> Answer<()> {
        let Some(store) = &self.store else { return Ok(()) };
        keep::firmware_of(store, &self.gateway, sha256).await?;
        Ok(())
    }

    /// Writes a roll-out down before it begins; its number.
    pub(super) async fn accept_rollout(&self, request: &RolloutRequest) -> Answer<Option<u64>> {
        let Some(store) = &self.store else { return Ok(None) };
        Ok(Some(store.add_rollout(&keep::request(request)?, "accepted", Timestamp::now()).await?))
    }

    /// A roll-out that was written down did not begin.
    pub(super) async fn refuse_rollout(&self, id: Option<u64>) {
        let (Some(store), Some(id)) = (&self.store, id) else { return };
        let now = Timestamp::now();
        let row = RolloutRow {
            id,
            request: String::new(),
            state: keep::REFUSED.to_owned(),
            started: now,
            finished: Some(now),
            report: None,
        };
        if let Err(error) = store.update_rollout(&row, &[]).await {
            // A gateway that starts again would try it, and be refused as well.
            tracing::warn!(
                rollout = id,
                error = &error as &dyn std::error::Error,
                "a refusal is not written down"
            );
        }
    }

    /// Writes down how a roll-out stands now.
    pub(super) async fn keep_rollout(
        &self,
        rollout: &crate::service::Rollout,
        shown: &Rollout,
    ) -> Answer<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let document = serde_json::to_value(shown).map_err(keep::RowError::from)?;
        let (row, nodes) = keep::rollout_rows(rollout, document)?;
        store.update_rollout(&row, &nodes).await?;
        Ok(())
    }

    /// Waits until what the waves of a roll-out have decided is written down, so that who paused it finds it paused after a crash.
    pub(super) async fn waves_written(&self, id: u64) -> Answer<()> {
        let unwritten = self.gateway.with(move |_, _, gateway| gateway.unwritten(id)).await?;
        let Some((mut written, wanted)) = unwritten else { return Ok(()) };
        match tokio::time::timeout(WRITTEN_MAX, written.wait_for(|last| *last >= wanted)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "it is done, and the database has not taken it yet: if the gateway ends before it does, it is undone",
            )),
        }
    }

    /// What was kept of the waves of a roll-out.
    pub(super) async fn kept_report(&self, id: u64) -> Answer<Option<RolloutReport>> {
        let Some(store) = &self.store else { return Ok(None) };
        let kept = store.rollout_waves(id).await?;
        Ok(kept.map(|waves| keep::rollout_report(&waves)).transpose()?)
    }

    /// Roll-outs of before this start, newest first, with numbers below `before`.
    pub(super) async fn earlier_rollouts(&self, before: u64) -> Answer<Vec<Rollout>> {
        let Some(store) = &self.store else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for row in store.rollouts(Some(before), HISTORY_MAX).await? {
            if let Some(document) = keep::document(&row)? {
                // One of a version whose words were others is not shown rather than shown wrongly.
                found.extend(serde_json::from_value::<Rollout>(document).ok());
            }
        }
        Ok(found)
    }

    /// Writes a command down before it is sent; its place in the history.
    pub(super) async fn accept_command(
        &self,
        who: &Principal,
        node: u32,
        code: u16,
        params: &str,
    ) -> Answer<Option<u64>> {
        let Some(store) = &self.store else { return Ok(None) };
        let (code, accepted_at) = (i64::from(code), Timestamp::now());
        let new = NewCommand { node, code, params, actor: &who.name, accepted_at };
        Ok(Some(store.add_command(&new).await?))
    }

    /// What came of a command.
    pub(super) async fn end_command(&self, id: Option<u64>, ended: &serde_json::Value) {
        let (Some(store), Some(id)) = (&self.store, id) else { return };
        if let Err(error) = store.end_command(id, &ended.to_string()).await {
            tracing::warn!(
                command = id,
                error = &error as &dyn std::error::Error,
                "an end is not written down"
            );
        }
    }

    /// Writes an act into the audit.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be done.
    pub(super) async fn audit(
        &self,
        who: &Principal,
        action: &str,
        subject: impl std::fmt::Display,
        detail: serde_json::Value,
    ) -> Answer<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let (subject, detail) = (subject.to_string(), json!(detail).to_string());
        let new =
            NewAudit { at: Timestamp::now(), actor: &who.name, action, subject: &subject, detail: &detail };
        store.add_audit(&new).await?;
        Ok(())
    }
}
