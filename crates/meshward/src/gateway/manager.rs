//! What a service manager hears of the gateway, by systemd's protocol (sd_notify(3)); without one, nobody.
//!
//! The watchdog is kept content only as long as the node's own task answers: a gateway that hangs is restarted.

use std::time::Duration;

use meshward_gateway::service::Gateway;
use meshward_gateway::shell::NodeHandle;
use sd_notify::NotifyState;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how the gateway is");
    }
}

/// The gateway serves.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It reads its configuration again; `ready` must follow.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the system has no monotonic clock to tell"),
    }
}

/// It ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Keeps the watchdog content, if there is one; ends when the node has.
pub(super) async fn watch(gateway: NodeHandle<Gateway>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((limit / 3).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if gateway.with(|_, _, _| ()).await.is_err() {
            return;
        }
        tell(&[NotifyState::Watchdog]);
    }
}
