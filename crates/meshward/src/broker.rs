//! The gateway's place at a broker: what the configuration comes to, and the task that serves it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use meshward_core::wire::NodeId;
use meshward_gateway::mqtt::{
    self, Broker, BrokerAddress, Post, PostBox, PostError, Settings, Switches, Tls,
};
use meshward_gateway::notify::{Notifier, Publisher, Publishing, SendError};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, Mqtt};

/// The broker of a configuration and what it is told; `None` where there is to be none.
pub(crate) fn of(config: &Config, id: NodeId) -> anyhow::Result<Option<(Broker, Settings)>> {
    let mqtt = &config.mqtt;
    let Some(address) = &mqtt.broker else { return Ok(None) };
    let name = || format!("meshward-{}-{id}", config.mesh.name);
    let broker = Broker {
        host: address.host.clone(),
        port: address.port,
        version: mqtt.version,
        client_id: mqtt.client_id.clone().unwrap_or_else(name),
        user: mqtt.user.clone(),
        password: mqtt.password_file.as_deref().map(password).transpose()?,
        tls: tls(mqtt, address)?,
        keep_alive_s: u16::try_from(mqtt.keep_alive).unwrap_or(u16::MAX),
    };
    let settings = Settings {
        base: mqtt.base_topic.clone(),
        role: mqtt.role,
        interval_s: mqtt.publish_interval,
        topology: mqtt.topology,
        metrics: mqtt.metrics,
        alerts: mqtt.alerts,
        nodes: mqtt.nodes,
        names: mqtt.names_in_topics,
        home_assistant: mqtt.home_assistant.then(|| mqtt.discovery_prefix.clone()),
        shapes: mqtt.compat.clone(),
        config_hash: hash(config),
        url: mqtt.dashboard_url.clone(),
        seed: u64::from(id.0),
    };
    Ok(Some((broker, settings)))
}

/// What a running gateway takes up.
pub(crate) fn switches(mqtt: &Mqtt) -> Switches {
    Switches {
        interval_s: mqtt.publish_interval,
        topology: mqtt.topology,
        metrics: mqtt.metrics,
        alerts: mqtt.alerts,
    }
}

fn password(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {} (mqtt.password_file)", file.display()))?;
    let line = text.lines().next().unwrap_or_default().trim_end();
    anyhow::ensure!(!line.is_empty(), "the first line of {} (mqtt.password_file) is empty", file.display());
    Ok(line.to_owned())
}

fn tls(mqtt: &Mqtt, address: &BrokerAddress) -> anyhow::Result<Option<Tls>> {
    let client = match (&mqtt.certificate, &mqtt.certificate_key) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        (Some(_), None) => {
            anyhow::bail!("mqtt.certificate is given and mqtt.certificate_key is not: give both")
        }
        (None, Some(_)) => {
            anyhow::bail!("mqtt.certificate_key is given and mqtt.certificate is not: give both")
        }
    };
    if address.tls {
        return Ok(Some(Tls { ca: mqtt.ca.clone(), client }));
    }
    anyhow::ensure!(
        mqtt.ca.is_none() && client.is_none(),
        "mqtt.ca and mqtt.certificate are for TLS, and mqtt.broker is {address}: write mqtts:// there, or leave them out"
    );
    Ok(None)
}

/// Tells one configuration from another; secrets are not in it.
fn hash(config: &Config) -> String {
    let mut sum = Sha256::new();
    for (key, value) in config.shown() {
        sum.update(format!("{key}={}\n", value.unwrap_or_default()));
    }
    sum.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Messages to people, by the broker.
struct ByBroker(Post);

impl Publisher for ByBroker {
    fn publish<'a>(&'a self, topic: Option<&'a str>, payload: &'a str) -> Publishing<'a> {
        Box::pin(async move {
            self.0.publish(topic, payload).await.map_err(|error| match error {
                PostError::Topic(_) => SendError::Never { what: error.to_string() },
                _ => SendError::Later { what: error.to_string(), after: None },
            })
        })
    }
}

/// Serves the broker, if there is to be one, until `stop` is ready; messages to people may go by it.
pub(crate) async fn serve(
    place: Option<(Broker, Settings)>,
    api: meshward_gateway::rest::Api,
    (post, posts): (Post, PostBox),
    notifier: Option<Notifier>,
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let Some((broker, settings)) = place else {
        stop.await;
        return Ok(());
    };
    let at = format!("{}:{}", broker.host, broker.port);
    if let Some(notifier) = notifier {
        notifier.set_publisher(Arc::new(ByBroker(post)));
    }
    mqtt::run_with(api, broker, settings, posts, stop)
        .await
        .with_context(|| format!("cannot use the broker {at}"))
}
