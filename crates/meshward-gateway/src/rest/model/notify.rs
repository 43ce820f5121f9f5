//! How people are told: channels, what became of their messages, and who is told of what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Matcher, Schedule};

/// What a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// An HTTP request with the body of Alertmanager's webhooks, version 4.
    Webhook,
    /// A server of ntfy.
    Ntfy,
    /// A bot of Telegram.
    Telegram,
    /// Mail.
    Email,
    /// The broker that the gateway is connected to.
    Mqtt,
}

/// How mail is kept from others on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailSecurity {
    /// Not at all.
    None,
    /// TLS after a greeting; without it nothing is sent.
    Starttls,
    /// TLS from the first byte on.
    Tls,
}

/// A channel by which people are told. Secrets are never in it, only whether they are set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NotificationChannel {
    /// Its name.
    pub id: String,
    /// What it is.
    pub kind: ChannelKind,
    /// Whether it is used.
    pub enabled: bool,
    /// Where messages go; of a URL only scheme and host, for the rest may be a secret.
    pub target: String,
    /// Which secrets are set: `secret`, `token`, `password`.
    pub secrets: Vec<String>,
    /// 1 at first, one more with each change.
    pub version: u64,
    /// Whether it is in the gateway's configuration (`[[notify.channel]]`), where alone it can be changed.
    #[serde(default)]
    pub configured: bool,
    /// `closed` when it works, `open` while it is left alone after failures, `half_open` when it is tried again.
    pub circuit: String,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages that were delivered since the gateway's start.
    pub delivered: u64,
    /// Messages that had no room since the gateway's start.
    pub dropped: u64,
    /// When one was delivered last.
    pub delivered_at: Option<Timestamp>,
    /// When one failed last.
    pub failed_at: Option<Timestamp>,
    /// Why.
    pub failure: Option<String>,
}

/// A new channel. What a kind does not need is left out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNotificationChannel {
    /// Its name: 1 to 64 of `a` to `z`, `0` to `9`, `-` and `_`.
    #[schema(pattern = "^[a-z0-9_-]{1,64}$")]
    pub id: String,
    /// What it is.
    pub kind: ChannelKind,
    /// What it needs.
    #[serde(default)]
    pub settings: ChannelSettings,
}

/// What channels need, and what is to be changed of one: what is left out stays as it is, or as is usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// Whether it is used; a new one is when this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Of webhook, ntfy and telegram: where, `https://` or `http://`. Of ntfy with the topic as the last part of the
    /// path; of telegram the interface's root, `https://api.telegram.org` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of webhook and ntfy: with what the body is signed, 16 to 256 bytes; empty for no signature. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The receiver's token for us, of telegram the bot's; empty for none. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Of telegram: the chat's number, or `@NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// Of email: the server's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of email: its port; 587 with starttls, 465 with tls, 25 with none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Of email: whether TLS, and when; `starttls` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<MailSecurity>,
    /// Of email: who we are there; empty for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Of email: its password. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Of email: certificates in PEM of those who are believed to know the server, besides those whom everybody
    /// believes; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Of email: from whom, `NAME <ADDRESS>` or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Of email: to whom, 1 to 20 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
    /// Of mqtt: on which topic; the usual one for notifications when left out or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// What came of trying a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelTest {
    /// Whether the receiver took the message.
    pub delivered: bool,
    /// What it said, or what went wrong.
    pub detail: String,
    /// How long that took.
    pub seconds: f64,
}

/// Where a message is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is in the outbox.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// It was refused for good, or could not be delivered for a day.
    Dead,
}

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Rises.
    pub id: u64,
    /// Where it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// What the receiver said, or what went wrong last.
    pub detail: String,
    /// The message in one line.
    pub title: String,
    /// `news`, `reminder`, `summary`, `digest` or `test`.
    pub notice: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
}

/// Who is told of what: a route, and those below it.
///
/// Of a route's children the first that matches a message takes it, and also those after it if that one says `go_on`;
/// if none does, the route itself takes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationRoute {
    /// What people call it.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub name: String,
    /// What a message must be like, all of them: on `rule`, `severity`, `node`, or a label of the rule. At most 32.
    #[serde(default)]
    #[schema(max_items = 32)]
    pub matchers: Vec<Matcher>,
    /// Only messages that matter at least so much: `info`, `warning` or `critical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_min: Option<String>,
    /// By which channels; empty is as the parent says, and at the top by all that are enabled. At most 20.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub channels: Vec<String>,
    /// Messages wait and are sent as one, once in so many seconds: 60 to 604 800. What is critical never waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 604800)]
    pub digest_seconds: Option<u32>,
    /// When only what is critical is sent; the rest comes afterwards as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Schedule>,
    /// Whether the routes after this one may take the message too.
    #[serde(default)]
    pub go_on: bool,
    /// Those below it, in order; at most 200 routes in all, 8 below each other.
    #[serde(default)]
    #[schema(no_recursion, max_items = 200)]
    pub routes: Vec<NotificationRoute>,
}

/// A message that might be: whom would it reach?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteQuestion {
    /// Of which rule.
    pub rule: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// About which node.
    #[serde(default)]
    pub node: Option<u32>,
    /// The rule's labels.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// By which channel a message would go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteChoice {
    /// The channel.
    pub channel: String,
    /// The name of the route that would take it.
    pub route: String,
    /// When it would be sent.
    pub at: Timestamp,
}
