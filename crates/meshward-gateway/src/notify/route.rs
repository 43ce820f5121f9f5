//! Who is told of a message: a tree of routes, as Alertmanager has it.
//!
//! A message enters at the root. Of a route's children the first that it matches takes it, and also those after it if
//! that one says `go_on`; if none takes it, the route itself does. What a route does not say (channels, digest, quiet
//! hours) is as its parent says. Values in, values out; nobody is told twice by one channel.

use meshward_fleet::alert::{Matcher, Severity, TEXT_MAX};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::message::{Item, Message};
use super::timing::Quiet;

/// Most routes of a tree.
pub const ROUTES_MAX: usize = 200;
/// How deep a tree may be.
pub const DEPTH_MAX: usize = 8;
/// Most conditions of a route.
const MATCHERS_MAX: usize = 32;
/// Most channels of a route.
const NAMED_MAX: usize = 20;
/// Longest name of a route, in bytes.
const NAME_MAX: usize = 64;

/// A condition, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Condition {
    field: String,
    value: String,
    equal: bool,
}

/// One route with those below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// What people call it.
    pub name: String,
    /// What a message must be like, all of them: on `rule`, `severity`, `node`, or a label.
    #[serde(with = "matchers")]
    pub matchers: Vec<Matcher>,
    /// Only messages that matter at least so much; the lowest when absent.
    #[serde(with = "least")]
    pub severity_min: Option<Severity>,
    /// By which channels; empty is as the parent says, and at the root by all that are enabled.
    pub channels: Vec<String>,
    /// Messages wait and are sent as one, once in so many seconds.
    pub digest_seconds: Option<u32>,
    /// When only what is critical is sent.
    pub quiet: Option<Quiet>,
    /// Whether the routes after this one may take the message too.
    pub go_on: bool,
    /// Those below it, in order.
    pub routes: Vec<Route>,
}

mod matchers {
    use super::{Condition, Matcher};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(matchers: &[Matcher], to: S) -> Result<S::Ok, S::Error> {
        let kept = |one: &Matcher| Condition {
            field: one.field.clone(),
            value: one.value.clone(),
            equal: one.equal,
        };
        matchers.iter().map(kept).collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Matcher>, D::Error> {
        let kept = Vec::<Condition>::deserialize(from)?;
        let one = |Condition { field, value, equal }| Matcher { field, value, equal };
        Ok(kept.into_iter().map(one).collect())
    }
}

mod least {
    use meshward_fleet::alert::Severity;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(severity: &Option<Severity>, to: S) -> Result<S::Ok, S::Error> {
        severity.map(Severity::name).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Severity>, D::Error> {
        let name = Option::<String>::deserialize(from)?;
        Ok(name.as_deref().and_then(Severity::named))
    }
}

/// Why a tree of routes is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RouteError {
    /// Something is too much or too long.
    #[error("{count} {what}: {most} are the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
        /// A JSON pointer to it.
        at: String,
    },
    /// A channel is not there.
    #[error("there is no channel `{channel}`: take one of /api/v1/notification-channels")]
    Channel {
        /// As it was named.
        channel: String,
        /// A JSON pointer to it.
        at: String,
    },
    /// A number is out of its range.
    #[error("{what} {value} is out of range: take {right}")]
    Range {
        /// Which.
        what: &'static str,
        /// What was given.
        value: u64,
        /// What would be right.
        right: &'static str,
        /// A JSON pointer to it.
        at: String,
    },
}

impl RouteError {
    /// Where it is: a JSON pointer.
    pub fn at(&self) -> &str {
        match self {
            Self::TooMany { at, .. } | Self::Channel { at, .. } | Self::Range { at, .. } => at,
        }
    }
}

/// By which channel a message goes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The channel.
    pub channel: String,
    /// The name of the route that took it.
    pub route: String,
    /// Sent with others, once in so many seconds.
    pub digest_seconds: Option<u32>,
    /// When only what is critical is sent.
    pub quiet: Option<Quiet>,
}

impl Route {
    /// Whether it is a tree that can be used with these channels.
    ///
    /// # Errors
    /// [`RouteError`], with the place.
    pub fn check(&self, known: &dyn Fn(&str) -> bool) -> Result<(), RouteError> {
        let mut count = 0;
        self.check_at("", 1, &mut count, known)
    }

    fn check_at(
        &self,
        at: &str,
        depth: usize,
        count: &mut usize,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<(), RouteError> {
        *count += 1;
        for (what, count, most, field) in [
            ("routes in the tree", *count, ROUTES_MAX, "routes"),
            ("routes below each other", depth, DEPTH_MAX, "routes"),
            ("matchers", self.matchers.len(), MATCHERS_MAX, "matchers"),
            ("channels", self.channels.len(), NAMED_MAX, "channels"),
            ("bytes of a name", self.name.len(), NAME_MAX, "name"),
        ] {
            if count > most {
                return Err(RouteError::TooMany { what, count, most, at: format!("{at}/{field}") });
            }
        }
        for (place, matcher) in self.matchers.iter().enumerate() {
            for (text, field) in [(&matcher.field, "field"), (&matcher.value, "value")] {
                if text.len() > TEXT_MAX {
                    let (what, count, at) =
                        ("bytes of a text", text.len(), format!("{at}/matchers/{place}/{field}"));
                    return Err(RouteError::TooMany { what, count, most: TEXT_MAX, at });
                }
            }
        }
        for (place, channel) in self.channels.iter().enumerate() {
            if !known(channel) {
                let at = format!("{at}/channels/{place}");
                return Err(RouteError::Channel { channel: channel.clone(), at });
            }
        }
        if let Some(value) = self.digest_seconds.filter(|value| !(60..=604_800).contains(value)) {
            let (value, at) = (u64::from(value), format!("{at}/digest_seconds"));
            return Err(RouteError::Range { what: "digest_seconds", value, right: "60 to 604800", at });
        }
        if let Some(quiet) = &self.quiet
            && quiet.from.max(quiet.to) > 1_440
        {
            let (value, at) = (u64::from(quiet.from.max(quiet.to)), format!("{at}/quiet"));
            return Err(RouteError::Range { what: "the minute of a day", value, right: "0 to 1440", at });
        }
        let below = self.routes.iter().enumerate();
        below.into_iter().try_for_each(|(place, route)| {
            route.check_at(&format!("{at}/routes/{place}"), depth + 1, count, known)
        })
    }

    fn takes(&self, message: &Message) -> bool {
        self.severity_min.is_none_or(|least| message.severity >= least)
            && self.matchers.iter().all(|matcher| matches(matcher, message))
    }

    fn fill<'a>(&'a self, message: &Message, above: Settled<'a>, found: &mut Vec<(&'a Route, Settled<'a>)>) {
        let settled = Settled {
            channels: if self.channels.is_empty() { above.channels } else { &self.channels },
            digest_seconds: self.digest_seconds.or(above.digest_seconds),
            quiet: self.quiet.as_ref().or(above.quiet),
        };
        let before = found.len();
        for route in &self.routes {
            if route.takes(message) {
                route.fill(message, settled, found);
                if !route.go_on {
                    break;
                }
            }
        }
        if found.len() == before {
            found.push((self, settled));
        }
    }
}

/// What holds for a route, after those above it.
#[derive(Clone, Copy)]
struct Settled<'a> {
    channels: &'a [String],
    digest_seconds: Option<u32>,
    quiet: Option<&'a Quiet>,
}

/// Whether a message is so: its rule, severity or labels, or one of its alerts.
fn matches(matcher: &Matcher, message: &Message) -> bool {
    let is = |told: &str| match matcher.value.strip_suffix('*') {
        Some(begin) => told.starts_with(begin),
        None => told == matcher.value,
    };
    let any = |of: fn(&Item) -> Option<String>| message.items().filter_map(of).any(|told| is(&told));
    let found = match matcher.field.as_str() {
        "rule" => any(|item| Some(item.rule.clone())),
        "severity" => is(message.severity.name()),
        "node" => any(|item| item.node.map(|node| node.to_string())),
        label => message.labels.get(label).is_some_and(|told| is(told)),
    };
    found == matcher.equal
}

/// By which of the `enabled` channels a message goes.
pub fn choose(root: &Route, message: &Message, enabled: &[String]) -> Vec<Chosen> {
    if !root.takes(message) {
        return Vec::new();
    }
    let mut found = Vec::new();
    root.fill(message, Settled { channels: enabled, digest_seconds: None, quiet: None }, &mut found);
    let mut chosen: Vec<Chosen> = Vec::new();
    for (route, settled) in found {
        for channel in settled.channels {
            if enabled.contains(channel) && !chosen.iter().any(|known| known.channel == *channel) {
                chosen.push(Chosen {
                    channel: channel.clone(),
                    route: route.name.clone(),
                    digest_seconds: settled.digest_seconds,
                    quiet: settled.quiet.copied(),
                });
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::message_of;
    use super::*;

    fn on(field: &str, value: &str, equal: bool) -> Matcher {
        Matcher { field: field.to_owned(), value: value.to_owned(), equal }
    }

    fn route(name: &str, channels: &[&str]) -> Route {
        let channels = channels.iter().map(|name| (*name).to_owned()).collect();
        Route { name: name.to_owned(), channels, ..Route::default() }
    }

    fn tree() -> Route {
        Route {
            digest_seconds: Some(3_600),
            routes: vec![
                Route { severity_min: Some(Severity::Critical), go_on: true, ..route("urgent", &["pager"]) },
                Route {
                    matchers: vec![on("rule", "node_*", true)],
                    routes: vec![Route {
                        matchers: vec![on("node", "7", true)],
                        ..route("roof", &["roofer"])
                    }],
                    ..route("nodes", &["ops"])
                },
                Route { matchers: vec![on("team", "field", false)], ..route("others", &["office"]) },
            ],
            ..route("root", &["mail"])
        }
    }

    #[test]
    fn the_first_that_matches_takes_a_message() {
        let all: Vec<String> = ["mail", "pager", "ops", "roofer", "office"].map(str::to_owned).to_vec();
        for (rule, severity, node, expected) in [
            ("node_offline", Severity::Critical, 8, "pager by urgent, ops by nodes"),
            ("node_offline", Severity::Critical, 7, "pager by urgent, roofer by roof"),
            ("node_offline", Severity::Warning, 7, "roofer by roof"),
            ("leak", Severity::Info, 8, "mail by root"),
            ("leak", Severity::Critical, 8, "pager by urgent"),
        ] {
            let chosen = choose(&tree(), &message_of(rule, severity, &[node], &[]), &all);
            let said: Vec<String> =
                chosen.iter().map(|one| format!("{} by {}", one.channel, one.route)).collect();
            assert_eq!(said.join(", "), expected, "{rule} {severity:?} {node}");
            assert!(chosen.iter().all(|one| one.digest_seconds == Some(3_600)), "the root's holds below");
        }
        let mut labelled = message_of("leak", Severity::Info, &[8], &[]);
        labelled.labels.clear();
        assert_eq!(choose(&tree(), &labelled, &all)[0].channel, "office");
    }

    #[test]
    fn without_a_tree_everybody_is_told_and_a_disabled_channel_never() {
        let message = message_of("leak", Severity::Info, &[1], &[]);
        let names = |root: &Route, enabled: &[&str]| {
            let enabled: Vec<String> = enabled.iter().map(|name| (*name).to_owned()).collect();
            choose(root, &message, &enabled).into_iter().map(|one| one.channel).collect::<Vec<_>>()
        };
        assert_eq!(names(&Route::default(), &["a", "b"]), ["a", "b"]);
        assert_eq!(names(&Route::default(), &[]), Vec::<String>::new());
        assert_eq!(names(&tree(), &["ops"]), Vec::<String>::new());
        let choosy = Route { severity_min: Some(Severity::Warning), ..Route::default() };
        assert_eq!(names(&choosy, &["a"]), Vec::<String>::new());
    }

    #[test]
    fn a_tree_that_cannot_be_used_is_refused_with_the_place() {
        let known = |name: &str| name == "a";
        let refusal = |tree: &Route| tree.check(&known).map_err(|error| error.at().to_owned());
        assert_eq!(refusal(&route("r", &["a"])), Ok(()));
        let below = Route { routes: vec![route("x", &["a"]), route("y", &["a", "b"])], ..Route::default() };
        assert_eq!(refusal(&below), Err("/routes/1/channels/1".to_owned()));
        let short = Route { digest_seconds: Some(5), ..Route::default() };
        assert_eq!(refusal(&short), Err("/digest_seconds".to_owned()));
        let late = Quiet { days: 1, from: 0, to: 1_441, ahead_min: 0 };
        assert_eq!(refusal(&Route { quiet: Some(late), ..Route::default() }), Err("/quiet".to_owned()));
        let long = on("node", &"7".repeat(TEXT_MAX + 1), true);
        let long = Route { matchers: vec![on("rule", "leak", true), long], ..Route::default() };
        assert_eq!(refusal(&long), Err("/matchers/1/value".to_owned()));
        let mut deep = Route::default();
        for _ in 0..DEPTH_MAX {
            deep = Route { routes: vec![deep], ..Route::default() };
        }
        assert!(refusal(&deep).is_err_and(|at| at.ends_with("/routes")));
        let wide = Route { routes: vec![Route::default(); ROUTES_MAX], ..Route::default() };
        assert!(refusal(&wide).is_err());
    }

    #[test]
    fn trees_go_through_json() {
        let text = serde_json::to_string(&tree()).unwrap();
        assert_eq!(serde_json::from_str::<Route>(&text).unwrap(), tree());
    }
}
