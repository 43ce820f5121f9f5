//! Which module of the core may know which: imports go only downwards.
//!
//! A module may name those of a lower rank and itself. Rust would allow cycles; this does not, so that the
//! wire can be read without the mesh and the mesh without the updates.

use crate::code::{code_only, paths};

/// The modules of the core and their ranks.
const RANKS: [(&str, u32); 12] = [
    ("time", 0),
    ("rng", 0),
    ("hash", 0),
    ("wire", 1),
    ("mesh", 2),
    ("flash", 3),
    ("codec", 3),
    ("ota", 4),
    ("telemetry", 4),
    ("node", 5),
    ("fuzzing", 6),
    ("guide", 6),
];

const SOURCES: &str = "crates/meshward-core/src/";

fn rank(module: &str) -> Option<u32> {
    RANKS.iter().find(|(name, _)| *name == module).map(|&(_, rank)| rank)
}

/// Violations in one source file of the core; files elsewhere have none.
fn arrows(path: &str, source: &str) -> Vec<String> {
    let Some(module_path) = path.strip_prefix(SOURCES).and_then(|rest| rest.strip_suffix(".rs")) else {
        return Vec::new();
    };
    let module_path = module_path.strip_suffix("/mod").unwrap_or(module_path);
    let segments: Vec<&str> = module_path.split('/').collect();
    let module = segments[0];
    if module == "lib" {
        return Vec::new();
    }
    let Some(own) = rank(module) else {
        return vec![unknown(path, 1, module)];
    };
    let mut violations = Vec::new();
    for found in paths(&code_only(source)) {
        let Some(target) = target(&found.path, segments.len()) else { continue };
        match rank(target) {
            None => violations.push(unknown(path, found.line, target)),
            Some(other) if target != module && other >= own => violations.push(format!(
                "{path}:{}: `{module}` (rank {own}) may not use `{target}` (rank {other})",
                found.line
            )),
            Some(_) => {}
        }
    }
    violations
}

/// The module of the core that a path leads to, if it leads out of its own file's tree: by `crate::`, or by
/// as many `super::` as the file is deep. (Tests inside a file are one deeper; what they reach with the same
/// number is not in the table, so it is not taken for a module of the core.)
fn target(path: &str, depth: usize) -> Option<&str> {
    if let Some(rest) = path.strip_prefix("crate::") {
        return rest.split("::").next();
    }
    let supers = path.split("::").take_while(|segment| *segment == "super").count();
    let name = path.split("::").nth(supers)?;
    (supers == depth && rank(name).is_some()).then_some(name)
}

fn unknown(path: &str, line: usize, module: &str) -> String {
    format!("{path}:{line}: `crate::{module}` is not in the table of ranks; name a module of it, or add it")
}

mod tests {
    use super::*;
    use crate::tree::{assert_none, files};

    #[test]
    fn the_core_imports_downwards() {
        let violations: Vec<String> =
            files().iter().flat_map(|file| arrows(&file.path, &file.text)).collect();
        assert_none(&violations);
    }

    fn check(file: &str, source: &str, expected: &[&str]) {
        let path = format!("{SOURCES}{file}");
        let expected: Vec<String> = expected.iter().map(|text| text.replace('@', &path)).collect();
        assert_eq!(arrows(&path, source), expected);
    }

    #[test]
    fn planted_imports_are_found() {
        check("wire/frame.rs", "use crate::time::Instant;\nuse crate::wire::Envelope;", &[]);
        check("ota/mod.rs", "use crate::{flash::Op, mesh, wire::Frame};", &[]);
        check("wire/frame.rs", "// crate::node\nlet s = \"crate::node\";", &[]);
        check(
            "wire/frame.rs",
            "\nuse crate::{time, mesh::Tree};",
            &["@:2: `wire` (rank 1) may not use `mesh` (rank 2)"],
        );
        check(
            "ota/receiver.rs",
            "fn f() { crate::telemetry::Reporter::new() }",
            &["@:1: `ota` (rank 4) may not use `telemetry` (rank 4)"],
        );
        check("time.rs", "use super::rng::Rng;", &["@:1: `time` (rank 0) may not use `rng` (rank 0)"]);
        check(
            "wire/frame.rs",
            "use super::super::node;",
            &["@:1: `wire` (rank 1) may not use `node` (rank 5)"],
        );
        check("wire/mod.rs", "mod tests { use super::*; use super::envelope; }", &[]);
    }

    #[test]
    fn planted_unknown_modules_are_found() {
        let unknown = "is not in the table of ranks; name a module of it, or add it";
        check("node.rs", "use crate::gossip::Rumour;", &[&format!("@:1: `crate::gossip` {unknown}")]);
        check("node.rs", "use crate::Frame;", &[&format!("@:1: `crate::Frame` {unknown}")]);
        check("gossip.rs", "", &[&format!("@:1: `crate::gossip` {unknown}")]);
        check("lib.rs", "pub use crate::node::Node;", &[]);
        assert!(arrows("crates/meshward-fleet/src/plan.rs", "use crate::anything;").is_empty());
    }
}
