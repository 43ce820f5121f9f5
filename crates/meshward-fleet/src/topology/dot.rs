//! The tree as text for Graphviz.

use std::fmt::Write as _;

use meshward_core::wire::NodeId;

use super::{Snapshot, Topology};

/// In quotes, as Graphviz reads them.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn graph(
    own: NodeId,
    nodes: impl Iterator<Item = (NodeId, NodeId, &'static str)>,
    label: impl Fn(NodeId) -> String,
) -> String {
    let mut text = String::from("digraph mesh {\n");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {own} [label={}, shape=house];", quoted(&label(own)));
    for (id, parent, style) in nodes {
        let _ = writeln!(text, "  {id} [label={}{style}];", quoted(&label(id)));
        let _ = writeln!(text, "  {parent} -> {id};");
    }
    text.push_str("}\n");
    text
}

impl Topology {
    /// The tree in the language of Graphviz, nodes in order of id, the root in bold; `label` says what each is shown
    /// as.
    pub fn dot(&self, label: impl Fn(NodeId) -> String) -> String {
        let nodes = self.places();
        let nodes = nodes.map(|(id, place)| (id, place.parent, if place.root { ", style=bold" } else { "" }));
        graph(self.own(), nodes, label)
    }
}

impl Snapshot {
    /// As [`Topology::dot`], nodes whose place is uncertain dashed.
    pub fn dot(&self, label: impl Fn(NodeId) -> String) -> String {
        let style = |id| if self.uncertain.contains(id) { ", style=dashed" } else { "" };
        let nodes = self.parents.iter().map(|(id, parent)| (*id, *parent, style(id)));
        graph(self.own, nodes, label)
    }
}
