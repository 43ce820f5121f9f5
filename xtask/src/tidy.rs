//! `cargo xtask tidy`: what to run before a commit. Formats in place, then lints with warnings as errors.

use crate::command::{Failure, Line};
use crate::{no_arguments, toolchain};

/// Formats and lints the whole workspace.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("tidy", arguments)?;
    toolchain::components()?;
    for line in [Line::cargo(&["fmt", "--all"]), clippy()] {
        println!("xtask: $ {line}");
        line.run()?;
    }
    Ok(())
}

/// The lint command, the same here and in the test run.
pub(crate) fn clippy() -> Line {
    Line::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}
