//! Names of topics: the base, what is below it, and what of that is a message to us.
//!
//! A name that people gave a node becomes a level of a topic only after [`slug`]: no wildcard, separator or control
//! character of theirs gets into one.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::compat::Asked;

/// Longest base, in bytes.
const BASE_MAX: usize = 128;
/// Longest level made of a name, in bytes.
const SLUG_MAX: usize = 64;
/// Longest topic in which an answer may be wanted, in bytes.
const RESPONSE_TOPIC_MAX: usize = 256;
/// Stands for the mesh's name in a base.
const MESH: &str = "{mesh_id}";

/// A base that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no base for topics: take 1 to {BASE_MAX} bytes, levels parted by single slashes, without +, # and \
     control characters, and no $ at the beginning"
)]
pub struct TopicError(String);

/// Where topics begin, with `{mesh_id}` for the mesh's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(String);

impl std::str::FromStr for Base {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let filled = text.replace(MESH, "m");
        let sound = is_topic(&filled, BASE_MAX) && filled.split('/').all(|level| !level.is_empty());
        if sound { Ok(Self(text.to_owned())) } else { Err(TopicError(text.to_owned())) }
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Base {
    fn default() -> Self {
        Self(format!("painlessmesh/{MESH}"))
    }
}

/// Whether something can be sent there.
pub(crate) fn is_topic(text: &str, longest: usize) -> bool {
    let bad = |c: char| c == '+' || c == '#' || c.is_control();
    !text.is_empty() && text.len() <= longest && !text.contains(bad) && !text.starts_with('$')
}

/// A name as one level: small letters, digits, `_` and `-`; everything else becomes `_`. `None` if nothing is left.
pub(crate) fn slug(name: &str) -> Option<String> {
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let level: String = name
        .trim()
        .chars()
        .take(SLUG_MAX)
        .map(|c| if fit(c) { c.to_ascii_lowercase() } else { '_' })
        .collect();
    level.contains(|c: char| c != '_').then_some(level)
}

/// What a message to us is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// A request of this name.
    Request(&'a str),
    /// A command to the node of this level.
    Node(&'a str),
    /// The node of this level is to be updated.
    Update(&'a str),
    /// Home Assistant says whether it is there.
    Birth,
    /// To a node, as the `mqttBridge` example has it.
    Bridge(&'a str),
    /// Control of a roll-out by the proposal's own name.
    Control,
    /// Something for a node, or for all, by the names of the library's command bridge.
    Old(Asked, &'a str),
    /// A command in the topic of the Alteriom documents.
    Alteriom,
    /// One of ours that the broker has kept.
    Own,
    /// Nothing that we know.
    Nothing,
}

/// All names of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    base: String,
    discovery: String,
    mesh: String,
}

/// What Home Assistant says when it comes and goes.
const BIRTH: &str = "status";

impl Topics {
    /// Below `base`, for the mesh of this name; `discovery` is Home Assistant's own prefix.
    pub(crate) fn new(base: &Base, discovery: &Base, mesh: &str) -> Self {
        let mesh = slug(mesh).unwrap_or_else(|| "mesh".to_owned());
        Self { base: base.0.replace(MESH, &mesh), discovery: discovery.0.replace(MESH, &mesh), mesh }
    }

    /// The mesh's name as a level.
    pub(crate) fn mesh(&self) -> &str {
        &self.mesh
    }

    /// Below the base.
    pub(crate) fn of(&self, rest: &str) -> String {
        format!("{}/{rest}", self.base)
    }

    /// Of a node.
    pub(crate) fn node(&self, level: &str, rest: &str) -> String {
        format!("{}/node/{level}/{rest}", self.base)
    }

    /// Where a device of ours is announced to Home Assistant.
    pub(crate) fn device(&self, name: &str) -> String {
        format!("{}/device/pm_{}_{name}/config", self.discovery, self.mesh)
    }

    /// Where Home Assistant says that it is there.
    pub(crate) fn birth(&self) -> String {
        format!("{}/{BIRTH}", self.discovery)
    }

    /// Below the Alteriom documents' own base.
    pub(crate) fn alteriom(&self, rest: &str) -> String {
        format!("alteriom/mesh/{}/{rest}", self.mesh)
    }

    /// What is listened to all the time.
    pub(crate) fn listens(&self, home_assistant: bool) -> Vec<String> {
        let mut filters = vec![self.of("request/#"), self.of("node/+/set"), self.of("node/+/update/set")];
        if home_assistant {
            filters.push(self.birth());
        }
        filters
    }

    /// What is listened to for a moment, to find what the broker keeps of ours.
    pub(crate) fn looks(&self) -> Vec<String> {
        let below = ["node/+/availability", "node/+/health", "node/+/state", "node/+/update"];
        let mut filters: Vec<String> = below.iter().map(|rest| self.of(rest)).collect();
        filters.push(format!("{}/device/+/config", self.discovery));
        filters
    }

    /// What a topic is about.
    pub(crate) fn heard<'a>(&self, topic: &'a str) -> Heard<'a> {
        if topic.strip_prefix(&*self.discovery).and_then(|rest| rest.strip_prefix('/')) == Some(BIRTH) {
            return Heard::Birth;
        }
        if let Some(rest) = topic.strip_prefix("painlessMesh/to/") {
            return Heard::Bridge(rest);
        }
        if topic == "mesh/ota/control" {
            return Heard::Control;
        }
        if let Some((asked, node)) = old_name(topic) {
            return Heard::Old(asked, node);
        }
        if topic == self.alteriom("command") {
            return Heard::Alteriom;
        }
        if self.is_own(topic) {
            return Heard::Own;
        }
        let Some(rest) = topic.strip_prefix(&*self.base).and_then(|rest| rest.strip_prefix('/')) else {
            return Heard::Nothing;
        };
        let levels: Vec<&str> = rest.split('/').collect();
        match &*levels {
            ["request", _, ..] => Heard::Request(rest.strip_prefix("request/").unwrap_or_default()),
            ["node", level, "set"] => Heard::Node(level),
            ["node", level, "update", "set"] => Heard::Update(level),
            _ => Heard::Nothing,
        }
    }

    /// Whether a topic is one of those that are taken away with their nodes.
    pub(crate) fn is_own(&self, topic: &str) -> bool {
        let below = |prefix: &str| topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
        if let Some(rest) = below(&self.base) {
            let levels: Vec<&str> = rest.split('/').collect();
            return matches!(&*levels, ["node", _, "availability" | "health" | "state" | "update"]);
        }
        let device = below(&self.discovery).and_then(|rest| rest.strip_prefix("device/pm_"));
        let device = device.and_then(|rest| rest.strip_prefix(&*self.mesh)?.strip_prefix('_'));
        // A mesh whose name begins with ours has ids of its own behind it.
        device.and_then(|rest| rest.strip_suffix("/config")).is_some_and(|name| {
            name == "gateway" || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
        })
    }

    /// Whether an answer may be sent there: nowhere where the gateway's own word counts.
    pub(crate) fn may_answer(&self, topic: &str) -> bool {
        let below = |prefix: &str| topic.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        is_topic(topic, RESPONSE_TOPIC_MAX)
            && !below(&self.discovery)
            && (!below(&self.base) || topic.starts_with(&*self.of("response/")))
    }
}

/// What is asked of whom by the names of the library's command bridge.
fn old_name(topic: &str) -> Option<(Asked, &str)> {
    let levels: Vec<&str> = topic.split('/').collect();
    match &*levels {
        ["mesh", "command", node] => Some((Asked::Command, node)),
        ["mesh", "config", node, "get"] => Some((Asked::ConfigGet, node)),
        ["mesh", "config", node, "set"] => Some((Asked::ConfigSet, node)),
        ["mesh", "ota", node, "start"] => Some((Asked::Start, node)),
        _ => None,
    }
}

/// The level of each node: its id, or, if that is wanted, its name where that is its alone.
pub(crate) fn levels<'a>(
    nodes: impl Iterator<Item = (u32, Option<&'a str>)> + Clone,
    by_name: bool,
) -> BTreeMap<u32, String> {
    let named = |(id, name): (u32, Option<&str>)| Some((id, slug(name?)?));
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for (_, level) in nodes.clone().filter_map(named) {
        if !seen.insert(level.clone()) {
            twice.insert(level);
        }
    }
    let level = |(id, name)| {
        let own = named((id, name)).map(|(_, level)| level);
        // What is a number would be taken for another node's id.
        let own = own.filter(|level| by_name && !twice.contains(level) && level.parse::<u32>().is_err());
        (id, own.unwrap_or_else(|| id.to_string()))
    };
    nodes.map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new(&Base::default(), &"homeassistant".parse().unwrap(), "Garden #1")
    }

    #[test]
    fn bases_are_read() {
        for good in ["a", "painlessmesh/{mesh_id}", "häuser/{mesh_id}/x"] {
            assert_eq!(good.parse::<Base>().unwrap().to_string(), good);
        }
        for bad in ["", "/", "a/", "/a", "a//b", "a/+", "#", "$SYS/x", "a\nb", "a\0", &"x".repeat(129)] {
            assert!(bad.parse::<Base>().is_err(), "{bad:?}");
        }
        assert_eq!(topics().of("nodes"), "painlessmesh/garden__1/nodes");
    }

    #[test]
    fn nothing_of_a_name_gets_into_a_topic_that_is_not_a_letter_a_digit_or_a_dash() {
        for (name, level) in [
            ("Pump House", Some("pump_house")),
            ("a/b+c#d", Some("a_b_c_d")),
            ("+/#", None),
            ("  ", None),
            ("Küche", Some("k_che")),
            ("\u{0}x\n", Some("_x")),
        ] {
            assert_eq!(slug(name).as_deref(), level, "{name:?}");
        }
    }

    #[test]
    fn levels_are_names_where_these_are_one_nodes_alone() {
        let nodes = [
            (7, Some("Pump")),
            (8, Some("door")),
            (9, Some("DOOR")),
            (10, Some("7")),
            (11, None),
            (12, Some("#")),
        ];
        let named = levels(nodes.iter().copied(), true);
        let named: Vec<&str> = named.values().map(String::as_str).collect();
        assert_eq!(named, ["pump", "8", "9", "10", "11", "12"]);
        let plain = levels(nodes.iter().copied(), false);
        assert!(plain.iter().all(|(id, level)| id.to_string() == *level));
    }

    #[test]
    fn topics_are_told_apart() {
        let topics = topics();
        for (topic, heard) in [
            ("painlessmesh/garden__1/request/status", Heard::Request("status")),
            (
                "painlessmesh/garden__1/request/firmware/upload/chunk/3",
                Heard::Request("firmware/upload/chunk/3"),
            ),
            ("painlessmesh/garden__1/request", Heard::Nothing),
            ("painlessmesh/garden__1/node/7/set", Heard::Node("7")),
            ("painlessmesh/garden__1/node/7/update/set", Heard::Update("7")),
            ("painlessmesh/garden__1/node/7/state", Heard::Own),
            ("painlessmesh/garden__12/node/7/set", Heard::Nothing),
            ("homeassistant/status", Heard::Birth),
            ("homeassistant/device/pm_garden__1_7/config", Heard::Own),
            ("homeassistant/device/pm_garden__1_gateway/config", Heard::Own),
            ("homeassistant/device/pm_garden__1_x_7/config", Heard::Nothing),
            ("homeassistant/device/pm_other_7/config", Heard::Nothing),
            ("painlessMesh/to/gateway", Heard::Bridge("gateway")),
            ("mesh/ota/control", Heard::Control),
            ("mesh/ota/7/start", Heard::Old(Asked::Start, "7")),
            ("mesh/command/broadcast", Heard::Old(Asked::Command, "broadcast")),
            ("mesh/config/ALT-000000000007/get", Heard::Old(Asked::ConfigGet, "ALT-000000000007")),
            ("mesh/config/7/set", Heard::Old(Asked::ConfigSet, "7")),
            ("mesh/config/7", Heard::Nothing),
            ("alteriom/mesh/garden__1/command", Heard::Alteriom),
            ("alteriom/mesh/other/command", Heard::Nothing),
            ("", Heard::Nothing),
        ] {
            assert_eq!(topics.heard(topic), heard, "{topic}");
        }
    }

    #[test]
    fn answers_go_nowhere_where_the_gateways_own_word_counts() {
        let topics = topics();
        for (topic, may) in [
            ("me/answers", true),
            ("painlessmesh/garden__1/response/mine", true),
            ("painlessmesh/garden__1/bridge/state", false),
            ("homeassistant/device/pm_x/config", false),
            ("a/+", false),
            ("$SYS/x", false),
            ("", false),
            (&"x".repeat(257), false),
        ] {
            assert_eq!(topics.may_answer(topic), may, "{topic}");
        }
    }
}
