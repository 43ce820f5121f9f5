//! What tells others while the gateway runs: people by the channels, where there is a database; a watchdog by the
//! heartbeat; InfluxDB.

use std::path::Path;

use anyhow::Context as _;
use meshward_gateway::influx;
use meshward_gateway::keep::Keeper;
use meshward_gateway::notify::{Notifier, heartbeat};
use meshward_gateway::service::Gateway;
use meshward_gateway::shell::NodeHandle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::channels;
use crate::config::Config;
use crate::keeping;

/// See the module's page.
pub(super) struct Telling {
    notifier: Option<Notifier>,
    heartbeat: Option<JoinHandle<()>>,
    influx: Option<Writing>,
}

impl Telling {
    /// Starts both; the keeper hands over from now on what people are to be told.
    pub(super) async fn start(
        config: &Config,
        keeper: Option<Keeper>,
        gateway: &NodeHandle<Gateway>,
    ) -> anyhow::Result<(Option<Keeper>, Self)> {
        let notify = &config.notify;
        let store = keeper.as_ref().map(|keeper| keeper.store().clone());
        let notifier = match &store {
            Some(store) => {
                let public = notify.public_url.as_deref().unwrap_or_default();
                let configured = channels::of(&notify.channel)?;
                let opened = Notifier::open_with(store.clone(), &config.mesh.name, public, configured).await;
                Some(opened.context("cannot read the notification channels")?)
            }
            None => {
                anyhow::ensure!(
                    notify.channel.is_empty(),
                    "channels (notify.channel) need the database, and store.url is none: give one, or take them out"
                );
                None
            }
        };
        let keeper = match (keeper, &notifier) {
            (Some(keeper), Some(notifier)) => Some(keeper.telling(notifier.clone())),
            (keeper, _) => keeper,
        };
        let heartbeat = match &notify.heartbeat_url_file {
            Some(file) => {
                let url = first_line(file, "notify.heartbeat_url_file")?;
                let is_url =
                    reqwest::Url::parse(&url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
                anyhow::ensure!(
                    is_url,
                    "the first line of {} (notify.heartbeat_url_file) is no http:// or https:// URL",
                    file.display()
                );
                let period = u32::try_from(notify.heartbeat_interval).unwrap_or(u32::MAX);
                let beats = heartbeat::run(url, period, gateway.clone(), store, std::future::pending());
                Some(tokio::spawn(beats))
            }
            None => None,
        };
        let influx = start_influx(config, gateway)?;
        Ok((keeper, Self { notifier, heartbeat, influx }))
    }

    /// Who tells people, if there is a database.
    pub(super) fn notifier(&self) -> Option<Notifier> {
        self.notifier.clone()
    }

    /// Stops all of it. What was not delivered is delivered after the next start.
    pub(super) async fn stop(self) {
        if let Some(heartbeat) = self.heartbeat {
            heartbeat.abort();
        }
        if let Some((stop, writing)) = self.influx {
            stop.send_replace(true);
            if let Err(error) = writing.await {
                tracing::error!(%error, "what writes to InfluxDB ended abnormally");
            }
        }
        if let Some(notifier) = self.notifier {
            notifier.close().await;
        }
    }
}

/// A secret's file.
pub(super) fn first_line(file: &Path, key: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {} ({key})", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// What writes to InfluxDB, if it is to be, and how it is stopped.
type Writing = (watch::Sender<bool>, JoinHandle<()>);

fn start_influx(config: &Config, gateway: &NodeHandle<Gateway>) -> anyhow::Result<Option<Writing>> {
    let keys = &config.influx;
    let Some(url) = &keys.url else { return Ok(None) };
    let token = keys.token_file.as_deref().map(|file| first_line(file, "influx.token_file")).transpose()?;
    let folder = match &keys.queue {
        Some(folder) => folder.clone(),
        None => keeping::folder()?.join("influx"),
    };
    let (org, bucket) = (keys.org.clone(), keys.bucket.clone());
    let settings = influx::Settings {
        server: influx::Server { url: url.clone(), api: keys.api, org, bucket, token },
        interval: std::time::Duration::from_secs(keys.interval),
        names: keys.names,
        folder,
        bytes_max: u64::from(keys.queue_size) << 20,
    };
    let writer = influx::Writer::open(settings).context("nothing can be written to InfluxDB")?;
    let (stop, mut stopped) = watch::channel(false);
    // An error means that nobody can ask any more, which is a request to stop.
    let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
    Ok(Some((stop, tokio::spawn(writer.run(gateway.clone(), until)))))
}
