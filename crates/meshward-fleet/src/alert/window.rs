//! When and of whom nothing is sent: silences, which somebody asks for, and maintenance, which an update opens by
//! itself. The alerts live on and can be seen; only their notifications wait, and come if they are still due.

use std::collections::BTreeSet;

use meshward_core::time::Instant;
use meshward_core::wire::NodeId;

use super::rule::Rule;
use crate::condition::Subject;

/// Most windows at a time.
pub const WINDOWS_MAX: usize = 500;

/// A condition on an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// `rule`, `severity`, `node`, or the name of a label.
    pub field: String,
    /// Its value; with `*` at the end what begins so.
    pub value: String,
    /// Whether it must be so, or must not.
    pub equal: bool,
}

impl Matcher {
    /// Whether an alert is so.
    pub fn matches(&self, rule: &Rule, subject: Subject) -> bool {
        let told = match self.field.as_str() {
            "rule" => Some(rule.name.clone()),
            "severity" => Some(rule.severity.name().to_owned()),
            "node" => subject.node().map(|node| node.to_string()),
            label => rule.labels.get(label).cloned(),
        };
        let same = told.is_some_and(|told| match self.value.strip_suffix('*') {
            Some(begin) => told.starts_with(begin),
            None => told == self.value,
        });
        same == self.equal
    }
}

/// Why a window was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Somebody wants quiet.
    Silence,
    /// Work is done on the nodes.
    Maintenance,
}

impl Purpose {
    /// Its name in interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Silence, Self::Maintenance].into_iter().find(|one| one.name() == name)
    }
}

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Why.
    pub purpose: Purpose,
    /// All of them must match; none match everything.
    pub matchers: Vec<Matcher>,
    /// Only these nodes, and their links; empty are all, and the mesh.
    pub nodes: BTreeSet<NodeId>,
    /// From then on.
    pub from: Instant,
    /// Until then.
    pub until: Instant,
    /// Who opened it.
    pub by: String,
    /// What for.
    pub why: String,
}

impl Window {
    /// Whether it quiets an alert now.
    pub fn covers(&self, now: Instant, rule: &Rule, subject: Subject) -> bool {
        let concerned = match subject {
            Subject::Mesh => false,
            Subject::Node(node) => self.nodes.contains(&node),
            // Who restarts takes its branch away, which is said of the link above it.
            Subject::Link(one, other) => self.nodes.contains(&one) || self.nodes.contains(&other),
        };
        (self.from..self.until).contains(&now)
            && (self.nodes.is_empty() || concerned)
            && self.matchers.iter().all(|matcher| matcher.matches(rule, subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::default_rules;

    #[test]
    fn a_window_for_nodes_covers_them_and_their_links() {
        let (from, until) = (Instant::ORIGIN, Instant::from_micros(10));
        let nodes = BTreeSet::from([NodeId(2)]);
        let (by, why) = (String::new(), String::new());
        let purpose = Purpose::Maintenance;
        let window = Window { purpose, matchers: Vec::new(), nodes, from, until, by, why };
        let rules = default_rules();
        let rule = rules.first().unwrap();
        for (subject, now, covered) in [
            (Subject::Node(NodeId(2)), from, true),
            (Subject::Node(NodeId(3)), from, false),
            (Subject::link(NodeId(1), NodeId(2)), from, true),
            (Subject::link(NodeId(1), NodeId(3)), from, false),
            (Subject::Mesh, from, false),
            (Subject::Node(NodeId(2)), until, false),
        ] {
            assert_eq!(window.covers(now, rule, subject), covered, "{subject:?}");
        }
    }
}
