//! Channels, messages and routes, between the REST interface and [`notify`](crate::notify).

use jiff::Timestamp;
use meshward_fleet::alert::{Matcher, Severity};

use super::super::model::{
    ChannelKind, ChannelSettings, Delivery, DeliveryState, MailSecurity, NewNotificationChannel,
    NotificationChannel, NotificationRoute, RouteQuestion, Schedule,
};
use super::super::problem::{Answer, Problem};
use crate::notify::{
    Channel, Health, Hook, Item, Kind, Mail, Message, Notice, Quiet, Route, Security, Template,
};
use crate::store::{DeliveryRow, OutboxRow};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Where Telegram's bots are.
const TELEGRAM: &str = "https://api.telegram.org";

fn kind(kind: &Kind) -> ChannelKind {
    match kind {
        Kind::Webhook(hook) => match hook.template {
            Template::Alertmanager => ChannelKind::Webhook,
            Template::Ntfy => ChannelKind::Ntfy,
            Template::Telegram => ChannelKind::Telegram,
        },
        Kind::Email(_) => ChannelKind::Email,
        Kind::Mqtt { .. } => ChannelKind::Mqtt,
    }
}

/// A channel and how it fares, without its secrets.
pub(in super::super) fn channel(
    channel: &Channel,
    (version, configured): (u64, bool),
    health: Health,
    waiting: u64,
    now: Timestamp,
) -> NotificationChannel {
    let (failed_at, failure) = health.error.unzip();
    NotificationChannel {
        id: channel.id.clone(),
        kind: kind(&channel.kind),
        enabled: channel.enabled,
        target: channel.target(),
        secrets: channel.secrets().into_iter().map(str::to_owned).collect(),
        version,
        configured,
        circuit: health.circuit.state(now).to_owned(),
        waiting,
        delivered: health.delivered,
        dropped: health.dropped,
        delivered_at: health.delivered_at,
        failed_at,
        failure,
    }
}

/// A channel of the configuration.
///
/// # Errors
/// In words: what is wrong with it.
pub fn configured_channel(new: NewNotificationChannel) -> Result<Channel, String> {
    let NewNotificationChannel { id, kind, settings } = new;
    changed_channel(empty_channel(id, kind), settings, "").map_err(|problem| problem.detail().to_owned())
}

/// A text that may be taken away by an empty one.
fn maybe(change: Option<String>, before: Option<String>) -> Option<String> {
    match change {
        Some(text) if text.is_empty() => None,
        Some(text) => Some(text),
        None => before,
    }
}

/// A channel of this kind with nothing set.
pub(in super::super) fn empty_channel(id: String, kind: ChannelKind) -> Channel {
    let hook = |template, url: &str| {
        Kind::Webhook(Hook { url: url.to_owned(), template, secret: None, token: None, chat: None })
    };
    let kind = match kind {
        ChannelKind::Webhook => hook(Template::Alertmanager, ""),
        ChannelKind::Ntfy => hook(Template::Ntfy, ""),
        ChannelKind::Telegram => hook(Template::Telegram, TELEGRAM),
        ChannelKind::Email => Kind::Email(Mail {
            server: String::new(),
            port: 587,
            security: Security::Starttls,
            user: None,
            password: None,
            ca: None,
            from: String::new(),
            to: Vec::new(),
        }),
        ChannelKind::Mqtt => Kind::Mqtt { topic: None },
    };
    Channel { id, enabled: true, kind }
}

/// A channel as it is after a change.
///
/// # Errors
/// What is of another kind of channel, or cannot be used; `at` is a pointer to the settings.
pub(in super::super) fn changed_channel(
    before: Channel,
    change: ChannelSettings,
    at: &str,
) -> Answer<Channel> {
    foreign(kind(&before.kind), &change, at)?;
    let kind = match before.kind {
        Kind::Webhook(hook) => Kind::Webhook(Hook {
            url: change.url.unwrap_or(hook.url),
            template: hook.template,
            secret: maybe(change.secret, hook.secret),
            token: maybe(change.token, hook.token),
            chat: maybe(change.chat, hook.chat),
        }),
        Kind::Email(mail) => {
            let security = change.security.map_or(mail.security, |security| match security {
                MailSecurity::None => Security::None,
                MailSecurity::Starttls => Security::Starttls,
                MailSecurity::Tls => Security::Tls,
            });
            let usual = |security| match security {
                Security::None => 25,
                Security::Starttls => 587,
                Security::Tls => 465,
            };
            let port = if mail.port == usual(mail.security) { usual(security) } else { mail.port };
            let user = maybe(change.user, mail.user);
            let password = maybe(change.password, mail.password);
            Kind::Email(Mail {
                server: change.server.unwrap_or(mail.server),
                port: change.port.unwrap_or(port),
                security,
                password: password.filter(|_| user.is_some()),
                user,
                ca: maybe(change.ca, mail.ca),
                from: change.from.unwrap_or(mail.from),
                to: change.to.unwrap_or(mail.to),
            })
        }
        Kind::Mqtt { topic } => Kind::Mqtt { topic: maybe(change.topic, topic) },
    };
    let channel = Channel { id: before.id, enabled: change.enabled.unwrap_or(before.enabled), kind };
    let checked = channel.check().map_err(|error| {
        let pointer = if error.field == "id" { "/id".to_owned() } else { format!("{at}/{}", error.field) };
        Problem::value(pointer, error.to_string())
    });
    checked.map(|()| channel)
}

/// Refuses what is of another kind of channel, for it would be lost without a word.
fn foreign(kind: ChannelKind, change: &ChannelSettings, at: &str) -> Answer<()> {
    use ChannelKind::{Email, Mqtt, Ntfy, Telegram, Webhook};
    for (field, given, kinds) in [
        ("url", change.url.is_some(), &[Webhook, Ntfy, Telegram][..]),
        ("secret", change.secret.is_some(), &[Webhook, Ntfy]),
        ("token", change.token.is_some(), &[Webhook, Ntfy, Telegram]),
        ("chat", change.chat.is_some(), &[Telegram]),
        ("server", change.server.is_some(), &[Email]),
        ("port", change.port.is_some(), &[Email]),
        ("security", change.security.is_some(), &[Email]),
        ("user", change.user.is_some(), &[Email]),
        ("password", change.password.is_some(), &[Email]),
        ("ca", change.ca.is_some(), &[Email]),
        ("from", change.from.is_some(), &[Email]),
        ("to", change.to.is_some(), &[Email]),
        ("topic", change.topic.is_some(), &[Mqtt]),
    ] {
        if given && !kinds.contains(&kind) {
            let detail = format!("a channel of kind {kind:?} has no {field}: leave it out").to_lowercase();
            return Err(Problem::value(format!("{at}/{field}"), detail));
        }
    }
    Ok(())
}

/// What is in a row of the outbox.
#[derive(serde::Deserialize)]
struct Kept {
    message: Message,
}

fn shown(payload: &str) -> (String, String, String) {
    let Ok(Kept { message }) = serde_json::from_str(payload) else {
        return ("it cannot be read".to_owned(), "news".to_owned(), "info".to_owned());
    };
    let notice = match message.notice {
        Notice::News => "news",
        Notice::Reminder => "reminder",
        Notice::Summary => "summary",
        Notice::Digest => "digest",
        Notice::Test => "test",
    };
    (message.title(), notice.to_owned(), message.severity.name().to_owned())
}

/// A message that waits.
pub(in super::super) fn waiting(row: OutboxRow) -> Delivery {
    let (title, notice, severity) = shown(&row.payload);
    Delivery {
        id: row.id,
        state: DeliveryState::Waiting,
        attempts: row.attempts,
        ended_at: None,
        next_at: Some(row.next_at),
        detail: row.why,
        title,
        notice,
        severity,
    }
}

/// A message that has ended.
pub(in super::super) fn delivery(row: DeliveryRow) -> Delivery {
    let (title, notice, severity) = shown(&row.payload);
    Delivery {
        id: row.id,
        state: if row.delivered { DeliveryState::Delivered } else { DeliveryState::Dead },
        attempts: row.attempts,
        ended_at: Some(row.at),
        next_at: None,
        detail: row.why,
        title,
        notice,
        severity,
    }
}

/// A tree of routes as it is shown.
pub(in super::super) fn route(kept: &Route) -> NotificationRoute {
    let matcher = |one: &Matcher| super::super::model::Matcher {
        field: one.field.clone(),
        value: one.value.clone(),
        equal: one.equal,
    };
    let on = |quiet: &Quiet| {
        let named = DAYS.iter().enumerate().filter(|(at, _)| quiet.days >> at & 1 == 1);
        named.map(|(_, day)| (*day).to_owned()).collect()
    };
    NotificationRoute {
        name: kept.name.clone(),
        matchers: kept.matchers.iter().map(matcher).collect(),
        severity_min: kept.severity_min.map(|severity| severity.name().to_owned()),
        channels: kept.channels.clone(),
        digest_seconds: kept.digest_seconds,
        quiet: kept.quiet.as_ref().map(|quiet| Schedule {
            days: on(quiet),
            from_minute: quiet.from,
            to_minute: quiet.to,
            ahead_minutes: quiet.ahead_min,
        }),
        go_on: kept.go_on,
        routes: kept.routes.iter().map(route).collect(),
    }
}

/// The severity of that name.
pub(in super::super) fn severity(pointer: String, name: &str) -> Answer<Severity> {
    let right = "take info, warning or critical";
    Severity::named(name).ok_or_else(|| Problem::value(pointer, format!("`{name}` is no severity: {right}")))
}

/// A tree of routes as it is kept.
pub(in super::super) fn kept_route(given: NotificationRoute, at: &str) -> Answer<Route> {
    let severity_min = match given.severity_min.as_deref() {
        Some(name) => Some(severity(format!("{at}/severity_min"), name)?),
        None => None,
    };
    let mut quiet = None;
    if let Some(schedule) = given.quiet {
        let mut days = 0_u8;
        for (place, day) in schedule.days.iter().enumerate() {
            let bit = DAYS.iter().position(|known| known == day).ok_or_else(|| {
                let detail = format!("`{day}` is no day: take mon, tue, wed, thu, fri, sat or sun");
                Problem::value(format!("{at}/quiet/days/{place}"), detail)
            })?;
            days |= 1 << bit;
        }
        let Schedule { from_minute: from, to_minute: to, ahead_minutes: ahead_min, .. } = schedule;
        quiet = Some(Quiet { days, from, to, ahead_min });
    }
    let below = given.routes.into_iter().enumerate();
    // A body of JSON is not nested deeper than its reader goes.
    let routes = below.map(|(place, route)| kept_route(route, &format!("{at}/routes/{place}")));
    Ok(Route {
        name: given.name,
        matchers: given.matchers.into_iter().map(super::matcher).collect(),
        severity_min,
        channels: given.channels,
        digest_seconds: given.digest_seconds,
        quiet,
        go_on: given.go_on,
        routes: routes.collect::<Answer<_>>()?,
    })
}

/// A message that might be.
pub(in super::super) fn imagined(question: RouteQuestion, now: Timestamp) -> Answer<Message> {
    let severity = severity("/severity".to_owned(), &question.severity)?;
    let mut message = Message::test("", "", now);
    message.notice = Notice::News;
    message.firing = vec![Item {
        rule: question.rule.clone(),
        severity,
        node: question.node,
        ..message.firing.pop().ok_or_else(|| Problem::not_found("nothing is raised"))?
    }];
    Ok(Message { rule: question.rule, severity, labels: question.labels, ..message })
}
