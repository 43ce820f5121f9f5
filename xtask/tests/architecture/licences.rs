//! Under which licences we build, and which crates we never build with.
//!
//! The same lists are in `deny.toml`, for `cargo deny`; a test compares the two. This check needs no tool.

use serde_json::Value;

use crate::tree::{items, text};

const ALLOWED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// One TLS stack (rustls on ring), and no C library to find on the build machine.
const BANNED: [&str; 3] = ["aws-lc-sys", "native-tls", "openssl-sys"];

/// Violations among all packages that cargo may build, on any platform.
fn licences(metadata: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    for package in items(metadata, "packages") {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        if BANNED.contains(&text(package, "name")) {
            violations.push(format!("{name}: banned"));
        }
        match (package["license"].as_str(), &package["license"]) {
            (Some(expression), _) => match satisfied(expression) {
                Ok(true) => {}
                Ok(false) => violations.push(format!("{name}: licence not allowed: {expression}")),
                Err(why) => violations.push(format!("{name}: {why} in licence \"{expression}\"")),
            },
            _ => violations.push(format!("{name}: no SPDX licence")),
        }
    }
    violations
}

/// Whether the allow list satisfies an SPDX expression; cargo's older `/` means `OR`.
fn satisfied(expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens: Vec<&str> = spaced.split_whitespace().rev().collect();
    let value = any(&mut tokens)?;
    match tokens.pop() {
        None => Ok(value),
        Some(token) => Err(format!("unexpected \"{token}\"")),
    }
}

/// `all OR all …`; the tokens lie in reverse order.
fn any(tokens: &mut Vec<&str>) -> Result<bool, String> {
    let mut value = all(tokens)?;
    while tokens.pop_if(|token| *token == "OR").is_some() {
        value |= all(tokens)?;
    }
    Ok(value)
}

/// `one AND one …`, which binds more closely than `OR`.
fn all(tokens: &mut Vec<&str>) -> Result<bool, String> {
    let mut value = one(tokens)?;
    while tokens.pop_if(|token| *token == "AND").is_some() {
        value &= one(tokens)?;
    }
    Ok(value)
}

/// A licence, a licence with an exception, or an expression in parentheses.
fn one(tokens: &mut Vec<&str>) -> Result<bool, String> {
    match tokens.pop() {
        Some("(") => {
            let value = any(tokens)?;
            tokens.pop_if(|token| *token == ")").ok_or("missing \")\"")?;
            Ok(value)
        }
        Some(name) if ![")", "AND", "OR", "WITH"].contains(&name) => {
            let mut licence = name.to_owned();
            if tokens.pop_if(|token| *token == "WITH").is_some() {
                licence = format!("{licence} WITH {}", tokens.pop().ok_or("missing exception")?);
            }
            Ok(ALLOWED.contains(&licence.as_str()))
        }
        Some(token) => Err(format!("unexpected \"{token}\"")),
        None => Err("unexpected end".to_owned()),
    }
}

/// The quoted words of the array that `key = [` begins in a TOML text, without comments.
fn toml_list(toml: &str, key: &str) -> Vec<String> {
    let from = toml.split_once(&format!("\n{key} = [")).map_or("", |(_, rest)| rest);
    let list = from.split_once("\n]").map_or("", |(list, _)| list);
    let code = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::{assert_none, metadata, root};

    #[test]
    fn every_package_may_be_used() {
        assert_none(&licences(&metadata()));
    }

    #[test]
    fn deny_toml_has_the_same_lists() {
        let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
        assert_eq!(toml_list(&deny, "allow"), ALLOWED);
        assert_eq!(toml_list(&deny, "deny"), BANNED);
    }

    #[test]
    fn expressions_mean_what_spdx_says() {
        let rows = [
            ("MIT", Ok(true)),
            ("GPL-3.0", Ok(false)),
            ("MIT/Apache-2.0", Ok(true)),
            ("GPL-2.0/GPL-3.0", Ok(false)),
            ("MIT OR LGPL-2.1-or-later", Ok(true)),
            ("MIT AND LGPL-2.1-or-later", Ok(false)),
            ("MIT OR GPL-3.0 AND GPL-2.0", Ok(true)),
            ("(MIT OR GPL-3.0) AND GPL-2.0", Ok(false)),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", Ok(true)),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", Ok(true)),
            ("MIT WITH LLVM-exception", Ok(false)),
            ("", Err("unexpected end".to_owned())),
            ("MIT OR", Err("unexpected end".to_owned())),
            ("(MIT", Err("missing \")\"".to_owned())),
            ("MIT Apache-2.0", Err("unexpected \"Apache-2.0\"".to_owned())),
        ];
        for (expression, expected) in rows {
            assert_eq!(satisfied(expression), expected, "{expression}");
        }
    }

    #[test]
    fn planted_packages_are_found() {
        let rows = [
            (json!({ "name": "a", "version": "1.0.0", "license": "MIT" }), None),
            (
                json!({ "name": "a", "version": "1.0.0", "license": "AGPL-3.0" }),
                Some("licence not allowed: AGPL-3.0"),
            ),
            (
                json!({ "name": "a", "version": "1.0.0", "license": null, "license_file": "L" }),
                Some("no SPDX licence"),
            ),
            (
                json!({ "name": "a", "version": "1.0.0", "license": "MIT," }),
                Some("licence not allowed: MIT,"),
            ),
            (
                json!({ "name": "a", "version": "1.0.0", "license": "OR" }),
                Some("unexpected \"OR\" in licence \"OR\""),
            ),
        ];
        for (package, expected) in rows {
            let expected: Vec<String> = expected.iter().map(|text| format!("a 1.0.0: {text}")).collect();
            assert_eq!(licences(&json!({ "packages": [package] })), expected);
        }
        for name in BANNED {
            let package = json!({ "name": name, "version": "1.0.0", "license": "MIT" });
            assert_eq!(licences(&json!({ "packages": [package] })), [format!("{name} 1.0.0: banned")]);
        }
    }
}
