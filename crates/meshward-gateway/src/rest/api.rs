//! What the routes share.

use axum::extract::FromRef;

use super::access::Access;
use crate::service::Gateway;
use crate::shell::NodeHandle;

/// Everything that a route may ask: cheap to clone, one per service.
#[derive(Clone)]
pub struct Api {
    /// The way to the gateway in its node's task.
    pub gateway: NodeHandle<Gateway>,
    /// Who may do what.
    pub access: Access,
}

impl Api {
    /// For this gateway, and these who may ask it.
    pub fn new(gateway: NodeHandle<Gateway>, access: Access) -> Self {
        Self { gateway, access }
    }
}

impl FromRef<Api> for NodeHandle<Gateway> {
    fn from_ref(api: &Api) -> Self {
        api.gateway.clone()
    }
}
