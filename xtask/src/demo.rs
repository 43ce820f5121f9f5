//! `cargo xtask demo`: builds the one binary and becomes `meshward demo`.
//!
//! The only set-up is what cargo does by itself: fetch the crates and compile them. Arguments are not
//! looked at; they belong to the demo.

use crate::command::{Failure, Line, root};

/// Builds, says how long that took, and hands over.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    build_and_become(&["demo"], arguments)
}

/// Builds the `meshward` binary and becomes it, with `verb` and then `arguments`.
pub(crate) fn build_and_become(verb: &[&str], arguments: &[String]) -> Result<(), Failure> {
    let build = Line::cargo(&["build", "--package", "meshward"]);
    println!("xtask: building meshward (the first time this fetches and compiles its crates)");
    println!("xtask: $ {build}");
    let took = build.run()?;
    println!("xtask: built in {:.1} s", took.as_secs_f64());
    let line = launch(verb, arguments);
    println!("xtask: $ meshward {}", Line::new(verb.join(" ").as_str(), &[]).with(arguments));
    hand_over(&line)
}

/// The command that starts the binary just built, wherever cargo keeps it.
fn launch(verb: &[&str], arguments: &[String]) -> Line {
    let manifest = root().join("Cargo.toml");
    let run =
        ["run", "--quiet", "--package", "meshward", "--manifest-path", &manifest.to_string_lossy(), "--"];
    Line::cargo(&[&run[..], verb].concat()).with(arguments)
}

#[cfg(unix)]
fn hand_over(line: &Line) -> Result<(), Failure> {
    Err(line.become_it())
}

#[cfg(not(unix))]
fn hand_over(line: &Line) -> Result<(), Failure> {
    line.run().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_go_through_untouched() {
        let arguments = ["--nodes".to_owned(), "12".to_owned(), "--help".to_owned()];
        let line = launch(&["demo"], &arguments).to_string();
        assert!(line.starts_with("cargo run --quiet --package meshward --manifest-path "), "{line}");
        assert!(line.ends_with(" -- demo --nodes 12 --help"), "{line}");
    }
}
