//! `cargo xtask demo`: builds the one binary and becomes `meshward demo`.
//!
//! The only set-up is what cargo does by itself: fetch the crates and compile them. Arguments belong to the
//! demo and are not looked at, but for a `--` in front of them, which `cargo run` users are in the habit of.

use crate::command::{Failure, Line, root};

/// Builds, says how long that took, and hands over.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    build_and_become(&["demo"], arguments)
}

/// Builds the `meshward` binary and becomes it, with `verb` and then `arguments`.
pub(crate) fn build_and_become(verb: &[&str], arguments: &[String]) -> Result<(), Failure> {
    let arguments = own(arguments);
    let build = Line::cargo(&["build", "--package", "meshward"]);
    println!("xtask: building meshward (the first time this fetches and compiles its crates)");
    println!("xtask: $ {build}");
    let took = build.run()?;
    println!("xtask: built in {:.1} s", took.as_secs_f64());
    let line = launch(verb, arguments);
    println!("xtask: $ meshward {}", Line::new(verb.join(" ").as_str(), &[]).with(arguments));
    hand_over(&line)
}

/// The arguments without a separator in front.
pub(crate) fn own(arguments: &[String]) -> &[String] {
    match arguments {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    }
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
    fn a_separator_in_front_is_not_passed_on() {
        let arguments = ["--".to_owned(), "--once".to_owned(), "--".to_owned()];
        assert_eq!(own(&arguments), ["--once".to_owned(), "--".to_owned()]);
        assert_eq!(own(&[]), [] as [String; 0]);
    }

    #[test]
    fn arguments_go_through_untouched() {
        let arguments = ["--nodes".to_owned(), "12".to_owned(), "--help".to_owned()];
        let line = launch(&["demo"], &arguments).to_string();
        assert!(line.starts_with("cargo run --quiet --package meshward --manifest-path "), "{line}");
        assert!(line.ends_with(" -- demo --nodes 12 --help"), "{line}");
    }
}
