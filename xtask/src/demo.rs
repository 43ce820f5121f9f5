//! `cargo xtask demo`: builds the dashboard and the one binary, and becomes `meshward demo`.
//!
//! The only set-up is what cargo and npm do by themselves: fetch packages and compile them. Without Node.js there is no
//! dashboard, and it says so. Arguments belong to the
//! demo and are not looked at, but for a `--` in front of them, which `cargo run` users are in the habit of.

use std::time::Instant;

use crate::command::{Failure, Line};
use crate::{program, web};

/// Builds, says how long that took, and hands over.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    web::build_if_possible();
    println!("xtask: building meshward (the first time this fetches and compiles its crates)");
    println!("xtask: $ {}", program::build());
    let started = Instant::now();
    let line = launch(program::built()?, own(arguments));
    println!("xtask: built in {:.1} s", started.elapsed().as_secs_f64());
    println!("xtask: $ {line}");
    hand_over(&line)
}

/// The arguments without a separator in front.
pub(crate) fn own(arguments: &[String]) -> &[String] {
    match arguments {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    }
}

fn launch(program: Line, arguments: &[String]) -> Line {
    program.with(&["demo".to_owned()]).with(arguments)
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
        let line = launch(Line::new("/a/meshward", &[]), &arguments).to_string();
        assert_eq!(line, "/a/meshward demo --nodes 12 --help");
    }
}
