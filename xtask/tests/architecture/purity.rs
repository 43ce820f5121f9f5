//! What the pure crates may not touch: clocks, threads, sockets, runtimes, and hidden randomness.
//!
//! Their `now` is an argument and their randomness a seed; one call to a real clock, or one hash map walked
//! in its own order, and a run no longer repeats. Directories of tests are free to do as they like.

use crate::code::{code_only, line_of, paths, words};
use crate::crates::PURE;

/// Paths that may not be named, whatever follows them.
const BANNED_PATHS: [&str; 8] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "std::thread",
    "std::net",
    "tokio",
    "rand",
    "getrandom",
    // The whole module, from which a clock could then be had by a shorter name.
    "std::time::*",
];

/// Words that may not appear: hash iteration order is randomness that no seed controls.
const BANNED_WORDS: [&str; 4] = ["HashMap", "HashSet", "RandomState", "SystemTime"];

/// Violations in one source file of a pure crate; other files have none.
fn purity(path: &str, source: &str) -> Vec<String> {
    let pure = PURE.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")));
    if !pure || !path.ends_with(".rs") {
        return Vec::new();
    }
    let code = code_only(source);
    let mut violations = Vec::new();
    for found in paths(&code) {
        if let Some(banned) = banned_path(&found.path) {
            violations.push(format!("{path}:{}: a pure crate may not use `{banned}`", found.line));
        }
    }
    for (at, word) in words(&code).filter(|(_, word)| BANNED_WORDS.contains(word)) {
        violations.push(format!("{path}:{}: a pure crate may not use `{word}`", line_of(&code, at)));
    }
    violations
}

/// The banned path that `path` is or begins with. Importing `std::time` itself counts as all of it.
fn banned_path(path: &str) -> Option<&'static str> {
    let path = path.strip_suffix("::self").unwrap_or(path);
    if path == "std::time" {
        return Some("std::time::*");
    }
    let within = |banned: &str| {
        path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    BANNED_PATHS.into_iter().find(|banned| within(banned))
}

mod tests {
    use super::*;
    use crate::tree::{assert_none, files};

    #[test]
    fn the_pure_crates_are_pure() {
        let violations: Vec<String> =
            files().iter().flat_map(|file| purity(&file.path, &file.text)).collect();
        assert_none(&violations);
    }

    fn check(source: &str, expected: &[&str]) {
        for name in PURE {
            let path = format!("crates/{name}/src/a.rs");
            let expected: Vec<String> =
                expected.iter().map(|what| format!("{path}:1: a pure crate may not use `{what}`")).collect();
            assert_eq!(purity(&path, source), expected, "{source}");
        }
    }

    #[test]
    fn planted_impurities_are_found() {
        check("let now = std::time::Instant::now();", &["std::time::Instant"]);
        check("use std::time::{Duration, Instant};", &["std::time::Instant"]);
        check("use std::{time, thread::sleep};", &["std::time::*", "std::thread"]);
        check("use std::time::{self, Duration};", &["std::time::*"]);
        check("use std::time::SystemTime;", &["std::time::SystemTime", "SystemTime"]);
        check("std::net::TcpStream::connect(a)", &["std::net"]);
        check("#[tokio::test] async fn f() {}", &["tokio"]);
        check("let x: u8 = rand::random();", &["rand"]);
        check("getrandom::fill(&mut b)", &["getrandom"]);
        check("use std::collections::HashMap;", &["HashMap"]);
        check("use std::collections::{BTreeMap, HashSet};", &["HashSet"]);
    }

    #[test]
    fn innocents_pass() {
        check("use std::time::Duration; // std::time::Instant", &[]);
        check("operand::x(); brand::y(); let s = \"HashMap\"; crate::time::Instant::ORIGIN", &[]);
        assert!(purity("crates/meshward-gateway/src/a.rs", "use std::net::TcpStream;").is_empty());
        assert!(purity("crates/meshward-core/tests/it/main.rs", "use std::net::TcpStream;").is_empty());
    }
}
