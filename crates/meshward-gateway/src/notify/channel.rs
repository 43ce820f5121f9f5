//! A channel: by what people are told, and its secrets. This is the form in which it is kept.
//!
//! What cannot work is refused here, with the field, before anything is kept; whether somebody answers shows a test.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most channels.
pub const CHANNELS_MAX: usize = 20;
/// Longest name of a channel.
const ID_MAX: usize = 64;
/// Longest text of any field, in bytes.
const TEXT_MAX: usize = 2_048;
/// Shortest and longest secret of a signature, in bytes.
const SECRET: std::ops::RangeInclusive<usize> = 16..=256;
/// Most people that a mail goes to.
const TO_MAX: usize = 20;

/// In which form a webhook gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// The body of Alertmanager's webhooks, version 4.
    Alertmanager,
    /// JSON for a server of ntfy.
    Ntfy,
    /// A call of Telegram's bot interface.
    Telegram,
}

/// Somebody who takes HTTP requests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Where; of ntfy with the topic as the last part of the path, of Telegram the interface's root.
    pub url: String,
    /// In which form.
    pub template: Template,
    /// With what the body is signed.
    pub secret: Option<String>,
    /// Who we are, for the receiver: a bearer token, or Telegram's of the bot.
    pub token: Option<String>,
    /// Telegram's chat.
    pub chat: Option<String>,
}

/// How mail is kept from others on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Not at all: only to this machine, or within a network that is trusted.
    None,
    /// TLS after a greeting; without it nothing is sent.
    Starttls,
    /// TLS from the first byte on.
    Tls,
}

/// A mail server, and who is written to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The server's name.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS, and when.
    pub security: Security,
    /// Who we are there.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Certificates in PEM of those whom we believe besides those that everybody does.
    #[serde(default)]
    pub ca: Option<String>,
    /// From whom.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

/// What a channel is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// HTTP.
    Webhook(Hook),
    /// Mail.
    Email(Mail),
    /// The broker that the gateway is connected to; with the topic, below the usual one when absent.
    Mqtt {
        /// Where.
        topic: Option<String>,
    },
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name: in paths, routes and metrics.
    pub id: String,
    /// Whether it is used.
    pub enabled: bool,
    /// What it is.
    pub kind: Kind,
}

/// Secrets stay out of logs.
impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("template", &self.template).finish_non_exhaustive()
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("server", &self.server).field("to", &self.to).finish_non_exhaustive()
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(hook) => hook.fmt(f),
            Self::Email(mail) => mail.fmt(f),
            Self::Mqtt { topic } => f.debug_struct("Mqtt").field("topic", topic).finish(),
        }
    }
}

/// A field that makes no sense.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field} {what}")]
pub struct ChannelError {
    /// Which.
    pub field: &'static str,
    /// What is wrong with it, and what would be right. A secret is never in it.
    pub what: String,
}

fn wrong(field: &'static str, what: impl Into<String>) -> ChannelError {
    ChannelError { field, what: what.into() }
}

impl Channel {
    /// Whether it can be used.
    ///
    /// # Errors
    /// [`ChannelError`], with the field.
    pub fn check(&self) -> Result<(), ChannelError> {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.id.is_empty() || self.id.len() > ID_MAX || !self.id.chars().all(letter) {
            let right = "take 1 to 64 of a to z, 0 to 9, - and _";
            return Err(wrong("id", format!("`{}` is no name of a channel: {right}", self.id)));
        }
        match &self.kind {
            Kind::Webhook(hook) => hook.check(),
            Kind::Email(mail) => mail.check(),
            Kind::Mqtt { topic } => topic.as_deref().map_or(Ok(()), check_topic),
        }
    }

    /// Where messages go, without anything that may be secret.
    pub fn target(&self) -> String {
        match &self.kind {
            Kind::Webhook(hook) => hook.origin(),
            Kind::Email(Mail { server, port, to, .. }) => format!("{} by {server}:{port}", to.join(", ")),
            Kind::Mqtt { topic } => topic.clone().unwrap_or_else(|| "the usual topic".to_owned()),
        }
    }

    /// Which secrets are set.
    pub fn secrets(&self) -> Vec<&'static str> {
        let set = |name, value: &Option<String>| value.as_ref().map(|_| name);
        match &self.kind {
            Kind::Webhook(hook) => {
                [set("secret", &hook.secret), set("token", &hook.token)].into_iter().flatten().collect()
            }
            Kind::Email(mail) => set("password", &mail.password).into_iter().collect(),
            Kind::Mqtt { .. } => Vec::new(),
        }
    }
}

impl Hook {
    /// The URL's scheme and host: the path may be a secret.
    pub fn origin(&self) -> String {
        let Ok(url) = reqwest::Url::parse(&self.url) else { return "…".to_owned() };
        let more = if url.path() == "/" && url.query().is_none() { "" } else { "/…" };
        format!("{}{more}", url.origin().ascii_serialization())
    }

    fn check(&self) -> Result<(), ChannelError> {
        let url =
            reqwest::Url::parse(&self.url).ok().filter(|url| self.url.len() <= TEXT_MAX && url.has_host());
        let Some(url) = url.filter(|url| ["http", "https"].contains(&url.scheme())) else {
            return Err(wrong(
                "url",
                "is no address: take http:// or https:// with a host, such as https://hooks.example.org/mesh",
            ));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("url", "has a user or password in it: give the receiver's token as token"));
        }
        if let Some(secret) = self.secret.as_ref().filter(|secret| !SECRET.contains(&secret.len())) {
            let right = format!("{} to {}", SECRET.start(), SECRET.end());
            return Err(wrong("secret", format!("has {} bytes: take {right}", secret.len())));
        }
        let visible =
            |text: &String| text.len() <= TEXT_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.token.as_ref().is_some_and(|token| token.is_empty() || !visible(token)) {
            return Err(wrong("token", "is no token: take visible ASCII letters alone"));
        }
        let topic = url.path_segments().and_then(Iterator::last).unwrap_or_default();
        match self.template {
            Template::Alertmanager => Ok(()),
            Template::Ntfy if topic.is_empty() => {
                Err(wrong("url", "has no topic: take https://SERVER/TOPIC"))
            }
            Template::Ntfy => Ok(()),
            Template::Telegram if self.token.is_none() => {
                Err(wrong("token", "is missing: Telegram's BotFather gives one"))
            }
            Template::Telegram if self.chat.as_ref().is_none_or(String::is_empty) => {
                Err(wrong("chat", "is missing: take the chat's number, or @NAME of a public channel"))
            }
            Template::Telegram => Ok(()),
        }
    }
}

impl Mail {
    fn check(&self) -> Result<(), ChannelError> {
        let host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if self.server.is_empty() || self.server.len() > 253 || !self.server.chars().all(host) {
            return Err(wrong("server", format!("`{}` is no name of a server", self.server)));
        }
        if self.port == 0 {
            return Err(wrong("port", "is 0: take 587 (STARTTLS), 465 (TLS) or 25"));
        }
        if self.user.is_some() != self.password.is_some() {
            return Err(wrong("password", "and user go together: give both or neither"));
        }
        if self.user.is_some() && self.security == Security::None && !is_own(&self.server) {
            return Err(wrong(
                "security",
                "`none` would show the password to everybody in between: take starttls or tls",
            ));
        }
        let is_one = |ca: &String| {
            ca.contains("-----BEGIN CERTIFICATE-----")
                && lettre::transport::smtp::client::Certificate::from_pem(ca.as_bytes()).is_ok()
        };
        if self.ca.as_ref().is_some_and(|ca| !is_one(ca)) {
            return Err(wrong("ca", "is no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----"));
        }
        let address = |text: &str| text.len() <= TEXT_MAX && text.parse::<lettre::message::Mailbox>().is_ok();
        if !address(&self.from) {
            return Err(wrong("from", format!("`{}` is no mail address", self.from)));
        }
        if self.to.is_empty() || self.to.len() > TO_MAX {
            return Err(wrong("to", format!("has {} addresses: take 1 to {TO_MAX}", self.to.len())));
        }
        match self.to.iter().find(|to| !address(to)) {
            Some(to) => Err(wrong("to", format!("`{to}` is no mail address"))),
            None => Ok(()),
        }
    }
}

/// Whether a name leads to this machine.
fn is_own(server: &str) -> bool {
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    server == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_topic(topic: &str) -> Result<(), ChannelError> {
    if topic.is_empty() || topic.len() > TEXT_MAX || topic.contains(['#', '+', '\0']) {
        let right = "take 1 to 2048 bytes without #, + and NUL";
        return Err(wrong("topic", format!("`{topic}` cannot be published to: {right}")));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn hook(url: &str) -> Hook {
        Hook { url: url.to_owned(), template: Template::Alertmanager, secret: None, token: None, chat: None }
    }

    pub(crate) fn mail(port: u16) -> Mail {
        Mail {
            server: "127.0.0.1".to_owned(),
            port,
            security: Security::None,
            user: None,
            password: None,
            ca: None,
            from: "Mesh <mesh@example.org>".to_owned(),
            to: vec!["ops@example.org".to_owned()],
        }
    }

    pub(crate) fn channel(id: &str, kind: Kind) -> Channel {
        Channel { id: id.to_owned(), enabled: true, kind }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_field() {
        let good = "https://hooks.example.org/abc";
        let telegram = |token: Option<&str>, chat: Option<&str>| Hook {
            template: Template::Telegram,
            token: token.map(str::to_owned),
            chat: chat.map(str::to_owned),
            ..hook("https://api.telegram.org")
        };
        let ntfy = |url| Hook { template: Template::Ntfy, ..hook(url) };
        let secret = |length| Hook { secret: Some("s".repeat(length)), ..hook(good) };
        let far = Mail { server: "mail.example.org".to_owned(), ..mail(25) };
        let shown = Mail { user: Some("u".to_owned()), password: Some("p".to_owned()), ..far.clone() };
        let topic = |topic: &str| Kind::Mqtt { topic: Some(topic.to_owned()) };
        for (kind, field) in [
            (Kind::Webhook(hook(good)), None),
            (Kind::Webhook(hook("ftp://example.org/")), Some("url")),
            (Kind::Webhook(hook("hooks.example.org")), Some("url")),
            (Kind::Webhook(hook("https://me:secret@example.org/")), Some("url")),
            (Kind::Webhook(secret(16)), None),
            (Kind::Webhook(secret(15)), Some("secret")),
            (Kind::Webhook(Hook { token: Some("a\nb".to_owned()), ..hook(good) }), Some("token")),
            (Kind::Webhook(ntfy("https://ntfy.sh/mesh")), None),
            (Kind::Webhook(ntfy("https://ntfy.sh/")), Some("url")),
            (Kind::Webhook(telegram(Some("1:a"), Some("-100"))), None),
            (Kind::Webhook(telegram(None, Some("-100"))), Some("token")),
            (Kind::Webhook(telegram(Some("1:a"), None)), Some("chat")),
            (Kind::Email(mail(25)), None),
            (Kind::Email(mail(0)), Some("port")),
            (Kind::Email(Mail { server: "no host".to_owned(), ..mail(25) }), Some("server")),
            (Kind::Email(Mail { from: "nobody".to_owned(), ..mail(25) }), Some("from")),
            (Kind::Email(Mail { to: Vec::new(), ..mail(25) }), Some("to")),
            (Kind::Email(Mail { to: vec!["a@b.org\r\nBcc: c@d.org".to_owned()], ..mail(25) }), Some("to")),
            (Kind::Email(Mail { user: Some("u".to_owned()), ..mail(25) }), Some("password")),
            (Kind::Email(Mail { security: Security::Tls, ..shown.clone() }), None),
            (Kind::Email(Mail { ca: Some("mine".to_owned()), ..mail(25) }), Some("ca")),
            (Kind::Email(shown), Some("security")),
            (topic("mesh/alerts"), None),
            (topic("mesh/#"), Some("topic")),
        ] {
            let found = channel("ops", kind.clone()).check().err();
            assert_eq!(found.as_ref().map(|error| error.field), field, "{kind:?}");
        }
        for id in ["", "Ops", "a b", "ä"] {
            assert!(channel(id, Kind::Mqtt { topic: None }).check().is_err(), "{id}");
        }
    }

    #[test]
    fn secrets_are_told_by_name_alone() {
        let secret = "0123456789abcdef";
        let hook = Hook {
            secret: Some(secret.to_owned()),
            token: Some(secret.to_owned()),
            ..hook("https://hooks.example.org/services/0123456789abcdef?key=0123456789abcdef")
        };
        let channel = channel("ops", Kind::Webhook(hook));
        assert_eq!(channel.secrets(), ["secret", "token"]);
        assert_eq!(channel.target(), "https://hooks.example.org/…");
        assert!(!format!("{channel:?}").contains(secret));
        let text = serde_json::to_string(&channel).unwrap();
        assert_eq!(serde_json::from_str::<Channel>(&text).unwrap(), channel);
    }
}
