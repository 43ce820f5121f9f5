//! Lets people and programs into a gateway that this program runs: the token for programs of the same user, and the link
//! by which the first admin is made.

use std::sync::Arc;

use meshward_gateway::rest::Bound;
use meshward_gateway::rest::access::local::{self, LocalToken};
use meshward_gateway::rest::access::{Access, Keeper, Settings};

/// Who may do what, and the token's file, which goes with this.
pub(crate) struct Door {
    pub(crate) access: Access,
    _token: Option<LocalToken>,
}

impl Door {
    /// Opens it for a port that has been taken. Without a keeper nobody but programs of the same user get in: what
    /// anybody was told would be forgotten at the end.
    pub(crate) async fn open(bound: &Bound, keeper: Option<Arc<dyn Keeper>>) -> anyhow::Result<Self> {
        let lasting = keeper.is_some();
        let access = Access::open(keeper, Settings::default()).await?;
        let door = Self::with(bound, access)?;
        let link = if lasting { door.access.set_up()? } else { None };
        if let Some(link) = link {
            println!(
                "nobody may log in yet: make the first admin within an hour at {}/setup#{}",
                bound.url()?,
                link.reveal()
            );
        }
        Ok(door)
    }

    /// Opens it as this access says, and leaves the token for programs of the same user.
    pub(crate) fn with(bound: &Bound, access: Access) -> anyhow::Result<Self> {
        let port = bound.local_addr()?.port();
        let token = match LocalToken::write(&local::folders(), port, access.local()) {
            Ok(token) => Some(token),
            Err(error) => {
                tracing::warn!(%error, "no folder takes the token for this machine's own programs: they need --token");
                None
            }
        };
        Ok(Self { access, _token: token })
    }
}
