//! SIGHUP: reads the configuration again and takes up what a running gateway can. What it cannot is named in the log,
//! and a configuration with a mistake changes nothing.

use meshward_core::time::Duration;
use meshward_gateway::mqtt::Post;
use meshward_gateway::service::Gateway;
use meshward_gateway::shell::NodeHandle;
use tokio::signal::unix::{SignalKind, signal};

use super::{Args, allowed, manager};
use crate::broker;
use crate::config::{self, Config};
use crate::journal::Journal;

/// See the module's page.
pub(super) struct Reloader {
    args: Args,
    /// What holds.
    config: Config,
    journal: Journal,
    gateway: NodeHandle<Gateway>,
    post: Post,
}

impl Reloader {
    pub(super) const fn new(
        args: Args,
        config: Config,
        journal: Journal,
        gateway: NodeHandle<Gateway>,
        post: Post,
    ) -> Self {
        Self { args, config, journal, gateway, post }
    }

    /// Until it is dropped.
    pub(super) async fn run(mut self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::warn!(%error, "SIGHUP does not reload the configuration"),
        };
        while hangups.recv().await.is_some() {
            manager::reloading();
            self.reload().await;
            manager::ready("the configuration has been read again");
        }
    }

    async fn reload(&mut self) {
        let new = match self.args.load() {
            Ok(loaded) => loaded.config,
            Err(error) => return tracing::error!("nothing is changed: {error}"),
        };
        let changed = changed(&self.config, &new);
        for (key, live) in &changed {
            if *live {
                tracing::info!(key, "taken up");
            } else {
                tracing::warn!(key, "has changed: that takes effect when the gateway is started again");
            }
        }
        if changed.is_empty() {
            return tracing::info!("nothing in the configuration has changed");
        }
        if new.log.level != self.config.log.level && !self.journal.set_level(&new.log.level) {
            tracing::warn!("RUST_LOG is set and goes before log.level");
        }
        let (percent, period) = (new.status.budget_percent, Duration::from_secs(new.status.query_interval));
        let allowed = allowed(&new.ota);
        let status = new.status != self.config.status;
        let set = self.gateway.with(move |now, node, gateway| {
            gateway.allow(allowed);
            if status {
                gateway.set_budget(now, node, percent, period);
            }
        });
        if set.await.is_err() {
            return tracing::warn!("the node has ended: nothing is changed");
        }
        let switches = broker::switches(&new.mqtt);
        let is_served = new.mqtt.broker.is_some() && self.config.mqtt.broker.is_some();
        if is_served
            && switches != broker::switches(&self.config.mqtt)
            && let Err(error) = self.post.switch(switches)
        {
            tracing::warn!(%error, "what is told to the broker stays as it is");
        }
        tracing::debug!(?new, "what holds now");
        self.config = new;
    }
}

/// Keys whose values differ, and whether that is taken up at once.
fn changed(old: &Config, new: &Config) -> Vec<(String, bool)> {
    let differ = old.shown().into_iter().zip(new.shown()).filter(|(old, new)| old != new);
    differ.map(|(_, (key, _))| (config::is_live(&key), key)).map(|(live, key)| (key, live)).collect()
}
