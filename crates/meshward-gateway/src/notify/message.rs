//! What people are told, as a value: it is kept in the outbox as JSON, and every channel writes it in its own form.

use std::collections::BTreeMap;

use jiff::Timestamp;
use meshward_core::wire::NodeId;
use meshward_fleet::alert::{self, Notification, Severity, Snapshot};
use serde::{Deserialize, Serialize};

use crate::rest::convert;
use crate::service::Gateway;

/// Most alerts that a digest lists; the others are a number.
pub(super) const ITEMS_MAX: usize = 200;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Alerts of one rule were raised or cleared.
    News,
    /// Alerts of one rule are still raised, and nobody has said that he knows.
    Reminder,
    /// Alerts of many rules, because there would be too many messages otherwise.
    Summary,
    /// Several messages that were held back, as one.
    Digest,
    /// Somebody tries the channel.
    Test,
}

/// An alert as it was when the message was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its name: 16 hexadecimal digits.
    pub fingerprint: String,
    /// Its rule.
    pub rule: String,
    /// How much it matters.
    #[serde(with = "severity")]
    pub severity: Severity,
    /// Whom it is about, in words.
    pub subject: String,
    /// The node, if it is about one.
    pub node: Option<u32>,
    /// What people call the node.
    pub name: Option<String>,
    /// Since when it is so.
    pub since: Timestamp,
    /// The value; nothing of a state.
    pub value: Option<f64>,
    /// By what it is known.
    pub evidence: String,
    /// How often it was raised.
    pub times: u32,
    /// Whether it comes and goes, so that no more is sent of it until it is still.
    pub flapping: bool,
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The mesh's name.
    pub mesh: String,
    /// What it is.
    pub notice: Notice,
    /// The rule; empty of several.
    pub rule: String,
    /// The worst severity in it.
    #[serde(with = "severity")]
    pub severity: Severity,
    /// The rule's labels.
    pub labels: BTreeMap<String, String>,
    /// What to do.
    pub runbook: String,
    /// When it was made.
    pub at: Timestamp,
    /// What is raised.
    pub firing: Vec<Item>,
    /// What was cleared since the last message.
    pub cleared: Vec<Item>,
    /// How many more there are than are listed.
    pub more: u64,
}

/// Severities by their names.
pub(super) mod severity {
    use meshward_fleet::alert::Severity;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(severity: &Severity, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(severity.name())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Severity, D::Error> {
        let name = String::deserialize(from)?;
        Severity::named(&name).ok_or_else(|| {
            serde::de::Error::custom(format!("`{name}` is no severity: info, warning or critical"))
        })
    }
}

impl Message {
    /// One to try a channel with.
    pub fn test(mesh: &str, by: &str, at: Timestamp) -> Self {
        let item = Item {
            fingerprint: "0000000000000000".to_owned(),
            rule: "test".to_owned(),
            severity: Severity::Info,
            subject: "nobody".to_owned(),
            node: None,
            name: None,
            since: at,
            value: None,
            evidence: format!("{by} tries this channel: nothing is wrong"),
            times: 1,
            flapping: false,
        };
        Self {
            mesh: mesh.to_owned(),
            notice: Notice::Test,
            rule: "test".to_owned(),
            severity: Severity::Info,
            labels: BTreeMap::new(),
            runbook: String::new(),
            at,
            firing: vec![item],
            cleared: Vec::new(),
            more: 0,
        }
    }

    /// Whether something in it is raised.
    pub fn is_firing(&self) -> bool {
        !self.firing.is_empty()
    }

    /// All alerts in it.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.firing.iter().chain(&self.cleared)
    }

    /// In one line: how bad, of which mesh, what.
    pub fn title(&self) -> String {
        let mesh = &self.mesh;
        let count = |items: &[Item], what: &str| match items {
            [] => None,
            [one] => Some(format!("{} {what}", one.called())),
            many => Some(format!("{} {what}", many.len())),
        };
        let parts: Vec<String> =
            count(&self.firing, "raised").into_iter().chain(count(&self.cleared, "cleared")).collect();
        let what = match self.notice {
            Notice::Test => return format!("[test] {mesh}: this channel works"),
            Notice::News => self.rule.clone(),
            Notice::Reminder => format!("still {}", self.rule),
            Notice::Summary => "many alerts".to_owned(),
            Notice::Digest => "digest".to_owned(),
        };
        let severity = if self.is_firing() { self.severity.name() } else { "resolved" };
        format!("[{severity}] {mesh}: {what}: {}", parts.join(", "))
    }

    /// Everything in plain text, a line per alert.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for (head, items) in [("Raised", &self.firing), ("Cleared", &self.cleared)] {
            if !items.is_empty() {
                lines.push(format!("{head}:"));
                lines.extend(items.iter().map(|item| format!("- {}", item.line())));
            }
        }
        if self.more > 0 {
            lines.push(format!("… and {} more", self.more));
        }
        if !self.runbook.is_empty() {
            lines.push(format!("What to do: {}", self.runbook));
        }
        lines.join("\n")
    }
}

impl Item {
    /// Whom it is about, by the name that people use.
    pub fn called(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.subject),
            None => self.subject.clone(),
        }
    }

    fn line(&self) -> String {
        let often = if self.flapping { ", comes and goes" } else { "" };
        let Self { severity, rule, evidence, since, .. } = self;
        format!("{rule} of {}: {evidence} ({}, since {since:.0}{often})", self.called(), severity.name())
    }
}

/// A notification as it is told outside.
pub(super) fn of(gateway: &Gateway, told: Notification) -> Message {
    let list = |items: &[Snapshot]| items.iter().map(|one| item(gateway, one)).collect();
    Message {
        mesh: gateway.fleet().mesh_name().to_owned(),
        notice: match told.notice {
            alert::Notice::News => Notice::News,
            alert::Notice::Reminder => Notice::Reminder,
            alert::Notice::Summary => Notice::Summary,
        },
        firing: list(&told.firing),
        cleared: list(&told.cleared),
        rule: told.rule,
        severity: told.severity,
        labels: told.labels,
        runbook: told.runbook,
        at: convert::timestamp(gateway.civil(told.at)),
        more: told.more as u64,
    }
}

fn item(gateway: &Gateway, one: &Snapshot) -> Item {
    let name = |node: NodeId| gateway.registry().get(node).and_then(|record| record.name.clone());
    Item {
        fingerprint: one.fingerprint.to_string(),
        rule: one.rule.clone(),
        severity: one.severity,
        subject: one.subject.to_string(),
        node: one.subject.node().map(|node| node.0),
        name: one.subject.node().and_then(name),
        since: convert::timestamp(gateway.civil(one.since)),
        value: one.value.filter(|value| value.is_finite()),
        evidence: one.evidence.clone(),
        times: one.times,
        flapping: one.flapping,
    }
}

/// Several messages as one: of each alert the last that was said, what is raised before what is over, the worst
/// first. `None` for none.
pub fn digest(messages: &[Message]) -> Option<Message> {
    let (first, last) = (messages.first()?, messages.last()?);
    if messages.len() == 1 {
        return Some(first.clone());
    }
    let mut state: BTreeMap<&str, (bool, &Item)> = BTreeMap::new();
    for message in messages {
        for (raised, items) in [(true, &message.firing), (false, &message.cleared)] {
            state.extend(items.iter().map(|item| (&*item.fingerprint, (raised, item))));
        }
    }
    let list = |raised: bool| {
        let mut items: Vec<&Item> =
            state.values().filter(|(is, _)| *is == raised).map(|(_, item)| *item).collect();
        items.sort_by_key(|item| (std::cmp::Reverse(item.severity), item.since, item.fingerprint.clone()));
        items.into_iter().take(ITEMS_MAX).cloned().collect::<Vec<_>>()
    };
    let (firing, cleared) = (list(true), list(false));
    let listed = (firing.len() + cleared.len()) as u64;
    let one_rule = messages.iter().all(|message| message.rule == first.rule);
    let worst = firing.iter().chain(&cleared).map(|item| item.severity).max();
    Some(Message {
        mesh: last.mesh.clone(),
        notice: Notice::Digest,
        rule: if one_rule { first.rule.clone() } else { String::new() },
        severity: worst.unwrap_or(Severity::Info),
        labels: if one_rule { last.labels.clone() } else { BTreeMap::new() },
        runbook: if one_rule { last.runbook.clone() } else { String::new() },
        at: last.at,
        more: (state.len() as u64).saturating_sub(listed) + messages.iter().map(|one| one.more).sum::<u64>(),
        firing,
        cleared,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn item_of(rule: &str, severity: Severity, node: u32) -> Item {
        Item {
            fingerprint: format!("{:016x}", node),
            rule: rule.to_owned(),
            severity,
            subject: format!("node {node}"),
            node: Some(node),
            name: (node == 7).then(|| "roof".to_owned()),
            since: at(60),
            value: Some(1.5),
            evidence: "is not there".to_owned(),
            times: 1,
            flapping: false,
        }
    }

    pub(crate) fn message_of(rule: &str, severity: Severity, firing: &[u32], cleared: &[u32]) -> Message {
        let list = |nodes: &[u32]| nodes.iter().map(|node| item_of(rule, severity, *node)).collect();
        Message {
            mesh: "home".to_owned(),
            notice: Notice::News,
            rule: rule.to_owned(),
            severity,
            labels: [("team".to_owned(), "field".to_owned())].into(),
            runbook: "go there".to_owned(),
            at: at(100),
            firing: list(firing),
            cleared: list(cleared),
            more: 0,
        }
    }

    #[test]
    fn titles_say_how_bad_of_what() {
        let both = message_of("node_offline", Severity::Critical, &[7], &[8, 9]);
        assert_eq!(both.title(), "[critical] home: node_offline: roof (node 7) raised, 2 cleared");
        let over = message_of("node_offline", Severity::Critical, &[], &[8]);
        assert_eq!(over.title(), "[resolved] home: node_offline: node 8 cleared");
        let text = both.text();
        let first =
            "Raised:\n- node_offline of roof (node 7): is not there (critical, since 1970-01-01T00:01:00Z)";
        assert!(text.starts_with(first), "{text}");
        assert!(text.ends_with("What to do: go there"), "{text}");
    }

    #[test]
    fn messages_go_through_json() {
        let sent = message_of("node_offline", Severity::Warning, &[7], &[8]);
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), sent);
        assert!(serde_json::from_str::<Message>(&text.replace("warning", "dreadful")).is_err());
    }

    #[test]
    fn a_digest_has_each_alert_once_as_it_was_last() {
        let one = message_of("a", Severity::Warning, &[1, 2], &[]);
        let two = message_of("b", Severity::Info, &[3], &[1]);
        let all = digest(&[one.clone(), two]).unwrap();
        let nodes = |items: &[Item]| items.iter().filter_map(|item| item.node).collect::<Vec<_>>();
        assert_eq!((nodes(&all.firing), nodes(&all.cleared)), (vec![2, 3], vec![1]));
        assert_eq!((all.notice, &*all.rule, all.severity), (Notice::Digest, "", Severity::Warning));
        assert_eq!(digest(std::slice::from_ref(&one)), Some(one), "one alone stays as it is");
        assert_eq!(digest(&[]), None);
    }

    #[test]
    fn a_digest_is_bounded() {
        let nodes: Vec<u32> = (0..ITEMS_MAX as u32 + 5).collect();
        let many = message_of("a", Severity::Info, &nodes, &[]);
        let all = digest(&[many.clone(), many]).unwrap();
        assert_eq!((all.firing.len(), all.more), (ITEMS_MAX, 5));
    }
}
