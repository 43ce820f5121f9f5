//! What the routes share.

use axum::extract::FromRef;

use crate::service::Gateway;
use crate::shell::NodeHandle;

/// Everything that a route may ask: cheap to clone, one per service.
#[derive(Clone)]
pub struct Api {
    /// The way to the gateway in its node's task.
    pub gateway: NodeHandle<Gateway>,
}

impl Api {
    /// For this gateway.
    pub fn new(gateway: NodeHandle<Gateway>) -> Self {
        Self { gateway }
    }
}

impl FromRef<Api> for NodeHandle<Gateway> {
    fn from_ref(api: &Api) -> Self {
        api.gateway.clone()
    }
}
