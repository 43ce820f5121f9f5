//! The one binary, built with the selection of packages and features that the tests are built with.
//!
//! Cargo enables for a crate what the selected packages want of it, those used by tests only if a test is
//! selected. `cargo build --package meshward` after `cargo xtask test` therefore compiled half of the crates
//! again, and so did `cargo run`. So one small test is selected beside all programs, and the program is
//! started by its path.

use serde_json::Value;

use crate::command::{Failure, Line};

/// The command that builds it. The test is xtask's own, which needs nothing that is not needed anyway.
pub(crate) fn build() -> Line {
    let selection = ["--workspace", "--bins", "--test", "architecture"];
    Line::cargo(&[&["build"], &selection[..], &["--message-format", "json-render-diagnostics"]].concat())
}

/// Builds it; the command that starts it.
pub(crate) fn built() -> Result<Line, Failure> {
    let build = build();
    let path = executable(&build.stdout()?);
    let missing = || Failure::Missing(format!("`{build}` names no program meshward"));
    Ok(Line::new(&path.ok_or_else(missing)?, &[]))
}

/// Where cargo says, in JSON a line, that the program is.
fn executable(messages: &str) -> Option<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let mut ours = artifacts.filter(|artifact| {
        artifact["target"]["name"] == "meshward" && artifact["target"]["kind"][0] == "bin"
    });
    ours.find_map(|artifact| artifact["executable"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"meshward"},"executable":null}"#,
            "\nnot JSON\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"xtask"},"executable":"/a/xtask"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"meshward"},"executable":"/a/meshward"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages).as_deref(), Some("/a/meshward"));
        assert_eq!(executable(""), None);
    }
}
