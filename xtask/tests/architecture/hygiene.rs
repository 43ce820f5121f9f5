//! What must not be left lying about: paths of somebody's machine, and code put off until later.
//!
//! The patterns are written in two halves, so that this file passes its own test.

/// Beginnings of absolute paths that exist on one machine only.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "target")];

/// Rust that is not finished.
const UNFINISHED: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("#[ig", "nore]"),
    concat!("#[ig", "nore ="),
];

/// Violations in one text file.
fn hygiene(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        for pattern in MACHINE_PATHS {
            if line.match_indices(pattern).any(|(at, _)| begins_a_path(&line[..at])) {
                violations.push(format!("{path}:{line_number}: a path of one machine: {pattern}"));
            }
        }
        for pattern in UNFINISHED.into_iter().filter(|_| path.ends_with(".rs")) {
            if line.contains(pattern) {
                violations.push(format!("{path}:{line_number}: unfinished: {pattern}"));
            }
        }
    }
    violations
}

/// Whether an absolute path can begin after `before`: not in the middle of an address, topic or longer path.
fn begins_a_path(before: &str) -> bool {
    before.chars().next_back().is_none_or(|c| c.is_whitespace() || "\"'`=(<[:,;|>".contains(c))
}

mod tests {
    use super::*;
    use crate::tree::{assert_none, files};

    #[test]
    fn nothing_lies_about() {
        let violations: Vec<String> =
            files().iter().flat_map(|file| hygiene(&file.path, &file.text)).collect();
        assert_none(&violations);
    }

    #[test]
    fn planted_paths_are_found() {
        for pattern in MACHINE_PATHS {
            for line in [format!("{pattern}x"), format!("see `{pattern}x`"), format!("DIR={pattern}x")] {
                let expected = format!("docs/a.md:2: a path of one machine: {pattern}");
                assert_eq!(hygiene("docs/a.md", &format!("\n{line}\n")), [expected], "{line}");
            }
            for line in [format!("https://example.org{pattern}x"), format!("mesh{pattern}x")] {
                assert_none(&hygiene("docs/a.md", &line));
            }
        }
    }

    #[test]
    fn planted_unfinished_code_is_found() {
        for pattern in UNFINISHED {
            let line = format!("    {pattern}\"later\")");
            assert_eq!(hygiene("a/b.rs", &line), [format!("a/b.rs:1: unfinished: {pattern}")]);
            assert_none(&hygiene("docs/a.md", &line));
        }
    }
}
