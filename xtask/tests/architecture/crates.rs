//! Which crate may depend on which.
//!
//! The pure crates decide and the gateway acts; an arrow the wrong way would let a socket or a clock into
//! code that must run on a chip, in the simulator and in the gateway alike.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::tree::{items, text};

/// Each crate of the workspace and the crates of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 6] = [
    ("meshward-core", &[]),
    ("meshward-fleet", &["meshward-core"]),
    ("meshward-gateway", &["meshward-core", "meshward-fleet"]),
    ("meshward-sim", &["meshward-core", "meshward-fleet"]),
    ("meshward", &["meshward-core", "meshward-fleet", "meshward-gateway", "meshward-sim"]),
    ("xtask", &[]),
];

/// Crates without IO, clock or hidden randomness.
pub(crate) const PURE: [&str; 3] = ["meshward-core", "meshward-fleet", "meshward-sim"];

/// What the pure crates may not name among their own dependencies.
const BANNED_DIRECT: [&str; 6] = ["tokio", "axum", "sqlx", "reqwest", "rand", "getrandom"];

/// What the pure crates may not reach in a normal build, through whatever it comes.
const BANNED_REACHABLE: [&str; 4] = ["tokio", "axum", "sqlx", "reqwest"];

/// Violations among the workspace's own manifests.
fn arrows(metadata: &Value) -> Vec<String> {
    let members: BTreeSet<&str> = items(metadata, "workspace_members").filter_map(Value::as_str).collect();
    let mut violations = Vec::new();
    for package in items(metadata, "packages").filter(|package| members.contains(text(package, "id"))) {
        let name = text(package, "name");
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            violations.push(format!("{name}: unknown crate; give it a line in the table of arrows"));
            continue;
        };
        for dependency in items(package, "dependencies").map(|dependency| text(dependency, "name")) {
            let ours = ARROWS.iter().any(|(known, _)| *known == dependency);
            if ours && !allowed.contains(&dependency) {
                violations.push(format!("{name} may not depend on {dependency}"));
            }
            if PURE.contains(&name) && BANNED_DIRECT.contains(&dependency) {
                violations.push(format!("{name} is a pure crate and may not depend on {dependency}"));
            }
        }
    }
    violations
}

/// Violations through other people's crates.
fn reach(metadata: &Value) -> Vec<String> {
    let names: BTreeMap<&str, &str> =
        items(metadata, "packages").map(|package| (text(package, "id"), text(package, "name"))).collect();
    let name = |id: &str| names.get(id).copied().unwrap_or_default().to_owned();
    let nodes: BTreeMap<&str, &Value> =
        items(&metadata["resolve"], "nodes").map(|node| (text(node, "id"), node)).collect();
    let mut violations = Vec::new();
    for start in nodes.keys().filter(|id| PURE.contains(&name(id).as_str())) {
        let (mut seen, mut open) = (BTreeSet::from([*start]), vec![*start]);
        while let Some(id) = open.pop() {
            open.extend(normal_dependencies(nodes[id]).filter(|next| seen.insert(next)));
        }
        let banned = seen.iter().map(|id| name(id)).filter(|n| BANNED_REACHABLE.contains(&n.as_str()));
        violations
            .extend(banned.map(|found| format!("{} reaches {found} through its dependencies", name(start))));
    }
    violations
}

fn normal_dependencies(node: &Value) -> impl Iterator<Item = &str> {
    let normal = |dependency: &&Value| items(dependency, "dep_kinds").any(|kind| kind["kind"].is_null());
    items(node, "deps").filter(normal).map(|dependency| text(dependency, "pkg"))
}

/// Whether the core says of itself that it needs no operating system.
fn core_is_no_std(source: &str) -> Vec<String> {
    if crate::code::code_only(source).lines().any(|line| line.trim() == "#![no_std]") {
        Vec::new()
    } else {
        vec!["meshward-core must say #![no_std]".to_owned()]
    }
}

mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::{assert_none, metadata, root};

    /// Metadata of members that each have the named dependencies.
    fn planted(members: &[(&str, &[&str])]) -> Value {
        let packages: Vec<Value> = members
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<Value> = dependencies.iter().map(|d| json!({ "name": d })).collect();
                json!({ "id": name, "name": name, "dependencies": dependencies })
            })
            .collect();
        json!({ "workspace_members": members.iter().map(|m| m.0).collect::<Vec<_>>(), "packages": packages })
    }

    #[test]
    fn the_tree_keeps_its_arrows() {
        let metadata = metadata();
        assert_none(&arrows(&metadata));
        assert_none(&reach(&metadata));
    }

    #[test]
    fn the_core_is_no_std() {
        let path = root().join("crates/meshward-core/src/lib.rs");
        assert_none(&core_is_no_std(&std::fs::read_to_string(path).unwrap()));
        assert_eq!(core_is_no_std("// #![no_std]\n").len(), 1);
    }

    #[test]
    fn planted_arrows_are_found() {
        let allowed: [(&str, &[&str]); 2] =
            [("meshward-fleet", &["meshward-core", "serde"]), ("meshward-gateway", &["tokio", "rand"])];
        assert_none(&arrows(&planted(&allowed)));
        let rows: [(&str, &[&str], &str); 5] = [
            ("meshward-core", &["meshward-fleet"], "meshward-core may not depend on meshward-fleet"),
            ("meshward-gateway", &["meshward-sim"], "meshward-gateway may not depend on meshward-sim"),
            ("meshward-sim", &["tokio"], "meshward-sim is a pure crate and may not depend on tokio"),
            ("meshward-fleet", &["rand"], "meshward-fleet is a pure crate and may not depend on rand"),
            ("meshward-new", &[], "meshward-new: unknown crate; give it a line in the table of arrows"),
        ];
        for (member, dependencies, expected) in rows {
            assert_eq!(arrows(&planted(&[(member, dependencies)])), [expected]);
        }
    }

    #[test]
    fn planted_detours_are_found() {
        let names = ["meshward-sim", "helper", "tokio", "meshward"];
        let packages: Vec<Value> = names.iter().map(|name| json!({ "id": name, "name": name })).collect();
        let node = |id: &str, to: &str, kind: Value| json!({ "id": id, "deps": [{ "pkg": to, "dep_kinds": [{ "kind": kind }] }] });
        let graph = |kind: Value| {
            let leaf = json!({ "id": "tokio", "deps": [] });
            let top = node("meshward", "tokio", Value::Null);
            let nodes =
                [node("meshward-sim", "helper", kind), node("helper", "tokio", Value::Null), leaf, top];
            json!({ "packages": packages, "resolve": { "nodes": nodes } })
        };
        assert_eq!(reach(&graph(Value::Null)), ["meshward-sim reaches tokio through its dependencies"]);
        assert_none(&reach(&graph(json!("dev"))));
    }
}
