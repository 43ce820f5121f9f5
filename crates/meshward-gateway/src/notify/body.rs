//! How webhooks get a message: Alertmanager's body, ntfy's, Telegram's; and how a body is signed.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use meshward_fleet::alert::Severity;
use serde_json::{Value, json};
use sha2::Sha256;

use super::message::{Item, Message, Notice};

/// Longest text that Telegram takes, in characters, less some for what is escaped.
const TELEGRAM_MAX: usize = 4_000;
/// Longest text that ntfy shows as one, in bytes.
const NTFY_MAX: usize = 4_000;

/// The value of the header `X-Signature-256`: `sha256=` and the HMAC-SHA256 of the body under the channel's secret, in
/// lower-case hexadecimal digits.
pub fn signature(secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body);
    let sum = mac.finalize().into_bytes();
    format!("sha256={}", sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn labels(message: &Message, item: &Item) -> BTreeMap<String, String> {
    let mut labels = if item.rule == message.rule { message.labels.clone() } else { BTreeMap::new() };
    labels.insert("alertname".to_owned(), item.rule.clone());
    labels.insert("severity".to_owned(), item.severity.name().to_owned());
    labels.insert("mesh".to_owned(), message.mesh.clone());
    if let Some(node) = item.node {
        labels.insert("node".to_owned(), node.to_string());
    }
    labels
}

fn annotations(message: &Message, item: &Item) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::from([
        ("summary".to_owned(), format!("{} of {}", item.rule, item.called())),
        ("description".to_owned(), item.evidence.clone()),
    ]);
    notes.extend(item.name.clone().map(|name| ("node_name".to_owned(), name)));
    if item.rule == message.rule && !message.runbook.is_empty() {
        notes.insert("runbook".to_owned(), message.runbook.clone());
    }
    notes
}

/// What all of them have.
fn common(all: &[BTreeMap<String, String>]) -> BTreeMap<String, String> {
    let Some((first, rest)) = all.split_first() else { return BTreeMap::new() };
    let same = |(name, value): &(&String, &String)| rest.iter().all(|other| other.get(*name) == Some(*value));
    first.iter().filter(same).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The body of a webhook of Alertmanager, version 4.
pub(super) fn alertmanager(message: &Message, receiver: &str, url: &str) -> Value {
    let mut alerts = Vec::new();
    let (mut all_labels, mut all_notes) = (Vec::new(), Vec::new());
    for (status, items) in [("firing", &message.firing), ("resolved", &message.cleared)] {
        for item in items {
            let (labels, notes) = (labels(message, item), annotations(message, item));
            // A cleared alert's time is that of its end; when it began is not in the message.
            let ends = if status == "firing" { Timestamp::UNIX_EPOCH } else { item.since };
            alerts.push(json!({
                "status": status,
                "labels": &labels,
                "annotations": &notes,
                "startsAt": item.since.to_string(),
                // Alertmanager's "not yet".
                "endsAt": if status == "firing" { "0001-01-01T00:00:00Z".to_owned() } else { ends.to_string() },
                "generatorURL": url,
                "fingerprint": item.fingerprint,
            }));
            all_labels.push(labels);
            all_notes.push(notes);
        }
    }
    let group = match &*message.rule {
        "" => json!({ "mesh": message.mesh }),
        rule => json!({ "alertname": rule, "mesh": message.mesh }),
    };
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{mesh={:?},alertname={:?}}}", message.mesh, message.rule),
        "truncatedAlerts": message.more,
        "status": if message.is_firing() { "firing" } else { "resolved" },
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": common(&all_labels),
        "commonAnnotations": common(&all_notes),
        "externalURL": url,
        "alerts": alerts,
    })
}

/// At most so many bytes, cut between characters.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at + 3 <= bytes_max).last().unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// A message for a server of ntfy, to be posted at its root.
pub(super) fn ntfy(message: &Message, topic: &str, url: &str) -> Value {
    let (priority, tag) = match message.severity {
        _ if !message.is_firing() => (2, "white_check_mark"),
        _ if message.notice == Notice::Test => (2, "wave"),
        Severity::Critical => (5, "rotating_light"),
        Severity::Warning => (4, "warning"),
        Severity::Info => (3, "information_source"),
    };
    let mut body = json!({
        "topic": topic,
        "title": cut(&message.title(), 250),
        "message": cut(&message.text(), NTFY_MAX),
        "priority": priority,
        "tags": [tag],
    });
    if let Some(object) = body.as_object_mut().filter(|_| !url.is_empty()) {
        object.insert("click".to_owned(), json!(url));
    }
    body
}

/// A call of Telegram's `sendMessage`. Plain text, so that nothing in a node's name is markup.
pub(super) fn telegram(message: &Message, chat: &str, url: &str) -> Value {
    let text = format!("{}\n\n{}\n{url}", message.title(), message.text());
    let text: String = text.trim_end().chars().take(TELEGRAM_MAX).collect();
    json!({
        "chat_id": chat,
        "text": text,
        "disable_notification": message.severity == Severity::Info || !message.is_firing(),
        "link_preview_options": { "is_disabled": true },
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message_of;
    use super::*;

    #[test]
    fn a_body_is_signed_as_others_do() {
        // RFC 4231, case 2.
        let sum = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), format!("sha256={sum}"));
    }

    #[test]
    fn alertmanagers_receivers_understand_it() {
        let message = message_of("node_offline", Severity::Critical, &[7], &[8]);
        let body = alertmanager(&message, "ops", "https://mesh.example.org/");
        assert_eq!(body["version"], "4");
        assert_eq!((&body["status"], &body["receiver"]), (&json!("firing"), &json!("ops")));
        assert_eq!(body["groupLabels"]["alertname"], "node_offline");
        assert_eq!(
            body["commonLabels"],
            json!({ "alertname": "node_offline", "mesh": "home", "severity": "critical", "team": "field" })
        );
        let alerts = body["alerts"].as_array().unwrap();
        assert_eq!(alerts.len(), 2);
        assert_eq!((&alerts[0]["status"], &alerts[1]["status"]), (&json!("firing"), &json!("resolved")));
        assert_eq!(alerts[0]["labels"]["node"], "7");
        assert_eq!(alerts[0]["annotations"]["node_name"], "roof");
        assert_eq!(alerts[0]["startsAt"], "1970-01-01T00:01:00Z");
        assert_eq!(alerts[0]["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(alerts[1]["endsAt"], "1970-01-01T00:01:00Z");
        let over = alertmanager(&message_of("a", Severity::Info, &[], &[8]), "ops", "");
        assert_eq!(over["status"], "resolved");
    }

    #[test]
    fn chats_get_short_texts() {
        let nodes: Vec<u32> = (0..200).collect();
        let long = message_of("node_offline", Severity::Critical, &nodes, &[]);
        let body = telegram(&long, "-100", "https://mesh.example.org/");
        assert_eq!(body["chat_id"], "-100");
        assert!(body["text"].as_str().unwrap().chars().count() <= TELEGRAM_MAX);
        let body = ntfy(&long, "mesh", "");
        assert_eq!((&body["topic"], &body["priority"]), (&json!("mesh"), &json!(5)));
        assert!(body["message"].as_str().unwrap().len() <= NTFY_MAX && body.get("click").is_none());
        let over = message_of("node_offline", Severity::Critical, &[], &[1]);
        assert_eq!(ntfy(&over, "mesh", "u")["priority"], 2);
        assert_eq!(cut("äöü€", 6), "ä…");
    }
}
