//! People are told: by webhooks, chats, mail and a broker, whatever these do, and whatever becomes of the gateway.

mod channels;
mod end_to_end;
mod mail;
mod mail_tls;
mod rest;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use meshward_fleet::alert::Severity;
use meshward_gateway::notify::{Channel, Hook, Item, Kind, Message, Notice, Notifier, Template};
use meshward_gateway::store::{DeliveryRow, OutboxRow, Store, StoreUrl};
use tempfile::TempDir;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A database, and who tells.
pub(super) struct Kit {
    pub(super) store: Store,
    pub(super) notifier: Notifier,
    /// Is removed with the kit.
    _folder: TempDir,
}

impl Kit {
    pub(super) async fn new() -> Self {
        crate::sink::provider();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&url(&folder)).await.unwrap();
        let notifier = Notifier::open(store.clone(), "home", "https://mesh.example.org/").await.unwrap();
        Self { store, notifier, _folder: folder }
    }

    /// A webhook of this name.
    pub(super) async fn hook(&self, id: &str, url: &str) {
        self.add(id, Kind::Webhook(hook(url))).await;
    }

    pub(super) async fn add(&self, id: &str, kind: Kind) {
        self.notifier.create(Channel { id: id.to_owned(), enabled: true, kind }).await.unwrap();
    }

    /// Waits until a channel's waiting messages are as they should be.
    pub(super) async fn until_waiting(
        &self,
        id: &str,
        found: impl Fn(&[OutboxRow]) -> bool,
    ) -> Vec<OutboxRow> {
        until(async || {
            let rows = self.store.outbox(id, 1_000).await.unwrap();
            found(&rows).then_some(rows)
        })
        .await
    }

    /// Waits until the newest delivery of a channel is as it should be.
    pub(super) async fn until_ended(&self, id: &str, found: impl Fn(&DeliveryRow) -> bool) -> DeliveryRow {
        until(async || {
            let rows = self.store.deliveries(id, None, 1).await.unwrap();
            rows.into_iter().next().filter(|row| found(row))
        })
        .await
    }
}

pub(super) fn url(folder: &TempDir) -> StoreUrl {
    format!("sqlite:{}", folder.path().join("mesh.db").display()).parse().unwrap()
}

pub(super) fn hook(url: &str) -> Hook {
    Hook { url: url.to_owned(), template: Template::Alertmanager, secret: None, token: None, chat: None }
}

/// Asks until there is something.
pub(super) async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A critical message about a node, or a warning that waits for nothing either.
pub(super) fn message(severity: Severity, node: u32) -> Message {
    let now = Timestamp::now();
    let item = Item {
        fingerprint: format!("{node:016x}"),
        rule: "node_offline".to_owned(),
        severity,
        subject: format!("node {node}"),
        node: Some(node),
        name: Some("roof".to_owned()),
        since: now,
        value: None,
        evidence: "its neighbour says so".to_owned(),
        times: 1,
        flapping: false,
    };
    Message {
        mesh: "home".to_owned(),
        notice: Notice::News,
        rule: "node_offline".to_owned(),
        severity,
        labels: [("team".to_owned(), "field".to_owned())].into(),
        runbook: "go there".to_owned(),
        at: now,
        firing: vec![item],
        cleared: Vec::new(),
        more: 0,
    }
}
