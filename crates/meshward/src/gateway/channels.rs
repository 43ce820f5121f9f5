//! Channels of the configuration: their secrets are read from files, and what cannot work is said at the start.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use meshward_gateway::notify;
use meshward_gateway::rest::configured_channel;
use meshward_gateway::rest::model::{ChannelSettings, NewNotificationChannel};

use crate::config::Channel;

/// As they are used.
pub(super) fn of(channels: &[Channel]) -> anyhow::Result<Vec<notify::Channel>> {
    let one = |channel: &Channel| {
        let made = settings(channel).and_then(|settings| {
            let new = NewNotificationChannel { id: channel.id.clone(), kind: channel.kind, settings };
            configured_channel(new).map_err(anyhow::Error::msg)
        });
        made.with_context(|| {
            format!("channel `{}` of the configuration (notify.channel) cannot be used", channel.id)
        })
    };
    channels.iter().map(one).collect()
}

fn settings(channel: &Channel) -> anyhow::Result<ChannelSettings> {
    anyhow::ensure!(
        channel.url.is_none() || channel.url_file.is_none(),
        "both url and url_file are given: give one of them"
    );
    let secret = |file: &Option<PathBuf>, key: &str| {
        file.as_deref().map(|file| super::telling::first_line(file, key)).transpose()
    };
    Ok(ChannelSettings {
        enabled: channel.enabled,
        url: channel.url.clone().or(secret(&channel.url_file, "url_file")?),
        secret: secret(&channel.secret_file, "secret_file")?,
        token: secret(&channel.token_file, "token_file")?,
        chat: channel.chat.clone(),
        server: channel.server.clone(),
        port: channel.port.and_then(|port| u16::try_from(port).ok()),
        security: channel.security,
        user: channel.user.clone(),
        password: secret(&channel.password_file, "password_file")?,
        ca: channel.ca_file.as_deref().map(whole).transpose()?,
        from: channel.from.clone(),
        to: channel.to.clone(),
        topic: channel.topic.clone(),
    })
}

fn whole(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {} (ca_file)", file.display()))
}
