//! What the routes share.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use tokio::sync::watch;

use super::access::Access;
use super::dashboard::Dashboard;
use super::export::Places;
use super::hub::Hub;
use super::idempotency::Keys;
use super::problem::Problem;
use crate::notify::Notifier;
use crate::service::Gateway;
use crate::shell::NodeHandle;
use crate::store::Store;

/// Everything that a route may ask: cheap to clone, one per service.
#[derive(Clone)]
pub struct Api {
    /// The way to the gateway in its node's task.
    pub gateway: NodeHandle<Gateway>,
    /// Who may do what.
    pub access: Access,
    /// What people at browsers see.
    pub(super) dashboard: Dashboard,
    /// Where is kept what operators are promised, if anywhere.
    pub(super) store: Option<Store>,
    /// Who tells people, where there is a database for what is to be told.
    pub(super) notifier: Option<Notifier>,
    /// Where streams come from.
    pub(super) hub: Hub,
    /// Requests that are not to be done twice.
    pub(super) keys: Keys,
    /// Downloads that are under way.
    pub(super) exports: Places,
    /// Whether the service stops.
    pub(super) stop: Stop,
}

impl Api {
    /// For this gateway, and these who may ask it. Must be called within a Tokio runtime: streams have a task of their
    /// own.
    pub fn new(gateway: NodeHandle<Gateway>, access: Access) -> Self {
        let hub = Hub::start(gateway.clone());
        Self {
            gateway,
            access,
            dashboard: Dashboard::embedded(),
            store: None,
            notifier: None,
            hub,
            keys: Keys::default(),
            exports: Places::default(),
            stop: Stop::default(),
        }
    }

    /// The same, with another dashboard than the one that this program carries.
    pub fn with_dashboard(self, dashboard: Dashboard) -> Self {
        Self { dashboard, ..self }
    }

    /// The same, with a database for what operators are promised.
    pub fn with_store(self, store: Option<Store>) -> Self {
        Self { store, ..self }
    }

    /// The same, with who tells people.
    pub fn with_notifier(self, notifier: Option<Notifier>) -> Self {
        Self { notifier, ..self }
    }
}

impl FromRef<Api> for Option<Notifier> {
    fn from_ref(api: &Api) -> Self {
        api.notifier.clone()
    }
}

/// Who tells people; without a database nobody does.
pub(super) struct Telling(pub(super) Notifier);

impl FromRequestParts<Api> for Telling {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, api: &Api) -> Result<Self, Problem> {
        api.notifier.clone().map(Self).ok_or_else(|| {
            let detail = "this gateway keeps nothing (store.url is none), so it cannot tell people either";
            Problem::not_found(detail)
        })
    }
}

impl FromRef<Api> for NodeHandle<Gateway> {
    fn from_ref(api: &Api) -> Self {
        api.gateway.clone()
    }
}

/// Tells what does not end by itself that the service stops.
#[derive(Clone)]
pub(super) struct Stop {
    told: watch::Sender<bool>,
    heard: watch::Receiver<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        let (told, heard) = watch::channel(false);
        Self { told, heard }
    }
}

impl Stop {
    pub(super) fn stop(&self) {
        self.told.send_replace(true);
    }

    pub(super) async fn stopped(&mut self) {
        // An error means that nobody can say so any more, which is the same.
        drop(self.heard.wait_for(|stopped| *stopped).await);
    }
}
