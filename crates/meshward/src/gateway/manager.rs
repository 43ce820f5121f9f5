//! What a service manager hears of the gateway, by systemd's protocol (sd_notify(3)); without one, nobody.
//!
//! The watchdog is kept content only as long as the node's own task answers: a gateway that hangs is restarted. A
//! manager that does not read holds nothing up: a thread of its own talks to it, and what it has no room for is dropped.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use meshward_gateway::service::Gateway;
use meshward_gateway::shell::NodeHandle;
use sd_notify::NotifyState;

/// What may wait for the manager to read.
const WAITING_MAX: usize = 16;

fn tell(states: &[NotifyState<'_>]) {
    static LINES: OnceLock<SyncSender<String>> = OnceLock::new();
    let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
    let thread = LINES.get_or_init(|| {
        let (sender, waiting) = sync_channel::<String>(WAITING_MAX);
        std::thread::spawn(move || {
            for lines in waiting {
                if let Err(error) = sd_notify::notify(&[NotifyState::Custom(lines.trim_end())]) {
                    tracing::warn!(%error, "the service manager cannot be told how the gateway is");
                }
            }
        });
        sender
    });
    if thread.try_send(lines).is_err() {
        tracing::debug!("the service manager does not read what it is told");
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
