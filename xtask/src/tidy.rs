//! `cargo xtask tidy`: what to run before a commit. Formats in place, then lints with warnings as errors.
//!
//! `budget/` and `fuzz/` are workspaces of their own, and are formatted and linted like the rest: the one for
//! its own target, into the directory that measuring uses too; the other on the stable compiler, which only
//! cannot run it.

use crate::command::{Failure, Line};
use crate::{no_arguments, toolchain};

/// The manifests of all workspaces; the first is the one of this program.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "budget/Cargo.toml", "fuzz/Cargo.toml"];

/// Formats and lints all workspaces.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("tidy", arguments)?;
    toolchain::components()?;
    for line in format(&[]).into_iter().chain(clippy()) {
        println!("xtask: $ {line}");
        line.run()?;
    }
    Ok(())
}

/// The format commands, with these options.
pub(crate) fn format(options: &[&str]) -> Vec<Line> {
    let options = options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>();
    let line = |manifest| Line::cargo(&["fmt", "--all", "--manifest-path", manifest]).with(&options);
    WORKSPACES.map(line).into()
}

/// The lint commands, the same here and in the test run.
pub(crate) fn clippy() -> Vec<Line> {
    let [own, budget, fuzz] = WORKSPACES;
    let lint = |manifest, how: &[&str]| {
        let line = Line::cargo(&["clippy", "--manifest-path", manifest]);
        let how: Vec<String> = how.iter().map(|&argument| argument.to_owned()).collect();
        line.with(&how).with(&["--", "-D", "warnings"].map(str::to_owned))
    };
    let device = ["--release", "--target", toolchain::DEVICE_TARGET];
    vec![
        lint(own, &["--workspace", "--all-targets"]),
        lint(budget, &device).env("CARGO_TARGET_DIR", "budget/target"),
        // Nothing is linked, so libFuzzer, which is C++, need not be compiled.
        lint(fuzz, &["--bins", "--no-default-features"]).env("CARGO_TARGET_DIR", "fuzz/target"),
    ]
}
